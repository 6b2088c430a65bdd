/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The request decoder: framing to the byte, and each operation's status
 *
 * The numbers DEV-n are those of docs/specs/virtio-tmem.rst.
 */
#include "testreq.h"
#include "tmem-client.h"
#include "tmem-clock.h"

#define S(name) VIRTIO_TMEM_S_##name

static const uint8_t zeros[TMEM_PAGE_SIZE];

static void set_up(Fixture *f)
{
    fixture_set_up(f, FIXTURE_SIZE, 0);
}

/* A request with one operation. */
static void one(TestReq *r, uint8_t op, uint8_t flags, TmemHandle h,
                TestPage sort, uint64_t tag)
{
    uint8_t page[TMEM_PAGE_SIZE];

    test_page_make(page, sort, tag);
    test_req_init(r);
    test_req_add(r, op, flags, &h, page);
}

static uint8_t run_one(Fixture *f, uint64_t features, uint8_t op,
                       uint8_t flags, TmemHandle h)
{
    uint8_t status;
    TestReq r;

    one(&r, op, flags, h, TEST_PAGE_TEXT, 77);
    test_req_submit(&r, f->ctx, features);
    g_assert_null(r.violation);
    g_assert_cmpuint(r.written, ==, r.in_bytes);
    g_assert_cmpint(test_req_resp(&r)->status, ==, S(OK));
    status = test_req_status(&r, 0);
    if (op == VIRTIO_TMEM_OP_LOAD && status != S(OK)) {
        g_assert_cmpmem(test_req_page(&r, 0), TMEM_PAGE_SIZE, zeros,
                        TMEM_PAGE_SIZE);
    }
    test_req_clear(&r);
    return status;
}

static void nothing(TmemReq *req)
{
}

/* --- A batch, whole and cut at every byte --- */

static void check_batch(Fixture *f, TestRand *cut)
{
    TmemHandle a = test_handle(f->persistent, 1, 1);
    TmemHandle b = test_handle(f->ephemeral, 2, 1ull << 40);
    uint8_t pages[2][TMEM_PAGE_SIZE];
    static const uint8_t want[] = {
        S(MISS), S(OK), S(OK), S(OK), S(OK), S(OK), S(OK), S(MISS), S(OK),
        S(OK), S(MISS), S(UNSUPP), S(OK),
    };
    TestReq r;

    test_page_make(pages[0], TEST_PAGE_MIXED, 1);
    test_page_make(pages[1], TEST_PAGE_NOISE, 2);
    test_req_init(&r);
    r.cut = cut;
    test_req_add(&r, VIRTIO_TMEM_OP_LOAD, 0, &a, NULL);         /* MISS */
    test_req_add(&r, VIRTIO_TMEM_OP_STORE, 0, &a, pages[0]);
    test_req_add(&r, VIRTIO_TMEM_OP_LOAD, 0, &a, NULL);         /* page 0 */
    test_req_add(&r, VIRTIO_TMEM_OP_STORE, 0, &b, pages[1]);
    test_req_add(&r, VIRTIO_TMEM_OP_LOAD, 0, &b, NULL);         /* page 1 */
    test_req_add(&r, VIRTIO_TMEM_OP_STORE, 0, &b, pages[0]);
    test_req_add(&r, VIRTIO_TMEM_OP_LOAD, VIRTIO_TMEM_OP_F_EXCLUSIVE, &b,
                 NULL);                                         /* page 0 */
    test_req_add(&r, VIRTIO_TMEM_OP_LOAD, 0, &b, NULL);         /* MISS */
    test_req_add(&r, VIRTIO_TMEM_OP_INVALIDATE, 0, &b, NULL);
    test_req_add(&r, VIRTIO_TMEM_OP_INVALIDATE, 0, &a, NULL);
    test_req_add(&r, VIRTIO_TMEM_OP_LOAD, 0, &a, NULL);         /* MISS */
    test_req_add(&r, 200, 0, &a, NULL);
    a.index = 0;
    test_req_add(&r, VIRTIO_TMEM_OP_INVALIDATE_OBJECT, 0, &a, NULL);
    test_req_submit(&r, f->ctx, TEST_REQ_FEATURES);

    g_assert_null(r.violation);
    g_assert_cmpuint(r.written, ==, r.in_bytes);
    g_assert_cmpmem(test_req_resp(&r), sizeof(struct virtio_tmem_resp), zeros,
                    sizeof(struct virtio_tmem_resp));
    g_assert_cmpmem(r.in + sizeof(struct virtio_tmem_resp), r.nr_ops, want,
                    sizeof(want));
    for (int i = 0; i < 6; i++) {
        const uint8_t *page = i == 1 || i == 3 ? pages[0] :
                              i == 2 ? pages[1] : zeros;

        g_assert_cmpmem(test_req_page(&r, i), TMEM_PAGE_SIZE, page,
                        TMEM_PAGE_SIZE);
    }
    test_req_clear(&r);
}

