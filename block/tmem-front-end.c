/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmem: the front ends that use a node through exports
 *
 * The pages live with the node.  A front end that goes on where another process
 * left off, the one before a crash for instance, reads what this node never
 * held: that must be an error and not zeros, until the guest resets its device.
 *
 * Which it is, its queues tell (block/export/vhost-user-blk-server.c).  Once a
 * front end has started here from nothing, whatever it resumes later is known.
 */
#include "qemu/osdep.h"
#include "block/block.h"
#include "tmem-int.h"
#include "trace.h"

/*
 * All pages are gone, wherever they are.  There is no front end whose requests
 * could be in progress, nor can one connect meanwhile.
 */
static void tmem_drop_all(BDRVTmemState *s)
{
    int64_t pages = s->size / TMEM_PAGE_SIZE;
    TmemContext *ctx = tmem_get_context(s);

    for (int64_t page = 0; page < pages; page += OBJECT_PAGES) {
        TmemHandle handle = tmem_handle(s, page);

        tmem_object_invalidate(ctx, &handle);
    }
    tmem_put_context(s, ctx);
    memset(s->map, TMEM_PLACE_NONE, pages);
}

static void tmem_disconnected(BlockDriverState *bs)
{
    BDRVTmemState *s = bs->opaque;

    if (qatomic_xchg(&s->front_end_started, false) &&
        !qatomic_read(&s->past_unknown)) {
        qatomic_set(&s->front_end_settled, true);
    }
    if (--s->front_ends || s->on_disconnect == TMEM_ON_DISCONNECT_KEEP ||
        tmem_store_handing_over(s->store)) {
        return;
    }
    trace_tmem_blk_drop(bdrv_get_node_name(bs));
    tmem_drop_all(s);
    qatomic_set(&s->front_end_settled, false);
    qatomic_set(&s->past_unknown, false);
}

void tmem_front_end(BlockDriverState *bs, BdrvFrontEndEvent event)
{
    BDRVTmemState *s = bs->opaque;

    switch (event) {
    case BDRV_FRONT_END_CONNECTED:
        tmem_store_handover_open(s->store);
        s->front_ends++;
        break;
    case BDRV_FRONT_END_DISCONNECTED:
        tmem_disconnected(bs);
        break;
    case BDRV_FRONT_END_STARTED:
        qatomic_set(&s->front_end_started, true);
        qatomic_set(&s->past_unknown, false);
        break;
    case BDRV_FRONT_END_RESUMED:
        if (!qatomic_read(&s->front_end_settled)) {
            trace_tmem_blk_past_unknown(bdrv_get_node_name(bs));
            qatomic_set(&s->past_unknown, true);
        }
        break;
    }
}
