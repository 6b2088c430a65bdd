/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-tmem: configuration that changes while the driver runs
 *
 * DEV-n is a requirement of docs/specs/virtio-tmem.rst.
 */
#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/module.h"
#include "qemu/units.h"
#include "qobject/qdict.h"
#include "qobject/qnum.h"
#include "virtio-tmem-fixture.h"

#define TIMEOUT_US  (30 * 1000 * 1000)

static uint32_t not_accepting(QTmem *t)
{
    return qvirtio_config_readl(t->d, offsetof(struct virtio_tmem_config,
                                               not_accepting));
}

static uint64_t disk_size(QTmem *t)
{
    return qvirtio_config_readq(t->d, offsetof(struct virtio_tmem_config,
                                               disk_size));
}

static void expect_config_change(QTmem *t)
{
    qvirtio_wait_config_isr(t->d, TIMEOUT_US);
}

/* --- disk-size --- */

#define DISK_PATH   "/machine/peripheral/tm0"

static void set_disk_size(uint64_t bytes)
{
    qtest_qmp_assert_success(global_qtest, "{ 'execute': 'qom-set',"
                             " 'arguments': { 'path': '" DISK_PATH "',"
                             " 'property': 'disk-size', 'value': %"
                             PRId64 " } }", (int64_t)bytes);
}

static void set_disk_size_fails(uint64_t bytes, const char *why)
{
    QDict *error = qtest_qmp_assert_failure_ref(
        global_qtest, "{ 'execute': 'qom-set',"
        " 'arguments': { 'path': '" DISK_PATH "',"
        " 'property': 'disk-size', 'value': %" PRId64 " } }", (int64_t)bytes);

    g_assert_nonnull(strstr(qdict_get_str(error, "desc"), why));
    qobject_unref(error);
}

/* DEV-34 */
static void test_disk_grows(void *obj, void *data, QGuestAllocator *alloc)
{
    Fixture *f = setup(obj, alloc, F(DISK));

    g_assert_cmpuint(disk_size(f->t), ==, 64 * MiB);
    g_assert_cmpuint(store(f, f->pool, 1, 11), ==, VIRTIO_TMEM_S_OK);
    set_disk_size(96 * MiB);
    expect_config_change(f->t);
    g_assert_cmpuint(disk_size(f->t), ==, 96 * MiB);

    set_disk_size_fails(95 * MiB, "can only grow");
    set_disk_size_fails(97 * MiB + 512, "multiple of 4096");
    set_disk_size_fails(0, "cannot be taken away");
    g_assert_cmpuint(disk_size(f->t), ==, 96 * MiB);
    /* The pages are what they were. */
    g_assert_cmpuint(load(f, f->pool, 1, 11), ==, VIRTIO_TMEM_S_OK);
    teardown(f);
}

/* Nobody uses it: then it may be of any size. */
static void test_disk_shrinks(void *obj, void *data, QGuestAllocator *alloc)
{
    Fixture *f = setup(obj, alloc, F(DISK));

    qtmem_restart(f->t, F(DISK));
    set_disk_size_fails(32 * MiB, "unload the driver");
    qvirtio_reset(f->t->d);
    set_disk_size(32 * MiB);
    qtmem_restart(f->t, F(DISK));
    g_assert_cmpuint(disk_size(f->t), ==, 32 * MiB);
    qvirtio_reset(f->t->d);
    set_disk_size(64 * MiB);
    teardown(f);
}

static void test_no_disk(void *obj, void *data, QGuestAllocator *alloc)
{
    Fixture *f = setup(obj, alloc, 0);

    set_disk_size_fails(64 * MiB, "started without a disk");
    g_assert_cmpuint(disk_size(f->t), ==, 0);
    teardown(f);
}

/* --- not_accepting --- */

static void *before_store(GString *cmd_line, void *arg)
{
    g_string_append(cmd_line, " -object tmem-store,id=s0,size=4M "
                    "-device virtio-tmem-pci,addr=06.0,id=tm1,store=s0 ");
    return arg;
}

static uint64_t fill_up(Fixture *f, uint64_t pool)
{
    uint64_t n;

    for (n = 0; store(f, pool, n, n * 2 + 1001) == VIRTIO_TMEM_S_OK; n++) {
        g_assert_cmpuint(n, <, 2000);
    }
    return n;
}

static void empty(Fixture *f)
{
    QTmemBatch *b = qtmem_batch_new();

    qtmem_batch_add(b, VIRTIO_TMEM_OP_INVALIDATE_OBJECT, f->pool, 1, 0, NULL);
    run(f, b);
    g_assert_cmpuint(f->a.status[0], ==, VIRTIO_TMEM_S_OK);
}

