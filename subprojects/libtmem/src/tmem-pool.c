/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: pools
 */
#include <string.h>

#include "tmem-drop.h"
#include "tmem-error.h"
#include "tmem-fault.h"
#include "tmem-os.h"
#include "tmem-policy.h"
#include "tmem-group.h"
#include "tmem-store.h"

const char *tmem_pool_kind_str(TmemPoolKind kind)
{
    return kind == TMEM_POOL_EPHEMERAL ? "ephemeral" : "persistent";
}

/* --- Tallies --- */

/*
 * Whether a client holds persistent pages is asked after every batch of
 * requests, so it is a counter of its own.  Each context has one: one that all
 * share would go from processor to processor with every page.
 */
static int64_t persistent_pages(const TmemPool *pool, const TmemDelta *delta)
{
    return tmem_pool_id_kind(pool->key) == TMEM_POOL_PERSISTENT &&
           !tmem_pool_id_is_host(pool->key) ? delta->pages : 0;
}

/* So are the bytes of persistent pools, which minimums are weighed against. */
static int64_t persistent_bytes(const TmemPool *pool, const TmemDelta *delta)
{
    return tmem_pool_id_kind(pool->key) == TMEM_POOL_PERSISTENT ?
           delta->data_bytes + delta->index_bytes : 0;
}

void tmem_tally_apply(TmemContext *ctx, TmemPool *pool, const TmemDelta *delta)
{
    TmemTally *tally = &ctx->tallies[pool - ctx->client->pools];

#define APPLY(name, kind, unit, text)                                         \
    if (delta->name) {                                                        \
        tmem_count(&tally->name, delta->name);                                \
    }
    TMEM_POOL_LEVELS(APPLY)
#undef APPLY
    for (unsigned i = 0; i < TMEM_SIZE_BUCKETS; i++) {
        if (delta->sizes[i]) {
            tmem_count(&ctx->held.sizes.held[i], delta->sizes[i]);
        }
    }
    if (delta->stored_bytes) {
        tmem_count(&ctx->held.bytes, delta->stored_bytes);
    }
    tmem_quota_add(&pool->quota, delta->data_bytes + delta->index_bytes);
    tmem_turnover_count(&ctx->persistent_bytes, persistent_bytes(pool, delta));
    if (delta->pages) {
        tmem_turnover_count(&ctx->persistent, persistent_pages(pool, delta));
    }
}

void tmem_pool_apply(TmemPool *pool, const TmemDelta *delta)
{
    TmemHeld *held = &pool->client->held;
    int64_t bytes = persistent_bytes(pool, delta);

#define APPLY(name, kind, unit, text)                                         \
    if (delta->name) {                                                        \
        __atomic_fetch_add(&pool->shared.name, delta->name, __ATOMIC_RELAXED);\
    }
    TMEM_POOL_LEVELS(APPLY)
#undef APPLY
    for (unsigned i = 0; i < TMEM_SIZE_BUCKETS; i++) {
        if (delta->sizes[i]) {
            __atomic_fetch_add(&held->sizes.held[i], (int64_t)delta->sizes[i],
                               __ATOMIC_RELAXED);
        }
    }
    if (delta->stored_bytes) {
        __atomic_fetch_add(&held->bytes, delta->stored_bytes,
                           __ATOMIC_RELAXED);
    }
    tmem_quota_add(&pool->quota, delta->data_bytes + delta->index_bytes);
    if (bytes) {
        tmem_turnover_add(&pool->client->persistent_bytes, MAX(bytes, 0),
                          -MIN(bytes, 0));
    }
    if (delta->pages) {
        int64_t pages = persistent_pages(pool, delta);

        tmem_turnover_add(&pool->client->persistent, MAX(pages, 0),
                          -MIN(pages, 0));
    }
}

void tmem_tally_sum(TmemPoolStats *sum, const TmemTally *from)
{
#define SUM(name, kind, unit, text)                                           \
    sum->name += __atomic_load_n(&from->name, __ATOMIC_RELAXED);
    TMEM_POOL_COUNTERS(SUM)
    TMEM_POOL_LEVELS(SUM)
#undef SUM
}

/* --- Finding --- */

