/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Eviction: whose pages go, and that it gets somewhere
 */
#include "testlib.h"
#include "tmem-store.h"

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
    uint64_t nr = 0;
    Fixture f;

    fixture_set_up(&f, FIXTURE_SIZE, 0);
    arena = &f.store->arena;
    for (unsigned i = 0; i < HELD; i++) {
        uint32_t segment;

        held[i] = tmem_arena_alloc(arena, TMEM_SPACE_EPHEMERAL,
                                   TMEM_PAGE_SIZE + 12, false);
        segment = tmem_arena_segment_of(arena, held[i]);
        g_assert_true(!i || segment !=
                      tmem_arena_segment_of(arena, held[i - 1]));
        while (arena->segments[segment].listed) {
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
        tmem_arena_free(arena, held[i]);
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
    g_assert_cmpint(tmem_evict_segment(f.store), ==, TMEM_EVICTED_NONE);
    g_assert_cmpint(test_store(f.ctx, test_handle(f.ephemeral, 1, 1),
                               TEST_PAGE_NOISE, 1), ==, TMEM_STATUS_OK);
    for (int i = 0; i < 2; i++) {
        /* Its record's segment, then that of its node. */
        tmem_lock(&arena->lock);
        tmem_arena_victim_begin(
            arena, arena->order[i ? TMEM_SPACE_EPHEMERAL_INDEX :
                                    TMEM_SPACE_EPHEMERAL].first, &victim);
        g_assert_cmpint(tmem_evict_segment(f.store), ==,
                        i ? TMEM_EVICTED_BUSY : TMEM_EVICTED_FREED);
        tmem_arena_victim_end(arena, &victim);
        test_store(f.ctx, test_handle(f.ephemeral, 1, 1), TEST_PAGE_ZERO, 1);
    }
    g_assert_cmpint(tmem_evict_segment(f.store), ==, TMEM_EVICTED_FREED);
    g_assert_cmpint(tmem_evict_segment(f.store), ==, TMEM_EVICTED_NONE);
    fixture_tear_down(&f);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/tmem/evict/busy-segments", test_busy_segments);
    g_test_add_func("/tmem/evict/busy-victims", test_busy_victims);
    return g_test_run();
}
