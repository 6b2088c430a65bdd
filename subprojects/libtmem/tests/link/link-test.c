/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The library links and works with its public headers and nothing of QEMU
 */
#include <stdio.h>
#include <string.h>

#include "libtmem/tmem.h"
#include "libtmem/tmem-req.h"

static void done(TmemReq *req)
{
}

int main(void)
{
    TmemStoreConfig config = { .size_bytes = TMEM_STORE_SIZE_MIN };
    TmemClientConfig client_config = { .name = "link" };
    TmemStore *store = tmem_store_new(&config, NULL);
    TmemClient *client = tmem_client_new(store, &client_config, NULL);
    TmemContext *ctx = tmem_context_new(client, NULL);
    TmemReq req = { .done = done };
    TmemHandle h = { .object = { 1 } };
    char page[TMEM_PAGE_SIZE];
    bool ok;

    tmem_pool_create(client, TMEM_POOL_PERSISTENT, TMEM_PAGE_SHIFT, &h.pool);
    memset(tmem_context_bounce(ctx), 'x', TMEM_PAGE_SIZE);
    ok = tmem_page_store(ctx, &h, tmem_context_bounce(ctx)) == TMEM_STATUS_OK &&
         tmem_page_load(ctx, &h, page, NULL) == TMEM_STATUS_OK &&
         !memcmp(page, tmem_context_bounce(ctx), sizeof(page));
    tmem_req_submit(ctx, 0, &req);
    ok = ok && req.violation;
    tmem_context_free(ctx);
    tmem_client_free(client);
    tmem_store_free(store);
    if (!ok) {
        printf("the library gave back another page\n");
    }
    return !ok;
}
