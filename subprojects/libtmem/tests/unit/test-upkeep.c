/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a store does in the background: ages, recompression, compaction
 *
 * Most tests do the steps themselves, with a clock of their own.
 */
#include "testlib.h"
#include "testpeek.h"
#include "tmem-fault.h"
#include "tmem-upkeep.h"

#define STORE_SIZE  (64u << 20)

/* --- Pages and steps --- */

static void store_letters(TmemContext *ctx, TmemHandle h, uint64_t tag)
{
    test_page_letters(tmem_context_bounce(ctx), tag);
    g_assert_cmpint(tmem_page_store(ctx, &h, tmem_context_bounce(ctx)), ==,
                    TMEM_STATUS_OK);
}

static void expect_letters(TmemContext *ctx, TmemHandle h, uint64_t tag)
{
    uint8_t want[TMEM_PAGE_SIZE], got[TMEM_PAGE_SIZE];

    g_assert_cmpint(tmem_page_load(ctx, &h, got, NULL), ==, TMEM_STATUS_OK);
    test_page_letters(want, tag);
    g_assert_cmpmem(got, sizeof(got), want, sizeof(want));
}

static TmemStoreStats store_stats(TmemStore *store)
{
    TmemStoreStats stats;

    tmem_store_get_stats(store, &stats);
    return stats;
}

static TmemKind kind_of(Fixture *f, TmemHandle h)
{
    TestPeek peek;

    g_assert_true(test_peek(f->ctx, h, &peek));
    return tmem_entry_kind(*peek.entry);
}

/* --- Ages --- */

/* After the idle time and not before; what is used in between stays. */
static void test_ages(void)
{
    const uint64_t nr = 500;
    Fixture f;

    fixture_set_up(&f, STORE_SIZE, 0);
    test_set_upkeep(f.store, 100, false);
    for (uint64_t i = 0; i < nr; i++) {
        store_letters(f.ctx, test_handle(i % 2 ? f.ephemeral : f.persistent,
                                         i / 100, i), i);
    }
    /* Passes half the idle time apart: 10, 60, 110. */
    for (uint64_t t = 10; t < 110; t += 5) {
        test_upkeep(f.store, t);
        g_assert_cmpuint(test_stats(f.client).total.recompressed, ==, 0);
        if (t == 80) {
            for (uint64_t i = 0; i < nr; i += 5) {
                expect_letters(f.ctx, test_handle(i % 2 ? f.ephemeral :
                                                          f.persistent,
                                                  i / 100, i), i);
            }
        }
    }
    test_upkeep(f.store, 110);
    g_assert_cmpuint(test_stats(f.client).total.recompressed, ==, nr - nr / 5);
    g_assert_cmpuint(test_stats(f.client).total.pages_zstd, ==, nr - nr / 5);
    g_assert_cmpuint(test_stats(f.client).total.pages, ==, nr);
    test_check(f.store);
    test_check_laws(f.client);

    /* Those loaded at 80 were never idle for 100 seconds before 180. */
    for (uint64_t t = 115; t < 180; t += 5) {
        test_upkeep(f.store, t);
        g_assert_cmpuint(test_stats(f.client).total.recompressed, ==,
                         nr - nr / 5);
    }
    for (uint64_t t = 180; t <= 230; t += 5) {
        test_upkeep(f.store, t);
    }
    g_assert_cmpuint(test_stats(f.client).total.recompressed, ==, nr);
    for (uint64_t i = 0; i < nr; i++) {
        expect_letters(f.ctx, test_handle(i % 2 ? f.ephemeral : f.persistent,
                                          i / 100, i), i);
    }
    /* It is known what that took. */
    g_assert_cmpuint(store_stats(f.store).upkeep_cpu_ns, >, 0);
    g_assert_cmpuint(store_stats(f.store).recompress_passes, ==, 5);
    g_assert_cmpuint(store_stats(f.store).recompress_starved, ==, 0);
    g_assert_cmpuint(store_stats(f.store).compact_passes, ==, 0);
    /* What has that form once is not touched again. */
    for (uint64_t t = 235; t < 500; t += 5) {
        test_upkeep(f.store, t);
    }
    g_assert_cmpuint(test_stats(f.client).total.recompressed, ==, nr);
    /* Nor does it become young again by getting older. */
    for (uint64_t t = 500; t < 800; t += 5) {
        TestPeek peek;

        test_upkeep(f.store, t);
        g_assert_true(test_peek(f.ctx, test_handle(f.persistent, 0, 0),
                                &peek));
        g_assert_cmpuint(tmem_entry_age(*peek.entry), ==, TMEM_AGE_DONE);
    }
    fixture_tear_down(&f);
}

