/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmem-bench: command line
 */
#include <stdio.h>
#include <stdlib.h>

#include "bench.h"

static BenchOptions options = {
    .pages = 1000000,
    .threads = 2,
    .rounds = 5,
};

static const GOptionEntry entries[] = {
    { "corpus", 'c', 0, G_OPTION_ARG_FILENAME, &options.corpus_path,
      "raw 4 KiB pages to measure with", "FILE" },
    { "pages", 'p', 0, G_OPTION_ARG_INT64, &options.pages,
      "pages held when density is measured (1000000)", "N" },
    { "entries", 'e', 0, G_OPTION_ARG_INT64, &options.entries,
      "entries of the large index, 30000000 for the goal; 0: skip (0)", "N" },
    { "threads", 't', 0, G_OPTION_ARG_INT, &options.threads,
      "threads to compare with one (2)", "N" },
    { "rounds", 'r', 0, G_OPTION_ARG_INT, &options.rounds,
      "rounds of which the median is taken (5)", "N" },
    { "no-zram", 0, 0, G_OPTION_ARG_NONE, &options.no_zram,
      "leave the host's zram alone", NULL },
    { "json", 'j', 0, G_OPTION_ARG_FILENAME, &options.json_path,
      "write the figures there as well", "FILE" },
    { NULL }
};

static void die(const char *message)
{
    fprintf(stderr, "tmem-bench: %s\n", message);
    exit(1);
}

static void parse(int argc, char **argv)
{
    g_autoptr(GOptionContext) context =
        g_option_context_new("store - libtmem against raw LZ4 and zram");
    GError *err = NULL;

    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, &argc, &argv, &err)) {
        die(err->message);
    }
    if (argc != 2 || g_strcmp0(argv[1], "store")) {
        die("what to measure must be 'store': see tmem-bench --help");
    }
    if (!options.corpus_path) {
        die("no corpus: name a file of raw pages with --corpus FILE");
    }
    if (options.pages < 1 || options.threads < 1 || options.rounds < 1 ||
        options.entries < 0) {
        die("--pages, --threads and --rounds must be at least 1");
    }
}

int main(int argc, char **argv)
{
    BenchReport *report = bench_report_new();
    GError *err = NULL;
    BenchCorpus corpus;

    parse(argc, argv);
    if (!bench_corpus_load(&corpus, options.corpus_path, 0, &err)) {
        die(err->message);
    }
    fprintf(stderr, "%s: %zu pages, %.1f %% same-filled\n",
            options.corpus_path, corpus.nr_pages,
            100.0 * corpus.nr_same_filled / corpus.nr_pages);
    fprintf(stderr, "speed ...\n");
    bench_speed(&corpus, &options, report);
    bench_zram(&corpus, &options, report);
    fprintf(stderr, "density ...\n");
    bench_density(&corpus, &options, report);
    fprintf(stderr, "scaling ...\n");
    bench_scale(&corpus, &options, report);
    bench_report_print(report);
    if (options.json_path &&
        !bench_report_write_json(report, options.json_path, &err)) {
        die(err->message);
    }
    bench_report_free(report);
    bench_corpus_free(&corpus);
    return 0;
}
