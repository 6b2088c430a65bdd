/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pools that go from one store to the next through a stream
 */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "testpeek.h"
#include "testsave.h"
#include "tmem-stream.h"

#define GUEST   "guest"
#define HOST    "host"

/* --- Two processes, in one --- */

/* Moves what the guest has, and @host_pool if not 0, to a new stream. */
static int save(Fixture *f, uint64_t host_pool)
{
    const TestLeft left[] = {
        { .client = f->client, .name = GUEST, .state = "abc" },
        { .client = f->client, .name = HOST, .host_pool = host_pool },
    };

    return test_save(f->store, left, host_pool ? 2 : 1);
}

/* An empty store with a client that has no pools, and the stream. */
static TmemLoader *set_up_next(Fixture *f, uint64_t size_bytes,
                               const TmemClientConfig *client_config, int fd,
                               GError **errp)
{
    TmemClientConfig defaults = { .name = "test" };
    TmemStore *store = test_new_store(size_bytes);
    TmemLoader *loader = tmem_loader_new(store, fd, errp);

    fixture_join(f, store, client_config ? client_config : &defaults);
    return loader;
}

static void take(TmemLoader *loader, Fixture *f, const char *name,
                 const char *state, uint64_t *host_pool)
{
    g_autofree char *got = NULL;
    GError *err = NULL;
    uint64_t bytes;

    tmem_loader_take(loader, name, f->ctx, (void **)&got, &bytes, host_pool,
                     &err);
    g_assert_no_error(err);
    g_assert_cmpmem(got, bytes, state, strlen(state));
    test_check(f->store);
    test_check_laws(f->client);
}

static void expect_refused(GError *err, const char *why)
{
    g_assert_nonnull(err);
    if (!strstr(err->message, why)) {
        g_test_message("'%s' does not say '%s'", err->message, why);
        g_test_fail();
    }
    g_error_free(err);
}

/* @name cannot be taken, and nothing of it is left. */
static void expect_not_taken(TmemLoader *loader, Fixture *f, const char *name,
                             const char *why)
{
    TmemClientStats stats;
    uint64_t bytes, pool;
    GError *err = NULL;
    void *state;

    g_assert_false(tmem_loader_take(loader, name, f->ctx, &state, &bytes,
                                    &pool, &err));
    g_assert_null(state);
    g_assert_cmpuint(pool, ==, 0);
    expect_refused(err, why);
    test_check(f->store);
    tmem_client_get_stats(f->client, &stats);
    g_assert_cmpuint(stats.total.pages, ==, 0);
    g_assert_cmpuint(stats.credit, ==, 0);
    g_assert_false(tmem_loader_find(loader, name, &(TmemBundle) {}));
}

/* --- What goes in comes out --- */

static TmemHandle handle_of(uint64_t pool, unsigned i)
{
    static const uint64_t far[] = { 0, 1ull << 40, UINT64_MAX - 255 };

    return test_handle(pool, i % 7, i / 21 % 128 + far[i / 7 % 3] +
                       (uint64_t)(i / (21 * 128)) * 4096);
}

static void fill(Fixture *f, uint64_t pool, unsigned nr)
{
    for (unsigned i = 0; i < nr; i++) {
        g_assert_cmpint(test_store(f->ctx, handle_of(pool, i),
                                   i % TEST_PAGE__MAX, i), ==, TMEM_STATUS_OK);
    }
}

static void expect_filled(Fixture *f, uint64_t pool, unsigned nr)
{
    for (unsigned i = 0; i < nr; i++) {
        test_expect_page(f->ctx, handle_of(pool, i), i % TEST_PAGE__MAX, i);
    }
}

