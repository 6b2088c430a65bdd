/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-tmem: what an operator does to a client over QMP, and must not do
 */
#include "qemu/osdep.h"
#include "virtio-tmem-fixture.h"
#include "qemu/module.h"
#include "qemu/units.h"
#include "qobject/qdict.h"
#include "qobject/qlist.h"
#include "qobject/qnum.h"
#include "qobject/qstring.h"

#define STORE_SIZE  (64 * MiB)
#define UUID        "6ba7b810-9dad-11d1-80b4-00c04fd430c8"

#define ok(...) qobject_unref(returned(qmp(__VA_ARGS__)))

/* The reply, which is no error. */
static QDict *returned(QDict *rsp)
{
    if (!qdict_haskey(rsp, "return")) {
        g_test_message("%s", qdict_get_str(qdict_get_qdict(rsp, "error"),
                                           "desc"));
    }
    g_assert_true(qdict_haskey(rsp, "return"));
    return rsp;
}

static void error(QDict *rsp, const char *class, const char *text)
{
    QDict *err = qdict_get_qdict(rsp, "error");

    g_assert_nonnull(err);
    g_test_message("%s", qdict_get_str(err, "desc"));
    g_assert_cmpstr(qdict_get_str(err, "class"), ==, class);
    g_assert_nonnull(strstr(qdict_get_str(err, "desc"), text));
    qobject_unref(rsp);
}

#define refused(text, ...)  error(qmp(__VA_ARGS__), "GenericError", text)
#define unknown(text, ...)  error(qmp(__VA_ARGS__), "DeviceNotFound", text)

static QDict *first(QDict *dict, const char *key)
{
    return qobject_to(QDict, qlist_peek(qdict_get_qlist(dict, key)));
}

/* Store s0 as query-tmem shows it, with the client tm0 only. */
static QDict *query(void)
{
    return returned(qmp("{ 'execute': 'query-tmem', 'arguments': {"
                        " 'store': 's0', 'client': 'tm0' } }"));
}

static int64_t client_int(const char *dict, const char *member)
{
    QDict *rsp = query();
    QDict *client = first(first(rsp, "return"), "clients");
    int64_t value = qdict_get_int(qdict_get_qdict(client, dict), member);

    qobject_unref(rsp);
    return value;
}

static void expect_limits(uint64_t min, uint64_t max, uint32_t weight)
{
    g_assert_cmpint(client_int("limits", "min-size"), ==, min);
    g_assert_cmpint(client_int("limits", "max-size"), ==, max);
    g_assert_cmpint(client_int("limits", "weight"), ==, weight);
}

/* --- Limits --- */

/* Each limit by itself, at work at once. */
static void test_set_client(void *obj, void *data, QGuestAllocator *alloc)
{
    Fixture *f = setup(obj, alloc, F(EPHEMERAL));
    uint8_t status = VIRTIO_TMEM_S_OK;
    unsigned i;

    expect_limits(0, STORE_SIZE, 100);
    ok("{ 'execute': 'tmem-set-client', 'arguments': {"
       " 'store': 's0', 'client': 'tm0', 'weight': 300 } }");
    expect_limits(0, STORE_SIZE, 300);
    ok("{ 'execute': 'tmem-set-client', 'arguments': {"
       " 'store': 's0', 'client': 'tm0', 'min-size': 1048576 } }");
    expect_limits(MiB, STORE_SIZE, 300);
    ok("{ 'execute': 'tmem-set-client', 'arguments': {"
       " 'store': '/objects/s0', 'client': 'tm0', 'max-size': 2097152 } }");
    expect_limits(MiB, 2 * MiB, 300);
    g_assert_cmpint(client_int("stats", "max-bytes"), ==, 2 * MiB);

    /* That many that do not compress are more than the limit. */
    for (i = 0; i < 2 * MiB / QTMEM_PAGE_SIZE; i++) {
        status = store(f, f->pool, i, 11 + 2 * i);
        if (status != VIRTIO_TMEM_S_OK) {
            break;
        }
    }
    g_assert_cmpuint(status, ==, VIRTIO_TMEM_S_QUOTA);
    g_assert_cmpint(client_int("stats", "bytes"), <=, 2 * MiB);
    ok("{ 'execute': 'tmem-set-client', 'arguments': {"
       " 'store': 's0', 'client': 'tm0', 'max-size': 0 } }");
    expect_limits(MiB, STORE_SIZE, 300);
    g_assert_cmpuint(store(f, f->pool, i, 11), ==, VIRTIO_TMEM_S_OK);

    ok("{ 'execute': 'tmem-set-client', 'arguments': { 'store': 's0',"
       " 'client': 'tm0', 'min-size': 0, 'weight': 100 } }");
    expect_limits(0, STORE_SIZE, 100);
    teardown(f);
}

