/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: clients
 */
#include <errno.h>
#include <string.h>

#include "tmem-error.h"
#include "tmem-fault.h"
#include "tmem-os.h"
#include "tmem-store.h"
#include "tmem-trust.h"

/* --- The pool table --- */

uint64_t tmem_tallies_bytes(uint32_t nr_slots)
{
    return tmem_os_round_up(nr_slots * sizeof(TmemTally));
}

uint64_t tmem_client_table_bytes_locked(const TmemClient *client,
                                        uint32_t nr_slots)
{
    return tmem_os_round_up(nr_slots * sizeof(TmemPool)) +
           client->nr_contexts * tmem_tallies_bytes(nr_slots);
}

/* --- Attaching and detaching --- */

static int compare_names(gconstpointer a, gconstpointer b)
{
    const TmemClient *x = a, *y = b;

    return strcmp(x->name, y->name);
}

static int compare_name(gconstpointer client, gconstpointer name)
{
    return strcmp(((const TmemClient *)client)->name, name);
}

TmemClient *tmem_store_client_locked(TmemStore *store, const char *name)
{
    GList *found = g_list_find_custom(store->clients, name, compare_name);

    return found ? found->data : NULL;
}

static bool attach(TmemStore *store, TmemClient *client, GError **errp)
{
    bool taken;

    tmem_lock(&store->clients_lock);
    client->host_slots = tmem_loader_slots(store->loader, client->name);
    taken = tmem_store_client_locked(store, client->name);
    if (!taken) {
        client->heap.waiting_bytes = tmem_loader_held(store->loader,
                                                      client->name);
        store->clients = g_list_insert_sorted(store->clients, client,
                                              compare_names);
        __atomic_fetch_add(&store->nr_clients, 1, __ATOMIC_RELAXED);
    }
    tmem_unlock(&store->clients_lock);
    if (taken) {
        return tmem_error_set(errp, "the store already has a client '%s'; "
                              "give this one another name", client->name);
    }
    return true;
}

/* The store's first client may be what its thread was waiting for. */
static bool attach_kept_up(TmemStore *store, TmemClient *client, GError **errp)
{
    TmemPolicy policy;
    bool ok;

    tmem_upkeep_lock_policy(store);
    tmem_store_get_policy(store, &policy);
    ok = tmem_upkeep_start(store, &policy, errp) &&
         attach(store, client, errp);
    tmem_upkeep_unlock_policy(store);
    return ok;
}

static bool device_ok(const char *name, uint32_t max_pools, uint32_t credit,
                      GError **errp)
{
    if (max_pools > TMEM_CLIENT_POOLS_MAX) {
        tmem_error_set(errp, "client '%s': %u pools are more than the %u that "
                       "are possible", name, max_pools, TMEM_CLIENT_POOLS_MAX);
        return false;
    }
    if (credit > TMEM_CLIENT_CREDIT_MAX) {
        tmem_error_set(errp, "client '%s': a credit of %u pages is more than "
                       "the %u that are possible", name, credit,
                       TMEM_CLIENT_CREDIT_MAX);
        return false;
    }
    return true;
}

bool tmem_client_set_device(TmemClient *client, uint32_t max_pools,
                            uint32_t credit, GError **errp)
{
    if (!device_ok(client->name, max_pools, credit, errp)) {
        return false;
    }
    tmem_lock(&client->lock);
    client->max_pools = max_pools ? max_pools : TMEM_CLIENT_POOLS_DEFAULT;
    tmem_unlock(&client->lock);
    tmem_credit_set_target(client, credit);
    return true;
}

/* --- Trust groups --- */

static bool become_trust_group(TmemClient *client, GError **errp)
{
    client->heap.trust = tmem_trust_new(client, errp);
    return client->heap.trust;
}

bool tmem_client_set_trust_group(TmemClient *client, TmemClient *group,
                                 GError **errp)
{
    TmemTrust *trust = group ? group->heap.trust : NULL;
    bool has_pools;

    tmem_assert_unlocked();
    if (group && !trust) {
        return tmem_error_set(errp, "client '%s' is no trust group",
                              group->name);
    }
    if (client->heap.trust) {
        return tmem_error_set(errp, "client '%s' is a trust group itself, and "
                              "cannot be a member of one", client->name);
    }
    tmem_lock(&client->lock);
    has_pools = client->nr_pools > client->nr_host_pools;
    if (!has_pools && client->trust != trust) {
        tmem_trust_count_member(client->trust, -1);
        tmem_trust_count_member(trust, 1);
        client->trust = trust;
    }
    tmem_unlock(&client->lock);
    return !has_pools ||
           tmem_error_set(errp, "client '%s' has pools; it can join or leave "
                          "a trust group only while it has none",
                          client->name);
}

TmemClient *tmem_client_trust_group(const TmemClient *client)
{
    return client->trust ? client->trust->client : NULL;
}

bool tmem_client_is_trust_group(const TmemClient *client)
{
    return client->heap.trust;
}

