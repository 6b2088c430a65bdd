/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmem-bench: as the front ends do it, a request of 32 operations decoded
 *
 * The vectors are those of a guest: header and operations in one buffer, each
 * page where it lies.  So the decoder's own copy of each page is in the time,
 * and what is not is the virtqueue.
 */
#include <string.h>

#include "bench.h"
#include "libtmem/tmem-req.h"
#include "standard-headers/linux/virtio_tmem.h"

struct BenchReq {
    TmemReq req;                /* first: done() gets it */
    bool done;
    BenchStore *s;
    struct {
        struct virtio_tmem_req header;
        struct virtio_tmem_op ops[BENCH_BATCH];
    } out;
    struct {
        struct virtio_tmem_resp header;
        uint8_t status[BENCH_BATCH];
    } in;
    struct iovec out_iov[1 + BENCH_BATCH];
    struct iovec in_iov[1 + BENCH_BATCH];
    uint8_t *pages;             /* for loads */
};

BenchReq *bench_req_open(BenchStore *s)
{
    BenchReq *r = g_new0(BenchReq, 1);

    r->s = s;
    r->pages = g_malloc(BENCH_BATCH << TMEM_PAGE_SHIFT);
    return r;
}

void bench_req_close(BenchReq *r)
{
    g_free(r->pages);
    g_free(r);
}

static void request_done(TmemReq *req)
{
    ((BenchReq *)req)->done = true;
}

static void add_op(BenchReq *r, unsigned i, uint8_t op, uint32_t page)
{
    TmemHandle handle = bench_handle(r->s->pool, page);

    r->out.ops[i] = (struct virtio_tmem_op) {
        .op = op,
        .pool = GUINT64_TO_LE(handle.pool),
        .object = { GUINT64_TO_LE(handle.object[0]) },
        .index = GUINT64_TO_LE(handle.index),
    };
}

static void submit(BenchReq *r, unsigned nr, unsigned out_pages,
                   unsigned in_pages)
{
    r->out.header = (struct virtio_tmem_req) {
        .type = VIRTIO_TMEM_T_PAGES,
        .nr_ops = GUINT16_TO_LE(nr),
    };
    r->out_iov[0] = (struct iovec) {
        &r->out, sizeof(r->out.header) + nr * sizeof(r->out.ops[0]),
    };
    r->in_iov[0] = (struct iovec) { &r->in, sizeof(r->in.header) + nr };
    r->req = (TmemReq) {
        .out = r->out_iov, .out_num = 1 + out_pages,
        .in = r->in_iov, .in_num = 1 + in_pages,
        .done = request_done,
    };
    r->done = false;
    tmem_req_submit(r->s->ctx, 0, &r->req);
    if (!r->done || r->req.violation) {
        bench_die("the decoder refused a request: %s",
                  r->req.violation ?: "it did not answer");
    }
    for (unsigned i = 0; i < nr; i++) {
        if (r->in.status[i] != VIRTIO_TMEM_S_OK) {
            bench_die("operation %u of a request was answered %s", i,
                      tmem_status_str(r->in.status[i]));
        }
    }
}

static double req_store(void *opaque, const BenchCorpus *corpus,
                        const uint32_t *order, size_t first, size_t n)
{
    BenchReq *r = opaque;
    double start = bench_cpu_now();

    for (size_t i = 0; i < n; i += BENCH_BATCH) {
        unsigned nr = MIN(BENCH_BATCH, n - i);

        for (unsigned j = 0; j < nr; j++) {
            uint32_t page = order[first + i + j];

            add_op(r, j, VIRTIO_TMEM_OP_STORE, page);
            r->out_iov[1 + j] = (struct iovec) {
                (void *)bench_corpus_page(corpus, page), TMEM_PAGE_SIZE,
            };
        }
        submit(r, nr, nr, 0);
    }
    return bench_cpu_now() - start;
}

static double req_load(void *opaque, const BenchCorpus *corpus,
                       const uint32_t *order, size_t first, size_t n)
{
    BenchReq *r = opaque;
    double start = bench_cpu_now();

    for (size_t i = 0; i < n; i += BENCH_BATCH) {
        unsigned nr = MIN(BENCH_BATCH, n - i);

        for (unsigned j = 0; j < nr; j++) {
            add_op(r, j, VIRTIO_TMEM_OP_LOAD, order[first + i + j]);
            r->in_iov[1 + j] = (struct iovec) {
                r->pages + (j << TMEM_PAGE_SHIFT), TMEM_PAGE_SIZE,
            };
        }
        submit(r, nr, 0, nr);
    }
    return bench_cpu_now() - start;
}

static double req_drop(void *opaque, const BenchCorpus *corpus,
                       const uint32_t *order, size_t first, size_t n)
{
    BenchReq *r = opaque;
    BenchSide side = bench_side_batch(r->s);

    return side.drop(side.opaque, corpus, order, first, n);
}

BenchSide bench_side_req(BenchReq *r)
{
    return (BenchSide) { req_store, req_load, req_drop, r };
}