/* What is refused changes nothing, not even the limits beside it. */
static void test_set_client_refused(void *obj, void *data,
                                    QGuestAllocator *alloc)
{
    Fixture *f = setup(obj, alloc, F(EPHEMERAL));
    unsigned i;

    refused("give at least one of 'min-size', 'max-size' and 'weight'",
            "{ 'execute': 'tmem-set-client', 'arguments': {"
            " 'store': 's0', 'client': 'tm0' } }");
    unknown("no tmem-store with ID 's9'",
            "{ 'execute': 'tmem-set-client', 'arguments': {"
            " 'store': 's9', 'client': 'tm0', 'weight': 1 } }");
    unknown("'s0' has no client 'tm9'",
            "{ 'execute': 'tmem-set-client', 'arguments': {"
            " 'store': 's0', 'client': 'tm9', 'weight': 1 } }");
    refused("the minimum of 2097152 bytes is above the maximum",
            "{ 'execute': 'tmem-set-client', 'arguments': { 'store': 's0',"
            " 'client': 'tm0', 'min-size': 2097152, 'max-size': 1048576,"
            " 'weight': 7 } }");
    refused("above the maximum of 67108864 bytes",
            "{ 'execute': 'tmem-set-client', 'arguments': { 'store': 's0',"
            " 'client': 'tm0', 'min-size': 1073741824, 'weight': 7 } }");
    refused("possible are 1 to 10000",
            "{ 'execute': 'tmem-set-client', 'arguments': { 'store': 's0',"
            " 'client': 'tm0', 'min-size': 4096, 'weight': 0 } }");
    refused("possible are 1 to 10000",
            "{ 'execute': 'tmem-set-client', 'arguments': { 'store': 's0',"
            " 'client': 'tm0', 'min-size': 4096, 'weight': 10001 } }");
    refused("Parameter 'weight' expects",
            "{ 'execute': 'tmem-set-client', 'arguments': { 'store': 's0',"
            " 'client': 'tm0', 'weight': -1 } }");

    for (i = 0; i < 400; i++) {
        g_assert_cmpuint(store(f, f->pool, i, 11), ==, VIRTIO_TMEM_S_OK);
    }
    refused("that cannot be evicted",
            "{ 'execute': 'tmem-set-client', 'arguments': { 'store': 's0',"
            " 'client': 'tm0', 'max-size': 1048576, 'weight': 7 } }");
    expect_limits(0, STORE_SIZE, 100);
    teardown(f);
}

/* A limit that ephemeral pages stand in the way of makes them go. */
static void test_set_client_evicts(void *obj, void *data,
                                   QGuestAllocator *alloc)
{
    Fixture *f = setup(obj, alloc, F(EPHEMERAL));
    unsigned i;

    for (i = 0; i < 1024; i++) {
        g_assert_cmpuint(store(f, f->ephemeral, i, 11), ==, VIRTIO_TMEM_S_OK);
    }
    g_assert_cmpint(client_int("stats", "bytes"), >, 4 * MiB);
    ok("{ 'execute': 'tmem-set-client', 'arguments': {"
       " 'store': 's0', 'client': 'tm0', 'max-size': 2097152 } }");
    g_assert_cmpint(client_int("stats", "bytes"), <=, 2 * MiB);
    g_assert_cmpint(client_int("total", "evicted"), >, 0);
    ok("{ 'execute': 'tmem-set-client', 'arguments': {"
       " 'store': 's0', 'client': 'tm0', 'max-size': 0 } }");
    teardown(f);
}

