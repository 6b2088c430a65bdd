/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmem-bench vring: the store of another process, through shared memory
 *
 * We are the guest and its QEMU; qemu-storage-daemon has the store.  One batch
 * is in flight, and wall time per page has all that a guest would wait for.  We
 * look for the answer for a while before we sleep (--poll), which takes CPU:
 * that of both processes is among the figures.  Against it: O_DIRECT requests
 * of 32 pages to a zram of this host, and the same zram behind vhost-user-blk
 * of the same daemon, on a ring of the same kind.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench.h"
#include "libtmem/tmem-req.h"
#include "standard-headers/linux/virtio_tmem.h"

#define BATCH_MAX       TMEM_REQ_BATCH_MAX
#define REQUEST_RING    1
#define SAMPLES         2000    /* requests of which latencies are taken */
#define PAGE_ALIGNED    __attribute__((aligned(TMEM_PAGE_SIZE)))

/* Shared with the daemon, as a guest's memory is. */
typedef struct Shared {
    uint8_t tmem_rings[2 * BENCH_RING_BYTES];
    uint8_t blk_ring[BENCH_RING_BYTES];
    struct {
        struct virtio_tmem_req header;
        struct virtio_tmem_op ops[BATCH_MAX];
    } out;
    struct {
        struct virtio_tmem_resp header;
        uint8_t status[BATCH_MAX];
    } in;
    struct virtio_tmem_create_pool create;
    struct virtio_tmem_ctrl_resp created;
    struct virtio_blk_outhdr blk;
    uint8_t blk_status;
    uint8_t pages[BATCH_MAX * TMEM_PAGE_SIZE] PAGE_ALIGNED;
} Shared;

typedef struct Vring {
    Shared *shared;
    int memfd;
    uint64_t bytes;
    const BenchCorpus *corpus;
    BenchDaemon *daemon;
    BenchZram *zram;            /* NULL: none */
    BenchVhost *tmem;
    BenchVhost *blk;            /* NULL: none */
    uint64_t pool;
    unsigned batch;
} Vring;

typedef struct VringOptions {
    char *corpus_path;
    char *json_path;
    char *daemon;
    int rounds;
    int poll;
    gboolean no_zram;
    gboolean quick;
} VringOptions;

#define POLL_AUTO       (-1)
#define POLL_US         500     /* or not at all, whichever is better */

static VringOptions options = { .rounds = 5, .poll = POLL_AUTO };

/* What is to be stored; not timed, as zram's side does not time it either. */
static void stage(Vring *v, const uint32_t *pages, unsigned nr)
{
    for (unsigned i = 0; i < nr; i++) {
        memcpy(v->shared->pages + i * TMEM_PAGE_SIZE,
               bench_corpus_page(v->corpus, pages[i]), TMEM_PAGE_SIZE);
    }
}

/* --- virtio-tmem --- */

static void tmem_request(Vring *v, uint8_t op, const uint32_t *pages,
                         unsigned nr)
{
    Shared *shared = v->shared;
    struct iovec out[1 + BATCH_MAX], in[1 + BATCH_MAX];
    unsigned nr_out = 1, nr_in = 1;

    shared->out.header = (struct virtio_tmem_req) {
        .type = VIRTIO_TMEM_T_PAGES, .nr_ops = GUINT16_TO_LE(nr),
    };
    out[0] = (struct iovec) {
        &shared->out, sizeof(shared->out.header) +
                      nr * sizeof(shared->out.ops[0]),
    };
    in[0] = (struct iovec) { &shared->in, sizeof(shared->in.header) + nr };
    for (unsigned i = 0; i < nr; i++) {
        TmemHandle handle = bench_handle(v->pool, pages[i]);

        shared->out.ops[i] = (struct virtio_tmem_op) {
            .op = op,
            .pool = GUINT64_TO_LE(handle.pool),
            .object = { GUINT64_TO_LE(handle.object[0]) },
            .index = GUINT64_TO_LE(handle.index),
        };
        if (op == VIRTIO_TMEM_OP_STORE) {
            out[nr_out++] = (struct iovec) {
                shared->pages + i * TMEM_PAGE_SIZE, TMEM_PAGE_SIZE,
            };
        } else if (op == VIRTIO_TMEM_OP_LOAD) {
            in[nr_in++] = (struct iovec) {
                shared->pages + i * TMEM_PAGE_SIZE, TMEM_PAGE_SIZE,
            };
        }
    }
    bench_vhost_request(v->tmem, REQUEST_RING, out, nr_out, in, nr_in);
    for (unsigned i = 0; i < nr; i++) {
        if (shared->in.status[i] != VIRTIO_TMEM_S_OK) {
            bench_die("operation %u on page %u was answered %s", op, pages[i],
                      tmem_status_str(shared->in.status[i]));
        }
    }
}

