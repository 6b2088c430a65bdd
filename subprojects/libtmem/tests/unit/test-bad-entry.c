/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Entries of the index in memory that went bad: I/O errors, never a crash, and
 * never another page.  What a page was, and which memory was its own, is not
 * known any more, so counters of what is held may be wrong afterwards: the
 * stores of these tests are not checked.
 */
#include <unistd.h>

#include "testpeek.h"
#include "testsave.h"
#include "tmem-move.h"

#define PAGES   40

typedef enum Drop {
    DROP_PAGE,
    DROP_OBJECT,
    DROP_REPLACE,
    DROP_POOL,
    DROP_RESET,
    DROP_EVICT,
    DROP__MAX,
} Drop;

static TmemHandle handle_of(const Fixture *f, bool ephemeral, uint64_t i)
{
    return test_handle(ephemeral ? f->ephemeral : f->persistent, i / 8, i);
}

static TestPage sort_of(uint64_t i)
{
    return TEST_PAGE_FILL64 + i % 4;
}

static void fill(Fixture *f, bool ephemeral)
{
    for (uint64_t i = 0; i < PAGES; i++) {
        g_assert_cmpint(test_store(f->ctx, handle_of(f, ephemeral, i),
                                   sort_of(i), i), ==, TMEM_STATUS_OK);
    }
}

static void drop(Fixture *f, TmemHandle h, Drop how)
{
    switch (how) {
    case DROP_PAGE:
        g_assert_cmpint(tmem_page_invalidate(f->ctx, &h), ==, TMEM_STATUS_OK);
        break;
    case DROP_OBJECT:
        g_assert_cmpint(tmem_object_invalidate(f->ctx, &h), ==,
                        TMEM_STATUS_OK);
        break;
    case DROP_REPLACE:
        g_assert_cmpint(test_store(f->ctx, h, TEST_PAGE_MIXED, 77), ==,
                        TMEM_STATUS_OK);
        test_expect_page(f->ctx, h, TEST_PAGE_MIXED, 77);
        return;
    case DROP_POOL:
        g_assert_cmpint(tmem_pool_destroy(f->client, h.pool), ==,
                        TMEM_STATUS_OK);
        return;
    case DROP_RESET:
        tmem_client_reset(f->client);
        return;
    default:
        tmem_client_evict(f->client, UINT64_MAX);
        return;
    }
    test_expect_status(f->ctx, h, TMEM_STATUS_MISS);
}

static void take_down(Fixture *f)
{
    tmem_context_free(f->ctx);
    tmem_client_free(f->client);
    tmem_store_free(f->store);
}

/* Each page but @bad is there, or was dropped, or evicted. */
static void expect_others(Fixture *f, bool ephemeral, uint64_t bad, Drop how)
{
    uint8_t got[TMEM_PAGE_SIZE], want[TMEM_PAGE_SIZE];

    for (uint64_t i = 0; i < PAGES; i++) {
        TmemHandle h = handle_of(f, ephemeral, i);
        TmemStatus status = tmem_page_load(f->ctx, &h, got, NULL);

        if (i == bad) {
            continue;
        }
        test_page_make(want, sort_of(i), i);
        if (status == TMEM_STATUS_OK) {
            g_assert_cmpmem(got, sizeof(got), want, sizeof(want));
        } else {
            g_assert_cmpint(status, !=, TMEM_STATUS_IO);
            g_assert_true(how == DROP_EVICT || how == DROP_POOL ||
                          how == DROP_RESET ||
                          (how == DROP_OBJECT && i / 8 == bad / 8));
        }
    }
}

/* @load: and finds it unreadable before that. */
static void damage(bool ephemeral, uint64_t i, TmemEntry mask, Drop how,
                   bool load)
{
    TmemHandle h;
    TestPeek peek;
    Fixture f;

    fixture_set_up(&f, FIXTURE_SIZE, 0);
    fill(&f, ephemeral);
    h = handle_of(&f, ephemeral, i);
    g_assert_true(test_peek(f.ctx, h, &peek));
    *peek.entry ^= mask;
    if (load) {
        TmemClientStats stats;

        test_expect_status(f.ctx, h, TMEM_STATUS_IO);
        test_expect_status(f.ctx, h, TMEM_STATUS_IO);
        tmem_client_get_stats(f.client, &stats);
        g_assert_cmpuint(stats.total.loads_error, ==, 2);
        g_assert_cmpuint(stats.total.pages_damaged, ==, 1);
    }
    drop(&f, h, how);
    expect_others(&f, ephemeral, i, how);
    take_down(&f);
}

