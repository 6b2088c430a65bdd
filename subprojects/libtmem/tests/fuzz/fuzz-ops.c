/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: operations, compared with the oracle of the model test
 *
 * The input is a program: a byte says what to do and how, the next ones where.
 * Two clients, one with a limit, share a store so small that a few bursts of
 * noise fill it, and an operator may be at work on it (operator.c).  They may
 * be in a trust group.  At the end
 * every page of the oracle is loaded, and the whole structure is checked.
 */
#include "fuzz.h"
#include "model/operator.h"
#include "testlib.h"

#define CLIENTS     2
#define POOLS       3
#define EQUAL_TAGS  50

typedef struct World {
    TmemStore *store;
    Model *model;
    struct {
        TmemClient *client;
        TmemContext *ctx;
        uint64_t pool[POOLS];       /* 0: none */
        uint64_t stale;             /* the id of one that was destroyed */
    } clients[CLIENTS];
    TmemClient *group;              /* of both, or NULL */
    Operator operator;
    uint64_t tag;
} World;

/* --- Pools --- */

static void create_pool(World *w, unsigned client, unsigned i)
{
    TmemPoolKind kind = i % 2 ? TMEM_POOL_EPHEMERAL : TMEM_POOL_PERSISTENT;
    uint64_t *id = &w->clients[client].pool[i];
    TmemStatus status = tmem_pool_create(w->clients[client].client, kind,
                                         TMEM_PAGE_SHIFT, id);

    if (status == TMEM_STATUS_OK) {
        model_pool_created(w->model, client, *id, kind, 0);
    } else {
        g_assert_cmpuint(*id, ==, 0);
        g_assert_true(status == TMEM_STATUS_NOSPC ||
                      status == TMEM_STATUS_QUOTA);
    }
}

static void forget_pool(World *w, unsigned client, unsigned i)
{
    uint64_t *id = &w->clients[client].pool[i];

    if (*id) {
        model_pool_destroyed(w->model, client, *id);
        w->clients[client].stale = *id;
        *id = 0;
    }
}

static void toggle_pool(World *w, unsigned client, unsigned i)
{
    uint64_t id = w->clients[client].pool[i];

    if (id) {
        g_assert_cmpint(tmem_pool_destroy(w->clients[client].client, id), ==,
                        TMEM_STATUS_OK);
        forget_pool(w, client, i);
    } else {
        create_pool(w, client, i);
    }
}

static void reset_client(World *w, unsigned client)
{
    tmem_client_reset(w->clients[client].client);
    for (unsigned i = 0; i < POOLS; i++) {
        forget_pool(w, client, i);
    }
}

/* --- Pages --- */

/* In a group many pages are equal. */
static uint64_t next_tag(World *w)
{
    return w->group ? w->tag++ % EQUAL_TAGS : w->tag++;
}

/* Few objects, few pages; at the edges of nodes and numbers. */
static TmemHandle take_handle(World *w, FuzzInput *in, unsigned client)
{
    static const uint64_t edges[] = {
        0, 1, 63, 64, 65, 127, 4096, UINT32_MAX, 1ull << 32, 1ull << 63,
        UINT64_MAX - 63, UINT64_MAX,
    };
    uint8_t where = fuzz_take(in, 1), index = fuzz_take(in, 1);
    unsigned pool = where % (POOLS + 1);
    TmemHandle h = {
        .pool = pool < POOLS ? w->clients[client].pool[pool] :
                               w->clients[client].stale,
        .index = index & 1 ? edges[(index >> 1) % G_N_ELEMENTS(edges)] :
                             index >> 1,
    };

    h.object[where >> 2 & 1] = where >> 3 & 3;
    h.object[2] = where & 128 ? UINT64_MAX : 0;
    return h;
}

static void run(World *w, Op *op)
{
    model_run(w->clients[op->client].ctx, op);
    model_apply(w->model, op);
}

static void page_op(World *w, FuzzInput *in, unsigned client, OpType type,
                    unsigned sort)
{
    Op op = {
        .type = type, .client = client, .handle = take_handle(w, in, client),
    };

    if (type == OP_STORE) {
        test_page_make(op.page, sort, next_tag(w));
    } else {
        memset(op.page, 0xee, TMEM_PAGE_SIZE);
    }
    run(w, &op);
}

