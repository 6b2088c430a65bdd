/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmemctl: the columns of clients, of their pools and of stores
 */
#include <string.h>

#include "table.h"

static void set_text(CtlValue *value, const char *text)
{
    if (text) {
        value->kind = CTL_TEXT;
        value->text = text;
    }
}

static void set_number(CtlValue *value, CtlKind kind, JsonObject *info,
                       const char *part, const char *name)
{
    if (ctl_get_uint(info, part, name, &value->number)) {
        value->kind = kind;
    }
}

static uint64_t get_or_0(JsonObject *info, const char *part, const char *name)
{
    uint64_t number = 0;

    ctl_get_uint(info, part, name, &number);
    return number;
}

static void set_ratio(CtlValue *value, uint64_t data, uint64_t bytes)
{
    if (data && bytes) {
        value->kind = CTL_REAL;
        value->real = (double)data / bytes;
    }
}

static void set_percent(CtlValue *value, uint64_t part, uint64_t whole)
{
    if (whole) {
        value->kind = CTL_PERCENT;
        value->real = 100.0 * part / whole;
    }
}

/* --- Clients --- */

#define CLIENT_COLUMN(id, kind, part, member)                               \
    static void client_##id(gconstpointer row, CtlValue *value)             \
    {                                                                       \
        set_number(value, kind, ((const CtlClient *)row)->info, part,       \
                   member);                                                 \
    }

CLIENT_COLUMN(total, CTL_BYTES, "stats", "bytes")
CLIENT_COLUMN(peak, CTL_BYTES, "stats", "bytes-peak")
CLIENT_COLUMN(min, CTL_BYTES, "limits", "min-size")
CLIENT_COLUMN(weight, CTL_COUNT, "limits", "weight")
CLIENT_COLUMN(stores, CTL_COUNT, "total", "stores")
CLIENT_COLUMN(loads, CTL_COUNT, "total", "loads")
CLIENT_COLUMN(hits, CTL_COUNT, "total", "loads-hit")
CLIENT_COLUMN(pools, CTL_COUNT, "stats", "pools")
CLIENT_COLUMN(credit, CTL_BYTES, "stats", "credit-bytes")

static void client_name(gconstpointer row, CtlValue *value)
{
    set_text(value, ((const CtlClient *)row)->name);
}

static void client_store(gconstpointer row, CtlValue *value)
{
    set_text(value, ((const CtlClient *)row)->store->id);
}

static void client_door(gconstpointer row, CtlValue *value)
{
    set_text(value, ctl_get_string(((const CtlClient *)row)->info, "door"));
}

/* A trust group has no pools: what it holds are pages of its members. */
static bool is_group(const CtlClient *client)
{
    return !g_strcmp0(ctl_get_string(client->info, "door"), "trust-group");
}

static void client_pages(gconstpointer row, CtlValue *value)
{
    const CtlClient *client = row;
    bool group = is_group(client);

    set_number(value, CTL_COUNT, client->info, group ? "stats" : "total",
               group ? "group-pages" : "pages");
}

static void client_compr(gconstpointer row, CtlValue *value)
{
    const CtlClient *client = row;

    if (!is_group(client)) {
        set_number(value, CTL_BYTES, client->info, "total", "stored-bytes");
    }
}

static void client_evicted(gconstpointer row, CtlValue *value)
{
    const CtlClient *client = row;
    bool group = is_group(client);

    set_number(value, CTL_COUNT, client->info, group ? "stats" : "total",
               group ? "group-evicted" : "evicted");
}

/* Bytes of the pages that @client holds, once each. */
static uint64_t held_data(const CtlClient *client)
{
    /* What waits for its door is told as one, whatever its pools are. */
    if (client->waiting) {
        return get_or_0(client->info, "total", "pages") * CTL_PAGE_SIZE;
    }
    return is_group(client) ?
           get_or_0(client->info, "stats", "group-pages") * CTL_PAGE_SIZE :
           ctl_client_data(client);
}

/* Memory of these. */
static uint64_t held_memory(const CtlClient *client)
{
    return get_or_0(client->info, "stats", "group-data-bytes") +
           get_or_0(client->info, "total", "data-bytes") +
           get_or_0(client->info, "total", "index-bytes");
}

static void client_data(gconstpointer row, CtlValue *value)
{
    value->kind = CTL_BYTES;
    value->number = held_data(row);
}

static void client_ratio(gconstpointer row, CtlValue *value)
{
    set_ratio(value, held_data(row), held_memory(row));
}