static double tmem_ops(Vring *v, uint8_t op, const uint32_t *order,
                       size_t first, size_t n)
{
    double spent = 0;

    for (size_t i = 0; i < n; i += v->batch) {
        const uint32_t *pages = order + first + i;
        unsigned nr = MIN(v->batch, n - i);
        double start;

        if (op == VIRTIO_TMEM_OP_STORE) {
            stage(v, pages, nr);
        }
        start = bench_now();
        tmem_request(v, op, pages, nr);
        spent += bench_now() - start;
    }
    return spent;
}

static double tmem_store(void *opaque, const BenchCorpus *corpus,
                         const uint32_t *order, size_t first, size_t n)
{
    return tmem_ops(opaque, VIRTIO_TMEM_OP_STORE, order, first, n);
}

static double tmem_load(void *opaque, const BenchCorpus *corpus,
                        const uint32_t *order, size_t first, size_t n)
{
    return tmem_ops(opaque, VIRTIO_TMEM_OP_LOAD, order, first, n);
}

static double tmem_drop(void *opaque, const BenchCorpus *corpus,
                        const uint32_t *order, size_t first, size_t n)
{
    return tmem_ops(opaque, VIRTIO_TMEM_OP_INVALIDATE, order, first, n);
}

static void create_pool(Vring *v)
{
    Shared *shared = v->shared;
    struct iovec out = { &shared->create, sizeof(shared->create) };
    struct iovec in = { &shared->created, sizeof(shared->created) };

    shared->create = (struct virtio_tmem_create_pool) {
        .type = VIRTIO_TMEM_T_CREATE_POOL, .page_shift = TMEM_PAGE_SHIFT,
    };
    bench_vhost_request(v->tmem, VIRTIO_TMEM_VQ_CONTROL, &out, 1, &in, 1);
    if (shared->created.status != VIRTIO_TMEM_S_OK) {
        bench_die("the daemon made no pool: %s",
                  tmem_status_str(shared->created.status));
    }
    v->pool = GUINT64_FROM_LE(shared->created.pool);
}

/* A fast wrong answer is no answer. */
static void verify(Vring *v)
{
    const BenchCorpus *corpus = v->corpus;

    for (size_t i = 0; i < corpus->nr_pages; i += BENCH_BATCH) {
        unsigned nr = MIN(BENCH_BATCH, corpus->nr_pages - i);

        tmem_request(v, VIRTIO_TMEM_OP_LOAD, corpus->identity + i, nr);
        if (memcmp(v->shared->pages, bench_corpus_page(corpus, i),
                   (size_t)nr << TMEM_PAGE_SHIFT)) {
            bench_die("pages %zu to %zu came back wrong", i, i + nr - 1);
        }
    }
}

/* --- vhost-user-blk on the zram --- */

static void blk_request(Vring *v, uint32_t type, off_t at)
{
    Shared *shared = v->shared;
    struct iovec out[1 + BENCH_BATCH], in[1 + BENCH_BATCH];
    unsigned nr_out = 1, nr_in = 0;

    shared->blk = (struct virtio_blk_outhdr) {
        .type = GUINT32_TO_LE(type), .sector = GUINT64_TO_LE(at >> 9),
    };
    out[0] = (struct iovec) { &shared->blk, sizeof(shared->blk) };
    for (unsigned i = 0; i < BENCH_BATCH; i++) {
        if (type == VIRTIO_BLK_T_OUT) {
            out[nr_out++] = (struct iovec) {
                shared->pages + i * TMEM_PAGE_SIZE, TMEM_PAGE_SIZE,
            };
        } else {
            in[nr_in++] = (struct iovec) {
                shared->pages + i * TMEM_PAGE_SIZE, TMEM_PAGE_SIZE,
            };
        }
    }
    in[nr_in++] = (struct iovec) { &shared->blk_status, 1 };
    shared->blk_status = VIRTIO_BLK_S_IOERR;
    bench_vhost_request(v->blk, 0, out, nr_out, in, nr_in);
    if (shared->blk_status != VIRTIO_BLK_S_OK) {
        bench_die("vhost-user-blk answered %u", shared->blk_status);
    }
}

