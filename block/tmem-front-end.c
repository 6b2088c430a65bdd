/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmem: the front ends that use a node through exports
 *
 * The pages live with the node.  A front end that goes on where another process
 * left off, the one before a crash for instance, reads what this node never
 * held: that must be an error and not zeros, until the guest resets its device.
 * If it was here before and elsewhere meanwhile, or is another guest's, what
 * the node holds is not what it has written last, and is an error as well.
 *
 * Which it is, its queues tell (block/export/vhost-user-blk-server.c).
 */
#include "qemu/osdep.h"
#include "block/block.h"
#include "block/thread-pool.h"
#include "system/block-backend.h"
#include "tmem-int.h"
#include "trace.h"

/* --- Dropping what a node holds --- */

typedef struct TmemDrop {
    BlockDriverState *bs;
    TmemClient *client;
    uint64_t pool;
} TmemDrop;

/* Context: a worker thread. */
static int tmem_drop_run(void *opaque)
{
    TmemDrop *drop = opaque;

    tmem_pool_destroy(drop->client, drop->pool);
    return 0;
}

static void tmem_drop_done(void *opaque, int ret)
{
    TmemDrop *drop = opaque;

    bdrv_dec_in_flight(drop->bs);
    g_free(drop);
}

/* Page by page, if there is no room for a second pool. */
static void tmem_drop_slowly(BDRVTmemState *s)
{
    int64_t pages = s->size / TMEM_PAGE_SIZE;
    TmemContext *ctx = tmem_get_context(s);

    for (int64_t page = 0; page < pages; page += OBJECT_PAGES) {
        TmemHandle handle = tmem_handle(s, page);

        tmem_object_invalidate(ctx, &handle);
    }
    tmem_put_context(s, ctx);
}

/* What was never written to takes no memory of the map, and goes on so. */
static void tmem_clear_map(BDRVTmemState *s)
{
    int64_t pages = s->size / TMEM_PAGE_SIZE;

    for (int64_t page = 0; page < pages; page++) {
        if (tmem_place(s, page) != TMEM_PLACE_NONE) {
            tmem_set_place(s, page, TMEM_PLACE_NONE);
        }
    }
}

/*
 * All pages are gone, wherever they are.  There is no front end whose requests
 * could be in progress; the next begins with a pool of its own, so that nobody
 * waits for the end of the old one, but who closes or drains the node.
 */
static void tmem_drop_all(BlockDriverState *bs)
{
    BDRVTmemState *s = bs->opaque;
    uint64_t pool;
    TmemDrop *drop;

    trace_tmem_blk_drop(bdrv_get_node_name(bs));
    if (tmem_pool_create_host(s->client, &pool) == TMEM_STATUS_OK) {
        drop = g_new(TmemDrop, 1);
        *drop = (TmemDrop) {
            .bs = bs, .client = s->client, .pool = s->pool,
        };
        s->pool = pool;
        bdrv_inc_in_flight(bs);
        thread_pool_submit_aio(tmem_drop_run, drop, tmem_drop_done, drop);
    } else {
        tmem_drop_slowly(s);
    }
    tmem_clear_map(s);
    qatomic_set(&s->past_known, false);
    qatomic_set(&s->handed_over, false);
    qatomic_set(&s->past_unknown, false);
}

/* --- Front ends --- */

/*
 * Nothing that the node holds is what this front end expects there, until it
 * has written to it: so it is marked, and stays for when the guest has reset
 * its device.  Others may write meanwhile, in other threads.
 */
static void tmem_mark_before(BDRVTmemState *s)
{
    static const uint8_t marked[TMEM_PLACE__MAX] = {
        [TMEM_PLACE_NONE] = TMEM_PLACE_NONE,
        [TMEM_PLACE_ZERO] = TMEM_PLACE_NONE,
        [TMEM_PLACE_STORE] = TMEM_PLACE_STORE_BEFORE,
        [TMEM_PLACE_OVERFLOW] = TMEM_PLACE_OVERFLOW_BEFORE,
        [TMEM_PLACE_LOST] = TMEM_PLACE_LOST,
        [TMEM_PLACE_STORE_BEFORE] = TMEM_PLACE_STORE_BEFORE,
        [TMEM_PLACE_OVERFLOW_BEFORE] = TMEM_PLACE_OVERFLOW_BEFORE,
    };
    int64_t pages = s->size / TMEM_PAGE_SIZE;

    for (int64_t page = 0; page < pages; page++) {
        uint8_t place = tmem_place(s, page);

        if (marked[place] != place) {
            qatomic_cmpxchg(&s->map[page], place, marked[place]);
        }
    }
}

