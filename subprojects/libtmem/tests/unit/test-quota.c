/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Limits of pools within their client, and of memory seen from outside
 */
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "testlib.h"
#include "tmem-store.h"

/* --- Pools --- */

typedef struct Found {
    uint64_t id;
    TmemPoolInfo info;
} Found;

static void find_pool(const TmemPoolInfo *info, void *opaque)
{
    Found *found = opaque;

    if (info->id == found->id) {
        found->info = *info;
    }
}

static TmemPoolInfo info_of(Fixture *f, uint64_t id)
{
    Found found = { .id = id };

    tmem_client_foreach_pool(f->client, find_pool, &found);
    g_assert_cmpuint(found.info.id, ==, id);
    return found.info;
}

static uint64_t pool_bytes(Fixture *f, uint64_t id)
{
    TmemPoolInfo info = info_of(f, id);

    return info.stats.data_bytes + info.stats.index_bytes;
}

static void test_pool_maximum(void)
{
    const TmemLimits limits = { .max_bytes = 512 << 10 };
    TmemStatus status;
    uint64_t i;
    Fixture f;

    fixture_set_up(&f, FIXTURE_SIZE, 0);
    g_assert_true(tmem_pool_set_limits(f.client, f.ephemeral, &limits, NULL));
    g_assert_true(tmem_pool_set_limits(f.client, f.persistent, &limits, NULL));
    /* A cache goes on with young pages for old ones ... */
    for (i = 0; i < 1000; i++) {
        TmemHandle h = test_handle(f.ephemeral, i / 50, i);

        g_assert_cmpint(test_store(f.ctx, h, i % 3 ? TEST_PAGE_MIXED :
                                                     TEST_PAGE_NOISE, i), ==,
                        TMEM_STATUS_OK);
        test_expect_page(f.ctx, h, i % 3 ? TEST_PAGE_MIXED : TEST_PAGE_NOISE,
                         i);
        g_assert_cmpuint(pool_bytes(&f, f.ephemeral), <=, limits.max_bytes);
    }
    g_assert_cmpuint(pool_bytes(&f, f.ephemeral), >, limits.max_bytes / 10 * 9);
    test_expect_status(f.ctx, test_handle(f.ephemeral, 0, 0), TMEM_STATUS_MISS);
    /* ... and what is kept for certain is refused. */
    for (i = 0; ; i++) {
        status = test_store(f.ctx, test_handle(f.persistent, 1, i),
                            TEST_PAGE_NOISE, i);
        if (status != TMEM_STATUS_OK) {
            break;
        }
    }
    g_assert_cmpint(status, ==, TMEM_STATUS_QUOTA);
    g_assert_cmpuint(pool_bytes(&f, f.persistent), <=, limits.max_bytes);
    g_assert_cmpuint(pool_bytes(&f, f.persistent), >,
                     limits.max_bytes - 2 * TMEM_PAGE_SIZE);
    g_assert_cmpuint(info_of(&f, f.persistent).limits.max_bytes, ==,
                     limits.max_bytes);
    /* Lowered: what can go goes at once. */
    g_assert_true(tmem_pool_set_limits(f.client, f.ephemeral,
        &(TmemLimits) { .max_bytes = 100 << 10 }, NULL));
    g_assert_cmpuint(pool_bytes(&f, f.ephemeral), <=, 100 << 10);
    fixture_tear_down(&f);
}

/*
 * Pages of which a record ends well before its slot: the maximum has room for
 * the one and not for the other.  That is no reason to take a sibling's pages,
 * nor to refuse a cache's.
 */
