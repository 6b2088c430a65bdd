/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Admission and freezing: who is refused, what for, and what stays
 */
#include "testlib.h"
#include "tmem-clock.h"
#include "tmem-os.h"

static void set_admission(Fixture *f, TmemAdmission admission)
{
    TmemPolicy policy;
    GError *err = NULL;

    tmem_store_get_policy(f->store, &policy);
    policy.admission = admission;
    tmem_store_set_policy(f->store, &policy, &err);
    g_assert_no_error(err);
}

/* B1: the refused store drops the older page. */
static void expect_refusal(Fixture *f, TmemHandle h, TestPage sort,
                           TmemStatus status)
{
    g_assert_cmpint(test_store(f->ctx, h, TEST_PAGE_ZERO, 1), ==,
                    status == TMEM_STATUS_FROZEN ? status : TMEM_STATUS_OK);
    g_assert_cmpint(test_store(f->ctx, h, sort, 1), ==, status);
    test_expect_status(f->ctx, h, TMEM_STATUS_MISS);
}

/* --- Sizes --- */

static void test_incompressible(void)
{
    Fixture f;
    TmemHandle h;

    fixture_set_up(&f, FIXTURE_SIZE, 0);
    h = test_handle(f.persistent, 1, 1);
    /* By default they are kept as they are. */
    g_assert_cmpint(test_store(f.ctx, h, TEST_PAGE_NOISE, 1), ==,
                    TMEM_STATUS_OK);
    g_assert_cmpuint(test_stats(f.client).total.pages_raw, ==, 1);

    set_admission(&f, (TmemAdmission) {
        .max_stored_bytes = 3584, .refuse_incompressible = true,
    });
    test_expect_page(f.ctx, h, TEST_PAGE_NOISE, 1);
    expect_refusal(&f, h, TEST_PAGE_NOISE, TMEM_STATUS_REFUSED);
    g_assert_cmpuint(test_stats(f.client).total.stores_too_large, ==, 1);
    g_assert_cmpint(test_store(f.ctx, h, TEST_PAGE_MIXED, 1), ==,
                    TMEM_STATUS_OK);
    g_assert_cmpint(test_store(f.ctx, h, TEST_PAGE_FILL64, 1), ==,
                    TMEM_STATUS_OK);
    fixture_tear_down(&f);
}

/* zv_max_zsize: what is larger once compressed counts as incompressible. */
static void test_max_stored(void)
{
    TmemHandle h;
    Fixture f;

    fixture_set_up(&f, FIXTURE_SIZE, 0);
    h = test_handle(f.persistent, 1, 1);
    set_admission(&f, (TmemAdmission) { .max_stored_bytes = 3000 });
    g_assert_cmpint(test_store(f.ctx, h, TEST_PAGE_MIXED, 1), ==,
                    TMEM_STATUS_OK);
    g_assert_cmpuint(test_stats(f.client).total.pages_compressed, ==, 1);

    set_admission(&f, (TmemAdmission) { .max_stored_bytes = 1000 });
    g_assert_cmpint(test_store(f.ctx, h, TEST_PAGE_MIXED, 1), ==,
                    TMEM_STATUS_OK);
    g_assert_cmpuint(test_stats(f.client).total.pages_raw, ==, 1);
    g_assert_cmpuint(test_stats(f.client).total.pages_compressed, ==, 0);

    set_admission(&f, (TmemAdmission) {
        .max_stored_bytes = 1000, .refuse_incompressible = true,
    });
    expect_refusal(&f, h, TEST_PAGE_MIXED, TMEM_STATUS_REFUSED);
    g_assert_cmpint(test_store(f.ctx, h, TEST_PAGE_TEXT, 1), ==,
                    TMEM_STATUS_OK);
    fixture_tear_down(&f);
}

