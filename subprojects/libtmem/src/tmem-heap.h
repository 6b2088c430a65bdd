/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: the heap of one client: its segments, cut into slots
 *
 * Every segment in use belongs to one heap, which is charged for all of it that
 * was touched, so that what a client is charged with is what it keeps from
 * others.  Limits act where memory of a segment is touched for the first time;
 * taking and freeing slots otherwise charges nothing.
 *
 * A segment belongs to one *class* and is divided into *slots* of that class's
 * size.  Slots below the segment's watermark have been handed out at least
 * once; the pages above it were never touched and cost nothing.
 *
 * Before a segment is opened, a free slot of a somewhat larger class is taken:
 * a heap of few segments cannot afford a half-used one in every class.
 *
 * Spaces.  What belongs to ephemeral pools lives in segments of its own so that
 * eviction can empty a whole segment and hand it to anyone.  Each slot there
 * has an owner word, see tmem-entry.h; it is 0 while the slot is free or not
 * yet published in the index.  Those of records lie together at the beginning
 * of their segment, so that eviction, which walks them, need not touch the
 * records, and these segments have classes of their own (tmem-sizes.h); nodes
 * and arrays start with theirs.  The index of ephemeral pages is
 * kept apart from the pages: emptying one of its segments costs all pages that
 * its nodes refer to, so what is stored or loaded there keeps it.
 *
 * Locks.  A class lock guards the lists and slots of its segments.  Callers may
 * hold a shard lock.
 */
#ifndef TMEM_HEAP_H
#define TMEM_HEAP_H

#include "tmem-arena.h"

/*
 * A free slot: 0 where those that start with an owner word have it, then the
 * next free one's unit + 1.
 */
typedef struct TmemFreeSlot {
    uint64_t owner;
    uint16_t next;
} TmemFreeSlot;

G_STATIC_ASSERT(sizeof(TmemFreeSlot) <= TMEM_UNIT);

/* --- The layout of a segment, which is in use --- */

/** The owner word of the slot at @ref, which is not of persistent records. */
static inline uint64_t *tmem_slot_owner(const TmemArena *arena, TmemRef ref)
{
    uint32_t nr = tmem_arena_segment_of(arena, ref);
    const TmemSegment *seg = &arena->segments[nr];
    uint32_t unit = ref - tmem_arena_ref(arena, nr, 0);
    const TmemSize *size = tmem_segment_size(arena, seg);

    if (!tmem_space_has_owners(seg->space)) {
        return tmem_arena_ptr(arena, ref);
    }
    return (uint64_t *)tmem_arena_ptr(arena, tmem_arena_ref(arena, nr, 0)) +
           (unit - size->first_unit) / tmem_size_units(size);
}

/*
 * The lists of a class's segments.  Those with slots that were freed are
 * grouped by how full they are, and slots are taken from the fullest: sparse
 * ones get a chance to become empty.  Only then is one taken beyond a
 * watermark.
 */
typedef enum TmemList {
    TMEM_LIST_NONE,         /* full, or being emptied by an evictor */
    TMEM_LIST_DRAINING,
    TMEM_LIST_GROWING,      /* all slots below the watermark are in use */
    TMEM_LIST_FILLED_0,     /* up to a quarter */
    TMEM_LIST_FILLED_1,
    TMEM_LIST_FILLED_2,
    TMEM_LIST_FILLED_3,
    TMEM_LIST__MAX,
} TmemList;

/* A cache line of what processors hand to each other. */
#define TMEM_LINE_BYTES 64

/*
 * Threads of one client meet here: what a slot that is taken or given back
 * needs of the class is in the first cache line, and no other class is.
 */
