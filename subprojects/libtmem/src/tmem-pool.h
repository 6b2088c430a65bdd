/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: pools
 *
 * A client's pools live in a table indexed by slot that is reserved once and
 * never moves, so an operation may look at a pool before it holds any lock.
 * What it saw counts only if pool->id still is the wanted id under the shard
 * lock of its handle: destruction first clears the id, then passes through
 * every shard lock, and from then on nobody can see the pool.
 *
 * Ids are generation << 19 | host << 18 | shared << 17 | kind << 16 | slot.
 * The generation is never 0 and not reused.  What a pool is is part of the id
 * so that an operation knows it without looking at a pool that may just be
 * replaced by another.
 */
#ifndef TMEM_POOL_H
#define TMEM_POOL_H

#include <stdbool.h>
#include <stdint.h>

#include "libtmem/tmem.h"
#include "tmem-arena.h"
#include "tmem-lock.h"
#include "tmem-quota.h"

#define TMEM_POOL_SLOT_BITS     16
#define TMEM_POOL_GEN_SHIFT     (TMEM_POOL_SLOT_BITS + 3)
#define TMEM_POOL_GEN_MASK      ((1ull << (64 - TMEM_POOL_GEN_SHIFT)) - 1)
#define TMEM_POOL_SLOT_NONE     UINT32_MAX

#define TMEM_DELTA_MEMBER(name, kind, unit, text)   int64_t name;

/** TmemDelta: how one operation changed the levels of a pool. */
typedef struct TmemDelta {
    TMEM_POOL_LEVELS(TMEM_DELTA_MEMBER)
    int32_t sizes[TMEM_SIZE_BUCKETS];   /* TmemSizeStats.held */
} TmemDelta;

/*
 * TmemTally: counters and levels of a pool as one context has changed them.
 *
 * Written by the context's thread only, under a shard lock with the pool's id
 * checked; read by anyone.  Levels of one tally may be "negative" (wrap
 * around): only the sum over all tallies of the pool has a meaning.
 */
typedef TmemPoolStats TmemTally;

typedef struct TmemGroup TmemGroup;

struct TmemPool {
    uint64_t id;            /* 0: free or being destroyed; atomic */
    uint64_t key;           /* the id, kept until the last page is gone */
    /*
     * What its handles are hashed by and its records are seeded with: the id;
     * of a shared pool what all members have in common.  Atomic.
     */
    uint64_t hash_id;
    TmemGroup *group;  /* NULL if private */
    TmemClient *client;

    TmemLock lock;
    /* Head nodes of the pool's objects, oldest object first; lock. */
    TmemRef objects;
    TmemRef objects_last;

    /* tmem_codec_pack() of a choice of its own, 0: the store's.  Atomic. */
    uint32_t codec;

    TmemQuota quota;

    /* Changes made without a context: eviction, destruction.  Atomic. */
    TmemTally shared;

    /* Guarded by the client's lock. */
    bool in_use;
    bool abandoned;         /* being destroyed, and whoever did it went away */
    uint32_t next;          /* slots in the order of creation */
    uint32_t prev;
    uint32_t limited_next;  /* slots of those with limits of their own */
    uint32_t limited_prev;
};

/**
 * tmem_pool_find() - the pool of @client with that id, or NULL
 *
 * No lock needed; see above for what the answer is worth.
 */
TmemPool *tmem_pool_find(TmemClient *client, uint64_t id);

static inline uint32_t tmem_pool_id_slot(uint64_t id)
{
    return id & ((1u << TMEM_POOL_SLOT_BITS) - 1);
}

static inline TmemPoolKind tmem_pool_id_kind(uint64_t id)
{
    return id >> TMEM_POOL_SLOT_BITS & 1 ? TMEM_POOL_EPHEMERAL :
                                           TMEM_POOL_PERSISTENT;
}

static inline TmemSpace tmem_pool_id_space(uint64_t id)
{
    return tmem_pool_id_kind(id) == TMEM_POOL_EPHEMERAL ?
           TMEM_SPACE_EPHEMERAL : TMEM_SPACE_PERSISTENT;
}

/* Where nodes and arrays of the pool live. */
static inline TmemSpace tmem_pool_id_index_space(uint64_t id)
{
    return tmem_pool_id_kind(id) == TMEM_POOL_EPHEMERAL ?
           TMEM_SPACE_EPHEMERAL_INDEX : TMEM_SPACE_PERSISTENT;
}

static inline bool tmem_pool_id_is_shared(uint64_t id)
{
    return id >> (TMEM_POOL_SLOT_BITS + 1) & 1;
}