static void test_pool_maximum_spares_siblings(void)
{
    const TmemLimits limits = { .max_bytes = 1 << 20 };
    TmemStatus status = TMEM_STATUS_OK;
    uint64_t cache;
    Fixture f;

    fixture_set_up(&f, 16u << 20, 0);
    g_assert_cmpint(tmem_pool_create(f.client, TMEM_POOL_EPHEMERAL,
                                     TMEM_PAGE_SHIFT, &cache), ==, 0);
    for (uint64_t i = 0; i < 1000; i++) {
        g_assert_cmpint(test_store(f.ctx, test_handle(f.ephemeral, 1, i),
                                   TEST_PAGE_NOISE, i), ==, TMEM_STATUS_OK);
    }
    g_assert_true(tmem_pool_set_limits(f.client, cache, &limits, NULL));
    g_assert_true(tmem_pool_set_limits(f.client, f.persistent, &limits, NULL));
    for (uint64_t i = 0; i < 600; i++) {
        g_assert_cmpint(test_store(f.ctx, test_handle(cache, 1, i),
                                   TEST_PAGE_NOISE, i), ==, TMEM_STATUS_OK);
    }
    for (uint64_t i = 0; i < 600 && status == TMEM_STATUS_OK; i++) {
        status = test_store(f.ctx, test_handle(f.persistent, 1, i),
                            TEST_PAGE_NOISE, i);
    }
    g_assert_cmpint(status, ==, TMEM_STATUS_QUOTA);
    g_assert_cmpuint(pool_bytes(&f, cache), <=, limits.max_bytes);
    g_assert_cmpuint(pool_bytes(&f, cache), >, limits.max_bytes / 10 * 9);
    g_assert_cmpuint(info_of(&f, f.ephemeral).stats.evicted, ==, 0);
    g_assert_cmpuint(info_of(&f, f.ephemeral).stats.pages, ==, 1000);
    fixture_tear_down(&f);
}

static void test_pool_contradictions(void)
{
    static const struct {
        TmemLimits limits;
        const char *sentence;
    } cases[] = {
        { { .min_bytes = 2, .max_bytes = 1 },
          " of client 'test': the minimum of 2 bytes is above the maximum of "
          "1 bytes" },
        { { .weight = TMEM_WEIGHT_MAX + 1 },
          " of client 'test': weight 10001 is out of range; possible are 1 "
          "to 10000" },
        { { .min_bytes = 600 << 10 },
          " of client 'test': a minimum of 614400 bytes is more than the "
          "548576 bytes of the client that the minimums of its other pools "
          "leave" },
    };
    g_autoptr(GError) err = NULL;
    Fixture f;

    fixture_set_up(&f, FIXTURE_SIZE, 1u << 20);
    g_assert_true(tmem_pool_set_limits(f.client, f.persistent,
        &(TmemLimits) { .min_bytes = 500000 }, NULL));
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *sentence =
            g_strdup_printf("pool 0x%" G_GINT64_MODIFIER "x%s", f.ephemeral,
                            cases[i].sentence);

        g_assert_false(tmem_pool_set_limits(f.client, f.ephemeral,
                                            &cases[i].limits, &err));
        g_assert_cmpstr(err->message, ==, sentence);
        g_clear_error(&err);
        g_assert_cmpuint(info_of(&f, f.ephemeral).limits.min_bytes, ==, 0);
    }
    g_assert_false(tmem_pool_set_limits(f.client, 0x40000, &cases[0].limits,
                                        &err));
    g_assert_cmpstr(err->message, ==,
                    "client 'test' has no pool with ID 0x40000");
    fixture_tear_down(&f);
}

/*
 * One limit is changed, and the others stay what they were: none, not what none
 * comes to at that moment.
 */
static void test_pool_one_limit(void)
{
    g_autoptr(GError) err = NULL;
    TmemLimits limits = { 1, 1, 1 };
    Fixture f;

    fixture_set_up(&f, FIXTURE_SIZE, 1u << 20);
    g_assert_true(tmem_pool_get_limits(f.client, f.ephemeral, &limits, NULL));
    g_assert_cmpuint(limits.min_bytes, ==, 0);
    g_assert_cmpuint(limits.max_bytes, ==, 0);
    g_assert_cmpuint(limits.weight, ==, 0);
    limits.weight = 7;
    g_assert_true(tmem_pool_change_limits(f.client, f.ephemeral, &limits,
                                          NULL));
    g_assert_cmpuint(info_of(&f, f.ephemeral).limits.max_bytes, ==, 1u << 20);
    g_assert_true(tmem_client_set_limits(f.client,
        &(TmemLimits) { .max_bytes = 2u << 20 }, NULL));
    g_assert_cmpuint(info_of(&f, f.ephemeral).limits.max_bytes, ==, 2u << 20);
    g_assert_cmpuint(info_of(&f, f.ephemeral).limits.weight, ==, 7);
    g_assert_false(tmem_pool_get_limits(f.client, 0x40000, &limits, &err));
    g_assert_cmpstr(err->message, ==,
                    "client 'test' has no pool with ID 0x40000");
    fixture_tear_down(&f);
}

