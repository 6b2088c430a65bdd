/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: telling the operator what has happened
 */
#include "tmem-event.h"
#include "tmem-store.h"

/* How much must be free again before it is said to be: 1/16. */
#define HYSTERESIS_SHIFT    4

/*
 * A client above its share is refused when it would leave less than a sixteenth
 * (TMEM_TIGHT_SHIFT): a segment before that.
 */
static bool is_full(TmemStore *store)
{
    const TmemArena *arena = &store->arena;

    return tmem_share_available(&store->arena) <
           (tmem_arena_budget_bytes(arena) >> HYSTERESIS_SHIFT) +
           (1ull << arena->segment_shift);
}

/*
 * Half as much more, or who is refused for its share would hear of an edge each
 * time that a segment comes and goes.
 */
static bool has_room(TmemStore *store)
{
    uint64_t budget = tmem_arena_budget_bytes(&store->arena);

    return !is_full(store) &&
           tmem_share_available(&store->arena) >=
           (budget >> HYSTERESIS_SHIFT) + (budget >> (HYSTERESIS_SHIFT + 1));
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

/* --- Hints.  The events' mutex is held. --- */

static void tell_hints(TmemClient *client)
{
    if (client->hints.func) {
        client->hints.func(client->hints.opaque);
    }
}

/* What made stores be refused is over; the driver is told if it was told. */
static void forget_refused(TmemClient *client, TmemRefusedFor reason)
{
    if (__atomic_exchange_n(&client->hints.refused[reason], 0,
                            __ATOMIC_RELAXED)) {
        tell_hints(client);
    }
}

static void forget_refused_all(TmemStore *store)
{
    tmem_lock(&store->clients_lock);
    for (GList *l = store->clients; l; l = l->next) {
        forget_refused(l->data, TMEM_REFUSED_FULL);
    }
    tmem_unlock(&store->clients_lock);
}

/* --- Flags --- */

/* Says @event if @flag takes another value with that. */
static void set_flag(TmemStore *store, bool *flag, bool value, TmemEvent event,
                     TmemClient *client)
{
    tmem_assert_unlocked();
    pthread_mutex_lock(&store->events.mutex);
    if (*flag != value) {
        __atomic_store_n(flag, value, __ATOMIC_RELAXED);
        tmem_event_emit(store, event, client);
        if (event == TMEM_EVENT_LIMIT_LEFT) {
            forget_refused(client, TMEM_REFUSED_LIMIT);
        } else if (event == TMEM_EVENT_NOT_FULL) {
            forget_refused_all(store);
        }
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

/*
 * Stores of a kind are refused from now on, as far as one can tell: until
 * @flag, which is a promise that the end of it will be told, is no longer set.
 */
static void note_refused(TmemClient *client, TmemRefusedFor reason,
                         const bool *flag, uint8_t hints)
{
    uint8_t *refused = &client->hints.refused[reason];

    __atomic_store_n(&client->hints.nr_kept, 0, __ATOMIC_RELAXED);
    if ((__atomic_load_n(refused, __ATOMIC_RELAXED) & hints) != hints) {
        pthread_mutex_lock(&client->store->events.mutex);
        if (*flag) {
            __atomic_fetch_or(refused, hints, __ATOMIC_RELAXED);
            tell_hints(client);
        }
        pthread_mutex_unlock(&client->store->events.mutex);
    }
}

void tmem_event_refused(TmemClient *client, TmemStatus status, uint8_t hints)
{
    if (status == TMEM_STATUS_QUOTA && tmem_heap_near_limit(&client->heap, 0)) {
        reached_limit(client);
        note_refused(client, TMEM_REFUSED_LIMIT, &client->is_at_limit, hints);
    } else if (status == TMEM_STATUS_NOSPC && is_full(client->store)) {
        became_full(client->store);
        note_refused(client, TMEM_REFUSED_FULL,
                     &client->store->events.is_full, hints);
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

static uint8_t refused(const TmemClient *client, TmemRefusedFor reason)
{
    return __atomic_load_n(&client->hints.refused[reason], __ATOMIC_RELAXED);
}

/*
 * Whether the store is no longer full for a client that was refused for it.
 * Where the minimums leave less of the store than NOT_FULL takes it is never
 * said, and who is below its own can store all the same.
 */
static bool is_owed(TmemClient *client)
{
    return refused(client, TMEM_REFUSED_FULL) &&
           tmem_share_owes(&client->heap);
}

static void became_owed(TmemClient *client)
{
    pthread_mutex_lock(&client->store->events.mutex);
    forget_refused(client, TMEM_REFUSED_FULL);
    pthread_mutex_unlock(&client->store->events.mutex);
}

static void freed_store(TmemStore *store)
{
    if (is_set(&store->events.is_full) && has_room(store)) {
        set_flag(store, &store->events.is_full, false, TMEM_EVENT_NOT_FULL,
                 NULL);
    }
}

void tmem_event_freed(TmemClient *client)
{
    if (has_left_limit(client)) {
        left_limit(client);
    }
    if (is_owed(client)) {
        became_owed(client);
    }
    freed_store(client->store);
}

static TmemClient *find_client(TmemStore *store, bool (*is)(TmemClient *))
{
    TmemClient *found = NULL;

    tmem_lock(&store->clients_lock);
    for (GList *l = store->clients; l && !found; l = l->next) {
        found = is(l->data) ? l->data : NULL;
    }
    tmem_unlock(&store->clients_lock);
    return found;
}

void tmem_event_freed_any(TmemStore *store)
{
    TmemClient *client;

    while ((client = find_client(store, has_left_limit))) {
        left_limit(client);
    }
    while ((client = find_client(store, is_owed))) {
        became_owed(client);
    }
    freed_store(store);
}

void tmem_event_freed_store(TmemStore *store)
{
    freed_store(store);
}

/* --- What a driver is told --- */

static bool is_refusing(const TmemClient *client)
{
    return refused(client, TMEM_REFUSED_LIMIT) ||
           refused(client, TMEM_REFUSED_FULL);
}

/* Stores in a row that prove that they are kept again. */
#define KEPT_ENOUGH     64

/*
 * At a limit there may be room in memory that the client has: then stores are
 * kept, and that the limit is near says nothing.
 */
void tmem_event_kept(TmemClient *client)
{
    TmemHints *hints = &client->hints;

    if (!is_refusing(client) ||
        __atomic_add_fetch(&hints->nr_kept, 1, __ATOMIC_RELAXED) <
        KEPT_ENOUGH) {
        return;
    }
    pthread_mutex_lock(&client->store->events.mutex);
    __atomic_store_n(&hints->nr_kept, 0, __ATOMIC_RELAXED);
    forget_refused(client, TMEM_REFUSED_LIMIT);
    forget_refused(client, TMEM_REFUSED_FULL);
    pthread_mutex_unlock(&client->store->events.mutex);
}

uint8_t tmem_client_hints(TmemClient *client)
{
    if (tmem_admit_frozen(client)) {
        return TMEM_HINT_PERSISTENT | TMEM_HINT_EPHEMERAL;
    }
    return refused(client, TMEM_REFUSED_LIMIT) |
           refused(client, TMEM_REFUSED_FULL);
}

void tmem_client_set_hint_func(TmemClient *client, TmemHintFunc *func,
                               void *opaque)
{
    pthread_mutex_lock(&client->store->events.mutex);
    client->hints.func = func;
    client->hints.opaque = opaque;
    pthread_mutex_unlock(&client->store->events.mutex);
}

void tmem_event_frozen(TmemStore *store, TmemClient *client)
{
    tmem_assert_unlocked();
    pthread_mutex_lock(&store->events.mutex);
    if (client) {
        tell_hints(client);
    } else {
        tmem_lock(&store->clients_lock);
        for (GList *l = store->clients; l; l = l->next) {
            tell_hints(l->data);
        }
        tmem_unlock(&store->clients_lock);
    }
    pthread_mutex_unlock(&store->events.mutex);
}
