/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: what a store does in the background
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "tmem-compact.h"
#include "tmem-error.h"
#include "tmem-fault.h"
#include "tmem-policy.h"
#include "tmem-store.h"
#include "tmem-upkeep.h"

#define MS_NS           1000000ull
#define SECOND_NS       1000000000ull

/* CPU time of one step of the thread, before it rests. */
#define STEP_NS         MS_NS

/* Buckets between two looks at the clock, where no page is compressed. */
#define BUCKETS_AT_ONCE 32
/* The same where all pages of a bucket may move. */
#define MOVED_AT_ONCE   8

/*
 * How often it is looked whether compaction is worth it, while passes empty
 * what they are made for, ...
 */
#define COMPACT_NS      (2 * SECOND_NS)
/* ... and whether there is memory for pages that could be smaller. */
#define RETRY_NS        (5 * SECOND_NS)

/* --- Steps --- */

static uint64_t clock_ns(clockid_t id)
{
    struct timespec ts;

    clock_gettime(id, &ts);
    return ts.tv_sec * SECOND_NS + ts.tv_nsec;
}

/* Read at any time. */
static void count_up(uint64_t *counter, uint64_t nr)
{
    __atomic_fetch_add(counter, nr, __ATOMIC_RELAXED);
}

static void walk_begin(TmemWalk *walk)
{
    *walk = (TmemWalk) { .active = true };
}

/* Goes on from a bucket that was there or not, through @nr_shards of them. */
static void walk_on(TmemWalk *walk, uint32_t nr_shards, bool exists)
{
    if (exists) {
        walk->bucket++;
    } else {
        walk->bucket = 0;
        walk->active = ++walk->shard < nr_shards;
    }
}

/*
 * A table that grows or shrinks meanwhile moves nodes to its end or away from
 * it: some are met twice, which does nothing, and some only by the next walk.
 */
static bool recompress_next(TmemUpkeeper *u, TmemWalk *walk)
{
    TmemStore *store = u->store;

    TmemRecompressStep step = tmem_recompress_some(
        &u->recompress, &store->index.shards[walk->shard], walk->bucket);

    if (step != TMEM_RECOMPRESS_ON) {
        walk_on(walk, store->index.nr_shards, step == TMEM_RECOMPRESS_BUCKET);
    }
    return walk->active;
}

/* One page, or a few buckets without any to be compressed. */
static bool recompress_some(TmemUpkeeper *u, TmemWalk *walk)
{
    uint64_t nr_tried = u->recompress.nr_tried;

    for (int i = 0; i < BUCKETS_AT_ONCE && nr_tried == u->recompress.nr_tried;
         i++) {
        if (!recompress_next(u, walk)) {
            return false;
        }
    }
    return true;
}

static bool compact_next(TmemUpkeeper *u, TmemWalk *walk)
{
    TmemStore *store = u->store;
    uint32_t nr_shards = store->index.nr_shards;
    bool exists;

    if (walk->shard < nr_shards) {
        exists = tmem_compact_bucket(store, &store->index.shards[walk->shard],
                                     walk->bucket);
    } else {
        exists = tmem_compact_contents(store, walk->shard - nr_shards,
                                       walk->bucket);
    }
    walk_on(walk, exists ? nr_shards : tmem_compact_nr_shards(store), exists);
    return walk->active;
}

static void move_some(TmemUpkeeper *u)
{
    for (int i = 0; i < MOVED_AT_ONCE; i++) {
        if (!compact_next(u, &u->compacting)) {
            tmem_compact_end(&u->compact);
            count_up(&u->counters.compact_passes, 1);
            return;
        }
    }
}

static void compact_some(TmemUpkeeper *u, uint64_t now_ns)
{
    if (u->compact.phase == TMEM_COMPACT_MOVING) {
        move_some(u);
        return;
    }
    tmem_compact_slice(&u->compact, u->store);
    if (u->compact.phase == TMEM_COMPACT_MOVING) {
        walk_begin(&u->compacting);
    } else if (u->compact.phase == TMEM_COMPACT_IDLE) {
        u->compacting_next_ns = now_ns +
                                (COMPACT_NS << u->compact.nr_fruitless);
    }
}

