/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: a process that locks its memory, but not that of its stores
 *
 * mlockall() has no exceptions, and undoing it afterwards would be too late:
 * it fills all that is mapped, for a store several times its size.  So what
 * is to come is left to mlockall(), and what is there is locked one mapping
 * after the other, around the reservations.
 */
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>

#include "tmem-mlock.h"

static pthread_mutex_t reservations_lock = PTHREAD_MUTEX_INITIALIZER;
static TmemReservation *reservations;

void tmem_reservations_lock(void)
{
    pthread_mutex_lock(&reservations_lock);
}

void tmem_reservations_unlock(void)
{
    pthread_mutex_unlock(&reservations_lock);
}

void tmem_reservations_add_locked(TmemReservation *r)
{
    r->next = reservations;
    reservations = r;
}

TmemReservation *tmem_reservations_take_locked(const void *addr)
{
    TmemReservation **at = &reservations;
    TmemReservation *r;

    while (*at && (*at)->start != (uintptr_t)addr) {
        at = &(*at)->next;
    }
    r = *at;
    if (r) {
        *at = r->next;
    }
    return r;
}

/* The first one that ends behind @addr. */
static const TmemReservation *first_behind_locked(uintptr_t addr)
{
    const TmemReservation *first = NULL;

    for (const TmemReservation *r = reservations; r; r = r->next) {
        if (r->end > addr && (!first || r->start < first->start)) {
            first = r;
        }
    }
    return first;
}

static int lock_range(uintptr_t start, uintptr_t end, bool on_fault)
{
    void *addr = (void *)start;

    if (mlock2(addr, end - start, MLOCK_ONFAULT) < 0) {
        int saved = errno;

        /* The kernel's own, or gone since: nothing that could be locked. */
        return msync(addr, end - start, MS_ASYNC) < 0 ? 0 : -saved;
    }
    if (!on_fault) {
        /* Filled as far as it goes, as mlockall() does: not what is guarded. */
        mlock(addr, end - start);
    }
    return 0;
}

static int lock_around_locked(uintptr_t start, uintptr_t end, bool on_fault)
{
    int ret = 0;

    while (start < end && !ret) {
        const TmemReservation *r = first_behind_locked(start);
        uintptr_t stop = r && r->start < end ? r->start : end;

        if (start < stop) {
            ret = lock_range(start, stop, on_fault);
        }
        start = stop < end ? r->end : end;
    }
    return ret;
}

static int lock_mappings_locked(bool on_fault)
{
    g_autofree char *maps = NULL;
    g_auto(GStrv) lines = NULL;
    int ret = 0;

    if (!g_file_get_contents("/proc/self/maps", &maps, NULL, NULL)) {
        return -ENOENT;
    }
    lines = g_strsplit(maps, "\n", -1);
    for (unsigned i = 0; lines[i] && !ret; i++) {
        uintptr_t start, end;

        if (sscanf(lines[i], "%" G_GINTPTR_MODIFIER "x-%" G_GINTPTR_MODIFIER
                   "x ", &start, &end) == 2) {
            ret = lock_around_locked(start, end, on_fault);
        }
    }
    return ret;
}

int tmem_mlock_process(bool on_fault)
{
    int flags = on_fault ? MCL_ONFAULT : 0;
    int ret;

    tmem_reservations_lock();
    if (!reservations) {
        ret = mlockall(MCL_CURRENT | MCL_FUTURE | flags) < 0 ? -errno : 0;
    } else {
        ret = mlockall(MCL_FUTURE | flags) < 0 ? -errno :
              lock_mappings_locked(on_fault);
    }
    tmem_reservations_unlock();
    return ret;
}
