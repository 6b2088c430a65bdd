/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: walk and cross-check everything
 *
 * With the locks of all clients, shards and purses held no page comes or goes.
 * What an operation has in hand at that moment (a slot that is not published
 * yet) is known to the arena and to nobody else, so a slot that the index does
 * not know is wrong only if no operation is under way.
 */
#include <sched.h>
#include <string.h>

#include "tmem-error.h"
#include "tmem-os.h"
#include "tmem-reserve.h"
#include "tmem-check.h"

/* --- Slots --- */

bool tmem_check_mark(Check *c, TmemRef ref, const char *what)
{
    TmemArena *arena = &c->store->arena;
    uint64_t unit = ref - 1;

    if (!ref || unit >= arena->span_bytes >> TMEM_UNIT_SHIFT ||
        tmem_arena_segment_of(arena, ref) >= arena->nr_segments) {
        return tmem_error_set(c->errp, "%s outside of the arena", what);
    }
    if (!arena->segments[tmem_arena_segment_of(arena, ref)].in_use) {
        return tmem_error_set(c->errp, "%s in a free segment", what);
    }
    if (c->is_used[unit / 64] >> unit % 64 & 1) {
        return tmem_error_set(c->errp, "%s shares its slot", what);
    }
    c->is_used[unit / 64] |= 1ull << unit % 64;
    return true;
}

/* What belongs to @node lies in a slot of its client's, in @space. */
static bool in_place(Check *c, TmemRef ref, const TmemNode *node,
                     TmemSpace space, const char *what)
{
    TmemArena *arena = &c->store->arena;
    TmemSegment *seg = &arena->segments[tmem_arena_segment_of(arena, ref)];

    if (seg->space != space && !(space == TMEM_SPACE_EPHEMERAL &&
                                 seg->space == TMEM_SPACE_PROBATION)) {
        return tmem_error_set(c->errp, "%s in the wrong space", what);
    }
    if (seg->heap != &node->pool->client->heap) {
        return tmem_error_set(c->errp, "%s in another client's segment", what);
    }
    /* What comes next looks for the slot's owner word, and for its end. */
    if (!tmem_heap_is_slot(arena, seg->space, ref, 1)) {
        return tmem_error_set(c->errp, "%s in no slot", what);
    }
    return true;
}

/* --- Nodes --- */

static bool check_entry(Check *c, TmemNode *node, unsigned pos,
                        TmemEntry entry)
{
    TmemArena *arena = &c->store->arena;
    TmemKind kind = tmem_entry_kind(entry);
    TmemRef ref = tmem_entry_ref(entry);
    TmemSpace space = tmem_pool_id_space(node->pool->key);
    uint32_t len = tmem_entry_len(entry);
    uint64_t owner;
    void *record;

    if (kind == TMEM_KIND_NONE || kind == TMEM_KIND_TIER) {
        return tmem_error_set(c->errp, "entry of unknown kind %u", kind);
    }
    if (kind == TMEM_KIND_FILL32) {
        return true;
    }
    if (!tmem_check_mark(c, ref, "a record") ||
        !in_place(c, ref, node, space, "a record")) {
        return false;
    }
    if (!len || (kind != TMEM_KIND_RAW && len > TMEM_CODEC_MAX) ||
        TMEM_RECORD_HEADER + len > tmem_arena_slot_bytes(arena, ref)) {
        return tmem_error_set(c->errp, "record of %u bytes does not fit its "
                              "slot", len);
    }
    record = tmem_arena_ptr(arena, ref);
    if (kind == TMEM_KIND_SHARED &&
        !tmem_check_reference(c, node, pos, entry)) {
        return false;
    }
    owner = tmem_owner_make(TMEM_OWNER_RECORD, tmem_owner_shard(node->owner),
                            pos, tmem_owner_node(node->owner));
    if (space == TMEM_SPACE_EPHEMERAL &&
        tmem_owner_read(tmem_slot_owner(arena, ref)) != owner) {
        return tmem_error_set(c->errp, "record with the wrong owner");
    }
    if (!(entry & TMEM_ENTRY_DAMAGED) && space == TMEM_SPACE_PERSISTENT &&
        tmem_record_tag(record) !=
        tmem_tag_of_seed(tmem_node_seed(node, pos))) {
        return tmem_error_set(c->errp, "record with the wrong tag");
    }
    if (!(entry & TMEM_ENTRY_DAMAGED) &&
        *tmem_record_checksum(record) !=
        tmem_codec_checksum(tmem_record_data(record), len,
                            tmem_node_seed(node, pos))) {
        return tmem_error_set(c->errp, "record does not match its checksum");
    }
    return true;
}

