/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: moving what the index consists of to other slots
 *
 * Each function is called with the lock of the node's shard and moves one thing
 * into the segments that its heap has.  It returns false, changing nothing, if
 * they have no slot that is as small.
 */
#ifndef TMEM_MOVE_H
#define TMEM_MOVE_H

#include "tmem-index.h"

/** Moves the record of the entry at @pos, which has one. */
bool tmem_move_record(TmemIndex *index, TmemNode *node, unsigned pos);

/** Moves the array of @node, which has one, to what its entries need now. */
bool tmem_move_array(TmemIndex *index, TmemNode *node);

/** Moves @node itself: the pointer is not valid any more if that was done. */
bool tmem_move_node(TmemIndex *index, TmemShard *shard, TmemNode *node);

#endif /* TMEM_MOVE_H */
