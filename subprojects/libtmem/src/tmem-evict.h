/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: eviction of ephemeral pages
 *
 * The unit is a segment of the ephemeral space: evicting it yields a whole
 * segment that any class and space can use, so a caller that evicts gets
 * somewhere, however small the pages are.  Persistent pages live in other
 * segments and cannot be reached from here.
 */
#ifndef TMEM_EVICT_H
#define TMEM_EVICT_H

#include <stdbool.h>
#include <stdint.h>

#include "tmem-heap.h"
#include "tmem-index.h"
#include "tmem-pool.h"

/* How many segments one operation empties before it gives up ... */
#define TMEM_EVICT_ATTEMPTS 3
/* ... and how many it cannot empty, as someone else is at work on them. */
#define TMEM_EVICT_BUSY_MAX 16

/* A policy only chooses; the mechanism is in tmem-evict.c. */
typedef struct TmemEvictPolicy {
    const char *name;

    /*
     * pick_locked() - the segment of @heap to empty next
     *
     * Arena lock held; may reorder; looks at a bounded number of segments.
     * Returns TMEM_SEGMENT_NONE if there is none.
     */
    uint32_t (*pick_locked)(TmemHeap *heap);

    /* Whether pages that are new have segments of their own. */
    bool has_probation;
} TmemEvictPolicy;

/*
 * Oldest segment first, of records and of their index alike, as same-filled
 * pages are in the index only.
 */
extern const TmemEvictPolicy tmem_evict_policy_fifo;

/* The same, but one that is in use gets another round. */
extern const TmemEvictPolicy tmem_evict_policy_second_chance;

/*
 * The default.  Pages that were not here before (tmem-ghosts.h) lie in segments
 * of their own, which go first while they are more than a tenth; of the others
 * as above.  Clients that are too small for that have the others alone.
 */
extern const TmemEvictPolicy tmem_evict_policy_probation;

/**
 * tmem_evict_space() - where a record is to lie
 * @space: of its pool
 *
 * No lock held.
 */
TmemSpace tmem_evict_space(TmemClient *client, const TmemKey *key,
                           TmemSpace space);

/**
 * tmem_evict_note_loaded() - the key's page was loaded, and may be taken
 * @client: whose page it is
 * @entry: which has a record
 *
 * Shard lock held.
 */
void tmem_evict_note_loaded(TmemClient *client, const TmemKey *key,
                            TmemEntry entry);

typedef enum TmemEvicted {
    TMEM_EVICTED_NONE,      /* there is nothing to evict */
    TMEM_EVICTED_BUSY,      /* not all of a segment could go: try again */
    TMEM_EVICTED_FREED,     /* a segment came free */
} TmemEvicted;

/**
 * tmem_evict_segment() - empty one ephemeral segment
 * @heap: of this client; NULL: of any
 *
 * No lock held.  Bounded work: one segment, and of the index only so much of it
 * as leads to some records.
 */
TmemEvicted tmem_evict_segment(TmemStore *store, TmemHeap *heap);

/* What one operation has evicted so far; starts as zeros. */
typedef struct TmemEvictTries {
    unsigned freed;
    unsigned busy;
    unsigned pools;
} TmemEvictTries;

/** Books pages of @pool that were evicted.  Shard lock held. */
void tmem_evict_book(TmemPool *pool, const TmemDelta *delta);

/**
 * tmem_evict_for() - make room for an operation of @client that found none
 * @space: where it wanted memory
 *
 * No lock held.  Returns false if the next attempt is to be the last.
 */
bool tmem_evict_for(TmemClient *client, TmemSpace space,
                    TmemEvictTries *tries);

/**
 * tmem_evict_own() - make room within a client's limit
 *
 * Empties one of the client's own ephemeral segments.  No lock held.  Returns
 * false if the next attempt is to be the last.
 */
bool tmem_evict_own(TmemClient *client, TmemEvictTries *tries);

/** Evicts what @client's limit does not allow, as far as there is any. */
void tmem_evict_to_limit(TmemClient *client);

/**
 * tmem_evict_bytes() - give back to the operating system, and evict for that
 * @heap: of this client; NULL: of those furthest over their share
 * @past_minimums: if these leave too little, then of those below their minimums
 *
 * Idle segments go first.  No more than is held when it begins: guests may
 * store as fast as it evicts.  Returns how many bytes went back, with these.
 */
uint64_t tmem_evict_bytes(TmemStore *store, TmemHeap *heap, uint64_t bytes,
                          bool past_minimums);

#endif /* TMEM_EVICT_H */
