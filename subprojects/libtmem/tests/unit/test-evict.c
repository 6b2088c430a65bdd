/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Eviction: whose pages go, and that it gets somewhere
 */
#include "testpeek.h"
#include "tmem-order.h"

/* --- Segments that cannot be emptied just now --- */

#define HELD    6

/*
 * The oldest segments each have a slot in the hand of another thread, which has
 * not published it yet.  That is no reason to refuse a page while all others
 * can be evicted.
 */
static void test_busy_segments(void)
{
    TmemRef held[HELD];
    TmemClientStats stats;
    TmemArena *arena;
    TmemStatus why;
    uint64_t nr = 0;
    Fixture f;

    fixture_set_up(&f, FIXTURE_SIZE, 0);
    arena = &f.store->arena;
    for (unsigned i = 0; i < HELD; i++) {
        uint32_t segment;

        held[i] = tmem_heap_alloc(&f.client->heap, TMEM_SPACE_EPHEMERAL,
                                  TMEM_PAGE_SIZE + 12, false, &why);
        segment = tmem_arena_segment_of(arena, held[i]);
        g_assert_true(!i || segment !=
                      tmem_arena_segment_of(arena, held[i - 1]));
        while (arena->segments[segment].list != TMEM_LIST_NONE) {
            g_assert_cmpint(test_store(f.ctx, test_handle(f.ephemeral, 1, nr),
                                       TEST_PAGE_NOISE, nr), ==, 0);
            nr++;
        }
    }
    do {
        g_assert_cmpint(test_store(f.ctx, test_handle(f.ephemeral, 1, nr),
                                   TEST_PAGE_NOISE, nr), ==, 0);
        nr++;
        tmem_client_get_stats(f.client, &stats);
    } while (tmem_arena_used_bytes(arena) + (64 << 10) < FIXTURE_SIZE);
    g_assert_cmpuint(stats.total.evicted, ==, 0);

    for (uint64_t i = 0; i < 50; i++) {
        g_assert_cmpint(test_store(f.ctx, test_handle(f.persistent, 1, i),
                                   TEST_PAGE_NOISE, i), ==, TMEM_STATUS_OK);
    }
    tmem_client_get_stats(f.client, &stats);
    g_assert_cmpuint(stats.total.evicted, >, 0);
    for (unsigned i = 0; i < HELD; i++) {
        tmem_heap_free(arena, held[i]);
    }
    fixture_tear_down(&f);
}

/* All that is evictable is with other evictors: wait for them a little. */
static void test_busy_victims(void)
{
    TmemVictim victim;
    TmemArena *arena;
    Fixture f;

    fixture_set_up(&f, FIXTURE_SIZE, 0);
    arena = &f.store->arena;
    g_assert_cmpint(tmem_evict_segment(f.store, NULL), ==, TMEM_EVICTED_NONE);
    g_assert_cmpint(test_store(f.ctx, test_handle(f.ephemeral, 1, 1),
                               TEST_PAGE_NOISE, 1), ==, TMEM_STATUS_OK);
    for (int i = 0; i < 2; i++) {
        /* Its record's segment, then that of its node. */
        tmem_lock(&arena->lock);
        tmem_victim_begin(
            arena, f.client->heap.order[i ? TMEM_SPACE_EPHEMERAL_INDEX :
                                            TMEM_SPACE_EPHEMERAL].first,
            &victim);
        g_assert_cmpint(tmem_evict_segment(f.store, NULL), ==,
                        i ? TMEM_EVICTED_BUSY : TMEM_EVICTED_FREED);
        tmem_victim_end(arena, &victim, true);
        test_store(f.ctx, test_handle(f.ephemeral, 1, 1), TEST_PAGE_ZERO, 1);
    }
    g_assert_cmpint(tmem_evict_segment(f.store, NULL), ==, TMEM_EVICTED_FREED);
    g_assert_cmpint(tmem_evict_segment(f.store, NULL), ==, TMEM_EVICTED_NONE);
    fixture_tear_down(&f);
}

/* --- Between clients --- */

static void other_set_up(Fixture *o, TmemStore *store)
{
    TmemClientConfig config = { .name = "other" };

    fixture_join(o, store, &config);
    fixture_create_pools(o);
}

