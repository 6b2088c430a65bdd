/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmemctl top: what happened between two looks at the stores
 */
#ifndef TMEMCTL_RATES_H
#define TMEMCTL_RATES_H

#include "table.h"

/** CtlRate: a client, and how fast its counters grow (pages per second). */
typedef struct CtlRate {
    const CtlClient *client;
    bool known;                 /* it was there at the look before */
    double stores;
    double loads;
    double refused;
    double evicted;
} CtlRate;

/* Rows of these are CtlRate. */
extern const CtlColumn ctl_rate_columns[];

/**
 * ctl_rates() - the clients of @now, with what changed since @before
 *
 * @before: NULL at the first look
 */
GPtrArray *ctl_rates(const CtlView *now, const CtlView *before);

/** ctl_rates_sort() - by @column: words from A on, the largest figures first */
void ctl_rates_sort(GPtrArray *rates, const CtlColumn *column, bool reverse);

#endif /* TMEMCTL_RATES_H */