static void damage_all_ways(uint64_t i, TmemEntry mask)
{
    for (Drop how = 0; how < DROP__MAX; how++) {
        for (int j = 0; j < 4; j++) {
            damage(j & 1, i, mask, how, j & 2);
        }
    }
}

/* LZ4 becomes what only members of a trust group have. */
static void test_kind(void)
{
    TmemEntry mask = (TmemEntry)(TMEM_KIND_LZ4 ^ TMEM_KIND_SHARED) <<
                     TMEM_ENTRY_KIND_SHIFT;

    damage_all_ways(9, mask);
    damage_all_ways(10, mask);
}

/* FILL64 (2) and RAW (4) become kinds that nothing is stored as. */
static void test_no_kind(void)
{
    damage_all_ways(8, (TmemEntry)TMEM_KIND_FILL64 << TMEM_ENTRY_KIND_SHIFT);
    damage_all_ways(11, 2ull << TMEM_ENTRY_KIND_SHIFT);
}

/* LZ4 (3) and RAW (4, two bits) become what has no record, nor a checksum. */
static void test_fill(void)
{
    damage_all_ways(9, 2ull << TMEM_ENTRY_KIND_SHIFT);
    damage_all_ways(10, 2ull << TMEM_ENTRY_KIND_SHIFT);
}

/* Beyond the arena, far and near; and into the middle of a slot. */
static void test_ref(void)
{
    damage_all_ways(9, 1ull << (TMEM_REF_BITS - 1));
    damage_all_ways(10, 1ull << 30);
    damage_all_ways(11, 1ull << 20);
    damage_all_ways(10, 1);
    damage_all_ways(11, 2);
}

static void test_length(void)
{
    for (unsigned bit = 0; bit < 12; bit += 3) {
        damage(false, 10, 1ull << (TMEM_ENTRY_LEN_SHIFT + bit), DROP_PAGE,
               true);
        damage(true, 9, 1ull << (TMEM_ENTRY_LEN_SHIFT + bit), DROP_REPLACE,
               true);
    }
}

/* Upkeep and what leaves the process go by entries, too. */
static void test_others_that_read(void)
{
    TestPeek peek;
    Fixture f;

    fixture_set_up(&f, FIXTURE_SIZE, 0);
    fill(&f, false);
    fill(&f, true);
    for (uint64_t i = 1; i < PAGES; i += 8) {
        for (int j = 0; j < 2; j++) {
            g_assert_true(test_peek(f.ctx, handle_of(&f, j, i), &peek));
            *peek.entry ^= 1ull << (TMEM_REF_BITS - 1 - i / 8);
        }
    }
    tmem_store_recompress(f.store);
    for (uint64_t i = 1; i < PAGES; i += 8) {
        test_expect_status(f.ctx, handle_of(&f, false, i), TMEM_STATUS_IO);
        test_expect_status(f.ctx, handle_of(&f, true, i), TMEM_STATUS_IO);
        test_expect_page(f.ctx, handle_of(&f, false, i + 1), sort_of(i + 1),
                         i + 1);
    }
    take_down(&f);
}

/* The next process, to which the pages of @f's client went: one is bad. */
static void set_up_successor(Fixture *g, Fixture *f)
{
    TmemClientConfig config = { .name = "test" };
    g_autofree void *state = NULL;
    TmemStore *store = test_new_store(FIXTURE_SIZE);
    int fd = test_save(f->store, &(TestLeft) {
        .client = f->client, .name = "guest", .is_bad = true,
    }, 1);
    GError *err = NULL;
    TmemLoader *loader = tmem_loader_new(store, fd, &err);
    uint64_t bytes, pool;

    g_assert_no_error(err);
    fixture_join(g, store, &config);
    tmem_loader_take(loader, "guest", g->ctx, &state, &bytes, &pool, &err);
    g_assert_no_error(err);
    tmem_loader_free(loader);
    close(fd);
}

static void move_with_bad(uint64_t i, TmemEntry mask)
{
    TestPeek peek;
    Fixture f, g;

    fixture_set_up(&f, FIXTURE_SIZE, 0);
    fill(&f, false);
    g_assert_true(test_peek(f.ctx, handle_of(&f, false, i), &peek));
    *peek.entry ^= mask;
    set_up_successor(&g, &f);
    for (uint64_t j = 0; j < PAGES; j++) {
        if (j == i) {
            test_expect_status(g.ctx, handle_of(&f, false, j), TMEM_STATUS_IO);
        } else {
            test_expect_page(g.ctx, handle_of(&f, false, j), sort_of(j), j);
        }
    }
    fixture_tear_down(&g);
    take_down(&f);
}

