/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Credit: stores that may not be refused, and room reserved for them
 *
 * DEV-n is a requirement of docs/specs/virtio-tmem.rst.
 */
#include "testlib.h"
#include "tmem-store.h"

#define CREDIT  64

static void set_up(Fixture *f, uint64_t size_bytes, uint64_t max_bytes)
{
    TmemClientConfig config = {
        .name = "test", .limits.max_bytes = max_bytes, .credit = CREDIT,
    };

    fixture_set_up_client(f, size_bytes, &config);
}

static TmemClientStats stats_of(TmemClient *client)
{
    TmemClientStats stats;

    tmem_client_get_stats(client, &stats);
    g_assert_cmpuint(stats.credit_granted - stats.credit_used, >=,
                     stats.credit);
    g_assert_cmpuint(stats.credit_bytes, >=,
                     stats.credit * (TMEM_PAGE_SIZE + 520));
    g_assert_cmpuint(stats.credit_bytes, <=, stats.bytes);
    return stats;
}

static uint64_t credit_of(TmemClient *client)
{
    return stats_of(client).credit;
}

static TmemStatus store_with_credit(Fixture *f, TmemHandle h, TestPage sort,
                                    uint64_t tag)
{
    void *page = tmem_context_bounce(f->ctx);

    test_page_make(page, sort, tag);
    return tmem_page_store_with_credit(f->ctx, &h, page);
}

/* Stores pages that do not compress until one is refused. */
static TmemStatus fill_up(Fixture *f, uint64_t object)
{
    TmemStatus status = TMEM_STATUS_OK;

    for (uint64_t i = 0; status == TMEM_STATUS_OK; i++) {
        g_assert_cmpuint(i, <, 100000);
        status = test_store(f->ctx, test_handle(f->persistent, object, i),
                            TEST_PAGE_NOISE, i);
    }
    return status;
}

/*
 * Uses up all credit on pages of every sort, in places that need a node, an
 * array or nothing of the index, and finds them all.  Returns how many.
 */
static unsigned use_up(Fixture *f, uint64_t object)
{
    uint64_t left = credit_of(f->client);
    unsigned nr = 0;

    for (; left; left--, nr++) {
        TmemHandle h = test_handle(f->persistent, object + nr % 3,
                                   nr % 3 ? nr : nr * 1000);

        g_assert_cmpint(store_with_credit(f, h, TEST_PAGE_NOISE -
                                          nr % TEST_PAGE__MAX, nr), ==,
                        TMEM_STATUS_OK);
        g_assert_cmpuint(credit_of(f->client), ==, left - 1);
        if (nr % 16 == 0) {
            test_check(f->store);
        }
    }
    for (unsigned i = 0; i < nr; i++) {
        test_expect_page(f->ctx, test_handle(f->persistent, object + i % 3,
                                             i % 3 ? i : i * 1000),
                         TEST_PAGE_NOISE - i % TEST_PAGE__MAX, i);
    }
    test_check(f->store);
    return nr;
}

/* --- Grants --- */

/* DEV-25: increments up to what the client may have. */
static void test_grant(void)
{
    TmemClientStats stats;
    Fixture f;

    set_up(&f, FIXTURE_SIZE, 0);
    g_assert_cmpuint(credit_of(f.client), ==, 0);
    g_assert_cmpuint(tmem_client_grant_credit(f.ctx), ==, CREDIT);
    g_assert_cmpuint(tmem_client_grant_credit(f.ctx), ==, 0);
    test_check(f.store);
    stats = stats_of(f.client);
    g_assert_cmpuint(stats.credit_granted, ==, CREDIT);

    /* With memory for all, none of the places is touched. */
    for (unsigned i = 0; i < 10; i++) {
        g_assert_cmpint(store_with_credit(&f, test_handle(f.persistent, 1, i),
                                          TEST_PAGE_TEXT, i), ==,
                        TMEM_STATUS_OK);
    }
    g_assert_cmpuint(credit_of(f.client), ==, CREDIT - 10);
    g_assert_cmpuint(tmem_client_grant_credit(f.ctx), ==, 10);
    stats = stats_of(f.client);
    g_assert_cmpuint(stats.credit, ==, CREDIT);
    g_assert_cmpuint(stats.credit_granted, ==, CREDIT + 10);
    g_assert_cmpuint(stats.credit_used, ==, 10);
    g_assert_cmpuint(stats.credit_places_used, ==, 0);
    g_assert_cmpuint(stats.total.pages, ==, 10);
    fixture_tear_down(&f);
}

