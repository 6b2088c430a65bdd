/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The store's memory as the operating system sees it
 */
#include <errno.h>
#include <linux/capability.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "libtmem/tmem-mlock.h"
#include "testlib.h"
#include "tmem-os.h"
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

/* --- Locked memory --- */

static void store_and_invalidate(Fixture *f, uint64_t nr, uint64_t *full)
{
    for (uint64_t i = 0; i < nr; i++) {
        g_assert_cmpint(test_store(f->ctx, test_handle(f->persistent, i / 64,
                                                       i),
                                   TEST_PAGE_NOISE, i), ==, TMEM_STATUS_OK);
    }
    *full = test_resident_bytes();
    for (uint64_t i = 0; i < nr; i++) {
        TmemHandle h = test_handle(f->persistent, i / 64, i);

        g_assert_cmpint(tmem_page_invalidate(f->ctx, &h), ==, TMEM_STATUS_OK);
    }
}

static uint64_t resident_at(void *addr, size_t bytes)
{
    size_t page_size = sysconf(_SC_PAGESIZE);
    size_t nr = (bytes + page_size - 1) / page_size;
    g_autofree unsigned char *there = g_malloc(nr);
    uint64_t sum = 0;

    g_assert_cmpint(mincore(addr, bytes, there), ==, 0);
    for (size_t i = 0; i < nr; i++) {
        sum += (there[i] & 1) * page_size;
    }
    return sum;
}

/*
 * A store that is made in a process that locks what it maps from now on: one of
 * object-add, in a QEMU with "-overcommit mem-lock=on".
 */
static void locked_process(void)
{
    const uint64_t size = 256u << 20, nr = 5000;
    uint64_t before, empty, full, after;
    Fixture f;
    void *p;

    /* Without the right to lock so much there is nothing to see. */
    if (mlockall(MCL_FUTURE) < 0) {
        g_test_skip("cannot lock memory");
        return;
    }
    p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
             -1, 0);
    if (p == MAP_FAILED) {
        g_test_skip("cannot lock enough memory");
        return;
    }
    munmap(p, size);
    before = test_resident_bytes();
    fixture_set_up(&f, size, 0);
    empty = test_resident_bytes();
    store_and_invalidate(&f, nr, &full);
    after = test_resident_bytes();
    g_assert_cmpuint(empty - before, <, size / 16);
    g_assert_cmpuint(full - empty, >, nr * 4000);
    if (!TMEM_TEST_TSAN) {
        g_assert_cmpuint(after - before, <, size / 16);
    }
    fixture_tear_down(&f);
}

static void test_locked_memory(void)
{
    if (g_test_subprocess()) {
        locked_process();
        return;
    }
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_passed();
}

/* Whoever may lock little cannot, and sanitizers do not, whatever they say. */
static bool mlock_works(void)
{
    g_autofree char *flags = NULL;
    const size_t bytes = 1u << 20;
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    g_assert_true(p != MAP_FAILED);
    if (!mlock(p, bytes)) {
        flags = vm_flags(p);
    }
    munmap(p, bytes);
    return flags && strstr(flags, " lo ");
}

