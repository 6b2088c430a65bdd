/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: operations on pages
 *
 * The way of a store: the page is encoded and its record is written with no
 * lock held; then, under the lock of the handle's shard, the record takes the
 * place of what was there.  If anything is missing, what was there goes all
 * the same, under the same lock (invariant B1).
 */
#include <string.h>

#include "tmem-store.h"

/* Nodes of an object dropped in one hold of the shard's lock. */
#define DROP_NODES      8

/* --- Operations: entry and exit --- */

typedef struct Operation {
    TmemContext *ctx;
    TmemStore *store;
    TmemPool *pool;
    uint64_t pool_id;
    TmemSpace space;
    TmemTally *tally;
    TmemKey key;
    TmemDelta delta;
} Operation;

/* Returns false if the pool does not exist: the answer is NOPOOL. */
static bool begin(Operation *op, TmemContext *ctx, const TmemHandle *handle)
{
    tmem_assert_unlocked();
    __atomic_store_n(&ctx->in_operation, true, __ATOMIC_RELAXED);
    op->ctx = ctx;
    op->store = ctx->store;
    op->pool_id = handle->pool;
    op->space = tmem_pool_id_space(handle->pool);
    op->pool = tmem_pool_find(ctx->client, handle->pool);
    if (!op->pool) {
        return false;
    }
    op->tally = &ctx->tallies[op->pool - ctx->client->pools];
    memset(&op->delta, 0, sizeof(op->delta));
    tmem_index_key(&op->store->index, op->pool, op->pool_id, handle->object,
                   handle->index, &op->key);
    return true;
}

/* Locks the shard.  Returns false, without the lock, if the pool is gone. */
static bool enter(Operation *op)
{
    tmem_lock(&op->key.shard->lock);
    if (!tmem_pool_is(op->pool, op->pool_id)) {
        tmem_unlock(&op->key.shard->lock);
        return false;
    }
    return true;
}

static void leave(Operation *op)
{
    tmem_unlock(&op->key.shard->lock);
}

/* Shard locked: books what the operation took away. */
static void settle(Operation *op)
{
    tmem_tally_apply(op->pool, op->tally, &op->delta);
}

static void end(TmemContext *ctx)
{
    __atomic_store_n(&ctx->in_operation, false, __ATOMIC_RELAXED);
}

static TmemStatus end_no_pool(TmemContext *ctx)
{
    tmem_count(&ctx->counters.ops_no_pool, 1);
    end(ctx);
    return TMEM_STATUS_NOPOOL;
}

/* --- Store --- */

static size_t record_bytes(const Operation *op, const TmemEncoded *enc)
{
    return enc->data ? tmem_record_header(op->space) + enc->len : 0;
}

static void write_record(Operation *op, TmemRef ref, const TmemEncoded *enc,
                         uint64_t seed)
{
    TmemSpace space = op->space;
    void *record = tmem_arena_ptr(&op->store->arena, ref);

    memcpy(tmem_record_data(record, space), enc->data, enc->len);
    *tmem_record_checksum(record, space) =
        tmem_codec_checksum(enc->data, enc->len, seed);
}

static uint64_t seed_of(const Operation *op, uint64_t page_index)
{
    const TmemKey *key = &op->key;

    return op->pool_id ^ key->object[0] ^ key->object[1] ^ key->object[2] ^
           page_index;
}

static void count_kept(Operation *op, TmemKind kind, bool replaced)
{
    tmem_count(&op->tally->stores, 1);
    tmem_count(&op->tally->stores_ok, 1);
    if (replaced) {
        tmem_count(&op->tally->stores_replaced, 1);
    }
    switch (kind) {
    case TMEM_KIND_LZ4:
    case TMEM_KIND_ZSTD:
        tmem_count(&op->tally->stores_compressed, 1);
        break;
    case TMEM_KIND_RAW:
        tmem_count(&op->tally->stores_raw, 1);
        break;
    default:
        tmem_count(&op->tally->stores_same_filled, 1);
        break;
    }
}

/* Shard locked: B1, the refused store leaves nothing. */
static void refuse(Operation *op, TmemNode *node, TmemStatus status)
{
    tmem_count(&op->tally->stores, 1);
    if (status == TMEM_STATUS_QUOTA) {
        tmem_count(&op->tally->stores_quota, 1);
    } else {
        tmem_count(&op->tally->stores_nospc, 1);
    }
    if (node && tmem_node_entry(&op->store->index, node, op->key.pos)) {
        tmem_count(&op->tally->stores_replaced, 1);
        tmem_index_remove(&op->store->index, op->key.shard, node, op->key.pos,
                          &op->delta);
        settle(op);
    }
}

