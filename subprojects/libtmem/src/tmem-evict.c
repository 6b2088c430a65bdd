/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: eviction of ephemeral pages
 */
#include <sched.h>
#include <string.h>

#include "tmem-move.h"
#include "tmem-order.h"
#include "tmem-store.h"
#include "tmem-trust.h"

/* Segments that one decision may pass over. */
#define PASS_OVER_MAX   16

/*
 * Records that go with nodes and arrays before the rest of the segment is left
 * to the next time: their memory is likely to be enough for whoever asked.
 */
#define RECORDS_MAX     1024

/*
 * How often an operator's eviction finds a segment that it cannot empty: with
 * RECORDS_MAX at a time, the largest of the index takes 80 visits.
 */
#define BUSY_MAX        256

/* How many slots ahead fetch_ahead() looks. */
#define FETCH_AHEAD     8

/* Records dropped under one hold of a shard's lock: about 5 us. */
#define HOLD_SLOTS      64

/* What pools with limits of their own give at a time. */
#define OWN_BYTES       (64 << 10)

/* Probation gets what is beyond a tenth, as in S3-FIFO. */
#define PROBATION_PART  10

/*
 * Half a step is lost in each class in use, so segments of their own are for
 * heaps that have some for each class: 8 MiB.
 */
#define PROBATION_STEPS 512

/* --- Policies --- */

static uint32_t fifo_pick_locked(TmemHeap *heap)
{
    return tmem_order_oldest_locked(heap);
}

const TmemEvictPolicy tmem_evict_policy_fifo = {
    .name = "fifo",
    .pick_locked = fifo_pick_locked,
};

static uint32_t second_chance_pick_locked(TmemHeap *heap)
{
    TmemArena *arena = heap->arena;

    for (int i = 0; i < PASS_OVER_MAX; i++) {
        uint32_t nr = tmem_order_oldest_locked(heap);

        if (nr == TMEM_SEGMENT_NONE ||
            !__atomic_exchange_n(&arena->segments[nr].hits, 0,
                                 __ATOMIC_RELAXED)) {
            return nr;
        }
        tmem_order_renew_locked(arena, nr);
    }
    /* All were in use: then the oldest of them must go. */
    return tmem_order_oldest_locked(heap);
}

const TmemEvictPolicy tmem_evict_policy_second_chance = {
    .name = "second-chance",
    .pick_locked = second_chance_pick_locked,
};

static uint32_t age_of(const TmemArena *arena, uint32_t nr)
{
    return arena->order_clock - arena->segments[nr].order_stamp;
}

/*
 * A segment of the index, not in use, that is older than records which stay
 * become: those on probation live for a part only of what a page in all of the
 * memory would.
 */
static uint32_t older_index_locked(TmemHeap *heap, uint32_t probation,
                                   uint32_t part)
{
    TmemArena *arena = heap->arena;

    for (int i = 0; i < PASS_OVER_MAX; i++) {
        uint32_t nr = heap->order[TMEM_SPACE_EPHEMERAL_INDEX].first;

        if (nr == TMEM_SEGMENT_NONE ||
            age_of(arena, nr) / part <= age_of(arena, probation)) {
            break;
        }
        if (!__atomic_exchange_n(&arena->segments[nr].hits, 0,
                                 __ATOMIC_RELAXED)) {
            return nr;
        }
        tmem_order_renew_locked(arena, nr);
    }
    return TMEM_SEGMENT_NONE;
}

static uint32_t probation_pick_locked(TmemHeap *heap)
{
    uint32_t probation = heap->order[TMEM_SPACE_PROBATION].first;
    uint32_t nr = heap->order[TMEM_SPACE_PROBATION].nr;
    uint32_t nr_records = nr + heap->order[TMEM_SPACE_EPHEMERAL].nr;
    uint32_t index;

    if (!nr || (nr < nr_records && nr * PROBATION_PART <= nr_records)) {
        return second_chance_pick_locked(heap);
    }
    index = older_index_locked(heap, probation, nr_records / nr);
    return index == TMEM_SEGMENT_NONE ? probation : index;
}

const TmemEvictPolicy tmem_evict_policy_probation = {
    .name = "probation",
    .pick_locked = probation_pick_locked,
    .has_probation = true,
};

TmemSpace tmem_evict_space(TmemClient *client, const TmemKey *key,
                           TmemSpace space)
{
    TmemStore *store = client->store;
    TmemHeap *heap = &client->heap;

    if (space != TMEM_SPACE_EPHEMERAL || !store->evict_policy->has_probation ||
        tmem_heap_bytes(heap) >> store->arena.step_shift < PROBATION_STEPS ||
        !tmem_ghosts_start(&store->ghosts) ||
        tmem_ghosts_know(&store->ghosts, key, heap)) {
        return space;
    }
    return TMEM_SPACE_PROBATION;
}

