/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: decode, validate and carry out one request of the control queue
 *
 * As in tmem-req.c, guest memory is read once.
 */
#include <string.h>

#include "standard-headers/linux/virtio_tmem.h"
#include "tmem-job.h"
#include "tmem-store.h"

G_STATIC_ASSERT(sizeof(struct virtio_tmem_create_pool) == 24);
G_STATIC_ASSERT(sizeof(struct virtio_tmem_destroy_pool) == 16);
G_STATIC_ASSERT(sizeof(struct virtio_tmem_ctrl_resp) == 16);
G_STATIC_ASSERT(sizeof(((struct virtio_tmem_create_pool *)NULL)->uuid) ==
                TMEM_UUID_BYTES);

static void answer(TmemContext *ctx, TmemStatus status, uint64_t id)
{
    struct virtio_tmem_ctrl_resp resp = {
        .status = status, .pool = GUINT64_TO_LE(id),
        .credit = GUINT32_TO_LE(tmem_job_credit(ctx)),
        .hints = tmem_job_hints(ctx),
    };
    TmemJob *job = &ctx->job;
    TmemCursor c = tmem_cursor_at(job->req->in, job->req->in_num, 0);

    if (status == TMEM_STATUS_INVAL || status == TMEM_STATUS_UNSUPP) {
        tmem_count(&ctx->counters.requests_refused, 1);
    }
    tmem_cursor_write(&c, &resp, sizeof(resp));
    tmem_cursor_zero(&c, job->in_bytes - sizeof(resp));
    tmem_job_answered(ctx);
}

/* --- Pools --- */

static TmemStatus create_pool(TmemContext *ctx,
                              const struct virtio_tmem_create_pool *cmd,
                              uint64_t *id)
{
    static const uint8_t no_uuid[sizeof(cmd->uuid)];
    uint64_t features = ctx->job.features;
    uint16_t flags = GUINT16_FROM_LE(cmd->flags);
    bool ephemeral = flags & VIRTIO_TMEM_POOL_EPHEMERAL;
    bool shared = flags & VIRTIO_TMEM_POOL_SHARED;

    if (cmd->reserved ||
        flags & ~(VIRTIO_TMEM_POOL_EPHEMERAL | VIRTIO_TMEM_POOL_SHARED) ||
        (shared && !ephemeral) ||
        (!shared && memcmp(cmd->uuid, no_uuid, sizeof(no_uuid)))) {
        return TMEM_STATUS_INVAL;
    }
    if ((ephemeral && !(features & 1ull << VIRTIO_TMEM_F_EPHEMERAL)) ||
        (shared && !(features & 1ull << VIRTIO_TMEM_F_SHARED))) {
        return TMEM_STATUS_UNSUPP;
    }
    if (shared) {
        return tmem_pool_join(ctx->client, cmd->uuid, cmd->page_shift, id);
    }
    return tmem_pool_create(ctx->client,
                            ephemeral ? TMEM_POOL_EPHEMERAL :
                                        TMEM_POOL_PERSISTENT,
                            cmd->page_shift, id);
}

/* OK means that it has begun. */
static TmemStatus destroy_pool(TmemContext *ctx,
                               const struct virtio_tmem_destroy_pool *cmd)
{
    static const uint8_t zeros[sizeof(cmd->reserved)];

    if (memcmp(cmd->reserved, zeros, sizeof(zeros))) {
        return TMEM_STATUS_INVAL;
    }
    if (tmem_pool_id_is_host(GUINT64_FROM_LE(cmd->pool))) {
        return TMEM_STATUS_NOPOOL;
    }
    return tmem_pool_destroy_begin(ctx->client, GUINT64_FROM_LE(cmd->pool),
                                   &ctx->job.dying);
}

void tmem_control_run(TmemContext *ctx)
{
    uint32_t budget = TMEM_SLICE_PAGES;

    if (tmem_pool_destroy_some(ctx->job.dying, &budget)) {
        ctx->job.dying = NULL;
        answer(ctx, TMEM_STATUS_OK, 0);
    }
}

/* --- Requests --- */

static TmemStatus do_control(TmemContext *ctx, uint64_t *id)
{
    TmemJob *job = &ctx->job;
    union {
        uint8_t type;
        struct virtio_tmem_create_pool create;
        struct virtio_tmem_destroy_pool destroy;
    } cmd = {};
    TmemCursor c = tmem_cursor_at(job->req->out, job->req->out_num, 0);
    bool reply_fits = job->in_bytes == sizeof(struct virtio_tmem_ctrl_resp);

    tmem_cursor_read(&c, &cmd, MIN(job->out_bytes, sizeof(cmd)));
    switch (cmd.type) {
    case VIRTIO_TMEM_T_CREATE_POOL:
        if (job->out_bytes != sizeof(cmd.create) || !reply_fits) {
            return TMEM_STATUS_INVAL;
        }
        return create_pool(ctx, &cmd.create, id);
    case VIRTIO_TMEM_T_DESTROY_POOL:
        if (job->out_bytes != sizeof(cmd.destroy) || !reply_fits) {
            return TMEM_STATUS_INVAL;
        }
        return destroy_pool(ctx, &cmd.destroy);
    default:
        return TMEM_STATUS_UNSUPP;
    }
}

void tmem_req_submit_control(TmemContext *ctx, uint64_t features, TmemReq *req)
{
    TmemJob *job = &ctx->job;
    TmemStatus status;
    uint64_t id = 0;

    tmem_job_begin(ctx, features, req);
    if (!job->out_bytes) {
        tmem_job_violation(ctx, "empty control request");
        return;
    }
    if (job->in_bytes < sizeof(struct virtio_tmem_ctrl_resp)) {
        tmem_job_violation(ctx, "no room for the response");
        return;
    }
    if (job->in_bytes > TMEM_REPLY_MAX) {
        tmem_job_violation(ctx, "more room than any response needs");
        return;
    }
    status = do_control(ctx, &id);
    if (job->dying) {
        tmem_control_run(ctx);
    } else {
        answer(ctx, status, id);
    }
}
