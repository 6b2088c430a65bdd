/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The host's memory pressure: a pipe in the place of the trigger, a file in the
 * place of the totals, and the real thing where there is one
 */
#include <poll.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <unistd.h>

#include "testlib.h"
#include "tmem-store.h"

#define SECOND  1000000000ull

typedef struct Host {
    Fixture f;
    TmemPressureWatch watch;
    int trigger;            /* to write to */
    int totals;
    uint64_t total_us;
    unsigned nr_begun;      /* events; atomic */
    unsigned nr_ended;
    unsigned nr_lost;
    unsigned nr_left;       /* limits */
} Host;

static void note_event(TmemEvent event, TmemClient *client, void *opaque)
{
    Host *h = opaque;

    if (event == TMEM_EVENT_PRESSURE) {
        __atomic_fetch_add(&h->nr_begun, 1, __ATOMIC_RELAXED);
    } else if (event == TMEM_EVENT_PRESSURE_END) {
        __atomic_fetch_add(&h->nr_ended, 1, __ATOMIC_RELAXED);
    } else if (event == TMEM_EVENT_PRESSURE_LOST) {
        __atomic_fetch_add(&h->nr_lost, 1, __ATOMIC_RELAXED);
    } else if (event == TMEM_EVENT_LIMIT_LEFT) {
        __atomic_fetch_add(&h->nr_left, 1, __ATOMIC_RELAXED);
    }
}

static void stall(Host *h, uint64_t us)
{
    g_autofree char *text = NULL;
    gsize len;

    h->total_us += us;
    text = g_strdup_printf("some avg10=1.00 avg60=0.50 avg300=0.10 total=%"
                           G_GUINT64_FORMAT "\nfull avg10=0.00 avg60=0.00 "
                           "avg300=0.00 total=7\n", h->total_us);
    len = strlen(text);
    g_assert_cmpint(pwrite(h->totals, text, len, 0), ==, len);
}

static void fire(Host *h)
{
    g_assert_cmpint(write(h->trigger, "!", 1), ==, 1);
}

static uint64_t ephemeral_pages(Host *h)
{
    return test_stats(h->f.client).total.pages;
}

static TmemStoreStats store_stats(Host *h)
{
    TmemStoreStats stats;

    tmem_store_get_stats(h->f.store, &stats);
    return stats;
}

static void host_set_up(Host *h, const TmemPressure *policy)
{
    g_autofree char *path = NULL;
    int fds[2];

    memset(h, 0, sizeof(*h));
    fixture_set_up(&h->f, 64u << 20, 0);
    tmem_store_set_event_func(h->f.store, note_event, h);
    h->totals = g_file_open_tmp("tmem-psi-XXXXXX", &path, NULL);
    g_assert_cmpint(h->totals, >=, 0);
    g_unlink(path);
    stall(h, 1000);
    g_assert_cmpint(pipe2(fds, O_CLOEXEC), ==, 0);
    h->trigger = fds[1];
    tmem_pressure_open_fds(&h->watch, fds[0], dup(h->totals), policy);
    for (uint64_t i = 0; i < 6000; i++) {
        g_assert_cmpint(test_store(h->f.ctx,
                                   test_handle(h->f.ephemeral, i / 64, i),
                                   TEST_PAGE_NOISE, i), ==, 0);
    }
}

static void host_tear_down(Host *h)
{
    close(h->trigger);
    close(h->totals);
    fixture_tear_down(&h->f);
}

