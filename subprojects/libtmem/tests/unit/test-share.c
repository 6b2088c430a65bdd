/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Minimum, maximum and weight: who gets how much of a store, and who gives way
 */
#include "testlib.h"
#include "tmem-store.h"

#define STORE_SIZE  (16u << 20)
#define MIB         (1u << 20)

/* --- Guests --- */

typedef struct Guest {
    Fixture f;
    uint64_t oldest;        /* persistent pages from here ... */
    uint64_t next;          /* ... to here are held */
} Guest;

static void guest_set_up(Guest *g, TmemStore *store, const char *name,
                         TmemLimits limits)
{
    TmemClientConfig config = { .name = name, .limits = limits };

    *g = (Guest) {};
    fixture_join(&g->f, store, &config);
    fixture_create_pools(&g->f);
}

static void guest_tear_down(Guest *g)
{
    test_check_laws(g->f.client);
    fixture_leave(&g->f);
}

static uint64_t bytes_of(const Guest *g)
{
    return test_stats(g->f.client).bytes;
}

static uint64_t evicted_of(const Guest *g)
{
    return test_stats(g->f.client).total.evicted;
}

/* Several sizes, so that several classes are in use. */
static TestPage sort_of(uint64_t n)
{
    return n % 3 ? TEST_PAGE_MIXED : n % 2 ? TEST_PAGE_NOISE : TEST_PAGE_TEXT;
}

static TmemStatus push(Guest *g)
{
    TmemHandle h = test_handle(g->f.persistent, g->next / 256, g->next);
    TmemStatus status = test_store(g->f.ctx, h, sort_of(g->next), g->next);

    g->next++;
    return status;
}

static void drop_oldest(Guest *g)
{
    TmemHandle h = test_handle(g->f.persistent, g->oldest / 256, g->oldest);

    if (g->oldest < g->next) {
        g_assert_cmpint(tmem_page_invalidate(g->f.ctx, &h), ==, 0);
        g->oldest++;
    }
}

/* Returns how many pages were kept. */
static uint64_t push_until_refused(Guest *g, TmemStatus *status)
{
    uint64_t before = g->next;

    do {
        *status = push(g);
    } while (*status == TMEM_STATUS_OK);
    return g->next - before - 1;
}

static void cache(Guest *g, uint64_t nr)
{
    for (uint64_t i = 0; i < nr; i++, g->next++) {
        TmemHandle h = test_handle(g->f.ephemeral, g->next / 256, g->next);

        g_assert_cmpint(test_store(g->f.ctx, h, sort_of(g->next), g->next), ==,
                        TMEM_STATUS_OK);
    }
}

/* --- Words of refusal --- */

static void expect_sentence(GError **err, const char *pattern)
{
    g_assert_nonnull(*err);
    if (!g_pattern_match_simple(pattern, (*err)->message)) {
        g_error("'%s' is not '%s'", (*err)->message, pattern);
    }
    g_clear_error(err);
}

static void expect_limits(const Guest *g, TmemLimits want)
{
    TmemLimits limits;

    tmem_client_get_limits(g->f.client, &limits);
    g_assert_cmpuint(limits.min_bytes, ==, want.min_bytes);
    g_assert_cmpuint(limits.max_bytes, ==, want.max_bytes);
    g_assert_cmpuint(limits.weight, ==, want.weight);
}

/* The floor of ephemeral data is within the store. */
static void test_pressure_floor(void)
{
    TmemStore *store = test_new_store(STORE_SIZE);
    g_autoptr(GError) err = NULL;
    TmemPolicy policy;
    TmemStoreConfig config = { .size_bytes = STORE_SIZE, .policy = &policy };

    tmem_policy_init(&policy);
    policy.pressure.floor_bytes = STORE_SIZE;
    g_assert_true(tmem_store_set_policy(store, &policy, NULL));
    policy.pressure.floor_bytes++;
    g_assert_false(tmem_store_set_policy(store, &policy, &err));
    expect_sentence(&err, "the floor of ephemeral data under pressure, "
                    "16777217 bytes, is more than the store's size of "
                    "16777216 bytes");
    g_assert_null(tmem_store_new(&config, &err));
    expect_sentence(&err, "the floor of ephemeral data under pressure, *");
    tmem_store_free(store);
}