static void other_tear_down(Fixture *o)
{
    tmem_client_reset(o->client);
    fixture_leave(o);
}

static TmemPoolStats totals(TmemClient *client)
{
    return test_stats(client).total;
}

/*
 * One client filled the store with same-filled pages and went idle.  Another,
 * that works, gets its half of the store.
 */
static void test_idle_same_filled(void)
{
    TmemPoolStats idle;
    Fixture f;
    Fixture o;

    fixture_set_up(&f, FIXTURE_SIZE, 0);
    other_set_up(&o, f.store);
    for (uint64_t i = 0; i < 100000; i++) {
        g_assert_cmpint(test_store(f.ctx, test_handle(f.ephemeral, i, 0),
                                   TEST_PAGE_ZERO, 0), ==, 0);
    }
    idle = totals(f.client);
    g_assert_cmpuint(idle.index_bytes, >, FIXTURE_SIZE / 4 * 3);
    for (uint64_t i = 0; i < 8000; i++) {
        g_assert_cmpint(test_store(o.ctx, test_handle(o.ephemeral, i / 64, i),
                                   TEST_PAGE_NOISE, i), ==, 0);
    }
    idle = totals(f.client);
    g_assert_cmpuint(idle.index_bytes, <, FIXTURE_SIZE / 100 * 55);
    g_assert_cmpuint(totals(o.client).data_bytes, >, FIXTURE_SIZE / 5 * 2);
    test_check(f.store);
    other_tear_down(&o);
    fixture_tear_down(&f);
}

/* A cache that turns over does not lose young pages with old nodes. */
static void test_index_stays(void)
{
    TestRand r = { test_seed() };
    Fixture f;

    fixture_set_up(&f, FIXTURE_SIZE, 0);
    for (uint64_t i = 0; i < 40000; i++) {
        /* Into objects that live on while their pages come and go. */
        TmemHandle h = test_handle(f.ephemeral, test_rand_below(&r, 8),
                                   test_rand_below(&r, 8000));

        g_assert_cmpint(test_store(f.ctx, h, TEST_PAGE_MIXED, i), ==, 0);
        if (i > 10000 && i % 1000 == 0) {
            g_assert_cmpuint(totals(f.client).data_bytes, >,
                             FIXTURE_SIZE / 4 * 3);
        }
    }
    fixture_tear_down(&f);
}

/* A segment of nodes that leads to many records does not go at once. */
static void test_index_bounded(void)
{
    const uint64_t nr = 20000;
    uint64_t calls = 0, before, now = 0;
    TmemArena *arena;
    Fixture f;

    fixture_set_up(&f, 16u << 20, 0);
    arena = &f.store->arena;
    for (uint64_t i = 0; i < nr; i++) {
        g_assert_cmpint(test_store(f.ctx, test_handle(f.ephemeral, 1, i),
                                   TEST_PAGE_TEXT, i), ==, 0);
    }
    g_assert_cmpuint(totals(f.client).evicted, ==, 0);
    /* Let the index be what is oldest, and not in use. */
    tmem_lock(&arena->lock);
    for (uint32_t i = 0; i < arena->nr_virgin; i++) {
        TmemSegment *seg = &arena->segments[i];

        seg->hits = 0;
        if (seg->in_use && seg->space == TMEM_SPACE_EPHEMERAL) {
            tmem_order_renew_locked(arena, i);
        }
    }
    tmem_unlock(&arena->lock);
    do {
        before = now;
        g_assert_cmpint(tmem_evict_segment(f.store, NULL), !=,
                        TMEM_EVICTED_NONE);
        now = totals(f.client).evicted;
        g_assert_cmpuint(now, >, before);
        g_assert_cmpuint(now - before, <, nr / 10);
        test_check(f.store);
        calls++;
    } while (now < nr);
    g_assert_cmpuint(calls, <, 100);
    fixture_tear_down(&f);
}

/* --- Policies --- */

#define SCAN_SIZE       (16u << 20)
#define SCAN_PAGES      3000u
#define SCAN_OFTEN      1500u
#define SCAN_ROUNDS     6u

/*
 * A few pages that are loaded, and stored again, time after time, and between
 * them as many as fill the store that come once: of one object, as of a large
 * file, all of which is in one shard.  Returns how many loads hit.
 */
