/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-tmem: the virtqueues
 *
 * Takes descriptor chains off a queue, hands them to libtmem, which decodes
 * and carries them out, and returns the answers.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "hw/virtio/virtio.h"
#include "hw/virtio/virtio-bus.h"
#include "libtmem/tmem-req.h"
#include "qemu/iov.h"
#include "qemu/main-loop.h"
#include "system/tmem-device.h"
#include "trace.h"
#include "virtio-tmem-internal.h"

/*
 * Entries of a virtqueue: room for 3 full batches without indirect descriptors.
 * No property: QEMU 10.0's virtio_add_queue() takes 1024 whatever is asked for.
 */
#define VIRTIO_TMEM_QUEUE_SIZE      256

struct VirtIOTmemElement {
    VirtQueueElement elem;      /* first: virtqueue_pop() allocates us */
    VirtIOTmemQueue *q;
    TmemReq req;
};

static unsigned virtio_tmem_queue_index(VirtIOTmemQueue *q)
{
    return q - q->dev->queues;
}

/*
 * Signals the answers pushed since the last time, if the driver wants to be
 * signalled.
 */
static void virtio_tmem_queue_notify(VirtIOTmemQueue *q)
{
    VirtIOTmem *s = q->dev;
    bool signalled;

    if (!q->notify) {
        return;
    }
    q->notify = false;
    if (qatomic_read(&s->dataplane_started)) {
        signalled = virtio_notify_irqfd(VIRTIO_DEVICE(s), q->vq);
    } else {
        signalled = virtio_notify(VIRTIO_DEVICE(s), q->vq);
    }
    if (signalled) {
        tmem_context_count_interrupt(q->ctx);
    }
}

/*
 * What responses told of stores that are refused may be over by now, and a
 * change of the configuration that says so may have come before them: the
 * driver is to hear of it after them.  Context: the thread that owns the queue.
 */
static void virtio_tmem_queue_check_hints(VirtIOTmemQueue *q)
{
    VirtIOTmem *s = q->dev;

    if (!q->hints) {
        return;
    }
    /* Pairs with qemu_bh_schedule() of who changes them while we look. */
    smp_mb();
    if (q->hints & ~tmem_client_hints(s->client)) {
        qemu_bh_schedule(s->hint_bh);
    }
    q->hints = 0;
}

/* Context: BQL held. */
static void virtio_tmem_main_bh(void *opaque)
{
    VirtIOTmem *s = opaque;
    VirtIODevice *vdev = VIRTIO_DEVICE(s);
    unsigned i;

    virtio_tmem_update_unplug_blocker(s);
    for (i = 0; i < s->num_vqs && !vdev->broken; i++) {
        const char *violation = qatomic_read(&s->queues[i].violation);

        if (violation) {
            virtio_error(vdev, "virtio-tmem: client '%s' broke the protocol on"
                         " virtqueue %u: %s", tmem_client_name(s->client), i,
                         violation);
        }
    }
}

/*
 * There is work for the holder of the BQL: now if that is us, else soon.
 * virtio_error() raises the configuration interrupt and changes the status, and
 * the unplug blockers are a list of the main thread: not for iothreads.
 */
static void virtio_tmem_main_work(VirtIOTmem *s)
{
    if (bql_locked()) {
        virtio_tmem_main_bh(s);
    } else {
        qemu_bh_schedule(s->main_bh);
    }
}

/* Breaks the device, in words.  Context: the thread that owns the queue. */
static void virtio_tmem_violation(VirtIOTmemQueue *q, const char *what)
{
    trace_virtio_tmem_violation(tmem_client_name(q->dev->client),
                                virtio_tmem_queue_index(q), what);
    if (!q->violation) {
        qatomic_set(&q->violation, what);
        virtio_tmem_main_work(q->dev);
    }
}

/* Context: the thread that owns the queue. */
static void virtio_tmem_req_done(TmemReq *req)
{
    VirtIOTmemElement *e = container_of(req, VirtIOTmemElement, req);
    VirtIOTmemQueue *q = e->q;
    VirtIOTmem *s = q->dev;

    if (req->violation) {
        virtqueue_detach_element(q->vq, &e->elem, 0);
        virtio_tmem_violation(q, req->violation);
    } else {
        trace_virtio_tmem_done(tmem_client_name(s->client),
                               virtio_tmem_queue_index(q), req->written);
        virtqueue_push(q->vq, &e->elem, req->written);
        q->hints |= req->hints;
        q->notify = true;
    }
    q->current = NULL;
    g_free(e);
}

