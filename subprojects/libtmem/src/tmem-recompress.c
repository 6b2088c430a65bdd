/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: compressing idle pages again, with zstd
 */
#include <string.h>

#include "tmem-fault.h"
#include "tmem-os.h"
#include "tmem-recompress.h"
#include "tmem-store.h"

bool tmem_recompress_begin(TmemRecompress *r, TmemStore *store, int level,
                           TmemRecompressMode mode)
{
    if (!r->memory) {
        r->memory_bytes = TMEM_PAGE_SIZE + tmem_codec_memory();
        r->memory = TMEM_FAULT("recompress-memory") ? NULL :
                    tmem_os_reserve(r->memory_bytes);
        if (!r->memory) {
            return false;
        }
        r->page = r->memory;
        tmem_codec_init(&r->codec, (uint8_t *)r->memory + TMEM_PAGE_SIZE);
    }
    r->store = store;
    r->level = level;
    r->mode = mode;
    r->nr_tried = r->nr_smaller = r->nr_starved = 0;
    r->due = 0;
    r->pass += r->pass == UINT16_MAX ? 2 : 1;
    return true;
}

void tmem_recompress_destroy(TmemRecompress *r)
{
    tmem_os_release(r->memory, r->memory_bytes);
    r->memory = NULL;
}

/* --- Ages --- */

static bool worth_a_try(TmemEntry entry)
{
    TmemKind kind = tmem_entry_kind(entry);

    return (kind == TMEM_KIND_LZ4 || kind == TMEM_KIND_RAW) &&
           !(entry & TMEM_ENTRY_DAMAGED);
}

static bool is_due(const TmemRecompress *r, TmemEntry entry)
{
    return worth_a_try(entry) && r->mode != TMEM_RECOMPRESS_RESTART &&
           (r->mode == TMEM_RECOMPRESS_AT_ONCE ||
            tmem_entry_age(entry) == TMEM_AGE_IDLE);
}

/* Shard locked: may make pages older.  Returns where pages are due. */
static uint64_t visit_node(TmemRecompress *r, TmemNode *node)
{
    TmemEntry *e = tmem_node_entry(&r->store->index, node,
                                   __builtin_ctzll(node->bitmap));
    uint64_t due = 0;

    node->walked = r->pass;
    for (uint64_t left = node->bitmap; left; left &= left - 1, e++) {
        unsigned age = tmem_entry_age(*e);

        if (is_due(r, *e)) {
            due |= left & -left;
        } else if (age < TMEM_AGE_DONE && r->mode == TMEM_RECOMPRESS_AGING) {
            *e = tmem_entry_aged(*e, age + 1);
        } else if (age < TMEM_AGE_DONE && r->mode == TMEM_RECOMPRESS_RESTART) {
            *e = tmem_entry_aged(*e, 1);
        }
    }
    return due;
}

/* --- One page --- */

/* Shard locked: the node of the candidate, NULL if it or the pool is gone. */
static TmemNode *find_node(TmemRecompress *r, TmemCandidate *c)
{
    TmemNode *node;

    if (!tmem_pool_is(c->key.pool, c->pool_id)) {
        return NULL;
    }
    node = tmem_index_find(&r->store->index, &c->key);
    return node && tmem_node_entry(&r->store->index, node, c->key.pos) ?
           node : NULL;
}

/* Copies the page's record to the codec's input. */
static bool read_record(TmemRecompress *r, TmemCandidate *c)
{
    TmemArena *arena = &r->store->arena;
    TmemNode *node;
    bool due = false;

    tmem_lock(&c->key.shard->lock);
    node = find_node(r, c);
    if (node) {
        c->entry = *tmem_node_entry(&r->store->index, node, c->key.pos);
        due = is_due(r, c->entry) &&
              tmem_index_is_whole(&r->store->index, node, c->key.pos,
                                  c->entry);
    }
    if (due) {
        TmemRef ref = tmem_entry_ref(c->entry);
        void *record = tmem_arena_ptr(arena, ref);

        memcpy(r->codec.in, tmem_record_data(record),
               tmem_entry_len(c->entry));
        c->checksum = *tmem_record_checksum(record);
        c->seed = tmem_node_seed(node, c->key.pos);
        c->slot_bytes = tmem_arena_slot_bytes(arena, ref);
        c->heap = arena->segments[tmem_arena_segment_of(arena, ref)].heap;
        c->slot_space =
            arena->segments[tmem_arena_segment_of(arena, ref)].space;
    }
    tmem_unlock(&c->key.shard->lock);
    return due;
}

/* Shard locked: nobody stored or loaded it, and its record is where it was. */
static bool untouched(TmemRecompress *r, TmemCandidate *c, TmemNode *node)
{
    TmemIndex *index = &r->store->index;

    return node && tmem_index_still(index, node, c->key.pos, c->entry,
                                    c->checksum, r->codec.in) &&
           *tmem_node_entry(index, node, c->key.pos) == c->entry;
}

/*
 * The page cannot be read: its next load is to say so without trying.  Its
 * client stays: freeing one waits for upkeep.
 */
static void quarantine(TmemRecompress *r, TmemCandidate *c)
{
    TmemClient *client = NULL;
    TmemDelta delta = {};
    TmemNode *node;

    tmem_lock(&c->key.shard->lock);
    node = find_node(r, c);
    if (node) {
        tmem_index_quarantine(&r->store->index, node, c->key.pos, c->entry,
                              c->checksum, r->codec.in, &delta);
        tmem_pool_apply(node->pool, &delta);
        client = node->pool->client;
    }
    tmem_unlock(&c->key.shard->lock);
    if (delta.pages_damaged) {
        tmem_event_emit(r->store, TMEM_EVENT_DAMAGED, client);
    }
}

