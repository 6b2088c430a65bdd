/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-tmem and tmem-store: command lines
 *
 * A bad one ends with one sentence that names what is wrong, a status that is
 * not zero and nothing half done; the same object in qemu-storage-daemon.
 */
#include "qemu/osdep.h"
#include "libqtest.h"
#include "qobject/qdict.h"
#include "qobject/qjson.h"
#include "qobject/qlist.h"

#define QEMU_OPTS   " -M pc -accel qtest -display none -nodefaults" \
                    " -monitor stdio"

/*
 * Runs @binary with @args and quits it by @quit on its standard input.
 * Returns its exit status.
 */
static int run(const char *binary, const char *args, const char *quit,
               char **out, char **err)
{
    g_autofree char *command = g_strdup_printf("printf %%b '%s' | exec %s %s",
                                               quit, binary, args);
    char *argv[] = { (char *)"sh", (char *)"-c", command, NULL };
    g_autoptr(GError) error = NULL;
    int status;

    g_test_message("%s", args);
    g_spawn_sync(NULL, argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, out, err,
                 &status, &error);
    g_assert_no_error(error);
    g_assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static const char *qemu(void)
{
    return getenv("QTEST_QEMU_BINARY");
}

typedef struct Case {
    const char *args;
    const char *text;           /* in the message */
} Case;

static const Case bad[] = {
    /* the store */
    { "-object tmem-store,id=s0",
      "Parameter 'size' is missing" },
    { "-object tmem-store,size=1M",
      "Parameter 'id' is missing" },
    { "-object tmem-store,id=s0,size=abc",
      "Parameter 'size' expects" },
    { "-object tmem-store,id=s0,size=-1",
      "Parameter 'size' expects" },
    { "-object tmem-store,id=s0,size=0",
      "'size' of a tmem-store must be at least 1 MiB" },
    { "-object tmem-store,id=s0,size=1048575",
      "'size' of a tmem-store must be at least 1 MiB" },
    { "-object tmem-store,id=s0,size=8E",
      "is too large" },
    { "-object tmem-store,id=s0,size=1M,compressor=zip",
      "unknown compressor 'zip'" },
    { "-object tmem-store,id=s0,size=1M -object tmem-store,id=s0,size=1M",
      "'s0'" },
    { "-object tmem-store,id=s0,size=1M,colour=red",
      "'colour'" },
    /* the device */
    { "-device virtio-tmem,store=s1",
      "there is no tmem-store with ID 's1'" },
    { "-device virtio-tmem,store-size=1",
      "'store-size' must be at least 1 MiB" },
    { "-object tmem-store,id=s0,size=1M "
      "-device virtio-tmem,store=s0,store-size=2M",
      "'store-size' is for the device's own store" },
    { "-device virtio-tmem,num-queues=0",
      "'num-queues' must be between 1 and 1023, and is 0" },
    { "-device virtio-tmem,num-queues=1024",
      "'num-queues' must be between 1 and 1023, and is 1024" },
    { "-device virtio-tmem,num-queues=65536",
      "Parameter 'num-queues' expects uint16_t" },
    { "-device virtio-tmem,max-pools=0",
      "'max-pools' must be between 1 and 65536, and is 0" },
    { "-device virtio-tmem,max-pools=65537",
      "'max-pools' must be between 1 and 65536, and is 65537" },
    { "-device virtio-tmem,disk-size=4097",
      "'disk-size' must be a multiple of 4096 bytes, and is 4097" },
    { "-object tmem-store,id=s0,size=1M "
      "-device virtio-tmem,store=s0,client=vm -device "
      "virtio-tmem,store=s0,client=vm",
      "'vm'" },
    { "-device virtio-tmem,iothread=io1",
      "'io1' not found" },
    { "-object iothread,id=io0 "
      "-device virtio-tmem,iothread=io0,ioeventfd=off",
      "an iothread needs 'ioeventfd=on'" },
    { "-object iothread,id=io0 -device '{\"driver\":\"virtio-tmem\","
      "\"iothread\":\"io0\",\"iothread-vq-mapping\":[{\"iothread\":\"io0\"}]}'",
      "'iothread' and 'iothread-vq-mapping' cannot be used together" },
    { "-device '{\"driver\":\"virtio-tmem\","
      "\"iothread-vq-mapping\":[{\"iothread\":\"io9\"}]}'",
      "\"io9\" object does not exist" },
    { "-only-migratable -device virtio-tmem,id=tm0",
      "virtio-tmem: the pages that client 'tm0' keeps" },
    { "-M microvm -device virtio-tmem-device",
      "needs virtio 1.0, and this virtio-mmio transport is a legacy one" },
};

static void test_bad(void)
{
    unsigned i;

    for (i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autofree char *all = g_strdup_printf("%s %s", QEMU_OPTS,
                                               bad[i].args);
        g_autofree char *out = NULL, *err = NULL;
        int status = run(qemu(), all, "quit\\n", &out, &err);

        g_test_message("%d: %s", status, err);
        g_assert_cmpint(status, ==, 1);
        g_assert_nonnull(strstr(err, bad[i].text));
    }
}

static const Case good[] = {
    { "-device virtio-tmem", "" },
    { "-device virtio-tmem -device virtio-tmem", "" },
    { "-device virtio-tmem,packed=on,queue_reset=off,disk-size=0", "" },
    { "-smp 4 -device virtio-tmem", "" },
    { "-device virtio-tmem,num-queues=1023", "" },
    { "-object tmem-store,id=s0,size=1M -device virtio-tmem,store=s0 "
      "-device virtio-tmem,store=s0", "" },
    { "-M microvm -global virtio-mmio.force-legacy=off "
      "-device virtio-tmem-device,id=tm0", "" },
    /* more than any machine has, and allowed */
    { "-object tmem-store,id=s0,size=8T",
      "tmem-store 's0' may grow to 8 TiB, but this host has only" },
};

static void test_good(void)
{
    unsigned i;

    for (i = 0; i < G_N_ELEMENTS(good); i++) {
        g_autofree char *all = g_strdup_printf("%s %s", QEMU_OPTS,
                                               good[i].args);
        g_autofree char *out = NULL, *err = NULL;
        int status = run(qemu(), all, "quit\\n", &out, &err);

        g_test_message("%d: %s", status, err);
        g_assert_cmpint(status, ==, 0);
        if (*good[i].text) {
            g_assert_nonnull(strstr(err, good[i].text));
        } else {
            g_assert_cmpstr(err, ==, "");
        }
    }
}

/* --- qemu-storage-daemon --- */

static const char *daemon_binary(void)
{
    const char *binary = getenv("QTEST_QEMU_STORAGE_DAEMON_BINARY");

    if (!binary) {
        g_test_skip("QTEST_QEMU_STORAGE_DAEMON_BINARY is not defined");
    }
    return binary;
}

#define QSD_OPTS    "--chardev stdio,id=c --monitor c "
#define QSD_START   "{\"execute\":\"qmp_capabilities\"}\\n"
#define QSD_QUIT    "{\"execute\":\"quit\"}\\n"

/* Line @n of what the daemon said, from 0. */
static QDict *line(const char *out, unsigned n)
{
    g_auto(GStrv) lines = g_strsplit(out, "\n", -1);
    QDict *dict;

    g_assert_cmpuint(g_strv_length(lines), >, n);
    dict = qobject_to(QDict, qobject_from_json(lines[n], NULL));
    g_assert_nonnull(dict);
    return dict;
}

static void test_daemon(void)
{
    g_autofree char *out = NULL, *err = NULL;
    QDict *rsp, *store;
    QList *list;

    if (!daemon_binary()) {
        return;
    }
    g_assert_cmpint(run(daemon_binary(),
                        QSD_OPTS "--object tmem-store,id=s0,size=256M",
                        QSD_START
                        "{\"execute\":\"object-add\",\"arguments\":{"
                        "\"qom-type\":\"tmem-store\",\"id\":\"s1\","
                        "\"size\":1048576,\"compressor\":\"none\"}}\\n"
                        "{\"execute\":\"query-tmem\"}\\n"
                        "{\"execute\":\"object-del\","
                        "\"arguments\":{\"id\":\"s0\"}}\\n"
                        "{\"execute\":\"query-tmem\"}\\n" QSD_QUIT,
                        &out, &err), ==, 0);
    g_assert_cmpstr(err, ==, "");

    /* greeting, capabilities, object-add */
    rsp = line(out, 3);
    list = qdict_get_qlist(rsp, "return");
    g_assert_cmpuint(qlist_size(list), ==, 2);
    store = qobject_to(QDict, qlist_peek(list));
    g_assert_cmpstr(qdict_get_str(store, "id"), ==, "s0");
    g_assert_cmpstr(qdict_get_str(store, "compressor"), ==, "lz4");
    g_assert_cmpint(qdict_get_int(qdict_get_qdict(store, "stats"),
                                  "size-bytes"), ==, 256 << 20);
    g_assert_true(qlist_empty(qdict_get_qlist(store, "clients")));
    qobject_unref(rsp);

    rsp = line(out, 5);
    list = qdict_get_qlist(rsp, "return");
    g_assert_cmpuint(qlist_size(list), ==, 1);
    store = qobject_to(QDict, qlist_peek(list));
    g_assert_cmpstr(qdict_get_str(store, "id"), ==, "s1");
    qobject_unref(rsp);
}

static void test_daemon_bad(void)
{
    unsigned i;

    if (!daemon_binary()) {
        return;
    }
    for (i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autofree char *args = NULL, *out = NULL, *err = NULL;
        g_auto(GStrv) parts = g_strsplit(bad[i].args, "-object", -1);
        int status;

        if (!g_str_has_prefix(bad[i].args, "-object tmem-store") ||
            strstr(bad[i].args, "-device")) {
            continue;
        }
        args = g_strjoinv("--object", parts);
        status = run(daemon_binary(), args, "", &out, &err);
        g_test_message("%d: %s", status, err);
        g_assert_cmpint(status, ==, 1);
        g_assert_nonnull(strstr(err, bad[i].text));
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    qtest_add_func("tmem/cmdline/bad", test_bad);
    qtest_add_func("tmem/cmdline/good", test_good);
    qtest_add_func("tmem/cmdline/daemon", test_daemon);
    qtest_add_func("tmem/cmdline/daemon-bad", test_daemon_bad);
    return g_test_run();
}
