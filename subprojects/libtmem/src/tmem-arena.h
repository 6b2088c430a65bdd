/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: the bounded arena that all memory caused by guests comes from
 *
 * One address range is reserved when the store is made and is divided into
 * *segments* of equal size.  A segment in use belongs to one client's heap
 * (tmem-heap.h), which cuts it into slots of one *class*; a free one is *idle*
 * (still resident) or was returned to the operating system.
 *
 * Budget.  A segment is paid for in *steps* as its memory is touched for the
 * first time, so that one which is just begun costs little; it goes as a whole.
 * There are more segments than the budget pays for at once.  used_bytes counts
 * the steps of segments, in use and idle, the pages that their descriptors lie
 * in, and what was set aside with tmem_arena_charge() (hash tables) or
 * tmem_heap_charge() (pools).  It never exceeds the configured size at any
 * moment, but for the grace of those that take pages over (tmem-share.h).  What
 * heaps hold is charged to these; the rest is overhead.
 *
 * Locks.  The arena lock guards free segments, the budget, what every heap is
 * charged with, and the eviction orders.  It nests inside a class lock.
 */
#ifndef TMEM_ARENA_H
#define TMEM_ARENA_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "libtmem/tmem.h"
#include "tmem-lock.h"
#include "tmem-sizes.h"

/* A place in the arena, in units; 0 is none.  Must fit TMEM_REF_BITS. */
typedef uint64_t TmemRef;

#define TMEM_REF_BITS       40
#define TMEM_SEGMENT_NONE   UINT32_MAX

typedef enum TmemSpace {
    TMEM_SPACE_PERSISTENT,      /* records and index */
    TMEM_SPACE_EPHEMERAL,       /* records */
    TMEM_SPACE_EPHEMERAL_INDEX, /* nodes and arrays */
    TMEM_SPACE_PROBATION,       /* ephemeral records, of pages that are new */
    TMEM_SPACE__MAX,
} TmemSpace;

typedef struct TmemHeap TmemHeap;

/* As large as a cache line, and in one: threads are at work on neighbours. */
typedef struct TmemSegment {
    _Alignas(64) TmemHeap *heap;    /* whose it is; stable while in use */

    /* Guarded by the lock of its class; next of a free one by the arena's. */
    uint32_t next;          /* on one of its class's lists */
    uint32_t prev;
    uint16_t nr_used;       /* slots handed out now */
    uint16_t watermark;     /* slots handed out at least once */
    uint16_t free_head;     /* unit of the first free slot + 1, 0: none */
    uint8_t list;           /* TmemList */
    uint8_t nr_steps;       /* paid for: resident; also by the arena lock */
    bool frozen;            /* being emptied: hand out no slot */

    /* Guarded by the arena lock, as are free segments as a whole. */
    uint8_t class_nr;       /* stable while in use */
    uint8_t space;          /* stable while in use */
    bool in_use;
    bool victim;            /* an evictor owns it */
    uint32_t order_next;    /* eviction order of its heap, oldest first */
    uint32_t order_prev;
    uint32_t order_stamp;   /* when it joined the order; wraps around */

    /*
     * Whether a page in it was loaded since the segment was last passed over;
     * of the index: whether one that it leads to was, or was stored with a
     * record.  Atomic.
     */
    uint32_t hits;
} TmemSegment;

