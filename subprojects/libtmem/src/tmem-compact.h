/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: emptying sparse segments by moving what is in them
 *
 * tmem_heap_drain() marks segments; a pass over the whole index moves what lies
 * in marked ones, records and index alike, since a record does not say whose it
 * is.  Emptied segments go back to the system by themselves.
 */
#ifndef TMEM_COMPACT_H
#define TMEM_COMPACT_H

#include "tmem-index.h"

/**
 * tmem_compact_begin() - mark segments of all clients
 *
 * No lock held.  Returns false, with none marked, if too little would come free
 * for a pass over the index.
 */
bool tmem_compact_begin(TmemStore *store);

/**
 * tmem_compact_bucket() - move what one bucket of the index leads to
 *
 * No lock held; holds that of the shard for a few pages at a time.  Returns
 * false if the shard has no such bucket.
 */
bool tmem_compact_bucket(TmemStore *store, TmemShard *shard, uint32_t bucket);

/** What is still marked is used again. */
void tmem_compact_end(TmemStore *store);

#endif /* TMEM_COMPACT_H */
