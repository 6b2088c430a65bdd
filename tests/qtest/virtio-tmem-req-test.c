/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-tmem: operations and batches, status by status
 *
 * DEV-n is a requirement of docs/specs/virtio-tmem.rst.
 */
#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/module.h"
#include "virtio-tmem-fixture.h"

/* --- Operations --- */

static void test_store_load(void *obj, void *data, QGuestAllocator *alloc)
{
    Fixture *f = setup(obj, alloc, F(EPHEMERAL));
    uint64_t pools[] = { f->pool, f->ephemeral };
    unsigned i;

    for (i = 0; i < 2; i++) {
        uint64_t p = pools[i];

        g_assert_cmpuint(load(f, p, 7, 0), ==, VIRTIO_TMEM_S_MISS);
        g_assert_cmpuint(store(f, p, 7, 10), ==, VIRTIO_TMEM_S_OK);
        g_assert_cmpuint(load(f, p, 7, 10), ==, VIRTIO_TMEM_S_OK);
        /* a load leaves it there */
        g_assert_cmpuint(load(f, p, 7, 10), ==, VIRTIO_TMEM_S_OK);
        /* DEV-12: replaced, in each direction of size */
        g_assert_cmpuint(store(f, p, 7, 11), ==, VIRTIO_TMEM_S_OK);
        g_assert_cmpuint(load(f, p, 7, 11), ==, VIRTIO_TMEM_S_OK);
        g_assert_cmpuint(store(f, p, 7, 3), ==, VIRTIO_TMEM_S_OK);
        g_assert_cmpuint(load(f, p, 7, 3), ==, VIRTIO_TMEM_S_OK);
        /* the neighbours are not concerned */
        g_assert_cmpuint(load(f, p, 6, 0), ==, VIRTIO_TMEM_S_MISS);
        g_assert_cmpuint(load(f, p, 8, 0), ==, VIRTIO_TMEM_S_MISS);
        g_assert_cmpuint(load(f, pools[!i], 7, 3), ==,
                         i ? VIRTIO_TMEM_S_MISS : VIRTIO_TMEM_S_MISS);
        /* DEV-16, and an absent page is no error */
        g_assert_cmpuint(qtmem_invalidate(f->t, 0, p, 1, 7), ==,
                         VIRTIO_TMEM_S_OK);
        g_assert_cmpuint(qtmem_invalidate(f->t, 0, p, 1, 7), ==,
                         VIRTIO_TMEM_S_OK);
        g_assert_cmpuint(load(f, p, 7, 0), ==, VIRTIO_TMEM_S_MISS);
    }
    teardown(f);
}

/* The whole of 192 + 64 bits names a page. */
static void test_handles(void *obj, void *data, QGuestAllocator *alloc)
{
    Fixture *f = setup(obj, alloc, 0);
    const uint64_t h[][4] = {
        { 1, 0, 0, 0 }, { 0, 1, 0, 0 }, { 0, 0, 1, 0 }, { 0, 0, 0, 1 },
        { 1ull << 63, 0, 0, 0 }, { 0, 1ull << 63, 0, 0 },
        { 0, 0, 1ull << 63, 0 }, { 0, 0, 0, 1ull << 63 },
        { 0, 0, 0, 1ull << 32 }, { 0, 0, 0, 0 },
        { UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX },
    };
    uint8_t ops[] = { VIRTIO_TMEM_OP_STORE, VIRTIO_TMEM_OP_LOAD };
    unsigned i, j, k;

    for (k = 0; k < 2; k++) {
        QTmemBatch *b = qtmem_batch_new();

        for (i = 0; i < G_N_ELEMENTS(h); i++) {
            uint8_t page[QTMEM_PAGE_SIZE];
            struct virtio_tmem_op *op;

            qtmem_fill(page, 40 + i);
            op = qtmem_batch_add(b, ops[k], f->pool, 0, h[i][3], page);
            for (j = 0; j < 3; j++) {
                op->object[j] = cpu_to_le64(h[i][j]);
            }
        }
        run(f, b);
        for (i = 0; i < G_N_ELEMENTS(h); i++) {
            g_assert_cmpuint(f->a.status[i], ==, VIRTIO_TMEM_S_OK);
            if (ops[k] == VIRTIO_TMEM_OP_LOAD) {
                qtmem_check(f->a.page[i], 40 + i);
            }
        }
    }
    teardown(f);
}

