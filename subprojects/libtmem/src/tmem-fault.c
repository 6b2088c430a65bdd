/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: fault points, in debug builds only
 */
#include <string.h>

#include "tmem-fault.h"

#ifdef TMEM_DEBUG

#include <glib.h>

/* Points that failed in this process. */
static GMutex ever_lock;
static const char *ever[64];
static unsigned nr_ever;

bool tmem_fault_fired(const char *name)
{
    bool found = false;

    g_mutex_lock(&ever_lock);
    for (unsigned i = 0; i < nr_ever; i++) {
        found |= !strcmp(ever[i], name);
    }
    g_mutex_unlock(&ever_lock);
    return found;
}

static void note_fired(const char *name)
{
    if (!tmem_fault_fired(name)) {
        g_mutex_lock(&ever_lock);
        g_assert(nr_ever < G_N_ELEMENTS(ever));
        ever[nr_ever++] = name;
        g_mutex_unlock(&ever_lock);
    }
}

static _Thread_local struct {
    const char *only;
    const char *fired;
    unsigned countdown;     /* 0: not armed */
    bool sticky;
} fault;

static void fault_arm(const char *name, unsigned nth, bool sticky)
{
    fault.only = name;
    fault.fired = NULL;
    fault.countdown = nth;
    fault.sticky = sticky;
}

void tmem_fault_arm(const char *name, unsigned nth)
{
    fault_arm(name, nth, false);
}

void tmem_fault_arm_from(const char *name, unsigned nth)
{
    fault_arm(name, nth, true);
}

const char *tmem_fault_disarm(void)
{
    fault.countdown = 0;
    return fault.fired;
}

bool tmem_fault_hit(const char *name)
{
    if (!fault.countdown || (fault.only && strcmp(fault.only, name))) {
        return false;
    }
    if (fault.countdown > 1) {
        fault.countdown--;
        return false;
    }
    fault.fired = name;
    if (!fault.sticky) {
        fault.countdown = 0;
    }
    note_fired(name);
    return true;
}

#endif /* TMEM_DEBUG */
