/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: what a store does in the background
 *
 * One thread of the store recompresses idle pages (tmem-recompress.h), empties
 * sparse segments (tmem-compact.h) and answers to the host's memory pressure
 * (tmem-pressure.h).  It starts with the first client, if the policy has
 * something for it to do, and ends with the store.  A process that forks to
 * become a daemon does so before it makes a store, as QEMU does: threads do not
 * survive a fork.
 *
 * Work on pages is done in steps, which tests call themselves, and is limited
 * to the policy's share of a CPU: after a step the thread rests until the CPU
 * time that it took is no more than that share.
 *
 * Locks.  A step holds upkeep->busy, which is taken before all other locks and
 * is none of them: it guards no page, and operations on pages never wait for
 * it.  Who wants it holds upkeep->next meanwhile, so that of two that take it
 * again and again each gets its turn.  An operator's recompression lets go of
 * it after each page, and holds upkeep->at_once, which comes before it.
 *
 * Who changes the policy, or brings a client, holds upkeep->policy, which is
 * taken before all of these: one of the two sees that the thread is wanted.
 */
#ifndef TMEM_UPKEEP_H
#define TMEM_UPKEEP_H

#include <pthread.h>

#include "libtmem/tmem-stats.h"
#include "tmem-compact.h"
#include "tmem-pressure.h"
#include "tmem-recompress.h"

/* A pass over all buckets of the index. */
typedef struct TmemWalk {
    bool active;
    uint32_t shard;
    uint32_t bucket;
} TmemWalk;

/* Atomic. */
typedef struct TmemUpkeepCounters {
    TMEM_STORE_COUNTERS(TMEM_STAT_MEMBER)
} TmemUpkeepCounters;

typedef struct TmemUpkeeper {
    TmemStore *store;

    TmemUpkeepCounters counters;

    pthread_mutex_t policy;
    pthread_mutex_t at_once;
    pthread_mutex_t next;
    pthread_mutex_t busy;
    /* Guarded by busy. */
    bool is_at_once;            /* recompress is in use for the operator */
    TmemRecompress recompress;
    TmemWalk aging;
    uint64_t aging_next_ns;
    uint64_t retry_next_ns;
    uint64_t idle_ns;           /* that ages are of; 0: never turned on */
    bool ages_restart;          /* they are of a shorter time: begin anew */
    uint64_t step_ns;           /* of the last step */
    TmemCompact compact;
    TmemWalk compacting;
    uint64_t compacting_next_ns;
    bool compacting_turn;

    pthread_mutex_t mutex;
    /* Guarded by mutex. */
    bool started;
    bool stop;
    bool has_new_watch;
    TmemPressureWatch new_watch;
    TmemPressure pressure;      /* what is watched, or will be */
    pthread_t thread;
    int wake_fd;                /* -1 until the thread is wanted */

    TmemPressureWatch watch;    /* the thread's */
} TmemUpkeeper;

/** Part of tmem_store_new(); cannot fail. */
void tmem_upkeep_init(TmemStore *store);

/** Ends the thread and lets go of all memory. */
void tmem_upkeep_destroy(TmemStore *store);

/**
 * tmem_upkeep_start() - start the thread if there is something to do for it
 *
 * Returns false and sets @errp to a sentence if it cannot be started.
 */
bool tmem_upkeep_start(TmemStore *store, const TmemPolicy *policy,
                       GError **errp);

/**
 * tmem_upkeep_set_policy() - be ready for what @policy asks for
 *
 * Returns false, changing nothing, and sets @errp to a sentence if the thread
 * cannot be started or this host cannot tell its memory pressure.
 */
bool tmem_upkeep_set_policy(TmemStore *store, const TmemPolicy *policy,
                            GError **errp);

/** Keeps policies and the coming of clients one after the other. */
void tmem_upkeep_lock_policy(TmemStore *store);
void tmem_upkeep_unlock_policy(TmemStore *store);

/** Watches what is open at @watch, which belongs to the store from then on. */
void tmem_upkeep_set_watch(TmemStore *store, const TmemPressureWatch *watch);

/** Lets the thread look at the store's policy again. */
void tmem_upkeep_wake(TmemStore *store);

/**
 * tmem_upkeep_pause() - keep upkeep away from pages until it may resume
 *
 * On return it has no slot, no client and no lock in hand.
 */
void tmem_upkeep_pause(TmemStore *store);
void tmem_upkeep_resume(TmemStore *store);

/** Says that clients may have more room: whoever frees for all of them. */
void tmem_upkeep_tell_freed(TmemStore *store);

/**
 * tmem_upkeep_step() - go on with the work on pages
 * @now_ns: of a clock that only goes forward
 * @cpu_ns: return when that much CPU time was used
 *
 * No lock held.  Returns whether there is more to do now.
 */
bool tmem_upkeep_step(TmemStore *store, uint64_t now_ns, uint64_t cpu_ns);

#ifdef TMEM_DEBUG
/** Stores start no thread from now on: tests do the steps. */
void tmem_upkeep_by_hand(bool by_hand);
#endif

#endif /* TMEM_UPKEEP_H */