typedef struct TmemArena {
    uint8_t *base;
    uint64_t size_bytes;    /* the budget, unless the host's share is less */
    uint64_t span_bytes;    /* reserved at base */
    unsigned step_shift;
    unsigned segment_shift;
    uint32_t nr_segments;   /* that fit the reservation */
    TmemSegment *segments;
    size_t segments_bytes;
    TmemSizes sizes[2];     /* without and with owner words at the beginning */
    uint32_t nr_classes;    /* of that with more */

    TmemLock lock;
    pthread_cond_t victims_done;    /* a heap has no victim any more */
    /* Guarded by lock; the budget, used_bytes and nr_idle also read without. */
    uint64_t budget_bytes;
    uint64_t used_bytes;
    uint64_t charged_bytes; /* of these, not for segments */
    uint64_t heaps_bytes;   /* of used_bytes, charged to heaps */
    uint64_t heaps_charged_bytes;   /* of these, not for segments */
    uint64_t reserve_bytes; /* kept free, by heaps too, for upkeep */
    uint64_t waiting_bytes; /* see tmem_share_wait() */
    uint64_t grace_bytes;   /* see tmem_share_take_over(), as is the next */
    uint64_t overlap_bytes;
    uint64_t descriptors_bytes; /* of these, for what is used of segments[] */
    uint32_t nr_in_use;
    uint32_t nr_ephemeral;  /* of these, in ephemeral spaces */
    uint64_t ephemeral_bytes;   /* what these are paid for */
    uint32_t nr_victims;    /* of these, owned by an evictor */
    uint32_t nr_idle;       /* free, still resident, still in used_bytes */
    uint32_t idle;          /* list of these */
    uint32_t returned;      /* list of segments given back to the OS */
    uint32_t nr_virgin;     /* segments never used start here */
    uint32_t order_clock;
    TmemHeap *heaps;        /* all, in no order */
    /* See tmem-share.h. */
    uint64_t min_bytes;     /* of all heaps together */
    uint64_t weights;
    uint64_t promised_bytes;
    bool is_tight;          /* also read without the lock */
} TmemArena;

/**
 * tmem_arena_init() - reserve the arena
 *
 * Returns false and sets @errp to a sentence.
 */
bool tmem_arena_init(TmemArena *arena, uint64_t size_bytes, GError **errp);
void tmem_arena_destroy(TmemArena *arena);

static inline void *tmem_arena_ptr(const TmemArena *arena, TmemRef ref)
{
    return arena->base + ((ref - 1) << TMEM_UNIT_SHIFT);
}

static inline uint32_t tmem_arena_segment_of(const TmemArena *arena,
                                             TmemRef ref)
{
    return (ref - 1) >> (arena->segment_shift - TMEM_UNIT_SHIFT);
}

/** The place at @unit of @segment. */
static inline TmemRef tmem_arena_ref(const TmemArena *arena, uint32_t segment,
                                     uint32_t unit)
{
    return ((TmemRef)segment << (arena->segment_shift - TMEM_UNIT_SHIFT)) +
           unit + 1;
}

/** Whether segments of @space begin with the owner words of their slots. */
static inline bool tmem_space_has_owners(TmemSpace space)
{
    return space == TMEM_SPACE_EPHEMERAL || space == TMEM_SPACE_PROBATION;
}

/** The classes of @space. */
static inline const TmemSizes *tmem_arena_sizes(const TmemArena *arena,
                                                TmemSpace space)
{
    return &arena->sizes[tmem_space_has_owners(space)];
}

/** How @seg, which is in use, is cut into slots. */
static inline const TmemSize *tmem_segment_size(const TmemArena *arena,
                                                const TmemSegment *seg)
{
    return &tmem_arena_sizes(arena, seg->space)->of_class[seg->class_nr];
}

/** Bytes that the slot at @ref occupies.  The slot must be in use. */
static inline uint32_t tmem_arena_slot_bytes(const TmemArena *arena,
                                             TmemRef ref)
{
    const TmemSegment *seg =
        &arena->segments[tmem_arena_segment_of(arena, ref)];

    return tmem_segment_size(arena, seg)->slot_bytes;
}

/** Notes that what is at @ref, in an ephemeral space, is in use. */
static inline void tmem_arena_note_hit(TmemArena *arena, TmemRef ref)
{
    uint32_t *hits = &arena->segments[tmem_arena_segment_of(arena, ref)].hits;

    /* Read first: many threads come here, few find something to write. */
    if (!__atomic_load_n(hits, __ATOMIC_RELAXED)) {
        __atomic_store_n(hits, 1, __ATOMIC_RELAXED);
    }
}

/**
 * tmem_arena_charge() - set part of the budget aside for memory elsewhere
 *
 * As overhead, for no client.  Returns false if the budget does not allow it.
 */
bool tmem_arena_charge(TmemArena *arena, uint64_t bytes);
void tmem_arena_uncharge(TmemArena *arena, uint64_t bytes);
void tmem_arena_uncharge_locked(TmemArena *arena, uint64_t bytes);

