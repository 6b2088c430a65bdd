/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: what must never be locked
 */
#ifndef TMEM_MLOCK_H
#define TMEM_MLOCK_H

#include "libtmem/tmem-mlock.h"

/* A mapping of the stores of this process; both are multiples of its pages. */
typedef struct TmemReservation {
    uintptr_t start, end;
    struct TmemReservation *next;
} TmemReservation;

/*
 * Whoever maps or unmaps such memory holds this lock meanwhile, so that nobody
 * takes it for something else.  Nothing is taken inside.
 */
void tmem_reservations_lock(void);
void tmem_reservations_unlock(void);

/** Under the lock: @r, which is filled in, is mapped. */
void tmem_reservations_add_locked(TmemReservation *r);

/** Under the lock: the one at @addr is about to go, and is the caller's. */
TmemReservation *tmem_reservations_take_locked(const void *addr);

#endif /* TMEM_MLOCK_H */
