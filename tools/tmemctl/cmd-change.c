/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmemctl freeze, thaw, evict, auth: one command of QMP each
 */
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "value.h"

/*
 * Whom a command is about: a client if there is a name, otherwise a whole
 * store.  Returns a connection to its process, and the arguments that say so.
 */
static Qmp *open_target(const CtlOptions *options, const char *name,
                        JsonObject **arguments, GError **errp)
{
    g_autoptr(CtlView) view = ctl_view_take(options, errp);
    const CtlClient *client = NULL;
    const CtlStore *store;

    if (!view) {
        return NULL;
    }
    if (name) {
        client = ctl_view_client(view, name, errp);
        if (!client) {
            /* It may be in a process that did not answer. */
            ctl_view_complain(view);
            return NULL;
        }
        store = client->store;
    } else {
        store = ctl_view_store(view, options, errp);
        if (!store) {
            return NULL;
        }
    }
    *arguments = json_object_new();
    json_object_set_string_member(*arguments, "store", store->id);
    if (client) {
        json_object_set_string_member(*arguments, "client", client->name);
    }
    return ctl_server_open(store->server, options, errp);
}

/* A store as a whole is meant only where it is named. */
static bool check_whole(const CtlOptions *options, int argc, GError **errp)
{
    if (!argc && !options->store) {
        g_set_error(errp, CTL_ERROR, CTL_ERROR_USAGE,
                    "whom? Name a client, or a whole store with --store");
        return false;
    }
    return true;
}

static bool run_simple(const char *command, const CtlOptions *options,
                       int argc, char **argv, GError **errp)
{
    g_autoptr(JsonObject) arguments = NULL;
    g_autoptr(JsonNode) reply = NULL;
    g_autoptr(Qmp) qmp = NULL;

    if (!check_whole(options, argc, errp)) {
        return false;
    }
    qmp = open_target(options, argv[0], &arguments, errp);
    if (qmp) {
        reply = qmp_run(qmp, command, g_steal_pointer(&arguments), errp);
    }
    return reply != NULL;
}

static bool run_freeze(const CtlOptions *options, int argc, char **argv,
                       GError **errp)
{
    return run_simple("tmem-freeze", options, argc, argv, errp);
}

const CtlCommand ctl_command_freeze = {
    "freeze", "[CLIENT]", "Let a client, or a whole store, take no more pages",
    "What is held stays, and is loaded and invalidated as ever.",
    NULL, 0, 1, run_freeze,
};

static bool run_thaw(const CtlOptions *options, int argc, char **argv,
                     GError **errp)
{
    return run_simple("tmem-thaw", options, argc, argv, errp);
}

const CtlCommand ctl_command_thaw = {
    "thaw", "[CLIENT]", "End a freeze", NULL, NULL, 0, 1, run_thaw,
};

/* --- evict --- */

static char *evict_size;

static bool run_evict(const CtlOptions *options, int argc, char **argv,
                      GError **errp)
{
    g_autoptr(JsonObject) arguments = NULL;
    g_autoptr(JsonNode) reply = NULL;
    g_autoptr(GError) err = NULL;
    g_autoptr(Qmp) qmp = NULL;
    g_autofree char *text = NULL;
    uint64_t size = 0, pages = 0, freed = 0;
    JsonObject *result;

    if (!check_whole(options, argc, errp) ||
        (evict_size && !ctl_size_parse(evict_size, &size, errp))) {
        return false;
    }
    qmp = open_target(options, argv[0], &arguments, errp);
    if (!qmp) {
        return false;
    }
    if (evict_size) {
        json_object_set_int_member(arguments, "bytes", size);
    }
    reply = qmp_run(qmp, "tmem-evict", g_steal_pointer(&arguments), &err);
    if (g_error_matches(err, CTL_ERROR, CTL_ERROR_LATE)) {
        g_set_error(errp, CTL_ERROR, CTL_ERROR_LATE,
                    "the eviction is not over after %d s, and goes on: see "
                    "with tmemctl show what is left, or wait longer with "
                    "--timeout", options->timeout);
        return false;
    }
    if (!reply) {
        g_propagate_error(errp, g_steal_pointer(&err));
        return false;
    }
    if (JSON_NODE_HOLDS_OBJECT(reply)) {
        result = json_node_get_object(reply);
        ctl_get_uint(result, NULL, "evicted-pages", &pages);
        ctl_get_uint(result, NULL, "freed-bytes", &freed);
    }
    if (options->json) {
        printf("{\n  \"evicted-pages\": %" G_GUINT64_FORMAT ",\n"
               "  \"freed-bytes\": %" G_GUINT64_FORMAT "\n}\n", pages, freed);
        return true;
    }
    text = ctl_size_str(freed, options->bytes);
    printf("%" G_GUINT64_FORMAT " pages evicted, %s freed\n", pages, text);
    return true;
}

static const GOptionEntry evict_entries[] = {
    { "size", 0, 0, G_OPTION_ARG_STRING, &evict_size,
      "Memory to free (default: all ephemeral data)", "SIZE" },
    { NULL },
};

const CtlCommand ctl_command_evict = {
    "evict", "[CLIENT]", "Drop ephemeral pages of a client, or of a store",
    "Pages of swap are persistent, and stay.",
    evict_entries, 0, 1, run_evict,
};

/* --- auth --- */

static gboolean auth_revoke;

/* A UUID with its dashes. */
static bool is_uuid(const char *text)
{
    int i;

    for (i = 0; i < 36; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;

        if (dash ? text[i] != '-' : !g_ascii_isxdigit(text[i])) {
            return false;
        }
    }
    return !text[i];
}

static bool run_auth(const CtlOptions *options, int argc, char **argv,
                     GError **errp)
{
    g_autoptr(JsonObject) arguments = NULL;
    g_autoptr(JsonNode) reply = NULL;
    g_autoptr(Qmp) qmp = NULL;

    if (!is_uuid(argv[1])) {
        g_set_error(errp, CTL_ERROR, CTL_ERROR_USAGE,
                    "'%s' is no UUID: write one as uuidgen prints it",
                    argv[1]);
        return false;
    }
    qmp = open_target(options, argv[0], &arguments, errp);
    if (!qmp) {
        return false;
    }
    json_object_set_string_member(arguments, "uuid", argv[1]);
    if (auth_revoke) {
        json_object_set_boolean_member(arguments, "revoke", true);
    }
    reply = qmp_run(qmp, "tmem-authorize", g_steal_pointer(&arguments), errp);
    return reply != NULL;
}

static const GOptionEntry auth_entries[] = {
    { "revoke", 0, 0, G_OPTION_ARG_NONE, &auth_revoke,
      "Take the permission back", NULL },
    { NULL },
};

const CtlCommand ctl_command_auth = {
    "auth", "CLIENT UUID", "Let a client join a shared pool",
    "The pool is known by its UUID, which its guests give.",
    auth_entries, 2, 2, run_auth,
};