static void test_batch(void)
{
    TestRand cut = { test_seed() };
    Fixture f;

    set_up(&f);
    check_batch(&f, NULL);
    for (int i = 0; i < 500; i++) {
        check_batch(&f, &cut);
    }
    fixture_tear_down(&f);
}

/* --- Framing --- */

/* DEV-6: what is a violation, at both edges of each rule. */
static void test_violations(void)
{
    TmemClientStats stats;
    uint64_t nr = 0;
    Fixture f;

    set_up(&f);
    for (size_t out = 0; out <= sizeof(struct virtio_tmem_req); out++) {
        for (size_t in = 0; in <= sizeof(struct virtio_tmem_resp); in++) {
            bool bad = out < sizeof(struct virtio_tmem_req) ||
                       in < sizeof(struct virtio_tmem_resp);
            TestReq r;

            test_req_init(&r);
            test_req_finish(&r);
            g_byte_array_set_size(r.out, out);
            r.in_bytes = in;
            test_req_submit(&r, f.ctx, TEST_REQ_FEATURES);
            g_assert_true(bad == !!r.violation);
            if (bad) {
                g_assert_cmpuint(r.written, ==, 0);
                for (size_t i = 0; i < in; i++) {
                    g_assert_cmpuint(r.in[i], ==, 0xee);
                }
                nr++;
            } else {
                g_assert_cmpuint(r.written, ==, in);
                g_assert_cmpint(test_req_resp(&r)->status, ==, S(INVAL));
            }
            test_req_clear(&r);
        }
    }
    tmem_client_get_stats(f.client, &stats);
    g_assert_cmpuint(stats.violations, ==, nr);
    fixture_tear_down(&f);
}

/* No room for a status byte each; DEV-6 counts max_batch of them at most. */
static void test_no_room_for_status(void)
{
    static const uint16_t nr_ops[] = {
        1, 2, TMEM_REQ_BATCH_MAX, TMEM_REQ_BATCH_MAX + 1, UINT16_MAX,
    };
    Fixture f;

    set_up(&f);
    for (unsigned i = 0; i < G_N_ELEMENTS(nr_ops); i++) {
        size_t room = sizeof(struct virtio_tmem_resp) +
                      MIN(nr_ops[i], TMEM_REQ_BATCH_MAX);

        for (int enough = 0; enough < 2; enough++) {
            TestReq r;

            test_req_init(&r);
            test_req_header(&r)->nr_ops = GUINT16_TO_LE(nr_ops[i]);
            r.in_bytes = room - !enough;
            test_req_submit(&r, f.ctx, TEST_REQ_FEATURES);
            g_assert_true(enough == !r.violation);
            if (enough) {
                g_assert_cmpint(test_req_resp(&r)->status, ==, S(INVAL));
                for (size_t j = sizeof(struct virtio_tmem_resp); j < room;
                     j++) {
                    g_assert_cmpuint(r.in[j], ==, S(INVAL));
                }
            }
            test_req_clear(&r);
        }
    }
    fixture_tear_down(&f);
}

/*
 * A request refused as a whole: its status is that of each operation, nothing
 * is carried out, and what its stores would have replaced is gone (DEV-10).
 */
static void expect_refused(Fixture *f, TestReq *r, TmemHandle stored,
                           TmemHandle other, uint8_t status)
{
    size_t head = sizeof(struct virtio_tmem_resp) + r->nr_ops;

    g_assert_cmpint(test_store(f->ctx, stored, TEST_PAGE_TEXT, 1), ==, 0);
    g_assert_cmpint(test_store(f->ctx, other, TEST_PAGE_TEXT, 2), ==, 0);
    test_req_submit(r, f->ctx, TEST_REQ_FEATURES);
    g_assert_null(r->violation);
    g_assert_cmpuint(r->written, ==, r->in_bytes);
    g_assert_cmpint(test_req_resp(r)->status, ==, status);
    for (unsigned i = 0; i < r->nr_ops; i++) {
        g_assert_cmpint(test_req_status(r, i), ==, status);
    }
    for (size_t i = head; i < r->in_bytes; i++) {
        g_assert_cmpuint(r->in[i], ==, 0);
    }
    test_expect_status(f->ctx, stored, TMEM_STATUS_MISS);
    test_expect_page(f->ctx, other, TEST_PAGE_TEXT, 2);
    test_req_clear(r);
}

typedef enum Tamper {
    TAMPER_TYPE, TAMPER_CONTROL_TYPE, TAMPER_RESERVED0, TAMPER_RESERVED1,
    TAMPER_OUT_LONG, TAMPER_OUT_SHORT, TAMPER_OUT_NO_DATA, TAMPER_IN_LONG,
    TAMPER_IN_SHORT, TAMPER__MAX,
} Tamper;

