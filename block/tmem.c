/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmem: a block node whose pages live in a tmem-store
 *
 * -blockdev tmem,node-name=NAME,store=ID,size=SIZE[,overflow=NODE]
 *
 * Meant as a swap disk for a guest that installs nothing: virtio-blk in
 * qemu-system-*, or any export of qemu-storage-daemon.  The guest gives memory
 * back with discards (swapon --discard).
 *
 * Where a page is, the map says, and nothing else.  A page that the store
 * refuses goes to the overflow node, at the same place; without one the write
 * fails with ENOSPC and the page is lost: reading it fails too, rather than
 * return what was there before or zeros.
 *
 * Requests that overlap while one of them changes the map are kept apart by
 * making the latter serialising, which the block layer's own tracking does.
 */
#include "qemu/osdep.h"
#include "block/block-io.h"
#include "migration/blocker.h"
#include "qapi/error.h"
#include "qemu/cutils.h"
#include "qemu/main-loop.h"
#include "qemu/module.h"
#include "qemu/option.h"
#include "qobject/qdict.h"
#include "tmem-int.h"
#include "trace.h"

#define TMEM_OPT_STORE      "store"
#define TMEM_OPT_CLIENT     "client"
#define TMEM_OPT_MIN_SIZE   "min-size"
#define TMEM_OPT_MAX_SIZE   "max-size"
#define TMEM_OPT_WEIGHT     "weight"
#define TMEM_OPT_OVERFLOW   "overflow"
#define TMEM_OPT_DISCONNECT "on-disconnect"

/*
 * 16 TiB: what is remembered of the places, half a byte for each, is an array
 * of GLib in a handover, which ends at 4 GiB; and the swap of Linux ends there.
 */
#define TMEM_PAGES_MAX      (1ull << 32)

/* Pages that a request works on before others of its thread get their turn. */
#define PAGES_PER_TURN      (16 * OBJECT_PAGES)

/* The same if they are read or written, and not just dropped. */
#define DATA_PAGES_PER_TURN OBJECT_PAGES

static QemuOptsList tmem_runtime_opts = {
    .name = "tmem",
    .head = QTAILQ_HEAD_INITIALIZER(tmem_runtime_opts.head),
    .desc = {
        {
            .name = TMEM_OPT_STORE,
            .type = QEMU_OPT_STRING,
            .help = "ID of the tmem-store that holds the pages",
        },
        {
            .name = BLOCK_OPT_SIZE,
            .type = QEMU_OPT_SIZE,
            .help = "size of the disk",
        },
        {
            .name = TMEM_OPT_CLIENT,
            .type = QEMU_OPT_STRING,
            .help = "name of the store's client (default: the node's name)",
        },
        {
            .name = TMEM_OPT_MIN_SIZE,
            .type = QEMU_OPT_SIZE,
            .help = "memory of the store that is kept for this client",
        },
        {
            .name = TMEM_OPT_MAX_SIZE,
            .type = QEMU_OPT_SIZE,
            .help = "memory of the store that this client may use at most",
        },
        {
            .name = TMEM_OPT_WEIGHT,
            .type = QEMU_OPT_NUMBER,
            .help = "share of what no client is guaranteed (default: 100)",
        },
        {
            .name = TMEM_OPT_DISCONNECT,
            .type = QEMU_OPT_STRING,
            .help = "keep (default) or drop the pages when the last front end"
                    " of the node's exports is gone",
        },
        { /* end of list */ }
    },
};

/* --- Contexts --- */

/*
 * Waits, but for no longer than it takes others to work through a few pages,
 * and only where a further context could not be made.
 */
TmemContext *tmem_get_context(BDRVTmemState *s)
{
    TmemContext *ctx;

    qemu_mutex_lock(&s->contexts_lock);
    if (!s->contexts->len) {
        ctx = tmem_context_new(s->client, NULL);
        if (ctx) {
            qemu_mutex_unlock(&s->contexts_lock);
            return ctx;
        }
    }
    while (!s->contexts->len) {
        qemu_cond_wait(&s->contexts_cond, &s->contexts_lock);
    }
    ctx = g_ptr_array_steal_index_fast(s->contexts, s->contexts->len - 1);
    qemu_mutex_unlock(&s->contexts_lock);
    return ctx;
}

