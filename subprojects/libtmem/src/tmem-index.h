/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: the index from (pool, object, index) to entries
 *
 * A *node* covers 64 neighbouring pages of an object: a bitmap says which are
 * held, a packed array has one entry for each of these (a single entry lies in
 * the node itself).  Nodes are found through a hash table; so dense objects
 * cost about 10 bytes a page, a page alone in its object costs one node, and
 * depth does not depend on the index.
 *
 * One node of each object is its *head*, whatever 64 pages it covers.  It is
 * hashed by (pool, object), the object's other nodes (its siblings) by (pool,
 * object, index / 64).  The head holds the list of siblings and is itself on
 * the list of its pool's objects.  When it becomes empty, the first sibling
 * takes its place.
 *
 * Hash: SipHash with a random key; a guest cannot choose handles that collide.
 * The table of each shard grows and shrinks one bucket at a time (linear
 * hashing), so no operation pays for a rehash of everything; if there is no
 * memory to grow, chains get longer and nothing fails.
 *
 * All of an object lies in one shard.  The shard's lock guards its table, its
 * nodes, their arrays, and the records that they refer to.
 */
#ifndef TMEM_INDEX_H
#define TMEM_INDEX_H

#include "tmem-arena.h"
#include "tmem-entry.h"
#include "tmem-heap.h"
#include "tmem-lock.h"
#include "tmem-pool.h"

#define TMEM_NODE_PAGES_SHIFT   6
#define TMEM_NODE_PAGES         (1u << TMEM_NODE_PAGES_SHIFT)

/* Twice these: at a million long drops a second they last for nine years. */
#define TMEM_BIRTH_BITS         (64 - TMEM_REF_BITS)

typedef struct TmemNode {
    uint64_t owner;         /* owner word of the slot */
    TmemRef next;           /* in the hash chain */
    TmemPool *pool;
    uint64_t object[3];
    uint64_t base;          /* index / 64 */
    uint64_t bitmap;        /* pages held */

    uint64_t entries;       /* capacity 1: the entry; else TmemRef of array */
    uint8_t capacity;       /* entries that fit */
    bool is_head;
    uint16_t walked;        /* the last pass of upkeep that came here */
    uint32_t nr_siblings;   /* of a head */

    /*
     * A head's place in the pool's list of objects, guarded by the pool's
     * lock; another node's place in its head's list of siblings.
     */
    TmemRef prev;
    TmemRef following;
    /*
     * Of a head: the siblings, oldest first; the head is older than these.
     * Beside, as there is room: tmem_node_birth().
     */
    TmemRef sibling_first:TMEM_REF_BITS;
    uint64_t birth_low:TMEM_BIRTH_BITS;
    TmemRef sibling_last:TMEM_REF_BITS;
    uint64_t birth_high:TMEM_BIRTH_BITS;
} TmemNode;

/**
 * tmem_node_birth() - when the node was made, in drops of objects
 *
 * What TmemShard.nr_drops was then.
 */
static inline uint64_t tmem_node_birth(const TmemNode *node)
{
    return (uint64_t)node->birth_high << TMEM_BIRTH_BITS | node->birth_low;
}

static inline void tmem_node_set_birth(TmemNode *node, uint64_t birth)
{
    node->birth_low = birth;
    node->birth_high = birth >> TMEM_BIRTH_BITS;
}

/* An array of entries; as a slot of the arena it starts with an owner word. */
typedef struct TmemArray {
    uint64_t owner;
    TmemEntry entry[];
} TmemArray;

typedef struct TmemShard {
    _Alignas(64) TmemLock lock;     /* cache lines of its own */
    uint32_t nr;
    uint32_t nr_buckets;
    uint64_t nr_nodes;
    uint64_t nr_drops;      /* of objects, that took more than one hold */
    TmemRef *buckets;       /* tmem_shard_chain() */
    uint8_t step_shift;
    uint8_t stride_shift;
    uint8_t generation;     /* of entries */
} TmemShard;

/* The bucket of @hash in a linear hash table of @nr_buckets. */
static inline uint32_t tmem_bucket_of(uint32_t nr_buckets, uint64_t hash)
{
    /* The largest power of two that is not above nr_buckets. */
    uint32_t half = 1u << (31 - __builtin_clz(nr_buckets));
    uint32_t bucket = hash & (2 * (uint64_t)half - 1);

    return bucket < nr_buckets ? bucket : bucket - half;
}

/**
 * tmem_shard_chain() - the first node of a bucket's chain
 *
 * The tables of all shards lie in one address range, a page of each in turn, so
 * that all of it that is in use lies close together: an operation starts with a
 * bucket, and where these are spread over the address space, finding out where
 * they are in memory costs more than reading them.
 */