/*
 * Shard locked: makes @enc, whose record is at @ref, the page under the
 * handle.  Anything but OK changes nothing, so that the caller may try again;
 * @ref is used up if OK.  Without a @ref @why says what was missing.
 */
static TmemStatus publish(Operation *op, const TmemEncoded *enc, TmemRef ref,
                          TmemStatus why, uint64_t seed, bool any_class)
{
    TmemIndex *index = &op->store->index;
    TmemNode *node = tmem_index_find(index, &op->key);
    TmemEntry *old = node ? tmem_node_entry(index, node, op->key.pos) : NULL;
    TmemRef old_ref = old ? tmem_entry_ref(*old) : 0;
    TmemRoom room = {};
    TmemEntry entry;

    if (enc->data && !ref) {
        /* No memory; but the older copy's may do. */
        if (!old_ref || tmem_arena_slot_bytes(&op->store->arena, old_ref) <
                        record_bytes(op, enc)) {
            return why;
        }
        ref = old_ref;
        write_record(op, ref, enc, seed);
    }
    if (!old) {
        TmemStatus status = tmem_index_make_room(index, &op->key,
                                                 &op->ctx->client->heap, node,
                                                 any_class, &room);

        if (status != TMEM_STATUS_OK) {
            return status;
        }
    }
    entry = tmem_entry_make(enc->kind, enc->data ? ref : enc->word32, enc->len,
                            op->key.shard->generation++);
    if (old) {
        tmem_index_replace(index, node, op->key.pos, entry, &op->delta);
    } else {
        tmem_index_insert(index, &op->key, &room, entry, &op->delta);
    }
    tmem_tally_apply(op->pool, op->tally, &op->delta);
    count_kept(op, enc->kind, old);
    return TMEM_STATUS_OK;
}

/* One attempt; @last: whether its answer is final. */
static TmemStatus try_store(Operation *op, const TmemEncoded *enc,
                            uint64_t seed, bool last)
{
    TmemArena *arena = &op->store->arena;
    TmemStatus status = TMEM_STATUS_NOPOOL, why = TMEM_STATUS_OK;
    TmemRef ref = 0;

    if (enc->data) {
        ref = tmem_heap_alloc(&op->ctx->client->heap, op->space,
                              record_bytes(op, enc), last, &why);
        if (ref) {
            write_record(op, ref, enc, seed);
        } else if (!last) {
            return why;
        }
    }
    if (enter(op)) {
        status = publish(op, enc, ref, why, seed, last);
        if (status != TMEM_STATUS_OK && last) {
            refuse(op, tmem_index_find(&op->store->index, &op->key), status);
        }
        leave(op);
    }
    if (status != TMEM_STATUS_OK && ref) {
        tmem_heap_free(arena, ref);
    }
    return status;
}

TmemStatus tmem_page_store(TmemContext *ctx, const TmemHandle *handle,
                           const void *page)
{
    TmemEvictTries tries = {};
    bool last = false;
    TmemEncoded enc;
    TmemStatus status;
    Operation op;
    uint64_t seed;

    if (!begin(&op, ctx, handle)) {
        return end_no_pool(ctx);
    }
    seed = seed_of(&op, handle->index);
    tmem_codec_encode_page(&ctx->codec, tmem_pool_codec(op.store, op.pool),
                           TMEM_CODEC_MAX, page, &enc);
    for (;;) {
        status = try_store(&op, &enc, seed, last);
        if (last || (status != TMEM_STATUS_NOSPC &&
                     status != TMEM_STATUS_QUOTA)) {
            break;
        }
        last = status == TMEM_STATUS_NOSPC ?
               !tmem_evict_for(ctx->client, op.space, &tries) :
               !tmem_evict_own(ctx->client, &tries);
    }
    tmem_arena_trim(&op.store->arena);
    tmem_event_refused(ctx->client, status);
    if (status == TMEM_STATUS_NOPOOL) {
        return end_no_pool(ctx);
    }
    end(ctx);
    return status;
}

/* --- Load --- */

/*
 * What tmem_page_take() recognises a stored page by.  Not by its age, nor by
 * the place of its record, which may move.
 */
