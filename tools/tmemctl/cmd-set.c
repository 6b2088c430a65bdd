/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmemctl set: limits of a client or of its pools, policy of a store
 *
 * Limits change with one command of QMP, which takes all or none.  Policy is
 * properties of an object, one after the other, so those that were changed
 * are put back when one is refused.
 */
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "value.h"

/* KEY=VALUE as KEY; *@value points behind the '='. */
static char *split_word(const char *word, const char **value, GError **errp)
{
    const char *equals = strchr(word, '=');

    if (!equals || equals == word) {
        g_set_error(errp, CTL_ERROR, CTL_ERROR_USAGE,
                    "'%s' sets nothing: write KEY=VALUE, as in max-size=4G",
                    word);
        return NULL;
    }
    *value = equals + 1;
    return g_strndup(word, equals - word);
}

/* --- A client --- */

static char *pool_id;

static bool add_compressor(JsonObject *arguments, const char *value,
                           GError **errp)
{
    if (!pool_id) {
        g_set_error(errp, CTL_ERROR, CTL_ERROR_USAGE,
                    "a client has no compressor: name a pool of it with "
                    "--pool, or a store with --store and without a client");
        return false;
    }
    json_object_set_string_member(arguments, "compressor", value);
    return true;
}

/* Adds what @word says to what is asked for. */
static bool add_limit(JsonObject *arguments, const char *word, GError **errp)
{
    const char *value;
    g_autofree char *key = split_word(word, &value, errp);
    uint64_t number;

    if (!key) {
        return false;
    }
    if (json_object_has_member(arguments, key)) {
        g_set_error(errp, CTL_ERROR, CTL_ERROR_USAGE,
                    "%s is given twice: give it once", key);
        return false;
    }
    if (!strcmp(key, "min-size") || !strcmp(key, "max-size")) {
        if (!ctl_size_parse(value, &number, errp)) {
            return false;
        }
    } else if (!strcmp(key, "weight")) {
        if (!g_ascii_string_to_unsigned(value, 10, 1, G_MAXUINT32, &number,
                                        NULL)) {
            g_set_error(errp, CTL_ERROR, CTL_ERROR_USAGE,
                        "'%s' is no weight: it is a number from 1 to "
                        "10000, and 100 where none is given", value);
            return false;
        }
    } else if (!strcmp(key, "compressor")) {
        return add_compressor(arguments, value, errp);
    } else if (!strcmp(key, "pool")) {
        g_set_error(errp, CTL_ERROR, CTL_ERROR_USAGE,
                    "a pool is not set, but named: write --pool=%s", value);
        return false;
    } else if (pool_id) {
        g_set_error(errp, CTL_ERROR, CTL_ERROR_USAGE,
                    "a pool has no '%s': it has min-size, max-size, weight "
                    "and compressor", key);
        return false;
    } else {
        g_set_error(errp, CTL_ERROR, CTL_ERROR_USAGE,
                    "a client has no '%s': it has min-size, max-size and "
                    "weight; the policy of a store is set with --store and "
                    "without a client", key);
        return false;
    }
    json_object_set_int_member(arguments, key, number);
    return true;
}

static bool set_client(const CtlOptions *options, const char *name,
                       JsonObject *arguments, GError **errp)
{
    g_autoptr(CtlView) view = ctl_view_take(options, errp);
    g_autoptr(JsonNode) reply = NULL;
    g_autoptr(GError) err = NULL;
    g_autoptr(Qmp) qmp = NULL;
    const CtlClient *client;

    if (!view) {
        return false;
    }
    client = ctl_view_client(view, name, errp);
    if (!client) {
        ctl_view_complain(view);
        return false;
    }
    json_object_set_string_member(arguments, "store", client->store->id);
    json_object_set_string_member(arguments, "client", client->name);
    qmp = ctl_server_open(client->store->server, options, &err);
    if (qmp) {
        reply = qmp_run(qmp, "tmem-set-client", json_object_ref(arguments),
                        &err);
    }
    /* The limits are changed first, and what is above them is evicted then. */
    if (g_error_matches(err, CTL_ERROR, CTL_ERROR_LATE) &&
        json_object_has_member(arguments, "max-size")) {
        g_set_error(errp, CTL_ERROR, CTL_ERROR_LATE,
                    "the eviction of what is above the new limits is not over "
                    "after %d s, and goes on: see with tmemctl show what is "
                    "left, or wait longer with --timeout", options->timeout);
    } else if (err) {
        g_propagate_error(errp, g_steal_pointer(&err));
    }
    return reply != NULL;
}

