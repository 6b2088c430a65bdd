/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: trust groups, which keep equal ephemeral pages once
 *
 * To the store a group is a client without a guest.  What is kept for its
 * members are *contents*: encoded pages, each in a slot of the group's heap, so
 * that limits, shares and eviction apply to them as to any client's pages.  The
 * page of a member is an entry like others, whose record, in the member's own
 * heap, is a *reference*: which content it is.
 *
 * Equal are pages of the same kind and the same encoded bytes, all of which are
 * compared; the hash only says where to look.  A content counts its references
 * and goes with the last.  It may also be evicted before: then references lead
 * nowhere, which a load finds out and which is a miss.  An id is never used
 * again, so that a reference leads to what it was made for or to nothing.
 *
 * The table of contents is made as that of the index is: chains in buckets that
 * come and go one at a time.  The hash has a key that guests do not know.
 *
 * A content is a slot of the arena:
 *
 *   hash (8), id (8), next in the chain, kind and length (8), references (4),
 *   checksum (4), data
 *
 * and has an owner word, as records have, which says that it is one.
 *
 * Locks.  A shard's lock guards its table and its contents.  A shard of the
 * index may be locked; none is taken while one of contents is.
 */
#ifndef TMEM_TRUST_H
#define TMEM_TRUST_H

#include "tmem-codec.h"
#include "tmem-heap.h"
#include "tmem-lock.h"

#define TMEM_TRUST_SHARDS_MAX   16

/*
 * Shorter pages are kept by each member: what a reference and a content take
 * beside what a record would is 68 bytes.
 */
#define TMEM_TRUST_BYTES_MIN    256

/* What a record of TMEM_KIND_SHARED consists of. */
typedef struct TmemReference {
    uint64_t hash;
    uint64_t id;
} TmemReference;

/** Whether the page is one that a trust group keeps, as far as one can see. */
static inline bool tmem_trust_is_reference(TmemEntry entry)
{
    return tmem_entry_kind(entry) == TMEM_KIND_SHARED &&
           tmem_entry_len(entry) == sizeof(TmemReference);
}

typedef struct TmemContent {
    uint64_t hash;
    uint64_t id;
    TmemRef next:TMEM_REF_BITS;
    uint64_t kind:3;
    uint64_t is_damaged:1;      /* found unreadable */
    uint64_t len:13;
    uint32_t nr_refs;
    uint32_t checksum;
    uint8_t data[];
} TmemContent;

G_STATIC_ASSERT(sizeof(TmemContent) == 32);
G_STATIC_ASSERT(sizeof(TmemContent) + TMEM_PAGE_SIZE <= TMEM_SLOT_BYTES_MAX);

typedef struct TmemTrustLevels {
    uint64_t contents;
    uint64_t references;
    uint64_t data_bytes;        /* of contents, as allocated */
    uint64_t saved_bytes;       /* the same of references beyond the first */
} TmemTrustLevels;

typedef struct TmemTrustShard {
    _Alignas(64) TmemLock lock;
    uint32_t nr_buckets;
    uint32_t paid_buckets;      /* whole steps; not fewer than there are */
    TmemRef *buckets;
    TmemTrustLevels levels;
} TmemTrustShard;

struct TmemTrust {
    TmemClient *client;         /* that the group is */
    TmemHeap *heap;             /* the client's */
    uint32_t nr_members;        /* atomic */
    uint32_t nr_shards;
    uint32_t buckets_step;      /* as many come and go in a table, and stay */
    uint32_t buckets_max;       /* of a shard */
    TmemRef *tables;
    size_t tables_bytes;
    TmemTrustShard shards[TMEM_TRUST_SHARDS_MAX];
};

/**
 * tmem_trust_new() - make a group without contents
 * @client: that it is to be, new, with a store, a name and a heap
 *
 * Returns NULL and sets @errp without memory or address space.
 */
TmemTrust *tmem_trust_new(TmemClient *client, GError **errp);

/** Drops what is left, and its tables, before the heap goes: for the end. */
void tmem_trust_clear(TmemTrust *trust);

/** Frees an empty group, after its heap, which evictors may still be at. */
void tmem_trust_free(TmemTrust *trust);

/** One member more, or less; nothing if @trust is NULL. */
static inline void tmem_trust_count_member(TmemTrust *trust, int by)
{
    if (trust) {
        __atomic_fetch_add(&trust->nr_members, by, __ATOMIC_RELAXED);
    }
}

/** Whether a page that became @enc is one to be kept once. */
static inline bool tmem_trust_takes(const TmemEncoded *enc)
{
    return enc->len >= TMEM_TRUST_BYTES_MIN;
}

/**
 * tmem_trust_keep() - one more reference to the content that @enc is
 * @any_class: see tmem_heap_alloc()
 *
 * Makes the content if there is none.  No lock held.  Returns OK; or QUOTA or
 * NOSPC, having done nothing.
 */
TmemStatus tmem_trust_keep(TmemTrust *trust, const TmemEncoded *enc,
                           bool any_class, TmemReference *reference);

/** One reference less.  A shard of the index may be locked. */
void tmem_trust_drop(TmemTrust *trust, const TmemReference *reference);

/* A content as it was read. */
typedef struct TmemContentSeen {
    TmemKind kind;
    uint32_t len;
    uint32_t checksum;
    bool is_damaged;
} TmemContentSeen;

/**
 * tmem_trust_read() - copy a content to @data, which has room for a page
 *
 * No lock held.  Returns false if it was evicted.
 */
bool tmem_trust_read(TmemTrust *trust, const TmemReference *reference,
                     TmemContentSeen *seen, void *data);

/**
 * tmem_trust_quarantine() - remember that a content cannot be read
 *
 * Nobody else is led to it any more; whoever was, finds it damaged.
 */
void tmem_trust_quarantine(TmemTrust *trust, const TmemReference *reference);

/** What the checksum of a content is seeded with. */
static inline uint64_t tmem_content_seed(const TmemReference *reference)
{
    return reference->hash ^ reference->id * 0x9e3779b97f4a7c15ull;
}

/**
 * tmem_trust_evict() - drop the content in the @i-th slot of a victim, if any
 *
 * No lock held; others may just be dropping it.
 */
void tmem_trust_evict(TmemTrust *trust, TmemVictim *victim, uint32_t i);

/**
 * tmem_trust_compact() - move contents out of marked segments
 *
 * Those of one bucket of a shard; see tmem-compact.h.  Returns false if there
 * is no such bucket.
 */
bool tmem_trust_compact(TmemTrust *trust, unsigned shard_nr, uint32_t bucket);

/** Sums up the levels; any thread. */
void tmem_trust_levels(TmemTrust *trust, TmemTrustLevels *sum);

/* --- For tmem_store_check(), with all of the group's shards locked --- */

/** The shard of a hash; buckets use the low bits, shards high ones. */
static inline unsigned tmem_trust_shard(const TmemTrust *trust, uint64_t hash)
{
    return hash >> 48 & (trust->nr_shards - 1);
}

/** What the tables are charged. */
uint64_t tmem_trust_tables_bytes(const TmemTrust *trust);

/** The hash that a content of that kind and these bytes has. */
uint64_t tmem_trust_hash(const TmemTrust *trust, const TmemEncoded *enc);

#endif /* TMEM_TRUST_H */
