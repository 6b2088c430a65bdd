/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: trust groups, which keep equal ephemeral pages once
 */
#include <errno.h>
#include <string.h>

#include "tmem-error.h"
#include "tmem-fault.h"
#include "tmem-hash.h"
#include "tmem-os.h"
#include "tmem-store.h"
#include "tmem-trust.h"

/* No content takes less of the store than this. */
#define CONTENT_BYTES_MIN   (TMEM_TRUST_BYTES_MIN + sizeof(TmemContent))

/* Contents that come before a shard tries again to have more buckets. */
#define STEP_TRIES          64

#define BUCKETS_MAX         (1u << 31)

static TmemContent *content_at(const TmemTrust *trust, TmemRef ref)
{
    return tmem_arena_ptr(trust->heap->arena, ref);
}

static int64_t slot_bytes(const TmemTrust *trust, TmemRef ref)
{
    return tmem_arena_slot_bytes(trust->heap->arena, ref);
}

/* --- Hashes --- */

uint64_t tmem_trust_hash(const TmemTrust *trust, const TmemEncoded *enc)
{
    const uint8_t *data = enc->data;
    uint32_t left = enc->len;
    uint64_t word;
    TmemSip sip;

    tmem_sip_init(&sip, trust->client->store->index.hash_key);
    tmem_sip_word(&sip, (uint64_t)enc->kind << 32 | enc->len);
    for (; left >= sizeof(word); left -= sizeof(word)) {
        memcpy(&word, data, sizeof(word));
        tmem_sip_word(&sip, word);
        data += sizeof(word);
    }
    if (left) {
        word = 0;
        memcpy(&word, data, left);
        tmem_sip_word(&sip, word);
    }
    return tmem_sip_end(sip, 1 + (enc->len + sizeof(word) - 1) / sizeof(word));
}

/* Whether its length, where memory may have gone bad, is one it can have. */
static bool fits_slot(const TmemTrust *trust, TmemRef ref)
{
    const TmemContent *content = content_at(trust, ref);

    /* There are slots larger than any content. */
    return content->len <= TMEM_PAGE_SIZE &&
           sizeof(*content) + content->len <= (uint64_t)slot_bytes(trust, ref);
}

static TmemTrustShard *shard_of(TmemTrust *trust, uint64_t hash)
{
    return &trust->shards[tmem_trust_shard(trust, hash)];
}

/* --- Life --- */

/* What buckets_step buckets take from the group's memory. */
static uint64_t step_bytes(const TmemTrust *trust)
{
    return trust->buckets_step * sizeof(TmemRef);
}

/* For twice an even share of the most contents there can be. */
static void size_tables(TmemTrust *trust)
{
    uint64_t most;

    trust->nr_shards = MIN(trust->client->store->index.nr_shards,
                           TMEM_TRUST_SHARDS_MAX);
    most = 2 * (trust->heap->arena->size_bytes / CONTENT_BYTES_MIN) /
           trust->nr_shards;

    trust->buckets_step = tmem_os_page_size() / sizeof(TmemRef);
    trust->buckets_max = MIN(most / trust->buckets_step + 1,
                             BUCKETS_MAX / trust->buckets_step) *
                         trust->buckets_step;
    trust->tables_bytes = (size_t)trust->nr_shards * trust->buckets_max *
                          sizeof(TmemRef);
}

/*
 * Pays for one step of buckets.  A full store, or a full group, makes room for
 * it as it does for a page; no lock held.
 */
static TmemStatus charge_step(TmemTrust *trust)
{
    TmemClient *group = trust->client;
    TmemEvictTries tries = {};
    bool last = false;

    tmem_assert_unlocked();
    for (;;) {
        TmemStatus status = tmem_heap_charge(trust->heap, step_bytes(trust));

        if (status == TMEM_STATUS_OK || last) {
            return status;
        }
        last = status == TMEM_STATUS_QUOTA ?
               !tmem_evict_own(group, &tries) :
               !tmem_evict_for(group, TMEM_SPACE_PERSISTENT, &tries);
    }
}

