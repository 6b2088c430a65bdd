/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: what the index knows about a page, and what lies in the arena
 *
 * An entry is 8 bytes:
 *
 *   bits  0-39  TmemRef of the record; FILL32: the repeated 32-bit word
 *   bits 40-51  bytes of encoded data; 0 for a raw page and for FILL32
 *   bits 52-54  kind, never 0
 *   bit  55     damaged: found unreadable; answers IO until dropped
 *   bits 56-61  generation: differs between successive stores in a shard
 *   bits 62-63  age: how often the walker passed since the last store or load;
 *               the last one also says that it has seen to the page
 *
 * A record is a slot of the arena: checksum (4 bytes), tag (2 bytes), data.
 *
 * Memory may go bad.  A record is known by its checksum; an entry by what it
 * leads to: a kind or a length that is not the record's does not match the
 * checksum, or is refused before that.  What has no record has no checksum
 * either: the word of FILL32.
 *
 * A place is believed only where the slot says that it is this page's: in an
 * ephemeral space by the owner word, in the persistent one by the tag, which is
 * made of the handle and is 0 in a slot that is free.  What an older version of
 * the page left in some place has the right checksum, too; and before a record
 * is written over or given back, the checksum would cost reading all of it.
 *
 * The owner word of a slot of an ephemeral space (see tmem-heap.h for where it
 * lies) is how eviction, which walks segments, finds the index node that refers
 * to the slot:
 *
 *   bits  0-39  TmemRef of the node
 *   bits 40-45  the page's position in the node, for a record
 *   bits 46-57  shard
 *   bits 58-60  TmemOwnerType; 0: free, or not published yet
 *
 * It changes between 0 and another value only under the lock of that shard.
 */
#ifndef TMEM_ENTRY_H
#define TMEM_ENTRY_H

#include <glib.h>
#include <stdint.h>

#include "libtmem/tmem.h"
#include "tmem-arena.h"

typedef uint64_t TmemEntry;

typedef enum TmemKind {
    TMEM_KIND_NONE,
    TMEM_KIND_FILL32,   /* one 32-bit word repeated; no record */
    TMEM_KIND_FILL64,   /* one 64-bit word repeated; the record holds it */
    TMEM_KIND_LZ4,
    TMEM_KIND_RAW,
    TMEM_KIND_ZSTD,
    TMEM_KIND_TIER,     /* reserved: the page is not in memory (D16) */
    TMEM_KIND_SHARED,   /* the record says what of the trust group's it is */
} TmemKind;

#define TMEM_ENTRY_LEN_SHIFT    40
#define TMEM_ENTRY_KIND_SHIFT   52
#define TMEM_ENTRY_DAMAGED      (1ull << 55)
#define TMEM_ENTRY_GEN_SHIFT    56
#define TMEM_ENTRY_GEN_MASK     63
#define TMEM_ENTRY_AGE_SHIFT    62
#define TMEM_ENTRY_AGE_MASK     (3ull << TMEM_ENTRY_AGE_SHIFT)
#define TMEM_AGE_IDLE           2   /* old enough to be compressed again */
#define TMEM_AGE_DONE           3   /* that was done, or was not worth it */

G_STATIC_ASSERT(TMEM_REF_BITS == TMEM_ENTRY_LEN_SHIFT);
/* The length of a compressed page fits its 12 bits. */
G_STATIC_ASSERT(TMEM_PAGE_SIZE <= 1u << (TMEM_ENTRY_KIND_SHIFT -
                                         TMEM_ENTRY_LEN_SHIFT));

static inline TmemEntry tmem_entry_make(TmemKind kind, uint64_t ref_or_word,
                                        uint32_t len, uint8_t generation)
{
    return ref_or_word |
           (uint64_t)(len & (TMEM_PAGE_SIZE - 1)) << TMEM_ENTRY_LEN_SHIFT |
           (uint64_t)kind << TMEM_ENTRY_KIND_SHIFT |
           (uint64_t)(generation & TMEM_ENTRY_GEN_MASK) << TMEM_ENTRY_GEN_SHIFT;
}

static inline TmemKind tmem_entry_kind(TmemEntry e)
{
    return e >> TMEM_ENTRY_KIND_SHIFT & 7;
}

