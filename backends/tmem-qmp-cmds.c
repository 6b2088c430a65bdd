/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * query-tmem: what the tmem stores of this process hold
 *
 * The snapshot takes the library's own short locks only; it never waits for
 * an iothread or touches a virtqueue.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-tmem.h"
#include "qapi/util.h"
#include "system/tmem-store.h"

/*
 * The counters are copied by name from the library's own lists, so a counter
 * that the schema lacks does not compile.
 */
#define TMEM_COPY(name, kind, unit, text)   info->name = stats->name;

static TmemPageStats *tmem_page_stats(const TmemPoolStats *stats)
{
    TmemPageStats *info = g_new0(TmemPageStats, 1);

    TMEM_POOL_COUNTERS(TMEM_COPY)
    TMEM_POOL_LEVELS(TMEM_COPY)
    return info;
}

static TmemClientCounters *tmem_client_counters(const TmemClientStats *stats)
{
    TmemClientCounters *info = g_new0(TmemClientCounters, 1);

    TMEM_CLIENT_COUNTERS(TMEM_COPY)
    TMEM_CLIENT_LEVELS(TMEM_COPY)
    return info;
}

static TmemStoreCounters *tmem_store_counters(const TmemStoreStats *stats)
{
    TmemStoreCounters *info = g_new0(TmemStoreCounters, 1);

    TMEM_STORE_COUNTERS(TMEM_COPY)
    TMEM_STORE_LEVELS(TMEM_COPY)
    return info;
}

#undef TMEM_COPY

static void tmem_query_pool(const TmemPoolInfo *pool, void *opaque)
{
    TmemClientPoolInfoList ***tail = opaque;
    TmemClientPoolInfo *info = g_new0(TmemClientPoolInfo, 1);

    info->id = pool->id;
    info->kind = g_strdup(tmem_pool_kind_str(pool->kind));
    info->page_shift = pool->page_shift;
    info->stats = tmem_page_stats(&pool->stats);
    QAPI_LIST_APPEND(*tail, info);
}

typedef struct TmemClientQuery {
    const char *name;           /* NULL: all */
    TmemClientInfoList **tail;
} TmemClientQuery;

static void tmem_query_client(TmemClient *client, void *opaque)
{
    TmemClientQuery *query = opaque;
    TmemClientPoolInfoList **tail;
    TmemClientStats stats;
    TmemClientInfo *info;

    if (query->name && strcmp(query->name, tmem_client_name(client))) {
        return;
    }
    tmem_client_get_stats(client, &stats);
    info = g_new0(TmemClientInfo, 1);
    info->name = g_strdup(tmem_client_name(client));
    info->stats = tmem_client_counters(&stats);
    info->total = tmem_page_stats(&stats.total);
    tail = &info->pools;
    tmem_client_foreach_pool(client, tmem_query_pool, &tail);
    QAPI_LIST_APPEND(query->tail, info);
}

typedef struct TmemStoreQuery {
    TmemStoreObject *store;     /* NULL: all */
    const char *client;
    TmemStoreInfoList **tail;
} TmemStoreQuery;

static void tmem_query_store(TmemStoreObject *obj, void *opaque)
{
    TmemStoreQuery *query = opaque;
    TmemStore *store = tmem_store_object_get(obj);
    TmemClientQuery clients = { .name = query->client };
    TmemStoreStats stats;
    TmemStoreInfo *info;

    if (query->store && query->store != obj) {
        return;
    }
    tmem_store_get_stats(store, &stats);
    info = g_new0(TmemStoreInfo, 1);
    info->id = tmem_store_object_id(obj);
    info->compressor = object_property_get_str(OBJECT(obj),
                                               TMEM_STORE_COMPRESSOR_PROP,
                                               &error_abort);
    info->stats = tmem_store_counters(&stats);
    clients.tail = &info->clients;
    tmem_store_foreach_client(store, tmem_query_client, &clients);
    QAPI_LIST_APPEND(query->tail, info);
}

TmemStoreInfoList *qmp_query_tmem(const char *store, const char *client,
                                  Error **errp)
{
    TmemStoreInfoList *list = NULL;
    TmemStoreQuery query = { .client = client, .tail = &list };

    if (store) {
        query.store = tmem_store_object_find(store, errp);
        if (!query.store) {
            return NULL;
        }
    }
    tmem_store_object_foreach(tmem_query_store, &query);
    return list;
}
