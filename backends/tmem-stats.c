/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmem as a provider of query-stats
 *
 * Schema and values are made from libtmem's lists of counters, in their order.
 * Only in qemu-system-*: the storage daemon has no query-stats, and query-tmem
 * carries all of this there.
 */
#include "qemu/osdep.h"
#include "qapi/util.h"
#include "qemu/host-utils.h"
#include "qemu/module.h"
#include "system/stats.h"
#include "tmem-store-internal.h"

/* A StatsType histogram: bucket 0 is 0, bucket n is 2^(n-1) to 2^n - 1. */
#define TMEM_LOG2_BUCKETS   29

/* One way through libtmem's lists; what is found is appended. */
typedef struct TmemStatsWalk {
    StatsSchemaValueList **schema;
    StatsList **values;
    strList *names;                     /* only values of these; NULL: all */
} TmemStatsWalk;

/* --- Schema --- */

typedef enum TmemStatKind {
    TMEM_STAT_CUMULATIVE = STATS_TYPE_CUMULATIVE,
    TMEM_STAT_INSTANT = STATS_TYPE_INSTANT,
    TMEM_STAT_PEAK = STATS_TYPE_PEAK,
} TmemStatKind;

typedef enum TmemStatUnit {
    TMEM_STAT_PAGES,
    TMEM_STAT_OPS,
    TMEM_STAT_COUNT,
    TMEM_STAT_BYTES,
    TMEM_STAT_NS,
} TmemStatUnit;

/* "pages_raw" of the library is "pages-raw" in QAPI. */
static char *tmem_stat_name(const char *prefix, const char *name)
{
    char *text = g_strconcat(prefix, name, NULL);

    return g_strdelimit(text, "_", '-');
}

static StatsSchemaValue *tmem_schema_add(TmemStatsWalk *walk,
                                         const char *prefix, const char *name,
                                         StatsType type, TmemStatUnit unit)
{
    StatsSchemaValue *value = g_new0(StatsSchemaValue, 1);

    value->name = tmem_stat_name(prefix, name);
    value->type = type;
    value->has_unit = unit == TMEM_STAT_BYTES || unit == TMEM_STAT_NS;
    if (unit == TMEM_STAT_BYTES) {
        value->unit = STATS_UNIT_BYTES;
    } else if (unit == TMEM_STAT_NS) {
        value->unit = STATS_UNIT_SECONDS;
        value->has_base = true;
        value->base = 10;
        value->exponent = -9;
    }
    QAPI_LIST_APPEND(walk->schema, value);
    return value;
}

