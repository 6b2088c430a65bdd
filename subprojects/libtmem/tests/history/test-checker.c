/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The checker of histories is checked: it finds what is wrong, and nothing else
 */
#include <string.h>

#include "history.h"
#include "testlib.h"

#define OPS_MAX     8

#define S   HISTORY_STORE
#define L   HISTORY_LOAD
#define T   HISTORY_TAKE
#define I   HISTORY_INVALIDATE
#define D   HISTORY_DESTROY
#define OK      TMEM_STATUS_OK
#define MISS    TMEM_STATUS_MISS
#define NOSPC   TMEM_STATUS_NOSPC
#define NOPOOL  TMEM_STATUS_NOPOOL

/* begin, end, value, type, answer, thread */
typedef struct Example {
    const char *name;
    bool persistent_ok;
    bool ephemeral_ok;
    HistoryOp ops[OPS_MAX];     /* up to the first that ends at 0 */
} Example;

static const Example examples[] = {
    { "plain", true, true, {
        { 1, 2, 0, L, MISS, 0 }, { 3, 4, 1, S, OK, 0 }, { 5, 6, 1, L, OK, 1 },
        { 7, 8, 0, I, OK, 0 }, { 9, 10, 0, L, MISS, 1 } } },
    { "never-stored", false, false, {
        { 1, 2, 7, L, OK, 0 } } },
    { "lost", false, true, {
        { 1, 2, 1, S, OK, 0 }, { 3, 4, 0, L, MISS, 0 } } },
    { "hit-after-miss", false, false, {
        { 1, 2, 1, S, OK, 0 }, { 3, 4, 0, L, MISS, 0 },
        { 5, 6, 1, L, OK, 0 } } },
    { "stale-after-invalidate", false, false, {
        { 1, 2, 1, S, OK, 0 }, { 3, 4, 0, I, OK, 1 }, { 5, 6, 1, L, OK, 0 } } },
    { "older-after-store", false, false, {
        { 1, 2, 1, S, OK, 0 }, { 3, 4, 2, S, OK, 1 }, { 5, 6, 1, L, OK, 0 } } },
    { "refused-leaves-older", false, false, {
        { 1, 2, 1, S, OK, 0 }, { 3, 4, 2, S, NOSPC, 0 },
        { 5, 6, 1, L, OK, 1 } } },
    { "refused-leaves-itself", false, false, {
        { 1, 2, 2, S, NOSPC, 0 }, { 5, 6, 2, L, OK, 1 } } },
    { "refused", true, true, {
        { 1, 2, 1, S, OK, 0 }, { 3, 4, 2, S, NOSPC, 0 },
        { 5, 6, 0, L, MISS, 1 } } },
    { "store-while-loads", true, true, {
        { 1, 10, 1, S, OK, 0 }, { 2, 3, 0, L, MISS, 1 },
        { 4, 5, 1, L, OK, 1 } } },
    { "store-seen-then-not", false, true, {
        { 1, 10, 1, S, OK, 0 }, { 2, 3, 1, L, OK, 1 },
        { 4, 5, 0, L, MISS, 1 } } },
    { "two-orders", false, false, {
        { 1, 20, 1, S, OK, 0 }, { 2, 21, 2, S, OK, 1 },
        { 3, 4, 1, L, OK, 2 }, { 7, 8, 2, L, OK, 2 },
        { 5, 6, 2, L, OK, 3 }, { 9, 10, 1, L, OK, 3 } } },
    { "one-order", true, true, {
        { 1, 20, 1, S, OK, 0 }, { 2, 21, 2, S, OK, 1 },
        { 3, 4, 1, L, OK, 2 }, { 7, 8, 2, L, OK, 2 },
        { 5, 9, 1, L, OK, 3 }, { 10, 11, 2, L, OK, 3 } } },
    { "store-outlives-invalidate", true, true, {
        { 1, 10, 1, S, OK, 0 }, { 2, 3, 0, I, OK, 1 },
        { 12, 13, 1, L, OK, 1 } } },
    { "late-store-comes-back", false, false, {
        { 1, 10, 1, S, OK, 0 }, { 11, 12, 0, I, OK, 1 },
        { 13, 14, 1, L, OK, 1 } } },
    { "taken", true, true, {
        { 1, 2, 1, S, OK, 0 }, { 3, 4, 1, L, OK, 0 }, { 5, 6, 1, T, OK, 0 },
        { 7, 8, 0, L, MISS, 0 } } },
    { "taken-but-there", false, false, {
        { 1, 2, 1, S, OK, 0 }, { 3, 4, 1, L, OK, 0 }, { 5, 6, 1, T, OK, 0 },
        { 7, 8, 1, L, OK, 0 } } },
    { "replaced-before-taking", true, true, {
        { 1, 2, 1, S, OK, 0 }, { 3, 4, 1, L, OK, 0 }, { 5, 6, 2, S, OK, 1 },
        { 7, 8, 1, T, OK, 0 }, { 9, 10, 2, L, OK, 0 } } },
    { "took-the-newer", false, true, {
        { 1, 2, 1, S, OK, 0 }, { 3, 4, 1, L, OK, 0 }, { 5, 6, 2, S, OK, 1 },
        { 7, 8, 1, T, OK, 0 }, { 9, 10, 0, L, MISS, 0 } } },
    { "destroyed", true, true, {
        { 1, 2, 1, S, OK, 0 }, { 3, 10, 0, D, OK, 4 }, { 4, 5, 1, L, OK, 0 },
        { 6, 7, 0, L, NOPOOL, 0 }, { 8, 9, 2, S, NOPOOL, 1 } } },
    { "seen-after-destruction", false, false, {
        { 1, 2, 1, S, OK, 0 }, { 3, 4, 0, D, OK, 4 }, { 5, 6, 1, L, OK, 0 } } },
    { "no-pool-too-early", false, false, {
        { 1, 2, 1, S, NOPOOL, 0 }, { 3, 4, 0, D, OK, 4 } } },
    { "no-pool-and-back", false, false, {
        { 1, 10, 0, D, OK, 4 }, { 2, 3, 0, L, NOPOOL, 0 },
        { 4, 5, 0, L, MISS, 0 } } },
    { "an-error", false, false, {
        { 1, 2, 1, S, OK, 0 }, { 3, 4, 0, L, TMEM_STATUS_IO, 0 } } },
};

