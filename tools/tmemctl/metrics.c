/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmemctl: the counters as text for Prometheus and its relatives
 *
 * The metrics are what the replies have, so a counter that a newer QEMU has
 * is exported too; what it means comes from libtmem's table.  Both formats
 * want all samples of one metric together, so they are collected by metric.
 *
 * Anybody's process may answer, with whatever members it likes.  A text that
 * breaks the format's rules is refused as a whole, so what is not known comes
 * last, and only where it takes the name of nothing else.
 */
#include <string.h>

#include "counters.h"
#include "metrics.h"

typedef struct Family {
    char *name;
    const char *type;           /* of OpenMetrics */
    const char *unit;           /* NULL: none */
    char *help;
    GString *samples;
} Family;

typedef struct Families {
    GPtrArray *list;
    GHashTable *by_name;
    GHashTable *seen;           /* each sample up to its value */
} Families;

static void family_free(Family *family)
{
    g_free(family->name);
    g_free(family->help);
    g_string_free(family->samples, true);
    g_free(family);
}

static Family *get_family(Families *families, const char *name,
                          const char *type, const char *unit,
                          const char *help)
{
    Family *family = g_hash_table_lookup(families->by_name, name);

    if (!family) {
        family = g_new0(Family, 1);
        family->name = g_strdup(name);
        family->type = type;
        family->unit = unit;
        family->help = g_strdup(help);
        family->samples = g_string_new(NULL);
        g_ptr_array_add(families->list, family);
        g_hash_table_insert(families->by_name, family->name, family);
    }
    return family;
}

/* ,NAME="VALUE" with what has a meaning there escaped. */
static void add_label(GString *labels, const char *name, const char *value)
{
    g_autofree char *valid = g_utf8_make_valid(value, -1);
    const char *p;

    g_string_append_printf(labels, "%s%s=\"", labels->len ? "," : "", name);
    for (p = valid; *p; p++) {
        if (*p == '\n') {
            g_string_append(labels, "\\n");
        } else {
            if (*p == '"' || *p == '\\') {
                g_string_append_c(labels, '\\');
            }
            g_string_append_c(labels, *p);
        }
    }
    g_string_append_c(labels, '"');
}

/*
 * Counters end in _total in OpenMetrics, and so they do here in both.  The same
 * sample a second time, as of two clients of one name, is left out.
 */
static void add_sample(Families *families, Family *family, const char *suffix,
                       const char *labels, const char *value)
{
    char *sample = g_strdup_printf("%s%s%s%s%s", family->name, suffix,
                                   *labels ? "{" : "", labels,
                                   *labels ? "}" : "");

    if (!g_hash_table_contains(families->seen, sample)) {
        g_string_append_printf(family->samples, "%s %s\n", sample, value);
    }
    g_hash_table_add(families->seen, sample);
}

static void add_uint(Families *families, const char *name, const char *type,
                     const char *unit, const char *help, const char *labels,
                     uint64_t number)
{
    g_autofree char *text = g_strdup_printf("%" G_GUINT64_FORMAT, number);
    Family *family = get_family(families, name, type, unit, help);

    add_sample(families, family, !strcmp(type, "counter") ? "_total" :
               !strcmp(type, "info") ? "_info" : "", labels, text);
}

/* --- Names --- */

/* @member with nothing in it that the name of a metric cannot have. */
static char *clean_name(const char *member)
{
    char *name = g_strdup(member);

    g_strcanon(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                     "0123456789_", '_');
    return name;
}

/* @name without @part ("bytes"), which goes to the end as the unit. */
static char *name_with_unit(const char *prefix, const char *name,
                            const char *part, const char *unit)
{
    g_auto(GStrv) words = g_strsplit(name, "_", -1);
    GString *out = g_string_new(prefix);
    int i;

    for (i = 0; words[i]; i++) {
        if (strcmp(words[i], part)) {
            g_string_append_printf(out, "_%s", words[i]);
        }
    }
    g_string_append_printf(out, "_%s", unit);
    return g_string_free(out, false);
}

/* Whether a member that is not known may be called @name. */
static bool name_is_free(const Families *families, const char *name)
{
    static const char *const taken[] = {
        "_total", "_info", "_count", "_sum", "_bucket", "_created",
    };
    const Family *family = g_hash_table_lookup(families->by_name, name);
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(taken); i++) {
        if (g_str_has_suffix(name, taken[i])) {
            return false;
        }
    }
    return !family || !strcmp(family->type, "unknown");
}

