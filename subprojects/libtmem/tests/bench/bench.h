/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmem-bench: libtmem against raw LZ4 and the kernel's zram, on the same pages
 *
 * Timings on shared machines drift, so all figures of one run are taken on one
 * corpus in one process, side by side, and what is worth quoting is a ratio.
 */
#ifndef TMEM_BENCH_H
#define TMEM_BENCH_H

#include <inttypes.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "libtmem/tmem.h"

/* A figure that was not measured: "-" in the table, null in JSON. */
#define BENCH_NONE  (0.0 / 0.0)

/* Operations in one request, as the guest driver batches them. */
#define BENCH_BATCH 32

/* --- bench-corpus.c --- */

/* Pages of larger files are a sample of about this many. */
#define BENCH_CORPUS_PAGES_MAX  (128u << 10)

/* A file of raw pages in memory, and the orders in which to visit them. */
typedef struct BenchCorpus {
    uint8_t *pages;
    size_t nr_pages;
    size_t nr_same_filled;
    /*
     * What each page is without any store around it: 0 if same-filled, its LZ4
     * size, or a page if that is more than 7/8 of one.
     */
    uint16_t *encoded;
    uint64_t encoded_bytes;     /* their sum */
    /*
     * Page numbers in random order.  A random half of all is the part of
     * store_order before nr_pages / 2, the rest is the other; ascending has the
     * same two halves, each in ascending order.
     */
    uint32_t *store_order;
    uint32_t *load_order;
    uint32_t *ascending;
    uint32_t *identity;
} BenchCorpus;

/**
 * bench_corpus_load() - read a corpus
 * @max_pages: read no more than about these
 *
 * Returns false and sets @errp if the file cannot be read, is empty, or is
 * not a multiple of 4096 bytes.
 */
bool bench_corpus_load(BenchCorpus *corpus, const char *path,
                       size_t max_pages, GError **errp);
/** Makes a corpus of same-filled pages. */
void bench_corpus_same_filled(BenchCorpus *corpus, size_t nr_pages);
void bench_corpus_free(BenchCorpus *corpus);

static inline const uint8_t *bench_corpus_page(const BenchCorpus *corpus,
                                               size_t nr)
{
    return corpus->pages + (nr << TMEM_PAGE_SHIFT);
}

/** Mean bytes of a page as encoded. */
static inline double bench_corpus_mean(const BenchCorpus *corpus)
{
    return (double)corpus->encoded_bytes / corpus->nr_pages;
}

/* xorshift64*: for orders only, so quality beyond that does not matter. */
static inline uint64_t bench_random(uint64_t *state)
{
    uint64_t x = *state;

    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    *state = x;
    return x * 0x2545f4914f6cdd1dull;
}

void bench_shuffle(uint32_t *array, size_t n, uint64_t seed);

/* --- bench-clock.c --- */

/* Seconds on the monotonic clock. */
double bench_now(void);

/*
 * Seconds that this thread has used a CPU, in the kernel included: what one
 * thread takes for work that waits for nothing, also where other programs take
 * CPUs away from it.
 */
double bench_cpu_now(void);

/* Sleeps until bench_now() would be @when. */
void bench_sleep_until(double when);

/* Resident bytes of this process, from the kernel. */
uint64_t bench_rss(void);

/* Bytes that a process may still use without swapping; control groups too. */
uint64_t bench_memory_available(void);

double bench_median(const double *values, int n);

/* Ends the program: one sentence, exit status 1. */
void bench_die(const char *format, ...) G_GNUC_PRINTF(1, 2) G_GNUC_NORETURN;

/* A line about work in progress, to stderr. */
void bench_say(const char *format, ...) G_GNUC_PRINTF(1, 2);

/* --- bench-report.c --- */

typedef struct BenchReport BenchReport;

BenchReport *bench_report_new(void);
void bench_report_free(BenchReport *report);
/* A headline in the table. */
void bench_report_section(BenchReport *report, const char *text);
/**
 * bench_report_add() - a figure: the median of @n values
 * @key: in JSON
 * @goal: "<= 1.2", ">= 10" or NULL
 * @text: what was measured, or why it was not
 */
void bench_report_add(BenchReport *report, const char *key,
                      const double *values, int n, const char *goal,
                      const char *text);
void bench_report_add_one(BenchReport *report, const char *key, double value,
                          const char *goal, const char *text);
/* Words, in JSON and above the table. */
void bench_report_add_text(BenchReport *report, const char *key,
                           const char *value);
