/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Several threads on few handles; every answer can be explained by one order
 *
 * A run is many short rounds.  In each, threads with contexts of one or of two
 * clients store, load, take and invalidate pages under a handful of handles of
 * a store that is too small, while pools are destroyed under them and an
 * operator freezes, evicts, changes codecs, and lets pages be recompressed and
 * moved.  Every operation notes a stamp before and after; history.c looks for
 * an order.
 *
 *   TMEM_TEST_SEED=0x... TMEM_TEST_RUNS=10000 test-history
 *
 * A seed repeats what each thread does, not how the threads interleave.
 */
#include "history.h"
#include "testlib.h"
#include "tmem-upkeep.h"

#define WORKERS         4
#define CONTROL         WORKERS     /* the thread that destroys pools */
#define OPERATOR        (WORKERS + 1)
#define THREADS         (WORKERS + 2)
#define CLIENTS_MAX     2
#define KINDS           3           /* persistent, ephemeral, shared */
#define SHARED          2
#define OBJECTS         2
#define PAGES           2           /* of an object; in nodes of their own */
#define STEPS           220

/* A cell is a handle with a history: client, kind of pool, object, page. */
#define CELLS   (CLIENTS_MAX * KINDS * OBJECTS * PAGES)

typedef struct Recorded {
    unsigned cell;
    HistoryOp op;
} Recorded;

typedef struct Round {
    unsigned nr_clients;
    TmemStore *store;
    TmemClient *client[CLIENTS_MAX];
    TmemClient *group;          /* of all of them, or NULL */
    uint64_t pool[CLIENTS_MAX][KINDS];
    uint64_t clock;             /* atomic */
    bool done;                  /* atomic */
    uint64_t seed;
} Round;

typedef struct Worker {
    Round *round;
    unsigned nr;                /* thread */
    unsigned client;
    TmemContext *ctx;
    TestRand rand;
    uint32_t next_tag;
    uint32_t next_equal;        /* of pages that another client has, too */
    GArray *log;                /* Recorded */
} Worker;

static uint64_t stamp(Round *round)
{
    return __atomic_add_fetch(&round->clock, 1, __ATOMIC_SEQ_CST);
}

/* --- Cells --- */

static unsigned cell_nr(unsigned client, unsigned kind, unsigned object,
                        unsigned page)
{
    client = kind == SHARED ? 0 : client;
    return ((client * KINDS + kind) * OBJECTS + object) * PAGES + page;
}

/* The cell as @client names it: those of a shared pool are of all clients. */
static TmemHandle cell_handle(const Round *round, unsigned client,
                              unsigned nr)
{
    unsigned page = nr % PAGES, object = nr / PAGES % OBJECTS;
    unsigned kind = nr / PAGES / OBJECTS % KINDS;

    return test_handle(round->pool[client][kind], object, page * 1000);
}

static bool cell_ephemeral(unsigned nr)
{
    return nr / PAGES / OBJECTS % KINDS != TMEM_POOL_PERSISTENT;
}

static bool can_take(unsigned nr)
{
    return nr / PAGES / OBJECTS % KINDS == TMEM_POOL_EPHEMERAL;
}

/* --- Pages that tell which they are --- */

#define TAG_MARK        0x7a9e0000u
#define FILL64_MARK     0xa5a5a5a5u     /* see test_page_make() */

/* @tag: below 1 << 31. */
static void make_page(uint8_t *page, uint32_t tag)
{
    TestPage sort = 1 + tag % (TEST_PAGE__MAX - 1);
    uint64_t word = (uint64_t)TAG_MARK << 32 | tag;

    test_page_make(page, sort, tag);
    if (sort > TEST_PAGE_FILL64) {
        memcpy(page, &word, sizeof(word));
    }
}

/* The page's tag; the whole page must be as it was made. */
static uint32_t read_page(const uint8_t *page)
{
    uint8_t want[TMEM_PAGE_SIZE];
    uint64_t word;
    uint32_t tag;

    memcpy(&word, page, sizeof(word));
    tag = word >> 32 == FILL64_MARK ? (uint32_t)word >> 1 : word;
    make_page(want, tag);
    g_assert_cmpmem(page, TMEM_PAGE_SIZE, want, TMEM_PAGE_SIZE);
    return tag;
}

/* --- Operations, recorded --- */

static void record(Worker *w, unsigned cell, HistoryOp op)
{
    Recorded r = { cell, op };

    r.op.thread = w->nr;
    g_array_append_val(w->log, r);
}