/* From the end of a pass, so that no page sees two passes too soon. */
static uint64_t aging_due(const TmemUpkeeper *u, uint64_t now_ns)
{
    return now_ns + (u->idle_ns + 1) / 2;
}

/* The pages that the pass came to are older already, as if it had ended. */
static void cancel_aging(TmemUpkeeper *u, uint64_t now_ns)
{
    if (u->aging.active && u->recompress.mode != TMEM_RECOMPRESS_RETRY) {
        u->aging_next_ns = aging_due(u, now_ns);
    }
    u->aging.active = false;
}

/* What the policy says now: @idle_ns may have changed since the last step. */
static void set_idle(TmemUpkeeper *u, uint64_t idle_ns, uint64_t now_ns)
{
    if (!idle_ns) {
        cancel_aging(u, now_ns);
        return;
    }
    if (idle_ns > u->idle_ns) {
        /* Ages so far are of passes that were nearer to each other. */
        u->aging.active = false;
        u->ages_restart = true;
        u->retry_next_ns = UINT64_MAX;
    }
    if (idle_ns != u->idle_ns) {
        u->idle_ns = idle_ns;
        u->aging_next_ns = MIN(u->aging_next_ns, aging_due(u, now_ns));
    }
}

static void end_aging(TmemUpkeeper *u, uint64_t now_ns)
{
    const TmemRecompress *r = &u->recompress;

    count_up(&u->counters.recompress_passes, 1);
    count_up(&u->counters.recompress_starved, r->nr_starved);
    if (r->mode != TMEM_RECOMPRESS_RETRY) {
        u->aging_next_ns = aging_due(u, now_ns);
        u->ages_restart = false;
    }
    u->retry_next_ns = r->nr_starved ? now_ns + RETRY_NS : UINT64_MAX;
}

static void age_some(TmemUpkeeper *u, uint64_t now_ns)
{
    if (!recompress_some(u, &u->aging)) {
        end_aging(u, now_ns);
    }
}

static void begin_aging(TmemUpkeeper *u, int level, uint64_t now_ns)
{
    bool due = now_ns >= u->aging_next_ns;

    if (!due && now_ns < u->retry_next_ns) {
        return;
    }
    if (tmem_recompress_begin(&u->recompress, u->store, level,
                              !due ? TMEM_RECOMPRESS_RETRY :
                              u->ages_restart ? TMEM_RECOMPRESS_RESTART :
                                                TMEM_RECOMPRESS_AGING)) {
        walk_begin(&u->aging);
    } else {
        u->aging_next_ns = now_ns + SECOND_NS;
    }
}

/* Begins what is due. */
static void begin_passes(TmemUpkeeper *u, const TmemPolicy *policy,
                         uint64_t now_ns)
{
    const TmemUpkeep *upkeep = &policy->upkeep;

    if (!u->compact.phase && upkeep->compact &&
        now_ns >= u->compacting_next_ns) {
        tmem_compact_begin(&u->compact, u->store);
    }
    if (!u->aging.active && !u->is_at_once && upkeep->recompress_idle_seconds) {
        begin_aging(u, tmem_policy_recompress_level(policy), now_ns);
    }
}

/* A piece of work, if there is any.  Returns whether there is more. */
static bool work(TmemUpkeeper *u, const TmemPolicy *policy, uint64_t now_ns)
{
    uint64_t idle_ns = policy->upkeep.recompress_idle_seconds * SECOND_NS;

    if (!u->is_at_once) {
        set_idle(u, idle_ns, now_ns);
    }
    begin_passes(u, policy, now_ns);
    /* Turn by turn: neither waits for the end of the other. */
    u->compacting_turn = !u->compacting_turn || !u->aging.active;
    if (u->compact.phase && u->compacting_turn) {
        compact_some(u, now_ns);
    } else if (u->aging.active) {
        age_some(u, now_ns);
    }
    return u->compact.phase || u->aging.active;
}

