/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmemctl doctor: the stores and, as far as visible from here, the guests
 */
#include <string.h>

#include "doctor.h"
#include "value.h"

static uint64_t get(JsonObject *info, const char *part, const char *name)
{
    uint64_t number = 0;

    ctl_get_uint(info, part, name, &number);
    return number;
}

static void check_store(GPtrArray *findings, const CtlStore *store)
{
    uint64_t size = get(store->info, "stats", "size-bytes");
    uint64_t used = get(store->info, "stats", "used-bytes");
    g_autofree char *size_str = ctl_size_str(size, false);
    bool frozen = false;

    if (size && used >= size / 10 * 9) {
        ctl_finding_add(findings, true, "store-near-full",
            g_strdup_printf("store %s: %d%% of its %s are in use; when it is "
                            "full it refuses pages", store->id,
                            (int)(100.0 * used / size), size_str),
            g_strdup("start it with a larger size=, lower max-size of guests "
                     "that need less, or tmemctl evict --store STORE"));
    }
    if (ctl_get_bool(store->info, "frozen", &frozen) && frozen) {
        ctl_finding_add(findings, false, "store-frozen",
            g_strdup_printf("store %s is frozen and takes no page", store->id),
            g_strdup_printf("tmemctl thaw --store %s", store->id));
    }
}

static bool has_kind(const CtlClient *client, const char *kind)
{
    JsonArray *pools = ctl_get_array(client->info, "pools");
    guint n = ctl_array_length(pools);
    guint i;

    for (i = 0; i < n; i++) {
        JsonObject *pool = ctl_array_object(pools, i);

        if (!g_strcmp0(ctl_get_string(pool, "kind"), kind)) {
            return true;
        }
    }
    return false;
}

/* Whether the guest uses what it was given. */
static void check_guest(GPtrArray *findings, const CtlClient *client)
{
    const char *door = ctl_get_string(client->info, "door");
    bool block = !g_strcmp0(door, "block");

    /* It has members, which are looked at, and no guest of its own. */
    if (!g_strcmp0(door, "trust-group")) {
        return;
    }
    if (!block && !get(client->info, "stats", "requests")) {
        ctl_finding_add(findings, true, "no-driver",
            g_strdup_printf("client %s: its guest has never sent a request, "
                            "so no driver is loaded there", client->name),
            g_strdup("in the guest: modprobe virtio_tmem, mkswap /dev/vtmem0, "
                     "swapon /dev/vtmem0"));
    } else if (!block && !has_kind(client, "persistent")) {
        ctl_finding_add(findings, true, "no-swap",
            g_strdup_printf("client %s: its guest has the driver and no swap "
                            "on it", client->name),
            g_strdup("in the guest: mkswap /dev/vtmem0, swapon /dev/vtmem0"));
    } else if (!get(client->info, "total", "stores")) {
        ctl_finding_add(findings, false, "nothing-stored",
            g_strdup_printf("client %s: its guest has stored no page, as it "
                            "has no swap there or had no need", client->name),
            g_strdup("look with swapon --show in the guest"));
    }
}

/* One that has a maximum of its own; that of its client is looked at there. */
static void check_pool(GPtrArray *findings, const CtlClient *client,
                       JsonObject *pool)
{
    uint64_t bytes = get(pool, "stats", "data-bytes") +
                     get(pool, "stats", "index-bytes");
    uint64_t max = get(pool, "limits", "max-size");
    uint64_t refused = get(pool, "stats", "stores-quota");
    uint64_t id = get(pool, NULL, "id");
    g_autofree char *max_str = ctl_size_str(max, false);

    if (refused && max < get(client->info, "stats", "max-bytes") &&
        bytes >= max / 20 * 19) {
        ctl_finding_add(findings, true, "pool-at-limit",
            g_strdup_printf("pool 0x%" G_GINT64_MODIFIER "x of client %s is at "
                            "its limit of %s, and %" G_GUINT64_FORMAT
                            " stores were refused for it", id, client->name,
                            max_str, refused),
            g_strdup_printf("tmemctl set %s --pool=0x%" G_GINT64_MODIFIER
                            "x max-size=SIZE", client->name, id));
    }
}

