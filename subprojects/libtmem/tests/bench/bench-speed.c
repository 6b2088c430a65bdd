/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmem-bench: P1 and zram: one thread, all sides on the same pages
 *
 * libtmem is measured three times: in batches of 32 with
 * tmem_page_prefetch(), as front ends work, and one by one, both without a
 * bounce copy; and through the decoder of requests, which copies each page, to
 * be held against zram.
 */
#include <string.h>

#include "bench.h"

enum { RAW, BATCH, SINGLE, REQ, ZRAM, SIDES };
enum { STORE, LOAD, STORE_SEQ, LOAD_SEQ, STORE_NEW, STORE_OVER, RUNS };

typedef struct Speed {
    BenchSide sides[SIDES];
    int nr_sides;               /* the last is zram, if it is there */
    int rounds;
    double *us[RUNS][SIDES];    /* by round */
} Speed;

static void keep(Speed *speed, int run, int round, const double *us)
{
    for (int i = 0; i < speed->nr_sides; i++) {
        speed->us[run][i][round] = us[i];
    }
}

/* One round on stores and a log that were never used before. */
static void speed_round(const BenchCorpus *corpus, Speed *speed, int round)
{
    size_t n = corpus->nr_pages;
    BenchStore s[3];
    BenchReq *req;
    BenchRaw raw;
    double us[SIDES];

    for (int i = 0; i < 3; i++) {
        bench_store_open(&s[i], bench_store_size(corpus, n),
                         TMEM_POOL_PERSISTENT);
    }
    bench_raw_open(&raw, corpus);
    req = bench_req_open(&s[2]);
    speed->sides[RAW] = bench_side_raw(&raw);
    speed->sides[BATCH] = bench_side_batch(&s[0]);
    speed->sides[SINGLE] = bench_side_single(&s[1]);
    speed->sides[REQ] = bench_side_req(req);

    bench_duel(speed->sides, speed->nr_sides, BENCH_STORE, corpus,
               corpus->store_order, 0, n, us);
    keep(speed, STORE_NEW, round, us);
    raw.end = 0;
    bench_duel(speed->sides, speed->nr_sides, BENCH_STORE, corpus,
               corpus->identity, 0, n, us);
    keep(speed, STORE_OVER, round, us);
    bench_duel_store(speed->sides, speed->nr_sides, corpus,
                     corpus->ascending, us);
    keep(speed, STORE_SEQ, round, us);
    bench_duel(speed->sides, speed->nr_sides, BENCH_LOAD, corpus,
               corpus->identity, 0, n, us);
    keep(speed, LOAD_SEQ, round, us);
    bench_duel_store(speed->sides, speed->nr_sides, corpus,
                     corpus->store_order, us);
    keep(speed, STORE, round, us);
    bench_duel(speed->sides, speed->nr_sides, BENCH_LOAD, corpus,
               corpus->load_order, 0, n, us);
    keep(speed, LOAD, round, us);

    for (int i = 0; i < 3; i++) {
        bench_verify(corpus, &s[i]);
    }
    bench_req_close(req);
    bench_raw_close(&raw);
    for (int i = 0; i < 3; i++) {
        bench_store_close(&s[i]);
    }
}

static void add_us(BenchReport *report, const Speed *speed, const char *key,
                   int run, int side, const char *text)
{
    bench_report_add(report, key, speed->us[run][side], speed->rounds, NULL,
                     text);
}

/* Round by round, so that a slow round is slow on both sides. */
static void add_ratio(BenchReport *report, const Speed *speed, const char *key,
                      int run, int side, int over, const char *goal,
                      const char *text)
{
    g_autofree double *ratio = g_new(double, speed->rounds);

    for (int i = 0; i < speed->rounds; i++) {
        ratio[i] = speed->us[run][side][i] / speed->us[run][over][i];
    }
    bench_report_add(report, key, ratio, speed->rounds, goal, text);
}

static void report_p1(BenchReport *report, const Speed *speed)
{
    bench_report_section(report, "P1: one thread against raw LZ4 + copy; "
                         "random order, batches of 32 unless said otherwise");
    add_us(report, speed, "raw_store_us", STORE, RAW,
           "us per page: raw LZ4 + copy");
    add_us(report, speed, "raw_load_us", LOAD, RAW,
           "us per page: raw LZ4 decompression");
    add_us(report, speed, "store_us", STORE, BATCH, "us per page: store");
    add_us(report, speed, "load_us", LOAD, BATCH, "us per page: load");
    add_ratio(report, speed, "p1_store_ratio", STORE, BATCH, RAW, "<= 1.08",
              "store / raw");
    add_ratio(report, speed, "p1_load_ratio", LOAD, BATCH, RAW, "<= 1.20",
              "load / raw");
    add_ratio(report, speed, "single_store_ratio", STORE, SINGLE, RAW, NULL,
              "store / raw, one by one");
    add_ratio(report, speed, "single_load_ratio", LOAD, SINGLE, RAW, NULL,
              "load / raw, one by one");
    add_ratio(report, speed, "seq_store_ratio", STORE_SEQ, BATCH, RAW, NULL,
              "store / raw, ascending order");
    add_ratio(report, speed, "seq_load_ratio", LOAD_SEQ, BATCH, RAW, NULL,
              "load / raw, ascending order");
    add_ratio(report, speed, "new_store_ratio", STORE_NEW, BATCH, RAW, NULL,
              "store / raw, into memory that was never used");
    add_ratio(report, speed, "over_store_ratio", STORE_OVER, BATCH, RAW, NULL,
              "store / raw, over an older page (ascending)");
}