bool tmem_upkeep_step(TmemStore *store, uint64_t now_ns, uint64_t cpu_ns)
{
    TmemUpkeeper *u = &store->upkeep;
    uint64_t start, used;
    TmemPolicy policy;
    bool more;

    tmem_assert_unlocked();
    tmem_store_get_policy(store, &policy);
    tmem_upkeep_pause(store);
    u->step_ns = now_ns;
    start = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    do {
        more = work(u, &policy, now_ns);
        used = clock_ns(CLOCK_THREAD_CPUTIME_ID) - start;
    } while (more && used < cpu_ns);
    count_up(&u->counters.upkeep_cpu_ns, used);
    tmem_event_freed_any(store);
    tmem_upkeep_resume(store);
    return more;
}

void tmem_upkeep_pause(TmemStore *store)
{
    TmemUpkeeper *u = &store->upkeep;

    tmem_assert_unlocked();
    pthread_mutex_lock(&u->next);
    pthread_mutex_lock(&u->busy);
    pthread_mutex_unlock(&u->next);
}

void tmem_upkeep_resume(TmemStore *store)
{
    pthread_mutex_unlock(&store->upkeep.busy);
}

void tmem_upkeep_tell_freed(TmemStore *store)
{
    tmem_upkeep_pause(store);
    tmem_event_freed_any(store);
    tmem_upkeep_resume(store);
}

/* --- All of it now --- */

/* Busy, but for the turns of others after each page. */
static uint64_t recompress_all(TmemUpkeeper *u)
{
    TmemWalk walk;

    u->is_at_once = true;
    walk_begin(&walk);
    while (recompress_some(u, &walk)) {
        tmem_upkeep_resume(u->store);
        tmem_upkeep_pause(u->store);
    }
    u->is_at_once = false;
    count_up(&u->counters.recompress_passes, 1);
    count_up(&u->counters.recompress_starved, u->recompress.nr_starved);
    return u->recompress.nr_smaller;
}

uint64_t tmem_store_recompress(TmemStore *store)
{
    TmemUpkeeper *u = &store->upkeep;
    uint64_t nr = 0, start;
    TmemPolicy policy;

    tmem_store_get_policy(store, &policy);
    pthread_mutex_lock(&u->at_once);
    tmem_upkeep_pause(store);
    start = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    /* Its marks on nodes are those of another pass from here on. */
    cancel_aging(u, u->step_ns);
    if (tmem_recompress_begin(&u->recompress, store,
                              tmem_policy_recompress_level(&policy),
                              TMEM_RECOMPRESS_AT_ONCE)) {
        nr = recompress_all(u);
    }
    count_up(&u->counters.upkeep_cpu_ns,
             clock_ns(CLOCK_THREAD_CPUTIME_ID) - start);
    tmem_event_freed_any(store);
    tmem_upkeep_resume(store);
    pthread_mutex_unlock(&u->at_once);
    return nr;
}

/* --- The thread --- */

/* Returns whether the thread is to end. */
static bool take_orders(TmemUpkeeper *u)
{
    TmemPressureWatch old = { .trigger = -1 };
    bool stop;

    pthread_mutex_lock(&u->mutex);
    if (u->has_new_watch) {
        old = u->watch;
        u->watch = u->new_watch;
        u->new_watch.trigger = -1;
        u->has_new_watch = false;
    }
    stop = u->stop;
    pthread_mutex_unlock(&u->mutex);
    tmem_pressure_end(&old, u->store);
    return stop;
}

