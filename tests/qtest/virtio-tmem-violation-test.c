/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-tmem: what breaks the protocol, and how a reset heals the device
 *
 * DEV-6 of docs/specs/virtio-tmem.rst: DEVICE_NEEDS_RESET, no answer, and QEMU
 * goes on.
 */
#include "qemu/osdep.h"
#include "libqtest-single.h"
#include "qemu/bswap.h"
#include "qemu/module.h"
#include "qobject/qdict.h"
#include "qobject/qlist.h"
#include "libqos/qgraph.h"
#include "libqos/virtio-tmem.h"
#include "libqos/virtio-mmio.h"
#include "standard-headers/linux/virtio_config.h"
#include "standard-headers/linux/virtio_mmio.h"
#include "standard-headers/linux/virtio_pci.h"
#include "standard-headers/linux/virtio_ring.h"

#define RESP    sizeof(struct virtio_tmem_resp)
#define REQ     sizeof(struct virtio_tmem_req)
#define OP      sizeof(struct virtio_tmem_op)
#define CREATE  sizeof(struct virtio_tmem_create_pool)
#define CTRL    sizeof(struct virtio_tmem_ctrl_resp)

static int64_t violations(void)
{
    g_autoptr(QDict) rsp = qmp("{ 'execute': 'query-tmem' }");
    QDict *store = qobject_to(QDict, qlist_peek(qdict_get_qlist(rsp,
                                                                "return")));
    QDict *client = qobject_to(QDict, qlist_peek(qdict_get_qlist(store,
                                                                 "clients")));

    return qdict_get_int(qdict_get_qdict(client, "stats"), "violations");
}

/* A reset makes the device serve us again. */
static void expect_recovery(QTmem *t)
{
    uint8_t page[QTMEM_PAGE_SIZE];
    uint64_t pool;

    qtmem_restart(t, t->features);
    g_assert_cmphex(t->d->bus->get_status(t->d) & VIRTIO_CONFIG_S_NEEDS_RESET,
                    ==, 0);
    qtmem_fill(page, 33);
    g_assert_cmpuint(qtmem_create_pool(t, 0, &pool), ==, VIRTIO_TMEM_S_OK);
    g_assert_cmpuint(qtmem_store(t, 0, pool, 1, 1, page), ==,
                     VIRTIO_TMEM_S_OK);
    g_assert_cmpuint(qtmem_load(t, 0, pool, 1, 1, page), ==,
                     VIRTIO_TMEM_S_OK);
    qtmem_check(page, 33);
}

/*
 * The device has given up on us, once more than before, has written nothing
 * to the @in_len bytes of 0x77 at t->in, and then recovers.
 */
static void expect_violation(QTmem *t, QVirtQueue *vq, int64_t before,
                             size_t in_len)
{
    g_assert_cmpuint(qtmem_wait(t, vq), ==, QTMEM_VIOLATION);
    g_assert_cmpint(qtest_readw(t->qts, vq->used + 2), ==,
                    vq->last_used_idx);                 /* no answer */
    qtest_qmp_assert_success(t->qts, "{ 'execute': 'query-status' }");
    g_assert_cmpint(violations(), ==, before + 1);

    while (in_len) {
        g_assert_cmphex(qtest_readb(t->qts, t->in + --in_len), ==, 0x77);
    }

    /* Broken: nothing is served until a reset. */
    t->d->bus->virtqueue_kick(t->d, t->ctrl);
    g_assert_cmpint(violations(), ==, before + 1);

    expect_recovery(t);
}

/* --- Lengths --- */

typedef struct Lengths {
    bool control;
    size_t out, in;
    uint16_t nr_ops;
} Lengths;

static const Lengths lengths[] = {
    /* no header, or half of one */
    { false, 0, RESP + 1 + 64, 1 },
    { false, 1, RESP + 1, 1 },
    { false, REQ - 1, RESP + 1, 1 },
    /* no room for the answer */
    { false, REQ + OP, 0, 1 },
    { false, REQ + OP, 1, 1 },
    { false, REQ + OP, RESP - 1, 1 },
    { false, REQ + OP, RESP, 1 },
    { false, REQ + 2 * OP, RESP + 1, 2 },
    { false, REQ + OP, RESP + QTMEM_BATCH - 1, UINT16_MAX },
    { true, 0, CTRL, 0 },
    { true, CREATE, 0, 0 },
    { true, CREATE, 1, 0 },
    { true, CREATE, CTRL - 1, 0 },
};

