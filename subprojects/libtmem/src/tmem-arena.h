/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: the bounded arena that all memory caused by guests comes from
 *
 * Words.  One address range is reserved when the store is made and is divided
 * into *segments* of equal size.  A segment in use belongs to one *class* and
 * is divided into *slots* of that class's size.  Slots below the segment's
 * watermark have been handed out at least once; the pages above it were never
 * touched and cost nothing.
 *
 * Budget.  used_bytes counts whole segments in use, the pages that their
 * descriptors lie in, and what was set aside with tmem_arena_charge() (hash
 * tables, pools).  It never exceeds the configured size at any moment.
 *
 * Spaces.  What belongs to ephemeral pools lives in segments of its own so that
 * eviction can empty a whole segment and hand it to anyone.  Each slot there
 * starts with an owner word, see tmem-entry.h; it is 0 while the slot is free
 * or not yet published in the index.  The index of ephemeral pages is kept
 * apart from the pages: emptying one of its segments costs all pages that its
 * nodes refer to, so what is stored or loaded there keeps it.
 *
 * Locks.  A class lock guards the lists and slots of its segments; the arena
 * lock guards free segments, the budget and the eviction order, and nests
 * inside a class lock.  Callers may hold a shard lock.
 */
#ifndef TMEM_ARENA_H
#define TMEM_ARENA_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "tmem-lock.h"

/* A place in the arena, in units; 0 is none.  Must fit TMEM_REF_BITS. */
typedef uint64_t TmemRef;

#define TMEM_REF_BITS       40
#define TMEM_UNIT_SHIFT     4
#define TMEM_UNIT           (1u << TMEM_UNIT_SHIFT)

/* The largest slot anyone asks for: a raw page with its record header. */
#define TMEM_SLOT_BYTES_MAX (4096 + TMEM_UNIT)

#define TMEM_ARENA_CLASSES_MAX  250
#define TMEM_SEGMENT_NONE       UINT32_MAX

typedef enum TmemSpace {
    TMEM_SPACE_PERSISTENT,      /* records and index */
    TMEM_SPACE_EPHEMERAL,       /* records */
    TMEM_SPACE_EPHEMERAL_INDEX, /* nodes and arrays */
    TMEM_SPACE__MAX,
} TmemSpace;

typedef struct TmemSegment {
    /* Guarded by the lock of its class. */
    uint32_t next;          /* list of the class's segments with free slots */
    uint32_t prev;
    uint32_t nr_used;       /* slots handed out now */
    uint32_t watermark;     /* slots handed out at least once */
    uint16_t free_head;     /* unit of the first free slot + 1, 0: none */
    bool listed;            /* on its class's list */
    bool frozen;            /* being emptied: hand out no slot */

    /* Guarded by the arena lock, as are free segments as a whole. */
    uint8_t class_nr;       /* stable while in use */
    uint8_t space;          /* stable while in use */
    bool in_use;
    bool victim;            /* an evictor owns it */
    uint32_t order_next;    /* eviction order, oldest first */
    uint32_t order_prev;
    uint32_t order_stamp;   /* when it joined the order; wraps around */

    /*
     * Whether a page in it was loaded since the segment was last passed over;
     * of the index: whether one that it leads to was, or was stored with a
     * record.  Atomic.
     */
    uint32_t hits;
} TmemSegment;

typedef struct TmemClass {
    TmemLock lock;
    uint32_t slot_bytes;
    uint32_t slots;         /* in one segment */
    uint32_t first;         /* segments with free slots */
    uint64_t nr_used;       /* slots */
} TmemClass;

