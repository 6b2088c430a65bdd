/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmem-bench: one table for people, the same figures as flat JSON
 */
#include <math.h>
#include <stdio.h>

#include "bench.h"

typedef struct Figure {
    const char *key;
    double value;
    const char *goal;
    const char *text;
} Figure;

struct BenchReport {
    GArray *figures;
};

BenchReport *bench_report_new(void)
{
    BenchReport *report = g_new(BenchReport, 1);

    report->figures = g_array_new(FALSE, FALSE, sizeof(Figure));
    return report;
}

void bench_report_free(BenchReport *report)
{
    g_array_unref(report->figures);
    g_free(report);
}

void bench_report_add(BenchReport *report, const char *key, double value,
                      const char *goal, const char *text)
{
    Figure figure = { key, value, goal, text };

    g_array_append_val(report->figures, figure);
}

void bench_report_print(BenchReport *report)
{
    printf("%-24s %10s  %-9s %s\n", "figure", "value", "goal", "what");
    for (guint i = 0; i < report->figures->len; i++) {
        Figure *f = &g_array_index(report->figures, Figure, i);

        if (isnan(f->value)) {
            printf("%-24s %10s", f->key, "-");
        } else {
            printf("%-24s %10.3f", f->key, f->value);
        }
        printf("  %-9s %s\n", f->goal ?: "", f->text);
    }
}

bool bench_report_write_json(BenchReport *report, const char *path,
                             GError **errp)
{
    g_autoptr(GString) json = g_string_new("{");
    char number[G_ASCII_DTOSTR_BUF_SIZE];

    for (guint i = 0; i < report->figures->len; i++) {
        Figure *f = &g_array_index(report->figures, Figure, i);

        g_string_append_printf(json, "%s\n  \"%s\": %s", i ? "," : "", f->key,
                               isnan(f->value) ? "null" :
                               g_ascii_formatd(number, sizeof(number), "%.6g",
                                               f->value));
    }
    g_string_append(json, "\n}\n");
    return g_file_set_contents(path, json->str, json->len, errp);
}