void tmem_evict_note_loaded(TmemClient *client, const TmemKey *key,
                            TmemEntry entry)
{
    tmem_ghosts_note(&client->store->ghosts, key, key->pos, &client->heap,
                     tmem_arena_slot_bytes(&client->store->arena,
                                           tmem_entry_ref(entry)));
}

/* --- Emptying a segment --- */

void tmem_evict_book(TmemPool *pool, const TmemDelta *delta)
{
    tmem_pool_apply(pool, delta);
    __atomic_fetch_add(&pool->shared.evicted, -delta->pages,
                       __ATOMIC_RELAXED);
}

/* What is done under one hold of a shard's lock. */
typedef struct Hold {
    TmemShard *shard;       /* locked; NULL: none is */
    unsigned nr_slots;      /* emptied since */
    TmemPool *pool;         /* that @delta is of; NULL: nothing to book yet */
    TmemDelta delta;
    uint32_t nr_records;    /* emptied in all holds */
    bool notes_ghosts;
    uint64_t giver;         /* only this pool's pages go; 0: anybody's */
    bool has_given;         /* something of its went */
    bool has_left;          /* something for which there was no other place */
    TmemNode *node;         /* that @key is of */
    TmemKey key;
} Hold;

static void hold_book(Hold *hold)
{
    if (hold->pool) {
        hold->nr_records -= hold->delta.pages_compressed +
                            hold->delta.pages_raw + hold->delta.pages_shared;
        tmem_evict_book(hold->pool, &hold->delta);
        memset(&hold->delta, 0, sizeof(hold->delta));
        hold->pool = NULL;
    }
}

/* Nothing of a pool is unbooked while no shard is locked: it may go then. */
static void hold_end(Hold *hold)
{
    hold_book(hold);
    hold->node = NULL;
    if (hold->shard) {
        tmem_unlock(&hold->shard->lock);
        hold->shard = NULL;
    }
}

/* Slots that follow each other were stored together: often of one shard. */
static void hold_shard(Hold *hold, TmemShard *shard)
{
    if (hold->shard != shard || hold->nr_slots >= HOLD_SLOTS) {
        hold_end(hold);
        tmem_lock(&shard->lock);
        hold->shard = shard;
        hold->nr_slots = 0;
    }
}

/* Shard lock held: the page at @pos of @node, with that entry, is going. */
static void note_ghost(TmemStore *store, Hold *hold, TmemNode *node,
                       unsigned pos, TmemEntry entry)
{
    TmemRef ref = tmem_index_slot(&store->index, node, pos, entry);

    if (!ref) {
        return;
    }
    if (hold->node != node) {
        hold->node = node;
        tmem_index_key(&store->index, node->pool, node->pool->hash_id,
                       node->object, node->base << TMEM_NODE_PAGES_SHIFT,
                       &hold->key);
    }
    tmem_ghosts_note(&store->ghosts, &hold->key, pos,
                     &node->pool->client->heap,
                     tmem_arena_slot_bytes(&store->arena, ref));
}

static void note_ghosts(TmemStore *store, Hold *hold, TmemNode *node)
{
    for (uint64_t left = node->bitmap; left; left &= left - 1) {
        unsigned pos = __builtin_ctzll(left);

        note_ghost(store, hold, node, pos,
                   *tmem_node_entry(&store->index, node, pos));
    }
}

/*
 * Shard lock held: whether the owner word of the slot at @ref leads to a node
 * that knows of the slot.  It does unless memory went bad, which must not make
 * an evictor take anything else for a node.
 */
static bool is_owned(TmemStore *store, const TmemShard *shard, TmemRef ref,
                     uint64_t owner)
{
    TmemRef node_ref = tmem_owner_node(owner);
    TmemEntry *entry;
    TmemNode *node;

    if (!tmem_heap_is_slot(&store->arena, TMEM_SPACE_EPHEMERAL_INDEX, node_ref,
                           sizeof(*node))) {
        return false;
    }
    node = tmem_arena_ptr(&store->arena, node_ref);
    if (tmem_owner_read(node) != tmem_owner_make(TMEM_OWNER_NODE, shard->nr, 0,
                                                 node_ref)) {
        return false;
    }
    switch (tmem_owner_type(owner)) {
    case TMEM_OWNER_RECORD:
        entry = tmem_node_entry(&store->index, node, tmem_owner_pos(owner));
        return entry && tmem_entry_ref(*entry) == ref;
    case TMEM_OWNER_ARRAY:
        return node->capacity > 1 && node->entries == ref;
    case TMEM_OWNER_NODE:
        return node_ref == ref;
    default:
        return false;
    }
}

