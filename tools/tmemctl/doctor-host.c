/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmemctl doctor: the host's set-up
 *
 * A file that is not there or says something new is no finding, but where its
 * absence is one.
 */
#include <stdio.h>
#include <string.h>

#include "doctor.h"
#include "value.h"

/* A file below @root as text, or NULL. */
static char *slurp(const char *root, const char *path)
{
    g_autofree char *full = g_build_filename(root, path, NULL);
    char *text;

    return g_file_get_contents(full, &text, NULL, NULL) ? text : NULL;
}

/* The line "KEY:   NUMBER kB" of @text as bytes. */
static bool get_kib(const char *text, const char *key, uint64_t *bytes)
{
    g_auto(GStrv) lines = text ? g_strsplit(text, "\n", -1) : NULL;
    size_t length = strlen(key);
    int i;

    for (i = 0; lines && lines[i]; i++) {
        if (!strncmp(lines[i], key, length) && lines[i][length] == ':') {
            *bytes = g_ascii_strtoull(lines[i] + length + 1, NULL, 10) * 1024;
            return true;
        }
    }
    return false;
}

static uint64_t all_sizes(const CtlView *view)
{
    uint64_t sum = 0;
    guint i;

    for (i = 0; i < view->stores->len; i++) {
        const CtlStore *store = view->stores->pdata[i];
        uint64_t size = 0;

        ctl_get_uint(store->info, "stats", "size-bytes", &size);
        sum += size;
    }
    return sum;
}

static void check_memory(GPtrArray *findings, const char *root,
                         const CtlView *view)
{
    g_autofree char *meminfo = slurp(root, "proc/meminfo");
    g_autofree char *overcommit = slurp(root, "proc/sys/vm/overcommit_memory");
    uint64_t stores = all_sizes(view), total;

    if (get_kib(meminfo, "MemTotal", &total) && stores > total / 10 * 9) {
        g_autofree char *sizes = ctl_size_str(stores, false);
        g_autofree char *memory = ctl_size_str(total, false);

        ctl_finding_add(findings, true, "stores-larger-than-host",
            g_strdup_printf("the stores may take %s, and the host has %s of "
                            "memory", sizes, memory),
            g_strdup("make them smaller (size= of tmem-store), or bound one "
                     "with tmemctl set --store STORE max-host-percent=50"));
    }
    if (overcommit && *overcommit == '2') {
        ctl_finding_add(findings, true, "overcommit",
            g_strdup("vm.overcommit_memory is 2, so a store counts with twice "
                     "its size from the start, used or not"),
            g_strdup("sysctl vm.overcommit_memory=0, or raise "
                     "vm.overcommit_ratio accordingly"));
    }
}

/* Pages of guests that are compressed once more under the guest. */
static void check_swap(GPtrArray *findings, const char *root)
{
    g_autofree char *swaps = slurp(root, "proc/swaps");
    g_autofree char *zswap = slurp(root,
                                   "sys/module/zswap/parameters/enabled");

    if (swaps && strstr(swaps, "/dev/zram")) {
        ctl_finding_add(findings, true, "swap-on-zram",
            g_strdup("the host swaps to zram: what a store has compressed is "
                     "compressed again when the host swaps QEMU out"),
            g_strdup("swapoff the zram device, or keep QEMU out of it with "
                     "MemorySwapMax=0 of its unit"));
    }
    if (zswap && (*zswap == 'Y' || *zswap == '1') && swaps &&
        strstr(swaps, "\n/")) {
        ctl_finding_add(findings, true, "zswap",
            g_strdup("zswap is on: what a store has compressed is compressed "
                     "again when the host swaps QEMU out"),
            g_strdup("echo 0 >/sys/module/zswap/parameters/enabled, or keep "
                     "QEMU out of swap with MemorySwapMax=0 of its unit"));
    }
}

static void check_kernel(GPtrArray *findings, const char *root)
{
    g_autofree char *pressure = slurp(root, "proc/pressure/memory");
    g_autofree char *thp =
        slurp(root, "sys/kernel/mm/transparent_hugepage/enabled");

    if (!pressure) {
        ctl_finding_add(findings, false, "no-psi",
            g_strdup("the kernel does not tell memory pressure "
                     "(/proc/pressure/memory), so pressure-stall of a store "
                     "has no effect"),
            g_strdup("boot the host with psi=1"));
    }
    if (thp && strstr(thp, "[never]")) {
        ctl_finding_add(findings, false, "no-thp",
            g_strdup("transparent huge pages are off, which makes the RAM of "
                     "all guests slower"),
            g_strdup("echo madvise >/sys/kernel/mm/transparent_hugepage/"
                     "enabled"));
    }
}

/* The soft limit of memory that @pid may lock; false if there is none. */
static bool get_lock_limit(const char *root, pid_t pid, uint64_t *bytes)
{
    static const char key[] = "Max locked memory";
    g_autofree char *path = g_strdup_printf("proc/%d/limits", (int)pid);
    g_autofree char *text = slurp(root, path);
    const char *line = text ? strstr(text, key) : NULL;

    return line && sscanf(line + strlen(key), "%" G_GUINT64_FORMAT, bytes) == 1;
}

static void check_process(GPtrArray *findings, const char *root,
                          const CtlServer *server)
{
    g_autofree char *path = g_strdup_printf("proc/%d/status",
                                            (int)server->pid);
    g_autofree char *status = slurp(root, path);
    g_autofree char *size = NULL;
    uint64_t bytes;

    if (get_kib(status, "VmSwap", &bytes) && bytes >= 1 << 20) {
        size = ctl_size_str(bytes, false);
        ctl_finding_add(findings, true, "swapped-out",
            g_strdup_printf("the host has swapped out %s of process %d, which "
                            "has a store: its pages are slow now", size,
                            (int)server->pid),
            g_strdup("make the store smaller, let it give way with "
                     "pressure-stall, or set MemorySwapMax=0 of its unit"));
    } else if (server->mem_lock && get_lock_limit(root, server->pid, &bytes)) {
        size = ctl_size_str(bytes, false);
        ctl_finding_add(findings, true, "locked-memory",
            g_strdup_printf("process %d locks its memory and may lock no more "
                            "than %s: another store, which reserves twice its "
                            "size, cannot be added", (int)server->pid, size),
            g_strdup("start it with LimitMEMLOCK=infinity (ulimit -l "
                     "unlimited)"));
    }
}

void ctl_doctor_host(GPtrArray *findings, const char *root,
                     const CtlView *view)
{
    guint i;

    check_memory(findings, root, view);
    check_swap(findings, root);
    check_kernel(findings, root);
    for (i = 0; i < view->servers->len; i++) {
        const CtlServer *server = view->servers->pdata[i];

        if (server->pid) {
            check_process(findings, root, server);
        }
    }
}