/* A change alone drops nothing; what follows it does, if the pool is there. */
static void test_pool_evict_to_limits(void)
{
    const TmemLimits limits = { .max_bytes = 100 << 10 };
    uint64_t bytes;
    Fixture f;

    fixture_set_up(&f, FIXTURE_SIZE, 0);
    for (uint64_t i = 0; i < 200; i++) {
        g_assert_cmpint(test_store(f.ctx, test_handle(f.ephemeral, i / 50, i),
                                   TEST_PAGE_NOISE, i), ==, TMEM_STATUS_OK);
    }
    bytes = pool_bytes(&f, f.ephemeral);
    g_assert_true(tmem_pool_change_limits(f.client, f.ephemeral, &limits,
                                          NULL));
    g_assert_cmpuint(pool_bytes(&f, f.ephemeral), ==, bytes);
    tmem_pool_evict_to_limits(f.client, f.ephemeral);
    g_assert_cmpuint(pool_bytes(&f, f.ephemeral), <=, limits.max_bytes);
    g_assert_cmpuint(pool_bytes(&f, f.ephemeral), >, limits.max_bytes / 4);
    bytes = f.ephemeral;
    g_assert_cmpint(tmem_pool_destroy(f.client, bytes), ==, TMEM_STATUS_OK);
    tmem_pool_evict_to_limits(f.client, bytes);
    fixture_tear_down(&f);
}

/*
 * What a smaller page gives back is booked once, with the page; and levels that
 * are behind for a moment are no reason to refuse.
 */
static void test_pool_booking(void)
{
    TmemQuota quota = { .bytes = 1000, .max_bytes = 1000 };

    g_assert_true(tmem_quota_take(&quota, -100));
    g_assert_cmpint(quota.bytes, ==, 1000);
    g_assert_false(tmem_quota_take(&quota, 1));
    quota.bytes = -300;
    g_assert_false(tmem_quota_is_full(&quota, 200));
    g_assert_true(tmem_quota_take(&quota, 200));
    g_assert_cmpint(quota.bytes, ==, -100);
    tmem_quota_add(&quota, -200);
    g_assert_cmpint(quota.bytes, ==, -300);
    g_assert_true(tmem_quota_is_full(&quota, 1301));
    g_assert_false(tmem_quota_take(&quota, 1301));
}

/* Two caches 1:3 at their client's limit, and one below its minimum. */
static void test_pool_weights(void)
{
    const uint64_t max = 4u << 20;
    uint64_t heavy, kept, bytes[2];
    Fixture f;

    fixture_set_up(&f, 16u << 20, max);
    g_assert_cmpint(tmem_pool_create(f.client, TMEM_POOL_EPHEMERAL,
                                     TMEM_PAGE_SHIFT, &heavy), ==, 0);
    g_assert_cmpint(tmem_pool_create(f.client, TMEM_POOL_EPHEMERAL,
                                     TMEM_PAGE_SHIFT, &kept), ==, 0);
    g_assert_true(tmem_pool_set_limits(f.client, heavy,
        &(TmemLimits) { .weight = 300 }, NULL));
    g_assert_true(tmem_pool_set_limits(f.client, kept,
        &(TmemLimits) { .min_bytes = 400 << 10, .weight = 1 }, NULL));
    for (uint64_t i = 0; i < 80; i++) {
        g_assert_cmpint(test_store(f.ctx, test_handle(kept, 1, i),
                                   TEST_PAGE_NOISE, i), ==, 0);
    }
    for (uint64_t i = 0; i < 12000; i++) {
        TmemHandle h = test_handle(i % 2 ? heavy : f.ephemeral, i / 100, i);

        g_assert_cmpint(test_store(f.ctx, h, TEST_PAGE_MIXED, i), ==, 0);
    }
    bytes[0] = pool_bytes(&f, f.ephemeral);
    bytes[1] = pool_bytes(&f, heavy);
    g_test_message("%.3f", (double)bytes[0] / (bytes[0] + bytes[1]));
    g_assert_cmpfloat((double)bytes[0] / (bytes[0] + bytes[1]), >, 0.22);
    g_assert_cmpfloat((double)bytes[0] / (bytes[0] + bytes[1]), <, 0.28);
    g_assert_cmpuint(bytes[0] + bytes[1], >, max / 10 * 7);
    g_assert_cmpuint(info_of(&f, kept).stats.pages, ==, 80);
    fixture_tear_down(&f);
}

