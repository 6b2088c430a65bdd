/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A store that is full is taken over: whatever the order, all pages fit.
 */
#include <unistd.h>

#include "testsave.h"
#include "tmem-upkeep.h"

#define NR_CLIENTS_MAX  4
#define NR_PAGES_MAX    40000

/* What a client stored where, and what of it is held. */
typedef struct Guest {
    Fixture f;
    uint64_t max_bytes;
    uint64_t pool;
    uint64_t tags[NR_PAGES_MAX];    /* 0: none */
    unsigned nr_held;
} Guest;

typedef struct Host {
    TmemStore *store;
    Guest *guests;
    unsigned nr_guests;
    uint64_t size_bytes;
    TestRand rand;
} Host;

/* --- A host and its guests --- */

static void make_store(Host *host)
{
    TmemStoreConfig config = { .size_bytes = host->size_bytes };
    GError *err = NULL;

    host->store = tmem_store_new(&config, &err);
    g_assert_no_error(err);
}

/* After the loader is there. */
static void make_clients(Host *host)
{
    for (unsigned i = 0; i < host->nr_guests; i++) {
        g_autofree char *name = g_strdup_printf("%u", i);
        TmemClientConfig config = { .name = name };

        config.limits.max_bytes = host->guests[i].max_bytes;
        fixture_join(&host->guests[i].f, host->store, &config);
    }
}

/* @limited: some of them have a maximum of their own. */
static void host_set_up(Host *host, uint64_t seed, unsigned nr_guests,
                        bool limited)
{
    *host = (Host) { .rand = { seed }, .nr_guests = nr_guests };
    host->size_bytes = (1 << 20) + test_rand_below(&host->rand, 12 << 20);
    host->guests = g_new0(Guest, nr_guests);
    for (unsigned i = 0; i < nr_guests; i++) {
        if (limited && test_rand_below(&host->rand, 2)) {
            host->guests[i].max_bytes = host->size_bytes / (nr_guests + i % 2);
        }
    }
    make_store(host);
    make_clients(host);
    for (unsigned i = 0; i < host->nr_guests; i++) {
        g_assert_cmpint(tmem_pool_create(host->guests[i].f.client,
                                         TMEM_POOL_PERSISTENT, TMEM_PAGE_SHIFT,
                                         &host->guests[i].pool), ==,
                        TMEM_STATUS_OK);
    }
}

static void drop_store(Host *host)
{
    for (unsigned i = 0; i < host->nr_guests; i++) {
        fixture_leave(&host->guests[i].f);
    }
    test_check(host->store);
    tmem_store_free(host->store);
}

/* --- Pages of any size when compressed --- */

static void make_page(uint8_t *page, uint64_t tag)
{
    TestRand rand = { tag };
    uint64_t bytes = 8 + test_rand_below(&rand, TMEM_PAGE_SIZE / 8 - 4) * 8;

    memset(page, 0, TMEM_PAGE_SIZE);
    /* Half of the pages are of one size: classes differ in how full they are */
    bytes = tag % 2 ? 1200 : bytes;
    for (uint64_t at = 0; at < bytes; at += 8) {
        uint64_t word = test_rand(&rand);

        memcpy(page + at, &word, sizeof(word));
    }
}

static TmemHandle handle_of(const Guest *guest, unsigned nr)
{
    return test_handle(guest->pool, nr / 256, nr);
}

static TmemStatus store(Guest *guest, unsigned nr, uint64_t tag)
{
    TmemHandle handle = handle_of(guest, nr);
    uint8_t page[TMEM_PAGE_SIZE];
    TmemStatus status;

    make_page(page, tag);
    status = tmem_page_store(guest->f.ctx, &handle, page);
    guest->nr_held -= guest->tags[nr] != 0;
    guest->tags[nr] = status == TMEM_STATUS_OK ? tag : 0;
    guest->nr_held += guest->tags[nr] != 0;
    return status;
}

