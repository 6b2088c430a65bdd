/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: ephemeral pools that several clients share
 *
 * Each member has a pool of its own, with an id of its own, in its own table;
 * the handles of all are hashed alike.  A page, its record and its place in a
 * node belong to the member that stored it, so leaving is what destroying a
 * private pool is, and no member ever pays for another.
 */
#ifndef TMEM_GROUP_H
#define TMEM_GROUP_H

#include "libtmem/tmem.h"

#define TMEM_UUID_BYTES     16

typedef struct TmemGroup {
    uint8_t uuid[TMEM_UUID_BYTES];
    uint64_t hash_id;
    uint32_t nr_members;        /* the store's groups_lock */
} TmemGroup;

/* The uuids that a client may join; guarded by the client's lock. */
typedef struct TmemUuids {
    uint32_t nr;
    uint8_t uuid[TMEM_CLIENT_UUIDS_MAX][TMEM_UUID_BYTES];
} TmemUuids;

/** What handles of the pool are hashed by. */
uint64_t tmem_group_hash_id(const TmemGroup *group);

/** Returns OK, PERM or INVAL: whether @client may join now. */
TmemStatus tmem_group_check_locked(TmemClient *client, const uint8_t *uuid);

/** One more member, of a pool that is made if needed; NULL without memory. */
TmemGroup *tmem_group_join(TmemStore *store, const uint8_t *uuid);

/** One less; the pool ends with the last. */
void tmem_group_leave(TmemStore *store, TmemGroup *group);

#endif /* TMEM_GROUP_H */
