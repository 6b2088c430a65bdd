/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: limits of a pool within those of its client
 */
#include "tmem-error.h"
#include "tmem-quota.h"
#include "tmem-reserve.h"
#include "tmem-store.h"

/* What one call drops at most. */
#define OBJECTS_MAX     64
#define PAGES_MAX       64      /* of an object */

/* Pools that one call looks at, beside those with limits. */
#define LOOKS_MAX       16

/* What goes with one page at most: its record, and a node. */
#define PAGE_BYTES_MAX  (TMEM_PAGE_SIZE + 512)

/* --- Accounting --- */

static int64_t bytes_of(const TmemQuota *quota)
{
    return __atomic_load_n(&quota->bytes, __ATOMIC_RELAXED);
}

/* What threads book in another order than it happened may be below 0. */
static bool exceeds(int64_t bytes, uint64_t max_bytes)
{
    return bytes > 0 && (uint64_t)bytes > max_bytes;
}

bool tmem_quota_is_full(const TmemQuota *quota, int64_t bytes)
{
    uint64_t max_bytes = __atomic_load_n(&quota->max_bytes, __ATOMIC_RELAXED);

    return max_bytes && bytes > 0 &&
           exceeds(bytes_of(quota) + bytes, max_bytes);
}

bool tmem_quota_take(TmemQuota *quota, int64_t bytes)
{
    uint64_t max_bytes = __atomic_load_n(&quota->max_bytes, __ATOMIC_RELAXED);
    int64_t old = bytes_of(quota);

    if (bytes <= 0) {
        return true;
    }
    if (!max_bytes) {
        tmem_quota_add(quota, bytes);
        return true;
    }
    do {
        if (exceeds(old + bytes, max_bytes)) {
            return false;
        }
    } while (!__atomic_compare_exchange_n(&quota->bytes, &old, old + bytes,
                                          true, __ATOMIC_RELAXED,
                                          __ATOMIC_RELAXED));
    return true;
}

/* --- Eviction --- */

/*
 * The key of the oldest object of the pool with that id.  Its slot may be given
 * to another pool, lock and all, at any time but while the client is locked.
 */
static bool oldest_object(TmemClient *client, uint64_t id, TmemKey *key)
{
    TmemStore *store = client->store;
    TmemRef ref = 0;
    TmemPool *pool;

    tmem_lock(&client->lock);
    pool = tmem_pool_find(client, id);
    if (pool) {
        tmem_lock(&pool->lock);
        ref = pool->objects;
        if (ref) {
            const TmemNode *head = tmem_arena_ptr(&store->arena, ref);

            tmem_index_key(&store->index, pool, tmem_pool_hash_id(pool, id),
                           head->object, 0, key);
        }
        tmem_unlock(&pool->lock);
    }
    tmem_unlock(&client->lock);
    return ref;
}

/* Drops pages of the key's object.  Returns how many bytes that gave. */
static uint64_t evict_object(TmemIndex *index, TmemKey *key, uint64_t id,
                             uint64_t bytes)
{
    TmemPool *pool = key->pool;
    TmemDelta delta = {};
    int64_t freed = 0;

    tmem_lock(&key->shard->lock);
    for (int i = 0; i < PAGES_MAX && freed < (int64_t)bytes &&
         tmem_pool_is(pool, id); i++) {
        TmemNode *head = tmem_index_find_head(index, key);

        if (!head) {
            break;
        }
        tmem_index_remove(index, key->shard, head,
                          __builtin_ctzll(head->bitmap), &delta);
        freed = -(delta.data_bytes + delta.index_bytes);
    }
    if (delta.pages) {
        tmem_evict_book(pool, &delta);
    }
    tmem_unlock(&key->shard->lock);
    return freed;
}