static void test_refused_requests(void)
{
    Fixture f;

    set_up(&f);
    for (Tamper t = 0; t < TAMPER__MAX; t++) {
        TmemHandle a = test_handle(f.persistent, 1, 1);
        TmemHandle b = test_handle(f.persistent, 1, 2);
        uint8_t page[TMEM_PAGE_SIZE] = { 1 };
        TestReq r;

        test_req_init(&r);
        test_req_add(&r, VIRTIO_TMEM_OP_STORE, 0, &a, page);
        test_req_add(&r, VIRTIO_TMEM_OP_INVALIDATE, 0, &b, NULL);
        test_req_add(&r, VIRTIO_TMEM_OP_LOAD, 0, &b, NULL);
        test_req_finish(&r);
        switch (t) {
        case TAMPER_TYPE:
            test_req_header(&r)->type = 0;
            break;
        case TAMPER_CONTROL_TYPE:
            test_req_header(&r)->type = VIRTIO_TMEM_T_CREATE_POOL;
            break;
        case TAMPER_RESERVED0:
            test_req_header(&r)->reserved0 = 1;
            break;
        case TAMPER_RESERVED1:
            test_req_header(&r)->reserved1 = GUINT32_TO_LE(1u << 31);
            break;
        case TAMPER_OUT_LONG:
            g_byte_array_append(r.out, page, 1);
            break;
        case TAMPER_OUT_SHORT:
            g_byte_array_set_size(r.out, r.out->len - 1);
            break;
        case TAMPER_OUT_NO_DATA:
            g_byte_array_set_size(r.out, r.out->len - TMEM_PAGE_SIZE);
            break;
        case TAMPER_IN_LONG:
            r.in_bytes += 100;
            r.in = g_realloc(r.in, r.in_bytes);
            memset(r.in, 0xee, r.in_bytes);
            break;
        default:
            r.in_bytes -= 1;
            break;
        }
        expect_refused(&f, &r, a, b, t <= TAMPER_CONTROL_TYPE ? S(UNSUPP) :
                                                                S(INVAL));
    }
    fixture_tear_down(&f);
}

/* The op table itself is cut off: what can be read of it counts. */
static void test_table_cut_off(void)
{
    Fixture f;

    set_up(&f);
    for (unsigned keep = 0; keep <= 2; keep++) {
        TmemHandle a = test_handle(f.persistent, 1, 1);
        TmemHandle b = test_handle(f.persistent, 1, 2);
        uint8_t page[TMEM_PAGE_SIZE] = { 1 };
        TestReq r;

        g_assert_cmpint(test_store(f.ctx, a, TEST_PAGE_TEXT, 1), ==, 0);
        g_assert_cmpint(test_store(f.ctx, b, TEST_PAGE_TEXT, 2), ==, 0);
        test_req_init(&r);
        test_req_add(&r, VIRTIO_TMEM_OP_STORE, 0, &a, page);
        test_req_add(&r, VIRTIO_TMEM_OP_STORE, 0, &b, page);
        test_req_finish(&r);
        g_byte_array_set_size(r.out, sizeof(struct virtio_tmem_req) +
                              keep * sizeof(struct virtio_tmem_op) +
                              (keep < 2 ? 47 : 0));
        test_req_submit(&r, f.ctx, TEST_REQ_FEATURES);
        g_assert_null(r.violation);
        g_assert_cmpint(test_req_resp(&r)->status, ==, S(INVAL));
        g_assert_cmpint(test_req_status(&r, 1), ==, S(INVAL));
        if (keep > 0) {
            test_expect_status(f.ctx, a, TMEM_STATUS_MISS);
        } else {
            test_expect_page(f.ctx, a, TEST_PAGE_TEXT, 1);
        }
        if (keep > 1) {
            test_expect_status(f.ctx, b, TMEM_STATUS_MISS);
        } else {
            test_expect_page(f.ctx, b, TEST_PAGE_TEXT, 2);
        }
        test_req_clear(&r);
    }
    fixture_tear_down(&f);
}

