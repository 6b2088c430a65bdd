/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where a page lies in a store
 */
#include "testpeek.h"

bool test_peek(TmemContext *ctx, TmemHandle h, TestPeek *peek)
{
    TmemIndex *index = &ctx->store->index;
    TmemPool *pool = tmem_pool_find(ctx->client, h.pool);
    TmemRef ref;

    memset(peek, 0, sizeof(*peek));
    g_assert_nonnull(pool);
    tmem_index_key(index, pool, h.pool, h.object, h.index, &peek->key);
    tmem_lock(&peek->key.shard->lock);
    peek->node = tmem_index_find(index, &peek->key);
    peek->entry = peek->node ? tmem_node_entry(index, peek->node,
                                               peek->key.pos) : NULL;
    tmem_unlock(&peek->key.shard->lock);
    if (!peek->entry) {
        return false;
    }
    ref = tmem_entry_ref(*peek->entry);
    if (ref) {
        void *record = tmem_arena_ptr(&ctx->store->arena, ref);

        peek->checksum = tmem_record_checksum(record);
        peek->data = tmem_record_data(record);
        peek->len = tmem_entry_len(*peek->entry);
    }
    return true;
}

void test_copy_record(const TestPeek *from, TestPeek *to)
{
    g_assert_cmpuint(from->len, ==, to->len);
    *to->checksum = *from->checksum;
    memcpy(to->data, from->data, from->len);
}