void tmem_put_context(BDRVTmemState *s, TmemContext *ctx)
{
    qemu_mutex_lock(&s->contexts_lock);
    g_ptr_array_add(s->contexts, ctx);
    qemu_cond_signal(&s->contexts_cond);
    qemu_mutex_unlock(&s->contexts_lock);
}

/* --- The map --- */

/* Where a read finds a page: one of ZERO, STORE, OVERFLOW and LOST. */
static TmemPlace tmem_readable_place(BDRVTmemState *s, int64_t page)
{
    TmemPlace place = tmem_place(s, page);
    bool unknown = qatomic_read(&s->past_unknown);

    switch (place) {
    case TMEM_PLACE_NONE:
        return unknown ? TMEM_PLACE_LOST : TMEM_PLACE_ZERO;
    case TMEM_PLACE_STORE_BEFORE:
        return unknown ? TMEM_PLACE_LOST : TMEM_PLACE_STORE;
    case TMEM_PLACE_OVERFLOW_BEFORE:
        return unknown ? TMEM_PLACE_LOST : TMEM_PLACE_OVERFLOW;
    default:
        return place;
    }
}

/* How many pages from @page on, of @pages, are at the same place. */
static int64_t tmem_run(BDRVTmemState *s, int64_t page, int64_t pages)
{
    TmemPlace place = tmem_place(s, page);
    int64_t run = 1;

    while (run < pages && tmem_place(s, page + run) == place) {
        run++;
    }
    return run;
}

/* --- Turns --- */

/*
 * Lets others of this thread have their turn if it is time.  A request may have
 * 2 GiB, and the same memory of its guest again and again.
 */
static void coroutine_fn tmem_end_turn(int64_t page, int64_t *turn)
{
    if (page - *turn >= DATA_PAGES_PER_TURN) {
        *turn = page;
        qemu_co_sleep_ns(QEMU_CLOCK_REALTIME, 0);
    }
}

/* --- Reading --- */

static void tmem_prefetch(BDRVTmemState *s, TmemContext *ctx, int64_t page,
                          int64_t pages)
{
    TmemHandle handles[TMEM_PREFETCH_MAX];

    for (int64_t i = 0; i < pages; i++) {
        handles[i] = tmem_handle(s, page + i);
    }
    tmem_page_prefetch(ctx, handles, pages);
}

/* A read, timed if the store has its first and last page, and no disk any. */
typedef struct TmemRead {
    int64_t first, end;         /* its pages */
    uint64_t begun;             /* 0: it is not timed */
} TmemRead;

/* At most TMEM_PREFETCH_MAX pages that are in the store. */
static int tmem_load(BDRVTmemState *s, int64_t page, int64_t pages,
                     TmemRead *read, QEMUIOVector *qiov,
                     size_t qiov_offset)
{
    TmemContext *ctx = tmem_get_context(s);
    void *bounce = tmem_context_bounce(ctx);
    int ret = 0;

    if (page == read->first) {
        read->begun = tmem_context_begin_request(ctx);
    }
    tmem_prefetch(s, ctx, page, pages);
    for (int64_t i = 0; i < pages; i++) {
        TmemHandle handle = tmem_handle(s, page + i);
        TmemStatus status = tmem_page_load(ctx, &handle, bounce, NULL);

        if (status != TMEM_STATUS_OK) {
            trace_tmem_blk_lost(s->client, page + i, tmem_status_str(status));
            ret = -EIO;
            break;
        }
        qemu_iovec_from_buf(qiov, qiov_offset + i * TMEM_PAGE_SIZE, bounce,
                            TMEM_PAGE_SIZE);
    }
    if (!ret && page + pages == read->end) {
        tmem_context_end_load_request(ctx, read->begun);
    }
    tmem_put_context(s, ctx);
    return ret;
}

