/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: credit, room reserved for stores that may not be refused
 */
#include "tmem-credit.h"
#include "tmem-fault.h"
#include "tmem-reserve.h"
#include "tmem-store.h"

/* What each part must be large enough for. */
static const size_t part_bytes[TMEM_PART__MAX] = {
    [TMEM_PART_RECORD] = TMEM_RECORD_HEADER + TMEM_PAGE_SIZE,
    [TMEM_PART_INDEX] = MAX(sizeof(TmemNode), sizeof(TmemArray) +
                            TMEM_NODE_PAGES * sizeof(TmemEntry)),
};

#define PLACE_BYTES     (part_bytes[TMEM_PART_RECORD] + \
                         part_bytes[TMEM_PART_INDEX])

/* --- Life --- */

void tmem_credit_init(TmemClient *client, uint32_t target)
{
    client->purse.target = target;
    tmem_lock_init(&client->purse.lock, TMEM_RANK_PURSE);
}

void tmem_credit_set_target(TmemClient *client, uint32_t target)
{
    client->purse.target = target;
}

void tmem_credit_destroy(TmemClient *client)
{
    tmem_lock_destroy(&client->purse.lock);
}

/* --- Parts.  The purse is locked. --- */

/* Where a free part says which is next. */
static TmemRef *link_of(const TmemArena *arena, TmemRef ref)
{
    return (TmemRef *)tmem_arena_ptr(arena, ref) + 1;
}

static void add_bytes(TmemPurse *purse, int64_t bytes)
{
    __atomic_store_n(&purse->bytes, purse->bytes + bytes, __ATOMIC_RELAXED);
}

static void add_credit(TmemPurse *purse, int nr)
{
    __atomic_store_n(&purse->credit, purse->credit + nr, __ATOMIC_RELAXED);
}

static void push(TmemClient *client, TmemPart part, TmemRef ref)
{
    TmemArena *arena = &client->store->arena;
    TmemParts *parts = &client->purse.parts[part];

    *link_of(arena, ref) = parts->first;
    parts->first = ref;
    parts->nr++;
    add_bytes(&client->purse, tmem_arena_slot_bytes(arena, ref));
}

static TmemRef pop(TmemClient *client, TmemPart part)
{
    TmemArena *arena = &client->store->arena;
    TmemParts *parts = &client->purse.parts[part];
    TmemRef ref = parts->first;

    if (ref) {
        parts->first = *link_of(arena, ref);
        parts->nr--;
        add_bytes(&client->purse, -(int64_t)tmem_arena_slot_bytes(arena, ref));
    }
    return ref;
}

/* --- Giving back --- */

/* A part that no credit is claimed on, taken out; 0 if there is none. */
static TmemRef pop_spare(TmemClient *client, TmemPart part)
{
    const TmemParts *parts = &client->purse.parts[part];
    TmemRef ref = 0;

    tmem_lock(&client->purse.lock);
    if (parts->nr > parts->nr_claimed) {
        ref = pop(client, part);
    }
    tmem_unlock(&client->purse.lock);
    return ref;
}

static void free_spares(TmemClient *client)
{
    TmemArena *arena = &client->store->arena;
    bool any = false;
    TmemRef ref;

    for (int part = 0; part < TMEM_PART__MAX; part++) {
        while ((ref = pop_spare(client, part))) {
            tmem_heap_free(arena, ref);
            any = true;
        }
    }
    if (any) {
        tmem_arena_trim(arena);
        tmem_event_freed(client);
    }
}

void tmem_credit_forget(TmemClient *client)
{
    TmemPurse *purse = &client->purse;

    tmem_lock(&purse->lock);
    add_credit(purse, -(int)purse->credit);
    for (int part = 0; part < TMEM_PART__MAX; part++) {
        purse->parts[part].nr_claimed = 0;
    }
    tmem_unlock(&purse->lock);
    free_spares(client);
}

/* --- Granting --- */


/* Whether a pool, in its credit, got beyond the limit of its own. */
static bool has_pool_over_limit(TmemClient *client)
{
    bool over = false;

    tmem_lock(&client->lock);
    for (uint32_t slot = client->limited;
         slot != TMEM_POOL_SLOT_NONE && !over;
         slot = client->pools[slot].limited_next) {
        const TmemPool *pool = &client->pools[slot];

        over = tmem_pool_id_kind(pool->key) == TMEM_POOL_PERSISTENT &&
               tmem_quota_is_full(&pool->quota, 1);
    }
    tmem_unlock(&client->lock);
    return over;
}

