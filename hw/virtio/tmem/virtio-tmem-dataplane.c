/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-tmem: serving the queues from iothreads
 *
 * Without an iothread the queues are served by the main loop the way every
 * virtio device is, and nothing here but the hooks for resetting one queue is
 * used.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "block/aio-wait.h"
#include "hw/virtio/iothread-vq-mapping.h"
#include "hw/virtio/virtio-bus.h"
#include "qemu/error-report.h"
#include "qemu/main-loop.h"
#include "trace.h"
#include "virtio-tmem-internal.h"

static bool virtio_tmem_check_iothreads(VirtIOTmem *s, Error **errp)
{
    VirtIOTmemConf *conf = &s->conf;
    BusState *bus = qdev_get_parent_bus(DEVICE(s));
    VirtioBusClass *k = VIRTIO_BUS_GET_CLASS(bus);

    if (conf->iothread && conf->iothread_vq_mapping_list) {
        error_setg(errp, "'" VIRTIO_TMEM_IOTHREAD_PROP "' and '"
                   VIRTIO_TMEM_IOTHREAD_VQ_MAPPING_PROP "' cannot be used"
                   " together");
        return false;
    }
    if (!s->use_dataplane) {
        return true;
    }
    if (!k->set_guest_notifiers || !k->ioeventfd_assign) {
        error_setg(errp, "this transport cannot serve a device from an"
                   " iothread");
        return false;
    }
    if (!s->use_ioeventfd) {
        error_setg(errp, "an iothread needs 'ioeventfd=on'");
        return false;
    }
    return true;
}

bool virtio_tmem_dataplane_init(VirtIOTmem *s, Error **errp)
{
    VirtIOTmemConf *conf = &s->conf;
    g_autofree AioContext **contexts = g_new(AioContext *, conf->num_queues);
    AioContext *shared = qemu_get_aio_context();
    unsigned i;

    s->use_ioeventfd = virtio_device_ioeventfd_enabled(VIRTIO_DEVICE(s));
    s->use_dataplane = conf->iothread || conf->iothread_vq_mapping_list;
    if (!virtio_tmem_check_iothreads(s, errp)) {
        return false;
    }
    if (conf->iothread) {
        shared = iothread_get_aio_context(conf->iothread);
        /* Released in virtio_tmem_dataplane_cleanup(). */
        object_ref(OBJECT(conf->iothread));
    }
    for (i = 0; i < conf->num_queues; i++) {
        contexts[i] = shared;
    }
    if (conf->iothread_vq_mapping_list &&
        !iothread_vq_mapping_apply(conf->iothread_vq_mapping_list, contexts,
                                   conf->num_queues, errp)) {
        return false;
    }

    /* Pool operations are rare, and may take long: they stay out of the way. */
    s->queues[VIRTIO_TMEM_VQ_CONTROL].aio_context = qemu_get_aio_context();
    for (i = 0; i < conf->num_queues; i++) {
        s->queues[VIRTIO_TMEM_VQ_REQUEST(i)].aio_context = contexts[i];
    }
    return true;
}

void virtio_tmem_dataplane_cleanup(VirtIOTmem *s)
{
    assert(!s->dataplane_started);
    if (s->conf.iothread_vq_mapping_list) {
        iothread_vq_mapping_cleanup(s->conf.iothread_vq_mapping_list);
    }
    if (s->conf.iothread) {
        object_unref(OBJECT(s->conf.iothread));
    }
}

static void virtio_tmem_attach(VirtIOTmemQueue *q)
{
    virtio_queue_aio_attach_host_notifier(q->vq, q->aio_context);
}

/* Context: BH in the queue's AioContext. */
static void virtio_tmem_detach_bh(void *opaque)
{
    VirtIOTmemQueue *q = opaque;

    virtio_queue_aio_detach_host_notifier(q->vq, q->aio_context);
    /* A notification that was not looked at yet is looked at now. */
    virtio_queue_host_notifier_read(virtio_queue_get_host_notifier(q->vq));
    qemu_bh_cancel(q->bh);
}

/* Context: BQL held. */
static void virtio_tmem_detach(VirtIOTmemQueue *q)
{
    aio_wait_bh_oneshot(q->aio_context, virtio_tmem_detach_bh, q);
}

/* Takes the ioeventfds of the first @n queues away.  Context: BQL held. */
static void virtio_tmem_clear_host_notifiers(VirtIOTmem *s, unsigned n)
{
    VirtioBusState *bus = VIRTIO_BUS(qdev_get_parent_bus(DEVICE(s)));
    unsigned i;

    for (i = 0; i < n; i++) {
        virtio_bus_set_host_notifier(bus, i, false);
    }
    /* The transaction that takes them away wants them open until its end. */
    memory_region_transaction_commit();
    for (i = 0; i < n; i++) {
        virtio_bus_cleanup_host_notifier(bus, i);
    }
}

