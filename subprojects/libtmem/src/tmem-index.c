/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: the index from (pool, object, index) to entries
 */
#include <string.h>

#include "tmem-client.h"
#include "tmem-codec.h"
#include "tmem-hash.h"
#include "tmem-hist.h"
#include "tmem-index.h"
#include "tmem-table.h"
#include "tmem-trust.h"

/* With its owner word an array of these capacities fills whole units. */
static const uint8_t array_capacity[] = { 1, 3, 7, 15, 31, 47, 64 };

/* --- Life --- */

bool tmem_index_init(TmemIndex *index, TmemArena *arena,
                     const uint64_t hash_key[2], GError **errp)
{
    memset(index, 0, sizeof(*index));
    index->arena = arena;
    memcpy(index->hash_key, hash_key, sizeof(index->hash_key));
    return tmem_table_init(index, errp);
}

void tmem_index_destroy(TmemIndex *index)
{
    tmem_table_destroy(index);
}

/* --- Keys --- */

static void hash_key(TmemIndex *index, uint64_t hash_id, TmemKey *key)
{
    TmemSip sip;

    tmem_sip_init(&sip, index->hash_key);
    tmem_sip_word(&sip, hash_id);
    tmem_sip_word(&sip, key->object[0]);
    tmem_sip_word(&sip, key->object[1]);
    tmem_sip_word(&sip, key->object[2]);
    key->hash_head = tmem_sip_end(sip, 4);
    tmem_sip_word(&sip, key->base);
    key->hash_node = tmem_sip_end(sip, 5);
    /* Buckets use the low bits, shards high ones. */
    key->shard = &index->shards[key->hash_head >> 48 &
                                (index->nr_shards - 1)];
}

void tmem_index_key(TmemIndex *index, TmemPool *pool, uint64_t hash_id,
                    const uint64_t object[3], uint64_t page_index,
                    TmemKey *key)
{
    key->pool = pool;
    memcpy(key->object, object, sizeof(key->object));
    key->base = page_index >> TMEM_NODE_PAGES_SHIFT;
    key->pos = page_index & (TMEM_NODE_PAGES - 1);
    hash_key(index, hash_id, key);
}

static void key_of_node(TmemIndex *index, const TmemNode *node, TmemKey *key)
{
    tmem_index_key(index, node->pool, node->pool->hash_id, node->object,
                   node->base << TMEM_NODE_PAGES_SHIFT, key);
}

uint64_t tmem_index_node_hash(TmemIndex *index, const TmemNode *node,
                              uint32_t *shard)
{
    TmemKey key;

    key_of_node(index, node, &key);
    if (shard) {
        *shard = key.shard->nr;
    }
    return node->is_head ? key.hash_head : key.hash_node;
}

uint64_t tmem_node_seed(const TmemNode *node, unsigned pos)
{
    return tmem_page_seed(node->pool->hash_id, node->object,
                          node->base << TMEM_NODE_PAGES_SHIFT | pos);
}

/* --- Finding nodes --- */

static bool same_object(const TmemNode *node, const TmemKey *key)
{
    return node->pool == key->pool && node->object[0] == key->object[0] &&
           node->object[1] == key->object[1] &&
           node->object[2] == key->object[2];
}

TmemNode *tmem_index_find_head(TmemIndex *index, const TmemKey *key)
{
    TmemNode *node = tmem_table_first(index, key->shard, key->hash_head);

    while (node && !(node->is_head && same_object(node, key))) {
        node = tmem_node_at(index, node->next);
    }
    return node;
}

/* The node that covers @key, unless that is the head. */
static TmemNode *find_sibling(TmemIndex *index, const TmemKey *key)
{
    TmemNode *node = tmem_table_first(index, key->shard, key->hash_node);

    while (node && !(!node->is_head && node->base == key->base &&
                     same_object(node, key))) {
        node = tmem_node_at(index, node->next);
    }
    return node;
}

TmemNode *tmem_index_find(TmemIndex *index, const TmemKey *key)
{
    TmemNode *node = NULL, *head;

    /* One look, not two, at most pages: see tmem_key_hash(). */
    if (tmem_key_hash(key) == key->hash_node) {
        node = find_sibling(index, key);
        if (node) {
            return node;
        }
    }
    head = tmem_index_find_head(index, key);
    if (head && head->base == key->base) {
        return head;
    }
    if (head && head->nr_siblings && tmem_key_hash(key) == key->hash_head) {
        node = find_sibling(index, key);
    }
    return node;
}

