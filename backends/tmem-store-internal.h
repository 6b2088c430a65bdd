/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmem-store: what the files of the object share
 */
#ifndef TMEM_STORE_INTERNAL_H
#define TMEM_STORE_INTERNAL_H

#include "qemu/queue.h"
#include "qapi/qapi-types-qom.h"
#include "qom/object.h"
#include "libtmem/tmem-save.h"
#include "system/tmem-store.h"

typedef struct TmemStoreEvents TmemStoreEvents;
typedef struct TmemStoreHandover TmemStoreHandover;

struct TmemStoreObject {
    Object parent_obj;

    uint64_t size;
    TmemPolicy policy;          /* until the store exists */
    TmemStore *store;
    unsigned users;
    QTAILQ_HEAD(, TmemStoreClient) clients;     /* tmem-store-client.c */
    uint64_t group_max_size;    /* of a trust group that comes; 0: none */
    GHashTable *group_limits;   /* of those that went: name, TmemGroupLimits */
    TmemStoreEvents *events;                    /* while the store exists */
    TmemHandover handover_mode;
    TmemStoreHandover *handover;    /* NULL if the mode is TMEM_HANDOVER_OFF */
    bool handover_lost;         /* all that was handed over, whosever it was */
    QTAILQ_ENTRY(TmemStoreObject) next;
};

/**
 * tmem_store_client_find: the client of that name
 *
 * Returns NULL and sets @errp if there is none.
 */
TmemClient *tmem_store_client_find(TmemStoreObject *obj, const char *name,
                                   Error **errp);

/* Limits of a client, as bits. */
#define TMEM_LIMIT_MIN_SIZE     (1u << 0)
#define TMEM_LIMIT_MAX_SIZE     (1u << 1)
#define TMEM_LIMIT_WEIGHT       (1u << 2)

/**
 * tmem_store_client_operated: an operator has set these of its limits
 *
 * They stay, whatever a door that comes later gives.
 */
void tmem_store_client_operated(TmemStoreObject *obj, TmemClient *client,
                                unsigned limits);

/**
 * tmem_store_client_forget: what is remembered of clients that went
 *
 * For the end of the store.
 */
void tmem_store_client_forget(TmemStoreObject *obj);

/**
 * tmem_store_client_only_door: the kind of door that the client @name has
 *
 * Returns false if it has several.
 */
bool tmem_store_client_only_door(TmemStoreObject *obj, const char *name,
                                 TmemDoor *door);

/**
 * tmem_store_client_pin: keep a client while a command is at work on it
 *
 * Its doors may be closed meanwhile; it goes with tmem_store_client_unpin().
 */
void tmem_store_client_pin(TmemStoreObject *obj, TmemClient *client);
void tmem_store_client_unpin(TmemStoreObject *obj, TmemClient *client);

typedef void TmemStoreClientOwnedFunc(TmemClient *client, Object *owner,
                                      void *opaque);

/** Calls @func for each client of @obj that a QOM object stands for. */
void tmem_store_client_foreach_owned(TmemStoreObject *obj,
                                     TmemStoreClientOwnedFunc *func,
                                     void *opaque);

/**
 * tmem_store_can_set: may a property that makes the store what it is be set?
 *
 * Returns false and sets @errp if the store was built from it.
 */
bool tmem_store_can_set(TmemStoreObject *obj, const char *name, Error **errp);

/** Adds the properties that make up the policy. */
void tmem_store_policy_class_init(ObjectClass *oc);

/** Turns the events of a store that has no clients yet into those of QMP. */
void tmem_store_events_start(TmemStoreObject *obj);

/** After the store is gone. */
void tmem_store_events_stop(TmemStoreObject *obj);

/** A client has been attached, or is gone. */
void tmem_store_events_client(TmemStoreObject *obj, const char *client,
                              bool attached);

/** Adds the property that says whether, and how. */
void tmem_store_handover_class_init(ObjectClass *oc);

/**
 * tmem_store_handover_start: look for what a process before this one has left
 *
 * The store is new and has no clients.  Returns false and sets @errp if this
 * process cannot hand over.  What was left and is of no use is only reported.
 */
bool tmem_store_handover_start(TmemStoreObject *obj, Error **errp);
void tmem_store_handover_stop(TmemStoreObject *obj);

/**
 * tmem_store_handover_waiting: the @nth door that has not come yet
 * @waiting: what was handed over to it; valid until the main loop goes on
 *
 * Returns false if there are not so many.
 */
bool tmem_store_handover_waiting(TmemStoreObject *obj, unsigned nth,
                                 TmemWaiting *waiting);

#endif /* TMEM_STORE_INTERNAL_H */
