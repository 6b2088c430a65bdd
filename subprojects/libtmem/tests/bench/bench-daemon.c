/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmem-bench: qemu-storage-daemon, the other process
 */
#include <errno.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

#define START_SECONDS   30

struct BenchDaemon {
    pid_t pid;
    char *dir;
    char *tmem_path;
    char *blk_path;             /* NULL: no disk */
};

/* For the end of the program, and before that of the zram that it has open. */
static BenchDaemon *running;

static void stop_running(void)
{
    if (running) {
        bench_daemon_stop(running);
    }
}

/* In the child: what ends us, however, ends it. */
static void die_with_parent(void *opaque)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
}

static void add(GPtrArray *argv, const char *option, char *value)
{
    g_ptr_array_add(argv, g_strdup(option));
    g_ptr_array_add(argv, value);
}

static GPtrArray *command(BenchDaemon *d, const char *program,
                          uint64_t store_bytes, const char *disk)
{
    GPtrArray *argv = g_ptr_array_new_with_free_func(g_free);

    g_ptr_array_add(argv, g_strdup(program));
    add(argv, "--object", g_strdup_printf("tmem-store,id=s0,size=%" PRIu64,
                                          store_bytes));
    add(argv, "--object",
        g_strdup_printf("tmem-vhost-user-server,id=g0,store=s0,"
                        "addr.type=unix,addr.path=%s", d->tmem_path));
    if (disk) {
        add(argv, "--object", g_strdup("iothread,id=io0"));
        add(argv, "--blockdev",
            g_strdup_printf("host_device,node-name=disk,filename=%s,"
                            "cache.direct=on,aio=native", disk));
        add(argv, "--export",
            g_strdup_printf("vhost-user-blk,id=e0,node-name=disk,writable=on,"
                            "iothread=io0,addr.type=unix,addr.path=%s",
                            d->blk_path));
    }
    g_ptr_array_add(argv, NULL);
    return argv;
}

/* The sockets are made one after the other. */
static void wait_for_sockets(BenchDaemon *d, const char *program)
{
    const char *last = d->blk_path ?: d->tmem_path;

    for (int i = 0; i < START_SECONDS * 100; i++) {
        if (g_file_test(last, G_FILE_TEST_EXISTS) &&
            g_file_test(d->tmem_path, G_FILE_TEST_EXISTS)) {
            return;
        }
        if (waitpid(d->pid, NULL, WNOHANG) == d->pid) {
            d->pid = 0;
            break;
        }
        g_usleep(10000);
    }
    bench_daemon_stop(d);
    bench_die("%s did not start: its own message is above", program);
}

BenchDaemon *bench_daemon_start(const char *program, uint64_t store_bytes,
                                const char *disk)
{
    BenchDaemon *d = g_new0(BenchDaemon, 1);
    g_autoptr(GPtrArray) argv = NULL;
    g_autoptr(GError) err = NULL;

    d->dir = g_dir_make_tmp("tmem-bench-XXXXXX", &err);
    if (!d->dir) {
        bench_die("%s", err->message);
    }
    d->tmem_path = g_build_filename(d->dir, "tmem", NULL);
    d->blk_path = disk ? g_build_filename(d->dir, "blk", NULL) : NULL;
    argv = command(d, program, store_bytes, disk);
    if (!g_spawn_async(NULL, (char **)argv->pdata, NULL,
                       G_SPAWN_DO_NOT_REAP_CHILD | G_SPAWN_STDOUT_TO_DEV_NULL,
                       die_with_parent, NULL, &d->pid, &err)) {
        g_rmdir(d->dir);
        bench_die("cannot run %s: %s; build it with make qemu, or name it with"
                  " --daemon FILE", program, err->message);
    }
    running = d;
    bench_zram_set_user(d->pid);
    atexit(stop_running);
    wait_for_sockets(d, program);
    return d;
}

void bench_daemon_stop(BenchDaemon *d)
{
    running = NULL;
    bench_zram_set_user(0);
    if (d->pid) {
        kill(d->pid, SIGTERM);
        waitpid(d->pid, NULL, 0);
    }
    g_unlink(d->tmem_path);
    if (d->blk_path) {
        g_unlink(d->blk_path);
    }
    g_rmdir(d->dir);
    g_free(d->dir);
    g_free(d->tmem_path);
    g_free(d->blk_path);
    g_free(d);
}

const char *bench_daemon_tmem_path(const BenchDaemon *d)
{
    return d->tmem_path;
}

const char *bench_daemon_blk_path(const BenchDaemon *d)
{
    return d->blk_path;
}

double bench_daemon_cpu(const BenchDaemon *d)
{
    struct timespec ts;
    clockid_t clock;

    if (clock_getcpuclockid(d->pid, &clock) || clock_gettime(clock, &ts)) {
        return BENCH_NONE;
    }
    return ts.tv_sec + ts.tv_nsec / 1e9;
}
