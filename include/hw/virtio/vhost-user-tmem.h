/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vhost-user-tmem: a guest's door to the tmem store of another process
 *
 * The device is that of virtio-tmem; tmem-vhost-user-server serves it.
 */
#ifndef HW_VIRTIO_VHOST_USER_TMEM_H
#define HW_VIRTIO_VHOST_USER_TMEM_H

#include "chardev/char-fe.h"
#include "hw/virtio/vhost.h"
#include "hw/virtio/vhost-user.h"
#include "hw/virtio/virtio.h"
#include "qemu/notify.h"
#include "qom/object.h"
#include "standard-headers/linux/virtio_tmem.h"

#define TYPE_VHOST_USER_TMEM "vhost-user-tmem"
OBJECT_DECLARE_SIMPLE_TYPE(VHostUserTmem, VHOST_USER_TMEM)

/* As many request queues as the server has, at most one for each vCPU. */
#define VHOST_USER_TMEM_AUTO_NUM_QUEUES UINT16_MAX

struct VHostUserTmem {
    VirtIODevice parent_obj;

    /* Properties. */
    CharBackend chardev;
    uint16_t num_queues;        /* request queues */

    /* Constant while realized. */
    unsigned num_vqs;
    VirtQueue **vqs;
    struct vhost_virtqueue *vhost_vqs;
    Error *migration_blocker;
    NotifierWithReturn memory_plugged;

    /* BQL. */
    VhostUserState vhost_user;
    struct vhost_dev vhost_dev;
    struct virtio_tmem_config config;
    Error *unplug_blocker;      /* set while the guest's driver runs */
    bool connected;
    bool started;
};

/* The request queues to expect before the server was asked. */
unsigned vhost_user_tmem_max_queues(const VHostUserTmem *s);

#endif /* HW_VIRTIO_VHOST_USER_TMEM_H */