static void check_pools(GPtrArray *findings, const CtlClient *client)
{
    JsonArray *pools = ctl_get_array(client->info, "pools");
    guint n = ctl_array_length(pools);
    guint i;

    for (i = 0; i < n; i++) {
        JsonObject *pool = ctl_array_object(pools, i);

        if (pool) {
            check_pool(findings, client, pool);
        }
    }
}

static void check_client(GPtrArray *findings, const CtlClient *client)
{
    uint64_t bytes = get(client->info, "stats", "bytes");
    uint64_t max = get(client->info, "stats", "max-bytes");
    uint64_t refused = get(client->info, "total", "stores-quota");
    uint64_t damaged = get(client->info, "total", "pages-damaged");
    g_autofree char *max_str = ctl_size_str(max, false);
    bool frozen = false;

    if (damaged) {
        ctl_finding_add(findings, true, "damaged",
            g_strdup_printf("client %s: %" G_GUINT64_FORMAT " pages cannot be "
                            "read any more", client->name, damaged),
            g_strdup("check the host's memory (dmesg, memtest), and restart "
                     "the guest"));
    }
    if (refused && max && bytes >= max / 20 * 19) {
        ctl_finding_add(findings, true, "client-at-limit",
            g_strdup_printf("client %s is at its limit of %s, and %"
                            G_GUINT64_FORMAT " stores were refused for it",
                            client->name, max_str, refused),
            g_strdup_printf("tmemctl set %s max-size=SIZE, or give its guest "
                            "a disk behind the swap disk", client->name));
    }
    if (ctl_get_bool(client->info, "frozen", &frozen) && frozen) {
        ctl_finding_add(findings, false, "client-frozen",
            g_strdup_printf("client %s is frozen, and its stores are refused",
                            client->name),
            g_strdup_printf("tmemctl thaw %s", client->name));
    }
    check_pools(findings, client);
    check_guest(findings, client);
}

/* What was handed over, and whose door has not come back. */
static void check_waiting(GPtrArray *findings, const CtlClient *client)
{
    const char *name = ctl_get_string(client->waiting, "name");
    const char *door = ctl_get_string(client->waiting, "door");
    bool block = !g_strcmp0(door, "block");
    uint64_t pages = get(client->info, "total", "pages");
    bool problem = pages > 0;

    ctl_finding_add(findings, problem, "door-missing",
        g_strdup_printf("store %s: %" G_GUINT64_FORMAT " pages of client %s "
                        "wait for %s '%s', which is not there",
                        client->store->id, pages, client->name, block ?
                        "block node" : "tmem-vhost-user-server",
                        name ? name : "?"),
        g_strdup_printf("add it, with %s, and its guest has them again; if "
                        "there is no such guest any more, delete it after "
                        "that", block ? "blockdev-add" : "object-add"));
}

/* --- Free page reporting of a QEMU --- */

static JsonNode *run_qom(Qmp *qmp, const char *command, const char *path,
                         const char *property)
{
    JsonObject *arguments = json_object_new();

    json_object_set_string_member(arguments, "path", path);
    if (property) {
        json_object_set_string_member(arguments, "property", property);
    }
    return qmp_run(qmp, command, arguments, NULL);
}

/* True if a balloon below @parent reports free pages. */
static bool reports_below(Qmp *qmp, const char *parent)
{
    g_autoptr(JsonNode) list = run_qom(qmp, "qom-list", parent, NULL);
    JsonArray *array = ctl_reply_array(list);
    guint n = ctl_array_length(array);
    guint i;

    for (i = 0; i < n; i++) {
        JsonObject *child = ctl_array_object(array, i);
        const char *type = ctl_get_string(child, "type");
        const char *name = ctl_get_string(child, "name");

        if (type && name &&
            g_str_has_prefix(type, "child<virtio-balloon")) {
            g_autofree char *path = g_strconcat(parent, "/", name, NULL);
            g_autoptr(JsonNode) value =
                run_qom(qmp, "qom-get", path, "free-page-reporting");

            if (value && JSON_NODE_HOLDS_VALUE(value) &&
                json_node_get_boolean(value)) {
                return true;
            }
        }
    }
    return false;
}