static void test_lengths(void *obj, void *data, QGuestAllocator *alloc)
{
    QTmem *t = qtmem_start(global_qtest, ((QVirtioTmem *)obj)->vdev, alloc, 0,
                           1);
    unsigned i;

    for (i = 0; i < G_N_ELEMENTS(lengths); i++) {
        const Lengths *l = &lengths[i];
        struct virtio_tmem_req req = {
            .type = l->control ? VIRTIO_TMEM_T_CREATE_POOL
                               : VIRTIO_TMEM_T_PAGES,
            .nr_ops = cpu_to_le16(l->nr_ops),
        };
        QVirtQueue *vq = l->control ? t->ctrl : t->req[0];
        QTmemSeg segs[2] = {
            { t->out, l->out, false },
            { t->in, l->in, true },
        };
        int64_t before = violations();

        qtest_memset(t->qts, t->out, 0, REQ + 2 * OP);
        qtest_memwrite(t->qts, t->out, &req, sizeof(req));
        if (l->in) {
            qtest_memset(t->qts, t->in, 0x77, l->in);
        }
        if (!l->out) {
            qtmem_add(t, vq, segs + 1, 1);
        } else {
            qtmem_add(t, vq, segs, l->in ? 2 : 1);
        }
        expect_violation(t, vq, before, l->in);
    }
    qtmem_stop(t);
}

/* --- Chains --- */

typedef struct Broken {
    const char *what;
    unsigned desc;              /* the descriptor that is changed */
    uint64_t addr;              /* unless 0 */
    uint32_t len;               /* unless 0 */
    uint16_t flags;
    uint16_t next;
    uint16_t head;              /* put on the ring */
} Broken;

#define NEXT    VRING_DESC_F_NEXT
#define WRITE   VRING_DESC_F_WRITE

static const Broken broken[] = {
    { "loop over itself", 0, 0, 0, NEXT, 0, 0 },
    { "loop over the first", 1, 0, 0, NEXT | WRITE, 0, 0 },
    { "next descriptor far out of range", 0, 0, 0, NEXT, 65535, 0 },
    { "readable after writable", 0, 0, 0, NEXT | WRITE, 2, 0 },
    /* a little of what is not memory goes through a bounce buffer */
    { "not memory", 1, 0xfffffffff0000000ull, 1 << 20, WRITE, 0, 0 },
    { "indirect table of a strange size", 0, 0, 17,
      VRING_DESC_F_INDIRECT, 0, 0 },
    { "indirect table of rubbish", 0, 0, 16,
      VRING_DESC_F_INDIRECT | NEXT, 1, 0 },
    { "empty buffer", 0, 0, UINT32_MAX, NEXT, 1, 0 },
    { "head out of range", 0, 0, 0, NEXT, 1, 32768 },
};

static void break_chain(QTmem *t, QVirtQueue *vq, const Broken *b)
{
    uint64_t desc = vq->desc + 16 * b->desc;
    uint16_t idx = qtest_readw(t->qts, vq->avail + 2);

    qvirtqueue_reset_pool(vq);
    qvirtqueue_add(t->qts, vq, t->out, CREATE, false, true);
    qvirtqueue_add(t->qts, vq, t->in, CTRL, true, false);
    qvirtqueue_add(t->qts, vq, t->out, CREATE, false, false);
    if (b->addr) {
        qtest_writeq(t->qts, desc, b->addr);
    }
    if (b->len) {
        qtest_writel(t->qts, desc + 8, b->len == UINT32_MAX ? 0 : b->len);
    }
    qtest_writew(t->qts, desc + 12, b->flags);
    qtest_writew(t->qts, desc + 14, b->next);
    qtest_writew(t->qts, vq->avail + 4 + 2 * (idx % vq->size), b->head);
    qtest_writew(t->qts, vq->avail + 2, idx + 1);
    t->d->bus->virtqueue_kick(t->d, vq);
}

static void test_chains(void *obj, void *data, QGuestAllocator *alloc)
{
    QTmem *t = qtmem_start(global_qtest, ((QVirtioTmem *)obj)->vdev, alloc, 0,
                           1);
    struct virtio_tmem_create_pool create = {
        .type = VIRTIO_TMEM_T_CREATE_POOL,
        .page_shift = 12,
    };
    unsigned i, control;

    for (i = 0; i < G_N_ELEMENTS(broken); i++) {
        for (control = 0; control < 2; control++) {
            int64_t before = violations();

            g_test_message("%s", broken[i].what);
            qtest_memwrite(t->qts, t->out, &create, sizeof(create));
            qtest_memset(t->qts, t->in, 0x77, CTRL);
            break_chain(t, control ? t->ctrl : t->req[0], &broken[i]);
            expect_violation(t, control ? t->ctrl : t->req[0], before, CTRL);
        }
    }
    qtmem_stop(t);
}

/* --- What is not RAM --- */

