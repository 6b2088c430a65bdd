/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Distributions: buckets, percentiles, the clock
 */
#include "tmem-hist.h"
#include "testlib.h"

static void test_buckets(void)
{
    /* Each bucket begins where the one before it ends. */
    for (unsigned i = 0; i + 1 < TMEM_LATENCY_BUCKETS; i++) {
        uint64_t low = tmem_latency_bucket_ns(i);
        uint64_t next = tmem_latency_bucket_ns(i + 1);

        g_assert_cmpuint(low, <, next);
        g_assert_cmpuint(tmem_latency_bucket(low), ==, i);
        g_assert_cmpuint(tmem_latency_bucket(next - 1), ==, i);
        /* A value is known to a quarter. */
        g_assert_cmpuint((next - low - 1) * 4, <=, low);
    }
    g_assert_cmpuint(tmem_latency_bucket(UINT64_MAX), ==,
                     TMEM_LATENCY_BUCKETS - 1);
    g_assert_cmpuint(tmem_size_bucket(1), ==, 0);
    g_assert_cmpuint(tmem_size_bucket(256), ==, 0);
    g_assert_cmpuint(tmem_size_bucket(257), ==, 1);
    g_assert_cmpuint(tmem_size_bucket(TMEM_PAGE_SIZE), ==,
                     TMEM_SIZE_BUCKETS - 1);
}

/* Within the quarter that a bucket is wide. */
static void expect_about(uint64_t value, uint64_t wanted)
{
    g_assert_cmpuint(value * 4, >=, wanted * 3);
    g_assert_cmpuint(value * 4, <=, wanted * 5);
}

static void test_percentiles(void)
{
    TmemHistogram h = {};

    g_assert_cmpuint(tmem_histogram_percentile(&h, 50), ==, 0);
    for (unsigned ns = 1; ns <= 10000; ns++) {
        h.count[tmem_latency_bucket(ns)]++;
    }
    g_assert_cmpuint(tmem_histogram_total(&h), ==, 10000);
    expect_about(tmem_histogram_percentile(&h, 10), 1000);
    expect_about(tmem_histogram_percentile(&h, 50), 5000);
    expect_about(tmem_histogram_percentile(&h, 99), 9900);
    expect_about(tmem_histogram_percentile(&h, 100), 10000);
    /* One slow operation in a hundred thousand shows at the end only. */
    h.count[tmem_latency_bucket(1000000)]++;
    expect_about(tmem_histogram_percentile(&h, 99), 9900);
    expect_about(tmem_histogram_percentile(&h, 100), 1000000);
}

/* What several threads have timed is added up, each bucket of it. */
static void test_sum(void)
{
    TmemHistogram one = {}, sum = {};

    for (unsigned i = 0; i < TMEM_LATENCY_BUCKETS; i++) {
        one.count[i] = i + 1;
    }
    tmem_histogram_add(&sum, &one);
    tmem_histogram_add(&sum, &one);
    for (unsigned i = 0; i < TMEM_LATENCY_BUCKETS; i++) {
        g_assert_cmpuint(sum.count[i], ==, 2 * (i + 1));
    }
}

static void test_clock(void)
{
    uint64_t ticks, end, outer, inner, measured;

    tmem_clock_init();
    /* Others may run between two readings: as much as that they may differ. */
    outer = tmem_clock_monotonic();
    ticks = tmem_clock_ticks();
    inner = tmem_clock_monotonic();
    g_usleep(20000);
    inner = tmem_clock_monotonic() - inner;
    end = tmem_clock_ticks();
    outer = tmem_clock_monotonic() - outer;
    measured = tmem_clock_ns(ticks, end);
    g_assert_cmpuint(measured, >, inner * 9 / 10);
    g_assert_cmpuint(measured, <, outer * 11 / 10);
    g_assert_cmpuint(tmem_clock_ns(5, 4), ==, 0);
    g_test_message("a reading takes %u ns, one of %u operations is timed, "
                   "the clock is %s", tmem_clock.read_ns,
                   tmem_clock.sample_mask + 1,
                   tmem_clock.counter ? "the CPU's counter" : "the kernel's");
}

static void test_sample(void)
{
    g_assert_cmpuint(tmem_clock_sample(0), ==, 1);
    g_assert_cmpuint(tmem_clock_sample(2), ==, 1);
    g_assert_cmpuint(tmem_clock_sample(8), ==, 4);
    /* A clock that a hypervisor traps. */
    g_assert_cmpuint(tmem_clock_sample(1500), ==, 512);
    g_assert_cmpuint(tmem_clock_sample(UINT32_MAX / 2), ==, 1024);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/hist/buckets", test_buckets);
    g_test_add_func("/hist/percentiles", test_percentiles);
    g_test_add_func("/hist/sum", test_sum);
    g_test_add_func("/hist/clock", test_clock);
    g_test_add_func("/hist/sample", test_sample);
    return g_test_run();
}
