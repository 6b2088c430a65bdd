/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: the table of counters
 *
 * The only place where a counter is declared.  Structures, dumps and the QAPI
 * conversion are generated from these lists with the X-macro idiom, the QAPI
 * schema by scripts/stats-schema, to be run after a change here:
 *
 *   X(name, kind, unit, text)
 *
 * kind: CUMULATIVE only grows; INSTANT is a level; PEAK is the highest level.
 * unit: PAGES, BYTES, OPS (operations), NS (nanoseconds), or COUNT (of the noun
 * in the name).
 */
#ifndef LIBTMEM_TMEM_STATS_H
#define LIBTMEM_TMEM_STATS_H

#include <stdint.h>

/* Per pool, cumulative: kept per context and summed on read. */
#define TMEM_POOL_COUNTERS(X)                                                 \
    X(stores, CUMULATIVE, OPS, "stores asked for")                            \
    X(stores_ok, CUMULATIVE, OPS, "stores that kept the page")                \
    X(stores_replaced, CUMULATIVE, OPS,                                       \
      "stores that found an older page under their handle")                   \
    X(stores_same_filled, CUMULATIVE, OPS,                                    \
      "stores kept as one repeated word")                                     \
    X(stores_compressed, CUMULATIVE, OPS, "stores kept compressed")           \
    X(stores_raw, CUMULATIVE, OPS, "stores kept as they are")                 \
    X(stores_shared, CUMULATIVE, OPS, "stores kept by the trust group")       \
    X(stores_nospc, CUMULATIVE, OPS, "stores refused: store full")            \
    X(stores_quota, CUMULATIVE, OPS,                                          \
      "stores refused: limit of the client or the pool")                      \
    X(stores_host_share, CUMULATIVE, OPS,                                     \
      "stores refused: share of the host's memory")                           \
    X(stores_too_large, CUMULATIVE, OPS, "stores refused: incompressible")    \
    X(stores_mean, CUMULATIVE, OPS,                                           \
      "stores refused: larger than the mean stored size that is allowed")     \
    X(stores_frozen, CUMULATIVE, OPS, "stores refused: frozen")               \
    X(loads, CUMULATIVE, OPS, "loads asked for")                              \
    X(loads_hit, CUMULATIVE, OPS, "loads answered with the page")             \
    X(loads_miss, CUMULATIVE, OPS, "loads of pages not held")                 \
    X(loads_error, CUMULATIVE, OPS, "loads of damaged pages")                 \
    X(invalidates, CUMULATIVE, OPS, "page invalidates asked for")             \
    X(invalidates_found, CUMULATIVE, OPS, "page invalidates that hit a page") \
    X(object_invalidates, CUMULATIVE, OPS, "object invalidates asked for")    \
    X(object_invalidates_pages, CUMULATIVE, PAGES,                            \
      "pages dropped by object invalidates")                                  \
    X(taken, CUMULATIVE, PAGES, "pages removed by exclusive loads")           \
    X(evicted, CUMULATIVE, PAGES, "ephemeral pages evicted by the host")      \
    X(recompressed, CUMULATIVE, PAGES, "idle pages compressed again")         \
    X(moved, CUMULATIVE, PAGES, "pages moved to bring memory together")

/* Per pool, levels: kept under the locks that guard the pages. */
#define TMEM_POOL_LEVELS(X)                                                   \
    X(pages, INSTANT, PAGES, "pages held")                                    \
    X(pages_same_filled, INSTANT, PAGES, "of these, same-filled")             \
    X(pages_compressed, INSTANT, PAGES, "of these, compressed")               \
    X(pages_raw, INSTANT, PAGES, "of these, stored as they are")              \
    X(pages_shared, INSTANT, PAGES,                                           \
      "of these, kept by the trust group; until it is found out also those "  \
      "that it evicted")                                                      \
    X(pages_zstd, INSTANT, PAGES, "of those compressed, with zstd")           \
    X(pages_damaged, INSTANT, PAGES,                                          \
      "found unreadable: loads end in an error")                             \
    X(objects, INSTANT, COUNT, "objects with at least one page")              \
    X(stored_bytes, INSTANT, BYTES, "compressed and raw data as encoded")     \
    X(data_bytes, INSTANT, BYTES, "memory of records as allocated")           \
    X(index_bytes, INSTANT, BYTES, "memory of the index")