/* Caught: a page, a pool or an id that does not survive, in every encoding. */
static void test_round_trip(void)
{
    const unsigned nr = 700;
    TmemCodecChoice zstd = { .compressor = TMEM_COMPRESSOR_ZSTD, .level = 1 };
    uint64_t host, zstd_pool, pool, new_host;
    g_autofree char *left = NULL;
    TmemLoader *loader;
    Fixture f, g;
    int fd;

    fixture_set_up(&f, FIXTURE_SIZE, 0);
    g_assert_cmpint(tmem_pool_create_host(f.client, &host), ==,
                    TMEM_STATUS_OK);
    g_assert_cmpint(tmem_pool_create(f.client, TMEM_POOL_PERSISTENT,
                                     TMEM_PAGE_SHIFT, &zstd_pool), ==,
                    TMEM_STATUS_OK);
    g_assert_true(tmem_pool_set_codec(f.client, zstd_pool, &zstd, NULL));
    fill(&f, f.persistent, nr);
    fill(&f, zstd_pool, 100);
    fill(&f, f.ephemeral, 50);
    fill(&f, host, 300);
    fd = save(&f, host);
    /* It was moved. */
    g_assert_cmpuint(test_stats(f.client).total.pages, ==, 0);

    loader = set_up_next(&g, FIXTURE_SIZE, NULL, fd, NULL);
    g_assert_nonnull(loader);
    g_assert_cmpstr(tmem_loader_left(loader, 0), ==, GUEST);
    g_assert_cmpstr(tmem_loader_left(loader, 1), ==, HOST);
    g_assert_true(tmem_loader_use(loader, NULL));
    take(loader, &g, GUEST, "abc", &pool);
    g_assert_cmpuint(pool, ==, 0);
    take(loader, &g, HOST, "", &new_host);
    g_assert_null(tmem_loader_left(loader, 0));
    tmem_loader_free(loader);

    expect_filled(&g, f.persistent, nr);
    expect_filled(&g, zstd_pool, 100);
    expect_filled(&g, new_host, 300);
    test_expect_status(g.ctx, handle_of(f.ephemeral, 0), TMEM_STATUS_MISS);
    g_assert_cmpuint(test_stats(g.client).total.pages, ==, nr + 100 + 300);
    g_assert_cmpint(tmem_pool_create(g.client, TMEM_POOL_PERSISTENT,
                                     TMEM_PAGE_SHIFT, &pool), ==,
                    TMEM_STATUS_OK);
    /* Nor is an id given twice. */
    g_assert_cmpuint(pool >> TMEM_POOL_GEN_SHIFT, >,
                     zstd_pool >> TMEM_POOL_GEN_SHIFT);
    g_assert_cmpint(tmem_pool_destroy(g.client, new_host), ==, TMEM_STATUS_OK);
    close(fd);
    fixture_tear_down(&g);
    fixture_tear_down(&f);
}

/* Caught: what could not be read is a miss, or zeros, in the next process. */
static void test_damaged(void)
{
    TmemLoader *loader;
    TmemClientStats stats;
    uint64_t pool;
    TestPeek peek;
    Fixture f, g;
    int fd;

    fixture_set_up(&f, FIXTURE_SIZE, 0);
    fill(&f, f.persistent, 60);
    /* One is known to be damaged, the other is not yet. */
    for (unsigned i = 3; i <= 4; i++) {
        g_assert_true(test_peek(f.ctx, handle_of(f.persistent, i), &peek));
        peek.data[1] ^= 4;
    }
    test_expect_status(f.ctx, handle_of(f.persistent, 3), TMEM_STATUS_IO);
    fd = save(&f, 0);
    loader = set_up_next(&g, FIXTURE_SIZE, NULL, fd, NULL);
    g_assert_nonnull(loader);
    take(loader, &g, GUEST, "abc", &pool);
    tmem_loader_free(loader);
    for (unsigned i = 0; i < 60; i++) {
        if (i == 3 || i == 4) {
            test_expect_status(g.ctx, handle_of(f.persistent, i),
                               TMEM_STATUS_IO);
        } else {
            test_expect_page(g.ctx, handle_of(f.persistent, i),
                             i % TEST_PAGE__MAX, i);
        }
    }
    tmem_client_get_stats(g.client, &stats);
    g_assert_cmpuint(stats.total.pages, ==, 60);
    g_assert_cmpuint(stats.total.pages_damaged, ==, 2);
    close(fd);
    fixture_tear_down(&g);
    fixture_tear_down(&f);
}

