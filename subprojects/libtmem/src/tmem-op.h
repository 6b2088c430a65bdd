/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: what all operations on a page have in common
 *
 * An operation looks its pool up with no lock held, and what it saw counts if
 * the pool still has its id under the lock of the handle's shard: op_enter().
 */
#ifndef TMEM_OP_H
#define TMEM_OP_H

#include <string.h>

#include "tmem-reserve.h"
#include "tmem-store.h"

typedef struct TmemOp {
    TmemContext *ctx;
    TmemStore *store;
    TmemPool *pool;
    uint64_t pool_id;
    uint64_t hash_id;       /* see TmemPool */
    TmemSpace space;
    TmemTally *tally;
    TmemKey key;
    TmemDelta delta;
    TmemClaim *claim;       /* of a store with credit, else NULL */
    TmemStatus forced;      /* why it would be refused but for that, or OK */
    TmemReserved reserved;  /* what other pools leave a persistent store */
    int old_class;          /* of what a store seems to replace, or -1 */
    uint32_t slot_units;    /* of its slot in another process; 0: none */
    int64_t pool_lacks;     /* of a store: bytes beyond its pool's limit */
} TmemOp;

/** Fetches the lock of the operation that is expected next. */
static inline void tmem_ahead_fetch(const TmemAhead *ahead)
{
    if (ahead->next < ahead->nr) {
        __builtin_prefetch(&ahead->shard[ahead->next]->lock, 1);
    }
}

/** An operation on @shard has begun: what is expected next comes after it. */
static inline void tmem_ahead_note(TmemAhead *ahead, const TmemShard *shard)
{
    if (ahead->next < ahead->nr && ahead->shard[ahead->next] == shard) {
        ahead->next++;
    }
}

/**
 * tmem_prefetch_old() - have what a store may replace in the cache
 *
 * Returns the class of the record's slot, -1 if there is none: as it seems,
 * for no lock is held.
 */
int tmem_prefetch_old(const TmemIndex *index, const TmemKey *key);

/** Returns false if the pool does not exist: the answer is NOPOOL. */
static inline bool tmem_op_begin(TmemOp *op, TmemContext *ctx,
                                 const TmemHandle *handle)
{
    tmem_assert_unlocked();
    __atomic_store_n(&ctx->in_operation, true, __ATOMIC_RELAXED);
    op->ctx = ctx;
    op->store = ctx->store;
    op->pool_id = handle->pool;
    op->space = tmem_pool_id_space(handle->pool);
    op->claim = NULL;
    op->forced = TMEM_STATUS_OK;
    op->reserved = TMEM_RESERVED_FREE;
    op->old_class = -1;
    op->slot_units = 0;
    op->pool = tmem_pool_find(ctx->client, handle->pool);
    if (!op->pool) {
        return false;
    }
    op->hash_id = tmem_pool_hash_id(op->pool, op->pool_id);
    op->tally = &ctx->tallies[op->pool - ctx->client->pools];
    memset(&op->delta, 0, sizeof(op->delta));
    tmem_index_key(&op->store->index, op->pool, op->hash_id, handle->object,
                   handle->index, &op->key);
    tmem_ahead_note(&ctx->ahead, op->key.shard);
    return true;
}

/** Locks the shard.  Returns false, without the lock, if the pool is gone. */
static inline bool tmem_op_enter(TmemOp *op)
{
    tmem_lock(&op->key.shard->lock);
    if (!tmem_pool_is(op->pool, op->pool_id)) {
        tmem_unlock(&op->key.shard->lock);
        return false;
    }
    return true;
}

static inline void tmem_op_leave(TmemOp *op)
{
    tmem_unlock(&op->key.shard->lock);
}

/**
 * Shard locked: the entry under the handle, and its node, or NULL.  In a shared
 * pool the node may be another member's.
 */
static inline TmemEntry *tmem_op_find(TmemOp *op, TmemNode **node)
{
    TmemIndex *index = &op->store->index;

    *node = tmem_pool_id_is_shared(op->pool_id) ?
            tmem_index_find_holder(index, &op->key) :
            tmem_index_find(index, &op->key);
    return *node ? tmem_node_entry(&op->store->index, *node, op->key.pos) :
                   NULL;
}

/** Shard locked: books a change of @pool's pages; it is ours, or a member's. */
static inline void tmem_op_book(TmemOp *op, TmemPool *pool)
{
    if (pool == op->pool) {
        tmem_tally_apply(op->ctx, pool, &op->delta);
    } else {
        tmem_pool_apply(pool, &op->delta);
    }
    memset(&op->delta, 0, sizeof(op->delta));
}

/** Shard locked: drops the page of @node under the handle, and books it. */
static inline void tmem_op_remove(TmemOp *op, TmemNode *node)
{
    TmemPool *pool = node->pool;

    tmem_index_remove(&op->store->index, op->key.shard, node, op->key.pos,
                      &op->delta);
    tmem_op_book(op, pool);
}

static inline void tmem_op_end(TmemContext *ctx)
{
    __atomic_store_n(&ctx->in_operation, false, __ATOMIC_RELAXED);
}

static inline TmemStatus tmem_op_end_no_pool(TmemContext *ctx)
{
    tmem_count(&ctx->counters.ops_no_pool, 1);
    tmem_op_end(ctx);
    return TMEM_STATUS_NOPOOL;
}

/** What the record of the page at @page_index is seeded with. */
static inline uint64_t tmem_op_seed(const TmemOp *op, uint64_t page_index)
{
    return tmem_page_seed(op->hash_id, op->key.object, page_index);
}

/**
 * tmem_page_restore() - store a page as another process has encoded it
 * @enc: NULL: the page was damaged, and is again
 * @slot_units: how large the slot was that it was in
 *
 * As tmem_page_store(), but neither frozen nor refused for what the page is.
 * In tmem-page.c.
 */
TmemStatus tmem_page_restore(TmemContext *ctx, const TmemHandle *handle,
                             const TmemEncoded *enc, uint32_t slot_units);

#endif /* TMEM_OP_H */