static void check_reporting(GPtrArray *findings, const CtlServer *server,
                            const CtlOptions *options)
{
    g_autoptr(Qmp) qmp = ctl_server_open(server, options, NULL);
    g_autoptr(JsonNode) machine = NULL;

    if (!qmp) {
        return;
    }
    /* A storage daemon has no machine, and its guests are not visible. */
    machine = run_qom(qmp, "qom-list", "/machine/peripheral", NULL);
    if (!machine || reports_below(qmp, "/machine/peripheral") ||
        reports_below(qmp, "/machine/peripheral-anon")) {
        return;
    }
    ctl_finding_add(findings, false, "no-free-page-reporting",
        g_strdup_printf("the guest of process %d does not give memory back "
                        "that it no longer needs", (int)server->pid),
        g_strdup("start QEMU with -device virtio-balloon,"
                 "free-page-reporting=on"));
}

void ctl_doctor_stores(GPtrArray *findings, const CtlView *view,
                       const CtlOptions *options)
{
    guint i;

    for (i = 0; i < view->complaints->len; i++) {
        ctl_finding_add(findings, true, "not-answering",
                        g_strdup(view->complaints->pdata[i]), NULL);
    }
    for (i = 0; i < view->stores->len; i++) {
        check_store(findings, view->stores->pdata[i]);
    }
    for (i = 0; i < view->clients->len; i++) {
        check_client(findings, view->clients->pdata[i]);
    }
    for (i = 0; i < view->waiting->len; i++) {
        check_waiting(findings, view->waiting->pdata[i]);
    }
    for (i = 0; i < view->servers->len; i++) {
        if (ctl_view_has_store(view, view->servers->pdata[i])) {
            check_reporting(findings, view->servers->pdata[i], options);
        }
    }
}

/* --- Structures --- */

static void add_check(GPtrArray *findings, JsonObject *answer)
{
    const char *store = ctl_get_string(answer, "store");
    const char *problem = ctl_get_string(answer, "problem");
    bool ok = false;

    if (!ctl_get_bool(answer, "ok", &ok) || !ok) {
        ctl_finding_add(findings, true, "store-corrupt",
            g_strdup_printf("store %s contradicts itself: %s",
                            store ? store : "?", problem ? problem : "?"),
            g_strdup("shut its guests down, check the host's memory, and "
                     "report what was said here"));
    }
}

static void check_structures(GPtrArray *findings, const CtlStore *store,
                             const CtlOptions *options)
{
    g_autoptr(GError) err = NULL;
    g_autoptr(Qmp) qmp = ctl_server_open(store->server, options, &err);
    g_autoptr(JsonNode) reply = NULL;
    JsonArray *list;
    guint n, i;

    if (qmp) {
        JsonObject *arguments = json_object_new();

        json_object_set_string_member(arguments, "store", store->id);
        reply = qmp_run(qmp, "x-tmem-check", arguments, &err);
    }
    list = ctl_reply_array(reply);
    n = ctl_array_length(list);
    if (err) {
        ctl_finding_add(findings, true, "not-checked",
                        g_strdup(err->message),
                        g_strdup("a second for each 10 GiB is not unusual: "
                                 "give it time with --timeout"));
    }
    for (i = 0; i < n; i++) {
        add_check(findings, ctl_array_object(list, i));
    }
}

void ctl_doctor_check(GPtrArray *findings, const CtlView *view,
                      const CtlOptions *options)
{
    guint i;

    for (i = 0; i < view->stores->len; i++) {
        check_structures(findings, view->stores->pdata[i], options);
    }
}