static void set_done(TmemRecompress *r, TmemCandidate *c)
{
    TmemNode *node;

    tmem_lock(&c->key.shard->lock);
    node = find_node(r, c);
    if (untouched(r, c, node)) {
        *tmem_node_entry(&r->store->index, node, c->key.pos) =
            tmem_entry_aged(c->entry, TMEM_AGE_DONE);
    }
    tmem_unlock(&c->key.shard->lock);
}

/* Takes the slot at @ref in, unless the page was touched. */
static bool publish(TmemRecompress *r, TmemCandidate *c, TmemRef ref,
                    uint32_t len)
{
    TmemDelta delta = {};
    TmemNode *node;
    bool ok;

    tmem_lock(&c->key.shard->lock);
    node = find_node(r, c);
    ok = untouched(r, c, node);
    if (ok) {
        TmemEntry entry = tmem_entry_make(TMEM_KIND_ZSTD, ref, len,
                                          tmem_entry_generation(c->entry));

        tmem_index_exchange(&r->store->index, node, c->key.pos,
                            tmem_entry_aged(entry, TMEM_AGE_DONE), &delta);
        tmem_pool_apply(node->pool, &delta);
        __atomic_fetch_add(&node->pool->shared.recompressed, 1,
                           __ATOMIC_RELAXED);
    }
    tmem_unlock(&c->key.shard->lock);
    return ok;
}

static void replace(TmemRecompress *r, TmemCandidate *c,
                    const TmemEncoded *enc)
{
    TmemArena *arena = &r->store->arena;
    uint32_t bytes = TMEM_RECORD_HEADER + enc->len;
    TmemRef ref;

    if (tmem_sizes_slot_bytes(tmem_arena_sizes(arena, c->slot_space),
                              bytes) >= c->slot_bytes) {
        set_done(r, c);
        return;
    }
    ref = tmem_heap_alloc_below(c->heap, c->slot_space, bytes,
                                c->slot_bytes);
    if (!ref) {
        r->nr_starved++;
        return;
    }
    tmem_index_write_record(&r->store->index, ref, enc->data, enc->len,
                            c->seed);
    if (publish(r, c, ref, enc->len)) {
        r->nr_smaller++;
    } else {
        tmem_heap_free(arena, ref);
    }
    tmem_arena_trim(arena);
}

static void recompress_page(TmemRecompress *r, TmemCandidate *c)
{
    TmemCodecChoice choice = {
        .compressor = TMEM_COMPRESSOR_ZSTD, .level = r->level,
    };
    TmemEncoded enc;
    uint32_t len;

    if (!read_record(r, c)) {
        return;
    }
    r->nr_tried++;
    len = tmem_entry_len(c->entry);
    if (c->checksum != tmem_codec_checksum(r->codec.in, len, c->seed) ||
        !tmem_codec_decode(&r->codec, tmem_entry_kind(c->entry), len,
                           r->page)) {
        quarantine(r, c);
        return;
    }
    tmem_codec_encode_page(&r->codec, choice, len - 1, r->page, &enc);
#ifdef TMEM_DEBUG
    if (r->in_hand) {
        r->in_hand(r->opaque);
    }
#endif
    if (enc.kind == TMEM_KIND_ZSTD) {
        replace(r, c, &enc);
    } else {
        set_done(r, c);
    }
}

/* --- One bucket --- */

/* Nodes that one hold of a shard's lock makes older: some microseconds. */
#define NODES_AT_ONCE   4

/* Shard locked: that pages of @node are due, and how to find it again. */
static void set_candidate(TmemRecompress *r, TmemNode *node)
{
    TmemCandidate *c = &r->candidate;

    c->pool_id = node->pool->key;
    c->space = tmem_pool_id_space(c->pool_id);
    tmem_index_key(&r->store->index, node->pool, node->pool->hash_id,
                   node->object, node->base << TMEM_NODE_PAGES_SHIFT, &c->key);
}

/* Visits nodes that this pass has not seen, until pages of one are due. */
static TmemRecompressStep visit_nodes(TmemRecompress *r, TmemShard *shard,
                                      uint32_t bucket)
{
    TmemRecompressStep step = TMEM_RECOMPRESS_SHARD;
    unsigned nr = 0;
    TmemRef ref = 0;

    tmem_lock(&shard->lock);
    if (bucket < shard->nr_buckets) {
        step = TMEM_RECOMPRESS_BUCKET;
        ref = *tmem_shard_chain(shard, bucket);
    }
    while (ref && step != TMEM_RECOMPRESS_ON) {
        TmemNode *node = tmem_arena_ptr(r->store->index.arena, ref);

        ref = node->next;
        if (node->walked != r->pass) {
            r->due = visit_node(r, node);
            if (r->due) {
                set_candidate(r, node);
            }
            if (r->due || ++nr == NODES_AT_ONCE) {
                step = TMEM_RECOMPRESS_ON;
            }
        }
    }
    tmem_unlock(&shard->lock);
    return step;
}

TmemRecompressStep tmem_recompress_some(TmemRecompress *r, TmemShard *shard,
                                        uint32_t bucket)
{
    if (!r->due) {
        return visit_nodes(r, shard, bucket);
    }
    r->candidate.key.pos = __builtin_ctzll(r->due);
    r->due &= r->due - 1;
    recompress_page(r, &r->candidate);
    return TMEM_RECOMPRESS_ON;
}

void tmem_recompress_forget(TmemRecompress *r, const TmemClient *client)
{
    const TmemPool *pool = r->candidate.key.pool;

    if (pool >= client->pools && pool < client->pools + TMEM_CLIENT_POOLS_MAX) {
        r->due = 0;
    }
}