static int coroutine_fn GRAPH_RDLOCK
tmem_co_preadv_part(BlockDriverState *bs, int64_t offset, int64_t bytes,
                    QEMUIOVector *qiov, size_t qiov_offset,
                    BdrvRequestFlags flags)
{
    BDRVTmemState *s = bs->opaque;
    int64_t page = offset / TMEM_PAGE_SIZE;
    int64_t end = page + bytes / TMEM_PAGE_SIZE;
    TmemRead read = { .first = page, .end = end };
    int64_t turn = page;
    int ret = 0;

    while (page < end && !ret) {
        int64_t run = tmem_run(s, page, MIN(end - page, DATA_PAGES_PER_TURN));
        size_t at = qiov_offset + page * TMEM_PAGE_SIZE - offset;

        switch (tmem_readable_place(s, page)) {
        case TMEM_PLACE_ZERO:
            qemu_iovec_memset(qiov, at, 0, run * TMEM_PAGE_SIZE);
            break;
        case TMEM_PLACE_STORE:
            run = MIN(run, TMEM_PREFETCH_MAX);
            ret = tmem_load(s, page, run, &read, qiov, at);
            break;
        case TMEM_PLACE_OVERFLOW:
            read.begun = 0;
            ret = bdrv_co_preadv_part(s->overflow, page * TMEM_PAGE_SIZE,
                                      run * TMEM_PAGE_SIZE, qiov, at, 0);
            break;
        default:
            ret = -EIO;
            break;
        }
        page += run;
        if (page < end && !ret) {
            tmem_end_turn(page, &turn);
        }
    }
    return ret;
}

/* --- Writing --- */

/* Keeps requests that overlap with this one waiting until it has ended. */
static void coroutine_fn tmem_serialise(BlockDriverState *bs)
{
    bdrv_make_request_serialising(bdrv_co_get_self_request(bs),
                                  bs->bl.request_alignment);
}

/*
 * Stores up to @pages pages.  Returns how many the store took before it refused
 * one, which is lost for now.
 */
static int64_t tmem_store(BDRVTmemState *s, int64_t page, int64_t pages,
                          QEMUIOVector *qiov, size_t qiov_offset)
{
    TmemContext *ctx = tmem_get_context(s);
    void *bounce = tmem_context_bounce(ctx);
    int64_t i;

    tmem_prefetch(s, ctx, page, pages);
    for (i = 0; i < pages; i++) {
        TmemHandle handle = tmem_handle(s, page + i);
        TmemStatus status;

        qemu_iovec_to_buf(qiov, qiov_offset + i * TMEM_PAGE_SIZE, bounce,
                          TMEM_PAGE_SIZE);
        status = tmem_page_store(ctx, &handle, bounce);
        if (status != TMEM_STATUS_OK) {
            trace_tmem_blk_refused(s->client, page + i,
                                   tmem_status_str(status));
            tmem_set_place(s, page + i, TMEM_PLACE_LOST);
            break;
        }
        tmem_set_place(s, page + i, TMEM_PLACE_STORE);
    }
    tmem_put_context(s, ctx);
    return i;
}

/* What the store refused: one page, which is marked as lost. */
static int coroutine_fn GRAPH_RDLOCK
tmem_co_overflow(BDRVTmemState *s, int64_t page, QEMUIOVector *qiov,
                 size_t qiov_offset)
{
    int ret;

    if (!s->overflow) {
        return -ENOSPC;
    }
    ret = bdrv_co_pwritev_part(s->overflow, page * TMEM_PAGE_SIZE,
                               TMEM_PAGE_SIZE, qiov, qiov_offset, 0);
    if (ret < 0) {
        return ret;
    }
    tmem_set_place(s, page, TMEM_PLACE_OVERFLOW);
    return 0;
}

static int coroutine_fn GRAPH_RDLOCK
tmem_co_pwritev_part(BlockDriverState *bs, int64_t offset, int64_t bytes,
                     QEMUIOVector *qiov, size_t qiov_offset,
                     BdrvRequestFlags flags)
{
    BDRVTmemState *s = bs->opaque;
    int64_t page = offset / TMEM_PAGE_SIZE;
    int64_t end = page + bytes / TMEM_PAGE_SIZE;
    int64_t turn = page;
    int ret = 0;

    tmem_serialise(bs);
    while (page < end && !ret) {
        int64_t run = MIN(end - page, TMEM_PREFETCH_MAX);
        size_t at = qiov_offset + page * TMEM_PAGE_SIZE - offset;
        int64_t taken = tmem_store(s, page, run, qiov, at);

        page += taken;
        if (taken < run) {
            ret = tmem_co_overflow(s, page, qiov, at + taken * TMEM_PAGE_SIZE);
            page++;
        }
        if (page < end && !ret) {
            tmem_end_turn(page, &turn);
        }
    }
    return ret;
}

