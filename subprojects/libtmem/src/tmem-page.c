/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: storing a page
 *
 * The page is encoded and its record is written with no lock held; then, under
 * the lock of the handle's shard, the record takes the place of what was there.
 * Where the new record fits the slot of the old one it is written into that, in
 * place, under the same lock.
 * If anything is missing, what was there goes all the same, under the same lock
 * (invariant B1).
 */
#include "tmem-admit.h"
#include "tmem-op.h"
#include "tmem-trust.h"

static size_t record_bytes(const TmemOp *op, const TmemEncoded *enc)
{
    return enc->data ? TMEM_RECORD_HEADER + enc->len : 0;
}

static void write_record(TmemOp *op, TmemRef ref, const TmemEncoded *enc,
                         uint64_t seed)
{
    tmem_index_write_record(&op->store->index, ref, enc->data, enc->len, seed);
}

static void count_size(TmemOp *op, const TmemEncoded *enc)
{
    tmem_count(&op->ctx->held.sizes.stored[tmem_size_bucket(enc->len)], 1);
}

static void count_kept(TmemOp *op, const TmemEncoded *enc, bool replaced)
{
    tmem_count(&op->tally->stores, 1);
    tmem_count(&op->tally->stores_ok, 1);
    if (replaced) {
        tmem_count(&op->tally->stores_replaced, 1);
    }
    switch (enc->kind) {
    case TMEM_KIND_LZ4:
    case TMEM_KIND_ZSTD:
        tmem_count(&op->tally->stores_compressed, 1);
        count_size(op, enc);
        break;
    case TMEM_KIND_RAW:
        tmem_count(&op->tally->stores_raw, 1);
        count_size(op, enc);
        break;
    case TMEM_KIND_SHARED:
        tmem_count(&op->tally->stores_shared, 1);
        break;
    default:
        tmem_count(&op->tally->stores_same_filled, 1);
        break;
    }
}

/* Why a store is refused: what the guest is told, and what counts it. */
typedef struct Refusal {
    TmemStatus status;
    size_t counter;         /* its place in a tally */
} Refusal;

#define REFUSAL(what, name)                                                   \
    ((Refusal) { .status = TMEM_STATUS_##what,                                \
                 .counter = offsetof(TmemTally, name) })

/* The store found no memory. */
static Refusal no_memory(const TmemOp *op, TmemStatus status)
{
    if (status == TMEM_STATUS_QUOTA) {
        return REFUSAL(QUOTA, stores_quota);
    }
    if (tmem_arena_is_short_of_host(&op->store->arena)) {
        return REFUSAL(NOSPC, stores_host_share);
    }
    return REFUSAL(NOSPC, stores_nospc);
}

/* Shard locked: B1, the refused store leaves nothing. */
static void refuse(TmemOp *op, Refusal refusal)
{
    TmemNode *node;

    tmem_count(&op->tally->stores, 1);
    tmem_count((uint64_t *)((uint8_t *)op->tally + refusal.counter), 1);
    if (tmem_op_find(op, &node)) {
        tmem_count(&op->tally->stores_replaced, 1);
        tmem_op_remove(op, node);
    }
}

/* Refuses a page that is not wanted, before any memory is taken for it. */
static TmemStatus refuse_page(TmemOp *op, Refusal refusal)
{
    if (!tmem_op_enter(op)) {
        return TMEM_STATUS_NOPOOL;
    }
    refuse(op, refusal);
    tmem_op_leave(op);
    return refusal.status;
}

static int64_t slot_bytes(TmemOp *op, TmemRef ref)
{
    return ref ? tmem_arena_slot_bytes(&op->store->arena, ref) : 0;
}

/*
 * Shard locked: the record that another may be written over if no memory is
 * found; 0: none.  A reference is still needed, for what it refers to.
 */
static TmemRef ref_to_reuse(TmemEntry old, TmemRef old_ref)
{
    return tmem_entry_kind(old) == TMEM_KIND_SHARED ? 0 : old_ref;
}

/*
 * Shard locked: where a record goes for which no memory was found, or 0.  Who
 * is above its share of a tight store does not keep the older copy's place: one
 * that only ever overwrites its pages would never come down to it.
 */
static TmemRef last_resort(TmemOp *op, const TmemEncoded *enc, TmemRef old_ref,
                           TmemStatus why)
{
    if (old_ref && tmem_arena_slot_bytes(&op->store->arena, old_ref) >=
                   record_bytes(op, enc) &&
        (op->space != TMEM_SPACE_PERSISTENT ||
         tmem_share_keeps_slots(&op->ctx->client->heap))) {
        return old_ref;
    }
    return tmem_credit_take(op->ctx->client, op->claim, why);
}

