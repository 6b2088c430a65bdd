/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a store may use besides its size: the host's share, what minimums and
 * floors leave it, segments that compaction has marked
 */
#include <fcntl.h>
#include <glib/gstdio.h>
#include <stdio.h>
#include <unistd.h>

#include "testlib.h"
#include "tmem-os.h"
#include "tmem-store.h"

#define MIB     (1ull << 20)

static uint64_t used_bytes(TmemStore *store)
{
    TmemStoreStats stats;

    tmem_store_get_stats(store, &stats);
    return stats.used_bytes;
}

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

/* Who stores again meanwhile takes what is marked before new memory. */
static void test_marked_first(void)
{
    const uint64_t nr = 4000;
    TmemCompact c = {};
    uint64_t bytes;
    Fixture f;

    fixture_set_up(&f, 32 * MIB, 0);
    for (uint64_t i = 0; i < nr; i++) {
        g_assert_cmpint(put(&f, f.persistent, i), ==, 0);
    }
    bytes = f.client->heap.bytes;
    for (uint64_t i = 0; i < nr; i++) {
        if (i % 2) {
            drop(&f, f.persistent, i);
        }
    }
    mark_all(&f, &c);
    g_assert_cmpuint(nr_draining(&f), >, 0);
    for (uint64_t i = 0; i < nr; i++) {
        if (i % 2) {
            g_assert_cmpint(put(&f, f.persistent, i), ==, 0);
        }
    }
    g_assert_cmpuint(f.client->heap.bytes_peak, <=, bytes + bytes / 64);
    test_check(f.store);
    fixture_tear_down(&f);
}

static void pass_in_vain(Fixture *f, TmemCompact *c)
{
    mark_all(f, c);
    g_assert_cmpint(c->phase, ==, TMEM_COMPACT_MOVING);
    tmem_compact_end(c);
    while (c->phase == TMEM_COMPACT_UNMARKING) {
        tmem_compact_slice(c, f->store);
    }
}