/* Who has no persistent pool has nothing to store early. */
static void test_no_pool_no_credit(void)
{
    Fixture f;

    set_up(&f, FIXTURE_SIZE, 0);
    g_assert_cmpint(tmem_pool_destroy(f.client, f.persistent), ==,
                    TMEM_STATUS_OK);
    g_assert_cmpuint(tmem_client_grant_credit(f.ctx), ==, 0);
    g_assert_cmpint(tmem_pool_create(f.client, TMEM_POOL_PERSISTENT,
                                     TMEM_PAGE_SHIFT, &f.persistent), ==, 0);
    g_assert_cmpuint(tmem_client_grant_credit(f.ctx), ==, CREDIT);
    /* What was granted stays when the pool goes. */
    g_assert_cmpint(tmem_pool_destroy(f.client, f.persistent), ==,
                    TMEM_STATUS_OK);
    g_assert_cmpuint(tmem_client_grant_credit(f.ctx), ==, 0);
    g_assert_cmpuint(credit_of(f.client), ==, CREDIT);
    fixture_tear_down(&f);
}

/* No more than 1/16 of what the client may hold lies in reserve. */
static void test_small_clients(void)
{
    static const uint64_t max_bytes[] = { 40 << 10, 400 << 10, 4 << 20 };
    TmemClientStats stats;
    Fixture f;

    for (unsigned i = 0; i < G_N_ELEMENTS(max_bytes); i++) {
        set_up(&f, FIXTURE_SIZE, max_bytes[i]);
        tmem_client_grant_credit(f.ctx);
        stats = stats_of(f.client);
        g_assert_cmpuint(stats.credit, <=, (max_bytes[i] >> 4) / 4620);
        g_assert_true((stats.credit == 0) == (i == 0));
        /* A slot may be larger than what was asked for. */
        g_assert_cmpuint(stats.credit_bytes, <=, (max_bytes[i] >> 4) + 4096);
        g_assert_cmpuint(stats.bytes, <=, max_bytes[i]);
        fixture_tear_down(&f);
    }
}

/* A cache does not keep credit out, nor is there room for both. */
static void test_grant_evicts(void)
{
    TmemStatus status = TMEM_STATUS_OK;
    TmemClientStats stats;
    Fixture f;

    set_up(&f, 1 << 20, 0);
    for (uint64_t i = 0; i < 1000; i++) {
        status = test_store(f.ctx, test_handle(f.ephemeral, 1, i),
                            TEST_PAGE_NOISE, i);
        g_assert_cmpint(status, ==, TMEM_STATUS_OK);
    }
    stats = stats_of(f.client);
    g_assert_cmpuint(stats.total.evicted, >, 0);
    g_assert_cmpuint(tmem_client_grant_credit(f.ctx), >, 8);
    fixture_tear_down(&f);
}

/* --- Never refused --- */

typedef struct Reason {
    const char *path;
    uint64_t max_bytes;
    TmemStatus status;      /* of a store without credit */
    bool places;            /* that are reserved are needed then */
    bool grants;            /* go on all the same */
    void (*prepare)(Fixture *f);
    void (*repair)(Fixture *f);
} Reason;

static void fill(Fixture *f)
{
    fill_up(f, 1);
}

static void freeze_client(Fixture *f)
{
    tmem_client_freeze(f->client, true);
}

