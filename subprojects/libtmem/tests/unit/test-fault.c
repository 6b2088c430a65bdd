/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Every allocation fails once
 *
 * For each operation: fail its 1st, 2nd, ... Nth allocation until it needs no
 * more, and check the whole structure and B1 each time.  Once with the failure
 * of one allocation (which eviction and the retries may mend) and once with the
 * failure of all from the Nth on.
 */
#include <unistd.h>

#include "testsave.h"
#include "tmem-fault.h"
#include "tmem-stream.h"
#include "tmem-upkeep.h"

#define ROUNDS_MAX  200

static void arm(bool sticky, unsigned n)
{
    if (sticky) {
        tmem_fault_arm_from(NULL, n);
    } else {
        tmem_fault_arm(NULL, n);
    }
}

/* --- Stores --- */

typedef struct StoreCase {
    const char *path;
    bool ephemeral;
    int before;             /* sort of the page already there; -1: none */
    TestPage sort;          /* of the page stored */
    uint64_t index;
    unsigned neighbours;    /* pages in the object beforehand */
    uint64_t step;          /* from one neighbour to the next */
} StoreCase;

static const StoreCase store_cases[] = {
    { "new-object", false, -1, TEST_PAGE_TEXT, 0, 0, 1 },
    { "new-object-ephemeral", true, -1, TEST_PAGE_TEXT, 0, 0, 1 },
    { "new-object-same-filled", false, -1, TEST_PAGE_ZERO, 0, 0, 1 },
    { "new-object-fill64", false, -1, TEST_PAGE_FILL64, 0, 0, 1 },
    { "grow-array", false, -1, TEST_PAGE_TEXT, 1, 1, 1 },
    { "grow-array-again", true, -1, TEST_PAGE_TEXT, 15, 15, 1 },
    { "new-node", false, -1, TEST_PAGE_NOISE, UINT32_MAX, 3, 1 },
    { "new-node-far", true, -1, TEST_PAGE_NOISE, 1ull << 63, 3, 64 },
    { "replace-text-by-noise", false, TEST_PAGE_TEXT, TEST_PAGE_NOISE, 0, 5,
      1 },
    { "replace-noise-by-text", false, TEST_PAGE_NOISE, TEST_PAGE_TEXT, 0, 5,
      1 },
    { "replace-zero-by-noise", true, TEST_PAGE_ZERO, TEST_PAGE_NOISE, 0, 5,
      1 },
    { "replace-noise-by-zero", true, TEST_PAGE_NOISE, TEST_PAGE_ZERO, 0, 5,
      1 },
};

/* What was not asked for is untouched; ephemeral pages may be evicted. */
static void expect_neighbours(const StoreCase *sc, Fixture *f, TmemHandle h)
{
    uint8_t page[TMEM_PAGE_SIZE];

    for (unsigned i = 0; i < sc->neighbours; i++) {
        TmemHandle other = h;

        other.index = i * sc->step;
        if (other.index == h.index) {
            continue;
        }
        if (!sc->ephemeral ||
            tmem_page_load(f->ctx, &other, page, NULL) != TMEM_STATUS_MISS) {
            test_expect_page(f->ctx, other, TEST_PAGE_MIXED, i);
        }
    }
}

