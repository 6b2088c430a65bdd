/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: the heap of one client: its segments, cut into slots
 */
#include <string.h>

#include "tmem-fault.h"
#include "tmem-heap.h"

/* --- Life --- */

bool tmem_heap_init(TmemHeap *heap, TmemArena *arena, uint64_t max_bytes)
{
    uint32_t nr = TMEM_SPACE__MAX * arena->nr_classes;

    memset(heap, 0, sizeof(*heap));
    heap->arena = arena;
    heap->max_bytes = max_bytes;
    heap->slack = UINT32_MAX;
    heap->classes = TMEM_FAULT("heap") ? NULL : g_try_new0(TmemClass, nr);
    if (!heap->classes) {
        return false;
    }
    for (uint32_t i = 0; i < nr; i++) {
        tmem_lock_init(&heap->classes[i].lock, TMEM_RANK_CLASS);
        heap->classes[i].first = TMEM_SEGMENT_NONE;
    }
    for (int space = 0; space < TMEM_SPACE__MAX; space++) {
        heap->order[space].first = TMEM_SEGMENT_NONE;
        heap->order[space].last = TMEM_SEGMENT_NONE;
    }
    tmem_lock(&arena->lock);
    heap->next = arena->heaps;
    if (heap->next) {
        heap->next->prev = heap;
    }
    arena->heaps = heap;
    tmem_unlock(&arena->lock);
    return true;
}

void tmem_heap_destroy(TmemHeap *heap)
{
    TmemArena *arena = heap->arena;

    tmem_lock(&arena->lock);
    while (heap->nr_victims) {
        pthread_cond_wait(&arena->victims_done, &arena->lock.mutex);
    }
    g_assert(!heap->bytes);
    if (heap->prev) {
        heap->prev->next = heap->next;
    } else {
        arena->heaps = heap->next;
    }
    if (heap->next) {
        heap->next->prev = heap->prev;
    }
    tmem_unlock(&arena->lock);
    for (uint32_t i = 0; i < TMEM_SPACE__MAX * arena->nr_classes; i++) {
        tmem_lock_destroy(&heap->classes[i].lock);
    }
    g_free(heap->classes);
}

/* --- What it is charged with --- */

static void add_bytes_locked(TmemHeap *heap, int64_t bytes)
{
    __atomic_store_n(&heap->bytes, heap->bytes + bytes, __ATOMIC_RELAXED);
    __atomic_store_n(&heap->bytes_peak, MAX(heap->bytes_peak, heap->bytes),
                     __ATOMIC_RELAXED);
    heap->arena->heaps_bytes += bytes;
}

static bool over_limit_locked(const TmemHeap *heap, uint64_t bytes)
{
    return heap->max_bytes && (heap->bytes >= heap->max_bytes ||
                               bytes > heap->max_bytes - heap->bytes);
}

static TmemStatus charge(TmemHeap *heap, int64_t bytes)
{
    TmemArena *arena = heap->arena;
    TmemStatus status = TMEM_STATUS_OK;

    tmem_lock(&arena->lock);
    if (bytes > 0 && over_limit_locked(heap, bytes)) {
        status = TMEM_STATUS_QUOTA;
    } else if (bytes > 0 && (uint64_t)bytes >
                            arena->size_bytes - arena->used_bytes) {
        status = TMEM_STATUS_NOSPC;
    } else {
        add_bytes_locked(heap, bytes);
        heap->charged_bytes += bytes;
        arena->charged_bytes += bytes;
        tmem_arena_set_used_locked(arena, arena->used_bytes + bytes);
    }
    tmem_unlock(&arena->lock);
    return status;
}

TmemStatus tmem_heap_charge(TmemHeap *heap, int64_t bytes)
{
    TmemStatus status;

    if (!bytes) {
        return TMEM_STATUS_OK;
    }
    if (bytes > 0 && TMEM_FAULT("arena-charge")) {
        return TMEM_STATUS_NOSPC;
    }
    status = charge(heap, bytes);
    if (status == TMEM_STATUS_NOSPC) {
        /* Idle segments count as used. */
        tmem_arena_trim_all(heap->arena);
        status = charge(heap, bytes);
    }
    return status;
}

/* --- Eviction order --- */