static inline TmemRef *tmem_shard_chain(const TmemShard *shard,
                                        uint32_t bucket)
{
    size_t step = bucket >> shard->step_shift;

    return &shard->buckets[(step << shard->stride_shift) +
                           (bucket & ((1u << shard->step_shift) - 1))];
}

typedef struct TmemIndex {
    TmemArena *arena;
    uint64_t hash_key[2];
    uint32_t nr_shards;
    /* Buckets come and go in a table by this many, a page of the host's. */
    uint32_t buckets_step;
    uint32_t buckets_max;   /* per shard */
    TmemRef *tables;
    size_t tables_bytes;
    TmemShard shards[TMEM_SHARDS_MAX];
} TmemIndex;

/* A handle, resolved and hashed. */
typedef struct TmemKey {
    TmemPool *pool;
    uint64_t object[3];
    uint64_t base;
    unsigned pos;
    TmemShard *shard;
    uint64_t hash_head;
    uint64_t hash_node;
} TmemKey;

/**
 * tmem_key_hash() - where to look first
 *
 * The head is the oldest node of an object.  Most objects are filled from their
 * beginning, so it is the one with the first pages, and no other.
 */
static inline uint64_t tmem_key_hash(const TmemKey *key)
{
    return key->base ? key->hash_node : key->hash_head;
}

bool tmem_index_init(TmemIndex *index, TmemArena *arena,
                     const uint64_t hash_key[2], GError **errp);
void tmem_index_destroy(TmemIndex *index);

/** Fills @key.  @hash_id is what tmem_pool_hash_id() said of @pool. */
void tmem_index_key(TmemIndex *index, TmemPool *pool, uint64_t hash_id,
                    const uint64_t object[3], uint64_t page_index,
                    TmemKey *key);

/* --- All functions below: the key's shard is locked --- */

/** The node that covers @key, or NULL. */
TmemNode *tmem_index_find(TmemIndex *index, const TmemKey *key);

/** The entry at @pos, or NULL if none is held there. */
TmemEntry *tmem_node_entry(TmemIndex *index, TmemNode *node, unsigned pos);

/** Notes that @node, of an ephemeral pool, is in use: see TmemSegment.hits. */
void tmem_node_note_hit(TmemIndex *index, const TmemNode *node);

/** The capacity of a node for @nr entries, 1 ... TMEM_NODE_PAGES. */
unsigned tmem_index_capacity(unsigned nr);

static inline size_t tmem_index_array_bytes(unsigned capacity)
{
    return sizeof(TmemArray) + capacity * sizeof(TmemEntry);
}

/** Whether one more entry fits @node as it is. */
static inline bool tmem_node_has_room(const TmemNode *node)
{
    return __builtin_popcountll(node->bitmap) < node->capacity;
}

/* Room for one more entry, made but not yet in the index. */
typedef struct TmemRoom {
    TmemNode *node;         /* that covers the key; NULL: new_node will */
    TmemRef new_node;
    TmemRef new_array;
    uint8_t new_capacity;
    int64_t bytes;          /* by which the index grows */
} TmemRoom;

/**
 * tmem_index_make_room() - get the memory for an entry at @key
 * @heap: where from
 * @node: what tmem_index_find() returned; no entry may be at the key's place
 * @inside: only from memory that the heap has; else QUOTA
 *
 * Changes nothing that anyone can see.  Returns OK, QUOTA or NOSPC.
 */
TmemStatus tmem_index_make_room(TmemIndex *index, const TmemKey *key,
                                TmemHeap *heap, TmemNode *node, bool inside,
                                bool any_class, TmemRoom *room);

/** Gives back what tmem_index_make_room() got. */
void tmem_index_cancel_room(TmemIndex *index, TmemRoom *room);

/** Enters @entry at @key, using @room.  Cannot fail. */
void tmem_index_insert(TmemIndex *index, const TmemKey *key, TmemRoom *room,
                       TmemEntry entry, TmemDelta *delta);

/** Changes the entry at @key, freeing the record of the old one. */
void tmem_index_replace(TmemIndex *index, TmemNode *node, unsigned pos,
                        TmemEntry entry, TmemDelta *delta);

/** The record of @entry, NULL if it has none. */
void *tmem_index_record(TmemIndex *index, TmemEntry entry);

/** Whether the record of @entry, if it has one, is in the arena. */
static inline bool tmem_index_in_arena(const TmemArena *arena, TmemEntry entry)
{
    TmemRef ref = tmem_entry_ref(entry);

    return tmem_entry_kind(entry) == TMEM_KIND_FILL32 ||
           (ref && ((ref - 1) << TMEM_UNIT_SHIFT) + TMEM_RECORD_HEADER +
                   tmem_entry_len(entry) <=
                   (uint64_t)arena->nr_segments << arena->segment_shift);
}

