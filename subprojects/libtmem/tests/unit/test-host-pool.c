/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A pool of the host's beside those of the guest: one client, out of its reach
 */
#include "testreq.h"

static TmemHandle set_up(Fixture *f)
{
    TmemHandle h = test_handle(0, 1, 2);

    fixture_set_up(f, FIXTURE_SIZE, 0);
    g_assert_cmpint(tmem_pool_create_host(f->client, &h.pool), ==,
                    TMEM_STATUS_OK);
    g_assert_cmpint(test_store(f->ctx, h, TEST_PAGE_TEXT, 7), ==,
                    TMEM_STATUS_OK);
    return h;
}

static uint8_t request(Fixture *f, uint8_t op, TmemHandle h)
{
    uint8_t page[TMEM_PAGE_SIZE];
    uint8_t status;
    TestReq r;

    test_page_make(page, TEST_PAGE_TEXT, 9);
    test_req_init(&r);
    test_req_add(&r, op, 0, &h, page);
    test_req_submit(&r, f->ctx, 0);
    status = test_req_status(&r, 0);
    test_req_clear(&r);
    return status;
}

/* Caught: a request that names the pool reaches it. */
static void test_out_of_reach(void)
{
    struct virtio_tmem_destroy_pool cmd = {
        .type = VIRTIO_TMEM_T_DESTROY_POOL,
    };
    uint8_t want[TMEM_PAGE_SIZE], page[TMEM_PAGE_SIZE];
    Fixture f;
    TmemHandle h = set_up(&f);
    TestReq r;

    for (uint8_t op = VIRTIO_TMEM_OP_STORE;
         op <= VIRTIO_TMEM_OP_INVALIDATE; op++) {
        g_assert_cmpint(request(&f, op, h), ==, VIRTIO_TMEM_S_NOPOOL);
    }
    h.index = 0;
    g_assert_cmpint(request(&f, VIRTIO_TMEM_OP_INVALIDATE_OBJECT, h), ==,
                    VIRTIO_TMEM_S_NOPOOL);
    h.index = 2;
    cmd.pool = GUINT64_TO_LE(h.pool);
    test_req_init(&r);
    test_req_control(&r, f.ctx, 0, &cmd, sizeof(cmd));
    g_assert_cmpint(((struct virtio_tmem_ctrl_resp *)r.in)->status, ==,
                    VIRTIO_TMEM_S_NOPOOL);
    test_req_clear(&r);

    test_page_make(want, TEST_PAGE_TEXT, 7);
    g_assert_cmpint(tmem_page_load(f.ctx, &h, page, NULL), ==, TMEM_STATUS_OK);
    g_assert_cmpmem(page, sizeof(page), want, sizeof(want));
    g_assert_cmpint(tmem_pool_destroy(f.client, h.pool), ==, TMEM_STATUS_OK);
    fixture_tear_down(&f);
}

/* Caught: the reset of the guest's device takes the host's pages, too. */
static void test_reset(void)
{
    uint8_t page[TMEM_PAGE_SIZE];
    Fixture f;
    TmemHandle h = set_up(&f);
    TmemHandle guest = test_handle(f.persistent, 1, 2);
    TmemClientStats stats;

    g_assert_cmpint(test_store(f.ctx, guest, TEST_PAGE_TEXT, 8), ==,
                    TMEM_STATUS_OK);
    /* Only what a reset would lose keeps a device plugged. */
    g_assert_cmpuint(tmem_client_persistent_pages(f.client), ==, 1);
    tmem_client_get_stats(f.client, &stats);
    g_assert_cmpuint(stats.total.pages, ==, 2);

    tmem_client_reset(f.client);
    g_assert_cmpint(tmem_page_load(f.ctx, &guest, page, NULL), ==,
                    TMEM_STATUS_NOPOOL);
    g_assert_cmpint(tmem_page_load(f.ctx, &h, page, NULL), ==, TMEM_STATUS_OK);
    g_assert_cmpuint(tmem_client_persistent_pages(f.client), ==, 0);
    g_assert_cmpint(tmem_pool_destroy(f.client, h.pool), ==, TMEM_STATUS_OK);
    fixture_tear_down(&f);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/tmem/host-pool/out-of-reach", test_out_of_reach);
    g_test_add_func("/tmem/host-pool/reset", test_reset);
    return g_test_run();
}