/* Returns what the request takes from the budget, in bytes. */
static size_t virtio_tmem_submit(VirtIOTmemQueue *q, VirtIOTmemElement *e)
{
    VirtIOTmem *s = q->dev;
    uint64_t features = VIRTIO_DEVICE(s)->guest_features;
    size_t out = iov_size(e->elem.out_sg, e->elem.out_num);
    size_t in = iov_size(e->elem.in_sg, e->elem.in_num);
    const char *client = tmem_client_name(s->client);

    e->q = q;
    q->current = e;
    e->req = (TmemReq) {
        .out = e->elem.out_sg,
        .out_num = e->elem.out_num,
        .in = e->elem.in_sg,
        .in_num = e->elem.in_num,
        .done = virtio_tmem_req_done,
    };
    if (virtio_tmem_queue_index(q) == VIRTIO_TMEM_VQ_CONTROL) {
        trace_virtio_tmem_control(client, out, in);
        tmem_req_submit_control(q->ctx, features, &e->req);
    } else {
        trace_virtio_tmem_request(client, virtio_tmem_queue_index(q), out, in);
        tmem_req_submit(q->ctx, features, &e->req);
    }
    return MAX(out + in, TMEM_PAGE_SIZE);
}

static VirtIOTmemElement *virtio_tmem_pop(VirtIOTmemQueue *q)
{
    VirtIODevice *vdev = VIRTIO_DEVICE(q->dev);
    bool sound = !vdev->broken;
    VirtIOTmemElement *e = virtqueue_pop(q->vq, sizeof(*e));

    /* The virtio core has refused a chain that it could not follow. */
    if (!e && sound && vdev->broken) {
        trace_virtio_tmem_violation(tmem_client_name(q->dev->client),
                                    virtio_tmem_queue_index(q),
                                    "broken descriptor chain");
        tmem_context_count_violation(q->ctx);
    }
    return e;
}

/*
 * The next turn is for whoever had this one.  When the iothread could not be
 * started the BQL holder has, and the iothread must not run the queue.
 */
static void virtio_tmem_schedule_turn(VirtIOTmemQueue *q)
{
    qemu_bh_schedule(q->fallback_bh && bql_locked() ? q->fallback_bh : q->bh);
}

/* There is more to do than one turn allows. */
static void virtio_tmem_end_turn(VirtIOTmemQueue *q, bool manage)
{
    trace_virtio_tmem_budget(tmem_client_name(q->dev->client),
                             virtio_tmem_queue_index(q));
    q->backlog = manage;
    virtio_tmem_schedule_turn(q);
}

/*
 * Takes what is on the queue, within the budget.  The driver's notifications
 * are off meanwhile, and stay off while a backlog waits for its next turn.  A
 * request that is done in slices takes a turn for each; what is behind it on
 * the queue waits, as the order of a queue demands.
 */
static void virtio_tmem_queue_run(VirtIOTmemQueue *q)
{
    VirtQueue *vq = q->vq;
    bool manage = q->backlog || virtio_queue_get_notification(vq);
    size_t used = 0;

    q->backlog = false;
    if (q->current) {
        tmem_req_resume(q->ctx, &q->current->req);
    }
    do {
        VirtIOTmemElement *e;

        if (manage) {
            virtio_queue_set_notification(vq, 0);
        }
        while (used < TMEM_DEVICE_TURN_BYTES && !q->current &&
               !q->violation && (e = virtio_tmem_pop(q))) {
            used += virtio_tmem_submit(q, e);
        }
        if ((used >= TMEM_DEVICE_TURN_BYTES || q->current) &&
            !q->violation) {
            virtio_tmem_end_turn(q, manage);
            break;
        }
        if (manage) {
            virtio_queue_set_notification(vq, 1);
        }
    } while (!q->violation && !virtio_queue_empty(vq));

    virtio_tmem_queue_notify(q);
    virtio_tmem_queue_check_hints(q);
    if (virtio_tmem_unplug_blocker_is_stale(q->dev)) {
        virtio_tmem_main_work(q->dev);
    }
}

static void virtio_tmem_queue_bh(void *opaque)
{
    VirtIOTmemQueue *q = opaque;
    VirtIODevice *vdev = VIRTIO_DEVICE(q->dev);

    /* A stopped VM's memory does not change; see virtio_tmem_queues_resume() */
    if (vdev->vm_running && !vdev->broken) {
        virtio_tmem_queue_run(q);
    }
}

/*
 * Runs the queue in a context that is no guarded BH.  What runs under the BQL
 * must not be interrupted by an access to the transport that it makes itself;
 * a vCPU's access has engaged the guard already.  An iothread does without: the
 * guard is the BQL holder's, and it would mistake vCPUs for us.
 */
static void virtio_tmem_queue_run_guarded(VirtIOTmemQueue *q)
{
    DeviceState *transport = qdev_get_parent_bus(DEVICE(q->dev))->parent;
    MemReentrancyGuard *guard = &transport->mem_reentrancy_guard;
    bool engaged;

    if (!bql_locked()) {
        virtio_tmem_queue_run(q);
        return;
    }
    engaged = guard->engaged_in_io;
    guard->engaged_in_io = true;
    virtio_tmem_queue_run(q);
    guard->engaged_in_io = engaged;
}

