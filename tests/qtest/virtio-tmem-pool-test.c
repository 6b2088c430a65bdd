/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-tmem: pools, limits, and clients that share a store
 *
 * DEV-n is a requirement of docs/specs/virtio-tmem.rst.
 */
#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/module.h"
#include "virtio-tmem-fixture.h"

/* --- Two clients of one store --- */

static void *before_store(GString *cmd_line, void *arg)
{
    g_string_append(cmd_line, " -object tmem-store,id=s0,size=64M "
                    "-device virtio-tmem-pci," SECOND_ADDR
                    ",id=tm1,store=s0 ");
    return arg;
}

/* DEV-19 */
static void test_other_client(void *obj, void *data, QGuestAllocator *alloc)
{
    QVirtioTmemPCI *pci = obj;
    SecondDevice second;
    Fixture *f, *g;

    second_set_up(&second, pci);
    f = setup(&pci->tmem, alloc, 0);
    g = setup(&second.tmem, alloc, 0);
    g_assert_cmphex(f->pool, !=, g->pool);
    g_assert_cmpuint(store(f, f->pool, 1, 90), ==, VIRTIO_TMEM_S_OK);
    g_assert_cmpuint(store(g, g->pool, 1, 91), ==, VIRTIO_TMEM_S_OK);
    g_assert_cmpuint(load(g, f->pool, 1, 0), ==, VIRTIO_TMEM_S_NOPOOL);
    g_assert_cmpuint(store(g, f->pool, 1, 92), ==, VIRTIO_TMEM_S_NOPOOL);
    g_assert_cmpuint(qtmem_invalidate(g->t, 0, f->pool, 1, 1), ==,
                     VIRTIO_TMEM_S_NOPOOL);
    g_assert_cmpuint(qtmem_destroy_pool(g->t, f->pool), ==,
                     VIRTIO_TMEM_S_NOPOOL);
    g_assert_cmpuint(load(f, f->pool, 1, 90), ==, VIRTIO_TMEM_S_OK);

    /* The reset of one is not the other's. */
    qtmem_restart(g->t, 0);
    g_assert_cmpuint(load(f, f->pool, 1, 90), ==, VIRTIO_TMEM_S_OK);
    g_assert_cmpuint(load(g, g->pool, 1, 0), ==, VIRTIO_TMEM_S_NOPOOL);
    teardown(g);
    teardown(f);
    second_tear_down(&second);
}

/* --- Limits --- */

/* Fills up with pages that do not compress: the first status that is not OK. */
static uint8_t fill_up(Fixture *f, uint64_t pool, uint64_t *index)
{
    uint8_t status;

    for (*index = 0; *index < 2000; (*index)++) {
        status = store(f, pool, *index, *index * 2 + 1001);
        if (status != VIRTIO_TMEM_S_OK) {
            return status;
        }
    }
    return VIRTIO_TMEM_S_OK;
}

static void check_full(Fixture *f, uint8_t want)
{
    uint64_t n, i;

    g_assert_cmpuint(fill_up(f, f->pool, &n), ==, want);
    g_assert_cmpuint(n, >, 50);
    /* DEV-13: the refused one left nothing, also where something was */
    g_assert_cmpuint(load(f, f->pool, n, 0), ==, VIRTIO_TMEM_S_MISS);
    /* DEV-17: all the others are there */
    for (i = 0; i < n; i++) {
        g_assert_cmpuint(load(f, f->pool, i, i * 2 + 1001), ==,
                         VIRTIO_TMEM_S_OK);
    }
    /* and room that is given back can be used */
    for (i = 0; i < n; i++) {
        g_assert_cmpuint(qtmem_invalidate(f->t, 0, f->pool, 1, i), ==,
                         VIRTIO_TMEM_S_OK);
    }
    g_assert_cmpuint(store(f, f->pool, 1, 1001), ==, VIRTIO_TMEM_S_OK);
}

static void test_store_full(void *obj, void *data, QGuestAllocator *alloc)
{
    Fixture *f = setup(obj, alloc, 0);

    check_full(f, VIRTIO_TMEM_S_NOSPC);
    teardown(f);
}

static void test_client_full(void *obj, void *data, QGuestAllocator *alloc)
{
    Fixture *f = setup(obj, alloc, 0);

    check_full(f, VIRTIO_TMEM_S_QUOTA);
    teardown(f);
}

/* Ephemeral pages give way to persistent ones, and to each other. */
static void test_ephemeral_gives_way(void *obj, void *data,
                                     QGuestAllocator *alloc)
{
    Fixture *f = setup(obj, alloc, F(EPHEMERAL));
    uint64_t n;

    g_assert_cmpuint(fill_up(f, f->ephemeral, &n), ==, VIRTIO_TMEM_S_OK);
    check_full(f, VIRTIO_TMEM_S_NOSPC);
    teardown(f);
}

/* --- Pools --- */

static void test_max_pools(void *obj, void *data, QGuestAllocator *alloc)
{
    Fixture *f = setup(obj, alloc, 0);
    uint64_t a, b, c;

    g_assert_cmpuint(qtmem_create_pool(f->t, 0, &a), ==, VIRTIO_TMEM_S_OK);
    g_assert_cmpuint(qtmem_create_pool(f->t, 0, &b), ==, VIRTIO_TMEM_S_OK);
    g_assert_cmpuint(qtmem_create_pool(f->t, 0, &c), ==,
                     VIRTIO_TMEM_S_QUOTA);
    g_assert_cmpuint(qtmem_destroy_pool(f->t, a), ==, VIRTIO_TMEM_S_OK);
    g_assert_cmpuint(qtmem_create_pool(f->t, 0, &c), ==, VIRTIO_TMEM_S_OK);
    g_assert_cmphex(c, !=, a);          /* DEV-21 */
    teardown(f);
}

