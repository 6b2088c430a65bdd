/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: contexts, what one thread needs to operate on pages
 */
#include <errno.h>
#include <string.h>

#include "tmem-error.h"
#include "tmem-fault.h"
#include "tmem-os.h"
#include "tmem-store.h"

/* Charges the tallies that a further context needs for existing pools. */
static bool attach(TmemContext *ctx, GError **errp)
{
    TmemClient *client = ctx->client;
    TmemStatus status;
    uint64_t bytes;

    tmem_lock(&client->lock);
    bytes = tmem_tallies_bytes(client->nr_slots);
    status = tmem_heap_charge(&client->heap, bytes);
    if (status == TMEM_STATUS_OK) {
        client->contexts = g_list_prepend(client->contexts, ctx);
        client->nr_contexts++;
    }
    tmem_unlock(&client->lock);
    if (status != TMEM_STATUS_OK) {
        return tmem_error_set(errp, "client '%s': another queue needs %"
                              G_GUINT64_FORMAT " bytes, for which there is no "
                              "room within %s; raise that", client->name, bytes,
                              status == TMEM_STATUS_QUOTA ?
                              "the client's maximum" : "the store's size");
    }
    return true;
}

TmemContext *tmem_context_new(TmemClient *client, GError **errp)
{
    TmemContext *ctx;
    bool ok = false;

    tmem_assert_unlocked();
    ctx = TMEM_FAULT("context") ? NULL : g_try_new0(TmemContext, 1);
    if (ctx) {
        ctx->client = client;
        ctx->store = client->store;
        ctx->memory_bytes = TMEM_PAGE_SIZE + tmem_codec_memory();
        ctx->memory = tmem_os_reserve(ctx->memory_bytes);
        ctx->tallies_bytes = TMEM_CLIENT_POOLS_MAX * sizeof(TmemTally);
        if (ctx->memory) {
            ctx->tallies = tmem_os_reserve(ctx->tallies_bytes);
        }
    }
    if (ctx && ctx->tallies) {
        ok = attach(ctx, errp);
    } else {
        tmem_error_set(errp, "client '%s': the host has no memory for another "
                       "queue", client->name);
    }
    if (!ok) {
        if (ctx) {
            tmem_os_release(ctx->tallies, ctx->tallies_bytes);
            tmem_os_release(ctx->memory, ctx->memory_bytes);
        }
        g_free(ctx);
        return NULL;
    }
    ctx->bounce = ctx->memory;
    tmem_codec_init(&ctx->codec, (uint8_t *)ctx->memory + TMEM_PAGE_SIZE);
    return ctx;
}

void tmem_context_fold_locked(TmemContext *ctx, uint32_t slot)
{
    TmemPool *pool = &ctx->client->pools[slot];
    TmemTally *tally = &ctx->tallies[slot];

#define FOLD(name, kind, unit, text)                                          \
    __atomic_fetch_add(&pool->shared.name, tally->name, __ATOMIC_RELAXED);
    TMEM_POOL_COUNTERS(FOLD)
    TMEM_POOL_LEVELS(FOLD)
#undef FOLD
    memset(tally, 0, sizeof(*tally));
}

/* What the context holds and has timed goes over to its client. */
static void fold_hist_locked(TmemContext *ctx)
{
    TmemClient *client = ctx->client;

    tmem_latency_sum(&client->gone_latency, &ctx->hist.latency);
    for (unsigned i = 0; i < TMEM_SIZE_BUCKETS; i++) {
        __atomic_fetch_add(&client->held.sizes.held[i],
                           ctx->held.sizes.held[i], __ATOMIC_RELAXED);
        __atomic_fetch_add(&client->held.sizes.stored[i],
                           ctx->held.sizes.stored[i], __ATOMIC_RELAXED);
    }
    __atomic_fetch_add(&client->held.bytes, ctx->held.bytes,
                       __ATOMIC_RELAXED);
    tmem_turnover_add(&client->persistent, ctx->persistent.came,
                      ctx->persistent.went);
    tmem_turnover_add(&client->persistent_bytes, ctx->persistent_bytes.came,
                      ctx->persistent_bytes.went);
}

void tmem_context_free(TmemContext *ctx)
{
    TmemClient *client;

    if (!ctx) {
        return;
    }
    client = ctx->client;
    tmem_req_cancel(ctx, ctx->job.req);
    tmem_lock(&client->lock);
    for (uint32_t slot = client->first; slot != TMEM_POOL_SLOT_NONE;
         slot = client->pools[slot].next) {
        tmem_context_fold_locked(ctx, slot);
    }
    fold_hist_locked(ctx);
#define FOLD(name, kind, unit, text)                                          \
    client->gone.name += ctx->counters.name;
    TMEM_CLIENT_COUNTERS(FOLD)
#undef FOLD
    client->contexts = g_list_remove(client->contexts, ctx);
    client->nr_contexts--;
    tmem_heap_charge(&client->heap,
                     -(int64_t)tmem_tallies_bytes(client->nr_slots));
    tmem_unlock(&client->lock);

    tmem_os_release(ctx->tallies, ctx->tallies_bytes);
    tmem_os_release(ctx->memory, ctx->memory_bytes);
    g_free(ctx);
}

void *tmem_context_bounce(TmemContext *ctx)
{
    return ctx->bounce;
}

void tmem_context_count_kick(TmemContext *ctx)
{
    tmem_count(&ctx->counters.kicks, 1);
}

void tmem_context_count_interrupt(TmemContext *ctx)
{
    tmem_count(&ctx->counters.interrupts, 1);
}

void tmem_context_count_violation(TmemContext *ctx)
{
    tmem_count(&ctx->counters.violations, 1);
}

uint64_t tmem_context_begin_request(TmemContext *ctx)
{
    return tmem_hist_start(&ctx->hist);
}

void tmem_context_end_load_request(TmemContext *ctx, uint64_t begun)
{
    tmem_hist_end(&ctx->hist.latency.load_request, begun);
}