static unsigned hits_beside_scan(const TmemEvictPolicy *policy)
{
    uint8_t page[TMEM_PAGE_SIZE];
    uint64_t once = 0, version;
    unsigned hits = 0;
    Fixture f;

    fixture_set_up(&f, SCAN_SIZE, 0);
    f.store->evict_policy = policy;
    for (unsigned round = 0; round < SCAN_ROUNDS; round++) {
        for (unsigned i = 0; i < SCAN_PAGES; i++, once++) {
            g_assert_cmpint(test_store(f.ctx,
                                       test_handle(f.ephemeral, 1,
                                                   SCAN_OFTEN + once),
                                       TEST_PAGE_NOISE, once), ==, 0);
        }
        for (unsigned i = 0; i < SCAN_OFTEN; i++) {
            TmemHandle h = test_handle(f.ephemeral, 1, i);

            if (tmem_page_load(f.ctx, &h, page, &version) == TMEM_STATUS_OK) {
                hits++;
                g_assert_cmpint(tmem_page_take(f.ctx, &h, version), ==, 0);
            }
            g_assert_cmpint(test_store(f.ctx, h, TEST_PAGE_NOISE, i), ==, 0);
        }
        test_check(f.store);
    }
    fixture_tear_down(&f);
    return hits;
}

/* What comes once does not push out what comes often. */
static void test_scan(void)
{
    const unsigned loads = SCAN_OFTEN * SCAN_ROUNDS;
    unsigned fifo = hits_beside_scan(&tmem_evict_policy_fifo);
    unsigned chance = hits_beside_scan(&tmem_evict_policy_second_chance);
    unsigned probation = hits_beside_scan(&tmem_evict_policy_probation);

    g_test_message("hits of %u: fifo %u, second chance %u, probation %u",
                   loads, fifo, chance, probation);
    g_assert_cmpuint(chance, <, loads / 10);
    /* Nothing is known in the first two rounds. */
    g_assert_cmpuint(probation, >, loads / 5);
}

/* What is remembered costs memory only while there is something to evict. */
static void test_ghosts_go(void)
{
    Fixture f;

    fixture_set_up(&f, SCAN_SIZE, 0);
    for (uint64_t i = 0; i < 3 * SCAN_PAGES; i++) {
        g_assert_cmpint(test_store(f.ctx, test_handle(f.ephemeral, 1, i),
                                   TEST_PAGE_NOISE, i), ==, 0);
    }
    g_assert_cmpint(f.store->ghosts.state, ==, TMEM_GHOSTS_ON);
    g_assert_cmpuint(f.client->heap.order[TMEM_SPACE_PROBATION].nr, >, 0);
    test_check(f.store);
    tmem_client_reset(f.client);
    g_assert_cmpint(f.store->ghosts.state, ==, TMEM_GHOSTS_OFF);
    test_check(f.store);
    g_assert_cmpuint(f.store->arena.ephemeral_bytes, ==, 0);
    fixture_tear_down(&f);
}

/* --- Within a client --- */

/* A client's cache, grown to its limit, gives way to its persistent pages. */
static void test_own_pages(void)
{
    const uint64_t max = 1u << 20;
    TmemPoolStats before, after;
    uint64_t cache2;
    TmemStatus status;
    Fixture f;
    uint64_t i;

    fixture_set_up(&f, FIXTURE_SIZE, max);
    g_assert_cmpint(tmem_pool_create(f.client, TMEM_POOL_EPHEMERAL,
                                     TMEM_PAGE_SHIFT, &cache2), ==, 0);
    /* At the limit the cache keeps working: young pages for old ones. */
    for (i = 0; i < 2000; i++) {
        TmemHandle h = test_handle(i % 2 ? f.ephemeral : cache2, i / 100, i);

        g_assert_cmpint(test_store(f.ctx, h, i % 10 ? TEST_PAGE_MIXED :
                                                      TEST_PAGE_ZERO, i), ==,
                        TMEM_STATUS_OK);
        test_expect_page(f.ctx, h, i % 10 ? TEST_PAGE_MIXED : TEST_PAGE_ZERO,
                         i);
    }
    before = totals(f.client);
    g_assert_cmpuint(before.evicted, >, 1000);
    g_assert_cmpuint(before.data_bytes, >, max / 2);
    test_expect_status(f.ctx, test_handle(cache2, 0, 0), TMEM_STATUS_MISS);
    test_check(f.store);

    for (i = 0; ; i++) {
        status = test_store(f.ctx, test_handle(f.persistent, 1, i),
                            TEST_PAGE_NOISE, i);
        if (status != TMEM_STATUS_OK) {
            break;
        }
    }
    /* Only when no ephemeral page is left is a page refused. */
    g_assert_cmpint(status, ==, TMEM_STATUS_QUOTA);
    after = totals(f.client);
    g_assert_cmpuint(after.pages, ==, i);
    g_assert_cmpuint(after.stores_quota, ==, 1);
    /* Seven raw pages fit one of its few small segments. */
    g_assert_cmpuint(i * TMEM_PAGE_SIZE, >, max / 4 * 3);
    fixture_tear_down(&f);
}