/* DEV-27: the store is full because of one, and another hears of its end. */
static void test_hint_full(void *obj, void *data, QGuestAllocator *alloc)
{
    QVirtioTmemPCI *pci = obj;
    SecondDevice second;
    Fixture *f, *g;

    second_set_up(&second, pci);
    f = setup(&pci->tmem, alloc, F(HINT));
    g = setup(&second.tmem, alloc, 0);
    g_assert_cmpuint(f->t->hints, ==, 0);
    g_assert_cmpuint(not_accepting(f->t), ==, 0);

    fill_up(g, g->pool);
    g_assert_cmpuint(not_accepting(f->t), ==, 0);
    fill_up(f, f->pool);
    g_assert_cmpuint(f->t->hints, ==, VIRTIO_TMEM_HINT_PERSISTENT);
    g_assert_cmpuint(not_accepting(f->t), ==, VIRTIO_TMEM_HINT_PERSISTENT);
    /*
     * That it began is told as well: let that pass (whoever waits for a queue
     * takes that bit away, too), for what is looked for is the end.
     */
    g_assert_cmpuint(load(g, g->pool, 5000, 0), ==, VIRTIO_TMEM_S_MISS);
    f->t->d->bus->get_queue_isr_status(f->t->d, f->t->ctrl);
    empty(g);
    expect_config_change(f->t);
    g_assert_cmpuint(not_accepting(f->t), ==, 0);
    g_assert_cmpuint(store(f, f->pool, 5000, 11), ==, VIRTIO_TMEM_S_OK);
    g_assert_cmpuint(f->t->hints, ==, 0);

    /* Whoever did not ask for it is not told, in any field. */
    g_assert_cmpuint(not_accepting(g->t), ==, 0);
    teardown(g);
    teardown(f);
    second_tear_down(&second);
}

/* At the limit of the client, for both kinds of pool. */
static void test_hint_limit(void *obj, void *data, QGuestAllocator *alloc)
{
    Fixture *f = setup(obj, alloc, F(HINT) | F(EPHEMERAL));
    const uint32_t both = VIRTIO_TMEM_HINT_PERSISTENT |
                          VIRTIO_TMEM_HINT_EPHEMERAL;

    fill_up(f, f->pool);
    g_assert_cmpuint(f->t->hints, ==, VIRTIO_TMEM_HINT_PERSISTENT);
    fill_up(f, f->ephemeral);
    g_assert_cmpuint(f->t->hints, ==, both);
    g_assert_cmpuint(not_accepting(f->t), ==, both);
    empty(f);
    g_assert_cmpuint(not_accepting(f->t), ==, 0);
    g_assert_cmpuint(store(f, f->ephemeral, 1, 11), ==, VIRTIO_TMEM_S_OK);
    g_assert_cmpuint(f->t->hints, ==, 0);

    /* DEV-5: the pages that filled it are gone, and so is the hint. */
    fill_up(f, f->pool);
    g_assert_cmpuint(not_accepting(f->t), !=, 0);
    qtmem_restart(f->t, F(HINT));
    g_assert_cmpuint(not_accepting(f->t), ==, 0);
    teardown(f);
}

static void test_hint_iothread(void *obj, void *data, QGuestAllocator *alloc)
{
    QVirtioTmemPCI *pci = obj;

    test_hint_limit(&pci->tmem, NULL, alloc);
}

static void *before_iothread(GString *cmd_line, void *arg)
{
    g_string_append(cmd_line, " -object iothread,id=io0 ");
    return arg;
}

/* DEV-3 */
static void test_hint_not_negotiated(void *obj, void *data,
                                     QGuestAllocator *alloc)
{
    Fixture *f = setup(obj, alloc, 0);

    fill_up(f, f->pool);
    g_assert_cmpuint(f->t->hints, ==, 0);
    g_assert_cmpuint(not_accepting(f->t), ==, 0);
    teardown(f);
}

/* --- */

static void add(const char *name, const char *node, QOSTestFunc func,
                QOSBeforeTest before, const char *device_opts)
{
    QOSGraphTestOptions opts = {
        .before = before,
        .edge = { .extra_device_opts = device_opts },
    };

    qos_add_test(name, node, func, &opts);
}

static void register_virtio_tmem_config_test(void)
{
    const char *any = "virtio-tmem", *pci = "virtio-tmem-pci";
    const char *limit = "store-size=64M,max-size=2M";

    add("change/disk-grows", any, test_disk_grows, NULL,
        "store-size=8M,disk-size=64M");
    add("change/disk-shrinks", any, test_disk_shrinks, NULL,
        "store-size=9M,disk-size=64M");
    add("change/no-disk", any, test_no_disk, NULL, "disk-size=0");
    add("change/hint-full", pci, test_hint_full, before_store, "store=s0");
    add("change/hint-limit", any, test_hint_limit, NULL, limit);
    add("change/hint-iothread", pci, test_hint_iothread, before_iothread,
        "store-size=64M,max-size=2M,iothread=io0");
    add("change/hint-not-negotiated", any, test_hint_not_negotiated, NULL,
        limit);
}

libqos_init(register_virtio_tmem_config_test);