static void store(Worker *w, unsigned cell)
{
    TmemHandle h = cell_handle(w->round, w->client, cell);
    HistoryOp op = { .type = HISTORY_STORE };

    op.value = w->round->group && can_take(cell) ? w->next_equal++ :
                                                   w->next_tag++;
    make_page(tmem_context_bounce(w->ctx), op.value);
    op.begin = stamp(w->round);
    op.status = tmem_page_store(w->ctx, &h, tmem_context_bounce(w->ctx));
    op.end = stamp(w->round);
    record(w, cell, op);
}

static void load(Worker *w, unsigned cell, bool take)
{
    TmemHandle h = cell_handle(w->round, w->client, cell);
    HistoryOp op = { .type = HISTORY_LOAD };
    uint8_t page[TMEM_PAGE_SIZE];
    uint64_t version;

    op.begin = stamp(w->round);
    op.status = tmem_page_load(w->ctx, &h, page, &version);
    op.end = stamp(w->round);
    if (op.status == TMEM_STATUS_OK) {
        op.value = read_page(page);
    }
    record(w, cell, op);
    if (take && op.status == TMEM_STATUS_OK) {
        op.type = HISTORY_TAKE;
        op.begin = stamp(w->round);
        op.status = tmem_page_take(w->ctx, &h, version);
        op.end = stamp(w->round);
        g_assert_true((op.status == TMEM_STATUS_INVAL) ==
                      (op.status != TMEM_STATUS_NOPOOL && !can_take(cell)));
        record(w, cell, op);
    }
}

static void invalidate(Worker *w, unsigned cell)
{
    TmemHandle h = cell_handle(w->round, w->client, cell);
    HistoryOp op = { .type = HISTORY_INVALIDATE };

    op.begin = stamp(w->round);
    op.status = tmem_page_invalidate(w->ctx, &h);
    op.end = stamp(w->round);
    record(w, cell, op);
}

static void invalidate_object(Worker *w, unsigned cell)
{
    TmemHandle h = cell_handle(w->round, w->client, cell);
    HistoryOp op = { .type = HISTORY_INVALIDATE };

    op.begin = stamp(w->round);
    op.status = tmem_object_invalidate(w->ctx, &h);
    op.end = stamp(w->round);
    for (unsigned page = 0; page < PAGES; page++) {
        record(w, cell / PAGES * PAGES + page, op);
    }
}

/* Keeps the store full, and objects of many nodes around. */
static void fill(Worker *w)
{
    uint64_t *pool = w->round->pool[w->client];
    unsigned kind = test_rand_below(&w->rand, 2) ? TMEM_POOL_EPHEMERAL :
                                                   TMEM_POOL_PERSISTENT;
    TmemHandle h = test_handle(pool[kind], 100 + w->nr,
                               test_rand_below(&w->rand, 200) * 7);

    for (unsigned i = 0; i < 5; i++) {
        h.index++;
        test_store(w->ctx, h, TEST_PAGE_NOISE, test_rand(&w->rand));
    }
    if (kind == TMEM_POOL_PERSISTENT && test_rand_below(&w->rand, 24) == 0) {
        tmem_object_invalidate(w->ctx, &h);
    }
}

static gpointer work(gpointer opaque)
{
    Worker *w = opaque;

    for (unsigned i = 0; i < STEPS; i++) {
        unsigned cell = cell_nr(w->client, test_rand_below(&w->rand, KINDS),
                                test_rand_below(&w->rand, OBJECTS),
                                test_rand_below(&w->rand, PAGES));
        unsigned dice = test_rand_below(&w->rand, 100);

        if (dice < 30) {
            store(w, cell);
        } else if (dice < 60) {
            load(w, cell, dice < 38);
        } else if (dice < 72) {
            invalidate(w, cell);
        } else if (dice < 75) {
            invalidate_object(w, cell);
        } else {
            fill(w);
        }
    }
    return NULL;
}

/* --- What goes on meanwhile --- */

static void change_codec(Round *round, TestRand *r)
{
    static const TmemCodecChoice codecs[] = {
        { TMEM_COMPRESSOR_LZ4, 1 }, { TMEM_COMPRESSOR_ZSTD, -3 },
        { TMEM_COMPRESSOR_NONE, 0 }, { TMEM_COMPRESSOR_LZ4, 8 },
    };
    TmemPolicy policy;

    tmem_store_get_policy(round->store, &policy);
    policy.codec = codecs[test_rand_below(r, G_N_ELEMENTS(codecs))];
    g_assert_true(tmem_store_set_policy(round->store, &policy, NULL));
}