/* Sleeps until @ms have passed, someone wakes it, or the host is short. */
static void rest(TmemUpkeeper *u, int ms)
{
    struct pollfd fds[] = {
        { .fd = u->wake_fd, .events = POLLIN },
        { .fd = u->watch.trigger_events ? u->watch.trigger : -1,
          .events = u->watch.trigger_events },
    };
    uint64_t count;

    if (poll(fds, G_N_ELEMENTS(fds), ms) > 0 && fds[0].revents) {
        /* Only empties it: why it was woken is seen elsewhere. */
        (void)!read(u->wake_fd, &count, sizeof(count));
    }
    tmem_pressure_polled(&u->watch, fds[1].revents);
}

static int ms_until(uint64_t then_ns, uint64_t now_ns)
{
    return then_ns <= now_ns ? 0 : MIN((then_ns - now_ns) / MS_NS + 1, 1000);
}

/* When the thread has rested long enough after @used_ns of CPU time. */
static uint64_t rest_until(TmemStore *store, uint64_t now_ns, uint64_t used_ns)
{
    TmemPolicy policy;

    tmem_store_get_policy(store, &policy);
    return now_ns + used_ns * (100 - policy.upkeep.cpu_percent) /
                    policy.upkeep.cpu_percent;
}

static void *run(void *opaque)
{
    TmemUpkeeper *u = opaque;
    uint64_t next_ns = 0;

    while (!take_orders(u)) {
        uint64_t now_ns = clock_ns(CLOCK_MONOTONIC);
        int pressure_ms = tmem_pressure_step(&u->watch, u->store, now_ns);
        int ms;

        if (now_ns >= next_ns) {
            uint64_t start = clock_ns(CLOCK_THREAD_CPUTIME_ID);
            bool more = tmem_upkeep_step(u->store, now_ns, STEP_NS);

            now_ns = clock_ns(CLOCK_MONOTONIC);
            next_ns = more ? rest_until(u->store, now_ns,
                clock_ns(CLOCK_THREAD_CPUTIME_ID) - start) :
                now_ns + SECOND_NS;
        }
        ms = ms_until(next_ns, now_ns);
        rest(u, pressure_ms < 0 ? ms : MIN(ms, pressure_ms));
    }
    return NULL;
}

/* --- Start and end --- */

#ifdef TMEM_DEBUG
static bool by_hand;

void tmem_upkeep_by_hand(bool on)
{
    by_hand = on;
}
#else
#define by_hand false
#endif

void tmem_upkeep_init(TmemStore *store)
{
    TmemUpkeeper *u = &store->upkeep;

    u->store = store;
    u->wake_fd = -1;
    u->watch.trigger = u->new_watch.trigger = -1;
    u->retry_next_ns = UINT64_MAX;
    pthread_mutex_init(&u->policy, NULL);
    pthread_mutex_init(&u->at_once, NULL);
    pthread_mutex_init(&u->next, NULL);
    pthread_mutex_init(&u->busy, NULL);
    pthread_mutex_init(&u->mutex, NULL);
}

void tmem_upkeep_lock_policy(TmemStore *store)
{
    tmem_assert_unlocked();
    pthread_mutex_lock(&store->upkeep.policy);
}

void tmem_upkeep_unlock_policy(TmemStore *store)
{
    pthread_mutex_unlock(&store->upkeep.policy);
}

static bool wanted(const TmemPolicy *policy)
{
    return policy->upkeep.compact || policy->upkeep.recompress_idle_seconds ||
           policy->pressure.stall_ms;
}

/* The mutex is held.  Signals are for the threads of the program. */
static int start_thread(TmemUpkeeper *u)
{
    sigset_t all, old;
    int err;

    if (TMEM_FAULT("upkeep-thread")) {
        return -EAGAIN;
    }
    u->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (u->wake_fd < 0) {
        return -errno;
    }
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    err = pthread_create(&u->thread, NULL, run, u);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (err) {
        close(u->wake_fd);
        u->wake_fd = -1;
        return -err;
    }
    pthread_setname_np(u->thread, "tmem-upkeep");
    u->started = true;
    return 0;
}