/* --- What the members of a shared pool have together --- */

static bool same_shared_object(const TmemNode *node, const TmemKey *key)
{
    return node->pool->hash_id == key->pool->hash_id &&
           node->object[0] == key->object[0] &&
           node->object[1] == key->object[1] &&
           node->object[2] == key->object[2];
}

static TmemNode *find_holder(TmemIndex *index, const TmemKey *key,
                             uint64_t hash)
{
    TmemNode *node = tmem_table_first(index, key->shard, hash);

    while (node && !(node->base == key->base &&
                     node->bitmap >> key->pos & 1 &&
                     same_shared_object(node, key))) {
        node = tmem_node_at(index, node->next);
    }
    return node;
}

TmemNode *tmem_index_find_holder(TmemIndex *index, const TmemKey *key)
{
    TmemNode *node = find_holder(index, key, key->hash_head);

    return node ? node : find_holder(index, key, key->hash_node);
}

TmemNode *tmem_index_find_older_head(TmemIndex *index, const TmemKey *key,
                                     uint64_t birth)
{
    TmemNode *node = tmem_table_first(index, key->shard, key->hash_head);

    while (node && !(node->is_head && tmem_node_birth(node) < birth &&
                     same_shared_object(node, key))) {
        node = tmem_node_at(index, node->next);
    }
    return node;
}

/* --- Entries of a node --- */

static unsigned rank_of(const TmemNode *node, unsigned pos)
{
    return __builtin_popcountll(node->bitmap & ((1ull << pos) - 1));
}

static TmemEntry *entries_of(TmemIndex *index, TmemNode *node)
{
    TmemArray *array;

    if (node->capacity == 1) {
        return &node->entries;
    }
    array = tmem_arena_ptr(index->arena, node->entries);
    return array->entry;
}

TmemEntry *tmem_node_entry(TmemIndex *index, TmemNode *node, unsigned pos)
{
    if (!(node->bitmap >> pos & 1)) {
        return NULL;
    }
    return entries_of(index, node) + rank_of(node, pos);
}

void tmem_index_write_record(TmemIndex *index, TmemRef ref, const void *data,
                             uint32_t len, uint64_t seed)
{
    void *record = tmem_arena_ptr(index->arena, ref);

    memcpy(tmem_record_data(record), data, len);
    tmem_record_set_tag(record, tmem_tag_of_seed(seed));
    *tmem_record_checksum(record) = tmem_codec_checksum(data, len, seed);
}

/* The owner word of a record. */
static uint64_t record_owner(const TmemNode *node, unsigned pos)
{
    return tmem_owner_make(TMEM_OWNER_RECORD, tmem_owner_shard(node->owner),
                           pos, tmem_node_ref(node));
}

/* Whether what lies in the client's slot at @ref is the page at @pos. */
static bool is_page_of_slot(const TmemArena *arena, const TmemNode *node,
                            unsigned pos, TmemRef ref)
{
    if (tmem_pool_id_space(node->pool->key) == TMEM_SPACE_PERSISTENT) {
        return tmem_record_tag(tmem_arena_ptr(arena, ref)) ==
               tmem_tag_of_seed(tmem_node_seed(node, pos));
    }
    return tmem_owner_read(tmem_slot_owner(arena, ref)) ==
           record_owner(node, pos);
}

TmemRef tmem_index_slot(const TmemIndex *index, const TmemNode *node,
                        unsigned pos, TmemEntry entry)
{
    const TmemArena *arena = index->arena;
    TmemRef ref = tmem_entry_ref(entry);
    size_t bytes = TMEM_RECORD_HEADER + tmem_entry_len(entry);
    bool is_slot;

    if (!ref) {
        return 0;
    }
    if (tmem_pool_id_space(node->pool->key) == TMEM_SPACE_PERSISTENT) {
        is_slot = tmem_heap_is_slot(arena, TMEM_SPACE_PERSISTENT, ref, bytes);
    } else {
        is_slot = tmem_heap_is_slot(arena, TMEM_SPACE_EPHEMERAL, ref, bytes) ||
                  tmem_heap_is_slot(arena, TMEM_SPACE_PROBATION, ref, bytes);
    }
    return is_slot && arena->segments[tmem_arena_segment_of(arena, ref)].heap ==
                      &node->pool->client->heap &&
           is_page_of_slot(arena, node, pos, ref) ? ref : 0;
}

