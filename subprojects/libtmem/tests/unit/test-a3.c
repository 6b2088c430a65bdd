/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Defects that the ancestors had (Xen's tmem, zcache, the KVM ports), one test
 * for each that this design could have too
 *
 * The number is that of the defect in the project's list.  "Caught:" says which
 * defect was put into the library to see the test fail.  Those about saving
 * (2, 3, 8) are in test-pool-moves.c, and some in test-a3-operator.c.
 */
#include "standard-headers/linux/virtio_tmem.h"
#include "testpeek.h"
#include "tmem-fault.h"

/*
 * Xen: TMEM_OP_DESTROY destroyed nothing.
 *
 * Caught: tmem_pool_destroy() returns after it cleared the id.
 */
static void test_destroy_destroys(void)
{
    uint64_t before, id;
    Fixture f;

    fixture_set_up(&f, FIXTURE_SIZE, 0);
    before = test_stats(f.client).bytes;
    g_assert_cmpint(tmem_pool_create(f.client, TMEM_POOL_PERSISTENT,
                                     TMEM_PAGE_SHIFT, &id), ==, 0);
    for (uint64_t i = 0; i < 500; i++) {
        g_assert_cmpint(test_store(f.ctx, test_handle(id, i % 7, i),
                                   i % TEST_PAGE__MAX, i), ==, 0);
    }
    g_assert_cmpint(tmem_pool_destroy(f.client, id), ==, TMEM_STATUS_OK);
    test_expect_status(f.ctx, test_handle(id, 0, 0), TMEM_STATUS_NOPOOL);
    g_assert_cmpuint(test_stats(f.client).total.pages, ==, 0);
    g_assert_cmpuint(test_stats(f.client).total.data_bytes, ==, 0);
    g_assert_cmpuint(test_stats(f.client).bytes, <=, before);
    fixture_tear_down(&f);
}

/*
 * Xen: when making a pool failed half-way, it was freed and stayed in the
 * client's table.
 *
 * Caught: the failure path of tmem_pool_create() leaves the slot in use.
 */
static void count_pool(const TmemPoolInfo *info, void *opaque)
{
    (*(unsigned *)opaque)++;
}

static unsigned count_pools(TmemClient *client)
{
    unsigned nr = 0;

    tmem_client_foreach_pool(client, count_pool, &nr);
    return nr;
}

static void test_failed_pool_is_nowhere(void)
{
    unsigned failures = 0;
    Fixture f;

    fixture_set_up(&f, FIXTURE_SIZE, 0);
    /* Only a table that grows by a page needs memory. */
    for (unsigned i = 0; i < 50; i++) {
        unsigned before = count_pools(f.client);
        TmemStatus status;
        uint64_t id;

        tmem_fault_arm_from(NULL, 1);
        status = tmem_pool_create(f.client, TMEM_POOL_PERSISTENT,
                                  TMEM_PAGE_SHIFT, &id);
        tmem_fault_disarm();
        if (status != TMEM_STATUS_OK) {
            failures++;
            g_assert_cmpint(status, ==, TMEM_STATUS_NOSPC);
            g_assert_cmpuint(id, ==, 0);
            g_assert_cmpuint(count_pools(f.client), ==, before);
            test_check(f.store);
            g_assert_cmpint(tmem_pool_create(f.client, TMEM_POOL_PERSISTENT,
                                             TMEM_PAGE_SHIFT, &id), ==, 0);
        }
        g_assert_cmpuint(count_pools(f.client), ==, before + 1);
        g_assert_cmpint(test_store(f.ctx, test_handle(id, 1, 1),
                                   TEST_PAGE_TEXT, i), ==, 0);
        test_expect_page(f.ctx, test_handle(id, 1, 1), TEST_PAGE_TEXT, i);
    }
    g_assert_cmpuint(failures, >, 2);
    fixture_tear_down(&f);
}

/*
 * Xen: the bits of a client's flags in the code were not those of the ABI.
 *
 * The compiler refuses that already, by assertions in tmem-req.c.
 */
static void test_numbers_of_the_wire(void)
{
    static const struct {
        int library, wire;
    } numbers[] = {
        { TMEM_STATUS_OK, VIRTIO_TMEM_S_OK },
        { TMEM_STATUS_MISS, VIRTIO_TMEM_S_MISS },
        { TMEM_STATUS_NOSPC, VIRTIO_TMEM_S_NOSPC },
        { TMEM_STATUS_QUOTA, VIRTIO_TMEM_S_QUOTA },
        { TMEM_STATUS_REFUSED, VIRTIO_TMEM_S_REFUSED },
        { TMEM_STATUS_FROZEN, VIRTIO_TMEM_S_FROZEN },
        { TMEM_STATUS_IO, VIRTIO_TMEM_S_IO },
        { TMEM_STATUS_NOPOOL, VIRTIO_TMEM_S_NOPOOL },
        { TMEM_STATUS_UNSUPP, VIRTIO_TMEM_S_UNSUPP },
        { TMEM_STATUS_INVAL, VIRTIO_TMEM_S_INVAL },
        { TMEM_STATUS_PERM, VIRTIO_TMEM_S_PERM },
        { 1 << TMEM_POOL_PERSISTENT, 1 },
        { TMEM_POOL_EPHEMERAL, VIRTIO_TMEM_POOL_EPHEMERAL },
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(numbers); i++) {
        g_assert_cmpint(numbers[i].library, ==, numbers[i].wire);
    }
}

/*
 * Xen: a branch that could never be reached kept pages with trailing zeros from
 * being shared.  Here: same-filled pages are told apart before all else.
 *
 * Caught: same_filled() always says no.
 */
static void test_same_filled_is_reached(void)
{
    TmemPoolStats total;
    Fixture f;

    fixture_set_up(&f, FIXTURE_SIZE, 0);
    for (uint64_t i = 0; i < 64; i++) {
        g_assert_cmpint(test_store(f.ctx, test_handle(f.persistent, 1, i),
                                   i % 2 ? TEST_PAGE_FILL32 : TEST_PAGE_ZERO,
                                   i), ==, 0);
    }
    total = test_stats(f.client).total;
    g_assert_cmpuint(total.stores_same_filled, ==, 64);
    g_assert_cmpuint(total.pages_same_filled, ==, 64);
    g_assert_cmpuint(total.data_bytes, ==, 0);
    fixture_tear_down(&f);
}

/*
 * And nothing else takes that branch: a page of one word but for one byte.
 *
 * Caught: same_filled() compares the first word with the last only.
 */
static void test_almost_same_filled(void)
{
    Fixture f;

    fixture_set_up(&f, FIXTURE_SIZE, 0);
    for (unsigned at = 0; at < TMEM_PAGE_SIZE; at += at % 64 == 8 ? 48 : 1) {
        uint8_t page[TMEM_PAGE_SIZE], got[TMEM_PAGE_SIZE];
        TmemHandle h = test_handle(f.persistent, 1, at);

        test_page_make(page, at % 3, at);
        page[at] ^= 1 + at % 255;
        g_assert_cmpint(tmem_page_store(f.ctx, &h, page), ==, 0);
        g_assert_cmpint(tmem_page_load(f.ctx, &h, got, NULL), ==, 0);
        g_assert_cmpmem(got, sizeof(got), page, sizeof(page));
    }
    g_assert_cmpuint(test_stats(f.client).total.pages_same_filled, ==, 0);
    fixture_tear_down(&f);
}

/*
 * zcache: looking for a pool that is not there lost a reference of the client;
 * looking and then taking a reference raced with destruction.
 *
 * Caught: enter() does not look at the pool's id again under the lock.
 */
typedef struct Racer {
    Fixture *f;
    uint64_t id;                /* atomic */
    bool stop;                  /* atomic */
    TmemContext *ctx;
} Racer;

static gpointer race(gpointer opaque)
{
    Racer *r = opaque;

    for (uint64_t i = 0; !__atomic_load_n(&r->stop, __ATOMIC_RELAXED); i++) {
        TmemHandle h = test_handle(__atomic_load_n(&r->id, __ATOMIC_RELAXED),
                                   i % 5, i % 90);

        test_store(r->ctx, h, TEST_PAGE_TEXT, i);
        tmem_page_load(r->ctx, &h, tmem_context_bounce(r->ctx), NULL);
    }
    return NULL;
}

static void test_destroy_under_operations(void)
{
    GThread *thread;
    Racer r = {};
    Fixture f;

    fixture_set_up(&f, FIXTURE_SIZE, 0);
    r = (Racer) { .f = &f, .ctx = tmem_context_new(f.client, NULL) };
    thread = g_thread_new("racer", race, &r);
    for (unsigned i = 0; i < 400; i++) {
        uint64_t id;

        g_assert_cmpint(tmem_pool_create(f.client, i % 2, TMEM_PAGE_SHIFT,
                                         &id), ==, TMEM_STATUS_OK);
        __atomic_store_n(&r.id, id, __ATOMIC_RELAXED);
        g_usleep(100);
        g_assert_cmpint(tmem_pool_destroy(f.client, id), ==, TMEM_STATUS_OK);
        if (i % 50 == 0) {
            test_check(f.store);
        }
    }
    __atomic_store_n(&r.stop, true, __ATOMIC_RELAXED);
    g_thread_join(thread);
    g_assert_cmpuint(test_stats(f.client).total.pages, ==, 0);
    tmem_context_free(r.ctx);
    fixture_tear_down(&f);
}

/*
 * zcache: eviction passed over the pages of a pool being destroyed, and used
 * their memory again while the pool still pointed there.
 *
 * Caught: tmem_arena_victim_end() gives the segment away without looking
 * whether it is empty.
 */
static gpointer fill(gpointer opaque)
{
    Racer *r = opaque;

    for (uint64_t i = 0; !__atomic_load_n(&r->stop, __ATOMIC_RELAXED); i++) {
        test_store(r->ctx, test_handle(r->f->ephemeral, i % 11, i % 2000),
                   TEST_PAGE_NOISE, i);
    }
    return NULL;
}

static void test_destroy_under_eviction(void)
{
    GThread *thread;
    Racer r = {};
    Fixture f;

    fixture_set_up(&f, 2u << 20, 0);
    r = (Racer) { .f = &f, .ctx = tmem_context_new(f.client, NULL) };
    thread = g_thread_new("filler", fill, &r);
    while (!test_stats(f.client).total.evicted) {
        g_usleep(100);
    }
    for (unsigned i = 0; i < 100; i++) {
        uint64_t id;

        if (tmem_pool_create(f.client, TMEM_POOL_EPHEMERAL, TMEM_PAGE_SHIFT,
                             &id) != TMEM_STATUS_OK) {
            continue;
        }
        for (uint64_t j = 0; j < 100; j++) {
            test_store(f.ctx, test_handle(id, j % 3, j * 9), TEST_PAGE_MIXED,
                       j);
        }
        g_assert_cmpint(tmem_pool_destroy(f.client, id), ==, TMEM_STATUS_OK);
        if (i % 10 == 0) {
            test_check(f.store);
        }
    }
    __atomic_store_n(&r.stop, true, __ATOMIC_RELAXED);
    g_thread_join(thread);
    g_assert_cmpuint(test_stats(f.client).total.evicted, >, 0);
    tmem_context_free(r.ctx);
    fixture_tear_down(&f);
}

/*
 * zcache: a get that failed left the count of pages as it was before; and the
 * counts only ever grew.
 *
 * Caught: tmem_page_take() removes without settle(); quarantine() does not take
 * back the hit.
 */
static void test_failed_load_counts(void)
{
    TmemPoolStats before, after;
    uint64_t version;
    TestPeek peek;
    TmemHandle h;
    Fixture f;

    fixture_set_up(&f, FIXTURE_SIZE, 0);
    h = test_handle(f.ephemeral, 1, 1);
    g_assert_cmpint(test_store(f.ctx, h, TEST_PAGE_TEXT, 1), ==, 0);
    before = test_stats(f.client).total;
    g_assert_true(test_peek(f.ctx, h, &peek));
    peek.data[0] ^= 1;
    test_expect_status(f.ctx, h, TMEM_STATUS_IO);
    test_expect_status(f.ctx, test_handle(f.ephemeral, 1, 2),
                       TMEM_STATUS_MISS);
    after = test_stats(f.client).total;
    g_assert_cmpuint(after.pages, ==, before.pages);
    g_assert_cmpuint(after.loads_hit, ==, 0);
    g_assert_cmpuint(after.loads_error, ==, 1);
    g_assert_cmpuint(after.loads_miss, ==, 1);

    g_assert_cmpint(test_store(f.ctx, h, TEST_PAGE_TEXT, 2), ==, 0);
    g_assert_cmpint(tmem_page_load(f.ctx, &h, tmem_context_bounce(f.ctx),
                                   &version), ==, 0);
    g_assert_cmpint(tmem_page_take(f.ctx, &h, version), ==, 0);
    g_assert_cmpint(tmem_page_take(f.ctx, &h, version), ==, 0);
    after = test_stats(f.client).total;
    g_assert_cmpuint(after.pages, ==, 0);
    g_assert_cmpuint(after.taken, ==, 1);
    test_check_laws(f.client);
    fixture_tear_down(&f);
}

/*
 * zcache: a new pool could be found before its locks were made.
 *
 * A smoke test for ThreadSanitizer: an id that was set too early went unnoticed
 * without it.
 */
typedef struct Found {
    uint64_t ids[64];
    unsigned nr;
} Found;

static void note_found(const TmemPoolInfo *info, void *opaque)
{
    Found *found = opaque;

    g_assert_cmpuint(info->id, !=, 0);
    g_assert_cmpuint(info->stats.stores, >=, info->stats.stores_ok);
    if (found->nr < G_N_ELEMENTS(found->ids)) {
        found->ids[found->nr++] = info->id;
    }
}

static gpointer find(gpointer opaque)
{
    Racer *r = opaque;

    for (uint64_t i = 0; !__atomic_load_n(&r->stop, __ATOMIC_RELAXED); i++) {
        Found found = {};

        tmem_client_foreach_pool(r->f->client, note_found, &found);
        for (unsigned j = 0; j < found.nr; j++) {
            test_store(r->ctx, test_handle(found.ids[j], i % 3, i % 50),
                       TEST_PAGE_FILL64, i);
        }
    }
    return NULL;
}

static void test_new_pool_is_whole(void)
{
    GThread *thread;
    Racer r = {};
    Fixture f;

    fixture_set_up(&f, FIXTURE_SIZE, 0);
    r = (Racer) { .f = &f, .ctx = tmem_context_new(f.client, NULL) };
    thread = g_thread_new("finder", find, &r);
    for (unsigned i = 0; i < 1000; i++) {
        uint64_t id;

        g_assert_cmpint(tmem_pool_create(f.client, i % 2, TMEM_PAGE_SHIFT,
                                         &id), ==, TMEM_STATUS_OK);
        if (i % 16 == 0) {
            g_usleep(50);
        }
        g_assert_cmpint(tmem_pool_destroy(f.client, id), ==, TMEM_STATUS_OK);
    }
    __atomic_store_n(&r.stop, true, __ATOMIC_RELAXED);
    g_thread_join(thread);
    tmem_context_free(r.ctx);
    fixture_tear_down(&f);
}

/*
 * zcache: the hash of an object was the exclusive or of its three words.
 *
 * Caught: the hash is fed with object[0] ^ object[1] ^ object[2].
 */
static void test_permuted_objects(void)
{
    static const uint8_t order[6][3] = {
        { 0, 1, 2 }, { 0, 2, 1 }, { 1, 0, 2 },
        { 1, 2, 0 }, { 2, 0, 1 }, { 2, 1, 0 },
    };
    g_autoptr(GHashTable) hashes = g_hash_table_new_full(g_int64_hash,
                                                         g_int64_equal, g_free,
                                                         NULL);
    Fixture f;

    fixture_set_up(&f, FIXTURE_SIZE, 0);
    for (uint64_t i = 0; i < 100; i++) {
        uint64_t words[3] = { i * 3, i * 3 + 1, ~i };

        for (unsigned j = 0; j < 6; j++) {
            TmemHandle h = { .pool = f.persistent };
            TestPeek peek;

            for (unsigned k = 0; k < 3; k++) {
                h.object[k] = words[order[j][k]];
            }
            g_assert_cmpint(test_store(f.ctx, h, TEST_PAGE_FILL64, i * 6 + j),
                            ==, TMEM_STATUS_OK);
            g_assert_true(test_peek(f.ctx, h, &peek));
            g_assert_true(g_hash_table_add(hashes,
                                           g_memdup2(&peek.key.hash_head,
                                                     sizeof(uint64_t))));
        }
        for (unsigned j = 0; j < 6; j++) {
            TmemHandle h = { .pool = f.persistent };

            for (unsigned k = 0; k < 3; k++) {
                h.object[k] = words[order[j][k]];
            }
            test_expect_page(f.ctx, h, TEST_PAGE_FILL64, i * 6 + j);
        }
    }
    fixture_tear_down(&f);
}

/*
 * zcache: a get looked into the pool before it knew that there was one.
 *
 * Caught: tmem_pool_find() does not compare the slot with the table's length.
 */
static void test_pools_that_never_were(void)
{
    Fixture f;

    fixture_set_up(&f, FIXTURE_SIZE, 0);
    for (unsigned bit = 0; bit < 64; bit++) {
        uint64_t ids[] = {
            0, 1ull << bit, ~0ull >> bit, f.persistent ^ 1ull << bit,
            f.ephemeral ^ 1ull << bit, ~f.persistent,
        };

        for (unsigned i = 0; i < G_N_ELEMENTS(ids); i++) {
            TmemHandle h = test_handle(ids[i], 1, 1);

            if (ids[i] == f.persistent || ids[i] == f.ephemeral) {
                continue;
            }
            test_expect_status(f.ctx, h, TMEM_STATUS_NOPOOL);
            g_assert_cmpint(test_store(f.ctx, h, TEST_PAGE_TEXT, 1), ==,
                            TMEM_STATUS_NOPOOL);
            g_assert_cmpint(tmem_page_invalidate(f.ctx, &h), ==,
                            TMEM_STATUS_NOPOOL);
            g_assert_cmpint(tmem_object_invalidate(f.ctx, &h), ==,
                            TMEM_STATUS_NOPOOL);
            g_assert_cmpint(tmem_page_take(f.ctx, &h, 1), ==,
                            TMEM_STATUS_NOPOOL);
            g_assert_cmpint(tmem_pool_destroy(f.client, ids[i]), ==,
                            TMEM_STATUS_NOPOOL);
        }
    }
    fixture_tear_down(&f);
}

/*
 * The KVM ports: the guest chose its client's number; destroying one pool took
 * another's pages with it; the id of a pool that was gone was used on.
 *
 * Caught: tmem_pool_find() compares slot and kind only.
 */
static void test_pools_of_others(void)
{
    TmemClientConfig config = { .name = "other" };
    TmemContext *ctx;
    TmemClient *other;
    uint64_t mine, second, again;
    Fixture f;

    fixture_set_up(&f, FIXTURE_SIZE, 0);
    other = tmem_client_new(f.store, &config, NULL);
    ctx = tmem_context_new(other, NULL);
    for (int i = 0; i < 2; i++) {
        g_assert_cmpint(tmem_pool_create(other, TMEM_POOL_PERSISTENT,
                                         TMEM_PAGE_SHIFT, i ? &second : &mine),
                        ==, TMEM_STATUS_OK);
    }
    g_assert_cmpint(test_store(f.ctx, test_handle(f.persistent, 1, 1),
                               TEST_PAGE_TEXT, 1), ==, 0);
    g_assert_cmpint(test_store(ctx, test_handle(mine, 1, 1), TEST_PAGE_TEXT,
                               2), ==, 0);
    g_assert_cmpint(test_store(ctx, test_handle(second, 1, 1), TEST_PAGE_TEXT,
                               3), ==, 0);

    /* Another client's pool cannot be named. */
    test_expect_status(ctx, test_handle(f.persistent, 1, 1),
                       TMEM_STATUS_NOPOOL);
    g_assert_cmpint(tmem_pool_destroy(other, f.persistent), ==,
                    TMEM_STATUS_NOPOOL);
    /* Destroying one pool leaves the other whole. */
    g_assert_cmpint(tmem_pool_destroy(other, mine), ==, TMEM_STATUS_OK);
    test_expect_page(ctx, test_handle(second, 1, 1), TEST_PAGE_TEXT, 3);
    /* The id that was does not name what came into its place. */
    g_assert_cmpint(tmem_pool_create(other, TMEM_POOL_PERSISTENT,
                                     TMEM_PAGE_SHIFT, &again), ==, 0);
    g_assert_cmpuint(again, !=, mine);
    test_expect_status(ctx, test_handle(mine, 1, 1), TMEM_STATUS_NOPOOL);
    test_expect_status(ctx, test_handle(again, 1, 1), TMEM_STATUS_MISS);
    test_expect_page(f.ctx, test_handle(f.persistent, 1, 1), TEST_PAGE_TEXT,
                     1);

    tmem_client_reset(other);
    tmem_context_free(ctx);
    tmem_client_free(other);
    fixture_tear_down(&f);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/tmem/A3/4-destroy-destroys", test_destroy_destroys);
    g_test_add_func("/tmem/A3/5-failed-pool-is-nowhere",
                    test_failed_pool_is_nowhere);
    g_test_add_func("/tmem/A3/9-numbers-of-the-wire",
                    test_numbers_of_the_wire);
    g_test_add_func("/tmem/A3/10-same-filled-is-reached",
                    test_same_filled_is_reached);
    g_test_add_func("/tmem/A3/10-almost-same-filled",
                    test_almost_same_filled);
    g_test_add_func("/tmem/A3/11-destroy-under-operations",
                    test_destroy_under_operations);
    g_test_add_func("/tmem/A3/12-destroy-under-eviction",
                    test_destroy_under_eviction);
    g_test_add_func("/tmem/A3/14-failed-load-counts", test_failed_load_counts);
    g_test_add_func("/tmem/A3/15-new-pool-is-whole", test_new_pool_is_whole);
    g_test_add_func("/tmem/A3/16-permuted-objects", test_permuted_objects);
    g_test_add_func("/tmem/A3/17-pools-that-never-were",
                    test_pools_that_never_were);
    g_test_add_func("/tmem/A3/18-pools-of-others", test_pools_of_others);
    return g_test_run();
}