/* For all shards' first buckets, or for none. */
static bool charge_tables(TmemTrust *trust, GError **errp)
{
    uint64_t want = trust->nr_shards * step_bytes(trust);
    TmemStatus status = TMEM_STATUS_OK;
    uint64_t paid = 0;

    while (status == TMEM_STATUS_OK && paid < want) {
        status = charge_step(trust);
        paid += status == TMEM_STATUS_OK ? step_bytes(trust) : 0;
    }
    if (status == TMEM_STATUS_OK) {
        return true;
    }
    tmem_heap_charge(trust->heap, -(int64_t)paid);
    if (status == TMEM_STATUS_QUOTA) {
        return tmem_error_set(errp, "the tables of the trust group '%s' take %"
                              G_GUINT64_FORMAT " bytes, and its maximum is %"
                              G_GUINT64_FORMAT " bytes; give it more",
                              trust->client->name, want,
                              trust->heap->max_bytes);
    }
    return tmem_error_set(errp, "the store has no room for the tables of the "
                          "trust group '%s', %" G_GUINT64_FORMAT " bytes; "
                          "make it larger, or have guests free swapped pages",
                          trust->client->name, want);
}

TmemTrust *tmem_trust_new(TmemClient *client, GError **errp)
{
    /* The shards want their cache lines to themselves. */
    TmemTrust *trust = TMEM_FAULT("trust") ? NULL :
                       tmem_os_reserve(sizeof(TmemTrust));

    if (!trust) {
        tmem_error_set(errp, "no memory for the trust group '%s'",
                       client->name);
        return NULL;
    }
    trust->client = client;
    trust->heap = &client->heap;
    size_tables(trust);
    trust->tables = tmem_os_reserve(trust->tables_bytes);
    if (!trust->tables) {
        tmem_error_set(errp, "cannot reserve address space for the trust group"
                       " '%s': %s", client->name, strerror(errno));
        tmem_os_release(trust, sizeof(*trust));
        return NULL;
    }
    if (!charge_tables(trust, errp)) {
        tmem_os_release(trust->tables, trust->tables_bytes);
        tmem_os_release(trust, sizeof(*trust));
        return NULL;
    }
    for (unsigned i = 0; i < trust->nr_shards; i++) {
        TmemTrustShard *shard = &trust->shards[i];

        tmem_lock_init(&shard->lock, TMEM_RANK_CONTENTS);
        shard->buckets = trust->tables + (size_t)i * trust->buckets_max;
        shard->nr_buckets = shard->paid_buckets = trust->buckets_step;
    }
    return trust;
}

void tmem_trust_free(TmemTrust *trust)
{
    if (!trust) {
        return;
    }
    for (unsigned i = 0; i < trust->nr_shards; i++) {
        tmem_lock_destroy(&trust->shards[i].lock);
    }
    tmem_os_release(trust->tables, trust->tables_bytes);
    tmem_os_release(trust, sizeof(*trust));
}

/* --- The table of a shard, which is locked --- */

static TmemRef *chain_of(const TmemTrustShard *shard, uint64_t hash)
{
    return &shard->buckets[tmem_bucket_of(shard->nr_buckets, hash)];
}

static void link_content(const TmemTrust *trust, TmemTrustShard *shard,
                         TmemRef ref)
{
    TmemContent *content = content_at(trust, ref);
    TmemRef *chain = chain_of(shard, content->hash);

    content->next = *chain;
    *chain = ref;
}

/* Returns false if it is not in the chain of @hash. */
static bool unlink_content(const TmemTrust *trust, TmemTrustShard *shard,
                           uint64_t hash, TmemRef ref)
{
    TmemRef *chain = chain_of(shard, hash);
    TmemContent *before = NULL;
    TmemRef at = *chain;

    while (at && at != ref) {
        before = content_at(trust, at);
        at = before->next;
    }
    if (!at) {
        return false;
    }
    if (before) {
        before->next = content_at(trust, ref)->next;
    } else {
        *chain = content_at(trust, ref)->next;
    }
    return true;
}