/* Caught: credit that the guest has, and the next process knows nothing of. */
static void test_credit(void)
{
    TmemClientConfig config = { .name = "test", .credit = 16 };
    TmemClientStats stats;
    TmemLoader *loader;
    uint32_t granted;
    uint64_t pool;
    Fixture f, g;
    int fd;

    fixture_set_up_client(&f, FIXTURE_SIZE, &config);
    granted = tmem_client_grant_credit(f.ctx);
    g_assert_cmpuint(granted, ==, 16);
    fd = save(&f, 0);
    /* Whatever it would grant itself. */
    loader = set_up_next(&g, FIXTURE_SIZE, NULL, fd, NULL);
    take(loader, &g, GUEST, "abc", &pool);
    tmem_client_get_stats(g.client, &stats);
    g_assert_cmpuint(stats.credit, ==, 16);
    tmem_client_freeze(g.client, true);
    for (unsigned i = 0; i < 16; i++) {
        TmemHandle h = test_handle(f.persistent, i, 0);

        test_page_make(tmem_context_bounce(g.ctx), TEST_PAGE_NOISE, i);
        g_assert_cmpint(tmem_page_store_with_credit(g.ctx, &h,
                            tmem_context_bounce(g.ctx)), ==, TMEM_STATUS_OK);
    }
    for (unsigned i = 0; i < 16; i++) {
        test_expect_page(g.ctx, test_handle(f.persistent, i, 0),
                         TEST_PAGE_NOISE, i);
    }
    tmem_loader_free(loader);
    close(fd);
    fixture_tear_down(&g);
    fixture_tear_down(&f);
}

/* Caught: the host needs the memory of what it hands over twice. */
static void test_memory(void)
{
    TmemStoreStats stats;
    TmemLoader *loader;
    struct stat st;
    uint64_t pool;
    Fixture f, g;
    int fd;

    fixture_set_up(&f, FIXTURE_SIZE, 0);
    for (unsigned i = 0; i < 1200; i++) {
        test_store(f.ctx, test_handle(f.persistent, i, 0), TEST_PAGE_NOISE, i);
    }
    fd = save(&f, 0);
    tmem_store_get_stats(f.store, &stats);
    g_assert_cmpuint(stats.used_bytes, <, f.empty_bytes + (1 << 20));
    g_assert_cmpint(fstat(fd, &st), ==, 0);
    g_assert_cmpint(st.st_blocks, >=, 1200 * (TMEM_PAGE_SIZE / 512));
    loader = set_up_next(&g, FIXTURE_SIZE, NULL, fd, NULL);
    take(loader, &g, GUEST, "abc", &pool);
    g_assert_cmpint(fstat(fd, &st), ==, 0);
    g_assert_cmpint(st.st_blocks, <=, 64);
    tmem_loader_free(loader);
    close(fd);
    fixture_tear_down(&g);
    fixture_tear_down(&f);
}

/* --- What is refused --- */

