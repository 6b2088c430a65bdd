/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: credit, room reserved for stores that may not be refused
 *
 * One credit is a promise: one store of this client is kept, whatever limits,
 * freezing and the state of the store say by then.  So for each credit that is
 * out the client's *purse* holds a *place*: the slots for the largest record
 * and for the most that the index can need for one page more.  They come from
 * the client's heap, which is charged for them like for anything else; so no
 * client gets more than its limit by this, and only what it could have had.
 *
 * A store with credit looks for memory as any other does, and takes what the
 * place offers if there is none or if it would have been refused.  Either way
 * the credit is used up, and what is left of its place is there for the next
 * grant.  A grant never takes back: what ends is only further ones.
 *
 * Locks.  The purse's lock guards its counters and lists; a shard may be
 * locked.  Slots are taken and freed with the lock left.
 */
#ifndef TMEM_CREDIT_H
#define TMEM_CREDIT_H

#include "libtmem/tmem.h"
#include "tmem-heap.h"
#include "tmem-lock.h"

typedef struct TmemNode TmemNode;
typedef struct TmemRoom TmemRoom;
typedef struct TmemIndex TmemIndex;

/* No more than this part of a client's limit lies in reserve: 1/16. */
#define TMEM_CREDIT_SHIFT   4

typedef enum TmemPart {
    TMEM_PART_RECORD,
    TMEM_PART_INDEX,        /* a node, or the array of one */
    TMEM_PART__MAX,
} TmemPart;

/* Slots of one sort, linked by their second words; the first stay 0. */
typedef struct TmemParts {
    TmemRef first;
    uint32_t nr;
    uint32_t nr_claimed;    /* by credit, and by stores that use theirs now */
} TmemParts;

typedef struct TmemPurse {
    TmemLock lock;
    uint32_t target;        /* credit that is granted at most */
    /* Guarded by lock, and also read without. */
    uint32_t credit;        /* granted and not used yet */
    uint64_t bytes;         /* of all parts */
    TmemParts parts[TMEM_PART__MAX];    /* lock */
} TmemPurse;

/* What a store with credit may still take from the purse. */
typedef struct TmemClaim {
    bool has[TMEM_PART__MAX];
    TmemStatus why;         /* it would have been refused; OK: it would not */
} TmemClaim;

/** Sets what @client is granted at most, when it is made. */
void tmem_credit_init(TmemClient *client, uint32_t target);

/** The same for a client that is in use; nothing may be granted meanwhile. */
void tmem_credit_set_target(TmemClient *client, uint32_t target);
void tmem_credit_destroy(TmemClient *client);

/** Forgets all credit and frees the places; no request is in progress. */
void tmem_credit_forget(TmemClient *client);

/**
 * tmem_credit_grant() - grant what the client may have now
 *
 * For a response that is about to be given.  Frees places that are no longer
 * needed.  No lock held.  Returns the credit that is new.
 */
uint32_t tmem_credit_grant(TmemContext *ctx);

/** The credit that is granted and not used yet. */
uint32_t tmem_credit_outstanding(const TmemClient *client);

/**
 * tmem_credit_restore() - grant what the client had in another process
 *
 * Whatever its limits say of new credit: the guest has it.  No lock held.
 * Returns false if there is no room for all of it; what there is stays granted.
 */
bool tmem_credit_restore(TmemClient *client, uint32_t nr);

/**
 * tmem_credit_store() - tmem_page_store(), with one credit
 * @status: if not OK, the store is refused with it; the credit is used up
 *
 * INVAL if the client has no credit.
 */
TmemStatus tmem_credit_store(TmemContext *ctx, const TmemHandle *handle,
                             const void *page, TmemStatus status);

/**
 * tmem_credit_take() - the slot for a record, from the purse
 * @claim: NULL without credit
 * @why: why there is no other
 *
 * A shard may be locked.  Returns 0 if the claim does not give it.
 */
TmemRef tmem_credit_take(TmemClient *client, TmemClaim *claim,
                         TmemStatus why);

/**
 * tmem_credit_make_room() - as tmem_index_make_room(), from the purse
 *
 * The shard is locked.  Returns OK, or @why if the claim does not give it.
 */
TmemStatus tmem_credit_make_room(TmemClient *client, TmemClaim *claim,
                                 TmemNode *node, TmemStatus why,
                                 TmemRoom *room);

/* --- In tmem-page.c --- */

/** tmem_page_store(); with @claim, not NULL, never refused. */
TmemStatus tmem_page_store_claiming(TmemContext *ctx,
                                    const TmemHandle *handle,
                                    const void *page, TmemClaim *claim);

#endif /* TMEM_CREDIT_H */