/* Moves the contents of @from to where they belong now. */
static void spread_chain(const TmemTrust *trust, TmemTrustShard *shard,
                         TmemRef *from)
{
    TmemRef ref = *from;

    *from = 0;
    while (ref) {
        TmemRef next = content_at(trust, ref)->next;

        link_content(trust, shard, ref);
        ref = next;
    }
}

/* The bucket that shares its contents with @nr, which is the last. */
static uint32_t partner_of(uint32_t nr)
{
    return nr - (1u << (31 - __builtin_clz(nr)));
}

/* One more bucket, which is paid for. */
static void table_grow(TmemTrust *trust, TmemTrustShard *shard)
{
    uint32_t nr = shard->nr_buckets++;

    shard->buckets[nr] = 0;
    spread_chain(trust, shard, &shard->buckets[partner_of(nr)]);
}

static void table_shrink(TmemTrust *trust, TmemTrustShard *shard)
{
    uint32_t nr = --shard->nr_buckets;

    spread_chain(trust, shard, &shard->buckets[nr]);
    while (shard->paid_buckets >= nr + trust->buckets_step) {
        shard->paid_buckets -= trust->buckets_step;
        tmem_os_discard(&shard->buckets[shard->paid_buckets],
                        step_bytes(trust));
        tmem_heap_charge(trust->heap, -(int64_t)step_bytes(trust));
    }
}

/* As many buckets as contents if possible, and at most four times as many. */
static void fit_table(TmemTrust *trust, TmemTrustShard *shard)
{
    uint64_t nr = shard->levels.contents;

    /* Two at a time: there may have been too few for a while. */
    for (int i = 0; i < 2 && nr > shard->nr_buckets &&
         shard->nr_buckets < shard->paid_buckets; i++) {
        table_grow(trust, shard);
    }
    for (int i = 0; i < 4 && nr < shard->nr_buckets / 4 &&
         shard->nr_buckets > trust->buckets_step; i++) {
        table_shrink(trust, shard);
    }
}

/* Whether there are more contents than buckets, and none left to add. */
static bool wants_step(const TmemTrust *trust, const TmemTrustShard *shard)
{
    return shard->levels.contents > shard->nr_buckets &&
           shard->nr_buckets == shard->paid_buckets &&
           shard->nr_buckets < trust->buckets_max;
}

/* Whether to pay for a step now: where none was to be had, not each time. */
static bool wants_step_now(const TmemTrust *trust, const TmemTrustShard *shard)
{
    return wants_step(trust, shard) &&
           (shard->levels.contents - shard->nr_buckets) % STEP_TRIES == 1;
}

/*
 * Pays for a step of buckets.  No lock held: to have room for it, memory may
 * have to go back to the operating system, and pages.
 */
static void extend_table(TmemTrust *trust, TmemTrustShard *shard)
{
    bool unused;

    if (charge_step(trust) != TMEM_STATUS_OK) {
        return;
    }
    tmem_lock(&shard->lock);
    unused = !wants_step(trust, shard);
    if (!unused) {
        shard->paid_buckets += trust->buckets_step;
        fit_table(trust, shard);
    }
    tmem_unlock(&shard->lock);
    if (unused) {
        tmem_heap_charge(trust->heap, -(int64_t)step_bytes(trust));
    }
}

/* --- Contents.  Their shard is locked. --- */

static TmemRef find_content(const TmemTrust *trust,
                            const TmemTrustShard *shard,
                            const TmemReference *reference)
{
    TmemRef ref = *chain_of(shard, reference->hash);

    while (ref && content_at(trust, ref)->id != reference->id) {
        ref = content_at(trust, ref)->next;
    }
    return ref;
}

