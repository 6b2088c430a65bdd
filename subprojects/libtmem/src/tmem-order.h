/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: the order in which a heap's ephemeral segments are evicted
 *
 * One list for each space, the oldest first.  All of it under the arena lock.
 */
#ifndef TMEM_ORDER_H
#define TMEM_ORDER_H

#include "tmem-heap.h"

/** Adds @nr, which is on no list, at the young end of its space's. */
void tmem_order_append_locked(TmemArena *arena, uint32_t nr);

/**
 * Puts @nr back at the old end.  It keeps its stamp, which must be older than
 * those on the list.
 */
void tmem_order_prepend_locked(TmemArena *arena, uint32_t nr);

void tmem_order_remove_locked(TmemArena *arena, uint32_t nr);

/** Moves @nr to the young end. */
void tmem_order_renew_locked(TmemArena *arena, uint32_t nr);

/** The heap's oldest segment of records or of the index. */
uint32_t tmem_order_oldest_locked(const TmemHeap *heap);

#endif /* TMEM_ORDER_H */
