/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: cross-checking what trust groups keep
 *
 * With all shards locked, of the index and of the groups, no reference comes or
 * goes.  A store in hand may have one that is in no entry yet.
 */
#include <string.h>

#include "tmem-check.h"
#include "tmem-error.h"
#include "tmem-trust.h"

typedef void ShardFunc(TmemTrustShard *shard);

static void foreach_shard(TmemStore *store, ShardFunc *func)
{
    for (GList *l = store->clients; l; l = l->next) {
        TmemTrust *trust = ((TmemClient *)l->data)->heap.trust;

        for (unsigned i = 0; trust && i < trust->nr_shards; i++) {
            func(&trust->shards[i]);
        }
    }
}

static void lock_shard(TmemTrustShard *shard)
{
    tmem_lock_nested(&shard->lock);
}

static void unlock_shard(TmemTrustShard *shard)
{
    tmem_unlock(&shard->lock);
}

void tmem_check_lock_contents(TmemStore *store)
{
    foreach_shard(store, lock_shard);
}

void tmem_check_unlock_contents(TmemStore *store)
{
    foreach_shard(store, unlock_shard);
}

uint64_t tmem_check_tables_bytes(const TmemClient *client)
{
    return client->heap.trust ? tmem_trust_tables_bytes(client->heap.trust) :
                                0;
}

/* --- References --- */

bool tmem_check_reference(Check *c, const TmemNode *node, unsigned pos,
                          TmemEntry entry)
{
    TmemTrust *trust = node->pool->client->trust;
    void *record = tmem_arena_ptr(&c->store->arena, tmem_entry_ref(entry));
    TmemReference reference;
    uint32_t *nr;

    if (!trust || tmem_pool_id_kind(node->pool->key) != TMEM_POOL_EPHEMERAL ||
        tmem_entry_len(entry) != sizeof(reference)) {
        return tmem_error_set(c->errp, "reference of a client that is of no "
                              "trust group");
    }
    memcpy(&reference, tmem_record_data(record),
           sizeof(reference));
    if (*tmem_record_checksum(record) !=
        tmem_codec_checksum(&reference, sizeof(reference),
                            tmem_node_seed(node, pos))) {
        /* Whether that is as it should be, the walk will tell. */
        c->has_bad_reference = true;
        return true;
    }
    nr = g_hash_table_lookup(c->references, &reference.id);
    if (!nr) {
        nr = g_new0(uint32_t, 1);
        g_hash_table_insert(c->references,
                            g_memdup2(&reference.id, sizeof(reference.id)),
                            nr);
    }
    ++*nr;
    return true;
}

/* --- Contents --- */

static bool check_nr_refs(Check *c, const TmemContent *content)
{
    uint64_t id = content->id;
    const uint32_t *found = g_hash_table_lookup(c->references, &id);
    uint32_t nr = found ? *found : 0;

    if (content->nr_refs < nr ||
        (content->nr_refs > nr && !c->has_bad_reference &&
         tmem_check_idle(c->store))) {
        return tmem_error_set(c->errp, "a trust group counts %u references to "
                              "a page, %u found", content->nr_refs, nr);
    }
    return true;
}

static bool check_content(Check *c, const TmemTrust *trust, unsigned shard_nr,
                          uint32_t bucket, TmemRef ref)
{
    const TmemTrustShard *shard = &trust->shards[shard_nr];
    TmemArena *arena = &c->store->arena;
    const TmemContent *content = tmem_arena_ptr(arena, ref);
    TmemReference self = { content->hash, content->id };
    TmemEncoded enc = {
        .kind = content->kind, .len = content->len, .data = content->data,
    };

    if (!tmem_check_mark(c, ref, "what a trust group keeps")) {
        return false;
    }
    if (!tmem_heap_is_slot(arena, TMEM_SPACE_EPHEMERAL, ref,
                           sizeof(*content) + enc.len) ||
        arena->segments[tmem_arena_segment_of(arena, ref)].heap !=
        trust->heap) {
        return tmem_error_set(c->errp, "what a trust group keeps is in no slot "
                              "of its own");
    }
    if (tmem_owner_read(tmem_slot_owner(arena, ref)) !=
        tmem_owner_make(TMEM_OWNER_CONTENT, shard_nr, 0, 0) ||
        tmem_trust_shard(trust, content->hash) != shard_nr ||
        tmem_bucket_of(shard->nr_buckets, content->hash) != bucket) {
        return tmem_error_set(c->errp, "what a trust group keeps is in the "
                              "wrong place");
    }
    if (!content->is_damaged &&
        (content->hash != tmem_trust_hash(trust, &enc) ||
         content->checksum != tmem_codec_checksum(enc.data, enc.len,
                                                  tmem_content_seed(&self)))) {
        return tmem_error_set(c->errp, "what a trust group keeps does not "
                              "match its hash or its checksum");
    }
    return check_nr_refs(c, content);
}

static bool check_levels(Check *c, const TmemTrustShard *shard,
                         const TmemTrustLevels *found)
{
    return !memcmp(&shard->levels, found, sizeof(*found)) ||
           tmem_error_set(c->errp, "a trust group counts %" G_GUINT64_FORMAT
                          " pages, %" G_GUINT64_FORMAT " references, %"
                          G_GUINT64_FORMAT " bytes and %" G_GUINT64_FORMAT
                          " saved; found: %" G_GUINT64_FORMAT ", %"
                          G_GUINT64_FORMAT ", %" G_GUINT64_FORMAT " and %"
                          G_GUINT64_FORMAT, shard->levels.contents,
                          shard->levels.references, shard->levels.data_bytes,
                          shard->levels.saved_bytes, found->contents,
                          found->references, found->data_bytes,
                          found->saved_bytes);
}

static bool check_shard(Check *c, const TmemTrust *trust, unsigned shard_nr)
{
    const TmemTrustShard *shard = &trust->shards[shard_nr];
    TmemTrustLevels found = {};

    for (uint32_t bucket = 0; bucket < shard->nr_buckets; bucket++) {
        TmemRef ref = shard->buckets[bucket];

        while (ref) {
            const TmemContent *content;
            uint64_t bytes;

            if (!check_content(c, trust, shard_nr, bucket, ref)) {
                return false;
            }
            content = tmem_arena_ptr(&c->store->arena, ref);
            bytes = tmem_arena_slot_bytes(&c->store->arena, ref);
            found.contents++;
            found.references += content->nr_refs;
            found.data_bytes += bytes;
            found.saved_bytes += (content->nr_refs - 1) * bytes;
            if (!content->nr_refs) {
                return tmem_error_set(c->errp, "a trust group keeps a page "
                                      "that nobody has");
            }
            ref = content->next;
        }
    }
    return check_levels(c, shard, &found);
}

bool tmem_check_contents(Check *c)
{
    for (GList *l = c->store->clients; l; l = l->next) {
        const TmemTrust *trust = ((TmemClient *)l->data)->heap.trust;

        for (unsigned i = 0; trust && i < trust->nr_shards; i++) {
            if (!check_shard(c, trust, i)) {
                return false;
            }
        }
    }
    return true;
}
