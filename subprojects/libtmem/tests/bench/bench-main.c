/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmem-bench store: command line, and the measurements in turn
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "bench.h"

static BenchOptions options = {
    .pages = 1000000,
    .entries = -1,
    .same_entries = 10000000,
    .evict_bytes = 1 << 30,
    .threads = 2,
    .rounds = 5,
};

static const GOptionEntry entries[] = {
    { "corpus", 'c', 0, G_OPTION_ARG_FILENAME, &options.corpus_path,
      "raw 4 KiB pages to measure with; scripts/corpus makes some", "FILE" },
    { "pages", 'p', 0, G_OPTION_ARG_INT64, &options.pages,
      "pages held when density is measured (1000000)", "N" },
    { "entries", 'e', 0, G_OPTION_ARG_INT64, &options.entries,
      "pages of the large store of P4 (30000000, or as many as fit half of the "
      "memory that is left); 0: skip", "N" },
    { "same-entries", 's', 0, G_OPTION_ARG_INT64, &options.same_entries,
      "same-filled pages stored beside these (10000000, or as many as fit half "
      "of the memory that is left); 0: skip", "N" },
    { "threads", 't', 0, G_OPTION_ARG_INT, &options.threads,
      "also this many threads against one, beside 2", "N" },
    { "rounds", 'r', 0, G_OPTION_ARG_INT, &options.rounds,
      "rounds of which the median is taken (5)", "N" },
    { "only", 'o', 0, G_OPTION_ARG_STRING, &options.only,
      "one part alone, others' figures are left out: speed, density, scale, "
      "entries, evict, upkeep or timing", "PART" },
    { "no-zram", 0, 0, G_OPTION_ARG_NONE, &options.no_zram,
      "leave the host's zram alone", NULL },
    { "quick", 'q', 0, G_OPTION_ARG_NONE, &options.quick,
      "everything, much too short to be quoted: a test of this program", NULL },
    { "json", 'j', 0, G_OPTION_ARG_FILENAME, &options.json_path,
      "write the figures there as well", "FILE" },
    { NULL }
};

static const struct {
    const char *name;
    BenchMeasure *measure;
} parts[] = {
    { "speed", bench_speed },
    { "density", bench_density },
    { "scale", bench_scale },
    { "entries", bench_entries },
    { "evict", bench_evict },
    { "upkeep", bench_upkeep },
    { "timing", bench_timing },
};

static bool wanted(size_t part)
{
    return !options.only || !strcmp(options.only, parts[part].name);
}

static const char summary[] =
    "Measures, in one run and on the same pages: raw LZ4 with a copy, this\n"
    "store, and a zram of this host if it has one (needs root; the device is\n"
    "made for the run and removed).  Prints one table; takes minutes, says on\n"
    "stderr how far it is.  A figure without a value was not measured.";

static int usage_error(const char *format, ...) G_GNUC_PRINTF(1, 2);
static int usage_error(const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    fputs("tmem-bench: ", stderr);
    vfprintf(stderr, format, ap);
    fputs("; see tmem-bench store --help\n", stderr);
    va_end(ap);
    return 2;
}

/* Returns 0, or the exit status after an error. */
static int parse(int argc, char **argv)
{
    g_autoptr(GOptionContext) context = g_option_context_new(NULL);
    g_autoptr(GError) err = NULL;
    bool known = false;

    g_set_prgname("tmem-bench store");
    g_option_context_set_summary(context, summary);
    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, &argc, &argv, &err)) {
        return usage_error("%s", err->message);
    }
    if (argc > 1) {
        return usage_error("'%s' is no option", argv[1]);
    }
    if (!options.corpus_path) {
        return usage_error("which pages? Name a file of them with --corpus "
                           "FILE");
    }
    if (options.pages < 1000 || options.pages > UINT32_MAX) {
        return usage_error("--pages %" PRId64 ": give a number from 1000 to "
                           "%u", options.pages, UINT32_MAX);
    }
    if (options.entries != -1 && options.entries != 0 &&
        (options.entries < 10000 || options.entries > UINT32_MAX)) {
        return usage_error("--entries %" PRId64 ": give 0, or a number from "
                           "10000 to %u", options.entries, UINT32_MAX);
    }
    if (options.same_entries && (options.same_entries < 10000 ||
                                 options.same_entries > UINT32_MAX)) {
        return usage_error("--same-entries %" PRId64 ": give 0, or a number "
                           "from 10000 to %u", options.same_entries,
                           UINT32_MAX);
    }
    if (options.threads < 1 || options.threads > 1024) {
        return usage_error("--threads %d: give a number from 1 to 1024",
                           options.threads);
    }
    if (options.rounds < 1 || options.rounds > 1000) {
        return usage_error("--rounds %d: give a number from 1 to 1000",
                           options.rounds);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(parts); i++) {
        known = known || wanted(i);
    }
    if (!known) {
        return usage_error("there is no part '%s'", options.only);
    }
    return 0;
}

