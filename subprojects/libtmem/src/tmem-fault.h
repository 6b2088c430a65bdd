/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: fault points
 *
 * Every place that can run out of memory asks TMEM_FAULT("name") first.  In
 * production builds that is the constant false.  In debug builds (TMEM_DEBUG)
 * a test arms the Nth hit on its own thread:
 *
 *   for (n = 1; ; n++) {
 *       tmem_fault_arm(NULL, n);
 *       operation();
 *       if (!tmem_fault_disarm()) {
 *           break;          (it needed fewer than n allocations)
 *       }
 *   }
 */
#ifndef TMEM_FAULT_H
#define TMEM_FAULT_H

#include <stdbool.h>

#ifdef TMEM_DEBUG

/**
 * tmem_fault_arm() - let the @nth hit from now on fail, on this thread
 * @name: count hits of this point only; NULL counts all points
 */
void tmem_fault_arm(const char *name, unsigned nth);

/** As tmem_fault_arm(), and let every later hit fail too. */
void tmem_fault_arm_from(const char *name, unsigned nth);

/** Ends the arming; returns the name of the point that failed, or NULL. */
const char *tmem_fault_disarm(void);

/** Whether the point @name failed in this process, on any thread. */
bool tmem_fault_fired(const char *name);

bool tmem_fault_hit(const char *name);

#define TMEM_FAULT(name)    tmem_fault_hit(name)
#else
#define TMEM_FAULT(name)    false
#endif

#endif /* TMEM_FAULT_H */
