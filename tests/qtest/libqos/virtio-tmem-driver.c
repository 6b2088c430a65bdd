/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libqos driver for virtio-tmem: one request at a time
 */
#include "qemu/osdep.h"
#include "../libqtest.h"
#include "libqos-malloc.h"
#include "qemu/bswap.h"
#include "virtio-tmem.h"
#include "standard-headers/linux/virtio_config.h"
#include "standard-headers/linux/virtio_ring.h"

#define QTMEM_TIMEOUT_US    (30 * 1000 * 1000)
#define QTMEM_OUT_SIZE      ((QTMEM_BATCH + 8) * QTMEM_PAGE_SIZE)
#define QTMEM_IN_SIZE       ((QTMEM_BATCH + 8) * QTMEM_PAGE_SIZE)

/* --- Life --- */

static void qtmem_up(QTmem *t, uint64_t features)
{
    uint64_t offered;
    unsigned i;

    qvirtio_reset(t->d);
    qvirtio_set_acknowledge(t->d);
    qvirtio_set_driver(t->d);
    offered = qvirtio_get_features(t->d);
    features |= 1ull << VIRTIO_F_VERSION_1;
    g_assert_cmphex(features & ~offered, ==, 0);
    qvirtio_set_features(t->d, features);
    t->features = features;
    t->credit = 0;

    t->ctrl = qvirtqueue_setup(t->d, t->alloc, VIRTIO_TMEM_VQ_CONTROL);
    for (i = 0; i < t->num_req; i++) {
        t->req[i] = qvirtqueue_setup(t->d, t->alloc,
                                     VIRTIO_TMEM_VQ_REQUEST(i));
    }
    qvirtio_set_driver_ok(t->d);
}

static void qtmem_down(QTmem *t)
{
    unsigned i;

    qvirtqueue_cleanup(t->d->bus, t->ctrl, t->alloc);
    for (i = 0; i < t->num_req; i++) {
        qvirtqueue_cleanup(t->d->bus, t->req[i], t->alloc);
    }
}

QTmem *qtmem_start(QTestState *qts, QVirtioDevice *d, QGuestAllocator *alloc,
                   uint64_t features, unsigned num_req)
{
    QTmem *t = g_new0(QTmem, 1);

    g_assert_cmpuint(num_req, <=, QTMEM_QUEUES);
    t->qts = qts;
    t->d = d;
    t->alloc = alloc;
    t->num_req = num_req;
    t->out = guest_alloc(alloc, QTMEM_OUT_SIZE);
    t->in = guest_alloc(alloc, QTMEM_IN_SIZE);
    qtmem_up(t, features);
    return t;
}

void qtmem_restart(QTmem *t, uint64_t features)
{
    qvirtio_reset(t->d);
    qtmem_down(t);
    qtmem_up(t, features);
}

void qtmem_stop(QTmem *t)
{
    qvirtio_reset(t->d);
    qtmem_down(t);
    guest_free(t->alloc, t->out);
    guest_free(t->alloc, t->in);
    g_free(t);
}

/* --- Chains --- */

void qtmem_add(QTmem *t, QVirtQueue *vq, const QTmemSeg *segs, unsigned num)
{
    uint32_t head = 0;
    unsigned i;

    /* libqos never gets descriptors back; ours are all free again. */
    qvirtqueue_reset_pool(vq);
    for (i = 0; i < num; i++) {
        uint32_t desc = qvirtqueue_add(t->qts, vq, segs[i].addr, segs[i].len,
                                       segs[i].write, i + 1 < num);

        if (i == 0) {
            head = desc;
        } else {
            /* qvring_init() linked them once, and users may break links */
            qtest_writew(t->qts, vq->desc + 16 * (desc - 1) + 14, desc);
        }
    }
    qvirtqueue_kick(t->qts, t->d, vq, head);
}

uint32_t qtmem_wait(QTmem *t, QVirtQueue *vq)
{
    gint64 start = g_get_monotonic_time();
    uint64_t addr;

    for (;;) {
        bool broken = t->d->bus->get_status(t->d) &
                      VIRTIO_CONFIG_S_NEEDS_RESET;
        uint32_t slot = vq->last_used_idx % vq->size;

        /* An answer makes itself known, if the driver wants to know. */
        if (t->d->bus->get_queue_isr_status(t->d, vq) &&
            qvirtqueue_get_buf(t->qts, vq, NULL, NULL)) {
            /* libqos reads 16 bits of the length only. */
            addr = vq->used + offsetof(struct vring_used, ring) +
                   slot * sizeof(struct vring_used_elem) +
                   offsetof(struct vring_used_elem, len);
            return qtest_readl(t->qts, addr);
        }
        if (broken) {
            return QTMEM_VIOLATION;
        }
        g_assert_cmpint(g_get_monotonic_time() - start, <=, QTMEM_TIMEOUT_US);
    }
}