bool tmem_quota_evict(TmemClient *client, uint64_t id, uint64_t bytes)
{
    uint64_t freed = 0;
    TmemKey key;

    tmem_assert_unlocked();
    if (tmem_pool_id_kind(id) != TMEM_POOL_EPHEMERAL) {
        return false;
    }
    for (int i = 0; i < OBJECTS_MAX && freed < bytes &&
         oldest_object(client, id, &key); i++) {
        freed += evict_object(&client->store->index, &key, id, bytes - freed);
    }
    return freed;
}

uint32_t tmem_quota_segment(TmemClient *client, uint64_t id)
{
    TmemIndex *index = &client->store->index;
    uint32_t segment = TMEM_SEGMENT_NONE;
    TmemNode *head;
    TmemKey key;

    if (!oldest_object(client, id, &key)) {
        return TMEM_SEGMENT_NONE;
    }
    tmem_lock(&key.shard->lock);
    head = tmem_pool_is(key.pool, id) ? tmem_index_find_head(index, &key) :
                                        NULL;
    for (uint64_t left = head ? head->bitmap : 0;
         left && segment == TMEM_SEGMENT_NONE; left &= left - 1) {
        unsigned pos = __builtin_ctzll(left);
        TmemRef ref = tmem_index_slot(index, head, pos,
                                      *tmem_node_entry(index, head, pos));

        segment = ref ? tmem_arena_segment_of(index->arena, ref) : segment;
    }
    tmem_unlock(&key.shard->lock);
    return segment;
}

static int64_t above_minimum(const TmemQuota *quota)
{
    return bytes_of(quota) - (int64_t)__atomic_load_n(&quota->min_bytes,
                                                      __ATOMIC_RELAXED);
}

bool tmem_quota_can_give(const TmemQuota *quota, int64_t bytes)
{
    return above_minimum(quota) >= bytes;
}

/* How much the pool holds above its minimum for each unit of its weight. */
static double excess_of(const TmemQuota *quota)
{
    return (double)above_minimum(quota) /
           (quota->weight ? quota->weight : TMEM_WEIGHT_DEFAULT);
}

/* Client locked: makes @pool the @most if it has more excess. */
static void consider(const TmemPool *pool, const TmemPool **most)
{
    /* A pool without an object has no bytes. */
    if (pool && __atomic_load_n(&pool->id, __ATOMIC_RELAXED) &&
        bytes_of(&pool->quota) > 0 &&
        tmem_pool_id_kind(pool->key) == TMEM_POOL_EPHEMERAL &&
        (!*most || excess_of(&pool->quota) > excess_of(&(*most)->quota))) {
        *most = pool;
    }
}

/* The same, unless the pool is looked at anyway: then it is not remembered. */
static void consider_unlimited(const TmemPool *pool, const TmemPool **most)
{
    if (pool && !tmem_quota_has_limits(&pool->quota)) {
        consider(pool, most);
    }
}

/*
 * Client locked: of the pools without limits the one with the largest excess,
 * as far as was looked.  A guest may make many thousand, and this is asked for
 * each segment that others need: each call goes on by some, and remembers the
 * best.
 */
static const TmemPool *look_on_locked(TmemClient *client)
{
    const TmemPool *most = NULL;

    consider_unlimited(tmem_pool_find(client, client->look_most), &most);
    for (uint32_t i = 0; i < MIN(LOOKS_MAX, client->nr_pools); i++) {
        if (client->look_next == TMEM_POOL_SLOT_NONE) {
            client->look_next = client->first;
        }
        consider_unlimited(&client->pools[client->look_next], &most);
        client->look_next = client->pools[client->look_next].next;
    }
    client->look_most = most ? most->key : 0;
    return most;
}

/*
 * Client locked: the ephemeral pool with the largest excess, or NULL.  Those
 * with limits are all considered: how many they are is the host's choice.
 */