/* Whether what siblings need leaves a persistent page a place at all. */
static bool may_take(const TmemOp *op)
{
    return op->reserved == TMEM_RESERVED_FREE ||
           (op->reserved == TMEM_RESERVED_INSIDE &&
            tmem_share_keeps_slots(&op->ctx->client->heap));
}

/* Shard locked: as tmem_index_make_room(), with credit if that is all. */
static TmemStatus make_room(TmemOp *op, TmemNode *node, bool last,
                            TmemRoom *room)
{
    TmemClient *client = op->ctx->client;
    TmemStatus status = op->forced;

    if (status == TMEM_STATUS_OK && !may_take(op)) {
        status = TMEM_STATUS_QUOTA;
    }
    if (status == TMEM_STATUS_OK) {
        status = tmem_index_make_room(&op->store->index, &op->key,
                                      &client->heap, node,
                                      op->reserved == TMEM_RESERVED_INSIDE,
                                      last, room);
    }
    if (status != TMEM_STATUS_OK && last && op->claim) {
        status = tmem_credit_make_room(client, op->claim, node, status, room);
    }
    return status;
}

/* Shard locked: sets @bytes aside in the pool's limit. */
static bool take_quota(TmemOp *op, int64_t bytes, bool last)
{
    if (tmem_quota_take(&op->pool->quota, bytes)) {
        return true;
    }
    if (!last || !op->claim) {
        return false;
    }
    /* Beyond it: there is no new credit until the pool is within again. */
    tmem_quota_add(&op->pool->quota, bytes);
    op->claim->why = TMEM_STATUS_QUOTA;
    return true;
}

/* The class of a slot for a page of a persistent pool. */
static uint32_t class_of_record(const TmemOp *op, const TmemEncoded *enc)
{
    return tmem_sizes_class(tmem_arena_sizes(&op->store->arena,
                                             TMEM_SPACE_PERSISTENT),
                            record_bytes(op, enc));
}

/*
 * Shard locked: whether the page at @old may be written over.  Not in a marked
 * segment, which is to become empty; not in a tight store, where who may keep
 * what is asked when memory is taken; and an ephemeral page that is stored
 * again is young again, and lies with such.
 */
static bool may_overwrite(TmemOp *op, const TmemEncoded *enc,
                          const TmemNode *node, TmemEntry old)
{
    TmemArena *arena = &op->store->arena;
    TmemRef ref = tmem_index_slot(&op->store->index, node, op->key.pos, old);

    return ref && op->space == TMEM_SPACE_PERSISTENT &&
           arena->segments[tmem_arena_segment_of(arena, ref)].class_nr ==
           class_of_record(op, enc) &&
           !tmem_arena_draining(arena, ref) &&
           !__atomic_load_n(&arena->is_tight, __ATOMIC_RELAXED);
}

/*
 * Puts @enc in the place of the record that is there, if that is of the same
 * class: no memory is taken and none given back, and none but what is written
 * need be in a cache.  The copy is made under the shard's lock, as a load's is.
 * Returns false, having done nothing, if that cannot be.
 */
static bool overwrite(TmemOp *op, const TmemEncoded *enc, uint64_t seed)
{
    TmemNode *node;
    TmemEntry *old, entry;
    bool done = false;

    if (!enc->data || op->forced != TMEM_STATUS_OK ||
        op->old_class != (int)class_of_record(op, enc) || !tmem_op_enter(op)) {
        return false;
    }
    old = tmem_op_find(op, &node);
    if (old && may_overwrite(op, enc, node, *old)) {
        TmemRef ref = tmem_entry_ref(*old);

        write_record(op, ref, enc, seed);
        entry = tmem_entry_make(enc->kind, ref, enc->len,
                                op->key.shard->generation++);
        tmem_index_replace(&op->store->index, node, op->key.pos, entry,
                           &op->delta);
        tmem_tally_apply(op->ctx, op->pool, &op->delta);
        count_kept(op, enc, true);
        done = true;
    }
    tmem_op_leave(op);
    return done;
}

/*
 * Shard locked: makes @enc, whose record is at @ref, the page under the
 * handle.  Anything but OK changes nothing, so that the caller may try again;
 * @ref is used up if OK.  Without a @ref @why says what was missing.  In the
 * @last attempt any memory will do, and what a claim gives.
 */
