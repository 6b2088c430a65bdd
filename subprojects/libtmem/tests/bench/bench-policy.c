/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmem-bench evict: policies that drop single pages
 *
 * FIFO, LRU, CLOCK (second chance) and S3-FIFO (Yang et al., SOSP 2023: a small
 * queue, a main queue, and a memory of what left the small one).
 */
#include "bench.h"
#include "evict.h"

#define NOWHERE UINT32_MAX

typedef enum Kind { FIFO, LRU, CLOCK, S3FIFO } Kind;
enum { OUT, SMALL, MAIN };

typedef struct Queue {
    uint32_t first;             /* the next to go */
    uint32_t last;
    size_t nr;
} Queue;

typedef struct Pages {
    Kind kind;
    EvictSetup setup;
    Queue queues[MAIN + 1];     /* all but S3-FIFO use MAIN alone */
    uint32_t *next;             /* by page */
    uint32_t *prev;
    uint8_t *where;
    uint8_t *hits;
    /* S3-FIFO: pages that were there; when each was noted last. */
    size_t *noted;
    size_t clock;
} Pages;

static void *pages_new(const EvictSetup *setup, Kind kind)
{
    Pages *p = g_new0(Pages, 1);

    p->kind = kind;
    p->setup = *setup;
    p->next = g_new(uint32_t, setup->nr_pages);
    p->prev = g_new(uint32_t, setup->nr_pages);
    p->where = g_new0(uint8_t, setup->nr_pages);
    p->hits = g_new0(uint8_t, setup->nr_pages);
    p->noted = g_new0(size_t, setup->nr_pages);
    for (int i = 0; i <= MAIN; i++) {
        p->queues[i].first = p->queues[i].last = NOWHERE;
    }
    return p;
}

static void pages_free(void *self)
{
    Pages *p = self;

    g_free(p->next);
    g_free(p->prev);
    g_free(p->where);
    g_free(p->hits);
    g_free(p->noted);
    g_free(p);
}

static void leave(Pages *p, uint32_t page)
{
    Queue *q = &p->queues[p->where[page]];
    uint32_t next = p->next[page], prev = p->prev[page];

    *(prev == NOWHERE ? &q->first : &p->next[prev]) = next;
    *(next == NOWHERE ? &q->last : &p->prev[next]) = prev;
    q->nr--;
    p->where[page] = OUT;
}

static void join(Pages *p, int where, uint32_t page)
{
    Queue *q = &p->queues[where];

    p->next[page] = NOWHERE;
    p->prev[page] = q->last;
    *(q->last == NOWHERE ? &q->first : &p->next[q->last]) = page;
    q->last = page;
    q->nr++;
    p->where[page] = where;
}

/* --- S3-FIFO's memory: as many as the main queue has room for --- */

static void note(Pages *p, uint32_t page)
{
    p->noted[page] = ++p->clock;
}

static bool is_noted(const Pages *p, uint32_t page)
{
    return p->noted[page] &&
           p->clock - p->noted[page] < p->setup.capacity * 9 / 10;
}

/* --- Making room --- */

static void evict_small(Pages *p)
{
    uint32_t page = p->queues[SMALL].first;

    leave(p, page);
    if (p->hits[page]) {
        p->hits[page] = 0;
        join(p, MAIN, page);
    } else {
        note(p, page);
    }
}

static void evict_main(Pages *p)
{
    uint32_t page = p->queues[MAIN].first;

    leave(p, page);
    if (p->kind != FIFO && p->kind != LRU && p->hits[page]) {
        p->hits[page]--;
        join(p, MAIN, page);
    }
}

static void make_room(Pages *p)
{
    size_t small = MAX(p->setup.capacity / 10, 1);

    while (p->queues[SMALL].nr + p->queues[MAIN].nr >= p->setup.capacity) {
        if (p->queues[SMALL].nr >= small || !p->queues[MAIN].nr) {
            evict_small(p);
        } else {
            evict_main(p);
        }
    }
}

/* --- Events --- */

static bool pages_load(void *self, const Event *event)
{
    Pages *p = self;
    uint32_t page = event->page;

    if (!p->where[page]) {
        return false;
    }
    if (p->setup.exclusive) {
        leave(p, page);
        /* It was worth keeping: when it comes back that is remembered. */
        note(p, page);
    } else if (p->kind == LRU) {
        leave(p, page);
        join(p, MAIN, page);
    } else {
        p->hits[page] = MIN(p->hits[page] + 1, p->kind == CLOCK ? 1 : 3);
    }
    return true;
}

static void pages_store(void *self, const Event *event)
{
    Pages *p = self;
    uint32_t page = event->page;
    int where = MAIN;

    if (p->where[page]) {
        /* The same page again: a new record in the place of the old. */
        where = p->where[page];
        leave(p, page);
        join(p, where, page);
        return;
    }
    make_room(p);
    if (p->kind == S3FIFO && !is_noted(p, page)) {
        where = SMALL;
    }
    p->hits[page] = 0;
    join(p, where, page);
}

static void *fifo_new(const EvictSetup *setup)
{
    return pages_new(setup, FIFO);
}

static void *lru_new(const EvictSetup *setup)
{
    return pages_new(setup, LRU);
}

static void *clock_new(const EvictSetup *setup)
{
    return pages_new(setup, CLOCK);
}

static void *s3fifo_new(const EvictSetup *setup)
{
    return pages_new(setup, S3FIFO);
}

const EvictPolicy evict_fifo = {
    "fifo", "pages, oldest first", fifo_new, pages_load, pages_store,
    pages_free,
};
const EvictPolicy evict_lru = {
    "lru", "pages, least recently used first", lru_new, pages_load,
    pages_store, pages_free,
};
const EvictPolicy evict_clock = {
    "clock", "pages, oldest first, a second chance if loaded", clock_new,
    pages_load, pages_store, pages_free,
};
const EvictPolicy evict_s3fifo = {
    "s3-fifo", "pages, on probation unless they were here before", s3fifo_new,
    pages_load, pages_store, pages_free,
};
