/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libqos virtio-mmio driver for virtio 1.0 (version 2 of the transport)
 *
 * Differs from the legacy one in how a queue is set up, and in nothing else.
 */
#include "qemu/osdep.h"
#include "../libqtest.h"
#include "qemu/module.h"
#include "libqos-malloc.h"
#include "qgraph.h"
#include "virtio-mmio-modern.h"
#include "standard-headers/linux/virtio_ring.h"

#define MODERN_ALIGN    4096

static QVirtioBus qvirtio_mmio_modern;

static void modern_write(QVirtioMMIODevice *dev, unsigned reg, uint32_t value)
{
    qtest_writel(dev->qts, dev->addr + reg, value);
}

static void modern_set_queue_address(QVirtioDevice *d, QVirtQueue *vq)
{
    QVirtioMMIODevice *dev = container_of(d, QVirtioMMIODevice, vdev);

    modern_write(dev, QVIRTIO_MMIO_QUEUE_DESC_LOW, vq->desc);
    modern_write(dev, QVIRTIO_MMIO_QUEUE_DESC_HIGH, vq->desc >> 32);
    modern_write(dev, QVIRTIO_MMIO_QUEUE_AVAIL_LOW, vq->avail);
    modern_write(dev, QVIRTIO_MMIO_QUEUE_AVAIL_HIGH, vq->avail >> 32);
    modern_write(dev, QVIRTIO_MMIO_QUEUE_USED_LOW, vq->used);
    modern_write(dev, QVIRTIO_MMIO_QUEUE_USED_HIGH, vq->used >> 32);
    modern_write(dev, QVIRTIO_MMIO_QUEUE_READY, 1);
}

static QVirtQueue *modern_virtqueue_setup(QVirtioDevice *d,
                                          QGuestAllocator *alloc,
                                          uint16_t index)
{
    QVirtioMMIODevice *dev = container_of(d, QVirtioMMIODevice, vdev);
    QVirtQueue *vq = g_new0(QVirtQueue, 1);

    d->bus->queue_select(d, index);
    vq->vdev = d;
    vq->index = index;
    vq->size = d->bus->get_queue_size(d);
    vq->num_free = vq->size;
    vq->align = MODERN_ALIGN;
    vq->indirect = dev->features & (1ull << VIRTIO_RING_F_INDIRECT_DESC);
    vq->event = dev->features & (1ull << VIRTIO_RING_F_EVENT_IDX);
    g_assert_cmpint(vq->size, !=, 0);

    modern_write(dev, QVIRTIO_MMIO_QUEUE_NUM, vq->size);
    qvring_init(dev->qts, alloc, vq,
                guest_alloc(alloc, qvring_size(vq->size, vq->align)));
    modern_set_queue_address(d, vq);
    return vq;
}

static void *modern_get_driver(void *obj, const char *interface)
{
    QVirtioMMIODevice *dev = obj;

    if (!g_strcmp0(interface, "virtio-mmio-modern-bus")) {
        return &dev->vdev;
    }
    fprintf(stderr, "%s not present in virtio-mmio-modern\n", interface);
    g_assert_not_reached();
}

void qvirtio_mmio_modern_init_device(QVirtioMMIODevice *dev, QTestState *qts,
                                     uint64_t addr)
{
    qvirtio_mmio_init_device(dev, qts, addr, MODERN_ALIGN);
    g_assert_cmpint(dev->version, ==, 2);

    qvirtio_mmio_modern = qvirtio_mmio;
    qvirtio_mmio_modern.set_queue_address = modern_set_queue_address;
    qvirtio_mmio_modern.virtqueue_setup = modern_virtqueue_setup;
    dev->vdev.bus = &qvirtio_mmio_modern;
    dev->obj.get_driver = modern_get_driver;
}

static void virtio_mmio_modern_register_nodes(void)
{
    qos_node_create_driver_named("virtio-mmio-modern", "virtio-mmio", NULL);
    qos_node_produces("virtio-mmio-modern", "virtio-mmio-modern-bus");
}

libqos_init(virtio_mmio_modern_register_nodes);
