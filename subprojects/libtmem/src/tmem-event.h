/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: telling the operator what has happened
 *
 * Events come on edges: the first refusal says LIMIT_REACHED or FULL, and only
 * when a sixteenth is free again does LIMIT_LEFT follow, or NOT_FULL with half
 * as much more.
 *
 * None of these functions is called with a lock held.  They hold one of their
 * own while the receiver is called, so that it hears of edges in their order.
 */
#ifndef TMEM_EVENT_H
#define TMEM_EVENT_H

#include <pthread.h>

#include "libtmem/tmem.h"

typedef struct TmemEvents {
    TmemEventFunc *func;    /* set before there are clients, then constant */
    void *opaque;
    pthread_mutex_t mutex;  /* held for an edge, and while it is told */
    bool is_full;           /* FULL was said, and NOT_FULL not yet; atomic */
} TmemEvents;

/* Why stores of a client are refused; each ends with an edge of its own. */
typedef enum TmemRefusedFor {
    TMEM_REFUSED_LIMIT,     /* the client is at its limit */
    TMEM_REFUSED_FULL,      /* the store is full */
    TMEM_REFUSED__MAX,
} TmemRefusedFor;

/* What a client's driver is told, as advice. */
typedef struct TmemHints {
    TmemHintFunc *func;     /* guarded by the events' mutex, held for a call */
    void *opaque;
    /*
     * TMEM_HINT_* of the kinds of pool that a store was refused for.  Set and
     * cleared under that mutex, with LIMIT_LEFT and NOT_FULL; atomic.
     */
    uint8_t refused[TMEM_REFUSED__MAX];
    uint32_t nr_kept;       /* stores since the last that was refused; atomic */
} TmemHints;

/** Part of tmem_store_new(); cannot fail. */
void tmem_event_init(TmemStore *store);
void tmem_event_destroy(TmemStore *store);

/** Tells the store's receiver, if there is one. */
void tmem_event_emit(TmemStore *store, TmemEvent event, TmemClient *client);

/**
 * tmem_event_refused() - a request of @client ended with @status
 *
 * @hints: TMEM_HINT_* of the kind of pool that it was for, 0: no store
 *
 * For the final answer of a store or the creation of a pool; does nothing
 * unless that is QUOTA or NOSPC.
 */
void tmem_event_refused(TmemClient *client, TmemStatus status, uint8_t hints);

/** A store of @client was kept, and did not need credit for that. */
void tmem_event_kept(TmemClient *client);

/** @client, or each of the store if NULL, was frozen or thawed. */
void tmem_event_frozen(TmemStore *store, TmemClient *client);

/**
 * tmem_event_freed() - memory of @client, or its limit, may have changed
 *
 * At the end of whatever frees; two loads unless an event is due.
 */
void tmem_event_freed(TmemClient *client);

/** The same for what belongs to no client any more. */
void tmem_event_freed_store(TmemStore *store);

/**
 * tmem_event_freed_any() - memory of any clients may have changed
 *
 * Upkeep is paused, or is who calls: no client goes meanwhile.
 */
void tmem_event_freed_any(TmemStore *store);

#endif /* TMEM_EVENT_H */
