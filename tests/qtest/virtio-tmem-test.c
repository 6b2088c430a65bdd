/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-tmem: the device
 *
 * Configuration, features, life, queues.
 * DEV-n is a requirement of docs/specs/virtio-tmem.rst.
 */
#include "qemu/osdep.h"
#include "libqtest-single.h"
#include "qemu/module.h"
#include "qemu/units.h"
#include "qobject/qdict.h"
#include "libqos/qgraph.h"
#include "libqos/virtio-tmem.h"
#include "standard-headers/linux/virtio_config.h"
#include "standard-headers/linux/virtio_pci.h"
#include "standard-headers/linux/virtio_ring.h"

#define F(name) (1ull << VIRTIO_TMEM_F_##name)

static QTmem *start(void *obj, QGuestAllocator *alloc, uint64_t features,
                    unsigned num_req)
{
    QVirtioTmem *dev = obj;

    return qtmem_start(global_qtest, dev->vdev, alloc, features, num_req);
}

/* Stores and loads one page in a new pool: is the device well? */
static void round_trip(QTmem *t, unsigned q, uint32_t seed)
{
    uint8_t page[QTMEM_PAGE_SIZE];
    uint64_t pool;

    qtmem_fill(page, seed);
    g_assert_cmpuint(qtmem_create_pool(t, 0, &pool), ==, VIRTIO_TMEM_S_OK);
    g_assert_cmpuint(qtmem_store(t, q, pool, 1, seed, page), ==,
                     VIRTIO_TMEM_S_OK);
    memset(page, 0, sizeof(page));
    g_assert_cmpuint(qtmem_load(t, q, pool, 1, seed, page), ==,
                     VIRTIO_TMEM_S_OK);
    qtmem_check(page, seed);
    g_assert_cmpuint(qtmem_destroy_pool(t, pool), ==, VIRTIO_TMEM_S_OK);
}

static int64_t total_counter(const char *name)
{
    g_autoptr(QDict) rsp = qmp("{ 'execute': 'query-tmem' }");
    QDict *store = qobject_to(QDict, qlist_peek(qdict_get_qlist(rsp,
                                                                "return")));
    QDict *client = qobject_to(QDict, qlist_peek(qdict_get_qlist(store,
                                                                 "clients")));

    if (qdict_haskey(qdict_get_qdict(client, "total"), name)) {
        return qdict_get_int(qdict_get_qdict(client, "total"), name);
    }
    return qdict_get_int(qdict_get_qdict(client, "stats"), name);
}

/* --- Configuration and features --- */

typedef struct Expect {
    uint16_t num_queues;
    uint32_t max_pools;
    uint64_t disk_size;
    uint64_t features;          /* device feature bits, all of them */
} Expect;

/* The layout is part of the contract: offsets are spelled out. */
static void test_config(void *obj, void *data, QGuestAllocator *alloc)
{
    QVirtioDevice *d = ((QVirtioTmem *)obj)->vdev;
    const Expect *e = data;
    QTmem *t = start(obj, alloc, 0, 1);
    unsigned i;

    g_assert_cmpuint(d->device_type, ==, 57);
    g_assert_cmpuint(qvirtio_config_readw(d, 0), ==, e->num_queues);
    g_assert_cmpuint(qvirtio_config_readw(d, 2), ==, QTMEM_BATCH);
    g_assert_cmpuint(qvirtio_config_readl(d, 4), ==, e->max_pools);
    g_assert_cmpuint(qvirtio_config_readb(d, 8), ==, 12);
    for (i = 9; i < 12; i++) {
        g_assert_cmpuint(qvirtio_config_readb(d, i), ==, 0);    /* DEV-4 */
    }
    g_assert_cmpuint(qvirtio_config_readl(d, 12), ==, 0);       /* DEV-4 */
    g_assert_cmpuint(qvirtio_config_readq(d, 16), ==, e->disk_size);
    qtmem_stop(t);
}

static void test_features(void *obj, void *data, QGuestAllocator *alloc)
{
    QVirtioDevice *d = ((QVirtioTmem *)obj)->vdev;
    const Expect *e = data;
    uint64_t offered = qvirtio_get_features(d);
    uint64_t reset = 1ull << VIRTIO_F_RING_RESET;

    g_assert_cmphex(offered & 0xffffff, ==, e->features);
    g_assert_cmphex(offered & (1ull << VIRTIO_F_VERSION_1), !=, 0); /* DEV-1 */
    /* virtio-mmio has no register for it */
    g_assert_cmphex(offered & reset, ==,
                    strstr(qos_get_current_command_line(), "microvm")
                    ? 0 : reset);
}

