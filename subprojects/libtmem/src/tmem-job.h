/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: the request that a context has in hand
 *
 * There is one at most.  What takes long (INVALIDATE_OBJECT, DESTROY_POOL) is
 * done in slices; between these, all that the rest of the request needs is
 * here.  Nothing is locked then, and the store is consistent.
 */
#ifndef TMEM_JOB_H
#define TMEM_JOB_H

#include "libtmem/tmem-req.h"
#include "tmem-drop.h"
#include "tmem-iov.h"

/*
 * Pages that one slice drops, at 130 ns (dense, cached) to 800 ns (alone in
 * their objects) each: about 100 us.
 */
#define TMEM_SLICE_PAGES    256

/* Bytes of one operation in a request; asserted in tmem-req.c. */
#define TMEM_REQ_OP_BYTES   48

/*
 * The longest reply to any request.  Descriptors may overlap, so a guest can
 * describe terabytes, and every byte of a reply is written.
 */
#define TMEM_REPLY_MAX  (8 + TMEM_REQ_BATCH_MAX * (1 + TMEM_PAGE_SIZE))

typedef struct TmemJob {
    TmemReq *req;           /* NULL: none in hand */
    uint64_t features;
    size_t out_bytes;
    size_t in_bytes;
    uint64_t start;         /* reading of the clock; 0: not timed */

    /* A request of the control queue: the pool that it destroys. */
    TmemPool *dying;

    /* A request of a request queue. */
    unsigned nr_status;     /* status bytes in the reply */
    unsigned nr_ops;        /* that were copied; a refused request's may lack */
    unsigned next;          /* operation */
    TmemCursor out;         /* data of stores and loads still to come */
    TmemCursor in;
    bool dropping;          /* operation next is an object being dropped */
    TmemDrop drop;
    uint8_t status[TMEM_REQ_BATCH_MAX];
    /* Copied once. */
    _Alignas(8) uint8_t ops[TMEM_REQ_BATCH_MAX * TMEM_REQ_OP_BYTES];
} TmemJob;

/** Takes @req in hand. */
void tmem_job_begin(TmemContext *ctx, uint64_t features, TmemReq *req);

/** The driver broke the protocol: @violation, and nothing is written. */
void tmem_job_violation(TmemContext *ctx, const char *violation);

/** The credit that goes with the answer: granted on return. */
uint32_t tmem_job_credit(TmemContext *ctx);

/** The hints that go with the answer. */
uint8_t tmem_job_hints(TmemContext *ctx);

/** All of the reply was written. */
void tmem_job_answered(TmemContext *ctx);

/** Carries on with a request of the control queue. */
void tmem_control_run(TmemContext *ctx);

#endif /* TMEM_JOB_H */
