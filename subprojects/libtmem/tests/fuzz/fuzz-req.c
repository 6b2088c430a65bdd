/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: requests of any bytes, cut in any way
 *
 * The input is a sequence of requests: a control byte, lengths, and bytes that
 * become the device-readable part as they are, or with the fields patched that
 * a random input would never hit (a pool's id, a plausible number of
 * operations).  After each request:
 *
 *   - it was answered once, with a violation or with the whole reply written;
 *   - no status byte of a refused request says OK;
 *   - a store that was not answered OK left nothing under its handle (B1);
 *   - the store is within its size.
 *
 * At the end the whole structure is checked.
 */
#include "fuzz.h"
#include "testreq.h"

#define CREDIT      16
#define FEATURES    (TEST_REQ_FEATURES | 1ull << VIRTIO_TMEM_F_CREDIT |       \
                     1ull << VIRTIO_TMEM_F_HINT)

/* Credit that the driver has: granted in answers, and not used. */
static uint64_t credit;

/* Lets most operations name a pool that exists and few different pages. */
static void patch(TestReq *r, Fixture *f, uint8_t how)
{
    size_t table = sizeof(struct virtio_tmem_req);
    unsigned nr = (r->out->len - MIN(table, r->out->len)) /
                  sizeof(struct virtio_tmem_op);
    unsigned nr_loads = 0, nr_stores = 0;

    nr = MIN(nr, 1 + how % 8u);
    if (!nr) {
        return;
    }
    test_req_header(r)->type = VIRTIO_TMEM_T_PAGES;
    test_req_header(r)->reserved0 = 0;
    test_req_header(r)->reserved1 = 0;
    test_req_header(r)->nr_ops = GUINT16_TO_LE(nr);
    for (unsigned i = 0; i < nr; i++) {
        struct virtio_tmem_op *op = test_req_op(r, i);

        op->op %= 6;
        op->pool = GUINT64_TO_LE(i % 2 ? f->persistent : f->ephemeral);
        if (how & 16) {
            op->flags &= 3;
            op->reserved0 = 0;
            op->reserved1 = 0;
        }
        op->object[0] &= GUINT64_TO_LE(1);
        op->object[1] = op->object[2] = 0;
        op->index &= GUINT64_TO_LE(127);
        nr_stores += op->op == VIRTIO_TMEM_OP_STORE;
        nr_loads += op->op == VIRTIO_TMEM_OP_LOAD;
    }
    r->nr_ops = nr;
    r->nr_loads = nr_loads;
    g_byte_array_set_size(r->out, table + nr * sizeof(struct virtio_tmem_op));
    for (unsigned i = 0; i < nr_stores; i++) {
        uint8_t page[TMEM_PAGE_SIZE];

        test_page_make(page, (how + i) % TEST_PAGE__MAX, how * 31 + i);
        g_byte_array_append(r->out, page, sizeof(page));
    }
    r->in_bytes = sizeof(struct virtio_tmem_resp) + nr +
                  nr_loads * TMEM_PAGE_SIZE;
}

/* B1, for a request whose operations do not undo one another. */
static void check_stores(TestReq *r, Fixture *f)
{
    unsigned table = (r->out->len - sizeof(struct virtio_tmem_req)) /
                     sizeof(struct virtio_tmem_op);
    unsigned nr = GUINT16_FROM_LE(test_req_header(r)->nr_ops);

    nr = MIN(MIN(nr, table), TMEM_REQ_BATCH_MAX);
    for (unsigned i = 0; i < nr; i++) {
        const struct virtio_tmem_op *op = test_req_op(r, i);
        TmemHandle h = { .pool = GUINT64_FROM_LE(op->pool) };
        bool again = false;
        TmemStatus status;

        for (int j = 0; j < 3; j++) {
            h.object[j] = GUINT64_FROM_LE(op->object[j]);
        }
        h.index = GUINT64_FROM_LE(op->index);
        if (op->op != VIRTIO_TMEM_OP_STORE ||
            test_req_status(r, i) == VIRTIO_TMEM_S_OK) {
            continue;
        }
        for (unsigned j = i + 1; j < nr; j++) {
            const struct virtio_tmem_op *later = test_req_op(r, j);

            again |= later->op == VIRTIO_TMEM_OP_STORE &&
                     later->pool == op->pool && later->index == op->index &&
                     !memcmp(later->object, op->object, sizeof(op->object));
        }
        if (!again) {
            status = tmem_page_load(f->ctx, &h, tmem_context_bounce(f->ctx),
                                    NULL);
            g_assert_true(status == TMEM_STATUS_MISS ||
                          status == TMEM_STATUS_NOPOOL);
        }
    }
}

