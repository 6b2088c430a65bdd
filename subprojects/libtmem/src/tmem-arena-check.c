/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: cross-checking the arena and its heaps
 */
#include <string.h>

#include "tmem-entry.h"
#include "tmem-error.h"
#include "tmem-heap.h"

static bool test_unit(const uint64_t *map, uint64_t unit)
{
    return map[unit / 64] >> (unit % 64) & 1;
}

/* Class lock held: whether a slot below the watermark starts at @unit. */
static bool is_slot(const TmemArena *arena, const TmemSegment *seg,
                    uint32_t unit)
{
    const TmemSize *size = tmem_segment_size(arena, seg);
    uint32_t units = tmem_size_units(size), first = size->first_unit;

    return unit >= first && (unit - first) % units == 0 &&
           (unit - first) / units < seg->watermark;
}

/* Class lock held: counts the free slots; they must be ones. */
static bool check_free_slots(TmemArena *arena, uint32_t nr,
                             const uint64_t *is_used, uint32_t *nr_free,
                             GError **errp)
{
    TmemSegment *seg = &arena->segments[nr];
    uint64_t first = tmem_arena_ref(arena, nr, 0) - 1;

    *nr_free = 0;
    for (uint32_t head = seg->free_head; head; ++*nr_free) {
        uint32_t unit = head - 1;
        TmemFreeSlot *slot = tmem_arena_ptr(arena, first + unit + 1);

        if (!is_slot(arena, seg, unit) || *nr_free >= seg->watermark ||
            tmem_owner_read(tmem_slot_owner(arena, first + unit + 1))) {
            return tmem_error_set(errp, "segment %u: bad free slot at unit %u",
                                  nr, unit);
        }
        if (test_unit(is_used, first + unit)) {
            return tmem_error_set(errp, "segment %u: the slot at unit %u is "
                                  "free and in the index", nr, unit);
        }
        head = slot->next;
    }
    return true;
}

/* Class lock held: counts the slots that the index knows. */
static bool check_known_slots(TmemArena *arena, uint32_t nr,
                              const uint64_t *is_used, uint32_t *nr_known,
                              GError **errp)
{
    TmemSegment *seg = &arena->segments[nr];
    uint64_t first = tmem_arena_ref(arena, nr, 0) - 1;

    *nr_known = 0;
    for (uint32_t unit = 0;
         unit < 1u << (arena->segment_shift - TMEM_UNIT_SHIFT); unit++) {
        if (!test_unit(is_used, first + unit)) {
            continue;
        }
        if (!is_slot(arena, seg, unit)) {
            return tmem_error_set(errp, "segment %u: the index knows unit %u, "
                                  "which is no slot", nr, unit);
        }
        ++*nr_known;
    }
    return true;
}

/* Class lock held. */
static bool check_segment(TmemArena *arena, uint32_t nr,
                          const uint64_t *is_used, bool *unknown,
                          GError **errp)
{
    TmemSegment *seg = &arena->segments[nr];
    uint32_t slots = tmem_segment_size(arena, seg)->slots;
    uint32_t nr_free, nr_known;

    if (!check_free_slots(arena, nr, is_used, &nr_free, errp) ||
        !check_known_slots(arena, nr, is_used, &nr_known, errp)) {
        return false;
    }
    if (seg->watermark > slots || seg->nr_used + nr_free != seg->watermark) {
        return tmem_error_set(errp, "segment %u: %u used and %u free slots of "
                              "%u", nr, seg->nr_used, nr_free, seg->watermark);
    }
    if (nr_known > seg->nr_used) {
        return tmem_error_set(errp, "segment %u: %u slots used, %u known to "
                              "the index", nr, seg->nr_used, nr_known);
    }
    *unknown |= nr_known < seg->nr_used;
    if (!seg->frozen && seg->list != TMEM_LIST_DRAINING &&
        seg->list != (seg->free_head ?
                      TMEM_LIST_FILLED_0 + 4 * seg->nr_used / slots :
                      seg->watermark < slots ? TMEM_LIST_GROWING :
                                               TMEM_LIST_NONE)) {
        return tmem_error_set(errp, "segment %u: on the wrong list", nr);
    }
    return true;
}

/* The class that segment @nr belongs to, locked; NULL if it is free. */
static TmemClass *lock_class_of(TmemArena *arena, uint32_t nr)
{
    TmemSegment *seg = &arena->segments[nr];
    TmemClass *c = NULL;
    bool again;

    do {
        tmem_lock(&arena->lock);
        c = seg->in_use ? tmem_segment_class(seg) : NULL;
        tmem_unlock(&arena->lock);
        if (!c) {
            return NULL;
        }
        tmem_lock(&c->lock);
        tmem_lock(&arena->lock);
        again = !seg->in_use || c != tmem_segment_class(seg);
        tmem_unlock(&arena->lock);
        if (again) {
            tmem_unlock(&c->lock);
        }
    } while (again);
    return c;
}

/* What the walk over the segments finds for each class starts at 0. */
static void clear_found(TmemArena *arena)
{
    for (TmemHeap *heap = arena->heaps; heap; heap = heap->next) {
        for (uint32_t i = 0; i < TMEM_SPACE__MAX * arena->nr_classes; i++) {
            heap->classes[i].found.nr_used = 0;
            heap->classes[i].found.nr_segments = 0;
        }
    }
}