/* One round.  Returns false when the operation needed fewer allocations. */
static bool store_round(const StoreCase *sc, bool sticky, unsigned n)
{
    TmemStatus status;
    TmemClientStats stats;
    TmemHandle h;
    Fixture f;
    bool fired;

    fixture_set_up(&f, FIXTURE_SIZE, 0);
    h = test_handle(sc->ephemeral ? f.ephemeral : f.persistent, 9, sc->index);
    for (unsigned i = 0; i < sc->neighbours; i++) {
        TmemHandle other = h;

        other.index = i * sc->step;
        g_assert_cmpint(test_store(f.ctx, other, TEST_PAGE_MIXED, i), ==, 0);
    }
    if (sc->before >= 0) {
        g_assert_cmpint(test_store(f.ctx, h, sc->before, 1), ==, 0);
    }

    arm(sticky, n);
    status = test_store(f.ctx, h, sc->sort, 2);
    fired = tmem_fault_disarm();
    test_check(f.store);
    test_check_laws(f.client);

    /* B1: the new page or nothing. */
    if (status == TMEM_STATUS_OK) {
        test_expect_page(f.ctx, h, sc->sort, 2);
    } else {
        g_assert_true(fired);
        g_assert_cmpint(status, ==, TMEM_STATUS_NOSPC);
        test_expect_status(f.ctx, h, TMEM_STATUS_MISS);
        /* B7: no object without a page. */
        tmem_client_get_stats(f.client, &stats);
        g_assert_cmpuint(stats.total.objects, ==, stats.total.pages > 0);
    }
    expect_neighbours(sc, &f, h);
    /* And it works again. */
    g_assert_cmpint(test_store(f.ctx, h, sc->sort, 3), ==, TMEM_STATUS_OK);
    test_expect_page(f.ctx, h, sc->sort, 3);
    fixture_tear_down(&f);
    return fired;
}

static void test_fault_store(gconstpointer opaque)
{
    const StoreCase *sc = opaque;
    unsigned n;

    for (int sticky = 0; sticky < 2; sticky++) {
        for (n = 1; store_round(sc, sticky, n); n++) {
            g_assert_cmpuint(n, <, ROUNDS_MAX);
        }
        /* It did allocate, but for same-filled pages in a known node. */
        if (sc->sort != TEST_PAGE_ZERO || sc->before < 0) {
            g_assert_cmpuint(n, >, 1);
        }
    }
}

/* --- Pools, clients, contexts, stores --- */

static void test_fault_pool(void)
{
    for (unsigned n = 1; ; n++) {
        TmemStatus status;
        uint64_t id;
        Fixture f;
        bool fired;

        g_assert_cmpuint(n, <, ROUNDS_MAX);
        fixture_set_up(&f, FIXTURE_SIZE, 0);
        arm(true, n);
        status = tmem_pool_create(f.client, TMEM_POOL_EPHEMERAL,
                                  TMEM_PAGE_SHIFT, &id);
        fired = tmem_fault_disarm();
        test_check(f.store);
        if (status == TMEM_STATUS_OK) {
            g_assert_cmpuint(id, !=, 0);
        } else {
            g_assert_cmpint(status, ==, TMEM_STATUS_NOSPC);
            g_assert_cmpuint(id, ==, 0);
        }
        fixture_tear_down(&f);
        if (!fired) {
            break;
        }
    }
}

/* Joining a shared pool, which is made for it. */
static void test_fault_join(void)
{
    static const uint8_t uuid[16] = { 1, 2, 3 };

    for (unsigned n = 1; ; n++) {
        TmemStatus status;
        uint64_t id;
        Fixture f;
        bool fired;

        g_assert_cmpuint(n, <, ROUNDS_MAX);
        fixture_set_up(&f, FIXTURE_SIZE, 0);
        g_assert_true(tmem_client_authorize(f.client, uuid, true, NULL));
        arm(true, n);
        status = tmem_pool_join(f.client, uuid, TMEM_PAGE_SHIFT, &id);
        fired = tmem_fault_disarm();
        test_check(f.store);
        if (status != TMEM_STATUS_OK) {
            g_assert_cmpint(status, ==, TMEM_STATUS_NOSPC);
            g_assert_cmpuint(id, ==, 0);
            /* It did not become a member half-way. */
            g_assert_cmpint(tmem_pool_join(f.client, uuid, TMEM_PAGE_SHIFT,
                                           &id), ==, TMEM_STATUS_OK);
        }
        g_assert_cmpuint(id, !=, 0);
        fixture_tear_down(&f);
        if (!fired) {
            g_assert_cmpuint(n, >, 1);
            break;
        }
    }
}