static void order_append_locked(TmemArena *arena, uint32_t nr)
{
    TmemSegment *seg = &arena->segments[nr];
    TmemHeap *heap = seg->heap;
    uint32_t last = heap->order[seg->space].last;

    seg->order_next = TMEM_SEGMENT_NONE;
    seg->order_prev = last;
    if (last == TMEM_SEGMENT_NONE) {
        heap->order[seg->space].first = nr;
    } else {
        arena->segments[last].order_next = nr;
    }
    heap->order[seg->space].last = nr;
    seg->order_stamp = arena->order_clock++;
}

/* Keeps its stamp, which must be older than those in the order. */
static void order_prepend_locked(TmemArena *arena, uint32_t nr)
{
    TmemSegment *seg = &arena->segments[nr];
    TmemHeap *heap = seg->heap;
    uint32_t first = heap->order[seg->space].first;

    seg->order_prev = TMEM_SEGMENT_NONE;
    seg->order_next = first;
    if (first == TMEM_SEGMENT_NONE) {
        heap->order[seg->space].last = nr;
    } else {
        arena->segments[first].order_prev = nr;
    }
    heap->order[seg->space].first = nr;
}

static void order_remove_locked(TmemArena *arena, uint32_t nr)
{
    TmemSegment *seg = &arena->segments[nr];
    TmemHeap *heap = seg->heap;

    if (seg->order_prev == TMEM_SEGMENT_NONE) {
        heap->order[seg->space].first = seg->order_next;
    } else {
        arena->segments[seg->order_prev].order_next = seg->order_next;
    }
    if (seg->order_next == TMEM_SEGMENT_NONE) {
        heap->order[seg->space].last = seg->order_prev;
    } else {
        arena->segments[seg->order_next].order_prev = seg->order_prev;
    }
}

void tmem_heap_order_renew_locked(TmemArena *arena, uint32_t segment)
{
    order_remove_locked(arena, segment);
    order_append_locked(arena, segment);
}

uint32_t tmem_heap_oldest_locked(const TmemHeap *heap)
{
    uint32_t record = heap->order[TMEM_SPACE_EPHEMERAL].first;
    uint32_t index = heap->order[TMEM_SPACE_EPHEMERAL_INDEX].first;
    int32_t older_by;

    if (record == TMEM_SEGMENT_NONE || index == TMEM_SEGMENT_NONE) {
        return record == TMEM_SEGMENT_NONE ? index : record;
    }
    older_by = heap->arena->segments[record].order_stamp -
               heap->arena->segments[index].order_stamp;
    return older_by > 0 ? index : record;
}

/* --- Segments --- */

/*
 * Half a segment is lost for each class in use, and half of the slack on each
 * slot, so with n segments the best slack is about 1/sqrt(n); a heap of very
 * few takes whatever fits.
 */
static void set_slack_locked(TmemHeap *heap)
{
    uint32_t n = heap->nr_segments;
    uint32_t root = 1;

    while (root * root < n && root < 256) {
        root++;
    }
    __atomic_store_n(&heap->slack, MAX(n ? 8 * 256 / n : UINT32_MAX,
                                       128 / root), __ATOMIC_RELAXED);
}

/* Class lock held: gives the class a segment, unlisted. */
static uint32_t segment_get(TmemHeap *heap, TmemSpace space, uint32_t class_nr,
                            TmemStatus *why)
{
    TmemArena *arena = heap->arena;
    uint64_t bytes = 1ull << arena->segment_shift;
    uint32_t nr = TMEM_SEGMENT_NONE;

    if (TMEM_FAULT("arena-segment")) {
        return TMEM_SEGMENT_NONE;
    }
    tmem_lock(&arena->lock);
    if (over_limit_locked(heap, bytes)) {
        *why = TMEM_STATUS_QUOTA;
    } else {
        nr = tmem_arena_pop_locked(arena);
    }
    if (nr != TMEM_SEGMENT_NONE) {
        TmemSegment *seg = &arena->segments[nr];

        memset(seg, 0, sizeof(*seg));
        seg->heap = heap;
        seg->class_nr = class_nr;
        seg->space = space;
        seg->in_use = true;
        arena->nr_in_use++;
        heap->nr_segments++;
        set_slack_locked(heap);
        add_bytes_locked(heap, bytes);
        if (space != TMEM_SPACE_PERSISTENT) {
            order_append_locked(arena, nr);
        }
    }
    tmem_unlock(&arena->lock);
    return nr;
}

