/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-tmem: tmem as a provider of query-stats
 */
#include "qemu/osdep.h"
#include "virtio-tmem-fixture.h"
#include "qemu/module.h"
#include "qobject/qdict.h"
#include "qobject/qlist.h"
#include "qobject/qnum.h"
#include "subprojects/libtmem/include/libtmem/tmem-stats.h"

/* A statistic, with type and unit as the library's lists have them. */
typedef struct Expected {
    const char *prefix;
    const char *name;
    const char *type;
    const char *unit;
} Expected;

#define COUNTER(name, kind, unit, text)     { "", #name, #kind, #unit },
#define LATENCY(name, text)                                                   \
    { "latency-", #name, "log2-histogram", "NS" },

static const Expected store_stats[] = {
    TMEM_STORE_COUNTERS(COUNTER)
    TMEM_STORE_LEVELS(COUNTER)
};

static const Expected client_stats[] = {
    TMEM_CLIENT_COUNTERS(COUNTER)
    TMEM_CLIENT_LEVELS(COUNTER)
    TMEM_POOL_COUNTERS(COUNTER)
    TMEM_POOL_LEVELS(COUNTER)
    TMEM_LATENCIES(LATENCY)
    { "sizes-", "held", "linear-histogram", "PAGES" },
    { "sizes-", "stored", "linear-histogram", "PAGES" },
};

/* Units other than these are plain numbers. */
static void check_unit(QDict *value, const char *unit)
{
    bool is_bytes = !strcmp(unit, "BYTES"), is_ns = !strcmp(unit, "NS");

    g_assert_cmpstr(qdict_get_try_str(value, "unit"), ==,
                    is_bytes ? "bytes" : is_ns ? "seconds" : NULL);
    g_assert_cmpint(qdict_get_try_int(value, "base", 0), ==, is_ns ? 10 : 0);
    g_assert_cmpint(qdict_get_int(value, "exponent"), ==, is_ns ? -9 : 0);
}

static void check_schema(QDict *schema, const Expected *expected, unsigned nr)
{
    g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
    const QListEntry *e;

    QLIST_FOREACH_ENTRY(qdict_get_qlist(schema, "stats"), e) {
        QDict *value = qobject_to(QDict, qlist_entry_obj(e));
        const char *name = qdict_get_str(value, "name");
        g_autofree char *wanted = NULL, *type = NULL;

        g_assert_cmpuint(nr, >, 0);
        wanted = g_strconcat(expected->prefix, expected->name, NULL);
        g_strdelimit(wanted, "_", '-');
        g_assert_cmpstr(name, ==, wanted);
        g_assert_true(g_hash_table_add(seen, (char *)name));
        type = g_ascii_strdown(expected->type, -1);
        g_assert_cmpstr(qdict_get_str(value, "type"), ==, type);
        check_unit(value, expected->unit);
        g_assert_cmpint(qdict_get_try_int(value, "bucket-size", 0), ==,
                        g_str_has_prefix(name, "sizes-") ?
                        TMEM_SIZE_BUCKET_BYTES : 0);
        expected++;
        nr--;
    }
    g_assert_cmpuint(nr, ==, 0);
}

/* The schema is all of the library's lists, and nothing else. */
static void test_schema(void *obj, void *data, QGuestAllocator *alloc)
{
    QDict *rsp = qmp("{ 'execute': 'query-stats-schemas',"
                     " 'arguments': { 'provider': 'tmem' } }");
    const QListEntry *e;
    bool store = false, client = false;

    QLIST_FOREACH_ENTRY(qdict_get_qlist(rsp, "return"), e) {
        QDict *schema = qobject_to(QDict, qlist_entry_obj(e));
        const char *target = qdict_get_str(schema, "target");

        g_assert_cmpstr(qdict_get_str(schema, "provider"), ==, "tmem");
        if (!strcmp(target, "tmem-store")) {
            check_schema(schema, store_stats, G_N_ELEMENTS(store_stats));
            store = true;
        } else {
            g_assert_cmpstr(target, ==, "tmem-client");
            check_schema(schema, client_stats, G_N_ELEMENTS(client_stats));
            client = true;
        }
    }
    g_assert_true(store && client);
    qobject_unref(rsp);
}

/* The only result of @rsp, and its value of @name. */
static QDict *only_result(QDict *rsp)
{
    QList *list = qdict_get_qlist(rsp, "return");

    g_assert_cmpuint(qlist_size(list), ==, 1);
    return qobject_to(QDict, qlist_peek(list));
}

static QObject *value_of(QDict *result, const char *name)
{
    const QListEntry *e;

    QLIST_FOREACH_ENTRY(qdict_get_qlist(result, "stats"), e) {
        QDict *stat = qobject_to(QDict, qlist_entry_obj(e));

        if (!strcmp(qdict_get_str(stat, "name"), name)) {
            return qdict_get(stat, "value");
        }
    }
    g_error("there is no '%s'", name);
}

static uint64_t sum_of(QDict *result, const char *name)
{
    const QListEntry *e;
    uint64_t sum = 0;

    QLIST_FOREACH_ENTRY(qobject_to(QList, value_of(result, name)), e) {
        sum += qnum_get_uint(qobject_to(QNum, qlist_entry_obj(e)));
    }
    return sum;
}

static QDict *query(const char *target)
{
    return qmp("{ 'execute': 'query-stats', 'arguments': { 'target': %s,"
               " 'providers': [ { 'provider': 'tmem' } ] } }", target);
}

static QDict *query_tmem_client(QDict *rsp)
{
    QDict *store = only_result(rsp);

    return qobject_to(QDict, qlist_peek(qdict_get_qlist(store, "clients")));
}

/* Each number is that of query-tmem. */
static void test_values(void *obj, void *data, QGuestAllocator *alloc)
{
    Fixture *f = setup(obj, alloc, F(EPHEMERAL));
    QDict *rsp, *result, *tmem, *client, *total, *own;
    const QListEntry *e;
    unsigned i, compared = 0;

    for (i = 0; i < 12; i++) {
        g_assert_cmpuint(store(f, f->pool, i, i < 3 ? i : 10 + i), ==,
                         VIRTIO_TMEM_S_OK);
        g_assert_cmpuint(load(f, f->pool, i, i < 3 ? i : 10 + i), ==,
                         VIRTIO_TMEM_S_OK);
    }
    rsp = query("tmem-client");
    tmem = qmp("{ 'execute': 'query-tmem' }");
    result = only_result(rsp);
    g_assert_nonnull(strstr(qdict_get_str(result, "qom-path"), "tm0"));
    client = query_tmem_client(tmem);
    total = qdict_get_qdict(client, "total");
    own = qdict_get_qdict(client, "stats");
    g_assert_cmpint(qdict_get_int(total, "pages"), ==, 12);

    QLIST_FOREACH_ENTRY(qdict_get_qlist(result, "stats"), e) {
        QDict *stat = qobject_to(QDict, qlist_entry_obj(e));
        const char *name = qdict_get_str(stat, "name");
        QDict *other = qdict_haskey(total, name) ? total : own;
        QNum *n = qobject_to(QNum, qdict_get(stat, "value"));

        if (n) {
            g_test_message("%s", name);
            g_assert_cmpint(qnum_get_uint(n), ==, qdict_get_int(other, name));
            compared++;
        }
    }
    g_assert_cmpuint(compared, ==, qdict_size(total) + qdict_size(own));

    g_assert_cmpuint(sum_of(result, "sizes-held"), ==, 9);
    g_assert_cmpuint(sum_of(result, "latency-store-raw"), ==,
                     qdict_get_int(qdict_get_qdict(qdict_get_qdict(
                         client, "latency"), "store-raw"), "count"));
    qobject_unref(tmem);
    qobject_unref(rsp);

    rsp = query("tmem-store");
    result = only_result(rsp);
    g_assert_cmpstr(qdict_get_str(result, "qom-path"), ==, "/objects/s0");
    g_assert_cmpint(qnum_get_int(qobject_to(QNum, value_of(result,
                                                           "size-bytes"))),
                    ==, 64 << 20);
    qobject_unref(rsp);
    teardown(f);
}

/* Names, and targets that are none of ours. */
static void test_filter(void *obj, void *data, QGuestAllocator *alloc)
{
    QDict *rsp, *result;

    rsp = qmp("{ 'execute': 'query-stats', 'arguments': {"
              " 'target': 'tmem-client', 'providers': [ {"
              " 'provider': 'tmem', 'names': [ 'pages', 'loads-hit' ] } ] } }");
    result = only_result(rsp);
    g_assert_cmpuint(qlist_size(qdict_get_qlist(result, "stats")), ==, 2);
    value_of(result, "pages");
    value_of(result, "loads-hit");
    qobject_unref(rsp);

    rsp = qmp("{ 'execute': 'query-stats', 'arguments': {"
              " 'target': 'tmem-store', 'providers': [ {"
              " 'provider': 'tmem', 'names': [ 'nonsense' ] } ] } }");
    g_assert_true(qlist_empty(qdict_get_qlist(rsp, "return")));
    qobject_unref(rsp);

    rsp = query("vm");
    g_assert_true(qlist_empty(qdict_get_qlist(rsp, "return")));
    qobject_unref(rsp);
    rsp = qmp("{ 'execute': 'query-stats', 'arguments': {"
              " 'target': 'tmem-client', 'providers': [ {"
              " 'provider': 'cryptodev' } ] } }");
    g_assert_true(qlist_empty(qdict_get_qlist(rsp, "return")));
    qobject_unref(rsp);
}

static void test_hmp(void *obj, void *data, QGuestAllocator *alloc)
{
    g_autofree char *store = qtest_hmp(global_qtest,
                                       "info stats tmem-store size-bytes");
    g_autofree char *client = qtest_hmp(global_qtest,
                                        "info stats tmem-client * tmem");

    g_test_message("%s%s", store, client);
    g_assert_nonnull(strstr(store, "size-bytes (instant, B): 67108864"));
    g_assert_nonnull(strstr(client, "latency-load-miss (log2-histogram, ns)"));
    g_assert_null(strstr(client, "failed to find"));
}

static void *before(GString *cmd_line, void *arg)
{
    g_string_append(cmd_line, " -object tmem-store,id=s0,size=64M ");
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

static void register_virtio_tmem_stats_test(void)
{
    add("stats/schema", test_schema);
    add("stats/values", test_values);
    add("stats/filter", test_filter);
    add("stats/hmp", test_hmp);
}

libqos_init(register_virtio_tmem_stats_test);
