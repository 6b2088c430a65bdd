/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmemctl: what the stores of this machine held at one moment
 *
 * Each socket is held only for one question: it serves one client at a time,
 * and others want their turn.
 */
#include <string.h>

#include "value.h"
#include "view.h"

JsonObject *ctl_get_object(JsonObject *object, const char *name)
{
    JsonNode *node = object ? json_object_get_member(object, name) : NULL;

    return node && JSON_NODE_HOLDS_OBJECT(node) ?
           json_node_get_object(node) : NULL;
}

JsonArray *ctl_get_array(JsonObject *object, const char *name)
{
    JsonNode *node = object ? json_object_get_member(object, name) : NULL;

    return node && JSON_NODE_HOLDS_ARRAY(node) ?
           json_node_get_array(node) : NULL;
}

const char *ctl_get_string(JsonObject *object, const char *name)
{
    JsonNode *node = object ? json_object_get_member(object, name) : NULL;

    return node && JSON_NODE_HOLDS_VALUE(node) ?
           json_node_get_string(node) : NULL;
}

bool ctl_get_uint(JsonObject *object, const char *part, const char *name,
                  uint64_t *value)
{
    JsonNode *node;

    object = part ? ctl_get_object(object, part) : object;
    node = object ? json_object_get_member(object, name) : NULL;
    if (!node || !JSON_NODE_HOLDS_VALUE(node) ||
        json_node_get_value_type(node) != G_TYPE_INT64) {
        return false;
    }
    /* Numbers from 2^63 on come with the same bits. */
    *value = json_node_get_int(node);
    return true;
}

bool ctl_get_bool(JsonObject *object, const char *name, bool *value)
{
    JsonNode *node = object ? json_object_get_member(object, name) : NULL;

    if (!node || !JSON_NODE_HOLDS_VALUE(node) ||
        json_node_get_value_type(node) != G_TYPE_BOOLEAN) {
        return false;
    }
    *value = json_node_get_boolean(node);
    return true;
}

uint64_t ctl_client_data(const CtlClient *client)
{
    JsonArray *pools = ctl_get_array(client->info, "pools");
    guint n = pools ? json_array_get_length(pools) : 0;
    uint64_t pages, shift, sum = 0;
    guint i;

    for (i = 0; i < n; i++) {
        JsonNode *node = json_array_get_element(pools, i);
        JsonObject *pool = JSON_NODE_HOLDS_OBJECT(node) ?
                           json_node_get_object(node) : NULL;

        if (ctl_get_uint(pool, NULL, "page-shift", &shift) && shift < 32 &&
            ctl_get_uint(pool, "stats", "pages", &pages)) {
            sum += pages << shift;
        }
    }
    return sum;
}

static void server_free(CtlServer *server)
{
    g_free(server->socket);
    g_free(server->program);
    g_clear_pointer(&server->reply, json_node_unref);
    g_free(server);
}

void ctl_view_free(CtlView *view)
{
    if (view) {
        g_ptr_array_unref(view->clients);
        g_ptr_array_unref(view->stores);
        g_ptr_array_unref(view->servers);
        g_ptr_array_unref(view->complaints);
        g_free(view);
    }
}

bool ctl_view_complain(const CtlView *view)
{
    guint i;

    for (i = 0; i < view->complaints->len; i++) {
        ctl_complain(view->complaints->pdata[i]);
    }
    return view->complaints->len > 0;
}

static void add_clients(CtlView *view, const CtlStore *store)
{
    JsonArray *list = ctl_get_array(store->info, "clients");
    guint n = list ? json_array_get_length(list) : 0;
    guint i;

    for (i = 0; i < n; i++) {
        JsonNode *node = json_array_get_element(list, i);
        JsonObject *info = JSON_NODE_HOLDS_OBJECT(node) ?
                           json_node_get_object(node) : NULL;
        const char *name = ctl_get_string(info, "name");
        CtlClient *client;

        if (name) {
            client = g_new0(CtlClient, 1);
            client->store = store;
            client->name = name;
            client->info = info;
            g_ptr_array_add(view->clients, client);
        }
    }
}

