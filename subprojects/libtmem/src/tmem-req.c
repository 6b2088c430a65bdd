/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: decode, validate and carry out one virtio-tmem request
 *
 * Everything here runs on guest memory that the guest can change meanwhile.
 * Each byte that decides something is copied out of it once and never looked
 * at again; the cursors below are the only code that touches it.
 */
#include <string.h>

#include "standard-headers/linux/virtio_tmem.h"
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

G_STATIC_ASSERT(sizeof(struct virtio_tmem_req) == 8);
G_STATIC_ASSERT(sizeof(struct virtio_tmem_op) == TMEM_REQ_OP_BYTES);
G_STATIC_ASSERT(sizeof(struct virtio_tmem_resp) == 8);
G_STATIC_ASSERT(sizeof(struct virtio_tmem_create_pool) == 24);
G_STATIC_ASSERT(sizeof(struct virtio_tmem_destroy_pool) == 16);
G_STATIC_ASSERT(sizeof(struct virtio_tmem_ctrl_resp) == 16);

/*
 * The longest reply to any request.  Descriptors may overlap, so a guest can
 * describe terabytes, and every byte of a reply is written.
 */
#define REPLY_MAX   (sizeof(struct virtio_tmem_resp) + \
                     TMEM_REQ_BATCH_MAX * (1 + TMEM_PAGE_SIZE))

/* --- Cursors over guest memory --- */

typedef struct Cursor {
    const struct iovec *iov;
    unsigned num;
    size_t offset;          /* in *iov */
} Cursor;

/* Bytes in a vector; SIZE_MAX if they are more than that. */
static size_t iov_bytes(const struct iovec *iov, unsigned num)
{
    size_t sum = 0;

    for (unsigned i = 0; i < num; i++) {
        if (__builtin_add_overflow(sum, iov[i].iov_len, &sum)) {
            return SIZE_MAX;
        }
    }
    return sum;
}

static Cursor cursor_at(const struct iovec *iov, unsigned num, size_t offset)
{
    while (num && offset >= iov->iov_len) {
        offset -= iov->iov_len;
        iov++;
        num--;
    }
    return (Cursor) { .iov = iov, .num = num, .offset = offset };
}

/* The next contiguous piece of at most @bytes, which must exist. */
static void *cursor_piece(Cursor *c, size_t bytes, size_t *piece)
{
    void *p;

    while (c->offset == c->iov->iov_len) {
        c->iov++;
        c->num--;
        c->offset = 0;
    }
    p = (uint8_t *)c->iov->iov_base + c->offset;
    *piece = MIN(bytes, c->iov->iov_len - c->offset);
    c->offset += *piece;
    return p;
}

static void cursor_read(Cursor *c, void *buf, size_t bytes)
{
    uint8_t *to = buf;
    size_t piece;

    for (; bytes; bytes -= piece, to += piece) {
        const void *from = cursor_piece(c, bytes, &piece);

        memcpy(to, from, piece);
    }
}

static void cursor_write(Cursor *c, const void *buf, size_t bytes)
{
    const uint8_t *from = buf;
    size_t piece;

    for (; bytes; bytes -= piece, from += piece) {
        void *to = cursor_piece(c, bytes, &piece);

        memcpy(to, from, piece);
    }
}

static void cursor_zero(Cursor *c, size_t bytes)
{
    size_t piece;

    for (; bytes; bytes -= piece) {
        void *to = cursor_piece(c, bytes, &piece);

        memset(to, 0, piece);
    }
}

/* --- Ends of a request --- */

static void end_violation(TmemContext *ctx, TmemReq *req,
                          const char *violation)
{
    tmem_count(&ctx->counters.violations, 1);
    req->written = 0;
    req->violation = violation;
    req->done(req);
}

static void end_answered(TmemReq *req, size_t written)
{
    req->written = written;
    req->violation = NULL;
    req->done(req);
}

/* --- Request queue --- */

/* One request, decoded. */
typedef struct Pages {
    TmemContext *ctx;
    uint64_t features;
    TmemReq *req;
    size_t out_bytes;
    size_t in_bytes;
    unsigned nr_status;     /* status bytes in the reply */
    unsigned nr_ops;        /* that were copied; a refused request's may lack */
    struct virtio_tmem_op *ops;
    uint8_t status[TMEM_REQ_BATCH_MAX];
} Pages;

