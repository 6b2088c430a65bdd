/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: dropping all pages of an object, a bounded number at a time
 */
#ifndef TMEM_DROP_H
#define TMEM_DROP_H

#include "tmem-index.h"

/* An object that is being dropped. */
typedef struct TmemDrop {
    TmemStore *store;
    TmemKey key;
    uint64_t pool_id;       /* stop if the pool has another id; 0: never */
    /*
     * Who invalidates the object, of a shared pool whoever stored it; NULL: the
     * pool itself goes, with what it owns.
     */
    TmemContext *ctx;
    uint64_t birth;         /* nodes older than this go; 0: not begun */
} TmemDrop;

typedef enum TmemDropped {
    TMEM_DROPPED_SOME,      /* the budget is used up, and there is more */
    TMEM_DROPPED_ALL,
    TMEM_DROPPED_NO_POOL,   /* the pool went away meanwhile */
} TmemDropped;

/**
 * tmem_drop_some() - drop pages of an object
 * @budget: how many pages; reduced by those dropped, at least by one
 *
 * Holds the shard's lock for some nodes at a time.  What others store there
 * meanwhile may stay.
 */
TmemDropped tmem_drop_some(TmemDrop *drop, uint32_t *budget);

/**
 * tmem_object_invalidate_begin() - tmem_object_invalidate() in slices
 *
 * Returns OK: to be finished with tmem_drop_some(), by this context and before
 * it does anything else to the object; or NOPOOL.
 */
TmemStatus tmem_object_invalidate_begin(TmemContext *ctx,
                                        const TmemHandle *handle,
                                        TmemDrop *drop);

#endif /* TMEM_DROP_H */