/* zv_max_mean_zsize: large pages wait until the mean is below the limit. */
static void test_mean(void)
{
    TmemContext *other;
    Fixture f;

    fixture_set_up(&f, FIXTURE_SIZE, 0);
    other = tmem_context_new(f.client, NULL);
    g_assert_nonnull(other);
    set_admission(&f, (TmemAdmission) {
        .max_stored_bytes = 3584, .max_mean_bytes = 2560,
    });
    /* The first has no mean above it; the second has that of the first. */
    g_assert_cmpint(test_store(f.ctx, test_handle(f.persistent, 1, 0),
                               TEST_PAGE_NOISE, 0), ==, TMEM_STATUS_OK);
    expect_refusal(&f, test_handle(f.persistent, 1, 1), TEST_PAGE_NOISE,
                   TMEM_STATUS_REFUSED);
    g_assert_cmpuint(test_stats(f.client).total.stores_mean, ==, 1);
    /* A small page is welcome, on whatever queue, and so is a same-filled. */
    g_assert_cmpint(test_store(other, test_handle(f.persistent, 1, 2),
                               TEST_PAGE_TEXT, 2), ==, TMEM_STATUS_OK);
    g_assert_cmpint(test_store(other, test_handle(f.persistent, 1, 3),
                               TEST_PAGE_ZERO, 0), ==, TMEM_STATUS_OK);
    /* Now the mean is about 2300. */
    g_assert_cmpint(test_store(f.ctx, test_handle(f.persistent, 1, 4),
                               TEST_PAGE_NOISE, 4), ==, TMEM_STATUS_OK);
    expect_refusal(&f, test_handle(f.persistent, 1, 5), TEST_PAGE_NOISE,
                   TMEM_STATUS_REFUSED);
    /* What a context held counts when it is gone. */
    tmem_context_free(other);
    for (int i = 6; i < 9; i++) {
        g_assert_cmpint(test_store(f.ctx, test_handle(f.persistent, 1, i),
                                   TEST_PAGE_TEXT, i), ==, TMEM_STATUS_OK);
    }
    g_assert_cmpint(test_store(f.ctx, test_handle(f.persistent, 1, 9),
                               TEST_PAGE_NOISE, 9), ==, TMEM_STATUS_OK);
    fixture_tear_down(&f);
}

/* The mean is of all that the client holds, whoever stored it. */
static void test_mean_of_gone(void)
{
    TmemContext *gone;
    Fixture f;

    fixture_set_up(&f, FIXTURE_SIZE, 0);
    set_admission(&f, (TmemAdmission) {
        .max_stored_bytes = 3584, .max_mean_bytes = 2560,
    });
    gone = tmem_context_new(f.client, NULL);
    g_assert_cmpint(test_store(gone, test_handle(f.persistent, 1, 0),
                               TEST_PAGE_NOISE, 0), ==, TMEM_STATUS_OK);
    tmem_context_free(gone);
    expect_refusal(&f, test_handle(f.persistent, 1, 1), TEST_PAGE_NOISE,
                   TMEM_STATUS_REFUSED);
    fixture_tear_down(&f);
}

/* zv_page_count_policy_percent: the store is full before its size. */
static void test_host_share(void)
{
    const uint64_t host = 10 * FIXTURE_SIZE;
    TmemStoreStats stats;
    uint64_t nr = 0;
    Fixture f;

    tmem_os_pretend_host_bytes(host);
    fixture_set_up(&f, FIXTURE_SIZE, 0);
    set_admission(&f, (TmemAdmission) {
        .max_stored_bytes = 3584, .max_host_percent = 5,
    });
    while (test_store(f.ctx, test_handle(f.persistent, 1, nr),
                      TEST_PAGE_NOISE, nr) == TMEM_STATUS_OK) {
        nr++;
    }
    g_assert_cmpint(test_store(f.ctx, test_handle(f.persistent, 1, nr),
                               TEST_PAGE_NOISE, nr), ==, TMEM_STATUS_NOSPC);
    g_assert_cmpuint(test_stats(f.client).total.stores_host_share, ==, 2);
    g_assert_cmpuint(test_stats(f.client).total.stores_nospc, ==, 0);
    tmem_store_get_stats(f.store, &stats);
    g_assert_cmpuint(stats.used_bytes, <=, host / 20);
    g_assert_cmpuint(stats.used_bytes, >, host / 20 * 8 / 10);

    /* Less than is used already: all stays, and nothing comes. */
    set_admission(&f, (TmemAdmission) {
        .max_stored_bytes = 3584, .max_host_percent = 1,
    });
    for (uint64_t i = 0; i < nr; i++) {
        test_expect_page(f.ctx, test_handle(f.persistent, 1, i),
                         TEST_PAGE_NOISE, i);
    }
    /* No such limit: there is room again. */
    set_admission(&f, (TmemAdmission) { .max_stored_bytes = 3584 });
    g_assert_cmpint(test_store(f.ctx, test_handle(f.persistent, 1, nr),
                               TEST_PAGE_NOISE, nr), ==, TMEM_STATUS_OK);
    tmem_os_pretend_host_bytes(0);
    fixture_tear_down(&f);
}

