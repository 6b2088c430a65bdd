/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmemctl list, show
 */
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "counters.h"
#include "table.h"
#include "value.h"

/* --- list --- */

static gboolean list_stores;
static gboolean list_pools;

/* The clients, and behind those of each store what waits for a door of it. */
static GPtrArray *list_rows(const CtlView *view)
{
    GPtrArray *rows = g_ptr_array_new();
    guint i, j;

    for (i = 0; i < view->stores->len; i++) {
        const GPtrArray *lists[] = { view->clients, view->waiting };
        size_t n;

        for (n = 0; n < G_N_ELEMENTS(lists); n++) {
            for (j = 0; j < lists[n]->len; j++) {
                CtlClient *client = lists[n]->pdata[j];

                if (client->store == view->stores->pdata[i]) {
                    g_ptr_array_add(rows, client);
                }
            }
        }
    }
    return rows;
}

/* 0 if there is none, which no pool has. */
static uint64_t pool_number(JsonObject *pool)
{
    uint64_t id = 0;

    ctl_get_uint(pool, NULL, "id", &id);
    return id;
}

static void add_pools(GPtrArray *rows, const CtlClient *client)
{
    JsonArray *pools = ctl_get_array(client->info, "pools");
    guint n = ctl_array_length(pools);
    guint i;

    for (i = 0; i < n; i++) {
        JsonObject *info = ctl_array_object(pools, i);
        CtlPool *pool;

        if (info) {
            pool = g_new0(CtlPool, 1);
            pool->client = client;
            pool->info = info;
            g_snprintf(pool->name, sizeof(pool->name),
                       "0x%" G_GINT64_MODIFIER "x", pool_number(info));
            g_ptr_array_add(rows, pool);
        }
    }
}

static bool print_pool_list(const CtlView *view, const CtlOptions *options,
                            GError **errp)
{
    g_autoptr(GPtrArray) rows = g_ptr_array_new_with_free_func(g_free);
    guint i;

    for (i = 0; i < view->clients->len; i++) {
        add_pools(rows, view->clients->pdata[i]);
    }
    return ctl_table_print("pools", ctl_pool_columns, rows, options, errp);
}

static bool print_list(const CtlView *view, const CtlOptions *options,
                       GError **errp)
{
    g_autoptr(GPtrArray) rows = NULL;

    if (list_pools) {
        return print_pool_list(view, options, errp);
    }
    if (list_stores) {
        return ctl_table_print("stores", ctl_store_columns, view->stores,
                               options, errp);
    }
    rows = list_rows(view);
    return ctl_table_print("clients", ctl_client_columns, rows, options, errp);
}

static bool run_list(const CtlOptions *options, int argc, char **argv,
                     GError **errp)
{
    g_autoptr(CtlView) view = NULL;
    bool done;

    if (list_stores && list_pools) {
        g_set_error(errp, CTL_ERROR, CTL_ERROR_USAGE,
                    "--stores and --pools are two lists: ask for one of them");
        return false;
    }
    view = ctl_view_take(options, errp);
    if (!view) {
        return false;
    }
    done = print_list(view, options, errp);
    return !ctl_view_complain(view) && done;
}

static const GOptionEntry list_entries[] = {
    { "stores", 0, 0, G_OPTION_ARG_NONE, &list_stores,
      "One line for each store instead of each client", NULL },
    { "pools", 0, 0, G_OPTION_ARG_NONE, &list_pools,
      "One line for each pool of the clients", NULL },
    { NULL },
};

const CtlCommand ctl_command_list = {
    "list", "", "One line for each client of the stores",
    "What waits for a door that is not there has lines of its own.\nAs many columns are printed as the terminal has room for; --output "
    "names others.\nThe man page lists all of them.",
    list_entries, 0, 0, run_list,
};

/* --- show --- */

static void print_line(const char *name, const char *value, const char *text)
{
    int room = ctl_terminal_width() - 2 - 24 - 1 - 14 - 2;

    if (text && room > 10) {
        g_autofree char *fit = ctl_fit(text, room);

        printf("  %-24s %14s  %s\n", name, value, g_strchomp(fit));
    } else {
        printf("  %-24s %14s\n", name, value);
    }
}