static void test_invalidate_object(void *obj, void *data,
                                   QGuestAllocator *alloc)
{
    Fixture *f = setup(obj, alloc, 0);
    uint8_t page[QTMEM_PAGE_SIZE];
    QTmemBatch *b = qtmem_batch_new();
    unsigned i;

    qtmem_fill(page, 50);
    for (i = 0; i < 20; i++) {
        g_assert_cmpuint(store(f, f->pool, i * i * i, 50 + i), ==,
                         VIRTIO_TMEM_S_OK);
    }
    g_assert_cmpuint(qtmem_store(f->t, 0, f->pool, 2, 0, page), ==,
                     VIRTIO_TMEM_S_OK);
    qtmem_batch_add(b, VIRTIO_TMEM_OP_INVALIDATE_OBJECT, f->pool, 1, 0, NULL);
    /* not there: fine; with an index: malformed, and nothing is dropped */
    qtmem_batch_add(b, VIRTIO_TMEM_OP_INVALIDATE_OBJECT, f->pool, 3, 0, NULL);
    qtmem_batch_add(b, VIRTIO_TMEM_OP_INVALIDATE_OBJECT, f->pool, 2, 1, NULL);
    run(f, b);
    g_assert_cmpuint(f->a.status[0], ==, VIRTIO_TMEM_S_OK);
    g_assert_cmpuint(f->a.status[1], ==, VIRTIO_TMEM_S_OK);
    g_assert_cmpuint(f->a.status[2], ==, VIRTIO_TMEM_S_INVAL);
    for (i = 0; i < 20; i++) {
        g_assert_cmpuint(load(f, f->pool, i * i * i, 0), ==,
                         VIRTIO_TMEM_S_MISS);
    }
    g_assert_cmpuint(qtmem_load(f->t, 0, f->pool, 2, 0, page), ==,
                     VIRTIO_TMEM_S_OK);
    qtmem_check(page, 50);
    teardown(f);
}

/* DEV-18: delivered, then dropped. */
static void test_exclusive(void *obj, void *data, QGuestAllocator *alloc)
{
    Fixture *f = setup(obj, alloc, F(EPHEMERAL) | F(EXCLUSIVE));
    QTmemBatch *b = qtmem_batch_new();

    g_assert_cmpuint(store(f, f->ephemeral, 1, 60), ==, VIRTIO_TMEM_S_OK);
    g_assert_cmpuint(store(f, f->pool, 1, 61), ==, VIRTIO_TMEM_S_OK);
    qtmem_batch_add(b, VIRTIO_TMEM_OP_LOAD, f->ephemeral, 1, 1, NULL)->flags =
        VIRTIO_TMEM_OP_F_EXCLUSIVE;
    qtmem_batch_add(b, VIRTIO_TMEM_OP_LOAD, f->ephemeral, 1, 1, NULL);
    /* of a persistent pool: malformed, and the page stays */
    qtmem_batch_add(b, VIRTIO_TMEM_OP_LOAD, f->pool, 1, 1, NULL)->flags =
        VIRTIO_TMEM_OP_F_EXCLUSIVE;
    run(f, b);
    g_assert_cmpuint(f->a.status[0], ==, VIRTIO_TMEM_S_OK);
    qtmem_check(f->a.page[0], 60);
    g_assert_cmpuint(f->a.status[1], ==, VIRTIO_TMEM_S_MISS);
    qtmem_check(f->a.page[1], 0);
    g_assert_cmpuint(f->a.status[2], ==, VIRTIO_TMEM_S_INVAL);
    qtmem_check(f->a.page[2], 0);
    g_assert_cmpuint(load(f, f->pool, 1, 61), ==, VIRTIO_TMEM_S_OK);
    teardown(f);
}