/* For want of a smaller slot: not half the idle time later, but soon. */
static void test_starved(void)
{
    const uint64_t nr = 10;
    Fixture f;

    fixture_set_up(&f, STORE_SIZE, 0);
    test_set_upkeep(f.store, 100, false);
    for (uint64_t i = 0; i < nr; i++) {
        store_letters(f.ctx, test_handle(f.persistent, 1, i), i);
    }
    test_upkeep(f.store, 10);
    test_upkeep(f.store, 60);
    tmem_fault_arm_from("arena-slot", 1);
    test_upkeep(f.store, 110);
    g_assert_cmpstr(tmem_fault_disarm(), ==, "arena-slot");
    g_assert_cmpuint(store_stats(f.store).recompress_starved, ==, nr);
    g_assert_cmpuint(test_stats(f.client).total.recompressed, ==, 0);
    test_upkeep(f.store, 114);
    g_assert_cmpuint(test_stats(f.client).total.recompressed, ==, 0);
    test_upkeep(f.store, 116);
    g_assert_cmpuint(test_stats(f.client).total.recompressed, ==, nr);
    fixture_tear_down(&f);
}

/* Turned off, nothing gets older. */
static void test_off(void)
{
    Fixture f;

    fixture_set_up(&f, STORE_SIZE, 0);
    test_set_upkeep(f.store, 0, false);
    store_letters(f.ctx, test_handle(f.persistent, 1, 1), 1);
    for (uint64_t t = 1; t < 1000; t += 10) {
        test_upkeep(f.store, t);
    }
    g_assert_cmpuint(test_stats(f.client).total.recompressed, ==, 0);
    test_set_upkeep(f.store, 10, false);
    test_upkeep(f.store, 1000);
    test_upkeep(f.store, 1005);
    g_assert_cmpuint(test_stats(f.client).total.recompressed, ==, 0);
    test_upkeep(f.store, 1010);
    g_assert_cmpuint(test_stats(f.client).total.recompressed, ==, 1);
    fixture_tear_down(&f);
}

/* --- Recompression --- */

/* Only what saves memory takes another form, and all of it stays right. */
static void test_saves(void)
{
    const uint64_t nr = 1200;
    TmemPoolStats before, after;
    Fixture f;

    fixture_set_up(&f, STORE_SIZE, 0);
    for (uint64_t i = 0; i < nr; i++) {
        TmemHandle h = test_handle(i % 2 ? f.ephemeral : f.persistent, i / 64,
                                   i);

        if (i % 7 == 6) {
            store_letters(f.ctx, h, i);
        } else {
            g_assert_cmpint(test_store(f.ctx, h, i % 7, i), ==, 0);
        }
    }
    before = test_stats(f.client).total;
    g_assert_cmpuint(tmem_store_recompress(f.store), >=, nr / 7);
    after = test_stats(f.client).total;
    g_assert_cmpuint(after.data_bytes, <, before.data_bytes);
    g_assert_cmpuint(after.recompressed, ==, after.pages_zstd);
    g_assert_cmpuint(after.pages_raw, ==, before.pages_raw - nr / 7);
    test_check(f.store);
    for (uint64_t i = 0; i < nr; i++) {
        TmemHandle h = test_handle(i % 2 ? f.ephemeral : f.persistent, i / 64,
                                   i);

        if (i % 7 == 6) {
            g_assert_cmpint(kind_of(&f, h), ==, TMEM_KIND_ZSTD);
            expect_letters(f.ctx, h, i);
        } else {
            test_expect_page(f.ctx, h, i % 7, i);
        }
    }
    /* Again: there is nothing more to be had. */
    g_assert_cmpuint(tmem_store_recompress(f.store), ==, 0);
    g_assert_cmpuint(test_stats(f.client).total.data_bytes, ==,
                     after.data_bytes);
    fixture_tear_down(&f);
}

