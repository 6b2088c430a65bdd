/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The oracle: a hash table of copies, and what it allows the store to answer
 */
#include <string.h>

#include "model.h"

typedef struct Key {
    uint64_t client;
    TmemHandle handle;
} Key;

typedef struct Page {
    unsigned owner;
    uint8_t data[TMEM_PAGE_SIZE];
} Page;

typedef struct Pool {
    TmemPoolKind kind;
    unsigned group;
} Pool;

#define CLIENTS_MAX     16

/* In the keys of a shared pool's pages instead of a client. */
#define GROUP_CLIENT    1000

struct Model {
    GHashTable *pages;      /* Key -> Page */
    GHashTable *pools;      /* Key with object and index 0 -> Pool */
    bool frozen[CLIENTS_MAX];
    uint64_t credit[CLIENTS_MAX];
    bool picky;
};

static unsigned key_hash(gconstpointer p)
{
    const Key *k = p;
    uint64_t words[] = {
        k->client, k->handle.pool, k->handle.object[0], k->handle.object[1],
        k->handle.object[2], k->handle.index,
    };
    uint64_t h = 0;

    for (unsigned i = 0; i < G_N_ELEMENTS(words); i++) {
        h = (h ^ words[i]) * 0x9e3779b97f4a7c15ull;
        h ^= h >> 29;
    }
    return h;
}

static gboolean key_equal(gconstpointer a, gconstpointer b)
{
    const Key *x = a, *y = b;

    return x->client == y->client && x->handle.pool == y->handle.pool &&
           !memcmp(x->handle.object, y->handle.object,
                   sizeof(x->handle.object)) &&
           x->handle.index == y->handle.index;
}

Model *model_new(void)
{
    Model *m = g_new0(Model, 1);

    m->pages = g_hash_table_new_full(key_hash, key_equal, g_free, g_free);
    m->pools = g_hash_table_new_full(key_hash, key_equal, g_free, g_free);
    return m;
}

void model_free(Model *m)
{
    g_hash_table_destroy(m->pages);
    g_hash_table_destroy(m->pools);
    g_free(m);
}

/* --- Pools --- */

static Key pool_key(unsigned client, uint64_t pool)
{
    return (Key) { .client = client, .handle.pool = pool };
}

/* The key of a page: all members of a shared pool have the same. */
static Key page_key(unsigned client, const Pool *pool,
                    const TmemHandle *handle)
{
    Key key = { .client = client, .handle = *handle };

    if (pool && pool->group) {
        key.client = GROUP_CLIENT;
        key.handle.pool = pool->group;
    }
    return key;
}

static Pool *find_pool(Model *m, unsigned client, uint64_t id)
{
    Key key = pool_key(client, id);

    return g_hash_table_lookup(m->pools, &key);
}

void model_pool_created(Model *m, unsigned client, uint64_t pool,
                        TmemPoolKind kind, unsigned group)
{
    Key key = pool_key(client, pool);
    Pool value = { kind, group };

    g_assert_cmpuint(client, <, CLIENTS_MAX);
    g_assert_false(g_hash_table_contains(m->pools, &key));
    g_hash_table_insert(m->pools, g_memdup2(&key, sizeof(key)),
                        g_memdup2(&value, sizeof(value)));
}

#define ANYBODY     UINT32_MAX

typedef struct Match {
    Key key;
    bool object_too;
    unsigned owner;
} Match;

static gboolean matches(gpointer key, gpointer value, gpointer opaque)
{
    const Key *k = key;
    const Page *page = value;
    const Match *m = opaque;

    return k->client == m->key.client &&
           (m->owner == ANYBODY || page->owner == m->owner) &&
           k->handle.pool == m->key.handle.pool &&
           (!m->object_too || !memcmp(k->handle.object,
                                      m->key.handle.object,
                                      sizeof(k->handle.object)));
}

void model_pool_destroyed(Model *m, unsigned client, uint64_t pool)
{
    Key key = pool_key(client, pool);
    Match match = {
        .key = page_key(client, find_pool(m, client, pool), &key.handle),
        .owner = client,
    };

    g_assert_true(g_hash_table_remove(m->pools, &key));
    g_hash_table_foreach_remove(m->pages, matches, &match);
}

void model_set_frozen(Model *m, unsigned client, bool frozen)
{
    m->frozen[client] = frozen;
}

void model_granted(Model *m, unsigned client, uint64_t nr)
{
    m->credit[client] += nr;
}

void model_credit_forgotten(Model *m, unsigned client)
{
    m->credit[client] = 0;
}

uint64_t model_credit(const Model *m, unsigned client)
{
    return m->credit[client];
}

void model_set_picky(Model *m, bool picky)
{
    m->picky = picky;
}

/* --- Operations --- */