/*
 * Shard lock held: whether what the slot is of stays, as other pools of the
 * client are to make room, or this one would be left with less than its
 * minimum.
 */
static bool is_spared(const Hold *hold, const TmemPool *pool, uint64_t owner)
{
    int64_t bytes = TMEM_SLOT_BYTES_MAX;

    if (!hold->giver) {
        return false;
    }
    if (tmem_owner_type(owner) != TMEM_OWNER_RECORD) {
        bytes *= TMEM_NODE_PAGES;
    }
    if (hold->pool == pool) {
        bytes -= hold->delta.data_bytes + hold->delta.index_bytes;
    }
    return pool->key != hold->giver ||
           !tmem_quota_can_give(&pool->quota, bytes);
}

/* Shard lock held: moves what is in the slot to another, if there is one. */
static void spare_slot(TmemStore *store, Hold *hold, TmemNode *node,
                       uint64_t owner)
{
    TmemIndex *index = &store->index;
    bool moved;

    switch (tmem_owner_type(owner)) {
    case TMEM_OWNER_RECORD:
        moved = tmem_move_record(index, node, tmem_owner_pos(owner));
        break;
    case TMEM_OWNER_ARRAY:
        moved = tmem_move_array(index, node);
        break;
    default:
        moved = tmem_move_node(index, hold->shard, node);
        hold->node = NULL;
        break;
    }
    hold->has_left |= !moved;
    hold->nr_slots++;
}

/* Shard lock held: drops what the segment's @i-th slot is part of. */
static void evict_slot(TmemStore *store, TmemVictim *victim, Hold *hold,
                       uint32_t i, uint64_t owner)
{
    TmemIndex *index = &store->index;
    TmemNode *node = tmem_arena_ptr(&store->arena, tmem_owner_node(owner));
    TmemPool *pool = node->pool;
    unsigned pos = tmem_owner_pos(owner);

    if (is_spared(hold, pool, owner)) {
        spare_slot(store, hold, node, owner);
        return;
    }
    hold->has_given = true;
    if (hold->pool != pool) {
        hold_book(hold);
        hold->pool = pool;
    }
    if (tmem_owner_type(owner) == TMEM_OWNER_RECORD) {
        TmemEntry entry = *tmem_node_entry(index, node, pos);

        if (hold->notes_ghosts) {
            note_ghost(store, hold, node, pos, entry);
        }
        tmem_index_evict(index, hold->shard, node, pos, &hold->delta);
        tmem_victim_free(victim, i);
        hold->nr_slots++;
    } else {
        if (hold->notes_ghosts) {
            note_ghosts(store, hold, node);
        }
        tmem_index_remove_node(index, hold->shard, node, &hold->delta);
        /* It had up to 64 records. */
        hold->nr_slots = HOLD_SLOTS;
    }
}

/*
 * The slots of a segment lead to nodes all over the memory: fetch those of the
 * next ones while this one is dropped.
 */
static void fetch_ahead(TmemArena *arena, const TmemVictim *victim, uint32_t i)
{
    uint64_t owner;

    if (i + FETCH_AHEAD >= victim->nr_slots) {
        return;
    }
    owner = tmem_owner_read(tmem_victim_owner(victim, i + FETCH_AHEAD));
    if (owner) {
        __builtin_prefetch(tmem_arena_ptr(arena, tmem_owner_node(owner)), 1);
    }
}

/*
 * Goes through the segment, or as much of it as one operation may.  Returns
 * whether that was all of it.
 */
static bool walk_segment(TmemStore *store, TmemVictim *victim, bool of_index,
                         Hold *hold)
{
    TmemArena *arena = &store->arena;
    uint32_t i;

    for (i = 0; i < victim->nr_slots; i++) {
        const uint64_t *word = tmem_victim_owner(victim, i);
        uint64_t owner = tmem_owner_read(word);
        TmemShard *shard;

        fetch_ahead(arena, victim, i);
        if (!owner) {
            continue;
        }
        if (of_index && hold->nr_records >= RECORDS_MAX) {
            break;
        }
        if (tmem_owner_shard(owner) >= store->index.nr_shards) {
            /* See is_owned(). */
            continue;
        }
        /*
         * Without the lock the word may be that of a page which is just going.
         * With the lock of the shard it names, it is the truth if it still
         * names that shard.
         */
        shard = &store->index.shards[tmem_owner_shard(owner)];
        hold_shard(hold, shard);
        owner = tmem_owner_read(word);
        if (owner && tmem_owner_shard(owner) == shard->nr &&
            is_owned(store, shard, tmem_victim_slot(victim, i), owner)) {
            evict_slot(store, victim, hold, i, owner);
        }
    }
    hold_end(hold);
    return i == victim->nr_slots;
}

