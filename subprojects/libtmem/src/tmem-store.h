/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: the store
 */
#ifndef TMEM_STORE_H
#define TMEM_STORE_H

#include "libtmem/tmem.h"
#include "libtmem/tmem-save.h"
#include "tmem-admit.h"
#include "tmem-arena.h"
#include "tmem-client.h"
#include "tmem-event.h"
#include "tmem-evict.h"
#include "tmem-ghosts.h"
#include "tmem-index.h"
#include "tmem-lock.h"
#include "tmem-upkeep.h"
#include "tmem-share.h"

/* What a loader has for doors that are not there yet; all atomic. */
typedef struct TmemStoreWaiting {
    uint64_t doors;
    uint64_t pages;
    uint64_t bytes;             /* kept free for them */
} TmemStoreWaiting;

struct TmemStore {
    uint64_t size_bytes;
    uint64_t next_generation;   /* of pool ids; atomic */
    uint64_t next_content;      /* ids of contents of trust groups; atomic */

    TmemLock policy_lock;
    /* Written as a whole under policy_lock; hot paths read single members. */
    TmemPolicy policy;
    uint32_t codec;             /* tmem_codec_pack() of its codec; atomic */

    TmemAdmit admit;            /* its admission, as operations read it */
    bool frozen;                /* atomic */

    const TmemEvictPolicy *evict_policy;
    TmemArena arena;
    TmemIndex index;
    TmemGhosts ghosts;

    TmemEvents events;

    TmemLock groups_lock;
    GList *groups;              /* TmemGroup; groups_lock */

    TmemUpkeeper upkeep;

    TmemLock clients_lock;
    GList *clients;             /* by name; clients_lock */
    uint32_t nr_clients;        /* atomic */
    TmemLoader *loader;         /* of what may still come; clients_lock */
    TmemStoreWaiting waiting;   /* the same in figures */
};

/** A generation for a pool id: never 0, never the same again. */
uint64_t tmem_store_generation(TmemStore *store);

/**
 * tmem_loader_slots() - the places that a guest's pools may need in @client
 * @loader: or NULL
 * @client: its name
 *
 * They are below the one returned, as long as they have not been taken.  Which
 * client they come to is not known for sure: its name may be another one now.
 * So the first few places of the guests of other clients are among them, too.
 */
uint32_t tmem_loader_slots(const TmemLoader *loader, const char *client);

/** Bytes that are kept free for doors of @client; @loader: or NULL. */
uint64_t tmem_loader_held(const TmemLoader *loader, const char *client);

/** The client of that name, or NULL. */
TmemClient *tmem_store_client_locked(TmemStore *store, const char *name);

#ifdef TMEM_DEBUG
/** Tests: what tmem_store_check() calls between its two looks at slots. */
void tmem_check_set_between(void (*func)(void *opaque), void *opaque);

/** Tests: what is called between two contexts whose pages are summed up. */
void tmem_stats_set_between(void (*func)(void *opaque), void *opaque);
#endif

#endif /* TMEM_STORE_H */