static void test_contradictions(void)
{
    static const struct {
        TmemLimits limits;
        const char *sentence;
    } cases[] = {
        { { .min_bytes = 2 * MIB, .max_bytes = MIB },
          "client '*': the minimum of 2097152 bytes is above the maximum of "
          "1048576 bytes" },
        { { .min_bytes = 13 * MIB },
          "client '*': a minimum of 13631488 bytes is more than the 12582912 "
          "bytes of the store that the minimums of its other clients leave" },
        { { .min_bytes = UINT64_MAX }, "client '*': a minimum of *" },
        { { .weight = TMEM_WEIGHT_MAX + 1 },
          "client '*': weight 10001 is out of range; possible are 1 to "
          "10000" },
        { { .max_bytes = 1 },
          "client '*': a maximum of 1 bytes is less than one page needs; "
          "possible are 40960 bytes and more, or 0 for none" },
        { { .max_bytes = 40959 }, "client '*': a maximum of 40959 bytes is *" },
    };
    const TmemLimits first = { 4 * MIB, 8 * MIB, 1 };
    TmemStore *store = test_new_store(STORE_SIZE);
    g_autoptr(GError) err = NULL;
    Guest a, b;

    guest_set_up(&a, store, "a", first);
    guest_set_up(&b, store, "b", (TmemLimits) { 0 });
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        TmemClientConfig config = { .name = "c", .limits = cases[i].limits };

        g_assert_false(tmem_client_set_limits(b.f.client, &cases[i].limits,
                                              &err));
        expect_sentence(&err, cases[i].sentence);
        expect_limits(&b, (TmemLimits) { 0, STORE_SIZE, TMEM_WEIGHT_DEFAULT });
        g_assert_null(tmem_client_new(store, &config, &err));
        expect_sentence(&err, cases[i].sentence);
    }
    expect_limits(&a, first);
    /* A client's own old minimum is not in its way. */
    g_assert_true(tmem_client_set_limits(
        a.f.client, &(TmemLimits) { STORE_SIZE, STORE_SIZE, TMEM_WEIGHT_MAX },
        &err));
    g_assert_false(tmem_client_set_limits(b.f.client,
                                          &(TmemLimits) { .min_bytes = 1 },
                                          &err));
    g_clear_error(&err);
    test_check(store);
    guest_tear_down(&a);
    /* What a client had is free when it has gone. */
    g_assert_true(tmem_client_set_limits(
        b.f.client, &(TmemLimits) { .min_bytes = STORE_SIZE }, &err));
    guest_tear_down(&b);
    tmem_store_free(store);
}

/* --- Weight --- */

/* @opaque: who fills the store first. */
static void test_ephemeral_weights(gconstpointer opaque)
{
    TmemStore *store = test_new_store(STORE_SIZE);
    Guest g[2];
    double part;

    guest_set_up(&g[0], store, "one", (TmemLimits) { .weight = 100 });
    guest_set_up(&g[1], store, "three", (TmemLimits) { .weight = 300 });
    cache(&g[GPOINTER_TO_INT(opaque)], 12000);
    for (int i = 0; i < 120; i++) {
        cache(&g[i % 2], 100);
    }
    part = (double)bytes_of(&g[0]) / (bytes_of(&g[0]) + bytes_of(&g[1]));
    g_test_message("%.1f %% of 25 %%", part * 100);
    g_assert_cmpfloat(part, >, 0.25 * 0.95);
    g_assert_cmpfloat(part, <, 0.25 * 1.05);
    g_assert_cmpuint(bytes_of(&g[0]) + bytes_of(&g[1]), >,
                     STORE_SIZE / 10 * 9);
    test_check(store);
    guest_tear_down(&g[0]);
    guest_tear_down(&g[1]);
    tmem_store_free(store);
}

/*
 * One filled the store with pages that cannot be evicted.  As both drop old
 * ones and store new ones they come to their shares: within 5 % after CHURN
 * times as many pages as the store holds, and then it stays so.
 */
#define CHURN   1

