/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: clients and their contexts
 */
#ifndef TMEM_CLIENT_H
#define TMEM_CLIENT_H

#include <stddef.h>

#include "libtmem/tmem.h"
#include "libtmem/tmem-req.h"
#include "tmem-codec.h"
#include "tmem-credit.h"
#include "tmem-event.h"
#include "tmem-heap.h"
#include "tmem-hist.h"
#include "tmem-index.h"
#include "tmem-job.h"
#include "tmem-lock.h"
#include "tmem-pool.h"
#include "tmem-group.h"

typedef struct TmemClientCounters {
    TMEM_CLIENT_COUNTERS(TMEM_STAT_MEMBER)
} TmemClientCounters;

struct TmemClient {
    TmemStore *store;
    char *name;
    TmemHeap heap;          /* all memory of its pages */
    /* It is a member of; NULL: of none.  Set while the guest has no pool. */
    TmemTrust *trust;
    bool is_at_limit;       /* LIMIT_REACHED was said, not LEFT yet; atomic */
    /* Persistent pages, of no context and of those freed; atomic. */
    TmemTurnover persistent;
    TmemTurnover persistent_bytes;  /* of these, and of pools of the host's */
    uint32_t nr_persistent;     /* of its pools; atomic */
    bool frozen;            /* atomic */
    TmemPurse purse;        /* what its credit is covered by */
    TmemHints hints;
    /* What is held because of no context, and of those freed; atomic. */
    TmemHeld held;

    /* Reserved for all there can be once: operations need no lock. */
    TmemPool *pools;
    size_t pools_bytes;

    TmemLock lock;
    /* Guarded by lock. */
    uint32_t nr_pools;      /* in use, those being destroyed included */
    uint32_t nr_host_pools; /* of these, out of the guest's reach */
    uint32_t max_pools;     /* of the guest */
    uint32_t nr_quotas;     /* of these, with limits of their own; atomic */
    uint32_t limited;       /* the first of these */
    uint32_t look_next;     /* slot at which tmem_quota_giver() goes on */
    uint64_t look_most;     /* ID of what it found until now; may be gone */
    uint32_t nr_minimums;   /* of these, with a minimum; atomic */
    uint32_t nr_slots;      /* slots below this are charged for */
    uint32_t slot_hint;     /* slots below this are in use */
    uint32_t host_slots;    /* and below this, not for pools of the host's */
    uint32_t first;         /* slots in the order of creation */
    uint32_t last;
    GList *contexts;
    uint32_t nr_contexts;
    TmemUuids uuids;        /* of shared pools that it may join */
    TmemClientCounters gone;    /* of contexts that were freed */
    TmemLatencyStats gone_latency;
    TmemPoolStats destroyed;    /* counters of pools that were destroyed */
};

/*
 * The shards of what tmem_page_prefetch() was told of last.  The lock of one is
 * fetched when the operation before it has let go of its own, and not sooner:
 * another thread that takes it meanwhile has it on its processor.
 */
typedef struct TmemAhead {
    unsigned nr;
    unsigned next;
    TmemShard *shard[TMEM_PREFETCH_MAX];
} TmemAhead;

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
    TmemHist hist;
    TmemAhead ahead;
    TmemHeld held;
    TmemTurnover persistent;    /* pages that it stored, and dropped */
    TmemTurnover persistent_bytes;
    TmemJob job;            /* the request in hand */
};

/** Whose heap that is; not one of a trust group. */
static inline TmemClient *tmem_client_of_heap(TmemHeap *heap)
{
    return (TmemClient *)((char *)heap - offsetof(TmemClient, heap));
}

/** Bytes that the tallies of one context for @nr_slots pools take. */
uint64_t tmem_tallies_bytes(uint32_t nr_slots);

/** Bytes that @nr_slots of the pool table take, tallies and all. */
uint64_t tmem_client_table_bytes_locked(const TmemClient *client,
                                        uint32_t nr_slots);

/** What the client holds, or a little more; its lock is held. */
uint64_t tmem_client_persistent_pages_locked(const TmemClient *client);

/**
 * tmem_client_persistent_bytes_locked() - what its persistent pools hold
 *
 * All of them, in slots, or a little more; its lock is held.  What this costs
 * does not depend on how many pools a guest makes.
 */
uint64_t tmem_client_persistent_bytes_locked(const TmemClient *client);

/** Adds @ctx's tally of @slot to the pool's shared one and clears it. */
void tmem_context_fold_locked(TmemContext *ctx, uint32_t slot);

#endif /* TMEM_CLIENT_H */
