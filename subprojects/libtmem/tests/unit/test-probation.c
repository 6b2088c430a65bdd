/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Several threads in a store of ephemeral pages that is full all the time
 *
 * Each has a file of which a part is read and stored again, round after round,
 * and the rest comes once, as in a scan.  What comes back must be right, what
 * comes often must be found more often than by age alone, and the memory of
 * pages that were here must hold while all evict and look at once.
 */
#include "testlib.h"
#include "tmem-store.h"

#define THREADS     4
#define SIZE        (64u << 20)
#define ONCE        3000u   /* a round and thread: as much as fits its part */
#define OFTEN       1500u
#define ROUNDS      6u

typedef struct Reader {
    Fixture *f;
    TmemContext *ctx;
    unsigned nr;
    unsigned hits;
} Reader;

static uint64_t tag_of(const Reader *r, uint64_t index)
{
    return (uint64_t)(r->nr + 1) << 32 | index;
}

static void put(Reader *r, uint64_t index)
{
    TmemHandle h = test_handle(r->f->ephemeral, r->nr + 1, index);

    g_assert_cmpint(test_store(r->ctx, h, TEST_PAGE_NOISE, tag_of(r, index)),
                    ==, TMEM_STATUS_OK);
}

/* Reads a page, as a page cache does: it is the reader's then. */
static void get(Reader *r, uint64_t index)
{
    TmemHandle h = test_handle(r->f->ephemeral, r->nr + 1, index);
    uint8_t page[TMEM_PAGE_SIZE], want[TMEM_PAGE_SIZE];
    uint64_t version;
    TmemStatus status = tmem_page_load(r->ctx, &h, page, &version);

    if (status != TMEM_STATUS_OK) {
        g_assert_cmpint(status, ==, TMEM_STATUS_MISS);
        return;
    }
    test_page_make(want, TEST_PAGE_NOISE, tag_of(r, index));
    g_assert_cmpmem(page, sizeof(page), want, sizeof(want));
    g_assert_cmpint(tmem_page_take(r->ctx, &h, version), ==, TMEM_STATUS_OK);
    r->hits++;
}

static gpointer read_files(gpointer opaque)
{
    Reader *r = opaque;
    uint64_t once = OFTEN;

    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < ONCE; i++) {
            put(r, once++);
        }
        for (unsigned i = 0; i < OFTEN; i++) {
            get(r, i);
            put(r, i);
        }
        if (!r->nr) {
            test_check(r->f->store);
        }
    }
    return NULL;
}

static void test_threads(void)
{
    GThread *threads[THREADS];
    Reader readers[THREADS];
    TmemClientStats stats;
    unsigned hits = 0;
    Fixture f;

    fixture_set_up(&f, SIZE, 0);
    for (unsigned i = 0; i < THREADS; i++) {
        readers[i] = (Reader) {
            .f = &f, .ctx = tmem_context_new(f.client, NULL), .nr = i,
        };
        g_assert_nonnull(readers[i].ctx);
        threads[i] = g_thread_new("reader", read_files, &readers[i]);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        g_thread_join(threads[i]);
        hits += readers[i].hits;
        tmem_context_free(readers[i].ctx);
    }
    test_check(f.store);
    test_check_laws(f.client);
    g_assert_cmpint(f.store->ghosts.state, ==, TMEM_GHOSTS_ON);
    g_assert_cmpuint(f.client->heap.order[TMEM_SPACE_PROBATION].nr, >, 0);
    g_assert_cmpuint(f.client->heap.order[TMEM_SPACE_EPHEMERAL].nr, >, 0);
    tmem_client_get_stats(f.client, &stats);
    g_assert_cmpuint(stats.total.evicted, >, THREADS * ONCE);
    /* One that was just loaded may be evicted before it is taken. */
    g_assert_cmpuint(stats.total.taken, <=, hits);
    g_assert_cmpuint(stats.total.taken, >, hits - hits / 16);
    /* By age alone it is less than a tenth: see /tmem/evict/scan. */
    g_test_message("hits %u of %u", hits, THREADS * ROUNDS * OFTEN);
    g_assert_cmpuint(hits, >, THREADS * ROUNDS * OFTEN / 10);
    tmem_client_reset(f.client);
    g_assert_cmpint(f.store->ghosts.state, ==, TMEM_GHOSTS_OFF);
    g_assert_cmpuint(f.store->arena.ephemeral_bytes, ==, 0);
    fixture_tear_down(&f);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/tmem/probation/threads", test_threads);
    return g_test_run();
}
