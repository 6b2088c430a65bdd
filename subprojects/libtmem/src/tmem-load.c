/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: loading a page
 *
 * The record is copied out under the shard's lock; it is checked and decoded
 * with no lock held.  Nothing is allocated.
 */
#include "tmem-op.h"
#include "tmem-trust.h"

/*
 * What tmem_page_take() recognises a stored page by.  Not by its age, nor by
 * the place of its record, which may move.  The generation is in the low bits.
 */
static uint64_t version_of(TmemEntry entry, uint32_t checksum)
{
    uint64_t look = (tmem_entry_aged(entry, 0) ^ tmem_entry_ref(entry)) +
                    checksum;

    return look << 8 | tmem_entry_generation(entry);
}

/*
 * A page that upkeep compressed again looks different and is the same; its
 * generation tells it from what was stored meanwhile, but for a few of these,
 * which then go: they are ephemeral.
 */
static bool is_version(TmemEntry entry, uint32_t checksum, uint64_t version)
{
    return version_of(entry, checksum) == version ||
           (tmem_entry_kind(entry) == TMEM_KIND_ZSTD &&
            tmem_entry_generation(entry) == (uint8_t)version);
}

/* Shard locked: the checksum of an entry's record, 0 if it has none. */
static uint32_t read_checksum(TmemOp *op, TmemEntry entry)
{
    TmemRef ref = tmem_entry_ref(entry);

    return !ref || !tmem_index_in_arena(&op->store->arena, entry) ? 0 :
           *tmem_record_checksum(tmem_arena_ptr(&op->store->arena, ref));
}

/* Shard locked: copies the record to the codec's input. */
static void copy_out(TmemOp *op, TmemEntry entry)
{
    TmemRef ref = tmem_entry_ref(entry);

    if (ref) {
        size_t len = tmem_entry_len(entry);

        /* Not inline: compilers that know the bound take slow instructions. */
        asm("" : "+r" (len));
        memcpy(op->ctx->codec.in,
               tmem_record_data(tmem_arena_ptr(&op->store->arena, ref)), len);
    }
}

/* Shard locked: tells eviction that the page is in use. */
static void note_hit(TmemOp *op, const TmemNode *node, TmemEntry entry)
{
    if (op->space == TMEM_SPACE_EPHEMERAL) {
        tmem_node_note_hit(&op->store->index, node);
        if (tmem_entry_ref(entry)) {
            tmem_arena_note_hit(&op->store->arena, tmem_entry_ref(entry));
            tmem_evict_note_loaded(node->pool->client, &op->key, entry);
        }
    }
}

/*
 * Remembers that the page cannot be read, unless it was replaced since.  An
 * entry may look the same and be another page's: what is marked are the very
 * bytes that were found unreadable, which lie in the codec's input.
 */
static void quarantine(TmemOp *op, TmemEntry seen, uint32_t checksum)
{
    bool is_news = false;
    TmemNode *node;

    if (!tmem_op_enter(op)) {
        return;
    }
    if (tmem_op_find(op, &node)) {
        tmem_index_quarantine(&op->store->index, node, op->key.pos, seen,
                              checksum, op->ctx->codec.in, &op->delta);
        is_news = op->delta.pages_damaged;
        tmem_op_book(op, node->pool);
    }
    /* The load was counted as a hit when the entry was found. */
    tmem_count(&op->tally->loads_hit, -1);
    tmem_count(&op->tally->loads_error, 1);
    tmem_op_leave(op);
    if (is_news) {
        tmem_event_emit(op->store, TMEM_EVENT_DAMAGED, op->ctx->client);
    }
}

/*
 * Whether the record of @entry can be read at all.  An entry may have gone bad:
 * then its record may be anywhere, or it may look like what only a member of a
 * trust group has.
 */