/* --- Discarding --- */

/*
 * Where a page is that has none.  What this process was told to forget, it need
 * not be ashamed of not having; but only then it takes memory of the map.
 */
static TmemPlace tmem_nowhere(BDRVTmemState *s)
{
    return qatomic_read(&s->past_unknown) ? TMEM_PLACE_ZERO : TMEM_PLACE_NONE;
}

static void tmem_set_nowhere(BDRVTmemState *s, int64_t page, int64_t pages)
{
    TmemPlace place = tmem_nowhere(s);

    for (int64_t i = 0; i < pages; i++) {
        tmem_set_place(s, page + i, place);
    }
}

static void tmem_drop_stored(BDRVTmemState *s, int64_t page, int64_t pages)
{
    TmemContext *ctx = tmem_get_context(s);

    for (int64_t i = 0; i < pages; ) {
        TmemHandle handle = tmem_handle(s, page + i);
        int64_t step = 1;

        if (!handle.index && pages - i >= OBJECT_PAGES) {
            step = OBJECT_PAGES;
            tmem_object_invalidate(ctx, &handle);
        } else {
            tmem_page_invalidate(ctx, &handle);
        }
        tmem_set_nowhere(s, page + i, step);
        i += step;
    }
    tmem_put_context(s, ctx);
}

static int coroutine_fn GRAPH_RDLOCK
tmem_co_pdiscard(BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    BDRVTmemState *s = bs->opaque;
    int64_t page = offset / TMEM_PAGE_SIZE;
    int64_t end = page + bytes / TMEM_PAGE_SIZE;

    tmem_serialise(bs);
    for (int64_t turn = 0; page < end; turn++) {
        int64_t run = tmem_run(s, page, MIN(end - page, PAGES_PER_TURN));

        switch (tmem_place(s, page)) {
        case TMEM_PLACE_NONE:
            if (tmem_nowhere(s) != TMEM_PLACE_NONE) {
                tmem_set_nowhere(s, page, run);
            }
            break;
        case TMEM_PLACE_ZERO:
            break;
        case TMEM_PLACE_STORE:
        case TMEM_PLACE_STORE_BEFORE:
            tmem_drop_stored(s, page, run);
            break;
        case TMEM_PLACE_OVERFLOW:
        case TMEM_PLACE_OVERFLOW_BEFORE:
            /* Only to give space back: the map is what counts. */
            bdrv_co_pdiscard(s->overflow, page * TMEM_PAGE_SIZE,
                             run * TMEM_PAGE_SIZE);
            /* fallthrough */
        default:
            tmem_set_nowhere(s, page, run);
            break;
        }
        page += run;
        if (page < end && turn % 16 == 15) {
            qemu_co_sleep_ns(QEMU_CLOCK_REALTIME, 0);
        }
    }
    return 0;
}

static int coroutine_fn GRAPH_RDLOCK
tmem_co_pwrite_zeroes(BlockDriverState *bs, int64_t offset, int64_t bytes,
                      BdrvRequestFlags flags)
{
    return tmem_co_pdiscard(bs, offset, bytes);
}

/* --- What the disk looks like --- */

static int64_t coroutine_fn tmem_co_getlength(BlockDriverState *bs)
{
    BDRVTmemState *s = bs->opaque;

    return s->size;
}

static int64_t coroutine_fn
tmem_co_get_allocated_file_size(BlockDriverState *bs)
{
    BDRVTmemState *s = bs->opaque;
    TmemClientStats stats;

    tmem_client_get_stats(s->client, &stats);
    return stats.bytes;
}