static void invalidate(Guest *guest, unsigned nr)
{
    TmemHandle handle = handle_of(guest, nr);

    tmem_page_invalidate(guest->f.ctx, &handle);
    guest->nr_held -= guest->tags[nr] != 0;
    guest->tags[nr] = 0;
}

static Guest *any_guest(Host *host)
{
    return &host->guests[test_rand_below(&host->rand, host->nr_guests)];
}

/* Until no store finds room any more, whatever goes in between. */
static void fill(Host *host)
{
    unsigned refused = 0, span = host->size_bytes / 600;
    unsigned rounds = test_rand_below(&host->rand, 4 * span);

    while (refused < 400 || rounds) {
        Guest *guest = any_guest(host);
        unsigned nr = test_rand_below(&host->rand, MIN(span, NR_PAGES_MAX));

        if (refused && rounds && test_rand_below(&host->rand, 2)) {
            invalidate(guest, nr);
        } else if (store(guest, nr, 1 + (test_rand(&host->rand) >> 8)) !=
                   TMEM_STATUS_OK) {
            refused++;
        }
        rounds -= refused && rounds;
    }
    test_check(host->store);
}

static void expect_all(Guest *guest, uint64_t every)
{
    uint8_t page[TMEM_PAGE_SIZE], want[TMEM_PAGE_SIZE];
    unsigned nr_held = 0;

    for (unsigned nr = 0; nr < NR_PAGES_MAX; nr++) {
        TmemHandle handle = handle_of(guest, nr);

        if (!guest->tags[nr] || nr_held++ % every) {
            continue;
        }
        make_page(want, guest->tags[nr]);
        g_assert_cmpint(tmem_page_load(guest->f.ctx, &handle, page, NULL), ==,
                        TMEM_STATUS_OK);
        g_assert_cmpmem(page, sizeof(page), want, sizeof(want));
    }
    g_assert_cmpuint(nr_held, ==, guest->nr_held);
}

/* --- To the next store --- */

static int save(Host *host)
{
    TestLeft left[NR_CLIENTS_MAX] = {};

    for (unsigned i = 0; i < host->nr_guests; i++) {
        left[i].client = host->guests[i].f.client;
    }
    return test_save(host->store, left, host->nr_guests);
}

static void take(TmemLoader *loader, Host *host, unsigned i)
{
    g_autofree char *name = g_strdup_printf("%u", i);
    g_autofree void *state = NULL;
    uint64_t bytes, pool;
    GError *err = NULL;

    tmem_loader_take(loader, name, host->guests[i].f.ctx, &state, &bytes, &pool,
                     &err);
    g_assert_no_error(err);
}

/* The bound of tmem_share_take_over(), in steps of 16 KiB. */
static uint64_t order_bytes(Host *host)
{
    return host->size_bytes / 64 + host->nr_guests * 10ull * (16 << 10);
}

static uint64_t used_bytes(Host *host)
{
    TmemStoreStats stats;

    tmem_store_get_stats(host->store, &stats);
    return stats.used_bytes;
}

/* What the store passes its size by goes as pages go, and none is added. */
static void expect_no_more(Host *host)
{
    uint64_t before, used = used_bytes(host);

    for (unsigned nr = 0; used > host->size_bytes; nr++) {
        before = used;
        for (unsigned i = 0; i < host->nr_guests; i++) {
            store(&host->guests[i], NR_PAGES_MAX - 1, 2 + 2 * nr);
            invalidate(&host->guests[i], nr % NR_PAGES_MAX);
        }
        used = used_bytes(host);
        g_assert_cmpuint(used, <=, before);
    }
}

/* The store goes, and another comes, for which @fd is. */
static TmemLoader *to_next_store(Host *host, int fd)
{
    GError *err = NULL;
    TmemLoader *loader;

    drop_store(host);
    make_store(host);
    loader = tmem_loader_new(host->store, fd, &err);
    g_assert_no_error(err);
    make_clients(host);
    return loader;
}