/* Short enough for a test, and of every part something. */
static void make_quick(void)
{
    options.pages = MIN(options.pages, 6000);
    options.entries = options.entries ? 20000 : 0;
    options.same_entries = options.same_entries ? 20000 : 0;
    options.evict_bytes = 4 << 20;
    options.rounds = 1;
}

static void check_memory(const BenchCorpus *corpus)
{
    uint64_t available = bench_memory_available();
    uint64_t pages = bench_store_size(corpus, options.pages) +
                     options.pages * 5;
    uint64_t many = MAX(options.entries, 0) * BENCH_ENTRY_BYTES;
    uint64_t speed = 4 * bench_store_size(corpus, corpus->nr_pages) *
                     MAX(options.threads, 2) / 2;

    if (MAX(pages, speed) > available) {
        bench_die("--pages %" PRId64 " with this corpus may need %" PRIu64
                  " MiB of memory, and %" PRIu64 " MiB are available: ask for "
                  "fewer pages, or for fewer threads",
                  options.pages, MAX(pages, speed) >> 20, available >> 20);
    }
    if (many > available) {
        bench_die("--entries %" PRId64 " may need %" PRIu64 " MiB of memory, "
                  "and %" PRIu64 " MiB are available: ask for fewer, or leave "
                  "it to tmem-bench", options.entries, many >> 20,
                  available >> 20);
    }
    if (options.evict_bytes * 3 > available) {
        options.evict_bytes = available / 3 & ~0xfffffull;
        bench_say("memory is short: evicting %" PRIu64 " MiB instead of 1 GiB",
                  options.evict_bytes >> 20);
    }
}

/* The processor's name, for those who read the figures elsewhere. */
static char *cpu_name(void)
{
    g_autofree char *text = NULL;
    char *name;

    if (!g_file_get_contents("/proc/cpuinfo", &text, NULL, NULL)) {
        return g_strdup("unknown");
    }
    name = g_strstr_len(text, -1, "model name");
    name = name ? g_strstr_len(name, -1, ": ") : NULL;
    if (!name) {
        return g_strdup("unknown");
    }
    return g_strndup(name + 2, strcspn(name + 2, "\n"));
}

static void describe(const BenchCorpus *corpus, BenchReport *report)
{
    g_autofree char *cpu = cpu_name();
    g_autofree char *machine = NULL;
    struct utsname name;

    uname(&name);
    machine = g_strdup_printf("%s, %u CPUs, Linux %s", cpu,
                              g_get_num_processors(), name.release);
    bench_report_add_text(report, "corpus", options.corpus_path);
    bench_report_add_text(report, "machine", machine);
    bench_report_add_text(report, "operations",
                          "batches of 32, with tmem_page_prefetch()");
    bench_report_section(report, "The corpus");
    bench_report_add_one(report, "corpus_pages", corpus->nr_pages, NULL,
                         "pages of it that were used");
    bench_report_add_one(report, "samefilled_share",
                         (double)corpus->nr_same_filled / corpus->nr_pages,
                         NULL, "share of same-filled pages");
    bench_report_add_one(report, "corpus_ratio",
                         TMEM_PAGE_SIZE / MAX(bench_corpus_mean(corpus), 1),
                         NULL, "bytes / compressed bytes (LZ4; more than 7/8 "
                         "of a page counts as a page)");
}

int bench_main_store(int argc, char **argv)
{
    g_autoptr(GError) err = NULL;
    BenchReport *report;
    BenchCorpus corpus;
    int status = parse(argc, argv);

    if (status) {
        return status;
    }
    bench_report_check_json(options.json_path);
    if (options.quick) {
        make_quick();
    }
    if (!options.no_zram) {
        bench_zram_guard();
    }
    if (!bench_corpus_load(&corpus, options.corpus_path,
                           options.quick ? 4096 : BENCH_CORPUS_PAGES_MAX,
                           &err)) {
        bench_die("%s", err->message);
    }
    check_memory(&corpus);
    report = bench_report_new();
    describe(&corpus, report);
    for (size_t i = 0; i < G_N_ELEMENTS(parts); i++) {
        if (wanted(i)) {
            parts[i].measure(&corpus, &options, report);
        }
    }
    bench_report_print(report);
    if (options.json_path &&
        !bench_report_write_json(report, options.json_path, &err)) {
        bench_die("%s", err->message);
    }
    bench_report_free(report);
    bench_corpus_free(&corpus);
    return 0;
}