static int coroutine_fn GRAPH_RDLOCK
tmem_co_block_status(BlockDriverState *bs, bool want_zero, int64_t offset,
                     int64_t bytes, int64_t *pnum, int64_t *map,
                     BlockDriverState **file)
{
    BDRVTmemState *s = bs->opaque;
    int64_t page = offset / TMEM_PAGE_SIZE;

    *pnum = tmem_run(s, page, bytes / TMEM_PAGE_SIZE) * TMEM_PAGE_SIZE;
    *map = offset;
    *file = bs;
    if (tmem_readable_place(s, page) == TMEM_PLACE_ZERO) {
        return BDRV_BLOCK_ZERO;
    }
    return BDRV_BLOCK_DATA | BDRV_BLOCK_OFFSET_VALID;
}

static void tmem_refresh_limits(BlockDriverState *bs, Error **errp)
{
    bs->bl.request_alignment = TMEM_PAGE_SIZE;
    bs->bl.pdiscard_alignment = TMEM_PAGE_SIZE;
    bs->bl.pwrite_zeroes_alignment = TMEM_PAGE_SIZE;
}

static int tmem_probe_blocksizes(BlockDriverState *bs, BlockSizes *bsz)
{
    bsz->log = BDRV_SECTOR_SIZE;
    bsz->phys = TMEM_PAGE_SIZE;
    return 0;
}

/* --- Opening and closing --- */

static bool tmem_check_size(BDRVTmemState *s, Error **errp)
{
    if (!s->size) {
        error_setg(errp, "a tmem node needs 'size', the size of the disk");
        return false;
    }
    if (s->size < 0 || s->size % TMEM_PAGE_SIZE) {
        error_setg(errp, "'size' of a tmem node must be a multiple of %u bytes",
                   TMEM_PAGE_SIZE);
        return false;
    }
    if (s->size / TMEM_PAGE_SIZE > TMEM_PAGES_MAX) {
        error_setg(errp, "'size' of a tmem node is at most %llu bytes, and is"
                   " %" PRId64, TMEM_PAGES_MAX * TMEM_PAGE_SIZE, s->size);
        return false;
    }
    return true;
}

static bool tmem_get_on_disconnect(BDRVTmemState *s, QemuOpts *opts,
                                   Error **errp)
{
    ERRP_GUARD();

    s->on_disconnect = qapi_enum_parse(&TmemOnDisconnect_lookup,
                                       qemu_opt_get(opts, TMEM_OPT_DISCONNECT),
                                       TMEM_ON_DISCONNECT_KEEP, errp);
    return !*errp;
}

static void tmem_no_pool(BDRVTmemState *s, TmemStatus status, Error **errp)
{
    const char *client = tmem_client_name(s->client);
    g_autofree char *store = tmem_store_object_id(s->store);
    TmemClientStats stats;

    tmem_client_get_stats(s->client, &stats);
    if (status != TMEM_STATUS_QUOTA) {
        error_setg(errp, "the tmem-store '%s' has no room for another pool:"
                   " make it larger", store);
    } else if (stats.pools >= TMEM_CLIENT_POOLS_MAX) {
        error_setg(errp, "client '%s' has %u pools, and can have no more: give"
                   " the node another client", client, TMEM_CLIENT_POOLS_MAX);
    } else {
        error_setg(errp, "client '%s' has no room for another pool: its"
                   " max-size is too small", client);
    }
}

static bool tmem_make_pool(BDRVTmemState *s, Error **errp)
{
    GError *err = NULL;
    TmemStatus status;
    TmemContext *ctx = tmem_context_new(s->client, &err);

    if (!ctx) {
        tmem_propagate_gerror(errp, err);
        return false;
    }
    tmem_put_context(s, ctx);
    s->door.ctx = ctx;
    status = tmem_pool_create_host(s->client, &s->pool);
    if (status != TMEM_STATUS_OK) {
        tmem_no_pool(s, status, errp);
        return false;
    }
    return true;
}