/*
 * What is spared has the segment for itself: room that the giver makes is not
 * for what is in there.  Empties one of the giver's segments.
 */
static bool empty_givers(TmemStore *store, TmemHeap *heap, Hold *hold)
{
    TmemArena *arena = &store->arena;
    uint32_t nr = tmem_quota_segment(tmem_client_of_heap(heap), hold->giver);
    TmemVictim victim;
    bool walked;

    tmem_lock(&arena->lock);
    if (nr == TMEM_SEGMENT_NONE || !arena->segments[nr].in_use ||
        arena->segments[nr].heap != heap || arena->segments[nr].victim ||
        arena->segments[nr].space == TMEM_SPACE_PERSISTENT) {
        tmem_unlock(&arena->lock);
        return false;
    }
    tmem_victim_begin(arena, nr, &victim);
    walked = walk_segment(store, &victim, false, hold);
    return tmem_victim_end(arena, &victim, walked);
}

/*
 * Empties the segment, as far as one operation may.  Where pools have limits of
 * their own, one of them gives, and what others have in the segment moves into
 * what was free, or comes free as that pool gives more.
 */
static bool empty_segment(TmemStore *store, TmemVictim *victim, bool of_index,
                          bool notes_ghosts)
{
    TmemArena *arena = &store->arena;
    /* Which is there as long as this has a segment of its heap. */
    TmemClient *client = tmem_client_of_heap(victim->heap);
    Hold hold = {
        .notes_ghosts = notes_ghosts, .giver = tmem_quota_giver(client),
    };
    bool walked = walk_segment(store, victim, of_index, &hold);
    bool freed = false;

    if (hold.has_left && !hold.has_given) {
        freed = empty_givers(store, victim->heap, &hold);
    }
    if (hold.has_left && !freed) {
        tmem_quota_evict_client(client, 1ull << arena->segment_shift);
        hold.has_left = false;
        walked &= walk_segment(store, victim, of_index, &hold);
    }
    return tmem_victim_end(arena, victim, walked) || freed;
}

/* The same for a segment of what a trust group keeps. */
static bool empty_contents(TmemStore *store, TmemVictim *victim)
{
    for (uint32_t i = 0; i < victim->nr_slots; i++) {
        tmem_trust_evict(victim->heap->trust, victim, i);
    }
    return tmem_victim_end(&store->arena, victim, true);
}

/* A segment of records; @or_else if there is none. */
static uint32_t oldest_records_locked(const TmemHeap *heap, uint32_t or_else)
{
    uint32_t probation = heap->order[TMEM_SPACE_PROBATION].first;
    uint32_t others = heap->order[TMEM_SPACE_EPHEMERAL].first;

    return probation != TMEM_SEGMENT_NONE ? probation :
           others != TMEM_SEGMENT_NONE ? others : or_else;
}

/*
 * Empties a segment of @heap, or of whom tmem_share_victim_locked() names.
 * @operator: asks for it: takes records rather than the index, which would take
 *            them all with it, and they are no less likely to be wanted again
 *            than those that stay, so that it is not remembered what went
 */
static TmemEvicted evict_one(TmemStore *store, TmemHeap *heap,
                             const TmemWish *wish, bool operator)
{
    TmemArena *arena = &store->arena;
    uint32_t nr = TMEM_SEGMENT_NONE;
    uint32_t nr_victims;
    TmemVictim victim;
    bool of_index;

    tmem_assert_unlocked();
    tmem_lock(&arena->lock);
    nr_victims = heap ? heap->nr_victims : arena->nr_victims;
    heap = heap ? heap : tmem_share_victim_locked(arena, wish);
    if (heap) {
        nr = store->evict_policy->pick_locked(heap);
    }
    if (nr == TMEM_SEGMENT_NONE) {
        tmem_unlock(&arena->lock);
        return nr_victims ? TMEM_EVICTED_BUSY : TMEM_EVICTED_NONE;
    }
    of_index = arena->segments[nr].space == TMEM_SPACE_EPHEMERAL_INDEX;
    if (operator && of_index) {
        nr = oldest_records_locked(heap, nr);
        of_index = arena->segments[nr].space == TMEM_SPACE_EPHEMERAL_INDEX;
    }
    tmem_victim_begin(arena, nr, &victim);
    return (heap->trust ? empty_contents(store, &victim) :
            empty_segment(store, &victim, of_index, !operator)) ?
           TMEM_EVICTED_FREED : TMEM_EVICTED_BUSY;
}