/* Bytes of data in the record; 0 if there is none. */
static inline uint32_t tmem_entry_len(TmemEntry e)
{
    return tmem_entry_kind(e) == TMEM_KIND_RAW ? TMEM_PAGE_SIZE :
           e >> TMEM_ENTRY_LEN_SHIFT & (TMEM_PAGE_SIZE - 1);
}

/* The record's place; 0 if there is none. */
static inline TmemRef tmem_entry_ref(TmemEntry e)
{
    return tmem_entry_kind(e) == TMEM_KIND_FILL32 ? 0 :
           e & ((1ull << TMEM_REF_BITS) - 1);
}

static inline uint32_t tmem_entry_word32(TmemEntry e)
{
    return e;
}

static inline unsigned tmem_entry_age(TmemEntry e)
{
    return e >> TMEM_ENTRY_AGE_SHIFT;
}

static inline uint8_t tmem_entry_generation(TmemEntry e)
{
    return e >> TMEM_ENTRY_GEN_SHIFT & TMEM_ENTRY_GEN_MASK;
}

/* @e with another age; what was just stored or loaded has age 0. */
static inline TmemEntry tmem_entry_aged(TmemEntry e, unsigned age)
{
    return (e & ~TMEM_ENTRY_AGE_MASK) | (uint64_t)age << TMEM_ENTRY_AGE_SHIFT;
}

/* --- Records --- */

#define TMEM_RECORD_TAG     sizeof(uint32_t)
#define TMEM_RECORD_HEADER  (TMEM_RECORD_TAG + sizeof(uint16_t))

static inline uint32_t *tmem_record_checksum(void *record)
{
    return record;
}

static inline void *tmem_record_data(void *record)
{
    return (uint8_t *)record + TMEM_RECORD_HEADER;
}

/* The tag of the page with that seed (tmem_page_seed()); never 0. */
static inline uint16_t tmem_tag_of_seed(uint64_t seed)
{
    uint16_t tag = seed * 0x9e3779b97f4a7c15ull >> 48;

    return tag ? tag : 1;
}

/* Atomic: an entry that went bad looks at what is another shard's. */
static inline uint16_t tmem_record_tag(const void *record)
{
    return __atomic_load_n((const uint16_t *)((const uint8_t *)record +
                                              TMEM_RECORD_TAG),
                           __ATOMIC_RELAXED);
}

static inline void tmem_record_set_tag(void *record, uint16_t tag)
{
    __atomic_store_n((uint16_t *)((uint8_t *)record + TMEM_RECORD_TAG), tag,
                     __ATOMIC_RELAXED);
}

/* --- Owner words --- */

typedef enum TmemOwnerType {
    TMEM_OWNER_NONE,
    TMEM_OWNER_RECORD,
    TMEM_OWNER_ARRAY,
    TMEM_OWNER_NODE,
    TMEM_OWNER_CONTENT,     /* of a trust group: the shard is one of its */
} TmemOwnerType;

#define TMEM_SHARDS_MAX     64

static inline uint64_t tmem_owner_make(TmemOwnerType type, uint32_t shard,
                                       unsigned pos, TmemRef node)
{
    return (uint64_t)type << 58 | (uint64_t)shard << 46 |
           (uint64_t)pos << 40 | node;
}

static inline TmemOwnerType tmem_owner_type(uint64_t owner)
{
    return owner >> 58;
}

static inline uint32_t tmem_owner_shard(uint64_t owner)
{
    return owner >> 46 & 0xfff;
}

static inline unsigned tmem_owner_pos(uint64_t owner)
{
    return owner >> 40 & 63;
}

static inline TmemRef tmem_owner_node(uint64_t owner)
{
    return owner & ((1ull << TMEM_REF_BITS) - 1);
}

static inline uint64_t tmem_owner_read(const void *slot)
{
    return __atomic_load_n((const uint64_t *)slot, __ATOMIC_RELAXED);
}

static inline void tmem_owner_write(void *slot, uint64_t owner)
{
    __atomic_store_n((uint64_t *)slot, owner, __ATOMIC_RELAXED);
}

#endif /* TMEM_ENTRY_H */