void tmem_index_account(TmemIndex *index, TmemEntry entry, int sign,
                        TmemDelta *delta)
{
    TmemRef ref = tmem_entry_ref(entry);
    uint32_t len = tmem_entry_len(entry);

    delta->pages += sign;
    /* An entry that went bad may say 0 bytes. */
    if (ref && len && tmem_entry_kind(entry) != TMEM_KIND_FILL64 &&
        tmem_entry_kind(entry) != TMEM_KIND_SHARED) {
        delta->sizes[tmem_size_bucket(len)] += sign;
    }
    switch (tmem_entry_kind(entry)) {
    case TMEM_KIND_ZSTD:
        delta->pages_zstd += sign;
        /* fall through */
    case TMEM_KIND_LZ4:
        delta->pages_compressed += sign;
        delta->stored_bytes += sign * (int64_t)tmem_entry_len(entry);
        break;
    case TMEM_KIND_RAW:
        delta->pages_raw += sign;
        delta->stored_bytes += sign * (int64_t)tmem_entry_len(entry);
        break;
    case TMEM_KIND_SHARED:
        delta->pages_shared += sign;
        break;
    default:
        delta->pages_same_filled += sign;
        break;
    }
    if (entry & TMEM_ENTRY_DAMAGED) {
        delta->pages_damaged += sign;
    }
    if (ref && tmem_index_in_arena(index->arena, entry)) {
        delta->data_bytes +=
            sign * (int64_t)tmem_arena_slot_bytes(index->arena, ref);
    }
}

void tmem_node_note_hit(TmemIndex *index, const TmemNode *node)
{
    tmem_arena_note_hit(index->arena, tmem_node_ref(node));
    if (node->capacity > 1) {
        tmem_arena_note_hit(index->arena, node->entries);
    }
}

/* Makes a record of the ephemeral space visible to eviction. */
static void publish_record(TmemIndex *index, const TmemNode *node,
                           unsigned pos, TmemEntry entry)
{
    TmemRef ref = tmem_entry_ref(entry);

    if (ref && tmem_pool_id_space(node->pool->key) == TMEM_SPACE_EPHEMERAL) {
        tmem_owner_write(tmem_slot_owner(index->arena, ref),
                         record_owner(node, pos));
    }
}

/* The same for a page that was just stored. */
static void publish_stored(TmemIndex *index, const TmemNode *node,
                           unsigned pos, TmemEntry entry)
{
    if (tmem_entry_ref(entry) &&
        tmem_pool_id_space(node->pool->key) == TMEM_SPACE_EPHEMERAL) {
        tmem_node_note_hit(index, node);
    }
    publish_record(index, node, pos, entry);
}

/* The page is going, and its record is still there. */
static void drop_reference(TmemIndex *index, const TmemNode *node,
                           unsigned pos, TmemEntry entry)
{
    TmemTrust *trust = node->pool->client->trust;
    TmemReference reference;

    if (tmem_trust_is_reference(entry) && trust &&
        tmem_index_slot(index, node, pos, entry)) {
        memcpy(&reference, tmem_record_data(tmem_index_record(index, entry)),
               sizeof(reference));
        tmem_trust_drop(trust, &reference);
    }
}

/* @ref: what tmem_index_slot() said of @entry, which is gone */
static void free_slot(TmemIndex *index, TmemHeap *heap, TmemEntry entry,
                      TmemRef ref)
{
    if (ref) {
        tmem_heap_free(index->arena, ref);
    } else if (tmem_entry_kind(entry) != TMEM_KIND_FILL32 ||
               !tmem_codec_made(entry)) {
        tmem_heap_note_lost(heap);
    }
}

static void free_record(TmemIndex *index, const TmemNode *node, unsigned pos,
                        TmemEntry entry, TmemDelta *delta)
{
    TmemRef ref = tmem_index_slot(index, node, pos, entry);

    tmem_index_account(index, entry, -1, delta);
    free_slot(index, &node->pool->client->heap, entry, ref);
}

static void drop_record(TmemIndex *index, const TmemNode *node, unsigned pos,
                        TmemEntry entry, TmemDelta *delta)
{
    drop_reference(index, node, pos, entry);
    free_record(index, node, pos, entry, delta);
}

