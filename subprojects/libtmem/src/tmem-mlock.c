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
#include <string.h>
#include <sys/mman.h>

#include "tmem-mlock.h"

/* More than threads that start and end beside take, fewer than for ever. */
#define PASSES_MAX      100

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

typedef struct Range {
    uintptr_t start, end;
} Range;

/*
 * Of a range that is not wholly mapped, what is behind the first hole is left:
 * such a range is added to @holed.
 */
static int lock_range(Range range, bool on_fault, GArray *holed)
{
    void *addr = (void *)range.start;
    size_t bytes = range.end - range.start;

    if (mlock2(addr, bytes, MLOCK_ONFAULT) < 0) {
        int saved = errno;

        if (msync(addr, bytes, MS_ASYNC) == 0) {
            return -saved;
        }
        g_array_append_val(holed, range);
        return 0;
    }
    if (!on_fault) {
        /* Filled as far as it goes, as mlockall() does: not what is guarded. */
        mlock(addr, bytes);
    }
    return 0;
}

static int lock_around_locked(Range range, bool on_fault, GArray *holed)
{
    int ret = 0;

    while (range.start < range.end && !ret) {
        const TmemReservation *r = first_behind_locked(range.start);
        Range piece = range;

        if (r && r->start < range.end) {
            piece.end = r->start;
            range.start = r->end;
        } else {
            range.start = range.end;
        }
        if (piece.start < piece.end) {
            ret = lock_range(piece, on_fault, holed);
        }
    }
    return ret;
}

/* What of @mapping is in one of @wanted. */
static int lock_wanted_locked(Range mapping, const GArray *wanted,
                              bool on_fault, GArray *holed)
{
    int ret = 0;

    for (unsigned i = 0; i < wanted->len && !ret; i++) {
        Range range = g_array_index(wanted, Range, i);

        range.start = MAX(range.start, mapping.start);
        range.end = MIN(range.end, mapping.end);
        ret = lock_around_locked(range, on_fault, holed);
    }
    return ret;
}

/* All that is mapped within @wanted, but for what is added to @holed. */
static int lock_mappings_locked(const GArray *wanted, bool on_fault,
                                GArray *holed)
{
    g_autofree char *maps = NULL;
    g_auto(GStrv) lines = NULL;
    int ret = 0;

    if (!g_file_get_contents("/proc/self/maps", &maps, NULL, NULL)) {
        return -ENOENT;
    }
    lines = g_strsplit(maps, "\n", -1);
    for (unsigned i = 0; lines[i] && !ret; i++) {
        Range mapping;

        if (sscanf(lines[i], "%" G_GINTPTR_MODIFIER "x-%" G_GINTPTR_MODIFIER
                   "x ", &mapping.start, &mapping.end) == 2) {
            ret = lock_wanted_locked(mapping, wanted, on_fault, holed);
        }
    }
    return ret;
}

/*
 * The kernel's own, like [vsyscall], is listed, and not there for us: what is
 * listed again, as it was, and cannot be had again.
 */
static void forget_same(GArray *holed, const GArray *before)
{
    for (unsigned i = holed->len; i-- > 0; ) {
        const Range *range = &g_array_index(holed, Range, i);
        bool same = false;

        for (unsigned j = 0; j < before->len && !same; j++) {
            same = !memcmp(range, &g_array_index(before, Range, j),
                           sizeof(*range));
        }
        if (same) {
            g_array_remove_index(holed, i);
        }
    }
}

/*
 * Other threads may unmap between the look at the list and its use; what they
 * map is locked already.  So what was not as listed is looked up again.
 */
static int lock_current_locked(bool on_fault)
{
    g_autoptr(GArray) wanted = g_array_new(false, false, sizeof(Range));
    const Range all = { 0, UINTPTR_MAX };
    int ret = 0;

    g_array_append_val(wanted, all);
    for (int i = 0; i < PASSES_MAX && wanted->len && !ret; i++) {
        GArray *holed = g_array_new(false, false, sizeof(Range));

        ret = lock_mappings_locked(wanted, on_fault, holed);
        forget_same(holed, wanted);
        g_array_unref(wanted);
        wanted = holed;
    }
    return ret ? ret : wanted->len ? -EAGAIN : 0;
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
              lock_current_locked(on_fault);
    }
    tmem_reservations_unlock();
    return ret;
}