static void add_member(Families *families, CtlScope scope, const char *prefix,
                       JsonObject *object, const char *member,
                       const char *labels)
{
    const CtlCounter *counter = ctl_counter_find(scope, member);
    bool bytes = ctl_counter_bytes(scope, member);
    bool ns = counter ? counter->unit == NS : g_str_has_suffix(member, "-ns");
    const char *type = !counter ? "unknown" :
                       counter->growth == CUMULATIVE ? "counter" : "gauge";
    const char *unit = bytes ? "bytes" : ns ? "seconds" : NULL;
    const char *help = counter ? counter->text :
                       "what this is, this version of tmemctl does not know";
    g_autofree char *clean = clean_name(member);
    g_autofree char *name = NULL;
    g_autofree char *seconds = NULL;
    uint64_t number;

    if (!ctl_get_uint(object, NULL, member, &number)) {
        return;
    }
    if (bytes) {
        name = name_with_unit(prefix, clean, "bytes", "bytes");
    } else if (ns) {
        name = name_with_unit(prefix, clean, "ns", "seconds");
    } else {
        name = g_strconcat(prefix, "_", clean, NULL);
    }
    if (!counter && !name_is_free(families, name)) {
        return;
    }
    if (ns) {
        seconds = g_strdup_printf("%" G_GUINT64_FORMAT ".%09u",
                                  number / 1000000000,
                                  (unsigned)(number % 1000000000));
        add_sample(families, get_family(families, name, type, unit, help),
                   !strcmp(type, "counter") ? "_total" : "", labels, seconds);
    } else {
        add_uint(families, name, type, unit, help, labels, number);
    }
}

/* The members of @object that are known, or those that are not. */
static void add_members(Families *families, CtlScope scope, const char *prefix,
                        JsonObject *object, const char *labels, bool known)
{
    g_autoptr(GList) names = object ? json_object_get_members(object) : NULL;
    GList *l;

    names = g_list_sort(names, (GCompareFunc)strcmp);
    for (l = names; l; l = l->next) {
        if (known == (ctl_counter_find(scope, l->data) != NULL)) {
            add_member(families, scope, prefix, object, l->data, labels);
        }
    }
}

static void add_gauge(Families *families, const char *name, const char *unit,
                      const char *help, JsonObject *object, const char *part,
                      const char *member, const char *labels)
{
    uint64_t number;

    if (ctl_get_uint(object, part, member, &number)) {
        add_uint(families, name, "gauge", unit, help, labels, number);
    }
}

static void add_frozen(Families *families, const char *name, const char *help,
                       JsonObject *info, const char *labels)
{
    bool frozen;

    if (ctl_get_bool(info, "frozen", &frozen)) {
        add_uint(families, name, "gauge", NULL, help, labels, frozen);
    }
}

/* Percentiles of each kind of operation. */
static void add_latency(Families *families, JsonObject *info,
                        const char *labels)
{
    static const struct {
        const char *member, *quantile;
    } quantiles[] = {
        { "p50-ns", "0.5" }, { "p90-ns", "0.9" }, { "p99-ns", "0.99" },
        { "p999-ns", "0.999" },
    };
    JsonObject *latency = ctl_get_object(info, "latency");
    g_autoptr(GList) names = latency ? json_object_get_members(latency) : NULL;
    Family *family;
    GList *l;

    names = g_list_sort(names, (GCompareFunc)strcmp);
    for (l = names; l; l = l->next) {
        JsonObject *kind = ctl_get_object(latency, l->data);
        g_autoptr(GString) all = g_string_new(labels);
        g_autofree char *count = NULL;
        uint64_t number;
        size_t i;

        if (!kind || !ctl_get_uint(kind, NULL, "count", &number) || !number) {
            continue;
        }
        family = get_family(families, "tmem_client_latency_seconds", "summary",
                            "seconds", "time that operations took inside the "
                            "store, since the client came");
        add_label(all, "op", l->data);
        for (i = 0; i < G_N_ELEMENTS(quantiles); i++) {
            g_autoptr(GString) one = g_string_new(all->str);
            g_autofree char *seconds = NULL;
            uint64_t ns;

            if (ctl_get_uint(kind, NULL, quantiles[i].member, &ns)) {
                add_label(one, "quantile", quantiles[i].quantile);
                seconds = g_strdup_printf("%" G_GUINT64_FORMAT ".%09u",
                                          ns / 1000000000,
                                          (unsigned)(ns % 1000000000));
                add_sample(families, family, "", one->str, seconds);
            }
        }
        count = g_strdup_printf("%" G_GUINT64_FORMAT, number);
        add_sample(families, family, "_count", all->str, count);
    }
}

/* --- Stores and clients --- */

static GString *store_labels(const CtlStore *store)
{
    GString *labels = g_string_new(NULL);

    add_label(labels, "socket", store->server->socket);
    add_label(labels, "store", store->id);
    return labels;
}

