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

struct Model {
    GHashTable *pages;      /* Key -> page */
    GHashTable *pools;      /* Key with object and index 0 -> kind + 1 */
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
    Model *m = g_new(Model, 1);

    m->pages = g_hash_table_new_full(key_hash, key_equal, g_free, g_free);
    m->pools = g_hash_table_new_full(key_hash, key_equal, g_free, NULL);
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

void model_pool_created(Model *m, unsigned client, uint64_t pool,
                        TmemPoolKind kind)
{
    Key key = pool_key(client, pool);

    g_assert_false(g_hash_table_contains(m->pools, &key));
    g_hash_table_insert(m->pools, g_memdup2(&key, sizeof(key)),
                        GINT_TO_POINTER(kind + 1));
}

typedef struct Match {
    Key key;
    bool object_too;
} Match;

static gboolean matches(gpointer key, gpointer value, gpointer opaque)
{
    const Key *k = key;
    const Match *m = opaque;

    return k->client == m->key.client &&
           k->handle.pool == m->key.handle.pool &&
           (!m->object_too || !memcmp(k->handle.object,
                                      m->key.handle.object,
                                      sizeof(k->handle.object)));
}

void model_pool_destroyed(Model *m, unsigned client, uint64_t pool)
{
    Match match = { .key = pool_key(client, pool) };

    g_assert_true(g_hash_table_remove(m->pools, &match.key));
    g_hash_table_foreach_remove(m->pages, matches, &match);
}

/* --- Operations --- */

static void apply_load(Model *m, const Op *op, const Key *key,
                       TmemPoolKind kind)
{
    static const uint8_t zeros[TMEM_PAGE_SIZE];
    const uint8_t *page = g_hash_table_lookup(m->pages, key);

    if (op->status == TMEM_STATUS_OK) {
        g_assert_nonnull(page);
        g_assert_cmpmem(op->page, TMEM_PAGE_SIZE, page, TMEM_PAGE_SIZE);
        if (op->type == OP_TAKE) {
            g_hash_table_remove(m->pages, key);
        }
        return;
    }
    g_assert_cmpmem(op->page, TMEM_PAGE_SIZE, zeros, TMEM_PAGE_SIZE);
    if (op->type == OP_TAKE && kind == TMEM_POOL_PERSISTENT) {
        g_assert_cmpint(op->status, ==, TMEM_STATUS_INVAL);
        return;
    }
    g_assert_cmpint(op->status, ==, TMEM_STATUS_MISS);
    if (page) {
        g_assert_cmpint(kind, ==, TMEM_POOL_EPHEMERAL);
        g_hash_table_remove(m->pages, key);
    }
}

static void apply_store(Model *m, const Op *op, const Key *key)
{
    if (op->status == TMEM_STATUS_OK) {
        g_hash_table_replace(m->pages, g_memdup2(key, sizeof(*key)),
                             g_memdup2(op->page, TMEM_PAGE_SIZE));
        return;
    }
    g_assert_true(op->status == TMEM_STATUS_NOSPC ||
                  op->status == TMEM_STATUS_QUOTA);
    g_hash_table_remove(m->pages, key);
}

void model_apply(Model *m, const Op *op)
{
    Key pool = pool_key(op->client, op->handle.pool);
    Key key = { .client = op->client, .handle = op->handle };
    int kind = GPOINTER_TO_INT(g_hash_table_lookup(m->pools, &pool)) - 1;
    Match match = { .key = key, .object_too = true };

    if (kind < 0) {
        g_assert_cmpint(op->status, ==, TMEM_STATUS_NOPOOL);
        return;
    }
    switch (op->type) {
    case OP_STORE:
        apply_store(m, op, &key);
        break;
    case OP_LOAD:
    case OP_TAKE:
        apply_load(m, op, &key, kind);
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
    Match match = { .key = pool_key(client, pool) };
    uint64_t n = 0;
    GHashTableIter iter;
    gpointer key;

    g_hash_table_iter_init(&iter, m->pages);
    while (g_hash_table_iter_next(&iter, &key, NULL)) {
        n += matches(key, NULL, &match);
    }
    return n;
}

void model_foreach(Model *m, ModelFunc *func, void *opaque)
{
    g_autoptr(GList) keys = g_hash_table_get_keys(m->pages);
    g_autoptr(GArray) copies = g_array_new(false, false, sizeof(Key));

    for (GList *l = keys; l; l = l->next) {
        g_array_append_vals(copies, l->data, 1);
    }
    for (unsigned i = 0; i < copies->len; i++) {
        Key *key = &g_array_index(copies, Key, i);

        func(key->client, &key->handle, opaque);
    }
}
