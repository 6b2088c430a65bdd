/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Runs a fuzz target without a fuzzer: on files, or on random inputs for a time
 *
 *   fuzz-req FILE...
 *   TMEM_TEST_SEED=0x... TMEM_FUZZ_SECONDS=60 fuzz-req
 *
 * With a fuzzer, the target is linked to it instead of to this file; see
 * README.md.
 */
#include <stdio.h>

#include "fuzz.h"
#include "testlib.h"

static int run_files(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        g_autoptr(GError) err = NULL;
        g_autofree char *data = NULL;
        gsize size;

        if (!g_file_get_contents(argv[i], &data, &size, &err)) {
            fprintf(stderr, "%s\n", err->message);
            return 1;
        }
        LLVMFuzzerTestOneInput((uint8_t *)data, size);
    }
    return 0;
}

/* Random bytes, with small numbers and zeros among them. */
static void make_input(uint8_t *buf, size_t size, TestRand *r)
{
    for (size_t i = 0; i < size; i++) {
        uint64_t v = test_rand(r);

        buf[i] = v & 0x300 ? v & (v >> 10 & 0x400 ? 0xff : 7) : 0;
    }
}

static void test_random(void)
{
    const char *text = g_getenv("TMEM_FUZZ_SECONDS");
    gint64 seconds = text ? (gint64)g_ascii_strtoull(text, NULL, 0) : 2;
    gint64 end = g_get_monotonic_time() + seconds * G_USEC_PER_SEC;
    uint64_t nr = 0;

    do {
        TestRand r = { test_seed() + nr };
        uint8_t buf[2048];
        size_t size = test_rand_below(&r, sizeof(buf));

        make_input(buf, size, &r);
        LLVMFuzzerTestOneInput(buf, size);
        nr++;
    } while (g_get_monotonic_time() < end);
    g_test_message("%" G_GUINT64_FORMAT " inputs", nr);
    g_assert_cmpuint(nr, >, 10);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    if (argc > 1) {
        return run_files(argc, argv);
    }
    g_test_add_func("/tmem/fuzz/req", test_random);
    return g_test_run();
}