static void handle_of(const struct virtio_tmem_op *op, TmemHandle *handle)
{
    handle->pool = GUINT64_FROM_LE(op->pool);
    for (int i = 0; i < 3; i++) {
        handle->object[i] = GUINT64_FROM_LE(op->object[i]);
    }
    handle->index = GUINT64_FROM_LE(op->index);
}

/* Copies the operations once, as many as the request has and may have. */
static void read_ops(Pages *p, unsigned nr_ops)
{
    size_t room = p->out_bytes - sizeof(struct virtio_tmem_req);
    Cursor c = cursor_at(p->req->out, p->req->out_num,
                         sizeof(struct virtio_tmem_req));

    p->nr_status = MIN(nr_ops, TMEM_REQ_BATCH_MAX);
    p->nr_ops = MIN(p->nr_status, room / sizeof(struct virtio_tmem_op));
    p->ops = (struct virtio_tmem_op *)p->ctx->req_ops;
    cursor_read(&c, p->ops, p->nr_ops * sizeof(struct virtio_tmem_op));
}

static unsigned count_ops(const Pages *p, uint8_t which)
{
    unsigned nr = 0;

    for (unsigned i = 0; i < p->nr_ops; i++) {
        nr += p->ops[i].op == which;
    }
    return nr;
}

/* What is wrong with the request as a whole, if anything. */
static TmemStatus check_request(const Pages *p,
                                const struct virtio_tmem_req *hdr)
{
    unsigned nr_ops = GUINT16_FROM_LE(hdr->nr_ops);
    size_t out, in;

    if (hdr->type != VIRTIO_TMEM_T_PAGES) {
        return TMEM_STATUS_UNSUPP;
    }
    if (hdr->reserved0 || hdr->reserved1 || !nr_ops ||
        nr_ops > TMEM_REQ_BATCH_MAX || p->nr_ops < nr_ops) {
        return TMEM_STATUS_INVAL;
    }
    out = sizeof(*hdr) + nr_ops * sizeof(struct virtio_tmem_op) +
          count_ops(p, VIRTIO_TMEM_OP_STORE) * TMEM_PAGE_SIZE;
    in = sizeof(struct virtio_tmem_resp) + nr_ops +
         count_ops(p, VIRTIO_TMEM_OP_LOAD) * TMEM_PAGE_SIZE;
    if (p->out_bytes != out || p->in_bytes != in) {
        return TMEM_STATUS_INVAL;
    }
    return TMEM_STATUS_OK;
}

/* Writes the response and the status bytes, which come first in the reply. */
static void reply(Pages *p, TmemStatus status)
{
    struct virtio_tmem_resp resp = { .status = status };
    Cursor c = cursor_at(p->req->in, p->req->in_num, 0);

    cursor_write(&c, &resp, sizeof(resp));
    cursor_write(&c, p->status, p->nr_status);
}

/* The request is refused as a whole; its stores leave nothing (B1). */
static void refuse_request(Pages *p, TmemStatus status)
{
    size_t head = sizeof(struct virtio_tmem_resp) + p->nr_status;
    Cursor c = cursor_at(p->req->in, p->req->in_num, head);
    TmemHandle handle;

    tmem_count(&p->ctx->counters.requests_refused, 1);
    for (unsigned i = 0; i < p->nr_ops; i++) {
        if (p->ops[i].op == VIRTIO_TMEM_OP_STORE) {
            handle_of(&p->ops[i], &handle);
            tmem_page_invalidate(p->ctx, &handle);
        }
    }
    memset(p->status, status, p->nr_status);
    cursor_zero(&c, p->in_bytes - head);
    reply(p, status);
}

static bool is_persistent(const Pages *p, const TmemHandle *handle)
{
    return tmem_pool_id_kind(handle->pool) == TMEM_POOL_PERSISTENT &&
           tmem_pool_find(p->ctx->client, handle->pool);
}

/* What forbids an operation before the store is asked. */
static TmemStatus check_op(const Pages *p, const struct virtio_tmem_op *op,
                           const TmemHandle *handle)
{
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
    if ((exclusive &&
         !(p->features & 1ull << VIRTIO_TMEM_F_EXCLUSIVE)) ||
        (credit && !(p->features & 1ull << VIRTIO_TMEM_F_CREDIT))) {
        return TMEM_STATUS_UNSUPP;
    }
    /* No credit is ever granted here, so none can be left. */
    if (credit || (exclusive && is_persistent(p, handle))) {
        return TMEM_STATUS_INVAL;
    }
    return TMEM_STATUS_OK;
}