/* A full store, or client, gets smaller and takes pages again. */
static void test_full(gconstpointer opaque)
{
    const bool at_limit = opaque;
    uint64_t nr = 0;
    TmemHandle h;
    Fixture f;

    fixture_set_up(&f, FIXTURE_SIZE, at_limit ? FIXTURE_SIZE / 2 : 0);
    test_set_upkeep(f.store, 10, true);
    for (;; nr++) {
        h = test_handle(f.persistent, nr / 64, nr);
        test_page_letters(tmem_context_bounce(f.ctx), nr);
        if (tmem_page_store(f.ctx, &h, tmem_context_bounce(f.ctx)) !=
            TMEM_STATUS_OK) {
            break;
        }
    }
    g_assert_cmpuint(nr, >, at_limit ? 700 : 1500);
    for (uint64_t t = 1; t < 400; t++) {
        test_upkeep(f.store, t);
    }
    g_assert_cmpuint(test_stats(f.client).total.pages_zstd, >, nr * 9 / 10);
    test_check(f.store);
    for (uint64_t i = nr; i < nr + nr / 2; i++) {
        store_letters(f.ctx, test_handle(f.persistent, i / 64, i), i);
    }
    for (uint64_t i = 0; i < nr + nr / 2; i++) {
        expect_letters(f.ctx, test_handle(f.persistent, i / 64, i), i);
    }
    fixture_tear_down(&f);
}

/*
 * Turned on when there is no memory at all, it has nothing to begin with.  As
 * soon as pages go, compaction makes that, and one by one all get smaller.
 */
static void test_full_already(void)
{
    uint64_t nr = 0, starved;
    TmemHandle h;
    Fixture f;

    fixture_set_up(&f, FIXTURE_SIZE, 0);
    test_set_upkeep(f.store, 0, true);
    for (;; nr++) {
        h = test_handle(f.persistent, nr / 64, nr);
        test_page_letters(tmem_context_bounce(f.ctx), nr);
        if (tmem_page_store(f.ctx, &h, tmem_context_bounce(f.ctx)) !=
            TMEM_STATUS_OK) {
            break;
        }
    }
    test_set_upkeep(f.store, 10, true);
    for (uint64_t t = 1; t < 100; t++) {
        test_upkeep(f.store, t);
    }
    starved = store_stats(f.store).recompress_starved;
    g_assert_cmpuint(starved, >, 0);
    g_assert_cmpuint(test_stats(f.client).total.pages_zstd, <, nr / 10);
    for (uint64_t i = 0; i < nr; i += 10) {
        h = test_handle(f.persistent, i / 64, i);
        g_assert_cmpint(tmem_page_invalidate(f.ctx, &h), ==, 0);
    }
    for (uint64_t t = 100; t < 400; t++) {
        test_upkeep(f.store, t);
    }
    g_assert_cmpuint(test_stats(f.client).total.pages_zstd, >, nr * 8 / 10);
    for (uint64_t i = 0; i < nr; i++) {
        if (i % 10) {
            expect_letters(f.ctx, test_handle(f.persistent, i / 64, i), i);
        }
    }
    fixture_tear_down(&f);
}

static void note_damage(TmemEvent event, TmemClient *client, void *opaque)
{
    TmemClient **of = opaque;

    g_assert_cmpint(event, ==, TMEM_EVENT_DAMAGED);
    g_assert_null(*of);
    *of = client;
}