/* Per client, beyond the sum over its pools. */
#define TMEM_CLIENT_COUNTERS(X)                                               \
    X(requests, CUMULATIVE, COUNT, "requests taken from the transport")       \
    X(requests_refused, CUMULATIVE, COUNT, "requests refused as a whole")     \
    X(ops_no_pool, CUMULATIVE, OPS, "operations on pools that do not exist")  \
    X(ops_invalid, CUMULATIVE, OPS, "malformed or unsupported operations")    \
    X(violations, CUMULATIVE, COUNT, "protocol violations")                   \
    X(joins_refused, CUMULATIVE, COUNT,                                       \
      "shared pools refused: not authorised")                                 \
    X(credit_granted, CUMULATIVE, PAGES,                                      \
      "stores that the driver was allowed to report ahead of their answer")   \
    X(credit_used, CUMULATIVE, PAGES, "of these, stores that came")           \
    X(credit_places_used, CUMULATIVE, PAGES,                                  \
      "of these, kept only because room was reserved")                        \
    X(group_evicted, CUMULATIVE, PAGES,                                       \
      "of a trust group: different pages evicted by the host")                \
    X(kicks, CUMULATIVE, COUNT, "notifications from the driver")              \
    X(interrupts, CUMULATIVE, COUNT, "notifications to the driver")

#define TMEM_CLIENT_LEVELS(X)                                                 \
    X(pools, INSTANT, COUNT, "pools")                                         \
    X(bytes, INSTANT, BYTES, "all memory charged to the client")              \
    X(bytes_peak, PEAK, BYTES, "highest level of bytes")                      \
    X(pinned_bytes, INSTANT, BYTES, "of bytes, what cannot be evicted")       \
    X(max_bytes, INSTANT, BYTES, "limit of bytes")                            \
    X(credit, INSTANT, PAGES, "credit granted and not used yet")              \
    X(credit_bytes, INSTANT, BYTES, "of bytes, reserved for credit")          \
    X(group_pages, INSTANT, PAGES,                                            \
      "of a trust group: different pages that it keeps for its members")      \
    X(group_references, INSTANT, PAGES,                                       \
      "of a trust group: pages of its members that are kept so")              \
    X(group_data_bytes, INSTANT, BYTES,                                       \
      "of a trust group: memory of records of group_pages as allocated")      \
    X(group_saved_bytes, INSTANT, BYTES,                                      \
      "of a trust group: memory of pages that it need not keep again; of "    \
      "this go the 32 bytes for each of group_references")

/* Of what the store does in the background. */
#define TMEM_STORE_COUNTERS(X)                                                \
    X(upkeep_cpu_ns, CUMULATIVE, NS,                                          \
      "CPU time taken by recompression and compaction, in nanoseconds")       \
    X(recompress_passes, CUMULATIVE, COUNT,                                   \
      "passes over all pages that look for idle ones")                        \
    X(recompress_starved, CUMULATIVE, PAGES,                                  \
      "pages that could be smaller, but for want of memory to put them")      \
    X(compact_passes, CUMULATIVE, COUNT,                                      \
      "passes over all pages that bring memory together")                     \
    X(pressure_times, CUMULATIVE, COUNT,                                      \
      "how often the host came to be short of memory")                        \
    X(pressure_bytes, CUMULATIVE, BYTES,                                      \
      "memory, unused or of ephemeral pages, that was given back because of "  \
      "that")        \
    X(pressure_lost, CUMULATIVE, COUNT,                                       \
      "how often the host stopped telling its memory pressure")