/* Passes over the index that empty nothing become rarer. */
static void test_fruitless(void)
{
    const uint64_t nr = 2000;
    TmemCompact c = {};
    Fixture f;

    fixture_set_up(&f, 32 * MIB, 0);
    for (uint64_t i = 0; i < nr; i++) {
        g_assert_cmpint(put(&f, f.persistent, i), ==, 0);
    }
    for (uint64_t i = 0; i < nr; i++) {
        if (i % 4) {
            drop(&f, f.persistent, i);
        }
    }
    for (unsigned i = 1; i < 2 * TMEM_COMPACT_PUT_OFF_MAX; i++) {
        pass_in_vain(&f, &c);
        g_assert_cmpuint(c.nr_fruitless, ==,
                         MIN(i, TMEM_COMPACT_PUT_OFF_MAX));
    }
    mark_all(&f, &c);
    for (uint64_t i = 0; i < nr; i += 4) {
        drop(&f, f.persistent, i);
    }
    tmem_compact_end(&c);
    while (c.phase == TMEM_COMPACT_UNMARKING) {
        tmem_compact_slice(&c, f.store);
    }
    g_assert_cmpuint(c.nr_fruitless, ==, 0);
    fixture_tear_down(&f);
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

/* --- The host's share --- */

static void set_host_percent(Fixture *f, uint32_t percent)
{
    TmemPolicy policy;
    GError *err = NULL;

    tmem_store_get_policy(f->store, &policy);
    policy.admission.max_host_percent = percent;
    tmem_store_set_policy(f->store, &policy, &err);
    g_assert_no_error(err);
}

static void set_limits(Fixture *f, uint64_t min_bytes)
{
    const TmemLimits limits = { .min_bytes = min_bytes };
    GError *err = NULL;

    tmem_client_set_limits(f->client, &limits, &err);
    g_assert_no_error(err);
}

/* A share that is lowered below what is used is reached, and kept. */
static void test_share_is_lowered(void)
{
    uint64_t nr = 0;
    Fixture f;

    tmem_os_pretend_host_bytes(64 * MIB);
    fixture_set_up(&f, 32 * MIB, 0);
    while (nr < 9000) {
        g_assert_cmpint(put(&f, f.ephemeral, nr++), ==, TMEM_STATUS_OK);
    }
    g_assert_cmpuint(used_bytes(f.store), >, 30 * MIB);
    /* What can go goes at once ... */
    set_limits(&f, 20 * MIB);
    set_host_percent(&f, 25);
    g_assert_cmpuint(used_bytes(f.store), <, 21 * MIB);
    g_assert_cmpuint(test_stats(f.client).bytes, >=, 20 * MIB - MIB / 4);
    /* ... and the rest as the client itself stores more. */
    for (uint64_t end = nr + 1000; nr < end; nr++) {
        put(&f, f.ephemeral, nr);
    }
    g_assert_cmpuint(used_bytes(f.store), <=, 16 * MIB);
    for (uint64_t end = nr + 1000; nr < end; nr++) {
        g_assert_cmpint(put(&f, f.ephemeral, nr), ==, TMEM_STATUS_OK);
    }
    g_assert_cmpuint(used_bytes(f.store), <=, 16 * MIB);
    g_assert_cmpuint(used_bytes(f.store), >, 14 * MIB);
    set_limits(&f, 0);
    set_host_percent(&f, 10);
    g_assert_cmpuint(used_bytes(f.store), <=, 64 * MIB / 10);
    tmem_os_pretend_host_bytes(0);
    fixture_tear_down(&f);
}

static void count_full(TmemEvent event, TmemClient *client, void *opaque)
{
    *(int *)opaque += event == TMEM_EVENT_FULL;
}

/* What is promised fits the host's share, and that is full is said. */
static void test_share_is_promised(void)
{
    TmemClientConfig config = { .name = "b", .limits.min_bytes = 8 * MIB };
    GError *err = NULL;
    uint64_t nr = 0;
    int nr_full = 0;
    Fixture f, b;

    tmem_os_pretend_host_bytes(64 * MIB);
    fixture_set_up(&f, 32 * MIB, 0);
    tmem_store_set_event_func(f.store, count_full, &nr_full);
    set_host_percent(&f, 25);
    fixture_join(&b, f.store, &config);
    fixture_create_pools(&b);
    while (put(&f, f.persistent, nr) == TMEM_STATUS_OK) {
        nr++;
    }
    g_assert_cmpuint(test_stats(f.client).bytes, >, 6 * MIB);
    for (nr = 0; test_stats(b.client).bytes + MIB / 4 < 8 * MIB; nr++) {
        g_assert_cmpint(put(&b, b.persistent, nr), ==, TMEM_STATUS_OK);
    }
    while (put(&b, b.persistent, nr) == TMEM_STATUS_OK) {
        nr++;
    }
    g_assert_cmpint(nr_full, ==, 1);
    g_assert_cmpuint(used_bytes(f.store), <=, 16 * MIB);

    /* Not more of it than there is. */
    config.limits.min_bytes = 16 * MIB;
    g_assert_false(tmem_client_set_limits(f.client, &config.limits, &err));
    g_assert_true(strstr(err->message, "what the store may use of the host's"));
    g_clear_error(&err);
    /* One that was possible once stays, and lets others be changed. */
    set_host_percent(&f, 10);
    g_assert_true(tmem_client_set_limits(
        b.client, &(TmemLimits) { .min_bytes = 8 * MIB, .weight = 7 }, &err));
    fixture_leave(&b);
    tmem_os_pretend_host_bytes(0);
    fixture_tear_down(&f);
}

/* --- Pressure --- */

/* Answers to stalls for @seconds that never end. */
static void press(TmemStore *store, unsigned seconds, uint64_t floor_bytes)
{
    const TmemPressure policy = { .stall_ms = 100, .floor_bytes = floor_bytes };
    g_autofree char *path = NULL;
    int totals = g_file_open_tmp("tmem-psi-XXXXXX", &path, NULL);
    TmemPressureWatch watch;
    int fds[2];

    g_assert_cmpint(totals, >=, 0);
    g_unlink(path);
    g_assert_cmpint(pipe2(fds, O_CLOEXEC), ==, 0);
    tmem_pressure_open_fds(&watch, fds[0], totals, &policy);
    g_assert_cmpint(write(fds[1], "!", 1), ==, 1);
    for (unsigned i = 1; i <= seconds; i++) {
        char text[32];
        int len = snprintf(text, sizeof(text), "some total=%u\n", i * 900000);

        g_assert_cmpint(pwrite(totals, text, len, 0), ==, len);
        tmem_pressure_step(&watch, store, i * 1000000000ull);
    }
    tmem_pressure_end(&watch, store);
    close(fds[1]);
}

/* Pressure is not the operator: nobody loses what is guaranteed. */
static void test_pressure_keeps_minimum(void)
{
    uint64_t nr;
    Fixture f;

    fixture_set_up(&f, 32 * MIB, 0);
    set_limits(&f, 8 * MIB);
    for (nr = 0; nr < 5000; nr++) {
        g_assert_cmpint(put(&f, f.ephemeral, nr), ==, TMEM_STATUS_OK);
    }
    press(f.store, 100, 0);
    g_assert_cmpuint(test_stats(f.client).bytes, >=, 8 * MIB - MIB / 4);
    g_assert_cmpuint(test_stats(f.client).bytes, <=, 8 * MIB + MIB / 2);
    /* The operator may. */
    tmem_store_evict(f.store, UINT64_MAX);
    g_assert_cmpuint(test_stats(f.client).bytes, <, MIB);
    fixture_tear_down(&f);
}

/* The floor is of memory that is paid for, not of segments just begun. */
static void test_pressure_floor_of_begun(void)
{
    uint64_t before, nr = 0;
    TmemClientStats stats;
    Fixture f;

    fixture_set_up(&f, 512 * MIB, 0);
    /* A page in each of many classes. */
    for (uint32_t len = 64; len < 3500; len += 64, nr++) {
        TmemHandle h = test_handle(f.ephemeral, 1, nr);
        uint8_t page[TMEM_PAGE_SIZE];

        test_page_make(page, TEST_PAGE_NOISE, nr);
        memset(page + len, 0, sizeof(page) - len);
        g_assert_cmpint(tmem_page_store(f.ctx, &h, page), ==, TMEM_STATUS_OK);
    }
    before = f.store->arena.ephemeral_bytes;
    g_assert_cmpuint(before, <, (uint64_t)f.store->arena.nr_ephemeral <<
                                f.store->arena.segment_shift);
    press(f.store, 100, before);
    tmem_client_get_stats(f.client, &stats);
    g_assert_cmpuint(stats.total.pages, ==, nr);
    fixture_tear_down(&f);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    tmem_upkeep_by_hand(true);
    g_test_add_func("/tmem/compact/marked-is-free", test_marked_is_free);
    g_test_add_func("/tmem/compact/mark-slices", test_mark_slices);
    g_test_add_func("/tmem/compact/marked-first", test_marked_first);
    g_test_add_func("/tmem/compact/fruitless", test_fruitless);
    g_test_add_func("/tmem/budget/lowered", test_share_is_lowered);
    g_test_add_func("/tmem/budget/promised", test_share_is_promised);
    g_test_add_func("/tmem/pressure/keeps-minimum",
                    test_pressure_keeps_minimum);
    g_test_add_func("/tmem/pressure/floor-of-begun",
                    test_pressure_floor_of_begun);
    return g_test_run();
}