static TmemStatus publish(TmemOp *op, const TmemEncoded *enc, TmemRef ref,
                          TmemStatus why, uint64_t seed, bool last)
{
    TmemIndex *index = &op->store->index;
    TmemNode *holder, *node;
    TmemEntry *old = tmem_op_find(op, &holder);
    bool own = holder && holder->pool == op->pool;
    TmemRef old_ref = own && old ?
                      tmem_index_slot(index, holder, op->key.pos, *old) : 0;
    TmemRoom room = {};
    TmemEntry entry;
    int64_t grown;

    if (ref && own && old && tmem_entry_ref(*old) == ref) {
        /* What went bad named a slot that was free; its own is lost. */
        tmem_heap_note_lost(&op->ctx->client->heap);
    }
    if (enc->data && !ref) {
        ref = last_resort(op, enc,
                          old_ref ? ref_to_reuse(*old, old_ref) : 0, why);
        if (!ref) {
            return why;
        }
        write_record(op, ref, enc, seed);
    }
    if (!old || !own) {
        TmemStatus status;

        node = tmem_pool_id_is_shared(op->pool_id) ?
               tmem_index_find(index, &op->key) : holder;
        status = make_room(op, node, last, &room);
        if (status != TMEM_STATUS_OK) {
            return status;
        }
    }
    grown = slot_bytes(op, ref) - slot_bytes(op, old_ref) + room.bytes;
    if (!take_quota(op, grown, last)) {
        op->pool_lacks = grown;
        tmem_index_cancel_room(index, &room);
        return TMEM_STATUS_QUOTA;
    }
    entry = tmem_entry_make(enc->kind, enc->data ? ref : enc->word32, enc->len,
                            op->key.shard->generation++);
    if (old && own) {
        tmem_index_replace(index, holder, op->key.pos, entry, &op->delta);
    } else {
        if (old) {
            /* Another member's page goes; ours is billed to us. */
            tmem_op_remove(op, holder);
        }
        tmem_index_insert(index, &op->key, &room, entry, &op->delta);
    }
    tmem_tally_apply(op->ctx, op->pool, &op->delta);
    tmem_quota_add(&op->pool->quota, -MAX(grown, 0));
    count_kept(op, enc, old);
    return TMEM_STATUS_OK;
}

/*
 * Makes room where a store was refused for a limit.  That of its pool is for
 * the pool alone: pages of siblings would go for nothing.
 */
static bool evict_within(TmemOp *op, const TmemEncoded *enc,
                         TmemEvictTries *tries)
{
    int64_t bytes = MAX(op->pool_lacks,
                        (int64_t)(record_bytes(op, enc) + sizeof(TmemNode)));

    if (!op->pool_lacks && !tmem_quota_is_full(&op->pool->quota, bytes)) {
        return tmem_evict_own(op->ctx->client, tries);
    }
    return tries->pools++ < TMEM_EVICT_ATTEMPTS &&
           tmem_quota_evict(op->ctx->client, op->pool_id, 2 * bytes);
}

/* A slot for the record, or 0 and @why there is none. */
static TmemRef take_slot(TmemOp *op, const TmemEncoded *enc, bool last,
                         TmemStatus *why)
{
    TmemHeap *heap = &op->ctx->client->heap;
    TmemSpace space = tmem_evict_space(op->ctx->client, &op->key, op->space);
    size_t bytes = tmem_heap_like_slot(heap->arena, space,
                                       record_bytes(op, enc), op->slot_units);

    if (op->reserved == TMEM_RESERVED_FREE) {
        return tmem_heap_alloc(heap, space, bytes, last, why);
    }
    *why = TMEM_STATUS_QUOTA;
    return may_take(op) ? tmem_heap_alloc_inside(heap, space, bytes, false) :
                          0;
}

/* One attempt; @last: whether its answer is final. */
static TmemStatus try_store(TmemOp *op, const TmemEncoded *enc,
                            uint64_t seed, bool last)
{
    TmemArena *arena = &op->store->arena;
    TmemStatus status = TMEM_STATUS_NOPOOL, why = op->forced;
    TmemRef ref = 0;

    op->pool_lacks = 0;
    if (enc->data && why == TMEM_STATUS_OK) {
        ref = take_slot(op, enc, last, &why);
        if (ref) {
            write_record(op, ref, enc, seed);
        } else if (!last) {
            return why;
        }
    }
    if (tmem_op_enter(op)) {
        status = publish(op, enc, ref, why, seed, last);
        if (status != TMEM_STATUS_OK && last) {
            refuse(op, no_memory(op, status));
        }
        tmem_op_leave(op);
    }
    if (status != TMEM_STATUS_OK && ref) {
        tmem_heap_free(arena, ref);
    }
    return status;
}

