/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: clients and their contexts
 */
#ifndef TMEM_CLIENT_H
#define TMEM_CLIENT_H

#include "libtmem/tmem.h"
#include "libtmem/tmem-req.h"
#include "tmem-codec.h"
#include "tmem-heap.h"
#include "tmem-lock.h"
#include "tmem-pool.h"

/* Bytes of one operation in a request; asserted in tmem-req.c. */
#define TMEM_REQ_OP_BYTES   48

typedef struct TmemClientCounters {
    TMEM_CLIENT_COUNTERS(TMEM_STAT_MEMBER)
} TmemClientCounters;

struct TmemClient {
    TmemStore *store;
    char *name;
    TmemHeap heap;          /* all memory of its pages */
    uint32_t max_pools;
    bool is_at_limit;       /* LIMIT_REACHED was said, not LEFT yet; atomic */
    uint64_t persistent_pages;  /* atomic */

    /* Reserved for max_pools once, so that operations need no lock. */
    TmemPool *pools;
    size_t pools_bytes;

    TmemLock lock;
    /* Guarded by lock. */
    uint32_t nr_pools;      /* in use, those being destroyed included */
    uint32_t nr_slots;      /* slots below this are charged for */
    uint32_t slot_hint;     /* slots below this are in use */
    uint32_t first;         /* slots in the order of creation */
    uint32_t last;
    GList *contexts;
    uint32_t nr_contexts;
    TmemClientCounters gone;    /* of contexts that were freed */
    TmemPoolStats destroyed;    /* counters of pools that were destroyed */
};

struct TmemContext {
    TmemClient *client;
    TmemStore *store;
    bool in_operation;      /* atomic; see tmem_store_check() */
    TmemCodec codec;
    void *bounce;
    TmemTally *tallies;     /* one for each slot of the client's table */
    size_t tallies_bytes;
    void *memory;           /* of codec and bounce */
    size_t memory_bytes;
    TmemClientCounters counters;    /* written by the context's thread */
    /* The operations of the request being decoded, copied once. */
    _Alignas(8) uint8_t req_ops[TMEM_REQ_BATCH_MAX * TMEM_REQ_OP_BYTES];
};

/** Bytes that the tallies of one context for @nr_slots pools take. */
uint64_t tmem_tallies_bytes(uint32_t nr_slots);

/** Bytes that @nr_slots of the pool table take, tallies and all. */
uint64_t tmem_client_table_bytes_locked(const TmemClient *client,
                                        uint32_t nr_slots);

/** Adds @ctx's tally of @slot to the pool's shared one and clears it. */
void tmem_context_fold_locked(TmemContext *ctx, uint32_t slot);

#endif /* TMEM_CLIENT_H */