static void test_fault_context(void)
{
    for (unsigned n = 1; ; n++) {
        g_autoptr(GError) err = NULL;
        TmemContext *ctx;
        Fixture f;
        bool fired;

        g_assert_cmpuint(n, <, ROUNDS_MAX);
        fixture_set_up(&f, FIXTURE_SIZE, 0);
        tmem_fault_arm(NULL, n);
        ctx = tmem_context_new(f.client, &err);
        fired = tmem_fault_disarm();
        g_assert_true(fired == !ctx);
        g_assert_true(fired == !!err);
        test_check(f.store);
        tmem_context_free(ctx);
        test_check(f.store);
        fixture_tear_down(&f);
        if (!fired) {
            g_assert_cmpuint(n, >, 3);
            break;
        }
    }
}

static void test_fault_client(void)
{
    for (unsigned n = 1; ; n++) {
        TmemClientConfig config = { .name = "other" };
        g_autoptr(GError) err = NULL;
        TmemClient *client;
        Fixture f;
        bool fired;

        g_assert_cmpuint(n, <, ROUNDS_MAX);
        fixture_set_up(&f, FIXTURE_SIZE, 0);
        tmem_fault_arm(NULL, n);
        client = tmem_client_new(f.store, &config, &err);
        fired = tmem_fault_disarm();
        g_assert_true(fired == !client);
        g_assert_true(fired == !!err);
        tmem_client_free(client);
        fixture_tear_down(&f);
        if (!fired) {
            g_assert_cmpuint(n, >, 2);
            break;
        }
    }
}

/* A group; and its members' stores, of a page that is new and of an equal. */
static bool trust_round(bool sticky, unsigned n)
{
    uint8_t page[TMEM_PAGE_SIZE];
    TmemClientStats stats;
    TmemStatus status[2];
    TmemClient *group;
    uint64_t id;
    Fixture f;
    bool fired;

    fixture_set_up(&f, FIXTURE_SIZE, 0);
    tmem_client_reset(f.client);
    group = test_new_group(f.store, "group");
    g_assert_true(tmem_client_set_trust_group(f.client, group, NULL));
    g_assert_cmpint(tmem_pool_create(f.client, TMEM_POOL_EPHEMERAL,
                                     TMEM_PAGE_SHIFT, &id), ==, 0);
    arm(sticky, n);
    for (unsigned i = 0; i < 2; i++) {
        status[i] = test_store(f.ctx, test_handle(id, i, 0), TEST_PAGE_MIXED,
                               7);
    }
    fired = tmem_fault_disarm();
    test_check(f.store);
    test_check_laws(f.client);
    for (unsigned i = 0; i < 2; i++) {
        TmemHandle h = test_handle(id, i, 0);

        if (status[i] == TMEM_STATUS_OK) {
            /* If it was not evicted, for want of memory. */
            if (!fired || tmem_page_load(f.ctx, &h, page, NULL) !=
                          TMEM_STATUS_MISS) {
                test_expect_page(f.ctx, h, TEST_PAGE_MIXED, 7);
            }
        } else {
            g_assert_true(fired);
            g_assert_cmpint(status[i], ==, TMEM_STATUS_NOSPC);
            test_expect_status(f.ctx, h, TMEM_STATUS_MISS);
        }
        /* And it works again. */
        g_assert_cmpint(test_store(f.ctx, h, TEST_PAGE_MIXED, 7), ==, 0);
    }
    tmem_client_get_stats(group, &stats);
    g_assert_cmpuint(stats.group_pages, ==, 1);
    g_assert_cmpuint(stats.group_references, ==, 2);
    tmem_client_reset(f.client);
    g_assert_true(tmem_client_set_trust_group(f.client, NULL, NULL));
    tmem_client_free(group);
    fixture_tear_down(&f);
    return fired;
}

static void test_fault_trust(void)
{
    for (int sticky = 0; sticky < 2; sticky++) {
        unsigned n = 1;

        while (trust_round(sticky, n)) {
            g_assert_cmpuint(++n, <, ROUNDS_MAX);
        }
        g_assert_cmpuint(n, >, 5);
    }
    for (unsigned n = 1; ; n++) {
        TmemClientConfig config = { .name = "group", .is_trust_group = true };
        g_autoptr(GError) err = NULL;
        TmemClient *group;
        Fixture f;
        bool fired;

        fixture_set_up(&f, FIXTURE_SIZE, 0);
        /* One alone may be got over by another attempt. */
        arm(true, n);
        group = tmem_client_new(f.store, &config, &err);
        fired = tmem_fault_disarm();
        g_assert_true(fired == !group);
        g_assert_true(fired == !!err);
        tmem_client_free(group);
        fixture_tear_down(&f);
        if (!fired) {
            g_assert_cmpuint(n, >, 4);
            break;
        }
    }
}