TmemEvicted tmem_evict_segment(TmemStore *store, TmemHeap *heap)
{
    return evict_one(store, heap, &(TmemWish) { .past_minimums = true }, false);
}

/* --- For operations --- */

static bool go_on(TmemEvicted evicted, TmemEvictTries *tries)
{
    switch (evicted) {
    case TMEM_EVICTED_FREED:
        return ++tries->freed < TMEM_EVICT_ATTEMPTS;
    case TMEM_EVICTED_BUSY:
        /* The others are about to finish; let them. */
        sched_yield();
        return ++tries->busy < TMEM_EVICT_BUSY_MAX;
    default:
        return false;
    }
}

bool tmem_evict_for(TmemClient *client, TmemSpace space,
                    TmemEvictTries *tries)
{
    TmemWish wish = {
        .for_heap = &client->heap,
        .pinning = space == TMEM_SPACE_PERSISTENT,
    };

    /* Free memory is not what is missing then. */
    if (wish.pinning && !tmem_share_admits(&client->heap)) {
        return false;
    }
    return go_on(evict_one(client->store, NULL, &wish, false), tries);
}

bool tmem_evict_own(TmemClient *client, TmemEvictTries *tries)
{
    /* Slots that come free like this may be of other sizes: once or twice. */
    if (tries->pools < TMEM_EVICT_ATTEMPTS - 1 &&
        tmem_quota_evict_client(client, OWN_BYTES)) {
        tries->pools++;
        return true;
    }
    return go_on(tmem_evict_segment(client->store, &client->heap), tries);
}

/* --- For the operator --- */

/* What @heap holds; NULL: all heaps. */
static uint64_t held_bytes(TmemArena *arena, const TmemHeap *heap)
{
    uint64_t bytes;

    tmem_lock(&arena->lock);
    bytes = heap ? heap->bytes : arena->heaps_bytes;
    tmem_unlock(&arena->lock);
    return bytes;
}

/*
 * As evict_one(), until @bytes came free or @nr segments, waiting for others
 * that are at work, within reason.  Not only the segments that were to be
 * emptied come free: what is spared may keep one of these, while pages that
 * went for it leave others empty.
 * @busy: segments, since one was emptied, that were not: a guest whose memory
 *        comes and goes keeps nobody at this for ever
 *
 * Returns whether anything came free.
 */
static bool evict_some(TmemStore *store, TmemHeap *heap, TmemWish *wish,
                       uint64_t bytes, uint64_t nr, unsigned *busy)
{
    uint64_t before = held_bytes(&store->arena, heap), held = before;
    unsigned busy_before = *busy;
    bool any = false;

    while (nr && *busy < BUSY_MAX && before - MIN(held, before) < bytes) {
        switch (evict_one(store, heap, wish, true)) {
        case TMEM_EVICTED_FREED:
            nr--;
            *busy = busy_before = 0;
            any = true;
            break;
        case TMEM_EVICTED_BUSY:
            sched_yield();
            ++*busy;
            break;
        default:
            nr = 0;
            break;
        }
        held = held_bytes(&store->arena, heap);
    }
    return any || (*busy > busy_before && held < before);
}

void tmem_evict_to_limit(TmemClient *client)
{
    TmemWish wish = {};
    unsigned busy = 0;

    while (tmem_heap_over_limit(&client->heap) &&
           evict_some(client->store, &client->heap, &wish, 1, 1, &busy)) {
        /* one segment a time */
    }
}

uint64_t tmem_evict_bytes(TmemStore *store, TmemHeap *heap, uint64_t bytes,
                          bool past_minimums)
{
    TmemArena *arena = &store->arena;
    uint64_t returned = tmem_arena_trim_bytes(arena, bytes);
    TmemWish wish = {};
    unsigned busy = 0;
    bool more = true;

    /* What guests store meanwhile is for nobody to wait for the end of. */
    bytes = MIN(bytes, returned + held_bytes(arena, heap));
    while (more && returned < bytes) {
        uint64_t wanted = ((bytes - returned - 1) >> arena->segment_shift) + 1;

        /* Several together: memory of neighbours goes at once. */
        if (!evict_some(store, heap, &wish, bytes - returned,
                        MIN(wanted, TMEM_TRIM_BATCH), &busy)) {
            more = past_minimums && !wish.past_minimums && !heap;
            wish.past_minimums = true;
            busy = 0;
        }
        returned += tmem_arena_trim_bytes(arena, bytes - returned);
    }
    return returned;
}