uint32_t qtmem_call(QTmem *t, QVirtQueue *vq, size_t out_len, size_t in_len)
{
    QTmemSeg segs[2];
    unsigned num = 0;

    g_assert_cmpuint(out_len, <=, QTMEM_OUT_SIZE);
    g_assert_cmpuint(in_len, <=, QTMEM_IN_SIZE);
    if (out_len) {
        segs[num++] = (QTmemSeg) { t->out, out_len, false };
    }
    if (in_len) {
        qtest_memset(t->qts, t->in, 0xaa, in_len);
        segs[num++] = (QTmemSeg) { t->in, in_len, true };
    }
    qtmem_add(t, vq, segs, num);
    return qtmem_wait(t, vq);
}

/* DEV-3: nothing comes that was not asked for. */
static void qtmem_told(QTmem *t, uint32_t credit, uint8_t hints)
{
    if (!(t->features & 1ull << VIRTIO_TMEM_F_HINT)) {
        g_assert_cmpuint(hints, ==, 0);
    }
    t->hints = hints;
    if (!(t->features & 1ull << VIRTIO_TMEM_F_CREDIT)) {
        g_assert_cmpuint(credit, ==, 0);
    }
    t->credit += le32_to_cpu(credit);
}

/* --- Batches --- */

QTmemBatch *qtmem_batch_new(void)
{
    QTmemBatch *b = g_new0(QTmemBatch, 1);

    b->hdr.type = VIRTIO_TMEM_T_PAGES;
    b->pages = g_byte_array_new();
    return b;
}

void qtmem_batch_free(QTmemBatch *b)
{
    g_byte_array_free(b->pages, true);
    g_free(b);
}

struct virtio_tmem_op *qtmem_batch_add(QTmemBatch *b, uint8_t op, uint64_t pool,
                                       uint64_t object, uint64_t index,
                                       const void *page)
{
    struct virtio_tmem_op *o = &b->op[b->nr++];

    g_assert_cmpuint(b->nr, <=, G_N_ELEMENTS(b->op));
    *o = (struct virtio_tmem_op) {
        .op = op,
        .pool = cpu_to_le64(pool),
        .object = { cpu_to_le64(object) },
        .index = cpu_to_le64(index),
    };
    if (op == VIRTIO_TMEM_OP_STORE) {
        g_byte_array_append(b->pages, page, QTMEM_PAGE_SIZE);
    } else if (op == VIRTIO_TMEM_OP_LOAD) {
        b->num_loads++;
    }
    b->hdr.nr_ops = cpu_to_le16(b->nr);
    return o;
}

void qtmem_batch_run(QTmem *t, unsigned q, QTmemBatch *b, QTmemAnswer *a)
{
    size_t ops_len = b->nr * sizeof(b->op[0]);
    size_t loads_len = b->num_loads * QTMEM_PAGE_SIZE;
    size_t out_len = sizeof(b->hdr) + ops_len + b->pages->len;
    size_t in_len = sizeof(a->resp) + b->nr + loads_len;

    memset(a, 0xbb, sizeof(*a));
    qtest_memwrite(t->qts, t->out, &b->hdr, sizeof(b->hdr));
    qtest_memwrite(t->qts, t->out + sizeof(b->hdr), b->op, ops_len);
    if (b->pages->len) {
        qtest_bufwrite(t->qts, t->out + sizeof(b->hdr) + ops_len,
                       b->pages->data, b->pages->len);
    }
    a->used = qtmem_call(t, t->req[q], out_len, in_len);
    if (a->used == QTMEM_VIOLATION) {
        return;
    }
    g_assert_cmpuint(a->used, ==, in_len);
    qtest_memread(t->qts, t->in, &a->resp, sizeof(a->resp));
    qtmem_told(t, a->resp.credit, a->resp.hints);
    qtest_memread(t->qts, t->in + sizeof(a->resp), a->status, b->nr);
    if (loads_len) {
        qtest_bufread(t->qts, t->in + sizeof(a->resp) + b->nr, a->page,
                      loads_len);
    }
}