/* --- Freezing --- */

static bool is_frozen(bool client)
{
    QDict *rsp = query();
    QDict *dict = first(rsp, "return");
    bool frozen = qdict_get_bool(client ? first(dict, "clients") : dict,
                                 "frozen");

    qobject_unref(rsp);
    return frozen;
}

static void test_freeze(void *obj, void *data, QGuestAllocator *alloc)
{
    Fixture *f = setup(obj, alloc, F(EPHEMERAL));

    g_assert_cmpuint(store(f, f->pool, 1, 10), ==, VIRTIO_TMEM_S_OK);
    refused("is not frozen",
            "{ 'execute': 'tmem-thaw', 'arguments': { 'store': 's0',"
            " 'client': 'tm0' } }");
    ok("{ 'execute': 'tmem-freeze', 'arguments': { 'store': 's0',"
       " 'client': 'tm0' } }");
    g_assert_true(is_frozen(true));
    g_assert_false(is_frozen(false));
    refused("client 'tm0' is frozen already",
            "{ 'execute': 'tmem-freeze', 'arguments': { 'store': 's0',"
            " 'client': 'tm0' } }");
    g_assert_cmpuint(store(f, f->pool, 2, 10), ==, VIRTIO_TMEM_S_FROZEN);
    g_assert_cmpuint(load(f, f->pool, 1, 10), ==, VIRTIO_TMEM_S_OK);

    /* The store's is another matter. */
    ok("{ 'execute': 'tmem-freeze', 'arguments': { 'store': 's0' } }");
    g_assert_true(is_frozen(false));
    refused("tmem-store 's0' is frozen already",
            "{ 'execute': 'tmem-freeze', 'arguments': { 'store': 's0' } }");
    ok("{ 'execute': 'tmem-thaw', 'arguments': { 'store': 's0',"
       " 'client': 'tm0' } }");
    g_assert_cmpuint(store(f, f->pool, 2, 10), ==, VIRTIO_TMEM_S_FROZEN);
    ok("{ 'execute': 'tmem-thaw', 'arguments': { 'store': 's0' } }");
    refused("tmem-store 's0' is not frozen",
            "{ 'execute': 'tmem-thaw', 'arguments': { 'store': 's0' } }");
    g_assert_cmpuint(store(f, f->pool, 2, 10), ==, VIRTIO_TMEM_S_OK);
    g_assert_cmpint(client_int("total", "stores-frozen"), ==, 2);

    unknown("no client 'tm9'",
            "{ 'execute': 'tmem-freeze', 'arguments': { 'store': 's0',"
            " 'client': 'tm9' } }");
    unknown("no tmem-store with ID 's9'",
            "{ 'execute': 'tmem-thaw', 'arguments': { 'store': 's9' } }");
    teardown(f);
}

/* --- Eviction --- */

static int64_t evict(const char *member, QDict *rsp)
{
    int64_t value = qdict_get_int(qdict_get_qdict(returned(rsp), "return"),
                                  member);

    qobject_unref(rsp);
    return value;
}