/* --- Batches --- */

/* DEV-11: in order, each by itself. */
static void test_batch_order(void *obj, void *data, QGuestAllocator *alloc)
{
    Fixture *f = setup(obj, alloc, 0);
    QTmemBatch *b = qtmem_batch_new();
    uint8_t page[QTMEM_PAGE_SIZE];
    const uint8_t want[] = {
        VIRTIO_TMEM_S_MISS, VIRTIO_TMEM_S_OK, VIRTIO_TMEM_S_OK,
        VIRTIO_TMEM_S_UNSUPP, VIRTIO_TMEM_S_OK, VIRTIO_TMEM_S_OK,
        VIRTIO_TMEM_S_NOPOOL, VIRTIO_TMEM_S_OK, VIRTIO_TMEM_S_MISS,
    };

    qtmem_batch_add(b, VIRTIO_TMEM_OP_LOAD, f->pool, 1, 1, NULL);
    qtmem_fill(page, 70);
    qtmem_batch_add(b, VIRTIO_TMEM_OP_STORE, f->pool, 1, 1, page);
    qtmem_batch_add(b, VIRTIO_TMEM_OP_LOAD, f->pool, 1, 1, NULL);
    qtmem_batch_add(b, 99, f->pool, 1, 1, NULL);
    qtmem_fill(page, 71);
    qtmem_batch_add(b, VIRTIO_TMEM_OP_STORE, f->pool, 1, 1, page);
    qtmem_batch_add(b, VIRTIO_TMEM_OP_LOAD, f->pool, 1, 1, NULL);
    qtmem_fill(page, 72);
    qtmem_batch_add(b, VIRTIO_TMEM_OP_STORE, f->pool + 1, 1, 1, page);
    qtmem_batch_add(b, VIRTIO_TMEM_OP_INVALIDATE, f->pool, 1, 1, NULL);
    qtmem_batch_add(b, VIRTIO_TMEM_OP_LOAD, f->pool, 1, 1, NULL);
    run(f, b);
    g_assert_cmpuint(f->a.resp.status, ==, VIRTIO_TMEM_S_OK);
    g_assert_cmpmem(f->a.status, sizeof(want), want, sizeof(want));
    qtmem_check(f->a.page[0], 0);
    qtmem_check(f->a.page[1], 70);
    qtmem_check(f->a.page[2], 71);
    qtmem_check(f->a.page[3], 0);
    teardown(f);
}

static void test_batch_max(void *obj, void *data, QGuestAllocator *alloc)
{
    Fixture *f = setup(obj, alloc, 0);
    uint8_t page[QTMEM_PAGE_SIZE];
    QTmemBatch *b;
    unsigned i;

    b = qtmem_batch_new();
    for (i = 0; i < QTMEM_BATCH; i++) {
        qtmem_fill(page, 100 + i);
        qtmem_batch_add(b, VIRTIO_TMEM_OP_STORE, f->pool, 1, i, page);
    }
    run(f, b);
    b = qtmem_batch_new();
    for (i = 0; i < QTMEM_BATCH; i++) {
        g_assert_cmpuint(f->a.status[i], ==, VIRTIO_TMEM_S_OK);
        qtmem_batch_add(b, VIRTIO_TMEM_OP_LOAD, f->pool, 1, i, NULL);
    }
    run(f, b);
    for (i = 0; i < QTMEM_BATCH; i++) {
        g_assert_cmpuint(f->a.status[i], ==, VIRTIO_TMEM_S_OK);
        qtmem_check(f->a.page[i], 100 + i);
    }

    /* One more than max_batch: refused, and (DEV-10) as refused stores. */
    b = qtmem_batch_new();
    for (i = 0; i < QTMEM_BATCH + 1; i++) {
        qtmem_batch_add(b, VIRTIO_TMEM_OP_STORE, f->pool, 1, i, page);
    }
    run(f, b);
    g_assert_cmpuint(f->a.resp.status, ==, VIRTIO_TMEM_S_INVAL);
    for (i = 0; i < QTMEM_BATCH; i++) {
        g_assert_cmpuint(f->a.status[i], ==, VIRTIO_TMEM_S_INVAL);
        g_assert_cmpuint(load(f, f->pool, i, 0), ==, VIRTIO_TMEM_S_MISS);
    }
    teardown(f);
}

