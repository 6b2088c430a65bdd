/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmem-vhost-user-server: the virtqueues of a connection
 *
 * Takes descriptor chains off a ring in shared memory, hands them to libtmem,
 * which decodes and carries them out, and returns the answers.  Requests of a
 * queue are answered in the order of the ring, so the used index alone tells
 * which of them another connection would have to begin again.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "block/aio-wait.h"
#include "libtmem/tmem-req.h"
#include "qemu/bswap.h"
#include "qemu/iov.h"
#include "qemu/vhost-user-check.h"
#include "tmem-vhost-user-server-internal.h"

struct TmemVuElement {
    VuVirtqElement elem;        /* first: vu_queue_pop() allocates us */
    TmemVuQueue *q;
    TmemReq req;
};

static TmemVhostUserServer *tmem_vu_of(VuDev *dev)
{
    VuServer *server = container_of(dev, VuServer, vu_dev);

    return container_of(server, TmemVhostUserServer, vu_server);
}

static VuVirtq *tmem_vu_ring(TmemVuQueue *q)
{
    return vu_get_queue(&q->server->vu_server.vu_dev, q->index);
}

void tmem_vu_drop(TmemVhostUserServer *s, const char *fmt, ...)
{
    VuServer *server = &s->vu_server;
    g_autofree char *what = NULL;
    va_list ap;

    if (server->vu_dev.broken) {
        return;
    }
    va_start(ap, fmt);
    what = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    peer_error_report(&server->reports, "tmem-vhost-user-server '%s': %s; the"
                      " connection of client '%s' is closed", s->id, what,
                      tmem_client_name(s->client));
    server->vu_dev.broken = true;
    s->violated = true;
    qio_channel_shutdown(server->ioc, QIO_CHANNEL_SHUTDOWN_BOTH, NULL);
}

/* --- Requests --- */

static void tmem_vu_signal(TmemVuQueue *q)
{
    VuDev *dev = &q->server->vu_server.vu_dev;
    VuVirtq *vq = tmem_vu_ring(q);

    if (!q->notify) {
        return;
    }
    q->notify = false;
    /* Without an eventfd the driver polls; libvhost-user would give up. */
    if (vq->call_fd != -1 && !dev->broken) {
        vu_queue_notify(dev, vq);
    }
}

static void tmem_vu_req_done(TmemReq *req)
{
    TmemVuElement *e = container_of(req, TmemVuElement, req);
    TmemVuQueue *q = e->q;

    q->current = NULL;
    if (req->violation) {
        tmem_vu_drop(q->server, "the guest broke the protocol on virtqueue %u:"
                     " %s", q->index, req->violation);
    } else {
        vu_queue_push(&q->server->vu_server.vu_dev, tmem_vu_ring(q), &e->elem,
                      req->written);
        q->notify = true;
        q->hints |= req->hints;
    }
    free(e);
}

/* Returns what the request takes from the budget, in bytes. */
static size_t tmem_vu_submit(TmemVuQueue *q, TmemVuElement *e)
{
    uint64_t features = q->server->vu_server.vu_dev.features;
    size_t bytes = iov_size(e->elem.out_sg, e->elem.out_num) +
                   iov_size(e->elem.in_sg, e->elem.in_num);

    e->q = q;
    q->current = e;
    e->req = (TmemReq) {
        .out = e->elem.out_sg,
        .out_num = e->elem.out_num,
        .in = e->elem.in_sg,
        .in_num = e->elem.in_num,
        .done = tmem_vu_req_done,
    };
    if (q->index == VIRTIO_TMEM_VQ_CONTROL) {
        tmem_req_submit_control(q->ctx, features, &e->req);
    } else {
        tmem_req_submit(q->ctx, features, &e->req);
    }
    return MAX(bytes, TMEM_PAGE_SIZE);
}

