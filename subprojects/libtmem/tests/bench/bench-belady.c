/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmem-bench evict: Belady's rule, the limit of all policies
 *
 * Drops the page whose next load is farthest away, or does not take the new one
 * if that is it.  A heap by next load; a page whose entry is outdated is passed
 * over when it comes to the top.
 */
#include "bench.h"
#include "evict.h"

typedef struct Entry {
    size_t next_load;
    uint32_t page;
} Entry;

typedef struct Belady {
    size_t capacity;
    bool exclusive;
    size_t held;
    size_t *next_load;          /* by page; 0: not held */
    GArray *heap;               /* of Entry, farthest first */
} Belady;

static void *belady_new(const EvictSetup *setup)
{
    Belady *b = g_new0(Belady, 1);

    b->capacity = setup->capacity;
    b->exclusive = setup->exclusive;
    b->next_load = g_new0(size_t, setup->nr_pages);
    b->heap = g_array_new(FALSE, FALSE, sizeof(Entry));
    return b;
}

static void belady_free(void *self)
{
    Belady *b = self;

    g_array_unref(b->heap);
    g_free(b->next_load);
    g_free(b);
}

static Entry *at(Belady *b, size_t i)
{
    return &g_array_index(b->heap, Entry, i);
}

static void push(Belady *b, Entry entry)
{
    size_t i = b->heap->len;

    g_array_append_val(b->heap, entry);
    while (i && at(b, (i - 1) / 2)->next_load < entry.next_load) {
        *at(b, i) = *at(b, (i - 1) / 2);
        i = (i - 1) / 2;
    }
    *at(b, i) = entry;
}

static void pop(Belady *b)
{
    Entry entry = *at(b, b->heap->len - 1);
    size_t n = b->heap->len - 1, i = 0, child;

    g_array_set_size(b->heap, n);
    for (; (child = 2 * i + 1) < n; i = child) {
        child += child + 1 < n &&
                 at(b, child + 1)->next_load > at(b, child)->next_load;
        if (at(b, child)->next_load <= entry.next_load) {
            break;
        }
        *at(b, i) = *at(b, child);
    }
    if (n) {
        *at(b, i) = entry;
    }
}

/* Holds the page until its next load; it never will be if there is none. */
static void hold(Belady *b, const Event *event)
{
    b->held -= b->next_load[event->page] != 0;
    b->next_load[event->page] = 0;
    if (event->next_load == SIZE_MAX) {
        return;
    }
    b->held++;
    b->next_load[event->page] = event->next_load;
    push(b, (Entry) { event->next_load, event->page });
    while (b->held > b->capacity) {
        Entry top = *at(b, 0);

        if (b->next_load[top.page] == top.next_load) {
            b->next_load[top.page] = 0;
            b->held--;
        }
        pop(b);
    }
}

static bool belady_load(void *self, const Event *event)
{
    Belady *b = self;

    if (!b->next_load[event->page]) {
        return false;
    }
    if (b->exclusive) {
        b->next_load[event->page] = 0;
        b->held--;
    } else {
        hold(b, event);
    }
    return true;
}

static void belady_store(void *self, const Event *event)
{
    hold(self, event);
}

const EvictPolicy evict_belady = {
    "belady", "the limit: knows the future", belady_new, belady_load,
    belady_store, belady_free,
};
