/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: invalidating pages and objects
 */
#include "tmem-drop.h"
#include "tmem-op.h"

/* Nodes of an object dropped in one hold of the shard's lock. */
#define DROP_NODES      8

/* --- A page --- */

TmemStatus tmem_page_invalidate(TmemContext *ctx, const TmemHandle *handle)
{
    TmemNode *node;
    TmemOp op;

    if (!tmem_op_begin(&op, ctx, handle) || !tmem_op_enter(&op)) {
        return tmem_op_end_no_pool(ctx);
    }
    tmem_count(&op.tally->invalidates, 1);
    if (tmem_op_find(&op, &node)) {
        tmem_op_remove(&op, node);
        tmem_count(&op.tally->invalidates_found, 1);
    }
    tmem_op_leave(&op);
    tmem_arena_trim(&op.store->arena);
    tmem_event_freed(ctx->client);
    tmem_op_end(ctx);
    return TMEM_STATUS_OK;
}

/* --- An object --- */

/*
 * Shard locked: a head of the object that has to go; of a shared one, any
 * member's.
 */
static TmemNode *find_head(const TmemDrop *drop)
{
    TmemIndex *index = &drop->store->index;

    return drop->ctx ?
           tmem_index_find_older_head(index, &drop->key, drop->birth) :
           tmem_index_find_head(index, &drop->key);
}

/* Shard locked: books what went with a node of @pool. */
static void book(TmemDrop *drop, TmemPool *pool, const TmemDelta *delta)
{
    TmemContext *ctx = drop->ctx;

    if (ctx) {
        TmemTally *tally = &ctx->tallies[drop->key.pool - ctx->client->pools];

        tmem_count(&tally->object_invalidates_pages, -delta->pages);
    }
    if (ctx && pool == drop->key.pool) {
        tmem_tally_apply(ctx, pool, delta);
    } else {
        tmem_pool_apply(pool, delta);
    }
}

/*
 * Shard locked: drops some nodes, each member's oldest first.  Returns false if
 * there are no more.
 */
static bool drop_nodes(TmemDrop *drop, uint32_t *budget)
{
    TmemNode *head = find_head(drop);

    for (int i = 0; i < DROP_NODES && head && *budget; i++) {
        TmemPool *pool = head->pool;
        TmemDelta delta = {};

        tmem_index_remove_node(&drop->store->index, drop->key.shard, head,
                               &delta);
        book(drop, pool, &delta);
        *budget -= MIN(*budget, (uint32_t)(1 - delta.pages));
        head = find_head(drop);
    }
    return head;
}

TmemDropped tmem_drop_some(TmemDrop *drop, uint32_t *budget)
{
    TmemShard *shard = drop->key.shard;
    /* Who invalidates does not keep the pool: it may go between holds. */
    TmemClient *client = drop->ctx ? drop->ctx->client :
                                     drop->key.pool->client;
    bool more = true;

    while (more && *budget) {
        tmem_lock(&shard->lock);
        if (drop->pool_id && !tmem_pool_is(drop->key.pool, drop->pool_id)) {
            tmem_unlock(&shard->lock);
            return TMEM_DROPPED_NO_POOL;
        }
        /*
         * What is there when it begins goes, however fast someone else keeps
         * storing, and whatever the order in the table becomes: nodes that
         * come later are not older than this.
         */
        if (!drop->birth) {
            drop->birth = shard->nr_drops + 1;
        }
        more = drop_nodes(drop, budget);
        if (more) {
            shard->nr_drops = MAX(shard->nr_drops, drop->birth);
        }
        tmem_unlock(&shard->lock);
    }
    tmem_arena_trim(&drop->store->arena);
    tmem_event_freed(client);
    return more ? TMEM_DROPPED_SOME : TMEM_DROPPED_ALL;
}

TmemStatus tmem_object_invalidate_begin(TmemContext *ctx,
                                        const TmemHandle *handle,
                                        TmemDrop *drop)
{
    TmemOp op;

    if (!tmem_op_begin(&op, ctx, handle) || !tmem_op_enter(&op)) {
        return tmem_op_end_no_pool(ctx);
    }
    tmem_count(&op.tally->object_invalidates, 1);
    tmem_op_leave(&op);
    *drop = (TmemDrop) {
        .store = op.store, .key = op.key, .pool_id = op.pool_id, .ctx = ctx,
    };
    tmem_op_end(ctx);
    return TMEM_STATUS_OK;
}

TmemStatus tmem_object_invalidate(TmemContext *ctx, const TmemHandle *handle)
{
    uint32_t budget = UINT32_MAX;
    TmemDropped dropped;
    TmemStatus status;
    TmemDrop drop;

    status = tmem_object_invalidate_begin(ctx, handle, &drop);
    if (status != TMEM_STATUS_OK) {
        return status;
    }
    do {
        dropped = tmem_drop_some(&drop, &budget);
        budget = UINT32_MAX;
    } while (dropped == TMEM_DROPPED_SOME);
    return dropped == TMEM_DROPPED_NO_POOL ? tmem_op_end_no_pool(ctx) :
                                             TMEM_STATUS_OK;
}