static bool is_readable(const TmemOp *op, const TmemNode *node,
                        TmemEntry entry)
{
    if (tmem_entry_kind(entry) == TMEM_KIND_SHARED &&
        !(tmem_trust_is_reference(entry) && op->ctx->client->trust &&
          op->space == TMEM_SPACE_EPHEMERAL)) {
        return false;
    }
    return tmem_index_is_whole(&op->store->index, node, op->key.pos, entry) &&
           (tmem_entry_kind(entry) == TMEM_KIND_SHARED ||
            tmem_codec_made(entry));
}

/* Shard locked: finds and counts. */
static TmemStatus look_up(TmemOp *op, TmemEntry *entry, uint32_t *checksum,
                          bool *is_news)
{
    TmemNode *node;
    TmemEntry *found = tmem_op_find(op, &node);

    tmem_count(&op->tally->loads, 1);
    if (!found) {
        tmem_count(&op->tally->loads_miss, 1);
        return TMEM_STATUS_MISS;
    }
    *entry = *found;
    if (!(*entry & TMEM_ENTRY_DAMAGED) && !is_readable(op, node, *entry)) {
        *entry = *found |= TMEM_ENTRY_DAMAGED;
        op->delta.pages_damaged++;
        tmem_op_book(op, node->pool);
        *is_news = true;
    }
    if (*entry & TMEM_ENTRY_DAMAGED) {
        tmem_count(&op->tally->loads_error, 1);
        return TMEM_STATUS_IO;
    }
    tmem_count(&op->tally->loads_hit, 1);
    *checksum = read_checksum(op, *entry);
    copy_out(op, *entry);
    if (tmem_entry_age(*entry)) {
        *found = tmem_entry_aged(*entry, 0);
    }
    note_hit(op, node, *entry);
    return TMEM_STATUS_OK;
}

static bool decode(TmemOp *op, TmemEntry entry, uint32_t checksum,
                   uint64_t seed, void *page)
{
    TmemKind kind = tmem_entry_kind(entry);
    uint32_t len = tmem_entry_len(entry);

    if (kind == TMEM_KIND_FILL32) {
        uint64_t word = tmem_entry_word32(entry);

        tmem_codec_fill(page, word | word << 32);
        return true;
    }
    /* What a reference leads to comes after it: decode_shared(). */
    return checksum == tmem_codec_checksum(op->ctx->codec.in, len, seed) &&
           (kind == TMEM_KIND_SHARED ||
            tmem_codec_decode(&op->ctx->codec, kind, len, page));
}

/* --- What the trust group keeps --- */

/*
 * The group has evicted what the page is: so it has gone, unless it was
 * replaced since by one that the same reference cannot mean.
 */
static void forget_evicted(TmemOp *op, TmemEntry seen, uint32_t checksum,
                           const TmemReference *reference)
{
    TmemNode *node;

    if (!tmem_op_enter(op)) {
        return;
    }
    if (tmem_op_find(op, &node) &&
        tmem_index_still(&op->store->index, node, op->key.pos, seen, checksum,
                         reference)) {
        tmem_op_remove(op, node);
        tmem_count(&op->tally->evicted, 1);
    }
    /* The load was counted as a hit when the entry was found. */
    tmem_count(&op->tally->loads_hit, -1);
    tmem_count(&op->tally->loads_miss, 1);
    tmem_op_leave(op);
}

/*
 * Decodes what the reference in the codec's input leads to, and says in @kind
 * what that was.
 */
static TmemStatus decode_shared(TmemOp *op, TmemEntry entry, uint32_t checksum,
                                void *page, TmemKind *kind)
{
    TmemCodec *codec = &op->ctx->codec;
    TmemReference reference;
    TmemContentSeen seen;

    memcpy(&reference, codec->in, sizeof(reference));
    if (!tmem_trust_read(op->ctx->client->trust, &reference, &seen,
                         codec->in)) {
        forget_evicted(op, entry, checksum, &reference);
        *kind = TMEM_KIND_NONE;
        return TMEM_STATUS_MISS;
    }
    *kind = seen.kind;
    if (seen.is_damaged ||
        seen.checksum != tmem_codec_checksum(codec->in, seen.len,
                                             tmem_content_seed(&reference)) ||
        !tmem_codec_decode(codec, seen.kind, seen.len, page)) {
        /* For those who load it under other handles, and for this one. */
        tmem_trust_quarantine(op->ctx->client->trust, &reference);
        memcpy(codec->in, &reference, sizeof(reference));
        quarantine(op, entry, checksum);
        return TMEM_STATUS_IO;
    }
    return TMEM_STATUS_OK;
}

