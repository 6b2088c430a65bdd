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
    TmemRecompressMode mode;
    uint64_t nr_tried;      /* pages that were compressed again */
    uint64_t nr_smaller;    /* of these, those that took another form */
    uint64_t nr_starved;    /* those for whose smaller form was no memory */
} TmemRecompress;

/** Returns false without memory. */
bool tmem_recompress_begin(TmemRecompress *r, TmemStore *store, int level,
                           TmemRecompressMode mode);
void tmem_recompress_destroy(TmemRecompress *r);

/**
 * tmem_recompress_bucket() - visit the nodes in one bucket of the index
 *
 * No lock held; holds that of the shard for the pages of one node at most, and
 * none while it works on a page.  Returns false if the shard has no such
 * bucket.
 */
bool tmem_recompress_bucket(TmemRecompress *r, TmemShard *shard,
                            uint32_t bucket);

#endif /* TMEM_RECOMPRESS_H */