/* The words behind the client, as tmem-set-client wants them. */
static JsonObject *client_arguments(int argc, char **argv, GError **errp)
{
    g_autoptr(JsonObject) arguments = json_object_new();
    uint64_t id;
    int i;

    if (!argc) {
        g_set_error(errp, CTL_ERROR, CTL_ERROR_USAGE,
                    "set what? Write KEY=VALUE behind the client, as in "
                    "max-size=4G");
        return NULL;
    }
    for (i = 0; i < argc; i++) {
        if (!add_limit(arguments, argv[i], errp)) {
            return NULL;
        }
    }
    if (pool_id) {
        if (!ctl_id_parse(pool_id, &id, errp)) {
            return NULL;
        }
        /* Printed as a signed number, which QMP takes for the same 64 bits. */
        json_object_set_int_member(arguments, "pool", id);
    }
    return g_steal_pointer(&arguments);
}

/* --- A store --- */

typedef struct Change {
    char *key;
    const char *value;          /* as it was written */
    JsonNode *before;
    JsonNode *after;
} Change;

static void change_free(Change *change)
{
    g_free(change->key);
    g_clear_pointer(&change->before, json_node_unref);
    g_clear_pointer(&change->after, json_node_unref);
    g_free(change);
}

static char *store_path(const CtlStore *store)
{
    return *store->id == '/' ? g_strdup(store->id) :
                               g_strconcat("/objects/", store->id, NULL);
}

static JsonObject *path_arguments(const char *path, const char *property)
{
    JsonObject *arguments = json_object_new();

    json_object_set_string_member(arguments, "path", path);
    if (property) {
        json_object_set_string_member(arguments, "property", property);
    }
    return arguments;
}

/* The type of property @key in @list, of qom-list; NULL if it is not there. */
static const char *property_type(JsonNode *list, const char *key)
{
    JsonArray *array = ctl_reply_array(list);
    guint n = ctl_array_length(array);
    guint i;

    for (i = 0; i < n; i++) {
        JsonObject *property = ctl_array_object(array, i);

        if (!g_strcmp0(ctl_get_string(property, "name"), key)) {
            return ctl_get_string(property, "type");
        }
    }
    return NULL;
}

/* @text as a property of @type takes it. */
static JsonNode *property_value(const char *type, const char *key,
                                const char *text, GError **errp)
{
    g_autoptr(JsonNode) node = json_node_new(JSON_NODE_VALUE);
    uint64_t size;
    gint64 number;

    if (!strcmp(type, "bool")) {
        if (strcmp(text, "on") && strcmp(text, "off")) {
            g_set_error(errp, CTL_ERROR, CTL_ERROR_USAGE,
                        "%s is on or off, and not '%s'", key, text);
            return NULL;
        }
        json_node_set_boolean(node, !strcmp(text, "on"));
    } else if (!strcmp(type, "size")) {
        if (!ctl_size_parse(text, &size, errp)) {
            return NULL;
        }
        json_node_set_int(node, size);
    } else if (strstr(type, "int")) {
        if (!g_ascii_string_to_signed(text, 10, G_MININT64, G_MAXINT64,
                                      &number, NULL)) {
            g_set_error(errp, CTL_ERROR, CTL_ERROR_USAGE,
                        "%s is a number, and '%s' is none", key, text);
            return NULL;
        }
        json_node_set_int(node, number);
    } else {
        json_node_set_string(node, text);
    }
    return g_steal_pointer(&node);
}

/* What @word asks for, and what was before. */
static Change *plan_change(Qmp *qmp, const char *path, JsonNode *properties,
                           const char *word, GError **errp)
{
    Change *change = g_new0(Change, 1);
    const char *type;

    change->key = split_word(word, &change->value, errp);
    if (!change->key) {
        goto fail;
    }
    type = property_type(properties, change->key);
    if (!type || !strcmp(change->key, "type")) {
        g_set_error(errp, CTL_ERROR, CTL_ERROR_USAGE,
                    "a store has no '%s': see the man page, or "
                    "tmemctl show, for what it has", change->key);
        goto fail;
    }
    change->after = property_value(type, change->key, change->value, errp);
    if (!change->after) {
        goto fail;
    }
    change->before = qmp_run(qmp, "qom-get",
                             path_arguments(path, change->key), errp);
    if (!change->before) {
        goto fail;
    }
    return change;
fail:
    change_free(change);
    return NULL;
}

