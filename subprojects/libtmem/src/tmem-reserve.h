/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: what the minimums of pools reserve in their client
 *
 * A persistent pool does not take what the minimums of its siblings still need:
 * what it stores stays.  An ephemeral one may, as its pages go again when one
 * of the others wants the memory.
 */
#ifndef TMEM_RESERVE_H
#define TMEM_RESERVE_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct TmemClient TmemClient;
typedef struct TmemPool TmemPool;

/* Where a persistent pool may put a page, as far as its siblings go. */
typedef enum TmemReserved {
    TMEM_RESERVED_FREE,     /* anywhere */
    TMEM_RESERVED_INSIDE,   /* in memory that the client has already */
    TMEM_RESERVED_NONE,
} TmemReserved;

/**
 * tmem_reserve_check() - whether siblings leave room for @bytes of @pool
 * @pool: a persistent one; NULL: none of them is to have it yet
 *
 * No lock held, so that threads which ask at once may each get what is left:
 * a page for each of them, which the reserve covers.
 */
TmemReserved tmem_reserve_check(TmemClient *client, const TmemPool *pool,
                                uint64_t bytes);

/** The minimums of the client's pools together; it is locked. */
uint64_t tmem_reserve_minimums_locked(const TmemClient *client,
                                      const TmemPool *except);

/**
 * tmem_reserve_max_ok_locked() - whether these fit a maximum of the client
 * @max_bytes: 0: no limit
 *
 * The client is locked.  Returns false and sets @errp if not.
 */
bool tmem_reserve_max_ok_locked(const TmemClient *client, uint64_t max_bytes,
                                GError **errp);

#endif /* TMEM_RESERVE_H */