/* Caught: one of them made the next process refuse all that a client had. */
static void test_next_process(void)
{
    for (int kind = 0; kind < 3; kind++) {
        for (uint64_t i = 8; i < 12; i++) {
            move_with_bad(i, 1ull << (TMEM_ENTRY_KIND_SHIFT + kind));
        }
    }
    for (uint64_t i = 8; i < 11; i++) {
        move_with_bad(i, 1ull << TMEM_ENTRY_LEN_SHIFT);
        move_with_bad(i, 4095ull << TMEM_ENTRY_LEN_SHIFT);
        move_with_bad(i, 1ull << (TMEM_REF_BITS - 1));
    }
}

/* Who forgets to free a slot cannot hide behind entries that went bad. */
static void test_leak(void)
{
    if (g_test_subprocess()) {
        TmemStatus why;
        Fixture f;

        fixture_set_up(&f, FIXTURE_SIZE, 0);
        fill(&f, false);
        g_assert_cmpuint(tmem_heap_alloc(&f.client->heap,
                                         TMEM_SPACE_PERSISTENT, 100, false,
                                         &why), !=, 0);
        take_down(&f);
        return;
    }
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_failed();
    g_test_trap_assert_stderr("*heap->nr_segments*");
}

/* --- A place that is another page's --- */

#define REF_MASK    ((1ull << TMEM_REF_BITS) - 1)

typedef enum Order {
    ORDER_STORE,            /* over the page that went bad */
    ORDER_INVALIDATE,       /* it */
    ORDER_BOTH,             /* it, and the page whose place it names */
    ORDER_BOTH_BACK,        /* the other way round */
    ORDER_STORE_LAST,       /* over it, when that page is gone */
    ORDER_OBJECT,
    ORDER_MOVE,
    ORDER_RECOMPRESS,
    ORDER_EVICT,
    ORDER_POOL,
    ORDER__MAX,
} Order;

/* What was done to the pages where @bad names the place of @named. */
typedef struct Place {
    Fixture f;
    bool ephemeral;
    bool swapped;           /* and the other way round */
    uint64_t bad;
    uint64_t named;
    bool is_stored[PAGES];  /* again, as MIXED with tag 77 + i */
    bool is_gone[PAGES];
    bool may_miss;
} Place;

static void place_invalidate(Place *p, uint64_t i)
{
    drop(&p->f, handle_of(&p->f, p->ephemeral, i), DROP_PAGE);
    p->is_gone[i] = true;
}

static void place_store(Place *p, uint64_t i)
{
    g_assert_cmpint(test_store(p->f.ctx, handle_of(&p->f, p->ephemeral, i),
                               TEST_PAGE_MIXED, 77 + i), ==, TMEM_STATUS_OK);
    p->is_stored[i] = true;
}

static void place_object(Place *p, uint64_t i)
{
    drop(&p->f, handle_of(&p->f, p->ephemeral, i), DROP_OBJECT);
    for (uint64_t j = i / 8 * 8; j < i / 8 * 8 + 8; j++) {
        p->is_gone[j] = true;
    }
}

/* Moves all there is, as what lies in sparse segments does. */
static void place_move(Place *p)
{
    TmemIndex *index = &p->f.store->index;

    for (uint64_t i = 0; i < PAGES; i++) {
        TestPeek peek;

        if (!test_peek(p->f.ctx, handle_of(&p->f, p->ephemeral, i), &peek)) {
            continue;
        }
        tmem_lock(&peek.key.shard->lock);
        tmem_move_record(index, peek.node, peek.key.pos);
        tmem_move_node(index, peek.key.shard,
                       tmem_index_find(index, &peek.key));
        tmem_unlock(&peek.key.shard->lock);
    }
}

static void place_do(Place *p, Order order)
{
    switch (order) {
    case ORDER_STORE:
        place_store(p, p->bad);
        break;
    case ORDER_INVALIDATE:
        place_invalidate(p, p->bad);
        break;
    case ORDER_BOTH:
        place_invalidate(p, p->bad);
        place_invalidate(p, p->named);
        break;
    case ORDER_BOTH_BACK:
        place_invalidate(p, p->named);
        place_invalidate(p, p->bad);
        break;
    case ORDER_STORE_LAST:
        place_invalidate(p, p->named);
        place_store(p, p->bad);
        break;
    case ORDER_OBJECT:
        place_object(p, p->bad);
        break;
    case ORDER_MOVE:
        place_move(p);
        break;
    case ORDER_RECOMPRESS:
        tmem_store_recompress(p->f.store);
        break;
    case ORDER_EVICT:
        tmem_client_evict(p->f.client, UINT64_MAX);
        p->may_miss = true;
        break;
    default:
        drop(&p->f, handle_of(&p->f, p->ephemeral, 0), DROP_POOL);
        break;
    }
}