TmemPool *tmem_pool_find(TmemClient *client, uint64_t id)
{
    uint32_t slot = tmem_pool_id_slot(id);
    TmemPool *pool;

    if (!id || slot >= TMEM_CLIENT_POOLS_MAX) {
        return NULL;
    }
    pool = &client->pools[slot];
    return tmem_pool_is(pool, id) ? pool : NULL;
}

/* --- Codec --- */

TmemCodecChoice tmem_pool_codec(TmemStore *store, const TmemPool *pool)
{
    uint32_t word = __atomic_load_n(&pool->codec, __ATOMIC_RELAXED);

    if (!word) {
        word = __atomic_load_n(&store->codec, __ATOMIC_RELAXED);
    }
    return tmem_codec_unpack(word);
}

bool tmem_pool_set_codec(TmemClient *client, uint64_t id,
                         const TmemCodecChoice *codec, GError **errp)
{
    TmemPool *pool;

    tmem_assert_unlocked();
    if (codec && !tmem_codec_choice_check(codec, errp)) {
        return false;
    }
    tmem_lock(&client->lock);
    pool = tmem_pool_find(client, id);
    if (pool) {
        __atomic_store_n(&pool->codec, codec ? tmem_codec_pack(codec) : 0,
                         __ATOMIC_RELAXED);
    }
    tmem_unlock(&client->lock);
    return pool || tmem_error_set(errp, "client '%s' has no pool with ID 0x%"
                                  G_GINT64_MODIFIER "x", client->name, id);
}

/* --- Creation --- */

/* What a new pool is to be. */
typedef struct PoolSpec {
    TmemPoolKind kind;
    const uint8_t *uuid;    /* of a shared one, else NULL */
    bool host;              /* out of the guest's reach */
    uint64_t id;            /* that it had before, else 0 */
} PoolSpec;

/*
 * Pools of the host's keep out of where those of the guest will come that are
 * still to be taken over: their ids are known to it, and say where they are.
 */
static uint32_t free_slot_locked(TmemClient *client, bool host)
{
    uint32_t slot;

    /* All slots below the hint are in use. */
    while (client->slot_hint < client->nr_slots &&
           client->pools[client->slot_hint].in_use) {
        client->slot_hint++;
    }
    slot = client->slot_hint;
    if (host) {
        slot = MAX(slot, client->host_slots);
        while (slot < client->nr_slots && client->pools[slot].in_use) {
            slot++;
        }
    }
    return slot < TMEM_CLIENT_POOLS_MAX ? slot : client->slot_hint;
}

/* Gives back what lies behind @nr slots of @each bytes, of @nr_old in use. */
static void discard_slots(void *table, uint32_t nr, uint32_t nr_old,
                          size_t each)
{
    tmem_os_discard((uint8_t *)table + nr * each,
                    tmem_os_round_up(nr_old * each) - nr * each);
}

/* Lets the charged part of the table end at @nr_slots. */
static TmemStatus set_nr_slots_locked(TmemClient *client, uint32_t nr_slots)
{
    uint32_t old = client->nr_slots;
    int64_t more = tmem_client_table_bytes_locked(client, nr_slots) -
                   tmem_client_table_bytes_locked(client, old);
    TmemStatus status;

    if (nr_slots < old) {
        discard_slots(client->pools, nr_slots, old, sizeof(TmemPool));
        for (GList *l = client->contexts; l; l = l->next) {
            TmemContext *ctx = l->data;

            discard_slots(ctx->tallies, nr_slots, old, sizeof(TmemTally));
        }
    }
    status = tmem_heap_charge(&client->heap, more);
    if (status == TMEM_STATUS_OK) {
        client->nr_slots = nr_slots;
    }
    return status;
}

/* Lets it end behind the last pool. */
static void trim_slots_locked(TmemClient *client)
{
    uint32_t nr_slots = client->nr_slots;

    while (nr_slots && !client->pools[nr_slots - 1].in_use) {
        nr_slots--;
    }
    set_nr_slots_locked(client, nr_slots);
}