static bool check_entries(Check *c, TmemNode *node, TmemDelta *found)
{
    unsigned nr = __builtin_popcountll(node->bitmap);

    if (!nr || nr > node->capacity || node->capacity > TMEM_NODE_PAGES) {
        return tmem_error_set(c->errp, "node with %u pages of %u", nr,
                              node->capacity);
    }
    if (node->capacity > 1) {
        TmemArray *array = tmem_arena_ptr(&c->store->arena, node->entries);
        uint64_t owner = tmem_owner_make(TMEM_OWNER_ARRAY,
                                         tmem_owner_shard(node->owner), 0,
                                         tmem_owner_node(node->owner));

        if (!tmem_check_mark(c, node->entries, "an array") ||
            !in_place(c, node->entries, node,
                      tmem_pool_id_index_space(node->pool->key),
                      "an array")) {
            return false;
        }
        if (tmem_owner_read(array) != owner) {
            return tmem_error_set(c->errp, "array with the wrong owner");
        }
        found->index_bytes += tmem_arena_slot_bytes(&c->store->arena,
                                                    node->entries);
    }
    for (unsigned pos = 0; pos < TMEM_NODE_PAGES; pos++) {
        TmemEntry *entry = tmem_node_entry(&c->store->index, node, pos);

        if (entry) {
            if (!check_entry(c, node, pos, *entry)) {
                return false;
            }
            tmem_index_account(&c->store->index, *entry, 1, found);
        }
    }
    return true;
}

/* A head's siblings: linked both ways, counted, found by the hash. */
static bool check_siblings(Check *c, TmemShard *shard, TmemNode *head)
{
    TmemIndex *index = &c->store->index;
    TmemRef prev = 0;
    uint32_t nr = 0;

    for (TmemRef ref = head->sibling_first; ref;) {
        TmemNode *node = tmem_arena_ptr(&c->store->arena, ref);
        TmemKey key;

        tmem_index_key(index, node->pool, node->pool->hash_id, node->object,
                       node->base << TMEM_NODE_PAGES_SHIFT, &key);
        if (node->is_head || node->prev != prev || key.shard != shard ||
            nr++ >= head->nr_siblings ||
            tmem_index_find_head(index, &key) != head ||
            tmem_index_find(index, &key) != node) {
            return tmem_error_set(c->errp, "object with a wrong list of "
                                  "siblings");
        }
        prev = ref;
        ref = node->following;
    }
    if (head->sibling_last != prev || nr != head->nr_siblings) {
        return tmem_error_set(c->errp, "object with %u siblings, %u found",
                              head->nr_siblings, nr);
    }
    return true;
}

static bool check_node(Check *c, TmemShard *shard, uint32_t bucket,
                       TmemRef ref)
{
    TmemNode *node = tmem_arena_ptr(&c->store->arena, ref);
    TmemDelta *found;
    uint64_t hash;
    uint32_t shard_nr;

    if (!tmem_check_mark(c, ref, "a node")) {
        return false;
    }
    found = g_hash_table_lookup(c->pools, node->pool);
    if (!found) {
        return tmem_error_set(c->errp, "node of a pool that does not exist");
    }
    if (!in_place(c, ref, node, tmem_pool_id_index_space(node->pool->key),
                  "a node")) {
        return false;
    }
    hash = tmem_index_node_hash(&c->store->index, node, &shard_nr);
    if (shard_nr != shard->nr || tmem_shard_bucket(shard, hash) != bucket ||
        node->owner != tmem_owner_make(TMEM_OWNER_NODE, shard->nr, 0, ref)) {
        return tmem_error_set(c->errp, "node in the wrong place");
    }
    found->index_bytes += tmem_arena_slot_bytes(&c->store->arena, ref);
    found->objects += node->is_head;
    return check_entries(c, node, found) &&
           (!node->is_head || check_siblings(c, shard, node));
}

static bool check_shard(Check *c, TmemShard *shard)
{
    uint64_t nr = 0;

    for (uint32_t bucket = 0; bucket < shard->nr_buckets; bucket++) {
        TmemRef ref = *tmem_shard_chain(shard, bucket);

        while (ref) {
            if (nr++ == shard->nr_nodes) {
                return tmem_error_set(c->errp, "shard %u: more than %"
                                      G_GUINT64_FORMAT " nodes", shard->nr,
                                      shard->nr_nodes);
            }
            if (!check_node(c, shard, bucket, ref)) {
                return false;
            }
            ref = ((TmemNode *)tmem_arena_ptr(&c->store->arena, ref))->next;
        }
    }
    if (nr != shard->nr_nodes) {
        return tmem_error_set(c->errp, "shard %u: %" G_GUINT64_FORMAT
                              " nodes, %" G_GUINT64_FORMAT " found",
                              shard->nr, shard->nr_nodes, nr);
    }
    return true;
}