/* A cache at the limit does not keep pools out either. */
static void test_own_pools(void)
{
    uint64_t evicted, id;
    Fixture f;

    fixture_set_up(&f, FIXTURE_SIZE, 256 << 10);
    for (uint64_t i = 0; i < 200; i++) {
        g_assert_cmpint(test_store(f.ctx, test_handle(f.ephemeral, i, i),
                                   TEST_PAGE_NOISE, i), ==, 0);
    }
    evicted = totals(f.client).evicted;
    g_assert_cmpuint(evicted, >, 0);
    for (unsigned i = 2; i < TMEM_CLIENT_POOLS_DEFAULT / 4; i++) {
        g_assert_cmpint(tmem_pool_create(f.client, TMEM_POOL_PERSISTENT,
                                         TMEM_PAGE_SHIFT, &id), ==,
                        TMEM_STATUS_OK);
    }
    g_assert_cmpuint(totals(f.client).evicted, >, evicted);
    fixture_tear_down(&f);
}

/* It is the client's own pages that go. */
static void test_others_pages_stay(void)
{
    Fixture f;
    Fixture o;

    fixture_set_up(&f, FIXTURE_SIZE, 256 << 10);
    other_set_up(&o, f.store);
    for (uint64_t i = 0; i < 200; i++) {
        g_assert_cmpint(test_store(o.ctx, test_handle(o.ephemeral, 1, i),
                                   TEST_PAGE_NOISE, i), ==, 0);
    }
    for (uint64_t i = 0; i < 200; i++) {
        test_store(f.ctx, test_handle(f.persistent, 1, i), TEST_PAGE_NOISE, i);
    }
    g_assert_cmpuint(totals(f.client).stores_quota, >, 0);
    g_assert_cmpuint(totals(o.client).evicted, ==, 0);
    other_tear_down(&o);
    fixture_tear_down(&f);
}

/* --- Memory that went bad --- */

/* Evicts all that can be. */
static void evict_all(Fixture *f)
{
    for (int i = 0; i < 4; i++) {
        tmem_store_evict(f->store, FIXTURE_SIZE);
    }
}

/*
 * One bit of the word that leads from a slot to its node is not what it was:
 * what the slot is part of stays, everything else goes.
 */
static void damage_owner(Fixture *f, TmemOwnerType type, unsigned bit)
{
    TmemHandle other = test_handle(f->ephemeral, 2, 1);
    TmemClientStats stats;
    uint64_t damaged;
    uint64_t *slot;
    TestPeek p;

    /* One bit from the second's place is the fourth, which goes after it. */
    for (uint64_t i = 0; i < 4; i++) {
        test_store(f->ctx, test_handle(f->ephemeral, 1, i), TEST_PAGE_MIXED,
                   i);
    }
    test_store(f->ctx, other, TEST_PAGE_MIXED, 1);
    g_assert_true(test_peek(f->ctx, test_handle(f->ephemeral, 1, 1), &p));
    slot = type == TMEM_OWNER_NODE ? &p.node->owner :
           tmem_slot_owner(&f->store->arena, type == TMEM_OWNER_ARRAY ?
                           p.node->entries : tmem_entry_ref(*p.entry));
    g_assert_cmpint(tmem_owner_type(*slot), ==, type);
    damaged = *slot ^ 1ull << bit;
    *slot = damaged;
    evict_all(f);
    test_expect_status(f->ctx, other, TMEM_STATUS_MISS);
    if (*slot == damaged) {
        *slot ^= 1ull << bit;
    }
    test_check(f->store);
    evict_all(f);
    tmem_client_get_stats(f->client, &stats);
    g_assert_cmpuint(stats.total.pages, ==, 0);
}