static void freeze_store(Fixture *f)
{
    tmem_store_freeze(f->store, true);
}

static void refuse_incompressible(Fixture *f)
{
    TmemPolicy policy;

    tmem_store_get_policy(f->store, &policy);
    policy.admission.refuse_incompressible = true;
    g_assert_true(tmem_store_set_policy(f->store, &policy, NULL));
}

static void refuse_large(Fixture *f)
{
    TmemPolicy policy;

    test_store(f->ctx, test_handle(f->persistent, 9, 1), TEST_PAGE_NOISE, 1);
    tmem_store_get_policy(f->store, &policy);
    policy.admission.max_mean_bytes = 100;
    g_assert_true(tmem_store_set_policy(f->store, &policy, NULL));
}

static void lower_max(Fixture *f)
{
    TmemLimits limits = { .max_bytes = 128 << 10 };
    GError *err = NULL;

    fill_up(f, 1);
    tmem_client_set_limits(f->client, &limits, &err);
    g_assert_no_error(err);
}

static void limit_pool(Fixture *f)
{
    TmemLimits limits = { .max_bytes = 1 };
    GError *err = NULL;

    tmem_pool_set_limits(f->client, f->persistent, &limits, &err);
    g_assert_no_error(err);
}

static void empty(Fixture *f)
{
    TmemHandle h = test_handle(f->persistent, 1, 0);

    g_assert_cmpint(tmem_object_invalidate(f->ctx, &h), ==, TMEM_STATUS_OK);
}

static void thaw(Fixture *f)
{
    tmem_client_freeze(f->client, false);
    tmem_store_freeze(f->store, false);
}

static void lift_limits(Fixture *f)
{
    TmemLimits limits = {};

    empty(f);
    g_assert_true(tmem_client_set_limits(f->client, &limits, NULL));
    g_assert_true(tmem_pool_set_limits(f->client, f->persistent, &limits,
                                       NULL));
}

static void admit_all(Fixture *f)
{
    TmemPolicy policy;

    tmem_policy_init(&policy);
    g_assert_true(tmem_store_set_policy(f->store, &policy, NULL));
}

static const Reason reasons[] = {
    { "full", 0, TMEM_STATUS_NOSPC, true, false, fill, empty },
    { "limit", 2 << 20, TMEM_STATUS_QUOTA, true, false, fill, empty },
    { "frozen-client", 0, TMEM_STATUS_FROZEN, true, false, freeze_client,
      thaw },
    { "frozen-store", 0, TMEM_STATUS_FROZEN, true, false, freeze_store,
      thaw },
    { "lower-max", 0, TMEM_STATUS_QUOTA, true, false, lower_max, lift_limits },
    { "pool-limit", 0, TMEM_STATUS_QUOTA, false, false, limit_pool,
      lift_limits },
    { "incompressible", 0, TMEM_STATUS_REFUSED, true, true,
      refuse_incompressible, admit_all },
    { "mean", 0, TMEM_STATUS_REFUSED, true, true, refuse_large, admit_all },
};

/*
 * DEV-25, DEV-26: whatever happens to the client after a grant, each credit is
 * worth a page; new credit waits until it is over, and its memory does not.
 */