/* --- What the operating system sees --- */

static uint64_t resident_at(void *addr, size_t bytes)
{
    size_t page_size = sysconf(_SC_PAGESIZE);
    size_t nr = (bytes + page_size - 1) / page_size;
    g_autofree unsigned char *there = g_malloc(nr);
    uint64_t sum = 0;

    g_assert_cmpint(mincore(addr, bytes, there), ==, 0);
    for (size_t i = 0; i < nr; i++) {
        sum += (there[i] & 1) * page_size;
    }
    return sum;
}

/* All that the store's clients can make it touch. */
static uint64_t resident_of(Fixture *f)
{
    TmemArena *arena = &f->store->arena;
    TmemIndex *index = &f->store->index;

    return resident_at(arena->base, arena->span_bytes) +
           resident_at(arena->segments, arena->segments_bytes) +
           resident_at(index->tables, index->tables_bytes) +
           resident_at(f->client->pools, f->client->pools_bytes) +
           resident_at(f->ctx->tallies, f->ctx->tallies_bytes);
}

/* A page that is stored in about @bytes. */
static void sized_page(uint8_t *page, unsigned bytes, uint64_t tag)
{
    test_page_make(page, TEST_PAGE_NOISE, tag);
    memset(page + bytes, 0, TMEM_PAGE_SIZE - bytes);
}

#define HOSTILE_STORE   (64u << 20)
#define HOSTILE_MAX     (16u << 20)

/*
 * One page per object, in all sizes that there are classes for; then all but
 * every 61st goes, and again with other sizes: as many half-used segments and
 * as much index as can be had for the limit.  A client of 16 MiB could pin 256.
 */
static void test_hostile_stream(void)
{
    const uint64_t nr = 9000;
    uint64_t base, most = 0;
    TmemStoreStats stats;
    Fixture f;

    fixture_set_up(&f, HOSTILE_STORE, HOSTILE_MAX);
    base = resident_of(&f);
    for (unsigned round = 0; round < 8; round++) {
        for (uint64_t i = 0; i < nr; i++) {
            uint64_t object = round * nr + i;
            TmemHandle h = test_handle(round % 2 && i % 3 ? f.ephemeral :
                                                            f.persistent,
                                       object, UINT64_MAX - object * 64);

            sized_page(tmem_context_bounce(f.ctx),
                       8 + (i * 37 + round * 61) % (TMEM_PAGE_SIZE - 8),
                       object);
            tmem_page_store(f.ctx, &h, tmem_context_bounce(f.ctx));
            if (i % 1000 == 999) {
                most = MAX(most, resident_of(&f));
            }
        }
        for (uint64_t i = 0; i < nr; i++) {
            uint64_t object = round * nr + i;
            TmemHandle h = test_handle(round % 2 && i % 3 ? f.ephemeral :
                                                            f.persistent,
                                       object, UINT64_MAX - object * 64);

            if (i % 61) {
                tmem_page_invalidate(f.ctx, &h);
            }
        }
        most = MAX(most, resident_of(&f));
    }
    g_test_message("resident at most %" G_GUINT64_FORMAT " KiB for a limit of "
                   "%u KiB, %" G_GUINT64_FORMAT " KiB before", most >> 10,
                   HOSTILE_MAX >> 10, base >> 10);
    /* Beside the client's limit: shared hash tables, descriptors, idle ones. */
    tmem_store_get_stats(f.store, &stats);
    g_assert_cmpuint(most, <=, base + HOSTILE_MAX + (2u << 20));
    g_assert_cmpuint(most, >, HOSTILE_MAX / 2);
    g_assert_cmpuint(stats.overhead_bytes, <=, f.empty_bytes + (2u << 20));
    fixture_tear_down(&f);
}