/* A content that is the page @enc, and can take another reference. */
static TmemRef find_equal(const TmemTrust *trust, const TmemTrustShard *shard,
                          uint64_t hash, const TmemEncoded *enc)
{
    TmemRef ref = *chain_of(shard, hash);

    while (ref) {
        const TmemContent *content = content_at(trust, ref);

        if (content->hash == hash && content->kind == enc->kind &&
            content->len == enc->len && !content->is_damaged &&
            content->nr_refs < UINT32_MAX &&
            !memcmp(content->data, enc->data, enc->len)) {
            return ref;
        }
        ref = content->next;
    }
    return 0;
}

/* No longer counts the content at @ref, which leaves the table. */
static void forget_content(TmemTrust *trust, TmemTrustShard *shard,
                           TmemRef ref)
{
    TmemTrustLevels *levels = &shard->levels;
    uint32_t nr_refs = content_at(trust, ref)->nr_refs;
    int64_t bytes = slot_bytes(trust, ref);

    levels->contents--;
    levels->references -= nr_refs;
    levels->data_bytes -= bytes;
    levels->saved_bytes -= nr_refs ? (nr_refs - 1) * bytes : 0;
}

static void add_reference(TmemTrust *trust, TmemTrustShard *shard, TmemRef ref,
                          TmemReference *reference)
{
    TmemContent *content = content_at(trust, ref);

    if (content->nr_refs++) {
        shard->levels.saved_bytes += slot_bytes(trust, ref);
        tmem_arena_note_hit(trust->heap->arena, ref);
    }
    shard->levels.references++;
    *reference = (TmemReference) { content->hash, content->id };
}

/* Enters the content at @ref, which has no reference yet. */
static void enter_content(TmemTrust *trust, TmemTrustShard *shard, TmemRef ref)
{
    link_content(trust, shard, ref);
    shard->levels.contents++;
    shard->levels.data_bytes += slot_bytes(trust, ref);
    fit_table(trust, shard);
    tmem_owner_write(tmem_slot_owner(trust->heap->arena, ref),
                     tmem_owner_make(TMEM_OWNER_CONTENT,
                                     shard - trust->shards, 0, 0));
}

/* --- References --- */

/* A slot with the content @enc, not in the table yet; 0: why not. */
static TmemRef make_content(TmemTrust *trust, uint64_t hash,
                            const TmemEncoded *enc, bool any_class,
                            TmemStatus *why)
{
    TmemRef ref = tmem_heap_alloc(trust->heap, TMEM_SPACE_EPHEMERAL,
                                  sizeof(TmemContent) + enc->len, any_class,
                                  why);
    TmemContent *content;
    TmemReference self;

    if (!ref) {
        return 0;
    }
    content = content_at(trust, ref);
    content->hash = hash;
    content->id = __atomic_add_fetch(&trust->client->store->next_content, 1,
                                     __ATOMIC_RELAXED);
    content->next = 0;
    content->kind = enc->kind;
    content->is_damaged = false;
    content->len = enc->len;
    content->nr_refs = 0;
    self = (TmemReference) { hash, content->id };
    memcpy(content->data, enc->data, enc->len);
    content->checksum = tmem_codec_checksum(enc->data, enc->len,
                                            tmem_content_seed(&self));
    return ref;
}

TmemStatus tmem_trust_keep(TmemTrust *trust, const TmemEncoded *enc,
                           bool any_class, TmemReference *reference)
{
    uint64_t hash = tmem_trust_hash(trust, enc);
    TmemTrustShard *shard = shard_of(trust, hash);
    TmemStatus status = TMEM_STATUS_OK;
    bool extend = false;
    TmemRef ref, made;

    tmem_assert_unlocked();
    tmem_lock(&shard->lock);
    ref = find_equal(trust, shard, hash, enc);
    if (ref) {
        add_reference(trust, shard, ref, reference);
    }
    tmem_unlock(&shard->lock);
    if (ref) {
        return TMEM_STATUS_OK;
    }
    made = make_content(trust, hash, enc, any_class, &status);
    if (!made) {
        return status;
    }
    tmem_lock(&shard->lock);
    /* Somebody else may have been faster. */
    ref = find_equal(trust, shard, hash, enc);
    if (!ref) {
        enter_content(trust, shard, made);
        extend = wants_step_now(trust, shard);
    }
    add_reference(trust, shard, ref ? ref : made, reference);
    tmem_unlock(&shard->lock);
    if (ref) {
        tmem_heap_free(trust->heap->arena, made);
    }
    if (extend) {
        extend_table(trust, shard);
    }
    return TMEM_STATUS_OK;
}

