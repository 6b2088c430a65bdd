/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The oracle: a hash table of copies, and what it allows the store to answer
 *
 * Deliberately naive.  It knows nothing of memory, limits or order; it is told
 * what the store answered and fails the test if that was not allowed:
 *
 *   page absent in the model   the store must miss
 *   page present               a hit must be byte-equal; a miss is allowed
 *                              in an ephemeral pool only, and is for ever
 *   client frozen              every store must be refused for that
 *   store with credit          never refused; by a client without any, always
 *   shared pool                one set of pages for all members; a page goes
 *                              with the member that stored it
 */
#ifndef TMEM_TEST_MODEL_H
#define TMEM_TEST_MODEL_H

#include "libtmem/tmem.h"

typedef struct Model Model;

typedef enum OpType {
    OP_STORE,
    OP_LOAD,
    OP_TAKE,                /* an exclusive load */
    OP_INVALIDATE,
    OP_INVALIDATE_OBJECT,
    OP__MAX,
} OpType;

/* One operation: what was asked, and what the store answered. */
typedef struct Op {
    OpType type;
    unsigned client;
    TmemHandle handle;
    uint8_t page[TMEM_PAGE_SIZE];   /* to store, or as loaded */
    bool credit;                    /* to store, with one */
    TmemStatus status;
} Op;

Model *model_new(void);
void model_free(Model *model);

/* @group: of a shared pool, from 1; 0: private. */
void model_pool_created(Model *model, unsigned client, uint64_t pool,
                        TmemPoolKind kind, unsigned group);
/** Destroyed, or left. */
void model_pool_destroyed(Model *model, unsigned client, uint64_t pool);

void model_set_frozen(Model *model, unsigned client, bool frozen);

/** Credit that was granted to @client, or all that it had forgotten. */
void model_granted(Model *model, unsigned client, uint64_t nr);
void model_credit_forgotten(Model *model, unsigned client);

/** Credit that @client has. */
uint64_t model_credit(const Model *model, unsigned client);

/** Whether pages may be refused for what they are. */
void model_set_picky(Model *model, bool picky);

/** Checks the answer to @op and follows it. */
void model_apply(Model *model, const Op *op);

/** Pages that @client stored to @pool; none are missing in the store. */
uint64_t model_pages(Model *model, unsigned client, uint64_t pool);

/** Does @op with the library's own calls, if it is no store with credit. */
void model_run(TmemContext *ctx, Op *op);

/** Each pool of @client, its number @nr, holds as many pages as it should. */
void model_compare_counts(Model *model, unsigned nr, TmemClient *client);

typedef void ModelFunc(unsigned client, const TmemHandle *handle,
                       void *opaque);

/** Calls @func for each page that was in the model when it was called. */
void model_foreach(Model *model, ModelFunc *func, void *opaque);

#endif /* TMEM_TEST_MODEL_H */
