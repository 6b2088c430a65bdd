/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: the heap of one client: its segments, cut into slots
 */
#include <stdlib.h>
#include <string.h>

#include "tmem-error.h"
#include "tmem-fault.h"
#include "tmem-order.h"
#include "tmem-share.h"

/* --- Life --- */

static void free_classes(TmemHeap *heap)
{
    for (uint32_t i = 0; i < TMEM_SPACE__MAX * heap->arena->nr_classes; i++) {
        tmem_lock_destroy(&heap->classes[i].lock);
    }
    free(heap->classes);
}

static bool new_classes(TmemHeap *heap)
{
    uint32_t nr = TMEM_SPACE__MAX * heap->arena->nr_classes;
    void *classes;

    if (TMEM_FAULT("heap") ||
        posix_memalign(&classes, _Alignof(TmemClass),
                       nr * sizeof(TmemClass))) {
        return false;
    }
    memset(classes, 0, nr * sizeof(TmemClass));
    heap->classes = classes;
    for (uint32_t i = 0; i < nr; i++) {
        TmemClass *c = &heap->classes[i];

        tmem_lock_init(&c->lock, TMEM_RANK_CLASS);
        c->fullest = TMEM_SEGMENT_NONE;
        for (int list = 0; list < TMEM_LIST__MAX; list++) {
            c->first[list] = TMEM_SEGMENT_NONE;
        }
    }
    return true;
}

bool tmem_heap_init(TmemHeap *heap, TmemArena *arena, const char *name,
                    const TmemLimits *limits, GError **errp)
{
    bool ok;

    memset(heap, 0, sizeof(*heap));
    heap->arena = arena;
    heap->slack = UINT32_MAX;
    if (!new_classes(heap)) {
        return tmem_error_set(errp, "client '%s': no memory for its tables",
                              name);
    }
    for (int space = 0; space < TMEM_SPACE__MAX; space++) {
        heap->order[space].first = TMEM_SEGMENT_NONE;
        heap->order[space].last = TMEM_SEGMENT_NONE;
    }
    tmem_lock(&arena->lock);
    ok = tmem_share_check_locked(arena, NULL, name, limits, errp);
    if (ok) {
        tmem_share_join_locked(heap, limits);
    }
    tmem_unlock(&arena->lock);
    if (!ok) {
        free_classes(heap);
    }
    return ok;
}

static void segment_put_locked(TmemArena *arena, uint32_t nr);

/*
 * Slots of pages whose entries went bad: nothing leads to them any more.  Tests
 * want to know of any other that is left.
 */
static void take_back_locked(TmemHeap *heap)
{
    TmemArena *arena = heap->arena;

#ifdef TMEM_DEBUG
    g_assert(!heap->nr_segments ||
             __atomic_load_n(&heap->has_lost, __ATOMIC_RELAXED));
#endif
    for (uint32_t nr = 0; heap->nr_segments && nr < arena->nr_virgin; nr++) {
        const TmemSegment *seg = &arena->segments[nr];

        if (seg->in_use && seg->heap == heap) {
            if (seg->space != TMEM_SPACE_PERSISTENT) {
                tmem_order_remove_locked(arena, nr);
            }
            segment_put_locked(arena, nr);
        }
    }
}

void tmem_heap_destroy(TmemHeap *heap)
{
    TmemArena *arena = heap->arena;

    tmem_lock(&arena->lock);
    while (heap->nr_victims) {
        pthread_cond_wait(&arena->victims_done, &arena->lock.mutex);
    }
    take_back_locked(heap);
    g_assert(!heap->bytes);
    tmem_share_leave_locked(heap);
    tmem_unlock(&arena->lock);
    free_classes(heap);
}

/* --- Segments --- */

/*
 * Half a step is lost for each class in use, and half of the slack on each
 * slot, so with n steps the best slack is in proportion to 1/sqrt(n); a heap of
 * very few takes whatever fits.  What is taken over has slots as it had before.
 */
void tmem_heap_set_slack_locked(TmemHeap *heap)
{
    uint64_t n = heap->bytes >> heap->arena->step_shift;
    uint32_t root = 1;

    while ((uint64_t)root * root < n && root < 256) {
        root++;
    }
    __atomic_store_n(&heap->slack, heap->taker ? 0 :
                     n ? MAX(8 * 256 / n, 2 * 256 / root - 2) : UINT32_MAX,
                     __ATOMIC_RELAXED);
}