/* Gives a pool a slot, and what it costs; INVAL: the one of before is taken. */
static TmemStatus get_slot_locked(TmemClient *client, PoolSpec spec,
                                  uint32_t *slot)
{
    TmemStatus status = TMEM_STATUS_OK;

    *slot = spec.id ? tmem_pool_id_slot(spec.id) :
                      free_slot_locked(client, spec.host);
    if (*slot >= TMEM_CLIENT_POOLS_MAX ||
        (*slot < client->nr_slots && client->pools[*slot].in_use)) {
        return TMEM_STATUS_INVAL;
    }
    if (*slot >= client->nr_slots) {
        status = set_nr_slots_locked(client, *slot + 1);
    }
    if (status != TMEM_STATUS_OK && !spec.id && *slot > client->slot_hint) {
        /* A place that others may need is better than none. */
        *slot = client->slot_hint;
        status = *slot < client->nr_slots ? TMEM_STATUS_OK :
                 set_nr_slots_locked(client, *slot + 1);
    }
    return status;
}

static void order_append_locked(TmemClient *client, uint32_t slot)
{
    TmemPool *pool = &client->pools[slot];

    pool->next = TMEM_POOL_SLOT_NONE;
    pool->prev = client->last;
    if (client->last == TMEM_POOL_SLOT_NONE) {
        client->first = slot;
    } else {
        client->pools[client->last].next = slot;
    }
    client->last = slot;
}

static void order_remove_locked(TmemClient *client, uint32_t slot)
{
    TmemPool *pool = &client->pools[slot];

    if (pool->prev == TMEM_POOL_SLOT_NONE) {
        client->first = pool->next;
    } else {
        client->pools[pool->prev].next = pool->next;
    }
    if (pool->next == TMEM_POOL_SLOT_NONE) {
        client->last = pool->prev;
    } else {
        client->pools[pool->next].prev = pool->prev;
    }
    if (client->look_next == slot) {
        client->look_next = pool->next;
    }
}

/* An id of a pool of the guest's own. */
static bool is_own(uint64_t id)
{
    return id >> TMEM_POOL_GEN_SHIFT && !tmem_pool_id_is_host(id) &&
           !tmem_pool_id_is_shared(id);
}

static uint64_t new_id(TmemClient *client, uint32_t slot, PoolSpec spec)
{
    return tmem_store_generation(client->store) << TMEM_POOL_GEN_SHIFT |
           (uint64_t)spec.host << (TMEM_POOL_SLOT_BITS + 2) |
           (uint64_t)(spec.uuid != NULL) << (TMEM_POOL_SLOT_BITS + 1) |
           (uint64_t)(spec.kind == TMEM_POOL_EPHEMERAL) <<
           TMEM_POOL_SLOT_BITS | slot;
}

/* The pool's id, and what it is hashed by; private or a member. */
static void name_locked(TmemPool *pool, uint32_t slot, PoolSpec spec)
{
    pool->key = spec.id ? spec.id : new_id(pool->client, slot, spec);
    __atomic_store_n(&pool->hash_id, spec.uuid ?
                     tmem_group_hash_id(pool->group) : pool->key,
                     __ATOMIC_RELAXED);
}

/*
 * Pools of the host's are not the guest's doing, and one that comes again was
 * allowed.
 */
static bool full_locked(const TmemClient *client, PoolSpec spec)
{
    return !spec.id && (client->nr_pools == TMEM_CLIENT_POOLS_MAX ||
           (!spec.host &&
            client->nr_pools - client->nr_host_pools >= client->max_pools));
}

static TmemStatus create_locked(TmemClient *client, PoolSpec spec,
                                uint64_t *id)
{
    TmemGroup *group = NULL;
    uint32_t slot;
    TmemStatus status;
    TmemPool *pool;

    if (full_locked(client, spec)) {
        return TMEM_STATUS_QUOTA;
    }
    status = get_slot_locked(client, spec, &slot);
    if (status != TMEM_STATUS_OK) {
        return status;
    }
    if (spec.uuid) {
        group = tmem_group_join(client->store, spec.uuid);
        if (!group) {
            trim_slots_locked(client);
            return TMEM_STATUS_NOSPC;
        }
    }
    pool = &client->pools[slot];
    pool->client = client;
    pool->group = group;
    pool->abandoned = false;
    pool->objects = pool->objects_last = 0;
    __atomic_store_n(&pool->codec, 0, __ATOMIC_RELAXED);
    tmem_quota_clear_locked(pool);
    memset(&pool->shared, 0, sizeof(pool->shared));
    for (GList *l = client->contexts; l; l = l->next) {
        TmemContext *ctx = l->data;

        memset(&ctx->tallies[slot], 0, sizeof(TmemTally));
    }
    tmem_lock_init(&pool->lock, TMEM_RANK_POOL);
    name_locked(pool, slot, spec);
    pool->in_use = true;
    order_append_locked(client, slot);
    client->nr_pools++;
    client->nr_host_pools += tmem_pool_id_is_host(pool->key);
    if (spec.kind == TMEM_POOL_PERSISTENT) {
        __atomic_fetch_add(&client->nr_persistent, 1, __ATOMIC_RELAXED);
    }
    *id = pool->key;
    /* From here on operations find it: pairs with tmem_pool_is(). */
    __atomic_store_n(&pool->id, pool->key, __ATOMIC_RELEASE);
    return TMEM_STATUS_OK;
}