/* The members of @object that are numbers, strings or truths. */
static void print_members(CtlScope scope, JsonObject *object, bool exact)
{
    g_autoptr(GList) names = object ? json_object_get_members(object) : NULL;
    GList *l;

    for (l = g_list_sort(names, (GCompareFunc)strcmp), names = l; l;
         l = l->next) {
        const CtlCounter *counter = ctl_counter_find(scope, l->data);
        JsonNode *node = json_object_get_member(object, l->data);
        g_autofree char *value = NULL;
        g_autofree char *name = ctl_printable(l->data);
        uint64_t number;

        if (ctl_get_uint(object, NULL, l->data, &number)) {
            /* The level of zstd is the one thing that may be negative. */
            value = (int64_t)number < 0 && (int64_t)number > INT32_MIN ?
                    g_strdup_printf("%d", (int)number) :
                    ctl_counter_bytes(scope, l->data) ?
                    ctl_size_str(number, exact) :
                    g_strdup_printf("%" G_GUINT64_FORMAT, number);
        } else if (JSON_NODE_HOLDS_VALUE(node)) {
            g_autofree char *json = json_to_string(node, false);
            const char *string = json_node_get_string(node);

            value = ctl_printable(string ? string : json);
        } else {
            continue;
        }
        print_line(name, value, counter ? counter->text : NULL);
    }
}

/* How long each kind of operation took, in microseconds. */
static void print_latency(JsonObject *latency)
{
    g_autoptr(GList) names = latency ? json_object_get_members(latency) : NULL;
    bool any = false;
    GList *l;

    names = g_list_sort(names, (GCompareFunc)strcmp);
    for (l = names; l; l = l->next) {
        JsonObject *kind = ctl_get_object(latency, l->data);
        g_autofree char *name = ctl_printable(l->data);
        uint64_t count, p50, p99;

        if (!kind || !ctl_get_uint(kind, NULL, "count", &count) || !count ||
            !ctl_get_uint(kind, NULL, "p50-ns", &p50) ||
            !ctl_get_uint(kind, NULL, "p99-ns", &p99)) {
            continue;
        }
        if (!any) {
            printf(" times in microseconds %15s %10s %10s\n", "timed",
                   "median", "99%");
            any = true;
        }
        printf("  %-24s %12" G_GUINT64_FORMAT " %10.1f %10.1f\n", name, count,
               p50 / 1e3, p99 / 1e3);
    }
}

/* Limits and compressor of the pool, which an older QEMU does not tell. */
static void print_pool_settings(JsonObject *pool, bool exact)
{
    const char *compressor = ctl_get_string(pool, "compressor");
    bool own = false;

    print_members(CTL_SCOPE_CLIENT, ctl_get_object(pool, "limits"), exact);
    if (compressor) {
        g_autofree char *shown = ctl_printable(compressor);

        ctl_get_bool(pool, "own-compressor", &own);
        print_line("compressor", shown,
                   own ? "set for this pool" : "that of the store");
    }
}

static void print_pools(JsonObject *info, bool exact)
{
    JsonArray *pools = ctl_get_array(info, "pools");
    guint n = ctl_array_length(pools);
    guint i;

    for (i = 0; i < n; i++) {
        JsonObject *pool = ctl_array_object(pools, i);
        const char *kind = ctl_get_string(pool, "kind");
        g_autofree char *shown = ctl_printable(kind ? kind : "?");

        if (pool) {
            printf(" pool 0x%" G_GINT64_MODIFIER "x, %s\n", pool_number(pool),
                   shown);
            print_pool_settings(pool, exact);
            print_members(CTL_SCOPE_POOL, ctl_get_object(pool, "stats"),
                          exact);
        }
    }
}

static void print_client(const CtlClient *client, bool exact)
{
    g_autofree char *name = ctl_printable(client->name);

    printf("client %s\n", name);
    print_members(CTL_SCOPE_CLIENT, client->info, exact);
    print_members(CTL_SCOPE_CLIENT, ctl_get_object(client->info, "limits"),
                  exact);
    print_members(CTL_SCOPE_CLIENT, ctl_get_object(client->info, "stats"),
                  exact);
    printf(" all pools\n");
    print_members(CTL_SCOPE_POOL, ctl_get_object(client->info, "total"),
                  exact);
    print_latency(ctl_get_object(client->info, "latency"));
    print_pools(client->info, exact);
}

/* Of the store, or of the client @name; of both if that is NULL. */
static bool waits_for(const CtlClient *waiting, const CtlStore *store,
                      const char *name)
{
    return (!store || waiting->store == store) &&
           (!name || !strcmp(waiting->name, name));
}

static void print_waiting(const CtlView *view, const CtlStore *store,
                          const char *client, bool exact)
{
    guint i;

    for (i = 0; i < view->waiting->len; i++) {
        const CtlClient *waiting = view->waiting->pdata[i];

        if (waits_for(waiting, store, client)) {
            printf("waiting for a door that is not there\n");
            print_members(CTL_SCOPE_CLIENT, waiting->waiting, exact);
        }
    }
}

