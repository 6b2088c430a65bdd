/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Is a history of one handle, recorded by several threads, linearisable?
 *
 * Each operation is known by when it began and when it ended.  The history is
 * right if every operation can be thought to have happened at one moment
 * between the two, so that in the order of these moments each answer is what a
 * plain variable would have given (Herlihy and Wing, 1990):
 *
 *   a store that was taken    the page is there
 *   a store that was refused  nothing is there (B1)
 *   a hit                     that very page is there
 *   a miss                    nothing is there; an ephemeral page may have been
 *                             evicted just before, for ever
 *   an invalidation           nothing is there (B2)
 *   a taking                  if what was loaded is still there: nothing
 *   the pool's destruction    from then on all answer NOPOOL, before it none
 */
#ifndef TMEM_TEST_HISTORY_H
#define TMEM_TEST_HISTORY_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "libtmem/tmem.h"

/* Threads whose operations one history may hold. */
#define HISTORY_THREADS_MAX     8

typedef enum HistoryType {
    HISTORY_STORE,
    HISTORY_LOAD,
    HISTORY_TAKE,
    HISTORY_INVALIDATE,
    HISTORY_DESTROY,
} HistoryType;

typedef struct HistoryOp {
    uint64_t begin;         /* stamps, all different */
    uint64_t end;
    /*
     * What was stored or found, or is to be taken: neither 0 nor UINT64_MAX,
     * and never stored twice.
     */
    uint64_t value;
    HistoryType type;
    TmemStatus status;
    unsigned thread;
} HistoryOp;

/**
 * history_check() - look for an order that explains all answers
 * @ops: of one handle; those of a thread in the order in which it ran them
 * @ephemeral: the page may vanish at any moment
 *
 * Returns NULL, or text that shows where every attempt at an order got stuck.
 */
char *history_check(const HistoryOp *ops, unsigned nr, bool ephemeral);

#endif /* TMEM_TEST_HISTORY_H */
