/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmem-bench: P4, cost over threads and clients
 */
#include <unistd.h>

#include "bench.h"

#define NR_CLIENTS  64

/* --- Threads: each stores and loads its own objects of one client --- */

typedef struct Worker {
    const BenchCorpus *corpus;
    BenchSide side;
    /* As one of several threads on a store; else on a log of its own. */
    BenchStore s;
    BenchRaw raw;
    GThread *thread;
} Worker;

static void *worker_main(void *opaque)
{
    Worker *w = opaque;
    const BenchCorpus *c = w->corpus;

    if (w->side.drop) {
        w->side.drop(w->side.opaque, c, c->store_order, 0, c->nr_pages / 2);
    }
    w->side.store(w->side.opaque, c, c->store_order, 0, c->nr_pages / 2);
    w->side.load(w->side.opaque, c, c->store_order, 0, c->nr_pages / 2);
    return NULL;
}

/* Pages per second that @threads of the workers store and load. */
static double rate(Worker *workers, int threads)
{
    double start = bench_now();

    for (int i = 0; i < threads; i++) {
        workers[i].thread = g_thread_new("bench", worker_main, &workers[i]);
    }
    for (int i = 0; i < threads; i++) {
        g_thread_join(workers[i].thread);
    }
    return threads * (workers->corpus->nr_pages / 2) / (bench_now() - start);
}

static double speedup(Worker *workers, int threads)
{
    double one = (rate(workers, 1), rate(workers, 1));

    rate(workers, threads);
    return rate(workers, threads) / ((one + rate(workers, 1)) / 2);
}

static double store_speedup(const BenchCorpus *corpus, int threads)
{
    g_autofree Worker *workers = g_new0(Worker, threads);
    BenchStore s;
    double value;

    bench_store_open(&s, bench_store_size(corpus, corpus->nr_pages * threads),
                     TMEM_POOL_PERSISTENT);
    for (int i = 0; i < threads; i++) {
        Worker *w = &workers[i];

        w->corpus = corpus;
        w->s = s;
        if (i) {
            /* A pool of its own, so that all can use the same numbers. */
            w->s.ctx = tmem_context_new(s.client, NULL);
            tmem_pool_create(s.client, TMEM_POOL_PERSISTENT, TMEM_PAGE_SHIFT,
                             &w->s.pool);
        }
        w->side = bench_side_batch(&w->s);
    }
    value = speedup(workers, threads);
    for (int i = 1; i < threads; i++) {
        tmem_context_free(workers[i].s.ctx);
    }
    bench_store_close(&s);
    return value;
}

static double raw_speedup(const BenchCorpus *corpus, int threads)
{
    g_autofree Worker *workers = g_new0(Worker, threads);
    double value;

    for (int i = 0; i < threads; i++) {
        workers[i].corpus = corpus;
        bench_raw_open(&workers[i].raw, corpus);
        workers[i].side = bench_side_raw(&workers[i].raw);
    }
    value = speedup(workers, threads);
    for (int i = 0; i < threads; i++) {
        bench_raw_close(&workers[i].raw);
    }
    return value;
}

static void scale_threads(const BenchCorpus *corpus,
                          const BenchOptions *options, BenchReport *report)
{
    g_autofree double *ours = g_new(double, options->rounds);
    g_autofree double *raw = g_new(double, options->rounds);
    g_autofree double *many = g_new(double, options->rounds);
    g_autofree char *text = g_strdup_printf(
        "throughput of %d threads / one", options->threads);
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);

    for (int i = 0; i < options->rounds; i++) {
        bench_say("threads, round %d of %d", i + 1, options->rounds);
        ours[i] = store_speedup(corpus, 2);
        raw[i] = raw_speedup(corpus, 2);
        if (options->threads > 2) {
            many[i] = store_speedup(corpus, options->threads);
        }
    }
    if (cpus < 2) {
        bench_report_add_one(report, "p4_two_threads", BENCH_NONE, ">= 1.85",
                             "not measured: this machine has one CPU");
        bench_report_add_one(report, "raw_two_threads", BENCH_NONE, NULL, "");
    } else {
        bench_report_add(report, "p4_two_threads", ours, options->rounds,
                         ">= 1.85", "throughput of 2 threads / one");
        bench_report_add(report, "raw_two_threads", raw, options->rounds, NULL,
                         "the same of raw LZ4: what this machine allows");
    }
    if (options->threads > 2) {
        bench_report_add(report, "threads_speedup", many, options->rounds,
                         NULL, text);
    }
}