typedef struct TmemClass {
    _Alignas(2 * TMEM_LINE_BYTES) TmemLock lock;
    uint64_t nr_used;       /* slots of all */
    /* Where slots are taken from; also read without the lock. */
    uint32_t fullest;
    /* The lists from TMEM_LIST_GROWING on that are not empty, a bit each. */
    uint8_t groups;

    uint32_t first[TMEM_LIST__MAX];
    uint32_t nr_segments;   /* but for those that evictors own */
    uint32_t nr_draining;   /* of these, marked; also read without the lock */
    uint64_t nr_touched;    /* of these, slots below their watermarks */
    struct {                /* scratch of tmem_arena_check() */
        uint64_t nr_used;
        uint32_t nr_segments;
    } found;
} TmemClass;

typedef struct TmemTrust TmemTrust;

struct TmemHeap {
    TmemArena *arena;
    TmemClass *classes;     /* nr_classes of the arena for each space */

    /*
     * How much larger than wanted a slot may be, in 1/256, rather than open a
     * segment for it.  Written under the arena lock.
     */
    uint32_t slack;

    /* Guarded by the store's clients_lock; see tmem-compact.h. */
    uint32_t drain_round;
    uint32_t drain_next;

    /* Guarded by the arena lock; bytes and its like also read without. */
    TmemHeap *next;
    TmemHeap *prev;
    uint64_t bytes;         /* segments and charged_bytes */
    uint64_t bytes_peak;
    uint64_t charged_bytes; /* by tmem_heap_charge() */
    uint64_t pinned_bytes;  /* these, and persistent segments */
    uint64_t min_bytes;     /* guaranteed */
    uint64_t max_bytes;     /* 0: no limit but the store's size */
    uint32_t weight;
    uint64_t waiting_bytes; /* see tmem_share_wait() */
    uint64_t grace_bytes;   /* see tmem_share_take_over(), as is the next */
    GThread *taker;         /* or NULL; also read without the lock */
    uint64_t share_bytes;   /* see tmem-share.h */
    uint32_t nr_segments;
    uint32_t nr_victims;    /* of these, owned by an evictor */
    struct {                /* scratch of tmem_arena_check() */
        uint32_t nr_segments;
        uint32_t nr_evictable;
        uint64_t nr_steps;
    } found;
    struct {
        uint32_t first;     /* eviction order of the space's segments */
        uint32_t last;
        uint32_t nr;
    } order[TMEM_SPACE__MAX];
    uint64_t left_bytes;    /* the time of tmem-ghosts.h; atomic */
    bool has_lost;          /* see tmem_heap_note_lost(); atomic */

    TmemTrust *trust;       /* whose contents are in it; NULL: pages are */
};

/**
 * tmem_heap_init() - make a heap that shares the arena with the others
 * @name: of the client
 *
 * Returns false and sets @errp if the limits are impossible, or without memory.
 */
bool tmem_heap_init(TmemHeap *heap, TmemArena *arena, const char *name,
                    const TmemLimits *limits, GError **errp);

/**
 * tmem_heap_destroy() - free an empty heap
 *
 * Waits for evictors that just empty its last segments.  No slot may be in use
 * but those that tmem_heap_note_lost() told of.
 */
void tmem_heap_destroy(TmemHeap *heap);

/** Memory went bad: a slot may stay in use that nothing leads to any more. */
static inline void tmem_heap_note_lost(TmemHeap *heap)
{
    __atomic_store_n(&heap->has_lost, true, __ATOMIC_RELAXED);
}

static inline TmemClass *tmem_heap_class(const TmemHeap *heap, TmemSpace space,
                                         uint32_t class_nr)
{
    return &heap->classes[space * heap->arena->nr_classes + class_nr];
}

static inline TmemClass *tmem_segment_class(const TmemSegment *seg)
{
    return tmem_heap_class(seg->heap, seg->space, seg->class_nr);
}

/**
 * tmem_heap_charge() - charge the heap, and the budget, for memory elsewhere
 * @bytes: negative to give back
 *
 * Returns OK, QUOTA or NOSPC; always OK if @bytes is not above 0.
 */
TmemStatus tmem_heap_charge(TmemHeap *heap, int64_t bytes);

/**
 * tmem_heap_takes_over() - whether what comes was the heap's in another process
 *
 * Not what a guest stores at the same time, by another thread.
 */
