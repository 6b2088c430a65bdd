/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: admission: which pages the store takes
 */
#include "tmem-admit.h"
#include "tmem-os.h"
#include "tmem-share.h"
#include "tmem-store.h"

/* --- Freezing --- */

static void set_flag(bool *flag, bool value)
{
    __atomic_store_n(flag, value, __ATOMIC_RELAXED);
}

static bool flag_is_set(const bool *flag)
{
    return __atomic_load_n(flag, __ATOMIC_RELAXED);
}

void tmem_store_freeze(TmemStore *store, bool frozen)
{
    if (flag_is_set(&store->frozen) != frozen) {
        set_flag(&store->frozen, frozen);
        tmem_event_frozen(store, NULL);
    }
}

bool tmem_store_frozen(TmemStore *store)
{
    return flag_is_set(&store->frozen);
}

void tmem_client_freeze(TmemClient *client, bool frozen)
{
    if (flag_is_set(&client->frozen) != frozen) {
        set_flag(&client->frozen, frozen);
        tmem_event_frozen(client->store, client);
    }
}

bool tmem_client_frozen(TmemClient *client)
{
    return flag_is_set(&client->frozen);
}

bool tmem_admit_frozen(const TmemClient *client)
{
    return flag_is_set(&client->frozen) ||
           flag_is_set(&client->store->frozen);
}

/* --- Sizes --- */

static uint32_t get(const uint32_t *member)
{
    return __atomic_load_n(member, __ATOMIC_RELAXED);
}

/* What the store may use of the host's memory. */
static uint64_t host_share(const TmemAdmission *admission)
{
    return admission->max_host_percent ?
           tmem_os_host_bytes() / 100 * admission->max_host_percent :
           UINT64_MAX;
}

void tmem_admit_set_locked(TmemStore *store, const TmemAdmission *admission)
{
    TmemAdmit *admit = &store->admit;

    __atomic_store_n(&admit->max_stored_bytes, admission->max_stored_bytes,
                     __ATOMIC_RELAXED);
    __atomic_store_n(&admit->max_mean_bytes, admission->max_mean_bytes,
                     __ATOMIC_RELAXED);
    set_flag(&admit->refuse_incompressible, admission->refuse_incompressible);
    tmem_share_set_budget(&store->arena, host_share(admission));
}

void tmem_admit_make_fit(TmemStore *store)
{
    TmemArena *arena = &store->arena;
    uint64_t excess;

    tmem_lock(&arena->lock);
    excess = tmem_arena_excess_locked(arena);
    tmem_unlock(&arena->lock);
    if (excess) {
        tmem_evict_bytes(store, NULL, excess, false);
        tmem_upkeep_tell_freed(store);
    }
}

uint32_t tmem_admit_max(const TmemStore *store)
{
    return get(&store->admit.max_stored_bytes);
}

/*
 * Whether the client's pages with a record are larger than @bytes on average.
 * Each context has kept the sums for its own part: this adds a handful of
 * numbers, and only while the policy is in use.
 */
static bool mean_is_above(TmemClient *client, uint32_t bytes)
{
    TmemHeld sum = {};
    uint64_t pages = 0;

    tmem_lock(&client->lock);
    tmem_held_sum(&sum, &client->held);
    for (GList *l = client->contexts; l; l = l->next) {
        tmem_held_sum(&sum, &((TmemContext *)l->data)->held);
    }
    tmem_unlock(&client->lock);
    for (unsigned i = 0; i < TMEM_SIZE_BUCKETS; i++) {
        pages += sum.sizes.held[i];
    }
    /* Others may be about to add to one of these: never less than none. */
    return (int64_t)pages > 0 && (int64_t)sum.bytes > (int64_t)(pages * bytes);
}

TmemVerdict tmem_admit_page(TmemContext *ctx, const TmemEncoded *enc)
{
    const TmemAdmit *admit = &ctx->store->admit;
    uint32_t max_mean = get(&admit->max_mean_bytes);

    switch (enc->kind) {
    case TMEM_KIND_FILL32:
    case TMEM_KIND_FILL64:
        return TMEM_VERDICT_OK;
    case TMEM_KIND_RAW:
        if (flag_is_set(&admit->refuse_incompressible)) {
            return TMEM_VERDICT_TOO_LARGE;
        }
        break;
    default:
        break;
    }
    if (max_mean && enc->len > max_mean &&
        mean_is_above(ctx->client, max_mean)) {
        return TMEM_VERDICT_MEAN;
    }
    return TMEM_VERDICT_OK;
}
