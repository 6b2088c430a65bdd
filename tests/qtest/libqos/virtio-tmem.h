/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libqos driver for virtio-tmem
 */
#ifndef LIBQOS_VIRTIO_TMEM_H
#define LIBQOS_VIRTIO_TMEM_H

#include "qgraph.h"
#include "virtio.h"
#include "virtio-pci.h"
#include "standard-headers/linux/virtio_tmem.h"

/* What the "virtio-tmem" interface is; the ID of the device is "tm0". */
typedef struct QVirtioTmem {
    QVirtioDevice *vdev;
} QVirtioTmem;

typedef struct QVirtioTmemPCI {
    QVirtioPCIDevice pci_vdev;
    QVirtioTmem tmem;
} QVirtioTmemPCI;

typedef struct QVirtioTmemDevice {
    QOSGraphObject obj;
    QVirtioTmem tmem;
} QVirtioTmemDevice;

/* --- A driver of the device, one request at a time --- */

#define QTMEM_PAGE_SIZE     4096
#define QTMEM_BATCH         64      /* max_batch of the device */
#define QTMEM_QUEUES        4       /* request queues used, at most */
#define QTMEM_VIOLATION     UINT32_MAX

typedef struct QTmem {
    QTestState *qts;
    QVirtioDevice *d;
    QGuestAllocator *alloc;
    QVirtQueue *ctrl;
    QVirtQueue *req[QTMEM_QUEUES];
    unsigned num_req;
    uint64_t features;              /* negotiated */
    uint64_t credit;                /* granted since, and not used */
    uint8_t hints;                  /* of the latest response */
    uint64_t out, in;               /* guest buffers: to and from the device */
} QTmem;

/* A request in the making. */
typedef struct QTmemBatch {
    struct virtio_tmem_req hdr;
    struct virtio_tmem_op op[QTMEM_BATCH + 1];
    unsigned nr;
    unsigned num_loads;
    GByteArray *pages;              /* of the STOREs */
} QTmemBatch;

/* And its answer. */
typedef struct QTmemAnswer {
    uint32_t used;                  /* bytes, or QTMEM_VIOLATION */
    struct virtio_tmem_resp resp;
    uint8_t status[QTMEM_BATCH + 1];
    uint8_t page[QTMEM_BATCH + 1][QTMEM_PAGE_SIZE];
} QTmemAnswer;

/*
 * Resets the device and brings it up with @features of those it offers and
 * VIRTIO_F_VERSION_1, and with @num_req request queues.
 */
QTmem *qtmem_start(QTestState *qts, QVirtioDevice *d, QGuestAllocator *alloc,
                   uint64_t features, unsigned num_req);
/* Brings it up once more: what a driver does after DEVICE_NEEDS_RESET. */
void qtmem_restart(QTmem *t, uint64_t features);
void qtmem_stop(QTmem *t);

/* Adds the descriptors of @segs[0...@num-1] and notifies. */
typedef struct QTmemSeg {
    uint64_t addr;
    uint32_t len;
    bool write;
} QTmemSeg;
void qtmem_add(QTmem *t, QVirtQueue *vq, const QTmemSeg *segs, unsigned num);

/* Waits for the one outstanding answer: used bytes, or QTMEM_VIOLATION. */
uint32_t qtmem_wait(QTmem *t, QVirtQueue *vq);

/*
 * Sends @out_len bytes of t->out and takes @in_len bytes into t->in, which is
 * filled with 0xaa before, so that a byte that is not written shows.
 */
uint32_t qtmem_call(QTmem *t, QVirtQueue *vq, size_t out_len, size_t in_len);

QTmemBatch *qtmem_batch_new(void);
void qtmem_batch_free(QTmemBatch *b);
/* Adds an operation; @page is read for a STORE. */
struct virtio_tmem_op *qtmem_batch_add(QTmemBatch *b, uint8_t op, uint64_t pool,
                                       uint64_t object, uint64_t index,
                                       const void *page);
/* Sends the batch on request queue @q; @a is filled in. */
void qtmem_batch_run(QTmem *t, unsigned q, QTmemBatch *b, QTmemAnswer *a);

/* One operation in one request: its status. */
uint8_t qtmem_store(QTmem *t, unsigned q, uint64_t pool, uint64_t object,
                    uint64_t index, const void *page);
uint8_t qtmem_load(QTmem *t, unsigned q, uint64_t pool, uint64_t object,
                   uint64_t index, void *page);
uint8_t qtmem_invalidate(QTmem *t, unsigned q, uint64_t pool, uint64_t object,
                         uint64_t index);

/* Control requests: their status. */
uint8_t qtmem_create_pool(QTmem *t, uint16_t flags, uint64_t *id);
uint8_t qtmem_join_pool(QTmem *t, const uint8_t uuid[16], uint64_t *id);
uint8_t qtmem_destroy_pool(QTmem *t, uint64_t id);

/*
 * A page of content @seed: 0 ... 9 is same-filled, even seeds are text-like
 * and compress, odd ones do not.
 */
void qtmem_fill(uint8_t *page, uint32_t seed);
void qtmem_check(const uint8_t *page, uint32_t seed);

#endif