/* Growth that an allocation asks for. */
typedef struct Growth {
    bool past_share;        /* and what is kept in reserve: for upkeep */
    bool grace;             /* and past the limits, as tmem-share.h says */
    TmemStatus why;         /* it was refused */
} Growth;

static uint64_t grace_of(const TmemArena *arena, const Growth *growth)
{
    return growth->grace ? tmem_arena_grace_locked(arena) : 0;
}

/* Whether the heap may have @bytes more, as far as limits are concerned. */
static bool may_grow_locked(const TmemHeap *heap, TmemSpace space,
                            uint64_t bytes, Growth *growth)
{
    TmemArena *arena = heap->arena;
    uint64_t idle = (uint64_t)arena->nr_idle << arena->segment_shift;
    uint64_t want = bytes + (growth->past_share ? 0 : arena->reserve_bytes);

    growth->why = tmem_heap_over_limit_locked(heap, want, growth->grace) ?
                  TMEM_STATUS_QUOTA : TMEM_STATUS_NOSPC;
    /* Beyond a lowered budget what comes idle goes back. */
    if (growth->why == TMEM_STATUS_QUOTA ||
        (!growth->grace && tmem_arena_excess_locked(arena)) ||
        want > tmem_arena_room_locked(arena, grace_of(arena, growth)) + idle) {
        return false;
    }
    return growth->past_share || space != TMEM_SPACE_PERSISTENT ||
           tmem_share_admits_locked(heap, bytes);
}

/* What is paid for with a segment's first slot: the steps up to its end. */
static uint64_t first_slot_cost(const TmemArena *arena, TmemSpace space,
                                uint32_t class_nr)
{
    const TmemSize *size = &tmem_arena_sizes(arena, space)->of_class[class_nr];
    uint64_t bytes = (size->first_unit << TMEM_UNIT_SHIFT) + size->slot_bytes;

    return (((bytes - 1) >> arena->step_shift) + 1) << arena->step_shift;
}

/* Class lock held: gives the class a segment, unlisted. */
static uint32_t segment_get(TmemHeap *heap, TmemSpace space, uint32_t class_nr,
                            Growth *growth)
{
    TmemArena *arena = heap->arena;
    uint64_t max_bytes = 1ull << arena->segment_shift;
    uint32_t nr = TMEM_SEGMENT_NONE;

    if (TMEM_FAULT("arena-segment")) {
        return TMEM_SEGMENT_NONE;
    }
    tmem_lock(&arena->lock);
    /* An idle one may be more than is allowed, and a fresh one not. */
    if (!may_grow_locked(heap, space, max_bytes, growth)) {
        max_bytes = first_slot_cost(arena, space, class_nr);
    }
    if (may_grow_locked(heap, space, max_bytes, growth)) {
        nr = tmem_arena_pop_locked(arena, max_bytes,
                                   grace_of(arena, growth));
    }
    if (nr != TMEM_SEGMENT_NONE) {
        TmemSegment *seg = &arena->segments[nr];
        uint32_t nr_steps = seg->nr_steps;

        memset(seg, 0, sizeof(*seg));
        seg->nr_steps = nr_steps;
        seg->heap = heap;
        seg->class_nr = class_nr;
        seg->space = space;
        seg->in_use = true;
        arena->nr_in_use++;
        arena->nr_ephemeral += space != TMEM_SPACE_PERSISTENT;
        heap->nr_segments++;
        tmem_heap_add_bytes_locked(heap, tmem_segment_bytes(arena, seg),
                                   space == TMEM_SPACE_PERSISTENT);
        tmem_heap_set_slack_locked(heap);
        if (space != TMEM_SPACE_PERSISTENT) {
            tmem_order_append_locked(arena, nr);
        }
    }
    tmem_unlock(&arena->lock);
    return nr;
}