static void refuse_features(QVirtioDevice *d, uint64_t features)
{
    d->bus->set_features(d, 1ull << VIRTIO_F_VERSION_1 | features);
    d->bus->set_status(d, d->bus->get_status(d) |
                          VIRTIO_CONFIG_S_FEATURES_OK);
    g_assert_cmphex(d->bus->get_status(d) & VIRTIO_CONFIG_S_FEATURES_OK, ==,
                    0);
}

/* DEV-2: F_SHARED and F_EXCLUSIVE need F_EPHEMERAL. */
static void test_features_refused(void *obj, void *data,
                                  QGuestAllocator *alloc)
{
    QVirtioDevice *d = ((QVirtioTmem *)obj)->vdev;

    refuse_features(d, F(EXCLUSIVE));
    refuse_features(d, F(SHARED));
    refuse_features(d, F(SHARED) | F(EXCLUSIVE));

    round_trip(start(obj, alloc, F(SHARED) | F(EPHEMERAL), 1), 0, 10);
    round_trip(start(obj, alloc, F(EXCLUSIVE) | F(EPHEMERAL), 1), 0, 10);
}

/*
 * DEV-1: a driver that does not know virtio 1.0 is not served.  On virtio-mmio
 * only: libqos' PCI driver refuses to be such a driver.
 */
static void test_no_version_1(void *obj, void *data, QGuestAllocator *alloc)
{
    QVirtioTmemDevice *dev = obj;
    QTmem *t = start(&dev->tmem, alloc, 0, 1);
    QVirtioDevice *d = t->d;
    QTmemSeg segs[] = {
        { t->out, sizeof(struct virtio_tmem_create_pool), false },
        { t->in, sizeof(struct virtio_tmem_ctrl_resp), true },
    };
    int64_t requests = total_counter("requests");
    QVirtQueue *ctrl;

    qvirtio_reset(d);
    qvirtio_set_acknowledge(d);
    qvirtio_set_driver(d);
    d->features = 0;
    d->bus->set_features(d, 0);
    d->features_negotiated = true;
    d->bus->set_status(d, d->bus->get_status(d) |
                          VIRTIO_CONFIG_S_FEATURES_OK);
    ctrl = qvirtqueue_setup(d, alloc, VIRTIO_TMEM_VQ_CONTROL);
    d->bus->set_status(d, d->bus->get_status(d) | VIRTIO_CONFIG_S_DRIVER_OK);
    qtmem_add(t, ctrl, segs, 2);
    qtest_qmp_assert_success(global_qtest, "{ 'execute': 'query-status' }");
    g_assert_false(qvirtqueue_get_buf(t->qts, ctrl, NULL, NULL));
    g_assert_cmpint(total_counter("requests"), ==, requests);
    qvirtqueue_cleanup(d->bus, ctrl, alloc);

    qtmem_restart(t, 0);
    round_trip(t, 0, 11);
    qtmem_stop(t);
}

/* --- Life --- */

static void test_content(void *obj, void *data, QGuestAllocator *alloc)
{
    QTmem *t = start(obj, alloc, 0, 1);
    /* QEMU may be the one of the test before */
    int64_t filled = total_counter("stores-same-filled");
    int64_t compressed = total_counter("stores-compressed");
    int64_t raw = total_counter("stores-raw");
    uint32_t seed;

    for (seed = 0; seed < 40; seed++) {
        round_trip(t, 0, seed);
    }
    g_assert_cmpint(total_counter("stores-same-filled"), ==, filled + 10);
    g_assert_cmpint(total_counter("stores-compressed"), ==, compressed + 15);
    g_assert_cmpint(total_counter("stores-raw"), ==, raw + 15);
    qtmem_stop(t);
}