/* A page that it cannot read is marked, said to be, and nothing else. */
static void test_finds_damage(void)
{
    TmemClient *of = NULL;
    TmemHandle h, other;
    TestPeek peek;
    Fixture f;

    fixture_set_up(&f, STORE_SIZE, 0);
    h = test_handle(f.persistent, 1, 1);
    other = test_handle(f.persistent, 1, 2);
    g_assert_cmpint(test_store(f.ctx, h, TEST_PAGE_TEXT, 1), ==, 0);
    g_assert_cmpint(test_store(f.ctx, other, TEST_PAGE_TEXT, 2), ==, 0);
    g_assert_true(test_peek(f.ctx, h, &peek));
    peek.data[3] ^= 0x10;
    tmem_store_set_event_func(f.store, note_damage, &of);
    tmem_store_recompress(f.store);
    g_assert_true(of == f.client);
    g_assert_cmpuint(test_stats(f.client).total.pages_damaged, ==, 1);
    test_expect_status(f.ctx, h, TMEM_STATUS_IO);
    test_expect_page(f.ctx, other, TEST_PAGE_TEXT, 2);
    /* Nor does it make something readable of it. */
    tmem_store_recompress(f.store);
    test_expect_status(f.ctx, h, TMEM_STATUS_IO);
    test_check(f.store);
    fixture_tear_down(&f);
}

/*
 * An exclusive load is finished although the page got older, or its record took
 * another form; with a page that was stored meanwhile it has nothing to do.
 */
static void test_take(void)
{
    uint8_t page[TMEM_PAGE_SIZE];
    uint64_t version;
    TmemHandle h;
    Fixture f;

    fixture_set_up(&f, STORE_SIZE, 0);
    h = test_handle(f.ephemeral, 1, 1);
    test_set_upkeep(f.store, 10, true);
    for (int what = 0; what < 4; what++) {
        store_letters(f.ctx, h, what);
        g_assert_cmpint(tmem_page_load(f.ctx, &h, page, &version), ==, 0);
        switch (what) {
        case 0:
            test_upkeep(f.store, 1);
            g_assert_cmpint(kind_of(&f, h), ==, TMEM_KIND_RAW);
            break;
        case 3:
            store_letters(f.ctx, h, 33);
            tmem_store_recompress(f.store);
            g_assert_cmpint(kind_of(&f, h), ==, TMEM_KIND_ZSTD);
            break;
        default:
            /* Before it is old enough; and the second time as well. */
            g_assert_cmpuint(tmem_store_recompress(f.store), ==, 1);
            g_assert_cmpint(kind_of(&f, h), ==, TMEM_KIND_ZSTD);
            break;
        }
        g_assert_cmpint(tmem_page_take(f.ctx, &h, version), ==, 0);
        if (what == 3) {
            expect_letters(f.ctx, h, 33);
        } else {
            test_expect_status(f.ctx, h, TMEM_STATUS_MISS);
        }
    }
    fixture_tear_down(&f);
}

/* What happens to a page while upkeep has its old contents in hand. */
typedef struct Meanwhile {
    Fixture f;
    TmemHandle h;
    int what;
} Meanwhile;

static void meanwhile(void *opaque)
{
    Meanwhile *m = opaque;

    if (m->what == 0) {
        store_letters(m->f.ctx, m->h, 2);
    } else if (m->what == 1) {
        g_assert_cmpint(tmem_page_invalidate(m->f.ctx, &m->h), ==, 0);
    } else {
        g_assert_cmpint(tmem_pool_destroy(m->f.client, m->h.pool), ==, 0);
    }
}

