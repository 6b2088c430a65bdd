/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: giving ephemeral memory back while the host is short of it
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tmem-error.h"
#include "tmem-fault.h"
#include "tmem-pressure.h"
#include "tmem-store.h"

#define SECOND_NS       1000000000ull
#define SECOND_US       1000000ull
#define EVICT_FRACTION  16

/* How often a trigger that ended is opened again. */
#define RETRY_NS        (10 * SECOND_NS)

/* --- The source --- */

static bool arm(int fd, uint64_t stall_us, uint64_t window_us)
{
    char text[64];
    int len = snprintf(text, sizeof(text), "some %" G_GUINT64_FORMAT " %"
                       G_GUINT64_FORMAT, stall_us, window_us);

    /* The kernel wants the terminating 0 too. */
    return write(fd, text, len + 1) == len + 1;
}

/*
 * Without CAP_SYS_RESOURCE the window must be a multiple of two seconds, so
 * that the kernel can average over what it computes anyway.
 */
static bool arm_any(int fd, uint64_t stall_us)
{
    return arm(fd, stall_us, SECOND_US) ||
           arm(fd, 2 * stall_us, 2 * SECOND_US);
}

void tmem_pressure_open_fds(TmemPressureWatch *w, int trigger, int totals,
                            const TmemPressure *policy)
{
    *w = (TmemPressureWatch) {
        .trigger = trigger,
        .trigger_events = POLLIN,
        .totals = totals,
        .stall_us = policy->stall_ms * 1000ull,
        .floor_bytes = policy->floor_bytes,
    };
}

bool tmem_pressure_open(TmemPressureWatch *w, const char *path,
                        const TmemPressure *policy, GError **errp)
{
    int fd = TMEM_FAULT("pressure-open") ? -1 :
             open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);

    if (fd < 0 || !arm_any(fd, policy->stall_ms * 1000ull)) {
        int saved = errno;

        if (fd >= 0) {
            close(fd);
        }
        w->trigger = -1;
        return tmem_error_set(errp, "cannot watch the host's memory pressure "
                              "at %s: %s; this needs Linux with PSI (boot "
                              "option psi=1) and the right to write there, or "
                              "a pressure threshold of 0", path,
                              strerror(saved));
    }
    tmem_pressure_open_fds(w, fd, fd, policy);
    w->path = path;
    w->trigger_events = POLLPRI;
    return true;
}

void tmem_pressure_close(TmemPressureWatch *w)
{
    if (w->trigger >= 0) {
        close(w->trigger);
        if (w->totals != w->trigger) {
            close(w->totals);
        }
        w->trigger = -1;
    }
}

void tmem_pressure_polled(TmemPressureWatch *w, short revents)
{
    char drain[64];

    if (revents & (POLLERR | POLLHUP | POLLNVAL)) {
        /* It will never fire again, and would be ready all the time. */
        w->trigger_events = 0;
    } else if (revents & w->trigger_events) {
        /* PSI clears its event when polled; others are to be emptied. */
        w->fired = w->trigger_events != POLLIN ||
                   read(w->trigger, drain, sizeof(drain)) > 0;
    }
}

static bool fired(TmemPressureWatch *w)
{
    struct pollfd p = { .fd = w->trigger, .events = w->trigger_events };
    bool now;

    if (w->trigger_events && poll(&p, 1, 0) > 0) {
        tmem_pressure_polled(w, p.revents);
    }
    now = w->fired;
    w->fired = false;
    return now;
}

/* The time that some task was stalled since the host started. */
static bool read_total(TmemPressureWatch *w, uint64_t *total_us)
{
    char text[256];
    ssize_t len = pread(w->totals, text, sizeof(text) - 1, 0);
    const char *at;

    if (len <= 0) {
        return false;
    }
    text[len] = 0;
    at = strstr(text, "total=");
    if (!g_str_has_prefix(text, "some ") || !at) {
        return false;
    }
    *total_us = g_ascii_strtoull(at + strlen("total="), NULL, 10);
    return true;
}

/* --- What is done --- */

static uint64_t ephemeral_bytes(TmemArena *arena)
{
    uint64_t bytes;

    tmem_lock(&arena->lock);
    bytes = arena->ephemeral_bytes;
    tmem_unlock(&arena->lock);
    return bytes;
}

