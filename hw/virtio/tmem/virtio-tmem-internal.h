/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-tmem: between the files of the device
 */
#ifndef VIRTIO_TMEM_INTERNAL_H
#define VIRTIO_TMEM_INTERNAL_H

#include "block/aio.h"
#include "hw/virtio/virtio-tmem.h"

typedef struct VirtIOTmemElement VirtIOTmemElement;

/*
 * A virtqueue and what serves it.  Everything without a note belongs to the
 * thread that runs aio_context (or, when that is the main loop, to the holder
 * of the BQL), and to the main thread while that thread is kept away.
 */
struct VirtIOTmemQueue {
    VirtIOTmem *dev;
    VirtQueue *vq;
    AioContext *aio_context;
    TmemContext *ctx;
    QEMUBH *bh;                 /* carries on when the budget is used up */
    QEMUBH *fallback_bh;        /* the same in the main loop, instead of bh */
    VirtIOTmemElement *current; /* a request that is done in slices */
    const char *violation;      /* of the protocol, until a reset; atomic */
    bool backlog;               /* left with notifications disabled */
    bool notify;                /* answers were pushed and not signalled */
    uint8_t hints;              /* that answers told, not checked since */
};

/* --- virtio-tmem-vq.c: the queues --- */

/*
 * Creates the virtqueues and a context for each.  Context: BQL held.
 * Returns false and sets @errp on failure, with nothing left behind.
 */
bool virtio_tmem_queues_init(VirtIOTmem *s, Error **errp);
void virtio_tmem_queues_cleanup(VirtIOTmem *s);

/*
 * Forgets what was going on, a request that is half done included.  No thread
 * may be running the queue.  Context: BQL held.
 */
void virtio_tmem_queue_quiesce(VirtIOTmemQueue *q);

/* An iothread takes over from the main loop.  Context: BQL held. */
void virtio_tmem_queue_end_fallback(VirtIOTmemQueue *q);

/* Goes on with what a stop of the VM interrupted.  Context: BQL held. */
void virtio_tmem_queues_resume(VirtIOTmem *s);

/* --- virtio-tmem-dataplane.c: iothreads --- */

/*
 * Assigns an AioContext to each queue.  Context: BQL held.
 * Returns false and sets @errp on failure, with nothing left behind.
 */
bool virtio_tmem_dataplane_init(VirtIOTmem *s, Error **errp);
void virtio_tmem_dataplane_cleanup(VirtIOTmem *s);

/* VirtioDeviceClass hooks.  Context: BQL held. */
int virtio_tmem_dataplane_start(VirtIODevice *vdev);
void virtio_tmem_dataplane_stop(VirtIODevice *vdev);
void virtio_tmem_queue_reset(VirtIODevice *vdev, uint32_t index);
void virtio_tmem_queue_enable(VirtIODevice *vdev, uint32_t index);

/* --- virtio-tmem-blockers.c: what the held pages forbid --- */

bool virtio_tmem_blockers_init(VirtIOTmem *s, Error **errp);
void virtio_tmem_blockers_cleanup(VirtIOTmem *s);

/*
 * Does the client hold persistent pages while the unplug blocker is not set,
 * or the other way round?  Any thread.
 */
bool virtio_tmem_unplug_blocker_is_stale(VirtIOTmem *s);

/* Sets or removes the unplug blocker.  Context: BQL held. */
void virtio_tmem_update_unplug_blocker(VirtIOTmem *s);

#endif /* VIRTIO_TMEM_INTERNAL_H */