static void test_never_refused(gconstpointer opaque)
{
    const Reason *reason = opaque;
    TmemClientStats before, stats;
    TmemHandle h;
    unsigned nr;
    Fixture f;

    set_up(&f, FIXTURE_SIZE, reason->max_bytes);
    nr = tmem_client_grant_credit(f.ctx);
    g_assert_cmpuint(nr, >, 20);
    reason->prepare(&f);
    /* A response of then withdraws nothing. */
    g_assert_cmpuint(tmem_client_grant_credit(f.ctx), ==, 0);
    g_assert_cmpuint(credit_of(f.client), ==, nr);

    h = test_handle(f.persistent, 77, 7);
    g_assert_cmpint(test_store(f.ctx, h, TEST_PAGE_NOISE, 1), ==,
                    reason->status);
    before = stats_of(f.client);
    g_assert_cmpuint(use_up(&f, 100), ==, nr);
    stats = stats_of(f.client);
    g_assert_cmpuint(stats.bytes, <=, MAX(before.bytes, stats.max_bytes));
    g_assert_cmpuint(stats.credit_used, ==, nr);
    g_assert_true((stats.credit_places_used != 0) == reason->places);
    /* A place that was not needed serves again; this comes to an end. */
    for (unsigned i = 0; !reason->grants && tmem_client_grant_credit(f.ctx);
         i++) {
        g_assert_cmpint(reason->prepare == fill, ==, true);
        g_assert_cmpuint(i, <, 10);
        use_up(&f, 200 + 3 * i);
    }
    while (credit_of(f.client)) {
        store_with_credit(&f, h, TEST_PAGE_ZERO, 1);
    }

    /* Used up: as any other. */
    g_assert_cmpint(store_with_credit(&f, h, TEST_PAGE_NOISE, 1), ==,
                    TMEM_STATUS_INVAL);
    test_expect_status(f.ctx, h, TMEM_STATUS_MISS);
    if (!reason->grants) {
        g_assert_cmpuint(tmem_client_grant_credit(f.ctx), ==, 0);
        stats = stats_of(f.client);
        g_assert_cmpuint(stats.credit_bytes, ==, 0);
        reason->repair(&f);
    }
    g_assert_cmpuint(tmem_client_grant_credit(f.ctx), >, 20);
    fixture_tear_down(&f);
}

/* The minimum of another client, promised after the credit was. */
static void test_another_minimum(void)
{
    TmemClientConfig config = {
        .name = "another", .limits.min_bytes = FIXTURE_SIZE * 7 / 8,
    };
    GError *err = NULL;
    TmemClient *another;
    Fixture f;

    set_up(&f, FIXTURE_SIZE, 0);
    g_assert_cmpuint(tmem_client_grant_credit(f.ctx), ==, CREDIT);
    another = tmem_client_new(f.store, &config, &err);
    g_assert_no_error(err);
    g_assert_cmpint(fill_up(&f, 1), ==, TMEM_STATUS_NOSPC);
    g_assert_cmpuint(use_up(&f, 100), ==, CREDIT);
    tmem_client_free(another);
    fixture_tear_down(&f);
}

/* Above a lowered limit the places are no longer for the taking. */
static void test_over_limit(void)
{
    TmemLimits limits = { .max_bytes = FIXTURE_SIZE / 2 };
    Fixture f;

    set_up(&f, FIXTURE_SIZE, 0);
    g_assert_cmpuint(tmem_client_grant_credit(f.ctx), ==, CREDIT);
    fill_up(&f, 1);
    g_assert_true(tmem_client_set_limits(f.client, &limits, NULL));
    /* In the place of the older copy: the reserved ones are left. */
    for (unsigned i = 0; i < CREDIT; i++) {
        g_assert_cmpint(store_with_credit(&f, test_handle(f.persistent, 1, 7),
                                          TEST_PAGE_NOISE, i), ==,
                        TMEM_STATUS_OK);
    }
    g_assert_cmpuint(stats_of(f.client).credit_places_used, ==, 0);
    g_assert_cmpuint(stats_of(f.client).credit_bytes, >, 0);
    g_assert_cmpuint(tmem_client_grant_credit(f.ctx), ==, 0);
    g_assert_cmpuint(stats_of(f.client).credit_bytes, ==, 0);
    limits.max_bytes = 0;
    g_assert_true(tmem_client_set_limits(f.client, &limits, NULL));
    fixture_tear_down(&f);
}

