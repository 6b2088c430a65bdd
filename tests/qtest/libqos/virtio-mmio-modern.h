/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libqos virtio-mmio driver for virtio 1.0 (version 2 of the transport)
 */
#ifndef LIBQOS_VIRTIO_MMIO_MODERN_H
#define LIBQOS_VIRTIO_MMIO_MODERN_H

#include "virtio-mmio.h"

#define QVIRTIO_MMIO_QUEUE_READY        0x044
#define QVIRTIO_MMIO_QUEUE_DESC_LOW     0x080
#define QVIRTIO_MMIO_QUEUE_DESC_HIGH    0x084
#define QVIRTIO_MMIO_QUEUE_AVAIL_LOW    0x090
#define QVIRTIO_MMIO_QUEUE_AVAIL_HIGH   0x094
#define QVIRTIO_MMIO_QUEUE_USED_LOW     0x0a0
#define QVIRTIO_MMIO_QUEUE_USED_HIGH    0x0a4

/*
 * As qvirtio_mmio_init_device(), for a transport that is not legacy.  It
 * produces "virtio-mmio-modern-bus", which legacy drivers do not consume.
 */
void qvirtio_mmio_modern_init_device(QVirtioMMIODevice *dev, QTestState *qts,
                                     uint64_t addr);

#endif