void tmem_trust_drop(TmemTrust *trust, const TmemReference *reference)
{
    TmemTrustShard *shard = shard_of(trust, reference->hash);
    TmemContent *content;
    TmemRef ref;

    tmem_lock(&shard->lock);
    ref = find_content(trust, shard, reference);
    if (ref) {
        content = content_at(trust, ref);
        if (content->nr_refs > 1) {
            content->nr_refs--;
            shard->levels.references--;
            shard->levels.saved_bytes -= slot_bytes(trust, ref);
        } else {
            forget_content(trust, shard, ref);
            /* Its own hash may have gone bad. */
            unlink_content(trust, shard, reference->hash, ref);
            tmem_heap_free(trust->heap->arena, ref);
            fit_table(trust, shard);
        }
    }
    tmem_unlock(&shard->lock);
}

bool tmem_trust_read(TmemTrust *trust, const TmemReference *reference,
                     TmemContentSeen *seen, void *data)
{
    TmemTrustShard *shard = shard_of(trust, reference->hash);
    TmemRef ref;

    tmem_assert_unlocked();
    tmem_lock(&shard->lock);
    ref = find_content(trust, shard, reference);
    if (ref) {
        TmemContent *content = content_at(trust, ref);

        content->is_damaged |= !fits_slot(trust, ref);
        *seen = (TmemContentSeen) {
            .kind = content->kind,
            .len = content->is_damaged ? 0 : content->len,
            .checksum = content->checksum,
            .is_damaged = content->is_damaged,
        };
        memcpy(data, content->data, seen->len);
        tmem_arena_note_hit(trust->heap->arena, ref);
    }
    tmem_unlock(&shard->lock);
    return ref;
}

void tmem_trust_quarantine(TmemTrust *trust, const TmemReference *reference)
{
    TmemTrustShard *shard = shard_of(trust, reference->hash);
    TmemRef ref;

    tmem_lock(&shard->lock);
    ref = find_content(trust, shard, reference);
    if (ref) {
        content_at(trust, ref)->is_damaged = true;
    }
    tmem_unlock(&shard->lock);
}

/* --- Compaction --- */

/* What one hold of a shard's lock moves: about what a store copies. */
#define MOVES_MAX   4

/*
 * Shard locked: the content at @ref, which comes after @before, gets a slot
 * that is not larger in the segments that the heap has.  0: there is none, or
 * it cannot be told how much to copy, and it stays for its last reference.
 */
static TmemRef move_content(TmemTrust *trust, TmemTrustShard *shard,
                            TmemRef ref, TmemRef *chain, TmemContent *before)
{
    TmemArena *arena = trust->heap->arena;
    TmemContent *from = content_at(trust, ref);
    TmemTrustLevels *levels = &shard->levels;
    size_t bytes = sizeof(*from) + from->len;
    int64_t less;
    TmemRef to;

    if (!fits_slot(trust, ref)) {
        from->is_damaged = true;
        return 0;
    }
    to = tmem_heap_alloc_inside(trust->heap, TMEM_SPACE_EPHEMERAL, bytes,
                                false);
    if (!to) {
        return 0;
    }
    less = slot_bytes(trust, ref) - slot_bytes(trust, to);
    if (less < 0) {
        tmem_heap_free(arena, to);
        return 0;
    }
    memcpy(content_at(trust, to), from, bytes);
    tmem_owner_write(tmem_slot_owner(arena, to),
                     tmem_owner_read(tmem_slot_owner(arena, ref)));
    levels->data_bytes -= less;
    levels->saved_bytes -= (from->nr_refs - 1) * less;
    if (before) {
        before->next = to;
    } else {
        *chain = to;
    }
    tmem_heap_free(arena, ref);
    return to;
}

