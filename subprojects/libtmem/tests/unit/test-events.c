/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What an operator is told, whoever frees: one event for each edge
 */
#include "testlib.h"
#include "tmem-store.h"

#define SECOND      1000000000ull
#define STORE_SIZE  (64u << 20)
#define LIMIT       (4u << 20)

typedef struct Told {
    Fixture f;
    unsigned nr[TMEM_EVENT_PRESSURE_END + 1];
} Told;

static void note(TmemEvent event, TmemClient *client, void *opaque)
{
    Told *t = opaque;

    if (event == TMEM_EVENT_LIMIT_REACHED || event == TMEM_EVENT_LIMIT_LEFT) {
        g_assert_true(client == t->f.client);
    }
    t->nr[event]++;
}

static void set_idle(Told *t, uint32_t seconds)
{
    GError *err = NULL;
    TmemPolicy policy;

    tmem_store_get_policy(t->f.store, &policy);
    policy.upkeep.recompress_idle_seconds = seconds;
    tmem_store_set_policy(t->f.store, &policy, &err);
    g_assert_no_error(err);
}

static void told_set_up(Told *t)
{
    memset(t, 0, sizeof(*t));
    fixture_set_up(&t->f, STORE_SIZE, LIMIT);
    tmem_store_set_event_func(t->f.store, note, t);
}

/* Stores until the limit is reached, and as often again. */
static uint64_t fill(Told *t, uint64_t pool)
{
    uint64_t nr = 0;

    for (uint64_t n = 0; n < 2 * LIMIT / TMEM_PAGE_SIZE; n++) {
        TmemHandle h = test_handle(pool, n / 64, n);
        uint8_t *page = tmem_context_bounce(t->f.ctx);
        TestRand r = { n };
        TmemStatus status;

        for (unsigned i = 0; i < TMEM_PAGE_SIZE; i++) {
            page[i] = "etaoinshrdlucmfw"[test_rand_below(&r, 16)];
        }
        status = tmem_page_store(t->f.ctx, &h, page);
        g_assert_true(status == TMEM_STATUS_OK || status == TMEM_STATUS_QUOTA);
        nr += status == TMEM_STATUS_OK;
    }
    return nr;
}

/* Also where less is left than is kept in reserve. */
static void test_reached(gconstpointer opaque)
{
    Told t;

    told_set_up(&t);
    set_idle(&t, opaque ? 3600 : 0);
    fill(&t, t.f.persistent);
    g_assert_cmpuint(t.nr[TMEM_EVENT_LIMIT_REACHED], ==, 1);
    g_assert_cmpuint(t.nr[TMEM_EVENT_LIMIT_LEFT], ==, 0);
    fixture_tear_down(&t.f);
}

/* Nobody frees, but pages get smaller. */
static void test_left_recompressed(gconstpointer opaque)
{
    Told t;

    told_set_up(&t);
    set_idle(&t, 10);
    fill(&t, t.f.persistent);
    g_assert_cmpuint(t.nr[TMEM_EVENT_LIMIT_REACHED], ==, 1);
    if (opaque) {
        tmem_store_recompress(t.f.store);
    }
    for (uint64_t second = 1; second < 60; second++) {
        while (tmem_upkeep_step(t.f.store, second * SECOND, SECOND)) {
            /* More of it. */
        }
    }
    g_assert_cmpuint(t.nr[TMEM_EVENT_LIMIT_LEFT], ==, 1);
    g_assert_cmpuint(t.nr[TMEM_EVENT_LIMIT_REACHED], ==, 1);
    fixture_tear_down(&t.f);
}

/* The store is asked for memory, and the client gives it. */
static void test_left_evicted(void)
{
    Told t;

    told_set_up(&t);
    t.f.client->is_at_limit = true;
    fill(&t, t.f.ephemeral);
    t.nr[TMEM_EVENT_LIMIT_LEFT] = 0;
    t.f.client->is_at_limit = true;
    tmem_store_evict(t.f.store, LIMIT / 2);
    g_assert_cmpuint(t.nr[TMEM_EVENT_LIMIT_LEFT], ==, 1);
    fixture_tear_down(&t.f);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_data_func("/tmem/events/limit/reached", NULL, test_reached);
    g_test_add_data_func("/tmem/events/limit/reached-with-reserve", "reserve",
                         test_reached);
    g_test_add_data_func("/tmem/events/limit/left-recompressed", NULL,
                         test_left_recompressed);
    g_test_add_data_func("/tmem/events/limit/left-recompressed-at-once", "now",
                         test_left_recompressed);
    g_test_add_func("/tmem/events/limit/left-evicted", test_left_evicted);
    return g_test_run();
}