/* What is there already is replaced, and never by nothing. */
static void test_replace(void)
{
    TmemHandle h;
    Fixture f;

    set_up(&f, FIXTURE_SIZE, 0);
    g_assert_cmpuint(tmem_client_grant_credit(f.ctx), ==, CREDIT);
    h = test_handle(f.persistent, 5, 5);
    g_assert_cmpint(test_store(f.ctx, h, TEST_PAGE_TEXT, 1), ==,
                    TMEM_STATUS_OK);
    fill_up(&f, 1);
    for (int sort = 0; sort < TEST_PAGE__MAX; sort++) {
        g_assert_cmpint(store_with_credit(&f, h, sort, 2), ==, TMEM_STATUS_OK);
        test_expect_page(f.ctx, h, sort, 2);
        test_check(f.store);
    }
    fixture_tear_down(&f);
}

/* --- Misuse --- */

static void test_misuse(void)
{
    TmemHandle h;
    Fixture f;

    set_up(&f, FIXTURE_SIZE, 0);
    h = test_handle(f.persistent, 1, 1);
    /* None was granted yet; and B1. */
    g_assert_cmpint(test_store(f.ctx, h, TEST_PAGE_TEXT, 1), ==,
                    TMEM_STATUS_OK);
    g_assert_cmpint(store_with_credit(&f, h, TEST_PAGE_TEXT, 1), ==,
                    TMEM_STATUS_INVAL);
    test_expect_status(f.ctx, h, TMEM_STATUS_MISS);

    /* Each uses one, whatever its answer. */
    tmem_client_grant_credit(f.ctx);
    h.pool = f.ephemeral;
    g_assert_cmpint(store_with_credit(&f, h, TEST_PAGE_TEXT, 1), ==,
                    TMEM_STATUS_INVAL);
    g_assert_cmpuint(credit_of(f.client), ==, CREDIT - 1);
    h.pool = f.persistent ^ 1ull << 40;
    g_assert_cmpint(store_with_credit(&f, h, TEST_PAGE_TEXT, 1), ==,
                    TMEM_STATUS_NOPOOL);
    g_assert_cmpuint(credit_of(f.client), ==, CREDIT - 2);
    test_check(f.store);
    fixture_tear_down(&f);
}

static void test_too_much(void)
{
    TmemStoreConfig store_config = { .size_bytes = FIXTURE_SIZE };
    TmemClientConfig config = {
        .name = "greedy", .credit = TMEM_CLIENT_CREDIT_MAX + 1,
    };
    TmemStore *store = tmem_store_new(&store_config, NULL);
    GError *err = NULL;

    g_assert_null(tmem_client_new(store, &config, &err));
    g_assert_nonnull(err);
    g_error_free(err);
    tmem_store_free(store);
}

/* --- Reset --- */

static void test_reset(void)
{
    TmemClientStats stats;
    Fixture f;

    set_up(&f, FIXTURE_SIZE, 0);
    g_assert_cmpuint(tmem_client_grant_credit(f.ctx), ==, CREDIT);
    tmem_client_reset(f.client);
    stats = stats_of(f.client);
    g_assert_cmpuint(stats.credit, ==, 0);
    g_assert_cmpuint(stats.bytes, ==, 0);
    g_assert_cmpint(tmem_pool_create(f.client, TMEM_POOL_PERSISTENT,
                                     TMEM_PAGE_SHIFT, &f.persistent), ==, 0);
    g_assert_cmpint(store_with_credit(&f, test_handle(f.persistent, 1, 1),
                                      TEST_PAGE_TEXT, 1), ==,
                    TMEM_STATUS_INVAL);
    g_assert_cmpuint(tmem_client_grant_credit(f.ctx), ==, CREDIT);
    fixture_tear_down(&f);
}

/* --- Threads --- */

#define THREADS     4
#define ROUNDS      400

typedef struct Worker {
    Fixture *f;
    unsigned nr;
    uint64_t used;
    uint64_t granted;
    bool *stop;
} Worker;

