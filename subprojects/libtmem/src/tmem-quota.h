/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: limits of a pool within those of its client
 *
 * Pools share the segments of their client, so a pool's bytes are its records
 * and its index, in whatever slots they lie.  They change under the shard locks
 * that guard the pages.
 */
#ifndef TMEM_QUOTA_H
#define TMEM_QUOTA_H

#include <stdbool.h>
#include <stdint.h>

#include "libtmem/tmem.h"

typedef struct TmemPool TmemPool;

typedef struct TmemQuota {
    int64_t bytes;          /* atomic */
    /* Written under the client's lock, read without. */
    uint64_t min_bytes;
    uint64_t max_bytes;     /* 0: no limit but the client's */
    uint32_t weight;        /* 0: the default */
} TmemQuota;

/** Whether it says anything; the client is locked. */
static inline bool tmem_quota_has_limits(const TmemQuota *quota)
{
    return quota->min_bytes || quota->max_bytes || quota->weight;
}

/** Books a change of the pool's bytes. */
static inline void tmem_quota_add(TmemQuota *quota, int64_t bytes)
{
    if (bytes) {
        __atomic_fetch_add(&quota->bytes, bytes, __ATOMIC_RELAXED);
    }
}

/**
 * tmem_quota_take() - set @bytes aside before they are booked
 *
 * Returns false, with nothing set aside, beyond the maximum.  What was set
 * aside is given back with tmem_quota_add() when the page is booked: nothing
 * if @bytes is negative, for what that frees is not free before.
 */
bool tmem_quota_take(TmemQuota *quota, int64_t bytes);

/** Whether the pool has no room for @bytes. */
bool tmem_quota_is_full(const TmemQuota *quota, int64_t bytes);

/**
 * tmem_quota_evict() - drop the oldest pages of an ephemeral pool
 * @id: of the pool; it may be gone
 * @bytes: as many as these need
 *
 * No lock held; bounded work.  Returns false if nothing went.
 */
bool tmem_quota_evict(TmemClient *client, uint64_t id, uint64_t bytes);

/**
 * tmem_quota_evict_client() - make room where pools have limits of their own
 *
 * Drops pages of the ephemeral pool that holds most, above its minimum, in
 * proportion to its weight: of those with limits, and of what calls have seen
 * of the others, which are some more with each.  Returns false if nothing went,
 * or if no pool of the client has limits: then whole segments may go.
 */
bool tmem_quota_evict_client(TmemClient *client, uint64_t bytes);

/**
 * tmem_quota_giver() - whose pages make room when a segment is to be emptied
 *
 * The pool that tmem_quota_evict_client() would take, by its id, while that is
 * above its minimum.  0: anybody's may go, as no pool of the client has limits
 * of its own, or what is left is below their minimums.  No lock held.
 */
uint64_t tmem_quota_giver(TmemClient *client);

/**
 * tmem_quota_segment() - a segment with a page of the pool's oldest object
 *
 * No lock held, so it may be another's by now.  TMEM_SEGMENT_NONE if the object
 * has no records, or the pool no object.
 */
uint32_t tmem_quota_segment(TmemClient *client, uint64_t id);

/** Whether the pool holds @bytes above its minimum; any lock, or none. */
bool tmem_quota_can_give(const TmemQuota *quota, int64_t bytes);

/** The limits as they act; the client is locked. */
void tmem_quota_limits_locked(const TmemPool *pool, TmemLimits *limits);

/** Forgets the limits of a pool that goes; the client is locked. */
void tmem_quota_clear_locked(TmemPool *pool);

#endif /* TMEM_QUOTA_H */