static double blk_requests(Vring *v, uint32_t type, const uint32_t *order,
                           size_t first, size_t n)
{
    double spent = 0;
    size_t done = 0;

    for (size_t i = first; i + BENCH_BATCH <= first + n; i += BENCH_BATCH) {
        double start;

        if (type == VIRTIO_BLK_T_OUT) {
            stage(v, order + i, BENCH_BATCH);
        }
        start = bench_now();
        blk_request(v, type, bench_zram_place(v->zram, v->corpus, order, i));
        spent += bench_now() - start;
        done += BENCH_BATCH;
    }
    return done ? spent * n / done : 0;
}

static double blk_store(void *opaque, const BenchCorpus *corpus,
                        const uint32_t *order, size_t first, size_t n)
{
    return blk_requests(opaque, VIRTIO_BLK_T_OUT, order, first, n);
}

static double blk_load(void *opaque, const BenchCorpus *corpus,
                       const uint32_t *order, size_t first, size_t n)
{
    return blk_requests(opaque, VIRTIO_BLK_T_IN, order, first, n);
}

/* On the device itself, not timed. */
static double blk_drop(void *opaque, const BenchCorpus *corpus,
                       const uint32_t *order, size_t first, size_t n)
{
    Vring *v = opaque;
    BenchSide zram = bench_side_zram(v->zram);

    return zram.drop(zram.opaque, corpus, order, first, n);
}

/* --- Measuring --- */

typedef struct Duel {
    const char *name;           /* of the figures */
    const char *text;           /* or why there is no peer */
    const char *goal;
    BenchSide sides[2];         /* ours, and the peer if there is one */
    int nr_sides;
} Duel;

/*
 * Microseconds per page of the median request: what a machine that is busy
 * with other things says of one that is not.
 */
static void typical(const Duel *duel, BenchOp op, const BenchCorpus *corpus,
                    double *us)
{
    size_t requests = corpus->nr_pages / BENCH_BATCH;
    size_t n = MIN(requests, SAMPLES);

    for (int i = 0; i < duel->nr_sides; i++) {
        const BenchSide *side = &duel->sides[i];

        if (op == BENCH_STORE) {
            side->drop(side->opaque, corpus, corpus->load_order, 0,
                       requests * BENCH_BATCH);
        }
    }
    for (int i = 0; i < duel->nr_sides; i++) {
        g_autofree double *times = g_new(double, n);

        for (size_t r = 0; r < n; r++) {
            times[r] = bench_side_run(&duel->sides[i], op, corpus,
                                      corpus->load_order, r * BENCH_BATCH,
                                      BENCH_BATCH);
        }
        us[i] = bench_median(times, n) * 1e6 / BENCH_BATCH;
    }
    if (op == BENCH_STORE) {
        for (int i = 0; i < duel->nr_sides; i++) {
            bench_side_run(&duel->sides[i], op, corpus, corpus->load_order,
                           n * BENCH_BATCH,
                           corpus->nr_pages - n * BENCH_BATCH);
        }
    }
}

static void add_ratio(BenchReport *report, const Duel *duel, BenchOp op,
                      const char *what, const double us[][2], int n,
                      const char *text)
{
    g_autofree double *ratio = g_new(double, n);
    g_autofree char *key = g_strdup_printf("%s_%s%s_ratio", duel->name,
                                           op == BENCH_STORE ? "store" : "load",
                                           what);

    for (int r = 0; r < n; r++) {
        ratio[r] = duel->nr_sides == 2 ? us[r][0] / us[r][1] : BENCH_NONE;
    }
    bench_report_add(report, key, ratio, duel->nr_sides == 2 ? n : 1,
                     *what ? NULL : duel->goal, text);
}

