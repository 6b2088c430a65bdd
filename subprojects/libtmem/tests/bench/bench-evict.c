/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmem-bench evict: command line, the guest's cache, and the table
 */
#include <stdio.h>
#include <string.h>

#include "bench.h"
#include "evict.h"

static const EvictPolicy *const policies[] = {
    &evict_fifo, &evict_lru, &evict_clock, &evict_s3fifo, &evict_segment_fifo,
    &evict_segment_chance, &evict_segment_chance_log, &evict_segment_merge,
    &evict_segment_probation, &evict_engine, &evict_belady,
};

/* Sizes of the store, in per cent of the trace's pages. */
static const int sizes[] = { 5, 10, 20, 40 };

static char *trace_path;
static char *model;
static int guest_percent = 10;

static const GOptionEntry entries[] = {
    { "trace", 't', 0, G_OPTION_ARG_FILENAME, &trace_path,
      "lines of FILE-NUMBER FIRST-PAGE PAGES; -: standard input", "FILE" },
    { "model", 'm', 0, G_OPTION_ARG_STRING, &model,
      "made instead of read: zipf, zipf+scan or loop", "NAME" },
    { "guest", 'g', 0, G_OPTION_ARG_INT, &guest_percent,
      "the guest's page cache, in per cent of all pages of the trace (10)",
      "N" },
    { NULL }
};

static const char summary[] =
    "Replays touches of file pages on a guest with a page cache of its own and\n"
    "a store of ephemeral pages below it, and prints the share of the guest's\n"
    "loads that each policy of the store answers.";

/* --- The guest: an LRU list --- */

typedef struct Guest {
    size_t capacity;
    GQueue lru;                 /* of page numbers, oldest first */
    GList **link;               /* by page; NULL: not cached */
} Guest;

static void append(GArray *events, uint32_t page, bool is_store)
{
    Event event = { .page = page, .is_store = is_store };

    g_array_append_val(events, event);
}

static void guest_touch(Guest *g, uint32_t page, GArray *events)
{
    GList *link = g->link[page];

    if (link) {
        g_queue_unlink(&g->lru, link);
        g_queue_push_tail_link(&g->lru, link);
        return;
    }
    append(events, page, false);
    if (g->lru.length >= g->capacity) {
        uint32_t old = GPOINTER_TO_UINT(g_queue_pop_head(&g->lru));

        g->link[old] = NULL;
        append(events, old, true);
    }
    g_queue_push_tail(&g->lru, GUINT_TO_POINTER(page));
    g->link[page] = g->lru.tail;
}

static void look_ahead(GArray *events, uint32_t nr_pages)
{
    g_autofree size_t *next = g_new(size_t, nr_pages);

    for (uint32_t i = 0; i < nr_pages; i++) {
        next[i] = SIZE_MAX;
    }
    for (size_t i = events->len; i-- > 0; ) {
        Event *event = &g_array_index(events, Event, i);

        event->next_load = next[event->page];
        if (!event->is_store) {
            next[event->page] = i;
        }
    }
}

static GArray *make_events(const Trace *trace)
{
    GArray *events = g_array_new(FALSE, FALSE, sizeof(Event));
    Guest guest = {
        .capacity = MAX((uint64_t)trace->nr_pages * guest_percent / 100, 1),
        .link = g_new0(GList *, trace->nr_pages),
    };

    g_queue_init(&guest.lru);
    for (size_t i = 0; i < trace->touches->len; i++) {
        guest_touch(&guest, g_array_index(trace->touches, uint32_t, i),
                    events);
    }
    g_queue_clear(&guest.lru);
    g_free(guest.link);
    look_ahead(events, trace->nr_pages);
    return events;
}

/* --- The store --- */

/* Per cent of the loads that hit. */
static double replay(const EvictPolicy *policy, const GArray *events,
                     const EvictSetup *setup)
{
    void *self = policy->new(setup);
    size_t loads = 0, hits = 0;

    for (size_t i = 0; i < events->len; i++) {
        const Event *event = &g_array_index(events, Event, i);

        if (event->is_store) {
            policy->store(self, event);
        } else {
            loads++;
            hits += policy->load(self, event);
        }
    }
    policy->free(self);
    return 100.0 * hits / MAX(loads, 1);
}

static void print_table(const GArray *events, const Trace *trace,
                        bool exclusive)
{
    printf("\n%s\n%-20s", exclusive ?
           "Loads remove the page (private pools); hits in per cent of loads" :
           "Loads leave the page (shared pools); hits in per cent of loads",
           "store, % of all pages");
    for (size_t i = 0; i < G_N_ELEMENTS(sizes); i++) {
        printf(" %6d", sizes[i]);
    }
    printf("\n");
    for (size_t p = 0; p < G_N_ELEMENTS(policies); p++) {
        printf("%-20s", policies[p]->name);
        for (size_t i = 0; i < G_N_ELEMENTS(sizes); i++) {
            EvictSetup setup = {
                .capacity = MAX((uint64_t)trace->nr_pages * sizes[i] / 100, 1),
                .nr_pages = trace->nr_pages,
                .exclusive = exclusive,
            };

            printf("  %5.1f", replay(policies[p], events, &setup));
        }
        printf("  %s\n", policies[p]->text);
    }
}

static int usage_error(const char *message)
{
    fprintf(stderr, "tmem-bench: %s; see tmem-bench evict --help\n", message);
    return 2;
}

int bench_main_evict(int argc, char **argv)
{
    g_autoptr(GOptionContext) context = g_option_context_new(NULL);
    g_autoptr(GError) err = NULL;
    size_t loads = 0;
    GArray *events;
    Trace trace;

    g_set_prgname("tmem-bench evict");
    g_option_context_set_summary(context, summary);
    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, &argc, &argv, &err)) {
        return usage_error(err->message);
    }
    if (argc > 1 || !trace_path == !model) {
        return usage_error("give either --trace FILE or --model NAME");
    }
    if (guest_percent < 1 || guest_percent > 99) {
        return usage_error("--guest: give a number from 1 to 99");
    }
    if (!(trace_path ? trace_read(&trace, trace_path, &err) :
                       trace_make(&trace, model, &err))) {
        bench_die("%s", err->message);
    }
    events = make_events(&trace);
    for (size_t i = 0; i < events->len; i++) {
        loads += !g_array_index(events, Event, i).is_store;
    }
    printf("%s: %u touches of %u pages; a guest that caches %d %% of them "
           "loads %zu times\n", trace_path ?: model, trace.touches->len,
           trace.nr_pages, guest_percent, loads);
    print_table(events, &trace, true);
    print_table(events, &trace, false);
    g_array_unref(events);
    trace_free(&trace);
    g_free(trace_path);
    g_free(model);
    return 0;
}
