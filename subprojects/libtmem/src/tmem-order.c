/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: the order in which a heap's ephemeral segments are evicted
 */
#include "tmem-order.h"

void tmem_order_append_locked(TmemArena *arena, uint32_t nr)
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
    heap->order[seg->space].nr++;
    seg->order_stamp = arena->order_clock++;
}

void tmem_order_prepend_locked(TmemArena *arena, uint32_t nr)
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
    heap->order[seg->space].nr++;
}

void tmem_order_remove_locked(TmemArena *arena, uint32_t nr)
{
    TmemSegment *seg = &arena->segments[nr];
    TmemHeap *heap = seg->heap;

    heap->order[seg->space].nr--;
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

void tmem_order_renew_locked(TmemArena *arena, uint32_t nr)
{
    tmem_order_remove_locked(arena, nr);
    tmem_order_append_locked(arena, nr);
}

uint32_t tmem_order_oldest_locked(const TmemHeap *heap)
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