/* The page that came is not replaced by the one that went. */
static void test_replaced(void)
{
    for (int what = 0; what < 3; what++) {
        Meanwhile m = { .what = what };
        TmemRecompress *r;

        fixture_set_up(&m.f, STORE_SIZE, 0);
        m.h = test_handle(m.f.persistent, 1, 1);
        store_letters(m.f.ctx, m.h, 1);
        r = &m.f.store->upkeep.recompress;
        r->in_hand = meanwhile;
        r->opaque = &m;
        g_assert_cmpuint(tmem_store_recompress(m.f.store), ==, 0);
        if (what == 0) {
            expect_letters(m.f.ctx, m.h, 2);
        } else {
            test_expect_status(m.f.ctx, m.h, what == 1 ? TMEM_STATUS_MISS :
                                                         TMEM_STATUS_NOPOOL);
        }
        fixture_tear_down(&m.f);
    }
}

/* --- Compaction --- */

typedef struct Shape {
    const char *path;
    unsigned pages_per_object;
    bool ephemeral;
} Shape;

static const Shape shapes[] = {
    { "/tmem/upkeep/compact/dense", 256, false },
    { "/tmem/upkeep/compact/single", 1, false },
    { "/tmem/upkeep/compact/few", 5, false },
    { "/tmem/upkeep/compact/dense-ephemeral", 256, true },
    { "/tmem/upkeep/compact/single-ephemeral", 1, true },
};

/* Memory returns without any further stores. */
static void test_compact(gconstpointer opaque)
{
    const Shape *shape = opaque;
    const uint64_t nr = 5000;
    TestRand r = { test_seed() };
    g_autofree bool *there = g_new(bool, nr);
    uint64_t before, after;
    TmemPoolStats stats;
    Fixture f;

    fixture_set_up(&f, STORE_SIZE, 0);
    test_set_upkeep(f.store, 0, true);
    for (int round = 0; round < 2; round++) {
        uint64_t pool = shape->ephemeral ? f.ephemeral : f.persistent;

        for (uint64_t i = 0; i < nr; i++) {
            TmemHandle h = test_handle(pool, i / shape->pages_per_object, i);

            g_assert_cmpint(test_store(f.ctx, h, i % 3 ? TEST_PAGE_MIXED :
                                                         TEST_PAGE_TEXT, i),
                            ==, 0);
            there[i] = true;
        }
        for (uint64_t i = 0; i < nr; i++) {
            TmemHandle h = test_handle(pool, i / shape->pages_per_object, i);

            if (test_rand_below(&r, 3)) {
                g_assert_cmpint(tmem_page_invalidate(f.ctx, &h), ==, 0);
                there[i] = false;
            }
        }
        before = tmem_arena_used_bytes(&f.store->arena);
        test_upkeep(f.store, 10 + round * 100);
        test_upkeep(f.store, 20 + round * 100);
        test_check(f.store);
        after = tmem_arena_used_bytes(&f.store->arena);
        stats = test_stats(f.client).total;
        g_test_message("%" G_GUINT64_FORMAT " KiB before, %" G_GUINT64_FORMAT
                       " KiB after, %" G_GUINT64_FORMAT " KiB of data and "
                       "index, %" G_GUINT64_FORMAT " pages moved",
                       before >> 10, after >> 10,
                       (stats.data_bytes + stats.index_bytes) >> 10,
                       stats.moved);
        g_assert_cmpuint(stats.moved, >, 0);
        g_assert_cmpuint(after, <, before * 2 / 3);
        g_assert_cmpuint(after, <=, (stats.data_bytes + stats.index_bytes) *
                                    5 / 4 + (2u << 20));
        for (uint64_t i = 0; i < nr; i++) {
            TmemHandle h = test_handle(pool, i / shape->pages_per_object, i);

            if (there[i]) {
                test_expect_page(f.ctx, h, i % 3 ? TEST_PAGE_MIXED :
                                                   TEST_PAGE_TEXT, i);
            } else {
                test_expect_status(f.ctx, h, TMEM_STATUS_MISS);
            }
        }
    }
    fixture_tear_down(&f);
}

/*
 * Objects of several nodes, in so many chains that a node and the head of its
 * object are often in the same one: the way to the head must not lead through
 * the node's new place before that is a node.
 */