/* --- Lists of objects and siblings --- */

static void object_link(TmemIndex *index, TmemPool *pool, TmemNode *head)
{
    tmem_lock(&pool->lock);
    head->prev = pool->objects_last;
    head->following = 0;
    if (pool->objects_last) {
        tmem_node_at(index, pool->objects_last)->following =
            tmem_node_ref(head);
    } else {
        pool->objects = tmem_node_ref(head);
    }
    pool->objects_last = tmem_node_ref(head);
    tmem_unlock(&pool->lock);
}

/* Takes @head off the list of objects; @heir, if any, gets its place. */
static void object_unlink(TmemIndex *index, TmemPool *pool, TmemNode *head,
                          TmemNode *heir)
{
    TmemRef before, after;

    tmem_lock(&pool->lock);
    before = heir ? tmem_node_ref(heir) : head->prev;
    after = heir ? tmem_node_ref(heir) : head->following;
    if (heir) {
        heir->prev = head->prev;
        heir->following = head->following;
    }
    if (head->prev) {
        tmem_node_at(index, head->prev)->following = after;
    } else {
        pool->objects = after;
    }
    if (head->following) {
        tmem_node_at(index, head->following)->prev = before;
    } else {
        pool->objects_last = before;
    }
    tmem_unlock(&pool->lock);
}

static void sibling_link(TmemIndex *index, TmemNode *head, TmemNode *node)
{
    node->following = 0;
    node->prev = head->sibling_last;
    if (head->sibling_last) {
        tmem_node_at(index, head->sibling_last)->following =
            tmem_node_ref(node);
    } else {
        head->sibling_first = tmem_node_ref(node);
    }
    head->sibling_last = tmem_node_ref(node);
    head->nr_siblings++;
}

static void sibling_unlink(TmemIndex *index, TmemNode *head, TmemNode *node)
{
    if (node->prev) {
        tmem_node_at(index, node->prev)->following = node->following;
    } else {
        head->sibling_first = node->following;
    }
    if (node->following) {
        tmem_node_at(index, node->following)->prev = node->prev;
    } else {
        head->sibling_last = node->prev;
    }
    head->nr_siblings--;
}

/* --- Room --- */

unsigned tmem_index_capacity(unsigned nr)
{
    unsigned i = 0;

    while (array_capacity[i] < nr) {
        i++;
    }
    return array_capacity[i];
}

/* A slot for a node or an array; 0: why not. */
static TmemRef alloc_part(TmemHeap *heap, TmemSpace space, size_t bytes,
                          bool inside, bool any_class, TmemStatus *why)
{
    *why = TMEM_STATUS_QUOTA;
    return inside ? tmem_heap_alloc_inside(heap, space, bytes, any_class) :
                    tmem_heap_alloc(heap, space, bytes, any_class, why);
}

TmemStatus tmem_index_make_room(TmemIndex *index, const TmemKey *key,
                                TmemHeap *heap, TmemNode *node, bool inside,
                                bool any_class, TmemRoom *room)
{
    TmemSpace space = tmem_pool_id_index_space(key->pool->key);
    TmemStatus why;
    unsigned nr;

    memset(room, 0, sizeof(*room));
    room->node = node;
    if (!node) {
        room->new_node = alloc_part(heap, space, sizeof(TmemNode), inside,
                                    any_class, &why);
        if (!room->new_node) {
            return why;
        }
        room->bytes = tmem_arena_slot_bytes(index->arena, room->new_node);
        return TMEM_STATUS_OK;
    }
    if (tmem_node_has_room(node)) {
        return TMEM_STATUS_OK;
    }
    nr = __builtin_popcountll(node->bitmap);
    room->new_capacity = tmem_index_capacity(nr + 1);
    room->new_array = alloc_part(heap, space,
                                 tmem_index_array_bytes(room->new_capacity),
                                 inside, any_class, &why);
    if (!room->new_array) {
        return why;
    }
    room->bytes = tmem_arena_slot_bytes(index->arena, room->new_array);
    if (node->capacity > 1) {
        room->bytes -= tmem_arena_slot_bytes(index->arena, node->entries);
    }
    return TMEM_STATUS_OK;
}

