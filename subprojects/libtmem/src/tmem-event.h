/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: telling the operator what has happened
 *
 * Events come on edges: the first refusal says LIMIT_REACHED or FULL, and only
 * when a sixteenth is free again does LIMIT_LEFT or NOT_FULL follow.
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

/** Part of tmem_store_new(); cannot fail. */
void tmem_event_init(TmemStore *store);
void tmem_event_destroy(TmemStore *store);

/** Tells the store's receiver, if there is one. */
void tmem_event_emit(TmemStore *store, TmemEvent event, TmemClient *client);

/**
 * tmem_event_refused() - a request of @client ended with @status
 *
 * For the final answer of a store or the creation of a pool; does nothing
 * unless that is QUOTA or NOSPC.
 */
void tmem_event_refused(TmemClient *client, TmemStatus status);

/**
 * tmem_event_freed() - memory of @client, or its limit, may have changed
 *
 * At the end of whatever frees; two loads unless an event is due.
 */
void tmem_event_freed(TmemClient *client);

/**
 * tmem_event_freed_any() - memory of any clients may have changed
 *
 * Upkeep is paused, or is who calls: no client goes meanwhile.
 */
void tmem_event_freed_any(TmemStore *store);

#endif /* TMEM_EVENT_H */