#define TMEM_SCHEMA(name, kind, unit, text)                                   \
    tmem_schema_add(walk, "", #name, (StatsType)TMEM_STAT_##kind,             \
                    TMEM_STAT_##unit);
#define TMEM_SCHEMA_LATENCY(name, text)                                       \
    tmem_schema_add(walk, "latency-", #name, STATS_TYPE_LOG2_HISTOGRAM,       \
                    TMEM_STAT_NS);

static void tmem_schema_sizes(TmemStatsWalk *walk, const char *name)
{
    StatsSchemaValue *value = tmem_schema_add(walk, "sizes-", name,
                                              STATS_TYPE_LINEAR_HISTOGRAM,
                                              TMEM_STAT_COUNT);

    value->has_bucket_size = true;
    value->bucket_size = TMEM_SIZE_BUCKET_BYTES;
}

static void tmem_schema_store(TmemStatsWalk *walk)
{
    TMEM_STORE_COUNTERS(TMEM_SCHEMA)
    TMEM_STORE_LEVELS(TMEM_SCHEMA)
}

static void tmem_schema_client(TmemStatsWalk *walk)
{
    TMEM_CLIENT_COUNTERS(TMEM_SCHEMA)
    TMEM_CLIENT_LEVELS(TMEM_SCHEMA)
    TMEM_POOL_COUNTERS(TMEM_SCHEMA)
    TMEM_POOL_LEVELS(TMEM_SCHEMA)
    TMEM_LATENCIES(TMEM_SCHEMA_LATENCY)
    tmem_schema_sizes(walk, "held");
    tmem_schema_sizes(walk, "stored");
}

#undef TMEM_SCHEMA
#undef TMEM_SCHEMA_LATENCY

static void tmem_stats_schemas(StatsSchemaList **result, Error **errp)
{
    StatsSchemaValueList *list = NULL;
    TmemStatsWalk walk = { .schema = &list };

    tmem_schema_store(&walk);
    add_stats_schema(result, STATS_PROVIDER_TMEM, STATS_TARGET_TMEM_STORE,
                     list);
    list = NULL;
    walk.schema = &list;
    tmem_schema_client(&walk);
    add_stats_schema(result, STATS_PROVIDER_TMEM, STATS_TARGET_TMEM_CLIENT,
                     list);
}

/* --- Values --- */

/* The value to fill in, NULL if nobody asked for it. */
static StatsValue *tmem_value_add(TmemStatsWalk *walk, const char *prefix,
                                  const char *name)
{
    g_autofree char *text = tmem_stat_name(prefix, name);
    Stats *stats;

    if (!apply_str_list_filter(text, walk->names)) {
        return NULL;
    }
    stats = g_new0(Stats, 1);
    stats->name = g_steal_pointer(&text);
    stats->value = g_new0(StatsValue, 1);
    QAPI_LIST_APPEND(walk->values, stats);
    return stats->value;
}

static void tmem_value_scalar(TmemStatsWalk *walk, const char *name,
                              uint64_t n)
{
    StatsValue *value = tmem_value_add(walk, "", name);

    if (value) {
        value->type = QTYPE_QNUM;
        value->u.scalar = n;
    }
}

static void tmem_value_list(TmemStatsWalk *walk, const char *prefix,
                            const char *name, const uint64_t *counts,
                            unsigned nr)
{
    StatsValue *value = tmem_value_add(walk, prefix, name);
    uint64List **tail;

    if (value) {
        value->type = QTYPE_QLIST;
        tail = &value->u.list;
        for (unsigned i = 0; i < nr; i++) {
            QAPI_LIST_APPEND(tail, counts[i]);
        }
    }
}

static void tmem_value_latency(TmemStatsWalk *walk, const char *name,
                               const TmemHistogram *h)
{
    uint64_t counts[TMEM_LOG2_BUCKETS] = {};

    for (unsigned i = 0; i < TMEM_LATENCY_BUCKETS; i++) {
        unsigned log2 = 64 - clz64(tmem_latency_bucket_ns(i));

        counts[MIN(log2, TMEM_LOG2_BUCKETS - 1)] += h->count[i];
    }
    tmem_value_list(walk, "latency-", name, counts, TMEM_LOG2_BUCKETS);
}

#define TMEM_VALUE(name, kind, unit, text)                                    \
    tmem_value_scalar(walk, #name, stats->name);
#define TMEM_VALUE_LATENCY(name, text)                                        \
    tmem_value_latency(walk, #name, &latency.name);

static void tmem_values_store(TmemStatsWalk *walk, const TmemStoreStats *stats)
{
    TMEM_STORE_COUNTERS(TMEM_VALUE)
    TMEM_STORE_LEVELS(TMEM_VALUE)
}

static void tmem_values_pages(TmemStatsWalk *walk, const TmemPoolStats *stats)
{
    TMEM_POOL_COUNTERS(TMEM_VALUE)
    TMEM_POOL_LEVELS(TMEM_VALUE)
}

static void tmem_values_own(TmemStatsWalk *walk, const TmemClientStats *stats)
{
    TMEM_CLIENT_COUNTERS(TMEM_VALUE)
    TMEM_CLIENT_LEVELS(TMEM_VALUE)
}

static void tmem_values_client(TmemStatsWalk *walk, TmemClient *client)
{
    TmemLatencyStats latency;
    TmemClientStats stats;
    TmemSizeStats sizes;

    tmem_client_get_stats(client, &stats);
    tmem_values_own(walk, &stats);
    tmem_values_pages(walk, &stats.total);
    tmem_client_get_latency(client, &latency);
    TMEM_LATENCIES(TMEM_VALUE_LATENCY)
    tmem_client_get_sizes(client, &sizes);
    tmem_value_list(walk, "sizes-", "held", sizes.held, TMEM_SIZE_BUCKETS);
    tmem_value_list(walk, "sizes-", "stored", sizes.stored, TMEM_SIZE_BUCKETS);
}

#undef TMEM_VALUE
#undef TMEM_VALUE_LATENCY

/* --- Who is asked for --- */

typedef struct TmemStatsQuery {
    StatsResultList **result;
    StatsTarget target;
    strList *names;
} TmemStatsQuery;

static void tmem_stats_add(TmemStatsQuery *query, Object *owner,
                           StatsList *list)
{
    g_autofree char *path = object_get_canonical_path(owner);

    /* None of the names that were asked for is one of these. */
    if (list) {
        add_stats_entry(query->result, STATS_PROVIDER_TMEM, path, list);
    }
}

static void tmem_stats_client(TmemClient *client, Object *owner, void *opaque)
{
    TmemStatsQuery *query = opaque;
    StatsList *list = NULL;
    TmemStatsWalk walk = { .names = query->names, .values = &list };

    tmem_values_client(&walk, client);
    tmem_stats_add(query, owner, list);
}

static void tmem_stats_store(TmemStoreObject *obj, void *opaque)
{
    TmemStatsQuery *query = opaque;
    StatsList *list = NULL;
    TmemStatsWalk walk = { .names = query->names, .values = &list };
    TmemStoreStats stats;

    if (query->target == STATS_TARGET_TMEM_CLIENT) {
        tmem_store_client_foreach_owned(obj, tmem_stats_client, query);
        return;
    }
    tmem_store_get_stats(tmem_store_object_get(obj), &stats);
    tmem_values_store(&walk, &stats);
    tmem_stats_add(query, OBJECT(obj), list);
}

static void tmem_stats(StatsResultList **result, StatsTarget target,
                       strList *names, strList *targets, Error **errp)
{
    TmemStatsQuery query = {
        .result = result,
        .target = target,
        .names = names,
    };

    if (target == STATS_TARGET_TMEM_STORE ||
        target == STATS_TARGET_TMEM_CLIENT) {
        tmem_store_object_foreach(tmem_stats_store, &query);
    }
}

static void tmem_stats_register(void)
{
    add_stats_callbacks(STATS_PROVIDER_TMEM, tmem_stats, tmem_stats_schemas);
}

type_init(tmem_stats_register)