static void add_stores(CtlView *view, const CtlServer *server)
{
    JsonArray *list = json_node_get_array(server->reply);
    guint n = json_array_get_length(list);
    guint i;

    for (i = 0; i < n; i++) {
        JsonNode *node = json_array_get_element(list, i);
        JsonObject *info = JSON_NODE_HOLDS_OBJECT(node) ?
                           json_node_get_object(node) : NULL;
        const char *id = ctl_get_string(info, "id");
        CtlStore *store;

        if (id) {
            store = g_new0(CtlStore, 1);
            store->server = server;
            store->id = id;
            store->info = info;
            g_ptr_array_add(view->stores, store);
            add_clients(view, store);
        }
    }
}

/* Asks at one socket.  @place is NULL for one that the user named. */
static bool ask(CtlView *view, const char *socket, const CtlPlace *place,
                const CtlOptions *options, GError **errp)
{
    g_autoptr(Qmp) qmp = qmp_open(socket, options->timeout * 1000, errp);
    g_autoptr(JsonNode) reply = NULL;
    CtlServer *server;

    if (!qmp) {
        return false;
    }
    reply = qmp_run(qmp, "query-tmem", NULL, errp);
    if (!reply) {
        return false;
    }
    if (!JSON_NODE_HOLDS_ARRAY(reply)) {
        g_set_error(errp, CTL_ERROR, CTL_ERROR_FAILED,
                    "%s answers query-tmem with no list: it is not a QEMU "
                    "that this tmemctl knows", socket);
        return false;
    }
    server = g_new0(CtlServer, 1);
    server->socket = g_strdup(socket);
    server->program = place ? g_strdup(place->program) : NULL;
    server->pid = place ? place->pid : qmp_pid(qmp);
    server->mem_lock = place && place->mem_lock;
    server->reply = g_steal_pointer(&reply);
    g_ptr_array_add(view->servers, server);
    add_stores(view, server);
    return true;
}

/* Asks a process that was found, at the first of its sockets that answers. */
static void ask_place(CtlView *view, const CtlPlace *place,
                      const CtlOptions *options)
{
    g_autoptr(GError) err = NULL;
    guint i;

    for (i = 0; i < place->sockets->len; i++) {
        g_clear_error(&err);
        if (ask(view, place->sockets->pdata[i], place, options, &err) ||
            g_error_matches(err, CTL_ERROR, CTL_ERROR_NO_COMMAND)) {
            return;
        }
    }
    /* Somebody else's QEMU is not our business, nor are its troubles. */
    if (!place->tmem) {
        return;
    }
    if (err) {
        g_ptr_array_add(view->complaints,
                        g_strdup_printf("process %d: %s", (int)place->pid,
                                        err->message));
    } else if (place->libvirt) {
        g_ptr_array_add(view->complaints, g_strdup_printf(
            "process %d is domain %s of libvirt, whose QMP socket is "
            "libvirt's own: use virsh qemu-monitor-command %s --hmp info "
            "tmem, or give the domain a second one with qemu:commandline",
            (int)place->pid, place->libvirt, place->libvirt));
    } else {
        g_ptr_array_add(view->complaints, g_strdup_printf(
            "process %d (%s) has no QMP socket that tmemctl finds: start it "
            "with -qmp unix:PATH,server=on,wait=off, or name its socket with "
            "--socket", (int)place->pid, place->program));
    }
}