/* DEV-5: a reset drops everything, and old pool ids stay invalid. */
static void test_reset(void *obj, void *data, QGuestAllocator *alloc)
{
    QTmem *t = start(obj, alloc, 0, 1);
    uint8_t page[QTMEM_PAGE_SIZE];
    uint64_t old, new;

    qtmem_fill(page, 20);
    g_assert_cmpuint(qtmem_create_pool(t, 0, &old), ==, VIRTIO_TMEM_S_OK);
    g_assert_cmpuint(qtmem_store(t, 0, old, 1, 1, page), ==,
                     VIRTIO_TMEM_S_OK);
    g_assert_cmpint(total_counter("pages"), ==, 1);

    qtmem_restart(t, 0);
    g_assert_cmpint(total_counter("pages"), ==, 0);
    g_assert_cmpint(total_counter("pools"), ==, 0);
    g_assert_cmpuint(qtmem_load(t, 0, old, 1, 1, page), ==,
                     VIRTIO_TMEM_S_NOPOOL);
    g_assert_cmpuint(qtmem_create_pool(t, 0, &new), ==, VIRTIO_TMEM_S_OK);
    g_assert_cmphex(new, !=, old);
    g_assert_cmpuint(qtmem_load(t, 0, new, 1, 1, page), ==,
                     VIRTIO_TMEM_S_MISS);
    qtmem_stop(t);
}

static void test_system_reset(void *obj, void *data, QGuestAllocator *alloc)
{
    QTmem *t = start(obj, alloc, 0, 1);
    uint8_t page[QTMEM_PAGE_SIZE];
    uint64_t pool;

    qtmem_fill(page, 21);
    g_assert_cmpuint(qtmem_create_pool(t, 0, &pool), ==, VIRTIO_TMEM_S_OK);
    g_assert_cmpuint(qtmem_store(t, 0, pool, 1, 1, page), ==,
                     VIRTIO_TMEM_S_OK);
    qtest_system_reset(t->qts);
    g_assert_cmpint(total_counter("pages"), ==, 0);
    g_assert_cmpint(total_counter("pools"), ==, 0);
}

/* Answers to requests of before a stop or while one is on. */
static void test_stop_cont(void *obj, void *data, QGuestAllocator *alloc)
{
    QTmem *t = start(obj, alloc, 0, 1);
    struct virtio_tmem_create_pool req = {
        .type = VIRTIO_TMEM_T_CREATE_POOL,
        .page_shift = 12,
    };
    QTmemSeg segs[] = {
        { t->out, sizeof(req), false },
        { t->in, sizeof(struct virtio_tmem_ctrl_resp), true },
    };

    round_trip(t, 0, 12);
    qtest_qmp_assert_success(global_qtest, "{ 'execute': 'stop' }");
    qtest_qmp_assert_success(global_qtest, "{ 'execute': 'cont' }");
    round_trip(t, 0, 13);

    qtest_memwrite(t->qts, t->out, &req, sizeof(req));
    qtmem_add(t, t->ctrl, segs, 2);
    g_assert_cmpuint(qtmem_wait(t, t->ctrl), ==, segs[1].len);
    qtmem_stop(t);
}

/* --- Queues --- */

static void test_two_queues(void *obj, void *data, QGuestAllocator *alloc)
{
    QTmem *t = start(obj, alloc, F(MQ), 2);
    uint8_t page[QTMEM_PAGE_SIZE];
    uint64_t pool;

    round_trip(t, 0, 14);
    round_trip(t, 1, 15);
    qtmem_fill(page, 16);
    g_assert_cmpuint(qtmem_create_pool(t, 0, &pool), ==, VIRTIO_TMEM_S_OK);
    g_assert_cmpuint(qtmem_store(t, 0, pool, 1, 1, page), ==,
                     VIRTIO_TMEM_S_OK);
    g_assert_cmpuint(qtmem_load(t, 1, pool, 1, 1, page), ==,
                     VIRTIO_TMEM_S_OK);
    qtmem_check(page, 16);
    g_assert_cmpuint(qtmem_invalidate(t, 1, pool, 1, 1), ==, VIRTIO_TMEM_S_OK);
    g_assert_cmpuint(qtmem_load(t, 0, pool, 1, 1, page), ==,
                     VIRTIO_TMEM_S_MISS);
    qtmem_stop(t);
}

static void test_indirect(void *obj, void *data, QGuestAllocator *alloc)
{
    QTmem *t = start(obj, alloc, 1ull << VIRTIO_RING_F_INDIRECT_DESC, 1);
    struct virtio_tmem_create_pool req = {
        .type = VIRTIO_TMEM_T_CREATE_POOL,
        .page_shift = 12,
    };
    struct virtio_tmem_ctrl_resp resp;
    QVRingIndirectDesc *indirect;

    indirect = qvring_indirect_desc_setup(t->qts, t->d, alloc, 2);
    qvring_indirect_desc_add(t->d, t->qts, indirect, t->out, sizeof(req),
                             false);
    qvring_indirect_desc_add(t->d, t->qts, indirect, t->in, sizeof(resp),
                             true);
    qtest_memwrite(t->qts, t->out, &req, sizeof(req));
    qvirtqueue_kick(t->qts, t->d, t->ctrl,
                    qvirtqueue_add_indirect(t->qts, t->ctrl, indirect));
    g_assert_cmpuint(qtmem_wait(t, t->ctrl), ==, sizeof(resp));
    qtest_memread(t->qts, t->in, &resp, sizeof(resp));
    g_assert_cmpuint(resp.status, ==, VIRTIO_TMEM_S_OK);
    g_assert_cmphex(resp.pool, !=, 0);
    guest_free(alloc, indirect->desc);
    g_free(indirect);
    qtmem_stop(t);
}