/* Class lock held: pays for the segment up to @bytes from its start. */
static bool segment_pay(TmemArena *arena, uint32_t nr, uint32_t bytes,
                        Growth *growth)
{
    TmemSegment *seg = &arena->segments[nr];
    TmemHeap *heap = seg->heap;
    uint32_t nr_steps = ((bytes - 1) >> arena->step_shift) + 1;
    bool ok;

    if (nr_steps <= seg->nr_steps) {
        return true;
    }
    tmem_lock(&arena->lock);
    bytes = (nr_steps - seg->nr_steps) << arena->step_shift;
    ok = may_grow_locked(heap, seg->space, bytes, growth) &&
         tmem_arena_pay_locked(arena, nr, nr_steps,
                               grace_of(arena, growth));
    if (ok) {
        tmem_heap_add_bytes_locked(heap, bytes,
                                   seg->space == TMEM_SPACE_PERSISTENT);
        tmem_heap_set_slack_locked(heap);
    }
    tmem_unlock(&arena->lock);
    return ok;
}

/* Class and arena locks held: an empty, unlisted segment leaves the heap. */
static void segment_put_locked(TmemArena *arena, uint32_t nr)
{
    TmemSegment *seg = &arena->segments[nr];
    TmemHeap *heap = seg->heap;

    seg->victim = false;
    tmem_arena_push_locked(arena, nr);
    arena->nr_in_use--;
    arena->nr_ephemeral -= seg->space != TMEM_SPACE_PERSISTENT;
    heap->nr_segments--;
    tmem_heap_add_bytes_locked(heap, -(int64_t)tmem_segment_bytes(arena, seg),
                               seg->space == TMEM_SPACE_PERSISTENT);
    tmem_heap_set_slack_locked(heap);
}

/* --- The lists of a class.  Its lock is held. --- */

static void set_first(TmemClass *c, TmemList list, uint32_t nr)
{
    uint8_t bit;

    /* For compilers that believe in others when sanitisers look. */
    g_assert(list < TMEM_LIST__MAX);
    bit = 1u << list;
    c->first[list] = nr;
    if (list >= TMEM_LIST_GROWING) {
        c->groups = nr == TMEM_SEGMENT_NONE ? c->groups & ~bit :
                                              c->groups | bit;
        /* The fullest with a free slot, or else one that can grow. */
        __atomic_store_n(&c->fullest, !c->groups ? TMEM_SEGMENT_NONE :
                         c->first[31 - __builtin_clz(c->groups)],
                         __ATOMIC_RELAXED);
    }
}

static void set_list(TmemSegment *seg, TmemList list)
{
    /* tmem_arena_draining() reads it without the lock. */
    __atomic_store_n(&seg->list, list, __ATOMIC_RELAXED);
}

static void count_draining(TmemClass *c, int nr)
{
    __atomic_store_n(&c->nr_draining, c->nr_draining + nr, __ATOMIC_RELAXED);
}

static void unlist_segment(TmemArena *arena, TmemClass *c, uint32_t nr)
{
    TmemSegment *seg = &arena->segments[nr];

    if (seg->list == TMEM_LIST_NONE) {
        return;
    }
    if (seg->list == TMEM_LIST_DRAINING) {
        count_draining(c, -1);
    }
    if (seg->prev == TMEM_SEGMENT_NONE) {
        set_first(c, seg->list, seg->next);
    } else {
        arena->segments[seg->prev].next = seg->next;
    }
    if (seg->next != TMEM_SEGMENT_NONE) {
        arena->segments[seg->next].prev = seg->prev;
    }
    set_list(seg, TMEM_LIST_NONE);
}

static void list_segment(TmemArena *arena, TmemClass *c, uint32_t nr,
                         TmemList list)
{
    TmemSegment *seg = &arena->segments[nr];

    if (seg->list == list) {
        return;
    }
    unlist_segment(arena, c, nr);
    if (list == TMEM_LIST_NONE) {
        return;
    }
    seg->prev = TMEM_SEGMENT_NONE;
    seg->next = c->first[list];
    if (seg->next != TMEM_SEGMENT_NONE) {
        arena->segments[seg->next].prev = nr;
    }
    set_first(c, list, nr);
    set_list(seg, list);
    if (list == TMEM_LIST_DRAINING) {
        count_draining(c, 1);
    }
}

/* Where a segment belongs from which slots may be taken. */
static TmemList list_of(const TmemArena *arena, const TmemSegment *seg)
{
    uint32_t slots = tmem_segment_size(arena, seg)->slots;

    if (seg->free_head) {
        return TMEM_LIST_FILLED_0 + 4 * seg->nr_used / slots;
    }
    return seg->watermark < slots ? TMEM_LIST_GROWING : TMEM_LIST_NONE;
}