static void add_times(BenchReport *report, const Duel *duel, BenchOp op,
                      const double us[][2], int n)
{
    static const char *const names[] = { "vring", "peer" };

    for (int i = 0; i < duel->nr_sides; i++) {
        g_autofree double *times = g_new(double, n);
        g_autofree char *key = g_strdup_printf("%s_%s_%s_us", duel->name,
                                               names[i], op == BENCH_STORE ?
                                               "store" : "load");

        for (int r = 0; r < n; r++) {
            times[r] = us[r][i];
        }
        bench_report_add(report, key, times, n, NULL,
                         i ? "us per page, the peer" :
                             "us per page, this store");
    }
}

static void fight(const Duel *duel, const BenchCorpus *corpus,
                  BenchReport *report)
{
    int n = options.rounds;
    g_autofree double (*us)[2] = g_malloc_n(n, sizeof(*us));
    g_autofree double (*request)[2] = g_malloc_n(n, sizeof(*request));

    for (int op = BENCH_STORE; op <= BENCH_LOAD; op++) {
        for (int r = 0; r < n; r++) {
            if (op == BENCH_STORE) {
                bench_duel_store(duel->sides, duel->nr_sides, corpus,
                                 corpus->store_order, us[r]);
            } else {
                bench_duel(duel->sides, duel->nr_sides, op, corpus,
                           corpus->load_order, 0, corpus->nr_pages, us[r]);
            }
            typical(duel, op, corpus, request[r]);
        }
        add_ratio(report, duel, op, "", (void *)us, n, duel->text);
        add_ratio(report, duel, op, "_median", (void *)request, n,
                  "the same of the median request of 32 pages");
        add_times(report, duel, op, (void *)us, n);
    }
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Pages per second, CPU per page and latencies of requests of @batch. */
static void measure_batch(Vring *v, unsigned batch, uint8_t op,
                          BenchReport *report)
{
    const char *name = op == VIRTIO_TMEM_OP_STORE ? "store" : "load";
    const uint32_t *order = v->corpus->load_order;
    size_t n = MIN(v->corpus->nr_pages / batch, SAMPLES);
    g_autofree double *times = g_new(double, n);
    double wall = 0, cpu;
    struct {
        const char *key;
        double value;
        const char *text;
    } figures[4];

    v->batch = batch;
    if (op == VIRTIO_TMEM_OP_STORE) {
        tmem_ops(v, VIRTIO_TMEM_OP_INVALIDATE, order, 0, n * batch);
    }
    cpu = -bench_cpu_now() - bench_daemon_cpu(v->daemon);
    for (size_t i = 0; i < n; i++) {
        double start;

        if (op == VIRTIO_TMEM_OP_STORE) {
            cpu += bench_cpu_now();
            stage(v, order + i * batch, batch);
            cpu -= bench_cpu_now();
        }
        start = bench_now();
        tmem_request(v, op, order + i * batch, batch);
        times[i] = bench_now() - start;
        wall += times[i];
    }
    cpu += bench_cpu_now() + bench_daemon_cpu(v->daemon);
    qsort(times, n, sizeof(*times), compare);
    figures[0].key = "pages_per_s";
    figures[0].value = n * batch / wall;
    figures[0].text = "pages per second";
    figures[1].key = "cpu_us";
    figures[1].value = cpu * 1e6 / (n * batch);
    figures[1].text = "us of CPU per page, both processes";
    figures[2].key = "p50_us";
    figures[2].value = times[n / 2] * 1e6;
    figures[2].text = "us per request, median";
    figures[3].key = "p99_us";
    figures[3].value = times[n * 99 / 100] * 1e6;
    figures[3].text = "us per request, 99th percentile";
    for (size_t i = 0; i < G_N_ELEMENTS(figures); i++) {
        g_autofree char *key = g_strdup_printf("%s_%u_%s", name, batch,
                                               figures[i].key);

        bench_report_add_one(report, key, figures[i].value, NULL,
                             figures[i].text);
    }
}

static void set_poll(Vring *v, int us)
{
    bench_vhost_set_poll(v->tmem, us / 1e6);
    if (v->blk) {
        bench_vhost_set_poll(v->blk, us / 1e6);
    }
}

/*
 * Looking for an answer saves a wake-up where there is a CPU to spare, and
 * takes the daemon's where there is none.
 */
static int choose_poll(Vring *v)
{
    size_t n = MIN(v->corpus->nr_pages, 100 * BENCH_BATCH);
    double spent[2] = { 0, 0 };

    if (options.poll != POLL_AUTO) {
        return options.poll;
    }
    for (int round = 0; round < 10; round++) {
        set_poll(v, round % 2 ? POLL_US : 0);
        spent[round % 2] += tmem_ops(v, VIRTIO_TMEM_OP_LOAD,
                                     v->corpus->identity, 0, n);
    }
    return spent[1] < spent[0] ? POLL_US : 0;
}

static void measure(Vring *v, const char *no_zram, BenchReport *report)
{
    Duel p2 = {
        .name = "p2", .goal = "< 1", .text = "time per page / that of zram",
        .sides[0] = { tmem_store, tmem_load, tmem_drop, v }, .nr_sides = 1,
    };
    Duel blk = {
        .name = "blk", .text = "time per page / that of vhost-user-blk",
        .sides = { p2.sides[0], { blk_store, blk_load, blk_drop, v } },
        .nr_sides = v->zram ? 2 : 1,
    };
    int poll;

    v->batch = BENCH_BATCH;
    tmem_ops(v, VIRTIO_TMEM_OP_STORE, v->corpus->identity, 0,
             v->corpus->nr_pages);
    verify(v);
    if (v->zram) {
        p2.nr_sides = 2;
        p2.sides[1] = bench_side_zram(v->zram);
        p2.sides[1].store(v->zram, v->corpus, v->corpus->identity, 0,
                          v->corpus->nr_pages);
    } else {
        p2.text = blk.text = no_zram;
    }
    poll = choose_poll(v);
    set_poll(v, poll);
    bench_say("vring, against zram");
    bench_report_section(report, "Batches of 32, against zram with O_DIRECT "
                         "requests of 32 pages (P2; wall time)");
    bench_report_add_one(report, "poll_us", poll, NULL,
                         "us that an answer is looked for before sleeping");
    fight(&p2, v->corpus, report);
    bench_say("vring, against vhost-user-blk");
    bench_report_section(report, "The same against that zram behind "
                         "vhost-user-blk");
    fight(&blk, v->corpus, report);
    bench_say("vring, batches");
    bench_report_section(report, "One request at a time, by operations in it");
    for (unsigned batch = 1; batch <= BATCH_MAX; batch *= 2) {
        measure_batch(v, batch, VIRTIO_TMEM_OP_STORE, report);
        measure_batch(v, batch, VIRTIO_TMEM_OP_LOAD, report);
    }
    v->batch = BENCH_BATCH;
    verify(v);
}

/* --- Setting up --- */

static void share(Vring *v)
{
    v->bytes = sizeof(Shared);
    v->memfd = memfd_create("tmem-bench", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (v->memfd < 0 || ftruncate(v->memfd, v->bytes) ||
        fcntl(v->memfd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW)) {
        bench_die("no memory to share: %s", g_strerror(errno));
    }
    v->shared = mmap(NULL, v->bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
                     v->memfd, 0);
    if (v->shared == MAP_FAILED) {
        bench_die("no memory to share: %s", g_strerror(errno));
    }
}

static void vring_open(Vring *v, const char **no_zram)
{
    share(v);
    v->zram = options.no_zram ? NULL :
              bench_zram_open(v->corpus->nr_pages, no_zram);
    if (v->zram) {
        bench_zram_use_wall_clock(v->zram);
    }
    v->daemon = bench_daemon_start(options.daemon,
                                   bench_store_size(v->corpus,
                                                    v->corpus->nr_pages),
                                   v->zram ? bench_zram_node(v->zram) : NULL);
    v->tmem = bench_vhost_open(bench_daemon_tmem_path(v->daemon), v->memfd,
                               (uint8_t *)v->shared, v->bytes,
                               v->shared->tmem_rings, 2, 0);
    if (v->zram) {
        v->blk = bench_vhost_open(bench_daemon_blk_path(v->daemon), v->memfd,
                                  (uint8_t *)v->shared, v->bytes,
                                  v->shared->blk_ring, 1, 0);
    }
    create_pool(v);
}

static void vring_close(Vring *v)
{
    bench_vhost_close(v->tmem);
    if (v->blk) {
        bench_vhost_close(v->blk);
    }
    bench_daemon_stop(v->daemon);
    if (v->zram) {
        bench_zram_close(v->zram);
    }
    munmap(v->shared, v->bytes);
    close(v->memfd);
}

static const GOptionEntry entries[] = {
    { "corpus", 'c', 0, G_OPTION_ARG_FILENAME, &options.corpus_path,
      "raw 4 KiB pages to measure with; scripts/corpus makes some", "FILE" },
    { "daemon", 'd', 0, G_OPTION_ARG_FILENAME, &options.daemon,
      "qemu-storage-daemon (that beside this program)", "FILE" },
    { "rounds", 'r', 0, G_OPTION_ARG_INT, &options.rounds,
      "rounds of which the median is taken (5)", "N" },
    { "poll", 'p', 0, G_OPTION_ARG_INT, &options.poll,
      "look for an answer for so long before sleeping; 0: not at all (500, or "
      "0 where the daemon needs the CPU more)", "US" },
    { "no-zram", 0, 0, G_OPTION_ARG_NONE, &options.no_zram,
      "leave the host's zram alone", NULL },
    { "quick", 'q', 0, G_OPTION_ARG_NONE, &options.quick,
      "much too short to be quoted: a test of this program", NULL },
    { "json", 'j', 0, G_OPTION_ARG_FILENAME, &options.json_path,
      "write the figures there as well", "FILE" },
    { NULL }
};

static const char summary[] =
    "Drives a store of qemu-storage-daemon over vhost-user and shared memory,\n"
    "one request at a time, and compares with a zram of this host, directly\n"
    "and behind vhost-user-blk (needs root; the device is made for the run and\n"
    "removed).  Wall time: the machine should be idle.";

static int usage_error(const char *text)
{
    fprintf(stderr, "tmem-bench: %s; see tmem-bench vring --help\n", text);
    return 2;
}

static int parse(int argc, char **argv)
{
    g_autoptr(GOptionContext) context = g_option_context_new(NULL);
    g_autoptr(GError) err = NULL;
    g_autofree char *self = NULL, *dir = NULL;

    g_set_prgname("tmem-bench vring");
    g_option_context_set_summary(context, summary);
    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, &argc, &argv, &err)) {
        return usage_error(err->message);
    }
    if (argc > 1) {
        return usage_error("there are options only");
    }
    if (!options.corpus_path) {
        return usage_error("which pages? Name a file of them with --corpus "
                           "FILE");
    }
    if (options.rounds < 1 || options.rounds > 1000) {
        return usage_error("--rounds takes a number from 1 to 1000");
    }
    if (options.poll < POLL_AUTO || options.poll > 1000000) {
        return usage_error("--poll takes microseconds from 0 to 1000000");
    }
    if (!options.daemon) {
        self = g_file_read_link("/proc/self/exe", NULL);
        dir = g_path_get_dirname(self ?: ".");
        options.daemon = g_build_filename(dir, "qemu-storage-daemon", NULL);
    }
    if (options.quick) {
        options.rounds = 1;
    }
    return 0;
}

