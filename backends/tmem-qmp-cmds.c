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
#include "qemu/uuid.h"
#include "tmem-store-internal.h"

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

/* --- Distributions --- */

static TmemLatencyBucketList *tmem_latency_buckets(const TmemHistogram *h)
{
    TmemLatencyBucketList *list = NULL, **tail = &list;

    for (unsigned i = 0; i < TMEM_LATENCY_BUCKETS; i++) {
        if (h->count[i]) {
            TmemLatencyBucket *bucket = g_new0(TmemLatencyBucket, 1);

            bucket->from_ns = tmem_latency_bucket_ns(i);
            bucket->count = h->count[i];
            QAPI_LIST_APPEND(tail, bucket);
        }
    }
    return list;
}

static TmemLatency *tmem_latency(const TmemHistogram *h, bool histograms)
{
    TmemLatency *info = g_new0(TmemLatency, 1);

    info->count = tmem_histogram_total(h);
    info->p50_ns = tmem_histogram_percentile(h, 50);
    info->p90_ns = tmem_histogram_percentile(h, 90);
    info->p99_ns = tmem_histogram_percentile(h, 99);
    info->p999_ns = tmem_histogram_percentile(h, 99.9);
    if (histograms) {
        info->has_buckets = true;
        info->buckets = tmem_latency_buckets(h);
    }
    return info;
}

static TmemLatencies *tmem_latencies(TmemClient *client, bool histograms)
{
    TmemLatencies *info = g_new0(TmemLatencies, 1);
    TmemLatencyStats stats;

    tmem_client_get_latency(client, &stats);
#define TMEM_CONVERT(name, text)                                              \
    info->name = tmem_latency(&stats.name, histograms);
    TMEM_LATENCIES(TMEM_CONVERT)
#undef TMEM_CONVERT
    return info;
}

static uint64List *tmem_size_list(const uint64_t *counts)
{
    uint64List *list = NULL, **tail = &list;

    for (unsigned i = 0; i < TMEM_SIZE_BUCKETS; i++) {
        QAPI_LIST_APPEND(tail, counts[i]);
    }
    return list;
}

static TmemPageSizes *tmem_page_sizes(TmemClient *client)
{
    TmemPageSizes *info = g_new0(TmemPageSizes, 1);
    TmemSizeStats sizes;

    tmem_client_get_sizes(client, &sizes);
    info->bucket_bytes = TMEM_SIZE_BUCKET_BYTES;
    info->held = tmem_size_list(sizes.held);
    info->stored = tmem_size_list(sizes.stored);
    return info;
}

/* --- Pools, clients, stores --- */

static char *tmem_uuid_str(const uint8_t bytes[16])
{
    QemuUUID uuid;

    memcpy(uuid.data, bytes, sizeof(uuid.data));
    return qemu_uuid_unparse_strdup(&uuid);
}

static TmemClientLimits *tmem_limits(const TmemLimits *limits)
{
    TmemClientLimits *info = g_new0(TmemClientLimits, 1);

    info->min_size = limits->min_bytes;
    info->max_size = limits->max_bytes;
    info->weight = limits->weight;
    return info;
}

static void tmem_query_pool(const TmemPoolInfo *pool, void *opaque)
{
    TmemClientPoolInfoList ***tail = opaque;
    TmemClientPoolInfo *info = g_new0(TmemClientPoolInfo, 1);

    info->id = pool->id;
    info->kind = g_strdup(tmem_pool_kind_str(pool->kind));
    info->page_shift = pool->page_shift;
    info->uuid = pool->shared ? tmem_uuid_str(pool->uuid) : NULL;
    info->limits = tmem_limits(&pool->limits);
    info->compressor = tmem_codec_choice_str(&pool->codec);
    info->own_compressor = pool->has_codec;
    info->stats = tmem_page_stats(&pool->stats);
    QAPI_LIST_APPEND(*tail, info);
}

static TmemClientLimits *tmem_client_limits(TmemClient *client)
{
    TmemLimits limits;

    tmem_client_get_limits(client, &limits);
    return tmem_limits(&limits);
}

static TmemClientDoor tmem_client_door(TmemStoreObject *obj,
                                       TmemClient *client)
{
    static const TmemClientDoor doors[] = {
        [TMEM_DOOR_DEVICE] = TMEM_CLIENT_DOOR_DEVICE,
        [TMEM_DOOR_VHOST_USER] = TMEM_CLIENT_DOOR_VHOST_USER,
        [TMEM_DOOR_BLOCK] = TMEM_CLIENT_DOOR_BLOCK,
    };
    TmemDoor door;

    if (tmem_client_is_trust_group(client)) {
        return TMEM_CLIENT_DOOR_TRUST_GROUP;
    }
    return tmem_store_client_only_door(obj, tmem_client_name(client), &door) ?
           doors[door] : TMEM_CLIENT_DOOR_SHARED;
}

static strList *tmem_client_authorized(TmemClient *client)
{
    uint8_t uuids[TMEM_CLIENT_UUIDS_MAX][16];
    uint32_t nr = tmem_client_get_authorized(client, uuids);
    strList *list = NULL, **tail = &list;

    for (uint32_t i = 0; i < nr; i++) {
        QAPI_LIST_APPEND(tail, tmem_uuid_str(uuids[i]));
    }
    return list;
}