/* --- Bad operations: one status each --- */

typedef struct BadOp {
    uint8_t op;
    uint8_t flags;
    uint16_t reserved0;
    uint32_t reserved1;
    bool ephemeral;
    uint8_t status;
} BadOp;

static const BadOp bad_ops[] = {
    { .op = 0, .status = VIRTIO_TMEM_S_UNSUPP },
    { .op = 5, .status = VIRTIO_TMEM_S_UNSUPP },
    { .op = 255, .status = VIRTIO_TMEM_S_UNSUPP },
    /* flags that nobody knows */
    { .op = VIRTIO_TMEM_OP_STORE, .flags = 4, .status = VIRTIO_TMEM_S_INVAL },
    { .op = VIRTIO_TMEM_OP_LOAD, .flags = 0x80, .status = VIRTIO_TMEM_S_INVAL },
    { .op = VIRTIO_TMEM_OP_INVALIDATE, .flags = 0x10,
      .status = VIRTIO_TMEM_S_INVAL },
    /* DEV-3: flags of features that were not negotiated */
    { .op = VIRTIO_TMEM_OP_STORE, .flags = VIRTIO_TMEM_OP_F_CREDIT,
      .status = VIRTIO_TMEM_S_UNSUPP },
    { .op = VIRTIO_TMEM_OP_LOAD, .flags = VIRTIO_TMEM_OP_F_EXCLUSIVE,
      .ephemeral = true, .status = VIRTIO_TMEM_S_UNSUPP },
    /* reserved bits */
    { .op = VIRTIO_TMEM_OP_STORE, .reserved0 = 1,
      .status = VIRTIO_TMEM_S_INVAL },
    { .op = VIRTIO_TMEM_OP_STORE, .reserved1 = 0x80000000,
      .status = VIRTIO_TMEM_S_INVAL },
    { .op = VIRTIO_TMEM_OP_LOAD, .reserved0 = 0x8000,
      .status = VIRTIO_TMEM_S_INVAL },
    { .op = VIRTIO_TMEM_OP_INVALIDATE, .reserved1 = 1,
      .status = VIRTIO_TMEM_S_INVAL },
};

static void test_bad_ops(void *obj, void *data, QGuestAllocator *alloc)
{
    Fixture *f = setup(obj, alloc, F(EPHEMERAL));
    unsigned i;

    for (i = 0; i < G_N_ELEMENTS(bad_ops); i++) {
        const BadOp *bad = &bad_ops[i];
        uint64_t pool = bad->ephemeral ? f->ephemeral : f->pool;
        QTmemBatch *b = qtmem_batch_new();
        uint8_t page[QTMEM_PAGE_SIZE];
        struct virtio_tmem_op *op;

        g_assert_cmpuint(store(f, pool, i, 80), ==, VIRTIO_TMEM_S_OK);
        qtmem_fill(page, 81);
        op = qtmem_batch_add(b, bad->op, pool, 1, i, page);
        op->flags = bad->flags;
        op->reserved0 = cpu_to_le16(bad->reserved0);
        op->reserved1 = cpu_to_le32(bad->reserved1);
        run(f, b);
        g_assert_cmpuint(f->a.resp.status, ==, VIRTIO_TMEM_S_OK);
        g_assert_cmpuint(f->a.status[0], ==, bad->status);
        /* DEV-13 of a store; anything else did nothing */
        g_assert_cmpuint(load(f, pool, i, 80), ==,
                         bad->op == VIRTIO_TMEM_OP_STORE ? VIRTIO_TMEM_S_MISS
                                                         : VIRTIO_TMEM_S_OK);
    }
    teardown(f);
}