/* --- Life --- */

/*
 * tmem_store_check() goes through all heaps, attached or not, with the list of
 * clients locked: none comes or goes meanwhile.
 */
static bool make_heap(TmemStore *store, TmemClient *client,
                      const TmemClientConfig *config, GError **errp)
{
    bool ok;

    tmem_lock(&store->clients_lock);
    ok = tmem_heap_init(&client->heap, &store->arena, config->name,
                        &config->limits, errp);
    tmem_unlock(&store->clients_lock);
    return ok;
}

/* Of a client that was not attached: nobody evicts from it. */
static void unmake_heap(TmemStore *store, TmemClient *client)
{
    if (client->heap.trust) {
        tmem_trust_clear(client->heap.trust);
    }
    tmem_lock(&store->clients_lock);
    tmem_heap_destroy(&client->heap);
    tmem_unlock(&store->clients_lock);
    tmem_trust_free(client->heap.trust);
}

TmemClient *tmem_client_new(TmemStore *store, const TmemClientConfig *config,
                            GError **errp)
{
    TmemClient *client;

    tmem_assert_unlocked();
    if (!config->name || !*config->name) {
        tmem_error_set(errp, "a client of the store needs a name");
        return NULL;
    }
    if (strlen(config->name) > TMEM_CLIENT_NAME_MAX) {
        tmem_error_set(errp, "the name of a client of the store has %zu bytes; "
                       "possible are %u", strlen(config->name),
                       TMEM_CLIENT_NAME_MAX);
        return NULL;
    }
    if (!device_ok(config->name, config->max_pools, config->credit, errp)) {
        return NULL;
    }
    client = TMEM_FAULT("client") ? NULL : g_try_new0(TmemClient, 1);
    if (client) {
        client->pools_bytes = TMEM_CLIENT_POOLS_MAX * sizeof(TmemPool);
        client->pools = tmem_os_reserve(client->pools_bytes);
    }
    if (!client || !client->pools) {
        tmem_error_set(errp, "client '%s': cannot reserve its pool table: %s",
                       config->name, strerror(ENOMEM));
        goto err_client;
    }
    if (!make_heap(store, client, config, errp)) {
        goto err_pools;
    }
    client->store = store;
    client->name = g_strdup(config->name);
    client->max_pools = config->max_pools ? config->max_pools :
                                            TMEM_CLIENT_POOLS_DEFAULT;
    client->first = client->last = TMEM_POOL_SLOT_NONE;
    client->limited = client->look_next = TMEM_POOL_SLOT_NONE;
    tmem_lock_init(&client->lock, TMEM_RANK_CLIENT);
    tmem_credit_init(client, config->credit);
    if ((config->is_trust_group && !become_trust_group(client, errp)) ||
        !attach_kept_up(store, client, errp)) {
        goto err_heap;
    }
    return client;

err_heap:
    unmake_heap(store, client);
    tmem_credit_destroy(client);
    tmem_lock_destroy(&client->lock);
    g_free(client->name);
err_pools:
    tmem_os_release(client->pools, client->pools_bytes);
err_client:
    g_free(client);
    return NULL;
}

void tmem_client_free(TmemClient *client)
{
    TmemStore *store;

    if (!client) {
        return;
    }
    store = client->store;
    g_assert(!client->contexts);
    tmem_pool_destroy_all(client, true);
    tmem_credit_forget(client);
    if (client->heap.trust) {
        g_assert(!client->heap.trust->nr_members);
        tmem_trust_clear(client->heap.trust);
    }
    tmem_trust_count_member(client->trust, -1);
    tmem_ghosts_stop(&store->ghosts);

    /* It may still hold a slot for a page that is gone. */
    tmem_upkeep_pause(store);
    tmem_recompress_forget(&store->upkeep.recompress, client);
    tmem_lock(&store->clients_lock);
    store->clients = g_list_remove(store->clients, client);
    __atomic_fetch_sub(&store->nr_clients, 1, __ATOMIC_RELAXED);
    tmem_unlock(&store->clients_lock);

    tmem_heap_destroy(&client->heap);
    tmem_trust_free(client->heap.trust);
    tmem_upkeep_resume(store);
    tmem_event_freed_store(store);
    tmem_credit_destroy(client);
    tmem_lock_destroy(&client->lock);
    tmem_os_release(client->pools, client->pools_bytes);
    g_free(client->name);
    g_free(client);
}

void tmem_client_reset(TmemClient *client)
{
    tmem_pool_destroy_all(client, false);
    tmem_credit_forget(client);
    tmem_ghosts_stop(&client->store->ghosts);
}

const char *tmem_client_name(const TmemClient *client)
{
    return client->name;
}

void tmem_store_foreach_client(TmemStore *store, TmemClientFunc *func,
                               void *opaque)
{
    tmem_lock(&store->clients_lock);
    for (GList *l = store->clients; l; l = l->next) {
        func(l->data, opaque);
    }
    tmem_unlock(&store->clients_lock);
}