static void client_max(gconstpointer row, CtlValue *value)
{
    JsonObject *info = ((const CtlClient *)row)->info;

    set_number(value, CTL_BYTES, info, "stats", "max-bytes");
    set_number(value, CTL_BYTES, info, "limits", "max-size");
}

static void client_use(gconstpointer row, CtlValue *value)
{
    CtlValue max = { CTL_NONE };

    client_max(row, &max);
    set_percent(value, get_or_0(((const CtlClient *)row)->info, "stats",
                                "bytes"), max.number);
}

static void client_refused(gconstpointer row, CtlValue *value)
{
    JsonObject *info = ((const CtlClient *)row)->info;
    uint64_t asked = get_or_0(info, "total", "stores");
    uint64_t kept = get_or_0(info, "total", "stores-ok");

    /* They are read one after the other, while the guest goes on. */
    value->kind = ((const CtlClient *)row)->waiting ? CTL_NONE : CTL_COUNT;
    value->number = asked > kept ? asked - kept : 0;
}

static void client_state(gconstpointer row, CtlValue *value)
{
    const CtlClient *client = row;
    bool frozen = false;
    bool all_frozen = false;
    CtlValue max = { CTL_NONE };

    ctl_get_bool(client->info, "frozen", &frozen);
    ctl_get_bool(client->store->info, "frozen", &all_frozen);
    client_max(row, &max);
    if (client->waiting) {
        set_text(value, "waiting");
    } else if (get_or_0(client->info, "total", "pages-damaged")) {
        set_text(value, "damaged");
    } else if (frozen || all_frozen) {
        set_text(value, "frozen");
    } else if (max.number && get_or_0(client->info, "stats", "bytes") +
               2 * CTL_PAGE_SIZE > max.number) {
        set_text(value, "full");
    } else {
        set_text(value, "ok");
    }
}

static void client_pid(gconstpointer row, CtlValue *value)
{
    value->number = ((const CtlClient *)row)->store->server->pid;
    value->kind = value->number ? CTL_COUNT : CTL_NONE;
}

static void client_socket(gconstpointer row, CtlValue *value)
{
    set_text(value, ((const CtlClient *)row)->store->server->socket);
}

const CtlColumn ctl_client_columns[] = {
    { "NAME", 1, true, client_name, "name of the client" },
    { "STORE", 10, true, client_store, "ID or QOM path of its store" },
    { "DOOR", 11, true, client_door, "how its pages come to the store" },
    { "PAGES", 12, false, client_pages,
      "pages held; of a trust group, those that are different" },
    { "DATA", 5, false, client_data, "size of these, as the guest sees them" },
    { "COMPR", 17, false, client_compr,
      "size of these, encoded; not known of a trust group" },
    { "TOTAL", 2, false, client_total, "all memory charged to the client" },
    { "PEAK", 16, false, client_peak, "highest TOTAL so far" },
    { "RATIO", 7, false, client_ratio,
      "DATA divided by memory; members of a group pay for references only" },
    { "MIN", 8, false, client_min, "memory kept for the client" },
    { "MAX", 3, false, client_max, "limit of TOTAL" },
    { "USE%", 0, false, client_use, "TOTAL in per cent of MAX" },
    { "WEIGHT", 9, false, client_weight, "share of what is left" },
    { "STORES", 13, false, client_stores, "stores asked for" },
    { "LOADS", 14, false, client_loads, "loads asked for" },
    { "HITS", 0, false, client_hits, "loads answered with the page" },
    { "REFUSED", 6, false, client_refused, "stores that did not keep a page" },
    { "EVICTED", 15, false, client_evicted, "ephemeral pages evicted" },
    { "POOLS", 0, false, client_pools, "pools" },
    { "CREDIT", 0, false, client_credit, "of TOTAL, reserved for credit" },
    { "STATE", 4, true, client_state,
      "ok, full, frozen, damaged or waiting" },
    { "PID", 18, false, client_pid, "process that has the store" },
    { "SOCKET", 19, true, client_socket, "its QMP socket" },
    { NULL },
};

/* --- Pools --- */

#define POOL_COLUMN(id, kind, part, member)                                 \
    static void pool_##id(gconstpointer row, CtlValue *value)               \
    {                                                                       \
        set_number(value, kind, ((const CtlPool *)row)->info, part,         \
                   member);                                                 \
    }

