/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: which ephemeral pages were here not long ago
 *
 * A guest that stores a page which the store had to drop, or which it loaded
 * back, shows that the page is worth more than one that is seen for the first
 * time (S3-FIFO; Yang et al., SOSP 2023).  A ghost is 4 bytes: some bits of
 * the page's hash and the time.  Wrong answers cost a little of the hit ratio
 * and nothing else.
 *
 * Time runs for each client by itself and is what left its memory, in bytes:
 * a ghost counts until as much has left as the client holds now.
 *
 * The table is a 256th of the store, set aside when the first client is large
 * enough for it, and given back when no ephemeral page is left.  Who writes a
 * ghost has a shard locked, so that the table's end can wait for it; two that
 * write to a line at once may lose a ghost.  Reading needs no lock.
 */
#ifndef TMEM_GHOSTS_H
#define TMEM_GHOSTS_H

#include "tmem-index.h"

/* A line of a cache, the youngest ghost first. */
#define TMEM_GHOSTS_WAYS    16

typedef enum TmemGhostsState {
    TMEM_GHOSTS_OFF,
    TMEM_GHOSTS_CHANGING,
    TMEM_GHOSTS_ON,
} TmemGhostsState;

typedef struct TmemGhosts {
    TmemIndex *index;
    uint32_t *table;        /* NULL: without, as there was no address space */
    size_t bytes;
    uint32_t nr_lines;
    unsigned tick_shift;    /* bytes of a tick of the stamps */
    int state;              /* TmemGhostsState; atomic */
    uint32_t nr_refused;    /* stores since there was no memory; atomic */
} TmemGhosts;

/** Cannot fail: without a table no page is remembered. */
void tmem_ghosts_init(TmemGhosts *ghosts, TmemIndex *index);
void tmem_ghosts_destroy(TmemGhosts *ghosts);

/** Whether pages are remembered; sets the table up.  No lock held. */
bool tmem_ghosts_start(TmemGhosts *ghosts);

/** Gives the table's memory back if it is of no use.  No lock held. */
void tmem_ghosts_stop(TmemGhosts *ghosts);

/**
 * tmem_ghosts_note() - remember the page at @pos of the key's node
 * @key: of any page of the node
 * @bytes: of the slot that it leaves
 *
 * The page's shard is locked.
 */
void tmem_ghosts_note(TmemGhosts *ghosts, const TmemKey *key, unsigned pos,
                      TmemHeap *heap, uint32_t bytes);

/** Whether the key's page is remembered in @heap. */
bool tmem_ghosts_know(const TmemGhosts *ghosts, const TmemKey *key,
                      const TmemHeap *heap);

#endif /* TMEM_GHOSTS_H */