static bool tmem_is_below(BlockDriverState *top, BlockDriverState *bs)
{
    BdrvChild *child;

    if (top == bs) {
        return true;
    }
    QLIST_FOREACH(child, &top->children, next) {
        if (tmem_is_below(child->bs, bs)) {
            return true;
        }
    }
    return false;
}

/* Whether a device of this process has the node, which no export knows of. */
static bool tmem_has_device(BlockDriverState *bs)
{
    BlockBackend *blk = NULL;

    while ((blk = blk_all_next(blk))) {
        if (blk_get_attached_dev(blk) && blk_bs(blk) &&
            tmem_is_below(blk_bs(blk), bs)) {
            return true;
        }
    }
    return false;
}

static void tmem_disconnected(BlockDriverState *bs)
{
    BDRVTmemState *s = bs->opaque;

    /* A node may have come below its export with the connection there. */
    if (!s->front_ends || --s->front_ends) {
        return;
    }
    if (qatomic_read(&s->handed_over)) {
        /* Who only looked in changes nothing for whom it belongs to. */
        if (!qatomic_read(&s->claimed)) {
            return;
        }
        /* Whoever comes next finds it as this one has left it. */
        qatomic_set(&s->handed_over, false);
    }
    if (s->on_disconnect == TMEM_ON_DISCONNECT_KEEP ||
        tmem_store_handing_over(s->store)) {
        return;
    }
    if (tmem_has_device(bs)) {
        peer_warn_report(&s->reports,
                         "tmem node '%s': its last front end is gone, and a"
                         " device of this process uses it: its pages stay, in"
                         " spite of on-disconnect=drop",
                         bdrv_get_node_name(bs));
        return;
    }
    tmem_drop_all(bs);
}

void tmem_front_end(BlockDriverState *bs, BdrvFrontEndEvent event)
{
    BDRVTmemState *s = bs->opaque;

    if (event != BDRV_FRONT_END_CONNECTED &&
        event != BDRV_FRONT_END_DISCONNECTED) {
        qatomic_set(&s->claimed, true);
    }
    switch (event) {
    case BDRV_FRONT_END_CONNECTED:
        s->front_ends++;
        break;
    case BDRV_FRONT_END_DISCONNECTED:
        tmem_disconnected(bs);
        break;
    case BDRV_FRONT_END_STARTED:
        qatomic_set(&s->past_known, true);
        qatomic_set(&s->past_unknown, false);
        break;
    case BDRV_FRONT_END_CONTINUED:
        if (qatomic_read(&s->past_known)) {
            break;
        }
        trace_tmem_blk_past_unknown(bdrv_get_node_name(bs));
        qatomic_set(&s->past_unknown, true);
        break;
    case BDRV_FRONT_END_RESUMED:
        trace_tmem_blk_past_unknown(bdrv_get_node_name(bs));
        qatomic_set(&s->past_unknown, true);
        tmem_mark_before(s);
        break;
    }
}

void tmem_front_end_left(BlockDriverState *bs, unsigned int queue,
                         uint16_t base)
{
    BDRVTmemState *s = bs->opaque;

    if (queue < TMEM_LEFT_QUEUES) {
        qatomic_set(&s->left[queue], TMEM_LEFT | base);
    }
}

bool tmem_front_end_was_at(BlockDriverState *bs, unsigned int queue,
                           uint16_t base)
{
    BDRVTmemState *s = bs->opaque;

    return queue < TMEM_LEFT_QUEUES &&
           qatomic_read(&s->left[queue]) == (TMEM_LEFT | base);
}
