/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: lock ranks, checked in debug builds
 */
#include "tmem-lock.h"

#ifdef TMEM_DEBUG

static const char *const rank_name[TMEM_RANK__MAX] = {
    "clients", "client", "groups", "shard", "purse", "contents", "pool",
    "class", "policy", "arena",
};

static _Thread_local unsigned held[TMEM_RANK__MAX];

void tmem_lock_rank_enter(TmemLockRank rank, bool nested)
{
    for (int r = (int)rank + nested; r < TMEM_RANK__MAX; r++) {
        if (held[r]) {
            g_error("libtmem: lock order: taking '%s' while holding '%s'",
                    rank_name[rank], rank_name[r]);
        }
    }
    held[rank]++;
}

void tmem_lock_rank_leave(TmemLockRank rank)
{
    g_assert(held[rank] > 0);
    held[rank]--;
}

void tmem_assert_unlocked(void)
{
    for (int r = 0; r < TMEM_RANK__MAX; r++) {
        if (held[r]) {
            g_error("libtmem: lock '%s' held where none may be",
                    rank_name[r]);
        }
    }
}

#endif /* TMEM_DEBUG */
