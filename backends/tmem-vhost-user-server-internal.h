/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmem-vhost-user-server: what the files of the object share
 */
#ifndef TMEM_VHOST_USER_SERVER_INTERNAL_H
#define TMEM_VHOST_USER_SERVER_INTERNAL_H

#include "block/aio.h"
#include "qapi/qapi-types-sockets.h"
#include "qemu/vhost-user-server.h"
#include "system/iothread.h"
#include "system/tmem-device.h"
#include "system/tmem-store.h"

#define TYPE_TMEM_VHOST_USER_SERVER "tmem-vhost-user-server"
OBJECT_DECLARE_SIMPLE_TYPE(TmemVhostUserServer, TMEM_VHOST_USER_SERVER)

/* The protocol names a ring in 8 bits; one is the control queue. */
#define TMEM_VU_NUM_QUEUES_MAX      255

typedef struct TmemVuElement TmemVuElement;

/*
 * A virtqueue.  Belongs to the thread that runs the server's AioContext, as
 * everything about a connection does.
 */
typedef struct TmemVuQueue {
    TmemVhostUserServer *server;
    unsigned index;
    TmemContext *ctx;
    QEMUBH *bh;                 /* looks at the ring without a kick */
    TmemVuElement *current;     /* a request that is done in slices */
    bool notify;                /* answers were pushed and not signalled */
    bool polled;                /* kicks are suppressed: the server looks */
    uint8_t hints;              /* that they told */
    /* Where the front end of a process before this one is to go on. */
    bool has_base;
    uint16_t base;              /* or left off, in a process that hands over */
} TmemVuQueue;

/*
 * Looking at the rings for a while before sleeping; see the file of this name.
 * Belongs to the thread of the AioContext.
 */
typedef struct TmemVuPoll {
    QEMUBH *bh;
    int64_t ns;                 /* for how long, from the last request on */
    int64_t idle_since;         /* 0: busy, or there was no request yet */
    bool active;
} TmemVuPoll;

struct TmemVhostUserServer {
    Object parent_obj;

    /* Properties; constant once the object is complete. */
    char *store_id;
    SocketAddress *addr;
    char *client_name;
    char *trust_group;          /* NULL: of none */
    TmemDeviceConf device;      /* disk_size may change; atomic */
    uint64_t min_size;
    uint64_t max_size;
    uint32_t weight;
    IOThread *iothread;         /* NULL: one of our own */

    /* Constant while the object is complete. */
    char *id;
    TmemStoreObject *store;
    TmemClient *client;
    IOThread *own_iothread;
    IOThread *thread;           /* the one that is used; a reference */
    AioContext *aio_context;
    TmemVuQueue *queues;        /* the control queue, then request queues */
    unsigned num_vqs;
    QEMUBH *config_bh;          /* tells the front end that it has changed */
    TmemVuPoll poll;
    bool listening;
    TmemStoreDoor door;

    VuServer vu_server;
    bool resumed;               /* said that pages of before are lost */
    bool handing_over;          /* the end of a connection changes nothing */
    bool unclaimed;             /* handed over, and no ring was set since */
    bool violated;              /* the guest broke the protocol */
};

/* Ends the connection and takes no other.  Context: BQL held. */
void tmem_vu_stop_listening(TmemVhostUserServer *s);

/* --- tmem-vhost-user-server-handover.c: over to another process --- */

extern const TmemStoreDoorOps tmem_vu_door_ops;

/* Notes where the rings are.  Context: the AioContext. */
void tmem_vu_keep(TmemVhostUserServer *s);

/* --- tmem-vhost-user-server-vq.c: the rings --- */

extern const VuDevIface tmem_vu_iface;

/*
 * Creates the queues and a context for each.  Context: BQL held.
 * Returns false and sets @errp on failure, with nothing left behind.
 */
bool tmem_vu_queues_init(TmemVhostUserServer *s, Error **errp);
void tmem_vu_queues_cleanup(TmemVhostUserServer *s);

/* Feature bits that are offered.  Any thread. */
uint64_t tmem_vu_features(const TmemVhostUserServer *s);

/* Finishes requests that are half done: their memory is about to change. */
void tmem_vu_drain(TmemVhostUserServer *s);

/*
 * The guest's device was reset, or its front end is gone: all that the client
 * holds is dropped, and the rings are forgotten.
 */
void tmem_vu_forget(TmemVhostUserServer *s);

/* The rings alone are forgotten, but for where they were handed over. */
void tmem_vu_forget_rings(TmemVhostUserServer *s);

/* Ends the connection, in words.  Later calls do nothing. */
void G_GNUC_PRINTF(2, 3) tmem_vu_drop(TmemVhostUserServer *s,
                                      const char *fmt, ...);

/*
 * A turn of the queue, if it is in use.  Context: the AioContext.
 * Returns whether there was a request.
 */
bool tmem_vu_queue_run(TmemVuQueue *q);

/* --- tmem-vhost-user-server-poll.c: rings without kicks --- */

void tmem_vu_poll_init(TmemVhostUserServer *s);
void tmem_vu_poll_cleanup(TmemVhostUserServer *s);

/* A request was found: how long did we wait for it? */
void tmem_vu_poll_busy(TmemVhostUserServer *s);

/* The requests of a turn are answered: looks at rings polled for a while. */
void tmem_vu_poll_idle(TmemVhostUserServer *s);

/* Looks no more, without a last look: the rings are about to change or go. */
void tmem_vu_poll_stop(TmemVhostUserServer *s);

/* --- tmem-vhost-user-server-msg.c: what a front end may say --- */

/* VuDevIface.process_msg: checks what libvhost-user does not. */
int tmem_vu_process_msg(VuDev *dev, VhostUserMsg *msg, int *do_reply);

/* A ring starts, and the front end may not have said where it is. */
void tmem_vu_ring_starts(TmemVhostUserServer *s, unsigned index);

#endif /* TMEM_VHOST_USER_SERVER_INTERNAL_H */
