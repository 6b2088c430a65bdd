/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: which client may have how much
 */
#include "tmem-error.h"
#include "tmem-os.h"
#include "tmem-share.h"

/* The grace of those that take over; see order_bytes(). */
#define GRACE_STEPS     10ull
#define GRACE_SHIFT     6

/* --- Promises --- */

static uint64_t promised(const TmemHeap *heap, uint64_t pinned_bytes)
{
    return MAX(pinned_bytes, heap->min_bytes);
}

/* Overhead that stays: idle segments are as good as free. */
static uint64_t overhead_locked(const TmemArena *arena)
{
    return arena->charged_bytes - arena->heaps_charged_bytes;
}

static uint64_t available_locked(const TmemArena *arena, uint64_t all_promised)
{
    uint64_t taken = all_promised + overhead_locked(arena);

    return arena->budget_bytes - MIN(taken, arena->budget_bytes);
}

static void set_promised_locked(TmemArena *arena, uint64_t bytes)
{
    arena->promised_bytes = bytes;
    __atomic_store_n(&arena->is_tight, available_locked(arena, bytes) <
                     arena->budget_bytes >> TMEM_TIGHT_SHIFT, __ATOMIC_RELAXED);
}

static uint64_t share_bytes_locked(const TmemHeap *heap)
{
    const TmemArena *arena = heap->arena;
    uint64_t taken = arena->min_bytes + overhead_locked(arena);
    uint64_t left = arena->budget_bytes - MIN(taken, arena->budget_bytes);

    return heap->min_bytes +
           (unsigned __int128)left * heap->weight / arena->weights;
}

void tmem_share_pin_locked(TmemHeap *heap, int64_t bytes)
{
    TmemArena *arena = heap->arena;
    uint64_t old = promised(heap, heap->pinned_bytes);

    __atomic_store_n(&heap->pinned_bytes, heap->pinned_bytes + bytes,
                     __ATOMIC_RELAXED);
    set_promised_locked(arena, arena->promised_bytes - old +
                        promised(heap, heap->pinned_bytes));
    /* Overhead may have grown or shrunk meanwhile. */
    __atomic_store_n(&heap->share_bytes, share_bytes_locked(heap),
                     __ATOMIC_RELAXED);
}

uint64_t tmem_share_available(TmemArena *arena)
{
    uint64_t bytes;

    tmem_lock(&arena->lock);
    bytes = available_locked(arena, arena->promised_bytes);
    tmem_unlock(&arena->lock);
    return bytes;
}

uint64_t tmem_share_ceiling(TmemHeap *heap, uint64_t *pinned)
{
    TmemArena *arena = heap->arena;
    uint64_t bytes;

    tmem_lock(&arena->lock);
    *pinned = heap->pinned_bytes;
    bytes = available_locked(arena, arena->promised_bytes -
                             promised(heap, heap->pinned_bytes));
    if (heap->max_bytes) {
        bytes = MIN(bytes, heap->max_bytes -
                           MIN(heap->waiting_bytes, heap->max_bytes));
    }
    bytes -= MIN(bytes, arena->reserve_bytes);
    tmem_unlock(&arena->lock);
    return bytes;
}

/* --- Limits --- */

static void add_locked(TmemHeap *heap, int sign)
{
    TmemArena *arena = heap->arena;

    arena->min_bytes += sign * (int64_t)heap->min_bytes;
    arena->weights += sign * (int64_t)heap->weight;
    set_promised_locked(arena, arena->promised_bytes + sign *
                        (int64_t)promised(heap, heap->pinned_bytes));
}

/* When one share changes all do; they are read without the lock. */
static void update_shares_locked(TmemArena *arena)
{
    for (TmemHeap *heap = arena->heaps; heap; heap = heap->next) {
        __atomic_store_n(&heap->share_bytes, share_bytes_locked(heap),
                         __ATOMIC_RELAXED);
    }
}

void tmem_share_set_budget(TmemArena *arena, uint64_t bytes)
{
    tmem_lock(&arena->lock);
    tmem_arena_set_budget_locked(arena, bytes);
    set_promised_locked(arena, arena->promised_bytes);
    update_shares_locked(arena);
    tmem_unlock(&arena->lock);
}

static void take_limits(TmemHeap *heap, const TmemLimits *limits)
{
    heap->min_bytes = limits->min_bytes;
    __atomic_store_n(&heap->max_bytes, limits->max_bytes, __ATOMIC_RELAXED);
    heap->weight = limits->weight ? limits->weight : TMEM_WEIGHT_DEFAULT;
}

void tmem_share_join_locked(TmemHeap *heap, const TmemLimits *limits)
{
    TmemArena *arena = heap->arena;

    heap->next = arena->heaps;
    if (heap->next) {
        heap->next->prev = heap;
    }
    arena->heaps = heap;
    take_limits(heap, limits);
    add_locked(heap, 1);
    update_shares_locked(arena);
}

