/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmem-store: the QOM object that owns a libtmem store
 *
 * Linked by qemu-system-* and by qemu-storage-daemon.  All functions are
 * called with the BQL held (in the storage daemon: from the main thread); the
 * TmemStore itself may be used from any thread as libtmem's header says.
 */
#ifndef SYSTEM_TMEM_STORE_H
#define SYSTEM_TMEM_STORE_H

#include "qom/object.h"
#include "libtmem/tmem.h"

#define TYPE_TMEM_STORE "tmem-store"
OBJECT_DECLARE_SIMPLE_TYPE(TmemStoreObject, TMEM_STORE)

#define TMEM_STORE_SIZE_PROP        "size"
#define TMEM_STORE_COMPRESSOR_PROP  "compressor"
#define TMEM_STORE_GROUP_MAX_PROP   "trust-group-max-size"

/**
 * tmem_store_object_get: the store of a completed object
 */
TmemStore *tmem_store_object_get(TmemStoreObject *obj);

/**
 * tmem_store_object_attach: note one more user of the store
 *
 * The object cannot be deleted until tmem_store_object_detach().
 */
void tmem_store_object_attach(TmemStoreObject *obj);
void tmem_store_object_detach(TmemStoreObject *obj);

/**
 * tmem_store_object_id: what the user calls this store
 *
 * Returns the ID of a user-created object, or the QOM path of one that is
 * embedded in a device.  Free with g_free().
 */
char *tmem_store_object_id(TmemStoreObject *obj);

/**
 * tmem_store_object_find: look a completed store up by ID or QOM path
 *
 * Returns NULL and sets @errp if there is none.
 */
TmemStoreObject *tmem_store_object_find(const char *id, Error **errp);

/** What a client is used through. */
typedef enum TmemDoor {
    TMEM_DOOR_DEVICE,           /* virtio-tmem: one for a client at most */
    TMEM_DOOR_VHOST_USER,       /* the same, in another process */
    TMEM_DOOR_BLOCK,            /* its pool is tmem_pool_create_host()'s */
    TMEM_DOOR__MAX,
} TmemDoor;

/**
 * tmem_store_client_get: the client of that name, new or shared
 *
 * The doors that give the same name are those of one guest.  Limits that are
 * not 0 must be the same for all that give some; what an operator has set by
 * then counts instead.  Each call is undone by tmem_store_client_put() after
 * the door's own contexts and, of a block node, its pool are gone; what a
 * device created is dropped there.
 *
 * Returns NULL and sets @errp to a sentence.
 */
TmemClient *tmem_store_client_get(TmemStoreObject *obj,
                                  const TmemClientConfig *config,
                                  TmemDoor door, Error **errp);
void tmem_store_client_put(TmemStoreObject *obj, TmemClient *client,
                           TmemDoor door);

/**
 * tmem_store_client_set_trust_group: keep equal cached pages of guests once
 * @name: of the group, a client of its own, which the first member makes; NULL:
 *        of none
 *
 * A group begins with the maximum that the store has for groups; or, if there
 * was one of that name, with the maximum and weight that an operator gave it.
 *
 * For the door of a device, which has just got the client; until its put().
 * Returns false and sets @errp to a sentence if that is the name of another
 * client, or no group can be made.
 */
bool tmem_store_client_set_trust_group(TmemStoreObject *obj,
                                       TmemClient *client, const char *name,
                                       Error **errp);

/**
 * tmem_store_client_set_owner: name the QOM object that stands for a client
 *
 * That of its virtio-tmem device; until the put() of that door.
 */
void tmem_store_client_set_owner(TmemStoreObject *obj, TmemClient *client,
                                 Object *owner);

/* --- Handing over to the process that follows --- */

/**
 * TmemStoreDoorOps: what a door does when its process ends, or has just begun
 *
 * All are called in the main thread.
 */
typedef struct TmemStoreDoorOps {
    bool is_device;             /* else it has a pool of the host's */

    /* Ends its connections for good.  Optional. */
    void (*quiesce)(void *opaque);

    /* Appends to @state what it has to remember; sets @pool, if it has one. */
    void (*save)(void *opaque, GByteArray *state, uint64_t *pool);

    /* Gives up the empty pool that it has, for the one to come. */
    void (*vacate)(void *opaque);

    /*
     * Goes on with what save() told, and with @pool.  Returns false and sets
     * @errp, with nothing changed, if @state makes no sense.
     */
    bool (*restore)(void *opaque, const uint8_t *state, size_t bytes,
                    uint64_t pool, Error **errp);

    /*
     * What was handed over to it is lost, or what was lost may have been for
     * it: what was never written here is unknown, and not zeros.  After
     * vacate() or without.  Optional: a device is told where its rings are.
     */
    void (*lost)(void *opaque);
} TmemStoreDoorOps;

typedef struct TmemStoreDoor {
    const TmemStoreDoorOps *ops;
    void *opaque;
    const char *name;           /* of the door among those of its kind */
    TmemClient *client;
    /*
     * One of the door's own, idle until its first connection, to restore with:
     * a full store might have no room for another.
     */
    TmemContext *ctx;

    bool registered;
    QTAILQ_ENTRY(TmemStoreDoor) next;
} TmemStoreDoor;

/**
 * tmem_store_door_begin: a door is about to make its contexts and its pool
 * @door: of which all but the context is known
 *
 * What waits for it must not keep waiting because others have filled the store.
 * Returns whether tmem_store_door_begun() must follow.
 */
bool tmem_store_door_begin(TmemStoreObject *obj, const TmemStoreDoor *door,
                           unsigned nr_contexts);
void tmem_store_door_begun(const TmemStoreDoor *door);

/**
 * tmem_store_door_add: a door is there, and gets what was handed over to it
 *
 * Before its first connection: none is accepted before tmem_handover_ready().
 * A store that hands nothing over only tells it what was lost.
 */
void tmem_store_door_add(TmemStoreObject *obj, TmemStoreDoor *door);
void tmem_store_door_remove(TmemStoreObject *obj, TmemStoreDoor *door);

/** Whether its doors are to be found again, by their names. */
bool tmem_store_hands_over(TmemStoreObject *obj);

/** Whether connections end because the process does: their pages are kept. */
bool tmem_store_handing_over(TmemStoreObject *obj);

/* --- For the main program that can hand over: qemu-storage-daemon --- */

/** Before the first object is made. */
void tmem_handover_enable(void);

/** Start-up has not failed: before the main loop runs. */
void tmem_handover_ready(void);

/** The process is to end: before exports are closed. */
void tmem_handover_begin(void);

/** Hands all stores over: after exports were closed, and before nodes are. */
void tmem_handover_finish(void);

/* --- All stores --- */

typedef void TmemStoreObjectFunc(TmemStoreObject *obj, void *opaque);

/** Calls @func for each completed store, in the order of creation. */
void tmem_store_object_foreach(TmemStoreObjectFunc *func, void *opaque);

/**
 * tmem_propagate_gerror: turn an error of libtmem into one of QEMU
 *
 * Frees @err.
 */
void tmem_propagate_gerror(Error **errp, GError *err);

#endif /* SYSTEM_TMEM_STORE_H */
