/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: records and entries damaged in memory
 *
 * The input is a program of stores, loads, invalidations and changes of bytes
 * in records, data and checksums alike, and of bits in entries.  Every load
 * answers the right page or IO, and IO only for a page that was changed; each
 * IO is counted, and the page answers IO from then on, even if the bytes are
 * put right again, until something else happens to it.
 */
#include "fuzz.h"
#include "testpeek.h"

#define PAGES   24

/* What is known of a page. */
typedef struct Page {
    bool held;
    bool changed;           /* bytes of its record were changed, ever */
    bool quarantined;       /* answered IO */
    TestPage sort;
    uint64_t tag;
} Page;

typedef struct World {
    Fixture f;
    Page pages[2 * PAGES];  /* persistent, then ephemeral */
    uint64_t tag;
    uint64_t nr_errors;
} World;

static TmemHandle handle_of(World *w, unsigned i)
{
    /* Neighbours in a node, and pages alone in theirs. */
    return test_handle(i < PAGES ? w->f.persistent : w->f.ephemeral, i % 3,
                       i % 2 ? i * 64 : i);
}

static void store(World *w, unsigned i, unsigned sort)
{
    Page *p = &w->pages[i];
    TmemStatus status = test_store(w->f.ctx, handle_of(w, i), sort, w->tag);

    *p = (Page) {
        .held = status == TMEM_STATUS_OK, .sort = sort, .tag = w->tag++,
    };
}

static void load(World *w, unsigned i, bool take)
{
    uint8_t got[TMEM_PAGE_SIZE], want[TMEM_PAGE_SIZE];
    TmemHandle h = handle_of(w, i);
    Page *p = &w->pages[i];
    uint64_t version;

    switch (tmem_page_load(w->f.ctx, &h, got, &version)) {
    case TMEM_STATUS_OK:
        g_assert_true(p->held && !p->quarantined);
        test_page_make(want, p->sort, p->tag);
        g_assert_cmpmem(got, sizeof(got), want, sizeof(want));
        if (take && i >= PAGES) {
            g_assert_cmpint(tmem_page_take(w->f.ctx, &h, version), ==,
                            TMEM_STATUS_OK);
            p->held = false;
        }
        break;
    case TMEM_STATUS_IO:
        g_assert_true(p->held && p->changed);
        p->quarantined = true;
        w->nr_errors++;
        break;
    case TMEM_STATUS_MISS:
        g_assert_true(!p->held || i >= PAGES);
        p->held = false;
        break;
    default:
        g_assert_not_reached();
    }
}

static void invalidate(World *w, unsigned i)
{
    TmemHandle h = handle_of(w, i);

    g_assert_cmpint(tmem_page_invalidate(w->f.ctx, &h), ==, TMEM_STATUS_OK);
    w->pages[i].held = false;
}

static void invalidate_object(World *w, unsigned i)
{
    TmemHandle h = handle_of(w, i);

    g_assert_cmpint(tmem_object_invalidate(w->f.ctx, &h), ==, TMEM_STATUS_OK);
    for (unsigned j = i % 3 + i / PAGES * PAGES; j < (i / PAGES + 1) * PAGES;
         j += 3) {
        w->pages[j].held = false;
    }
}

/*
 * Changes a byte of the record, the @at-th of checksum and data.  Not of the
 * tag: the slot of a page with a bad one is missing until the client goes.
 */
static void change(World *w, unsigned i, unsigned at, uint8_t by)
{
    TestPeek peek;

    if (!test_peek(w->f.ctx, handle_of(w, i), &peek) || !peek.checksum) {
        return;
    }
    at %= sizeof(*peek.checksum) + peek.len;
    if (at < sizeof(*peek.checksum)) {
        ((uint8_t *)peek.checksum)[at] ^= by;
    } else {
        peek.data[at - sizeof(*peek.checksum)] ^= by;
    }
    w->pages[i].changed |= by;
}

/*
 * Loads while a bit of the entry's place, length or kind is another.  Not into
 * a repeated word, nor in one: those have no checksum.
 */
static void flip(World *w, unsigned i, unsigned bit, bool take)
{
    TmemEntry mask = 1ull << bit % (TMEM_ENTRY_KIND_SHIFT + 3);
    TestPeek peek;

    if (!test_peek(w->f.ctx, handle_of(w, i), &peek) ||
        tmem_entry_kind(*peek.entry ^ mask) == TMEM_KIND_FILL32) {
        return;
    }
    *peek.entry ^= mask;
    w->pages[i].changed = true;
    load(w, i, take);
    if (test_peek(w->f.ctx, handle_of(w, i), &peek)) {
        *peek.entry ^= mask;
    }
}

/* Record @to becomes a copy of record @from, if that fits. */
static void copy(World *w, unsigned from, unsigned to)
{
    TestPeek a, b;

    if (from == to || !test_peek(w->f.ctx, handle_of(w, from), &a) ||
        !test_peek(w->f.ctx, handle_of(w, to), &b) || a.len != b.len ||
        !a.checksum || !b.checksum) {
        return;
    }
    test_copy_record(&a, &b);
    w->pages[to].changed = true;
}

/* Fills the store, so that what is ephemeral goes, damaged or not. */
static void fill(World *w, unsigned nr)
{
    for (unsigned i = 0; i < nr; i++) {
        test_store(w->f.ctx, test_handle(w->f.ephemeral, 100, i),
                   TEST_PAGE_NOISE, i);
    }
}

static void step(World *w, FuzzInput *in)
{
    uint8_t what = fuzz_take(in, 1);
    unsigned i = fuzz_take(in, 1) % (2 * PAGES);

    switch (what & 7) {
    case 0:
    case 1:
        store(w, i, (what >> 3) % TEST_PAGE__MAX);
        break;
    case 2:
        load(w, i, what & 8);
        break;
    case 3:
        invalidate(w, i);
        break;
    case 4:
        if (what >> 3 == 0) {
            invalidate_object(w, i);
        } else if (what >> 3 == 1) {
            fill(w, i * 8);
        } else if (what >> 3 < 8) {
            copy(w, fuzz_take(in, 1) % (2 * PAGES), i);
        } else {
            flip(w, i, fuzz_take(in, 1), false);
        }
        break;
    default: {
        unsigned at = fuzz_take(in, 2);

        change(w, i, at, fuzz_take(in, 1));
        break;
    }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    FuzzInput in = { data, size };
    TmemClientStats stats;
    World w = {};

    fixture_set_up(&w.f, TMEM_STORE_SIZE_MIN, 0);
    while (in.size) {
        step(&w, &in);
    }
    for (unsigned i = 0; i < 2 * PAGES; i++) {
        load(&w, i, false);
    }
    tmem_client_get_stats(w.f.client, &stats);
    g_assert_cmpuint(stats.total.loads_error, ==, w.nr_errors);
    /* Every damage was noticed, so the check finds nothing new. */
    fixture_tear_down(&w.f);
    return 0;
}
