/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The store's memory as the operating system sees it
 */
#include <stdio.h>

#include "testlib.h"
#include "tmem-store.h"

/* --- Huge pages --- */

/* The line "VmFlags:" of the mapping that holds @addr. */
static char *vm_flags(const void *addr)
{
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;
    bool found = false;

    g_assert_true(g_file_get_contents("/proc/self/smaps", &text, NULL, NULL));
    lines = g_strsplit(text, "\n", -1);
    for (unsigned i = 0; lines[i]; i++) {
        uintptr_t start, end;
        char dash;

        if (sscanf(lines[i], "%" G_GINTPTR_MODIFIER "x%c%" G_GINTPTR_MODIFIER
                   "x ", &start, &dash, &end) == 3 && dash == '-') {
            found = start <= (uintptr_t)addr && (uintptr_t)addr < end;
        } else if (found && g_str_has_prefix(lines[i], "VmFlags:")) {
            return g_strconcat(lines[i], " ", NULL);
        }
    }
    return NULL;
}

/* With "always" as the system's setting a page would become 2 MiB. */
static void test_no_huge_pages(void)
{
    Fixture f;

    if (!g_file_test("/sys/kernel/mm/transparent_hugepage",
                     G_FILE_TEST_EXISTS)) {
        g_test_skip("this kernel has no transparent huge pages");
        return;
    }
    fixture_set_up(&f, FIXTURE_SIZE, 0);
    for (int i = 0; i < 4; i++) {
        const void *addr[] = {
            f.store->arena.base, f.store->arena.segments,
            f.store->index.tables, f.ctx->tallies,
        };
        g_autofree char *flags = vm_flags(addr[i]);

        g_assert_nonnull(flags);
        g_assert_nonnull(strstr(flags, " nh "));
    }
    fixture_tear_down(&f);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/tmem/memory/no-huge-pages", test_no_huge_pages);
    return g_test_run();
}