/** By how much its size may be passed now; see tmem_share_take_over(). */
static inline uint64_t tmem_arena_grace_locked(const TmemArena *arena)
{
    return arena->grace_bytes + MIN(arena->overlap_bytes, arena->waiting_bytes);
}

/** What the budget, and @grace bytes more, allow beside what is used. */
static inline uint64_t tmem_arena_room_locked(const TmemArena *arena,
                                              uint64_t grace)
{
    uint64_t bytes = arena->budget_bytes + grace;

    return bytes <= arena->used_bytes ? 0 : bytes - arena->used_bytes;
}

/** See tmem_share_set_budget(). */
void tmem_arena_set_budget_locked(TmemArena *arena, uint64_t bytes);

/** What is used beyond the budget, which was lowered. */
static inline uint64_t tmem_arena_excess_locked(const TmemArena *arena)
{
    return arena->used_bytes - MIN(arena->used_bytes, arena->budget_bytes);
}

static inline uint64_t tmem_arena_budget_bytes(const TmemArena *arena)
{
    return __atomic_load_n(&arena->budget_bytes, __ATOMIC_RELAXED);
}

/** Whether the budget is less than the size. */
static inline bool tmem_arena_is_short_of_host(const TmemArena *arena)
{
    return tmem_arena_budget_bytes(arena) < arena->size_bytes;
}

/** Keeps a segment free, of the budget and of each heap's limit, or no more. */
void tmem_arena_set_reserve(TmemArena *arena, bool on);

/** Sets used_bytes, which is read without the lock that is held. */
void tmem_arena_set_used_locked(TmemArena *arena, uint64_t bytes);

/**
 * tmem_arena_pop_locked() - take a free segment within the budget
 * @max_bytes: already paid for, at most
 * @grace: bytes that it may pass the budget by
 *
 * Returns TMEM_SEGMENT_NONE if there is none.  Of the descriptor only nr_steps
 * is defined, and at least 1.
 */
uint32_t tmem_arena_pop_locked(TmemArena *arena, uint64_t max_bytes,
                               uint64_t grace);

/** Pays for steps of @segment up to @nr_steps; false beyond budget and grace */
bool tmem_arena_pay_locked(TmemArena *arena, uint32_t segment,
                           uint32_t nr_steps, uint64_t grace);

/** What the segment costs. */
static inline uint64_t tmem_segment_bytes(const TmemArena *arena,
                                          const TmemSegment *seg)
{
    return (uint64_t)seg->nr_steps << arena->step_shift;
}

/* Segments that one step of trimming gives back. */
#define TMEM_TRIM_BATCH     64

/** Takes back a segment that nobody uses: it is idle now. */
void tmem_arena_push_locked(TmemArena *arena, uint32_t nr);

/**
 * tmem_arena_trim() - give idle segments back to the operating system
 *
 * Called at the end of operations that free, with no lock held.  A few idle
 * segments are kept so that a store that hovers around a segment's edge does
 * not turn every operation into a system call; none if nothing is in use, or
 * more than the budget allows.
 */
void tmem_arena_trim(TmemArena *arena);

/**
 * tmem_arena_trim_bytes() - give idle segments back until these are @bytes
 *
 * Keeps none for later.  Returns how many bytes went back.
 */
uint64_t tmem_arena_trim_bytes(TmemArena *arena, uint64_t bytes);

/* --- For statistics and tmem_store_check() --- */

uint64_t tmem_arena_used_bytes(const TmemArena *arena);

/** What is used, and of that what is charged to no heap, at one moment. */
void tmem_arena_levels(TmemArena *arena, uint64_t *used_bytes,
                       uint64_t *overhead_bytes);

/**
 * tmem_arena_check() - cross-check segments, heaps and budget
 * @is_used: for each unit, whether a slot that the index knows starts there
 * @unknown: set if slots are handed out that the index does not know, or were
 *           while this ran: wrong, unless an operation has them in hand
 *
 * No heap may come or go meanwhile.
 */
bool tmem_arena_check(TmemArena *arena, const uint64_t *is_used,
                      bool *unknown, GError **errp);

#endif /* TMEM_ARENA_H */