/* At the host's limit ephemeral pages make room, as in a full store. */
static void test_host_share_evicts(void)
{
    Fixture f;

    tmem_os_pretend_host_bytes(10 * FIXTURE_SIZE);
    fixture_set_up(&f, FIXTURE_SIZE, 0);
    set_admission(&f, (TmemAdmission) {
        .max_stored_bytes = 3584, .max_host_percent = 5,
    });
    for (uint64_t i = 0; i < 4096; i++) {
        g_assert_cmpint(test_store(f.ctx, test_handle(f.ephemeral, 1, i),
                                   TEST_PAGE_NOISE, i), ==, TMEM_STATUS_OK);
    }
    g_assert_cmpuint(test_stats(f.client).total.evicted, >, 0);
    tmem_os_pretend_host_bytes(0);
    fixture_tear_down(&f);
}

/* --- Freezing --- */

static void test_freeze_client(void)
{
    TmemHandle h, kept;
    Fixture f;

    fixture_set_up(&f, FIXTURE_SIZE, 0);
    h = test_handle(f.persistent, 1, 1);
    kept = test_handle(f.persistent, 1, 2);
    g_assert_cmpint(test_store(f.ctx, h, TEST_PAGE_TEXT, 1), ==, 0);
    g_assert_cmpint(test_store(f.ctx, kept, TEST_PAGE_TEXT, 2), ==, 0);
    g_assert_false(tmem_client_frozen(f.client));
    tmem_client_freeze(f.client, true);
    g_assert_true(tmem_client_frozen(f.client));

    expect_refusal(&f, h, TEST_PAGE_TEXT, TMEM_STATUS_FROZEN);
    g_assert_cmpuint(test_stats(f.client).total.stores_frozen, ==, 2);
    /* Loads and invalidates go on. */
    test_expect_page(f.ctx, kept, TEST_PAGE_TEXT, 2);
    g_assert_cmpint(tmem_page_invalidate(f.ctx, &kept), ==, TMEM_STATUS_OK);
    test_expect_status(f.ctx, kept, TMEM_STATUS_MISS);

    tmem_client_freeze(f.client, false);
    g_assert_cmpint(test_store(f.ctx, h, TEST_PAGE_TEXT, 3), ==, 0);
    test_expect_page(f.ctx, h, TEST_PAGE_TEXT, 3);
    fixture_tear_down(&f);
}

/* Beside and independent of each other. */
static void test_freeze_store(void)
{
    TmemHandle h;
    Fixture f;

    fixture_set_up(&f, FIXTURE_SIZE, 0);
    h = test_handle(f.ephemeral, 1, 1);
    g_assert_false(tmem_store_frozen(f.store));
    tmem_store_freeze(f.store, true);
    g_assert_true(tmem_store_frozen(f.store));
    g_assert_false(tmem_client_frozen(f.client));
    expect_refusal(&f, h, TEST_PAGE_TEXT, TMEM_STATUS_FROZEN);
    tmem_client_freeze(f.client, true);
    tmem_store_freeze(f.store, false);
    g_assert_false(tmem_store_frozen(f.store));
    g_assert_true(tmem_client_frozen(f.client));
    expect_refusal(&f, h, TEST_PAGE_TEXT, TMEM_STATUS_FROZEN);
    tmem_client_freeze(f.client, false);
    g_assert_cmpint(test_store(f.ctx, h, TEST_PAGE_TEXT, 1), ==, 0);
    fixture_tear_down(&f);
}

/* --- What is counted --- */

static void test_sizes(void)
{
    TmemContext *other;
    TmemSizeStats sizes;
    Fixture f;

    fixture_set_up(&f, FIXTURE_SIZE, 0);
    other = tmem_context_new(f.client, NULL);
    g_assert_nonnull(other);
    for (int i = 0; i < 10; i++) {
        g_assert_cmpint(test_store(i & 1 ? f.ctx : other,
                                   test_handle(f.persistent, 1, i),
                                   TEST_PAGE_NOISE, i), ==, 0);
    }
    g_assert_cmpint(test_store(f.ctx, test_handle(f.persistent, 2, 0),
                               TEST_PAGE_MIXED, 1), ==, 0);
    g_assert_cmpint(test_store(f.ctx, test_handle(f.persistent, 2, 1),
                               TEST_PAGE_FILL64, 1), ==, 0);
    tmem_client_get_sizes(f.client, &sizes);
    g_assert_cmpuint(sizes.held[15], ==, 10);
    g_assert_cmpuint(sizes.held[8], ==, 1);
    g_assert_cmpuint(sizes.held[0], ==, 0);
    /* Replaced by what is smaller, and dropped by another context. */
    g_assert_cmpint(test_store(other, test_handle(f.persistent, 1, 1),
                               TEST_PAGE_TEXT, 1), ==, 0);
    g_assert_cmpint(tmem_page_invalidate(other,
                                         &(TmemHandle) {
                                             .pool = f.persistent,
                                             .object = { 1, 2, 3 },
                                             .index = 3 }), ==, 0);
    tmem_context_free(other);
    tmem_client_get_sizes(f.client, &sizes);
    g_assert_cmpuint(sizes.held[15], ==, 8);
    g_assert_cmpuint(sizes.held[15] + sizes.held[8], ==, 9);
    g_assert_cmpuint(sizes.stored[15], ==, 10);
    test_check(f.store);
    tmem_client_reset(f.client);
    tmem_client_get_sizes(f.client, &sizes);
    for (int i = 0; i < TMEM_SIZE_BUCKETS; i++) {
        g_assert_cmpuint(sizes.held[i], ==, 0);
    }
    g_assert_cmpuint(sizes.stored[15], ==, 10);
    fixture_tear_down(&f);
}