/* Without F_MQ there is one request queue, whatever the device has. */
static bool virtio_tmem_queue_negotiated(VirtIOTmemQueue *q)
{
    return virtio_tmem_queue_index(q) <= VIRTIO_TMEM_VQ_REQUEST(0) ||
           virtio_vdev_has_feature(VIRTIO_DEVICE(q->dev), VIRTIO_TMEM_F_MQ);
}

/*
 * The driver has notified us.  Context: the queue's AioContext, or a vCPU with
 * the BQL held when there is no ioeventfd.
 */
static void virtio_tmem_handle_output(VirtIODevice *vdev, VirtQueue *vq)
{
    VirtIOTmem *s = VIRTIO_TMEM(vdev);
    VirtIOTmemQueue *q = &s->queues[virtio_get_queue_index(vq)];

    if (s->use_dataplane && !s->dataplane_failed &&
        !qatomic_read(&s->dataplane_started)) {
        /* A kick before DRIVER_OK: the iothread, not this vCPU, serves it. */
        virtio_device_start_ioeventfd(vdev);
        if (!s->dataplane_failed) {
            return;
        }
    }
    /*
     * The kicks that QEMU sends itself when it attaches an ioeventfd are not
     * the driver's; they usually find nothing.
     */
    if (!s->use_ioeventfd || !virtio_queue_empty(vq)) {
        tmem_context_count_kick(q->ctx);
    }
    if (q->violation) {
        return;
    }
    if (!virtio_tmem_queue_negotiated(q)) {
        if (!virtio_queue_empty(vq)) {
            tmem_context_count_violation(q->ctx);
            virtio_tmem_violation(q, "a queue that needs VIRTIO_TMEM_F_MQ");
        }
        return;
    }
    virtio_tmem_queue_run_guarded(q);
}

void virtio_tmem_queue_end_fallback(VirtIOTmemQueue *q)
{
    if (q->fallback_bh) {
        qemu_bh_cancel(q->fallback_bh);
    }
}

void virtio_tmem_queue_quiesce(VirtIOTmemQueue *q)
{
    qemu_bh_cancel(q->bh);
    virtio_tmem_queue_end_fallback(q);
    if (q->current) {
        tmem_req_cancel(q->ctx, &q->current->req);
        virtqueue_detach_element(q->vq, &q->current->elem, 0);
        g_clear_pointer(&q->current, g_free);
    }
    q->backlog = false;
    q->notify = false;
    q->hints = 0;
}

void virtio_tmem_queues_resume(VirtIOTmem *s)
{
    unsigned i;

    for (i = 0; i < s->num_vqs; i++) {
        VirtIOTmemQueue *q = &s->queues[i];

        /* An iothread's queues are kicked when it is attached again. */
        if ((q->backlog || q->current) &&
            (q->aio_context == qemu_get_aio_context() || s->dataplane_failed)) {
            virtio_tmem_schedule_turn(q);
        }
    }
}

static void virtio_tmem_queue_cleanup(VirtIOTmemQueue *q)
{
    if (q->ctx) {
        virtio_tmem_queue_quiesce(q);
        tmem_context_free(q->ctx);
    }
    if (q->bh) {
        qemu_bh_delete(q->bh);
    }
    if (q->fallback_bh) {
        qemu_bh_delete(q->fallback_bh);
    }
    if (q->vq) {
        virtio_delete_queue(q->vq);
    }
}

/* Context: BQL held. */
static bool virtio_tmem_queue_init(VirtIOTmemQueue *q, Error **errp)
{
    VirtIOTmem *s = q->dev;
    GError *err = NULL;

    q->vq = virtio_add_queue(VIRTIO_DEVICE(s), VIRTIO_TMEM_QUEUE_SIZE,
                             virtio_tmem_handle_output);
    if (q->aio_context == qemu_get_aio_context()) {
        q->bh = virtio_bh_new_guarded(DEVICE(s), virtio_tmem_queue_bh, q);
    } else {
        /* The guard is the BQL holder's and would mistake vCPUs for us. */
        q->bh = aio_bh_new(q->aio_context, virtio_tmem_queue_bh, q);
        q->fallback_bh = virtio_bh_new_guarded(DEVICE(s), virtio_tmem_queue_bh,
                                               q);
    }
    q->ctx = tmem_context_new(s->client, &err);
    if (!q->ctx) {
        tmem_propagate_gerror(errp, err);
        return false;
    }
    return true;
}

bool virtio_tmem_queues_init(VirtIOTmem *s, Error **errp)
{
    unsigned i;

    s->main_bh = virtio_bh_new_guarded(DEVICE(s), virtio_tmem_main_bh, s);
    for (i = 0; i < s->num_vqs; i++) {
        if (!virtio_tmem_queue_init(&s->queues[i], errp)) {
            virtio_tmem_queues_cleanup(s);
            return false;
        }
    }
    return true;
}

void virtio_tmem_queues_cleanup(VirtIOTmem *s)
{
    unsigned i;

    for (i = 0; i < s->num_vqs; i++) {
        virtio_tmem_queue_cleanup(&s->queues[i]);
    }
    qemu_bh_delete(s->main_bh);
    s->main_bh = NULL;
}