/* Batches of the largest size, and of one more. */
static void test_batch_limit(void)
{
    Fixture f;

    set_up(&f);
    for (unsigned nr = TMEM_REQ_BATCH_MAX; nr <= TMEM_REQ_BATCH_MAX + 1;
         nr++) {
        uint8_t page[TMEM_PAGE_SIZE];
        TestReq r;

        test_req_init(&r);
        for (unsigned i = 0; i < nr; i++) {
            TmemHandle h = test_handle(f.persistent, 5, i);

            test_page_make(page, TEST_PAGE_TEXT, i);
            test_req_add(&r, VIRTIO_TMEM_OP_STORE, 0, &h, page);
        }
        test_req_submit(&r, f.ctx, TEST_REQ_FEATURES);
        g_assert_null(r.violation);
        for (unsigned i = 0; i < TMEM_REQ_BATCH_MAX; i++) {
            TmemHandle h = test_handle(f.persistent, 5, i);

            if (nr == TMEM_REQ_BATCH_MAX) {
                g_assert_cmpint(test_req_status(&r, i), ==, S(OK));
                test_expect_page(f.ctx, h, TEST_PAGE_TEXT, i);
            } else {
                g_assert_cmpint(test_req_status(&r, i), ==, S(INVAL));
                test_expect_status(f.ctx, h, TMEM_STATUS_MISS);
            }
        }
        test_req_clear(&r);
    }
    fixture_tear_down(&f);
}

/* The lengths of a vector add up to more than a size_t can hold. */
static void test_huge_vectors(void)
{
    uint8_t request[8 + 48] = {
        VIRTIO_TMEM_T_PAGES, 0, 1, [8] = VIRTIO_TMEM_OP_INVALIDATE,
    };
    uint8_t in[9];
    /* Modulo 2^64 these are as long as the request is. */
    struct iovec out[3] = {
        { request, sizeof(request) }, { request, SIZE_MAX - 9 },
        { request, 10 },
    };
    struct iovec one_in = { in, sizeof(in) };
    TmemReq req = {
        .out = out, .out_num = 3, .in = &one_in, .in_num = 1, .done = nothing,
    };
    Fixture f;

    set_up(&f);
    tmem_req_submit(f.ctx, 0, &req);
    g_assert_null(req.violation);
    g_assert_cmpuint(in[0], ==, S(INVAL));
    g_assert_cmpuint(in[8], ==, S(INVAL));
    fixture_tear_down(&f);
}

/*
 * Descriptors that overlap promise room without end.  All of a reply is
 * written, so such a chain would keep its thread busy for as long as it likes.
 */
static void test_endless_room(void)
{
    const size_t reply_max = sizeof(struct virtio_tmem_resp) +
                             TMEM_REQ_BATCH_MAX * (1 + TMEM_PAGE_SIZE);
    g_autofree uint8_t *buffer = g_malloc(reply_max);
    uint8_t request[2][24] = {
        { VIRTIO_TMEM_T_PAGES, 0, 1 }, { VIRTIO_TMEM_T_CREATE_POOL, 12 },
    };
    struct iovec in[1000];
    Fixture f;

    set_up(&f);
    for (unsigned i = 0; i < G_N_ELEMENTS(in); i++) {
        in[i] = (struct iovec) { buffer, reply_max };
    }
    for (unsigned control = 0; control < 2; control++) {
        struct iovec out = { request[control], sizeof(request[control]) };
        TmemReq req = {
            .out = &out, .out_num = 1, .in = in, .done = nothing,
        };

        for (req.in_num = 1; req.in_num <= G_N_ELEMENTS(in);
             req.in_num += G_N_ELEMENTS(in) - 1) {
            memset(buffer, 0xaa, reply_max);
            if (control) {
                tmem_req_submit_control(f.ctx, 0, &req);
            } else {
                tmem_req_submit(f.ctx, 0, &req);
            }
            if (req.in_num == 1) {
                g_assert_null(req.violation);
                g_assert_cmpuint(buffer[0], ==, S(INVAL));
                g_assert_cmpuint(req.written, ==, reply_max);
            } else {
                g_assert_nonnull(req.violation);
                g_assert_cmpuint(buffer[0], ==, 0xaa);
            }
        }
    }
    fixture_tear_down(&f);
}

/* --- Operations --- */