/* Caught: a second process takes the stream, whose pages have changed since. */
static void test_used_once(void)
{
    TmemLoader *loader;
    GError *err = NULL;
    uint64_t pool;
    Fixture f, g;
    int fd;

    fixture_set_up(&f, FIXTURE_SIZE, 0);
    fill(&f, f.persistent, 20);
    fd = save(&f, 0);
    /* Looked at, and not used: the next may have it. */
    loader = set_up_next(&g, FIXTURE_SIZE, NULL, fd, NULL);
    g_assert_nonnull(loader);
    tmem_loader_free(loader);
    fixture_tear_down(&g);
    loader = set_up_next(&g, FIXTURE_SIZE, NULL, fd, NULL);
    g_assert_nonnull(loader);
    g_assert_true(tmem_loader_use(loader, NULL));
    take(loader, &g, GUEST, "abc", &pool);
    expect_not_taken(loader, &(Fixture) { .client = f.client, .ctx = f.ctx,
                                          .store = f.store },
                     GUEST, "none of that name");
    tmem_loader_free(loader);
    fixture_tear_down(&g);
    g_assert_null(set_up_next(&g, FIXTURE_SIZE, NULL, fd, &err));
    expect_refused(err, "another process has had them already");
    close(fd);
    fixture_tear_down(&g);

    fixture_tear_down(&f);
}

/* Who may not mark the stream as used does not use it. */
static void test_sealed(void)
{
    TmemLoader *loader;
    GError *err = NULL;
    Fixture f, g;
    int fd;

    fixture_set_up(&f, FIXTURE_SIZE, 0);
    fd = save(&f, 0);
    g_assert_cmpint(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), ==, 0);
    loader = set_up_next(&g, FIXTURE_SIZE, NULL, fd, NULL);
    g_assert_false(tmem_loader_use(loader, &err));
    expect_refused(err, "cannot be marked as used");
    tmem_loader_free(loader);
    close(fd);
    fixture_tear_down(&g);
    fixture_tear_down(&f);
}

/* The store that is to get a stream of @bytes bytes refuses it. */
static void expect_no_stream(const uint8_t *data, size_t bytes)
{
    int fd = test_new_stream();
    GError *err = NULL;
    Fixture f;

    g_assert_true(tmem_stream_write(fd, data, bytes, 0));
    g_assert_null(set_up_next(&f, TMEM_STORE_SIZE_MIN, NULL, fd, &err));
    expect_refused(err, "the pages that were handed over are lost: ");
    close(fd);
    fixture_leave(&f);
    tmem_store_free(f.store);
}

/* Caught: a stream is believed that lacks something, or has one bit changed. */
static void test_not_whole(void)
{
    g_autofree uint8_t *data = NULL;
    StreamHeader header;
    struct stat st;
    Fixture f;
    int fd;

    fixture_set_up(&f, FIXTURE_SIZE, 0);
    fill(&f, f.persistent, 24);
    fd = save(&f, 0);
    g_assert_cmpint(fstat(fd, &st), ==, 0);
    data = g_malloc(st.st_size);
    g_assert_true(tmem_stream_read(fd, data, st.st_size, 0));
    memcpy(&header, data, sizeof(header));
    for (off_t i = 0; i < st.st_size; i++) {
        /* Between header and section, and behind it, there is nothing. */
        bool unused = i >= (off_t)sizeof(header) && i < TMEM_STREAM_ALIGN;

        if (i > TMEM_STREAM_ALIGN + 300 && i < (off_t)header.directory) {
            i += 1000;
            if (i > (off_t)header.directory - TMEM_STREAM_ALIGN) {
                i = header.directory;
            }
        }
        if (!unused) {
            data[i] ^= 1 << i % 8;
            expect_no_stream(data, st.st_size);
            data[i] ^= 1 << i % 8;
        }
    }
    for (off_t i = 0; i < st.st_size; i += 1 + i / 3) {
        expect_no_stream(data, i);
    }
    expect_no_stream(data, st.st_size - 1);
    close(fd);
    fixture_tear_down(&f);
}