/** One of tmem_pool_create_host(). */
static inline bool tmem_pool_id_is_host(uint64_t id)
{
    return id >> (TMEM_POOL_SLOT_BITS + 2) & 1;
}

/** What handles of @pool, which has that @id, are hashed by. */
static inline uint64_t tmem_pool_hash_id(const TmemPool *pool, uint64_t id)
{
    return tmem_pool_id_is_shared(id) ?
           __atomic_load_n(&pool->hash_id, __ATOMIC_RELAXED) : id;
}

static inline bool tmem_pool_is(const TmemPool *pool, uint64_t id)
{
    return __atomic_load_n(&pool->id, __ATOMIC_ACQUIRE) == id;
}

/** Adds @delta to the levels that @ctx, which is this thread's, keeps. */
void tmem_tally_apply(TmemContext *ctx, TmemPool *pool,
                      const TmemDelta *delta);

/** Adds @delta to the pool's shared tally, from any thread. */
void tmem_pool_apply(TmemPool *pool, const TmemDelta *delta);

/** Adds the counters and levels of @from to @sum. */
void tmem_tally_sum(TmemPoolStats *sum, const TmemTally *from);

/** Adds to one counter of a tally that belongs to this thread. */
static inline void tmem_count(uint64_t *counter, uint64_t n)
{
    /* Not an atomic addition: there is one writer, and readers may lag. */
    __atomic_store_n(counter, __atomic_load_n(counter, __ATOMIC_RELAXED) + n,
                     __ATOMIC_RELAXED);
}

/*
 * Pages (or bytes) that came and that went, each only growing.  Who sums up
 * several reads all that went before the first that came: what is counted
 * as gone was counted as come before that, so the sum is never below what there
 * is.
 */
typedef struct TmemTurnover {
    uint64_t came;
    uint64_t went;
} TmemTurnover;

/** Adds @pages, which may be negative; @turnover has one writer. */
static inline void tmem_turnover_count(TmemTurnover *turnover, int64_t pages)
{
    if (pages > 0) {
        tmem_count(&turnover->came, pages);
    } else if (pages) {
        /* Pairs with tmem_turnover_went(). */
        __atomic_store_n(&turnover->went,
                         __atomic_load_n(&turnover->went, __ATOMIC_RELAXED) -
                         pages, __ATOMIC_RELEASE);
    }
}

/** The same with any number of writers. */
static inline void tmem_turnover_add(TmemTurnover *turnover, uint64_t came,
                                     uint64_t went)
{
    __atomic_fetch_add(&turnover->came, came, __ATOMIC_RELAXED);
    __atomic_fetch_add(&turnover->went, went, __ATOMIC_RELEASE);
}

static inline uint64_t tmem_turnover_went(const TmemTurnover *turnover)
{
    return __atomic_load_n(&turnover->went, __ATOMIC_ACQUIRE);
}

static inline uint64_t tmem_turnover_came(const TmemTurnover *turnover)
{
    return __atomic_load_n(&turnover->came, __ATOMIC_RELAXED);
}

/** How a page that is stored in @pool now is to be compressed. */
TmemCodecChoice tmem_pool_codec(TmemStore *store, const TmemPool *pool);

/**
 * tmem_pool_create_again() - a private pool of the guest's, under an old id
 * @id: from another store, whose generations this one goes on with
 *
 * Returns as tmem_pool_create(), or INVAL: it is no such id, its place in the
 * client's table is taken, or the table ends before it.
 */
TmemStatus tmem_pool_create_again(TmemClient *client, uint64_t id);

/** The oldest object of @pool.  Returns false if it has none. */
bool tmem_pool_first_object(TmemPool *pool, uint64_t object[3]);

/**
 * tmem_pool_destroy_begin() - tmem_pool_destroy() in slices
 *
 * Returns NOPOOL, or OK: nobody sees @pool any more, and it is gone when
 * tmem_pool_destroy_some() says so.
 */
TmemStatus tmem_pool_destroy_begin(TmemClient *client, uint64_t id,
                                   TmemPool **pool);

/**
 * tmem_pool_destroy_some() - drop some of its pages
 * @budget: about how many; reduced by those dropped
 *
 * Returns true if there was no more to do, and the pool is gone.
 */
bool tmem_pool_destroy_some(TmemPool *pool, uint32_t *budget);

/** Leaves the rest to tmem_pool_destroy_all(). */
void tmem_pool_destroy_abandon(TmemPool *pool);

/**
 * Destroys all pools of @client, and those of the host too if @host.  None of
 * them may be in an operation.
 */
void tmem_pool_destroy_all(TmemClient *client, bool host);

#endif /* TMEM_POOL_H */