#define TMEM_STORE_LEVELS(X)                                                  \
    X(size_bytes, INSTANT, BYTES, "limit of used_bytes")                      \
    X(used_bytes, INSTANT, BYTES,                                             \
      "all memory of the store: clients and overhead")                        \
    X(overhead_bytes, INSTANT, BYTES,                                         \
      "memory charged to no client: free chunks, shared tables")              \
    X(clients, INSTANT, COUNT, "clients attached")                            \
    X(waiting_doors, INSTANT, COUNT,                                          \
      "doors that are not there yet, and for which the process before has "   \
      "handed pages over")                                                    \
    X(waiting_pages, INSTANT, PAGES, "pages that wait for these")             \
    X(waiting_bytes, INSTANT, BYTES,                                          \
      "of overhead_bytes, kept free for waiting_pages")

#define TMEM_STAT_MEMBER(name, kind, unit, text)    uint64_t name;

typedef struct TmemPoolStats {
    TMEM_POOL_COUNTERS(TMEM_STAT_MEMBER)
    TMEM_POOL_LEVELS(TMEM_STAT_MEMBER)
} TmemPoolStats;

typedef struct TmemClientStats {
    TMEM_CLIENT_COUNTERS(TMEM_STAT_MEMBER)
    TMEM_CLIENT_LEVELS(TMEM_STAT_MEMBER)
    TmemPoolStats total;        /* over its pools, destroyed ones included */
} TmemClientStats;

typedef struct TmemStoreStats {
    TMEM_STORE_COUNTERS(TMEM_STAT_MEMBER)
    TMEM_STORE_LEVELS(TMEM_STAT_MEMBER)
} TmemStoreStats;

/* --- Distributions, per client --- */

/*
 * How long operations take, from entry to answer, guest memory not included;
 * of requests everything is included:
 *
 *   X(name, text)
 */
#define TMEM_LATENCIES(X)                                                     \
    X(store_same_filled, "stores of same-filled pages")                       \
    X(store_lz4, "stores compressed with lz4")                                \
    X(store_zstd, "stores compressed with zstd")                              \
    X(store_raw, "stores kept as they are")                                   \
    X(store_refused, "stores refused")                                        \
    X(load_same_filled, "loads of same-filled pages")                         \
    X(load_lz4, "loads of pages compressed with lz4")                         \
    X(load_zstd, "loads of pages compressed with zstd")                       \
    X(load_raw, "loads of pages kept as they are")                            \
    X(load_miss, "loads of pages not held")                                   \
    X(load_request,                                                           \
      "requests with loads, from taking them to handing them back")

/* Four buckets to each power of two, in nanoseconds; the last is open. */
#define TMEM_LATENCY_BUCKETS    101

typedef struct TmemHistogram {
    uint64_t count[TMEM_LATENCY_BUCKETS];
} TmemHistogram;

#define TMEM_LATENCY_MEMBER(name, text)     TmemHistogram name;

/** TmemLatencyStats: where the clock is expensive, of a sample only. */
typedef struct TmemLatencyStats {
    TMEM_LATENCIES(TMEM_LATENCY_MEMBER)
} TmemLatencyStats;

/* The smallest value, in nanoseconds, that falls into @bucket. */
uint64_t tmem_latency_bucket_ns(unsigned bucket);

/** The number of operations in @h. */
uint64_t tmem_histogram_total(const TmemHistogram *h);

/** Adds @h to @sum. */
void tmem_histogram_add(TmemHistogram *sum, const TmemHistogram *h);

/**
 * tmem_histogram_percentile() - the time that @percent of operations kept to
 *
 * In nanoseconds, interpolated within a bucket; 0 if there was no operation.
 */
uint64_t tmem_histogram_percentile(const TmemHistogram *h, double percent);

/*
 * Pages by their stored size, same-filled ones left out: bucket n counts those
 * of n * 256 + 1 to (n + 1) * 256 bytes.
 */
#define TMEM_SIZE_BUCKETS       16
#define TMEM_SIZE_BUCKET_BYTES  256

typedef struct TmemSizeStats {
    uint64_t held[TMEM_SIZE_BUCKETS];       /* now */
    uint64_t stored[TMEM_SIZE_BUCKETS];     /* ever, by stores that kept them */
} TmemSizeStats;

#endif /* LIBTMEM_TMEM_STATS_H */