/* Stores as long as there is credit; the pages are found again. */
static gpointer work(gpointer opaque)
{
    Worker *w = opaque;
    TmemContext *ctx = tmem_context_new(w->f->client, NULL);
    uint8_t *page = tmem_context_bounce(ctx);

    for (unsigned i = 0; i < ROUNDS; i++) {
        TmemHandle h = test_handle(w->f->persistent, w->nr, i % 50);
        TmemStatus status;

        if (i % 8 == 0) {
            w->granted += tmem_client_grant_credit(ctx);
        }
        test_page_make(page, i % TEST_PAGE__MAX, i);
        status = tmem_page_store_with_credit(ctx, &h, page);
        if (status == TMEM_STATUS_OK) {
            w->used++;
            test_expect_page(ctx, h, i % TEST_PAGE__MAX, i);
        } else {
            g_assert_cmpint(status, ==, TMEM_STATUS_INVAL);
        }
        if (i % 5 == 0) {
            tmem_page_invalidate(ctx, &h);
        }
    }
    tmem_context_free(ctx);
    return NULL;
}

static gpointer meddle(gpointer opaque)
{
    Worker *w = opaque;

    while (!__atomic_load_n(w->stop, __ATOMIC_RELAXED)) {
        TmemLimits limits = { .max_bytes = 1 << 20 };

        tmem_client_freeze(w->f->client, true);
        tmem_client_set_limits(w->f->client, &limits, NULL);
        test_check(w->f->store);
        tmem_client_freeze(w->f->client, false);
        limits.max_bytes = 0;
        tmem_client_set_limits(w->f->client, &limits, NULL);
        test_check(w->f->store);
    }
    return NULL;
}

static void test_threads(void)
{
    GThread *threads[THREADS], *meddler;
    Worker workers[THREADS];
    uint64_t used = 0, granted;
    TmemClientStats stats;
    bool stop = false;
    Fixture f;

    set_up(&f, 2 << 20, 0);
    /* On a busy machine the client may be frozen until the last round. */
    granted = tmem_client_grant_credit(f.ctx);
    g_assert_cmpuint(granted, >, 0);
    for (unsigned i = 0; i < THREADS; i++) {
        workers[i] = (Worker) { .f = &f, .nr = i, .stop = &stop };
        threads[i] = g_thread_new("worker", work, &workers[i]);
    }
    meddler = g_thread_new("meddler", meddle, &workers[0]);
    for (unsigned i = 0; i < THREADS; i++) {
        g_thread_join(threads[i]);
        used += workers[i].used;
        granted += workers[i].granted;
    }
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    g_thread_join(meddler);
    stats = stats_of(f.client);
    g_assert_cmpuint(stats.credit_used, ==, used);
    g_assert_cmpuint(stats.credit_granted, ==, granted);
    g_assert_cmpuint(stats.credit, ==, granted - used);
    g_assert_cmpuint(used, >, 0);
    fixture_tear_down(&f);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/tmem/credit/DEV-25/grant", test_grant);
    g_test_add_func("/tmem/credit/no-pool", test_no_pool_no_credit);
    g_test_add_func("/tmem/credit/small-clients", test_small_clients);
    g_test_add_func("/tmem/credit/grant-evicts", test_grant_evicts);
    for (unsigned i = 0; i < G_N_ELEMENTS(reasons); i++) {
        g_autofree char *path = g_strdup_printf(
            "/tmem/credit/DEV-26/never-refused/%s", reasons[i].path);

        g_test_add_data_func(path, &reasons[i], test_never_refused);
    }
    g_test_add_func("/tmem/credit/DEV-26/another-minimum",
                    test_another_minimum);
    g_test_add_func("/tmem/credit/DEV-31/over-limit", test_over_limit);
    g_test_add_func("/tmem/credit/DEV-26/replace", test_replace);
    g_test_add_func("/tmem/credit/DEV-26/misuse", test_misuse);
    g_test_add_func("/tmem/credit/too-much", test_too_much);
    g_test_add_func("/tmem/credit/reset", test_reset);
    g_test_add_func("/tmem/credit/threads", test_threads);
    return g_test_run();
}