/* --- Pools and clients --- */

static bool check_level(Check *c, const char *name, uint64_t counted,
                        uint64_t found)
{
    if (counted != found) {
        return tmem_error_set(c->errp, "%s: counters say %" G_GUINT64_FORMAT
                              ", the index holds %" G_GUINT64_FORMAT, name,
                              counted, found);
    }
    return true;
}

static bool check_pool(Check *c, TmemClient *client, uint32_t slot,
                       uint64_t *persistent_pages)
{
    TmemPool *pool = &client->pools[slot];
    TmemDelta *found = g_hash_table_lookup(c->pools, pool);
    TmemPoolStats sum = {};
    uint64_t nr_objects = 0;

    tmem_tally_sum(&sum, &pool->shared);
    for (GList *l = client->contexts; l; l = l->next) {
        tmem_tally_sum(&sum, &((TmemContext *)l->data)->tallies[slot]);
    }
#define CHECK(name, kind, unit, text)                                         \
    if (!check_level(c, "pool " #name, sum.name, found->name)) {              \
        return false;                                                         \
    }
    TMEM_POOL_LEVELS(CHECK)
#undef CHECK
    tmem_lock(&pool->lock);
    for (TmemRef ref = pool->objects; ref && nr_objects <= sum.objects;
         nr_objects++) {
        ref = ((TmemNode *)tmem_arena_ptr(&c->store->arena, ref))->following;
    }
    tmem_unlock(&pool->lock);
    if (tmem_pool_id_kind(pool->key) == TMEM_POOL_PERSISTENT &&
        !tmem_pool_id_is_host(pool->key)) {
        *persistent_pages += found->pages;
    }
    if (!check_level(c, "pool's bytes", pool->quota.bytes,
                     found->data_bytes + found->index_bytes)) {
        return false;
    }
    return check_level(c, "pool's list of objects", nr_objects,
                       sum.objects);
}

/*
 * The distribution of stored sizes, and their sum, which are kept by client:
 * @found is what the walk found in all of its pools.
 */
static bool check_sizes(Check *c, TmemClient *client, const TmemDelta *found)
{
    TmemHeld sum = {};

    tmem_held_sum(&sum, &client->held);
    for (GList *l = client->contexts; l; l = l->next) {
        tmem_held_sum(&sum, &((TmemContext *)l->data)->held);
    }
    for (unsigned i = 0; i < TMEM_SIZE_BUCKETS; i++) {
        if (!check_level(c, "client's distribution of sizes",
                         sum.sizes.held[i], found->sizes[i])) {
            return false;
        }
    }
    return check_level(c, "client's stored bytes", sum.bytes,
                       found->stored_bytes);
}

/* Places for credit: in the client's own segments, and enough of them. */
static bool check_purse(Check *c, TmemClient *client)
{
    static const uint32_t part_bytes[TMEM_PART__MAX] = {
        [TMEM_PART_RECORD] = TMEM_RECORD_HEADER + TMEM_PAGE_SIZE,
        [TMEM_PART_INDEX] = sizeof(TmemArray) +
                            TMEM_NODE_PAGES * sizeof(TmemEntry),
    };
    TmemArena *arena = &c->store->arena;
    TmemPurse *purse = &client->purse;
    uint64_t bytes = 0;

    for (int part = 0; part < TMEM_PART__MAX; part++) {
        const TmemParts *parts = &purse->parts[part];
        TmemRef ref = parts->first;
        uint32_t nr = 0;

        for (; ref && nr <= parts->nr; nr++) {
            if (!tmem_check_mark(c, ref, "a place for credit")) {
                return false;
            }
            if (!tmem_heap_is_slot(arena, TMEM_SPACE_PERSISTENT, ref,
                                   part_bytes[part]) ||
                arena->segments[tmem_arena_segment_of(arena, ref)].heap !=
                &client->heap) {
                return tmem_error_set(c->errp, "a place for credit that is "
                                      "none of the client's");
            }
            bytes += tmem_arena_slot_bytes(arena, ref);
            ref = ((TmemRef *)tmem_arena_ptr(arena, ref))[1];
        }
        if (!check_level(c, "client's places for credit", parts->nr, nr)) {
            return false;
        }
        if (nr < parts->nr_claimed || parts->nr_claimed < purse->credit) {
            return tmem_error_set(c->errp, "credit for %u pages, %u of %u "
                                  "places claimed", purse->credit,
                                  parts->nr_claimed, nr);
        }
    }
    return check_level(c, "client's bytes for credit", purse->bytes, bytes);
}

/* The list of pools with limits; the client is locked. */
static bool check_limited(Check *c, const TmemClient *client)
{
    uint32_t nr = 0, prev = TMEM_POOL_SLOT_NONE;

    for (uint32_t slot = client->limited; slot != TMEM_POOL_SLOT_NONE;
         slot = client->pools[slot].limited_next) {
        const TmemPool *pool = &client->pools[slot];

        if (nr++ == client->nr_quotas || slot >= client->nr_slots ||
            !pool->in_use || pool->limited_prev != prev ||
            !tmem_quota_has_limits(&pool->quota)) {
            return tmem_error_set(c->errp, "a wrong list of pools with limits");
        }
        prev = slot;
    }
    return check_level(c, "client's list of pools with limits", nr,
                       client->nr_quotas) &&
           (client->look_next == TMEM_POOL_SLOT_NONE ||
            client->pools[client->look_next].in_use ||
            tmem_error_set(c->errp, "the pool to look at next is none"));
}

/* Limits of pools; the client is locked. */
static bool check_quotas(Check *c, const TmemClient *client)
{
    uint32_t nr_quotas = 0, nr_minimums = 0;
    uint64_t sum = 0;

    for (uint32_t slot = client->first; slot != TMEM_POOL_SLOT_NONE;
         slot = client->pools[slot].next) {
        const TmemQuota *quota = &client->pools[slot].quota;

        nr_quotas += tmem_quota_has_limits(quota);
        nr_minimums += quota->min_bytes != 0;
        sum += quota->min_bytes;
        if (quota->max_bytes && quota->min_bytes > quota->max_bytes) {
            return tmem_error_set(c->errp, "a pool's minimum is above its "
                                  "maximum");
        }
    }
    return check_level(c, "client's pools with limits", client->nr_quotas,
                       nr_quotas) &&
           check_level(c, "client's pools with a minimum", client->nr_minimums,
                       nr_minimums) &&
           check_limited(c, client) &&
           tmem_reserve_max_ok_locked(client, client->heap.max_bytes, c->errp);
}

static bool check_client(Check *c, TmemClient *client)
{
    uint64_t table = tmem_client_table_bytes_locked(client, client->nr_slots) +
                     tmem_check_tables_bytes(client);
    uint64_t persistent_pages = 0, persistent_bytes = 0;
    TmemDelta held = {};
    uint32_t nr_pools = 0;

    for (uint32_t slot = client->first; slot != TMEM_POOL_SLOT_NONE;
         slot = client->pools[slot].next) {
        const TmemDelta *found = g_hash_table_lookup(c->pools,
                                                     &client->pools[slot]);

        if (!check_pool(c, client, slot, &persistent_pages)) {
            return false;
        }
        if (tmem_pool_id_kind(client->pools[slot].key) ==
            TMEM_POOL_PERSISTENT) {
            persistent_bytes += found->data_bytes + found->index_bytes;
        }
        held.stored_bytes += found->stored_bytes;
        for (unsigned i = 0; i < TMEM_SIZE_BUCKETS; i++) {
            held.sizes[i] += found->sizes[i];
        }
        nr_pools++;
    }
#define CHECK(name, kind, unit, text)                                         \
    if (!check_level(c, "destroyed pools' " #name, client->destroyed.name,    \
                     0)) {                                                    \
        return false;                                                         \
    }
    TMEM_POOL_LEVELS(CHECK)
#undef CHECK
    return check_level(c, "client's pools", client->nr_pools, nr_pools) &&
           check_level(c, "client's tables", client->heap.charged_bytes,
                       table) &&
           check_level(c, "client's waiting bytes", client->heap.waiting_bytes,
                       tmem_loader_held(c->store->loader, client->name)) &&
           check_level(c, "client's persistent pages",
                       tmem_client_persistent_pages_locked(client),
                       persistent_pages) &&
           check_level(c, "client's persistent bytes",
                       tmem_client_persistent_bytes_locked(client),
                       persistent_bytes) &&
           check_sizes(c, client, &held) && check_purse(c, client) &&
           check_quotas(c, client);
}

static bool check_clients(Check *c)
{
    for (GList *l = c->store->clients; l; l = l->next) {
        if (!check_client(c, l->data)) {
            return false;
        }
    }
    return true;
}

/* --- All of it --- */

static void collect_pools(Check *c)
{
    for (GList *l = c->store->clients; l; l = l->next) {
        TmemClient *client = l->data;

        for (uint32_t slot = client->first; slot != TMEM_POOL_SLOT_NONE;
             slot = client->pools[slot].next) {
            g_hash_table_insert(c->pools, &client->pools[slot],
                                g_new0(TmemDelta, 1));
        }
    }
}

bool tmem_check_idle(TmemStore *store)
{
    for (GList *l = store->clients; l; l = l->next) {
        TmemClient *client = l->data;

        for (GList *m = client->contexts; m; m = m->next) {
            TmemContext *ctx = m->data;

            if (__atomic_load_n(&ctx->in_operation, __ATOMIC_RELAXED)) {
                return false;
            }
        }
    }
    return true;
}

#ifdef TMEM_DEBUG
static void (*between_func)(void *opaque);
static void *between_opaque;

void tmem_check_set_between(void (*func)(void *opaque), void *opaque)
{
    between_func = func;
    between_opaque = opaque;
}
#endif

/* Between looking for slots and looking who may have them in hand. */
static void between(void)
{
#ifdef TMEM_DEBUG
    if (between_func) {
        between_func(between_opaque);
    }
#endif
}

/*
 * Whoever takes a slot has said that it began.  It cannot publish the slot
 * while the shards are locked, but give it back and end (a store that was
 * refused), as an evictor that belongs to no operation can end; and that may be
 * between the two looks.  What is lost is still lost when looked for again.
 */
#define LOOKS_MAX   32

static bool check_slots(Check *c)
{
    for (int i = 0; i < LOOKS_MAX; i++) {
        bool unknown;

        if (!tmem_arena_check(&c->store->arena, c->is_used, &unknown,
                              c->errp)) {
            return false;
        }
        between();
        if (!unknown || !tmem_check_idle(c->store)) {
            return true;
        }
        sched_yield();
    }
    return tmem_error_set(c->errp, "slots are used that neither the index nor "
                          "an operation knows");
}

static bool check_locked(Check *c)
{
    TmemIndex *index = &c->store->index;

    collect_pools(c);
    for (uint32_t i = 0; i < index->nr_shards; i++) {
        if (!check_shard(c, &index->shards[i])) {
            return false;
        }
    }
    return check_clients(c) && tmem_check_contents(c) && check_slots(c);
}

static void lock_all(TmemStore *store)
{
    tmem_lock(&store->clients_lock);
    for (GList *l = store->clients; l; l = l->next) {
        tmem_lock_nested(&((TmemClient *)l->data)->lock);
    }
    for (uint32_t i = 0; i < store->index.nr_shards; i++) {
        tmem_lock_nested(&store->index.shards[i].lock);
    }
    for (GList *l = store->clients; l; l = l->next) {
        tmem_lock_nested(&((TmemClient *)l->data)->purse.lock);
    }
    tmem_check_lock_contents(store);
}

static void unlock_all(TmemStore *store)
{
    tmem_check_unlock_contents(store);
    for (GList *l = store->clients; l; l = l->next) {
        tmem_unlock(&((TmemClient *)l->data)->purse.lock);
    }
    for (uint32_t i = 0; i < store->index.nr_shards; i++) {
        tmem_unlock(&store->index.shards[i].lock);
    }
    for (GList *l = store->clients; l; l = l->next) {
        tmem_unlock(&((TmemClient *)l->data)->lock);
    }
    tmem_unlock(&store->clients_lock);
}

bool tmem_store_check(TmemStore *store, GError **errp)
{
    Check c = { .store = store, .errp = errp };
    bool ok;

    tmem_assert_unlocked();
    c.is_used_bytes = (store->arena.span_bytes >> TMEM_UNIT_SHIFT) / 8 +
                      8;
    c.is_used = tmem_os_reserve(c.is_used_bytes);
    if (!c.is_used) {
        return tmem_error_set(errp, "no memory to check the store");
    }
    c.pools = g_hash_table_new_full(NULL, NULL, NULL, g_free);
    c.references = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free,
                                         g_free);
    tmem_upkeep_pause(store);
    lock_all(store);
    ok = check_locked(&c);
    unlock_all(store);
    tmem_upkeep_resume(store);
    g_hash_table_destroy(c.references);
    g_hash_table_destroy(c.pools);
    tmem_os_release(c.is_used, c.is_used_bytes);
    return ok;
}