/* One request of BIG_OPS loads is 256 KiB and a bit. */
#define BIG_NUM     12
#define BIG_OPS     QTMEM_BATCH
#define BIG_IN      (sizeof(struct virtio_tmem_resp) + BIG_OPS + \
                     BIG_OPS * QTMEM_PAGE_SIZE)

/*
 * Makes BIG_NUM requests available with one notification: more than the
 * device does in one turn.
 */
static void post_big(QTmem *t, uint64_t out, uint64_t in, uint64_t pool)
{
    QTmemBatch *b = qtmem_batch_new();
    size_t ops_len = BIG_OPS * sizeof(b->op[0]);
    QVirtQueue *vq = t->req[0];
    uint16_t idx = qtest_readw(t->qts, vq->avail + 2);
    unsigned i;

    for (i = 0; i < BIG_OPS; i++) {
        qtmem_batch_add(b, VIRTIO_TMEM_OP_LOAD, pool, 1, i, NULL);
    }
    qtest_memwrite(t->qts, out, &b->hdr, sizeof(b->hdr));
    qtest_memwrite(t->qts, out + sizeof(b->hdr), b->op, ops_len);
    qtmem_batch_free(b);

    qvirtqueue_reset_pool(vq);
    for (i = 0; i < BIG_NUM; i++) {
        uint32_t head = qvirtqueue_add(t->qts, vq, out,
                                       sizeof(b->hdr) + ops_len, false, true);

        qvirtqueue_add(t->qts, vq, in + i * BIG_IN, BIG_IN, true, false);
        qtest_writew(t->qts, vq->avail + 4 + 2 * ((idx + i) % vq->size), head);
    }
    qtest_writew(t->qts, vq->avail + 2, idx + BIG_NUM);
    t->d->bus->virtqueue_kick(t->d, vq);
}

static void test_budget(void *obj, void *data, QGuestAllocator *alloc)
{
    QTmem *t = start(obj, alloc, 0, 1);
    uint64_t out = guest_alloc(alloc, 64 * KiB);
    uint64_t in = guest_alloc(alloc, BIG_NUM * BIG_IN);
    uint8_t page[QTMEM_PAGE_SIZE];
    uint64_t pool;
    gint64 give_up;
    unsigned i;

    g_assert_cmpuint(qtmem_create_pool(t, 0, &pool), ==, VIRTIO_TMEM_S_OK);
    for (i = 0; i < BIG_OPS; i++) {
        qtmem_fill(page, 30 + i);
        g_assert_cmpuint(qtmem_store(t, 0, pool, 1, i, page), ==,
                         VIRTIO_TMEM_S_OK);
    }

    qtest_memset(t->qts, in, 0, BIG_NUM * BIG_IN);
    post_big(t, out, in, pool);
    give_up = g_get_monotonic_time() + 30 * G_TIME_SPAN_SECOND;
    for (i = 0; i < BIG_NUM; ) {
        uint64_t last;

        if (!qvirtqueue_get_buf(t->qts, t->req[0], NULL, NULL)) {
            g_assert_cmpint(g_get_monotonic_time(), <, give_up);
            continue;
        }
        last = in + i * BIG_IN + BIG_IN - QTMEM_PAGE_SIZE;
        qtest_memread(t->qts, last, page, sizeof(page));
        qtmem_check(page, 30 + BIG_OPS - 1);
        i++;
    }
    round_trip(t, 0, 17);
    qtmem_stop(t);
}