static const TmemPool *most_excess_locked(TmemClient *client)
{
    const TmemPool *most;

    if (!client->nr_quotas) {
        return NULL;
    }
    most = look_on_locked(client);
    for (uint32_t slot = client->limited; slot != TMEM_POOL_SLOT_NONE;
         slot = client->pools[slot].limited_next) {
        consider(&client->pools[slot], &most);
    }
    return most;
}

bool tmem_quota_evict_client(TmemClient *client, uint64_t bytes)
{
    const TmemPool *most;
    uint64_t id = 0;

    tmem_lock(&client->lock);
    most = most_excess_locked(client);
    if (most) {
        int64_t above = above_minimum(&most->quota);

        id = most->key;
        bytes = above > 0 ? MIN(bytes, (uint64_t)above) : bytes;
    }
    tmem_unlock(&client->lock);
    return id && tmem_quota_evict(client, id, bytes);
}

uint64_t tmem_quota_giver(TmemClient *client)
{
    const TmemPool *most;
    uint64_t id = 0;

    if (!__atomic_load_n(&client->nr_quotas, __ATOMIC_RELAXED)) {
        return 0;
    }
    tmem_lock(&client->lock);
    most = most_excess_locked(client);
    if (most && tmem_quota_can_give(&most->quota, PAGE_BYTES_MAX)) {
        id = most->key;
    }
    tmem_unlock(&client->lock);
    return id;
}

/* --- Limits --- */

static bool no_such_pool(const TmemClient *client, uint64_t id, GError **errp)
{
    return tmem_error_set(errp, "client '%s' has no pool with ID 0x%"
                          G_GINT64_MODIFIER "x", client->name, id);
}

static bool check_limits(TmemClient *client, const TmemPool *except,
                         const TmemLimits *limits, GError **errp)
{
    uint64_t size = client->heap.max_bytes ? client->heap.max_bytes :
                                             client->store->size_bytes;
    uint64_t others = tmem_reserve_minimums_locked(client, except);

    if (limits->weight > TMEM_WEIGHT_MAX) {
        return tmem_error_set(errp, "pool 0x%" G_GINT64_MODIFIER "x of client "
                              "'%s': weight %u is out of range; possible are "
                              "1 to %u", except->key, client->name,
                              limits->weight, TMEM_WEIGHT_MAX);
    }
    if (limits->max_bytes && limits->min_bytes > limits->max_bytes) {
        return tmem_error_set(errp, "pool 0x%" G_GINT64_MODIFIER "x of client "
                              "'%s': the minimum of %" G_GUINT64_FORMAT
                              " bytes is above the maximum of %"
                              G_GUINT64_FORMAT " bytes", except->key,
                              client->name, limits->min_bytes,
                              limits->max_bytes);
    }
    if (limits->min_bytes > size - MIN(others, size)) {
        return tmem_error_set(errp, "pool 0x%" G_GINT64_MODIFIER "x of client "
                              "'%s': a minimum of %" G_GUINT64_FORMAT
                              " bytes is more than the %" G_GUINT64_FORMAT
                              " bytes of the client that the minimums of its "
                              "other pools leave", except->key, client->name,
                              limits->min_bytes, size - MIN(others, size));
    }
    return true;
}

/* The client is locked; what is counted is read without. */
static void count_quota_locked(TmemClient *client, const TmemQuota *quota,
                               int sign)
{
    __atomic_store_n(&client->nr_quotas, client->nr_quotas + sign,
                     __ATOMIC_RELAXED);
    __atomic_store_n(&client->nr_minimums,
                     client->nr_minimums + sign * (quota->min_bytes != 0),
                     __ATOMIC_RELAXED);
}

/* The client is locked: the pool, if it has limits, is on the list of such. */
static void enlist_locked(TmemClient *client, TmemPool *pool)
{
    if (!tmem_quota_has_limits(&pool->quota)) {
        return;
    }
    count_quota_locked(client, &pool->quota, 1);
    pool->limited_prev = TMEM_POOL_SLOT_NONE;
    pool->limited_next = client->limited;
    client->limited = pool - client->pools;
    if (pool->limited_next != TMEM_POOL_SLOT_NONE) {
        client->pools[pool->limited_next].limited_prev = client->limited;
    }
}

