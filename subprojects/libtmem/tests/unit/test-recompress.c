/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * When idle pages are compressed again, and who waits for that
 *
 * The tests do the steps themselves, with a clock of their own.
 */
#include <sched.h>

#include "testlib.h"
#include "tmem-clock.h"
#include "tmem-store.h"

#define STORE_SIZE  (64u << 20)

static void store_pages(Fixture *f, uint64_t pool, uint64_t nr)
{
    for (uint64_t n = 0; n < nr; n++) {
        TmemHandle h = test_handle(pool, n / 64, n);
        uint8_t *page = tmem_context_bounce(f->ctx);

        test_page_letters(page, n);
        g_assert_cmpint(tmem_page_store(f->ctx, &h, page), ==, 0);
    }
}

static void store_some(Fixture *f, uint64_t nr)
{
    store_pages(f, f->persistent, nr);
}

/* --- Idle times --- */

/* A shorter idle time holds from now on, not after the old one has passed. */
static void test_idle_shorter(void)
{
    const uint64_t nr = 200;
    Fixture f;

    fixture_set_up(&f, STORE_SIZE, 0);
    test_set_upkeep(f.store, 86400, false);
    store_some(&f, nr);
    test_upkeep(f.store, 1000);
    test_set_upkeep(f.store, 10, false);
    for (uint64_t t = 1001; t <= 1020; t++) {
        test_upkeep(f.store, t);
        if (t < 1010) {
            g_assert_cmpuint(test_stats(f.client).total.recompressed, ==, 0);
        }
    }
    g_assert_cmpuint(test_stats(f.client).total.recompressed, ==, nr);
    fixture_tear_down(&f);
}

/* Ages that short passes gave are not those that a longer idle time asks. */
static void test_idle_longer(void)
{
    const uint64_t nr = 200;
    Fixture f;

    fixture_set_up(&f, STORE_SIZE, 0);
    test_set_upkeep(f.store, 10, false);
    store_some(&f, nr);
    test_upkeep(f.store, 1000);
    test_upkeep(f.store, 1005);
    test_set_upkeep(f.store, 3600, false);
    for (uint64_t t = 1006; t < 1000 + 3600; t += 10) {
        test_upkeep(f.store, t);
        g_assert_cmpuint(test_stats(f.client).total.recompressed, ==, 0);
    }
    for (uint64_t t = 1000 + 3600; t < 1100 + 3600; t += 10) {
        test_upkeep(f.store, t);
    }
    g_assert_cmpuint(test_stats(f.client).total.recompressed, ==, nr);
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
        test_set_upkeep(f.store, 3600, false);
        /* Half of a pass, if one begins. */
        while (tmem_upkeep_step(f.store, (1000 + i) * TEST_SECOND, 0) &&
               f.store->upkeep.aging.shard < f.store->index.nr_shards / 2) {
            g_assert_cmpuint(test_stats(f.client).total.recompressed, ==, 0);
        }
        test_set_upkeep(f.store, 0, false);
        g_assert_false(tmem_upkeep_step(f.store, (1000 + i) * TEST_SECOND, 0));
    }
    test_set_upkeep(f.store, 3600, false);
    for (uint64_t t = 1010; t < 1000 + 3600; t += 10) {
        test_upkeep(f.store, t);
        g_assert_cmpuint(test_stats(f.client).total.recompressed, ==, 0);
    }
    for (uint64_t t = 1000 + 3600; t < 1000 + 2 * 3600; t += 60) {
        test_upkeep(f.store, t);
    }
    g_assert_cmpuint(test_stats(f.client).total.recompressed, ==, nr);
    fixture_tear_down(&f);
}

/* --- Who waits --- */

/* No step takes longer than it may by more than a page. */
static void test_short_steps(void)
{
    const uint64_t nr = 300;
    uint64_t before = 0, after;
    bool more = true;
    Fixture f;

    fixture_set_up(&f, STORE_SIZE, 0);
    test_set_upkeep(f.store, 2, false);
    store_some(&f, nr);
    test_upkeep(f.store, 1);
    test_upkeep(f.store, 2);
    while (more) {
        more = tmem_upkeep_step(f.store, 3 * TEST_SECOND, 0);
        after = test_stats(f.client).total.recompressed;
        g_assert_cmpuint(after, <=, before + 1);
        before = after;
    }
    g_assert_cmpuint(before, ==, nr);
    fixture_tear_down(&f);
}

/* Someone comes while an operator's recompression has a page in hand. */
typedef struct Turn {
    Fixture f;
    bool frees;             /* its client; else only wants its turn */
    pthread_t thread;
    unsigned nr_in_hand;
    uint64_t nr_before;     /* pages tried before it was their turn; atomic */
} Turn;

static void *take_turn(void *opaque)
{
    Turn *t = opaque;

    if (t->frees) {
        tmem_context_free(t->f.ctx);
        tmem_client_free(t->f.client);
    } else {
        tmem_upkeep_pause(t->f.store);
        __atomic_store_n(&t->nr_before, t->f.store->upkeep.recompress.nr_tried,
                         __ATOMIC_RELAXED);
        tmem_upkeep_resume(t->f.store);
    }
    return NULL;
}