/* A segment joins the class, or leaves it. */
static void segment_open(TmemArena *arena, TmemClass *c, uint32_t nr)
{
    c->nr_segments++;
    c->nr_touched += arena->segments[nr].watermark;
    list_segment(arena, c, nr, list_of(arena, &arena->segments[nr]));
}

static void segment_close(TmemArena *arena, TmemClass *c, uint32_t nr)
{
    unlist_segment(arena, c, nr);
    c->nr_segments--;
    c->nr_touched -= arena->segments[nr].watermark;
}

/* Class lock held: the segment that was marked last is used again. */
static bool undrain_one(TmemArena *arena, TmemClass *c)
{
    uint32_t nr = c->first[TMEM_LIST_DRAINING];

    if (nr == TMEM_SEGMENT_NONE) {
        return false;
    }
    list_segment(arena, c, nr, list_of(arena, &arena->segments[nr]));
    return true;
}

/* --- Slots --- */

/* Class lock held; read without it. */
static void count_used(TmemClass *c, int64_t nr)
{
    __atomic_store_n(&c->nr_used, c->nr_used + nr, __ATOMIC_RELAXED);
}

/*
 * Where the next free slot is says one that is in no cache.  It is taken before
 * long, and by then it has come.
 */
static void prefetch_free(const TmemArena *arena, uint32_t nr,
                          const TmemSegment *seg)
{
    if (seg->free_head) {
        __builtin_prefetch(tmem_arena_ptr(arena,
                               tmem_arena_ref(arena, nr, seg->free_head - 1)),
                           1);
    }
}

/*
 * Class lock held: takes a slot from a listed segment.  Returns 0 if that would
 * touch memory that is not paid for, unless @growth may be had.
 */
static TmemRef slot_take(TmemArena *arena, TmemClass *c, uint32_t nr,
                         Growth *growth)
{
    TmemSegment *seg = &arena->segments[nr];
    const TmemSize *size = tmem_segment_size(arena, seg);
    uint32_t unit = size->first_unit + seg->watermark * tmem_size_units(size);
    uint32_t end = (unit << TMEM_UNIT_SHIFT) + size->slot_bytes;
    TmemFreeSlot *slot;
    TmemRef ref;

    if (seg->free_head) {
        ref = tmem_arena_ref(arena, nr, seg->free_head - 1);
        slot = tmem_arena_ptr(arena, ref);
        seg->free_head = slot->next;
        prefetch_free(arena, nr, seg);
    } else {
        if (growth ? !segment_pay(arena, nr, end, growth) :
                     end > tmem_segment_bytes(arena, seg)) {
            return 0;
        }
        ref = tmem_arena_ref(arena, nr, unit);
        /* An evictor may look at any slot below the watermark. */
        __atomic_store_n(tmem_slot_owner(arena, ref), 0, __ATOMIC_RELAXED);
        seg->watermark++;
        c->nr_touched++;
    }
    seg->nr_used++;
    count_used(c, 1);
    list_segment(arena, c, nr, list_of(arena, seg));
    return ref;
}

/* A slot of the class from the segments that it has. */
static TmemRef slot_of_class(TmemHeap *heap, TmemClass *c)
{
    TmemRef ref = 0;

    if (__atomic_load_n(&c->fullest, __ATOMIC_RELAXED) == TMEM_SEGMENT_NONE) {
        return 0;
    }
    tmem_lock(&c->lock);
    if (c->fullest != TMEM_SEGMENT_NONE) {
        ref = slot_take(heap->arena, c, c->fullest, NULL);
    }
    tmem_unlock(&c->lock);
    return ref;
}

/* A slot of a class beyond @class_nr, of at most @max_bytes. */
static TmemRef slot_of_larger(TmemHeap *heap, TmemSpace space,
                              uint32_t class_nr, uint64_t max_bytes)
{
    const TmemSizes *sizes = tmem_arena_sizes(heap->arena, space);
    TmemRef ref = 0;

    while (!ref && ++class_nr < sizes->nr &&
           sizes->of_class[class_nr].slot_bytes <= max_bytes) {
        ref = slot_of_class(heap, tmem_heap_class(heap, space, class_nr));
    }
    return ref;
}

/*
 * A slot of a marked segment, of @class_nr or of one beyond it of at most
 * @max_bytes: what a client has free is not refused because compaction would
 * rather have it empty.
 */