void tmem_share_leave_locked(TmemHeap *heap)
{
    TmemArena *arena = heap->arena;

    add_locked(heap, -1);
    if (heap->prev) {
        heap->prev->next = heap->next;
    } else {
        arena->heaps = heap->next;
    }
    if (heap->next) {
        heap->next->prev = heap->prev;
    }
    update_shares_locked(arena);
}

void tmem_share_set_locked(TmemHeap *heap, const TmemLimits *limits)
{
    add_locked(heap, -1);
    take_limits(heap, limits);
    add_locked(heap, 1);
    update_shares_locked(heap->arena);
}

/*
 * What @bytes may need more of in another order.  Each record gets a slot as
 * large as it had, and those of a class lie in a row: so a class takes no more
 * than it did, but for what segments that were not begun to their end do not
 * have there: less than 1/64.  The index was where there was room; at worst
 * each of the eight sizes of its parts has now begun a step of its own, and
 * the places for credit theirs.
 */
static uint64_t order_bytes(const TmemArena *arena, uint64_t bytes)
{
    return (GRACE_STEPS << arena->step_shift) + (bytes >> GRACE_SHIFT);
}

void tmem_share_wait(TmemArena *arena, TmemHeap *heap, int64_t bytes)
{
    tmem_lock(&arena->lock);
    arena->waiting_bytes += bytes;
    if (heap) {
        heap->waiting_bytes += bytes;
    }
    if (bytes < 0) {
        /* In one step with the overlap, which ends with what waits. */
        tmem_arena_uncharge_locked(arena, -bytes);
    }
    tmem_unlock(&arena->lock);
}

/*
 * Memory goes to records by steps, and what waits is counted by records: each
 * size of them may have begun a step of which most is still to be filled.
 */
static uint64_t overlap_bytes(const TmemArena *arena)
{
    return TMEM_SHARE_OVERLAP +
           ((arena->nr_classes + GRACE_STEPS) << arena->step_shift);
}

void tmem_share_take_over(TmemHeap *heap, uint64_t bytes, uint64_t more_bytes)
{
    TmemArena *arena = heap->arena;
    uint64_t grace = bytes ? order_bytes(arena, bytes) + more_bytes : 0;
    uint64_t excess;

    tmem_lock(&arena->lock);
    __atomic_store_n(&heap->taker, bytes ? g_thread_self() : NULL,
                     __ATOMIC_RELAXED);
    tmem_heap_set_slack_locked(heap);
    heap->grace_bytes += grace;
    arena->grace_bytes += grace;
    arena->overlap_bytes = bytes ? overlap_bytes(arena) : 0;
    if (!bytes) {
        excess = arena->used_bytes - MIN(arena->used_bytes, arena->size_bytes);
        arena->grace_bytes = MAX(excess, arena->grace_bytes);
    }
    tmem_unlock(&arena->lock);
}

void tmem_share_taken_over(TmemArena *arena)
{
    tmem_lock(&arena->lock);
    arena->grace_bytes = arena->used_bytes -
                         MIN(arena->used_bytes, arena->size_bytes);
    for (TmemHeap *heap = arena->heaps; heap; heap = heap->next) {
        heap->grace_bytes = 0;
    }
    tmem_unlock(&arena->lock);
}

/*
 * What a client needs for one page: a page each of its table of pools and of a
 * thread's counters, and a step of records and one of the index, beyond what
 * upkeep keeps in reserve.
 */
static uint64_t least_bytes(const TmemArena *arena)
{
    return 2 * tmem_os_page_size() + (2ull << arena->step_shift) +
           arena->reserve_bytes;
}

bool tmem_share_check_locked(const TmemArena *arena, const TmemHeap *heap,
                             const char *name, const TmemLimits *limits,
                             GError **errp)
{
    uint64_t others = arena->min_bytes - (heap ? heap->min_bytes : 0);
    uint64_t left = arena->budget_bytes - MIN(others, arena->budget_bytes);

    if (limits->weight > TMEM_WEIGHT_MAX) {
        return tmem_error_set(errp, "client '%s': weight %u is out of range; "
                              "possible are 1 to %u", name, limits->weight,
                              TMEM_WEIGHT_MAX);
    }
    if (limits->max_bytes && limits->min_bytes > limits->max_bytes) {
        return tmem_error_set(errp, "client '%s': the minimum of %"
                              G_GUINT64_FORMAT " bytes is above the maximum of "
                              "%" G_GUINT64_FORMAT " bytes", name,
                              limits->min_bytes, limits->max_bytes);
    }
    if (limits->max_bytes && limits->max_bytes < least_bytes(arena)) {
        return tmem_error_set(errp, "client '%s': a maximum of %"
                              G_GUINT64_FORMAT " bytes is less than one page "
                              "needs; possible are %" G_GUINT64_FORMAT
                              " bytes and more, or 0 for none", name,
                              limits->max_bytes, least_bytes(arena));
    }
    /* One that is there stays, even if the budget is less by now. */
    if (limits->min_bytes > (heap ? heap->min_bytes : 0) &&
        limits->min_bytes > left) {
        return tmem_error_set(errp, "client '%s': a minimum of %"
                              G_GUINT64_FORMAT " bytes is more than the %"
                              G_GUINT64_FORMAT " bytes of %s that the "
                              "minimums of its other clients leave", name,
                              limits->min_bytes, left,
                              tmem_arena_is_short_of_host(arena) ?
                              "what the store may use of the host's memory" :
                              "the store");
    }
    return true;
}

