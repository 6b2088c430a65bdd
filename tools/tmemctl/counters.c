/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmemctl: what the members of query-tmem mean, from libtmem's table
 */
#include <glib.h>
#include <string.h>

#include <libtmem/tmem-stats.h>

#include "counters.h"

#define STORE(name, kind, unit, text)   \
    { CTL_SCOPE_STORE, #name, kind, unit, text },
#define CLIENT(name, kind, unit, text)  \
    { CTL_SCOPE_CLIENT, #name, kind, unit, text },
#define POOL(name, kind, unit, text)    \
    { CTL_SCOPE_POOL, #name, kind, unit, text },

static const CtlCounter counters[] = {
    TMEM_STORE_COUNTERS(STORE)
    TMEM_STORE_LEVELS(STORE)
    TMEM_CLIENT_COUNTERS(CLIENT)
    TMEM_CLIENT_LEVELS(CLIENT)
    TMEM_POOL_COUNTERS(POOL)
    TMEM_POOL_LEVELS(POOL)
};

#undef STORE
#undef CLIENT
#undef POOL

/* QMP has dashes where C has underscores. */
static bool is_name(const char *name, const char *member)
{
    for (; *name && *member; name++, member++) {
        if (*name != *member && !(*name == '_' && *member == '-')) {
            return false;
        }
    }
    return *name == *member;
}

const CtlCounter *ctl_counter_find(CtlScope scope, const char *member)
{
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(counters); i++) {
        if (counters[i].scope == scope && is_name(counters[i].name, member)) {
            return &counters[i];
        }
    }
    return NULL;
}

bool ctl_counter_bytes(CtlScope scope, const char *member)
{
    const CtlCounter *counter = ctl_counter_find(scope, member);

    return counter ? counter->unit == BYTES :
           g_str_has_suffix(member, "-bytes") ||
           g_str_has_suffix(member, "-size") || !strcmp(member, "size");
}