static void test_op_status(void)
{
    const uint64_t exclusive = 1ull << VIRTIO_TMEM_F_EXCLUSIVE;
    const uint64_t credit = 1ull << VIRTIO_TMEM_F_CREDIT;
    const struct {
        uint64_t features;
        uint8_t op, flags, status;
        bool ephemeral;
    } cases[] = {
        { 0, 0, 0, S(UNSUPP) },
        { 0, 5, 0, S(UNSUPP) },
        { 0, 255, 255, S(UNSUPP) },
        { 0, VIRTIO_TMEM_OP_STORE, 0, S(OK) },
        { 0, VIRTIO_TMEM_OP_STORE, 4, S(INVAL) },
        { ~0ull, VIRTIO_TMEM_OP_STORE, 0x80, S(INVAL) },
        { exclusive, VIRTIO_TMEM_OP_STORE, VIRTIO_TMEM_OP_F_EXCLUSIVE,
          S(INVAL) },
        { exclusive, VIRTIO_TMEM_OP_STORE, VIRTIO_TMEM_OP_F_CREDIT,
          S(UNSUPP) },
        /* No credit was granted. */
        { credit, VIRTIO_TMEM_OP_STORE, VIRTIO_TMEM_OP_F_CREDIT, S(INVAL) },
        { 0, VIRTIO_TMEM_OP_LOAD, 0, S(OK) },
        { 0, VIRTIO_TMEM_OP_LOAD, 0x40, S(INVAL) },
        { 0, VIRTIO_TMEM_OP_LOAD, VIRTIO_TMEM_OP_F_EXCLUSIVE, S(UNSUPP) },
        { 0, VIRTIO_TMEM_OP_LOAD, VIRTIO_TMEM_OP_F_EXCLUSIVE, S(UNSUPP),
          true },
        { exclusive, VIRTIO_TMEM_OP_LOAD, VIRTIO_TMEM_OP_F_EXCLUSIVE,
          S(INVAL) },
        { exclusive, VIRTIO_TMEM_OP_LOAD, VIRTIO_TMEM_OP_F_EXCLUSIVE, S(OK),
          true },
        { credit, VIRTIO_TMEM_OP_LOAD, VIRTIO_TMEM_OP_F_CREDIT, S(INVAL) },
        { 0, VIRTIO_TMEM_OP_INVALIDATE, 0, S(OK) },
        { exclusive, VIRTIO_TMEM_OP_INVALIDATE, VIRTIO_TMEM_OP_F_EXCLUSIVE,
          S(INVAL) },
        { 0, VIRTIO_TMEM_OP_INVALIDATE_OBJECT, 0, S(INVAL) },
    };
    Fixture f;

    set_up(&f);
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        TmemHandle h = test_handle(f.persistent, 1, 1);
        bool gone = cases[i].op == VIRTIO_TMEM_OP_STORE ||
                    (cases[i].status == S(OK) &&
                     (cases[i].op != VIRTIO_TMEM_OP_LOAD || cases[i].flags));

        if (cases[i].ephemeral) {
            h.pool = f.ephemeral;
        }
        g_assert_cmpint(test_store(f.ctx, h, TEST_PAGE_TEXT, 5), ==, 0);
        g_assert_cmpint(run_one(&f, cases[i].features, cases[i].op,
                                cases[i].flags, h), ==, cases[i].status);
        if (!gone) {
            test_expect_page(f.ctx, h, TEST_PAGE_TEXT, 5);
        } else if (cases[i].op == VIRTIO_TMEM_OP_STORE &&
                   cases[i].status == S(OK)) {
            test_expect_page(f.ctx, h, TEST_PAGE_TEXT, 77);
        } else {
            /* A refused store left nothing (DEV-13). */
            test_expect_status(f.ctx, h, TMEM_STATUS_MISS);
        }
    }
    fixture_tear_down(&f);
}

/* Reserved fields of an operation, bit by bit. */
static void test_op_reserved(void)
{
    Fixture f;

    set_up(&f);
    for (int bit = 0; bit < 48; bit++) {
        TmemHandle h = test_handle(f.persistent, 1, 1);
        TestReq r;

        g_assert_cmpint(test_store(f.ctx, h, TEST_PAGE_TEXT, 5), ==, 0);
        one(&r, VIRTIO_TMEM_OP_STORE, 0, h, TEST_PAGE_TEXT, 6);
        if (bit < 16) {
            test_req_op(&r, 0)->reserved0 = GUINT16_TO_LE(1u << bit);
        } else {
            test_req_op(&r, 0)->reserved1 = GUINT32_TO_LE(1u << (bit - 16));
        }
        test_req_submit(&r, f.ctx, TEST_REQ_FEATURES);
        g_assert_cmpint(test_req_resp(&r)->status, ==, S(OK));
        g_assert_cmpint(test_req_status(&r, 0), ==, S(INVAL));
        test_expect_status(f.ctx, h, TMEM_STATUS_MISS);
        test_req_clear(&r);
    }
    fixture_tear_down(&f);
}

/* Pools that are not there: unknown, destroyed, of another client (B10). */
static void test_op_no_pool(void)
{
    TmemClientConfig config = { .name = "other" };
    TmemClient *other;
    TmemClientStats stats;
    uint64_t ids[6], foreign;
    Fixture f;

    set_up(&f);
    other = tmem_client_new(f.store, &config, NULL);
    g_assert_cmpint(tmem_pool_create(other, TMEM_POOL_PERSISTENT,
                                     TMEM_PAGE_SHIFT, &foreign), ==, 0);
    g_assert_cmpint(tmem_pool_create(f.client, TMEM_POOL_PERSISTENT,
                                     TMEM_PAGE_SHIFT, &ids[0]), ==, 0);
    g_assert_cmpint(tmem_pool_destroy(f.client, ids[0]), ==, 0);
    ids[1] = 0;
    ids[2] = UINT64_MAX;
    ids[3] = foreign;
    ids[4] = f.persistent ^ 1ull << 63;
    ids[5] = f.persistent & 0xffff;
    for (unsigned i = 0; i < G_N_ELEMENTS(ids); i++) {
        for (uint8_t op = 1; op <= 4; op++) {
            g_assert_cmpint(run_one(&f, TEST_REQ_FEATURES, op, 0,
                                    test_handle(ids[i], 1, 0)), ==,
                            S(NOPOOL));
        }
    }
    tmem_client_get_stats(f.client, &stats);
    g_assert_cmpuint(stats.ops_no_pool, ==, 4 * G_N_ELEMENTS(ids));
    tmem_client_get_stats(other, &stats);
    g_assert_cmpuint(stats.total.pages, ==, 0);
    tmem_client_free(other);
    fixture_tear_down(&f);
}

