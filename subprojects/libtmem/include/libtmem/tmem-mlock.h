/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: stores in a process that locks its memory
 */
#ifndef LIBTMEM_TMEM_MLOCK_H
#define LIBTMEM_TMEM_MLOCK_H

#include <glib.h>
#include <stdbool.h>

G_BEGIN_DECLS

/**
 * tmem_mlock_process() - lock what the process has mapped, and will map
 * @on_fault: lock a page when it is touched first, rather than touch it now
 *
 * mlockall() for a process that may have stores: it would fill their
 * reservations, many times the size of a store, and what is locked cannot be
 * given back.  Memory of stores is left as it is, everything else is locked;
 * stores that are made later are not locked either.
 *
 * Returns 0 or a negative errno.
 */
int tmem_mlock_process(bool on_fault);

G_END_DECLS

#endif /* LIBTMEM_TMEM_MLOCK_H */
