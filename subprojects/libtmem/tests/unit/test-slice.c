/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Requests that drop many pages: in slices, in order, and cut short
 */
#include "testreq.h"
#include "tmem-drop.h"
#include "tmem-job.h"
#include "tmem-store.h"

#define NR_PAGES    (8 * TMEM_SLICE_PAGES)

/* A request whose end is only noted. */
typedef struct Sliced {
    TmemReq req;
    struct iovec out;
    struct iovec in;
    uint8_t reply[64 + TMEM_PAGE_SIZE];
    bool done;
} Sliced;

static void sliced_done(TmemReq *req)
{
    Sliced *s = (Sliced *)((uint8_t *)req - offsetof(Sliced, req));

    g_assert_false(s->done);
    s->done = true;
}

static void sliced_init(Sliced *s, const void *out, size_t out_bytes,
                        size_t in_bytes)
{
    memset(s, 0, sizeof(*s));
    s->out = (struct iovec) { (void *)out, out_bytes };
    s->in = (struct iovec) { s->reply, in_bytes };
    s->req = (TmemReq) {
        .out = &s->out, .out_num = 1, .in = &s->in, .in_num = 1,
        .done = sliced_done,
    };
}

/* An object of eight slices, or more. */
static void set_up(Fixture *f, uint64_t step)
{
    fixture_set_up(f, 4 * FIXTURE_SIZE, 0);
    for (uint64_t i = 0; i < NR_PAGES; i++) {
        g_assert_cmpint(test_store(f->ctx, test_handle(f->persistent, 1,
                                                       i * step),
                                   i & 1 ? TEST_PAGE_TEXT : TEST_PAGE_ZERO,
                                   i), ==, TMEM_STATUS_OK);
    }
}

static void submit(Fixture *f, const TestReq *r, Sliced *s)
{
    sliced_init(s, r->out->data, r->out->len, r->in_bytes);
    tmem_req_submit(f->ctx, TEST_REQ_FEATURES, &s->req);
}

/* Begins to drop the object. */
static void submit_object(Fixture *f, TestReq *r, Sliced *s)
{
    TmemHandle h = test_handle(f->persistent, 1, 0);

    test_req_init(r);
    test_req_add(r, VIRTIO_TMEM_OP_INVALIDATE_OBJECT, 0, &h, NULL);
    test_req_finish(r);
    submit(f, r, s);
}

/* Each slice drops some, and no more than its part; others can go between. */
static void check_slices(Fixture *f, Sliced *s, TmemContext *other,
                         uint64_t others)
{
    TmemHandle h = test_handle(f->persistent, 99, 0);
    unsigned slices = 1;

    while (!s->done) {
        uint64_t before, dropped;

        /* The context stands still; the store does not. */
        g_assert_cmpint(test_store(other, h, TEST_PAGE_TEXT, slices), ==,
                        others ? TMEM_STATUS_OK : TMEM_STATUS_NOPOOL);
        test_check(f->store);
        before = test_stats(f->client).total.pages;
        tmem_req_resume(f->ctx, &s->req);
        dropped = before - test_stats(f->client).total.pages;
        g_assert_cmpuint(dropped, >, 0);
        /* A node may go beyond it. */
        g_assert_cmpuint(dropped, <, TMEM_SLICE_PAGES + 64);
        slices++;
    }
    g_assert_cmpuint(slices, >=, NR_PAGES / (TMEM_SLICE_PAGES + 64));
    g_test_message("%u pages in %u slices", NR_PAGES, slices);
}

