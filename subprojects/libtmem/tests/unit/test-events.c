/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What an operator is told, whoever frees: one event for each edge
 */
#include "testlib.h"
#include "tmem-os.h"
#include "tmem-store.h"

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
        TmemStatus status;

        test_page_letters(page, n);
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
        test_upkeep(t.f.store, second);
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

/* The host's share of the store is lowered, and who is over it gives way. */
static void test_left_shrunk(void)
{
    GError *err = NULL;
    TmemPolicy policy;
    Told t;

    told_set_up(&t);
    fill(&t, t.f.ephemeral);
    t.f.client->is_at_limit = true;
    t.nr[TMEM_EVENT_LIMIT_LEFT] = 0;
    tmem_os_pretend_host_bytes(LIMIT);
    tmem_store_get_policy(t.f.store, &policy);
    policy.admission.max_host_percent = 50;
    tmem_store_set_policy(t.f.store, &policy, &err);
    tmem_os_pretend_host_bytes(0);
    g_assert_no_error(err);
    g_assert_cmpuint(t.nr[TMEM_EVENT_LIMIT_LEFT], ==, 1);
    fixture_tear_down(&t.f);
}

/* --- Order --- */

#define CROWD       2
#define CROWD_SIZE  (2u << 20)
#define CROWD_EDGES 40

typedef struct Crowd {
    TmemStore *store;
    unsigned nr_edges;      /* of the store; atomic for those who look */
    bool is_full;           /* guarded by the events' own mutex, as all here */
} Crowd;

/* FULL and NOT_FULL take turns, whoever saw which first. */
static void note_edge(TmemEvent event, TmemClient *client, void *opaque)
{
    Crowd *c = opaque;

    if (event == TMEM_EVENT_FULL || event == TMEM_EVENT_NOT_FULL) {
        g_assert_null(client);
        if (event == TMEM_EVENT_FULL) {
            /* Time for the other to overtake. */
            g_usleep(1000);
        }
        g_assert_cmpint(c->is_full, ==, event == TMEM_EVENT_NOT_FULL);
        c->is_full = event == TMEM_EVENT_FULL;
        __atomic_fetch_add(&c->nr_edges, 1, __ATOMIC_RELAXED);
    }
}

static void *come_and_go(void *opaque)
{
    g_autofree char *name = g_strdup_printf("%p", (void *)&name);
    TmemClientConfig config = { .name = name };
    Crowd *c = opaque;
    uint64_t pool;
    Fixture f;

    fixture_join(&f, c->store, &config);
    while (tmem_pool_create(f.client, TMEM_POOL_PERSISTENT, TMEM_PAGE_SHIFT,
                            &pool) != TMEM_STATUS_OK) {
        g_usleep(100);
    }
    while (__atomic_load_n(&c->nr_edges, __ATOMIC_RELAXED) < CROWD_EDGES) {
        uint64_t n = 0;

        while (test_store(f.ctx, test_handle(pool, n / 64, n), TEST_PAGE_NOISE,
                          n) == TMEM_STATUS_OK) {
            n++;
        }
        for (uint64_t object = 0; object <= n / 64; object++) {
            TmemHandle h = test_handle(pool, object, 0);

            tmem_object_invalidate(f.ctx, &h);
        }
    }
    tmem_client_reset(f.client);
    fixture_leave(&f);
    return NULL;
}

static void test_order(void)
{
    Crowd c = { .store = test_new_store(CROWD_SIZE) };
    pthread_t threads[CROWD];

    tmem_store_set_event_func(c.store, note_edge, &c);
    for (int i = 0; i < CROWD; i++) {
        g_assert_cmpint(pthread_create(&threads[i], NULL, come_and_go, &c),
                        ==, 0);
    }
    for (int i = 0; i < CROWD; i++) {
        pthread_join(threads[i], NULL);
    }
    g_assert_false(c.is_full);
    tmem_store_free(c.store);
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
    g_test_add_func("/tmem/events/limit/left-shrunk", test_left_shrunk);
    g_test_add_func("/tmem/events/full/order", test_order);
    return g_test_run();
}
