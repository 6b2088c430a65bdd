/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmem-bench: a store to measure on
 */
#include "bench.h"

uint64_t bench_store_size(const BenchCorpus *corpus, uint64_t pages)
{
    return pages * (bench_corpus_mean(corpus) + 64) * 1.5 + (256 << 20);
}

void bench_store_open(BenchStore *s, uint64_t size_bytes, TmemPoolKind kind)
{
    TmemStoreConfig config = { .size_bytes = size_bytes };
    TmemClientConfig client = { .name = "bench" };
    GError *err = NULL;

    s->store = tmem_store_new(&config, &err);
    s->client = s->store ? tmem_client_new(s->store, &client, &err) : NULL;
    s->ctx = s->client ? tmem_context_new(s->client, &err) : NULL;
    if (!s->ctx) {
        bench_die("%s", err->message);
    }
    if (tmem_pool_create(s->client, kind, TMEM_PAGE_SHIFT, &s->pool) !=
        TMEM_STATUS_OK) {
        bench_die("no pool in a store of %" PRIu64 " bytes", size_bytes);
    }
}

void bench_store_close(BenchStore *s)
{
    tmem_context_free(s->ctx);
    tmem_client_free(s->client);
    tmem_store_free(s->store);
}