static void test_evict(void *obj, void *data, QGuestAllocator *alloc)
{
    Fixture *f = setup(obj, alloc, F(EPHEMERAL));
    /* of what this client did in other tests */
    int64_t evicted = client_int("total", "evicted");
    int64_t pages;
    unsigned i;

    g_assert_cmpuint(store(f, f->pool, 1, 10), ==, VIRTIO_TMEM_S_OK);
    refused("client 'tm0' has no ephemeral pages",
            "{ 'execute': 'tmem-evict', 'arguments': { 'store': 's0',"
            " 'client': 'tm0' } }");
    refused("tmem-store 's0' has no ephemeral pages",
            "{ 'execute': 'tmem-evict', 'arguments': { 'store': 's0',"
            " 'bytes': 4096 } }");
    for (i = 0; i < 1024; i++) {
        /* some of them are in the index only */
        g_assert_cmpuint(store(f, f->ephemeral, i, i % 8 ? 11 : 3), ==,
                         VIRTIO_TMEM_S_OK);
    }
    refused("evicting 0 bytes",
            "{ 'execute': 'tmem-evict', 'arguments': { 'store': 's0',"
            " 'bytes': 0 } }");
    unknown("no client 'tm9'",
            "{ 'execute': 'tmem-evict', 'arguments': { 'store': 's0',"
            " 'client': 'tm9' } }");
    g_assert_cmpint(client_int("total", "evicted"), ==, evicted);

    g_assert_cmpint(evict("freed-bytes",
                          qmp("{ 'execute': 'tmem-evict', 'arguments': {"
                              " 'store': 's0', 'bytes': 1048576 } }")),
                    >=, MiB);
    pages = client_int("total", "pages");
    g_assert_cmpint(pages, >, 1);
    g_assert_cmpint(client_int("total", "evicted"), ==,
                    evicted + 1025 - pages);

    g_assert_cmpint(evict("evicted-pages",
                          qmp("{ 'execute': 'tmem-evict', 'arguments': {"
                              " 'store': 's0', 'client': 'tm0' } }")),
                    ==, pages - 1);
    g_assert_cmpuint(load(f, f->pool, 1, 10), ==, VIRTIO_TMEM_S_OK);
    for (i = 0; i < 1024; i++) {
        g_assert_cmpuint(load(f, f->ephemeral, i, 0), ==,
                         VIRTIO_TMEM_S_MISS);
    }
    teardown(f);
}

/* --- Shared pools --- */

static unsigned num_authorized(void)
{
    QDict *rsp = query();
    QDict *client = first(first(rsp, "return"), "clients");
    unsigned n = qlist_size(qdict_get_qlist(client, "authorized"));

    qobject_unref(rsp);
    return n;
}

static void test_authorize(void *obj, void *data, QGuestAllocator *alloc)
{
    QList *list;
    QDict *rsp;
    unsigned i;

    refused("not authorised for the shared pool " UUID,
            "{ 'execute': 'tmem-authorize', 'arguments': { 'store': 's0',"
            " 'client': 'tm0', 'uuid': %s, 'revoke': true } }", UUID);
    ok("{ 'execute': 'tmem-authorize', 'arguments': { 'store': 's0',"
       " 'client': 'tm0', 'uuid': %s } }", UUID);
    rsp = query();
    list = qdict_get_qlist(first(first(rsp, "return"), "clients"),
                           "authorized");
    g_assert_cmpstr(qstring_get_str(qobject_to(QString, qlist_peek(list))), ==,
                    UUID);
    qobject_unref(rsp);
    refused("is authorised already",
            "{ 'execute': 'tmem-authorize', 'arguments': { 'store': 's0',"
            " 'client': 'tm0', 'uuid': %s } }", UUID);
    refused("'nonsense' is not a UUID",
            "{ 'execute': 'tmem-authorize', 'arguments': { 'store': 's0',"
            " 'client': 'tm0', 'uuid': 'nonsense' } }");
    unknown("no client 'tm9'",
            "{ 'execute': 'tmem-authorize', 'arguments': { 'store': 's0',"
            " 'client': 'tm9', 'uuid': %s } }", UUID);
    g_assert_cmpuint(num_authorized(), ==, 1);
    ok("{ 'execute': 'tmem-authorize', 'arguments': { 'store': 's0',"
       " 'client': 'tm0', 'uuid': %s, 'revoke': true } }", UUID);
    g_assert_cmpuint(num_authorized(), ==, 0);

    for (i = 0; i < 65; i++) {
        g_autofree char *uuid = g_strdup_printf(
            "6ba7b810-9dad-11d1-80b4-00c04fd430%02x", i);

        if (i < 64) {
            ok("{ 'execute': 'tmem-authorize', 'arguments': { 'store': 's0',"
               " 'client': 'tm0', 'uuid': %s } }", uuid);
        } else {
            refused("withdraw one of these first",
                    "{ 'execute': 'tmem-authorize', 'arguments': {"
                    " 'store': 's0', 'client': 'tm0', 'uuid': %s } }", uuid);
        }
    }
    g_assert_cmpuint(num_authorized(), ==, 64);
    while (i-- > 1) {
        g_autofree char *uuid = g_strdup_printf(
            "6ba7b810-9dad-11d1-80b4-00c04fd430%02x", i - 1);

        ok("{ 'execute': 'tmem-authorize', 'arguments': { 'store': 's0',"
           " 'client': 'tm0', 'uuid': %s, 'revoke': true } }", uuid);
    }
    g_assert_cmpuint(num_authorized(), ==, 0);
}