/* Each is timed under its kind. */
static void test_latency(void)
{
    const uint32_t mask = tmem_clock.sample_mask;
    const int nr = 2048;
    TmemLatencyStats latency;
    Fixture f;

    fixture_set_up(&f, FIXTURE_SIZE, 0);
    tmem_clock.sample_mask = 0;
    for (int i = 0; i < nr; i++) {
        g_assert_cmpint(test_store(f.ctx, test_handle(f.persistent, 1, i),
                                   i % 2 ? TEST_PAGE_TEXT : TEST_PAGE_ZERO,
                                   i), ==, 0);
    }
    for (int i = 0; i < nr; i++) {
        test_expect_status(f.ctx, test_handle(f.persistent, 2, i),
                           TMEM_STATUS_MISS);
    }
    tmem_client_get_latency(f.client, &latency);
    g_assert_cmpuint(tmem_histogram_total(&latency.store_lz4), ==, nr / 2);
    g_assert_cmpuint(tmem_histogram_total(&latency.store_same_filled), ==,
                     nr / 2);
    g_assert_cmpuint(tmem_histogram_total(&latency.load_miss), ==, nr);
    g_assert_cmpuint(tmem_histogram_total(&latency.store_raw), ==, 0);
    g_assert_cmpuint(tmem_histogram_total(&latency.load_lz4), ==, 0);
    /* To compress takes longer than to see that all words are the same. */
    g_assert_cmpuint(tmem_histogram_percentile(&latency.store_lz4, 50), >,
                     tmem_histogram_percentile(&latency.store_same_filled,
                                               50));
    tmem_clock.sample_mask = mask;
    fixture_tear_down(&f);
}

/* Where the clock is expensive a sample is timed, of whatever comes in turn. */
static void test_latency_sample(void)
{
    const uint32_t mask = tmem_clock.sample_mask;
    const int nr = 8192;
    TmemLatencyStats latency;
    Fixture f;

    fixture_set_up(&f, FIXTURE_SIZE, 0);
    tmem_clock.sample_mask = 7;
    for (int i = 0; i < nr; i++) {
        g_assert_cmpint(test_store(f.ctx, test_handle(f.persistent, 1, i),
                                   TEST_PAGE_ZERO, 0), ==, 0);
        test_expect_status(f.ctx, test_handle(f.persistent, 2, i),
                           TMEM_STATUS_MISS);
    }
    tmem_client_get_latency(f.client, &latency);
    g_assert_cmpuint(tmem_histogram_total(&latency.store_same_filled), >,
                     nr / 16);
    g_assert_cmpuint(tmem_histogram_total(&latency.store_same_filled), <,
                     nr / 4);
    g_assert_cmpuint(tmem_histogram_total(&latency.load_miss), >, nr / 16);
    g_assert_cmpuint(tmem_histogram_total(&latency.load_miss), <, nr / 4);
    tmem_clock.sample_mask = mask;
    fixture_tear_down(&f);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/tmem/admit/B1/incompressible", test_incompressible);
    g_test_add_func("/tmem/admit/B1/max-stored", test_max_stored);
    g_test_add_func("/tmem/admit/B1/mean", test_mean);
    g_test_add_func("/tmem/admit/B1/mean-of-gone", test_mean_of_gone);
    g_test_add_func("/tmem/admit/host-share", test_host_share);
    g_test_add_func("/tmem/admit/host-share/evicts", test_host_share_evicts);
    g_test_add_func("/tmem/freeze/B1/client", test_freeze_client);
    g_test_add_func("/tmem/freeze/B1/store", test_freeze_store);
    g_test_add_func("/tmem/sizes", test_sizes);
    g_test_add_func("/tmem/latency", test_latency);
    g_test_add_func("/tmem/latency/sample", test_latency_sample);
    return g_test_run();
}