typedef struct TmemClientQuery {
    TmemStoreObject *store;
    const char *name;           /* NULL: all */
    bool histograms;
    TmemClientInfoList **tail;
} TmemClientQuery;

static void tmem_query_client(TmemClient *client, void *opaque)
{
    TmemClientQuery *query = opaque;
    TmemClientPoolInfoList **tail;
    TmemClientStats stats;
    TmemClientInfo *info;
    TmemClient *group;

    if (query->name && strcmp(query->name, tmem_client_name(client))) {
        return;
    }
    tmem_client_get_stats(client, &stats);
    info = g_new0(TmemClientInfo, 1);
    info->name = g_strdup(tmem_client_name(client));
    info->door = tmem_client_door(query->store, client);
    info->frozen = tmem_client_frozen(client);
    info->limits = tmem_client_limits(client);
    group = tmem_client_trust_group(client);
    info->trust_group = group ? g_strdup(tmem_client_name(group)) : NULL;
    info->authorized = tmem_client_authorized(client);
    info->latency = tmem_latencies(client, query->histograms);
    info->sizes = tmem_page_sizes(client);
    info->stats = tmem_client_counters(&stats);
    info->total = tmem_page_stats(&stats.total);
    tail = &info->pools;
    tmem_client_foreach_pool(client, tmem_query_pool, &tail);
    QAPI_LIST_APPEND(query->tail, info);
}

/*
 * What was handed over and waits for its door.  In the stream a door is called
 * after its kind, as there may be one of each kind with the same name.
 */
static TmemWaitingInfoList *tmem_query_waiting(TmemStoreObject *obj,
                                               const char *client)
{
    TmemWaitingInfoList *list = NULL, **tail = &list;
    TmemWaiting waiting;

    for (unsigned i = 0; tmem_store_handover_waiting(obj, i, &waiting); i++) {
        const char *colon = strchr(waiting.name, ':');
        TmemWaitingInfo *info;

        if (client && strcmp(client, waiting.client)) {
            continue;
        }
        info = g_new0(TmemWaitingInfo, 1);
        info->name = g_strdup(colon ? colon + 1 : waiting.name);
        info->door = waiting.is_host ? TMEM_CLIENT_DOOR_BLOCK :
                                       TMEM_CLIENT_DOOR_VHOST_USER;
        info->client = g_strdup(waiting.client);
        info->pools = waiting.nr_pools;
        info->pages = waiting.pages;
        info->bytes = waiting.bytes;
        info->held_bytes = waiting.held_bytes;
        QAPI_LIST_APPEND(tail, info);
    }
    return list;
}

typedef struct TmemStoreQuery {
    TmemStoreObject *store;     /* NULL: all */
    const char *client;
    bool histograms;
    TmemStoreInfoList **tail;
} TmemStoreQuery;

static TmemStorePolicy *tmem_store_policy(TmemStore *store)
{
    TmemStorePolicy *info = g_new0(TmemStorePolicy, 1);
    TmemPolicy policy;

    tmem_store_get_policy(store, &policy);
    info->max_stored_size = policy.admission.max_stored_bytes;
    info->refuse_incompressible = policy.admission.refuse_incompressible;
    info->max_mean_size = policy.admission.max_mean_bytes;
    info->max_host_percent = policy.admission.max_host_percent;
    info->upkeep_cpu_percent = policy.upkeep.cpu_percent;
    info->recompress_after = policy.upkeep.recompress_idle_seconds;
    info->recompress_level = policy.upkeep.recompress_level;
    info->compact = policy.upkeep.compact;
    info->pressure_stall = policy.pressure.stall_ms;
    info->pressure_floor = policy.pressure.floor_bytes;
    return info;
}

static void tmem_query_store(TmemStoreObject *obj, void *opaque)
{
    TmemStoreQuery *query = opaque;
    TmemStore *store = tmem_store_object_get(obj);
    TmemClientQuery clients = {
        .store = obj,
        .name = query->client,
        .histograms = query->histograms,
    };
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
    info->frozen = tmem_store_frozen(store);
    info->policy = tmem_store_policy(store);
    info->stats = tmem_store_counters(&stats);
    clients.tail = &info->clients;
    tmem_store_foreach_client(store, tmem_query_client, &clients);
    info->waiting = tmem_query_waiting(obj, query->client);
    QAPI_LIST_APPEND(query->tail, info);
}

TmemStoreInfoList *qmp_query_tmem(const char *store, const char *client,
                                  bool has_histograms, bool histograms,
                                  Error **errp)
{
    TmemStoreInfoList *list = NULL;
    TmemStoreQuery query = {
        .client = client,
        .histograms = has_histograms && histograms,
        .tail = &list,
    };

    if (store) {
        query.store = tmem_store_object_find(store, errp);
        if (!query.store) {
            return NULL;
        }
    }
    tmem_store_object_foreach(tmem_query_store, &query);
    return list;
}
