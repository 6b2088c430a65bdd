/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: emptying sparse segments by moving what is in them
 *
 * tmem_heap_drain() marks segments; a pass over the whole index, and over what
 * trust groups keep, moves what lies in marked ones, records and index alike,
 * since a record does not say whose it is.  Emptied segments go back to the
 * system by themselves.
 */
#ifndef TMEM_COMPACT_H
#define TMEM_COMPACT_H

#include "tmem-index.h"

typedef enum TmemCompactPhase {
    TMEM_COMPACT_IDLE,
    TMEM_COMPACT_MARKING,
    TMEM_COMPACT_MOVING,    /* tmem_compact_bucket() of all the index */
    TMEM_COMPACT_UNMARKING,
} TmemCompactPhase;

/*
 * Where marking, or its end, is: every heap has a mark of the last round that
 * reached it, so that clients may come and go meanwhile.
 */
typedef struct TmemCompact {
    TmemCompactPhase phase;
    uint32_t round;
    bool tight;             /* someone is likely to be refused for memory */
    bool has_moved;         /* there was a pass since segments were marked */
    uint64_t nr_marked;
    uint64_t nr_left;       /* of these, not emptied */
    unsigned nr_fruitless;  /* passes in a row that emptied few of them */
} TmemCompact;

/* Passes that are fruitless put the next one off up to 2 to this times. */
#define TMEM_COMPACT_PUT_OFF_MAX    5

/** Begins to mark segments. */
void tmem_compact_begin(TmemCompact *c, TmemStore *store);

/** All is moved: begins to use again what is still marked. */
void tmem_compact_end(TmemCompact *c);

/**
 * tmem_compact_slice() - go on marking, or unmarking
 *
 * No lock held.  Looks at a few classes of one client.  After marking there is
 * moving to be done, unless too little would come free for a pass over the
 * index.
 */
void tmem_compact_slice(TmemCompact *c, TmemStore *store);

/**
 * tmem_compact_bucket() - move what one bucket of the index leads to
 *
 * No lock held; holds that of the shard for a few pages at a time.  Returns
 * false if the shard has no such bucket.
 */
bool tmem_compact_bucket(TmemStore *store, TmemShard *shard, uint32_t bucket);

/**
 * tmem_compact_contents() - the same of what trust groups keep
 * @nr: of the shard, among those of all groups
 *
 * Upkeep is who calls: no group goes meanwhile.
 */
bool tmem_compact_contents(TmemStore *store, uint32_t nr, uint32_t bucket);

/** Shards there are to go through, or might be: of the index, of groups. */
uint32_t tmem_compact_nr_shards(TmemStore *store);
#endif /* TMEM_COMPACT_H */