/* It begins with the trigger, goes on while there are stalls, and ends. */
static void test_hysteresis(void)
{
    const TmemPressure policy = { .stall_ms = 100 };
    uint64_t pages, before, now = 5 * SECOND;
    Host h;

    host_set_up(&h, &policy);
    pages = ephemeral_pages(&h);
    g_assert_cmpint(tmem_pressure_step(&h.watch, h.f.store, now), ==, -1);
    g_assert_cmpuint(ephemeral_pages(&h), ==, pages);
    g_assert_cmpuint(h.nr_begun, ==, 0);

    /* A sixteenth at once.  What was before the trigger is of no account. */
    stall(&h, 3600 * 1000000ull);
    fire(&h);
    g_assert_cmpint(tmem_pressure_step(&h.watch, h.f.store, now), >, 0);
    g_assert_cmpuint(h.nr_begun, ==, 1);
    before = pages;
    pages = ephemeral_pages(&h);
    g_assert_cmpuint(pages, <=, before - before / 20);
    g_assert_cmpuint(pages, >=, before - before / 8);

    /* Not again within the second, however often it fires. */
    fire(&h);
    stall(&h, 400000);
    tmem_pressure_step(&h.watch, h.f.store, now + SECOND / 2);
    g_assert_cmpuint(ephemeral_pages(&h), ==, pages);

    /* Half of the threshold keeps it going ... */
    for (int i = 0; i < 3; i++) {
        now += SECOND;
        stall(&h, 50000);
        g_assert_cmpint(tmem_pressure_step(&h.watch, h.f.store, now), >, 0);
        before = pages;
        pages = ephemeral_pages(&h);
        g_assert_cmpuint(pages, <, before);
    }
    g_assert_cmpuint(h.nr_begun, ==, 1);
    g_assert_cmpuint(h.nr_ended, ==, 0);

    /* ... and less ends it. */
    now += SECOND;
    stall(&h, 49999);
    g_assert_cmpint(tmem_pressure_step(&h.watch, h.f.store, now), ==, -1);
    g_assert_cmpuint(ephemeral_pages(&h), ==, pages);
    g_assert_cmpuint(h.nr_ended, ==, 1);

    /* And again. */
    fire(&h);
    tmem_pressure_step(&h.watch, h.f.store, now);
    g_assert_cmpuint(h.nr_begun, ==, 2);
    g_assert_cmpuint(ephemeral_pages(&h), <, pages);
    pages = ephemeral_pages(&h);
    tmem_pressure_step(&h.watch, h.f.store, now + SECOND);
    g_assert_cmpuint(h.nr_ended, ==, 2);
    g_assert_cmpuint(ephemeral_pages(&h), ==, pages);
    fire(&h);
    tmem_pressure_step(&h.watch, h.f.store, now + 2 * SECOND);
    tmem_pressure_end(&h.watch, h.f.store);
    g_assert_cmpuint(h.nr_ended, ==, 3);
    host_tear_down(&h);
}

/* How often that was, and how much went, is counted: of pressure alone. */
static void test_counted(void)
{
    const TmemPressure policy = { .stall_ms = 100 };
    uint64_t before, given = 0, now = 5 * SECOND;
    Host h;

    host_set_up(&h, &policy);
    tmem_client_evict(h.f.client, 1 << 20);
    g_assert_cmpuint(store_stats(&h).pressure_times, ==, 0);
    g_assert_cmpuint(store_stats(&h).pressure_bytes, ==, 0);
    for (int i = 0; i < 4; i++) {
        /* Begins, goes on, goes on without stalls, begins again. */
        if (i % 3 == 0) {
            fire(&h);
        }
        before = store_stats(&h).used_bytes;
        stall(&h, i == 1 ? 60000 : 0);
        tmem_pressure_step(&h.watch, h.f.store, now);
        now += SECOND;
        given += before - store_stats(&h).used_bytes;
        g_assert_cmpuint(store_stats(&h).pressure_bytes, ==, given);
        g_assert_cmpuint(store_stats(&h).pressure_times, ==, i < 3 ? 1 : 2);
    }
    g_assert_cmpuint(given, >, 0);
    tmem_pressure_close(&h.watch);
    host_tear_down(&h);
}

/* What is unused goes before any page, and is counted as well. */
static void test_idle_first(void)
{
    const TmemPressure policy = { .stall_ms = 100 };
    uint64_t used, pages;
    Host h;

    host_set_up(&h, &policy);
    for (uint64_t i = 0; i < 16; i++) {
        TmemHandle object = test_handle(h.f.ephemeral, i, 0);

        g_assert_cmpint(tmem_object_invalidate(h.f.ctx, &object), ==,
                        TMEM_STATUS_OK);
    }
    g_assert_cmpuint(h.f.store->arena.nr_idle, >, 0);
    /* One step is wanted, so it is no more than one idle segment. */
    h.watch.floor_bytes = h.f.store->arena.ephemeral_bytes - (4 << 10);
    used = store_stats(&h).used_bytes;
    pages = ephemeral_pages(&h);
    fire(&h);
    tmem_pressure_step(&h.watch, h.f.store, SECOND);
    g_assert_cmpuint(store_stats(&h).used_bytes, <, used);
    g_assert_cmpuint(store_stats(&h).pressure_bytes, ==,
                     used - store_stats(&h).used_bytes);
    g_assert_cmpuint(ephemeral_pages(&h), ==, pages);
    tmem_pressure_close(&h.watch);
    host_tear_down(&h);
}