static void test_damaged_owner(void)
{
    Fixture f;

    fixture_set_up(&f, FIXTURE_SIZE, 0);
    for (unsigned bit = 0; bit < 64; bit++) {
        damage_owner(&f, TMEM_OWNER_RECORD, bit);
        damage_owner(&f, TMEM_OWNER_ARRAY, bit);
        damage_owner(&f, TMEM_OWNER_NODE, bit);
    }
    fixture_tear_down(&f);
}

/* --- All of it --- */

typedef struct Guest {
    Fixture *f;
    TmemContext *ctx;
    pthread_t thread;
    bool *stop;
} Guest;

static void *keep_storing(void *opaque)
{
    Guest *g = opaque;
    uint8_t *page = tmem_context_bounce(g->ctx);
    uint64_t i = (uintptr_t)g;

    test_page_make(page, TEST_PAGE_NOISE, i);
    for (; !__atomic_load_n(g->stop, __ATOMIC_RELAXED); i++) {
        TmemHandle h = test_handle(g->f->ephemeral, i / 64, i);

        tmem_page_store(g->ctx, &h, page);
    }
    return NULL;
}

/*
 * Caught: who evicts all there is went on for as long as guests stored, and so
 * did the operator's command.
 */
static void test_all_of_busy(void)
{
    const uint64_t size = 32u << 20;
    bool stop = false;
    Guest guests[12];
    uint64_t nr = 0;
    Fixture f;

    fixture_set_up(&f, size, 0);
    for (unsigned i = 0; i < G_N_ELEMENTS(guests); i++) {
        guests[i] = (Guest) {
            .f = &f, .ctx = tmem_context_new(f.client, NULL), .stop = &stop,
        };
        g_assert_nonnull(guests[i].ctx);
    }
    while (f.client->heap.bytes < size - (1u << 20)) {
        g_assert_cmpint(test_store(f.ctx, test_handle(f.ephemeral, nr / 64, nr),
                                   TEST_PAGE_NOISE, nr), ==, TMEM_STATUS_OK);
        nr++;
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(guests); i++) {
        pthread_create(&guests[i].thread, NULL, keep_storing, &guests[i]);
    }
    for (unsigned i = 0; i < 64; i++) {
        uint64_t went = i % 2 ? tmem_store_evict(f.store, UINT64_MAX) :
                                tmem_client_evict(f.client, UINT64_MAX);

        /* What came free is counted in whole segments. */
        g_assert_cmpuint(went, <=, size + (1u << 20));
    }
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    for (unsigned i = 0; i < G_N_ELEMENTS(guests); i++) {
        pthread_join(guests[i].thread, NULL);
        tmem_context_free(guests[i].ctx);
    }
    fixture_tear_down(&f);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/tmem/evict/busy-segments", test_busy_segments);
    g_test_add_func("/tmem/evict/busy-victims", test_busy_victims);
    g_test_add_func("/tmem/evict/idle-same-filled", test_idle_same_filled);
    g_test_add_func("/tmem/evict/index-stays", test_index_stays);
    g_test_add_func("/tmem/evict/index-bounded", test_index_bounded);
    g_test_add_func("/tmem/evict/scan", test_scan);
    g_test_add_func("/tmem/evict/ghosts-go", test_ghosts_go);
    g_test_add_func("/tmem/evict/own-pages", test_own_pages);
    g_test_add_func("/tmem/evict/own-pools", test_own_pools);
    g_test_add_func("/tmem/evict/others-pages-stay", test_others_pages_stay);
    g_test_add_func("/tmem/evict/damaged-owner", test_damaged_owner);
    g_test_add_func("/tmem/evict/all-of-busy", test_all_of_busy);
    return g_test_run();
}