static void delist_locked(TmemClient *client, TmemPool *pool)
{
    if (!tmem_quota_has_limits(&pool->quota)) {
        return;
    }
    count_quota_locked(client, &pool->quota, -1);
    if (pool->limited_prev == TMEM_POOL_SLOT_NONE) {
        client->limited = pool->limited_next;
    } else {
        client->pools[pool->limited_prev].limited_next = pool->limited_next;
    }
    if (pool->limited_next != TMEM_POOL_SLOT_NONE) {
        client->pools[pool->limited_next].limited_prev = pool->limited_prev;
    }
}

bool tmem_pool_get_limits(TmemClient *client, uint64_t id, TmemLimits *limits,
                          GError **errp)
{
    const TmemPool *pool;

    tmem_lock(&client->lock);
    pool = tmem_pool_find(client, id);
    if (pool) {
        limits->min_bytes = pool->quota.min_bytes;
        limits->max_bytes = pool->quota.max_bytes;
        limits->weight = pool->quota.weight;
    }
    tmem_unlock(&client->lock);
    return pool || no_such_pool(client, id, errp);
}

bool tmem_pool_change_limits(TmemClient *client, uint64_t id,
                             const TmemLimits *limits, GError **errp)
{
    TmemPool *pool;
    bool ok;

    tmem_assert_unlocked();
    tmem_lock(&client->lock);
    pool = tmem_pool_find(client, id);
    ok = pool ? check_limits(client, pool, limits, errp) :
                no_such_pool(client, id, errp);
    if (ok) {
        TmemQuota *quota = &pool->quota;

        delist_locked(client, pool);
        __atomic_store_n(&quota->min_bytes, limits->min_bytes,
                         __ATOMIC_RELAXED);
        quota->weight = limits->weight;
        __atomic_store_n(&quota->max_bytes, limits->max_bytes,
                         __ATOMIC_RELAXED);
        enlist_locked(client, pool);
    }
    tmem_unlock(&client->lock);
    return ok;
}

void tmem_pool_evict_to_limits(TmemClient *client, uint64_t id)
{
    TmemPool *pool;

    tmem_assert_unlocked();
    /* Each time anew: the guest may destroy the pool meanwhile. */
    while ((pool = tmem_pool_find(client, id)) &&
           tmem_quota_is_full(&pool->quota, 1) &&
           tmem_quota_evict(client, id, 64 << 10)) {
        tmem_arena_trim(&client->store->arena);
    }
    tmem_event_freed(client);
}

bool tmem_pool_set_limits(TmemClient *client, uint64_t id,
                          const TmemLimits *limits, GError **errp)
{
    if (!tmem_pool_change_limits(client, id, limits, errp)) {
        return false;
    }
    tmem_pool_evict_to_limits(client, id);
    return true;
}

void tmem_quota_limits_locked(const TmemPool *pool, TmemLimits *limits)
{
    const TmemClient *client = pool->client;

    limits->min_bytes = pool->quota.min_bytes;
    limits->max_bytes = pool->quota.max_bytes ? pool->quota.max_bytes :
        client->heap.max_bytes ? client->heap.max_bytes :
                                 client->store->size_bytes;
    limits->weight = pool->quota.weight ? pool->quota.weight :
                                          TMEM_WEIGHT_DEFAULT;
}

void tmem_quota_clear_locked(TmemPool *pool)
{
    TmemQuota *quota = &pool->quota;

    delist_locked(pool->client, pool);
    quota->weight = 0;
    /* Whoever still looks at the pool reads these without a lock. */
    __atomic_store_n(&quota->min_bytes, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&quota->bytes, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&quota->max_bytes, 0, __ATOMIC_RELAXED);
}