static void test_no_pool(void *obj, void *data, QGuestAllocator *alloc)
{
    Fixture *f = setup(obj, alloc, 0);
    uint64_t gone, bad[4];
    unsigned i, op;

    g_assert_cmpuint(qtmem_create_pool(f->t, 0, &gone), ==, VIRTIO_TMEM_S_OK);
    g_assert_cmpuint(store(f, gone, 1, 90), ==, VIRTIO_TMEM_S_OK);
    g_assert_cmpuint(qtmem_destroy_pool(f->t, gone), ==, VIRTIO_TMEM_S_OK);
    g_assert_cmpuint(qtmem_destroy_pool(f->t, gone), ==,
                     VIRTIO_TMEM_S_NOPOOL);
    bad[0] = 0;
    bad[1] = gone;
    bad[2] = UINT64_MAX;
    bad[3] = f->pool ^ (1ull << 40);    /* another generation, or slot */
    for (i = 0; i < G_N_ELEMENTS(bad); i++) {
        for (op = VIRTIO_TMEM_OP_STORE;
             op <= VIRTIO_TMEM_OP_INVALIDATE_OBJECT; op++) {
            QTmemBatch *b = qtmem_batch_new();
            uint8_t page[QTMEM_PAGE_SIZE] = { };

            qtmem_batch_add(b, op, bad[i], 1, 0, page);
            run(f, b);
            g_assert_cmpuint(f->a.status[0], ==, VIRTIO_TMEM_S_NOPOOL);
        }
        g_assert_cmpuint(qtmem_destroy_pool(f->t, bad[i]), ==,
                         VIRTIO_TMEM_S_NOPOOL);
    }
    teardown(f);
}

/* --- Requests refused as a whole --- */

typedef struct BadReq {
    uint8_t type;
    uint8_t reserved0;
    uint32_t reserved1;
    int nr_off;                 /* nr_ops wrong by this */
    int out_off, in_off;        /* lengths wrong by this */
    uint8_t status;
} BadReq;

static const BadReq bad_reqs[] = {
    { .type = 0, .status = VIRTIO_TMEM_S_UNSUPP },
    { .type = 2, .status = VIRTIO_TMEM_S_UNSUPP },
    { .type = VIRTIO_TMEM_T_CREATE_POOL, .status = VIRTIO_TMEM_S_UNSUPP },
    { .type = 1, .reserved0 = 1, .status = VIRTIO_TMEM_S_INVAL },
    { .type = 1, .reserved1 = 1, .status = VIRTIO_TMEM_S_INVAL },
    { .type = 1, .nr_off = -2, .status = VIRTIO_TMEM_S_INVAL },
    { .type = 1, .nr_off = -1, .status = VIRTIO_TMEM_S_INVAL },
    { .type = 1, .out_off = -1, .status = VIRTIO_TMEM_S_INVAL },
    { .type = 1, .out_off = 1, .status = VIRTIO_TMEM_S_INVAL },
    { .type = 1, .out_off = -QTMEM_PAGE_SIZE, .status = VIRTIO_TMEM_S_INVAL },
    { .type = 1, .out_off = -QTMEM_PAGE_SIZE - 1,
      .status = VIRTIO_TMEM_S_INVAL },
    { .type = 1, .in_off = -1, .status = VIRTIO_TMEM_S_INVAL },
    { .type = 1, .in_off = 1, .status = VIRTIO_TMEM_S_INVAL },
    { .type = 1, .in_off = -QTMEM_PAGE_SIZE, .status = VIRTIO_TMEM_S_INVAL },
};

