/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: giving ephemeral memory back while the host is short of it
 *
 * The kernel says when: a trigger on /proc/pressure/memory (PSI) fires when
 * tasks stalled on memory for longer than a threshold within a second.  From
 * then on the total of stalls is read once a second, and each time as much as
 * one sixteenth of the ephemeral data goes, idle segments first and then
 * ephemeral pages down to the floor, until less than half of the threshold was
 * stalled in a second.
 *
 * A trigger may end (its control group goes, or the kernel's PSI is turned
 * off).  That is counted, said once, and it is opened again as soon as it can
 * be.
 *
 * A watch belongs to the thread that does the store's upkeep.
 */
#ifndef TMEM_PRESSURE_H
#define TMEM_PRESSURE_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "libtmem/tmem.h"

#define TMEM_PRESSURE_PATH  "/proc/pressure/memory"

typedef struct TmemPressureWatch {
    int trigger;            /* polled; -1: closed */
    short trigger_events;   /* POLLPRI of PSI, POLLIN of anything else */
    int totals;             /* text in the form of TMEM_PRESSURE_PATH */
    const char *path;       /* to open both again; NULL: cannot be */
    uint64_t stall_us;      /* threshold, in a second */
    uint64_t floor_bytes;
    bool is_lost;           /* the trigger ended, and that was counted */
    bool said_lost;         /* the operator knows: once is enough */
    uint64_t retry_ns;      /* when to open it again, if lost */

    bool fired;             /* the trigger did, and nobody looked yet */
    bool active;            /* the host is short */
    uint64_t total_us;      /* when it was last read */
    uint64_t next_ns;       /* when to read it again, if active */
} TmemPressureWatch;

/**
 * tmem_pressure_open() - begin to watch
 * @path: TMEM_PRESSURE_PATH, or what a test has in its place; not copied
 *
 * Returns false and sets @errp to a sentence if this host cannot tell.
 */
bool tmem_pressure_open(TmemPressureWatch *w, const char *path,
                        const TmemPressure *policy, GError **errp);

/** Watches descriptors that the caller has; they belong to @w then. */
void tmem_pressure_open_fds(TmemPressureWatch *w, int trigger, int totals,
                            const TmemPressure *policy);

void tmem_pressure_close(TmemPressureWatch *w);

/** Closes it and says that the pressure ended, if it said that it began. */
void tmem_pressure_end(TmemPressureWatch *w, TmemStore *store);

/** Tells what poll() returned for the trigger. */
void tmem_pressure_polled(TmemPressureWatch *w, short revents);

/**
 * tmem_pressure_step() - look whether the trigger fired, and do what is due
 * @now_ns: of a clock that only goes forward
 *
 * No lock held.  Returns after how many milliseconds at the latest it is to be
 * called again unless the trigger is readable; -1: not before.
 */
int tmem_pressure_step(TmemPressureWatch *w, TmemStore *store,
                       uint64_t now_ns);

#endif /* TMEM_PRESSURE_H */
