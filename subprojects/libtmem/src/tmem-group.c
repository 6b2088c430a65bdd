/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: ephemeral pools that several clients share
 */
#include <string.h>

#include "tmem-error.h"
#include "tmem-fault.h"
#include "tmem-group.h"
#include "tmem-store.h"

/* --- Who may --- */

/* Its place in the list, or the end of the list. */
static uint32_t find_uuid(const TmemUuids *uuids, const uint8_t *uuid)
{
    uint32_t i = 0;

    while (i < uuids->nr && memcmp(uuids->uuid[i], uuid, TMEM_UUID_BYTES)) {
        i++;
    }
    return i;
}

bool tmem_client_authorize(TmemClient *client, const uint8_t uuid[16],
                           bool allow, GError **errp)
{
    TmemUuids *uuids = &client->uuids;
    bool ok = true;
    uint32_t i;

    tmem_assert_unlocked();
    tmem_lock(&client->lock);
    i = find_uuid(uuids, uuid);
    if (allow && i == uuids->nr) {
        ok = uuids->nr < TMEM_CLIENT_UUIDS_MAX;
        if (ok) {
            memcpy(uuids->uuid[uuids->nr++], uuid, TMEM_UUID_BYTES);
        }
    } else if (!allow && i < uuids->nr) {
        memcpy(uuids->uuid[i], uuids->uuid[--uuids->nr], TMEM_UUID_BYTES);
    }
    tmem_unlock(&client->lock);
    return ok || tmem_error_set(errp, "client '%s' may join %u shared pools "
                                "already; withdraw one of these first",
                                client->name, TMEM_CLIENT_UUIDS_MAX);
}

uint32_t tmem_client_get_authorized(TmemClient *client,
                                    uint8_t uuids[TMEM_CLIENT_UUIDS_MAX][16])
{
    uint32_t nr;

    tmem_lock(&client->lock);
    nr = client->uuids.nr;
    memcpy(uuids, client->uuids.uuid, nr * TMEM_UUID_BYTES);
    tmem_unlock(&client->lock);
    return nr;
}

TmemStatus tmem_group_check_locked(TmemClient *client, const uint8_t *uuid)
{
    const TmemUuids *uuids = &client->uuids;

    for (uint32_t slot = client->first; slot != TMEM_POOL_SLOT_NONE;
         slot = client->pools[slot].next) {
        const TmemPool *pool = &client->pools[slot];

        /* One that is being destroyed has no id, and has been left. */
        if (pool->id && pool->group &&
            !memcmp(pool->group->uuid, uuid, TMEM_UUID_BYTES)) {
            return TMEM_STATUS_INVAL;
        }
    }
    if (find_uuid(uuids, uuid) == uuids->nr) {
        __atomic_fetch_add(&client->gone.joins_refused, 1, __ATOMIC_RELAXED);
        return TMEM_STATUS_PERM;
    }
    return TMEM_STATUS_OK;
}

/* --- Members --- */

uint64_t tmem_group_hash_id(const TmemGroup *group)
{
    return group->hash_id;
}

static int has_uuid(gconstpointer a, gconstpointer uuid)
{
    const TmemGroup *group = a;

    return memcmp(group->uuid, uuid, TMEM_UUID_BYTES);
}

static TmemGroup *create_locked(TmemStore *store, const uint8_t *uuid)
{
    TmemGroup *group = TMEM_FAULT("group") ? NULL :
                         g_try_new0(TmemGroup, 1);

    if (group) {
        memcpy(group->uuid, uuid, TMEM_UUID_BYTES);
        /* A generation of its own: no pool has this id. */
        group->hash_id = tmem_store_generation(store) <<
                          TMEM_POOL_GEN_SHIFT;
        store->groups = g_list_prepend(store->groups, group);
    }
    return group;
}

TmemGroup *tmem_group_join(TmemStore *store, const uint8_t *uuid)
{
    TmemGroup *group;
    GList *link;

    tmem_lock(&store->groups_lock);
    link = g_list_find_custom(store->groups, uuid, has_uuid);
    group = link ? link->data : create_locked(store, uuid);
    if (group) {
        group->nr_members++;
    }
    tmem_unlock(&store->groups_lock);
    return group;
}

void tmem_group_leave(TmemStore *store, TmemGroup *group)
{
    tmem_lock(&store->groups_lock);
    if (!--group->nr_members) {
        store->groups = g_list_remove(store->groups, group);
        g_free(group);
    }
    tmem_unlock(&store->groups_lock);
}