static inline bool tmem_heap_takes_over(const TmemHeap *heap)
{
    GThread *taker = __atomic_load_n(&heap->taker, __ATOMIC_RELAXED);

    return taker && taker == g_thread_self();
}

/** What the heap is charged with. */
static inline uint64_t tmem_heap_bytes(const TmemHeap *heap)
{
    return __atomic_load_n(&heap->bytes, __ATOMIC_RELAXED);
}

/** How large slots may be, after a change of what the heap has. */
void tmem_heap_set_slack_locked(TmemHeap *heap);

/** Books @bytes of segments or charges, which may be negative. */
void tmem_heap_add_bytes_locked(TmemHeap *heap, int64_t bytes, bool pinned);

/** Whether @bytes more are beyond the limit, with @grace if that counts. */
bool tmem_heap_over_limit_locked(const TmemHeap *heap, uint64_t bytes,
                                 bool grace);

/** Whether the heap holds more than its limit, which was lowered. */
bool tmem_heap_over_limit(TmemHeap *heap);

/**
 * tmem_heap_near_limit() - whether the heap is full
 * @shift: or has less than its limit >> @shift left; 0: less than a step
 *
 * What is kept in reserve for upkeep is not left.
 */
bool tmem_heap_near_limit(TmemHeap *heap, unsigned shift);

/**
 * tmem_heap_alloc() - take a slot of at least @bytes
 * @any_class: rather than fail, take a slot of any larger class
 * @why: set on failure: QUOTA (the heap's limit) or NOSPC
 *
 * Rather than take new memory, uses a marked segment again (see Compaction):
 * who stores as much as would be moved has no use for that.  The slot's owner
 * word is 0, the rest undefined.  Returns 0 on failure.
 */
TmemRef tmem_heap_alloc(TmemHeap *heap, TmemSpace space, size_t bytes,
                        bool any_class, TmemStatus *why);

/**
 * tmem_heap_alloc_below() - take a slot for what lies in one of @below bytes
 *
 * As tmem_heap_alloc(), smaller in any case, and from what is kept in reserve
 * if need be.
 */
TmemRef tmem_heap_alloc_below(TmemHeap *heap, TmemSpace space, size_t bytes,
                              uint32_t below);

/** As tmem_heap_alloc(), from the segments that the heap has. */
TmemRef tmem_heap_alloc_inside(TmemHeap *heap, TmemSpace space, size_t bytes,
                               bool any_class);

/**
 * tmem_heap_free() - give a slot back, to whatever heap it is of
 *
 * A published slot of an ephemeral space is freed under the shard lock of its
 * owner.
 */
void tmem_heap_free(TmemArena *arena, TmemRef ref);

/* --- Compaction: what is in sparse segments moves into others --- */

/* Segments that one call marks, or uses again. */
#define TMEM_DRAIN_MAX  16

/**
 * tmem_heap_drain() - hand out no slots of sparse segments any more
 * @class_nr: of this class and @space
 *
 * Marks the emptiest segments whose slots all fit the others.  A mover then
 * takes what tmem_arena_draining() says is in one, copies it to a slot of
 * tmem_heap_alloc_inside() and frees the old; an emptied segment leaves the
 * heap like any other.  Returns how many were marked: all if less than
 * TMEM_DRAIN_MAX.
 */
uint32_t tmem_heap_drain(TmemHeap *heap, TmemSpace space, uint32_t class_nr);

/**
 * tmem_heap_drain_end() - use marked segments that were not emptied again
 *
 * Returns how many they were: all if less than TMEM_DRAIN_MAX.
 */
uint32_t tmem_heap_drain_end(TmemHeap *heap, TmemSpace space,
                             uint32_t class_nr);

/**
 * tmem_heap_like_slot() - what to ask for to get a slot for @bytes as it was
 * @space: where it is to be
 * @units: how large the slot was in another arena; 0: not known
 */