POOL_COLUMN(pages, CTL_COUNT, "stats", "pages")
POOL_COLUMN(compr, CTL_BYTES, "stats", "stored-bytes")
POOL_COLUMN(min, CTL_BYTES, "limits", "min-size")
POOL_COLUMN(max, CTL_BYTES, "limits", "max-size")
POOL_COLUMN(weight, CTL_COUNT, "limits", "weight")
POOL_COLUMN(stores, CTL_COUNT, "stats", "stores")
POOL_COLUMN(loads, CTL_COUNT, "stats", "loads")
POOL_COLUMN(hits, CTL_COUNT, "stats", "loads-hit")
POOL_COLUMN(evicted, CTL_COUNT, "stats", "evicted")

static void pool_client(gconstpointer row, CtlValue *value)
{
    client_name(((const CtlPool *)row)->client, value);
}

static void pool_store(gconstpointer row, CtlValue *value)
{
    client_store(((const CtlPool *)row)->client, value);
}

static void pool_name(gconstpointer row, CtlValue *value)
{
    set_text(value, ((const CtlPool *)row)->name);
}

static void pool_kind(gconstpointer row, CtlValue *value)
{
    set_text(value, ctl_get_string(((const CtlPool *)row)->info, "kind"));
}

static void pool_alg(gconstpointer row, CtlValue *value)
{
    set_text(value, ctl_get_string(((const CtlPool *)row)->info,
                                   "compressor"));
}

/* What its limits are about. */
static uint64_t pool_memory(const CtlPool *pool)
{
    return get_or_0(pool->info, "stats", "data-bytes") +
           get_or_0(pool->info, "stats", "index-bytes");
}

static void pool_total(gconstpointer row, CtlValue *value)
{
    value->kind = CTL_BYTES;
    value->number = pool_memory(row);
}

static uint64_t pool_size(const CtlPool *pool)
{
    return get_or_0(pool->info, "stats", "pages") * CTL_PAGE_SIZE;
}

static void pool_data(gconstpointer row, CtlValue *value)
{
    value->kind = CTL_BYTES;
    value->number = pool_size(row);
}

static void pool_ratio(gconstpointer row, CtlValue *value)
{
    set_ratio(value, pool_size(row), pool_memory(row));
}

static void pool_use(gconstpointer row, CtlValue *value)
{
    set_percent(value, pool_memory(row),
                get_or_0(((const CtlPool *)row)->info, "limits", "max-size"));
}

static void pool_refused(gconstpointer row, CtlValue *value)
{
    JsonObject *info = ((const CtlPool *)row)->info;
    uint64_t asked = get_or_0(info, "stats", "stores");
    uint64_t kept = get_or_0(info, "stats", "stores-ok");

    value->kind = CTL_COUNT;
    value->number = asked > kept ? asked - kept : 0;
}

static void pool_pid(gconstpointer row, CtlValue *value)
{
    client_pid(((const CtlPool *)row)->client, value);
}

static void pool_socket(gconstpointer row, CtlValue *value)
{
    client_socket(((const CtlPool *)row)->client, value);
}

const CtlColumn ctl_pool_columns[] = {
    { "CLIENT", 1, true, pool_client, "name of the client" },
    { "POOL", 2, true, pool_name, "number of the pool, for set --pool" },
    { "STORE", 11, true, pool_store, "ID or QOM path of its store" },
    { "KIND", 5, true, pool_kind,
      "persistent, or ephemeral (the host may evict its pages)" },
    { "PAGES", 12, false, pool_pages, "pages held" },
    { "DATA", 9, false, pool_data, "size of these, as the guest sees them" },
    { "COMPR", 15, false, pool_compr, "size of these, encoded" },
    { "TOTAL", 3, false, pool_total, "memory of these and of their index" },
    { "RATIO", 10, false, pool_ratio, "DATA divided by TOTAL" },
    { "MIN", 7, false, pool_min, "memory kept for the pool" },
    { "MAX", 4, false, pool_max, "limit of TOTAL" },
    { "USE%", 0, false, pool_use, "TOTAL in per cent of MAX" },
    { "WEIGHT", 8, false, pool_weight,
      "what it keeps of the client's memory when pages are evicted" },
    { "ALG", 6, true, pool_alg, "how pages are compressed that come" },
    { "STORES", 16, false, pool_stores, "stores asked for" },
    { "LOADS", 17, false, pool_loads, "loads asked for" },
    { "HITS", 0, false, pool_hits, "loads answered with the page" },
    { "REFUSED", 13, false, pool_refused, "stores that did not keep a page" },
    { "EVICTED", 14, false, pool_evicted, "ephemeral pages evicted" },
    { "PID", 18, false, pool_pid, "process that has the store" },
    { "SOCKET", 19, true, pool_socket, "its QMP socket" },
    { NULL },
};

