/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmemctl: what the members of query-tmem mean, from libtmem's table
 */
#ifndef TMEMCTL_COUNTERS_H
#define TMEMCTL_COUNTERS_H

#include <stdbool.h>

/* Where a counter is kept. */
typedef enum CtlScope {
    CTL_SCOPE_STORE,
    CTL_SCOPE_CLIENT,
    CTL_SCOPE_POOL,
} CtlScope;

typedef enum CtlGrowth {
    CUMULATIVE,
    INSTANT,
    PEAK,
} CtlGrowth;

typedef enum CtlUnit {
    PAGES,
    BYTES,
    OPS,
    NS,
    COUNT,
} CtlUnit;

typedef struct CtlCounter {
    CtlScope scope;
    const char *name;           /* as in C: with underscores */
    CtlGrowth growth;
    CtlUnit unit;
    const char *text;
} CtlCounter;

/**
 * ctl_counter_find() - the counter that is @member of a reply
 *
 * Returns NULL for one that this tmemctl does not know.
 */
const CtlCounter *ctl_counter_find(CtlScope scope, const char *member);

/** ctl_counter_bytes() - true if @member of a reply is a number of bytes */
bool ctl_counter_bytes(CtlScope scope, const char *member);

#endif /* TMEMCTL_COUNTERS_H */