static bool tmem_make_client(BlockDriverState *bs, QemuOpts *opts, Error **errp)
{
    BDRVTmemState *s = bs->opaque;
    uint64_t weight = qemu_opt_get_number(opts, TMEM_OPT_WEIGHT, 0);
    TmemClientConfig config = {
        .name = qemu_opt_get(opts, TMEM_OPT_CLIENT) ?: bs->node_name,
        .limits = {
            .min_bytes = qemu_opt_get_size(opts, TMEM_OPT_MIN_SIZE, 0),
            .max_bytes = qemu_opt_get_size(opts, TMEM_OPT_MAX_SIZE, 0),
            .weight = MIN(weight, UINT32_MAX),
        },
        /* For the device of this guest, if it has one */
        .credit = TMEM_CLIENT_CREDIT_DEFAULT,
    };
    bool begun, ok;

    if (!weight && qemu_opt_get(opts, TMEM_OPT_WEIGHT)) {
        error_setg(errp, "client '%s': weight 0 is out of range; possible are"
                   " 1 to %d", config.name, TMEM_WEIGHT_MAX);
        return false;
    }
    s->client = tmem_store_client_get(s->store, &config, TMEM_DOOR_BLOCK, errp);
    if (!s->client) {
        return false;
    }
    s->door = (TmemStoreDoor) {
        .ops = &tmem_node_door_ops,
        .opaque = bs,
        .name = bs->node_name,
        .client = s->client,
    };
    begun = tmem_store_door_begin(s->store, &s->door, 1);
    ok = tmem_make_pool(s, errp);
    if (begun) {
        tmem_store_door_begun(&s->door);
    }
    return ok;
}

static bool tmem_open_overflow(BlockDriverState *bs, QDict *options,
                               Error **errp)
{
    ERRP_GUARD();
    BDRVTmemState *s = bs->opaque;
    int64_t length;

    s->overflow = bdrv_open_child(NULL, options, TMEM_OPT_OVERFLOW, bs,
                                  &child_of_bds, BDRV_CHILD_DATA, true, errp);
    if (*errp || !s->overflow) {
        return !*errp;
    }
    bdrv_graph_rdlock_main_loop();
    length = bdrv_getlength(s->overflow->bs);
    bdrv_graph_rdunlock_main_loop();
    if (length < s->size) {
        error_setg(errp, "the overflow node '%s' is smaller than the tmem node"
                   " before it (%" PRId64 " of %" PRId64 " bytes)",
                   bdrv_get_node_name(s->overflow->bs), MAX(length, 0),
                   s->size);
        return false;
    }
    tmem_note_overflow(s);
    return true;
}

static bool tmem_block_migration(BlockDriverState *bs, Error **errp)
{
    BDRVTmemState *s = bs->opaque;

    error_setg(&s->migration_blocker, "the pages of the tmem node '%s' live in"
               " this host's memory and cannot migrate",
               bdrv_get_device_or_node_name(bs));
    /* In no mode: those of CPR let another process go on, too. */
    return migrate_add_blocker(&s->migration_blocker, errp) == 0;
}

static void tmem_close(BlockDriverState *bs)
{
    BDRVTmemState *s = bs->opaque;

    migrate_del_blocker(&s->migration_blocker);
    tmem_store_door_remove(s->store, &s->door);
    if (s->contexts) {
        g_ptr_array_free(s->contexts, true);
        qemu_mutex_destroy(&s->contexts_lock);
        qemu_cond_destroy(&s->contexts_cond);
    }
    if (s->pool) {
        tmem_pool_destroy(s->client, s->pool);
    }
    tmem_store_client_put(s->store, s->client, TMEM_DOOR_BLOCK);
    if (s->store) {
        tmem_store_object_detach(s->store);
    }
    g_free(s->map);
    g_free(s->left);
}