static void report_zram(BenchReport *report, const Speed *speed,
                        BenchZram *zram, const char *why)
{
    static const char *const keys[] = {
        "zram_store_us", "zram_load_us", "zram_store_ratio",
        "zram_load_ratio", "zram_seq_store_ratio", "zram_seq_load_ratio",
        "zram_density",
    };

    bench_report_section(report, "The host's zram (lz4), 128 KiB O_DIRECT "
                         "requests, against requests of 32 pages through the "
                         "decoder");
    add_us(report, speed, "req_store_us", STORE, REQ,
           "us per page: store, decoder and bounce copy counted");
    add_us(report, speed, "req_load_us", LOAD, REQ,
           "us per page: load, the same");
    if (!zram) {
        for (size_t i = 0; i < G_N_ELEMENTS(keys); i++) {
            bench_report_add_one(report, keys[i], BENCH_NONE, NULL, why);
        }
        return;
    }
    add_us(report, speed, "zram_store_us", STORE, ZRAM, "us per page: write");
    add_us(report, speed, "zram_load_us", LOAD, ZRAM, "us per page: read");
    add_ratio(report, speed, "zram_store_ratio", STORE, REQ, ZRAM, "<= 1.00",
              "ours / zram's");
    add_ratio(report, speed, "zram_load_ratio", LOAD, REQ, ZRAM, "<= 1.00",
              "ours / zram's");
    add_ratio(report, speed, "zram_seq_store_ratio", STORE_SEQ, REQ, ZRAM,
              NULL, "ours / zram's, ascending order");
    add_ratio(report, speed, "zram_seq_load_ratio", LOAD_SEQ, REQ, ZRAM, NULL,
              "ours / zram's, ascending order");
    bench_report_add_one(report, "zram_density", bench_zram_density(zram),
                         NULL, "its memory / compressed bytes, without its "
                         "16 bytes a page");
}

void bench_speed(const BenchCorpus *corpus, const BenchOptions *options,
                 BenchReport *report)
{
    const char *why = "zram was skipped: --no-zram";
    BenchZram *zram = options->no_zram ? NULL :
                      bench_zram_open(corpus->nr_pages, &why);
    Speed speed = { .rounds = options->rounds, .nr_sides = SIDES - !zram };

    if (zram) {
        speed.sides[ZRAM] = bench_side_zram(zram);
    } else {
        bench_say("%s", why);
    }
    for (int run = 0; run < RUNS; run++) {
        for (int i = 0; i < SIDES; i++) {
            speed.us[run][i] = g_new(double, options->rounds);
        }
    }
    for (int round = 0; round < options->rounds; round++) {
        bench_say("speed, round %d of %d", round + 1, options->rounds);
        speed_round(corpus, &speed, round);
    }
    report_p1(report, &speed);
    bench_same_filled(corpus, options, report);
    report_zram(report, &speed, zram, why);
    for (int run = 0; run < RUNS; run++) {
        for (int i = 0; i < SIDES; i++) {
            g_free(speed.us[run][i]);
        }
    }
    if (zram) {
        bench_zram_close(zram);
    }
}

/* --- Same-filled pages against those of the corpus that are not --- */

#define SAME_PAGES  16384       /* more than fits any second-level cache */

void bench_same_filled(const BenchCorpus *corpus, const BenchOptions *options,
                       BenchReport *report)
{
    int rounds = options->rounds;
    g_autofree double *store = g_new(double, rounds);
    g_autofree double *load = g_new(double, rounds);
    g_autofree double *least = g_new(double, rounds);
    BenchCorpus same;

    bench_corpus_same_filled(&same, options->quick ? 1024 : SAME_PAGES);
    for (int i = 0; i < rounds; i++) {
        BenchStore s[2];
        BenchSide side[2];
        double us[2][2];

        for (int j = 0; j < 2; j++) {
            const BenchCorpus *c = j ? &same : corpus;

            bench_store_open(&s[j], bench_store_size(c, c->nr_pages),
                             TMEM_POOL_PERSISTENT);
            side[j] = bench_side_batch(&s[j]);
            bench_duel(&side[j], 1, BENCH_STORE, c, c->store_order, 0,
                       c->nr_pages, us[j]);
            bench_duel_store(&side[j], 1, c, c->store_order, us[j]);
            bench_duel(&side[j], 1, BENCH_LOAD, c, c->load_order, 0,
                       c->nr_pages, us[j] + 1);
            bench_verify(c, &s[j]);
            bench_store_close(&s[j]);
        }
        store[i] = us[0][0] / us[1][0];
        load[i] = us[0][1] / us[1][1];
        least[i] = MIN(store[i], load[i]);
    }
    bench_report_add(report, "p1_samefilled_speedup", least, rounds, ">= 10",
                     "a same-filled page / one of the corpus: the lesser of");
    bench_report_add(report, "samefilled_store", store, rounds, NULL,
                     "- how many times faster it is stored");
    bench_report_add(report, "samefilled_load", load, rounds, NULL,
                     "- how many times faster it is loaded");
    bench_corpus_free(&same);
}