/* Where the guest finds the registers of the device. */
static uint64_t registers(QVirtioDevice *d)
{
    QVirtioPCIDevice *pci = container_of(d, QVirtioPCIDevice, vdev);
    QVirtioMMIODevice *mmio = container_of(d, QVirtioMMIODevice, vdev);

    return strstr(qos_get_current_command_line(), "microvm")
           ? mmio->addr : pci->bar.addr + pci->common_cfg_offset;
}

/* A zero written here resets the device. */
static QTmemSeg status_register(QVirtioDevice *d)
{
    if (strstr(qos_get_current_command_line(), "microvm")) {
        return (QTmemSeg) { registers(d) + VIRTIO_MMIO_STATUS, 4, true };
    }
    return (QTmemSeg) { registers(d) + VIRTIO_PCI_COMMON_STATUS, 1, true };
}

/* The reply, or the request, is in the registers of the very device. */
static void test_registers(void *obj, void *data, QGuestAllocator *alloc)
{
    const uint64_t *features = data;
    QTmem *t = qtmem_start(global_qtest, ((QVirtioTmem *)obj)->vdev, alloc,
                           features ? *features : 0, 1);
    const struct virtio_tmem_req unknown = {
        .type = 99,
        .nr_ops = cpu_to_le16(1),
    };
    unsigned i;

    for (i = 0; i < 4; i++) {
        bool control = i & 1, reply = i < 2;
        size_t in_len = control ? CTRL : RESP + 1;
        QVirtQueue *vq = control ? t->ctrl : t->req[0];
        int64_t before = violations();
        QTmemSeg segs[] = {
            { reply ? t->out : registers(t->d), REQ, false },
            { t->in, in_len, true },
            status_register(t->d),
        };

        g_test_message("%s queue, %s", control ? "control" : "request",
                       reply ? "reply" : "request");
        qtest_memwrite(t->qts, t->out, &unknown, sizeof(unknown));
        qtest_memset(t->qts, t->in, 0x77, in_len);
        qtmem_add(t, vq, segs, reply ? 3 : 2);
        expect_violation(t, vq, before, in_len);
    }
    qtmem_stop(t);
}

/* So is the used ring: its first entry covers the status. */
static void test_ring_in_registers(void *obj, void *data,
                                   QGuestAllocator *alloc)
{
    QVirtioPCIDevice *pci = &((QVirtioTmemPCI *)obj)->pci_vdev;
    QTmem *t = qtmem_start(global_qtest, &pci->vdev, alloc, 0, 1);
    uint64_t used = registers(t->d) + VIRTIO_PCI_COMMON_STATUS -
                    offsetof(struct vring_used, ring);
    uint64_t common = pci->common_cfg_offset;
    gint64 give_up = g_get_monotonic_time() + 30 * G_TIME_SPAN_SECOND;

    t->d->bus->queue_select(t->d, VIRTIO_TMEM_VQ_REQUEST(0));
    /* A ring that ends where the registers do. */
    t->req[0]->size = 8;
    qpci_io_writew(pci->pdev, pci->bar, common + VIRTIO_PCI_COMMON_Q_SIZE, 8);
    qpci_io_writel(pci->pdev, pci->bar, common + VIRTIO_PCI_COMMON_Q_USEDLO,
                   used);
    qpci_io_writel(pci->pdev, pci->bar, common + VIRTIO_PCI_COMMON_Q_USEDHI,
                   used >> 32);
    qpci_io_writew(pci->pdev, pci->bar, common + VIRTIO_PCI_COMMON_Q_ENABLE,
                   1);
    qtmem_add(t, t->req[0], (QTmemSeg[]) {
        { t->out, REQ, false },
        { t->in, RESP + 1, true },
    }, 2);
    while (!(t->d->bus->get_status(t->d) & VIRTIO_CONFIG_S_NEEDS_RESET)) {
        g_assert_cmpint(g_get_monotonic_time(), <, give_up);
    }
    qtest_qmp_assert_success(t->qts, "{ 'execute': 'query-status' }");
    expect_recovery(t);
    qtmem_stop(t);
}

/* A ring that is in use keeps its size, of which an iothread has the ends. */
static void test_ring_size(void *obj, void *data, QGuestAllocator *alloc)
{
    QVirtioPCIDevice *pci = &((QVirtioTmemPCI *)obj)->pci_vdev;
    QTmem *t = qtmem_start(global_qtest, &pci->vdev, alloc, 0, 1);

    t->d->bus->queue_select(t->d, VIRTIO_TMEM_VQ_REQUEST(0));
    qpci_io_writew(pci->pdev, pci->bar,
                   pci->common_cfg_offset + VIRTIO_PCI_COMMON_Q_SIZE,
                   t->req[0]->size / 2);
    g_assert_cmpuint(t->d->bus->get_queue_size(t->d), ==, t->req[0]->size);
    g_assert_cmphex(t->d->bus->get_status(t->d) & VIRTIO_CONFIG_S_NEEDS_RESET,
                    ==, VIRTIO_CONFIG_S_NEEDS_RESET);
    expect_recovery(t);
    qtmem_stop(t);
}