/* Caught: half of a client's pages, where all do not fit. */
static void test_no_room(void)
{
    TmemClientConfig limited = {
        .name = "test", .limits.max_bytes = 1 << 20,
    };
    Fixture f, g;

    fixture_set_up(&f, FIXTURE_SIZE, 0);
    for (int round = 0; round < 2; round++) {
        TmemLoader *loader;
        int fd;

        tmem_client_reset(f.client);
        g_assert_cmpint(tmem_pool_create(f.client, TMEM_POOL_PERSISTENT,
                                         TMEM_PAGE_SHIFT, &f.persistent), ==,
                        TMEM_STATUS_OK);
        for (unsigned i = 0; i < 600; i++) {
            g_assert_cmpint(test_store(f.ctx, test_handle(f.persistent, i, 0),
                                       TEST_PAGE_NOISE, i), ==,
                            TMEM_STATUS_OK);
        }
        fd = save(&f, 0);
        loader = set_up_next(&g, round ? FIXTURE_SIZE : TMEM_STORE_SIZE_MIN,
                             round ? &limited : NULL, fd, NULL);
        g_assert_nonnull(loader);
        expect_not_taken(loader, &g, GUEST, "give it a larger");
        tmem_loader_free(loader);
        close(fd);
        fixture_tear_down(&g);
    }
    fixture_tear_down(&f);
}

/* --- Clients that share a store --- */

#define NR_SHARING  2

/* Two clients of one store, each with a persistent pool. */
typedef struct Sharing {
    Fixture f[NR_SHARING];
    unsigned nr_pages[NR_SHARING];
    uint64_t granted;
} Sharing;

static void sharing_set_up(Sharing *s, uint64_t size_bytes)
{
    *s = (Sharing) {};
    s->f[0].store = s->f[1].store = test_new_store(size_bytes);
}

static void sharing_add_client(Sharing *s, unsigned i)
{
    g_autofree char *name = g_strdup_printf("sharing-%u", i);
    TmemClientConfig config = { .name = name, .credit = 16 };

    fixture_join(&s->f[i], s->f[i].store, &config);
}

static void sharing_tear_down(Sharing *s)
{
    test_check(s->f[0].store);
    for (unsigned i = 0; i < NR_SHARING; i++) {
        fixture_leave(&s->f[i]);
    }
    tmem_store_free(s->f[0].store);
}

/* Client @i stores until it is refused. */
static void sharing_fill(Sharing *s, unsigned i)
{
    Fixture *f = &s->f[i];
    unsigned nr = 0;

    g_assert_cmpint(tmem_pool_create(f->client, TMEM_POOL_PERSISTENT,
                                     TMEM_PAGE_SHIFT, &f->persistent), ==,
                    TMEM_STATUS_OK);
    if (i == 0) {
        s->granted = tmem_client_grant_credit(f->ctx);
    }
    while (test_store(f->ctx, handle_of(f->persistent, nr),
                      nr % TEST_PAGE__MAX, nr) == TMEM_STATUS_OK) {
        nr++;
    }
    s->nr_pages[i] = nr;
}

/* Moves what all clients have to a new stream; bundle "0" is of client 0. */
static int sharing_save(Sharing *s)
{
    const TestLeft left[NR_SHARING] = {
        { .client = s->f[0].client, .name = "0" },
        { .client = s->f[1].client, .name = "1" },
    };

    return test_save(s->f[0].store, left, NR_SHARING);
}

/*
 * Caught: a client that grew above its share while there was room is refused in
 * the next process, where all are there from the start.
 */