/* Returns by how much the store passed its size. */
static uint64_t take_over(Host *host)
{
    uint64_t bound = order_bytes(host);
    unsigned first = test_rand_below(&host->rand, host->nr_guests);
    int fd = save(host);
    TmemLoader *loader = to_next_store(host, fd);
    uint64_t over;

    if (test_rand_below(&host->rand, 2)) {
        tmem_loader_hold(loader);
    }
    for (unsigned i = 0; i < host->nr_guests; i++) {
        take(loader, host, (i + first) % host->nr_guests);
    }
    tmem_loader_free(loader);
    close(fd);
    test_check(host->store);
    over = used_bytes(host);
    over -= MIN(over, host->size_bytes);
    g_assert_cmpuint(over, <=, bound);
    for (unsigned i = 0; i < host->nr_guests; i++) {
        expect_all(&host->guests[i], 1);
    }
    return over;
}

/*
 * Caught: a store, or a client, that is full loses all pages of a client as it
 * is taken over, since these need a little more memory in another order.
 */
static void test_full(void)
{
    TestRand seeds = { test_seed() };
    uint64_t most = 0;
    unsigned nr_over = 0;

    for (unsigned run = 0; run < 40; run++) {
        uint64_t over;
        Host host;

        host_set_up(&host, test_rand(&seeds), 1 + run % NR_CLIENTS_MAX, true);
        fill(&host);
        over = take_over(&host);
        /* And again, from a store that is beyond its size. */
        most = MAX(most, MAX(over, take_over(&host)));
        nr_over += over != 0;
        expect_no_more(&host);
        drop_store(&host);
        g_free(host.guests);
    }
    g_test_message("%u stores of 40 passed their size, by up to %"
                   G_GUINT64_FORMAT " bytes", nr_over, most);
}

/* All that was to come is there: no more was used than is promised. */
static void end_take_over(Host *host, TmemLoader *loader, int fd)
{
    g_assert_cmpuint(used_bytes(host), <=,
                     host->size_bytes + order_bytes(host));
    tmem_loader_free(loader);
    test_check(host->store);
    close(fd);
    drop_store(host);
    g_free(host->guests);
}

/* What the store says that it keeps is what the loader has. */
static void expect_waiting(const Host *host, const TmemLoader *loader,
                           unsigned doors, unsigned pages, bool held)
{
    TmemWaiting waiting;
    TmemStoreStats stats;
    uint64_t sum_pages = 0, sum_held = 0;
    unsigned nr = 0;

    while (tmem_loader_waiting(loader, nr, &waiting)) {
        g_assert_cmpstr(waiting.name, ==, tmem_loader_left(loader, nr));
        g_assert_cmpstr(waiting.client, ==, waiting.name);
        g_assert_false(waiting.is_host);
        g_assert_cmpuint(waiting.nr_pools, ==, 1);
        g_assert_cmpuint(waiting.bytes, >, waiting.pages * 8);
        g_assert_cmpuint(waiting.held_bytes, ==, held ? waiting.bytes : 0);
        sum_pages += waiting.pages;
        sum_held += waiting.held_bytes;
        nr++;
    }
    tmem_store_get_stats(host->store, &stats);
    g_assert_cmpuint(nr, ==, doors);
    g_assert_cmpuint(sum_pages, ==, pages);
    g_assert_cmpuint(stats.waiting_doors, ==, doors);
    g_assert_cmpuint(stats.waiting_pages, ==, pages);
    g_assert_cmpuint(stats.waiting_bytes, ==, sum_held);
    g_assert_cmpuint(stats.overhead_bytes, >=, sum_held);
}

/*
 * Caught: what comes while pages wait for their door takes the room that they
 * had, and they are lost when the door comes.
 */
