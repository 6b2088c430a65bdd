/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: a stream of saved pools whose sums are right and whose content
 * is anything
 *
 * The input says what the directory tells of one bundle, and is its section.
 *
 *   - Whatever it says, it is taken or refused.  Refused, nothing is left.
 *   - The store adds up afterwards, and what was taken loads or is an error.
 *   - What was taken can be saved and taken again, and then is the same.
 */
#include <unistd.h>

#include "fuzz.h"
#include "testsave.h"
#include "tmem-pool.h"
#include "tmem-stream.h"
#include "tmem-upkeep.h"

#define NAME    "door"

/* A stream with @data as its only section. */
static int make_stream(const StreamEntry *given, const uint8_t *data)
{
    StreamEntry entry = *given;
    uint64_t directory = tmem_stream_align(TMEM_STREAM_ALIGN + entry.bytes);
    g_autoptr(GByteArray) list = g_byte_array_new();
    int fd = test_new_stream();
    StreamHeader header = {
        .magic = TMEM_STREAM_MAGIC,
        .version = TMEM_STREAM_VERSION,
        .byte_order = TMEM_STREAM_BYTE_ORDER,
        .page_shift = TMEM_PAGE_SHIFT,
        .nr_bundles = 1,
        .directory = directory,
        .next_generation = 1000,
    };

    entry.offset = TMEM_STREAM_ALIGN;
    entry.name_bytes = strlen(NAME);
    for (uint64_t i = 0; i < entry.bytes; i += TMEM_STREAM_BLOCK) {
        entry.sum = tmem_stream_sum(entry.sum, data + i,
                                    MIN(entry.bytes - i, TMEM_STREAM_BLOCK));
    }
    g_byte_array_append(list, (void *)&entry, sizeof(entry));
    g_byte_array_append(list, (void *)NAME, strlen(NAME));
    header.directory_bytes = list->len;
    header.total_bytes = directory + list->len;
    header.directory_sum = tmem_stream_sum(0, list->data, list->len);
    header.sum = tmem_stream_sum(0, &header, sizeof(header));
    g_assert_true(tmem_stream_write(fd, data, entry.bytes, entry.offset) &&
                  tmem_stream_write(fd, list->data, list->len, directory) &&
                  tmem_stream_write(fd, &header, sizeof(header), 0));
    return fd;
}

typedef struct World {
    TmemStore *store;
    TmemClient *client;
    TmemContext *ctx;
} World;

/* Takes the stream @fd into a new store.  Returns false if it is refused. */
static bool take(World *w, int fd, uint64_t *host_pool)
{
    TmemStoreConfig config = { .size_bytes = 2 << 20, .seed = 1 };
    TmemClientConfig client_config = { .name = "c", .max_pools = 16 };
    TmemLoader *loader;
    uint64_t bytes;
    void *state;
    bool taken;

    tmem_upkeep_by_hand(true);
    w->store = tmem_store_new(&config, NULL);
    loader = tmem_loader_new(w->store, fd, NULL);
    w->client = tmem_client_new(w->store, &client_config, NULL);
    w->ctx = tmem_context_new(w->client, NULL);
    *host_pool = 0;
    taken = loader &&
            tmem_loader_take(loader, NAME, w->ctx, &state, &bytes, host_pool,
                             NULL);
    if (taken) {
        g_free(state);
    }
    tmem_loader_free(loader);
    test_check(w->store);
    return taken;
}

static void forget(World *w)
{
    tmem_context_free(w->ctx);
    tmem_client_free(w->client);
    tmem_store_free(w->store);
}

static void sum_pages(const TmemPoolInfo *info, void *opaque)
{
    TmemPoolStats *sum = opaque;

    sum->pages += info->stats.pages;
    sum->pages_damaged += info->stats.pages_damaged;
    sum->objects += info->stats.objects;
    sum->stored_bytes += info->stats.stored_bytes;
}

/* Saves what was taken, and takes it again. */
static void again(World *w, uint64_t host_pool)
{
    const TestLeft left = {
        .client = w->client, .name = NAME, .host_pool = host_pool,
    };
    TmemPoolStats before = {}, after = {};
    World next;
    int fd;

    tmem_client_foreach_pool(w->client, sum_pages, &before);
    fd = test_save(w->store, &left, 1);
    g_assert_true(take(&next, fd, &host_pool));
    tmem_client_foreach_pool(next.client, sum_pages, &after);
    g_assert_cmpmem(&before, sizeof(before), &after, sizeof(after));
    forget(&next);
    close(fd);
}

/* Loads pages that the input may have put there. */
static void load_some(World *w, uint64_t pool)
{
    uint8_t page[TMEM_PAGE_SIZE];

    for (unsigned i = 0; i < 128; i++) {
        TmemHandle h = { .pool = pool, .object = { i / 64 }, .index = i % 64 };
        TmemStatus status = tmem_page_load(w->ctx, &h, page, NULL);

        g_assert_true(status == TMEM_STATUS_OK || status == TMEM_STATUS_MISS ||
                      status == TMEM_STATUS_IO ||
                      status == TMEM_STATUS_NOPOOL);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    FuzzInput in = { data, size };
    StreamEntry entry = {
        .is_host = fuzz_take(&in, 1) & 1,
        .state_bytes = fuzz_take(&in, 1) % 16,
        .nr_pools = fuzz_take(&in, 1) % 8,
        .credit = fuzz_take(&in, 1) % 32,
    };
    uint64_t host_pool;
    World w;
    int fd;

    entry.bytes = in.size;
    fd = make_stream(&entry, in.data);
    if (take(&w, fd, &host_pool)) {
        uint64_t id = 0;

        if (!host_pool && in.size >= entry.state_bytes + sizeof(id)) {
            memcpy(&id, in.data + entry.state_bytes, sizeof(id));
        }
        load_some(&w, host_pool ? host_pool : id);
        test_check(w.store);
        again(&w, host_pool);
    } else {
        TmemClientStats stats;

        tmem_client_get_stats(w.client, &stats);
        g_assert_cmpuint(stats.total.pages, ==, 0);
        g_assert_cmpuint(stats.pools, ==, 0);
        g_assert_cmpuint(stats.credit, ==, 0);
    }
    forget(&w);
    close(fd);
    return 0;
}