static void test_above_share(void)
{
    TmemLoader *loader;
    GError *err = NULL;
    TmemClientStats stats;
    Sharing s, t;
    int fd;

    sharing_set_up(&s, FIXTURE_SIZE);
    for (unsigned i = 0; i < NR_SHARING; i++) {
        sharing_add_client(&s, i);
    }
    for (unsigned i = 0; i < NR_SHARING; i++) {
        sharing_fill(&s, i);
    }
    tmem_client_get_stats(s.f[0].client, &stats);
    g_assert_cmpuint(stats.pinned_bytes, >, FIXTURE_SIZE / 4 * 3);
    fd = sharing_save(&s);

    sharing_set_up(&t, FIXTURE_SIZE);
    loader = tmem_loader_new(t.f[0].store, fd, &err);
    g_assert_no_error(err);
    for (unsigned i = 0; i < NR_SHARING; i++) {
        sharing_add_client(&t, i);
    }
    for (int i = NR_SHARING - 1; i >= 0; i--) {
        g_autofree char *name = g_strdup_printf("%d", i);

        take(loader, &t.f[i], name, "", &(uint64_t) { 0 });
        g_assert_cmpuint(test_stats(t.f[i].client).total.pages, ==,
                         s.nr_pages[i]);
        expect_filled(&t.f[i], s.f[i].persistent, s.nr_pages[i]);
    }
    g_assert_cmpuint(s.granted, >, 0);
    tmem_client_get_stats(t.f[0].client, &stats);
    g_assert_cmpuint(stats.credit, ==, s.granted);
    /* From here on it is as any client above its share. */
    g_assert_cmpint(test_store(t.f[0].ctx,
                               handle_of(s.f[0].persistent, s.nr_pages[0]),
                               TEST_PAGE_NOISE, 1), ==, TMEM_STATUS_NOSPC);
    tmem_loader_free(loader);
    close(fd);
    sharing_tear_down(&t);
    sharing_tear_down(&s);
}

/*
 * The next process makes a pool of the host's for @client before the guest's
 * bundle is taken, as a new door does; the bundle fits beside it.
 */
static void take_beside_host(const char *client)
{
    TmemClientConfig config = { .name = client };
    TmemLoader *loader;
    uint64_t host, pool;
    Fixture f, g;
    int fd;

    fixture_set_up(&f, FIXTURE_SIZE, 0);
    fill(&f, f.persistent, 20);
    fd = save(&f, 0);
    loader = set_up_next(&g, FIXTURE_SIZE, &config, fd, NULL);
    g_assert_cmpint(tmem_pool_create_host(g.client, &host), ==,
                    TMEM_STATUS_OK);
    g_assert_cmpint(test_store(g.ctx, test_handle(host, 1, 1), TEST_PAGE_ZERO,
                               0), ==, TMEM_STATUS_OK);
    take(loader, &g, GUEST, "abc", &pool);
    expect_filled(&g, f.persistent, 20);
    /* Which is none of their business. */
    test_expect_page(g.ctx, test_handle(host, 1, 1), TEST_PAGE_ZERO, 0);
    g_assert_cmpint(tmem_pool_destroy(g.client, host), ==, TMEM_STATUS_OK);
    tmem_loader_free(loader);
    close(fd);
    fixture_tear_down(&g);
    fixture_tear_down(&f);
}

/* Caught: a new pool of the host's lies where one of the stream belongs. */
static void test_kept_place(void)
{
    take_beside_host("test");
}

/* Caught: the same, where the client has another name than it had. */
static void test_other_client(void)
{
    take_beside_host("other");
}

/* Leaves the guest with a pool at place @place, and those that it had. */
static void make_pool_at(Fixture *f, unsigned place)
{
    uint64_t pool, first = 0;

    do {
        g_assert_cmpint(tmem_pool_create(f->client, TMEM_POOL_PERSISTENT,
                                         TMEM_PAGE_SHIFT, &pool), ==,
                        TMEM_STATUS_OK);
        first = first ? first : pool;
    } while (tmem_pool_id_slot(pool) < place);
    for (uint64_t id = first; id != pool; ) {
        g_assert_cmpint(tmem_pool_destroy(f->client, id), ==, TMEM_STATUS_OK);
        /* Generation and place count up together. */
        id += (1ull << TMEM_POOL_GEN_SHIFT) + 1;
    }
}

/* A client of the host's beside that of the fixture. */
static void beside_set_up(Fixture *b, TmemStore *store)
{
    TmemClientConfig config = { .name = "beside", .limits.max_bytes = 1 << 20 };

    fixture_join(b, store, &config);
}