static void test_example(gconstpointer opaque)
{
    const Example *e = opaque;
    unsigned nr = 0;

    while (nr < OPS_MAX && e->ops[nr].end) {
        nr++;
    }
    for (int ephemeral = 0; ephemeral < 2; ephemeral++) {
        g_autofree char *why = history_check(e->ops, nr, ephemeral);
        bool ok = ephemeral ? e->ephemeral_ok : e->persistent_ok;

        if (ok) {
            g_assert_cmpstr(why, ==, NULL);
        } else {
            g_assert_nonnull(why);
        }
    }
}

/* --- No false alarms: histories made by a variable --- */

#define THREADS     4
#define STEPS       60

typedef struct Made {
    HistoryOp ops[STEPS];
    unsigned nr;
    HistoryOp *open[THREADS];   /* begun */
    bool happened[THREADS];
    uint64_t clock;
    uint64_t value;
    uint64_t last;
} Made;

static void begin(Made *m, unsigned thread, TestRand *r)
{
    HistoryOp *op = &m->ops[m->nr++];

    op->thread = thread;
    op->type = test_rand_below(r, 4) == 0 ? I : test_rand_below(r, 2) ? S : L;
    op->status = OK;
    op->value = op->type == S ? ++m->last : 0;
    op->begin = ++m->clock;
    m->open[thread] = op;
    m->happened[thread] = false;
}

/* The moment at which the operation takes place. */
static void happen(Made *m, unsigned thread, TestRand *r)
{
    HistoryOp *op = m->open[thread];

    if (op->type == S && test_rand_below(r, 4) == 0) {
        op->status = NOSPC;
    }
    if (op->type == L) {
        op->status = m->value ? OK : MISS;
        op->value = m->value;
    } else {
        m->value = op->status == OK ? op->value : 0;
    }
    m->happened[thread] = true;
}

static void make(Made *m, TestRand *r)
{
    unsigned open = 0;

    memset(m, 0, sizeof(*m));
    while (m->nr < STEPS || open) {
        unsigned t = test_rand_below(r, THREADS);

        if (!m->open[t]) {
            if (m->nr < STEPS) {
                begin(m, t, r);
                open++;
            }
        } else if (!m->happened[t]) {
            happen(m, t, r);
        } else {
            m->open[t]->end = ++m->clock;
            m->open[t] = NULL;
            open--;
        }
    }
}

static void test_no_false_alarms(void)
{
    TestRand r = { test_seed() };
    unsigned caught = 0, tampered = 0;

    for (unsigned i = 0; i < 2000; i++) {
        unsigned at = test_rand_below(&r, STEPS);
        g_autofree char *why = NULL;
        Made m;

        make(&m, &r);
        why = history_check(m.ops, m.nr, false);
        g_assert_cmpstr(why, ==, NULL);

        /*
         * One load that finds what was there long ago, which is explained only
         * if its store has not ended yet.
         */
        for (unsigned j = at; j < STEPS; j++) {
            HistoryOp *op = &m.ops[j];

            if (op->type == L && op->status == OK && op->value > 8) {
                op->value -= 8;
                g_free(why);
                why = history_check(m.ops, m.nr, false);
                caught += why != NULL;
                tampered++;
                break;
            }
        }
    }
    g_assert_cmpuint(tampered, >, 500);
    g_assert_cmpuint(caught, >, tampered * 9 / 10);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (unsigned i = 0; i < G_N_ELEMENTS(examples); i++) {
        g_autofree char *path = g_strdup_printf("/tmem/history/checker/%s",
                                                examples[i].name);

        g_test_add_data_func(path, &examples[i], test_example);
    }
    g_test_add_func("/tmem/history/checker/no-false-alarms",
                    test_no_false_alarms);
    return g_test_run();
}