/* Class lock held: an empty, unlisted segment leaves its class. */
static void segment_put(TmemArena *arena, uint32_t nr, bool by_evictor)
{
    TmemSegment *seg = &arena->segments[nr];
    TmemHeap *heap = seg->heap;

    tmem_lock(&arena->lock);
    if (by_evictor || !seg->victim) {
        if (!by_evictor && seg->space != TMEM_SPACE_PERSISTENT) {
            order_remove_locked(arena, nr);
        }
        seg->victim = false;
        tmem_arena_push_locked(arena, nr);
        arena->nr_in_use--;
        heap->nr_segments--;
        set_slack_locked(heap);
        add_bytes_locked(heap, -(1ll << arena->segment_shift));
    }
    /* else the evictor, who waits for the class lock, puts it */
    tmem_unlock(&arena->lock);
}

static void set_first(TmemClass *c, uint32_t nr)
{
    __atomic_store_n(&c->first, nr, __ATOMIC_RELAXED);
}

static void list_segment(TmemArena *arena, TmemClass *c, uint32_t nr)
{
    TmemSegment *seg = &arena->segments[nr];

    seg->prev = TMEM_SEGMENT_NONE;
    seg->next = c->first;
    if (c->first != TMEM_SEGMENT_NONE) {
        arena->segments[c->first].prev = nr;
    }
    set_first(c, nr);
    seg->listed = true;
}

static void unlist_segment(TmemArena *arena, TmemClass *c, uint32_t nr)
{
    TmemSegment *seg = &arena->segments[nr];

    if (seg->prev == TMEM_SEGMENT_NONE) {
        set_first(c, seg->next);
    } else {
        arena->segments[seg->prev].next = seg->next;
    }
    if (seg->next != TMEM_SEGMENT_NONE) {
        arena->segments[seg->next].prev = seg->prev;
    }
    seg->listed = false;
}

/* --- Slots --- */

/* Class lock held: takes a slot from a listed segment. */
static TmemRef slot_take(TmemArena *arena, TmemClass *c, uint32_t nr)
{
    TmemSegment *seg = &arena->segments[nr];
    TmemFreeSlot *slot;
    uint32_t unit;
    TmemRef ref;

    if (seg->free_head) {
        unit = seg->free_head - 1;
        ref = tmem_arena_ref(arena, nr, unit);
        slot = tmem_arena_ptr(arena, ref);
        seg->free_head = slot->next;
    } else {
        unit = seg->watermark * (arena->classes[seg->class_nr].slot_bytes >>
                                 TMEM_UNIT_SHIFT);
        ref = tmem_arena_ref(arena, nr, unit);
        slot = tmem_arena_ptr(arena, ref);
        /* An evictor may look at any slot below the watermark. */
        __atomic_store_n(&slot->owner, 0, __ATOMIC_RELAXED);
        seg->watermark++;
    }
    seg->nr_used++;
    c->nr_used++;
    if (seg->nr_used == arena->classes[seg->class_nr].slots) {
        unlist_segment(arena, c, nr);
    }
    return ref;
}

/* A slot of the class from the segments that it has. */
static TmemRef slot_of_class(TmemHeap *heap, TmemClass *c)
{
    TmemRef ref = 0;

    if (__atomic_load_n(&c->first, __ATOMIC_RELAXED) == TMEM_SEGMENT_NONE) {
        return 0;
    }
    tmem_lock(&c->lock);
    if (c->first != TMEM_SEGMENT_NONE) {
        ref = slot_take(heap->arena, c, c->first);
    }
    tmem_unlock(&c->lock);
    return ref;
}

/* A slot of a class beyond @class_nr, of at most @max_bytes. */
static TmemRef slot_of_larger(TmemHeap *heap, TmemSpace space,
                              uint32_t class_nr, uint64_t max_bytes)
{
    TmemArena *arena = heap->arena;
    TmemRef ref = 0;

    while (!ref && ++class_nr < arena->nr_classes &&
           arena->classes[class_nr].slot_bytes <= max_bytes) {
        ref = slot_of_class(heap, tmem_heap_class(heap, space, class_nr));
    }
    return ref;
}