/* Nothing is taken below the floor, nor from persistent pools. */
static void test_floor(void)
{
    const uint64_t segment = 128 << 10;
    TmemPressure policy = { .stall_ms = 10, .floor_bytes = 16u << 20 };
    uint64_t now = SECOND, bytes = 0;
    TmemClientStats stats;
    Host h;

    host_set_up(&h, &policy);
    g_assert_cmpint(test_store(h.f.ctx, test_handle(h.f.persistent, 1, 1),
                               TEST_PAGE_NOISE, 1), ==, 0);
    for (int i = 0; i < 60; i++) {
        fire(&h);
        stall(&h, 900000);
        tmem_pressure_step(&h.watch, h.f.store, now);
        now += SECOND;
    }
    tmem_client_get_stats(h.f.client, &stats);
    bytes = stats.total.data_bytes + stats.total.index_bytes;
    g_assert_cmpuint(bytes, >=, policy.floor_bytes - 4 * segment);
    g_assert_cmpuint(bytes, <=, policy.floor_bytes + segment);
    g_assert_cmpuint(h.nr_begun, ==, 1);
    test_expect_page(h.f.ctx, test_handle(h.f.persistent, 1, 1),
                     TEST_PAGE_NOISE, 1);
    tmem_pressure_close(&h.watch);
    host_tear_down(&h);
}

/* A floor that is nearer than a sixteenth is where it ends, at once. */
static void test_near_floor(void)
{
    TmemPressure policy = { .stall_ms = 10 };
    TmemArena *arena;
    uint64_t segment;
    Host h;

    host_set_up(&h, &policy);
    arena = &h.f.store->arena;
    segment = 1ull << arena->segment_shift;
    h.watch.floor_bytes = arena->ephemeral_bytes - 2 * segment;
    g_assert_cmpuint(arena->ephemeral_bytes / 16, >, 8 * segment);
    fire(&h);
    tmem_pressure_step(&h.watch, h.f.store, SECOND);
    g_assert_cmpuint(arena->ephemeral_bytes, <=, h.watch.floor_bytes);
    g_assert_cmpuint(arena->ephemeral_bytes + 2 * segment, >=,
                     h.watch.floor_bytes);
    tmem_pressure_close(&h.watch);
    host_tear_down(&h);
}

/* A client that was at its limit hears that it has left it. */
static void test_told(void)
{
    const TmemPressure policy = { .stall_ms = 10 };
    Host h;

    host_set_up(&h, &policy);
    g_assert_true(tmem_client_set_limits(h.f.client, &(TmemLimits) {
        .max_bytes = tmem_heap_bytes(&h.f.client->heap),
    }, NULL));
    h.f.client->is_at_limit = true;
    fire(&h);
    tmem_pressure_step(&h.watch, h.f.store, SECOND);
    g_assert_cmpuint(h.nr_left, ==, 1);
    tmem_pressure_close(&h.watch);
    host_tear_down(&h);
}

/* Totals that cannot be read end it: nobody is known to stall. */
static void test_bad_totals(void)
{
    const TmemPressure policy = { .stall_ms = 10 };
    uint64_t pages;
    Host h;

    host_set_up(&h, &policy);
    fire(&h);
    tmem_pressure_step(&h.watch, h.f.store, SECOND);
    pages = ephemeral_pages(&h);
    g_assert_cmpint(ftruncate(h.totals, 0), ==, 0);
    tmem_pressure_step(&h.watch, h.f.store, 2 * SECOND);
    g_assert_cmpuint(h.nr_ended, ==, 1);
    g_assert_cmpuint(ephemeral_pages(&h), ==, pages);
    tmem_pressure_close(&h.watch);
    host_tear_down(&h);
}

/*
 * A trigger that is gone never fires, and does not keep anyone busy; it is
 * counted and said, and opened again when it can be.
 */