typedef struct BadCreate {
    struct virtio_tmem_create_pool req;
    uint8_t status;
} BadCreate;

static const BadCreate bad_creates[] = {
    { { .type = VIRTIO_TMEM_T_PAGES, .page_shift = 12 },
      VIRTIO_TMEM_S_UNSUPP },
    { { .type = 18, .page_shift = 12 }, VIRTIO_TMEM_S_UNSUPP },
    /* DEV-22 */
    { { .type = 16, .page_shift = 13 }, VIRTIO_TMEM_S_UNSUPP },
    { { .type = 16, .page_shift = 0 }, VIRTIO_TMEM_S_UNSUPP },
    { { .type = 16, .page_shift = 12, .uuid = { 1 } }, VIRTIO_TMEM_S_INVAL },
    /* DEV-3: neither feature was negotiated */
    { { .type = 16, .page_shift = 12,
        .flags = const_le16(VIRTIO_TMEM_POOL_EPHEMERAL) },
      VIRTIO_TMEM_S_UNSUPP },
    { { .type = 16, .page_shift = 12,
        .flags = const_le16(VIRTIO_TMEM_POOL_EPHEMERAL |
                            VIRTIO_TMEM_POOL_SHARED) },
      VIRTIO_TMEM_S_UNSUPP },
    /* unknown flag, reserved field */
    { { .type = 16, .page_shift = 12, .flags = const_le16(0x8000) },
      VIRTIO_TMEM_S_INVAL },
    { { .type = 16, .page_shift = 12, .reserved = const_le32(1) },
      VIRTIO_TMEM_S_INVAL },
};

/*
 * Sends @len bytes of @req on the control queue.  Everything but the status of
 * the answer is zero.
 */
static uint8_t bad_control(Fixture *f, const void *req, size_t len)
{
    struct virtio_tmem_ctrl_resp resp, want = { };

    qtest_memwrite(f->t->qts, f->t->out, req, len);
    g_assert_cmpuint(qtmem_call(f->t, f->t->ctrl, len, sizeof(resp)), ==,
                     sizeof(resp));
    qtest_memread(f->t->qts, f->t->in, &resp, sizeof(resp));
    want.status = resp.status;
    g_assert_cmpmem(&resp, sizeof(resp), &want, sizeof(want));
    return resp.status;
}

static void test_bad_control(void *obj, void *data, QGuestAllocator *alloc)
{
    Fixture *f = setup(obj, alloc, 0);
    struct virtio_tmem_create_pool create[2] = {
        { .type = VIRTIO_TMEM_T_CREATE_POOL, .page_shift = 12 },
    };
    struct virtio_tmem_destroy_pool destroy[2] = {
        { .type = VIRTIO_TMEM_T_DESTROY_POOL, .pool = cpu_to_le64(f->pool) },
    };
    unsigned i;

    for (i = 0; i < G_N_ELEMENTS(bad_creates); i++) {
        g_assert_cmpuint(bad_control(f, &bad_creates[i].req,
                                     sizeof(bad_creates[i].req)), ==,
                         bad_creates[i].status);
    }
    /* Short and long ones. */
    for (i = 1; i < sizeof(create[0]); i++) {
        g_assert_cmpuint(bad_control(f, create, i), ==, VIRTIO_TMEM_S_INVAL);
    }
    g_assert_cmpuint(bad_control(f, create, sizeof(create[0]) + 1), ==,
                     VIRTIO_TMEM_S_INVAL);
    for (i = 1; i < sizeof(destroy[0]); i++) {
        g_assert_cmpuint(bad_control(f, destroy, i), ==, VIRTIO_TMEM_S_INVAL);
    }
    g_assert_cmpuint(bad_control(f, destroy, sizeof(destroy[0]) + 1), ==,
                     VIRTIO_TMEM_S_INVAL);
    destroy[0].reserved[6] = 1;
    g_assert_cmpuint(bad_control(f, destroy, sizeof(destroy[0])), ==,
                     VIRTIO_TMEM_S_INVAL);
    /* None of them destroyed it. */
    g_assert_cmpuint(store(f, f->pool, 1, 93), ==, VIRTIO_TMEM_S_OK);
    teardown(f);
}

/* --- */

static void add(const char *name, const char *node, QOSTestFunc func,
                QOSBeforeTest before, const char *device_opts)
{
    QOSGraphTestOptions opts = {
        .before = before,
        .edge = { .extra_device_opts = device_opts },
    };

    qos_add_test(name, node, func, &opts);
}

static void register_virtio_tmem_pool_test(void)
{
    const char *any = "virtio-tmem", *pci = "virtio-tmem-pci";

    add("pool/bad-control", any, test_bad_control, NULL, NULL);
    add("pool/store-full", any, test_store_full, NULL, "store-size=4M");
    add("pool/client-full", any, test_client_full, NULL,
        "store-size=16M,max-size=2M");
    add("pool/ephemeral-gives-way", any, test_ephemeral_gives_way, NULL,
        "store-size=4M");
    add("pool/max-pools", any, test_max_pools, NULL, "max-pools=3");
    add("pool/other-client", pci, test_other_client, before_store, "store=s0");
}

libqos_init(register_virtio_tmem_pool_test);
