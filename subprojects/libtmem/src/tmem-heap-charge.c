/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: what a heap is charged with, within its limit
 */
#include "tmem-fault.h"
#include "tmem-heap.h"
#include "tmem-share.h"

void tmem_heap_add_bytes_locked(TmemHeap *heap, int64_t bytes, bool pinned)
{
    __atomic_store_n(&heap->bytes, heap->bytes + bytes, __ATOMIC_RELAXED);
    __atomic_store_n(&heap->bytes_peak, MAX(heap->bytes_peak, heap->bytes),
                     __ATOMIC_RELAXED);
    heap->arena->heaps_bytes += bytes;
    if (pinned) {
        tmem_share_pin_locked(heap, bytes);
    } else {
        heap->arena->ephemeral_bytes += bytes;
    }
}

/* What is to come, but for what may have come already. */
static uint64_t waiting_locked(const TmemHeap *heap)
{
    uint64_t overlap = tmem_heap_takes_over(heap) ? heap->arena->overlap_bytes :
                                                    0;

    return heap->waiting_bytes - MIN(heap->waiting_bytes, overlap);
}

bool tmem_heap_over_limit_locked(const TmemHeap *heap, uint64_t bytes,
                                 bool grace)
{
    uint64_t max_bytes = heap->max_bytes + (grace ? heap->grace_bytes : 0);
    uint64_t held_bytes = heap->bytes + waiting_locked(heap);

    if (grace && held_bytes > max_bytes) {
        /* Not all of it can come: who comes first has what there is. */
        held_bytes = heap->bytes;
    }
    return heap->max_bytes && (held_bytes >= max_bytes ||
                               bytes > max_bytes - held_bytes);
}

bool tmem_heap_over_limit(TmemHeap *heap)
{
    uint64_t max_bytes = __atomic_load_n(&heap->max_bytes, __ATOMIC_RELAXED);

    return max_bytes && tmem_heap_bytes(heap) > max_bytes;
}

bool tmem_heap_near_limit(TmemHeap *heap, unsigned shift)
{
    TmemArena *arena = heap->arena;
    bool near;

    tmem_lock(&arena->lock);
    near = heap->max_bytes &&
           tmem_heap_over_limit_locked(heap, arena->reserve_bytes +
                                       (shift ? heap->max_bytes >> shift :
                                        1ull << arena->step_shift), false);
    tmem_unlock(&arena->lock);
    return near;
}

static TmemStatus charge(TmemHeap *heap, int64_t bytes, bool grace)
{
    TmemArena *arena = heap->arena;
    TmemStatus status = TMEM_STATUS_OK;

    tmem_lock(&arena->lock);
    if (bytes > 0 && tmem_heap_over_limit_locked(heap, bytes, grace)) {
        status = TMEM_STATUS_QUOTA;
    } else if (bytes > 0 &&
               ((uint64_t)bytes >
                tmem_arena_room_locked(arena, grace ?
                                       tmem_arena_grace_locked(arena) : 0) ||
                !tmem_share_admits_locked(heap, bytes))) {
        status = TMEM_STATUS_NOSPC;
    } else {
        /* Also read without the lock. */
        __atomic_store_n(&heap->charged_bytes, heap->charged_bytes + bytes,
                         __ATOMIC_RELAXED);
        arena->charged_bytes += bytes;
        arena->heaps_charged_bytes += bytes;
        tmem_heap_add_bytes_locked(heap, bytes, true);
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
    status = charge(heap, bytes, false);
    if (status == TMEM_STATUS_NOSPC) {
        /* Idle segments count as used. */
        tmem_arena_trim_bytes(heap->arena, UINT64_MAX);
        status = charge(heap, bytes, false);
    }
    if (status != TMEM_STATUS_OK && tmem_heap_takes_over(heap)) {
        status = charge(heap, bytes, true);
    }
    return status;
}
