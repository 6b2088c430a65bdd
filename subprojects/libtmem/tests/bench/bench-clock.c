/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmem-bench: time, memory, medians, words on stderr
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

static double seconds(clockid_t clock)
{
    struct timespec ts;

    clock_gettime(clock, &ts);
    return ts.tv_sec + ts.tv_nsec / 1e9;
}

double bench_now(void)
{
    return seconds(CLOCK_MONOTONIC);
}

double bench_cpu_now(void)
{
    return seconds(CLOCK_THREAD_CPUTIME_ID);
}

void bench_sleep_until(double when)
{
    double left = when - bench_now();

    if (left > 0) {
        g_usleep(left * 1e6);
    }
}

/* The value in bytes of "NAME: N kB", or of a file that is only a number. */
static bool read_bytes(const char *path, const char *name, uint64_t *bytes)
{
    char line[160];
    FILE *file = fopen(path, "r");
    bool found = false;

    while (file && !found && fgets(line, sizeof(line), file)) {
        if (!name) {
            found = g_ascii_isdigit(line[0]);
            *bytes = g_ascii_strtoull(line, NULL, 10);
        } else if (g_str_has_prefix(line, name)) {
            found = true;
            *bytes = g_ascii_strtoull(line + strlen(name), NULL, 10) << 10;
        }
    }
    if (file) {
        fclose(file);
    }
    return found;
}

uint64_t bench_rss(void)
{
    uint64_t bytes;

    /* Walks the page tables: /proc/self/statm lags by a per-CPU batch. */
    if (!read_bytes("/proc/self/smaps_rollup", "Rss:", &bytes)) {
        bench_die("cannot read the resident memory of this process from "
                  "/proc/self/smaps_rollup: is /proc mounted?");
    }
    return bytes;
}

/* What the control group of this process has left; UINT64_MAX: no limit. */
static uint64_t cgroup_available(void)
{
    uint64_t limit, used;
    g_autofree char *text = NULL, *max = NULL, *current = NULL;
    char *path;

    if (!g_file_get_contents("/proc/self/cgroup", &text, NULL, NULL)) {
        return UINT64_MAX;
    }
    path = strstr(text, "0::/");
    if (!path) {
        return UINT64_MAX;
    }
    path = g_strdelimit(path + 3, "\n", 0);
    max = g_strdup_printf("/sys/fs/cgroup%s/memory.max", path);
    current = g_strdup_printf("/sys/fs/cgroup%s/memory.current", path);
    if (!read_bytes(max, NULL, &limit) || !read_bytes(current, NULL, &used)) {
        return UINT64_MAX;
    }
    return limit > used ? limit - used : 0;
}

uint64_t bench_memory_available(void)
{
    uint64_t host;

    if (!read_bytes("/proc/meminfo", "MemAvailable:", &host)) {
        bench_die("cannot read MemAvailable from /proc/meminfo: is /proc "
                  "mounted?");
    }
    return MIN(host, cgroup_available());
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

double bench_median(const double *values, int n)
{
    g_autofree double *sorted = g_memdup2(values, n * sizeof(*values));

    qsort(sorted, n, sizeof(*sorted), compare);
    return n % 2 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
}

void bench_die(const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    fputs("tmem-bench: ", stderr);
    vfprintf(stderr, format, ap);
    fputc('\n', stderr);
    va_end(ap);
    exit(1);
}

void bench_say(const char *format, ...)
{
    static double began;
    va_list ap;

    if (!began) {
        began = bench_now();
    }
    va_start(ap, format);
    fprintf(stderr, "[%4.0f s] ", bench_now() - began);
    vfprintf(stderr, format, ap);
    fputc('\n', stderr);
    va_end(ap);
}