/* --- Loads --- */

/* Decodes what look_up() has found; @kind: what it was. */
static TmemStatus decode_found(TmemOp *op, TmemEntry entry, uint32_t checksum,
                               uint64_t seed, void *page, TmemKind *kind)
{
    *kind = tmem_entry_kind(entry);
    if (!decode(op, entry, checksum, seed, page)) {
        quarantine(op, entry, checksum);
        return TMEM_STATUS_IO;
    }
    return *kind == TMEM_KIND_SHARED ?
           decode_shared(op, entry, checksum, page, kind) : TMEM_STATUS_OK;
}

static TmemHistogram *latency_of(TmemLatencyStats *latency, TmemKind kind)
{
    switch (kind) {
    case TMEM_KIND_LZ4:
        return &latency->load_lz4;
    case TMEM_KIND_ZSTD:
        return &latency->load_zstd;
    case TMEM_KIND_RAW:
        return &latency->load_raw;
    case TMEM_KIND_NONE:
        return &latency->load_miss;
    default:
        return &latency->load_same_filled;
    }
}

TmemStatus tmem_page_load(TmemContext *ctx, const TmemHandle *handle,
                          void *page, uint64_t *version)
{
    uint64_t start = tmem_hist_start(&ctx->hist);
    TmemStatus status;
    TmemOp op;
    TmemEntry entry = 0;
    uint32_t checksum = 0;
    TmemKind kind = TMEM_KIND_NONE;
    bool is_news = false;

    if (!tmem_op_begin(&op, ctx, handle) || !tmem_op_enter(&op)) {
        memset(page, 0, TMEM_PAGE_SIZE);
        return tmem_op_end_no_pool(ctx);
    }
    status = look_up(&op, &entry, &checksum, &is_news);
    tmem_op_leave(&op);
    tmem_ahead_fetch(&ctx->ahead);
    if (is_news) {
        tmem_event_emit(op.store, TMEM_EVENT_DAMAGED, ctx->client);
    }

    if (status == TMEM_STATUS_OK) {
        status = decode_found(&op, entry, checksum,
                              tmem_op_seed(&op, handle->index), page, &kind);
    }
    if (status != TMEM_STATUS_OK) {
        memset(page, 0, TMEM_PAGE_SIZE);
    } else if (version) {
        *version = version_of(entry, checksum);
    }
    if (status != TMEM_STATUS_IO) {
        tmem_hist_end(latency_of(&ctx->hist.latency, kind), start);
    }
    tmem_op_end(ctx);
    return status;
}

TmemStatus tmem_page_take(TmemContext *ctx, const TmemHandle *handle,
                          uint64_t version)
{
    TmemStatus status = TMEM_STATUS_OK;
    TmemNode *node;
    TmemEntry *entry;
    TmemOp op;

    if (!tmem_op_begin(&op, ctx, handle) || !tmem_op_enter(&op)) {
        return tmem_op_end_no_pool(ctx);
    }
    entry = tmem_op_find(&op, &node);
    if (op.space != TMEM_SPACE_EPHEMERAL ||
        tmem_pool_id_is_shared(op.pool_id)) {
        status = TMEM_STATUS_INVAL;
    } else if (entry && is_version(*entry, read_checksum(&op, *entry),
                                   version)) {
        tmem_op_remove(&op, node);
        tmem_count(&op.tally->taken, 1);
    }
    tmem_op_leave(&op);
    tmem_arena_trim(&op.store->arena);
    tmem_event_freed(ctx->client);
    tmem_op_end(ctx);
    return status;
}
