/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmem-bench evict: libtmem itself, against the models of policies
 *
 * The pages compress to about 1400 bytes, so that raw pages of the model's
 * number and the store's size mean the same.  What the index and the slots'
 * edges take comes off what the store holds, as it does in earnest.
 */
#include <string.h>

#include "bench.h"
#include "evict.h"

/* Of a page, what does not compress, and what it takes in the store. */
#define NOISE_BYTES     1400
#define STORED_BYTES    1448

typedef struct Engine {
    TmemStore *store;
    TmemClient *client;
    TmemContext *ctx;
    uint64_t pool;
    bool exclusive;
    uint8_t page[TMEM_PAGE_SIZE];
    uint8_t loaded[TMEM_PAGE_SIZE];
} Engine;

static void *engine_new(const EvictSetup *setup)
{
    TmemStoreConfig config = {
        .size_bytes = MAX(setup->capacity * STORED_BYTES, TMEM_STORE_SIZE_MIN),
        .seed = 1,
    };
    TmemClientConfig client = { .name = "guest" };
    Engine *e = g_new0(Engine, 1);
    g_autoptr(GError) err = NULL;

    e->exclusive = setup->exclusive;
    e->store = tmem_store_new(&config, &err);
    e->client = e->store ? tmem_client_new(e->store, &client, &err) : NULL;
    e->ctx = e->client ? tmem_context_new(e->client, &err) : NULL;
    if (!e->ctx) {
        bench_die("%s", err->message);
    }
    if (tmem_pool_create(e->client, TMEM_POOL_EPHEMERAL, TMEM_PAGE_SHIFT,
                         &e->pool) != TMEM_STATUS_OK) {
        bench_die("no pool in the store");
    }
    return e;
}

static void engine_free(void *self)
{
    Engine *e = self;

    tmem_client_reset(e->client);
    tmem_context_free(e->ctx);
    tmem_client_free(e->client);
    tmem_store_free(e->store);
    g_free(e);
}

/* Files of 64 pages: the trace numbers pages in the order of first touch. */
static TmemHandle handle_of(const Engine *e, uint32_t page)
{
    return (TmemHandle) {
        .pool = e->pool, .object = { page / 64 + 1 }, .index = page % 64,
    };
}

static void make_page(Engine *e, uint32_t number)
{
    uint64_t state = number * 0x9e3779b97f4a7c15ull + 1;

    for (size_t i = 0; i < NOISE_BYTES / sizeof(state); i++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        memcpy(e->page + i * sizeof(state), &state, sizeof(state));
    }
}

static bool engine_load(void *self, const Event *event)
{
    TmemHandle handle = handle_of(self, event->page);
    Engine *e = self;
    uint64_t version;

    if (tmem_page_load(e->ctx, &handle, e->loaded, &version) !=
        TMEM_STATUS_OK) {
        return false;
    }
    make_page(e, event->page);
    if (memcmp(e->page, e->loaded, sizeof(e->page))) {
        bench_die("page %u came back wrong", event->page);
    }
    if (e->exclusive) {
        tmem_page_take(e->ctx, &handle, version);
    }
    return true;
}

static void engine_store(void *self, const Event *event)
{
    TmemHandle handle = handle_of(self, event->page);
    Engine *e = self;

    make_page(e, event->page);
    tmem_page_store(e->ctx, &handle, e->page);
}

const EvictPolicy evict_engine = {
    "libtmem", "this library, in a store of as many pages of 1448 bytes",
    engine_new, engine_load, engine_store, engine_free,
};