/* --- Guest memory that changes while it is read --- */

/*
 * The reply's vector lies over the request: what the decoder writes changes
 * what it would read, were it to read it twice (DEV-8).
 */
static void test_double_fetch(void)
{
    size_t head = sizeof(struct virtio_tmem_req) +
                  2 * sizeof(struct virtio_tmem_op);
    TmemHandle a, b;
    uint8_t page[TMEM_PAGE_SIZE];
    struct iovec out[2], in[3];
    TmemReq req = {
        .out = out, .out_num = 1, .in = in, .in_num = 3, .done = nothing,
    };
    uint8_t reply[8 + 2];
    Fixture f;
    TestReq r;

    set_up(&f);
    a = test_handle(f.persistent, 1, 1);
    b = test_handle(f.persistent, 1, 2);
    g_assert_cmpint(test_store(f.ctx, a, TEST_PAGE_NOISE, 1), ==, 0);
    g_assert_cmpint(test_store(f.ctx, b, TEST_PAGE_NOISE, 2), ==, 0);

    /* The first load overwrites the whole table that follows it. */
    test_req_init(&r);
    test_req_add(&r, VIRTIO_TMEM_OP_LOAD, 0, &a, NULL);
    test_req_add(&r, VIRTIO_TMEM_OP_LOAD, 0, &b, NULL);
    g_byte_array_set_size(r.out, TMEM_PAGE_SIZE);
    out[0] = (struct iovec) { r.out->data, head };
    in[0] = (struct iovec) { reply, sizeof(reply) };
    in[1] = (struct iovec) { r.out->data, TMEM_PAGE_SIZE };
    in[2] = (struct iovec) { page, TMEM_PAGE_SIZE };
    tmem_req_submit(f.ctx, TEST_REQ_FEATURES, &req);
    g_assert_null(req.violation);
    g_assert_cmpuint(reply[8], ==, S(OK));
    g_assert_cmpuint(reply[9], ==, S(OK));
    test_page_make(tmem_context_bounce(f.ctx), TEST_PAGE_NOISE, 2);
    g_assert_cmpmem(page, sizeof(page), tmem_context_bounce(f.ctx),
                    TMEM_PAGE_SIZE);
    test_req_clear(&r);
    fixture_tear_down(&f);
}

typedef struct Scribbler {
    uint8_t *buf;
    size_t bytes;
    bool stop;
} Scribbler;

/*
 * A vCPU that keeps writing to a request in flight: to its own rules the
 * decoder stays true, whatever it reads.
 */
static gpointer scribble(gpointer opaque)
{
    Scribbler *s = opaque;
    TestRand r = { 1 };

    while (!__atomic_load_n(&s->stop, __ATOMIC_RELAXED)) {
        size_t at = test_rand_below(&r, s->bytes);

        __atomic_store_n(&s->buf[at], (uint8_t)test_rand_below(&r, 6),
                         __ATOMIC_RELAXED);
    }
    return NULL;
}

static void test_changing_request(void)
{
    size_t bytes = sizeof(struct virtio_tmem_req) +
                   8 * sizeof(struct virtio_tmem_op) + 4 * TMEM_PAGE_SIZE;
    g_autofree uint8_t *buf = g_malloc0(bytes);
    g_autofree uint8_t *reply = g_malloc(8 + 8 + 4 * TMEM_PAGE_SIZE);
    struct iovec out = { buf, bytes };
    struct iovec in = { reply, 8 + 8 + 4 * TMEM_PAGE_SIZE };
    TmemReq req = {
        .out = &out, .out_num = 1, .in = &in, .in_num = 1, .done = nothing,
    };
    Scribbler s = { .buf = buf, .bytes = 8 + 8 * 48 };
    GThread *thread;
    Fixture f;

    set_up(&f);
    thread = g_thread_new("scribbler", scribble, &s);
    for (int i = 0; i < 20000; i++) {
        struct virtio_tmem_req *hdr = (struct virtio_tmem_req *)buf;
        struct virtio_tmem_op *ops = (struct virtio_tmem_op *)(hdr + 1);

        hdr->type = VIRTIO_TMEM_T_PAGES;
        hdr->reserved0 = 0;
        hdr->reserved1 = 0;
        hdr->nr_ops = GUINT16_TO_LE(8);
        for (int j = 0; j < 8; j++) {
            ops[j].op = 1 + j % 2;
            ops[j].pool = GUINT64_TO_LE(f.persistent);
        }
        tmem_req_submit(f.ctx, TEST_REQ_FEATURES, &req);
    }
    __atomic_store_n(&s.stop, true, __ATOMIC_RELAXED);
    g_thread_join(thread);
    fixture_tear_down(&f);
}