void bench_report_print(BenchReport *report);
/* Ends the program if there can be no file @path; NULL is none. */
void bench_report_check_json(const char *path);
bool bench_report_write_json(BenchReport *report, const char *path,
                             GError **errp);

/* --- bench-store.c --- */

/* A store with one client, one pool and one context. */
typedef struct BenchStore {
    TmemStore *store;
    TmemClient *client;
    TmemContext *ctx;
    uint64_t pool;
} BenchStore;

/* Exits with a sentence if the store cannot be made. */
void bench_store_open(BenchStore *s, uint64_t size_bytes, TmemPoolKind kind);
void bench_store_close(BenchStore *s);

/* A store size in which @pages of @corpus cannot run out of room. */
uint64_t bench_store_size(const BenchCorpus *corpus, uint64_t pages);

/* As a swap disk does it: 256 consecutive pages make an object. */
static inline TmemHandle bench_handle(uint64_t pool, uint64_t page)
{
    return (TmemHandle){ .pool = pool, .object = { page >> 8 },
                         .index = page & 255 };
}

/* --- bench-duel.c: who competes, and how --- */

/*
 * A side stores, loads or drops the corpus' pages @order[@first] ...
 * @order[@first + @n - 1], and returns the seconds that took, without what is
 * the benchmark's own work.
 */
typedef double BenchSideFunc(void *opaque, const BenchCorpus *corpus,
                             const uint32_t *order, size_t first, size_t n);

typedef struct BenchSide {
    BenchSideFunc *store;
    BenchSideFunc *load;
    BenchSideFunc *drop;        /* before it is stored again; may be NULL */
    void *opaque;
} BenchSide;

typedef enum BenchOp {
    BENCH_STORE,
    BENCH_LOAD,
} BenchOp;

/** bench_side_run() - @op by one side; returns the seconds that it took */
double bench_side_run(const BenchSide *side, BenchOp op,
                      const BenchCorpus *corpus, const uint32_t *order,
                      size_t first, size_t n);

/**
 * bench_duel() - one operation by all sides
 * @order: the pages, as far as from @first to @first + @n
 * @us: set to microseconds per page of each side
 *
 * They take turns after each thousand pages, so that a drift of the machine
 * hits all of them, and each works on another part of the corpus than the
 * others, so that none finds its pages in the cache.
 */
void bench_duel(const BenchSide *sides, int nr_sides, BenchOp op,
                const BenchCorpus *corpus, const uint32_t *order,
                size_t first, size_t n, double *us);

/**
 * bench_duel_store() - drop a random half and store it again, then the other
 * @order: store_order or ascending
 *
 * So memory is warm, and nothing is under the handles.
 */
void bench_duel_store(const BenchSide *sides, int nr_sides,
                      const BenchCorpus *corpus, const uint32_t *order,
                      double *us);

/* A side on a BenchStore, in batches or (single) one by one. */
BenchSide bench_side_batch(BenchStore *s);
BenchSide bench_side_single(BenchStore *s);

/* Every page once more, compared: a fast wrong answer is no answer. */
void bench_verify(const BenchCorpus *corpus, BenchStore *s);

/* --- bench-raw.c: raw LZ4 and a copy --- */

typedef struct BenchRaw {
    uint8_t *log;
    size_t log_bytes;
    size_t end;                 /* of what was written */
    size_t *at;                 /* by page */
    uint16_t *len;
} BenchRaw;

void bench_raw_open(BenchRaw *raw, const BenchCorpus *corpus);
void bench_raw_close(BenchRaw *raw);
BenchSide bench_side_raw(BenchRaw *raw);

/* --- bench-req.c: through the decoder of requests --- */

typedef struct BenchReq BenchReq;

BenchReq *bench_req_open(BenchStore *s);
void bench_req_close(BenchReq *r);
/* Requests of 32 operations in guest-like vectors; copies each page. */
BenchSide bench_side_req(BenchReq *r);

/* --- bench-zram.c: the kernel's --- */

typedef struct BenchZram BenchZram;

/**
 * bench_zram_guard() - start the process that removes our zram device
 *
 * Before any other thread, and before memory is used: it is a fork.  However
 * this program ends, the guard removes the device.
 */
void bench_zram_guard(void);

/*
 * A disk of @nr_pages, rounded down to whole requests; one at a time.  Returns
 * NULL and sets @why to a sentence if there is none to be had.
 */
