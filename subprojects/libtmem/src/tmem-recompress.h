/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: compressing idle pages again, with zstd
 *
 * A pass visits every node of the index once.  Each visit makes the pages that
 * nobody stored or loaded meanwhile one step older; with passes that are at
 * least half the idle time apart, one that has TMEM_AGE_IDLE when it is visited
 * was not used for at least the idle time and, if passes are that far apart, at
 * most 1.5 times that.  It is compressed again and keeps that form if it then
 * has a smaller slot; either way it is done until it is used again.
 *
 * zstd without a dictionary, measured on single pages (tmem-internals.rst).
 */
#ifndef TMEM_RECOMPRESS_H
#define TMEM_RECOMPRESS_H

#include "tmem-codec.h"
#include "tmem-index.h"

/* What a pass does with a page, by its age. */
typedef enum TmemRecompressMode {
    TMEM_RECOMPRESS_AGING,      /* it gets older; an idle one is compressed */
    TMEM_RECOMPRESS_RESTART,    /* its age counts from this pass on */
    TMEM_RECOMPRESS_RETRY,      /* idle ones that found no memory: once more */
    TMEM_RECOMPRESS_AT_ONCE,    /* any is compressed */
} TmemRecompressMode;

/* What was read of a page, and where. */
typedef struct TmemCandidate {
    TmemKey key;
    uint64_t pool_id;
    TmemSpace space;        /* of its pool's records */
    TmemSpace slot_space;   /* where this one is: it may be on probation */
    TmemEntry entry;
    uint32_t checksum;
    uint32_t slot_bytes;
    uint64_t seed;
    TmemHeap *heap;
} TmemCandidate;

typedef struct TmemRecompress {
    TmemStore *store;
    TmemCodec codec;
    void *page;
    void *memory;           /* NULL: not yet there */
    size_t memory_bytes;

#ifdef TMEM_DEBUG
    /* For tests: called with a page in hand, and no lock held. */
    void (*in_hand)(void *opaque);
    void *opaque;
#endif

    /* Of a pass. */
    uint16_t pass;          /* never 0 */
    int level;              /* of zstd */
    TmemCandidate candidate;    /* in the node of @due */
    uint64_t due;           /* pages of a node that are still to be tried */
    TmemRecompressMode mode;
    uint64_t nr_tried;      /* pages that were compressed again */
    uint64_t nr_smaller;    /* of these, those that took another form */
    uint64_t nr_starved;    /* those for whose smaller form was no memory */
} TmemRecompress;

/** Returns false without memory. */
bool tmem_recompress_begin(TmemRecompress *r, TmemStore *store, int level,
                           TmemRecompressMode mode);
void tmem_recompress_destroy(TmemRecompress *r);

/* How far a step of a pass came. */
typedef enum TmemRecompressStep {
    TMEM_RECOMPRESS_ON,         /* there may be more in the bucket */
    TMEM_RECOMPRESS_BUCKET,     /* to the end of the bucket */
    TMEM_RECOMPRESS_SHARD,      /* there is no such bucket in the shard */
} TmemRecompressStep;

/**
 * tmem_recompress_some() - visit nodes in one bucket of the index, or one page
 *
 * No lock held; holds that of the shard for the pages of a few nodes at most,
 * and none while it works on a page, of which it compresses one at most.
 */
TmemRecompressStep tmem_recompress_some(TmemRecompress *r, TmemShard *shard,
                                        uint32_t bucket);

/** Nothing more of @client, which is about to be freed, will be looked at. */
void tmem_recompress_forget(TmemRecompress *r, const TmemClient *client);

#endif /* TMEM_RECOMPRESS_H */