/* DEV-26: a store with credit is refused for what it is, or for want of it. */
static void check_credit(TestReq *r, Fixture *f)
{
    unsigned nr = GUINT16_FROM_LE(test_req_header(r)->nr_ops);
    TmemClientStats stats;

    for (unsigned i = 0; test_req_resp(r)->status == VIRTIO_TMEM_S_OK &&
         i < nr; i++) {
        const struct virtio_tmem_op *op = test_req_op(r, i);
        uint8_t status = test_req_status(r, i);

        if (op->op != VIRTIO_TMEM_OP_STORE ||
            !(op->flags & VIRTIO_TMEM_OP_F_CREDIT)) {
            continue;
        }
        g_assert_true(status == VIRTIO_TMEM_S_INVAL ||
                      (credit && (status == VIRTIO_TMEM_S_OK ||
                                  status == VIRTIO_TMEM_S_NOPOOL)));
        credit -= credit != 0;
    }
    credit += GUINT32_FROM_LE(test_req_resp(r)->credit);
    tmem_client_get_stats(f->client, &stats);
    g_assert_cmpuint(stats.credit, ==, credit);
    g_assert_cmpuint(credit, <=, CREDIT);
}

static void check_answer(TestReq *r, Fixture *f)
{
    TmemStoreStats stats;

    tmem_store_get_stats(f->store, &stats);
    g_assert_cmpuint(stats.used_bytes, <=, stats.size_bytes);
    if (r->violation) {
        g_assert_cmpuint(r->written, ==, 0);
        return;
    }
    g_assert_cmpuint(r->written, ==, r->in_bytes);
    g_assert_cmpuint(test_req_resp(r)->hints, ==,
                     tmem_client_hints(f->client));
    if (test_req_resp(r)->status != VIRTIO_TMEM_S_OK) {
        unsigned nr = GUINT16_FROM_LE(test_req_header(r)->nr_ops);

        for (unsigned i = 0; i < MIN(nr, TMEM_REQ_BATCH_MAX); i++) {
            g_assert_cmpint(test_req_status(r, i), ==,
                            test_req_resp(r)->status);
        }
    }
    check_stores(r, f);
    check_credit(r, f);
}

static void one_request(FuzzInput *in, Fixture *f)
{
    uint8_t how = fuzz_take(in, 1);
    size_t out_bytes = MIN(fuzz_take(in, 1) * 4, in->size);
    size_t in_bytes = fuzz_take(in, 2) % 9000;
    TestRand cut = { how };
    TestReq r;

    out_bytes = MIN(out_bytes, in->size);
    test_req_init(&r);
    r.cut = how & 32 ? &cut : NULL;
    if (how & 64) {
        r.in_bytes = in_bytes % 40;
        r.in = g_malloc(MAX(r.in_bytes, 1));
        test_req_control(&r, f->ctx, FEATURES, in->data,
                         MIN(out_bytes, 64));
        g_assert_cmpuint(r.written, ==, r.violation ? 0 : r.in_bytes);
        if (!r.violation) {
            credit += GUINT32_FROM_LE(
                ((struct virtio_tmem_ctrl_resp *)r.in)->credit);
        }
    } else {
        g_byte_array_set_size(r.out, 0);
        g_byte_array_append(r.out, in->data, out_bytes);
        r.in_bytes = in_bytes;
        if (how & 128) {
            patch(&r, f, how);
        }
        r.in = g_malloc(MAX(r.in_bytes, 1));
        memset(r.in, 0xee, r.in_bytes);
        test_req_submit(&r, f->ctx, FEATURES);
        check_answer(&r, f);
    }
    in->data += out_bytes;
    in->size -= out_bytes;
    test_req_clear(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const TmemClientConfig config = {
        .name = "test", .limits.max_bytes = 200 << 10, .credit = CREDIT,
    };
    FuzzInput in = { data, size };
    Fixture f;

    credit = 0;
    fixture_set_up_client(&f, TMEM_STORE_SIZE_MIN, &config);
    while (in.size) {
        one_request(&in, &f);
    }
    fixture_tear_down(&f);
    return 0;
}