/* Nothing in @view: why, and the way out. */
static void set_nothing(const CtlView *view, const CtlOptions *options,
                        GError **errp)
{
    if (view->complaints->len) {
        g_autofree char *all = NULL;

        g_ptr_array_add(view->complaints, NULL);
        all = g_strjoinv("\n", (char **)view->complaints->pdata);
        g_ptr_array_remove_index(view->complaints, view->complaints->len - 1);
        g_set_error_literal(errp, CTL_ERROR, CTL_ERROR_FAILED, all);
    } else if (options->store && view->servers->len) {
        g_set_error(errp, CTL_ERROR, CTL_ERROR_FAILED,
                    "there is no store '%s': see tmemctl list --stores",
                    options->store);
    } else if (view->servers->len) {
        g_set_error(errp, CTL_ERROR, CTL_ERROR_FAILED,
                    "there is no store yet: add one with -object "
                    "tmem-store,id=store0,size=4G or -device virtio-tmem");
    } else {
        g_set_error(errp, CTL_ERROR, CTL_ERROR_FAILED,
                    "no QEMU with virtio-tmem and a QMP socket was found: "
                    "start one with -qmp unix:PATH,server=on,wait=off, name "
                    "its socket with --socket, or run tmemctl as root");
    }
}

/* What --store does not ask for goes. */
static void filter_store(CtlView *view, const char *id)
{
    guint i;

    for (i = view->clients->len; id && i-- > 0;) {
        const CtlClient *client = view->clients->pdata[i];

        if (strcmp(client->store->id, id)) {
            g_ptr_array_remove_index(view->clients, i);
        }
    }
    for (i = view->stores->len; id && i-- > 0;) {
        const CtlStore *store = view->stores->pdata[i];

        if (strcmp(store->id, id)) {
            g_ptr_array_remove_index(view->stores, i);
        }
    }
}

CtlView *ctl_view_take(const CtlOptions *options, GError **errp)
{
    g_autoptr(CtlView) view = g_new0(CtlView, 1);
    g_autoptr(GPtrArray) places = NULL;
    guint i;

    view->servers = g_ptr_array_new_with_free_func((GDestroyNotify)server_free);
    view->stores = g_ptr_array_new_with_free_func(g_free);
    view->clients = g_ptr_array_new_with_free_func(g_free);
    view->complaints = g_ptr_array_new_with_free_func(g_free);
    for (i = 0; options->sockets && options->sockets[i]; i++) {
        if (!ask(view, options->sockets[i], NULL, options, errp)) {
            return NULL;
        }
    }
    if (!options->sockets) {
        places = ctl_find_places("/proc");
        for (i = 0; i < places->len; i++) {
            ask_place(view, places->pdata[i], options);
        }
    }
    filter_store(view, options->store);
    view->time_us = g_get_monotonic_time();
    if (!view->stores->len) {
        set_nothing(view, options, errp);
        return NULL;
    }
    return g_steal_pointer(&view);
}

const CtlClient *ctl_view_client(const CtlView *view, const char *name,
                                 GError **errp)
{
    const CtlClient *found = NULL;
    guint i;

    for (i = 0; i < view->clients->len; i++) {
        const CtlClient *client = view->clients->pdata[i];

        if (strcmp(client->name, name)) {
            continue;
        }
        if (found) {
            g_set_error(errp, CTL_ERROR, CTL_ERROR_FAILED,
                        "there are several clients '%s', in store %s at %s "
                        "and in store %s at %s: say which with --store or "
                        "--socket", name, found->store->id,
                        found->store->server->socket, client->store->id,
                        client->store->server->socket);
            return NULL;
        }
        found = client;
    }
    if (!found) {
        g_set_error(errp, CTL_ERROR, CTL_ERROR_FAILED,
                    "there is no client '%s': see tmemctl list", name);
    }
    return found;
}

const CtlStore *ctl_view_store(const CtlView *view,
                               const CtlOptions *options, GError **errp)
{
    const CtlStore *first = view->stores->pdata[0];
    const CtlStore *second;

    if (view->stores->len == 1) {
        return first;
    }
    second = view->stores->pdata[1];
    g_set_error(errp, CTL_ERROR, CTL_ERROR_FAILED,
                "there are several stores, as %s at %s and %s at %s: say "
                "which with %s", first->id, first->server->socket, second->id,
                second->server->socket,
                options->store ? "--socket" : "--store or --socket");
    return NULL;
}

Qmp *ctl_server_open(const CtlServer *server, const CtlOptions *options,
                     GError **errp)
{
    return qmp_open(server->socket, options->timeout * 1000, errp);
}