static uint64_t version_of(TmemEntry entry, uint32_t checksum)
{
    return (tmem_entry_aged(entry, 0) ^ tmem_entry_ref(entry)) + checksum;
}

/* Shard locked: the checksum of an entry's record, 0 if it has none. */
static uint32_t read_checksum(Operation *op, TmemEntry entry)
{
    TmemRef ref = tmem_entry_ref(entry);

    return !ref ? 0 :
           *tmem_record_checksum(tmem_arena_ptr(&op->store->arena, ref),
                                 op->space);
}

/* Shard locked: copies the record to the codec's input. */
static void copy_out(Operation *op, TmemEntry entry)
{
    TmemRef ref = tmem_entry_ref(entry);

    if (ref) {
        memcpy(op->ctx->codec.in,
               tmem_record_data(tmem_arena_ptr(&op->store->arena, ref),
                                op->space),
               tmem_entry_len(entry));
    }
}

/* Shard locked: tells eviction that the page is in use. */
static void note_hit(Operation *op, const TmemNode *node, TmemEntry entry)
{
    if (op->space == TMEM_SPACE_EPHEMERAL) {
        tmem_node_note_hit(&op->store->index, node);
        if (tmem_entry_ref(entry)) {
            tmem_arena_note_hit(&op->store->arena, tmem_entry_ref(entry));
        }
    }
}

/*
 * Remembers that the page cannot be read, unless it was replaced since.  An
 * entry may look the same and be another page's: what is marked are the very
 * bytes that were found unreadable, which lie in the codec's input.
 */
static void quarantine(Operation *op, TmemEntry seen, uint32_t checksum)
{
    TmemNode *node;

    if (!enter(op)) {
        return;
    }
    node = tmem_index_find(&op->store->index, &op->key);
    if (node) {
        tmem_index_quarantine(&op->store->index, node, op->key.pos, seen,
                              checksum, op->ctx->codec.in, &op->delta);
        settle(op);
    }
    /* The load was counted as a hit when the entry was found. */
    tmem_count(&op->tally->loads_hit, -1);
    tmem_count(&op->tally->loads_error, 1);
    leave(op);
}

/* Shard locked: finds and counts. */
static TmemStatus look_up(Operation *op, TmemEntry *entry, uint32_t *checksum)
{
    TmemNode *node = tmem_index_find(&op->store->index, &op->key);
    TmemEntry *found = node ? tmem_node_entry(&op->store->index, node,
                                              op->key.pos) : NULL;

    tmem_count(&op->tally->loads, 1);
    if (!found) {
        tmem_count(&op->tally->loads_miss, 1);
        return TMEM_STATUS_MISS;
    }
    *entry = *found;
    if (*entry & TMEM_ENTRY_DAMAGED) {
        tmem_count(&op->tally->loads_error, 1);
        return TMEM_STATUS_IO;
    }
    tmem_count(&op->tally->loads_hit, 1);
    *checksum = read_checksum(op, *entry);
    copy_out(op, *entry);
    if (tmem_entry_age(*entry)) {
        *found = tmem_entry_aged(*entry, 0);
    }
    note_hit(op, node, *entry);
    return TMEM_STATUS_OK;
}

static bool decode(Operation *op, TmemEntry entry, uint32_t checksum,
                   uint64_t seed, void *page)
{
    TmemKind kind = tmem_entry_kind(entry);
    uint32_t len = tmem_entry_len(entry);

    if (kind == TMEM_KIND_FILL32) {
        uint64_t word = tmem_entry_word32(entry);

        tmem_codec_fill(page, word | word << 32);
        return true;
    }
    return checksum == tmem_codec_checksum(op->ctx->codec.in, len, seed) &&
           tmem_codec_decode(&op->ctx->codec, kind, len, page);
}

TmemStatus tmem_page_load(TmemContext *ctx, const TmemHandle *handle,
                          void *page, uint64_t *version)
{
    TmemStatus status;
    Operation op;
    TmemEntry entry = 0;
    uint32_t checksum = 0;

    if (!begin(&op, ctx, handle) || !enter(&op)) {
        memset(page, 0, TMEM_PAGE_SIZE);
        return end_no_pool(ctx);
    }
    status = look_up(&op, &entry, &checksum);
    leave(&op);

    if (status == TMEM_STATUS_OK &&
        !decode(&op, entry, checksum, seed_of(&op, handle->index), page)) {
        quarantine(&op, entry, checksum);
        status = TMEM_STATUS_IO;
    }
    if (status != TMEM_STATUS_OK) {
        memset(page, 0, TMEM_PAGE_SIZE);
    } else if (version) {
        *version = version_of(entry, checksum);
    }
    end(ctx);
    return status;
}