static bool set_property(Qmp *qmp, const char *path, const char *key,
                         JsonNode *value, GError **errp)
{
    JsonObject *arguments = path_arguments(path, key);
    g_autoptr(JsonNode) reply = NULL;

    json_object_set_member(arguments, "value", json_node_copy(value));
    reply = qmp_run(qmp, "qom-set", arguments, errp);
    return reply != NULL;
}

/*
 * Makes all of @changes or, as far as that can be had, none: one whose answer
 * did not come may be made yet, and is put back as well.
 */
static bool make_changes(Qmp *qmp, const char *path, GPtrArray *changes,
                         GError **errp)
{
    GError *failed = NULL;
    guint i;

    for (i = 0; i < changes->len && !failed; i++) {
        const Change *change = changes->pdata[i];

        set_property(qmp, path, change->key, change->after, &failed);
    }
    if (!failed) {
        return true;
    }
    if (g_error_matches(failed, CTL_ERROR, CTL_ERROR_REFUSED)) {
        i--;
    }
    g_propagate_error(errp, failed);
    while (i-- > 0) {
        const Change *change = changes->pdata[i];
        g_autoptr(GError) err = NULL;

        if (!set_property(qmp, path, change->key, change->before, &err)) {
            g_prefix_error(errp, "%s may stay changed, as it cannot be put "
                           "back (%s): ", change->key, err->message);
        }
    }
    return false;
}

static bool set_store(const CtlOptions *options, int argc, char **argv,
                      GError **errp)
{
    g_autoptr(GPtrArray) changes =
        g_ptr_array_new_with_free_func((GDestroyNotify)change_free);
    g_autoptr(CtlView) view = NULL;
    g_autoptr(JsonNode) properties = NULL;
    g_autoptr(Qmp) qmp = NULL;
    g_autofree char *path = NULL;
    const CtlStore *store;
    int i;

    view = ctl_view_take(options, errp);
    store = view ? ctl_view_store(view, options, errp) : NULL;
    if (!store) {
        return false;
    }
    qmp = ctl_server_open(store->server, options, errp);
    if (!qmp) {
        return false;
    }
    path = store_path(store);
    properties = qmp_run(qmp, "qom-list", path_arguments(path, NULL), errp);
    if (!properties) {
        return false;
    }
    for (i = 0; i < argc; i++) {
        Change *change = plan_change(qmp, path, properties, argv[i], errp);

        if (!change) {
            return false;
        }
        g_ptr_array_add(changes, change);
    }
    return make_changes(qmp, path, changes, errp);
}

static bool run_set(const CtlOptions *options, int argc, char **argv,
                    GError **errp)
{
    g_autoptr(JsonObject) arguments = NULL;

    if (strchr(argv[0], '=')) {
        if (!options->store || pool_id) {
            g_set_error(errp, CTL_ERROR, CTL_ERROR_USAGE,
                        "whose %s? Name a client before it%s",
                        pool_id ? "pool" : argv[0],
                        pool_id ? "" : ", or a store with --store");
            return false;
        }
        return set_store(options, argc, argv, errp);
    }
    arguments = client_arguments(argc - 1, argv + 1, errp);
    return arguments && set_client(options, argv[0], arguments, errp);
}

static const GOptionEntry set_entries[] = {
    { "pool", 0, 0, G_OPTION_ARG_STRING, &pool_id,
      "Of this pool of the client only, by its number", "POOL" },
    { NULL },
};

const CtlCommand ctl_command_set = {
    "set", "[CLIENT] KEY=VALUE...",
    "Change limits of a client or a pool, or policy of a store",
    "Of a client: min-size, max-size (sizes), weight (a number).\n"
    "Of a pool of it, named with --pool: these, and compressor.\n"
    "Of a store, named with --store: compressor and the other properties of "
    "a\ntmem-store object, such as recompress-after.\n\n"
    "All of it is done, or nothing.",
    set_entries, 1, -1, run_set,
};
