/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: have the memory that coming operations need in the cache
 *
 * In a large store an operation waits for memory some six times in a row:
 * bucket, node, next node of the chain, array, record, record's segment.  For
 * a group of operations, each of these steps is taken for all of them before
 * the next one, so that the waits overlap.
 *
 * No lock is held.  What is read here may be changing, or may be something
 * else by now: it only decides which addresses are touched, never an answer.
 * Each reference is checked against the bounds of the arena, all of which is
 * mapped for the life of the store; what was given back to the operating
 * system reads as zeros.  Compilers cannot know that this is harmless, hence
 * peek().
 */
#include "tmem-op.h"

/* Nodes of a hash chain that are looked at: longer chains are rare. */
#define CHAIN_MAX       3

/* Of a record: the processor notices longer runs itself. */
#define RECORD_LINES    4
#define RECORD_HEADER_MAX   12
#define LINE            64

#define RACY    __attribute__((no_sanitize("thread")))

typedef struct Lookup {
    TmemKey key;
    TmemRef chain;          /* as far as it was followed */
    const TmemNode *node;   /* found */
    const uint64_t *entry;
} Lookup;

static RACY uint64_t peek(const uint64_t *p)
{
    return __atomic_load_n(p, __ATOMIC_RELAXED);
}

static RACY uint32_t peek32(const uint32_t *p)
{
    return __atomic_load_n(p, __ATOMIC_RELAXED);
}

static RACY uint8_t peek8(const uint8_t *p)
{
    return __atomic_load_n(p, __ATOMIC_RELAXED);
}

/* What is at @ref, if @bytes there are inside of the arena. */
static const void *at(const TmemArena *arena, TmemRef ref, size_t bytes)
{
    uint64_t offset = (ref - 1) << TMEM_UNIT_SHIFT;

    return ref && ref <= 1ull << TMEM_REF_BITS &&
           offset + bytes <= arena->span_bytes ?
           arena->base + offset : NULL;
}

static const TmemSegment *descriptor_of(const TmemArena *arena, TmemRef ref)
{
    return &arena->segments[MIN(tmem_arena_segment_of(arena, ref),
                                arena->nr_segments - 1)];
}

static void touch(const void *p)
{
    __builtin_prefetch(p, 1);
}

/*
 * Of a node: the two lines that a lookup needs.  It may lie across three, and
 * the last may be none of them.
 */
static void touch_node(const TmemArena *arena, TmemRef ref)
{
    const TmemNode *node = at(arena, ref, sizeof(*node));

    if (node) {
        touch(&node->next);
        touch(&node->capacity);
    }
}

/* The bucket's place now; the table may grow or shrink meanwhile. */
static const TmemRef *bucket_of(const TmemShard *shard, uint64_t hash)
{
    return tmem_shard_chain(shard, tmem_bucket_of(peek32(&shard->nr_buckets),
                                                  hash));
}

/* Whether @node is the one wanted, or another pool's with such a key. */
static bool looks_right(const TmemNode *node, const TmemKey *key)
{
    return !((peek(&node->base) ^ key->base) |
             (peek(&node->object[0]) ^ key->object[0]) |
             (peek(&node->object[1]) ^ key->object[1]) |
             (peek(&node->object[2]) ^ key->object[2]));
}

/* Goes one node further along a chain; NULL, and 0 in @ref, at its end. */
static const TmemNode *step(const TmemArena *arena, TmemRef *ref)
{
    const TmemNode *node = at(arena, *ref, sizeof(*node));

    *ref = node ? peek(&node->next) : 0;
    return node;
}

static void follow(const TmemArena *arena, Lookup *l)
{
    const TmemNode *node;

    if (!l->node && l->chain) {
        node = step(arena, &l->chain);
        if (node && looks_right(node, &l->key)) {
            l->node = node;
        } else if (l->chain) {
            touch_node(arena, l->chain);
        }
    }
}

static void touch_entry(const TmemArena *arena, Lookup *l)
{
    const TmemNode *node = l->node;
    uint64_t bitmap = peek(&node->bitmap);
    unsigned rank = __builtin_popcountll(bitmap &
                                         ((1ull << l->key.pos) - 1));
    const TmemArray *array;

    if (!(bitmap >> l->key.pos & 1)) {
        return;
    }
    if (peek8(&node->capacity) == 1) {
        l->entry = &node->entries;
        return;
    }
    array = at(arena, peek(&node->entries),
               sizeof(*array) + (rank + 1) * sizeof(TmemEntry));
    if (array) {
        l->entry = &array->entry[rank];
        touch(l->entry);
    }
}

/* Returns the class of its slot, or -1. */
static int touch_record(const TmemArena *arena, const Lookup *l)
{
    TmemEntry entry = peek(l->entry);
    TmemRef ref = tmem_entry_ref(entry);
    uint32_t bytes = RECORD_HEADER_MAX + tmem_entry_len(entry);
    const uint8_t *record = at(arena, ref, bytes);

    if (record) {
        touch(descriptor_of(arena, ref));
        for (unsigned i = 0; i < RECORD_LINES && i * LINE < bytes; i++) {
            touch(record + i * LINE);
        }
    }
    return record ? peek8(&descriptor_of(arena, ref)->class_nr) : -1;
}

int tmem_prefetch_old(const TmemIndex *index, const TmemKey *key)
{
    const TmemArena *arena = index->arena;
    Lookup l = { .key = *key };

    l.chain = peek(bucket_of(key->shard, tmem_key_hash(key)));
    for (unsigned round = 0; round < CHAIN_MAX; round++) {
        follow(arena, &l);
    }
    if (l.node) {
        touch_entry(arena, &l);
    }
    return l.entry ? touch_record(arena, &l) : -1;
}

void tmem_page_prefetch(TmemContext *ctx, const TmemHandle *handles,
                        unsigned nr)
{
    TmemIndex *index = &ctx->store->index;
    const TmemArena *arena = &ctx->store->arena;
    Lookup lookup[TMEM_PREFETCH_MAX];
    unsigned n = 0;

    for (unsigned i = 0; i < MIN(nr, TMEM_PREFETCH_MAX); i++) {
        const TmemHandle *handle = &handles[i];
        TmemPool *pool = tmem_pool_find(ctx->client, handle->pool);
        Lookup *l = &lookup[n];

        if (!pool) {
            continue;
        }
        tmem_index_key(index, pool, tmem_pool_hash_id(pool, handle->pool),
                       handle->object, handle->index, &l->key);
        l->node = NULL;
        l->entry = NULL;
        touch(bucket_of(l->key.shard, tmem_key_hash(&l->key)));
        ctx->ahead.shard[n++] = l->key.shard;
    }
    ctx->ahead.nr = n;
    ctx->ahead.next = 0;
    tmem_ahead_fetch(&ctx->ahead);
    for (unsigned i = 0; i < n; i++) {
        Lookup *l = &lookup[i];

        l->chain = peek(bucket_of(l->key.shard, tmem_key_hash(&l->key)));
        touch_node(arena, l->chain);
    }
    for (unsigned round = 0; round < CHAIN_MAX; round++) {
        for (unsigned i = 0; i < n; i++) {
            follow(arena, &lookup[i]);
        }
    }
    for (unsigned i = 0; i < n; i++) {
        if (lookup[i].node) {
            touch_entry(arena, &lookup[i]);
        }
    }
    for (unsigned i = 0; i < n; i++) {
        if (lookup[i].entry) {
            touch_record(arena, &lookup[i]);
        }
    }
}
