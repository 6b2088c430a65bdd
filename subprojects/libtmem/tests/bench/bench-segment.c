/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmem-bench evict: policies that free whole segments, as an arena must
 *
 * A segment holds as many pages as one of 64 KiB does on average.  What leaves
 * it early makes a hole, which either takes the next page that comes ("holes
 * reused", as slots of a size class do) or stays until the segment goes.
 */
#include <stdlib.h>

#include "bench.h"
#include "evict.h"

#define SLOTS       44          /* 64 KiB of pages that compress 2.9 times */
#define PASS_MAX    16          /* segments that one decision passes over */
#define MERGED      4
#define NONE        UINT32_MAX

typedef enum Kind {
    SEG_FIFO, SEG_CHANCE, SEG_CHANCE_LOG, SEG_MERGE, SEG_PROBATION,
} Kind;

/* All but SEG_PROBATION have MAIN alone. */
enum { PROBATION, MAIN, SETS };

typedef struct Segment {
    uint32_t pages[SLOTS];      /* NONE: a hole */
    unsigned used;
    unsigned watermark;
    uint8_t set;
    bool hit;
    bool listed;                /* has holes and is on the list of these */
} Segment;

typedef struct Segments {
    Kind kind;
    bool exclusive;
    Segment *segments;
    uint32_t nr_segments;
    GQueue order[SETS];         /* of segment numbers in use, oldest first */
    GArray *unused;             /* of segment numbers */
    GArray *partial[SETS];      /* of segment numbers with holes */
    uint32_t open[SETS];        /* that pages go to; NONE */
    uint32_t *segment_of;       /* by page; NONE: not held */
    uint8_t *slot_of;
    uint8_t *hits;
    /* Pages that were here or were loaded: as many as the store holds. */
    size_t *noted;              /* when, by page; 0: never */
    size_t clock;
} Segments;

static void *segments_new(const EvictSetup *setup, Kind kind)
{
    uint32_t n = MAX(setup->capacity / SLOTS, MERGED + 1);
    Segments *s = g_new0(Segments, 1);

    s->kind = kind;
    s->exclusive = setup->exclusive;
    s->segments = g_new0(Segment, n);
    s->nr_segments = n;
    s->unused = g_array_new(FALSE, FALSE, sizeof(uint32_t));
    for (int set = 0; set < SETS; set++) {
        g_queue_init(&s->order[set]);
        s->partial[set] = g_array_new(FALSE, FALSE, sizeof(uint32_t));
        s->open[set] = NONE;
    }
    for (uint32_t i = 0; i < n; i++) {
        g_array_append_val(s->unused, i);
    }
    s->segment_of = g_new(uint32_t, setup->nr_pages);
    for (uint32_t i = 0; i < setup->nr_pages; i++) {
        s->segment_of[i] = NONE;
    }
    s->slot_of = g_new0(uint8_t, setup->nr_pages);
    s->hits = g_new0(uint8_t, setup->nr_pages);
    s->noted = g_new0(size_t, setup->nr_pages);
    return s;
}

static void segments_free(void *self)
{
    Segments *s = self;

    g_free(s->segments);
    for (int set = 0; set < SETS; set++) {
        g_queue_clear(&s->order[set]);
        g_array_unref(s->partial[set]);
    }
    g_array_unref(s->unused);
    g_free(s->segment_of);
    g_free(s->slot_of);
    g_free(s->hits);
    g_free(s->noted);
    g_free(s);
}

static bool reuses(const Segments *s)
{
    return s->kind != SEG_CHANCE_LOG && s->kind != SEG_MERGE;
}

static void note(Segments *s, uint32_t page)
{
    s->noted[page] = ++s->clock;
}

static bool is_noted(const Segments *s, uint32_t page)
{
    return s->noted[page] &&
           s->clock - s->noted[page] < (size_t)s->nr_segments * SLOTS;
}

static void release(Segments *s, uint32_t nr)
{
    int set = s->segments[nr].set;

    g_queue_remove(&s->order[set], GUINT_TO_POINTER(nr));
    g_array_append_val(s->unused, nr);
    if (s->open[set] == nr) {
        s->open[set] = NONE;
    }
}

static void drop_page(Segments *s, uint32_t page)
{
    uint32_t nr = s->segment_of[page];
    Segment *seg = &s->segments[nr];

    seg->pages[s->slot_of[page]] = NONE;
    seg->used--;
    s->segment_of[page] = NONE;
    if (!seg->used && nr != s->open[seg->set]) {
        release(s, nr);
    } else if (reuses(s) && !seg->listed) {
        seg->listed = true;
        g_array_append_val(s->partial[seg->set], nr);
    }
}

static void empty(Segments *s, uint32_t nr)
{
    Segment *seg = &s->segments[nr];

    for (unsigned i = 0; i < seg->watermark; i++) {
        if (seg->pages[i] != NONE) {
            s->segment_of[seg->pages[i]] = NONE;
            note(s, seg->pages[i]);
        }
    }
    seg->used = 0;
    release(s, nr);
}

static uint32_t oldest(Segments *s, int set)
{
    return GPOINTER_TO_UINT(g_queue_peek_head(&s->order[set]));
}

static void evict_one(Segments *s)
{
    /* A tenth is for those on probation, as in S3-FIFO. */
    int set = s->order[PROBATION].length * 10 > s->nr_segments ||
              !s->order[MAIN].length ? PROBATION : MAIN;
    GQueue *order = &s->order[set];

    for (int i = 0; s->kind != SEG_FIFO && set == MAIN && i < PASS_MAX &&
         s->segments[oldest(s, set)].hit; i++) {
        s->segments[oldest(s, set)].hit = false;
        g_queue_push_tail(order, g_queue_pop_head(order));
    }
    empty(s, oldest(s, set));
}

static uint32_t new_segment(Segments *s, int set);

static void put(Segments *s, uint32_t nr, unsigned slot, uint32_t page)
{
    Segment *seg = &s->segments[nr];

    seg->pages[slot] = page;
    seg->used++;
    seg->watermark = MAX(seg->watermark, slot + 1);
    s->segment_of[page] = nr;
    s->slot_of[page] = slot;
}

typedef struct Candidate {
    uint32_t page;
    uint32_t hits;
    uint32_t age;               /* larger: younger */
} Candidate;

static int better_first(const void *a, const void *b)
{
    const Candidate *x = a, *y = b;

    if (x->hits != y->hits) {
        return x->hits < y->hits ? 1 : -1;
    }
    return (x->age < y->age) - (x->age > y->age);
}

/*
 * Segcache's way (Yang et al., NSDI 2021): of the oldest segments the best
 * pages stay, as many as fit one.
 */
static void evict_merge(Segments *s)
{
    Candidate best[MERGED * SLOTS];
    unsigned nr = 0;
    uint32_t to;

    for (int m = 0; m < MERGED && s->order[MAIN].length; m++) {
        uint32_t from = oldest(s, MAIN);
        Segment *seg = &s->segments[from];

        for (unsigned i = 0; i < seg->watermark; i++) {
            uint32_t page = seg->pages[i];

            if (page != NONE) {
                best[nr] = (Candidate) { page, s->hits[page], nr };
                nr++;
            }
        }
        empty(s, from);
    }
    qsort(best, nr, sizeof(best[0]), better_first);
    to = new_segment(s, MAIN);
    for (unsigned i = 0; i < MIN(nr, SLOTS); i++) {
        s->hits[best[i].page] /= 2;
        put(s, to, i, best[i].page);
    }
    if (!s->segments[to].used) {
        release(s, to);
    }
}

static uint32_t new_segment(Segments *s, int set)
{
    uint32_t nr;

    while (!s->unused->len) {
        if (s->kind == SEG_MERGE) {
            evict_merge(s);
        } else {
            evict_one(s);
        }
    }
    nr = g_array_index(s->unused, uint32_t, s->unused->len - 1);
    g_array_set_size(s->unused, s->unused->len - 1);
    s->segments[nr] = (Segment) { .set = set };
    g_queue_push_tail(&s->order[set], GUINT_TO_POINTER(nr));
    return nr;
}

/* A hole to fill, if holes are filled; entries of the list may be outdated. */
static bool find_hole(Segments *s, int set, uint32_t *nr, unsigned *slot)
{
    GArray *partial = s->partial[set];

    while (partial->len) {
        Segment *seg;

        *nr = g_array_index(partial, uint32_t, partial->len - 1);
        seg = &s->segments[*nr];
        for (*slot = 0; seg->listed && seg->used && seg->set == set &&
             *slot < seg->watermark; ++*slot) {
            if (seg->pages[*slot] == NONE) {
                return true;
            }
        }
        seg->listed = false;
        g_array_set_size(partial, partial->len - 1);
    }
    return false;
}

static bool segments_load(void *self, const Event *event)
{
    Segments *s = self;
    uint32_t nr = s->segment_of[event->page];

    if (nr == NONE) {
        return false;
    }
    s->segments[nr].hit = true;
    s->hits[event->page] = MIN(s->hits[event->page] + 1, 15);
    note(s, event->page);
    if (s->exclusive) {
        drop_page(s, event->page);
    }
    return true;
}

static void segments_store(void *self, const Event *event)
{
    Segments *s = self;
    int set = s->kind == SEG_PROBATION && !is_noted(s, event->page) ?
              PROBATION : MAIN;
    uint32_t nr;
    unsigned slot;

    if (s->segment_of[event->page] != NONE) {
        drop_page(s, event->page);
    }
    if (reuses(s) && find_hole(s, set, &nr, &slot)) {
        put(s, nr, slot, event->page);
        return;
    }
    if (s->open[set] == NONE ||
        s->segments[s->open[set]].watermark == SLOTS) {
        s->open[set] = NONE;
        s->open[set] = new_segment(s, set);
    }
    nr = s->open[set];
    put(s, nr, s->segments[nr].watermark, event->page);
}

static void *fifo_new(const EvictSetup *setup)
{
    return segments_new(setup, SEG_FIFO);
}

static void *chance_new(const EvictSetup *setup)
{
    return segments_new(setup, SEG_CHANCE);
}

static void *chance_log_new(const EvictSetup *setup)
{
    return segments_new(setup, SEG_CHANCE_LOG);
}

static void *probation_new(const EvictSetup *setup)
{
    return segments_new(setup, SEG_PROBATION);
}

static void *merge_new(const EvictSetup *setup)
{
    return segments_new(setup, SEG_MERGE);
}

const EvictPolicy evict_segment_fifo = {
    "segment-fifo", "segments, oldest first; holes reused", fifo_new,
    segments_load, segments_store, segments_free,
};
const EvictPolicy evict_segment_chance = {
    "segment-chance", "segments, a second chance if loaded from; holes reused",
    chance_new, segments_load, segments_store, segments_free,
};
const EvictPolicy evict_segment_chance_log = {
    "segment-chance-log", "the same, holes stay", chance_log_new,
    segments_load, segments_store, segments_free,
};
const EvictPolicy evict_segment_merge = {
    "segment-merge", "of the 4 oldest segments the best pages stay; holes stay",
    merge_new, segments_load, segments_store, segments_free,
};
const EvictPolicy evict_segment_probation = {
    "segment-probation",
    "as segment-chance, in segments of their own unless they were here before",
    probation_new, segments_load, segments_store, segments_free,
};
