/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-tmem: credit, stores that the driver may report ahead of their answer
 *
 * DEV-n is a requirement of docs/specs/virtio-tmem.rst.
 */
#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/module.h"
#include "qemu/units.h"
#include "qobject/qdict.h"
#include "qobject/qlist.h"
#include "virtio-tmem-fixture.h"

/* A level or counter of the client "tm0". */
static uint64_t counter(const char *name)
{
    QDict *rsp = qtest_qmp(global_qtest, "{ 'execute': 'query-tmem' }");
    QDict *store = qobject_to(QDict, qlist_peek(qdict_get_qlist(rsp,
                                                                "return")));
    QDict *client = qobject_to(QDict, qlist_peek(qdict_get_qlist(store,
                                                                 "clients")));
    uint64_t value = qdict_get_int(qdict_get_qdict(client, "stats"), name);

    qobject_unref(rsp);
    return value;
}

/* A request of @nr stores of incompressible pages from @index on. */
static void store_some(Fixture *f, uint64_t pool, uint64_t index, unsigned nr,
                       uint8_t flags)
{
    QTmemBatch *b = qtmem_batch_new();
    uint8_t page[QTMEM_PAGE_SIZE];

    for (unsigned i = 0; i < nr; i++) {
        qtmem_fill(page, (index + i) * 2 + 1001);
        qtmem_batch_add(b, VIRTIO_TMEM_OP_STORE, pool, 1, index + i,
                        page)->flags = flags;
    }
    run(f, b);
    g_assert_cmpuint(f->a.resp.status, ==, VIRTIO_TMEM_S_OK);
}

/* One with credit: its status. */
static uint8_t store_credit(Fixture *f, uint64_t pool, uint64_t index)
{
    store_some(f, pool, index, 1, VIRTIO_TMEM_OP_F_CREDIT);
    f->t->credit -= f->t->credit != 0;
    return f->a.status[0];
}

static uint64_t fill_up(Fixture *f)
{
    uint64_t n;

    for (n = 0; store(f, f->pool, n, n * 2 + 1001) == VIRTIO_TMEM_S_OK; n++) {
        g_assert_cmpuint(n, <, 4000);
    }
    return n;
}

static void expect_pages(Fixture *f, uint64_t from, uint64_t to)
{
    for (uint64_t i = from; i < to; i++) {
        g_assert_cmpuint(load(f, f->pool, i, i * 2 + 1001), ==,
                         VIRTIO_TMEM_S_OK);
    }
}

/* DEV-25, DEV-30: the first grant comes with the pool. */
static void test_grant(void *obj, void *data, QGuestAllocator *alloc)
{
    uint64_t granted = counter("credit-granted");
    uint64_t used = counter("credit-used");
    uint64_t places_used = counter("credit-places-used");
    Fixture *f = setup(obj, alloc, F(CREDIT));

    g_assert_cmpuint(f->t->credit, ==, 128);
    g_assert_cmpuint(counter("credit"), ==, 128);
    g_assert_cmpuint(counter("credit-bytes"), >=, 128 * 4096);
    g_assert_cmpuint(counter("credit-bytes"), <=, counter("bytes"));
    /* What is used comes again, in the response to the stores. */
    store_some(f, f->pool, 0, 64, VIRTIO_TMEM_OP_F_CREDIT);
    g_assert_cmpuint(le32_to_cpu(f->a.resp.credit), ==, 64);
    g_assert_cmpuint(counter("credit-used") - used, ==, 64);
    g_assert_cmpuint(counter("credit-granted") - granted, ==, 128 + 64);
    g_assert_cmpuint(counter("credit-places-used"), ==, places_used);
    expect_pages(f, 0, 64);
    teardown(f);
}