static bool tmem_attach(BlockDriverState *bs, QDict *options, QemuOpts *opts,
                        Error **errp)
{
    BDRVTmemState *s = bs->opaque;
    const char *store = qemu_opt_get(opts, TMEM_OPT_STORE);

    if (!store) {
        error_setg(errp, "a tmem node needs 'store', the ID of a tmem-store");
        return false;
    }
    s->store = tmem_store_object_find(store, errp);
    if (!s->store) {
        return false;
    }
    tmem_store_object_attach(s->store);

    /* One that QEMU has made up is another one next time, or somebody else's */
    if (*bs->node_name == '#' && tmem_store_hands_over(s->store)) {
        error_setg(errp, "a tmem node of a store with 'handover' needs a"
                   " 'node-name', by which it gets its pages again");
        return false;
    }
    s->size = qemu_opt_get_size(opts, BLOCK_OPT_SIZE, 0);
    if (!tmem_check_size(s, errp) || !tmem_get_on_disconnect(s, opts, errp)) {
        return false;
    }
    /* Zeros are TMEM_PLACE_NONE, and cost no memory until written to. */
    s->map = g_try_malloc0(s->size / TMEM_PAGE_SIZE);
    if (!s->map) {
        error_setg(errp, "no memory for the map of a tmem node of %" PRId64
                   " bytes", s->size);
        return false;
    }

    s->left = g_new0(uint32_t, TMEM_LEFT_QUEUES);

    qemu_mutex_init(&s->contexts_lock);
    qemu_cond_init(&s->contexts_cond);
    s->contexts = g_ptr_array_new_with_free_func(
        (GDestroyNotify)tmem_context_free);
    return tmem_make_client(bs, opts, errp) &&
           tmem_open_overflow(bs, options, errp) &&
           tmem_block_migration(bs, errp);
}

/*
 * A disk that ignored discards would only ever grow: they are honoured unless
 * the user says discard=ignore.
 */
static int tmem_discard_flag(const QDict *explicit_options)
{
    return qdict_haskey(explicit_options, BDRV_OPT_DISCARD) ? 0 :
                                                              BDRV_O_UNMAP;
}

static int tmem_open(BlockDriverState *bs, QDict *options, int flags,
                     Error **errp)
{
    BDRVTmemState *s = bs->opaque;
    QemuOpts *opts = qemu_opts_create(&tmem_runtime_opts, NULL, 0,
                                      &error_abort);
    bool ok = qemu_opts_absorb_qdict(opts, options, errp) &&
              tmem_attach(bs, options, opts, errp);

    qemu_opts_del(opts);
    if (!ok) {
        tmem_close(bs);
        return -EINVAL;
    }
    bs->open_flags |= tmem_discard_flag(bs->explicit_options);
    bs->supported_write_flags = BDRV_REQ_FUA;
    bs->supported_zero_flags = BDRV_REQ_FUA | BDRV_REQ_MAY_UNMAP |
                               BDRV_REQ_NO_FALLBACK;
    tmem_store_door_add(s->store, &s->door);
    return 0;
}

static int tmem_reopen_prepare(BDRVReopenState *state,
                               BlockReopenQueue *queue, Error **errp)
{
    state->flags |= tmem_discard_flag(state->explicit_options);
    return 0;
}

static const char *const tmem_strong_runtime_opts[] = {
    TMEM_OPT_STORE,
    BLOCK_OPT_SIZE,

    NULL
};

static BlockDriver bdrv_tmem = {
    .format_name            = "tmem",
    .protocol_name          = "tmem",
    .instance_size          = sizeof(BDRVTmemState),
    .is_host_bound          = true,

    .bdrv_open              = tmem_open,
    .bdrv_close             = tmem_close,
    .bdrv_reopen_prepare    = tmem_reopen_prepare,
    .bdrv_child_perm        = bdrv_default_perms,
    .bdrv_co_getlength      = tmem_co_getlength,
    .bdrv_co_get_allocated_file_size = tmem_co_get_allocated_file_size,
    .bdrv_refresh_limits    = tmem_refresh_limits,
    .bdrv_probe_blocksizes  = tmem_probe_blocksizes,
    .bdrv_has_zero_init     = bdrv_has_zero_init_1,

    .bdrv_front_end         = tmem_front_end,
    .bdrv_front_end_left    = tmem_front_end_left,
    .bdrv_front_end_was_at  = tmem_front_end_was_at,

    .bdrv_co_preadv_part    = tmem_co_preadv_part,
    .bdrv_co_pwritev_part   = tmem_co_pwritev_part,
    .bdrv_co_pdiscard       = tmem_co_pdiscard,
    .bdrv_co_pwrite_zeroes  = tmem_co_pwrite_zeroes,
    .bdrv_co_block_status   = tmem_co_block_status,

    .strong_runtime_opts    = tmem_strong_runtime_opts,
};

static void bdrv_tmem_init(void)
{
    bdrv_register(&bdrv_tmem);
}

block_init(bdrv_tmem_init);