/* One attempt.  @final: nothing that eviction could mend. */
static TmemStatus try_create(TmemClient *client, PoolSpec spec, uint64_t *id,
                             bool *final)
{
    TmemStatus status = TMEM_STATUS_OK;

    tmem_lock(&client->lock);
    if (spec.uuid) {
        status = tmem_group_check_locked(client, spec.uuid);
    }
    *final = status != TMEM_STATUS_OK || full_locked(client, spec);
    if (status == TMEM_STATUS_OK) {
        status = create_locked(client, spec, id);
        *final |= status == TMEM_STATUS_INVAL;
    }
    tmem_unlock(&client->lock);
    return status;
}

static TmemStatus create(TmemClient *client, PoolSpec spec, uint8_t page_shift,
                         uint64_t *id)
{
    TmemEvictTries tries = {};
    bool last = false;
    TmemStatus status;

    tmem_assert_unlocked();
    *id = 0;
    if (client->heap.trust) {
        return TMEM_STATUS_PERM;
    }
    if (page_shift != TMEM_PAGE_SHIFT) {
        return TMEM_STATUS_UNSUPP;
    }
    for (;;) {
        bool final;

        status = try_create(client, spec, id, &final);
        /* A full store makes room for a pool as it does for a page. */
        if (status == TMEM_STATUS_OK || final || last) {
            tmem_event_refused(client, final ? TMEM_STATUS_OK : status, 0);
            return status;
        }
        last = status == TMEM_STATUS_QUOTA ?
               !tmem_evict_own(client, &tries) :
               !tmem_evict_for(client, TMEM_SPACE_PERSISTENT, &tries);
    }
}

TmemStatus tmem_pool_create(TmemClient *client, TmemPoolKind kind,
                            uint8_t page_shift, uint64_t *id)
{
    return create(client, (PoolSpec) { .kind = kind }, page_shift, id);
}

TmemStatus tmem_pool_create_again(TmemClient *client, uint64_t id)
{
    PoolSpec spec = {
        .kind = tmem_pool_id_kind(id), .id = id,
        .host = tmem_pool_id_is_host(id),
    };

    return is_own(id) ? create(client, spec, TMEM_PAGE_SHIFT, &id) :
                        TMEM_STATUS_INVAL;
}

TmemStatus tmem_pool_create_host(TmemClient *client, uint64_t *id)
{
    PoolSpec spec = { .kind = TMEM_POOL_PERSISTENT, .host = true };

    return create(client, spec, TMEM_PAGE_SHIFT, id);
}

TmemStatus tmem_pool_join(TmemClient *client, const uint8_t uuid[16],
                          uint8_t page_shift, uint64_t *id)
{
    PoolSpec spec = { .kind = TMEM_POOL_EPHEMERAL, .uuid = uuid };

    return create(client, spec, page_shift, id);
}

/* --- Destruction --- */

/* Waits until everyone who holds a shard lock now has left it. */
static void pass_all_shards(TmemStore *store)
{
    for (uint32_t i = 0; i < store->index.nr_shards; i++) {
        tmem_lock(&store->index.shards[i].lock);
        tmem_unlock(&store->index.shards[i].lock);
    }
}

bool tmem_pool_first_object(TmemPool *pool, uint64_t object[3])
{
    TmemStore *store = pool->client->store;
    TmemRef ref;

    tmem_lock(&pool->lock);
    ref = pool->objects;
    if (ref) {
        TmemNode *head = tmem_arena_ptr(&store->arena, ref);

        memcpy(object, head->object, sizeof(head->object));
    }
    tmem_unlock(&pool->lock);
    return ref;
}

