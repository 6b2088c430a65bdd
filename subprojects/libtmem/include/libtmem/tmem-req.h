/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: decode, validate and carry out one virtio-tmem request
 *
 * The one decoder used by every host front end.  It trusts nothing: header and
 * operations are copied once, each page is copied once into the context's
 * bounce buffer before it is looked at, lengths, flags and reserved bits are
 * checked, and every byte of the reply that is not an answer is zeroed.
 */
#ifndef LIBTMEM_TMEM_REQ_H
#define LIBTMEM_TMEM_REQ_H

#include <sys/uio.h>

#include "libtmem/tmem.h"

G_BEGIN_DECLS

/* Operations in one request that this implementation takes. */
#define TMEM_REQ_BATCH_MAX  64

typedef struct TmemReq TmemReq;

/**
 * TmemReqDone: a request has ended
 *
 * Called exactly once for each submitted request, inline from
 * tmem_req_submit() or later from the thread that owns its context.
 *
 * @req->violation is NULL and @req->written tells how many bytes of the
 * device-writable part are valid; or it is a sentence (static storage): the
 * driver broke the protocol, nothing was written, and the device is broken.
 */
typedef void TmemReqDone(TmemReq *req);

/**
 * TmemReq: one descriptor chain; embed it in the front end's element
 *
 * The vectors describe guest memory that the guest may change at any time;
 * they must stay mapped until @done was called.
 */
struct TmemReq {
    /* Set by the caller. */
    const struct iovec *out;    /* device-readable */
    unsigned out_num;
    const struct iovec *in;     /* device-writable */
    unsigned in_num;
    TmemReqDone *done;

    /* Set before @done is called. */
    size_t written;
    uint8_t hints;              /* TMEM_HINT_* that the response tells */
    const char *violation;
};

/**
 * tmem_req_submit() - carry out a request from a request queue
 * @features: negotiated virtio feature bits (VIRTIO_TMEM_F_*)
 *
 * Operations of a request are applied in order; requests submitted one after
 * the other on one context are applied to each handle in that order.
 *
 * A request that drops many pages (INVALIDATE_OBJECT, DESTROY_POOL) is done in
 * slices: if @done was not called on return, the caller lets other work of its
 * thread go first, and then calls tmem_req_resume(), again and again until
 * @done was called.  Until then it submits nothing else on this context.
 */
void tmem_req_submit(TmemContext *ctx, uint64_t features, TmemReq *req);

/**
 * tmem_req_submit_control() - carry out a request from the control queue
 *
 * As tmem_req_submit(), for VIRTIO_TMEM_T_CREATE_POOL and
 * VIRTIO_TMEM_T_DESTROY_POOL.
 */
void tmem_req_submit_control(TmemContext *ctx, uint64_t features,
                             TmemReq *req);

/** Carries on with a request whose @done was not yet called. */
void tmem_req_resume(TmemContext *ctx, TmemReq *req);

/**
 * tmem_req_cancel() - let go of a request whose @done was not yet called
 *
 * The device is being reset: @done is not called, and the vectors are not
 * looked at any more.  What the request began to drop may be half dropped; a
 * pool whose destruction began stays out of sight and goes with the client's
 * other pools in tmem_client_reset().
 */
void tmem_req_cancel(TmemContext *ctx, TmemReq *req);

G_END_DECLS

#endif /* LIBTMEM_TMEM_REQ_H */