static void print_store(const CtlStore *store, bool exact)
{
    g_autofree char *id = ctl_printable(store->id);
    g_autofree char *socket = ctl_printable(store->server->socket);

    printf("store %s of process %d, %s\n", id, (int)store->server->pid,
           socket);
    print_members(CTL_SCOPE_STORE, store->info, exact);
    print_members(CTL_SCOPE_STORE, ctl_get_object(store->info, "policy"),
                  exact);
    print_members(CTL_SCOPE_STORE, ctl_get_object(store->info, "stats"),
                  exact);
}

/* The reply as it came, with where from. */
static JsonObject *dup_info(JsonObject *info, const CtlServer *server)
{
    g_autoptr(JsonNode) node = json_node_new(JSON_NODE_OBJECT);
    g_autoptr(JsonNode) copy = NULL;
    JsonObject *object;

    json_node_set_object(node, info);
    copy = json_node_copy(node);
    object = json_node_dup_object(copy);
    json_object_set_string_member(object, "socket", server->socket);
    json_object_set_int_member(object, "pid", server->pid);
    return object;
}

static JsonArray *waiting_json(const CtlView *view, const char *client)
{
    JsonArray *list = json_array_new();
    guint i;

    for (i = 0; i < view->waiting->len; i++) {
        const CtlClient *waiting = view->waiting->pdata[i];

        if (waits_for(waiting, NULL, client)) {
            json_array_add_object_element(list,
                                          dup_info(waiting->waiting,
                                                   waiting->store->server));
        }
    }
    return list;
}

/* Of all stores if @name is NULL; @client may not be there, and only wait. */
static void show_json(const CtlView *view, const char *name,
                      const CtlClient *client)
{
    g_autoptr(JsonNode) node = json_node_new(JSON_NODE_OBJECT);
    JsonObject *top = json_object_new();
    JsonArray *list = json_array_new();
    guint i;

    if (client) {
        json_array_add_object_element(list, dup_info(client->info,
                                                     client->store->server));
    }
    for (i = 0; !name && i < view->stores->len; i++) {
        const CtlStore *store = view->stores->pdata[i];

        json_array_add_object_element(list, dup_info(store->info,
                                                     store->server));
    }
    json_object_set_array_member(top, name ? "clients" : "stores", list);
    if (name) {
        json_object_set_array_member(top, "waiting", waiting_json(view, name));
    }
    json_node_take_object(node, top);
    ctl_json_print(node);
}

static void print_stores(const CtlView *view, bool exact)
{
    guint i, j;

    for (i = 0; i < view->stores->len; i++) {
        print_store(view->stores->pdata[i], exact);
        for (j = 0; j < view->clients->len; j++) {
            const CtlClient *client = view->clients->pdata[j];

            if (client->store == view->stores->pdata[i]) {
                print_client(client, exact);
            }
        }
        print_waiting(view, view->stores->pdata[i], NULL, exact);
    }
}

/* Returns false and sets @errp if nothing is known of @name. */
static bool find_shown(const CtlView *view, const char *name,
                       const CtlClient **client, GError **errp)
{
    g_autoptr(GError) err = NULL;

    *client = ctl_view_client(view, name, &err);
    /* Who is not there, and may come, has something to show. */
    if (err && !g_error_matches(err, CTL_ERROR, CTL_ERROR_WAITING)) {
        g_propagate_error(errp, g_steal_pointer(&err));
        return false;
    }
    return true;
}

static bool run_show(const CtlOptions *options, int argc, char **argv,
                     GError **errp)
{
    g_autoptr(CtlView) view = ctl_view_take(options, errp);
    const char *name = argc ? argv[0] : NULL;
    const CtlClient *client = NULL;

    if (!view || (name && !find_shown(view, name, &client, errp))) {
        return false;
    }
    if (options->json) {
        show_json(view, name, client);
    } else if (!name) {
        print_stores(view, options->bytes);
    } else {
        if (client) {
            print_client(client, options->bytes);
        }
        print_waiting(view, client ? client->store : NULL, name,
                      options->bytes);
    }
    return !ctl_view_complain(view);
}

const CtlCommand ctl_command_show = {
    "show", "[CLIENT]", "All counters of a client, or of all stores",
    "With --json this is the reply of query-tmem, with where it comes from.",
    NULL, 0, 1, run_show,
};
