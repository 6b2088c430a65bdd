/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmemctl events: what the stores tell by themselves, one line each
 *
 * This needs the QMP sockets for as long as it runs, and nobody else is
 * served at them meanwhile.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "value.h"

static int event_count;

typedef struct Watched {
    const CtlServer *server;
    Qmp *qmp;
} Watched;

static void watched_free(Watched *watched)
{
    qmp_close(watched->qmp);
    g_free(watched);
}

static char *event_time(JsonObject *event)
{
    uint64_t seconds = 0, us = 0;
    g_autoptr(GDateTime) time = NULL;
    g_autofree char *text = NULL;

    ctl_get_uint(event, "timestamp", "seconds", &seconds);
    ctl_get_uint(event, "timestamp", "microseconds", &us);
    time = seconds < G_MAXINT32 * 2LL ?
           g_date_time_new_from_unix_local(seconds) : NULL;
    text = time ? g_date_time_format(time, "%F %T") : g_strdup("?");
    return g_strdup_printf("%s.%03u", text, (unsigned)(us / 1000 % 1000));
}

/* 2026-01-31 12:00:00.123 TMEM_STORE_FULL full=true store=s0 */
static void print_text(JsonObject *event, const char *name)
{
    JsonObject *data = ctl_get_object(event, "data");
    g_autoptr(GList) members = data ? json_object_get_members(data) : NULL;
    g_autofree char *time = event_time(event);
    g_autoptr(GString) line = g_string_new(NULL);
    g_autofree char *shown = NULL;
    GList *l;

    g_string_append_printf(line, "%s %s", time, name);
    members = g_list_sort(members, (GCompareFunc)strcmp);
    for (l = members; l; l = l->next) {
        const char *string = ctl_get_string(data, l->data);
        g_autofree char *json =
            json_to_string(json_object_get_member(data, l->data), false);

        g_string_append_printf(line, " %s=%s", (const char *)l->data,
                               string ? string : json);
    }
    shown = ctl_printable(line->str);
    puts(shown);
}

static void print_json(JsonObject *event, const CtlServer *server)
{
    g_autoptr(JsonNode) node = json_node_new(JSON_NODE_OBJECT);
    g_autofree char *text = NULL;

    json_object_set_string_member(event, "socket", server->socket);
    json_node_set_object(node, event);
    text = json_to_string(node, false);
    puts(text);
}

static bool is_asked(const CtlOptions *options, JsonObject *event)
{
    const char *store = ctl_get_string(ctl_get_object(event, "data"), "store");

    return !store || ctl_store_asked(options, store);
}

/* Prints what has come, *@left at most; false if the server is gone. */
static bool take_events(const CtlOptions *options, Watched *watched,
                        int *left, GError **errp)
{
    g_autoptr(GError) err = NULL;
    JsonObject *event;

    while (*left && (event = qmp_take_event(watched->qmp, &err))) {
        const char *name = ctl_get_string(event, "event");

        if (name && g_str_has_prefix(name, "TMEM_") &&
            is_asked(options, event)) {
            if (options->json) {
                print_json(event, watched->server);
            } else {
                print_text(event, name);
            }
            fflush(stdout);
            *left -= *left > 0;
        }
        json_object_unref(event);
    }
    if (err) {
        g_propagate_error(errp, g_steal_pointer(&err));
        return false;
    }
    return true;
}

/* A round through all that are watched; who is gone is watched no more. */
static void take_all(const CtlOptions *options, GPtrArray *all, int *left)
{
    guint i;

    for (i = all->len; i-- > 0;) {
        g_autoptr(GError) err = NULL;

        if (!take_events(options, all->pdata[i], left, &err)) {
            ctl_complain(err->message);
            g_ptr_array_remove_index(all, i);
        }
    }
}

/* Those that cannot be watched are told of, and *@done is false then. */
static GPtrArray *watch_all(const CtlView *view, const CtlOptions *options,
                            bool *done)
{
    g_autoptr(GPtrArray) all =
        g_ptr_array_new_with_free_func((GDestroyNotify)watched_free);
    guint i;

    for (i = 0; i < view->servers->len; i++) {
        const CtlServer *server = view->servers->pdata[i];
        g_autoptr(GError) err = NULL;
        Qmp *qmp;

        if (options->store && !ctl_view_has_store(view, server)) {
            continue;
        }
        qmp = ctl_server_open(server, options, &err);
        if (!qmp) {
            ctl_complain(err->message);
            *done = false;
        } else {
            Watched *watched = g_new0(Watched, 1);

            watched->server = server;
            watched->qmp = qmp;
            g_ptr_array_add(all, watched);
        }
    }
    return g_steal_pointer(&all);
}

static bool run_events(const CtlOptions *options, int argc, char **argv,
                       GError **errp)
{
    g_autoptr(CtlView) view = NULL;
    g_autoptr(GPtrArray) all = NULL;
    g_autofree struct pollfd *fds = NULL;
    int left = event_count ? event_count : -1;
    bool done = true;
    guint watched, i;

    if (event_count < 0) {
        g_set_error(errp, CTL_ERROR, CTL_ERROR_USAGE,
                    "--count is 1 or more, or 0 for no end");
        return false;
    }
    view = ctl_view_take(options, errp);
    if (!view) {
        return false;
    }
    done = !ctl_view_complain(view);
    all = watch_all(view, options, &done);
    fds = g_new0(struct pollfd, all->len);
    watched = all->len;
    for (;;) {
        take_all(options, all, &left);
        if (!left || ferror(stdout) || !all->len) {
            return done && all->len == watched;
        }
        for (i = 0; i < all->len; i++) {
            fds[i].fd = qmp_fd(((Watched *)all->pdata[i])->qmp);
            fds[i].events = POLLIN;
        }
        if (poll(fds, all->len, -1) < 0 && errno != EINTR) {
            g_set_error(errp, CTL_ERROR, CTL_ERROR_FAILED,
                        "cannot wait for events: %s", g_strerror(errno));
            return false;
        }
    }
}

static const GOptionEntry events_entries[] = {
    { "count", 'c', 0, G_OPTION_ARG_INT, &event_count,
      "Events until the end (default: 0, no end)", "NUMBER" },
    { NULL },
};

const CtlCommand ctl_command_events = {
    "events", "", "Print events of the stores as they come",
    "A QMP socket that is watched serves nobody else meanwhile.",
    events_entries, 0, 0, run_events,
};