/* Many pages in a row: of the store's 256, or of a node's 64. */
static void burst(World *w, FuzzInput *in, unsigned client, OpType type,
                  unsigned sort)
{
    TmemHandle h = take_handle(w, in, client);

    for (unsigned nr = fuzz_take(in, 1); nr; nr--) {
        Op op = { .type = type, .client = client, .handle = h };

        if (type == OP_STORE) {
            test_page_make(op.page, sort, next_tag(w));
        }
        run(w, &op);
        h.index++;
    }
}

/* --- Programs --- */

static void step(World *w, FuzzInput *in)
{
    uint8_t what = fuzz_take(in, 1);
    unsigned client = what >> 7, arg = what >> 4 & 7;

    switch (what & 15) {
    case 0 ... 4:
        page_op(w, in, client, OP_STORE, arg % TEST_PAGE__MAX);
        break;
    case 5:
    case 6:
        page_op(w, in, client, OP_LOAD, 0);
        break;
    case 7:
        page_op(w, in, client, OP_TAKE, 0);
        break;
    case 8:
    case 9:
        page_op(w, in, client, OP_INVALIDATE, 0);
        break;
    case 10:
        page_op(w, in, client, OP_INVALIDATE_OBJECT, 0);
        break;
    case 11:
        burst(w, in, client, OP_STORE, arg % TEST_PAGE__MAX);
        break;
    case 12:
        burst(w, in, client, OP_INVALIDATE, 0);
        break;
    case 13:
        toggle_pool(w, client, arg % POOLS);
        break;
    case 14:
        if (arg == 7) {
            reset_client(w, client);
        } else {
            TestRand r = { fuzz_take(in, 2) };

            operator_act(&w->operator, &r);
        }
        break;
    default:
        if (arg == 7) {
            test_check(w->store);
        }
        break;
    }
}

static void sweep(unsigned client, const TmemHandle *handle, void *opaque)
{
    Op op = { .type = OP_LOAD, .client = client, .handle = *handle };

    run(opaque, &op);
}

static void set_up(World *w, bool has_group)
{
    TmemStoreConfig config = {
        .size_bytes = TMEM_STORE_SIZE_MIN, .seed = 1,
    };

    memset(w, 0, sizeof(*w));
    w->model = model_new();
    operator_prepare();
    w->store = tmem_store_new(&config, NULL);
    operator_init(&w->operator, w->store, w->model);
    if (has_group) {
        w->group = test_new_group(w->store, "group");
    }
    for (unsigned i = 0; i < CLIENTS; i++) {
        TmemClientConfig client_config = {
            .name = i ? "limited" : "free",
            .limits.max_bytes = i ? 400u << 10 : 0,
        };

        w->clients[i].client = tmem_client_new(w->store, &client_config, NULL);
        w->clients[i].ctx = tmem_context_new(w->clients[i].client, NULL);
        g_assert_nonnull(w->clients[i].ctx);
        operator_add_client(&w->operator, w->clients[i].client);
        if (w->group) {
            g_assert_true(tmem_client_set_trust_group(w->clients[i].client,
                                                      w->group, NULL));
        }
        create_pool(w, i, 0);
        create_pool(w, i, 1);
    }
    if (w->group) {
        operator_add_client(&w->operator, w->group);
    }
}

static void tear_down(World *w)
{
    TmemClientStats stats;

    test_check(w->store);
    operator_check_laws(&w->operator);
    for (unsigned i = 0; i < CLIENTS; i++) {
        model_compare_counts(w->model, i, w->clients[i].client);
        reset_client(w, i);
        tmem_client_get_stats(w->clients[i].client, &stats);
        g_assert_cmpuint(stats.bytes, ==, 0);
        tmem_context_free(w->clients[i].ctx);
        tmem_client_free(w->clients[i].client);
    }
    test_check(w->store);
    if (w->group) {
        tmem_client_get_stats(w->group, &stats);
        g_assert_cmpuint(stats.group_pages, ==, 0);
        tmem_client_free(w->group);
    }
    tmem_store_free(w->store);
    model_free(w->model);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    FuzzInput in = { data, size };
    TmemStoreStats stats;
    World w;

    /* Of two inputs of which one is a byte longer, one has a group. */
    set_up(&w, size % 2);
    while (in.size) {
        step(&w, &in);
        tmem_store_get_stats(w.store, &stats);
        g_assert_cmpuint(stats.used_bytes, <=, stats.size_bytes);
    }
    model_foreach(w.model, sweep, &w);
    tear_down(&w);
    return 0;
}