static void begin_turn(void *opaque)
{
    Turn *t = opaque;
    TmemUpkeeper *u = &t->f.store->upkeep;

    if (t->nr_in_hand++) {
        return;
    }
    g_assert_cmpint(pthread_create(&t->thread, NULL, take_turn, t), ==, 0);
    /* Until it is the next one: who waits for its turn holds this. */
    while (!pthread_mutex_trylock(&u->next)) {
        pthread_mutex_unlock(&u->next);
        sched_yield();
    }
}

static void turn_set_up(Turn *t, uint64_t nr)
{
    TmemRecompress *r;

    fixture_set_up(&t->f, STORE_SIZE, 0);
    store_some(&t->f, nr);
    r = &t->f.store->upkeep.recompress;
    r->in_hand = begin_turn;
    r->opaque = t;
}

/* It does not keep the thread from what is urgent: a page, and no more. */
static void test_at_once_turns(void)
{
    const uint64_t nr = 300;
    Turn t = {};

    turn_set_up(&t, nr);
    g_assert_cmpuint(tmem_store_recompress(t.f.store), ==, nr);
    pthread_join(t.thread, NULL);
    g_assert_cmpuint(t.nr_before, ==, 1);
    g_assert_cmpuint(t.nr_in_hand, ==, nr);
    fixture_tear_down(&t.f);
}

/* A client goes between two of its pages, and its pool table with it. */
static void test_at_once_client_goes(void)
{
    Turn t = { .frees = true };

    turn_set_up(&t, 64);
    g_assert_cmpuint(tmem_store_recompress(t.f.store), ==, 0);
    pthread_join(t.thread, NULL);
    g_assert_cmpuint(t.nr_in_hand, ==, 1);
    test_check(t.f.store);
    tmem_store_free(t.f.store);
}

/* What is on probation stays there, however small it becomes. */
static void test_probation(void)
{
    uint32_t nr, nr_probation;
    TmemHeap *heap;
    Fixture f;

    fixture_set_up(&f, STORE_SIZE, 0);
    heap = &f.client->heap;
    store_pages(&f, f.ephemeral, 6000);
    nr = heap->order[TMEM_SPACE_EPHEMERAL].nr;
    nr_probation = heap->order[TMEM_SPACE_PROBATION].nr;
    g_assert_cmpuint(nr_probation, >, 0);
    g_assert_cmpuint(tmem_store_recompress(f.store), >, 5000);
    g_assert_cmpuint(heap->order[TMEM_SPACE_EPHEMERAL].nr, <=, nr);
    g_assert_cmpuint(heap->order[TMEM_SPACE_PROBATION].nr, <, nr_probation);
    test_check(f.store);
    fixture_tear_down(&f);
}

/* --- The thread --- */

#define RACES   1000

typedef struct Race {
    TmemStore *store;
    pthread_barrier_t start;
    uint64_t late_ns;       /* the policy, after the client */
} Race;

static void *want_compaction(void *opaque)
{
    Race *r = opaque;
    uint64_t start;

    pthread_barrier_wait(&r->start);
    start = tmem_clock_monotonic();
    while (tmem_clock_monotonic() - start < r->late_ns) {
        /* The moment at which they meet is not known. */
    }
    test_set_upkeep(r->store, 0, true);
    return NULL;
}

/* A policy that is set as the first client comes has its thread. */
static void test_first_client(void)
{
    TmemStoreConfig config = { .size_bytes = TMEM_STORE_SIZE_MIN };
    TmemClientConfig client_config = { .name = "first" };

    tmem_upkeep_by_hand(false);
    for (int i = 0; i < RACES; i++) {
        TmemClient *client;
        pthread_t thread;
        GError *err = NULL;
        Race r;

        r.store = tmem_store_new(&config, &err);
        g_assert_no_error(err);
        r.late_ns = i * 100;
        test_set_upkeep(r.store, 0, false);
        pthread_barrier_init(&r.start, NULL, 2);
        g_assert_cmpint(pthread_create(&thread, NULL, want_compaction, &r),
                        ==, 0);
        pthread_barrier_wait(&r.start);
        client = tmem_client_new(r.store, &client_config, &err);
        g_assert_no_error(err);
        pthread_join(thread, NULL);
        g_assert_true(r.store->upkeep.started);
        tmem_client_free(client);
        tmem_store_free(r.store);
        pthread_barrier_destroy(&r.start);
    }
    tmem_upkeep_by_hand(true);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/tmem/recompress/idle/shorter", test_idle_shorter);
    g_test_add_func("/tmem/recompress/idle/longer", test_idle_longer);
    g_test_add_func("/tmem/recompress/idle/toggled", test_idle_toggled);
    g_test_add_func("/tmem/recompress/short-steps", test_short_steps);
    g_test_add_func("/tmem/recompress/at-once/turns", test_at_once_turns);
    g_test_add_func("/tmem/recompress/at-once/client-goes",
                    test_at_once_client_goes);
    g_test_add_func("/tmem/recompress/probation", test_probation);
    g_test_add_func("/tmem/upkeep/first-client", test_first_client);
    return g_test_run();
}
