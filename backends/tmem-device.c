/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a virtio-tmem device is, by whatever way its rings come
 */
#include "qemu/osdep.h"
#include "libtmem/tmem-req.h"
#include "qemu/bitops.h"
#include "qemu/bswap.h"
#include "system/tmem-device.h"

/* The driver reads this layout; docs/specs/virtio-tmem.rst pins it. */
QEMU_BUILD_BUG_ON(sizeof(struct virtio_tmem_config) != 24);
QEMU_BUILD_BUG_ON(offsetof(struct virtio_tmem_config, disk_size) != 16);

void tmem_device_config(const TmemDeviceConf *conf,
                        struct virtio_tmem_config *config)
{
    *config = (struct virtio_tmem_config) {
        .num_queues = cpu_to_le16(conf->num_queues),
        .max_batch = cpu_to_le16(TMEM_REQ_BATCH_MAX),
        .max_pools = cpu_to_le32(conf->max_pools),
        .page_shift = TMEM_PAGE_SHIFT,
        .disk_size = cpu_to_le64(conf->disk_size),
    };
}

uint64_t tmem_device_features(const TmemDeviceConf *conf)
{
    /* Who may join which shared pool is the operator's to say. */
    uint64_t features = BIT_ULL(VIRTIO_TMEM_F_EPHEMERAL) |
                        BIT_ULL(VIRTIO_TMEM_F_SHARED) |
                        BIT_ULL(VIRTIO_TMEM_F_EXCLUSIVE);

    if (conf->disk_size) {
        features |= BIT_ULL(VIRTIO_TMEM_F_DISK);
    }
    if (conf->credit) {
        features |= BIT_ULL(VIRTIO_TMEM_F_CREDIT);
    }
    if (conf->num_queues > 1) {
        features |= BIT_ULL(VIRTIO_TMEM_F_MQ);
    }
    return features;
}

bool tmem_device_features_ok(uint64_t features)
{
    return !(features & (BIT_ULL(VIRTIO_TMEM_F_SHARED) |
                         BIT_ULL(VIRTIO_TMEM_F_EXCLUSIVE))) ||
           (features & BIT_ULL(VIRTIO_TMEM_F_EPHEMERAL));
}