/* --- Queues --- */

/* DEV-29: without F_MQ there is one request queue. */
static void test_no_mq(void *obj, void *data, QGuestAllocator *alloc)
{
    QTmem *t = qtmem_start(global_qtest, ((QVirtioTmem *)obj)->vdev, alloc, 0,
                           2);
    const struct virtio_tmem_req req = {
        .type = VIRTIO_TMEM_T_PAGES,
        .nr_ops = cpu_to_le16(1),
    };
    QTmemSeg segs[] = {
        { t->out, REQ + OP, false },
        { t->in, RESP + 1, true },
    };
    int64_t before = violations();

    qtest_memset(t->qts, t->out, 0, REQ + OP);
    qtest_memwrite(t->qts, t->out, &req, sizeof(req));
    qtest_memset(t->qts, t->in, 0x77, RESP + 1);
    qtmem_add(t, t->req[1], segs, 2);
    expect_violation(t, t->req[1], before, RESP + 1);
    qtmem_stop(t);
}

/* --- */

static void test_registers_iothread(void *obj, void *data,
                                    QGuestAllocator *alloc)
{
    QVirtioTmemPCI *pci = obj;

    test_registers(&pci->tmem, data, alloc);
}

/*
 * The device's own address space instead of the guest's: all that is RAM is
 * served, and nothing else.  The guest test packed-iommu translates as well.
 */
static void test_registers_iommu(void *obj, void *data, QGuestAllocator *alloc)
{
    QVirtioTmemPCI *pci = obj;
    uint64_t features = 1ull << VIRTIO_F_ACCESS_PLATFORM;

    test_registers(&pci->tmem, &features, alloc);
}

static void *before_iommu(GString *cmd_line, void *arg)
{
    /* Without a driver it lets all through, untranslated. */
    g_string_append(cmd_line, " -object iothread,id=io0"
                    " -device virtio-iommu-pci,addr=07.0 ");
    return arg;
}

static void test_no_mq_iothread(void *obj, void *data, QGuestAllocator *alloc)
{
    QVirtioTmemPCI *pci = obj;

    test_no_mq(&pci->tmem, data, alloc);
}

static void test_lengths_iothread(void *obj, void *data,
                                  QGuestAllocator *alloc)
{
    QVirtioTmemPCI *pci = obj;

    test_lengths(&pci->tmem, data, alloc);
    test_chains(&pci->tmem, data, alloc);
}

static void *before_iothread(GString *cmd_line, void *arg)
{
    g_string_append(cmd_line, " -object iothread,id=io0 ");
    return arg;
}

static void register_virtio_tmem_violation_test(void)
{
    QOSGraphTestOptions iothread = {
        .before = before_iothread,
        .edge = { .extra_device_opts = "iothread=io0" },
    };
    QOSGraphTestOptions iommu = {
        .before = before_iommu,
        .edge = { .extra_device_opts = "iommu_platform=on" },
    };
    QOSGraphTestOptions two_queues = {
        .edge = { .extra_device_opts = "num-queues=2" },
    };

    qos_add_test("violation/lengths", "virtio-tmem", test_lengths, NULL);
    qos_add_test("violation/chains", "virtio-tmem", test_chains, NULL);
    qos_add_test("violation/iothread", "virtio-tmem-pci",
                 test_lengths_iothread, &iothread);
    qos_add_test("violation/registers", "virtio-tmem", test_registers, NULL);
    qos_add_test("violation/ring-in-registers", "virtio-tmem-pci",
                 test_ring_in_registers, NULL);
    qos_add_test("violation/ring-size", "virtio-tmem-pci", test_ring_size,
                 NULL);
    qos_add_test("violation/registers-iothread", "virtio-tmem-pci",
                 test_registers_iothread, &iothread);
    qos_add_test("violation/registers-iommu", "virtio-tmem-pci",
                 test_registers_iommu, &iommu);
    iommu.edge.extra_device_opts = "iommu_platform=on,iothread=io0";
    qos_add_test("violation/registers-iommu-iothread", "virtio-tmem-pci",
                 test_registers_iommu, &iommu);
    qos_add_test("violation/ring-in-registers-iothread", "virtio-tmem-pci",
                 test_ring_in_registers, &iothread);
    qos_add_test("violation/no-mq", "virtio-tmem", test_no_mq, &two_queues);
    iothread.edge.extra_device_opts = "num-queues=2,iothread=io0";
    qos_add_test("violation/no-mq-iothread", "virtio-tmem-pci",
                 test_no_mq_iothread, &iothread);
}

libqos_init(register_virtio_tmem_violation_test);