static void compare_found(TmemArena *arena, bool *unknown)
{
    for (TmemHeap *heap = arena->heaps; heap; heap = heap->next) {
        for (uint32_t i = 0; i < TMEM_SPACE__MAX * arena->nr_classes; i++) {
            TmemClass *c = &heap->classes[i];

            tmem_lock(&c->lock);
            /* Both may change between two of these locks. */
            *unknown |= c->found.nr_used != c->nr_used ||
                        c->found.nr_segments != c->nr_segments;
            tmem_unlock(&c->lock);
        }
    }
}

static bool check_segments(TmemArena *arena, const uint64_t *is_used,
                           bool *unknown, GError **errp)
{
    clear_found(arena);
    for (uint32_t nr = 0; nr < arena->nr_segments; nr++) {
        TmemClass *c = lock_class_of(arena, nr);
        bool ok;

        if (c) {
            ok = check_segment(arena, nr, is_used, unknown, errp);
            c->found.nr_used += arena->segments[nr].nr_used;
            c->found.nr_segments += !arena->segments[nr].frozen;
            tmem_unlock(&c->lock);
            if (!ok) {
                return false;
            }
        }
    }
    compare_found(arena, unknown);
    return true;
}

/* Arena lock held: counts the segments of each heap. */
static void find_segments_locked(TmemArena *arena)
{
    for (TmemHeap *heap = arena->heaps; heap; heap = heap->next) {
        memset(&heap->found, 0, sizeof(heap->found));
    }
    for (uint32_t nr = 0; nr < arena->nr_virgin; nr++) {
        TmemSegment *seg = &arena->segments[nr];

        if (seg->in_use) {
            seg->heap->found.nr_segments++;
            seg->heap->found.nr_steps += seg->nr_steps;
            seg->heap->found.nr_evictable +=
                !seg->victim && seg->space != TMEM_SPACE_PERSISTENT;
        }
    }
}

static bool check_heap_locked(TmemHeap *heap, GError **errp)
{
    TmemArena *arena = heap->arena;
    uint32_t nr_order = 0;

    for (int space = 0; space < TMEM_SPACE__MAX; space++) {
        for (uint32_t nr = heap->order[space].first;
             nr != TMEM_SEGMENT_NONE && nr_order <= arena->nr_virgin;
             nr = arena->segments[nr].order_next) {
            nr_order++;
        }
    }
    if (heap->found.nr_segments != heap->nr_segments ||
        heap->found.nr_evictable != nr_order) {
        return tmem_error_set(errp, "a client of %u segments, %u found; %u "
                              "are evictable, %u in the eviction order",
                              heap->nr_segments, heap->found.nr_segments,
                              heap->found.nr_evictable, nr_order);
    }
    if (heap->bytes != heap->charged_bytes +
        ((uint64_t)heap->found.nr_steps << arena->step_shift)) {
        return tmem_error_set(errp, "a client of %" G_GUINT64_FORMAT " bytes, "
                              "with %u segments and %" G_GUINT64_FORMAT
                              " bytes beside", heap->bytes, heap->nr_segments,
                              heap->charged_bytes);
    }
    return true;
}

/* What clients are charged with, and nothing else, is charged to clients. */
static bool check_heaps_locked(TmemArena *arena, GError **errp)
{
    uint64_t sum = 0;

    find_segments_locked(arena);
    for (TmemHeap *heap = arena->heaps; heap; heap = heap->next) {
        if (!check_heap_locked(heap, errp)) {
            return false;
        }
        sum += heap->bytes;
    }
    if (sum != arena->heaps_bytes || sum > arena->used_bytes) {
        return tmem_error_set(errp, "clients of %" G_GUINT64_FORMAT " bytes, %"
                              G_GUINT64_FORMAT " found", arena->heaps_bytes,
                              sum);
    }
    return true;
}

/* What segments in use and idle ones cost; nobody pays for the others. */
static uint64_t paid_locked(TmemArena *arena)
{
    uint64_t bytes = 0;
    uint32_t nr_idle = 0;

    for (uint32_t nr = 0; nr < arena->nr_virgin; nr++) {
        if (arena->segments[nr].in_use) {
            bytes += tmem_segment_bytes(arena, &arena->segments[nr]);
        }
    }
    for (uint32_t nr = arena->idle; nr != TMEM_SEGMENT_NONE &&
         nr_idle <= arena->nr_idle; nr = arena->segments[nr].next) {
        bytes += tmem_segment_bytes(arena, &arena->segments[nr]);
        nr_idle++;
    }
    /* A list that is not as long as it says cannot be paid for. */
    return nr_idle == arena->nr_idle ? bytes : UINT64_MAX / 2;
}

static bool check_budget(TmemArena *arena, GError **errp)
{
    uint64_t expect;
    bool ok;

    tmem_lock(&arena->lock);
    expect = arena->charged_bytes + paid_locked(arena);
    if (arena->used_bytes < expect ||
        arena->used_bytes > arena->size_bytes +
                            tmem_arena_grace_locked(arena)) {
        /* More than expected is a segment on its way to the OS in trim(). */
        ok = tmem_error_set(errp, "%" G_GUINT64_FORMAT " bytes used, %"
                            G_GUINT64_FORMAT " found", arena->used_bytes,
                            expect);
    } else {
        ok = check_heaps_locked(arena, errp);
    }
    tmem_unlock(&arena->lock);
    return ok;
}

bool tmem_arena_check(TmemArena *arena, const uint64_t *is_used,
                      bool *unknown, GError **errp)
{
    *unknown = false;
    return check_segments(arena, is_used, unknown, errp) &&
           check_budget(arena, errp);
}
