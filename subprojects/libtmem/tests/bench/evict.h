/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmem-bench evict: hit ratios of eviction policies on traces of file pages
 *
 * What a store of ephemeral pages sees is not what programs touch: the guest's
 * own page cache answers most of that.  Here it is an LRU list of a given size;
 * what is not in it is a *load* from the store, what it drops is a *store*.
 * These events do not depend on the policy, so all policies get the same.
 */
#ifndef TMEM_BENCH_EVICT_H
#define TMEM_BENCH_EVICT_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* --- bench-trace.c --- */

/* Pages, numbered in the order of first touch. */
typedef struct Trace {
    GArray *touches;            /* of uint32_t, page numbers */
    uint32_t nr_pages;          /* different ones */
} Trace;

/**
 * trace_read() - read lines of "FILE FIRST-PAGE PAGES"
 * @path: "-" is standard input
 */
bool trace_read(Trace *trace, const char *path, GError **errp);

/**
 * trace_make() - a trace from a known distribution
 * @model: "zipf", "zipf+scan" or "loop"
 */
bool trace_make(Trace *trace, const char *model, GError **errp);
void trace_free(Trace *trace);

/* --- Events, as the store sees them --- */

typedef struct Event {
    uint32_t page;
    bool is_store;              /* else a load */
    /* Number of the next event that loads this page; SIZE_MAX: none. */
    size_t next_load;
} Event;

typedef struct EvictSetup {
    size_t capacity;            /* in pages */
    uint32_t nr_pages;
    bool exclusive;             /* a load that hits removes the page */
} EvictSetup;

typedef struct EvictPolicy {
    const char *name;
    const char *text;
    void *(*new)(const EvictSetup *setup);
    /* Returns whether it was there. */
    bool (*load)(void *self, const Event *event);
    void (*store)(void *self, const Event *event);
    void (*free)(void *self);
} EvictPolicy;

/* bench-policy.c: page by page */
extern const EvictPolicy evict_fifo, evict_lru, evict_clock, evict_s3fifo;
/* bench-belady.c: what the best could do, knowing the future */
extern const EvictPolicy evict_belady;
/* bench-segment.c: whole segments, as libtmem frees memory */
extern const EvictPolicy evict_segment_fifo, evict_segment_chance,
                         evict_segment_chance_log, evict_segment_merge,
                         evict_segment_probation;
/* bench-engine.c: libtmem itself, in a store that holds about as many pages */
extern const EvictPolicy evict_engine;

#endif /* TMEM_BENCH_EVICT_H */