/* Stores, an object, and a store to the same object: in this order. */
static void check_object(uint64_t step)
{
    uint8_t page[TMEM_PAGE_SIZE];
    TmemContext *other;
    TestReq r;
    TmemHandle h;
    Sliced s;
    Fixture f;

    set_up(&f, step);
    other = tmem_context_new(f.client, NULL);
    g_assert_nonnull(other);
    test_req_init(&r);
    test_page_make(page, TEST_PAGE_TEXT, 77);
    h = test_handle(f.persistent, 1, 0);
    test_req_add(&r, VIRTIO_TMEM_OP_INVALIDATE_OBJECT, 0, &h, NULL);
    h.index = 5;
    test_req_add(&r, VIRTIO_TMEM_OP_STORE, 0, &h, page);
    test_req_add(&r, VIRTIO_TMEM_OP_LOAD, 0, &h, NULL);
    test_req_finish(&r);

    submit(&f, &r, &s);
    g_assert_false(s.done);
    /* Later operations of the request wait. */
    h.index = NR_PAGES / 2 * step;
    test_expect_page(other, h, TEST_PAGE_ZERO, NR_PAGES / 2);
    check_slices(&f, &s, other, 1);

    g_assert_cmpuint(s.req.written, ==, r.in_bytes);
    for (int i = 0; i < 3; i++) {
        g_assert_cmpuint(s.reply[sizeof(struct virtio_tmem_resp) + i], ==,
                         VIRTIO_TMEM_S_OK);
    }
    g_assert_cmpmem(s.reply + sizeof(struct virtio_tmem_resp) + 3,
                    TMEM_PAGE_SIZE, page, TMEM_PAGE_SIZE);
    g_assert_cmpuint(test_stats(f.client).total.pages, ==, 2);
    test_req_clear(&r);
    tmem_context_free(other);
    fixture_tear_down(&f);
}

static void test_object_dense(void)
{
    check_object(1);
}

static void test_object_sparse(void)
{
    check_object(64);
}

static void submit_destroy(Fixture *f, Sliced *s,
                           struct virtio_tmem_destroy_pool *cmd)
{
    *cmd = (struct virtio_tmem_destroy_pool) {
        .type = VIRTIO_TMEM_T_DESTROY_POOL,
        .pool = GUINT64_TO_LE(f->persistent),
    };
    sliced_init(s, cmd, sizeof(*cmd), sizeof(struct virtio_tmem_ctrl_resp));
    tmem_req_submit_control(f->ctx, TEST_REQ_FEATURES, &s->req);
    g_assert_false(s->done);
}

static void test_destroy(void)
{
    struct virtio_tmem_destroy_pool cmd;
    TmemContext *other;
    Sliced s;
    Fixture f;

    set_up(&f, 1);
    other = tmem_context_new(f.client, NULL);
    g_assert_nonnull(other);
    submit_destroy(&f, &s, &cmd);
    /* Nobody sees it, though not all of it is gone. */
    test_expect_status(other, test_handle(f.persistent, 1, NR_PAGES - 1),
                       TMEM_STATUS_NOPOOL);
    g_assert_cmpint(tmem_pool_destroy(f.client, f.persistent), ==,
                    TMEM_STATUS_NOPOOL);
    check_slices(&f, &s, other, 0);
    g_assert_cmpuint(s.reply[0], ==, VIRTIO_TMEM_S_OK);
    g_assert_cmpuint(test_stats(f.client).total.pages, ==, 0);
    tmem_context_free(other);
    fixture_tear_down(&f);
}

/* A reset takes the rest of what was begun and let go. */
static void expect_reset_to_take_all(Fixture *f)
{
    g_assert_cmpuint(test_stats(f->client).pools, ==, 2);
    g_assert_cmpuint(test_stats(f->client).total.pages, >, 0);
    test_check(f->store);
    tmem_client_reset(f->client);
    g_assert_cmpuint(test_stats(f->client).pools, ==, 0);
    g_assert_cmpuint(test_stats(f->client).total.pages, ==, 0);
}

/* The device is reset in between. */
static void test_cancel_destroy(void)
{
    struct virtio_tmem_destroy_pool cmd;
    Sliced s;
    Fixture f;

    set_up(&f, 1);
    submit_destroy(&f, &s, &cmd);
    tmem_req_cancel(f.ctx, &s.req);
    g_assert_false(s.done);
    /* To go on with what was let go does nothing. */
    tmem_req_resume(f.ctx, &s.req);
    tmem_req_cancel(f.ctx, &s.req);
    g_assert_false(s.done);
    expect_reset_to_take_all(&f);
    fixture_tear_down(&f);
}

/* The device goes away in between, without a reset. */
static void test_cancel_by_free(void)
{
    struct virtio_tmem_destroy_pool cmd;
    Sliced s;
    Fixture f;

    set_up(&f, 1);
    submit_destroy(&f, &s, &cmd);
    tmem_context_free(f.ctx);
    g_assert_false(s.done);
    f.ctx = tmem_context_new(f.client, NULL);
    g_assert_nonnull(f.ctx);
    expect_reset_to_take_all(&f);
    fixture_tear_down(&f);
}

