/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: the hash table of the index
 *
 * Each shard has a table of chains of nodes, which grows and shrinks one bucket
 * at a time (linear hashing) in address space reserved for it.
 */
#ifndef TMEM_TABLE_H
#define TMEM_TABLE_H

#include "tmem-index.h"

static inline TmemNode *tmem_node_at(const TmemIndex *index, TmemRef ref)
{
    return ref ? tmem_arena_ptr(index->arena, ref) : NULL;
}

static inline TmemRef tmem_node_ref(const TmemNode *node)
{
    return tmem_owner_node(node->owner);
}

/** Chooses how many shards, and reserves their tables; index->arena is set. */
bool tmem_table_init(TmemIndex *index, GError **errp);
void tmem_table_destroy(TmemIndex *index);

/* --- All functions below: the shard is locked --- */

/** The first node of the chain of @hash, or NULL. */
static inline TmemNode *tmem_table_first(const TmemIndex *index,
                                         const TmemShard *shard, uint64_t hash)
{
    uint32_t bucket = tmem_shard_bucket(shard, hash);

    return tmem_node_at(index, *tmem_shard_chain(shard, bucket));
}

/** Adds a new node, under @hash.  The table may grow. */
void tmem_table_insert(TmemIndex *index, TmemShard *shard, TmemNode *node,
                       uint64_t hash);

/** Takes out a node that is going.  The table may shrink. */
void tmem_table_remove(TmemIndex *index, TmemShard *shard, TmemNode *node,
                       uint64_t hash);

/* Of a node that is found under another hash from now on: out, and in again. */
void tmem_table_unlink(TmemIndex *index, TmemShard *shard, TmemNode *node,
                       uint64_t hash);
void tmem_table_link(TmemShard *shard, TmemNode *node, uint64_t hash);

#endif /* TMEM_TABLE_H */