static void test_trigger_gone(void)
{
    const TmemPressure policy = { .stall_ms = 10 };
    g_autofree char *dir = g_dir_make_tmp("tmem-psi-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(dir, "memory", NULL);
    uint64_t second;
    Host h;

    host_set_up(&h, &policy);
    h.watch.path = path;
    close(h.trigger);
    h.trigger = -1;
    for (second = 1; second < 30; second++) {
        int ms = tmem_pressure_step(&h.watch, h.f.store, second * SECOND);

        g_assert_cmpint(ms, >, 0);
        g_assert_cmpint(ms, <=, 10001);
    }
    g_assert_cmpint(h.watch.trigger_events, ==, 0);
    g_assert_cmpuint(h.nr_lost, ==, 1);
    g_assert_cmpuint(store_stats(&h).pressure_lost, ==, 1);

    g_assert_true(g_file_set_contents(path, "", 0, NULL));
    for (; second < 60; second++) {
        tmem_pressure_step(&h.watch, h.f.store, second * SECOND);
    }
    g_assert_cmpint(h.watch.trigger_events, !=, 0);
    g_assert_cmpuint(h.watch.stall_us, ==, 10000);
    g_assert_cmpint(tmem_pressure_step(&h.watch, h.f.store, second * SECOND),
                    ==, -1);

    /* The next time is counted, and not said again. */
    tmem_pressure_polled(&h.watch, POLLERR);
    tmem_pressure_step(&h.watch, h.f.store, second * SECOND);
    g_assert_cmpuint(store_stats(&h).pressure_lost, ==, 2);
    g_assert_cmpuint(h.nr_lost, ==, 1);
    tmem_pressure_close(&h.watch);
    host_tear_down(&h);
    g_unlink(path);
    g_rmdir(dir);
}

/* The store's own thread does all this. */
static void test_thread(void)
{
    const TmemPressure policy = { .stall_ms = 10 };
    GError *err = NULL;
    TmemPolicy all;
    uint64_t pages;
    Host h;

    host_set_up(&h, &policy);
    pages = ephemeral_pages(&h);
    tmem_upkeep_by_hand(false);
    tmem_store_get_policy(h.f.store, &all);
    all.upkeep.compact = true;
    tmem_store_set_policy(h.f.store, &all, &err);
    g_assert_no_error(err);
    tmem_upkeep_set_watch(h.f.store, &h.watch);
    fire(&h);
    /* A second and a bit, on a machine that is not too busy. */
    for (int i = 0; i < 6000 &&
         !__atomic_load_n(&h.nr_ended, __ATOMIC_RELAXED); i++) {
        g_usleep(10000);
    }
    g_assert_cmpuint(__atomic_load_n(&h.nr_begun, __ATOMIC_RELAXED), ==, 1);
    g_assert_cmpuint(__atomic_load_n(&h.nr_ended, __ATOMIC_RELAXED), ==, 1);
    g_assert_cmpuint(ephemeral_pages(&h), <, pages);
    host_tear_down(&h);
}

/* Another codec is no reason to forget that the host is short. */
static void test_other_policy(void)
{
    const TmemPressure policy = { .stall_ms = 10 };
    g_autoptr(GError) err = NULL;
    TmemUpkeeper *u;
    TmemPolicy all;
    Host h;

    host_set_up(&h, &policy);
    u = &h.f.store->upkeep;
    tmem_upkeep_set_watch(h.f.store, &h.watch);
    tmem_store_get_policy(h.f.store, &all);
    all.codec.compressor = TMEM_COMPRESSOR_NONE;
    tmem_store_set_policy(h.f.store, &all, &err);
    g_assert_no_error(err);
    /* No thread took it yet. */
    g_assert_true(u->has_new_watch);
    g_assert_cmpint(u->new_watch.trigger, ==, h.watch.trigger);
    host_tear_down(&h);
}

/* --- The kernel's --- */

static void test_real(void)
{
    const TmemPressure policy = { .stall_ms = 999 };
    g_autoptr(GError) err = NULL;
    TmemPressureWatch w;
    Fixture f;

    if (!tmem_pressure_open(&w, TMEM_PRESSURE_PATH, &policy, &err)) {
        g_test_skip(err->message);
        return;
    }
    fixture_set_up(&f, FIXTURE_SIZE, 0);
    /* With its totals readable, it goes through all states. */
    w.fired = true;
    g_assert_cmpint(tmem_pressure_step(&w, f.store, SECOND), >, 0);
    g_assert_true(w.active);
    w.total_us--;
    g_assert_cmpint(tmem_pressure_step(&w, f.store, 2 * SECOND), ==, -1);
    g_assert_false(w.active);
    g_assert_cmpint(w.trigger_events, !=, 0);
    tmem_pressure_close(&w);
    fixture_tear_down(&f);
}

/* A host without it: one sentence, and nothing changed. */
static void test_none(void)
{
    const TmemPressure policy = { .stall_ms = 10 };
    g_autoptr(GError) err = NULL;
    TmemPressureWatch w;

    g_assert_false(tmem_pressure_open(&w, "/nonexistent/pressure", &policy,
                                      &err));
    g_assert_nonnull(strstr(err->message, "/nonexistent/pressure"));
    g_assert_nonnull(strstr(err->message, "PSI"));
    g_assert_null(strchr(err->message, '\n'));
    g_assert_cmpint(w.trigger, ==, -1);
    /* And closing what never opened does nothing. */
    tmem_pressure_close(&w);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/tmem/pressure/hysteresis", test_hysteresis);
    g_test_add_func("/tmem/pressure/counted", test_counted);
    g_test_add_func("/tmem/pressure/idle-first", test_idle_first);
    g_test_add_func("/tmem/pressure/floor", test_floor);
    g_test_add_func("/tmem/pressure/floor/near", test_near_floor);
    g_test_add_func("/tmem/pressure/told", test_told);
    g_test_add_func("/tmem/pressure/bad-totals", test_bad_totals);
    g_test_add_func("/tmem/pressure/trigger-gone", test_trigger_gone);
    g_test_add_func("/tmem/pressure/thread", test_thread);
    g_test_add_func("/tmem/pressure/other-policy", test_other_policy);
    g_test_add_func("/tmem/pressure/real", test_real);
    g_test_add_func("/tmem/pressure/none", test_none);
    return g_test_run();
}