/* DEV-5: a reset while requests are outstanding; none is answered later. */
static void test_reset_in_flight(void *obj, void *data, QGuestAllocator *alloc)
{
    QTmem *t = start(obj, alloc, 0, 1);
    uint64_t out = guest_alloc(alloc, 64 * KiB);
    uint64_t in = guest_alloc(alloc, BIG_NUM * BIG_IN);
    uint64_t pool;
    unsigned i;

    g_assert_cmpuint(qtmem_create_pool(t, 0, &pool), ==, VIRTIO_TMEM_S_OK);
    for (i = 0; i < 5; i++) {
        post_big(t, out, in, pool);
        qvirtio_reset(t->d);
        qtest_memset(t->qts, in, 0x55, BIG_IN);
        qtmem_restart(t, 0);
        round_trip(t, 0, 18);
        g_assert_cmphex(qtest_readb(t->qts, in), ==, 0x55);
        g_assert_cmphex(qtest_readb(t->qts, in + BIG_IN - 1), ==, 0x55);
    }
    qtmem_stop(t);
}

/* With ioeventfd off each notification reaches the device by itself. */
static void test_counts(void *obj, void *data, QGuestAllocator *alloc)
{
    QVirtioTmemPCI *pci = obj;
    QTmem *t = start(&pci->tmem, alloc, 0, 1);
    int64_t kicks = total_counter("kicks");
    int64_t interrupts = total_counter("interrupts");

    round_trip(t, 0, 19);
    g_assert_cmpint(total_counter("kicks"), ==, kicks + 4);
    g_assert_cmpint(total_counter("interrupts"), ==, interrupts + 4);

    /* The driver does not want an interrupt: none is counted or sent. */
    qtest_writew(t->qts, t->ctrl->avail, VRING_AVAIL_F_NO_INTERRUPT);
    {
        struct virtio_tmem_create_pool req = {
            .type = VIRTIO_TMEM_T_CREATE_POOL,
            .page_shift = 12,
        };
        QTmemSeg segs[] = {
            { t->out, sizeof(req), false },
            { t->in, sizeof(struct virtio_tmem_ctrl_resp), true },
        };

        qtest_memwrite(t->qts, t->out, &req, sizeof(req));
        qtmem_add(t, t->ctrl, segs, 2);
        while (!qvirtqueue_get_buf(t->qts, t->ctrl, NULL, NULL)) {
            g_usleep(1000);
        }
        g_assert_false(t->d->bus->get_queue_isr_status(t->d, t->ctrl));
    }
    g_assert_cmpint(total_counter("kicks"), ==, kicks + 5);
    g_assert_cmpint(total_counter("interrupts"), ==, interrupts + 4);
    qtmem_stop(t);
}

/* --- PCI: iothreads, reset of one queue --- */

/* VIRTIO_F_RING_RESET: one queue goes away and comes back, pages stay. */
static void test_queue_reset(void *obj, void *data, QGuestAllocator *alloc)
{
    QVirtioTmemPCI *pci = obj;
    QVirtioPCIDevice *dev = &pci->pci_vdev;
    QTmem *t = qtmem_start(global_qtest, &dev->vdev, alloc,
                           1ull << VIRTIO_F_RING_RESET | F(MQ), 2);
    uint64_t reg = dev->common_cfg_offset +
                   offsetof(struct virtio_pci_modern_common_cfg, queue_reset);
    uint8_t page[QTMEM_PAGE_SIZE];
    uint64_t pool;
    unsigned i;

    qtmem_fill(page, 22);
    g_assert_cmpuint(qtmem_create_pool(t, 0, &pool), ==, VIRTIO_TMEM_S_OK);
    for (i = 0; i < 3; i++) {
        g_assert_cmpuint(qtmem_store(t, 0, pool, 1, i, page), ==,
                         VIRTIO_TMEM_S_OK);
        t->d->bus->queue_select(t->d, VIRTIO_TMEM_VQ_REQUEST(0));
        qpci_io_writew(dev->pdev, dev->bar, reg, 1);
        g_assert_cmpuint(qpci_io_readw(dev->pdev, dev->bar, reg), ==, 0);

        /* The others go on. */
        g_assert_cmpuint(qtmem_load(t, 1, pool, 1, i, page), ==,
                         VIRTIO_TMEM_S_OK);
        qvirtqueue_cleanup(t->d->bus, t->req[0], alloc);
        t->req[0] = qvirtqueue_setup(t->d, alloc, VIRTIO_TMEM_VQ_REQUEST(0));
        g_assert_cmpuint(qtmem_load(t, 0, pool, 1, i, page), ==,
                         VIRTIO_TMEM_S_OK);
        qtmem_check(page, 22);
    }
    qtmem_stop(t);
}