static void test_waiting(void)
{
    TmemStoreStats stats;
    TmemLoader *loader;
    unsigned nr = 0;
    Host host;
    int fd;

    host_set_up(&host, test_seed(), 2, false);
    for (unsigned i = 0; i < host.size_bytes / 3000; i++) {
        store(&host.guests[0], i, 2 + 2 * i);
    }
    g_assert_cmpuint(host.guests[0].nr_held, >, 300);
    store(&host.guests[1], 0, 2);
    fd = save(&host);
    loader = to_next_store(&host, fd);
    expect_waiting(&host, loader, 2, host.guests[0].nr_held + 1, false);
    take(loader, &host, 1);
    expect_waiting(&host, loader, 1, host.guests[0].nr_held, false);
    tmem_loader_hold(loader);
    expect_waiting(&host, loader, 1, host.guests[0].nr_held, true);
    tmem_store_get_stats(host.store, &stats);
    g_assert_cmpuint(stats.overhead_bytes, >, 300 * 1000);
    nr = 1;
    while (store(&host.guests[1], nr, 2 + nr) == TMEM_STATUS_OK) {
        nr++;
    }
    g_assert_cmpuint(nr, >, host.size_bytes >> 16);
    take(loader, &host, 0);
    expect_waiting(&host, loader, 0, 0, false);
    expect_all(&host.guests[0], 1);
    expect_all(&host.guests[1], 1);
    end_take_over(&host, loader, fd);
}

/* @name is not taken, for there is no room. */
static void expect_lost(TmemLoader *loader, Host *host, unsigned i,
                        const char *why)
{
    g_autofree char *name = g_strdup_printf("%u", i);
    uint64_t bytes, pool;
    GError *err = NULL;
    void *state;

    g_assert_false(tmem_loader_take(loader, name, host->guests[i].f.ctx, &state,
                                    &bytes, &pool, &err));
    g_assert_nonnull(strstr(err->message, why));
    g_error_free(err);
}

/*
 * Caught: what was kept free for one door lets another pass the size, as it is
 * now, or a late door its maximum.
 */
static void late(bool smaller_store)
{
    TmemLoader *loader;
    Host host = { .rand = { test_seed() }, .nr_guests = 2 };
    int fd;

    host.size_bytes = 16 << 20;
    host.guests = g_new0(Guest, 2);
    make_store(&host);
    make_clients(&host);
    for (unsigned i = 0; i < 2; i++) {
        Guest *guest = &host.guests[i];

        tmem_pool_create(guest->f.client, TMEM_POOL_PERSISTENT, TMEM_PAGE_SHIFT,
                         &guest->pool);
        for (unsigned nr = 0; nr < 5000; nr++) {
            g_assert_cmpint(store(guest, nr, 1 + 2 * nr), ==, TMEM_STATUS_OK);
        }
    }
    fd = save(&host);
    /* Each has some 6 MiB. */
    if (smaller_store) {
        host.size_bytes = 8 << 20;
    } else {
        host.guests[0].max_bytes = 4 << 20;
    }
    loader = to_next_store(&host, fd);
    tmem_loader_hold(loader);
    if (smaller_store) {
        take(loader, &host, 0);
        expect_lost(loader, &host, 1, "no room for them");
        expect_waiting(&host, loader, 0, 0, false);
        expect_all(&host.guests[0], 1);
    } else {
        expect_lost(loader, &host, 0, "more than the client may have");
        take(loader, &host, 1);
        expect_all(&host.guests[1], 1);
    }
    end_take_over(&host, loader, fd);
}

static void test_late_in_smaller_store(void)
{
    late(true);
}

static void test_late_above_maximum(void)
{
    late(false);
}

/*
 * Caught: of small pages far apart, the memory is more than the stream has
 * bytes, and others had the rest when their door came.
 */