bool tmem_upkeep_start(TmemStore *store, const TmemPolicy *policy,
                       GError **errp)
{
    TmemUpkeeper *u = &store->upkeep;
    int err = 0;

    if (by_hand || !wanted(policy)) {
        return true;
    }
    pthread_mutex_lock(&u->mutex);
    if (!u->started) {
        err = start_thread(u);
    }
    pthread_mutex_unlock(&u->mutex);
    return !err || tmem_error_set(errp, "cannot start the store's upkeep "
                                  "thread: %s", strerror(-err));
}

void tmem_upkeep_wake(TmemStore *store)
{
    TmemUpkeeper *u = &store->upkeep;
    uint64_t one = 1;

    pthread_mutex_lock(&u->mutex);
    if (u->started) {
        /* Cannot fail but for being awake already. */
        (void)!write(u->wake_fd, &one, sizeof(one));
    }
    pthread_mutex_unlock(&u->mutex);
}

void tmem_upkeep_set_watch(TmemStore *store, const TmemPressureWatch *watch)
{
    TmemUpkeeper *u = &store->upkeep;

    pthread_mutex_lock(&u->mutex);
    if (u->has_new_watch) {
        tmem_pressure_close(&u->new_watch);
    }
    u->new_watch = *watch;
    u->has_new_watch = true;
    pthread_mutex_unlock(&u->mutex);
    tmem_upkeep_wake(store);
}

/* A watch that goes on knows how short the host is; a new one does not. */
static bool is_watched(TmemUpkeeper *u, const TmemPressure *pressure)
{
    bool same;

    pthread_mutex_lock(&u->mutex);
    same = u->pressure.stall_ms == pressure->stall_ms &&
           u->pressure.floor_bytes == pressure->floor_bytes;
    pthread_mutex_unlock(&u->mutex);
    return same;
}

static void watch_policy(TmemUpkeeper *u, const TmemPressure *pressure,
                         const TmemPressureWatch *watch)
{
    pthread_mutex_lock(&u->mutex);
    u->pressure = *pressure;
    pthread_mutex_unlock(&u->mutex);
    tmem_upkeep_set_watch(u->store, watch);
}

bool tmem_upkeep_set_policy(TmemStore *store, const TmemPolicy *policy,
                            GError **errp)
{
    TmemPressureWatch watch = { .trigger = -1 };
    bool is_new = !is_watched(&store->upkeep, &policy->pressure);

    if (is_new && policy->pressure.stall_ms &&
        !tmem_pressure_open(&watch, TMEM_PRESSURE_PATH, &policy->pressure,
                            errp)) {
        return false;
    }
    /* Without a client there is nothing to keep up. */
    if (__atomic_load_n(&store->nr_clients, __ATOMIC_RELAXED) &&
        !tmem_upkeep_start(store, policy, errp)) {
        tmem_pressure_close(&watch);
        return false;
    }
    if (is_new) {
        watch_policy(&store->upkeep, &policy->pressure, &watch);
    }
    /* Pages get smaller one by one: the first needs a place to go. */
    tmem_arena_set_reserve(&store->arena,
                           policy->upkeep.recompress_idle_seconds > 0);
    return true;
}

void tmem_upkeep_destroy(TmemStore *store)
{
    TmemUpkeeper *u = &store->upkeep;

    pthread_mutex_lock(&u->mutex);
    u->stop = true;
    pthread_mutex_unlock(&u->mutex);
    tmem_upkeep_wake(store);
    if (u->started) {
        pthread_join(u->thread, NULL);
        close(u->wake_fd);
    }
    tmem_pressure_close(&u->watch);
    tmem_pressure_close(&u->new_watch);
    tmem_recompress_destroy(&u->recompress);
    pthread_mutex_destroy(&u->busy);
    pthread_mutex_destroy(&u->next);
    pthread_mutex_destroy(&u->at_once);
    pthread_mutex_destroy(&u->policy);
    pthread_mutex_destroy(&u->mutex);
}
