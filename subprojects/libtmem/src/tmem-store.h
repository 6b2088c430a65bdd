/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: the store
 */
#ifndef TMEM_STORE_H
#define TMEM_STORE_H

#include "libtmem/tmem.h"
#include "tmem-arena.h"
#include "tmem-client.h"
#include "tmem-event.h"
#include "tmem-evict.h"
#include "tmem-index.h"
#include "tmem-lock.h"
#include "tmem-upkeep.h"
#include "tmem-share.h"

struct TmemStore {
    uint64_t size_bytes;
    uint64_t next_generation;   /* of pool ids; atomic */

    TmemLock policy_lock;
    /* Written as a whole under policy_lock; hot paths read single members. */
    TmemPolicy policy;
    uint32_t codec;             /* tmem_codec_pack() of its codec; atomic */

    const TmemEvictPolicy *evict_policy;
    TmemArena arena;
    TmemIndex index;

    TmemEvents events;

    TmemUpkeeper upkeep;

    TmemLock clients_lock;
    GList *clients;             /* by name; clients_lock */
    uint32_t nr_clients;        /* atomic */
};

/** A generation for a pool id: never 0, never the same again. */
uint64_t tmem_store_generation(TmemStore *store);

/**
 * tmem_object_drop() - drop all pages that the key's object holds
 *
 * Bounded work per hold of the shard lock.  If @pool_id is not 0, stops as soon
 * as the pool no longer has that id and returns false.  The change of levels
 * goes to @tally, or to the pool's shared tally if that is NULL.
 */
bool tmem_object_drop(TmemStore *store, TmemKey *key, uint64_t pool_id,
                      TmemTally *tally);

#endif /* TMEM_STORE_H */