/* Until the workers are done, does what may be done to a running store. */
static gpointer operate(gpointer opaque)
{
    Worker *w = opaque;
    Round *round = w->round;
    uint64_t now_ns = 1;

    while (!__atomic_load_n(&round->done, __ATOMIC_RELAXED)) {
        unsigned client = test_rand_below(&w->rand, round->nr_clients);

        switch (test_rand_below(&w->rand, 16)) {
        case 0:
            tmem_client_freeze(round->client[client], true);
            g_usleep(50);
            tmem_client_freeze(round->client[client], false);
            break;
        case 1:
            tmem_client_evict(round->group && test_rand_below(&w->rand, 2) ?
                              round->group : round->client[client],
                              test_rand_below(&w->rand, 1u << 18));
            break;
        case 2:
            change_codec(round, &w->rand);
            break;
        case 3:
            tmem_store_recompress(round->store);
            break;
        default:
            /* Compaction comes once in a while. */
            now_ns += 10000000000ull;
            tmem_upkeep_step(round->store, now_ns, 1000000);
            break;
        }
        g_usleep(test_rand_below(&w->rand, 100));
    }
    return NULL;
}

/* In the midst of it, perhaps destroys a pool. */
static gpointer control(gpointer opaque)
{
    Worker *w = opaque;
    Round *round = w->round;
    unsigned client = test_rand_below(&w->rand, round->nr_clients);
    unsigned kind = test_rand_below(&w->rand, SHARED);
    HistoryOp op = { .type = HISTORY_DESTROY };

    g_usleep(test_rand_below(&w->rand, 4000));
    if (test_rand_below(&w->rand, 3) == 0) {
        test_check(round->store);
    }
    if (test_rand_below(&w->rand, 2)) {
        return NULL;
    }
    op.begin = stamp(round);
    op.status = tmem_pool_destroy(round->client[client],
                                  round->pool[client][kind]);
    op.end = stamp(round);
    for (unsigned i = 0; i < OBJECTS * PAGES; i++) {
        record(w, cell_nr(client, kind, 0, 0) + i, op);
    }
    return NULL;
}

/* --- A round --- */

static unsigned count_overlaps(const HistoryOp *ops, unsigned nr)
{
    unsigned overlaps = 0;

    for (unsigned i = 0; i < nr; i++) {
        for (unsigned j = i + 1; j < nr; j++) {
            overlaps += ops[i].begin < ops[j].end &&
                        ops[j].begin < ops[i].end;
        }
    }
    return overlaps;
}

static unsigned check_cell(Worker *workers, unsigned cell)
{
    g_autoptr(GArray) ops = g_array_new(false, false, sizeof(HistoryOp));
    g_autofree char *why = NULL;

    for (unsigned i = 0; i < THREADS; i++) {
        for (unsigned j = 0; j < workers[i].log->len; j++) {
            Recorded *r = &g_array_index(workers[i].log, Recorded, j);

            if (r->cell == cell) {
                g_array_append_val(ops, r->op);
            }
        }
    }
    why = history_check((HistoryOp *)ops->data, ops->len,
                        cell_ephemeral(cell));
    if (why) {
        g_test_message("seed 0x%" G_GINT64_MODIFIER "x, handle %u",
                       workers[0].round->seed, cell);
    }
    g_assert_cmpstr(why, ==, NULL);
    return count_overlaps((HistoryOp *)ops->data, ops->len);
}

static void run_threads(Worker *workers)
{
    static const GThreadFunc funcs[THREADS] = {
        [0 ... WORKERS - 1] = work, [CONTROL] = control, [OPERATOR] = operate,
    };
    GThread *threads[THREADS];

    workers[0].round->done = false;
    for (unsigned i = 0; i < THREADS; i++) {
        threads[i] = g_thread_new("history", funcs[i], &workers[i]);
    }
    for (unsigned i = 0; i < OPERATOR; i++) {
        g_thread_join(threads[i]);
    }
    __atomic_store_n(&workers[0].round->done, true, __ATOMIC_RELAXED);
    g_thread_join(threads[OPERATOR]);
}

static void set_up_worker(Worker *w, Round *round, unsigned nr)
{
    *w = (Worker) {
        .round = round,
        .nr = nr,
        .client = nr % round->nr_clients,
        .rand.state = round->seed + nr,
        .next_tag = 1 + (nr << 24),
        .next_equal = 1 + (nr / round->nr_clients << 24),
        .log = g_array_new(false, false, sizeof(Recorded)),
    };
    if (nr < WORKERS) {
        w->ctx = tmem_context_new(round->client[w->client], NULL);
        g_assert_nonnull(w->ctx);
    }
}

static const uint8_t uuid[16] = { 1 };