static double part_of_first(Guest g[2])
{
    return (double)bytes_of(&g[0]) / (bytes_of(&g[0]) + bytes_of(&g[1]));
}

static void churn(Guest *g, unsigned nr)
{
    for (unsigned n = 0; n < nr; n++) {
        drop_oldest(g);
        push(g);
    }
    for (unsigned n = 0; n < nr && push(g) == TMEM_STATUS_OK; n++) {
        /* more than was dropped, if it is let */
    }
}

static void test_persistent_weights(gconstpointer opaque)
{
    int first = GPOINTER_TO_INT(opaque);
    TmemStore *store = test_new_store(STORE_SIZE);
    uint64_t full;
    TmemStatus status;
    Guest g[2];

    guest_set_up(&g[0], store, "one", (TmemLimits) { .weight = 100 });
    guest_set_up(&g[1], store, "three", (TmemLimits) { .weight = 300 });
    full = push_until_refused(&g[first], &status);
    g_assert_cmpint(status, ==, TMEM_STATUS_NOSPC);
    /* While nobody else wanted it, it had it. */
    g_assert_cmpuint(bytes_of(&g[first]), >, STORE_SIZE / 10 * 9);
    for (uint64_t churned = 0; churned < 3 * CHURN * full; churned += 64) {
        churn(&g[0], 64);
        churn(&g[1], 64);
        if (churned > CHURN * full) {
            g_assert_cmpfloat(part_of_first(g), >, 0.25 * 0.95);
            g_assert_cmpfloat(part_of_first(g), <, 0.25 * 1.05);
        }
    }
    g_test_message("%.1f %% of 25 %%", part_of_first(g) * 100);
    test_check(store);
    guest_tear_down(&g[0]);
    guest_tear_down(&g[1]);
    tmem_store_free(store);
}

/* Stores @nr of its @full pages again, where they are, if it is let. */
static void overwrite(Guest *g, uint64_t nr, uint64_t full)
{
    for (uint64_t i = 0; i < nr; i++) {
        uint64_t at = g->oldest++ * 37 % full;

        test_store(g->f.ctx, test_handle(g->f.persistent, at / 256, at),
                   sort_of(at), at);
    }
}

/*
 * One filled the store, and invalidates nothing: it only stores its pages
 * again, more often than the other stores anything.  What it loses by that
 * leaves half empty segments, which upkeep empties.
 */
static void test_overwritten_weights(void)
{
    TmemStore *store = test_new_store(STORE_SIZE);
    TmemStatus status;
    uint64_t full;
    Guest g[2];

    guest_set_up(&g[0], store, "one", (TmemLimits) { .weight = 100 });
    guest_set_up(&g[1], store, "three", (TmemLimits) { .weight = 300 });
    full = push_until_refused(&g[0], &status);
    for (uint64_t n = 0; n < 4 * full; n += 256) {
        overwrite(&g[0], 512, full);
        overwrite(&g[1], 256, full);
        test_upkeep(store, n);
    }
    g_test_message("%.1f %% of 25 %%", part_of_first(g) * 100);
    g_assert_cmpfloat(part_of_first(g), >, 0.25 * 0.95);
    g_assert_cmpfloat(part_of_first(g), <, 0.25 * 1.05);
    test_check(store);
    guest_tear_down(&g[0]);
    guest_tear_down(&g[1]);
    tmem_store_free(store);
}

/* --- Minimum --- */

/* What was promised to one is there when it comes, whatever others store. */
static void test_minimum_is_servable(void)
{
    const uint64_t min = 5 * MIB;
    TmemStore *store = test_new_store(STORE_SIZE);
    TmemStatus status;
    Guest a, b, c;

    guest_set_up(&a, store, "a", (TmemLimits) { .weight = TMEM_WEIGHT_MAX });
    guest_set_up(&b, store, "b", (TmemLimits) { .min_bytes = min,
                                                .weight = 1 });
    guest_set_up(&c, store, "c", (TmemLimits) { .weight = 1 });
    push_until_refused(&a, &status);
    g_assert_cmpint(status, ==, TMEM_STATUS_NOSPC);
    g_assert_cmpuint(bytes_of(&a), >, STORE_SIZE / 2);
    /* Pages that can be evicted may use it meanwhile. */
    cache(&c, 3000);
    g_assert_cmpuint(bytes_of(&c), >, min / 10 * 9);
    while (bytes_of(&b) + 64 * 1024 <= min) {
        g_assert_cmpint(push(&b), ==, TMEM_STATUS_OK);
    }
    g_assert_cmpuint(evicted_of(&c), >, 0);
    test_check(store);
    guest_tear_down(&a);
    guest_tear_down(&b);
    guest_tear_down(&c);
    tmem_store_free(store);
}