static TmemVuElement *tmem_vu_pop(TmemVuQueue *q)
{
    VuDev *dev = &q->server->vu_server.vu_dev;
    TmemVuElement *e = vu_queue_pop(dev, tmem_vu_ring(q), sizeof(*e));

    /* libvhost-user has refused a chain that it could not follow. */
    if (!e && dev->broken) {
        tmem_context_count_violation(q->ctx);
    }
    return e;
}

/*
 * What responses told of stores that are refused may be over by now, and the
 * change of the configuration that says so may have come before them: the
 * driver is to hear of it after them.
 */
static void tmem_vu_check_hints(TmemVuQueue *q)
{
    TmemVhostUserServer *s = q->server;

    /* Pairs with qemu_bh_schedule() of who changes them while we look. */
    smp_mb();
    if (q->hints & ~tmem_client_hints(s->client)) {
        qemu_bh_schedule(s->config_bh);
    }
    q->hints = 0;
}

/*
 * Takes what is on the ring, within the budget.  The driver's notifications are
 * off meanwhile, and stay off while a backlog waits for its next turn, or while
 * the server goes on looking.  Returns whether there was anything.
 */
static bool tmem_vu_serve(TmemVuQueue *q)
{
    TmemVhostUserServer *s = q->server;
    VuDev *dev = &s->vu_server.vu_dev;
    VuVirtq *vq = tmem_vu_ring(q);
    bool found = q->current;
    size_t used = 0;

    q->polled = false;
    if (q->current) {
        tmem_req_resume(q->ctx, &q->current->req);
    }
    while (!dev->broken) {
        TmemVuElement *e;

        vu_queue_set_notification(dev, vq, 0);
        while (used < TMEM_DEVICE_TURN_BYTES && !q->current && !dev->broken &&
               (e = tmem_vu_pop(q))) {
            if (!found) {
                tmem_vu_poll_busy(s);
                found = true;
            }
            used += tmem_vu_submit(q, e);
        }
        if (dev->broken) {
            break;
        }
        if (used >= TMEM_DEVICE_TURN_BYTES || q->current) {
            qemu_bh_schedule(q->bh);
            break;
        }
        if (found && s->poll.ns) {
            q->polled = true;
            break;
        }
        vu_queue_set_notification(dev, vq, 1);
        if (vu_queue_empty(dev, vq)) {
            break;
        }
    }
    tmem_vu_signal(q);
    if (q->hints) {
        tmem_vu_check_hints(q);
    }
    if (found) {
        tmem_vu_poll_idle(s);
    }
    return found;
}

static bool tmem_vu_queue_in_use(TmemVuQueue *q)
{
    VuDev *dev = &q->server->vu_server.vu_dev;

    return dev->vq && !dev->broken &&
           vu_queue_started(dev, tmem_vu_ring(q)) &&
           vu_queue_enabled(dev, tmem_vu_ring(q));
}

/*
 * What a hostile front end has done to the ring since the last turn, and
 * libvhost-user does not look at, is found here.
 */
bool tmem_vu_queue_run(TmemVuQueue *q)
{
    TmemVhostUserServer *s = q->server;
    VuDev *dev = &s->vu_server.vu_dev;
    bool found;
    VuVirtq *vq;

    if (!tmem_vu_queue_in_use(q)) {
        q->polled = false;
        return false;
    }
    vq = tmem_vu_ring(q);
    if (!vhost_user_map_ring(dev, vq)) {
        tmem_vu_drop(s, "virtqueue %u is in use, and its ring is not in the"
                     " memory that was shared", q->index);
        return false;
    }
    if (q->polled && vu_queue_empty(dev, vq)) {
        return false;
    }
    /* Without F_MQ there is one request queue, whatever the server has. */
    if (q->index > VIRTIO_TMEM_VQ_REQUEST(0) &&
        !(dev->features & BIT_ULL(VIRTIO_TMEM_F_MQ))) {
        if (!vu_queue_empty(dev, vq)) {
            tmem_context_count_violation(q->ctx);
            tmem_vu_drop(s, "virtqueue %u is used without VIRTIO_TMEM_F_MQ",
                         q->index);
        }
        return false;
    }
    found = tmem_vu_serve(q);
    if (dev->broken) {
        /* Also where libvhost-user has found something, in its own words. */
        s->violated = true;
        qio_channel_shutdown(s->vu_server.ioc, QIO_CHANNEL_SHUTDOWN_BOTH,
                             NULL);
    }
    return found;
}

