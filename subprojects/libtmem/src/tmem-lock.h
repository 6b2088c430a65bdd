/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: locks and their ranks
 *
 * A thread that holds a lock may only take locks of a higher rank.  Locks of
 * one rank are never held together, except by tmem_store_check(), which takes
 * clients and shards in the order of their tables with tmem_lock_nested().
 *
 * Debug builds (TMEM_DEBUG) abort on any acquisition out of order.  The
 * compression code runs with no lock held; tmem_assert_unlocked() says so.
 *
 * pthread mutexes are used rather than GMutex because thread sanitisers
 * understand them.
 */
#ifndef TMEM_LOCK_H
#define TMEM_LOCK_H

#include <glib.h>
#include <pthread.h>
#include <stdbool.h>

typedef enum TmemLockRank {
    TMEM_RANK_CLIENTS,  /* a store's list of clients */
    TMEM_RANK_CLIENT,   /* a client's pool table and list of contexts */
    TMEM_RANK_GROUPS,   /* a store's list of shared pools */
    TMEM_RANK_SHARD,    /* one shard of the index, all its nodes and records */
    TMEM_RANK_PURSE,    /* the places reserved for a client's credit */
    TMEM_RANK_CONTENTS, /* one shard of what a trust group keeps */
    TMEM_RANK_POOL,     /* a pool's list of objects */
    TMEM_RANK_CLASS,    /* the segments of one size class */
    TMEM_RANK_POLICY,   /* a store's policy */
    TMEM_RANK_ARENA,    /* free segments, the budget, the eviction order */
    TMEM_RANK__MAX,
} TmemLockRank;

typedef struct TmemLock {
    pthread_mutex_t mutex;
    TmemLockRank rank;
} TmemLock;

#ifdef TMEM_DEBUG
void tmem_lock_rank_enter(TmemLockRank rank, bool nested);
void tmem_lock_rank_leave(TmemLockRank rank);
void tmem_assert_unlocked(void);
#else
#define tmem_lock_rank_enter(rank, nested)  ((void)0)
#define tmem_lock_rank_leave(rank)          ((void)0)
#define tmem_assert_unlocked()              ((void)0)
#endif

/*
 * Most locks are held for less time than it takes to put a thread to sleep and
 * to wake it: where the C library can, wait a moment for the holder first.
 */
static inline void tmem_lock_init(TmemLock *lock, TmemLockRank rank)
{
#ifdef TMEM_LOCK_ADAPTIVE
    pthread_mutexattr_t attr;

    pthread_mutexattr_init(&attr);
    pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ADAPTIVE_NP);
    pthread_mutex_init(&lock->mutex, &attr);
    pthread_mutexattr_destroy(&attr);
#else
    pthread_mutex_init(&lock->mutex, NULL);
#endif
    lock->rank = rank;
}

static inline void tmem_lock_destroy(TmemLock *lock)
{
    pthread_mutex_destroy(&lock->mutex);
}

static inline void tmem_lock(TmemLock *lock)
{
    tmem_lock_rank_enter(lock->rank, false);
    pthread_mutex_lock(&lock->mutex);
}

static inline void tmem_lock_nested(TmemLock *lock)
{
    tmem_lock_rank_enter(lock->rank, true);
    pthread_mutex_lock(&lock->mutex);
}

static inline void tmem_unlock(TmemLock *lock)
{
    pthread_mutex_unlock(&lock->mutex);
    tmem_lock_rank_leave(lock->rank);
}

#endif /* TMEM_LOCK_H */
