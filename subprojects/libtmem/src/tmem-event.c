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

/* Sets a flag; whether that was an edge. */
static bool edge(bool *flag, bool value)
{
    return __atomic_load_n(flag, __ATOMIC_RELAXED) != value &&
           __atomic_exchange_n(flag, value, __ATOMIC_RELAXED) != value;
}

void tmem_event_refused(TmemClient *client, TmemStatus status)
{
    if (status == TMEM_STATUS_QUOTA && tmem_heap_near_limit(&client->heap, 0)) {
        if (edge(&client->is_at_limit, true)) {
            tmem_event_emit(client->store, TMEM_EVENT_LIMIT_REACHED, client);
        }
    } else if (status == TMEM_STATUS_NOSPC && is_full(client->store)) {
        if (edge(&client->store->events.is_full, true)) {
            tmem_event_emit(client->store, TMEM_EVENT_FULL, NULL);
        }
    }
}

void tmem_event_freed(TmemClient *client)
{
    TmemStore *store = client->store;

    if (__atomic_load_n(&client->is_at_limit, __ATOMIC_RELAXED) &&
        !tmem_heap_near_limit(&client->heap, HYSTERESIS_SHIFT) &&
        edge(&client->is_at_limit, false)) {
        tmem_event_emit(store, TMEM_EVENT_LIMIT_LEFT, client);
    }
    if (__atomic_load_n(&store->events.is_full, __ATOMIC_RELAXED) &&
        !is_full(store) && edge(&store->events.is_full, false)) {
        tmem_event_emit(store, TMEM_EVENT_NOT_FULL, NULL);
    }
}