/* --- Clients: the same pages as one client, or spread over 64 --- */

typedef struct Clients {
    BenchStore s;
    int nr;
    TmemClient *client[NR_CLIENTS];
    TmemContext *ctx[NR_CLIENTS];
    uint64_t pool[NR_CLIENTS];
} Clients;

/*
 * Page n belongs to client n % 64.  If there is but one it gets the same
 * number of objects, of the same form.
 */
static TmemHandle clients_handle(const Clients *c, uint32_t page)
{
    uint64_t who = page % NR_CLIENTS, nr = page / NR_CLIENTS;

    return bench_handle(c->pool[who % c->nr],
                        c->nr == 1 ? who << 24 | nr : nr);
}

static double clients_run(Clients *c, BenchOp op, const BenchCorpus *corpus,
                          const uint32_t *order, size_t first, size_t n)
{
    double start = bench_cpu_now();

    for (size_t i = 0; i < n; i += BENCH_BATCH) {
        TmemContext *ctx = c->ctx[order[first + i] % NR_CLIENTS % c->nr];
        unsigned nr = MIN(BENCH_BATCH, n - i);
        TmemHandle handles[BENCH_BATCH];
        TmemStatus status = TMEM_STATUS_OK;

        for (unsigned j = 0; j < nr; j++) {
            handles[j] = clients_handle(c, order[first + i + j]);
        }
        tmem_page_prefetch(ctx, handles, nr);
        for (unsigned j = 0; j < nr && status == TMEM_STATUS_OK; j++) {
            if (op == BENCH_STORE) {
                status = tmem_page_store(
                    ctx, &handles[j],
                    bench_corpus_page(corpus, order[first + i + j]));
            } else {
                status = tmem_page_load(ctx, &handles[j],
                                        tmem_context_bounce(ctx), NULL);
            }
        }
        if (status != TMEM_STATUS_OK) {
            bench_die("an operation of %d clients was answered %s", c->nr,
                      tmem_status_str(status));
        }
    }
    return bench_cpu_now() - start;
}

static double clients_store(void *opaque, const BenchCorpus *corpus,
                            const uint32_t *order, size_t first, size_t n)
{
    return clients_run(opaque, BENCH_STORE, corpus, order, first, n);
}

static double clients_load(void *opaque, const BenchCorpus *corpus,
                           const uint32_t *order, size_t first, size_t n)
{
    return clients_run(opaque, BENCH_LOAD, corpus, order, first, n);
}

static void clients_open(Clients *c, const BenchCorpus *corpus, int nr)
{
    bench_store_open(&c->s, bench_store_size(corpus, corpus->nr_pages),
                     TMEM_POOL_PERSISTENT);
    c->nr = nr;
    for (int i = 0; i < nr; i++) {
        g_autofree char *name = g_strdup_printf("client%d", i);
        TmemClientConfig config = { .name = name };
        GError *err = NULL;

        c->client[i] = tmem_client_new(c->s.store, &config, &err);
        c->ctx[i] = c->client[i] ? tmem_context_new(c->client[i], &err) : NULL;
        if (!c->ctx[i] ||
            tmem_pool_create(c->client[i], TMEM_POOL_PERSISTENT,
                             TMEM_PAGE_SHIFT, &c->pool[i]) != TMEM_STATUS_OK) {
            bench_die("no client %d: %s", i, err ? err->message : "no pool");
        }
    }
}