static TmemStatus do_store(Pages *p, const TmemHandle *handle,
                           TmemStatus status, Cursor *data)
{
    cursor_read(data, p->ctx->bounce, TMEM_PAGE_SIZE);
    if (status != TMEM_STATUS_OK) {
        tmem_page_invalidate(p->ctx, handle);
        return status;
    }
    return tmem_page_store(p->ctx, handle, p->ctx->bounce);
}

static TmemStatus do_load(Pages *p, const TmemHandle *handle, bool exclusive,
                          TmemStatus status, Cursor *data)
{
    uint64_t version;

    if (status == TMEM_STATUS_OK) {
        status = tmem_page_load(p->ctx, handle, p->ctx->bounce, &version);
    }
    if (status != TMEM_STATUS_OK) {
        cursor_zero(data, TMEM_PAGE_SIZE);
        return status;
    }
    cursor_write(data, p->ctx->bounce, TMEM_PAGE_SIZE);
    if (exclusive) {
        /* Delivered; what was stored in the meantime stays. */
        tmem_page_take(p->ctx, handle, version);
    }
    return TMEM_STATUS_OK;
}

static TmemStatus do_op(Pages *p, const struct virtio_tmem_op *op,
                        Cursor *out_data, Cursor *in_data)
{
    TmemHandle handle;
    TmemStatus status;

    handle_of(op, &handle);
    status = check_op(p, op, &handle);
    if (status != TMEM_STATUS_OK) {
        tmem_count(&p->ctx->counters.ops_invalid, 1);
    }
    switch (op->op) {
    case VIRTIO_TMEM_OP_STORE:
        return do_store(p, &handle, status, out_data);
    case VIRTIO_TMEM_OP_LOAD:
        return do_load(p, &handle, op->flags & VIRTIO_TMEM_OP_F_EXCLUSIVE,
                       status, in_data);
    case VIRTIO_TMEM_OP_INVALIDATE:
        return status != TMEM_STATUS_OK ? status :
               tmem_page_invalidate(p->ctx, &handle);
    case VIRTIO_TMEM_OP_INVALIDATE_OBJECT:
        return status != TMEM_STATUS_OK ? status :
               tmem_object_invalidate(p->ctx, &handle);
    default:
        return status;
    }
}

static void do_request(Pages *p)
{
    Cursor out = cursor_at(p->req->out, p->req->out_num,
                           sizeof(struct virtio_tmem_req) +
                           p->nr_ops * sizeof(struct virtio_tmem_op));
    Cursor in = cursor_at(p->req->in, p->req->in_num,
                          sizeof(struct virtio_tmem_resp) + p->nr_status);

    for (unsigned i = 0; i < p->nr_ops; i++) {
        p->status[i] = do_op(p, &p->ops[i], &out, &in);
    }
    reply(p, TMEM_STATUS_OK);
}

void tmem_req_submit(TmemContext *ctx, uint64_t features, TmemReq *req)
{
    struct virtio_tmem_req hdr;
    TmemStatus status;
    Cursor c;
    Pages p = {
        .ctx = ctx,
        .features = features,
        .req = req,
        .out_bytes = iov_bytes(req->out, req->out_num),
        .in_bytes = iov_bytes(req->in, req->in_num),
    };

    tmem_count(&ctx->counters.requests, 1);
    if (p.out_bytes < sizeof(hdr)) {
        end_violation(ctx, req, "request shorter than its header");
        return;
    }
    c = cursor_at(req->out, req->out_num, 0);
    cursor_read(&c, &hdr, sizeof(hdr));
    if (p.in_bytes < sizeof(struct virtio_tmem_resp) +
                     MIN(GUINT16_FROM_LE(hdr.nr_ops), TMEM_REQ_BATCH_MAX)) {
        end_violation(ctx, req, "no room for the response");
        return;
    }
    if (p.in_bytes > REPLY_MAX) {
        end_violation(ctx, req, "more room than any response needs");
        return;
    }
    read_ops(&p, GUINT16_FROM_LE(hdr.nr_ops));
    status = check_request(&p, &hdr);
    if (status == TMEM_STATUS_OK) {
        do_request(&p);
    } else {
        refuse_request(&p, status);
    }
    end_answered(req, p.in_bytes);
}

