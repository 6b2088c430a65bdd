/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Runs a fuzz target without a fuzzer
 *
 *   fuzz-NAME                  its corpus, then random inputs for a second:
 *                              corpus entries with changes, and plain noise
 *   TMEM_TEST_SEED=0x... TMEM_FUZZ_SECONDS=60 fuzz-NAME
 *   fuzz-NAME FILE...          inputs as they are
 *   fuzz-NAME --unpack DIR     writes the corpus to files, as a fuzzer wants it
 *   fuzz-NAME --pack DIR       prints the files of DIR in the corpus's form
 *
 * A corpus is a file of text, corpus/NAME.hex: an input in each line, two hex
 * digits for each byte; lines with '#' are comments.
 *
 * With a fuzzer, the target is linked to it instead of to this file; see
 * README.md.
 */
#include <stdio.h>

#include "fuzz.h"
#include "testlib.h"

#define INPUT_MAX   4096

/* --- The corpus --- */

static void free_bytes(gpointer bytes)
{
    g_byte_array_unref(bytes);
}

static GByteArray *from_hex(const char *line)
{
    GByteArray *bytes = g_byte_array_new();

    for (; g_ascii_isxdigit(line[0]) && g_ascii_isxdigit(line[1]); line += 2) {
        uint8_t byte = g_ascii_xdigit_value(line[0]) << 4 |
                       g_ascii_xdigit_value(line[1]);

        g_byte_array_append(bytes, &byte, 1);
    }
    g_assert_cmpstr(line, ==, "");
    return bytes;
}

static GPtrArray *read_corpus(void)
{
    GPtrArray *corpus = g_ptr_array_new_with_free_func(free_bytes);
    g_autoptr(GError) err = NULL;
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;

    g_file_get_contents(TMEM_FUZZ_CORPUS "/" TMEM_FUZZ_NAME ".hex", &text,
                        NULL, &err);
    g_assert_no_error(err);
    lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; *line; line++) {
        if (**line && **line != '#') {
            g_ptr_array_add(corpus, from_hex(*line));
        }
    }
    return corpus;
}

static int unpack(const char *dir)
{
    g_autoptr(GPtrArray) corpus = read_corpus();

    for (unsigned i = 0; i < corpus->len; i++) {
        GByteArray *bytes = g_ptr_array_index(corpus, i);
        g_autofree char *path = g_strdup_printf("%s/%03u", dir, i);
        g_autoptr(GError) err = NULL;

        if (!g_file_set_contents(path, (char *)bytes->data, bytes->len, &err)) {
            fprintf(stderr, "%s\n", err->message);
            return 1;
        }
    }
    return 0;
}

static bool read_file(const char *path, char **data, gsize *size)
{
    g_autoptr(GError) err = NULL;

    if (!g_file_get_contents(path, data, size, &err)) {
        fprintf(stderr, "%s\n", err->message);
        return false;
    }
    return true;
}

static int pack(const char *path)
{
    g_autoptr(GError) err = NULL;
    g_autoptr(GDir) dir = g_dir_open(path, 0, &err);
    const char *name;

    if (!dir) {
        fprintf(stderr, "%s\n", err->message);
        return 1;
    }
    while ((name = g_dir_read_name(dir))) {
        g_autofree char *file = g_build_filename(path, name, NULL);
        g_autofree char *data = NULL;
        gsize size;

        if (!read_file(file, &data, &size)) {
            return 1;
        }
        for (gsize i = 0; i < size; i++) {
            printf("%02x", (uint8_t)data[i]);
        }
        if (size) {
            printf("\n");
        }
    }
    return 0;
}

static int run_files(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        g_autofree char *data = NULL;
        gsize size;

        if (!read_file(argv[i], &data, &size)) {
            return 1;
        }
        LLVMFuzzerTestOneInput((uint8_t *)data, size);
    }
    return 0;
}