/* As QEMU does with the stores of its command line there. */
static void locked_later_process(bool on_fault)
{
    const uint64_t size = 256u << 20, other_bytes = 1u << 20, nr = 5000;
    g_autofree char *store_flags = NULL;
    g_autofree char *other_flags = NULL;
    uint64_t before, full, after;
    void *other;
    Fixture f;
    int ret;

    fixture_set_up(&f, size, 0);
    other = mmap(NULL, other_bytes, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    g_assert_true(other != MAP_FAILED);
    before = test_resident_bytes();
    ret = tmem_mlock_process(on_fault);
    if (ret == -ENOMEM) {
        g_test_message("cannot lock enough memory");
        fixture_tear_down(&f);
        munmap(other, other_bytes);
        return;
    }
    g_assert_cmpint(ret, ==, 0);
    /* Programs and libraries come in, the store does not. */
    g_assert_cmpuint(test_resident_bytes() - before, <, size / 4);
    store_flags = vm_flags(f.store->arena.base);
    other_flags = vm_flags(other);
    g_assert_null(strstr(store_flags, " lo "));
    g_assert_nonnull(strstr(other_flags, " lo "));
    g_assert_cmpuint(resident_at(other, other_bytes), ==,
                     on_fault ? 0 : other_bytes);
    before = test_resident_bytes();
    store_and_invalidate(&f, nr, &full);
    after = test_resident_bytes();
    g_assert_cmpuint(full - before, >, nr * 4000);
    g_assert_cmpuint(after - before, <, size / 16);
    fixture_tear_down(&f);
    munmap(other, other_bytes);
}

static void test_locked_later(gconstpointer opaque)
{
    if (g_test_subprocess()) {
        locked_later_process(GPOINTER_TO_INT(opaque));
        return;
    }
    if (!mlock_works()) {
        g_test_skip("cannot lock memory");
        return;
    }
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_passed();
}

/* Unmapped, by "another thread", when what is around is about to be locked */
static uint8_t *holes[2];

/* In the place of the C library's, for libtmem too. */
int mlock2(const void *addr, size_t bytes, unsigned int flags)
{
    const uint8_t *start = addr;

    for (unsigned i = 0; i < G_N_ELEMENTS(holes); i++) {
        if (holes[i] && start <= holes[i] && holes[i] < start + bytes) {
            munmap(holes[i], getpagesize());
            holes[i] = NULL;
            break;
        }
    }
    return syscall(SYS_mlock2, addr, bytes, flags);
}

/* What is behind memory that goes meanwhile is locked, too. */
static void holes_process(bool on_fault)
{
    const size_t page = getpagesize(), bytes = 64 * page;
    /* Before, between and behind the holes. */
    const size_t parts[][2] = { { 0, 9 }, { 10, 39 }, { 40, 64 } };
    uint8_t *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    Fixture f;

    g_assert_true(p != MAP_FAILED);
    fixture_set_up(&f, FIXTURE_SIZE, 0);
    holes[0] = p + 9 * page;
    holes[1] = p + 39 * page;
    g_assert_cmpint(tmem_mlock_process(on_fault), ==, 0);
    for (unsigned i = 0; i < G_N_ELEMENTS(holes); i++) {
        g_assert_null(holes[i]);
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(parts); i++) {
        uint8_t *start = p + parts[i][0] * page;
        size_t length = (parts[i][1] - parts[i][0]) * page;
        g_autofree char *first = vm_flags(start);
        g_autofree char *last = vm_flags(start + length - page);

        g_assert_nonnull(strstr(first, " lo "));
        g_assert_nonnull(strstr(last, " lo "));
        g_assert_cmpuint(resident_at(start, length), ==, on_fault ? 0 : length);
    }
    fixture_tear_down(&f);
}

static void test_locked_holes(gconstpointer opaque)
{
    if (g_test_subprocess()) {
        holes_process(GPOINTER_TO_INT(opaque));
        return;
    }
    if (!mlock_works()) {
        g_test_skip("cannot lock memory");
        return;
    }
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_passed();
}

static void limited_process(void)
{
    struct rlimit limit;
    struct __user_cap_header_struct caps = {
        .version = _LINUX_CAPABILITY_VERSION_3,
    };
    struct __user_cap_data_struct none[2] = { };
    TmemStoreConfig config = { .size_bytes = 256u << 20 };
    g_autoptr(GError) err = NULL;
    void *p;

    /* Enough for all but a store; who has the right to lock has no limit. */
    g_assert_cmpint(getrlimit(RLIMIT_MEMLOCK, &limit), ==, 0);
    limit.rlim_cur = MIN(limit.rlim_max, 64u << 20);
    g_assert_cmpint(setrlimit(RLIMIT_MEMLOCK, &limit), ==, 0);
    g_assert_cmpint(syscall(SYS_capset, &caps, none), ==, 0);
    if (mlockall(MCL_FUTURE) < 0) {
        g_test_message("cannot lock memory");
        return;
    }
    /* AddressSanitizer does nothing of the kind. */
    p = mmap(NULL, config.size_bytes, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p != MAP_FAILED) {
        g_test_message("there is no limit");
        return;
    }
    g_assert_null(tmem_store_new(&config, &err));
    g_assert_nonnull(err);
    g_assert_nonnull(strstr(err->message, "smaller size"));
    g_assert_nonnull(strstr(err->message, "ulimit -l"));
}

static void test_locked_limit(void)
{
    if (g_test_subprocess()) {
        limited_process();
        return;
    }
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_passed();
}

/* --- What the budget counts --- */

static uint64_t resident_of_client(Fixture *f)
{
    return resident_at(f->client->pools, f->client->pools_bytes) +
           resident_at(f->ctx->tallies, f->ctx->tallies_bytes);
}

static void expect_counted(Fixture *f)
{
    TmemArena *arena = &f->store->arena;
    TmemIndex *index = &f->store->index;
    TmemClientStats stats;

    tmem_client_get_stats(f->client, &stats);
    g_assert_cmpuint(resident_of_client(f) + stats.total.data_bytes +
                     stats.total.index_bytes, <=, stats.bytes);
    g_assert_cmpuint(resident_at(arena->base, arena->size_bytes) +
                     resident_at(arena->segments, arena->segments_bytes) +
                     resident_at(index->tables, index->tables_bytes) +
                     resident_of_client(f), <=, tmem_arena_used_bytes(arena));
}

/* All memory that a guest can make the store use is in its budget. */
static void test_resident(void)
{
    uint64_t pools[30], low;
    Fixture f;

    fixture_set_up(&f, 64u << 20, 0);
    expect_counted(&f);
    low = resident_of_client(&f);
    for (unsigned i = 0; i < G_N_ELEMENTS(pools); i++) {
        g_assert_cmpint(tmem_pool_create(f.client, TMEM_POOL_PERSISTENT,
                                         TMEM_PAGE_SHIFT, &pools[i]), ==, 0);
        g_assert_cmpint(test_store(f.ctx, test_handle(pools[i], 1, 1),
                                   TEST_PAGE_ZERO, 1), ==, 0);
        expect_counted(&f);
    }
    /* Full segments, so that their own slack hides nothing. */
    for (uint64_t i = 0; i < 8000; i++) {
        g_assert_cmpint(test_store(f.ctx, test_handle(f.persistent, 1, i),
                                   TEST_PAGE_NOISE, i), ==, 0);
    }
    expect_counted(&f);
    g_assert_cmpuint(f.store->arena.charged_bytes, >=,
                     resident_at(f.store->arena.segments,
                                 f.store->arena.segments_bytes) +
                     resident_of_client(&f) +
                     resident_at(f.store->index.tables,
                                 f.store->index.tables_bytes));
    for (unsigned i = 0; i < G_N_ELEMENTS(pools); i++) {
        g_assert_cmpint(tmem_pool_destroy(f.client, pools[i]), ==, 0);
    }
    expect_counted(&f);
    g_assert_cmpuint(resident_of_client(&f), ==, low);
    fixture_tear_down(&f);
}

/* --- Hosts with larger pages --- */

/*
 * Memory goes back, and is touched, in pages of the host: what the budget
 * counts in smaller pieces is there without being counted.
 */
static void test_page_size(gconstpointer opaque)
{
    const size_t page_size = GPOINTER_TO_SIZE(opaque);
    static const uint64_t sizes[] = {
        TMEM_STORE_SIZE_MIN, FIXTURE_SIZE, 300u << 20,
    };

    tmem_os_pretend_page_size(page_size);
    for (unsigned i = 0; i < G_N_ELEMENTS(sizes); i++) {
        const uint64_t nr = i ? 4000 : 1000;
        TmemStoreStats stats;
        TmemIndex *index;
        Fixture f;

        fixture_set_up(&f, sizes[i], 0);
        index = &f.store->index;
        g_assert_cmpuint(1ull << f.store->arena.segment_shift, >=, page_size);
        g_assert_cmpuint(f.empty_bytes, >=, index->nr_shards * page_size);
        g_assert_cmpuint(f.empty_bytes, <=, sizes[i] / 4);
        for (uint32_t shard = 0; shard < index->nr_shards; shard++) {
            g_assert_cmpuint((uintptr_t)index->shards[shard].buckets %
                             page_size, ==,
                             (uintptr_t)index->tables % page_size);
        }
        /* Enough nodes for the tables to grow, and for many segments. */
        for (uint64_t n = 0; n < nr; n++) {
            g_assert_cmpint(test_store(f.ctx, test_handle(f.persistent, n, 0),
                                       n % 64 ? TEST_PAGE_ZERO :
                                                TEST_PAGE_MIXED, n), ==, 0);
        }
        tmem_store_get_stats(f.store, &stats);
        g_assert_cmpuint(stats.used_bytes, >,
                         f.empty_bytes + nr * sizeof(TmemNode));
        fixture_tear_down(&f);
    }
    tmem_os_pretend_page_size(0);
}

/* All places in the largest store have a reference that fits an entry. */
static void test_largest(void)
{
    TmemStoreConfig config = { .size_bytes = 8ull << 40, .seed = 1 };
    g_autoptr(GError) err = NULL;
    TmemStore *store = tmem_store_new(&config, &err);
    TmemArena *arena;

    if (!store) {
        g_test_skip(err->message);
        return;
    }
    arena = &store->arena;
    g_assert_cmpuint(tmem_arena_ref(arena, arena->nr_segments, 0) - 1, <,
                     1ull << TMEM_REF_BITS);
    g_assert_cmpuint((uint64_t)arena->nr_segments << arena->segment_shift, >=,
                     config.size_bytes);
    tmem_store_free(store);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/tmem/memory/no-huge-pages", test_no_huge_pages);
    g_test_add_func("/tmem/memory/locked", test_locked_memory);
    g_test_add_data_func("/tmem/memory/locked-later/filled",
                         GINT_TO_POINTER(false), test_locked_later);
    g_test_add_data_func("/tmem/memory/locked-later/on-fault",
                         GINT_TO_POINTER(true), test_locked_later);
    g_test_add_data_func("/tmem/memory/locked-holes/filled",
                         GINT_TO_POINTER(false), test_locked_holes);
    g_test_add_data_func("/tmem/memory/locked-holes/on-fault",
                         GINT_TO_POINTER(true), test_locked_holes);
    g_test_add_func("/tmem/memory/locked-limit", test_locked_limit);
    g_test_add_func("/tmem/memory/resident", test_resident);
    g_test_add_func("/tmem/memory/largest", test_largest);
    g_test_add_data_func("/tmem/memory/page-size/4k", GSIZE_TO_POINTER(4096),
                         test_page_size);
    g_test_add_data_func("/tmem/memory/page-size/64k",
                         GSIZE_TO_POINTER(65536), test_page_size);
    return g_test_run();
}