/* Returns true if the pool is empty. */
static bool drain(TmemPool *pool, uint32_t *budget)
{
    TmemStore *store = pool->client->store;
    uint64_t object[3];

    while (tmem_pool_first_object(pool, object)) {
        TmemDrop drop = { .store = store };

        if (!*budget) {
            return false;
        }
        tmem_index_key(&store->index, pool, pool->hash_id, object, 0,
                       &drop.key);
        tmem_drop_some(&drop, budget);
    }
    return true;
}

/* The pool is empty and unseen: its counters live on with the client. */
static void retire_locked(TmemClient *client, uint32_t slot)
{
    TmemPool *pool = &client->pools[slot];

    for (GList *l = client->contexts; l; l = l->next) {
        tmem_context_fold_locked(l->data, slot);
    }
    tmem_tally_sum(&client->destroyed, &pool->shared);
    if (pool->group) {
        tmem_group_leave(client->store, pool->group);
    }
    order_remove_locked(client, slot);
    tmem_quota_clear_locked(pool);
    tmem_lock_destroy(&pool->lock);
    pool->in_use = false;
    if (tmem_pool_id_kind(pool->key) == TMEM_POOL_PERSISTENT) {
        __atomic_fetch_sub(&client->nr_persistent, 1, __ATOMIC_RELAXED);
    }
    client->nr_pools--;
    client->nr_host_pools -= tmem_pool_id_is_host(pool->key);
    client->slot_hint = MIN(client->slot_hint, slot);
    trim_slots_locked(client);
}

TmemStatus tmem_pool_destroy_begin(TmemClient *client, uint64_t id,
                                   TmemPool **pool)
{
    tmem_assert_unlocked();
    tmem_lock(&client->lock);
    *pool = tmem_pool_find(client, id);
    if (*pool) {
        __atomic_store_n(&(*pool)->id, 0, __ATOMIC_RELEASE);
    }
    tmem_unlock(&client->lock);
    if (!*pool) {
        return TMEM_STATUS_NOPOOL;
    }
    /* Who comes after this sees that the id is gone. */
    pass_all_shards(client->store);
    return TMEM_STATUS_OK;
}

bool tmem_pool_destroy_some(TmemPool *pool, uint32_t *budget)
{
    TmemClient *client = pool->client;

    tmem_assert_unlocked();
    if (!drain(pool, budget)) {
        return false;
    }
    /* Someone may still be accounting for the last page that they took. */
    pass_all_shards(client->store);

    tmem_lock(&client->lock);
    retire_locked(client, pool - client->pools);
    tmem_unlock(&client->lock);
    tmem_arena_trim(&client->store->arena);
    tmem_event_freed(client);
    return true;
}

void tmem_pool_destroy_abandon(TmemPool *pool)
{
    tmem_lock(&pool->client->lock);
    pool->abandoned = true;
    tmem_unlock(&pool->client->lock);
}

static void destroy_rest(TmemPool *pool)
{
    uint32_t budget;

    do {
        budget = UINT32_MAX;
    } while (!tmem_pool_destroy_some(pool, &budget));
}

TmemStatus tmem_pool_destroy(TmemClient *client, uint64_t id)
{
    TmemStatus status;
    TmemPool *pool;

    status = tmem_pool_destroy_begin(client, id, &pool);
    if (status == TMEM_STATUS_OK) {
        destroy_rest(pool);
    }
    return status;
}

/*
 * A pool that nobody else is destroying, or NULL; its id if it has one.
 * @host: those of tmem_pool_create_host(), too.
 */
static TmemPool *any_pool(TmemClient *client, bool host, uint64_t *id)
{
    TmemPool *found = NULL;

    tmem_lock(&client->lock);
    for (uint32_t slot = client->first; !found && slot != TMEM_POOL_SLOT_NONE;
         slot = client->pools[slot].next) {
        TmemPool *pool = &client->pools[slot];

        if (tmem_pool_id_is_host(pool->key) && !host) {
            continue;
        }
        if (pool->id || pool->abandoned) {
            found = pool;
            pool->abandoned = false;
            *id = pool->id;
        }
    }
    tmem_unlock(&client->lock);
    return found;
}

void tmem_pool_destroy_all(TmemClient *client, bool host)
{
    TmemPool *pool;
    uint64_t id;

    while ((pool = any_pool(client, host, &id))) {
        if (id) {
            tmem_pool_destroy(client, id);
        } else {
            destroy_rest(pool);
        }
    }
}