/* --- Control queue --- */

static uint8_t control(Fixture *f, uint64_t features, const void *cmd,
                       size_t bytes, uint64_t *id)
{
    struct virtio_tmem_ctrl_resp *resp;
    uint8_t status;
    TestReq r;

    test_req_init(&r);
    test_req_control(&r, f->ctx, features, cmd, bytes);
    g_assert_null(r.violation);
    g_assert_cmpuint(r.written, ==, sizeof(*resp));
    resp = (struct virtio_tmem_ctrl_resp *)r.in;
    status = resp->status;
    *id = GUINT64_FROM_LE(resp->pool);
    g_assert_cmpuint(resp->hints, ==, 0);
    g_assert_cmpuint(resp->reserved, ==, 0);
    g_assert_cmpuint(resp->credit, ==, 0);
    test_req_clear(&r);
    return status;
}

static void test_create_pool(void)
{
    const uint64_t eph = 1ull << VIRTIO_TMEM_F_EPHEMERAL;
    const uint64_t shared = eph | 1ull << VIRTIO_TMEM_F_SHARED;
    const struct {
        uint64_t features;
        struct virtio_tmem_create_pool cmd;
        uint8_t status;
    } cases[] = {
        { 0, { 16, 12 }, S(OK) },
        { eph, { 16, 12, 1 }, S(OK) },
        { 0, { 16, 12, 1 }, S(UNSUPP) },
        { 0, { 16, 13 }, S(UNSUPP) },
        { 0, { 16, 0 }, S(UNSUPP) },
        { eph, { 16, 12, 3 }, S(UNSUPP) },
        { shared, { 16, 12, 3, 0, { 1 } }, S(PERM) },
        { 1ull << VIRTIO_TMEM_F_SHARED, { 16, 12, 3, 0, { 1 } }, S(UNSUPP) },
        { shared, { 16, 12, 2 }, S(INVAL) },
        { eph, { 16, 12, 4 }, S(INVAL) },
        { eph, { 16, 12, 0x8000 }, S(INVAL) },
        { eph, { 16, 12, 1, 1 }, S(INVAL) },
        { eph, { 16, 12, 1, 0, { [15] = 1 } }, S(INVAL) },
        { eph, { 18, 12 }, S(UNSUPP) },
        { eph, { 0, 12 }, S(UNSUPP) },
        { eph, { 1, 12 }, S(UNSUPP) },
    };
    Fixture f;

    set_up(&f);
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        struct virtio_tmem_create_pool cmd = cases[i].cmd;
        uint64_t id;

        cmd.flags = GUINT16_TO_LE(cmd.flags);
        g_assert_cmpint(control(&f, cases[i].features, &cmd, sizeof(cmd),
                                &id), ==, cases[i].status);
        g_assert_true((cases[i].status == S(OK)) == (id != 0));
        if (id) {
            g_assert_cmpint(run_one(&f, 0, VIRTIO_TMEM_OP_LOAD, 0,
                                    test_handle(id, 1, 1)), ==, S(MISS));
        }
    }
    fixture_tear_down(&f);
}

static void test_destroy_pool(void)
{
    struct virtio_tmem_destroy_pool cmd = {
        .type = VIRTIO_TMEM_T_DESTROY_POOL,
    };
    uint64_t id;
    Fixture f;

    set_up(&f);
    cmd.pool = GUINT64_TO_LE(f.persistent);
    for (unsigned i = 0; i < sizeof(cmd.reserved); i++) {
        cmd.reserved[i] = 1;
        g_assert_cmpint(control(&f, 0, &cmd, sizeof(cmd), &id), ==,
                        S(INVAL));
        cmd.reserved[i] = 0;
    }
    g_assert_cmpint(run_one(&f, 0, VIRTIO_TMEM_OP_STORE, 0,
                            test_handle(f.persistent, 1, 1)), ==, S(OK));
    g_assert_cmpint(control(&f, 0, &cmd, sizeof(cmd), &id), ==, S(OK));
    g_assert_cmpuint(id, ==, 0);
    g_assert_cmpint(control(&f, 0, &cmd, sizeof(cmd), &id), ==, S(NOPOOL));
    g_assert_cmpint(run_one(&f, 0, VIRTIO_TMEM_OP_LOAD, 0,
                            test_handle(f.persistent, 1, 1)), ==, S(NOPOOL));
    fixture_tear_down(&f);
}