int bench_main_vring(int argc, char **argv)
{
    const char *no_zram = "zram was skipped: --no-zram";
    g_autoptr(GError) err = NULL;
    BenchReport *report;
    BenchCorpus corpus;
    Vring v = { .corpus = &corpus };
    int status = parse(argc, argv);

    if (status) {
        return status;
    }
    bench_report_check_json(options.json_path);
    if (!options.no_zram) {
        bench_zram_guard();
    }
    if (!bench_corpus_load(&corpus, options.corpus_path,
                           options.quick ? 4096 : BENCH_CORPUS_PAGES_MAX,
                           &err)) {
        bench_die("%s", err->message);
    }
    if (corpus.nr_pages < BATCH_MAX) {
        bench_die("'%s' has %zu pages, and a batch alone has %u",
                  options.corpus_path, corpus.nr_pages, BATCH_MAX);
    }
    vring_open(&v, &no_zram);
    report = bench_report_new();
    bench_report_add_text(report, "corpus", options.corpus_path);
    measure(&v, no_zram, report);
    vring_close(&v);
    bench_report_print(report);
    if (options.json_path &&
        !bench_report_write_json(report, options.json_path, &err)) {
        bench_die("%s", err->message);
    }
    bench_report_free(report);
    bench_corpus_free(&corpus);
    return 0;
}
