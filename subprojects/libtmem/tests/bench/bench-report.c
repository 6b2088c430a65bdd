/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmem-bench: one table for people, the same figures as flat JSON
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"

typedef struct Line {
    char *key;                  /* NULL: a headline */
    char *words;                /* a text instead of a figure */
    double value;
    double low;                 /* of the rounds */
    double high;
    int rounds;
    const char *goal;
    char *text;
} Line;

struct BenchReport {
    GArray *lines;
};

static void clear_line(void *opaque)
{
    Line *line = opaque;

    g_free(line->key);
    g_free(line->words);
    g_free(line->text);
}

BenchReport *bench_report_new(void)
{
    BenchReport *report = g_new(BenchReport, 1);

    report->lines = g_array_new(FALSE, TRUE, sizeof(Line));
    g_array_set_clear_func(report->lines, clear_line);
    return report;
}

void bench_report_free(BenchReport *report)
{
    g_array_unref(report->lines);
    g_free(report);
}

void bench_report_section(BenchReport *report, const char *text)
{
    Line line = { .text = g_strdup(text) };

    g_array_append_val(report->lines, line);
}

void bench_report_add(BenchReport *report, const char *key,
                      const double *values, int n, const char *goal,
                      const char *text)
{
    Line line = {
        .key = g_strdup(key), .value = bench_median(values, n),
        .low = values[0], .high = values[0], .rounds = n,
        .goal = goal, .text = g_strdup(text),
    };

    for (int i = 1; i < n; i++) {
        line.low = MIN(line.low, values[i]);
        line.high = MAX(line.high, values[i]);
    }
    g_array_append_val(report->lines, line);
}

void bench_report_add_one(BenchReport *report, const char *key, double value,
                          const char *goal, const char *text)
{
    bench_report_add(report, key, &value, 1, goal, text);
}

void bench_report_add_text(BenchReport *report, const char *key,
                           const char *value)
{
    Line line = { .key = g_strdup(key), .words = g_strdup(value) };

    g_array_append_val(report->lines, line);
}

/* "yes", "NO", or nothing if there is no goal or no figure. */
static const char *met(const Line *line)
{
    double limit;

    if (!line->goal || !isfinite(line->value)) {
        return "";
    }
    limit = g_ascii_strtod(line->goal + 2, NULL);
    if (line->goal[0] == '<' ? line->value <= limit : line->value >= limit) {
        return "yes";
    }
    return "NO";
}

static void print_figure(const Line *line)
{
    g_autofree char *range = NULL;

    if (!isfinite(line->value)) {
        printf("%-23s %9s", line->key, "-");
    } else {
        printf("%-23s %9.3f", line->key, line->value);
    }
    if (line->rounds > 1 && isfinite(line->value)) {
        range = g_strdup_printf("%.3f-%.3f", line->low, line->high);
    }
    printf("  %-15s %-8s %-4s %s\n", range ?: "", line->goal ?: "", met(line),
           line->text);
}

void bench_report_print(BenchReport *report)
{
    for (guint i = 0; i < report->lines->len; i++) {
        Line *line = &g_array_index(report->lines, Line, i);

        if (line->words) {
            printf("%-23s %s\n", line->key, line->words);
        } else if (line->key) {
            print_figure(line);
        } else {
            printf("\n%s\n%-23s %9s  %-15s %-8s %-4s\n", line->text, "figure",
                   "median", "of rounds", "goal", "met");
        }
    }
    fflush(stdout);
}

/* Said before minutes of work, not after. */
void bench_report_check_json(const char *path)
{
    g_autofree char *dir = NULL;

    if (!path) {
        return;
    }
    dir = g_path_get_dirname(path);
    if (!*path || access(dir, W_OK | X_OK)) {
        bench_die("cannot write '%s': %s: %s", path, dir,
                  g_strerror(*path ? errno : ENOENT));
    }
    if (g_file_test(path, G_FILE_TEST_IS_DIR)) {
        bench_die("cannot write '%s': it is a directory", path);
    }
    /* The file is replaced: a device would be one no more. */
    if (g_file_test(path, G_FILE_TEST_EXISTS) &&
        !g_file_test(path, G_FILE_TEST_IS_REGULAR)) {
        bench_die("cannot write '%s': it is no regular file", path);
    }
}

static void append_string(GString *json, const char *words)
{
    g_autofree char *valid = g_utf8_make_valid(words, -1);
    const char *text;

    g_string_append_c(json, '"');
    for (text = valid; *text; text++) {
        if (strchr("\"\\", *text)) {
            g_string_append_printf(json, "\\%c", *text);
        } else if ((unsigned char)*text < ' ') {
            g_string_append_printf(json, "\\u%04x", *text);
        } else {
            g_string_append_c(json, *text);
        }
    }
    g_string_append_c(json, '"');
}

bool bench_report_write_json(BenchReport *report, const char *path,
                             GError **errp)
{
    g_autoptr(GString) json = g_string_new("{");
    char number[G_ASCII_DTOSTR_BUF_SIZE];

    for (guint i = 0; i < report->lines->len; i++) {
        Line *line = &g_array_index(report->lines, Line, i);

        if (!line->key) {
            continue;
        }
        g_string_append_printf(json, "%s\n  \"%s\": ",
                               json->len > 1 ? "," : "", line->key);
        if (line->words) {
            append_string(json, line->words);
        } else {
            g_string_append(json, !isfinite(line->value) ? "null" :
                            g_ascii_formatd(number, sizeof(number), "%.6g",
                                            line->value));
        }
    }
    g_string_append(json, "\n}\n");
    return g_file_set_contents(path, json->str, json->len, errp);
}
