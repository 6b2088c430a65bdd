/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmem-store: files that were handed over to stores that are not there
 *
 * Main thread only.
 */
#ifndef TMEM_HANDOVER_ORPHANS_H
#define TMEM_HANDOVER_ORPHANS_H

#include "libtmem/tmem-save.h"

/** Takes, and marks as used, all files that no store has taken. */
void tmem_orphans_find(void);

/**
 * tmem_orphans_take: the stream that is called @name, for the store it is for
 *
 * Returns NULL if there is none.  Else the stream and its file, @fd, are the
 * caller's; it is marked as used, and has no store yet.
 */
TmemLoader *tmem_orphans_take(const char *name, int *fd);

/** The process ends: what is left of them is lost. */
void tmem_orphans_drop(void);

#endif /* TMEM_HANDOVER_ORPHANS_H */
