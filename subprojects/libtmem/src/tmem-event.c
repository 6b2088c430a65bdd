/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: telling the operator what has happened
 */
#include "tmem-event.h"
#include "tmem-store.h"

/* How much must be free again before it is said to be: 1/16. */
#define HYSTERESIS_SHIFT    4

static bool is_full(TmemStore *store)
{
    return tmem_share_available(&store->arena) <
           tmem_arena_budget_bytes(&store->arena) >> HYSTERESIS_SHIFT;
}

void tmem_event_init(TmemStore *store)
{
    pthread_mutex_init(&store->events.mutex, NULL);
}

void tmem_event_destroy(TmemStore *store)
{
    pthread_mutex_destroy(&store->events.mutex);
}

void tmem_store_set_event_func(TmemStore *store, TmemEventFunc *func,
                               void *opaque)
{
    store->events.func = func;
    store->events.opaque = opaque;
}

void tmem_event_emit(TmemStore *store, TmemEvent event, TmemClient *client)
{
    tmem_assert_unlocked();
    if (store->events.func) {
        store->events.func(event, client, store->events.opaque);
    }
}

/* Says @event if @flag takes another value with that. */
static void set_flag(TmemStore *store, bool *flag, bool value, TmemEvent event,
                     TmemClient *client)
{
    tmem_assert_unlocked();
    pthread_mutex_lock(&store->events.mutex);
    if (*flag != value) {
        __atomic_store_n(flag, value, __ATOMIC_RELAXED);
        tmem_event_emit(store, event, client);
    }
    pthread_mutex_unlock(&store->events.mutex);
}

static bool is_set(const bool *flag)
{
    return __atomic_load_n(flag, __ATOMIC_RELAXED);
}

/* --- Edges --- */

static void reached_limit(TmemClient *client)
{
    if (!is_set(&client->is_at_limit)) {
        set_flag(client->store, &client->is_at_limit, true,
                 TMEM_EVENT_LIMIT_REACHED, client);
    }
}

static void became_full(TmemStore *store)
{
    if (!is_set(&store->events.is_full)) {
        set_flag(store, &store->events.is_full, true, TMEM_EVENT_FULL, NULL);
    }
}

void tmem_event_refused(TmemClient *client, TmemStatus status)
{
    if (status == TMEM_STATUS_QUOTA && tmem_heap_near_limit(&client->heap, 0)) {
        reached_limit(client);
    } else if (status == TMEM_STATUS_NOSPC && is_full(client->store)) {
        became_full(client->store);
    } else {
        return;
    }
    /* Whoever freed meanwhile may have looked before that was said. */
    tmem_event_freed(client);
}

static bool has_left_limit(TmemClient *client)
{
    return is_set(&client->is_at_limit) &&
           !tmem_heap_near_limit(&client->heap, HYSTERESIS_SHIFT);
}

static void left_limit(TmemClient *client)
{
    set_flag(client->store, &client->is_at_limit, false,
             TMEM_EVENT_LIMIT_LEFT, client);
}

static void freed_store(TmemStore *store)
{
    if (is_set(&store->events.is_full) && !is_full(store)) {
        set_flag(store, &store->events.is_full, false, TMEM_EVENT_NOT_FULL,
                 NULL);
    }
}

void tmem_event_freed(TmemClient *client)
{
    if (has_left_limit(client)) {
        left_limit(client);
    }
    freed_store(client->store);
}

static TmemClient *find_left(TmemStore *store)
{
    TmemClient *found = NULL;

    tmem_lock(&store->clients_lock);
    for (GList *l = store->clients; l && !found; l = l->next) {
        found = has_left_limit(l->data) ? l->data : NULL;
    }
    tmem_unlock(&store->clients_lock);
    return found;
}

void tmem_event_freed_any(TmemStore *store)
{
    TmemClient *client;

    while ((client = find_left(store))) {
        left_limit(client);
    }
    freed_store(store);
}