static void clients_close(Clients *c)
{
    for (int i = 0; i < c->nr; i++) {
        tmem_context_free(c->ctx[i]);
        tmem_client_free(c->client[i]);
    }
    bench_store_close(&c->s);
}

/*
 * An order in which each batch is of one client and the clients take turns;
 * which of a client's pages, is random: by @seed.  Sets @n to its length.
 */
static uint32_t *clients_order(const BenchCorpus *corpus, uint64_t seed,
                               size_t *n)
{
    size_t batches = corpus->nr_pages / NR_CLIENTS / BENCH_BATCH;
    size_t own = batches * BENCH_BATCH;
    uint32_t *order;

    if (!batches) {
        return NULL;
    }
    *n = own * NR_CLIENTS;
    order = g_new(uint32_t, *n);
    for (uint32_t c = 0; c < NR_CLIENTS; c++) {
        g_autofree uint32_t *pages = g_new(uint32_t, own);

        for (size_t i = 0; i < own; i++) {
            pages[i] = i * NR_CLIENTS + c;
        }
        bench_shuffle(pages, own, seed + c);
        for (size_t i = 0; i < own; i++) {
            order[(i / BENCH_BATCH * NR_CLIENTS + c) * BENCH_BATCH +
                  i % BENCH_BATCH] = pages[i];
        }
    }
    return order;
}

static void scale_clients(const BenchCorpus *corpus,
                          const BenchOptions *options, BenchReport *report)
{
    g_autofree double *both = g_new(double, options->rounds);
    g_autofree double *store = g_new(double, options->rounds);
    g_autofree double *load = g_new(double, options->rounds);
    g_autofree Clients *c = g_new0(Clients, 2);
    g_autofree uint32_t *fill_order = NULL;
    g_autofree uint32_t *order = NULL;
    size_t n = 0;

    /*
     * Measured is another order than that in which the stores were filled.  In
     * the same one a single client finds one record beside the other, which no
     * guest's does, and 64 find theirs in 64 places.
     */
    fill_order = clients_order(corpus, 0x9e3779b97f4a7c15ull, &n);
    order = clients_order(corpus, 0xd1b54a32d192ed03ull, &n);
    if (!order) {
        bench_report_add_one(report, "p4_64_clients", BENCH_NONE, "<= 1.05",
                             "not measured: the corpus has fewer than 2048 "
                             "pages");
        return;
    }
    for (int i = 0; i < options->rounds; i++) {
        BenchSide sides[2];
        double s[2], l[2];

        bench_say("clients, round %d of %d", i + 1, options->rounds);
        for (int j = 0; j < 2; j++) {
            clients_open(&c[j], corpus, j ? NR_CLIENTS : 1);
            sides[j] = (BenchSide) { clients_store, clients_load, NULL, &c[j] };
        }
        bench_duel(sides, 2, BENCH_STORE, corpus, fill_order, 0, n, s);
        bench_duel(sides, 2, BENCH_STORE, corpus, order, 0, n, s);
        bench_duel(sides, 2, BENCH_LOAD, corpus, order, 0, n, l);
        store[i] = s[1] / s[0];
        load[i] = l[1] / l[0];
        both[i] = (s[1] + l[1]) / (s[0] + l[0]);
        for (int j = 0; j < 2; j++) {
            clients_close(&c[j]);
        }
    }
    bench_report_add(report, "p4_64_clients", both, options->rounds, "<= 1.05",
                     "time of a store and a load with 64 clients / one");
    bench_report_add(report, "clients_store", store, options->rounds, NULL,
                     "- of a store");
    bench_report_add(report, "clients_load", load, options->rounds, NULL,
                     "- of a load");
}

void bench_scale(const BenchCorpus *corpus, const BenchOptions *options,
                 BenchReport *report)
{
    bench_report_section(report, "P4: threads, clients, stored pages");
    scale_threads(corpus, options, report);
    scale_clients(corpus, options, report);
}