/* DEV-30: an ephemeral pool has no use for it. */
static void test_ephemeral(void *obj, void *data, QGuestAllocator *alloc)
{
    uint64_t used = counter("credit-used");
    QVirtioTmem *tmem = obj;
    Fixture *f = g_new0(Fixture, 1);

    f->t = qtmem_start(global_qtest, tmem->vdev, alloc,
                       F(CREDIT) | F(EPHEMERAL), 1);
    g_assert_cmpuint(qtmem_create_pool(f->t, VIRTIO_TMEM_POOL_EPHEMERAL,
                                       &f->ephemeral), ==, VIRTIO_TMEM_S_OK);
    g_assert_cmpuint(f->t->credit, ==, 0);
    g_assert_cmpuint(qtmem_create_pool(f->t, 0, &f->pool), ==,
                     VIRTIO_TMEM_S_OK);
    g_assert_cmpuint(f->t->credit, ==, 128);
    g_assert_cmpuint(store_credit(f, f->ephemeral, 1), ==,
                     VIRTIO_TMEM_S_INVAL);
    /* DEV-13, and one is gone */
    g_assert_cmpuint(load(f, f->ephemeral, 1, 0), ==, VIRTIO_TMEM_S_MISS);
    g_assert_cmpuint(counter("credit-used") - used, ==, 1);
    teardown(f);
}

/* DEV-26: each credit is worth a page, and what comes then is refused. */
static void test_full(void *obj, void *data, QGuestAllocator *alloc)
{
    uint64_t places_used = counter("credit-places-used");
    Fixture *f = setup(obj, alloc, F(CREDIT));
    uint64_t n = fill_up(f), i = n;

    g_assert_cmpuint(f->t->credit, >, 20);
    while (f->t->credit) {
        g_assert_cmpuint(store_credit(f, f->pool, i++), ==, VIRTIO_TMEM_S_OK);
        g_assert_cmpuint(i, <, n + 2000);
    }
    g_assert_cmpuint(counter("credit-places-used"), >, places_used);
    g_assert_cmpuint(counter("credit-bytes"), ==, 0);
    g_assert_cmpuint(counter("bytes"), <=, counter("max-bytes"));
    g_assert_cmpuint(store_credit(f, f->pool, i), ==, VIRTIO_TMEM_S_INVAL);
    g_assert_cmpuint(load(f, f->pool, i, 0), ==, VIRTIO_TMEM_S_MISS);
    expect_pages(f, 0, i);
    /* With room there is credit again. */
    for (i = 0; i < 200; i++) {
        qtmem_invalidate(f->t, 0, f->pool, 1, i);
    }
    g_assert_cmpuint(f->t->credit, >, 20);
    teardown(f);
}

/* DEV-5, DEV-31: a reset forgets it, on both sides. */
static void test_reset(void *obj, void *data, QGuestAllocator *alloc)
{
    Fixture *f = setup(obj, alloc, F(CREDIT));

    g_assert_cmpuint(f->t->credit, ==, 128);
    qtmem_restart(f->t, F(CREDIT));
    g_assert_cmpuint(counter("credit"), ==, 0);
    g_assert_cmpuint(counter("bytes"), ==, 0);
    g_assert_cmpuint(store_credit(f, f->pool, 1), ==, VIRTIO_TMEM_S_INVAL);
    make_pools(f, 0);
    g_assert_cmpuint(f->t->credit, ==, 128);
    g_assert_cmpuint(store_credit(f, f->pool, 1), ==, VIRTIO_TMEM_S_OK);
    teardown(f);
}

/* DEV-3: a driver that does not know of it sees and costs nothing. */
static void test_not_negotiated(void *obj, void *data, QGuestAllocator *alloc)
{
    Fixture *f = setup(obj, alloc, 0);

    g_assert_cmpuint(f->t->credit, ==, 0);
    g_assert_cmpuint(counter("credit-bytes"), ==, 0);
    g_assert_cmpuint(store_credit(f, f->pool, 1), ==, VIRTIO_TMEM_S_UNSUPP);
    g_assert_cmpuint(load(f, f->pool, 1, 0), ==, VIRTIO_TMEM_S_MISS);
    teardown(f);
}

