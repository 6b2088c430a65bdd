/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The human monitor: query-tmem as a table, and what an operator does
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-tmem.h"
#include "qobject/qdict.h"
#include "qemu/cutils.h"
#include "monitor/hmp.h"
#include "monitor/monitor.h"
#include "libtmem/tmem.h"

/* What pages would take uncompressed, against the memory they take. */
static void print_ratio(Monitor *mon, const TmemPageStats *stats,
                        unsigned page_shift)
{
    uint64_t bytes = stats->data_bytes + stats->index_bytes;

    if (bytes) {
        monitor_printf(mon, " %5.2f:1",
                       (double)(stats->pages << page_shift) / bytes);
    } else {
        monitor_printf(mon, " %7s", "-");
    }
}

static void print_row(Monitor *mon, int width, const char *name,
                      const char *kind, uint64_t bytes,
                      const TmemPageStats *stats, unsigned page_shift)
{
    g_autofree char *size = size_to_str(bytes);

    monitor_printf(mon, "  %-*s %-10s %10" PRIu64 " %10s",
                   width, name, kind, stats->pages, size);
    print_ratio(mon, stats, page_shift);
    monitor_printf(mon, " %12" PRIu64 " %12" PRIu64 " %12" PRIu64 "\n",
                   stats->stores_ok, stats->loads_hit,
                   stats->stores - stats->stores_ok);
}

/* A trust group has no pools: its pages are those that it keeps for others. */
static void print_group(Monitor *mon, int width, const TmemClientInfo *client)
{
    TmemPageStats kept = *client->total;

    kept.pages = client->stats->group_pages;
    kept.data_bytes = client->stats->group_data_bytes;
    print_row(mon, width, client->name, client->frozen ? "frozen" : "group",
              client->stats->bytes, &kept, TMEM_PAGE_SHIFT);
}

static void print_client(Monitor *mon, int width, const TmemClientInfo *client)
{
    TmemClientPoolInfoList *l;
    unsigned page_shift = client->pools ? client->pools->value->page_shift : 0;

    if (client->door == TMEM_CLIENT_DOOR_TRUST_GROUP) {
        print_group(mon, width, client);
        return;
    }
    print_row(mon, width, client->name, client->frozen ? "frozen" : "client",
              client->stats->bytes, client->total, page_shift);
    for (l = client->pools; l; l = l->next) {
        const TmemClientPoolInfo *pool = l->value;
        g_autofree char *id = g_strdup_printf("  0x%" PRIx64, pool->id);

        print_row(mon, width, id, pool->kind,
                  pool->stats->data_bytes + pool->stats->index_bytes,
                  pool->stats, pool->page_shift);
    }
}

static void print_store(Monitor *mon, const TmemStoreInfo *store)
{
    TmemClientInfoList *l;
    g_autofree char *size = size_to_str(store->stats->size_bytes);
    g_autofree char *used = size_to_str(store->stats->used_bytes);
    int width = strlen("  0x0123456789abcdef");

    monitor_printf(mon, "%s: %s of %s used, compressor %s, %" PRIu64
                   " client%s%s\n", store->id, used, size, store->compressor,
                   store->stats->clients,
                   store->stats->clients == 1 ? "" : "s",
                   store->frozen ? ", frozen" : "");
    if (!store->clients) {
        return;
    }
    for (l = store->clients; l; l = l->next) {
        width = MAX(width, strlen(l->value->name));
    }
    monitor_printf(mon, "  %-*s %-10s %10s %10s %7s %12s %12s %12s\n",
                   width, "client / pool", "kind", "pages", "memory", "ratio",
                   "stores", "loads", "refused");
    for (l = store->clients; l; l = l->next) {
        print_client(mon, width, l->value);
    }
}

void hmp_info_tmem(Monitor *mon, const QDict *qdict)
{
    Error *err = NULL;
    const char *id = qdict_get_try_str(qdict, "store");
    g_autoptr(TmemStoreInfoList) stores = qmp_query_tmem(id, NULL, false, false,
                                                         &err);
    TmemStoreInfoList *l;

    if (hmp_handle_error(mon, err)) {
        return;
    }
    if (!stores) {
        monitor_printf(mon, "There is no tmem-store.\n");
    }
    for (l = stores; l; l = l->next) {
        print_store(mon, l->value);
    }
}

/* --- What an operator does --- */

void coroutine_fn hmp_tmem_set_client(Monitor *mon, const QDict *qdict)
{
    const char *limit = qdict_get_str(qdict, "limit");
    const char *text = qdict_get_str(qdict, "value");
    bool is_min = !strcmp(limit, "min-size");
    bool is_max = !strcmp(limit, "max-size");
    bool is_size = is_min || is_max;
    bool is_weight = !strcmp(limit, "weight");
    bool is_compressor = !strcmp(limit, "compressor");
    uint64_t size = 0;
    unsigned weight = 0;
    Error *err = NULL;

    if (!is_size && !is_weight && !is_compressor) {
        error_setg(&err, "'%s' is not a limit of a client; these are"
                   " 'min-size', 'max-size' and 'weight', and of a pool also"
                   " its 'compressor'", limit);
    } else if (is_weight && qemu_strtoui(text, NULL, 10, &weight)) {
        error_setg(&err, "'%s' is not a number", text);
    } else if (is_size && qemu_strtosz(text, NULL, &size)) {
        error_setg(&err, "'%s' is not a size in bytes, such as 512M", text);
    } else {
        qmp_tmem_set_client(qdict_get_str(qdict, "store"),
                            qdict_get_str(qdict, "client"),
                            qdict_haskey(qdict, "pool"),
                            qdict_get_try_int(qdict, "pool", 0),
                            is_min, size, is_max, size, is_weight, weight,
                            is_compressor ? text : NULL, &err);
    }
    hmp_handle_error(mon, err);
}

void hmp_tmem_freeze(Monitor *mon, const QDict *qdict)
{
    Error *err = NULL;

    qmp_tmem_freeze(qdict_get_str(qdict, "store"),
                    qdict_get_try_str(qdict, "client"), &err);
    hmp_handle_error(mon, err);
}

void hmp_tmem_thaw(Monitor *mon, const QDict *qdict)
{
    Error *err = NULL;

    qmp_tmem_thaw(qdict_get_str(qdict, "store"),
                  qdict_get_try_str(qdict, "client"), &err);
    hmp_handle_error(mon, err);
}

void coroutine_fn hmp_tmem_evict(Monitor *mon, const QDict *qdict)
{
    Error *err = NULL;
    g_autoptr(TmemEvictInfo) info = NULL;
    g_autofree char *freed = NULL;

    info = qmp_tmem_evict(qdict_get_str(qdict, "store"),
                          qdict_get_try_str(qdict, "client"),
                          qdict_haskey(qdict, "bytes"),
                          qdict_get_try_int(qdict, "bytes", 0), &err);
    if (hmp_handle_error(mon, err)) {
        return;
    }
    freed = size_to_str(info->freed_bytes);
    monitor_printf(mon, "%" PRIu64 " pages evicted, %s freed\n",
                   info->evicted_pages, freed);
}

void hmp_tmem_authorize(Monitor *mon, const QDict *qdict)
{
    Error *err = NULL;

    qmp_tmem_authorize(qdict_get_str(qdict, "store"),
                       qdict_get_str(qdict, "client"),
                       qdict_get_str(qdict, "uuid"), true,
                       qdict_get_try_bool(qdict, "revoke", false), &err);
    hmp_handle_error(mon, err);
}