typedef struct TmemArena {
    uint8_t *base;
    uint64_t size_bytes;    /* the budget */
    unsigned segment_shift;
    uint32_t nr_segments;   /* that fit the reservation */
    uint32_t nr_classes;
    TmemSegment *segments;
    size_t segments_bytes;
    /* The smallest class for a size in units, rounded up. */
    uint8_t class_of[TMEM_SLOT_BYTES_MAX / TMEM_UNIT + 1];
    TmemClass classes[TMEM_SPACE__MAX][TMEM_ARENA_CLASSES_MAX];

    TmemLock lock;
    /* Guarded by lock; used_bytes and nr_idle are also read without it. */
    uint64_t used_bytes;
    uint64_t charged_bytes; /* of these, not for segments */
    uint64_t descriptors_bytes; /* of these, for what is used of segments[] */
    uint32_t nr_in_use;
    uint32_t nr_victims;    /* of these, owned by an evictor */
    uint32_t nr_idle;       /* free, still resident, still in used_bytes */
    uint32_t idle;          /* list of these */
    uint32_t returned;      /* list of segments given back to the OS */
    uint32_t nr_virgin;     /* segments never used start here */
    struct {
        uint32_t first;     /* eviction order of the space's segments */
        uint32_t last;
    } order[TMEM_SPACE__MAX];
    uint32_t order_clock;
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

/**
 * tmem_arena_alloc() - take a slot of at least @bytes
 * @any_class: rather than fail, take a slot of any larger class
 *
 * The slot's owner word is 0, the rest undefined.  Returns 0 if the budget
 * allows none.
 */
TmemRef tmem_arena_alloc(TmemArena *arena, TmemSpace space, size_t bytes,
                         bool any_class);

/**
 * tmem_arena_free() - give a slot back
 *
 * A published slot of an ephemeral space is freed under the shard lock of its
 * owner.
 */
void tmem_arena_free(TmemArena *arena, TmemRef ref);

/** Bytes that the slot at @ref occupies.  The slot must be in use. */
uint32_t tmem_arena_slot_bytes(const TmemArena *arena, TmemRef ref);

/**
 * tmem_arena_charge() - set part of the budget aside for memory elsewhere
 *
 * Returns false if the budget does not allow it.
 */
bool tmem_arena_charge(TmemArena *arena, uint64_t bytes);
void tmem_arena_uncharge(TmemArena *arena, uint64_t bytes);

/**
 * tmem_arena_trim() - give idle segments back to the operating system
 *
 * Called at the end of operations that free, with no lock held.  A few idle
 * segments are kept so that a store that hovers around a segment's edge does
 * not turn every operation into a system call; none if nothing is in use.
 */
void tmem_arena_trim(TmemArena *arena);

/** The same, keeping none. */
void tmem_arena_trim_all(TmemArena *arena);

/* --- Eviction: an evictor takes a segment out of use, slot by slot --- */

typedef struct TmemVictim {
    uint32_t segment;
    uint32_t nr_slots;      /* below the watermark when it was taken */
    uint32_t slot_units;
    TmemRef first;
} TmemVictim;

/**
 * tmem_arena_victim_begin() - own an ephemeral segment
 * @segment: from the eviction order, chosen under the arena lock
 *
 * Called with the arena lock held and returns without it.
 */
void tmem_arena_victim_begin(TmemArena *arena, uint32_t segment,
                             TmemVictim *victim);

/**
 * tmem_arena_victim_end() - let go of the segment
 * @walked: whether all slots were visited; if not, it stays the oldest
 *
 * Returns true if it was empty and is idle now.
 */
bool tmem_arena_victim_end(TmemArena *arena, TmemVictim *victim, bool walked);

/** Moves @segment to the young end of the order.  Arena lock held. */
void tmem_arena_order_renew_locked(TmemArena *arena, uint32_t segment);

/** The oldest segment of all ephemeral spaces.  Arena lock held. */
uint32_t tmem_arena_order_oldest_locked(const TmemArena *arena);

/** Notes that what is at @ref, in an ephemeral space, is in use. */
static inline void tmem_arena_note_hit(TmemArena *arena, TmemRef ref)
{
    uint32_t *hits = &arena->segments[tmem_arena_segment_of(arena, ref)].hits;

    /* Read first: many threads come here, few find something to write. */
    if (!__atomic_load_n(hits, __ATOMIC_RELAXED)) {
        __atomic_store_n(hits, 1, __ATOMIC_RELAXED);
    }
}

/* --- For statistics and tmem_store_check() --- */

uint64_t tmem_arena_used_bytes(const TmemArena *arena);

/** Bytes in slots that are handed out. */
uint64_t tmem_arena_slots_bytes(TmemArena *arena);

/**
 * tmem_arena_check() - cross-check segments, classes and budget
 * @is_used: for each unit, whether a slot that the index knows starts there
 * @unknown: set if slots are handed out that the index does not know, or were
 *           while this ran: wrong, unless an operation has them in hand
 */
bool tmem_arena_check(TmemArena *arena, const uint64_t *is_used,
                      bool *unknown, GError **errp);

#endif /* TMEM_ARENA_H */