/* Nobody's working cache pushes a client below its minimum. */
static void test_minimum_is_kept(void)
{
    const uint64_t min = 3 * MIB;
    TmemStore *store = test_new_store(STORE_SIZE);
    Guest a, b;

    guest_set_up(&a, store, "a", (TmemLimits) { .min_bytes = min,
                                                .weight = 1 });
    guest_set_up(&b, store, "b", (TmemLimits) { .weight = TMEM_WEIGHT_MAX });
    cache(&a, 10000);
    g_assert_cmpuint(bytes_of(&a), >, STORE_SIZE / 10 * 9);
    cache(&b, 20000);
    g_assert_cmpuint(bytes_of(&a), >=, min);
    g_assert_cmpuint(bytes_of(&a), <, min + MIB);
    guest_tear_down(&a);
    guest_tear_down(&b);
    tmem_store_free(store);
}

/* --- Maximum --- */

static void test_lowered_maximum(void)
{
    TmemStore *store = test_new_store(STORE_SIZE);
    uint64_t held, i;
    Guest g;

    guest_set_up(&g, store, "g", (TmemLimits) { 0 });
    for (i = 0; i < 500; i++) {
        g_assert_cmpint(push(&g), ==, TMEM_STATUS_OK);
    }
    cache(&g, 3000);
    g_assert_cmpuint(bytes_of(&g), >, 4 * MIB);
    /* Ephemeral pages go at once ... */
    g_assert_true(tmem_client_set_limits(
        g.f.client, &(TmemLimits) { .max_bytes = 3 * MIB }, NULL));
    g_assert_cmpuint(bytes_of(&g), <=, 3 * MIB);
    g_assert_cmpuint(bytes_of(&g), >, 2 * MIB);
    /* ... persistent ones stay, and nothing more is taken. */
    g_assert_true(tmem_client_set_limits(
        g.f.client, &(TmemLimits) { .max_bytes = 256 << 10 }, NULL));
    held = bytes_of(&g);
    g_assert_cmpuint(held, >, 256 << 10);
    for (i = 0; i < 500; i++) {
        test_expect_page(g.f.ctx, test_handle(g.f.persistent, i / 256, i),
                         sort_of(i), i);
    }
    for (i = 0; i < 500; i++) {
        push(&g);
    }
    g_assert_cmpuint(bytes_of(&g), <=, held);
    test_check(store);
    fixture_leave(&g.f);
    tmem_store_free(store);
}

/* --- On command --- */

static void test_evict_bytes(void)
{
    TmemStore *store = test_new_store(STORE_SIZE);
    uint64_t before, returned, all;
    TmemStoreStats stats;
    Guest a, b;

    guest_set_up(&a, store, "a", (TmemLimits) { .weight = 100 });
    guest_set_up(&b, store, "b", (TmemLimits) { .min_bytes = MIB });
    g_assert_cmpuint(tmem_store_evict(store, MIB), ==, 0);
    cache(&a, 3000);
    cache(&b, 500);
    before = bytes_of(&a);
    /* From whom is further over its share. */
    returned = tmem_store_evict(store, 2 * MIB);
    g_assert_cmpuint(returned, >=, 2 * MIB);
    g_assert_cmpuint(returned, <, 2 * MIB + (1u << store->arena.segment_shift));
    g_assert_cmpuint(bytes_of(&a) + returned, <=, before + 8 * (64u << 10));
    g_assert_cmpuint(evicted_of(&b), ==, 0);
    returned = tmem_client_evict(b.f.client, 64 << 10);
    g_assert_cmpuint(returned, >=, 64 << 10);
    g_assert_cmpuint(evicted_of(&b), >, 0);
    /* All that there is, minimums or not. */
    tmem_store_get_stats(store, &stats);
    all = tmem_store_evict(store, UINT64_MAX);
    g_assert_cmpuint(all, >, 0);
    g_assert_cmpuint(tmem_store_evict(store, UINT64_MAX), ==, 0);
    before = stats.used_bytes;
    tmem_store_get_stats(store, &stats);
    g_assert_cmpuint(stats.used_bytes, <=, before - all);
    test_check(store);
    guest_tear_down(&a);
    guest_tear_down(&b);
    tmem_store_free(store);
}