/* Shard locked: moves some of a chain.  Returns how many were moved. */
static unsigned move_some(TmemTrust *trust, TmemTrustShard *shard,
                          TmemRef *chain)
{
    TmemContent *before = NULL;
    TmemRef ref = *chain;
    unsigned nr = 0;

    while (ref && nr < MOVES_MAX) {
        if (tmem_arena_draining(trust->heap->arena, ref)) {
            TmemRef to = move_content(trust, shard, ref, chain, before);

            ref = to ? to : ref;
            nr += to != 0;
        }
        before = content_at(trust, ref);
        ref = before->next;
    }
    return nr;
}

bool tmem_trust_compact(TmemTrust *trust, unsigned shard_nr, uint32_t bucket)
{
    TmemTrustShard *shard = &trust->shards[shard_nr];
    unsigned nr;
    bool exists;

    do {
        tmem_lock(&shard->lock);
        exists = bucket < shard->nr_buckets;
        nr = exists ? move_some(trust, shard, &shard->buckets[bucket]) : 0;
        tmem_unlock(&shard->lock);
    } while (nr >= MOVES_MAX);
    tmem_arena_trim(trust->heap->arena);
    return exists;
}

/* --- Eviction, and the end --- */

void tmem_trust_evict(TmemTrust *trust, TmemVictim *victim, uint32_t i)
{
    const uint64_t *word = tmem_victim_owner(victim, i);
    TmemRef ref = tmem_victim_slot(victim, i);
    uint64_t owner = tmem_owner_read(word);
    TmemTrustShard *shard;

    /* Free, not published yet, or memory that went bad. */
    if (tmem_owner_type(owner) != TMEM_OWNER_CONTENT ||
        tmem_owner_shard(owner) >= trust->nr_shards) {
        return;
    }
    shard = &trust->shards[tmem_owner_shard(owner)];
    tmem_lock(&shard->lock);
    /* With the lock of the shard that it names the word is the truth. */
    if (tmem_owner_read(word) == owner &&
        unlink_content(trust, shard, content_at(trust, ref)->hash, ref)) {
        forget_content(trust, shard, ref);
        tmem_victim_free(victim, i);
        fit_table(trust, shard);
        __atomic_fetch_add(&trust->client->gone.group_evicted, 1,
                           __ATOMIC_RELAXED);
    }
    tmem_unlock(&shard->lock);
}

void tmem_trust_clear(TmemTrust *trust)
{
    for (unsigned i = 0; i < trust->nr_shards; i++) {
        TmemTrustShard *shard = &trust->shards[i];

        tmem_lock(&shard->lock);
        while (shard->nr_buckets) {
            TmemRef *chain = &shard->buckets[shard->nr_buckets - 1];
            TmemRef ref = *chain;

            if (ref) {
                *chain = content_at(trust, ref)->next;
                forget_content(trust, shard, ref);
                tmem_heap_free(trust->heap->arena, ref);
            } else {
                table_shrink(trust, shard);
            }
        }
        tmem_unlock(&shard->lock);
    }
}

/* --- Statistics, and cross-checking --- */

void tmem_trust_levels(TmemTrust *trust, TmemTrustLevels *sum)
{
    memset(sum, 0, sizeof(*sum));
    for (unsigned i = 0; i < trust->nr_shards; i++) {
        TmemTrustShard *shard = &trust->shards[i];

        tmem_lock(&shard->lock);
        sum->contents += shard->levels.contents;
        sum->references += shard->levels.references;
        sum->data_bytes += shard->levels.data_bytes;
        sum->saved_bytes += shard->levels.saved_bytes;
        tmem_unlock(&shard->lock);
    }
}

uint64_t tmem_trust_tables_bytes(const TmemTrust *trust)
{
    uint64_t steps = 0;

    for (unsigned i = 0; i < trust->nr_shards; i++) {
        steps += trust->shards[i].paid_buckets / trust->buckets_step;
    }
    return steps * step_bytes(trust);
}