static void tmem_vu_queue_bh(void *opaque)
{
    tmem_vu_queue_run(opaque);
}

static void tmem_vu_kicked(VuDev *dev, int index)
{
    TmemVuQueue *q = &tmem_vu_of(dev)->queues[index];

    tmem_context_count_kick(q->ctx);
    tmem_vu_queue_run(q);
}

/* --- The connection --- */

void tmem_vu_drain(TmemVhostUserServer *s)
{
    for (unsigned i = 0; i < s->num_vqs; i++) {
        TmemVuQueue *q = &s->queues[i];

        while (q->current) {
            tmem_req_resume(q->ctx, &q->current->req);
        }
        tmem_vu_signal(q);
    }
}

static void tmem_vu_queue_quiesce(TmemVuQueue *q)
{
    qemu_bh_cancel(q->bh);
    if (q->current) {
        tmem_req_cancel(q->ctx, &q->current->req);
        free(q->current);
        q->current = NULL;
    }
    q->notify = false;
    q->polled = false;
    q->hints = 0;
}

void tmem_vu_forget_rings(TmemVhostUserServer *s)
{
    VuDev *dev = &s->vu_server.vu_dev;

    tmem_vu_poll_stop(s);
    for (unsigned i = 0; i < s->num_vqs; i++) {
        VuVirtq *vq = vu_get_queue(dev, i);

        tmem_vu_queue_quiesce(&s->queues[i]);
        vq->vring.desc = NULL;
        vq->vring.avail = NULL;
        vq->vring.used = NULL;
        vq->vra = (struct vhost_vring_addr) { };
        vq->last_avail_idx = vq->shadow_avail_idx = vq->used_idx = 0;
        vq->signalled_used_valid = false;
        vq->inuse = 0;
        vq->enable = false;
        vq->started = false;
    }
}

void tmem_vu_forget(TmemVhostUserServer *s)
{
    tmem_vu_forget_rings(s);
    for (unsigned i = 0; i < s->num_vqs; i++) {
        s->queues[i].base = 0;
        s->queues[i].has_base = false;
    }
    tmem_client_reset(s->client);
    s->resumed = false;
    s->unclaimed = false;
}

static void tmem_vu_set_started(VuDev *dev, int index, bool started)
{
    TmemVhostUserServer *s = tmem_vu_of(dev);

    if (started) {
        tmem_vu_ring_starts(s, index);
    }
    /* Notifications are on again after its first turn. */
    s->queues[index].polled = false;
    vu_set_queue_handler(dev, vu_get_queue(dev, index),
                         started ? tmem_vu_kicked : NULL);
    if (started) {
        /* Requests may have been put there when nobody looked. */
        qemu_bh_schedule(s->queues[index].bh);
    }
}

static bool tmem_vu_in_order(VuDev *dev, int index)
{
    return true;
}

uint64_t tmem_vu_features(const TmemVhostUserServer *s)
{
    return tmem_device_features(&s->device) |
           BIT_ULL(VIRTIO_TMEM_F_HINT) |
           BIT_ULL(VIRTIO_F_VERSION_1) |
           BIT_ULL(VIRTIO_RING_F_INDIRECT_DESC) |
           BIT_ULL(VIRTIO_RING_F_EVENT_IDX) |
           BIT_ULL(VHOST_USER_F_PROTOCOL_FEATURES);
}

