/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-tmem: what the monitor shows of it, and what it refuses
 */
#include "qemu/osdep.h"
#include "libqtest-single.h"
#include "qemu/module.h"
#include "qemu/units.h"
#include "qobject/qdict.h"
#include "qobject/qlist.h"
#include "qobject/qnum.h"
#include "qobject/qstring.h"
#include "libqos/qgraph.h"
#include "libqos/virtio-tmem.h"
#include "subprojects/libtmem/include/libtmem/tmem-stats.h"

#define PCI_SLOT        0x04
#define PCI_SLOT_HP     0x06

#define RACE_ROUNDS     1000
#define RACE_TURN       256     /* small requests in a turn of the device */
#define RACE_SPREAD     40      /* and up to so many before the store */

static QTmem *start(void *obj, QGuestAllocator *alloc)
{
    return qtmem_start(global_qtest, ((QVirtioTmem *)obj)->vdev, alloc,
                       1ull << VIRTIO_TMEM_F_EPHEMERAL, 1);
}

/* --- query-tmem --- */

/* The only store of the reply, or the one entry of another list. */
static QDict *only(QDict *dict, const char *key)
{
    QList *list = qdict_get_qlist(dict, key);

    g_assert_cmpuint(qlist_size(list), ==, 1);
    return qobject_to(QDict, qlist_peek(list));
}

static QDict *query(void)
{
    return qmp("{ 'execute': 'query-tmem' }");
}