static void test_compact_heads(void)
{
    const uint64_t nr = 60000;
    g_autofree bool *there = g_new(bool, nr);
    TestRand r = { test_seed() };
    uint64_t full;
    Fixture f;

    fixture_set_up(&f, STORE_SIZE, 0);
    test_set_upkeep(f.store, 0, true);
    for (int round = 0; round < 3; round++) {
        for (uint64_t i = 0; i < nr; i++) {
            TmemHandle h = test_handle(f.persistent, i / 8, i % 8 * 64);

            g_assert_cmpint(test_store(f.ctx, h, TEST_PAGE_ZERO, i), ==, 0);
            there[i] = true;
        }
        for (uint64_t i = 0; i < nr; i++) {
            TmemHandle h = test_handle(f.persistent, i / 8, i % 8 * 64);

            if (test_rand_below(&r, 3)) {
                g_assert_cmpint(tmem_page_invalidate(f.ctx, &h), ==, 0);
                there[i] = false;
            }
        }
        full = test_stats(f.client).bytes;
        for (uint64_t t = 10; t < 100; t += 10) {
            test_upkeep(f.store, t + round * 100);
        }
        test_check(f.store);
        /* A third of the nodes is left. */
        g_test_message("%" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT " KiB",
                       test_stats(f.client).bytes >> 10, full >> 10);
        g_assert_cmpuint(test_stats(f.client).bytes, <, full / 2);
        for (uint64_t i = 0; i < nr; i++) {
            TmemHandle h = test_handle(f.persistent, i / 8, i % 8 * 64);

            if (there[i]) {
                test_expect_page(f.ctx, h, TEST_PAGE_ZERO, i);
            } else {
                test_expect_status(f.ctx, h, TMEM_STATUS_MISS);
            }
        }
    }
    fixture_tear_down(&f);
}

/* What is left when of each three objects two go, wherever they lie. */
static void test_compact_arrays(void)
{
    const uint64_t nr = 4000;
    TestRand r = { test_seed() };
    uint64_t full, left = nr;
    Fixture f;

    fixture_set_up(&f, STORE_SIZE, 0);
    test_set_upkeep(f.store, 0, true);
    for (uint64_t i = 0; i < nr * 64; i++) {
        /* No records: nodes and arrays are all there is. */
        g_assert_cmpint(test_store(f.ctx, test_handle(f.persistent, i / 64,
                                                      i % 64),
                                   TEST_PAGE_ZERO, i), ==, 0);
    }
    full = test_stats(f.client).bytes;
    for (uint64_t i = 0; i < nr; i++) {
        TmemHandle h = test_handle(f.persistent, i, 0);

        if (test_rand_below(&r, 3)) {
            g_assert_cmpint(tmem_object_invalidate(f.ctx, &h), ==, 0);
            left--;
        }
    }
    for (uint64_t t = 10; t < 100; t += 10) {
        test_upkeep(f.store, t);
    }
    g_test_message("%" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT " KiB",
                   test_stats(f.client).bytes >> 10, full >> 10);
    g_assert_cmpuint(test_stats(f.client).bytes, <, full / nr * left * 5 / 4);
    fixture_tear_down(&f);
}

/* Without need, or turned off, nothing moves. */
static void test_compact_not(void)
{
    Fixture f;

    fixture_set_up(&f, STORE_SIZE, 0);
    test_set_upkeep(f.store, 0, true);
    for (uint64_t i = 0; i < 3000; i++) {
        g_assert_cmpint(test_store(f.ctx, test_handle(f.persistent, i / 64, i),
                                   TEST_PAGE_MIXED, i), ==, 0);
    }
    test_upkeep(f.store, 10);
    g_assert_cmpuint(test_stats(f.client).total.moved, ==, 0);
    test_set_upkeep(f.store, 0, false);
    for (uint64_t i = 0; i < 3000; i++) {
        TmemHandle h = test_handle(f.persistent, i / 64, i);

        if (i % 4) {
            g_assert_cmpint(tmem_page_invalidate(f.ctx, &h), ==, 0);
        }
    }
    test_upkeep(f.store, 20);
    g_assert_cmpuint(test_stats(f.client).total.moved, ==, 0);
    test_set_upkeep(f.store, 0, true);
    test_upkeep(f.store, 30);
    g_assert_cmpuint(test_stats(f.client).total.moved, >, 0);
    fixture_tear_down(&f);
}