TmemStatus tmem_page_take(TmemContext *ctx, const TmemHandle *handle,
                          uint64_t version)
{
    TmemStatus status = TMEM_STATUS_OK;
    TmemNode *node;
    TmemEntry *entry;
    Operation op;

    if (!begin(&op, ctx, handle) || !enter(&op)) {
        return end_no_pool(ctx);
    }
    node = tmem_index_find(&op.store->index, &op.key);
    entry = node ? tmem_node_entry(&op.store->index, node, op.key.pos) : NULL;
    if (op.space != TMEM_SPACE_EPHEMERAL) {
        status = TMEM_STATUS_INVAL;
    } else if (entry &&
               version_of(*entry, read_checksum(&op, *entry)) == version) {
        tmem_index_remove(&op.store->index, op.key.shard, node, op.key.pos,
                          &op.delta);
        tmem_count(&op.tally->taken, 1);
        settle(&op);
    }
    leave(&op);
    tmem_arena_trim(&op.store->arena);
    tmem_event_freed(ctx->client);
    end(ctx);
    return status;
}

/* --- Invalidate --- */

TmemStatus tmem_page_invalidate(TmemContext *ctx, const TmemHandle *handle)
{
    TmemNode *node;
    Operation op;

    if (!begin(&op, ctx, handle) || !enter(&op)) {
        return end_no_pool(ctx);
    }
    tmem_count(&op.tally->invalidates, 1);
    node = tmem_index_find(&op.store->index, &op.key);
    if (node && tmem_node_entry(&op.store->index, node, op.key.pos)) {
        tmem_index_remove(&op.store->index, op.key.shard, node, op.key.pos,
                          &op.delta);
        tmem_count(&op.tally->invalidates_found, 1);
        settle(&op);
    }
    leave(&op);
    tmem_arena_trim(&op.store->arena);
    tmem_event_freed(ctx->client);
    end(ctx);
    return TMEM_STATUS_OK;
}

/* Shard locked: drops some nodes of the key's object, oldest first. */
static uint32_t drop_some(TmemStore *store, TmemKey *key, uint32_t max,
                          TmemDelta *delta)
{
    uint32_t nr = 0;

    while (nr < MIN(max, DROP_NODES)) {
        TmemNode *head = tmem_index_find_head(&store->index, key);

        if (!head) {
            break;
        }
        tmem_index_remove_node(&store->index, key->shard, head, delta);
        nr++;
    }
    return nr;
}

bool tmem_object_drop(TmemStore *store, TmemKey *key, uint64_t pool_id,
                      TmemTally *tally)
{
    TmemPool *pool = key->pool;
    uint32_t left = 0, done;
    bool first = true, alive;

    do {
        TmemDelta delta = {};

        done = 0;
        tmem_lock(&key->shard->lock);
        alive = !pool_id || tmem_pool_is(pool, pool_id);
        if (alive) {
            TmemNode *head = tmem_index_find_head(&store->index, key);

            /*
             * New nodes join at the end of the siblings and the head goes
             * first: after as many nodes as there were, all that was there is
             * gone, however fast someone else keeps storing.
             */
            if (first && head) {
                left = head->nr_siblings + 1;
            }
            first = false;
            done = drop_some(store, key, left, &delta);
            left -= done;
            if (tally) {
                tmem_tally_apply(pool, tally, &delta);
                tmem_count(&tally->object_invalidates_pages, -delta.pages);
            } else {
                tmem_pool_apply(pool, &delta);
            }
        }
        tmem_unlock(&key->shard->lock);
    } while (alive && done && left);
    return alive;
}

TmemStatus tmem_object_invalidate(TmemContext *ctx, const TmemHandle *handle)
{
    bool alive;
    Operation op;

    if (!begin(&op, ctx, handle) || !enter(&op)) {
        return end_no_pool(ctx);
    }
    tmem_count(&op.tally->object_invalidates, 1);
    leave(&op);
    alive = tmem_object_drop(op.store, &op.key, op.pool_id, op.tally);
    tmem_arena_trim(&op.store->arena);
    tmem_event_freed(ctx->client);
    if (!alive) {
        return end_no_pool(ctx);
    }
    end(ctx);
    return TMEM_STATUS_OK;
}