/* Makes room and tries again, within bounds. */
static TmemStatus store_encoded(TmemOp *op, const TmemEncoded *enc,
                                uint64_t seed)
{
    TmemEvictTries tries = {};
    bool last = op->forced != TMEM_STATUS_OK;
    TmemStatus status;

    if (overwrite(op, enc, seed)) {
        return TMEM_STATUS_OK;
    }
    if (op->space == TMEM_SPACE_PERSISTENT) {
        op->reserved = tmem_reserve_check(op->ctx->client, op->pool,
                                          record_bytes(op, enc) +
                                          sizeof(TmemNode));
        /* To evict would not change what siblings need. */
        last |= op->reserved != TMEM_RESERVED_FREE;
    }
    for (;;) {
        status = try_store(op, enc, seed, last);
        if (last || (status != TMEM_STATUS_NOSPC &&
                     status != TMEM_STATUS_QUOTA)) {
            return status;
        }
        last = status == TMEM_STATUS_NOSPC ?
               !tmem_evict_for(op->ctx->client, op->space, &tries) :
               !evict_within(op, enc, &tries);
    }
}

/* --- In a trust group --- */

/* The group that keeps equal pages of this pool once, or NULL. */
static TmemTrust *trust_of(const TmemOp *op)
{
    TmemTrust *trust;

    /* A shared pool has members that may be of no group, or of another. */
    if (op->space != TMEM_SPACE_EPHEMERAL ||
        tmem_pool_id_is_shared(op->pool_id)) {
        return NULL;
    }
    trust = op->ctx->client->trust;
    return trust && !tmem_admit_frozen(trust->client) ? trust : NULL;
}

/* Has the group keep the page: makes room in it and tries again. */
static bool keep_once(TmemTrust *trust, const TmemEncoded *enc,
                      TmemReference *reference)
{
    TmemClient *group = trust->client;
    TmemEvictTries tries = {};
    bool last = false;

    for (;;) {
        TmemStatus status = tmem_trust_keep(trust, enc, last, reference);

        if (status == TMEM_STATUS_OK || last) {
            return status == TMEM_STATUS_OK;
        }
        last = status == TMEM_STATUS_NOSPC ?
               !tmem_evict_for(group, TMEM_SPACE_EPHEMERAL, &tries) :
               !tmem_evict_own(group, &tries);
    }
}

/*
 * Stores a reference to what the group keeps of the page.  What the group has
 * no room for, or is too short to be worth it, the client keeps for itself.
 */
static TmemStatus store_page(TmemOp *op, const TmemEncoded *enc, uint64_t seed)
{
    TmemTrust *trust = trust_of(op);
    TmemReference reference;
    TmemEncoded shared = {
        .kind = TMEM_KIND_SHARED, .len = sizeof(reference), .data = &reference,
    };
    TmemStatus status;

    if (!trust || !tmem_trust_takes(enc) ||
        !keep_once(trust, enc, &reference)) {
        return store_encoded(op, enc, seed);
    }
    status = store_encoded(op, &shared, seed);
    if (status != TMEM_STATUS_OK) {
        tmem_trust_drop(trust, &reference);
    }
    return status;
}

static TmemStatus admit_and_store(TmemOp *op, uint64_t page_index,
                                  const void *page, TmemEncoded *enc)
{
    TmemContext *ctx = op->ctx;

    if (tmem_admit_frozen(ctx->client)) {
        if (!op->claim) {
            return refuse_page(op, REFUSAL(FROZEN, stores_frozen));
        }
        op->forced = TMEM_STATUS_FROZEN;
    }
    tmem_codec_encode_page(&ctx->codec, tmem_pool_codec(op->store, op->pool),
                           tmem_admit_max(op->store), page, enc);
    switch (tmem_admit_page(ctx, enc)) {
    case TMEM_VERDICT_TOO_LARGE:
        if (!op->claim) {
            return refuse_page(op, REFUSAL(REFUSED, stores_too_large));
        }
        op->forced = TMEM_STATUS_REFUSED;
        break;
    case TMEM_VERDICT_MEAN:
        if (!op->claim) {
            return refuse_page(op, REFUSAL(REFUSED, stores_mean));
        }
        op->forced = TMEM_STATUS_REFUSED;
        break;
    default:
        break;
    }
    return store_page(op, enc, tmem_op_seed(op, page_index));
}

