/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * When idle pages are compressed again, and who waits for that
 *
 * The tests do the steps themselves, with a clock of their own.
 */
#include "testlib.h"
#include "tmem-store.h"

#define SECOND      1000000000ull
#define STORE_SIZE  (64u << 20)

/* Letters of an alphabet of 16: nothing for LZ4, half of it for zstd. */
static void store_some(Fixture *f, uint64_t nr)
{
    for (uint64_t n = 0; n < nr; n++) {
        TmemHandle h = test_handle(f->persistent, n / 64, n);
        uint8_t *page = tmem_context_bounce(f->ctx);
        TestRand r = { n };

        for (unsigned i = 0; i < TMEM_PAGE_SIZE; i++) {
            page[i] = "etaoinshrdlucmfw"[test_rand_below(&r, 16)];
        }
        g_assert_cmpint(tmem_page_store(f->ctx, &h, page), ==, 0);
    }
}

static void set_upkeep(TmemStore *store, uint32_t idle_seconds, bool compact)
{
    TmemPolicy policy;
    GError *err = NULL;

    tmem_store_get_policy(store, &policy);
    policy.upkeep.recompress_idle_seconds = idle_seconds;
    policy.upkeep.compact = compact;
    tmem_store_set_policy(store, &policy, &err);
    g_assert_no_error(err);
}

static void run(TmemStore *store, uint64_t second)
{
    while (tmem_upkeep_step(store, second * SECOND, SECOND)) {
        /* More of it. */
    }
}

static TmemPoolStats total(Fixture *f)
{
    TmemClientStats stats;

    tmem_client_get_stats(f->client, &stats);
    return stats.total;
}

/* --- Idle times --- */

/* A shorter idle time holds from now on, not after the old one has passed. */
static void test_idle_shorter(void)
{
    const uint64_t nr = 200;
    Fixture f;

    fixture_set_up(&f, STORE_SIZE, 0);
    set_upkeep(f.store, 86400, false);
    store_some(&f, nr);
    run(f.store, 1000);
    set_upkeep(f.store, 10, false);
    for (uint64_t t = 1001; t <= 1020; t++) {
        run(f.store, t);
        if (t < 1010) {
            g_assert_cmpuint(total(&f).recompressed, ==, 0);
        }
    }
    g_assert_cmpuint(total(&f).recompressed, ==, nr);
    fixture_tear_down(&f);
}

/* Ages that short passes gave are not those that a longer idle time asks. */
static void test_idle_longer(void)
{
    const uint64_t nr = 200;
    Fixture f;

    fixture_set_up(&f, STORE_SIZE, 0);
    set_upkeep(f.store, 10, false);
    store_some(&f, nr);
    run(f.store, 1000);
    run(f.store, 1005);
    set_upkeep(f.store, 3600, false);
    for (uint64_t t = 1006; t < 1000 + 3600; t += 10) {
        run(f.store, t);
        g_assert_cmpuint(total(&f).recompressed, ==, 0);
    }
    for (uint64_t t = 1000 + 3600; t < 1100 + 3600; t += 10) {
        run(f.store, t);
    }
    g_assert_cmpuint(total(&f).recompressed, ==, nr);
    fixture_tear_down(&f);
}

/* A pass that is broken off makes pages older only once. */
static void test_idle_toggled(void)
{
    const uint64_t nr = 4000;
    Fixture f;

    fixture_set_up(&f, STORE_SIZE, 0);
    store_some(&f, nr);
    for (int i = 0; i < 6; i++) {
        set_upkeep(f.store, 3600, false);
        /* Half of a pass, if one begins. */
        while (tmem_upkeep_step(f.store, (1000 + i) * SECOND, 0) &&
               f.store->upkeep.aging.shard < f.store->index.nr_shards / 2) {
            g_assert_cmpuint(total(&f).recompressed, ==, 0);
        }
        set_upkeep(f.store, 0, false);
        g_assert_false(tmem_upkeep_step(f.store, (1000 + i) * SECOND, 0));
    }
    set_upkeep(f.store, 3600, false);
    for (uint64_t t = 1010; t < 1000 + 3600; t += 10) {
        run(f.store, t);
        g_assert_cmpuint(total(&f).recompressed, ==, 0);
    }
    for (uint64_t t = 1000 + 3600; t < 1000 + 2 * 3600; t += 60) {
        run(f.store, t);
    }
    g_assert_cmpuint(total(&f).recompressed, ==, nr);
    fixture_tear_down(&f);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/tmem/recompress/idle/shorter", test_idle_shorter);
    g_test_add_func("/tmem/recompress/idle/longer", test_idle_longer);
    g_test_add_func("/tmem/recompress/idle/toggled", test_idle_toggled);
    return g_test_run();
}
