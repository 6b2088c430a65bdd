/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The oracle and a store: operations done there, and pages counted in both
 */
#include <glib.h>
#include <string.h>

#include "model.h"

/* Loads, and drops what was loaded; a take that found nothing is a load. */
static TmemStatus take(TmemContext *ctx, Op *op)
{
    TmemStatus status;
    uint64_t version;

    status = tmem_page_load(ctx, &op->handle, op->page, &version);
    if (status != TMEM_STATUS_OK) {
        op->type = OP_LOAD;
        return status;
    }
    status = tmem_page_take(ctx, &op->handle, version);
    if (status == TMEM_STATUS_INVAL) {
        memset(op->page, 0, TMEM_PAGE_SIZE);
    }
    return status;
}

void model_run(TmemContext *ctx, Op *op)
{
    switch (op->type) {
    case OP_STORE:
        op->status = tmem_page_store(ctx, &op->handle, op->page);
        break;
    case OP_LOAD:
        op->status = tmem_page_load(ctx, &op->handle, op->page, NULL);
        break;
    case OP_TAKE:
        op->status = take(ctx, op);
        break;
    case OP_INVALIDATE:
        op->status = tmem_page_invalidate(ctx, &op->handle);
        break;
    default:
        op->status = tmem_object_invalidate(ctx, &op->handle);
        break;
    }
}

typedef struct Counting {
    Model *model;
    unsigned client;
} Counting;

static void compare_count(const TmemPoolInfo *info, void *opaque)
{
    Counting *c = opaque;

    g_assert_cmpuint(info->stats.pages, ==,
                     model_pages(c->model, c->client, info->id));
}

void model_compare_counts(Model *model, unsigned nr, TmemClient *client)
{
    tmem_client_foreach_pool(client, compare_count,
                             &(Counting) { model, nr });
}
