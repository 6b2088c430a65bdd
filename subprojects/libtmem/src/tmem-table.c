/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: the hash table of the index
 */
#include <errno.h>

#include "tmem-error.h"
#include "tmem-os.h"
#include "tmem-table.h"

/* A shard for each so many of the host's pages, within the limits. */
#define SHARD_PAGES     64
#define SHARDS_MIN      4

/* Address space for all tables, and buckets that tmem_shard_bucket() can do. */
#define TABLES_BYTES_MAX    (1ull << 43)
#define BUCKETS_MAX         (1ull << 31)

/*
 * A node that has to be passed by costs as much as the one that is wanted, at
 * most stored pages: its memory is in no cache.  So there are more buckets than
 * nodes, and up to twice as many where nodes went; this is 16 to 32 bytes a
 * node.
 */
#define BUCKETS_PER_NODE    2

/* What buckets_step buckets take from the budget. */
static uint64_t step_bytes(const TmemIndex *index)
{
    return index->buckets_step * sizeof(TmemRef);
}

/* --- Set-up --- */

static bool try_reserve_tables(TmemIndex *index, uint64_t buckets)
{
    uint64_t steps = buckets / index->buckets_step + 1;

    index->buckets_max = MIN(steps * index->buckets_step, BUCKETS_MAX);
    index->tables_bytes = (size_t)index->nr_shards * index->buckets_max *
                          sizeof(TmemRef);
    index->tables = tmem_os_reserve(index->tables_bytes);
    return index->tables;
}

/*
 * An object lies in one shard, whose table must do for as many nodes as fit the
 * store: its chains would get long, and with it every operation of others in
 * this shard.  This is address space, of which huge stores and processes with
 * a limit may have too little: then for at least twice an even share.
 */
static bool reserve_tables(TmemIndex *index)
{
    uint64_t nodes = index->arena->size_bytes / sizeof(TmemNode);
    uint64_t most = TABLES_BYTES_MAX / sizeof(TmemRef) / index->nr_shards;
    uint64_t least = 2 * nodes / index->nr_shards;

    return try_reserve_tables(index, MAX(MIN(nodes, most), least)) ||
           try_reserve_tables(index, least);
}

bool tmem_table_init(TmemIndex *index, GError **errp)
{
    TmemArena *arena = index->arena;
    size_t page_size = tmem_os_page_size();

    index->nr_shards = SHARDS_MIN;
    while (index->nr_shards < TMEM_SHARDS_MAX &&
           arena->size_bytes / (SHARD_PAGES * page_size) >=
           index->nr_shards * 2) {
        index->nr_shards *= 2;
    }
    index->buckets_step = page_size / sizeof(TmemRef);
    if (!tmem_arena_charge(arena, index->nr_shards * step_bytes(index))) {
        return tmem_error_set(errp, "no memory for the store's index");
    }
    if (!reserve_tables(index)) {
        return tmem_error_set(errp, "cannot reserve address space for the "
                              "store's index: %s", strerror(errno));
    }
    for (uint32_t i = 0; i < index->nr_shards; i++) {
        TmemShard *shard = &index->shards[i];

        tmem_lock_init(&shard->lock, TMEM_RANK_SHARD);
        shard->nr = i;
        shard->nr_buckets = index->buckets_step;
        shard->buckets = index->tables + (size_t)i * index->buckets_step;
        shard->step_shift = __builtin_ctz(index->buckets_step);
        shard->stride_shift = shard->step_shift +
                              __builtin_ctz(index->nr_shards);
    }
    return true;
}

void tmem_table_destroy(TmemIndex *index)
{
    if (index->tables) {
        for (uint32_t i = 0; i < index->nr_shards; i++) {
            tmem_lock_destroy(&index->shards[i].lock);
        }
        tmem_os_release(index->tables, index->tables_bytes);
    }
}

/* --- The table --- */

/* The largest power of two that is not above @n. */
static uint32_t power_below(uint32_t n)
{
    return 1u << (31 - __builtin_clz(n));
}

uint32_t tmem_shard_bucket(const TmemShard *shard, uint64_t hash)
{
    return tmem_bucket_of(shard->nr_buckets, hash);
}

void tmem_table_link(TmemShard *shard, TmemNode *node, uint64_t hash)
{
    TmemRef *chain = tmem_shard_chain(shard, tmem_shard_bucket(shard, hash));

    node->next = *chain;
    *chain = tmem_node_ref(node);
}

void tmem_table_unlink(TmemIndex *index, TmemShard *shard, TmemNode *node,
                       uint64_t hash)
{
    TmemRef *link = tmem_shard_chain(shard, tmem_shard_bucket(shard, hash));
    TmemRef ref = tmem_node_ref(node);

    while (*link != ref) {
        link = &tmem_node_at(index, *link)->next;
    }
    *link = node->next;
}

/*
 * One more bucket: it takes its part of the nodes of one that exists.  Returns
 * false if there is no memory for it.
 */
static bool table_grow(TmemIndex *index, TmemShard *shard)
{
    uint32_t nr = shard->nr_buckets;
    TmemRef *chain;
    TmemRef ref;

    if (nr == index->buckets_max) {
        return false;
    }
    if (nr % index->buckets_step == 0 &&
        !tmem_arena_charge(index->arena, step_bytes(index))) {
        return false;
    }
    chain = tmem_shard_chain(shard, nr - power_below(nr));
    ref = *chain;
    *chain = 0;
    *tmem_shard_chain(shard, nr) = 0;
    shard->nr_buckets++;
    while (ref) {
        TmemNode *node = tmem_node_at(index, ref);

        ref = node->next;
        tmem_table_link(shard, node, tmem_index_node_hash(index, node, NULL));
    }
    return true;
}

static void table_shrink(TmemIndex *index, TmemShard *shard)
{
    uint32_t nr = shard->nr_buckets - 1;
    TmemRef *link = tmem_shard_chain(shard, nr - power_below(nr));

    while (*link) {
        link = &tmem_node_at(index, *link)->next;
    }
    *link = *tmem_shard_chain(shard, nr);
    shard->nr_buckets = nr;
    if (nr % index->buckets_step == 0) {
        tmem_os_discard(tmem_shard_chain(shard, nr), step_bytes(index));
        tmem_arena_uncharge(index->arena, step_bytes(index));
    }
}

void tmem_table_insert(TmemIndex *index, TmemShard *shard, TmemNode *node,
                       uint64_t hash)
{
    tmem_table_link(shard, node, hash);
    shard->nr_nodes++;
    /* As many as a node asks for; who cannot have one need not try again. */
    for (int i = 0; i < BUCKETS_PER_NODE; i++) {
        if (shard->nr_nodes <= shard->nr_buckets / BUCKETS_PER_NODE ||
            !table_grow(index, shard)) {
            break;
        }
    }
}

void tmem_table_remove(TmemIndex *index, TmemShard *shard, TmemNode *node,
                       uint64_t hash)
{
    tmem_table_unlink(index, shard, node, hash);
    shard->nr_nodes--;
    /* As many as a node stood for, so that an emptied table is small again. */
    for (int i = 0; i < 2 * BUCKETS_PER_NODE; i++) {
        if (shard->nr_nodes < shard->nr_buckets / (2 * BUCKETS_PER_NODE) &&
            shard->nr_buckets > index->buckets_step) {
            table_shrink(index, shard);
        }
    }
}