static void test_waiting_sparse(void)
{
    Host host = { .rand = { test_seed() }, .nr_guests = 2 };
    TmemLoader *loader;
    unsigned nr = 0;
    int fd;

    host.size_bytes = 16 << 20;
    host.guests = g_new0(Guest, 2);
    make_store(&host);
    make_clients(&host);
    for (unsigned i = 0; i < 2; i++) {
        tmem_pool_create(host.guests[i].f.client, TMEM_POOL_PERSISTENT,
                         TMEM_PAGE_SHIFT, &host.guests[i].pool);
    }
    for (unsigned i = 0; i < 30000; i++) {
        TmemHandle handle = test_handle(host.guests[0].pool, i, 0);

        g_assert_cmpint(test_store(host.guests[0].f.ctx, handle, TEST_PAGE_ZERO,
                                   0), ==, TMEM_STATUS_OK);
    }
    fd = save(&host);
    loader = to_next_store(&host, fd);
    take(loader, &host, 1);
    tmem_loader_hold(loader);
    while (store(&host.guests[1], nr, 1 + 2 * nr) == TMEM_STATUS_OK) {
        nr++;
    }
    take(loader, &host, 0);
    for (unsigned i = 0; i < 30000; i++) {
        test_expect_page(host.guests[0].f.ctx,
                         test_handle(host.guests[0].pool, i, 0),
                         TEST_PAGE_ZERO, 0);
    }
    expect_all(&host.guests[1], 1);
    end_take_over(&host, loader, fd);
}

/*
 * A client with a maximum, full of the pages of two doors: both guests of @host
 * are this one client, each with a pool of the host's.  They go to the next
 * store, where the maximum is @then_bytes.
 */
static TmemLoader *two_doors(Host *host, uint64_t then_bytes, int *fd)
{
    TestLeft left[2] = { { .name = "0" }, { .name = "1" } };
    TmemLoader *loader;

    *host = (Host) { .rand = { test_seed() }, .nr_guests = 1,
                     .size_bytes = 32 << 20 };
    host->guests = g_new0(Guest, 2);
    host->guests[0].max_bytes = 8 << 20;
    make_store(host);
    make_clients(host);
    for (unsigned i = 0; i < 2; i++) {
        Guest *guest = &host->guests[i];

        guest->f = host->guests[0].f;
        g_assert_cmpint(tmem_pool_create_host(guest->f.client, &guest->pool),
                        ==, TMEM_STATUS_OK);
        left[i].client = guest->f.client;
        left[i].host_pool = guest->pool;
    }
    for (unsigned nr = 0; nr < 4000; nr++) {
        store(&host->guests[0], nr, 1 + 2 * nr);
    }
    for (unsigned nr = 0; nr < 400; nr++) {
        /* Some of the one go, and as many of the other come. */
        invalidate(&host->guests[0], nr * 3);
        store(&host->guests[1], nr, 2 + 2 * nr);
    }
    g_assert_cmpuint(host->guests[0].nr_held, >, 2000);
    g_assert_cmpuint(host->guests[1].nr_held, >, 300);
    *fd = test_save(host->store, left, 2);
    host->guests[0].max_bytes = then_bytes;
    loader = to_next_store(host, *fd);
    host->guests[1].f = host->guests[0].f;
    return loader;
}

static void take_door(TmemLoader *loader, Host *host, unsigned i)
{
    g_autofree char *name = g_strdup_printf("%u", i);
    g_autofree void *state = NULL;
    uint64_t bytes;
    GError *err = NULL;

    tmem_loader_take(loader, name, host->guests[i].f.ctx, &state, &bytes,
                     &host->guests[i].pool, &err);
    g_assert_no_error(err);
}

/* Until it is refused; returns how many it took. */
static unsigned store_more(Guest *guest)
{
    unsigned nr = 0;

    while (store(guest, 10000 + nr, 1 + 2 * nr) == TMEM_STATUS_OK) {
        nr++;
    }
    return nr;
}