/* --- Control queue --- */

static TmemStatus create_pool(TmemContext *ctx, uint64_t features,
                              const struct virtio_tmem_create_pool *cmd,
                              uint64_t *id)
{
    static const uint8_t no_uuid[sizeof(cmd->uuid)];
    uint16_t flags = GUINT16_FROM_LE(cmd->flags);
    bool ephemeral = flags & VIRTIO_TMEM_POOL_EPHEMERAL;
    bool shared = flags & VIRTIO_TMEM_POOL_SHARED;

    if (cmd->reserved ||
        flags & ~(VIRTIO_TMEM_POOL_EPHEMERAL | VIRTIO_TMEM_POOL_SHARED) ||
        (shared && !ephemeral) ||
        (!shared && memcmp(cmd->uuid, no_uuid, sizeof(no_uuid)))) {
        return TMEM_STATUS_INVAL;
    }
    /* This library has no shared pools: F_SHARED is never to be offered. */
    if (shared ||
        (ephemeral && !(features & 1ull << VIRTIO_TMEM_F_EPHEMERAL))) {
        return TMEM_STATUS_UNSUPP;
    }
    return tmem_pool_create(ctx->client,
                            ephemeral ? TMEM_POOL_EPHEMERAL :
                                        TMEM_POOL_PERSISTENT,
                            cmd->page_shift, id);
}

static TmemStatus destroy_pool(TmemContext *ctx,
                               const struct virtio_tmem_destroy_pool *cmd)
{
    static const uint8_t zeros[sizeof(cmd->reserved)];

    if (memcmp(cmd->reserved, zeros, sizeof(zeros))) {
        return TMEM_STATUS_INVAL;
    }
    return tmem_pool_destroy(ctx->client, GUINT64_FROM_LE(cmd->pool));
}

static TmemStatus do_control(TmemContext *ctx, uint64_t features,
                             TmemReq *req, size_t out_bytes, size_t in_bytes,
                             uint64_t *id)
{
    union {
        uint8_t type;
        struct virtio_tmem_create_pool create;
        struct virtio_tmem_destroy_pool destroy;
    } cmd = {};
    Cursor c = cursor_at(req->out, req->out_num, 0);
    bool reply_fits = in_bytes == sizeof(struct virtio_tmem_ctrl_resp);

    cursor_read(&c, &cmd, MIN(out_bytes, sizeof(cmd)));
    switch (cmd.type) {
    case VIRTIO_TMEM_T_CREATE_POOL:
        if (out_bytes != sizeof(cmd.create) || !reply_fits) {
            return TMEM_STATUS_INVAL;
        }
        return create_pool(ctx, features, &cmd.create, id);
    case VIRTIO_TMEM_T_DESTROY_POOL:
        if (out_bytes != sizeof(cmd.destroy) || !reply_fits) {
            return TMEM_STATUS_INVAL;
        }
        return destroy_pool(ctx, &cmd.destroy);
    default:
        return TMEM_STATUS_UNSUPP;
    }
}

void tmem_req_submit_control(TmemContext *ctx, uint64_t features, TmemReq *req)
{
    size_t out_bytes = iov_bytes(req->out, req->out_num);
    size_t in_bytes = iov_bytes(req->in, req->in_num);
    struct virtio_tmem_ctrl_resp resp = {};
    uint64_t id = 0;
    Cursor c;

    tmem_count(&ctx->counters.requests, 1);
    if (!out_bytes) {
        end_violation(ctx, req, "empty control request");
        return;
    }
    if (in_bytes < sizeof(resp)) {
        end_violation(ctx, req, "no room for the response");
        return;
    }
    if (in_bytes > REPLY_MAX) {
        end_violation(ctx, req, "more room than any response needs");
        return;
    }
    resp.status = do_control(ctx, features, req, out_bytes, in_bytes, &id);
    resp.pool = GUINT64_TO_LE(id);
    if (resp.status == TMEM_STATUS_INVAL ||
        resp.status == TMEM_STATUS_UNSUPP) {
        tmem_count(&ctx->counters.requests_refused, 1);
    }
    c = cursor_at(req->in, req->in_num, 0);
    cursor_write(&c, &resp, sizeof(resp));
    cursor_zero(&c, in_bytes - sizeof(resp));
    end_answered(req, in_bytes);
}