static void test_fault_store_new(void)
{
    unsigned mended = 0;

    for (unsigned n = 1; ; n++) {
        TmemStoreConfig config = { .size_bytes = FIXTURE_SIZE };
        g_autoptr(GError) err = NULL;
        TmemStore *store;
        bool fired;

        g_assert_cmpuint(n, <, ROUNDS_MAX);
        tmem_fault_arm(NULL, n);
        store = tmem_store_new(&config, &err);
        fired = tmem_fault_disarm();
        g_assert_true(fired || store);
        g_assert_true(!store == !!err);
        mended += fired && store;
        tmem_store_free(store);
        if (!fired) {
            g_assert_cmpuint(n, >, 4);
            /*
             * Smaller hash tables, and fewer segments, do if there is no room
             * for more, and eviction need not remember pages; each of these
             * reservations can fail in three ways.
             */
            g_assert_cmpuint(mended, ==, 9);
            break;
        }
    }
}

/* --- What may not need memory --- */

/* Loads and invalidations work when every allocation fails (objection 50). */
static void test_no_memory_needed(void)
{
    uint8_t page[TMEM_PAGE_SIZE];
    uint64_t version;
    Fixture f;

    fixture_set_up(&f, FIXTURE_SIZE, 0);
    for (uint64_t i = 0; i < 500; i++) {
        TmemHandle h = test_handle(i % 2 ? f.ephemeral : f.persistent, i / 100,
                                   i * 3);

        g_assert_cmpint(test_store(f.ctx, h, i % TEST_PAGE__MAX, i), ==, 0);
    }
    arm(true, 1);
    for (uint64_t i = 0; i < 500; i++) {
        TmemHandle h = test_handle(i % 2 ? f.ephemeral : f.persistent, i / 100,
                                   i * 3);

        test_expect_page(f.ctx, h, i % TEST_PAGE__MAX, i);
        if (i % 2) {
            tmem_page_load(f.ctx, &h, page, &version);
            g_assert_cmpint(tmem_page_take(f.ctx, &h, version), ==, 0);
        } else if (i % 100 == 98) {
            /* The last of its object. */
            g_assert_cmpint(tmem_object_invalidate(f.ctx, &h), ==, 0);
        } else if (i % 4) {
            g_assert_cmpint(tmem_page_invalidate(f.ctx, &h), ==, 0);
        }
    }
    g_assert_cmpint(tmem_pool_destroy(f.client, f.persistent), ==, 0);
    g_assert_null(tmem_fault_disarm());
    fixture_tear_down(&f);
}

/* A hash table that cannot grow still finds everything. */
static void test_table_cannot_grow(void)
{
    const uint64_t nr = 5000;
    Fixture f;

    fixture_set_up(&f, TMEM_STORE_SIZE_MIN, 0);
    tmem_fault_arm_from("arena-charge", 1);
    for (uint64_t i = 0; i < nr; i++) {
        g_assert_cmpint(test_store(f.ctx, test_handle(f.persistent, i, 0),
                                   TEST_PAGE_ZERO, 0), ==, 0);
    }
    g_assert_cmpstr(tmem_fault_disarm(), ==, "arena-charge");
    test_check(f.store);
    for (uint64_t i = 0; i < nr; i++) {
        test_expect_page(f.ctx, test_handle(f.persistent, i, 0),
                         TEST_PAGE_ZERO, 0);
    }
    fixture_tear_down(&f);
}

/* --- Upkeep --- */

