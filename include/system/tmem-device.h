/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a virtio-tmem device is, by whatever way its rings come: shared by the
 * device in QEMU and by the vhost-user server
 */
#ifndef SYSTEM_TMEM_DEVICE_H
#define SYSTEM_TMEM_DEVICE_H

#include "qemu/units.h"
#include "standard-headers/linux/virtio_tmem.h"

/* Virtqueues beside the request queues: the control queue. */
#define TMEM_DEVICE_VQ_NUM_FIXED    1

/*
 * How much guest memory one turn of the loop goes through before others get
 * their turn: other devices of the same thread, or, in QEMU's main loop, every
 * vCPU that waits for the BQL.  1 MiB takes about 2 ms to compress.  A request
 * counts as one page at least, or small ones would never use it up.
 */
#define TMEM_DEVICE_TURN_BYTES      (1 * MiB)

typedef struct TmemDeviceConf {
    uint64_t disk_size;         /* bytes, 0: no disk */
    uint32_t max_pools;
    uint32_t credit;            /* pages, 0: F_CREDIT is not offered */
    uint16_t num_queues;        /* request queues */
} TmemDeviceConf;

/** Fills in the configuration space as the driver reads it. */
void tmem_device_config(const TmemDeviceConf *conf,
                        struct virtio_tmem_config *config);

/** Returns the feature bits of the device type to offer. */
uint64_t tmem_device_features(const TmemDeviceConf *conf);

/** May a driver choose @features?  They are among the offered ones. */
bool tmem_device_features_ok(uint64_t features);

#endif /* SYSTEM_TMEM_DEVICE_H */