static void test_cancel_object(void)
{
    TestReq r;
    Sliced s;
    Fixture f;

    set_up(&f, 1);
    submit_object(&f, &r, &s);
    g_assert_false(s.done);
    tmem_req_cancel(f.ctx, &s.req);
    test_check(f.store);
    g_assert_cmpuint(test_stats(f.client).total.pages, >, 0);
    g_assert_cmpuint(test_stats(f.client).total.pages, <, NR_PAGES);
    /* The context is good for other requests; this one starts again. */
    submit(&f, &r, &s);
    while (!s.done) {
        tmem_req_resume(f.ctx, &s.req);
    }
    g_assert_cmpuint(test_stats(f.client).total.pages, ==, 0);
    test_req_clear(&r);
    fixture_tear_down(&f);
}

/* The pool goes while an object of it is being dropped. */
static void test_pool_goes(void)
{
    TestReq r;
    Sliced s;
    Fixture f;

    set_up(&f, 1);
    submit_object(&f, &r, &s);
    g_assert_cmpint(tmem_pool_destroy(f.client, f.persistent), ==,
                    TMEM_STATUS_OK);
    tmem_req_resume(f.ctx, &s.req);
    g_assert_true(s.done);
    g_assert_cmpuint(s.reply[sizeof(struct virtio_tmem_resp)], ==,
                     VIRTIO_TMEM_S_NOPOOL);
    test_req_clear(&r);
    fixture_tear_down(&f);
}

/* The same between the last look at the pool and the end of a slice. */
static void test_pool_gone(void)
{
    uint32_t budget = 0;
    TmemHandle h;
    TmemDrop drop;
    Fixture f;

    set_up(&f, 1);
    h = test_handle(f.persistent, 1, 0);
    g_assert_cmpint(tmem_object_invalidate_begin(f.ctx, &h, &drop), ==,
                    TMEM_STATUS_OK);
    tmem_client_reset(f.client);
    /* A slice with nothing left to do for it does only what comes last. */
    g_assert_cmpint(tmem_drop_some(&drop, &budget), ==, TMEM_DROPPED_SOME);
    budget = 1;
    g_assert_cmpint(tmem_drop_some(&drop, &budget), ==, TMEM_DROPPED_NO_POOL);
    fixture_tear_down(&f);
}

/* What fits one slice ends at once, however many objects it is. */
static void test_one_slice(void)
{
    TestReq r;
    Fixture f;

    fixture_set_up(&f, FIXTURE_SIZE, 0);
    test_req_init(&r);
    for (uint64_t i = 0; i < TMEM_REQ_BATCH_MAX; i++) {
        TmemHandle h = test_handle(f.persistent, i, 0);

        g_assert_cmpint(test_store(f.ctx, h, TEST_PAGE_TEXT, i), ==, 0);
        test_req_add(&r, VIRTIO_TMEM_OP_INVALIDATE_OBJECT, 0, &h, NULL);
    }
    test_req_submit(&r, f.ctx, TEST_REQ_FEATURES);
    g_assert_cmpuint(r.slices, ==, 1);
    g_assert_cmpuint(test_stats(f.client).total.pages, ==, 0);
    test_req_clear(&r);
    fixture_tear_down(&f);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/tmem/slice/object/dense", test_object_dense);
    g_test_add_func("/tmem/slice/object/sparse", test_object_sparse);
    g_test_add_func("/tmem/slice/object/cancel", test_cancel_object);
    g_test_add_func("/tmem/slice/object/pool-goes", test_pool_goes);
    g_test_add_func("/tmem/slice/object/pool-gone", test_pool_gone);
    g_test_add_func("/tmem/slice/object/one-slice", test_one_slice);
    g_test_add_func("/tmem/slice/destroy", test_destroy);
    g_test_add_func("/tmem/slice/destroy/cancel", test_cancel_destroy);
    g_test_add_func("/tmem/slice/destroy/free", test_cancel_by_free);
    return g_test_run();
}