static uint8_t qtmem_one(QTmem *t, unsigned q, uint8_t op, uint64_t pool,
                         uint64_t object, uint64_t index, const void *out,
                         void *in)
{
    QTmemBatch *b = qtmem_batch_new();
    g_autofree QTmemAnswer *a = g_new(QTmemAnswer, 1);

    qtmem_batch_add(b, op, pool, object, index, out);
    qtmem_batch_run(t, q, b, a);
    qtmem_batch_free(b);
    g_assert_cmpuint(a->used, !=, QTMEM_VIOLATION);
    g_assert_cmpuint(a->resp.status, ==, VIRTIO_TMEM_S_OK);
    g_assert_cmpuint(a->resp.reserved, ==, 0);
    if (in) {
        memcpy(in, a->page[0], QTMEM_PAGE_SIZE);
    }
    return a->status[0];
}

uint8_t qtmem_store(QTmem *t, unsigned q, uint64_t pool, uint64_t object,
                    uint64_t index, const void *page)
{
    return qtmem_one(t, q, VIRTIO_TMEM_OP_STORE, pool, object, index, page,
                     NULL);
}

uint8_t qtmem_load(QTmem *t, unsigned q, uint64_t pool, uint64_t object,
                   uint64_t index, void *page)
{
    return qtmem_one(t, q, VIRTIO_TMEM_OP_LOAD, pool, object, index, NULL,
                     page);
}

uint8_t qtmem_invalidate(QTmem *t, unsigned q, uint64_t pool, uint64_t object,
                         uint64_t index)
{
    return qtmem_one(t, q, VIRTIO_TMEM_OP_INVALIDATE, pool, object, index,
                     NULL, NULL);
}

/* --- Control requests --- */

static uint8_t qtmem_control(QTmem *t, const void *req, size_t len,
                             uint64_t *pool)
{
    struct virtio_tmem_ctrl_resp resp;

    qtest_memwrite(t->qts, t->out, req, len);
    g_assert_cmpuint(qtmem_call(t, t->ctrl, len, sizeof(resp)), ==,
                     sizeof(resp));
    qtest_memread(t->qts, t->in, &resp, sizeof(resp));
    g_assert_cmpuint(resp.reserved, ==, 0);
    qtmem_told(t, resp.credit, resp.hints);
    *pool = le64_to_cpu(resp.pool);
    return resp.status;
}

static uint8_t create_pool(QTmem *t, uint16_t flags, const uint8_t *uuid,
                           uint64_t *id)
{
    struct virtio_tmem_create_pool req = {
        .type = VIRTIO_TMEM_T_CREATE_POOL,
        .page_shift = 12,
        .flags = cpu_to_le16(flags),
    };
    uint8_t status;

    if (uuid) {
        memcpy(req.uuid, uuid, sizeof(req.uuid));
    }
    status = qtmem_control(t, &req, sizeof(req), id);

    if (status == VIRTIO_TMEM_S_OK) {
        g_assert_cmphex(*id, !=, 0);
    } else {
        g_assert_cmphex(*id, ==, 0);
    }
    return status;
}

uint8_t qtmem_create_pool(QTmem *t, uint16_t flags, uint64_t *id)
{
    return create_pool(t, flags, NULL, id);
}

uint8_t qtmem_join_pool(QTmem *t, const uint8_t uuid[16], uint64_t *id)
{
    return create_pool(t, VIRTIO_TMEM_POOL_EPHEMERAL | VIRTIO_TMEM_POOL_SHARED,
                       uuid, id);
}

uint8_t qtmem_destroy_pool(QTmem *t, uint64_t id)
{
    struct virtio_tmem_destroy_pool req = {
        .type = VIRTIO_TMEM_T_DESTROY_POOL,
        .pool = cpu_to_le64(id),
    };
    uint64_t pool;
    uint8_t status = qtmem_control(t, &req, sizeof(req), &pool);

    g_assert_cmphex(pool, ==, 0);
    return status;
}

/* --- Content --- */

void qtmem_fill(uint8_t *page, uint32_t seed)
{
    uint64_t x = seed * 0x9e3779b97f4a7c15ull;
    unsigned i;

    if (seed < 10) {
        memset(page, seed, QTMEM_PAGE_SIZE);
        return;
    }
    for (i = 0; i < QTMEM_PAGE_SIZE; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        /* Even: 1 bit in a byte, and only at the start of a line. */
        page[i] = (seed & 1) ? x : (i % 64 < 8 ? 'a' + (x & 1) : ' ');
    }
    stl_le_p(page, seed);
}

void qtmem_check(const uint8_t *page, uint32_t seed)
{
    uint8_t want[QTMEM_PAGE_SIZE];

    qtmem_fill(want, seed);
    g_assert_cmpmem(page, QTMEM_PAGE_SIZE, want, QTMEM_PAGE_SIZE);
}