static TmemRef slot_of_draining(TmemHeap *heap, TmemSpace space,
                                uint32_t class_nr, uint64_t max_bytes)
{
    TmemArena *arena = heap->arena;
    const TmemSizes *sizes = tmem_arena_sizes(arena, space);
    TmemRef ref = 0;

    do {
        TmemClass *c = tmem_heap_class(heap, space, class_nr);

        if (!__atomic_load_n(&c->nr_draining, __ATOMIC_RELAXED)) {
            continue;
        }
        tmem_lock(&c->lock);
        if (undrain_one(arena, c)) {
            ref = slot_take(arena, c, c->fullest, NULL);
        }
        tmem_unlock(&c->lock);
    } while (!ref && ++class_nr < sizes->nr &&
             sizes->of_class[class_nr].slot_bytes <= max_bytes);
    return ref;
}

/* Class lock held: an empty segment is given up. */
static void segment_leave(TmemArena *arena, TmemClass *c, uint32_t nr)
{
    TmemSegment *seg = &arena->segments[nr];

    tmem_lock(&arena->lock);
    /* An evictor that waits for the class lock takes it as it is. */
    if (!seg->victim) {
        segment_close(arena, c, nr);
        if (seg->space != TMEM_SPACE_PERSISTENT) {
            tmem_order_remove_locked(arena, nr);
        }
        segment_put_locked(arena, nr);
    }
    tmem_unlock(&arena->lock);
}

/* Lets a segment of the class grow, or opens one. */
static TmemRef slot_of_new_memory(TmemHeap *heap, TmemSpace space,
                                  uint32_t class_nr, Growth *growth)
{
    TmemClass *c = tmem_heap_class(heap, space, class_nr);
    TmemRef ref = 0;

    growth->why = TMEM_STATUS_NOSPC;
    tmem_lock(&c->lock);
    if (c->fullest != TMEM_SEGMENT_NONE) {
        ref = slot_take(heap->arena, c, c->fullest, growth);
    }
    /* Budget that idle segments hold cannot be had but with them. */
    if (!ref && growth->why != TMEM_STATUS_QUOTA) {
        uint32_t nr = segment_get(heap, space, class_nr, growth);

        if (nr != TMEM_SEGMENT_NONE) {
            segment_open(heap->arena, c, nr);
            ref = slot_take(heap->arena, c, nr, growth);
            if (!ref) {
                /* What was left was taken by another class meanwhile. */
                segment_leave(heap->arena, c, nr);
            }
        }
    }
    tmem_unlock(&c->lock);
    return ref;
}

static uint32_t class_of(const TmemArena *arena, TmemSpace space, size_t bytes)
{
    g_assert(bytes > 0 && bytes <= TMEM_SLOT_BYTES_MAX);
    return tmem_sizes_class(tmem_arena_sizes(arena, space), bytes);
}

/* The largest slot to take for @bytes before a segment is opened. */
static uint64_t with_slack(const TmemHeap *heap, size_t bytes)
{
    uint64_t slack = __atomic_load_n(&heap->slack, __ATOMIC_RELAXED);

    return bytes + (bytes * slack >> 8);
}

TmemRef tmem_heap_alloc_inside(TmemHeap *heap, TmemSpace space, size_t bytes,
                               bool any_class)
{
    uint32_t class_nr = class_of(heap->arena, space, bytes);
    TmemRef ref;

    ref = slot_of_class(heap, tmem_heap_class(heap, space, class_nr));
    if (!ref) {
        ref = slot_of_larger(heap, space, class_nr, any_class ? UINT64_MAX :
                                                    with_slack(heap, bytes));
    }
    return ref;
}