/* Stores on queue @q, all with credit. */
static void store_on_queue(QTmem *t, unsigned q, uint64_t pool, unsigned nr)
{
    g_autofree QTmemAnswer *a = g_new(QTmemAnswer, 1);
    QTmemBatch *b = qtmem_batch_new();
    uint8_t page[QTMEM_PAGE_SIZE];

    for (unsigned i = 0; i < nr; i++) {
        qtmem_fill(page, q * 100 + i);
        qtmem_batch_add(b, VIRTIO_TMEM_OP_STORE, pool, q, i,
                        page)->flags = VIRTIO_TMEM_OP_F_CREDIT;
    }
    t->credit -= nr;
    qtmem_batch_run(t, q, b, a);
    qtmem_batch_free(b);
    for (unsigned i = 0; i < nr; i++) {
        g_assert_cmpuint(a->status[i], ==, VIRTIO_TMEM_S_OK);
        g_assert_cmpuint(qtmem_load(t, q, pool, q, i, page), ==,
                         VIRTIO_TMEM_S_OK);
        qtmem_check(page, q * 100 + i);
    }
}

/* DEV-25: it is the client's: granted on one queue and used on another. */
static void test_queues(void *obj, void *data, QGuestAllocator *alloc)
{
    QVirtioTmem *tmem = obj;
    QTmem *t = qtmem_start(global_qtest, tmem->vdev, alloc,
                           F(CREDIT) | F(MQ), 2);
    uint64_t pool;

    g_assert_cmpuint(qtmem_create_pool(t, 0, &pool), ==, VIRTIO_TMEM_S_OK);
    g_assert_cmpuint(t->credit, ==, 128);
    for (unsigned i = 0; i < 4; i++) {
        store_on_queue(t, i % 2, pool, 60);
        g_assert_cmpuint(t->credit, ==, 128);
        g_assert_cmpuint(counter("credit"), ==, 128);
    }
    /* It outlives the pool, and no more is granted without one. */
    g_assert_cmpuint(qtmem_destroy_pool(t, pool), ==, VIRTIO_TMEM_S_OK);
    g_assert_cmpuint(counter("credit"), ==, 128);
    qtmem_stop(t);
    g_assert_cmpuint(counter("credit"), ==, 0);
    g_assert_cmpuint(counter("credit-bytes"), ==, 0);
}

static void test_iothread(void *obj, void *data, QGuestAllocator *alloc)
{
    QVirtioTmemPCI *pci = obj;

    test_queues(&pci->tmem, NULL, alloc);
}

static void *before_iothread(GString *cmd_line, void *arg)
{
    g_string_append(cmd_line, " -object iothread,id=io0 ");
    return arg;
}

/* The client is charged: nobody holds more than the limit by credit. */
static void test_small(void *obj, void *data, QGuestAllocator *alloc)
{
    Fixture *f = setup(obj, alloc, F(CREDIT));

    g_assert_cmpuint(f->t->credit, >, 0);
    g_assert_cmpuint(counter("credit-bytes"), <=, MiB / 16 + 4096);
    g_assert_cmpuint(fill_up(f), >, 100);
    g_assert_cmpuint(counter("bytes"), <=, MiB);
    teardown(f);
}

static void add(const char *name, QOSTestFunc func, const char *device_opts)
{
    QOSGraphTestOptions opts = {
        .edge = { .extra_device_opts = device_opts },
    };

    qos_add_test(name, "virtio-tmem", func, &opts);
}

static void register_virtio_tmem_credit_test(void)
{
    QOSGraphTestOptions iothread = {
        .before = before_iothread,
        .edge.extra_device_opts = "num-queues=2,iothread=io0",
    };

    qos_add_test("credit/iothread", "virtio-tmem-pci", test_iothread,
                 &iothread);
    add("credit/queues", test_queues, "num-queues=2");
    add("credit/grant", test_grant, "store-size=64M");
    add("credit/ephemeral", test_ephemeral, "store-size=64M");
    add("credit/full", test_full, "store-size=4M");
    add("credit/limit", test_full, "store-size=64M,max-size=4M");
    add("credit/reset", test_reset, "store-size=64M");
    add("credit/not-negotiated", test_not_negotiated, "store-size=64M");
    add("credit/small", test_small, "store-size=64M,max-size=1M");
}

libqos_init(register_virtio_tmem_credit_test);
