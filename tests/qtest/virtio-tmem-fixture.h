/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-tmem: a device with pools, for tests of requests
 */
#ifndef VIRTIO_TMEM_FIXTURE_H
#define VIRTIO_TMEM_FIXTURE_H

#include "libqtest-single.h"
#include "libqos/qgraph.h"
#include "libqos/virtio-tmem.h"

#define F(name) (1ull << VIRTIO_TMEM_F_##name)

/* A device with one persistent and, if negotiated, one ephemeral pool. */
typedef struct Fixture {
    QTmem *t;
    uint64_t pool;              /* persistent */
    uint64_t ephemeral;
    QTmemAnswer a;              /* of the latest batch */
} Fixture;

static inline void make_pools(Fixture *f, uint64_t features)
{
    g_assert_cmpuint(qtmem_create_pool(f->t, 0, &f->pool), ==,
                     VIRTIO_TMEM_S_OK);
    if (features & F(EPHEMERAL)) {
        g_assert_cmpuint(qtmem_create_pool(f->t, VIRTIO_TMEM_POOL_EPHEMERAL,
                                           &f->ephemeral), ==,
                         VIRTIO_TMEM_S_OK);
    }
}

static inline Fixture *setup(void *obj, QGuestAllocator *alloc,
                             uint64_t features)
{
    Fixture *f = g_new0(Fixture, 1);

    f->t = qtmem_start(global_qtest, ((QVirtioTmem *)obj)->vdev, alloc,
                       features, 1);
    make_pools(f, features);
    return f;
}

static inline void teardown(Fixture *f)
{
    qtmem_stop(f->t);
    g_free(f);
}

static inline uint8_t store(Fixture *f, uint64_t pool, uint64_t index,
                            uint32_t seed)
{
    uint8_t page[QTMEM_PAGE_SIZE];

    qtmem_fill(page, seed);
    return qtmem_store(f->t, 0, pool, 1, index, page);
}

/* Loads and, if the answer is OK, checks for the content of @seed. */
static inline uint8_t load(Fixture *f, uint64_t pool, uint64_t index,
                           uint32_t seed)
{
    uint8_t page[QTMEM_PAGE_SIZE];
    uint8_t status = qtmem_load(f->t, 0, pool, 1, index, page);

    /* DEV-9: what is not an answer is zero */
    qtmem_check(page, status == VIRTIO_TMEM_S_OK ? seed : 0);
    return status;
}

/* --- A second device, beside the node of the test --- */

#define SECOND_ADDR     "addr=06.0"     /* of its -device */

typedef struct SecondDevice {
    QVirtioPCIDevice *dev;
    QVirtioTmem tmem;
} SecondDevice;

static inline void second_set_up(SecondDevice *s, QVirtioTmemPCI *first)
{
    QPCIAddress addr = { .devfn = QPCI_DEVFN(6, 0) };

    s->dev = virtio_pci_new(first->pci_vdev.pdev->bus, &addr);
    g_assert_nonnull(s->dev);
    qvirtio_pci_device_enable(s->dev);
    qvirtio_start_device(&s->dev->vdev);
    s->tmem.vdev = &s->dev->vdev;
}

static inline void second_tear_down(SecondDevice *s)
{
    qvirtio_pci_device_disable(s->dev);
    qos_object_destroy(&s->dev->obj);
}

static inline void run(Fixture *f, QTmemBatch *b)
{
    qtmem_batch_run(f->t, 0, b, &f->a);
    qtmem_batch_free(b);
}

#endif