/* Context: BQL held. */
static int virtio_tmem_set_host_notifiers(VirtIOTmem *s)
{
    VirtioBusState *bus = VIRTIO_BUS(qdev_get_parent_bus(DEVICE(s)));
    unsigned i;
    int ret;

    /* One transaction: each commit costs in proportion to all ioeventfds. */
    memory_region_transaction_begin();
    for (i = 0; i < s->num_vqs; i++) {
        ret = virtio_bus_set_host_notifier(bus, i, true);
        if (ret) {
            virtio_tmem_clear_host_notifiers(s, i);
            return ret;
        }
    }
    memory_region_transaction_commit();
    return 0;
}

static int virtio_tmem_set_notifiers(VirtIOTmem *s)
{
    BusState *bus = qdev_get_parent_bus(DEVICE(s));
    VirtioBusClass *k = VIRTIO_BUS_GET_CLASS(bus);
    int ret;

    ret = k->set_guest_notifiers(bus->parent, s->num_vqs, true);
    if (ret) {
        return ret;
    }
    ret = virtio_tmem_set_host_notifiers(s);
    if (ret) {
        k->set_guest_notifiers(bus->parent, s->num_vqs, false);
    }
    return ret;
}

int virtio_tmem_dataplane_start(VirtIODevice *vdev)
{
    VirtIOTmem *s = VIRTIO_TMEM(vdev);
    unsigned i;
    int ret;

    if (!s->use_dataplane) {
        return VIRTIO_TMEM_GET_CLASS(s)->parent_start_ioeventfd(vdev);
    }
    if (s->dataplane_started || s->dataplane_starting) {
        return 0;
    }
    s->dataplane_starting = true;
    ret = virtio_tmem_set_notifiers(s);
    s->dataplane_starting = false;
    trace_virtio_tmem_dataplane_start(tmem_client_name(s->client), ret);
    if (ret) {
        error_report("virtio-tmem: client '%s' cannot use its iothread: %s;"
                     " the vCPUs serve its queues instead",
                     tmem_client_name(s->client), strerror(-ret));
        s->dataplane_failed = true;
        return -ENOSYS;
    }

    s->dataplane_failed = false;
    /*
     * Visible to the iothreads before their first callback: attaching takes
     * a lock that they take before they run it.
     */
    qatomic_set(&s->dataplane_started, true);
    for (i = 0; i < s->num_vqs; i++) {
        virtio_tmem_queue_end_fallback(&s->queues[i]);
        virtio_tmem_attach(&s->queues[i]);
    }
    return 0;
}

void virtio_tmem_dataplane_stop(VirtIODevice *vdev)
{
    VirtIOTmem *s = VIRTIO_TMEM(vdev);
    BusState *bus = qdev_get_parent_bus(DEVICE(vdev));
    VirtioBusClass *k = VIRTIO_BUS_GET_CLASS(bus);
    unsigned i;

    if (!s->use_dataplane) {
        VIRTIO_TMEM_GET_CLASS(s)->parent_stop_ioeventfd(vdev);
        return;
    }
    if (!s->dataplane_started || s->dataplane_stopping) {
        return;
    }
    s->dataplane_stopping = true;
    trace_virtio_tmem_dataplane_stop(tmem_client_name(s->client));

    for (i = 0; i < s->num_vqs; i++) {
        virtio_tmem_detach(&s->queues[i]);
    }
    memory_region_transaction_begin();
    virtio_tmem_clear_host_notifiers(s, s->num_vqs);
    qatomic_set(&s->dataplane_started, false);
    k->set_guest_notifiers(bus->parent, s->num_vqs, false);
    s->dataplane_stopping = false;
}

/*
 * VIRTIO_F_RING_RESET: the driver takes one queue away while the others go on.
 * The virtio core forgets the ring after this returns.
 */
void virtio_tmem_queue_reset(VirtIODevice *vdev, uint32_t index)
{
    VirtIOTmem *s = VIRTIO_TMEM(vdev);
    VirtIOTmemQueue *q;

    if (index >= s->num_vqs) {
        return;
    }
    q = &s->queues[index];
    trace_virtio_tmem_queue_reset(tmem_client_name(s->client), index);
    if (s->dataplane_started) {
        virtio_tmem_detach(q);
    }
    virtio_tmem_queue_quiesce(q);
}

void virtio_tmem_queue_enable(VirtIODevice *vdev, uint32_t index)
{
    VirtIOTmem *s = VIRTIO_TMEM(vdev);

    if (index >= s->num_vqs) {
        return;
    }
    trace_virtio_tmem_queue_enable(tmem_client_name(s->client), index);
    if (s->dataplane_started) {
        virtio_tmem_attach(&s->queues[index]);
    }
}
