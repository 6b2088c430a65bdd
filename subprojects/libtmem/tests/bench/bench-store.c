/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmem-bench: a store to measure on
 */
#include <stdio.h>
#include <stdlib.h>

#include "bench.h"

static void die(GError *err)
{
    fprintf(stderr, "tmem-bench: %s\n", err->message);
    exit(1);
}

void bench_store_open(BenchStore *s, uint64_t size_bytes)
{
    TmemStoreConfig config = { .size_bytes = size_bytes };
    TmemClientConfig client = { .name = "bench" };
    GError *err = NULL;

    s->store = tmem_store_new(&config, &err);
    if (!s->store) {
        die(err);
    }
    s->client = tmem_client_new(s->store, &client, &err);
    if (!s->client) {
        die(err);
    }
    s->ctx = tmem_context_new(s->client, &err);
    if (!s->ctx) {
        die(err);
    }
    if (tmem_pool_create(s->client, TMEM_POOL_PERSISTENT, TMEM_PAGE_SHIFT,
                         &s->pool) != TMEM_STATUS_OK) {
        fprintf(stderr, "tmem-bench: no pool in a store of %" PRIu64
                " bytes\n", size_bytes);
        exit(1);
    }
}

void bench_store_close(BenchStore *s)
{
    tmem_context_free(s->ctx);
    tmem_client_free(s->client);
    tmem_store_free(s->store);
}
