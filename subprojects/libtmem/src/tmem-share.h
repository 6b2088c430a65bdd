/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: which client may have how much
 *
 * Each client has a guaranteed minimum, a hard maximum, and a *share*: its
 * minimum, and a part by weight of what all minimums leave over.  A client may
 * hold more than its share while there is room.
 *
 * What is *pinned* is what cannot be evicted: persistent segments and what was
 * charged for tables.  What is *promised* to a client is the larger of what it
 * has pinned and of its minimum.  As long as all promises fit the budget,
 * whoever is below its minimum gets memory: free, or evicted from others.
 *
 * Everything here is guarded by the arena lock.
 */
#ifndef TMEM_SHARE_H
#define TMEM_SHARE_H

#include "tmem-heap.h"

/*
 * When less than 1/16 of the budget is neither pinned nor promised nor overhead
 * it is *tight*: clients above their share pin no more.
 */
#define TMEM_TIGHT_SHIFT    4

/*
 * A client whose segments come to more than its share uses as much less than it
 * in slots: about what compaction leaves empty.
 */
#define TMEM_HOLES_SHIFT    4

/**
 * tmem_share_set_budget() - use no more than @bytes, if that is less than size
 *
 * What is used already stays.  Takes the lock.
 */
void tmem_share_set_budget(TmemArena *arena, uint64_t bytes);

/** A heap joins those that share the arena, or leaves them. */
void tmem_share_join_locked(TmemHeap *heap, const TmemLimits *limits);
void tmem_share_leave_locked(TmemHeap *heap);

void tmem_share_set_locked(TmemHeap *heap, const TmemLimits *limits);

/**
 * tmem_share_check_locked() - whether these limits are possible
 * @heap: for this one; NULL: for one that is about to join
 * @name: of the client, for the sentence in @errp
 */
bool tmem_share_check_locked(const TmemArena *arena, const TmemHeap *heap,
                             const char *name, const TmemLimits *limits,
                             GError **errp);

/**
 * tmem_share_wait() - @bytes more, or less if negative, wait for their door
 * @heap: of its client, or NULL if that is not there
 *
 * They count in its maximum from now on, or what is stored meanwhile would take
 * their room.  The caller has charged the arena with them; of what no longer
 * waits it is uncharged here.  Takes the lock.
 */
void tmem_share_wait(TmemArena *arena, TmemHeap *heap, int64_t bytes);

/** Of what is stored, as much may still be kept free for it as well. */
#define TMEM_SHARE_OVERLAP  (128u << 10)

/**
 * tmem_share_take_over() - what comes now was there in another process
 * @bytes: as many, as encoded; 0: no more comes
 * @more_bytes: that the grace, below, has besides
 *
 * Meanwhile, in this thread, the heap's share does not count, nor what is
 * promised to others or kept in reserve: what it held above its share, because
 * there was room, is not taken from it for having to come back.
 *
 * Nor does it have to fit to the last byte, as it comes in another order.  The
 * budget and the heap's maximum have a *grace*, of what the order can make of
 * all that has come so far, and of @more_bytes; it is used when nothing else is
 * left.
 *
 * While pages come that waited for their door, they may be counted as waiting
 * and as stored: the *overlap* is what that can be, at most what still waits.
 * What goes beyond all of this stays, and nothing new is taken until the limits
 * are kept again.  Takes the lock.
 */
void tmem_share_take_over(TmemHeap *heap, uint64_t bytes, uint64_t more_bytes);

/** Nothing comes any more: the grace ends.  Takes the lock. */
void tmem_share_taken_over(TmemArena *arena);

/** Books @bytes, which may be negative, as pinned by @heap. */
void tmem_share_pin_locked(TmemHeap *heap, int64_t bytes);

/**
 * tmem_share_ceiling() - what @heap can come to, pinned, with what others have
 * @pinned: set to what it has pinned
 *
 * Its maximum, or what is promised to others leaves.  Takes the lock.
 */
uint64_t tmem_share_ceiling(TmemHeap *heap, uint64_t *pinned);

/** Whether @heap may pin @bytes more, as far as others are concerned. */
bool tmem_share_admits_locked(const TmemHeap *heap, uint64_t bytes);

/** The same for one more segment; takes the lock. */
bool tmem_share_admits(TmemHeap *heap);

/**
 * tmem_share_admits_slot() - whether @heap may take a slot of @bytes
 *
 * Asked when the store is tight, without any lock: a client above its share
 * may still use the segments that it has, up to a little less than its share.
 */
bool tmem_share_admits_slot(TmemHeap *heap, uint64_t bytes);

/**
 * tmem_share_keeps_slots() - whether @heap may fill slots again that it empties
 *
 * Without any lock: it may not if the store is tight and what it uses is above
 * its share.
 */
bool tmem_share_keeps_slots(TmemHeap *heap);

/**
 * tmem_share_owes() - whether @heap can have memory, whoever holds it now
 *
 * It is below its minimum, by a sixteenth and by what others may keep above
 * theirs, and all promises can be kept.  Takes the lock.
 */
bool tmem_share_owes(TmemHeap *heap);

/* Who wants memory that others hold. */
typedef struct TmemWish {
    const TmemHeap *for_heap;   /* NULL: the operator */
    bool pinning;               /* for what cannot be evicted */
    bool past_minimums;         /* even from clients below their minimum */
} TmemWish;

/**
 * tmem_share_victim_locked() - whose ephemeral pages are to go
 *
 * Of the clients that have any, the one that holds most in proportion to its
 * share, leaving all their minimums.  An ephemeral page never makes way for one
 * of a client that is further over its share.  Returns NULL if there is none.
 */
TmemHeap *tmem_share_victim_locked(TmemArena *arena, const TmemWish *wish);

/** Bytes that are neither pinned nor promised to anyone; takes the lock. */
uint64_t tmem_share_available(TmemArena *arena);

#endif /* TMEM_SHARE_H */