static void test_corpus(void)
{
    g_autoptr(GPtrArray) corpus = read_corpus();

    g_assert_cmpuint(corpus->len, >, 5);
    for (unsigned i = 0; i < corpus->len; i++) {
        GByteArray *bytes = g_ptr_array_index(corpus, i);

        LLVMFuzzerTestOneInput(bytes->data, bytes->len);
    }
}

/* --- Random inputs --- */

/* Random bytes, with small numbers and zeros among them. */
static void make_noise(GByteArray *input, TestRand *r)
{
    g_byte_array_set_size(input, test_rand_below(r, INPUT_MAX / 2));
    for (size_t i = 0; i < input->len; i++) {
        uint64_t v = test_rand(r);

        input->data[i] = v & 0x300 ? v & (v >> 10 & 0x400 ? 0xff : 7) : 0;
    }
}

static void change_once(GByteArray *input, TestRand *r)
{
    size_t at = test_rand_below(r, input->len);
    size_t bytes = 1 + test_rand_below(r, 16);

    bytes = MIN(bytes, input->len - at);
    switch (test_rand_below(r, 5)) {
    case 0:
        input->data[at] ^= 1 << test_rand_below(r, 8);
        break;
    case 1:
        input->data[at] = test_rand(r);
        break;
    case 2:
        g_byte_array_remove_range(input, at, MIN(bytes, input->len - 1));
        break;
    case 3:
        memset(input->data + at, test_rand_below(r, 2) ? 0xff : 0, bytes);
        break;
    default:
        memmove(input->data + at,
                input->data + test_rand_below(r, input->len - bytes + 1),
                bytes);
        break;
    }
}

/* An entry of the corpus, the head of another behind it, a few changes. */
static void change_entry(GByteArray *input, GPtrArray *corpus, TestRand *r)
{
    GByteArray *a = g_ptr_array_index(corpus, test_rand_below(r, corpus->len));
    GByteArray *b = g_ptr_array_index(corpus, test_rand_below(r, corpus->len));

    g_byte_array_append(input, a->data, MIN(a->len, INPUT_MAX / 2));
    if (test_rand_below(r, 2)) {
        g_byte_array_append(input, b->data,
                            test_rand_below(r, MIN(b->len, INPUT_MAX / 2)));
    }
    for (unsigned i = test_rand_below(r, 8); i && input->len > 1; i--) {
        change_once(input, r);
    }
}

static void test_random(void)
{
    g_autoptr(GPtrArray) corpus = read_corpus();
    const char *text = g_getenv("TMEM_FUZZ_SECONDS");
    gint64 seconds = text ? (gint64)g_ascii_strtoull(text, NULL, 0) : 1;
    gint64 end = g_get_monotonic_time() + seconds * G_USEC_PER_SEC;
    uint64_t nr = 0;

    do {
        g_autoptr(GByteArray) input = g_byte_array_new();
        TestRand r = { test_seed() + nr };

        if (test_rand_below(&r, 4)) {
            change_entry(input, corpus, &r);
        } else {
            make_noise(input, &r);
        }
        /* Its own allocation, so that a sanitiser sees a step beyond it. */
        LLVMFuzzerTestOneInput(input->data, input->len);
        nr++;
        /* However busy the machine is. */
    } while (g_get_monotonic_time() < end || nr < 20);
    g_test_message("%" G_GUINT64_FORMAT " inputs", nr);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    if (argc == 3 && !strcmp(argv[1], "--unpack")) {
        return unpack(argv[2]);
    }
    if (argc == 3 && !strcmp(argv[1], "--pack")) {
        return pack(argv[2]);
    }
    if (argc > 1) {
        return run_files(argc, argv);
    }
    g_test_add_func("/tmem/fuzz/" TMEM_FUZZ_NAME "/corpus", test_corpus);
    g_test_add_func("/tmem/fuzz/" TMEM_FUZZ_NAME "/random", test_random);
    return g_test_run();
}