/* --- The same at the human monitor --- */

static void hmp_says(const char *command, const char *text)
{
    g_autofree char *out = qtest_hmp(global_qtest, "%s", command);

    g_test_message("%s: %s", command, out);
    if (*text) {
        g_assert_nonnull(strstr(out, text));
    } else {
        g_assert_cmpstr(out, ==, "");
    }
}

/* The pool @id of tm0, and what it is compressed with. */
static void expect_pool(uint64_t id, uint64_t max, uint32_t weight,
                        const char *compressor)
{
    QDict *rsp = query();
    QDict *client = first(first(rsp, "return"), "clients");
    bool found = false;
    QListEntry *entry;

    QLIST_FOREACH_ENTRY(qdict_get_qlist(client, "pools"), entry) {
        QDict *pool = qobject_to(QDict, qlist_entry_obj(entry));
        QDict *limits = qdict_get_qdict(pool, "limits");

        if (qnum_get_uint(qobject_to(QNum, qdict_get(pool, "id"))) == id) {
            found = true;
            g_assert_cmpint(qdict_get_int(limits, "max-size"), ==, max);
            g_assert_cmpint(qdict_get_int(limits, "weight"), ==, weight);
            g_assert_cmpstr(qdict_get_str(pool, "compressor"), ==, compressor);
        }
    }
    g_assert_true(found);
    qobject_unref(rsp);
}

/* Of one pool: its number takes all 64 bits, in hex as "info tmem" has it. */
static void hmp_pools(Fixture *f)
{
    struct {
        const char *words;
        const char *answer;
    } cases[] = {
        { "max-size 16M", "" },
        { "weight 250", "" },
        { "compressor zstd:3", "" },
        { "compressor lzma", "unknown compressor 'lzma'" },
        { "weight 0", "possible are 1 to 10000" },
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *command =
            g_strdup_printf("tmem_set_client s0 tm0 %s 0x%" PRIx64,
                            cases[i].words, f->ephemeral);

        hmp_says(command, cases[i].answer);
    }
    expect_pool(f->ephemeral, 16 * MiB, 250, "zstd:3");
    expect_pool(f->pool, STORE_SIZE, 100, "lz4");
    hmp_says("tmem_set_client s0 tm0 compressor zstd", "there is no 'pool'");
    hmp_says("tmem_set_client s0 tm0 weight 1 0x5", "no pool with ID 0x5 (5)");
}

