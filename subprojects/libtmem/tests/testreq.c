/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Requests as a driver makes them, for tests: bytes, cut into pieces
 */
#include "testreq.h"

void test_req_init(TestReq *r)
{
    static const struct virtio_tmem_req header = {
        .type = VIRTIO_TMEM_T_PAGES,
    };

    memset(r, 0, sizeof(*r));
    r->out = g_byte_array_new();
    r->data = g_byte_array_new();
    g_byte_array_append(r->out, (const uint8_t *)&header, sizeof(header));
}

void test_req_clear(TestReq *r)
{
    g_byte_array_unref(r->out);
    g_byte_array_unref(r->data);
    g_free(r->in);
}

void test_req_add(TestReq *r, uint8_t op, uint8_t flags,
                  const TmemHandle *handle, const void *page)
{
    struct virtio_tmem_op wire = {
        .op = op,
        .flags = flags,
        .pool = GUINT64_TO_LE(handle->pool),
        .index = GUINT64_TO_LE(handle->index),
    };

    for (int i = 0; i < 3; i++) {
        wire.object[i] = GUINT64_TO_LE(handle->object[i]);
    }
    g_byte_array_append(r->out, (const uint8_t *)&wire, sizeof(wire));
    if (op == VIRTIO_TMEM_OP_STORE) {
        g_byte_array_append(r->data, page, TMEM_PAGE_SIZE);
    }
    r->nr_ops++;
    r->nr_loads += op == VIRTIO_TMEM_OP_LOAD;
    test_req_header(r)->nr_ops = GUINT16_TO_LE(r->nr_ops);
}

struct virtio_tmem_req *test_req_header(TestReq *r)
{
    return (struct virtio_tmem_req *)r->out->data;
}

struct virtio_tmem_op *test_req_op(TestReq *r, unsigned i)
{
    return (struct virtio_tmem_op *)(r->out->data +
                                     sizeof(struct virtio_tmem_req)) + i;
}

void test_req_finish(TestReq *r)
{
    g_byte_array_append(r->out, r->data->data, r->data->len);
    g_byte_array_set_size(r->data, 0);
    if (!r->in_bytes) {
        r->in_bytes = sizeof(struct virtio_tmem_resp) + r->nr_ops +
                      r->nr_loads * TMEM_PAGE_SIZE;
    }
    g_free(r->in);
    r->in = g_malloc(MAX(r->in_bytes, 1));
    memset(r->in, 0xee, r->in_bytes);
}

/*
 * Cuts a buffer into pieces at any byte, some of them empty.  Each piece is an
 * allocation of its own, so that a sanitiser sees a step beyond its end.
 */
typedef struct Pieces {
    struct iovec iov[1024];
    unsigned num;
} Pieces;

static void cut(Pieces *p, const uint8_t *buf, size_t bytes, TestRand *r)
{
    p->num = 0;
    while (bytes) {
        size_t piece = bytes;

        if (r && p->num < G_N_ELEMENTS(p->iov) - 1) {
            piece = test_rand_below(r, 4) ? test_rand_below(r, 5000) :
                                            test_rand_below(r, 9);
            piece = MIN(piece, bytes);
        }
        p->iov[p->num].iov_base = piece ? g_memdup2(buf, piece) : NULL;
        p->iov[p->num].iov_len = piece;
        p->num++;
        buf += piece;
        bytes -= piece;
    }
}

static void join(Pieces *p, uint8_t *buf)
{
    for (unsigned i = 0; i < p->num; i++) {
        if (buf && p->iov[i].iov_len) {
            memcpy(buf, p->iov[i].iov_base, p->iov[i].iov_len);
            buf += p->iov[i].iov_len;
        }
        g_free(p->iov[i].iov_base);
    }
}

typedef struct Submission {
    TmemReq req;
    bool done;
} Submission;

static void done(TmemReq *req)
{
    Submission *s = (Submission *)req;

    g_assert_false(s->done);
    s->done = true;
}

typedef void Submit(TmemContext *ctx, uint64_t features, TmemReq *req);

static void submit(TestReq *r, TmemContext *ctx, uint64_t features,
                   Submit *func)
{
    g_autofree Pieces *out = g_new(Pieces, 1);
    g_autofree Pieces *in = g_new(Pieces, 1);
    Submission s = {};

    cut(out, r->out->data, r->out->len, r->cut);
    cut(in, r->in, r->in_bytes, r->cut);
    s.req = (TmemReq) {
        .out = out->iov, .out_num = out->num,
        .in = in->iov, .in_num = in->num,
        .done = done,
        .written = 12345,
    };
    func(ctx, features, &s.req);
    for (r->slices = 1; !s.done; r->slices++) {
        tmem_req_resume(ctx, &s.req);
    }
    r->written = s.req.written;
    r->violation = s.req.violation;
    join(out, NULL);
    join(in, r->in);
}

void test_req_submit(TestReq *r, TmemContext *ctx, uint64_t features)
{
    if (!r->in) {
        test_req_finish(r);
    }
    submit(r, ctx, features, tmem_req_submit);
}

void test_req_control(TestReq *r, TmemContext *ctx, uint64_t features,
                      const void *cmd, size_t bytes)
{
    g_byte_array_set_size(r->out, 0);
    g_byte_array_append(r->out, cmd, bytes);
    if (!r->in) {
        if (!r->in_bytes) {
            r->in_bytes = sizeof(struct virtio_tmem_ctrl_resp);
        }
        r->in = g_malloc(MAX(r->in_bytes, 1));
    }
    memset(r->in, 0xee, r->in_bytes);
    submit(r, ctx, features, tmem_req_submit_control);
}

struct virtio_tmem_resp *test_req_resp(TestReq *r)
{
    return (struct virtio_tmem_resp *)r->in;
}

uint8_t test_req_status(TestReq *r, unsigned i)
{
    return r->in[sizeof(struct virtio_tmem_resp) + i];
}

uint8_t *test_req_page(TestReq *r, unsigned i)
{
    return r->in + sizeof(struct virtio_tmem_resp) + r->nr_ops +
           i * TMEM_PAGE_SIZE;
}