void tmem_index_cancel_room(TmemIndex *index, TmemRoom *room)
{
    if (room->new_node) {
        tmem_heap_free(index->arena, room->new_node);
    }
    if (room->new_array) {
        tmem_heap_free(index->arena, room->new_array);
    }
}

static void grow_node(TmemIndex *index, TmemNode *node, TmemRoom *room)
{
    TmemArray *array = tmem_arena_ptr(index->arena, room->new_array);

    memcpy(array->entry, entries_of(index, node),
           __builtin_popcountll(node->bitmap) * sizeof(TmemEntry));
    tmem_owner_write(array,
                     tmem_owner_make(TMEM_OWNER_ARRAY,
                                     tmem_owner_shard(node->owner), 0,
                                     tmem_node_ref(node)));
    if (node->capacity > 1) {
        tmem_heap_free(index->arena, node->entries);
    }
    node->entries = room->new_array;
    node->capacity = room->new_capacity;
}

static TmemNode *enter_node(TmemIndex *index, const TmemKey *key, TmemRef ref,
                            TmemDelta *delta)
{
    TmemNode *head = tmem_index_find_head(index, key);
    TmemNode *node = tmem_arena_ptr(index->arena, ref);

    /* The owner word last: an evictor may look at it without our lock. */
    memset((uint8_t *)node + sizeof(node->owner), 0,
           sizeof(*node) - sizeof(node->owner));
    node->pool = key->pool;
    memcpy(node->object, key->object, sizeof(node->object));
    node->base = key->base;
    tmem_node_set_birth(node, key->shard->nr_drops);
    node->capacity = 1;
    node->is_head = !head;
    tmem_owner_write(node, tmem_owner_make(TMEM_OWNER_NODE, key->shard->nr,
                                           0, ref));
    if (head) {
        sibling_link(index, head, node);
    } else {
        object_link(index, key->pool, node);
        delta->objects++;
    }
    tmem_table_insert(index, key->shard, node,
                      head ? key->hash_node : key->hash_head);
    return node;
}

void tmem_index_insert(TmemIndex *index, const TmemKey *key, TmemRoom *room,
                       TmemEntry entry, TmemDelta *delta)
{
    TmemNode *node = room->node;
    TmemEntry *entries;
    unsigned rank, nr;

    if (!node) {
        node = enter_node(index, key, room->new_node, delta);
    } else if (room->new_array) {
        grow_node(index, node, room);
    }
    delta->index_bytes += room->bytes;

    entries = entries_of(index, node);
    rank = rank_of(node, key->pos);
    nr = __builtin_popcountll(node->bitmap);
    memmove(entries + rank + 1, entries + rank,
            (nr - rank) * sizeof(TmemEntry));
    entries[rank] = entry;
    node->bitmap |= 1ull << key->pos;
    publish_stored(index, node, key->pos, entry);
    tmem_index_account(index, entry, 1, delta);
}

void tmem_index_replace(TmemIndex *index, TmemNode *node, unsigned pos,
                        TmemEntry entry, TmemDelta *delta)
{
    TmemEntry *e = tmem_node_entry(index, node, pos);

    if (tmem_entry_ref(*e) && tmem_entry_ref(*e) == tmem_entry_ref(entry)) {
        tmem_index_account(index, *e, -1, delta);
        /* It is that already, unless what went bad named a free slot. */
        publish_record(index, node, pos, entry);
    } else {
        drop_record(index, node, pos, *e, delta);
        publish_stored(index, node, pos, entry);
    }
    *e = entry;
    tmem_index_account(index, entry, 1, delta);
}

/* --- The same page, in another form or place --- */

void *tmem_index_record(TmemIndex *index, TmemEntry entry)
{
    TmemRef ref = tmem_entry_ref(entry);

    return ref && tmem_index_in_arena(index->arena, entry) ?
           tmem_arena_ptr(index->arena, ref) : NULL;
}

bool tmem_index_still(TmemIndex *index, TmemNode *node, unsigned pos,
                      TmemEntry seen, uint32_t checksum, const void *data)
{
    TmemEntry *e = tmem_node_entry(index, node, pos);
    void *record;

    if (!e || tmem_entry_aged(*e, 0) != tmem_entry_aged(seen, 0)) {
        return false;
    }
    record = tmem_index_record(index, seen);
    return !record ||
           (*tmem_record_checksum(record) == checksum &&
            !memcmp(tmem_record_data(record), data, tmem_entry_len(seen)));
}