/* Without its thread a client is refused; the next one gets it. */
static void test_fault_upkeep(void)
{
    TmemStoreConfig config = { .size_bytes = FIXTURE_SIZE };
    TmemStore *store = tmem_store_new(&config, NULL);

    g_assert_nonnull(store);
    tmem_upkeep_by_hand(false);
    for (unsigned n = 1; ; n++) {
        TmemClientConfig client_config = { .name = "first" };
        g_autoptr(GError) err = NULL;
        TmemClient *client;
        bool fired;

        g_assert_cmpuint(n, <, ROUNDS_MAX);
        tmem_fault_arm(NULL, n);
        client = tmem_client_new(store, &client_config, &err);
        fired = tmem_fault_disarm();
        g_assert_true(fired == !client);
        g_assert_true(fired == !!err);
        tmem_client_free(client);
        if (!fired) {
            break;
        }
    }
    tmem_store_free(store);
}

/* A policy that cannot be followed changes nothing. */
static void test_fault_pressure(void)
{
    g_autoptr(GError) err = NULL;
    TmemPolicy policy, after;
    Fixture f;

    fixture_set_up(&f, FIXTURE_SIZE, 0);
    tmem_store_get_policy(f.store, &policy);
    policy.pressure.stall_ms = 100;
    tmem_fault_arm("pressure-open", 1);
    g_assert_false(tmem_store_set_policy(f.store, &policy, &err));
    g_assert_cmpstr(tmem_fault_disarm(), ==, "pressure-open");
    g_assert_nonnull(err);
    tmem_store_get_policy(f.store, &after);
    g_assert_cmpuint(after.pressure.stall_ms, ==, 0);
    fixture_tear_down(&f);
}

/* Without memory pages keep their form; later they can still be smaller. */
static void test_fault_recompress(void)
{
    Fixture f;

    fixture_set_up(&f, FIXTURE_SIZE, 0);
    for (uint64_t i = 0; i < 100; i++) {
        g_assert_cmpint(test_store(f.ctx, test_handle(f.persistent, 1, i),
                                   TEST_PAGE_TEXT, i), ==, 0);
    }
    for (unsigned n = 1; ; n++) {
        uint64_t nr;
        bool fired;

        g_assert_cmpuint(n, <, ROUNDS_MAX);
        arm(true, n);
        nr = tmem_store_recompress(f.store);
        fired = tmem_fault_disarm();
        g_assert_true(fired || nr);
        test_check(f.store);
        for (uint64_t i = 0; i < 100; i++) {
            test_expect_page(f.ctx, test_handle(f.persistent, 1, i),
                             TEST_PAGE_TEXT, i);
        }
        if (nr) {
            g_assert_cmpuint(n, >, 1);
            break;
        }
    }
    fixture_tear_down(&f);
}

/* Without memory for a shared pool nobody joins, and nothing stays behind. */
static void test_fault_group(void)
{
    static const uint8_t uuid[16] = { 1 };
    TmemClientConfig config = { .name = "test" };
    Fixture f;

    /* Without another pool, with which its place in the table would go. */
    fixture_join(&f, test_new_store(FIXTURE_SIZE), &config);
    g_assert_true(tmem_client_authorize(f.client, uuid, true, NULL));
    for (unsigned n = 1; ; n++) {
        TmemStatus status;
        uint64_t id;
        bool fired;

        g_assert_cmpuint(n, <, ROUNDS_MAX);
        arm(true, n);
        status = tmem_pool_join(f.client, uuid, TMEM_PAGE_SHIFT, &id);
        fired = tmem_fault_disarm();
        g_assert_true((status == TMEM_STATUS_OK) == !!id);
        g_assert_true(fired || id);
        test_check(f.store);
        if (id) {
            g_assert_cmpuint(n, >, 1);
            break;
        }
        g_assert_cmpuint(test_stats(f.client).bytes, ==, 0);
    }
    fixture_tear_down(&f);
}

/* --- Credit --- */

#define CREDIT  16

