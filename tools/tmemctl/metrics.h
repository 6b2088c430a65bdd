/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmemctl: the counters as text for Prometheus and its relatives
 */
#ifndef TMEMCTL_METRICS_H
#define TMEMCTL_METRICS_H

#include "view.h"

typedef enum CtlFormat {
    CTL_OPENMETRICS,            /* OpenMetrics 1.0 */
    CTL_PROMETHEUS,             /* Prometheus' text format 0.0.4 */
} CtlFormat;

/**
 * ctl_metrics() - all of @view
 *
 * @view: NULL if nobody answered, which is told as well
 */
char *ctl_metrics(const CtlView *view, CtlFormat format);

/**
 * ctl_metrics_serve() - answer HTTP requests at @address until a signal
 *
 * @address: [HOST:]PORT or unix:PATH; the host is 127.0.0.1 if there is none
 */
bool ctl_metrics_serve(const CtlOptions *options, const char *address,
                       GError **errp);

#endif /* TMEMCTL_METRICS_H */