static bool may_grant(TmemContext *ctx)
{
    TmemClient *client = ctx->client;
    TmemArena *arena = &ctx->store->arena;

    return __atomic_load_n(&client->nr_persistent, __ATOMIC_RELAXED) &&
           !tmem_admit_frozen(client) && !tmem_heap_over_limit(&client->heap) &&
           tmem_arena_used_bytes(arena) <= tmem_arena_budget_bytes(arena) &&
           !(__atomic_load_n(&client->nr_quotas, __ATOMIC_RELAXED) &&
             has_pool_over_limit(client));
}

/* How much may lie in reserve for the client at present. */
static uint64_t reserve_max(TmemClient *client)
{
    uint64_t max_bytes = __atomic_load_n(&client->heap.max_bytes,
                                         __ATOMIC_RELAXED);
    uint64_t budget = tmem_arena_budget_bytes(&client->store->arena);

    return (max_bytes ? MIN(max_bytes, budget) : budget) >> TMEM_CREDIT_SHIFT;
}

static uint64_t reserved_bytes(const TmemPurse *purse)
{
    return __atomic_load_n(&purse->bytes, __ATOMIC_RELAXED);
}

/* Adds one part, making room for it as a store does. */
static bool reserve(TmemClient *client, TmemPart part, TmemEvictTries *tries)
{
    bool last = false;
    TmemRef ref;

    for (;;) {
        TmemStatus why = TMEM_STATUS_NOSPC;

        ref = TMEM_FAULT("credit-reserve") ? 0 :
              tmem_heap_alloc(&client->heap, TMEM_SPACE_PERSISTENT,
                              part_bytes[part], last, &why);
        if (ref || last) {
            break;
        }
        last = why == TMEM_STATUS_QUOTA ? !tmem_evict_own(client, tries) :
               !tmem_evict_for(client, TMEM_SPACE_PERSISTENT, tries);
    }
    if (ref) {
        tmem_lock(&client->purse.lock);
        push(client, part, ref);
        tmem_unlock(&client->purse.lock);
    }
    return ref;
}

/* Grants one credit if its place is there, or says which part is missing. */
static bool claim_one(TmemPurse *purse, TmemPart *missing)
{
    *missing = TMEM_PART__MAX;
    tmem_lock(&purse->lock);
    for (int part = 0; part < TMEM_PART__MAX; part++) {
        if (purse->parts[part].nr <= purse->parts[part].nr_claimed) {
            *missing = part;
        }
    }
    if (*missing == TMEM_PART__MAX) {
        for (int part = 0; part < TMEM_PART__MAX; part++) {
            purse->parts[part].nr_claimed++;
        }
        add_credit(purse, 1);
    }
    tmem_unlock(&purse->lock);
    return *missing == TMEM_PART__MAX;
}

static uint32_t credit_of(const TmemPurse *purse)
{
    return __atomic_load_n(&purse->credit, __ATOMIC_RELAXED);
}

static uint32_t top_up(TmemClient *client)
{
    TmemPurse *purse = &client->purse;
    uint64_t max_bytes = reserve_max(client);
    uint32_t limit = MIN(purse->target, max_bytes / PLACE_BYTES), nr = 0;
    TmemEvictTries tries = {};
    TmemPart missing;

    /*
     * Another thread may grant what this one reserves, and then there is so
     * much less to do: the bound is for those that only ever take.
     */
    for (uint32_t i = 0; i < 4 * limit && credit_of(purse) < limit; i++) {
        if (claim_one(purse, &missing)) {
            nr++;
        } else if (reserved_bytes(purse) + PLACE_BYTES > max_bytes ||
                   tmem_reserve_check(client, NULL, PLACE_BYTES) !=
                   TMEM_RESERVED_FREE ||
                   !reserve(client, missing, &tries)) {
            break;
        }
    }
    return nr;
}

uint32_t tmem_credit_grant(TmemContext *ctx)
{
    TmemClient *client = ctx->client;
    uint32_t nr = 0;

    if (!client->purse.target) {
        return 0;
    }
    tmem_assert_unlocked();
    __atomic_store_n(&ctx->in_operation, true, __ATOMIC_RELAXED);
    if (may_grant(ctx)) {
        nr = top_up(client);
    }
    free_spares(client);
    __atomic_store_n(&ctx->in_operation, false, __ATOMIC_RELAXED);
    tmem_count(&ctx->counters.credit_granted, nr);
    return nr;
}