static void apply_load(Model *m, const Op *op, const Key *key,
                       const Pool *pool)
{
    static const uint8_t zeros[TMEM_PAGE_SIZE];
    const Page *page = g_hash_table_lookup(m->pages, key);

    if (op->status == TMEM_STATUS_OK) {
        g_assert_nonnull(page);
        g_assert_cmpmem(op->page, TMEM_PAGE_SIZE, page->data, TMEM_PAGE_SIZE);
        if (op->type == OP_TAKE) {
            g_hash_table_remove(m->pages, key);
        }
        return;
    }
    g_assert_cmpmem(op->page, TMEM_PAGE_SIZE, zeros, TMEM_PAGE_SIZE);
    if (op->type == OP_TAKE &&
        (pool->kind == TMEM_POOL_PERSISTENT || pool->group)) {
        g_assert_cmpint(op->status, ==, TMEM_STATUS_INVAL);
        return;
    }
    g_assert_cmpint(op->status, ==, TMEM_STATUS_MISS);
    if (page) {
        g_assert_cmpint(pool->kind, ==, TMEM_POOL_EPHEMERAL);
        g_hash_table_remove(m->pages, key);
    }
}

/* Uses one credit.  What the answer must be. */
static TmemStatus use_credit(Model *m, const Op *op, const Pool *pool)
{
    if (!m->credit[op->client]) {
        return TMEM_STATUS_INVAL;
    }
    m->credit[op->client]--;
    if (!pool) {
        return TMEM_STATUS_NOPOOL;
    }
    return pool->kind == TMEM_POOL_PERSISTENT ? TMEM_STATUS_OK :
                                                TMEM_STATUS_INVAL;
}

static void apply_store(Model *m, const Op *op, const Key *key)
{
    g_assert_true(op->credit || (op->status == TMEM_STATUS_FROZEN) ==
                                m->frozen[op->client]);
    if (op->status == TMEM_STATUS_OK) {
        Page *page = g_new(Page, 1);

        page->owner = op->client;
        memcpy(page->data, op->page, TMEM_PAGE_SIZE);
        g_hash_table_replace(m->pages, g_memdup2(key, sizeof(*key)), page);
        return;
    }
    g_assert_true(op->credit ||
                  op->status == TMEM_STATUS_NOSPC ||
                  op->status == TMEM_STATUS_QUOTA ||
                  op->status == TMEM_STATUS_FROZEN ||
                  (op->status == TMEM_STATUS_REFUSED && m->picky));
    g_hash_table_remove(m->pages, key);
}

void model_apply(Model *m, const Op *op)
{
    const Pool *pool = find_pool(m, op->client, op->handle.pool);
    Key key = page_key(op->client, pool, &op->handle);
    Match match = { .key = key, .object_too = true, .owner = ANYBODY };

    if (op->type == OP_STORE && op->credit) {
        g_assert_cmpint(op->status, ==, use_credit(m, op, pool));
    } else if (!pool) {
        g_assert_cmpint(op->status, ==, TMEM_STATUS_NOPOOL);
    }
    if (!pool) {
        return;
    }
    switch (op->type) {
    case OP_STORE:
        apply_store(m, op, &key);
        break;
    case OP_LOAD:
    case OP_TAKE:
        apply_load(m, op, &key, pool);
        break;
    case OP_INVALIDATE:
        g_assert_cmpint(op->status, ==, TMEM_STATUS_OK);
        g_hash_table_remove(m->pages, &key);
        break;
    case OP_INVALIDATE_OBJECT:
        g_assert_cmpint(op->status, ==, TMEM_STATUS_OK);
        g_hash_table_foreach_remove(m->pages, matches, &match);
        break;
    default:
        g_assert_not_reached();
    }
}

/* --- From the model to the store --- */

uint64_t model_pages(Model *m, unsigned client, uint64_t pool)
{
    Key key = pool_key(client, pool);
    Match match = {
        .key = page_key(client, find_pool(m, client, pool), &key.handle),
        .owner = client,
    };
    uint64_t n = 0;
    GHashTableIter iter;
    gpointer at, page;

    g_hash_table_iter_init(&iter, m->pages);
    while (g_hash_table_iter_next(&iter, &at, &page)) {
        n += matches(at, page, &match);
    }
    return n;
}

/* What a page's owner calls its pool. */
static uint64_t pool_of(Model *m, unsigned owner, unsigned group)
{
    GHashTableIter iter;
    gpointer at, pool;

    g_hash_table_iter_init(&iter, m->pools);
    while (g_hash_table_iter_next(&iter, &at, &pool)) {
        if (((Key *)at)->client == owner && ((Pool *)pool)->group == group) {
            return ((Key *)at)->handle.pool;
        }
    }
    g_assert_not_reached();
}

typedef struct Copy {
    unsigned owner;
    TmemHandle handle;
} Copy;

void model_foreach(Model *m, ModelFunc *func, void *opaque)
{
    g_autoptr(GArray) copies = g_array_new(false, false, sizeof(Copy));
    GHashTableIter iter;
    gpointer at, page;

    g_hash_table_iter_init(&iter, m->pages);
    while (g_hash_table_iter_next(&iter, &at, &page)) {
        const Key *key = at;
        Copy copy = { ((Page *)page)->owner, key->handle };

        if (key->client == GROUP_CLIENT) {
            copy.handle.pool = pool_of(m, copy.owner, key->handle.pool);
        }
        g_array_append_val(copies, copy);
    }
    for (unsigned i = 0; i < copies->len; i++) {
        Copy *copy = &g_array_index(copies, Copy, i);

        func(copy->owner, &copy->handle, opaque);
    }
}