static void add_store(Families *families, const CtlStore *store)
{
    g_autoptr(GString) labels = store_labels(store);
    const char *compressor = ctl_get_string(store->info, "compressor");

    add_members(families, CTL_SCOPE_STORE, "tmem_store",
                ctl_get_object(store->info, "stats"), labels->str, true);
    add_frozen(families, "tmem_store_frozen",
               "1 if the stores of all its clients are refused", store->info,
               labels->str);
    add_label(labels, "compressor", compressor ? compressor : "");
    add_uint(families, "tmem_store", "info", NULL, "what cannot be counted",
             labels->str, 1);
}

static void add_client(Families *families, const CtlClient *client)
{
    g_autoptr(GString) labels = store_labels(client->store);
    const char *door = ctl_get_string(client->info, "door");

    add_label(labels, "client", client->name);
    add_members(families, CTL_SCOPE_CLIENT, "tmem_client",
                ctl_get_object(client->info, "stats"), labels->str, true);
    add_members(families, CTL_SCOPE_POOL, "tmem_client",
                ctl_get_object(client->info, "total"), labels->str, true);
    add_gauge(families, "tmem_client_min_bytes", "bytes",
              "memory of the store kept for the client", client->info,
              "limits", "min-size", labels->str);
    add_gauge(families, "tmem_client_weight", NULL,
              "share of what all minimums leave", client->info, "limits",
              "weight", labels->str);
    add_uint(families, "tmem_client_uncompressed_bytes", "gauge", "bytes",
             "size of the pages held, as the guest sees them; of a trust "
             "group none, as they are those of its members",
             labels->str, ctl_client_data(client));
    add_frozen(families, "tmem_client_frozen",
               "1 if the client's stores are refused", client->info,
               labels->str);
    add_latency(families, client->info, labels->str);
    add_label(labels, "door", door ? door : "");
    add_uint(families, "tmem_client", "info", NULL, "what cannot be counted",
             labels->str, 1);
}

/* What a newer QEMU counts, or somebody has made up. */
static void add_unknown(Families *families, const CtlView *view)
{
    guint i;

    for (i = 0; i < view->stores->len; i++) {
        const CtlStore *store = view->stores->pdata[i];
        g_autoptr(GString) labels = store_labels(store);

        add_members(families, CTL_SCOPE_STORE, "tmem_store",
                    ctl_get_object(store->info, "stats"), labels->str, false);
    }
    for (i = 0; i < view->clients->len; i++) {
        const CtlClient *client = view->clients->pdata[i];
        g_autoptr(GString) labels = store_labels(client->store);

        add_label(labels, "client", client->name);
        add_members(families, CTL_SCOPE_CLIENT, "tmem_client",
                    ctl_get_object(client->info, "stats"), labels->str, false);
        add_members(families, CTL_SCOPE_POOL, "tmem_client",
                    ctl_get_object(client->info, "total"), labels->str, false);
    }
}

/* --- The text --- */

/* The same type in Prometheus' words. */
static const char *old_type(const char *type)
{
    return !strcmp(type, "unknown") ? "untyped" :
           !strcmp(type, "info") ? "gauge" : type;
}

static void print_family(GString *out, const Family *family, CtlFormat format)
{
    const char *suffix = "";

    if (format == CTL_PROMETHEUS) {
        /* There a metric is called as its samples are. */
        suffix = !strcmp(family->type, "counter") ? "_total" :
                 !strcmp(family->type, "info") ? "_info" : "";
    }
    g_string_append_printf(out, "# TYPE %s%s %s\n", family->name, suffix,
                           format == CTL_PROMETHEUS ? old_type(family->type) :
                           family->type);
    if (family->unit && format == CTL_OPENMETRICS) {
        g_string_append_printf(out, "# UNIT %s %s\n", family->name,
                               family->unit);
    }
    g_string_append_printf(out, "# HELP %s%s %s\n", family->name, suffix,
                           family->help);
    g_string_append(out, family->samples->str);
}

char *ctl_metrics(const CtlView *view, CtlFormat format)
{
    Families families;
    GString *out = g_string_new(NULL);
    guint i;

    families.list =
        g_ptr_array_new_with_free_func((GDestroyNotify)family_free);
    families.by_name = g_hash_table_new(g_str_hash, g_str_equal);
    families.seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free,
                                          NULL);
    add_uint(&families, "tmem_up", "gauge", NULL,
             "1 if every process with tmem could be asked", "",
             view && !view->complaints->len);
    for (i = 0; view && i < view->stores->len; i++) {
        add_store(&families, view->stores->pdata[i]);
    }
    for (i = 0; view && i < view->clients->len; i++) {
        add_client(&families, view->clients->pdata[i]);
    }
    if (view) {
        add_unknown(&families, view);
    }
    for (i = 0; i < families.list->len; i++) {
        print_family(out, families.list->pdata[i], format);
    }
    if (format == CTL_OPENMETRICS) {
        g_string_append(out, "# EOF\n");
    }
    g_hash_table_unref(families.seen);
    g_hash_table_unref(families.by_name);
    g_ptr_array_unref(families.list);
    return g_string_free(out, false);
}