/* What lies idle goes first, and counts: to the host it is memory as well. */
static void evict_some(TmemPressureWatch *w, TmemStore *store)
{
    uint64_t bytes = ephemeral_bytes(&store->arena), returned;

    if (bytes > w->floor_bytes) {
        returned = tmem_evict_bytes(store, NULL,
                                    MIN(bytes / EVICT_FRACTION + 1,
                                        bytes - w->floor_bytes), false);
        __atomic_fetch_add(&store->upkeep.counters.pressure_bytes, returned,
                           __ATOMIC_RELAXED);
        tmem_upkeep_tell_freed(store);
    }
}

static void set_active(TmemPressureWatch *w, TmemStore *store, bool active)
{
    w->active = active;
    if (active) {
        __atomic_fetch_add(&store->upkeep.counters.pressure_times, 1,
                           __ATOMIC_RELAXED);
    }
    tmem_event_emit(store, active ? TMEM_EVENT_PRESSURE :
                                     TMEM_EVENT_PRESSURE_END, NULL);
}

void tmem_pressure_end(TmemPressureWatch *w, TmemStore *store)
{
    if (w->trigger >= 0 && w->active) {
        set_active(w, store, false);
    }
    tmem_pressure_close(w);
}

/* A second of pressure has passed. */
static void reconsider(TmemPressureWatch *w, TmemStore *store)
{
    uint64_t total_us = w->total_us, stalled_us;

    /* Where the total cannot be read any more nobody stalls. */
    read_total(w, &total_us);
    stalled_us = total_us - MIN(total_us, w->total_us);
    w->total_us = total_us;
    if (stalled_us < w->stall_us / 2) {
        set_active(w, store, false);
    } else {
        evict_some(w, store);
    }
}

/* What the watch goes on with if its files can be opened again. */
static void reopen(TmemPressureWatch *w, uint64_t now_ns)
{
    const TmemPressure policy = { .stall_ms = w->stall_us / 1000 };
    TmemPressureWatch again;

    w->retry_ns = now_ns + RETRY_NS;
    if (!w->path || !tmem_pressure_open(&again, w->path, &policy, NULL)) {
        return;
    }
    tmem_pressure_close(w);
    w->trigger = again.trigger;
    w->trigger_events = again.trigger_events;
    w->totals = again.totals;
    w->is_lost = false;
}

static void see_to_lost(TmemPressureWatch *w, TmemStore *store,
                        uint64_t now_ns)
{
    if (w->trigger_events) {
        return;
    }
    if (!w->is_lost) {
        w->is_lost = true;
        w->retry_ns = now_ns + RETRY_NS;
        __atomic_fetch_add(&store->upkeep.counters.pressure_lost, 1,
                           __ATOMIC_RELAXED);
        if (!w->said_lost) {
            w->said_lost = true;
            tmem_event_emit(store, TMEM_EVENT_PRESSURE_LOST, NULL);
        }
    } else if (now_ns >= w->retry_ns) {
        reopen(w, now_ns);
    }
}

/* Milliseconds until there is something to do unless the trigger fires. */
static int rest_ms(const TmemPressureWatch *w, uint64_t now_ns)
{
    uint64_t next_ns = MIN(w->active ? w->next_ns : UINT64_MAX,
                           w->is_lost ? w->retry_ns : UINT64_MAX);

    return next_ns == UINT64_MAX ? -1 :
           (int)((MAX(next_ns, now_ns) - now_ns) / 1000000) + 1;
}

int tmem_pressure_step(TmemPressureWatch *w, TmemStore *store,
                       uint64_t now_ns)
{
    bool now;

    if (w->trigger < 0) {
        return -1;
    }
    now = fired(w);
    see_to_lost(w, store, now_ns);
    if (!w->active && now) {
        w->total_us = 0;
        read_total(w, &w->total_us);
        set_active(w, store, true);
        evict_some(w, store);
        w->next_ns = now_ns + SECOND_NS;
    } else if (w->active && now_ns >= w->next_ns) {
        reconsider(w, store);
        w->next_ns = now_ns + SECOND_NS;
    }
    return rest_ms(w, now_ns);
}
