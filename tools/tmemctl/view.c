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

/* So many processes are asked at the same time. */
#define VIEW_THREADS    32

uint64_t ctl_client_data(const CtlClient *client)
{
    JsonArray *pools = ctl_get_array(client->info, "pools");
    guint n = ctl_array_length(pools);
    uint64_t pages, shift, sum = 0;
    guint i;

    for (i = 0; i < n; i++) {
        JsonObject *pool = ctl_array_object(pools, i);

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
        g_ptr_array_unref(view->waiting);
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

static void copy_uint(JsonObject *to, const char *name, JsonObject *from,
                      const char *as)
{
    uint64_t number;

    if (ctl_get_uint(from, NULL, as, &number)) {
        json_object_set_int_member(to, name, number);
    }
}

/* What waits for a door looks, as far as it goes, as a client does. */
static JsonObject *waiting_info(JsonObject *waiting)
{
    JsonObject *info = json_object_new();
    JsonObject *stats = json_object_new();
    JsonObject *total = json_object_new();
    const char *door = ctl_get_string(waiting, "door");

    copy_uint(stats, "bytes", waiting, "held-bytes");
    copy_uint(stats, "pools", waiting, "pools");
    copy_uint(total, "pages", waiting, "pages");
    copy_uint(total, "data-bytes", waiting, "bytes");
    json_object_set_string_member(info, "door", door ? door : "?");
    json_object_set_object_member(info, "stats", stats);
    json_object_set_object_member(info, "total", total);
    return info;
}

static void waiting_free(CtlClient *client)
{
    json_object_unref(client->info);
    g_free(client);
}

static void add_waiting(CtlView *view, const CtlStore *store)
{
    JsonArray *list = ctl_get_array(store->info, "waiting");
    guint n = ctl_array_length(list);
    guint i;

    for (i = 0; i < n; i++) {
        JsonObject *waiting = ctl_array_object(list, i);
        const char *name = ctl_get_string(waiting, "client");
        CtlClient *client;

        if (name) {
            client = g_new0(CtlClient, 1);
            client->store = store;
            client->name = name;
            client->info = waiting_info(waiting);
            client->waiting = waiting;
            g_ptr_array_add(view->waiting, client);
        }
    }
}

static void add_clients(CtlView *view, const CtlStore *store)
{
    JsonArray *list = ctl_get_array(store->info, "clients");
    guint n = ctl_array_length(list);
    guint i;

    for (i = 0; i < n; i++) {
        JsonObject *info = ctl_array_object(list, i);
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
    guint n = ctl_array_length(list);
    guint i;

    for (i = 0; i < n; i++) {
        JsonObject *info = ctl_array_object(list, i);
        const char *id = ctl_get_string(info, "id");
        CtlStore *store;

        if (id) {
            store = g_new0(CtlStore, 1);
            store->server = server;
            store->id = id;
            store->info = info;
            g_ptr_array_add(view->stores, store);
            add_clients(view, store);
            add_waiting(view, store);
        }
    }
}

/*
 * One process to ask, or one socket that the user named.  Many are asked at
 * once, each by a thread: one that hangs, or serves somebody else, would keep
 * the others waiting.
 */
typedef struct Question {
    const CtlPlace *place;      /* NULL: the socket was named */
    const char *socket;
    const CtlOptions *options;
    CtlServer *server;          /* the answer */
    GError *err;                /* or why there is none */
} Question;

static void question_free(Question *question)
{
    g_clear_error(&question->err);
    g_free(question);
}

/*
 * Whether it is the process @place that answers.  The path may have been taken
 * over by another one with the same command line, or by anybody.
 */
static bool check_peer(const Qmp *qmp, const CtlPlace *place,
                       const char *socket, GError **errp)
{
    pid_t pid = qmp_pid(qmp);
    g_autoptr(CtlPlace) other = NULL;

    if (!pid || pid == place->pid) {
        return true;
    }
    if (g_ptr_array_find(place->given, socket, NULL)) {
        /* Whoever listened first, a manager, is who the kernel names. */
        other = ctl_find_place("/proc", pid);
        if (!other) {
            return true;
        }
    }
    g_set_error(errp, CTL_ERROR, CTL_ERROR_FAILED,
                "%s is now the socket of process %d: start this one with a "
                "socket of its own", socket, (int)pid);
    return false;
}

/* @place is NULL where only the socket is known. */
static CtlServer *ask(const char *socket, const CtlPlace *place,
                      const CtlOptions *options, GError **errp)
{
    g_autoptr(Qmp) qmp = qmp_open(socket, options->timeout * 1000, errp);
    g_autoptr(JsonNode) reply = NULL;
    g_autoptr(CtlPlace) found = NULL;
    CtlServer *server;
    pid_t pid;

    if (!qmp || (place && !check_peer(qmp, place, socket, errp))) {
        return NULL;
    }
    reply = qmp_run(qmp, "query-tmem", NULL, errp);
    if (!reply) {
        return NULL;
    }
    if (!JSON_NODE_HOLDS_ARRAY(reply)) {
        g_set_error(errp, CTL_ERROR, CTL_ERROR_FAILED,
                    "%s answers query-tmem with no list: it is not a QEMU "
                    "that this tmemctl knows", socket);
        return NULL;
    }
    pid = place ? place->pid : qmp_pid(qmp);
    if (!place && pid) {
        place = found = ctl_find_place("/proc", pid);
    }
    server = g_new0(CtlServer, 1);
    server->socket = g_strdup(socket);
    server->program = place ? g_strdup(place->program) : NULL;
    server->pid = pid;
    server->mem_lock = place && place->mem_lock;
    server->reply = g_steal_pointer(&reply);
    return server;
}

/* In a thread: of a process that was found, the first socket that answers. */
static void answer_question(gpointer data, gpointer unused)
{
    Question *question = data;
    const CtlPlace *place = question->place;
    guint i;

    if (!place) {
        question->server = ask(question->socket, NULL, question->options,
                               &question->err);
        return;
    }
    for (i = 0; i < place->sockets->len && !question->server; i++) {
        g_clear_error(&question->err);
        question->server = ask(place->sockets->pdata[i], place,
                               question->options, &question->err);
        if (g_error_matches(question->err, CTL_ERROR, CTL_ERROR_NO_COMMAND)) {
            return;
        }
    }
}

static void ask_all(GPtrArray *questions)
{
    GThreadPool *pool;
    guint i;

    if (questions->len == 1) {
        answer_question(questions->pdata[0], NULL);
        return;
    }
    /* Without a thread, or with fewer, it takes longer. */
    pool = g_thread_pool_new(answer_question, NULL, VIEW_THREADS, false, NULL);
    for (i = 0; i < questions->len; i++) {
        g_thread_pool_push(pool, questions->pdata[i], NULL);
    }
    g_thread_pool_free(pool, false, true);
}

/* Why a process that was found did not answer, if that is our business. */
static void complain_about(CtlView *view, const Question *question)
{
    const CtlPlace *place = question->place;
    char *text;

    /* Somebody else's QEMU is not, nor are its troubles. */
    if (!place->tmem || g_error_matches(question->err, CTL_ERROR,
                                        CTL_ERROR_NO_COMMAND)) {
        return;
    }
    if (question->err) {
        text = g_strdup_printf("process %d: %s", (int)place->pid,
                               question->err->message);
    } else if (place->libvirt) {
        text = g_strdup_printf(
            "process %d is domain %s of libvirt, whose QMP socket is "
            "libvirt's own: use virsh qemu-monitor-command %s --hmp info "
            "tmem, or give the domain a second one with qemu:commandline",
            (int)place->pid, place->libvirt, place->libvirt);
    } else {
        text = g_strdup_printf(
            "process %d (%s) has no QMP socket that tmemctl finds: start it "
            "with -qmp unix:PATH,server=on,wait=off, or name its socket with "
            "--socket", (int)place->pid, place->program);
    }
    g_ptr_array_add(view->complaints, text);
}

/* Takes what the threads have brought, in the order of the questions. */
static bool take_answers(CtlView *view, GPtrArray *questions, GError **errp)
{
    bool done = true;
    guint i;

    for (i = 0; i < questions->len; i++) {
        Question *question = questions->pdata[i];

        if (question->server) {
            g_ptr_array_add(view->servers, question->server);
            add_stores(view, question->server);
        } else if (question->place) {
            complain_about(view, question);
        } else if (done) {
            g_propagate_error(errp, g_steal_pointer(&question->err));
            done = false;
        }
    }
    return done;
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

bool ctl_store_asked(const CtlOptions *options, const char *id)
{
    const char *asked = options->store;

    if (!asked || !strcmp(asked, id)) {
        return true;
    }
    /* Replies have the path of what has no ID, and nothing else. */
    return g_str_has_prefix(asked, "/objects/") &&
           !strcmp(asked + strlen("/objects/"), id);
}

static void filter_clients(GPtrArray *clients, const CtlOptions *options)
{
    guint i;

    for (i = clients->len; i-- > 0;) {
        const CtlClient *client = clients->pdata[i];

        if (!ctl_store_asked(options, client->store->id)) {
            g_ptr_array_remove_index(clients, i);
        }
    }
}

/* What --store does not ask for goes. */
static void filter_store(CtlView *view, const CtlOptions *options)
{
    guint i;

    filter_clients(view->clients, options);
    filter_clients(view->waiting, options);
    for (i = view->stores->len; i-- > 0;) {
        const CtlStore *store = view->stores->pdata[i];

        if (!ctl_store_asked(options, store->id)) {
            g_ptr_array_remove_index(view->stores, i);
        }
    }
}

static void add_question(GPtrArray *questions, const CtlPlace *place,
                         const char *socket, const CtlOptions *options)
{
    Question *question = g_new0(Question, 1);

    question->place = place;
    question->socket = socket;
    question->options = options;
    g_ptr_array_add(questions, question);
}

static CtlView *view_new(void)
{
    CtlView *view = g_new0(CtlView, 1);

    view->servers = g_ptr_array_new_with_free_func((GDestroyNotify)server_free);
    view->stores = g_ptr_array_new_with_free_func(g_free);
    view->clients = g_ptr_array_new_with_free_func(g_free);
    view->waiting =
        g_ptr_array_new_with_free_func((GDestroyNotify)waiting_free);
    view->complaints = g_ptr_array_new_with_free_func(g_free);
    return view;
}

CtlView *ctl_view_take(const CtlOptions *options, GError **errp)
{
    g_autoptr(CtlView) view = view_new();
    g_autoptr(GPtrArray) places = NULL;
    g_autoptr(GPtrArray) questions =
        g_ptr_array_new_with_free_func((GDestroyNotify)question_free);
    guint i;

    for (i = 0; options->sockets && options->sockets[i]; i++) {
        add_question(questions, NULL, options->sockets[i], options);
    }
    if (!options->sockets) {
        places = ctl_find_places("/proc");
        for (i = 0; i < places->len; i++) {
            add_question(questions, places->pdata[i], NULL, options);
        }
    }
    ask_all(questions);
    if (!take_answers(view, questions, errp)) {
        return NULL;
    }
    filter_store(view, options);
    view->time_us = g_get_monotonic_time();
    if (!view->stores->len) {
        set_nothing(view, options, errp);
        return NULL;
    }
    return g_steal_pointer(&view);
}

/* Whether pages wait for a door of the client @name. */
static bool is_waiting(const CtlView *view, const char *name)
{
    guint i;

    for (i = 0; i < view->waiting->len; i++) {
        if (!strcmp(((CtlClient *)view->waiting->pdata[i])->name, name)) {
            return true;
        }
    }
    return false;
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
    if (!found && is_waiting(view, name)) {
        g_set_error(errp, CTL_ERROR, CTL_ERROR_WAITING,
                    "client '%s' is not there: its pages wait for a door; see "
                    "tmemctl show %s", name, name);
    } else if (!found) {
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

bool ctl_view_has_store(const CtlView *view, const CtlServer *server)
{
    guint i;

    for (i = 0; i < view->stores->len; i++) {
        if (((CtlStore *)view->stores->pdata[i])->server == server) {
            return true;
        }
    }
    return false;
}

Qmp *ctl_server_open(const CtlServer *server, const CtlOptions *options,
                     GError **errp)
{
    return qmp_open(server->socket, options->timeout * 1000, errp);
}