/* Uses all of it while there is no memory but what it stands for. */
static void use_credit(Fixture *f, uint64_t nr)
{
    uint8_t *page = tmem_context_bounce(f->ctx);

    for (uint64_t i = 0; i < nr; i++) {
        TmemHandle h = test_handle(f->persistent, i % 3, i);
        TmemStatus status;

        test_page_make(page, i % TEST_PAGE__MAX, i);
        tmem_fault_arm_from("arena-slot", 1);
        status = tmem_page_store_with_credit(f->ctx, &h, page);
        tmem_fault_disarm();
        g_assert_cmpint(status, ==, TMEM_STATUS_OK);
        test_expect_page(f->ctx, h, i % TEST_PAGE__MAX, i);
    }
    test_check(f->store);
}

/* Memory ends at every point of a grant: what was granted holds. */
static void test_fault_credit(void)
{
    static const TmemClientConfig config = {
        .name = "test", .credit = CREDIT,
    };

    for (unsigned n = 1; ; n++) {
        TmemClientStats stats;
        uint32_t nr;
        Fixture f;
        bool fired;

        g_assert_cmpuint(n, <, ROUNDS_MAX);
        fixture_set_up_client(&f, FIXTURE_SIZE, &config);
        /* A single failure is mended by another attempt. */
        tmem_fault_arm_from(n % 2 ? "credit-reserve" : "arena-slot", n);
        nr = tmem_client_grant_credit(f.ctx);
        fired = tmem_fault_disarm();
        tmem_client_get_stats(f.client, &stats);
        g_assert_cmpuint(stats.credit, ==, nr);
        g_assert_true((nr == CREDIT) == !fired);
        test_check(f.store);
        use_credit(&f, nr);
        g_assert_cmpuint(tmem_client_grant_credit(f.ctx), ==, CREDIT);
        fixture_tear_down(&f);
        if (!fired) {
            break;
        }
    }
}

/* --- What another process left --- */

/* A stream with a page, and with what its door remembers. */
static int leave_stream(void)
{
    Fixture f;
    int fd;

    fixture_set_up(&f, FIXTURE_SIZE, 0);
    test_store(f.ctx, test_handle(f.persistent, 1, 1), TEST_PAGE_TEXT, 1);
    fd = test_save(f.store, &(TestLeft) { f.client, "door", "abc" }, 1);
    fixture_tear_down(&f);
    return fd;
}

static void expect_no_memory(GError **err, const char *point)
{
    g_assert_cmpstr(tmem_fault_disarm(), ==, point);
    g_assert_nonnull(*err);
    g_clear_error(err);
}

static void test_fault_restore(void)
{
    TmemClientConfig config = { .name = "test" };
    TmemStore *store = test_new_store(FIXTURE_SIZE);
    uint64_t state_bytes, host_pool;
    int fd = leave_stream();
    TmemLoader *loader;
    GError *err = NULL;
    char left[3];
    void *state;
    Fixture f;

    tmem_fault_arm("restore-directory", 1);
    g_assert_null(tmem_loader_new(store, fd, &err));
    expect_no_memory(&err, "restore-directory");
    loader = tmem_loader_new(store, fd, &err);
    g_assert_no_error(err);
    fixture_join(&f, store, &config);
    g_assert_true(tmem_loader_use(loader, NULL));
    tmem_fault_arm("restore-state", 1);
    g_assert_false(tmem_loader_take(loader, "door", f.ctx, &state, &state_bytes,
                                    &host_pool, &err));
    expect_no_memory(&err, "restore-state");
    g_assert_null(state);
    /* Memory of the file that is given back reads as zeros. */
    g_assert_cmpint(pread(fd, left, 3, TMEM_STREAM_ALIGN), ==, 3);
    g_assert_cmpmem(left, 3, "\0\0\0", 3);
    g_assert_cmpuint(tmem_client_persistent_pages(f.client), ==, 0);
    tmem_loader_free(loader);
    fixture_tear_down(&f);
    close(fd);
}

/* --- All of them --- */

typedef struct Walk {
    const char *path;
    void (*func)(void);
} Walk;