uint32_t tmem_credit_outstanding(const TmemClient *client)
{
    return credit_of(&client->purse);
}

bool tmem_credit_restore(TmemClient *client, uint32_t nr)
{
    TmemPurse *purse = &client->purse;
    TmemEvictTries tries = {};
    TmemPart missing;

    tmem_assert_unlocked();
    while (credit_of(purse) < nr) {
        if (!claim_one(purse, &missing) && !reserve(client, missing, &tries)) {
            return false;
        }
    }
    return true;
}

uint32_t tmem_client_grant_credit(TmemContext *ctx)
{
    return tmem_credit_grant(ctx);
}

/* --- Using --- */

static bool spend(TmemContext *ctx, TmemClaim *claim)
{
    TmemPurse *purse = &ctx->client->purse;
    bool spent;

    tmem_lock(&purse->lock);
    spent = purse->credit;
    if (spent) {
        add_credit(purse, -1);
    }
    tmem_unlock(&purse->lock);
    claim->why = TMEM_STATUS_OK;
    for (int part = 0; part < TMEM_PART__MAX; part++) {
        claim->has[part] = spent;
    }
    return spent;
}

/* What the store did not take is there for the next grant. */
static void settle(TmemContext *ctx, const TmemClaim *claim)
{
    TmemPurse *purse = &ctx->client->purse;

    tmem_lock(&purse->lock);
    for (int part = 0; part < TMEM_PART__MAX; part++) {
        purse->parts[part].nr_claimed -= claim->has[part];
    }
    tmem_unlock(&purse->lock);
    tmem_count(&ctx->counters.credit_used, 1);
    tmem_count(&ctx->counters.credit_places_used,
               !claim->has[TMEM_PART_RECORD] || !claim->has[TMEM_PART_INDEX]);
}

TmemStatus tmem_credit_store(TmemContext *ctx, const TmemHandle *handle,
                             const void *page, TmemStatus status)
{
    TmemClaim claim;
    bool spent = spend(ctx, &claim);

    if (status == TMEM_STATUS_OK && !spent) {
        status = TMEM_STATUS_INVAL;
    }
    if (status == TMEM_STATUS_OK) {
        status = tmem_page_store_claiming(ctx, handle, page, &claim);
    } else {
        tmem_page_invalidate(ctx, handle);
    }
    if (spent) {
        settle(ctx, &claim);
    }
    return status;
}

TmemStatus tmem_page_store_with_credit(TmemContext *ctx,
                                       const TmemHandle *handle,
                                       const void *page)
{
    bool ephemeral = tmem_pool_id_kind(handle->pool) == TMEM_POOL_EPHEMERAL;

    return tmem_credit_store(ctx, handle, page,
                             ephemeral && tmem_pool_find(ctx->client,
                                                         handle->pool) ?
                             TMEM_STATUS_INVAL : TMEM_STATUS_OK);
}

/* One part of the store's own place. */
static TmemRef take(TmemClient *client, TmemClaim *claim, TmemPart part,
                    TmemStatus why)
{
    TmemPurse *purse = &client->purse;
    TmemRef ref = 0;

    if (claim && claim->has[part]) {
        tmem_lock(&purse->lock);
        ref = pop(client, part);
        purse->parts[part].nr_claimed--;
        tmem_unlock(&purse->lock);
        claim->has[part] = false;
        claim->why = why;
    }
    return ref;
}

TmemRef tmem_credit_take(TmemClient *client, TmemClaim *claim, TmemStatus why)
{
    return take(client, claim, TMEM_PART_RECORD, why);
}

TmemStatus tmem_credit_make_room(TmemClient *client, TmemClaim *claim,
                                 TmemNode *node, TmemStatus why,
                                 TmemRoom *room)
{
    TmemArena *arena = &client->store->arena;
    TmemRef ref;

    *room = (TmemRoom) { .node = node };
    if (node && tmem_node_has_room(node)) {
        return TMEM_STATUS_OK;
    }
    ref = take(client, claim, TMEM_PART_INDEX, why);
    if (!ref) {
        return why;
    }
    room->bytes = tmem_arena_slot_bytes(arena, ref);
    if (!node) {
        room->new_node = ref;
        return TMEM_STATUS_OK;
    }
    room->new_array = ref;
    room->new_capacity = TMEM_NODE_PAGES;
    if (node->capacity > 1) {
        room->bytes -= tmem_arena_slot_bytes(arena, node->entries);
    }
    return TMEM_STATUS_OK;
}
