/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: decode, validate and carry out one virtio-tmem request
 *
 * Everything here runs on guest memory that the guest can change meanwhile.
 * Each byte that decides something is copied out of it once and never looked
 * at again; the cursors of tmem-iov.h are the only code that touches it.
 */
#include <string.h>

#include "standard-headers/linux/virtio_tmem.h"
#include "tmem-job.h"
#include "tmem-store.h"

#define SAME_STATUS(name) \
    G_STATIC_ASSERT((int)TMEM_STATUS_##name == VIRTIO_TMEM_S_##name)
SAME_STATUS(OK);
SAME_STATUS(MISS);
SAME_STATUS(NOSPC);
SAME_STATUS(QUOTA);
SAME_STATUS(REFUSED);
SAME_STATUS(FROZEN);
SAME_STATUS(IO);
SAME_STATUS(NOPOOL);
SAME_STATUS(UNSUPP);
SAME_STATUS(INVAL);
SAME_STATUS(PERM);

G_STATIC_ASSERT(TMEM_HINT_PERSISTENT == VIRTIO_TMEM_HINT_PERSISTENT);
G_STATIC_ASSERT(TMEM_HINT_EPHEMERAL == VIRTIO_TMEM_HINT_EPHEMERAL);
G_STATIC_ASSERT(sizeof(struct virtio_tmem_req) == 8);
G_STATIC_ASSERT(sizeof(struct virtio_tmem_op) == TMEM_REQ_OP_BYTES);
G_STATIC_ASSERT(sizeof(struct virtio_tmem_resp) == 8);
G_STATIC_ASSERT(TMEM_REPLY_MAX == sizeof(struct virtio_tmem_resp) +
                TMEM_REQ_BATCH_MAX * (1 + TMEM_PAGE_SIZE));

/* --- The request in hand --- */

void tmem_job_violation(TmemContext *ctx, const char *violation)
{
    TmemReq *req = ctx->job.req;

    tmem_count(&ctx->counters.violations, 1);
    ctx->job.req = NULL;
    req->written = 0;
    req->violation = violation;
    req->done(req);
}

uint32_t tmem_job_credit(TmemContext *ctx)
{
    return ctx->job.features & 1ull << VIRTIO_TMEM_F_CREDIT ?
           tmem_credit_grant(ctx) : 0;
}

uint8_t tmem_job_hints(TmemContext *ctx)
{
    TmemJob *job = &ctx->job;

    job->req->hints = job->features & 1ull << VIRTIO_TMEM_F_HINT ?
                      tmem_client_hints(ctx->client) : 0;
    return job->req->hints;
}

void tmem_job_answered(TmemContext *ctx)
{
    TmemReq *req = ctx->job.req;

    ctx->job.req = NULL;
    req->written = ctx->job.in_bytes;
    req->violation = NULL;
    req->done(req);
}

void tmem_job_begin(TmemContext *ctx, uint64_t features, TmemReq *req)
{
    TmemJob *job = &ctx->job;

    tmem_count(&ctx->counters.requests, 1);
    job->req = req;
    req->hints = 0;
    job->features = features;
    job->out_bytes = tmem_iov_bytes(req->out, req->out_num);
    job->in_bytes = tmem_iov_bytes(req->in, req->in_num);
    job->dying = NULL;
    job->nr_status = job->nr_ops = job->next = 0;
    job->dropping = false;
}

/* --- Decoding --- */

static const struct virtio_tmem_op *op_at(const TmemJob *job, unsigned i)
{
    return (const struct virtio_tmem_op *)job->ops + i;
}

static void handle_of(const struct virtio_tmem_op *op, TmemHandle *handle)
{
    handle->pool = GUINT64_FROM_LE(op->pool);
    if (tmem_pool_id_is_host(handle->pool)) {
        /* What no request may name does not exist. */
        handle->pool = 0;
    }
    for (int i = 0; i < 3; i++) {
        handle->object[i] = GUINT64_FROM_LE(op->object[i]);
    }
    handle->index = GUINT64_FROM_LE(op->index);
}

/* Copies the operations once, as many as the request has and may have. */
static void read_ops(TmemJob *job, unsigned nr_ops)
{
    size_t room = job->out_bytes - sizeof(struct virtio_tmem_req);
    TmemCursor c = tmem_cursor_at(job->req->out, job->req->out_num,
                                  sizeof(struct virtio_tmem_req));

    job->nr_status = MIN(nr_ops, TMEM_REQ_BATCH_MAX);
    job->nr_ops = MIN(job->nr_status, room / sizeof(struct virtio_tmem_op));
    tmem_cursor_read(&c, job->ops,
                     job->nr_ops * sizeof(struct virtio_tmem_op));
}

static unsigned count_ops(const TmemJob *job, uint8_t which)
{
    unsigned nr = 0;

    for (unsigned i = 0; i < job->nr_ops; i++) {
        nr += op_at(job, i)->op == which;
    }
    return nr;
}

/* What is wrong with the request as a whole, if anything. */
static TmemStatus check_request(const TmemJob *job,
                                const struct virtio_tmem_req *hdr)
{
    unsigned nr_ops = GUINT16_FROM_LE(hdr->nr_ops);
    size_t out, in;

    if (hdr->type != VIRTIO_TMEM_T_PAGES) {
        return TMEM_STATUS_UNSUPP;
    }
    if (hdr->reserved0 || hdr->reserved1 || !nr_ops ||
        nr_ops > TMEM_REQ_BATCH_MAX || job->nr_ops < nr_ops) {
        return TMEM_STATUS_INVAL;
    }
    out = sizeof(*hdr) + nr_ops * sizeof(struct virtio_tmem_op) +
          count_ops(job, VIRTIO_TMEM_OP_STORE) * TMEM_PAGE_SIZE;
    in = sizeof(struct virtio_tmem_resp) + nr_ops +
         count_ops(job, VIRTIO_TMEM_OP_LOAD) * TMEM_PAGE_SIZE;
    if (job->out_bytes != out || job->in_bytes != in) {
        return TMEM_STATUS_INVAL;
    }
    return TMEM_STATUS_OK;
}

/* Writes the response and the status bytes, which come first in the reply. */
static void reply(TmemContext *ctx, TmemStatus status)
{
    const TmemJob *job = &ctx->job;
    struct virtio_tmem_resp resp = {
        .status = status, .credit = GUINT32_TO_LE(tmem_job_credit(ctx)),
        .hints = tmem_job_hints(ctx),
    };
    TmemCursor c = tmem_cursor_at(job->req->in, job->req->in_num, 0);

    tmem_cursor_write(&c, &resp, sizeof(resp));
    tmem_cursor_write(&c, job->status, job->nr_status);
}

/* The request is refused as a whole; its stores leave nothing (B1). */
static void refuse_request(TmemContext *ctx, TmemStatus status)
{
    TmemJob *job = &ctx->job;
    size_t head = sizeof(struct virtio_tmem_resp) + job->nr_status;
    TmemCursor c = tmem_cursor_at(job->req->in, job->req->in_num, head);
    TmemHandle handle;

    tmem_count(&ctx->counters.requests_refused, 1);
    for (unsigned i = 0; i < job->nr_ops; i++) {
        if (op_at(job, i)->op == VIRTIO_TMEM_OP_STORE) {
            handle_of(op_at(job, i), &handle);
            tmem_page_invalidate(ctx, &handle);
        }
    }
    memset(job->status, status, job->nr_status);
    tmem_cursor_zero(&c, job->in_bytes - head);
    reply(ctx, status);
    tmem_job_answered(ctx);
}

/* --- Operations --- */

/* A pool of this client that exclusive loads are not for. */
static bool keeps_pages(const TmemContext *ctx, const TmemHandle *handle)
{
    return (tmem_pool_id_kind(handle->pool) == TMEM_POOL_PERSISTENT ||
            tmem_pool_id_is_shared(handle->pool)) &&
           tmem_pool_find(ctx->client, handle->pool);
}

/* A pool of this client whose stores are not reported ahead. */
static bool loses_pages(const TmemContext *ctx, const TmemHandle *handle)
{
    return tmem_pool_id_kind(handle->pool) == TMEM_POOL_EPHEMERAL &&
           tmem_pool_find(ctx->client, handle->pool);
}

/* What forbids an operation before the store is asked. */
static TmemStatus check_op(const TmemContext *ctx,
                           const struct virtio_tmem_op *op,
                           const TmemHandle *handle)
{
    uint64_t features = ctx->job.features;
    bool exclusive = op->flags & VIRTIO_TMEM_OP_F_EXCLUSIVE;
    bool credit = op->flags & VIRTIO_TMEM_OP_F_CREDIT;

    if (op->op < VIRTIO_TMEM_OP_STORE ||
        op->op > VIRTIO_TMEM_OP_INVALIDATE_OBJECT) {
        return TMEM_STATUS_UNSUPP;
    }
    if (op->reserved0 || op->reserved1 ||
        op->flags & ~(VIRTIO_TMEM_OP_F_EXCLUSIVE | VIRTIO_TMEM_OP_F_CREDIT) ||
        (exclusive && op->op != VIRTIO_TMEM_OP_LOAD) ||
        (credit && op->op != VIRTIO_TMEM_OP_STORE) ||
        (op->op == VIRTIO_TMEM_OP_INVALIDATE_OBJECT && handle->index)) {
        return TMEM_STATUS_INVAL;
    }
    if ((exclusive && !(features & 1ull << VIRTIO_TMEM_F_EXCLUSIVE)) ||
        (credit && !(features & 1ull << VIRTIO_TMEM_F_CREDIT))) {
        return TMEM_STATUS_UNSUPP;
    }
    if ((credit && loses_pages(ctx, handle)) ||
        (exclusive && keeps_pages(ctx, handle))) {
        return TMEM_STATUS_INVAL;
    }
    return TMEM_STATUS_OK;
}

/* Whatever its answer, a store that says so uses one credit. */
static bool uses_credit(const TmemContext *ctx, uint8_t flags)
{
    return flags & VIRTIO_TMEM_OP_F_CREDIT &&
           ctx->job.features & 1ull << VIRTIO_TMEM_F_CREDIT;
}

static TmemStatus do_store(TmemContext *ctx, const TmemHandle *handle,
                           uint8_t flags, TmemStatus status)
{
    tmem_cursor_read(&ctx->job.out, ctx->bounce, TMEM_PAGE_SIZE);
    if (uses_credit(ctx, flags)) {
        return tmem_credit_store(ctx, handle, ctx->bounce, status);
    }
    if (status != TMEM_STATUS_OK) {
        tmem_page_invalidate(ctx, handle);
        return status;
    }
    return tmem_page_store(ctx, handle, ctx->bounce);
}

static TmemStatus do_load(TmemContext *ctx, const TmemHandle *handle,
                          bool exclusive, TmemStatus status)
{
    TmemCursor *data = &ctx->job.in;
    uint64_t version;

    if (status == TMEM_STATUS_OK) {
        status = tmem_page_load(ctx, handle, ctx->bounce, &version);
    }
    if (status != TMEM_STATUS_OK) {
        tmem_cursor_zero(data, TMEM_PAGE_SIZE);
        return status;
    }
    tmem_cursor_write(data, ctx->bounce, TMEM_PAGE_SIZE);
    if (exclusive) {
        /* Delivered; what was stored in the meantime stays. */
        tmem_page_take(ctx, handle, version);
    }
    return TMEM_STATUS_OK;
}

/* Returns false if it goes on in the next slice. */
static bool do_invalidate_object(TmemContext *ctx, const TmemHandle *handle,
                                 uint32_t *budget, TmemStatus *status)
{
    TmemJob *job = &ctx->job;

    if (!job->dropping) {
        *status = tmem_object_invalidate_begin(ctx, handle, &job->drop);
        if (*status != TMEM_STATUS_OK) {
            return true;
        }
        job->dropping = true;
    }
    switch (tmem_drop_some(&job->drop, budget)) {
    case TMEM_DROPPED_SOME:
        return false;
    case TMEM_DROPPED_NO_POOL:
        tmem_count(&ctx->counters.ops_no_pool, 1);
        *status = TMEM_STATUS_NOPOOL;
        break;
    default:
        *status = TMEM_STATUS_OK;
        break;
    }
    job->dropping = false;
    return true;
}

/* Returns false if it goes on in the next slice. */
static bool do_op(TmemContext *ctx, const struct virtio_tmem_op *op,
                  uint32_t *budget, TmemStatus *status)
{
    TmemHandle handle;

    handle_of(op, &handle);
    if (!ctx->job.dropping) {
        *status = check_op(ctx, op, &handle);
        if (*status != TMEM_STATUS_OK) {
            tmem_count(&ctx->counters.ops_invalid, 1);
        }
    }
    switch (op->op) {
    case VIRTIO_TMEM_OP_STORE:
        *status = do_store(ctx, &handle, op->flags, *status);
        break;
    case VIRTIO_TMEM_OP_LOAD:
        *status = do_load(ctx, &handle,
                          op->flags & VIRTIO_TMEM_OP_F_EXCLUSIVE, *status);
        break;
    case VIRTIO_TMEM_OP_INVALIDATE:
        if (*status == TMEM_STATUS_OK) {
            *status = tmem_page_invalidate(ctx, &handle);
        }
        break;
    case VIRTIO_TMEM_OP_INVALIDATE_OBJECT:
        if (*status == TMEM_STATUS_OK) {
            return do_invalidate_object(ctx, &handle, budget, status);
        }
        break;
    default:
        break;
    }
    return true;
}

/* --- The request --- */

/* Some loads are what somebody waits for; what else is in it is their delay. */
static void end_timing(TmemContext *ctx)
{
    if (ctx->job.start && count_ops(&ctx->job, VIRTIO_TMEM_OP_LOAD)) {
        tmem_hist_end(&ctx->hist.latency.load_request, ctx->job.start);
    }
}

/* Carries on until the request or the slice ends. */
static void run(TmemContext *ctx)
{
    TmemJob *job = &ctx->job;
    uint32_t budget = TMEM_SLICE_PAGES;

    while (job->next < job->nr_ops) {
        TmemStatus status = TMEM_STATUS_OK;

        if (!do_op(ctx, op_at(job, job->next), &budget, &status)) {
            return;
        }
        job->status[job->next++] = status;
    }
    reply(ctx, TMEM_STATUS_OK);
    end_timing(ctx);
    tmem_job_answered(ctx);
}

/* The operations' memory is fetched for all of them at the same time. */
static void prefetch(TmemContext *ctx)
{
    const TmemJob *job = &ctx->job;
    TmemHandle handles[TMEM_REQ_BATCH_MAX];

    if (job->nr_ops > 1) {
        for (unsigned i = 0; i < job->nr_ops; i++) {
            handle_of(op_at(job, i), &handles[i]);
        }
        tmem_page_prefetch(ctx, handles, job->nr_ops);
    }
}

void tmem_req_submit(TmemContext *ctx, uint64_t features, TmemReq *req)
{
    TmemJob *job = &ctx->job;
    struct virtio_tmem_req hdr;
    TmemStatus status;
    TmemCursor c;

    tmem_job_begin(ctx, features, req);
    job->start = tmem_hist_start(&ctx->hist);
    if (job->out_bytes < sizeof(hdr)) {
        tmem_job_violation(ctx, "request shorter than its header");
        return;
    }
    c = tmem_cursor_at(req->out, req->out_num, 0);
    tmem_cursor_read(&c, &hdr, sizeof(hdr));
    if (job->in_bytes < sizeof(struct virtio_tmem_resp) +
                        MIN(GUINT16_FROM_LE(hdr.nr_ops), TMEM_REQ_BATCH_MAX)) {
        tmem_job_violation(ctx, "no room for the response");
        return;
    }
    if (job->in_bytes > TMEM_REPLY_MAX) {
        tmem_job_violation(ctx, "more room than any response needs");
        return;
    }
    read_ops(job, GUINT16_FROM_LE(hdr.nr_ops));
    status = check_request(job, &hdr);
    if (status != TMEM_STATUS_OK) {
        refuse_request(ctx, status);
        return;
    }
    job->out = tmem_cursor_at(req->out, req->out_num, sizeof(hdr) +
                              job->nr_ops * sizeof(struct virtio_tmem_op));
    job->in = tmem_cursor_at(req->in, req->in_num,
                             sizeof(struct virtio_tmem_resp) +
                             job->nr_status);
    prefetch(ctx);
    run(ctx);
}

void tmem_req_resume(TmemContext *ctx, TmemReq *req)
{
    if (ctx->job.req != req) {
        return;
    }
    if (ctx->job.dying) {
        tmem_control_run(ctx);
    } else {
        run(ctx);
    }
}

void tmem_req_cancel(TmemContext *ctx, TmemReq *req)
{
    TmemJob *job = &ctx->job;

    if (!req || job->req != req) {
        return;
    }
    if (job->dying) {
        tmem_pool_destroy_abandon(job->dying);
    }
    job->req = NULL;
}