#define ONE_MORE(name, kind, unit, text)    n++;
#define HAS(name, kind, unit, text)                                           \
    has_counter(stats, #name);

static void has_counter(QDict *stats, const char *name)
{
    g_autofree char *key = g_strdelimit(g_strdup(name), "_", '-');

    g_assert_true(qdict_haskey(stats, key));
}

/*
 * That a counter of libtmem is missing in the schema does not compile; here
 * is the other way: the schema has none that libtmem does not know.
 */
static void test_schema(void *obj, void *data, QGuestAllocator *alloc)
{
    QTmem *t = start(obj, alloc);
    uint64_t pool;
    QDict *rsp, *store, *client, *stats;
    unsigned n;

    g_assert_cmpuint(qtmem_create_pool(t, 0, &pool), ==, VIRTIO_TMEM_S_OK);
    rsp = query();
    store = only(rsp, "return");
    client = only(store, "clients");

    n = 0;
    TMEM_STORE_COUNTERS(ONE_MORE)
    TMEM_STORE_LEVELS(ONE_MORE)
    stats = qdict_get_qdict(store, "stats");
    TMEM_STORE_COUNTERS(HAS)
    TMEM_STORE_LEVELS(HAS)
    g_assert_cmpuint(qdict_size(stats), ==, n);

    n = 0;
    TMEM_CLIENT_COUNTERS(ONE_MORE)
    TMEM_CLIENT_LEVELS(ONE_MORE)
    stats = qdict_get_qdict(client, "stats");
    TMEM_CLIENT_COUNTERS(HAS)
    TMEM_CLIENT_LEVELS(HAS)
    g_assert_cmpuint(qdict_size(stats), ==, n);

    n = 0;
    TMEM_POOL_COUNTERS(ONE_MORE)
    TMEM_POOL_LEVELS(ONE_MORE)
    stats = qdict_get_qdict(client, "total");
    TMEM_POOL_COUNTERS(HAS)
    TMEM_POOL_LEVELS(HAS)
    g_assert_cmpuint(qdict_size(stats), ==, n);
    stats = qdict_get_qdict(only(client, "pools"), "stats");
    TMEM_POOL_COUNTERS(HAS)
    TMEM_POOL_LEVELS(HAS)
    g_assert_cmpuint(qdict_size(stats), ==, n);

    qobject_unref(rsp);
    qtmem_stop(t);
}

static void expect(QDict *stats, const char *name, int64_t value)
{
    if (qdict_get_int(stats, name) != value) {
        g_test_message("%s", name);
    }
    g_assert_cmpint(qdict_get_int(stats, name), ==, value);
}

/* What was done is what is shown, with nothing else beside it. */
static void test_numbers(void *obj, void *data, QGuestAllocator *alloc)
{
    QTmem *t = start(obj, alloc);
    uint8_t page[QTMEM_PAGE_SIZE];
    uint64_t p, e;
    QDict *rsp, *store, *client, *pool, *stats;
    const QListEntry *entry;
    unsigned i;

    g_assert_cmpuint(qtmem_create_pool(t, 0, &p), ==, VIRTIO_TMEM_S_OK);
    g_assert_cmpuint(qtmem_create_pool(t, VIRTIO_TMEM_POOL_EPHEMERAL, &e), ==,
                     VIRTIO_TMEM_S_OK);
    for (i = 0; i < 12; i++) {
        qtmem_fill(page, i < 3 ? i : 10 + i);   /* 3 same-filled, 4 raw */
        g_assert_cmpuint(qtmem_store(t, 0, p, i / 6, i, page), ==,
                         VIRTIO_TMEM_S_OK);
    }
    g_assert_cmpuint(qtmem_store(t, 0, p, 0, 0, page), ==, VIRTIO_TMEM_S_OK);
    g_assert_cmpuint(qtmem_load(t, 0, p, 0, 1, page), ==, VIRTIO_TMEM_S_OK);
    g_assert_cmpuint(qtmem_load(t, 0, p, 9, 9, page), ==, VIRTIO_TMEM_S_MISS);
    g_assert_cmpuint(qtmem_invalidate(t, 0, p, 0, 1), ==, VIRTIO_TMEM_S_OK);
    g_assert_cmpuint(qtmem_invalidate(t, 0, p, 0, 1), ==, VIRTIO_TMEM_S_OK);
    g_assert_cmpuint(qtmem_store(t, 0, e, 0, 0, page), ==, VIRTIO_TMEM_S_OK);
    g_assert_cmpuint(qtmem_load(t, 0, p + 1, 0, 0, page), ==,
                     VIRTIO_TMEM_S_NOPOOL);

    rsp = query();
    store = only(rsp, "return");
    g_assert_cmpstr(qdict_get_str(store, "compressor"), ==, "lz4");
    client = only(store, "clients");
    g_assert_cmpstr(qdict_get_str(client, "name"), ==, "tm0");
    g_assert_cmpuint(qlist_size(qdict_get_qlist(client, "pools")), ==, 2);
    entry = qlist_first(qdict_get_qlist(client, "pools"));
    pool = qobject_to(QDict, qlist_entry_obj(entry));
    g_assert_cmphex(qnum_get_uint(qobject_to(QNum, qdict_get(pool, "id"))), ==,
                    p);
    g_assert_cmpstr(qdict_get_str(pool, "kind"), ==, "persistent");
    expect(pool, "page-shift", 12);
    stats = qdict_get_qdict(pool, "stats");
    expect(stats, "stores", 13);
    expect(stats, "stores-ok", 13);
    expect(stats, "stores-replaced", 1);
    expect(stats, "stores-same-filled", 3);
    expect(stats, "stores-compressed", 4);
    expect(stats, "stores-raw", 6);
    expect(stats, "loads", 2);
    expect(stats, "loads-hit", 1);
    expect(stats, "loads-miss", 1);
    expect(stats, "invalidates", 2);
    expect(stats, "invalidates-found", 1);
    expect(stats, "pages", 11);
    expect(stats, "pages-same-filled", 1);
    expect(stats, "pages-compressed", 4);
    expect(stats, "pages-raw", 6);
    expect(stats, "objects", 2);
    g_assert_cmpint(qdict_get_int(stats, "stored-bytes"), >=, 6 * 4096);
    g_assert_cmpint(qdict_get_int(stats, "data-bytes"), >=,
                    qdict_get_int(stats, "stored-bytes"));

    pool = qobject_to(QDict, qlist_entry_obj(qlist_next(entry)));
    g_assert_cmpstr(qdict_get_str(pool, "kind"), ==, "ephemeral");
    expect(qdict_get_qdict(pool, "stats"), "pages", 1);
    expect(qdict_get_qdict(client, "total"), "pages", 12);
    stats = qdict_get_qdict(client, "stats");
    expect(stats, "pools", 2);
    g_assert_cmpint(qdict_get_int(stats, "ops-no-pool"), >=, 1);
    g_assert_cmpint(qdict_get_int(stats, "bytes"), <=,
                    qdict_get_int(qdict_get_qdict(store, "stats"),
                                  "used-bytes"));
    g_assert_cmpint(qdict_get_int(stats, "bytes-peak"), >=,
                    qdict_get_int(stats, "bytes"));
    qobject_unref(rsp);
    qtmem_stop(t);

    rsp = query();
    client = only(only(rsp, "return"), "clients");
    expect(qdict_get_qdict(client, "total"), "pages", 0);
    g_assert_true(qlist_empty(qdict_get_qlist(client, "pools")));
    qobject_unref(rsp);
}

static void *before_store(GString *cmd_line, void *arg)
{
    g_string_append(cmd_line, " -object tmem-store,id=s0,size=64M "
                    "-object tmem-store,id=s1,size=32M,compressor=none "
                    "-object iothread,id=io0 ");
    return arg;
}

static unsigned num_stores(void)
{
    g_autoptr(QDict) rsp = query();

    return qlist_size(qdict_get_qlist(rsp, "return"));
}

static void expect_error(QDict *rsp, const char *text)
{
    const char *desc = qdict_get_str(qdict_get_qdict(rsp, "error"), "desc");

    g_test_message("%s", desc);
    g_assert_nonnull(strstr(desc, text));
    qobject_unref(rsp);
}

static void test_filter(void *obj, void *data, QGuestAllocator *alloc)
{
    QDict *rsp, *store;

    g_assert_cmpuint(num_stores(), ==, 2);
    rsp = qmp("{ 'execute': 'query-tmem', 'arguments': { 'store': 's1' } }");
    store = only(rsp, "return");
    g_assert_cmpstr(qdict_get_str(store, "id"), ==, "s1");
    g_assert_cmpstr(qdict_get_str(store, "compressor"), ==, "none");
    expect(qdict_get_qdict(store, "stats"), "size-bytes", 32 * MiB);
    qobject_unref(rsp);

    rsp = qmp("{ 'execute': 'query-tmem', 'arguments': {"
              " 'store': '/objects/s0', 'client': 'tm0' } }");
    g_assert_cmpstr(qdict_get_str(only(only(rsp, "return"), "clients"),
                                  "name"), ==, "tm0");
    qobject_unref(rsp);
    rsp = qmp("{ 'execute': 'query-tmem', 'arguments': {"
              " 'store': 's0', 'client': 'other' } }");
    g_assert_true(qlist_empty(qdict_get_qlist(only(rsp, "return"),
                                              "clients")));
    qobject_unref(rsp);
    expect_error(qmp("{ 'execute': 'query-tmem',"
                     " 'arguments': { 'store': 's2' } }"),
                 "no tmem-store with ID 's2'");
}

static void test_hmp(void *obj, void *data, QGuestAllocator *alloc)
{
    QTmem *t = start(obj, alloc);
    uint8_t page[QTMEM_PAGE_SIZE];
    g_autofree char *text = NULL, *one = NULL, *none = NULL, *id = NULL;
    uint64_t pool;

    qtmem_fill(page, 10);
    g_assert_cmpuint(qtmem_create_pool(t, 0, &pool), ==, VIRTIO_TMEM_S_OK);
    g_assert_cmpuint(qtmem_store(t, 0, pool, 1, 1, page), ==,
                     VIRTIO_TMEM_S_OK);
    text = qtest_hmp(t->qts, "info tmem");
    g_test_message("%s", text);
    id = g_strdup_printf("0x%" PRIx64, pool);
    g_assert_nonnull(strstr(text, "s0: "));
    g_assert_nonnull(strstr(text, "s1: "));
    g_assert_nonnull(strstr(text, " of 64 MiB used, compressor lz4, 1 client"));
    g_assert_nonnull(strstr(text, "tm0"));
    g_assert_nonnull(strstr(text, id));
    g_assert_nonnull(strstr(text, "persistent"));
    one = qtest_hmp(t->qts, "info tmem s1");
    g_assert_null(strstr(one, "s0"));
    none = qtest_hmp(t->qts, "info tmem s2");
    g_assert_nonnull(strstr(none, "Error: there is no tmem-store with ID"));
    qtmem_stop(t);
}

/* --- The device in other commands --- */

static bool has_feature(QDict *features, const char *name)
{
    const QListEntry *e;

    QLIST_FOREACH_ENTRY(qdict_get_qlist(features, "dev-features"), e) {
        const char *text = qstring_get_str(qobject_to(QString,
                                                      qlist_entry_obj(e)));

        if (g_str_has_prefix(text, name) && text[strlen(name)] == ':') {
            return true;
        }
    }
    return false;
}

static void test_virtio_status(void *obj, void *data, QGuestAllocator *alloc)
{
    QTmem *t = start(obj, alloc);
    QDict *list = qmp("{ 'execute': 'x-query-virtio' }");
    QDict *status, *offered, *taken;

    g_assert_cmpstr(qdict_get_str(only(list, "return"), "name"), ==,
                    "virtio-tmem");
    status = qmp("{ 'execute': 'x-query-virtio-status',"
                 " 'arguments': { 'path': %s } }",
                 qdict_get_str(only(list, "return"), "path"));
    qobject_unref(list);
    offered = qdict_get_qdict(qdict_get_qdict(status, "return"),
                              "host-features");
    taken = qdict_get_qdict(qdict_get_qdict(status, "return"),
                            "guest-features");
    g_assert_true(has_feature(offered, "VIRTIO_TMEM_F_DISK"));
    g_assert_true(has_feature(offered, "VIRTIO_TMEM_F_EPHEMERAL"));
    g_assert_true(has_feature(offered, "VIRTIO_TMEM_F_EXCLUSIVE"));
    g_assert_true(has_feature(offered, "VIRTIO_TMEM_F_SHARED"));
    g_assert_true(has_feature(taken, "VIRTIO_TMEM_F_EPHEMERAL"));
    g_assert_false(has_feature(taken, "VIRTIO_TMEM_F_SHARED"));
    g_assert_false(has_feature(taken, "VIRTIO_TMEM_F_DISK"));
    /* VIRTIO_F_BAD_FEATURE, which PCI offers to catch bad drivers */
    g_assert_cmphex(qdict_get_try_int(offered, "unknown-dev-features", 0) &
                    ~(1 << 30), ==, 0);
    g_assert_false(qdict_haskey(taken, "unknown-dev-features"));
    qobject_unref(status);
    qtmem_stop(t);
}

static void test_migrate(void *obj, void *data, QGuestAllocator *alloc)
{
    QDict *rsp;

    expect_error(qmp("{ 'execute': 'migrate',"
                     " 'arguments': { 'uri': 'exec:cat >/dev/null' } }"),
                 "virtio-tmem: the pages that client 'tm0' keeps");
    rsp = qmp("{ 'execute': 'query-migrate' }");
    g_assert_cmpuint(qlist_size(qdict_get_qlist(qdict_get_qdict(rsp, "return"),
                                                "blocked-reasons")), ==, 1);
    qobject_unref(rsp);
}

static QDict *del(const char *command, const char *id)
{
    return qmp("{ 'execute': %s, 'arguments': { 'id': %s } }", command, id);
}

static void test_unplug_blocked(void *obj, void *data, QGuestAllocator *alloc)
{
    QVirtioTmemPCI *pci = obj;
    QTmem *t = start(&pci->tmem, alloc);
    uint8_t page[QTMEM_PAGE_SIZE];
    uint64_t p, e;

    qtmem_fill(page, 12);
    g_assert_cmpuint(qtmem_create_pool(t, 0, &p), ==, VIRTIO_TMEM_S_OK);
    g_assert_cmpuint(qtmem_create_pool(t, VIRTIO_TMEM_POOL_EPHEMERAL, &e), ==,
                     VIRTIO_TMEM_S_OK);
    g_assert_cmpuint(qtmem_store(t, 0, p, 1, 1, page), ==, VIRTIO_TMEM_S_OK);
    g_assert_cmpuint(qtmem_store(t, 0, e, 1, 1, page), ==, VIRTIO_TMEM_S_OK);
    expect_error(del("device_del", "tm0"), "run 'swapoff' in the guest");
    expect_error(del("object-del", "s0"), "is in use");

    /* gone by a reset, held again, gone by an invalidation */
    qtmem_restart(t, 0);
    g_assert_cmpuint(qtmem_create_pool(t, 0, &p), ==, VIRTIO_TMEM_S_OK);
    g_assert_cmpuint(qtmem_store(t, 0, p, 1, 1, page), ==, VIRTIO_TMEM_S_OK);
    expect_error(del("device_del", "tm0"), "run 'swapoff' in the guest");
    g_assert_cmpuint(qtmem_invalidate(t, 0, p, 1, 1), ==, VIRTIO_TMEM_S_OK);
    qtmem_stop(t);
    qpci_unplug_acpi_device_test(global_qtest, "tm0", PCI_SLOT);
    g_assert_cmpuint(num_stores(), ==, 2);
    qtest_qmp_assert_success(global_qtest, "{ 'execute': 'object-del',"
                             " 'arguments': { 'id': 's0' } }");
    g_assert_cmpuint(num_stores(), ==, 1);
}

/* Does the end of the log say that the unplug blocker is set? */
static bool blocker_is_set(int fd)
{
    char text[256] = "";
    off_t end = lseek(fd, 0, SEEK_END);
    const char *last;

    g_assert_cmpint(pread(fd, text, sizeof(text) - 1,
                          MAX(end - (off_t)sizeof(text) + 1, 0)), >=, 0);
    last = g_strrstr(text, "virtio_tmem_unplug_blocker");
    return last && strstr(last, " set 1 ");
}

/* Two requests in guest memory: their first descriptors. */
static void prepare_race(QTmem *t, uint64_t pool, uint32_t *store,
                         uint32_t *drop)
{
    const size_t req_len = sizeof(struct virtio_tmem_req) +
                           sizeof(struct virtio_tmem_op);
    const size_t resp_len = sizeof(struct virtio_tmem_resp) + 1;
    uint64_t second = t->out + req_len + QTMEM_PAGE_SIZE;
    QVirtQueue *vq = t->req[0];
    QTmemBatch *b = qtmem_batch_new();
    uint8_t page[QTMEM_PAGE_SIZE];
    unsigned i;

    memset(page, 1, sizeof(page));
    qtmem_batch_add(b, VIRTIO_TMEM_OP_STORE, pool, 1, 1, page);
    qtest_memwrite(t->qts, t->out, &b->hdr, sizeof(b->hdr));
    qtest_memwrite(t->qts, t->out + sizeof(b->hdr), b->op, sizeof(b->op[0]));
    qtest_memwrite(t->qts, t->out + req_len, page, sizeof(page));
    b->op[0].op = VIRTIO_TMEM_OP_INVALIDATE;
    qtest_memwrite(t->qts, second, &b->hdr, sizeof(b->hdr));
    qtest_memwrite(t->qts, second + sizeof(b->hdr), b->op, sizeof(b->op[0]));
    qtmem_batch_free(b);

    qvirtqueue_reset_pool(vq);
    *store = qvirtqueue_add(t->qts, vq, t->out, req_len + sizeof(page), false,
                            true);
    qvirtqueue_add(t->qts, vq, t->in, resp_len, true, false);
    *drop = qvirtqueue_add(t->qts, vq, second, req_len, false, true);
    qvirtqueue_add(t->qts, vq, t->in, resp_len, true, false);
    for (i = 0; i < vq->size; i++) {
        qtest_writew(t->qts, vq->avail + 4 + 2 * i, *drop);
    }
}

/*
 * The last page goes and another comes while the main loop, told of the first,
 * removes the blocker: it must be there in the end.  The first turn of the
 * iothread drops the page, the second, a varying time later, stores it again.
 */
static void test_unplug_race(void *obj, void *data, QGuestAllocator *alloc)
{
    QVirtioTmemPCI *pci = obj;
    QTmem *t = start(&pci->tmem, alloc);
    QVirtQueue *vq = t->req[0];
    g_autofree char *path = NULL;
    g_autofree char *file_out = NULL;
    g_autofree char *on_out = NULL;
    uint32_t store, drop;
    unsigned i;
    uint64_t p;
    uint16_t idx;
    int fd = g_file_open_tmp("virtio-tmem-unplug-XXXXXX", &path, NULL);

    g_assert_cmpint(fd, >=, 0);
    file_out = qtest_hmp(t->qts, "logfile %s", path);
    on_out = qtest_hmp(t->qts, "trace-event virtio_tmem_unplug_blocker on");
    g_assert_cmpstr(on_out, ==, "");
    g_assert_cmpuint(qtmem_create_pool(t, 0, &p), ==, VIRTIO_TMEM_S_OK);
    prepare_race(t, p, &store, &drop);
    idx = qtest_readw(t->qts, vq->avail + 2);

    for (i = 0; i < RACE_ROUNDS; i++) {
        gint64 give_up = g_get_monotonic_time() + 30 * G_TIME_SPAN_SECOND;
        uint64_t slot;

        idx += RACE_TURN + i % RACE_SPREAD;
        slot = vq->avail + 4 + 2 * (idx++ % vq->size);
        qtest_writew(t->qts, slot, store);
        qtest_writew(t->qts, vq->avail + 2, idx);
        t->d->bus->virtqueue_kick(t->d, vq);
        while (qtest_readw(t->qts, vq->used + 2) != idx) {
            g_assert_cmpint(g_get_monotonic_time(), <, give_up);
        }
        while (!blocker_is_set(fd)) {
            g_assert_cmpint(g_get_monotonic_time(), <, give_up);
        }
        qtest_writew(t->qts, slot, drop);
    }
    expect_error(del("device_del", "tm0"), "run 'swapoff' in the guest");
    g_free(qtest_hmp(t->qts, "trace-event virtio_tmem_unplug_blocker off"));
    g_free(qtest_hmp(t->qts, "logfile /dev/null"));
    close(fd);
    unlink(path);
    qtmem_stop(t);
}

static void test_hotplug(void *obj, void *data, QGuestAllocator *alloc)
{
    QVirtioPCIDevice *dev = obj;
    QTestState *qts = dev->pdev->bus->qts;
    unsigned i;

    if (dev->pdev->bus->not_hotpluggable) {
        g_test_skip("pci bus does not support hotplug");
        return;
    }
    g_assert_cmpuint(num_stores(), ==, 2);
    for (i = 0; i < 3; i++) {
        /* with a store of its own, that goes with it */
        if (i % 2) {
            qtest_qmp_device_add(qts, "virtio-tmem-pci", "tm1",
                                 "{'addr': %s, 'iothread': 'io0'}",
                                 stringify(PCI_SLOT_HP));
        } else {
            qtest_qmp_device_add(qts, "virtio-tmem-pci", "tm1",
                                 "{'addr': %s}", stringify(PCI_SLOT_HP));
        }
        g_assert_cmpuint(num_stores(), ==, 3);
        qpci_unplug_acpi_device_test(qts, "tm1", PCI_SLOT_HP);
        g_assert_cmpuint(num_stores(), ==, 2);
    }
    /* with one that stays, and can go when it is not used any more */
    qtest_qmp_device_add(qts, "virtio-tmem-pci", "tm1",
                         "{'addr': %s, 'store': 's1'}",
                         stringify(PCI_SLOT_HP));
    expect_error(del("object-del", "s1"), "is in use");
    qpci_unplug_acpi_device_test(qts, "tm1", PCI_SLOT_HP);
    qtest_qmp_assert_success(qts, "{ 'execute': 'object-del',"
                             " 'arguments': { 'id': 's1' } }");
    g_assert_cmpuint(num_stores(), ==, 1);
    qtest_qmp_assert_success(qts, "{ 'execute': 'object-add', 'arguments': {"
                             " 'qom-type': 'tmem-store', 'id': 's1',"
                             " 'size': 33554432 } }");
    g_assert_cmpuint(num_stores(), ==, 2);
}

/* A device that cannot be added leaves nothing behind. */
static void test_device_add_fails(void *obj, void *data,
                                  QGuestAllocator *alloc)
{
    QDict *rsp;

    expect_error(qmp("{ 'execute': 'device_add', 'arguments': {"
                     " 'driver': 'virtio-tmem-pci', 'id': 'tm1',"
                     " 'store': 's2' } }"), "no tmem-store with ID 's2'");
    expect_error(qmp("{ 'execute': 'device_add', 'arguments': {"
                     " 'driver': 'virtio-tmem-pci', 'id': 'tm1',"
                     " 'store': 's0', 'client': 'tm0' } }"),
                 "'tm0' of the store has a virtio-tmem device already");
    /* that is found last, after all the rest is there */
    expect_error(qmp("{ 'execute': 'device_add', 'arguments': {"
                     " 'driver': 'virtio-tmem-pci', 'id': 'tm1',"
                     " 'iothread-vq-mapping': [ { 'iothread': 'io9' } ] } }"),
                 "object does not exist");
    expect_error(qmp("{ 'execute': 'device_add', 'arguments': {"
                     " 'driver': 'virtio-tmem-pci', 'id': 'tm1',"
                     " 'store': 's1', 'num-queues': 1,"
                     " 'iothread-vq-mapping': [ { 'iothread': 'io0',"
                     " 'vqs': [ 0, 1 ] } ] } }"), "must be less than");

    g_assert_cmpuint(num_stores(), ==, 2);
    rsp = qmp("{ 'execute': 'query-tmem', 'arguments': { 'store': 's1' } }");
    g_assert_true(qlist_empty(qdict_get_qlist(only(rsp, "return"),
                                              "clients")));
    qobject_unref(rsp);
    rsp = qmp("{ 'execute': 'query-migrate' }");
    g_assert_cmpuint(qlist_size(qdict_get_qlist(qdict_get_qdict(rsp, "return"),
                                                "blocked-reasons")), ==, 1);
    qobject_unref(rsp);
}

static void add(const char *name, const char *node, QOSTestFunc func,
                const char *device_opts)
{
    QOSGraphTestOptions opts = {
        .before = device_opts ? before_store : NULL,
        .edge = { .extra_device_opts = device_opts },
    };

    qos_add_test(name, node, func, &opts);
}

static void register_virtio_tmem_qmp_test(void)
{
    const char *any = "virtio-tmem", *pci = "virtio-tmem-pci";

    add("qmp/schema", any, test_schema, NULL);
    add("qmp/numbers", any, test_numbers, NULL);
    add("qmp/filter", any, test_filter, "store=s0");
    add("qmp/hmp", any, test_hmp, "store=s0");
    add("qmp/virtio-status", any, test_virtio_status, NULL);
    add("qmp/migrate", any, test_migrate, NULL);
    add("qmp/device-add-fails", pci, test_device_add_fails, "store=s0");
    add("qmp/hotplug", pci, test_hotplug, "store=s0");
    add("qmp/unplug-race", pci, test_unplug_race, "iothread=io0");
    /* The device goes for good: not on a command line that others share. */
    add("qmp/unplug-blocked", pci, test_unplug_blocked,
        "store=s0,max-pools=9");
}

libqos_init(register_virtio_tmem_qmp_test);