/* The same, with the store's size as the only limit. */
static void test_hostile_store(void)
{
    TmemStatus status;
    uint64_t object = 0;
    Fixture f;

    fixture_set_up(&f, FIXTURE_SIZE, 0);
    for (unsigned round = 0; round < 6; round++) {
        do {
            TmemHandle h = test_handle(f.persistent, object, object << 40);

            sized_page(tmem_context_bounce(f.ctx),
                       8 + object * 97 % (TMEM_PAGE_SIZE - 8), object);
            status = tmem_page_store(f.ctx, &h, tmem_context_bounce(f.ctx));
            object++;
            if (object % 512 == 0) {
                g_assert_cmpuint(resident_of(&f), <=, FIXTURE_SIZE);
            }
        } while (status == TMEM_STATUS_OK);
        g_assert_cmpint(status, ==, TMEM_STATUS_NOSPC);
        g_assert_cmpuint(resident_of(&f), <=, FIXTURE_SIZE);
        g_assert_cmpuint(resident_of(&f), >, FIXTURE_SIZE / 10 * 9);
        for (uint64_t i = 0; i < object; i++) {
            TmemHandle h = test_handle(f.persistent, i, i << 40);

            if (i % 53) {
                tmem_page_invalidate(f.ctx, &h);
            }
        }
        g_assert_cmpuint(resident_of(&f), <=, FIXTURE_SIZE);
    }
    fixture_tear_down(&f);
}

/* A small client is not lost in segments that it only began. */
static void test_small_client(void)
{
    TmemClientStats stats;
    TmemStatus status;
    Fixture f;

    fixture_set_up(&f, 1024u << 20, HOSTILE_MAX);
    for (uint64_t i = 0; ; i++) {
        TmemHandle h = test_handle(f.persistent, i / 256, i);

        /* As pages of programs compress: from a quarter to all of a page. */
        sized_page(tmem_context_bounce(f.ctx), 1024 + i * 211 % 3000, i);
        status = tmem_page_store(f.ctx, &h, tmem_context_bounce(f.ctx));
        if (status != TMEM_STATUS_OK) {
            break;
        }
    }
    g_assert_cmpint(status, ==, TMEM_STATUS_QUOTA);
    tmem_client_get_stats(f.client, &stats);
    g_test_message("%.3f", (double)stats.bytes / stats.total.stored_bytes);
    g_assert_cmpfloat((double)stats.bytes / stats.total.stored_bytes, <, 1.15);
    fixture_tear_down(&f);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/tmem/limits/pool/maximum", test_pool_maximum);
    g_test_add_func("/tmem/limits/pool/maximum-spares-siblings",
                    test_pool_maximum_spares_siblings);
    g_test_add_func("/tmem/limits/pool/contradictions",
                    test_pool_contradictions);
    g_test_add_func("/tmem/limits/pool/one-limit", test_pool_one_limit);
    g_test_add_func("/tmem/limits/pool/evict-to-limits",
                    test_pool_evict_to_limits);
    g_test_add_func("/tmem/limits/pool/booking", test_pool_booking);
    g_test_add_func("/tmem/limits/pool/weights", test_pool_weights);
    g_test_add_func("/tmem/B8/hostile/client-pins-no-more-than-its-limit",
                    test_hostile_stream);
    g_test_add_func("/tmem/B8/hostile/store", test_hostile_store);
    g_test_add_func("/tmem/memory/small-client", test_small_client);
    return g_test_run();
}