static TmemRef slot_of_new_segment(TmemHeap *heap, TmemSpace space,
                                   uint32_t class_nr, TmemStatus *why)
{
    TmemClass *c = tmem_heap_class(heap, space, class_nr);
    TmemRef ref = 0;

    tmem_lock(&c->lock);
    /* Another thread may just have brought one. */
    if (c->first == TMEM_SEGMENT_NONE) {
        uint32_t nr = segment_get(heap, space, class_nr, why);

        if (nr != TMEM_SEGMENT_NONE) {
            list_segment(heap->arena, c, nr);
        }
    }
    if (c->first != TMEM_SEGMENT_NONE) {
        ref = slot_take(heap->arena, c, c->first);
    }
    tmem_unlock(&c->lock);
    return ref;
}

TmemRef tmem_heap_alloc(TmemHeap *heap, TmemSpace space, size_t bytes,
                        bool any_class, TmemStatus *why)
{
    TmemArena *arena = heap->arena;
    uint64_t slack = __atomic_load_n(&heap->slack, __ATOMIC_RELAXED);
    uint32_t class_nr;
    TmemRef ref;

    g_assert(bytes > 0 && bytes <= TMEM_SLOT_BYTES_MAX);
    *why = TMEM_STATUS_NOSPC;
    if (TMEM_FAULT("arena-slot")) {
        return 0;
    }
    class_nr = arena->class_of[(bytes + TMEM_UNIT - 1) >> TMEM_UNIT_SHIFT];
    ref = slot_of_class(heap, tmem_heap_class(heap, space, class_nr));
    if (!ref) {
        ref = slot_of_larger(heap, space, class_nr,
                             bytes + (bytes * slack >> 8));
    }
    if (!ref) {
        ref = slot_of_new_segment(heap, space, class_nr, why);
    }
    if (!ref && any_class) {
        ref = slot_of_larger(heap, space, class_nr, UINT64_MAX);
    }
    return ref;
}

void tmem_heap_free(TmemArena *arena, TmemRef ref)
{
    uint32_t nr = tmem_arena_segment_of(arena, ref);
    TmemSegment *seg = &arena->segments[nr];
    TmemClass *c = tmem_segment_class(seg);
    TmemFreeSlot *slot = tmem_arena_ptr(arena, ref);

    tmem_lock(&c->lock);
    g_assert(seg->nr_used > 0);
    __atomic_store_n(&slot->owner, 0, __ATOMIC_RELAXED);
    slot->next = seg->free_head;
    seg->free_head = ref - tmem_arena_ref(arena, nr, 0) + 1;
    seg->nr_used--;
    c->nr_used--;
    if (!seg->frozen) {
        if (!seg->nr_used) {
            if (seg->listed) {
                unlist_segment(arena, c, nr);
            }
            segment_put(arena, nr, false);
        } else if (!seg->listed) {
            list_segment(arena, c, nr);
        }
    }
    tmem_unlock(&c->lock);
}

/* --- Eviction --- */

void tmem_victim_begin(TmemArena *arena, uint32_t segment, TmemVictim *victim)
{
    TmemSegment *seg = &arena->segments[segment];
    TmemClass *c = tmem_segment_class(seg);

    g_assert(seg->in_use && !seg->victim);
    seg->victim = true;
    arena->nr_victims++;
    seg->heap->nr_victims++;
    order_remove_locked(arena, segment);
    tmem_unlock(&arena->lock);

    tmem_lock(&c->lock);
    seg->frozen = true;
    if (seg->listed) {
        unlist_segment(arena, c, segment);
    }
    victim->heap = seg->heap;
    victim->segment = segment;
    victim->nr_slots = seg->watermark;
    victim->slot_units = arena->classes[seg->class_nr].slot_bytes >>
                         TMEM_UNIT_SHIFT;
    victim->first = tmem_arena_ref(arena, segment, 0);
    tmem_unlock(&c->lock);
}

/* Class lock held: a segment that could not be emptied is in use again. */
static void victim_spare(TmemArena *arena, TmemClass *c, uint32_t nr,
                         bool walked)
{
    TmemSegment *seg = &arena->segments[nr];

    /* A slot is in the hand of a store that has not published it yet. */
    if (seg->nr_used < arena->classes[seg->class_nr].slots) {
        list_segment(arena, c, nr);
    }
    tmem_lock(&arena->lock);
    seg->victim = false;
    if (walked) {
        order_append_locked(arena, nr);
    } else {
        order_prepend_locked(arena, nr);
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
    seg->frozen = false;
    empty = !seg->nr_used;
    if (empty) {
        segment_put(arena, victim->segment, true);
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