static void test_hmp_actions(void *obj, void *data, QGuestAllocator *alloc)
{
    Fixture *f = setup(obj, alloc, F(EPHEMERAL));
    unsigned i;

    hmp_says("tmem_set_client s0 tm0 max-size 32M", "");
    hmp_says("tmem_set_client s0 tm0 weight 250", "");
    expect_limits(0, 32 * MiB, 250);
    hmp_says("tmem_set_client s0 tm0 weight 1x", "'1x' is not a number");
    hmp_says("tmem_set_client s0 tm0 min-size x", "'x' is not a size");
    hmp_says("tmem_set_client s0 tm0 colour 1", "'colour' is not a limit");
    hmp_says("tmem_set_client s0 tm9 weight 1", "has no client 'tm9'");
    expect_limits(0, 32 * MiB, 250);
    hmp_says("tmem_set_client s0 tm0 max-size 0", "");
    hmp_says("tmem_set_client s0 tm0 weight 100", "");
    hmp_pools(f);
    expect_limits(0, STORE_SIZE, 100);

    hmp_says("tmem_freeze s0 tm0", "");
    hmp_says("info tmem s0", " frozen ");
    g_assert_true(is_frozen(true));
    hmp_says("tmem_freeze s0 tm0", "Error: client 'tm0' is frozen already");
    hmp_says("tmem_thaw s0 tm0", "");
    hmp_says("tmem_freeze s0", "");
    hmp_says("info tmem s0", "1 client, frozen\r\n");
    g_assert_true(is_frozen(false));
    hmp_says("tmem_thaw s0", "");
    g_assert_false(is_frozen(false));

    hmp_says("tmem_evict s0", "has no ephemeral pages");
    for (i = 0; i < 512; i++) {
        g_assert_cmpuint(store(f, f->ephemeral, i, 11), ==, VIRTIO_TMEM_S_OK);
    }
    hmp_says("tmem_evict s0 1M", " pages evicted, ");
    g_assert_cmpint(client_int("total", "pages"), >, 0);
    hmp_says("tmem_evict -c tm0 s0", " pages evicted, ");
    g_assert_cmpint(client_int("total", "pages"), ==, 0);

    hmp_says("tmem_authorize s0 tm0 " UUID, "");
    g_assert_cmpuint(num_authorized(), ==, 1);
    hmp_says("tmem_authorize -r s0 tm0 " UUID, "");
    g_assert_cmpuint(num_authorized(), ==, 0);
    teardown(f);
}

/* --- Checking --- */

static void test_check(void *obj, void *data, QGuestAllocator *alloc)
{
    Fixture *f = setup(obj, alloc, F(EPHEMERAL));
    QDict *rsp, *info;

    g_assert_cmpuint(store(f, f->pool, 1, 10), ==, VIRTIO_TMEM_S_OK);
    g_assert_cmpuint(store(f, f->ephemeral, 1, 11), ==, VIRTIO_TMEM_S_OK);
    rsp = returned(qmp("{ 'execute': 'x-tmem-check' }"));
    g_assert_cmpuint(qlist_size(qdict_get_qlist(rsp, "return")), ==, 2);
    qobject_unref(rsp);
    rsp = returned(qmp("{ 'execute': 'x-tmem-check',"
                       " 'arguments': { 'store': 's0' } }"));
    info = first(rsp, "return");
    g_assert_cmpstr(qdict_get_str(info, "store"), ==, "s0");
    g_assert_true(qdict_get_bool(info, "ok"));
    g_assert_false(qdict_haskey(info, "problem"));
    qobject_unref(rsp);
    unknown("no tmem-store with ID 's9'",
            "{ 'execute': 'x-tmem-check', 'arguments': { 'store': 's9' } }");
    teardown(f);
}

static void *before(GString *cmd_line, void *arg)
{
    g_string_append(cmd_line, " -object tmem-store,id=s0,size=64M "
                    "-object tmem-store,id=s1,size=32M,compressor=none ");
    return arg;
}

static void add(const char *name, QOSTestFunc func)
{
    QOSGraphTestOptions opts = {
        .before = before,
        .edge = { .extra_device_opts = "store=s0" },
    };

    qos_add_test(name, "virtio-tmem", func, &opts);
}

static void register_virtio_tmem_qmp_actions_test(void)
{
    add("qmp/set-client", test_set_client);
    add("qmp/set-client-refused", test_set_client_refused);
    add("qmp/set-client-evicts", test_set_client_evicts);
    add("qmp/freeze", test_freeze);
    add("qmp/evict", test_evict);
    add("qmp/hmp-actions", test_hmp_actions);
    add("qmp/authorize", test_authorize);
    add("qmp/check", test_check);
}

libqos_init(register_virtio_tmem_qmp_actions_test);