/* What was not touched is there; what went bad is unreadable, not another's. */
static void place_expect(Place *p)
{
    uint8_t got[TMEM_PAGE_SIZE], want[TMEM_PAGE_SIZE];

    for (uint64_t i = 0; i < PAGES; i++) {
        TmemHandle h = handle_of(&p->f, p->ephemeral, i);
        TmemStatus status = tmem_page_load(p->f.ctx, &h, got, NULL);
        bool is_bad = i == p->bad || (p->swapped && i == p->named);

        if (p->is_stored[i]) {
            test_page_make(want, TEST_PAGE_MIXED, 77 + i);
        } else {
            test_page_make(want, sort_of(i), i);
        }
        if (status == TMEM_STATUS_OK) {
            g_assert_false(p->is_gone[i] || (is_bad && !p->is_stored[i]));
            g_assert_cmpmem(got, sizeof(got), want, sizeof(want));
        } else if (status == TMEM_STATUS_MISS) {
            g_assert_true(p->is_gone[i] || p->may_miss);
        } else {
            g_assert_cmpint(status, ==, TMEM_STATUS_IO);
            g_assert_true(is_bad && !p->is_stored[i]);
        }
    }
}

/* New pages of the same sizes have a slot each, and take none that is used. */
static void place_refill(Place *p)
{
    const uint64_t nr = 4 * PAGES;

    for (uint64_t i = 0; i < nr; i++) {
        TmemHandle h = test_handle(p->ephemeral ? p->f.ephemeral :
                                   p->f.persistent, 100 + i / 8, i);

        g_assert_cmpint(test_store(p->f.ctx, h, sort_of(i), 500 + i), ==,
                        TMEM_STATUS_OK);
    }
    for (uint64_t i = 0; i < nr; i++) {
        TmemHandle h = test_handle(p->ephemeral ? p->f.ephemeral :
                                   p->f.persistent, 100 + i / 8, i);

        test_expect_page(p->f.ctx, h, sort_of(i), 500 + i);
    }
}

static void place_take_down(Place *p)
{
    GError *err = NULL;

    /* It says what is wrong, if anything is left of that, and no more. */
    if (!tmem_store_check(p->f.store, &err)) {
        g_assert_nonnull(err);
        g_clear_error(&err);
    }
    tmem_context_free(p->f.ctx);
    tmem_client_free(p->f.client);
    /* With the client all of it came back. */
    tmem_store_check(p->f.store, &err);
    g_assert_no_error(err);
    tmem_store_free(p->f.store);
}

/* @load: it is found unreadable, and marked, before that. */
static void place(bool ephemeral, bool swapped, uint64_t bad, uint64_t named,
                  Order order, bool load)
{
    Place p = {
        .ephemeral = ephemeral, .swapped = swapped, .bad = bad,
        .named = named,
    };
    TestPeek a, b;
    TmemEntry change;

    fixture_set_up(&p.f, FIXTURE_SIZE, 0);
    fill(&p.f, ephemeral);
    g_assert_true(test_peek(p.f.ctx, handle_of(&p.f, ephemeral, bad), &a));
    g_assert_true(test_peek(p.f.ctx, handle_of(&p.f, ephemeral, named), &b));
    change = (*a.entry ^ *b.entry) & REF_MASK;
    *a.entry ^= change;
    if (swapped) {
        *b.entry ^= change;
    }
    if (load) {
        test_expect_status(p.f.ctx, handle_of(&p.f, ephemeral, bad),
                           TMEM_STATUS_IO);
    }
    place_do(&p, order);
    if (order != ORDER_POOL) {
        place_expect(&p);
        place_refill(&p);
        place_expect(&p);
    }
    place_take_down(&p);
}

static void place_all_ways(bool swapped)
{
    /* Pages of the same size, in the same object or another; and of others. */
    static const struct {
        uint64_t bad, named;
    } pairs[] = {
        { 8, 12 }, { 9, 13 }, { 9, 17 }, { 11, 15 }, { 11, 23 }, { 9, 11 },
        { 11, 9 }, { 10, 14 },
    };

    for (Order order = 0; order < ORDER__MAX; order++) {
        for (unsigned i = 0; i < G_N_ELEMENTS(pairs); i++) {
            for (int j = 0; j < 4; j++) {
                place(j & 1, swapped, pairs[i].bad, pairs[i].named, order,
                      j & 2);
            }
        }
    }
}