/* Moved pages keep their form, and a damaged one its damage. */
static void test_compact_keeps(void)
{
    TmemHandle damaged;
    TestPeek peek;
    Fixture f;

    fixture_set_up(&f, STORE_SIZE, 0);
    for (uint64_t i = 0; i < 4000; i++) {
        g_assert_cmpint(test_store(f.ctx, test_handle(f.persistent, i, 0),
                                   TEST_PAGE_MIXED, i), ==, 0);
    }
    damaged = test_handle(f.persistent, 40, 0);
    g_assert_true(test_peek(f.ctx, damaged, &peek));
    peek.data[0] ^= 1;
    test_expect_status(f.ctx, damaged, TMEM_STATUS_IO);
    for (uint64_t i = 0; i < 4000; i++) {
        TmemHandle h = test_handle(f.persistent, i, 0);

        if (i % 8) {
            g_assert_cmpint(tmem_page_invalidate(f.ctx, &h), ==, 0);
        }
    }
    test_set_upkeep(f.store, 0, true);
    test_upkeep(f.store, 10);
    g_assert_cmpuint(test_stats(f.client).total.moved, >, 0);
    g_assert_cmpuint(test_stats(f.client).total.pages_damaged, ==, 1);
    test_expect_status(f.ctx, damaged, TMEM_STATUS_IO);
    test_check(f.store);
    fixture_tear_down(&f);
}

/* --- The thread --- */

static uint64_t thread_ns(TmemStore *store)
{
    return store_stats(store).upkeep_cpu_ns;
}

/* It begins by itself and takes no more than its share. */
static void test_share(void)
{
    const uint64_t nr = 8000;
    gint64 start, elapsed;
    uint64_t used_ns;
    Fixture f;

    fixture_set_up(&f, STORE_SIZE, 0);
    for (uint64_t i = 0; i < nr; i++) {
        store_letters(f.ctx, test_handle(f.persistent, i / 8, i), i);
    }
    tmem_upkeep_by_hand(false);
    start = g_get_monotonic_time();
    test_set_upkeep(f.store, 1, true);
    while (!test_stats(f.client).total.recompressed &&
           g_get_monotonic_time() - start < 60 * G_USEC_PER_SEC) {
        g_usleep(10000);
    }
    g_usleep(G_USEC_PER_SEC / 2);
    /* In this order: this thread may have to wait in between. */
    used_ns = thread_ns(f.store);
    elapsed = g_get_monotonic_time() - start;
    g_assert_cmpuint(test_stats(f.client).total.recompressed, >, 0);
    g_assert_cmpuint(used_ns, >, 0);
    /* 10 per cent, and a step that just ended. */
    g_assert_cmpuint(used_ns, <=, elapsed * 1000 / 10 + TEST_SECOND / 50);
    fixture_tear_down(&f);
}

typedef struct Stress {
    TmemStore *store;
    bool stop;              /* atomic */
} Stress;

/* All the time, and not only when it is due. */
static void *keep_up(void *opaque)
{
    Stress *s = opaque;
    uint64_t second = 1;

    while (!__atomic_load_n(&s->stop, __ATOMIC_RELAXED)) {
        tmem_upkeep_step(s->store, second++ * TEST_SECOND, TEST_SECOND / 1000);
        if (second % 2 == 0) {
            tmem_store_recompress(s->store);
        }
    }
    return NULL;
}