/* --- Shares --- */

bool tmem_share_admits_locked(const TmemHeap *heap, uint64_t bytes)
{
    const TmemArena *arena = heap->arena;
    uint64_t pinned = heap->pinned_bytes + bytes;
    uint64_t after = arena->promised_bytes -
                     promised(heap, heap->pinned_bytes) +
                     promised(heap, pinned);

    if (after == arena->promised_bytes || tmem_heap_takes_over(heap)) {
        return true;
    }
    if (after + overhead_locked(arena) > arena->budget_bytes) {
        return false;
    }
    return available_locked(arena, after) >=
           arena->budget_bytes >> TMEM_TIGHT_SHIFT ||
           pinned <= share_bytes_locked(heap);
}

bool tmem_share_admits(TmemHeap *heap)
{
    TmemArena *arena = heap->arena;
    bool admits;

    tmem_lock(&arena->lock);
    admits = tmem_share_admits_locked(heap, 1ull << arena->step_shift);
    tmem_unlock(&arena->lock);
    return admits;
}

bool tmem_share_admits_slot(TmemHeap *heap, uint64_t bytes)
{
    uint64_t share = __atomic_load_n(&heap->share_bytes, __ATOMIC_RELAXED);
    const TmemSizes *sizes = tmem_arena_sizes(heap->arena,
                                              TMEM_SPACE_PERSISTENT);
    uint64_t used = bytes;

    if (__atomic_load_n(&heap->pinned_bytes, __ATOMIC_RELAXED) <= share ||
        tmem_heap_takes_over(heap)) {
        return true;
    }
    /* What it does not use of its segments others cannot have either. */
    share -= share >> TMEM_HOLES_SHIFT;
    for (uint32_t i = 0; i < sizes->nr; i++) {
        TmemClass *c = tmem_heap_class(heap, TMEM_SPACE_PERSISTENT, i);

        used += __atomic_load_n(&c->nr_used, __ATOMIC_RELAXED) *
                sizes->of_class[i].slot_bytes;
    }
    return used <= share;
}

bool tmem_share_keeps_slots(TmemHeap *heap)
{
    return !__atomic_load_n(&heap->arena->is_tight, __ATOMIC_RELAXED) ||
           tmem_share_admits_slot(heap, 0);
}

/* Of @heap's minimum, what is left to be sure that it is served. */
static uint64_t owed_margin_locked(const TmemHeap *heap)
{
    const TmemArena *arena = heap->arena;
    uint64_t bytes = heap->min_bytes >> TMEM_TIGHT_SHIFT;

    /* See tmem_share_victim_locked(). */
    for (const TmemHeap *other = arena->heaps; other; other = other->next) {
        bytes += 1ull << arena->segment_shift;
    }
    return bytes + arena->reserve_bytes;
}

bool tmem_share_owes(TmemHeap *heap)
{
    TmemArena *arena = heap->arena;
    bool owes;

    tmem_lock(&arena->lock);
    owes = heap->pinned_bytes < heap->min_bytes &&
           arena->promised_bytes + overhead_locked(arena) <=
           arena->budget_bytes &&
           heap->pinned_bytes + owed_margin_locked(heap) <= heap->min_bytes;
    tmem_unlock(&arena->lock);
    return owes;
}

/* --- Whose pages go --- */

static bool has_evictable(const TmemHeap *heap)
{
    return heap->order[TMEM_SPACE_EPHEMERAL].nr ||
           heap->order[TMEM_SPACE_EPHEMERAL_INDEX].nr ||
           heap->order[TMEM_SPACE_PROBATION].nr;
}

/* What @heap holds, in proportion to its share. */
static double fill_of(const TmemHeap *heap)
{
    return (double)heap->bytes / (heap->share_bytes + 1);
}

TmemHeap *tmem_share_victim_locked(TmemArena *arena, const TmemWish *wish)
{
    const TmemHeap *for_heap = wish->for_heap;
    uint64_t segment = 1ull << arena->segment_shift;
    TmemHeap *victim = NULL;

    for (TmemHeap *heap = arena->heaps; heap; heap = heap->next) {
        if (!has_evictable(heap)) {
            continue;
        }
        if (heap != for_heap) {
            if (!wish->past_minimums &&
                heap->bytes < heap->min_bytes + segment) {
                continue;
            }
            if (for_heap && !wish->pinning &&
                fill_of(heap) < fill_of(for_heap)) {
                continue;
            }
        }
        if (!victim || fill_of(heap) > fill_of(victim)) {
            victim = heap;
        }
    }
    return victim;
}