/* A store over index 1 and a load of index 2, both held, made bad. */
static void check_bad_req(Fixture *f, const BadReq *bad)
{
    QTmemBatch *b = qtmem_batch_new();
    uint8_t page[QTMEM_PAGE_SIZE], *in;
    size_t ops_len = 2 * sizeof(b->op[0]);
    size_t out_len = sizeof(b->hdr) + ops_len + QTMEM_PAGE_SIZE + bad->out_off;
    size_t in_len = sizeof(f->a.resp) + 2 + QTMEM_PAGE_SIZE + bad->in_off;
    unsigned nr = 2 + bad->nr_off, i;
    bool readable = out_len >= sizeof(b->hdr) + sizeof(b->op[0]);

    g_assert_cmpuint(store(f, f->pool, 1, 82), ==, VIRTIO_TMEM_S_OK);
    g_assert_cmpuint(store(f, f->pool, 2, 83), ==, VIRTIO_TMEM_S_OK);
    qtmem_fill(page, 84);
    qtmem_batch_add(b, VIRTIO_TMEM_OP_STORE, f->pool, 1, 1, page);
    qtmem_batch_add(b, VIRTIO_TMEM_OP_LOAD, f->pool, 1, 2, NULL);
    b->hdr.type = bad->type;
    b->hdr.reserved0 = bad->reserved0;
    b->hdr.reserved1 = cpu_to_le32(bad->reserved1);
    b->hdr.nr_ops = cpu_to_le16(nr);
    qtest_memwrite(f->t->qts, f->t->out, &b->hdr, sizeof(b->hdr));
    qtest_memwrite(f->t->qts, f->t->out + sizeof(b->hdr), b->op, ops_len);
    qtest_memwrite(f->t->qts, f->t->out + sizeof(b->hdr) + ops_len, page,
                   sizeof(page));
    qtmem_batch_free(b);

    /* DEV-7, DEV-9 */
    g_assert_cmpuint(qtmem_call(f->t, f->t->req[0], out_len, in_len), ==,
                     in_len);
    in = g_malloc(in_len);
    qtest_memread(f->t->qts, f->t->in, in, in_len);
    g_assert_cmpuint(in[0], ==, bad->status);
    for (i = 1; i < in_len; i++) {
        bool status = i >= sizeof(f->a.resp) && i < sizeof(f->a.resp) + nr;

        /* DEV-10: each status byte, and zeros */
        g_assert_cmpuint(in[i], ==, status ? bad->status : 0);
    }
    g_free(in);
    if (readable && nr >= 1 && bad->type == VIRTIO_TMEM_T_PAGES) {
        g_assert_cmpuint(load(f, f->pool, 1, 0), ==, VIRTIO_TMEM_S_MISS);
    }
    g_assert_cmpuint(load(f, f->pool, 2, 83), ==, VIRTIO_TMEM_S_OK);
}

static void test_bad_requests(void *obj, void *data, QGuestAllocator *alloc)
{
    Fixture *f = setup(obj, alloc, 0);
    unsigned i;

    for (i = 0; i < G_N_ELEMENTS(bad_reqs); i++) {
        check_bad_req(f, &bad_reqs[i]);
    }
    teardown(f);
}

/* --- */

static void add(const char *name, const char *node, QOSTestFunc func)
{
    qos_add_test(name, node, func, NULL);
}

static void register_virtio_tmem_req_test(void)
{
    const char *any = "virtio-tmem";

    add("req/store-load", any, test_store_load);
    add("req/handles", any, test_handles);
    add("req/invalidate-object", any, test_invalidate_object);
    add("req/exclusive", any, test_exclusive);
    add("req/batch-order", any, test_batch_order);
    add("req/batch-max", any, test_batch_max);
    add("req/bad-ops", any, test_bad_ops);
    add("req/no-pool", any, test_no_pool);
    add("req/bad-requests", any, test_bad_requests);
}

libqos_init(register_virtio_tmem_req_test);
