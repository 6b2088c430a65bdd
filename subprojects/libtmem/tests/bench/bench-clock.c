/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmem-bench: time, resident memory, medians
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "bench.h"

double bench_now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec + ts.tv_nsec / 1e9;
}

uint64_t bench_rss(void)
{
    unsigned long long kib = 0;
    char line[128];
    FILE *file = fopen("/proc/self/smaps_rollup", "r");

    /* Walks the page tables: /proc/self/statm lags by a per-CPU batch. */
    while (file && fgets(line, sizeof(line), file)) {
        if (sscanf(line, "Anonymous: %llu kB", &kib) == 1) {
            break;
        }
    }
    if (file) {
        fclose(file);
    }
    return kib << 10;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

double bench_median(double *values, int n)
{
    qsort(values, n, sizeof(*values), compare);
    return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}