/* --- Events --- */

typedef struct Log {
    GString *text;
} Log;

static void note(TmemEvent event, TmemClient *client, void *opaque)
{
    static const char *const name[] = {
        [TMEM_EVENT_LIMIT_REACHED] = "limit", [TMEM_EVENT_LIMIT_LEFT] = "left",
        [TMEM_EVENT_FULL] = "full", [TMEM_EVENT_NOT_FULL] = "not-full",
    };
    Log *log = opaque;

    g_string_append_printf(log->text, "%s:%s ", name[event],
                           client ? tmem_client_name(client) : "");
}

static void test_events(void)
{
    Log log = { g_string_new(NULL) };
    TmemStore *store = test_new_store(STORE_SIZE);
    TmemStatus status;
    Guest g;

    tmem_store_set_event_func(store, note, &log);
    guest_set_up(&g, store, "g", (TmemLimits) { .max_bytes = 2 * MIB });
    push_until_refused(&g, &status);
    g_assert_cmpint(status, ==, TMEM_STATUS_QUOTA);
    /* On the edge only, and not for every page near it. */
    for (int i = 0; i < 50; i++) {
        drop_oldest(&g);
        push(&g);
        push(&g);
    }
    g_assert_cmpstr(log.text->str, ==, "limit:g ");
    while (bytes_of(&g) > 2 * MIB / 16 * 15) {
        drop_oldest(&g);
    }
    drop_oldest(&g);
    g_assert_cmpstr(log.text->str, ==, "limit:g left:g ");
    g_string_truncate(log.text, 0);

    g_assert_true(tmem_client_set_limits(g.f.client, &(TmemLimits) { 0 },
                                         NULL));
    push_until_refused(&g, &status);
    g_assert_cmpint(status, ==, TMEM_STATUS_NOSPC);
    for (int i = 0; i < 50; i++) {
        drop_oldest(&g);
        push(&g);
        push(&g);
    }
    g_assert_cmpstr(log.text->str, ==, "full: ");
    while (bytes_of(&g) > STORE_SIZE / 16 * 14) {
        drop_oldest(&g);
    }
    drop_oldest(&g);
    g_assert_cmpstr(log.text->str, ==, "full: not-full: ");
    g_string_free(log.text, true);
    guest_tear_down(&g);
    tmem_store_free(store);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/tmem/limits/contradictions", test_contradictions);
    g_test_add_func("/tmem/limits/pressure-floor", test_pressure_floor);
    g_test_add_data_func("/tmem/share/ephemeral/light-first",
                         GINT_TO_POINTER(0), test_ephemeral_weights);
    g_test_add_data_func("/tmem/share/ephemeral/heavy-first",
                         GINT_TO_POINTER(1), test_ephemeral_weights);
    g_test_add_data_func("/tmem/share/persistent/light-first",
                         GINT_TO_POINTER(0), test_persistent_weights);
    g_test_add_data_func("/tmem/share/persistent/heavy-first",
                         GINT_TO_POINTER(1), test_persistent_weights);
    g_test_add_func("/tmem/share/persistent/overwritten",
                    test_overwritten_weights);
    g_test_add_func("/tmem/share/minimum/servable", test_minimum_is_servable);
    g_test_add_func("/tmem/share/minimum/kept", test_minimum_is_kept);
    g_test_add_func("/tmem/limits/lowered", test_lowered_maximum);
    g_test_add_func("/tmem/evict/command", test_evict_bytes);
    g_test_add_func("/tmem/events/edges", test_events);
    return g_test_run();
}
