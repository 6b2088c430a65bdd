/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmem-bench evict: traces, read from a file or made
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "bench.h"
#include "evict.h"

/* A touch of more pages than this at once is a mistake in the file. */
#define RANGE_MAX   (1u << 20)
#define TOUCHES_MAX (1u << 28)

typedef struct Numbers {
    Trace *trace;
    GHashTable *seen;           /* (file, page) to number + 1 */
} Numbers;

/* A file's number must count too: GLib's own hash takes the lower half. */
static guint hash(gconstpointer key)
{
    return GPOINTER_TO_SIZE(key) * 0x9e3779b97f4a7c15ull >> 32;
}

static void numbers_init(Numbers *n, Trace *trace)
{
    trace->touches = g_array_new(FALSE, FALSE, sizeof(uint32_t));
    trace->nr_pages = 0;
    n->trace = trace;
    n->seen = g_hash_table_new(hash, NULL);
}

static void touch(Numbers *n, uint64_t file, uint64_t page)
{
    gpointer key = GSIZE_TO_POINTER(file << 32 | page);
    uint32_t nr = GPOINTER_TO_UINT(g_hash_table_lookup(n->seen, key));

    if (!nr) {
        nr = ++n->trace->nr_pages;
        g_hash_table_insert(n->seen, key, GUINT_TO_POINTER(nr));
    }
    nr--;
    g_array_append_val(n->trace->touches, nr);
}

static bool read_lines(Numbers *n, FILE *file, const char *path, GError **errp)
{
    char line[128];
    unsigned nr = 0;

    while (fgets(line, sizeof(line), file)) {
        uint64_t from, first, count;
        char extra;

        nr++;
        if (line[0] == '#') {
            continue;
        }
        if (sscanf(line, "%" SCNu64 " %" SCNu64 " %" SCNu64 " %c", &from,
                   &first, &count, &extra) != 3 || from > UINT32_MAX ||
            first > UINT32_MAX - RANGE_MAX || !count || count > RANGE_MAX ||
            n->trace->touches->len + count > TOUCHES_MAX) {
            g_set_error(errp, G_FILE_ERROR, G_FILE_ERROR_INVAL,
                        "trace '%s', line %u: it must be a file's number, "
                        "the first page and how many pages", path, nr);
            return false;
        }
        for (uint64_t i = 0; i < count; i++) {
            touch(n, from, first + i);
        }
    }
    if (ferror(file) || !n->trace->touches->len) {
        g_set_error(errp, G_FILE_ERROR, G_FILE_ERROR_INVAL,
                    "trace '%s' %s", path, ferror(file) ?
                    "cannot be read" : "is empty");
        return false;
    }
    return true;
}

bool trace_read(Trace *trace, const char *path, GError **errp)
{
    FILE *file = strcmp(path, "-") ? fopen(path, "r") : stdin;
    Numbers n;
    bool ok;

    if (!file) {
        g_set_error(errp, G_FILE_ERROR, g_file_error_from_errno(errno),
                    "cannot read trace '%s': %s", path, g_strerror(errno));
        return false;
    }
    numbers_init(&n, trace);
    ok = read_lines(&n, file, path, errp);
    g_hash_table_unref(n.seen);
    if (file != stdin) {
        fclose(file);
    }
    if (!ok) {
        trace_free(trace);
    }
    return ok;
}

void trace_free(Trace *trace)
{
    g_array_unref(trace->touches);
}

/* --- Models: files of 1 to 32 pages, each read as a whole --- */

#define MODEL_FILES 8000
#define MODEL_READS 60000
#define MODEL_SKEW  0.9
#define SCAN_EVERY  15000
#define SCAN_FILES  3000

static void touch_file(Numbers *n, uint64_t file)
{
    /* Small files are many: 1 to 32 pages, by the file's number. */
    unsigned pages = 1u << (file * 0x9e3779b97f4a7c15ull >> 40) % 6;

    for (unsigned i = 0; i < pages; i++) {
        touch(n, file, i);
    }
}

/* Reads files whose popularity falls with a power of their rank. */
static void make_zipf(Numbers *n, bool scans)
{
    g_autofree double *upto = g_new(double, MODEL_FILES);
    uint64_t state = 0x2545f4914f6cdd1dull;
    double sum = 0;

    for (int i = 0; i < MODEL_FILES; i++) {
        sum += 1 / pow(i + 1, MODEL_SKEW);
        upto[i] = sum;
    }
    for (int r = 0; r < MODEL_READS; r++) {
        double point = (bench_random(&state) >> 11) / 9007199254740992.0 * sum;
        int low = 0, high = MODEL_FILES - 1;

        while (low < high) {
            int middle = (low + high) / 2;

            if (upto[middle] < point) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        touch_file(n, low);
        if (scans && r % SCAN_EVERY == SCAN_EVERY - 1) {
            /* Files that nobody else reads. */
            for (int i = 0; i < SCAN_FILES; i++) {
                touch_file(n, MODEL_FILES + r + i);
            }
        }
    }
}

static void make_loop(Numbers *n)
{
    for (int r = 0; r < MODEL_READS; r++) {
        touch_file(n, r % MODEL_FILES);
    }
}

bool trace_make(Trace *trace, const char *model, GError **errp)
{
    Numbers n;

    if (strcmp(model, "zipf") && strcmp(model, "zipf+scan") &&
        strcmp(model, "loop")) {
        g_set_error(errp, G_FILE_ERROR, G_FILE_ERROR_INVAL,
                    "there is no model '%s': there are zipf, zipf+scan and "
                    "loop", model);
        return false;
    }
    numbers_init(&n, trace);
    if (!strcmp(model, "loop")) {
        make_loop(&n);
    } else {
        make_zipf(&n, !strcmp(model, "zipf+scan"));
    }
    g_hash_table_unref(n.seen);
    return true;
}