/* --- Stores --- */

#define STORE_COLUMN(id, kind, member)                                      \
    static void store_##id(gconstpointer row, CtlValue *value)              \
    {                                                                       \
        set_number(value, kind, ((const CtlStore *)row)->info, "stats",     \
                   member);                                                 \
    }

STORE_COLUMN(size, CTL_BYTES, "size-bytes")
STORE_COLUMN(used, CTL_BYTES, "used-bytes")
STORE_COLUMN(overhead, CTL_BYTES, "overhead-bytes")
STORE_COLUMN(clients, CTL_COUNT, "clients")
STORE_COLUMN(waiting, CTL_COUNT, "waiting-doors")

static void store_name(gconstpointer row, CtlValue *value)
{
    set_text(value, ((const CtlStore *)row)->id);
}

static void store_alg(gconstpointer row, CtlValue *value)
{
    set_text(value, ctl_get_string(((const CtlStore *)row)->info,
                                   "compressor"));
}

static void store_use(gconstpointer row, CtlValue *value)
{
    JsonObject *info = ((const CtlStore *)row)->info;

    set_percent(value, get_or_0(info, "stats", "used-bytes"),
                get_or_0(info, "stats", "size-bytes"));
}

static void sum_clients(const CtlStore *store, uint64_t *data, uint64_t *used)
{
    JsonArray *list = ctl_get_array(store->info, "clients");
    guint n = ctl_array_length(list);
    guint i;

    *data = *used = 0;
    for (i = 0; i < n; i++) {
        CtlClient client = {
            .store = store,
            .info = ctl_array_object(list, i),
        };

        if (client.info) {
            /* Pages of a trust group are those of its members. */
            *data += ctl_client_data(&client);
            *used += held_memory(&client);
        }
    }
}

static void store_data(gconstpointer row, CtlValue *value)
{
    uint64_t used;

    sum_clients(row, &value->number, &used);
    value->kind = CTL_BYTES;
}

static void store_ratio(gconstpointer row, CtlValue *value)
{
    uint64_t data, used;

    sum_clients(row, &data, &used);
    set_ratio(value, data, used);
}

static void store_state(gconstpointer row, CtlValue *value)
{
    JsonObject *info = ((const CtlStore *)row)->info;
    CtlValue use = { CTL_NONE };
    bool frozen = false;

    ctl_get_bool(info, "frozen", &frozen);
    store_use(row, &use);
    set_text(value, frozen ? "frozen" : use.real >= 99 ? "full" :
                    use.real >= 90 ? "near full" : "ok");
}

static void store_pid(gconstpointer row, CtlValue *value)
{
    value->number = ((const CtlStore *)row)->server->pid;
    value->kind = value->number ? CTL_COUNT : CTL_NONE;
}

static void store_program(gconstpointer row, CtlValue *value)
{
    set_text(value, ((const CtlStore *)row)->server->program);
}

static void store_socket(gconstpointer row, CtlValue *value)
{
    set_text(value, ((const CtlStore *)row)->server->socket);
}

const CtlColumn ctl_store_columns[] = {
    { "NAME", 1, true, store_name, "ID or QOM path" },
    { "ALG", 6, true, store_alg, "how pages are compressed" },
    { "SIZE", 2, false, store_size, "limit of USED" },
    { "USED", 3, false, store_used, "all memory of the store" },
    { "USE%", 4, false, store_use, "USED in per cent of SIZE" },
    { "OVERHEAD", 10, false, store_overhead,
      "of USED, charged to no client" },
    { "DATA", 8, false, store_data, "size of all pages, uncompressed" },
    { "RATIO", 9, false, store_ratio, "DATA divided by its memory" },
    { "CLIENTS", 7, false, store_clients, "clients attached" },
    { "WAITING", 14, false, store_waiting,
      "doors that are not there, whose pages are kept" },
    { "STATE", 5, true, store_state, "ok, near full, full or frozen" },
    { "PROGRAM", 12, true, store_program, "program that has it" },
    { "PID", 11, false, store_pid, "its process" },
    { "SOCKET", 13, true, store_socket, "its QMP socket" },
    { NULL },
};