static int save_both(Fixture *f, Fixture *b, uint64_t host_pool)
{
    const TestLeft left[] = {
        { .client = f->client, .name = GUEST },
        { .client = b->client, .name = HOST, .host_pool = host_pool },
    };

    return test_save(f->store, left, 2);
}

/*
 * Caught: a guest with one pool far behind in its table makes everybody's table
 * as large after a handover, and a client that was full loses all pages.
 */
static void test_place_of_another(void)
{
    uint64_t bytes, pool, host, next_host;
    GError *err = NULL;
    Fixture f, g, b, c;
    TmemLoader *loader;
    unsigned nr = 0;
    void *state;
    int fd;

    fixture_set_up(&f, FIXTURE_SIZE, 0);
    make_pool_at(&f, 1023);
    beside_set_up(&b, f.store);
    g_assert_cmpint(tmem_pool_create_host(b.client, &host), ==,
                    TMEM_STATUS_OK);
    while (test_store(b.ctx, test_handle(host, nr, 0), TEST_PAGE_NOISE,
                      nr) == TMEM_STATUS_OK) {
        nr++;
    }
    g_assert_cmpuint(nr, >, 200);
    fd = save_both(&f, &b, host);
    loader = set_up_next(&g, FIXTURE_SIZE, NULL, fd, NULL);
    beside_set_up(&c, g.store);
    tmem_loader_take(loader, HOST, c.ctx, &state, &bytes, &next_host, &err);
    g_assert_no_error(err);
    for (unsigned i = 0; i < nr; i++) {
        test_expect_page(c.ctx, test_handle(next_host, i, 0), TEST_PAGE_NOISE,
                         i);
    }
    take(loader, &g, GUEST, "", &pool);
    tmem_loader_free(loader);
    close(fd);
    fixture_leave(&c);
    fixture_tear_down(&g);
    fixture_leave(&b);
    fixture_tear_down(&f);
}

/* Caught: no pool at all, for its place would be one that costs too much. */
static void test_dear_place(void)
{
    TmemClientConfig config = {
        .name = "test", .limits.max_bytes = 256 << 10,
    };
    TmemLoader *loader;
    uint64_t host;
    Fixture f, g;
    int fd;

    fixture_set_up(&f, FIXTURE_SIZE, 0);
    make_pool_at(&f, 1023);
    fd = save(&f, 0);
    loader = set_up_next(&g, FIXTURE_SIZE, &config, fd, NULL);
    g_assert_cmpint(tmem_pool_create_host(g.client, &host), ==,
                    TMEM_STATUS_OK);
    g_assert_cmpint(tmem_pool_destroy(g.client, host), ==, TMEM_STATUS_OK);
    tmem_loader_free(loader);
    close(fd);
    fixture_tear_down(&g);
    fixture_tear_down(&f);
}

/* Caught: a guest's pools do not come back, for a limit on new ones. */
static void test_fewer_pools(void)
{
    TmemClientConfig config = { .name = "test", .max_pools = 1 };
    TmemLoader *loader;
    uint64_t pool;
    Fixture f, g;
    int fd;

    fixture_set_up(&f, FIXTURE_SIZE, 0);
    fill(&f, f.persistent, 20);
    fd = save(&f, 0);
    loader = set_up_next(&g, FIXTURE_SIZE, &config, fd, NULL);
    take(loader, &g, GUEST, "abc", &pool);
    expect_filled(&g, f.persistent, 20);
    g_assert_cmpint(tmem_pool_create(g.client, TMEM_POOL_PERSISTENT,
                                     TMEM_PAGE_SHIFT, &pool), ==,
                    TMEM_STATUS_QUOTA);
    tmem_loader_free(loader);
    close(fd);
    fixture_tear_down(&g);
    fixture_tear_down(&f);
}