/** Writes a record of @len bytes of @data for the page with that seed. */
void tmem_index_write_record(TmemIndex *index, TmemRef ref, const void *data,
                             uint32_t len, uint64_t seed);

/**
 * tmem_index_slot() - the slot of @entry's record
 * @entry: of @node, at @pos
 *
 * Shard locked.  0: it has none, or the entry went bad, and names what is no
 * slot of this very page: nothing may be written there, nor given back, nor
 * believed, as an older copy of the page has the right checksum, too.
 */
TmemRef tmem_index_slot(const TmemIndex *index, const TmemNode *node,
                        unsigned pos, TmemEntry entry);

/** Whether @entry, of @node, at @pos, has all that a page consists of. */
static inline bool tmem_index_is_whole(const TmemIndex *index,
                                       const TmemNode *node, unsigned pos,
                                       TmemEntry entry)
{
    return tmem_entry_kind(entry) == TMEM_KIND_FILL32 ||
           tmem_index_slot(index, node, pos, entry);
}

/**
 * tmem_index_still() - is the page at @pos what was seen there?
 * @seen: the entry, whatever its age
 * @checksum: of its record, and @data a copy of what is in it
 *
 * Compares all of it: entry and place may be those of another page by now.
 */
bool tmem_index_still(TmemIndex *index, TmemNode *node, unsigned pos,
                      TmemEntry seen, uint32_t checksum, const void *data);

/** Marks the page at @pos as damaged if it still is what was seen there. */
void tmem_index_quarantine(TmemIndex *index, TmemNode *node, unsigned pos,
                           TmemEntry seen, uint32_t checksum,
                           const void *data, TmemDelta *delta);

/**
 * tmem_index_exchange() - give the page at @pos, which has a record, another
 *
 * As tmem_index_replace(), but nobody used the page: eviction is not told.
 */
void tmem_index_exchange(TmemIndex *index, TmemNode *node, unsigned pos,
                         TmemEntry entry, TmemDelta *delta);

/**
 * tmem_index_remove() - drop the page at @pos of @node
 *
 * Frees record, array, node and object as they become empty.
 */
void tmem_index_remove(TmemIndex *index, TmemShard *shard, TmemNode *node,
                       unsigned pos, TmemDelta *delta);

/**
 * tmem_index_evict() - drop the page at @pos, whose record is in a victim
 *
 * As tmem_index_remove(), but the record's slot is the caller's to free.
 */
void tmem_index_evict(TmemIndex *index, TmemShard *shard, TmemNode *node,
                      unsigned pos, TmemDelta *delta);

/** Drops all pages of @node, which is freed. */
void tmem_index_remove_node(TmemIndex *index, TmemShard *shard,
                            TmemNode *node, TmemDelta *delta);

/** The head of the key's object, or NULL. */
TmemNode *tmem_index_find_head(TmemIndex *index, const TmemKey *key);

/*
 * In a shared pool each member has nodes of its own for what it stored, all
 * under one hash.  A page is held by one of them at most.
 */

/** The node of any member that holds the key's page, or NULL. */
TmemNode *tmem_index_find_holder(TmemIndex *index, const TmemKey *key);

/**
 * tmem_index_find_older_head() - a head of the key's object, of any member
 *
 * One that was made before tmem_node_birth() became @birth; or NULL: then none
 * of the object's nodes is as old.
 */
TmemNode *tmem_index_find_older_head(TmemIndex *index, const TmemKey *key,
                                     uint64_t birth);

/** The hash by which @node is found, for tmem_store_check(). */
uint64_t tmem_index_node_hash(TmemIndex *index, const TmemNode *node,
                              uint32_t *shard);
uint32_t tmem_shard_bucket(const TmemShard *shard, uint64_t hash);

/** Adds an entry's page to @delta @sign times (+1 or -1). */
void tmem_index_account(TmemIndex *index, TmemEntry entry, int sign,
                        TmemDelta *delta);

/** What a record's checksum is seeded with. */
uint64_t tmem_node_seed(const TmemNode *node, unsigned pos);

/** The same of a page that need not be there. */
static inline uint64_t tmem_page_seed(uint64_t hash_id, const uint64_t *object,
                                      uint64_t index)
{
    /* Odd, and different: the same words in other places are another page. */
    return hash_id ^ object[0] * 0x9e3779b97f4a7c15ull ^
           object[1] * 0xbf58476d1ce4e5b9ull ^
           object[2] * 0x94d049bb133111ebull ^ index;
}

#endif /* TMEM_INDEX_H */