static const Walk walks[] = {
    { "/tmem/B8/fault/pool", test_fault_pool },
    { "/tmem/B8/fault/join", test_fault_join },
    { "/tmem/fault/context", test_fault_context },
    { "/tmem/fault/client", test_fault_client },
    { "/tmem/fault/trust", test_fault_trust },
    { "/tmem/fault/store", test_fault_store_new },
    { "/tmem/fault/upkeep", test_fault_upkeep },
    { "/tmem/fault/pressure", test_fault_pressure },
    { "/tmem/fault/recompress", test_fault_recompress },
    { "/tmem/fault/group", test_fault_group },
    { "/tmem/fault/credit", test_fault_credit },
    { "/tmem/fault/restore", test_fault_restore },
    { "/tmem/fault/no-memory-needed", test_no_memory_needed },
    { "/tmem/fault/table-cannot-grow", test_table_cannot_grow },
};

static unsigned nr_walked;      /* of these, ended */

static void walk(gconstpointer opaque)
{
    const Walk *w = opaque;

    w->func();
    nr_walked++;
}

/* Names of the points in a source, of which each is to have failed once. */
static unsigned check_points(const char *path)
{
    g_autoptr(GRegex) point = g_regex_new("TMEM_FAULT\\(\"([^\"]*)\"\\)", 0, 0,
                                          NULL);
    g_autoptr(GMatchInfo) match = NULL;
    g_autofree char *text = NULL;
    unsigned nr = 0;

    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    g_regex_match(point, text, 0, &match);
    for (; g_match_info_matches(match); g_match_info_next(match, NULL)) {
        g_autofree char *name = g_match_info_fetch(match, 1);

        if (!tmem_fault_fired(name)) {
            g_test_message("%s: the fault point '%s' is walked by no test "
                           "before this one", path, name);
            g_test_fail();
        }
        nr++;
    }
    return nr;
}

/* What can fail and does not say so first: a call in a statement without. */
static void check_silent(const char *path)
{
    g_autoptr(GRegex) call =
        g_regex_new("[^;{}]*\\b(g_try_\\w+|mmap|mprotect|getrandom|open|"
                    "pthread_create|g_thread_try_new)\\s*\\(", 0, 0, NULL);
    g_autoptr(GRegex) comment = g_regex_new("/\\*.*?\\*/", G_REGEX_DOTALL, 0,
                                            NULL);
    g_autoptr(GMatchInfo) match = NULL;
    g_autofree char *whole = NULL;
    g_autofree char *text = NULL;
    gint start, end;

    g_assert_true(g_file_get_contents(path, &whole, NULL, NULL));
    text = g_regex_replace_literal(comment, whole, -1, 0, "", 0, NULL);
    g_regex_match(call, text, 0, &match);
    for (; g_match_info_matches(match); g_match_info_next(match, NULL)) {
        g_autofree char *what = g_match_info_fetch(match, 1);
        g_autofree char *before = NULL;

        g_match_info_fetch_pos(match, 0, &start, &end);
        /* Some lines above will do: a guard at the function's beginning. */
        start = MAX(start - 400, 0);
        before = g_strndup(text + start, end - start);
        if (!strstr(before, "TMEM_FAULT")) {
            g_test_message("%s: no fault point before %s()", path, what);
            g_test_fail();
        }
    }
}

/* The list of points is the source itself. */
static void test_all_points(void)
{
    g_autoptr(GDir) dir = g_dir_open(TMEM_SOURCE_DIR, 0, NULL);
    unsigned nr = 0;
    const char *name;

    if (nr_walked < G_N_ELEMENTS(walks)) {
        g_test_skip("other tests of this program were left out");
        return;
    }
    g_assert_nonnull(dir);
    while ((name = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename(TMEM_SOURCE_DIR, name, NULL);

        if (g_str_has_suffix(name, ".c")) {
            nr += check_points(path);
            check_silent(path);
        }
    }
    g_assert_cmpuint(nr, >=, 11);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (unsigned i = 0; i < G_N_ELEMENTS(store_cases); i++) {
        g_autofree char *path =
            g_strdup_printf("/tmem/B1/fault/%s", store_cases[i].path);

        g_test_add_data_func(path, &store_cases[i], test_fault_store);
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(walks); i++) {
        g_test_add_data_func(walks[i].path, &walks[i], walk);
    }
    /* After all others. */
    g_test_add_func("/tmem/fault/points/all", test_all_points);
    return g_test_run();
}
