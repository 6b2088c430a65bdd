/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a sanitizer of this build finds ends a program with an error, also where
 * nobody asked for that in its environment: long runs of tests and fuzzers are
 * started directly, and one that goes on after a finding ends as if all were
 * well.
 */
#include <glib.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Each does what it is named after, where the compiler cannot know it. */
typedef void Defect(void);

#ifdef TEST_SANITIZE_ADDRESS
static void use_after_free(void)
{
    /* volatile: the compiler would warn, or leave it out */
    char *volatile p = g_malloc0(16);

    g_free(p);
    p[1]++;
}
#endif

#ifdef TEST_SANITIZE_UNDEFINED
static void shift_too_far(void)
{
    /* volatile: the same */
    volatile int by = 40, shifted;

    shifted = 1 << by;
    (void)shifted;
}
#endif

#ifdef TEST_SANITIZE_THREAD
static int shared;

static void *count(void *opaque)
{
    for (int i = 0; i < 100000; i++) {
        shared++;
    }
    return NULL;
}

static void race(void)
{
    pthread_t threads[2];

    for (int i = 0; i < 2; i++) {
        g_assert_cmpint(pthread_create(&threads[i], NULL, count, NULL), ==, 0);
    }
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
    }
}
#endif

static const struct {
    const char *name;
    Defect *defect;
} defects[] = {
#ifdef TEST_SANITIZE_ADDRESS
    { "use-after-free", use_after_free },
#endif
#ifdef TEST_SANITIZE_UNDEFINED
    { "shift-too-far", shift_too_far },
#endif
#ifdef TEST_SANITIZE_THREAD
    { "race", race },
#endif
    { NULL, NULL }
};

static const char *program;

/* Runs this program with one defect; @name NULL: with none. */
static bool succeeds(const char *name)
{
    const char *const args[] = { program, "--do", name ?: "nothing", NULL };
    g_auto(GStrv) env = g_get_environ();
    g_autoptr(GError) err = NULL;
    int status;

    env = g_environ_unsetenv(env, "ASAN_OPTIONS");
    env = g_environ_unsetenv(env, "UBSAN_OPTIONS");
    env = g_environ_unsetenv(env, "TSAN_OPTIONS");
    g_spawn_sync(NULL, (char **)args, env, G_SPAWN_STDERR_TO_DEV_NULL, NULL,
                 NULL, NULL, NULL, &status, &err);
    g_assert_no_error(err);
    return status == 0;
}

static void test_defect(const void *opaque)
{
    g_assert_true(succeeds(NULL));
    g_assert_false(succeeds(opaque));
}

static int do_one(const char *name)
{
    for (int i = 0; defects[i].name; i++) {
        if (!strcmp(defects[i].name, name)) {
            defects[i].defect();
        }
    }
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    if (argc == 3 && !strcmp(argv[1], "--do")) {
        return do_one(argv[2]);
    }
    program = argv[0];
    g_test_init(&argc, &argv, NULL);
    for (int i = 0; defects[i].name; i++) {
        g_autofree char *path = g_strconcat("/tmem/sanitizer/",
                                            defects[i].name, NULL);

        g_test_add_data_func(path, defects[i].name, test_defect);
    }
    return g_test_run();
}