void tmem_index_quarantine(TmemIndex *index, TmemNode *node, unsigned pos,
                           TmemEntry seen, uint32_t checksum,
                           const void *data, TmemDelta *delta)
{
    if (!(seen & TMEM_ENTRY_DAMAGED) &&
        tmem_index_still(index, node, pos, seen, checksum, data)) {
        *tmem_node_entry(index, node, pos) |= TMEM_ENTRY_DAMAGED;
        delta->pages_damaged++;
    }
}

void tmem_index_exchange(TmemIndex *index, TmemNode *node, unsigned pos,
                         TmemEntry entry, TmemDelta *delta)
{
    TmemEntry *e = tmem_node_entry(index, node, pos);

    /* What is referred to stays: the new record says the same. */
    free_record(index, node, pos, *e, delta);
    publish_record(index, node, pos, entry);
    *e = entry;
    tmem_index_account(index, entry, 1, delta);
}

/* --- Removal --- */

/* The head is going: its first sibling becomes the head. */
static void promote_sibling(TmemIndex *index, TmemShard *shard,
                            TmemNode *head)
{
    TmemNode *heir = tmem_node_at(index, head->sibling_first);

    tmem_table_unlink(index, shard, heir,
                      tmem_index_node_hash(index, heir, NULL));
    sibling_unlink(index, head, heir);
    heir->is_head = true;
    heir->nr_siblings = head->nr_siblings;
    heir->sibling_first = head->sibling_first;
    heir->sibling_last = head->sibling_last;
    object_unlink(index, head->pool, head, heir);
    tmem_table_link(shard, heir, tmem_index_node_hash(index, heir, NULL));
}

/* Frees a node without pages, its array and, if it was the last, the object. */
static void free_node(TmemIndex *index, TmemShard *shard, TmemNode *node,
                      TmemDelta *delta)
{
    TmemRef ref = tmem_node_ref(node);
    TmemKey key;

    key_of_node(index, node, &key);
    if (!node->is_head) {
        sibling_unlink(index, tmem_index_find_head(index, &key), node);
    } else if (node->nr_siblings) {
        promote_sibling(index, shard, node);
    } else {
        object_unlink(index, node->pool, node, NULL);
        delta->objects--;
    }
    tmem_table_remove(index, shard, node,
                      node->is_head ? key.hash_head : key.hash_node);
    if (node->capacity > 1) {
        delta->index_bytes -= tmem_arena_slot_bytes(index->arena,
                                                    node->entries);
        tmem_heap_free(index->arena, node->entries);
    }
    delta->index_bytes -= tmem_arena_slot_bytes(index->arena, ref);
    tmem_heap_free(index->arena, ref);
}

void tmem_index_evict(TmemIndex *index, TmemShard *shard, TmemNode *node,
                      unsigned pos, TmemDelta *delta)
{
    TmemEntry *entries = entries_of(index, node);
    unsigned rank = rank_of(node, pos);
    unsigned nr = __builtin_popcountll(node->bitmap);

    drop_reference(index, node, pos, entries[rank]);
    tmem_index_account(index, entries[rank], -1, delta);
    memmove(entries + rank, entries + rank + 1,
            (nr - rank - 1) * sizeof(TmemEntry));
    node->bitmap &= ~(1ull << pos);
    if (!node->bitmap) {
        free_node(index, shard, node, delta);
    }
}

void tmem_index_remove(TmemIndex *index, TmemShard *shard, TmemNode *node,
                       unsigned pos, TmemDelta *delta)
{
    TmemEntry entry = *tmem_node_entry(index, node, pos);
    TmemRef ref = tmem_index_slot(index, node, pos, entry);
    TmemHeap *heap = &node->pool->client->heap;

    /* The node may be gone then. */
    tmem_index_evict(index, shard, node, pos, delta);
    free_slot(index, heap, entry, ref);
}

void tmem_index_remove_node(TmemIndex *index, TmemShard *shard,
                            TmemNode *node, TmemDelta *delta)
{
    const TmemEntry *entry = entries_of(index, node);

    for (uint64_t left = node->bitmap; left; left &= left - 1) {
        drop_record(index, node, __builtin_ctzll(left), *entry++, delta);
    }
    node->bitmap = 0;
    free_node(index, shard, node, delta);
}