/* Caught: pages that were called lost, and can be had later, or need memory. */
static void test_dropped(void)
{
    TmemLoader *loader;
    struct stat st;
    Fixture f, g;
    int fd;

    fixture_set_up(&f, FIXTURE_SIZE, 0);
    for (unsigned i = 0; i < 600; i++) {
        test_store(f.ctx, test_handle(f.persistent, i, 0), TEST_PAGE_NOISE, i);
    }
    fd = save(&f, 0);
    loader = set_up_next(&g, FIXTURE_SIZE, NULL, fd, NULL);
    tmem_loader_drop(loader, HOST);
    g_assert_cmpstr(tmem_loader_left(loader, 0), ==, GUEST);
    tmem_loader_drop(loader, GUEST);
    g_assert_null(tmem_loader_left(loader, 0));
    expect_not_taken(loader, &g, GUEST, "none of that name");
    g_assert_cmpint(fstat(fd, &st), ==, 0);
    g_assert_cmpint(st.st_blocks, <=, 64);
    tmem_loader_free(loader);
    close(fd);
    fixture_tear_down(&g);
    fixture_tear_down(&f);
}

/* Caught: a name that makes the stream of the whole store fail at its end. */
static void test_long_name(void)
{
    g_autofree char *name = g_strnfill(TMEM_CLIENT_NAME_MAX + 1, 'x');
    TmemClientConfig config = { .name = name };
    GError *err = NULL;
    Fixture f;

    fixture_set_up(&f, FIXTURE_SIZE, 0);
    g_assert_null(tmem_client_new(f.store, &config, &err));
    expect_refused(err, "has 1025 bytes; possible are 1024");
    fixture_tear_down(&f);
}

/* Caught: a stream that could not be written is one. */
static void test_full_file(void)
{
    TmemBundle bundle = { .name = GUEST, .client = "test" };
    GError *err = NULL;
    TmemSaver *saver;
    Fixture f, g;
    int fd = test_new_stream();

    fixture_set_up(&f, FIXTURE_SIZE, 0);
    for (unsigned i = 0; i < 200; i++) {
        test_store(f.ctx, test_handle(f.persistent, i, 0), TEST_PAGE_NOISE, i);
    }
    g_assert_cmpint(ftruncate(fd, 300 << 10), ==, 0);
    g_assert_cmpint(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW), ==, 0);
    saver = tmem_saver_new(f.store, fd);
    g_assert_false(tmem_saver_add(saver, f.client, &bundle, 0, &err));
    expect_refused(err, "cannot be handed over");
    tmem_saver_free(saver);
    test_check(f.store);
    err = NULL;
    g_assert_null(set_up_next(&g, FIXTURE_SIZE, NULL, fd, &err));
    expect_refused(err, "no complete stream");
    close(fd);
    fixture_tear_down(&g);
    fixture_tear_down(&f);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/tmem/save/round-trip", test_round_trip);
    g_test_add_func("/tmem/save/damaged", test_damaged);
    g_test_add_func("/tmem/save/credit", test_credit);
    g_test_add_func("/tmem/save/memory", test_memory);
    g_test_add_func("/tmem/save/used-once", test_used_once);
    g_test_add_func("/tmem/save/sealed", test_sealed);
    g_test_add_func("/tmem/save/not-whole", test_not_whole);
    g_test_add_func("/tmem/save/no-room", test_no_room);
    g_test_add_func("/tmem/save/above-share", test_above_share);
    g_test_add_func("/tmem/save/kept-place", test_kept_place);
    g_test_add_func("/tmem/save/other-client", test_other_client);
    g_test_add_func("/tmem/save/place-of-another", test_place_of_another);
    g_test_add_func("/tmem/save/dear-place", test_dear_place);
    g_test_add_func("/tmem/save/fewer-pools", test_fewer_pools);
    g_test_add_func("/tmem/save/dropped", test_dropped);
    g_test_add_func("/tmem/save/long-name", test_long_name);
    g_test_add_func("/tmem/save/full-file", test_full_file);
    return g_test_run();
}