static unsigned run_round(Round *round)
{
    Worker workers[THREADS];
    unsigned overlaps = 0;

    for (unsigned c = 0; c < round->nr_clients; c++) {
        for (unsigned kind = 0; kind < SHARED; kind++) {
            g_assert_cmpint(tmem_pool_create(round->client[c], kind,
                                             TMEM_PAGE_SHIFT,
                                             &round->pool[c][kind]), ==,
                            TMEM_STATUS_OK);
        }
        g_assert_cmpint(tmem_pool_join(round->client[c], uuid, TMEM_PAGE_SHIFT,
                                       &round->pool[c][SHARED]), ==,
                        TMEM_STATUS_OK);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        set_up_worker(&workers[i], round, i);
    }
    run_threads(workers);
    /* What is there in the end; what persists must be. */
    for (unsigned c = 0; c < round->nr_clients; c++) {
        for (unsigned kind = 0; kind < KINDS; kind++) {
            for (unsigned i = 0; i < OBJECTS * PAGES; i++) {
                load(&workers[c], cell_nr(c, kind, 0, 0) + i, false);
            }
        }
    }
    for (unsigned i = 0; i < CELLS; i++) {
        overlaps += check_cell(workers, i);
    }
    test_check(round->store);
    for (unsigned i = 0; i < THREADS; i++) {
        tmem_context_free(workers[i].ctx);
        g_array_unref(workers[i].log);
    }
    for (unsigned c = 0; c < round->nr_clients; c++) {
        tmem_client_reset(round->client[c]);
    }
    return overlaps;
}

static unsigned nr_rounds(void)
{
    const char *text = g_getenv("TMEM_TEST_RUNS");

    return text ? (unsigned)g_ascii_strtoull(text, NULL, 0) :
           TMEM_TEST_TSAN ? 30 : 150;
}

static void add_happened(TmemPoolStats *sum, TmemClient *client)
{
    TmemClientStats stats;

    tmem_client_get_stats(client, &stats);
    sum->evicted += stats.total.evicted;
    sum->taken += stats.total.taken;
    sum->stores_nospc += stats.total.stores_nospc;
    sum->stores_quota += stats.total.stores_quota;
    sum->loads_hit += stats.total.loads_hit;
    sum->stores_frozen += stats.total.stores_frozen;
    sum->stores_shared += stats.total.stores_shared;
}

typedef struct Case {
    const char *path;
    unsigned nr_clients;
    bool has_group;
} Case;

static const Case cases[] = {
    { "/tmem/B2-B3-B11/history/one-client", 1, false },
    { "/tmem/B2-B3-B11/history/two-clients", 2, false },
    { "/tmem/B2-B3-B11/history/two-members", 2, true },
};

static void test_history(gconstpointer opaque)
{
    const Case *test_case = opaque;
    TmemStoreConfig config = {
        .size_bytes = TMEM_STORE_SIZE_MIN, .seed = test_seed(),
    };
    Round round = { .nr_clients = test_case->nr_clients };
    TmemPoolStats sum = {};
    uint64_t overlaps = 0;

    tmem_upkeep_by_hand(true);
    round.store = tmem_store_new(&config, NULL);
    if (test_case->has_group) {
        round.group = test_new_group(round.store, "group");
    }
    for (unsigned c = 0; c < round.nr_clients; c++) {
        TmemClientConfig client = { .name = c ? "second" : "first" };

        round.client[c] = tmem_client_new(round.store, &client, NULL);
        g_assert_nonnull(round.client[c]);
        g_assert_true(tmem_client_set_trust_group(round.client[c], round.group,
                                                  NULL));
        g_assert_true(tmem_client_authorize(round.client[c], uuid, true,
                                            NULL));
    }
    for (unsigned i = 0; i < nr_rounds(); i++) {
        round.seed = test_seed() + i * 100;
        overlaps += run_round(&round);
    }
    for (unsigned c = 0; c < round.nr_clients; c++) {
        add_happened(&sum, round.client[c]);
        tmem_client_free(round.client[c]);
    }
    tmem_client_free(round.group);
    tmem_store_free(round.store);
    g_test_message("%" G_GUINT64_FORMAT " overlaps, %" G_GUINT64_FORMAT
                   " evicted, %" G_GUINT64_FORMAT " refused", overlaps,
                   sum.evicted, sum.stores_nospc + sum.stores_quota);
    /* What this test is about did happen. */
    g_assert_cmpuint(overlaps, >, 0);
    g_assert_cmpuint(sum.evicted, >, 0);
    g_assert_cmpuint(sum.taken, >, 0);
    g_assert_cmpuint(sum.loads_hit, >, 0);
    g_assert_cmpuint(sum.stores_nospc, >, 0);
    g_assert_cmpuint(sum.stores_frozen, >, 0);
    g_assert_true(test_case->has_group == (sum.stores_shared > 0));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_test_add_data_func(cases[i].path, &cases[i], test_history);
    }
    return g_test_run();
}