TmemRef tmem_heap_alloc(TmemHeap *heap, TmemSpace space, size_t bytes,
                        bool any_class, TmemStatus *why)
{
    uint32_t class_nr = class_of(heap->arena, space, bytes);
    Growth growth = { .past_share = tmem_heap_takes_over(heap) };
    TmemRef ref;

    *why = TMEM_STATUS_NOSPC;
    if (TMEM_FAULT("arena-slot")) {
        return 0;
    }
    if (space == TMEM_SPACE_PERSISTENT &&
        __atomic_load_n(&heap->arena->is_tight, __ATOMIC_RELAXED) &&
        !tmem_share_admits_slot(heap, bytes)) {
        return 0;
    }
    ref = tmem_heap_alloc_inside(heap, space, bytes, false);
    if (!ref) {
        ref = slot_of_draining(heap, space, class_nr, with_slack(heap, bytes));
    }
    if (!ref) {
        ref = slot_of_new_memory(heap, space, class_nr, &growth);
        *why = growth.why;
    }
    if (!ref && any_class && growth.past_share) {
        /* Before it takes a slot that belongs to what is yet to come. */
        growth.grace = true;
        ref = slot_of_new_memory(heap, space, class_nr, &growth);
        *why = growth.why;
    }
    if (!ref && any_class) {
        ref = slot_of_larger(heap, space, class_nr, UINT64_MAX);
    }
    if (!ref && any_class) {
        ref = slot_of_draining(heap, space, class_nr, UINT64_MAX);
    }
    return ref;
}

TmemRef tmem_heap_alloc_below(TmemHeap *heap, TmemSpace space, size_t bytes,
                              uint32_t below)
{
    TmemArena *arena = heap->arena;
    uint32_t class_nr = class_of(arena, space, bytes);
    Growth growth = { .past_share = true };
    TmemRef ref;

    if (tmem_arena_sizes(arena, space)->of_class[class_nr].slot_bytes >=
        below ||
        TMEM_FAULT("arena-slot")) {
        return 0;
    }
    ref = slot_of_class(heap, tmem_heap_class(heap, space, class_nr));
    if (!ref) {
        ref = slot_of_larger(heap, space, class_nr,
                             MIN(with_slack(heap, bytes), below - 1));
    }
    if (!ref) {
        ref = slot_of_new_memory(heap, space, class_nr, &growth);
    }
    return ref ? ref : slot_of_larger(heap, space, class_nr, below - 1);
}

void tmem_heap_free(TmemArena *arena, TmemRef ref)
{
    uint32_t nr = tmem_arena_segment_of(arena, ref);
    TmemSegment *seg = &arena->segments[nr];
    TmemClass *c = tmem_segment_class(seg);
    TmemFreeSlot *slot = tmem_arena_ptr(arena, ref);

    tmem_lock(&c->lock);
    g_assert(seg->nr_used > 0);
    __atomic_store_n(tmem_slot_owner(arena, ref), 0, __ATOMIC_RELAXED);
    slot->next = seg->free_head;
    seg->free_head = ref - tmem_arena_ref(arena, nr, 0) + 1;
    seg->nr_used--;
    count_used(c, -1);
    if (!seg->frozen) {
        if (seg->list != TMEM_LIST_DRAINING) {
            list_segment(arena, c, nr, list_of(arena, seg));
        }
        if (!seg->nr_used) {
            segment_leave(arena, c, nr);
        }
    }
    tmem_unlock(&c->lock);
}

/* --- Compaction --- */

/*
 * Class lock held: whether what is in @seg would fit the free slots that the
 * class's other segments would have left beside the marked ones.
 */
static bool others_have_room(const TmemArena *arena, const TmemClass *c,
                             const TmemSegment *seg)
{
    uint64_t gone = (c->nr_draining + 1ull) *
                    tmem_segment_size(arena, seg)->slots;
    uint64_t left = c->nr_touched - MIN(gone, c->nr_touched);

    /* A slot in 16 stays free, for what comes meanwhile. */
    return c->nr_used + left / 16 <= left;
}

uint32_t tmem_heap_drain(TmemHeap *heap, TmemSpace space, uint32_t class_nr)
{
    TmemArena *arena = heap->arena;
    TmemClass *c = tmem_heap_class(heap, space, class_nr);
    uint32_t marked = 0;

    tmem_lock(&c->lock);
    while (c->groups >> TMEM_LIST_FILLED_0 && marked < TMEM_DRAIN_MAX) {
        uint32_t groups = c->groups >> TMEM_LIST_FILLED_0;
        uint32_t nr = c->first[TMEM_LIST_FILLED_0 + __builtin_ctz(groups)];

        if (!others_have_room(arena, c, &arena->segments[nr])) {
            break;
        }
        list_segment(arena, c, nr, TMEM_LIST_DRAINING);
        marked++;
    }
    tmem_unlock(&c->lock);
    return marked;
}