static int tmem_vu_get_config(VuDev *dev, uint8_t *data, uint32_t len)
{
    TmemVhostUserServer *s = tmem_vu_of(dev);
    TmemDeviceConf conf = s->device;
    struct virtio_tmem_config config;

    if (len > sizeof(config)) {
        return -1;
    }
    conf.disk_size = qatomic_read(&s->device.disk_size);
    tmem_device_config(&conf, &config);
    if (dev->features & BIT_ULL(VIRTIO_TMEM_F_HINT)) {
        config.not_accepting = cpu_to_le32(tmem_client_hints(s->client));
    }
    memcpy(data, &config, len);
    return 0;
}

/*
 * Not vu_config_change_msg(): that tries for ever if nobody reads.  Who has not
 * read the last one is going to, and sees what is new then.
 */
static void tmem_vu_config_bh(void *opaque)
{
    TmemVhostUserServer *s = opaque;
    const uint32_t message[] = { VHOST_USER_BACKEND_CONFIG_CHANGE_MSG, 1, 0 };
    VuDev *dev = &s->vu_server.vu_dev;

    if (dev->vq && !dev->broken && dev->backend_fd != -1 &&
        send(dev->backend_fd, message, sizeof(message),
             MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && errno != EAGAIN) {
        close(dev->backend_fd);
        dev->backend_fd = -1;
    }
}

/* Context: any thread. */
static void tmem_vu_hints_changed(void *opaque)
{
    TmemVhostUserServer *s = opaque;

    qemu_bh_schedule(s->config_bh);
}

/* Nothing in it is the driver's to change. */
static int tmem_vu_set_config(VuDev *dev, const uint8_t *data,
                              uint32_t offset, uint32_t size, uint32_t flags)
{
    return 0;
}

const VuDevIface tmem_vu_iface = {
    .process_msg = tmem_vu_process_msg,
    .queue_set_started = tmem_vu_set_started,
    .queue_is_processed_in_order = tmem_vu_in_order,
    .get_config = tmem_vu_get_config,
    .set_config = tmem_vu_set_config,
};

bool tmem_vu_queues_init(TmemVhostUserServer *s, Error **errp)
{
    s->num_vqs = s->device.num_queues + TMEM_DEVICE_VQ_NUM_FIXED;
    s->queues = g_new0(TmemVuQueue, s->num_vqs);
    s->config_bh = aio_bh_new(s->aio_context, tmem_vu_config_bh, s);
    tmem_vu_poll_init(s);
    tmem_client_set_hint_func(s->client, tmem_vu_hints_changed, s);
    for (unsigned i = 0; i < s->num_vqs; i++) {
        TmemVuQueue *q = &s->queues[i];
        GError *err = NULL;

        q->server = s;
        q->index = i;
        q->ctx = tmem_context_new(s->client, &err);
        if (!q->ctx) {
            tmem_propagate_gerror(errp, err);
            tmem_vu_queues_cleanup(s);
            return false;
        }
        q->bh = aio_bh_new(s->aio_context, tmem_vu_queue_bh, q);
    }
    return true;
}

static void tmem_vu_do_nothing(void *opaque)
{
}

void tmem_vu_queues_cleanup(TmemVhostUserServer *s)
{
    tmem_client_set_hint_func(s->client, NULL, NULL);
    tmem_vu_poll_cleanup(s);
    qemu_bh_delete(s->config_bh);
    s->config_bh = NULL;
    /* The thread may have begun with it; one that is shared outlives us. */
    aio_wait_bh_oneshot(s->aio_context, tmem_vu_do_nothing, NULL);
    for (unsigned i = 0; i < s->num_vqs; i++) {
        TmemVuQueue *q = &s->queues[i];

        if (q->bh) {
            qemu_bh_delete(q->bh);
        }
        if (q->ctx) {
            tmem_context_free(q->ctx);
        }
    }
    g_free(s->queues);
    s->queues = NULL;
}