static inline size_t tmem_heap_like_slot(const TmemArena *arena,
                                         TmemSpace space, size_t bytes,
                                         uint32_t units)
{
    size_t slot = MIN((size_t)units << TMEM_UNIT_SHIFT, TMEM_SLOT_BYTES_MAX);

    /* One of another size has other classes. */
    return slot > bytes &&
           tmem_sizes_slot_bytes(tmem_arena_sizes(arena, space), slot) ==
           units << TMEM_UNIT_SHIFT ? slot : bytes;
}

/** Whether the slot at @ref, which is in use, is in a marked segment. */
static inline bool tmem_arena_draining(const TmemArena *arena, TmemRef ref)
{
    return __atomic_load_n(
        &arena->segments[tmem_arena_segment_of(arena, ref)].list,
        __ATOMIC_RELAXED) == TMEM_LIST_DRAINING;
}

/** Whether a slot for @bytes of that space starts at @ref, whatever that is. */
static inline bool tmem_heap_is_slot(const TmemArena *arena, TmemSpace space,
                                     TmemRef ref, size_t bytes)
{
    uint32_t nr = tmem_arena_segment_of(arena, ref);
    const TmemSegment *seg = &arena->segments[nr];
    const TmemSize *size;
    uint32_t unit;

    if (!ref || nr >= arena->nr_segments || !seg->in_use ||
        seg->space != space) {
        return false;
    }
    unit = ref - tmem_arena_ref(arena, nr, 0);
    /*
     * Of a segment that becomes another's just now, the class may be one that
     * its space has not: such slots have no bytes.
     */
    size = tmem_segment_size(arena, seg);
    return bytes <= size->slot_bytes && unit >= size->first_unit &&
           (unit - size->first_unit) % tmem_size_units(size) == 0;
}

/* --- Eviction: an evictor takes a segment out of use, slot by slot --- */

typedef struct TmemVictim {
    TmemHeap *heap;
    uint32_t segment;
    uint32_t nr_slots;      /* below the watermark when it was taken */
    uint32_t slot_units;
    TmemRef first;
    uint32_t owner_bytes;   /* from one owner word to the next */
    uint8_t *owners;
    /* What tmem_victim_free() was given, a bit for each slot. */
    uint32_t nr_freed;
    uint64_t freed[TMEM_SEGMENT_SLOTS_MAX / 64];
} TmemVictim;

/** Where the segment's @i-th slot is. */
static inline TmemRef tmem_victim_slot(const TmemVictim *victim, uint32_t i)
{
    return victim->first + (uint64_t)i * victim->slot_units;
}

/** Its owner word. */
static inline uint64_t *tmem_victim_owner(const TmemVictim *victim, uint32_t i)
{
    return (uint64_t *)(victim->owners + (size_t)i * victim->owner_bytes);
}

/**
 * tmem_victim_begin() - own an ephemeral segment
 * @segment: from the eviction order of a heap, chosen under the arena lock
 *
 * Called with the arena lock held and returns without it.
 */
void tmem_victim_begin(TmemArena *arena, uint32_t segment, TmemVictim *victim);

/**
 * tmem_victim_free() - give the segment's @i-th slot back
 *
 * In place of tmem_heap_free(), for the evictor itself: takes no lock, as it is
 * tmem_victim_end() that makes it known.  The shard of its owner is locked.
 * Does not touch the slot: with all of them free, nobody has to.
 */
static inline void tmem_victim_free(TmemVictim *victim, uint32_t i)
{
    __atomic_store_n(tmem_victim_owner(victim, i), 0, __ATOMIC_RELAXED);
    victim->freed[i / 64] |= 1ull << i % 64;
    victim->nr_freed++;
}

/**
 * tmem_victim_end() - let go of the segment
 * @walked: whether all slots were visited; if not, it stays the oldest
 *
 * Returns true if it was empty and is idle now.
 */
bool tmem_victim_end(TmemArena *arena, TmemVictim *victim, bool walked);

#endif /* TMEM_HEAP_H */