/*
 * Caught: a store to the page that went bad was written over the other's, and
 * to invalidate both made the list of free slots endless, or ended the process.
 */
static void test_place_of_another(void)
{
    place_all_ways(false);
}

static void test_places_swapped(void)
{
    place_all_ways(true);
}

/* --- A place where an older copy of the page was left --- */

typedef enum Reader {
    READER_LOAD,
    READER_RECOMPRESS,
    READER_SAVE,
} Reader;

static void store_version(Fixture *f, TmemHandle h, char version)
{
    uint8_t *page = tmem_context_bounce(f->ctx);

    test_page_letters(page, 1);
    page[0] = version;
    g_assert_cmpint(tmem_page_store(f->ctx, &h, page), ==, TMEM_STATUS_OK);
}

/*
 * Gives the page at @h two versions, and makes its entry name the place of the
 * first, which is free and has what it had, as eviction leaves it.
 */
static void name_older(Fixture *f, TmemHandle h)
{
    TmemHandle blocker = test_handle(h.pool, 1000, 1);
    TestPeek old, new, between;
    g_autofree void *data = NULL;
    uint32_t checksum;
    TmemEntry place;

    store_version(f, h, 'a');
    g_assert_true(test_peek(f->ctx, h, &old));
    checksum = *old.checksum;
    data = g_memdup2(old.data, old.len);
    place = *old.entry & REF_MASK;

    g_assert_cmpint(tmem_page_invalidate(f->ctx, &h), ==, TMEM_STATUS_OK);
    store_version(f, blocker, 'a');
    g_assert_true(test_peek(f->ctx, blocker, &between));
    g_assert_cmpuint(*between.entry & REF_MASK, ==, place);
    store_version(f, h, 'b');
    g_assert_cmpint(tmem_page_invalidate(f->ctx, &blocker), ==,
                    TMEM_STATUS_OK);

    g_assert_true(test_peek(f->ctx, h, &new));
    g_assert_cmpuint(new.len, ==, old.len);
    *new.entry = (*new.entry & ~REF_MASK) | place;
    g_assert_true(test_peek(f->ctx, h, &new));
    *new.checksum = checksum;
    memcpy(new.data, data, old.len);
}

static void older_copy(bool ephemeral, Reader reader)
{
    TmemHandle h;
    Fixture f, g;

    fixture_set_up(&f, FIXTURE_SIZE, 0);
    h = test_handle(ephemeral ? f.ephemeral : f.persistent, 1, 1);
    name_older(&f, h);
    if (reader == READER_SAVE) {
        set_up_successor(&g, &f);
        test_expect_status(g.ctx, h, TMEM_STATUS_IO);
        fixture_tear_down(&g);
    } else {
        if (reader == READER_RECOMPRESS) {
            tmem_store_recompress(f.store);
        }
        test_expect_status(f.ctx, h, TMEM_STATUS_IO);
    }
    take_down(&f);
}

/*
 * Caught: an older copy is the page's own, checksum and all, so it was loaded,
 * or compressed again and loaded then.
 */
static void test_older_copy(void)
{
    for (int ephemeral = 0; ephemeral < 2; ephemeral++) {
        older_copy(ephemeral, READER_LOAD);
        older_copy(ephemeral, READER_RECOMPRESS);
    }
    older_copy(false, READER_SAVE);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/tmem/bad-entry/kind-of-trust-groups", test_kind);
    g_test_add_func("/tmem/bad-entry/no-kind", test_no_kind);
    g_test_add_func("/tmem/bad-entry/ref", test_ref);
    g_test_add_func("/tmem/bad-entry/length", test_length);
    g_test_add_func("/tmem/bad-entry/fill", test_fill);
    g_test_add_func("/tmem/bad-entry/place-of-another", test_place_of_another);
    g_test_add_func("/tmem/bad-entry/places-swapped", test_places_swapped);
    g_test_add_func("/tmem/bad-entry/older-copy", test_older_copy);
    g_test_add_func("/tmem/bad-entry/next-process", test_next_process);
    g_test_add_func("/tmem/bad-entry/upkeep", test_others_that_read);
    g_test_add_func("/tmem/bad-entry/leak-is-none", test_leak);
    return g_test_run();
}
