/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Is a history of one handle, recorded by several threads, linearisable?
 *
 * A depth-first search in the manner of Wing and Gong (1993), with Lowe's
 * memory of what was already tried (2017).  A thread runs one operation after
 * the other, so a state of the search is how far each thread has come and what
 * is in the variable.
 */
#include <string.h>

#include "history.h"

#define ABSENT  0
#define DEAD    UINT64_MAX      /* the pool is gone */

typedef struct State {
    uint64_t value;
    uint16_t done[HISTORY_THREADS_MAX];
} State;

typedef struct Search {
    GPtrArray *of_thread[HISTORY_THREADS_MAX];  /* const HistoryOp * */
    bool ephemeral;
    GHashTable *seen;
    GArray *stack;
    State best;
    unsigned best_done;
} Search;

static unsigned state_hash(gconstpointer p)
{
    const State *s = p;
    uint64_t h = s->value;

    for (unsigned i = 0; i < HISTORY_THREADS_MAX; i++) {
        h = (h ^ s->done[i]) * 0x9e3779b97f4a7c15ull;
        h ^= h >> 29;
    }
    return h;
}

static gboolean state_equal(gconstpointer a, gconstpointer b)
{
    return !memcmp(a, b, sizeof(State));
}

/* The variable's rules.  Returns false if @op cannot happen at @value. */
static bool apply(const Search *s, const HistoryOp *op, uint64_t *value)
{
    if (*value == DEAD || op->status == TMEM_STATUS_NOPOOL) {
        return *value == DEAD && op->status == TMEM_STATUS_NOPOOL;
    }
    switch (op->type) {
    case HISTORY_STORE:
        *value = op->status == TMEM_STATUS_OK ? op->value : ABSENT;
        return op->status == TMEM_STATUS_OK ||
               (op->status >= TMEM_STATUS_NOSPC &&
                op->status <= TMEM_STATUS_FROZEN);
    case HISTORY_LOAD:
        if (op->status == TMEM_STATUS_OK) {
            return *value == op->value;
        }
        if (op->status != TMEM_STATUS_MISS ||
            (!s->ephemeral && *value != ABSENT)) {
            return false;
        }
        *value = ABSENT;
        return true;
    case HISTORY_TAKE:
        if (op->status == TMEM_STATUS_INVAL) {
            return true;
        }
        if (*value == op->value) {
            *value = ABSENT;
        }
        return op->status == TMEM_STATUS_OK;
    case HISTORY_INVALIDATE:
        *value = ABSENT;
        return op->status == TMEM_STATUS_OK;
    default:
        *value = DEAD;
        return op->status == TMEM_STATUS_OK;
    }
}

static const HistoryOp *next_of(const Search *s, const State *at, unsigned t)
{
    return at->done[t] < s->of_thread[t]->len ?
           g_ptr_array_index(s->of_thread[t], at->done[t]) : NULL;
}

/* Whatever happens next began before the first of the others ended. */
static uint64_t first_end(const Search *s, const State *at)
{
    uint64_t end = UINT64_MAX;

    for (unsigned t = 0; t < HISTORY_THREADS_MAX; t++) {
        const HistoryOp *op = next_of(s, at, t);

        end = op ? MIN(end, op->end) : end;
    }
    return end;
}

static void visit(Search *s, const State *state)
{
    unsigned done = 0;

    if (!g_hash_table_add(s->seen, g_memdup2(state, sizeof(*state)))) {
        return;
    }
    for (unsigned t = 0; t < HISTORY_THREADS_MAX; t++) {
        done += state->done[t];
    }
    if (done > s->best_done) {
        s->best_done = done;
        s->best = *state;
    }
    g_array_append_vals(s->stack, state, 1);
}

static void search(Search *s, unsigned nr)
{
    State start = {};

    visit(s, &start);
    while (s->stack->len && s->best_done < nr) {
        State at = g_array_index(s->stack, State, s->stack->len - 1);
        uint64_t end = first_end(s, &at);

        g_array_set_size(s->stack, s->stack->len - 1);
        for (unsigned t = 0; t < HISTORY_THREADS_MAX; t++) {
            const HistoryOp *op = next_of(s, &at, t);
            State then = at;

            if (op && op->begin < end && apply(s, op, &then.value)) {
                then.done[t]++;
                visit(s, &then);
            }
        }
    }
}

static void describe(GString *text, const HistoryOp *op)
{
    static const char *const names[] = {
        "store", "load", "take", "invalidate", "destroy",
    };

    g_string_append_printf(text, "  thread %u  %6" G_GUINT64_FORMAT " ... %6"
                           G_GUINT64_FORMAT "  %s %" G_GINT64_MODIFIER
                           "x: %s\n", op->thread, op->begin, op->end,
                           names[op->type], op->value,
                           tmem_status_str(op->status));
}

/* The furthest any order came, and what could not happen then. */
static char *explain(const Search *s, unsigned nr)
{
    GString *text = g_string_new(NULL);

    g_string_append_printf(text, "no order explains more than %u of %u "
                           "operations; then %s%" G_GINT64_MODIFIER "x is "
                           "there, before that and next were:\n",
                           s->best_done, nr, s->ephemeral ? "(ephemeral) " : "",
                           s->best.value);
    for (unsigned t = 0; t < HISTORY_THREADS_MAX; t++) {
        unsigned done = s->best.done[t];

        for (unsigned i = done - MIN(done, 3u);
             i < MIN(done + 2u, s->of_thread[t]->len); i++) {
            describe(text, g_ptr_array_index(s->of_thread[t], i));
            if (i + 1 == done) {
                g_string_append(text, "  - next:\n");
            }
        }
    }
    return g_string_free(text, false);
}

char *history_check(const HistoryOp *ops, unsigned nr, bool ephemeral)
{
    Search s = { .ephemeral = ephemeral };
    char *why;

    s.seen = g_hash_table_new_full(state_hash, state_equal, g_free, NULL);
    s.stack = g_array_new(false, false, sizeof(State));
    for (unsigned t = 0; t < HISTORY_THREADS_MAX; t++) {
        s.of_thread[t] = g_ptr_array_new();
    }
    for (unsigned i = 0; i < nr; i++) {
        g_ptr_array_add(s.of_thread[ops[i].thread], (gpointer)&ops[i]);
    }
    search(&s, nr);
    why = s.best_done < nr ? explain(&s, nr) : NULL;
    for (unsigned t = 0; t < HISTORY_THREADS_MAX; t++) {
        g_ptr_array_unref(s.of_thread[t]);
    }
    g_array_unref(s.stack);
    g_hash_table_destroy(s.seen);
    return why;
}