BenchZram *bench_zram_open(uint64_t nr_pages, const char **why);
void bench_zram_close(BenchZram *z);
/* O_DIRECT requests of 32 pages. */
BenchSide bench_side_zram(BenchZram *z);
/* Where on the device it has the order's pages @at ... @at + 31. */
off_t bench_zram_place(const BenchZram *z, const BenchCorpus *corpus,
                       const uint32_t *order, size_t at);
/* Its figures are wall time from now on. */
void bench_zram_use_wall_clock(BenchZram *z);
const char *bench_zram_node(const BenchZram *z);
/* A process that is to be killed before the device can be removed; 0: none. */
void bench_zram_set_user(pid_t pid);
/* Page @nr of the disk; what is put in ascending order goes in requests. */
void bench_zram_put(BenchZram *z, uint64_t nr, const void *page);
void bench_zram_forget(BenchZram *z, uint64_t nr);
/* As an operator may ask for. */
void bench_zram_compact(BenchZram *z);
/*
 * Memory that it uses / compressed bytes, as the kernel counts both: pages of
 * zsmalloc, but neither zram's table nor zsmalloc's handles.
 */
double bench_zram_density(BenchZram *z);

/* --- bench-vhost.c: a vhost-user server in another process --- */

#define BENCH_RING_BYTES    0x8000
#define BENCH_RINGS_MAX     2

typedef struct BenchVhost BenchVhost;

/**
 * bench_vhost_open() - connect to the server at @path
 * @memory: @bytes of @memfd, mapped; all that requests point to is in there
 * @rings: @nr_rings times BENCH_RING_BYTES of it, zeros
 * @features: of the device type that are needed
 *
 * Exits with a sentence if the server does not do as it is told.
 */
BenchVhost *bench_vhost_open(const char *path, int memfd, uint8_t *memory,
                             uint64_t bytes, uint8_t *rings, unsigned nr_rings,
                             uint64_t features);
void bench_vhost_close(BenchVhost *v);
/* How long an answer is looked for before we sleep; 0, at first: not at all. */
void bench_vhost_set_poll(BenchVhost *v, double seconds);
/* One request, and waits until it is answered. */
void bench_vhost_request(BenchVhost *v, unsigned ring,
                         const struct iovec *out, unsigned nr_out,
                         const struct iovec *in, unsigned nr_in);

/* --- bench-daemon.c: qemu-storage-daemon, for that --- */

typedef struct BenchDaemon BenchDaemon;

/**
 * bench_daemon_start() - a daemon with a store and a vhost-user server
 * @program: qemu-storage-daemon
 * @disk: a block device to export by vhost-user-blk, or NULL
 *
 * It ends with this process.  Exits with a sentence if it does not start.
 */
BenchDaemon *bench_daemon_start(const char *program, uint64_t store_bytes,
                                const char *disk);
void bench_daemon_stop(BenchDaemon *d);
const char *bench_daemon_tmem_path(const BenchDaemon *d);
const char *bench_daemon_blk_path(const BenchDaemon *d);
/* CPU seconds that it has used, all threads. */
double bench_daemon_cpu(const BenchDaemon *d);

/* --- the measurements, one file each --- */

typedef struct BenchOptions {
    const char *corpus_path;
    const char *json_path;
    const char *only;           /* a part's name; NULL: all */
    int64_t pages;              /* held when density is measured */
    int64_t entries;            /* of the large index; 0: skip, -1: auto */
    int64_t same_entries;       /* of same-filled pages; 0: skip */
    uint64_t evict_bytes;
    int threads;
    int rounds;
    gboolean no_zram;
    gboolean quick;
} BenchOptions;

typedef void BenchMeasure(const BenchCorpus *corpus,
                          const BenchOptions *options, BenchReport *report);

BenchMeasure bench_speed;       /* P1 and zram */
BenchMeasure bench_same_filled; /* P1 */
BenchMeasure bench_density;     /* P3 */
BenchMeasure bench_scale;       /* P4: threads, clients */
BenchMeasure bench_entries;     /* P4: stored pages */
BenchMeasure bench_evict;       /* P5 */
BenchMeasure bench_upkeep;      /* P8 */
BenchMeasure bench_timing;      /* latencies that the store keeps */

/* Entries that bench_entries() takes if nobody says how many. */
#define BENCH_ENTRIES_GOAL  30000000
/* Memory that an entry of it takes at most, index included. */
#define BENCH_ENTRY_BYTES   288

/* --- bench-main.c, bench-evict.c: sub-commands; argv[0] is their name --- */

int bench_main_store(int argc, char **argv);
int bench_main_evict(int argc, char **argv);
int bench_main_vring(int argc, char **argv);

#endif /* TMEM_BENCH_H */
