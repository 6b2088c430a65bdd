/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: what the files that cross-check a store share
 */
#ifndef TMEM_CHECK_H
#define TMEM_CHECK_H

#include "tmem-store.h"

typedef struct Check {
    TmemStore *store;
    GHashTable *pools;      /* TmemPool * -> TmemDelta * found by the walk */
    GHashTable *references; /* id of a content -> uint32_t *, how many of it */
    bool has_bad_reference; /* one that is damaged: what it led to is unknown */
    uint64_t *is_used;      /* a bit for each unit of the arena */
    size_t is_used_bytes;
    GError **errp;
} Check;

/** Notes that a slot which is known starts at @ref. */
bool tmem_check_mark(Check *c, TmemRef ref, const char *what);

/** Whether no operation is under way. */
bool tmem_check_idle(TmemStore *store);

/* --- Trust groups, in tmem-trust-check.c --- */

/** After the shards of the index, and before. */
void tmem_check_lock_contents(TmemStore *store);
void tmem_check_unlock_contents(TmemStore *store);

/** Notes the reference that the entry at @pos of @node is. */
bool tmem_check_reference(Check *c, const TmemNode *node, unsigned pos,
                          TmemEntry entry);

/** What all groups keep, against the references that were noted. */
bool tmem_check_contents(Check *c);

/** What the tables of @client are charged, if it is a group. */
uint64_t tmem_check_tables_bytes(const TmemClient *client);

#endif /* TMEM_CHECK_H */