static void test_iothread(void *obj, void *data, QGuestAllocator *alloc)
{
    QVirtioTmemPCI *pci = obj;

    test_two_queues(&pci->tmem, NULL, alloc);
    test_budget(&pci->tmem, NULL, alloc);
    test_reset_in_flight(&pci->tmem, NULL, alloc);
    test_stop_cont(&pci->tmem, NULL, alloc);
    test_queue_reset(obj, NULL, alloc);
}

/* -device with a list is JSON only, which qgraph does not write. */
static void test_iothread_mapping(void *obj, void *data,
                                  QGuestAllocator *alloc)
{
    QVirtioTmemPCI *pci = obj;
    QPCIAddress addr = { .devfn = QPCI_DEVFN(6, 0) };
    QVirtioPCIDevice *dev = virtio_pci_new(pci->pci_vdev.pdev->bus, &addr);
    QVirtioTmem tmem = { .vdev = &dev->vdev };

    g_assert_nonnull(dev);
    qvirtio_pci_device_enable(dev);
    test_two_queues(&tmem, NULL, alloc);
    test_budget(&tmem, NULL, alloc);
    test_reset_in_flight(&tmem, NULL, alloc);
    qvirtio_pci_device_disable(dev);
    qos_object_destroy(&dev->obj);
}

static void *before_iothread(GString *cmd_line, void *arg)
{
    g_string_append(cmd_line, " -object iothread,id=io0"
                    " -object iothread,id=io1 ");
    return arg;
}

static void *before_mapping(GString *cmd_line, void *arg)
{
    before_iothread(cmd_line, arg);
    g_string_append(cmd_line,
                    " -device '{\"driver\":\"virtio-tmem-pci\",\"id\":\"tm1\","
                    "\"addr\":\"06.0\",\"num-queues\":3,"
                    "\"iothread-vq-mapping\":["
                    "{\"iothread\":\"io0\",\"vqs\":[0,2]},"
                    "{\"iothread\":\"io1\",\"vqs\":[1]}]}' ");
    return arg;
}

/* --- */

static Expect expect_default = {
    .num_queues = 1, .max_pools = 1024, .disk_size = 128 * MiB,
    .features = F(DISK) | F(EPHEMERAL) | F(SHARED) | F(EXCLUSIVE) | F(CREDIT) |
                F(HINT),
};
static Expect expect_options = {
    .num_queues = 3, .max_pools = 7, .disk_size = 0,
    .features = F(MQ) | F(EPHEMERAL) | F(SHARED) | F(EXCLUSIVE) | F(HINT),
};

static void add(const char *name, const char *node, QOSTestFunc func,
                void *arg, QOSBeforeTest before, const char *device_opts)
{
    QOSGraphTestOptions opts = {
        .arg = arg,
        .before = before,
        .edge = { .extra_device_opts = device_opts },
    };

    qos_add_test(name, node, func, &opts);
}

static void register_virtio_tmem_test(void)
{
    const char *any = "virtio-tmem", *pci = "virtio-tmem-pci";
    const char *options = "num-queues=3,max-pools=7,disk-size=0,credit=0";

    add("config", any, test_config, &expect_default, NULL, NULL);
    add("config-options", any, test_config, &expect_options, NULL, options);
    add("features", any, test_features, &expect_default, NULL, NULL);
    add("features-options", any, test_features, &expect_options, NULL,
        options);
    add("features-refused", any, test_features_refused, NULL, NULL, NULL);
    add("no-version-1", "virtio-tmem-device", test_no_version_1, NULL, NULL,
        NULL);
    add("content", any, test_content, NULL, NULL, NULL);
    add("reset", any, test_reset, NULL, NULL, NULL);
    add("system-reset", any, test_system_reset, NULL, NULL, NULL);
    add("stop-cont", any, test_stop_cont, NULL, NULL, NULL);
    add("two-queues", any, test_two_queues, NULL, NULL, "num-queues=2");
    add("indirect", any, test_indirect, NULL, NULL, NULL);
    add("budget", any, test_budget, NULL, NULL, NULL);
    add("reset-in-flight", any, test_reset_in_flight, NULL, NULL, NULL);
    add("queue-reset", pci, test_queue_reset, NULL, NULL, "num-queues=2");
    add("counts", pci, test_counts, NULL, NULL, "ioeventfd=off");
    add("iothread", pci, test_iothread, NULL, before_iothread,
        "num-queues=2,iothread=io0");
    add("iothread-vq-mapping", pci, test_iothread_mapping, NULL,
        before_mapping, NULL);
}

libqos_init(register_virtio_tmem_test);