static TmemHistogram *latency_of(TmemLatencyStats *latency, TmemStatus status,
                                 TmemKind kind)
{
    if (status != TMEM_STATUS_OK) {
        return &latency->store_refused;
    }
    switch (kind) {
    case TMEM_KIND_LZ4:
        return &latency->store_lz4;
    case TMEM_KIND_ZSTD:
        return &latency->store_zstd;
    case TMEM_KIND_RAW:
        return &latency->store_raw;
    default:
        return &latency->store_same_filled;
    }
}

/*
 * The two words of the page that are looked at first, which may be in no cache:
 * the handle is hashed while they come.  To ask for more of it makes it slower.
 */
static void prefetch_page(const void *page)
{
    __builtin_prefetch(page);
    __builtin_prefetch((const uint8_t *)page + TMEM_PAGE_SIZE - 1);
}

/*
 * How the store ended, or would have but for its credit.  Not that it was
 * refused for what other pools need: these are not to be told to stop.
 */
static void tell(TmemClient *client, TmemStatus status, TmemPoolKind kind)
{
    if (status == TMEM_STATUS_OK) {
        tmem_event_kept(client);
    } else {
        tmem_event_refused(client, status, tmem_hint_of(kind));
    }
}

TmemStatus tmem_page_store_claiming(TmemContext *ctx,
                                    const TmemHandle *handle,
                                    const void *page, TmemClaim *claim)
{
    uint64_t start = tmem_hist_start(&ctx->hist);
    TmemEncoded enc = {};
    TmemStatus status;
    TmemOp op;

    prefetch_page(page);
    if (!tmem_op_begin(&op, ctx, handle)) {
        return tmem_op_end_no_pool(ctx);
    }
    op.claim = claim;
    if (op.space == TMEM_SPACE_PERSISTENT) {
        op.old_class = tmem_prefetch_old(&op.store->index, &op.key);
    }
    status = admit_and_store(&op, handle->index, page, &enc);
    tmem_arena_trim(&op.store->arena);
    /* A store that credit alone has saved tells as much as a refused one. */
    if (status == TMEM_STATUS_OK || op.reserved == TMEM_RESERVED_FREE) {
        tell(ctx->client, claim && status == TMEM_STATUS_OK ? claim->why :
             status, tmem_pool_id_kind(handle->pool));
    }
    if (status == TMEM_STATUS_NOPOOL) {
        return tmem_op_end_no_pool(ctx);
    }
    tmem_hist_end(latency_of(&ctx->hist.latency, status, enc.kind), start);
    tmem_op_end(ctx);
    return status;
}

TmemStatus tmem_page_store(TmemContext *ctx, const TmemHandle *handle,
                           const void *page)
{
    return tmem_page_store_claiming(ctx, handle, page, NULL);
}

/* --- A page that was stored in another process --- */

/* Marks the page that was just stored, if it is still there. */
static void mark_damaged(TmemOp *op)
{
    TmemEntry *entry;
    TmemNode *node;

    if (!tmem_op_enter(op)) {
        return;
    }
    entry = tmem_op_find(op, &node);
    if (entry) {
        tmem_index_quarantine(&op->store->index, node, op->key.pos, *entry, 0,
                              NULL, &op->delta);
        tmem_op_book(op, op->pool);
    }
    tmem_op_leave(op);
}

TmemStatus tmem_page_restore(TmemContext *ctx, const TmemHandle *handle,
                             const TmemEncoded *enc, uint32_t slot_units)
{
    /* Which page it was cannot be told: one without data stands for it. */
    const TmemEncoded lost = { .kind = TMEM_KIND_FILL32 };
    TmemStatus status;
    TmemOp op;

    if (!tmem_op_begin(&op, ctx, handle)) {
        return tmem_op_end_no_pool(ctx);
    }
    op.slot_units = slot_units;
    status = store_encoded(&op, enc ? enc : &lost,
                           tmem_op_seed(&op, handle->index));
    if (status == TMEM_STATUS_OK && !enc) {
        memset(&op.delta, 0, sizeof(op.delta));
        mark_damaged(&op);
    }
    tmem_arena_trim(&op.store->arena);
    tmem_op_end(ctx);
    return status;
}
