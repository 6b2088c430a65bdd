/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-tmem: a guest's door to a tmem store
 *
 * See docs/specs/virtio-tmem.rst for the device as its driver sees it.
 */
#ifndef HW_VIRTIO_TMEM_H
#define HW_VIRTIO_TMEM_H

#include "hw/virtio/virtio.h"
#include "qapi/qapi-types-virtio.h"
#include "qom/object.h"
#include "standard-headers/linux/virtio_tmem.h"
#include "system/iothread.h"
#include "system/tmem-store.h"

#define TYPE_VIRTIO_TMEM "virtio-tmem-device"
OBJECT_DECLARE_TYPE(VirtIOTmem, VirtIOTmemClass, VIRTIO_TMEM)

#define VIRTIO_TMEM_STORE_PROP              "store"
#define VIRTIO_TMEM_STORE_SIZE_PROP         "store-size"
#define VIRTIO_TMEM_CLIENT_PROP             "client"
#define VIRTIO_TMEM_TRUST_GROUP_PROP        "trust-group"
#define VIRTIO_TMEM_DISK_SIZE_PROP          "disk-size"
#define VIRTIO_TMEM_MIN_SIZE_PROP           "min-size"
#define VIRTIO_TMEM_MAX_SIZE_PROP           "max-size"
#define VIRTIO_TMEM_WEIGHT_PROP             "weight"
#define VIRTIO_TMEM_MAX_POOLS_PROP          "max-pools"
#define VIRTIO_TMEM_CREDIT_PROP             "credit"
#define VIRTIO_TMEM_NUM_QUEUES_PROP         "num-queues"
#define VIRTIO_TMEM_EPHEMERAL_PROP          "ephemeral"
#define VIRTIO_TMEM_SHARED_PROP             "shared"
#define VIRTIO_TMEM_EXCLUSIVE_PROP          "exclusive"
#define VIRTIO_TMEM_HINT_PROP               "hint"
#define VIRTIO_TMEM_IOTHREAD_PROP           "iothread"
#define VIRTIO_TMEM_IOTHREAD_VQ_MAPPING_PROP "iothread-vq-mapping"

/* Virtqueues beside the request queues: the control queue. */
#define VIRTIO_TMEM_VQ_NUM_FIXED            1
#define VIRTIO_TMEM_NUM_QUEUES_MAX \
    (VIRTIO_QUEUE_MAX - VIRTIO_TMEM_VQ_NUM_FIXED)

/* Property values that mean "choose one". */
#define VIRTIO_TMEM_AUTO_NUM_QUEUES         UINT16_MAX
#define VIRTIO_TMEM_AUTO_SIZE               UINT64_MAX

typedef struct VirtIOTmemConf {
    TmemStoreObject *store;     /* NULL: one of our own */
    uint64_t store_size;        /* bytes, of our own store */
    char *client;
    char *trust_group;          /* NULL: of none */
    uint64_t disk_size;         /* bytes, 0: no disk */
    uint64_t min_size;          /* bytes of the store kept for this device */
    uint64_t max_size;          /* bytes, 0: the size of the store */
    uint32_t weight;            /* 0: TMEM_WEIGHT_DEFAULT */
    uint32_t max_pools;
    uint32_t credit;            /* pages, 0: F_CREDIT is not offered */
    uint64_t features;          /* of those with a property: what to offer */
    uint16_t num_queues;        /* request queues */
    IOThread *iothread;
    IOThreadVirtQueueMappingList *iothread_vq_mapping_list;
} VirtIOTmemConf;

typedef struct VirtIOTmemQueue VirtIOTmemQueue;

struct VirtIOTmem {
    VirtIODevice parent_obj;
    VirtIOTmemConf conf;

    /* Constant while realized. */
    TmemStoreObject *store;
    TmemClient *client;
    VirtIOTmemQueue *queues;    /* the control queue, then request queues */
    unsigned num_vqs;
    uint64_t host_features;
    bool use_dataplane;         /* an iothread was asked for */
    bool use_ioeventfd;         /* the transport has it, and it is on */

    /* BQL. */
    bool dataplane_starting;
    bool dataplane_stopping;
    bool dataplane_failed;      /* queues are run by the vCPUs instead */
    Error *migration_blocker;
    Error *unplug_blocker;      /* set while the client holds pages */

    /* Written under the BQL, read atomically by the iothreads. */
    bool dataplane_started;
    bool unplug_blocked;        /* unplug_blocker is set */

    /* In the main loop: what a queue must not do in its iothread. */
    QEMUBH *main_bh;
    /* The same for a change of the hints, on whatever thread. */
    QEMUBH *hint_bh;
};

struct VirtIOTmemClass {
    VirtioDeviceClass parent_class;

    /* Of the parent: used when no iothread was asked for. */
    int (*parent_start_ioeventfd)(VirtIODevice *vdev);
    void (*parent_stop_ioeventfd)(VirtIODevice *vdev);
};

#endif /* HW_VIRTIO_TMEM_H */