uint32_t tmem_heap_drain_end(TmemHeap *heap, TmemSpace space,
                             uint32_t class_nr)
{
    TmemClass *c = tmem_heap_class(heap, space, class_nr);
    uint32_t nr = 0;

    tmem_lock(&c->lock);
    while (nr < TMEM_DRAIN_MAX && undrain_one(heap->arena, c)) {
        nr++;
    }
    tmem_unlock(&c->lock);
    return nr;
}

/* --- Eviction --- */

void tmem_victim_begin(TmemArena *arena, uint32_t segment, TmemVictim *victim)
{
    TmemSegment *seg = &arena->segments[segment];
    const TmemSize *size = tmem_segment_size(arena, seg);
    TmemClass *c = tmem_segment_class(seg);

    g_assert(seg->in_use && !seg->victim);
    seg->victim = true;
    arena->nr_victims++;
    seg->heap->nr_victims++;
    tmem_order_remove_locked(arena, segment);
    tmem_unlock(&arena->lock);

    tmem_lock(&c->lock);
    seg->frozen = true;
    segment_close(arena, c, segment);
    victim->heap = seg->heap;
    victim->segment = segment;
    victim->nr_slots = seg->watermark;
    victim->slot_units = tmem_size_units(size);
    victim->first = tmem_arena_ref(arena, segment, size->first_unit);
    victim->owners = tmem_arena_ptr(arena, tmem_arena_ref(arena, segment, 0));
    victim->owner_bytes = tmem_space_has_owners(seg->space) ?
                          sizeof(uint64_t) : size->slot_bytes;
    victim->nr_freed = 0;
    memset(victim->freed, 0, (victim->nr_slots + 63) / 64 * sizeof(uint64_t));
    tmem_unlock(&c->lock);
}

/* Class lock held: slots that the evictor freed are free for all to see. */
static void victim_link_freed(TmemArena *arena, const TmemVictim *victim)
{
    TmemSegment *seg = &arena->segments[victim->segment];

    for (uint32_t i = 0; i < victim->nr_slots; i += 64) {
        for (uint64_t left = victim->freed[i / 64]; left; left &= left - 1) {
            TmemRef ref = tmem_victim_slot(victim, i + __builtin_ctzll(left));
            TmemFreeSlot *slot = tmem_arena_ptr(arena, ref);

            slot->next = seg->free_head;
            seg->free_head = ref - tmem_arena_ref(arena, victim->segment, 0) +
                             1;
        }
    }
}

/* Class lock held. */
static void victim_count_freed(TmemArena *arena, TmemClass *c,
                               const TmemVictim *victim)
{
    TmemSegment *seg = &arena->segments[victim->segment];

    g_assert(seg->nr_used >= victim->nr_freed);
    seg->nr_used -= victim->nr_freed;
    count_used(c, -(int64_t)victim->nr_freed);
    if (seg->nr_used) {
        victim_link_freed(arena, victim);
    }
}

/* Class lock held: a segment that could not be emptied is in use again. */
static void victim_spare(TmemArena *arena, TmemClass *c, uint32_t nr,
                         bool walked)
{
    TmemSegment *seg = &arena->segments[nr];

    /* A slot is in the hand of a store that has not published it yet. */
    segment_open(arena, c, nr);
    tmem_lock(&arena->lock);
    seg->victim = false;
    if (walked) {
        tmem_order_append_locked(arena, nr);
    } else {
        tmem_order_prepend_locked(arena, nr);
    }
    tmem_unlock(&arena->lock);
}

bool tmem_victim_end(TmemArena *arena, TmemVictim *victim, bool walked)
{
    TmemSegment *seg = &arena->segments[victim->segment];
    TmemHeap *heap = victim->heap;
    TmemClass *c = tmem_segment_class(seg);
    bool empty;

    tmem_lock(&c->lock);
    victim_count_freed(arena, c, victim);
    seg->frozen = false;
    empty = !seg->nr_used;
    if (empty) {
        tmem_lock(&arena->lock);
        segment_put_locked(arena, victim->segment);
        tmem_unlock(&arena->lock);
    } else {
        victim_spare(arena, c, victim->segment, walked);
    }
    tmem_unlock(&c->lock);

    /* Only now may the heap, and the class lock with it, go. */
    tmem_lock(&arena->lock);
    arena->nr_victims--;
    if (!--heap->nr_victims) {
        pthread_cond_broadcast(&arena->victims_done);
    }
    tmem_unlock(&arena->lock);
    return empty;
}