static void expect_waiting_bytes(const Host *host, bool some)
{
    TmemStoreStats stats;

    test_check(host->store);
    tmem_store_get_stats(host->store, &stats);
    g_assert_cmpint(stats.waiting_bytes != 0, ==, some);
}

/*
 * Caught: while pages wait for one door of a client, another takes the room
 * below the client's maximum, and they are lost.
 */
static void test_late_door_of_client(void)
{
    TmemLoader *loader;
    Host host;
    int fd;

    loader = two_doors(&host, 8 << 20, &fd);
    take_door(loader, &host, 0);
    tmem_loader_hold(loader);
    store_more(&host.guests[0]);
    expect_waiting_bytes(&host, true);
    take_door(loader, &host, 1);
    expect_waiting_bytes(&host, false);
    expect_all(&host.guests[0], 1);
    expect_all(&host.guests[1], 1);
    end_take_over(&host, loader, fd);
}

/* The same of a client that goes meanwhile, and is there again. */
static void test_late_client_of_door(void)
{
    TmemLoader *loader;
    Host host;
    int fd;

    loader = two_doors(&host, 8 << 20, &fd);
    fixture_leave(&host.guests[0].f);
    tmem_loader_hold(loader);
    make_clients(&host);
    host.guests[1].f = host.guests[0].f;
    expect_waiting_bytes(&host, true);
    take_door(loader, &host, 1);
    g_assert_cmpint(tmem_pool_create_host(host.guests[0].f.client,
                                          &host.guests[0].pool), ==,
                    TMEM_STATUS_OK);
    host.guests[0].nr_held = 0;
    memset(host.guests[0].tags, 0, sizeof(host.guests[0].tags));
    store_more(&host.guests[0]);
    /* Nobody wants what waits for the other one: then there is room. */
    tmem_loader_drop(loader, "0");
    expect_waiting_bytes(&host, false);
    g_assert_cmpuint(store_more(&host.guests[0]), >, 2000);
    expect_all(&host.guests[0], 1);
    expect_all(&host.guests[1], 1);
    end_take_over(&host, loader, fd);
}

/*
 * Caught: where a maximum has no room for all that waits, nothing comes at all,
 * and no door can be made.
 */
static void test_late_doors_above_maximum(void)
{
    TmemContext *more;
    TmemLoader *loader;
    GError *err = NULL;
    Host host;
    int fd;

    loader = two_doors(&host, 2 << 20, &fd);
    tmem_loader_hold(loader);
    g_assert_cmpuint(store_more(&host.guests[0]), ==, 0);
    tmem_loader_make_way(host.guests[0].f.client, 1);
    more = tmem_context_new(host.guests[0].f.client, &err);
    g_assert_no_error(err);
    tmem_loader_made_way(host.guests[0].f.client);
    take_door(loader, &host, 1);
    expect_all(&host.guests[1], 1);
    expect_lost(loader, &host, 0, "more than the client may have");
    expect_waiting_bytes(&host, false);
    tmem_context_free(more);
    end_take_over(&host, loader, fd);
}

int main(int argc, char *argv[])
{
    g_test_init(&argc, &argv, NULL);
    /* What happens in the background is not to happen at random. */
    tmem_upkeep_by_hand(true);
    g_test_add_func("/tmem/take-over/full", test_full);
    g_test_add_func("/tmem/take-over/waiting", test_waiting);
    g_test_add_func("/tmem/take-over/waiting-sparse", test_waiting_sparse);
    g_test_add_func("/tmem/take-over/late-in-smaller-store",
                    test_late_in_smaller_store);
    g_test_add_func("/tmem/take-over/late-above-maximum",
                    test_late_above_maximum);
    g_test_add_func("/tmem/take-over/late-door-of-client",
                    test_late_door_of_client);
    g_test_add_func("/tmem/take-over/late-client-of-door",
                    test_late_client_of_door);
    g_test_add_func("/tmem/take-over/late-doors-above-maximum",
                    test_late_doors_above_maximum);
    return g_test_run();
}