/* A client of its own: stores, loads, invalidates, and knows what is there. */
static void *operate(void *opaque)
{
    /* So few that upkeep often has one in hand that is just replaced. */
    enum { NR = 24 };
    static int nr_clients;
    Stress *s = opaque;
    g_autofree char *name = g_strdup_printf(
        "c%d", __atomic_fetch_add(&nr_clients, 1, __ATOMIC_RELAXED));
    TestRand r = { test_seed() ^ g_str_hash(name) };

    while (!__atomic_load_n(&s->stop, __ATOMIC_RELAXED)) {
        TmemClientConfig config = { .name = name };
        TmemClient *client = tmem_client_new(s->store, &config, NULL);
        TmemContext *ctx = tmem_context_new(client, NULL);
        uint64_t tag[NR] = {};
        uint64_t pool;

        g_assert_cmpint(tmem_pool_create(client, TMEM_POOL_PERSISTENT,
                                         TMEM_PAGE_SHIFT, &pool), ==, 0);
        for (int n = 0; n < 100 * NR; n++) {
            uint64_t i = test_rand_below(&r, NR);
            TmemHandle h = test_handle(pool, i / 3, i);

            switch (test_rand_below(&r, 3)) {
            case 0:
                tag[i] = test_rand(&r) | 1;
                store_letters(ctx, h, tag[i]);
                break;
            case 1:
                if (tag[i]) {
                    expect_letters(ctx, h, tag[i]);
                }
                break;
            default:
                g_assert_cmpint(tmem_page_invalidate(ctx, &h), ==, 0);
                tag[i] = 0;
                break;
            }
        }
        tmem_context_free(ctx);
        tmem_client_free(client);
    }
    return NULL;
}

/* Upkeep beside operations, and clients that come and go. */
static void test_stress(void)
{
    TmemStoreConfig config = { .size_bytes = STORE_SIZE };
    g_autoptr(GError) err = NULL;
    pthread_t keeper, worker[2];
    Stress s = {};

    tmem_upkeep_by_hand(true);
    s.store = tmem_store_new(&config, &err);
    g_assert_no_error(err);
    test_set_upkeep(s.store, 1, true);
    g_assert_cmpint(pthread_create(&keeper, NULL, keep_up, &s), ==, 0);
    for (int i = 0; i < 2; i++) {
        g_assert_cmpint(pthread_create(&worker[i], NULL, operate, &s), ==, 0);
    }
    for (int i = 0; i < 10; i++) {
        g_usleep(100000);
        test_check(s.store);
    }
    __atomic_store_n(&s.stop, true, __ATOMIC_RELAXED);
    pthread_join(keeper, NULL);
    for (int i = 0; i < 2; i++) {
        pthread_join(worker[i], NULL);
    }
    test_check(s.store);
    tmem_store_free(s.store);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/tmem/upkeep/ages", test_ages);
    g_test_add_func("/tmem/upkeep/starved", test_starved);
    g_test_add_func("/tmem/upkeep/off", test_off);
    g_test_add_func("/tmem/upkeep/saves", test_saves);
    g_test_add_data_func("/tmem/upkeep/full/store", NULL, test_full);
    g_test_add_data_func("/tmem/upkeep/full/client", "at its limit", test_full);
    g_test_add_func("/tmem/upkeep/full/already", test_full_already);
    g_test_add_func("/tmem/upkeep/finds-damage", test_finds_damage);
    g_test_add_func("/tmem/upkeep/take", test_take);
    g_test_add_func("/tmem/upkeep/replaced", test_replaced);
    for (unsigned i = 0; i < G_N_ELEMENTS(shapes); i++) {
        g_test_add_data_func(shapes[i].path, &shapes[i], test_compact);
    }
    g_test_add_func("/tmem/upkeep/compact/heads", test_compact_heads);
    g_test_add_func("/tmem/upkeep/compact/arrays", test_compact_arrays);
    g_test_add_func("/tmem/upkeep/compact/not", test_compact_not);
    g_test_add_func("/tmem/upkeep/compact/keeps", test_compact_keeps);
    g_test_add_func("/tmem/upkeep/share", test_share);
    g_test_add_func("/tmem/upkeep/stress", test_stress);
    return g_test_run();
}