/* Every length of a control request and of the room for its reply. */
static void test_control_framing(void)
{
    static const uint8_t types[] = { 16, 17, 18 };
    Fixture f;

    set_up(&f);
    for (unsigned t = 0; t < G_N_ELEMENTS(types); t++) {
        size_t right = types[t] == 16 ? 24 : 16;

        for (size_t out = 0; out <= 40; out++) {
            for (size_t in = 0; in <= 20; in++) {
                uint8_t cmd[40] = { types[t], types[t] == 16 ? 12 : 0 };
                bool bad = !out || in < 16;
                uint8_t want = types[t] == 18 ? S(UNSUPP) :
                               out != right || in != 16 ? S(INVAL) :
                               types[t] == 16 ? S(OK) : S(NOPOOL);
                TestReq r;

                test_req_init(&r);
                r.in_bytes = in;
                r.in = g_malloc0(MAX(in, 1));
                test_req_control(&r, f.ctx, TEST_REQ_FEATURES, cmd, out);
                g_assert_true(bad == !!r.violation);
                g_assert_cmpuint(r.written, ==, bad ? 0 : in);
                for (size_t i = bad ? 0 : 16; i < in; i++) {
                    g_assert_cmpuint(r.in[i], ==, bad ? 0xee : 0);
                }
                if (!bad) {
                    g_assert_cmpuint(r.in[0], ==, want);
                }
                test_req_clear(&r);
            }
        }
    }
    fixture_tear_down(&f);
}

/* A request with loads is timed as a whole, once; others are not. */
static void test_latency(void)
{
    const uint32_t mask = tmem_clock.sample_mask;
    TmemLatencyStats latency;
    TmemHandle h;
    Fixture f;
    TestReq r;

    set_up(&f);
    tmem_clock.sample_mask = 0;
    h = test_handle(f.persistent, 1, 1);
    run_one(&f, TEST_REQ_FEATURES, VIRTIO_TMEM_OP_STORE, 0, h);
    tmem_client_get_latency(f.client, &latency);
    g_assert_cmpuint(tmem_histogram_total(&latency.load_request), ==, 0);
    test_req_init(&r);
    for (int i = 0; i < 8; i++) {
        test_req_add(&r, VIRTIO_TMEM_OP_LOAD, 0, &h, NULL);
    }
    test_req_submit(&r, f.ctx, TEST_REQ_FEATURES);
    test_req_clear(&r);
    tmem_client_get_latency(f.client, &latency);
    g_assert_cmpuint(tmem_histogram_total(&latency.load_request), ==, 1);
    g_assert_cmpuint(tmem_histogram_total(&latency.load_lz4), ==, 8);
    g_assert_cmpuint(tmem_histogram_percentile(&latency.load_request, 100), >,
                     tmem_histogram_percentile(&latency.load_lz4, 50));
    tmem_clock.sample_mask = mask;
    fixture_tear_down(&f);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/tmem/req/batch", test_batch);
    g_test_add_func("/tmem/req/DEV-6/violations", test_violations);
    g_test_add_func("/tmem/req/DEV-6/endless-room", test_endless_room);
    g_test_add_func("/tmem/req/DEV-6/no-room-for-status",
                    test_no_room_for_status);
    g_test_add_func("/tmem/B1/refused-store-leaves-nothing/DEV-10/request",
                    test_refused_requests);
    g_test_add_func("/tmem/B1/refused-store-leaves-nothing/DEV-10/cut-off",
                    test_table_cut_off);
    g_test_add_func("/tmem/req/batch-limit", test_batch_limit);
    g_test_add_func("/tmem/req/huge-vectors", test_huge_vectors);
    g_test_add_func("/tmem/B1/refused-store-leaves-nothing/DEV-13/op",
                    test_op_status);
    g_test_add_func("/tmem/B1/refused-store-leaves-nothing/DEV-13/reserved",
                    test_op_reserved);
    g_test_add_func("/tmem/B10/no-pool", test_op_no_pool);
    g_test_add_func("/tmem/req/DEV-8/double-fetch", test_double_fetch);
    /* It is a race, and meant to be. */
    if (!TMEM_TEST_TSAN) {
        g_test_add_func("/tmem/req/DEV-8/changing-request",
                        test_changing_request);
    }
    g_test_add_func("/tmem/req/create-pool", test_create_pool);
    g_test_add_func("/tmem/req/destroy-pool", test_destroy_pool);
    g_test_add_func("/tmem/req/control-framing", test_control_framing);
    g_test_add_func("/tmem/req/latency", test_latency);
    return g_test_run();
}
