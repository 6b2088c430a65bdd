/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a store may use besides its size: the host's share, segments that
 * compaction has marked
 */
#include "testlib.h"
#include "tmem-store.h"

#define MIB     (1ull << 20)

static TmemStatus put(Fixture *f, uint64_t pool, uint64_t i)
{
    return test_store(f->ctx, test_handle(pool, i / 64, i), TEST_PAGE_NOISE, i);
}

static void drop(Fixture *f, uint64_t pool, uint64_t i)
{
    TmemHandle h = test_handle(pool, i / 64, i);

    g_assert_cmpint(tmem_page_invalidate(f->ctx, &h), ==, TMEM_STATUS_OK);
}

/* --- Compaction --- */

static unsigned mark_all(Fixture *f, TmemCompact *c)
{
    unsigned slices = 0;

    tmem_compact_begin(c, f->store);
    while (c->phase == TMEM_COMPACT_MARKING) {
        tmem_compact_slice(c, f->store);
        slices++;
    }
    return slices;
}

static uint64_t nr_draining(Fixture *f)
{
    TmemHeap *heap = &f->client->heap;
    uint64_t nr = 0;

    for (int space = 0; space < TMEM_SPACE__MAX; space++) {
        for (uint32_t i = 0; i < heap->arena->nr_classes; i++) {
            nr += tmem_heap_class(heap, space, i)->nr_draining;
        }
    }
    return nr;
}

/*
 * Fills a client to its limit, drops three quarters, and fills it again; with
 * @mark while segments are marked.  Returns how many more were taken.
 */
static uint64_t refill(bool mark)
{
    TmemCompact c = {};
    uint64_t nr = 0, more = 0;
    Fixture f;

    fixture_set_up(&f, 32 * MIB, 8 * MIB);
    while (put(&f, f.persistent, nr) == TMEM_STATUS_OK) {
        nr++;
    }
    for (uint64_t i = 0; i < nr; i++) {
        if (i % 4) {
            drop(&f, f.persistent, i);
        }
    }
    if (mark) {
        mark_all(&f, &c);
        g_assert_cmpint(c.phase, ==, TMEM_COMPACT_MOVING);
        g_assert_cmpuint(nr_draining(&f), >, 0);
    }
    while (put(&f, f.persistent, nr + more) == TMEM_STATUS_OK) {
        more++;
    }
    for (uint64_t i = 0; i < nr + more; i++) {
        if (i >= nr || !(i % 4)) {
            test_expect_page(f.ctx, test_handle(f.persistent, i / 64, i),
                             TEST_PAGE_NOISE, i);
        }
    }
    test_check(f.store);
    fixture_tear_down(&f);
    return more;
}

/* What a client has free is not refused because segments are marked. */
static void test_marked_is_free(void)
{
    g_assert_cmpuint(refill(true), >=, refill(false));
}

/* Marking and its end go slice by slice, and look at nothing twice. */
static void test_mark_slices(void)
{
    TmemCompact c = {};
    uint64_t marked;
    unsigned slices, bound;
    uint64_t nr = 0;
    Fixture f;

    fixture_set_up(&f, 32 * MIB, 0);
    while (put(&f, f.persistent, nr) == TMEM_STATUS_OK) {
        nr++;
    }
    for (uint64_t i = 0; i < nr; i++) {
        if (i % 16) {
            drop(&f, f.persistent, i);
        }
    }
    slices = mark_all(&f, &c);
    marked = nr_draining(&f);
    g_assert_cmpuint(c.nr_marked, ==, marked);
    g_assert_cmpuint(marked, >, f.client->heap.nr_segments / 2);
    /* So many marks and classes in each, and one to see the end. */
    bound = marked / 16 + TMEM_SPACE__MAX * f.store->arena.nr_classes / 64 + 3;
    g_assert_cmpuint(slices, >, marked / 128);
    g_assert_cmpuint(slices, <=, bound);

    tmem_compact_end(&c);
    tmem_compact_slice(&c, f.store);
    g_assert_cmpuint(nr_draining(&f), <, marked);
    g_assert_cmpuint(nr_draining(&f), >, 0);
    for (slices = 1; c.phase == TMEM_COMPACT_UNMARKING; slices++) {
        tmem_compact_slice(&c, f.store);
    }
    g_assert_cmpint(c.phase, ==, TMEM_COMPACT_IDLE);
    g_assert_cmpuint(slices, <=, bound);
    g_assert_cmpuint(nr_draining(&f), ==, 0);
    test_check(f.store);
    fixture_tear_down(&f);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    tmem_upkeep_by_hand(true);
    g_test_add_func("/tmem/compact/marked-is-free", test_marked_is_free);
    g_test_add_func("/tmem/compact/mark-slices", test_mark_slices);
    return g_test_run();
}
