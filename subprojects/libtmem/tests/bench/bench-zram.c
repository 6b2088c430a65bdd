/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmem-bench: the peer, a zram of this host with the same pages
 *
 * 128 KiB O_DIRECT requests, as swap would send them at best.  The device is
 * ours alone: made for this run, and removed when this program ends, in
 * whatever way.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

#define CONTROL         "/sys/class/zram-control/"
#define REQUEST_BYTES   (BENCH_BATCH * TMEM_PAGE_SIZE)

/* How long the guard tries; a device is busy while something has it open. */
#define REMOVE_SECONDS  10

struct BenchZram {
    int id;
    int fd;
    uint8_t *buffer;
    size_t requests;            /* that the corpus fills */
    uint32_t *scattered;        /* their places in random order */
    uint64_t next;              /* page behind those that are in the buffer */
    unsigned nr_put;            /* how many these are */
    double (*now)(void);
    char node[32];
};

static bool write_text(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

    if (fd >= 0) {
        close(fd);
    }
    return ok;
}

static bool zram_set(int id, const char *attribute, const char *value)
{
    g_autofree char *path = g_strdup_printf("/sys/block/zram%d/%s", id,
                                            attribute);

    return write_text(path, value);
}

/* --- The guard: a child that outlives this process by a moment --- */

static int guard_pipe = -1;
static pid_t guard_pid;

/* In the child: waits for the end of its parent, then removes device @id. */
static void guard_main(int fd)
{
    char number[16];
    ssize_t got;
    int id = -1;

    do {
        got = read(fd, &id, sizeof(id));
    } while (got > 0 || (got < 0 && errno == EINTR));
    if (id < 0) {
        return;
    }
    snprintf(number, sizeof(number), "%d", id);
    for (int i = 0; i < REMOVE_SECONDS * 50; i++) {
        zram_set(id, "reset", "1");
        if (write_text(CONTROL "hot_remove", number)) {
            return;
        }
        g_usleep(20000);
    }
    fprintf(stderr, "tmem-bench: /dev/zram%d cannot be removed: see who has "
            "it open, then write %d to " CONTROL "hot_remove\n", id, id);
}

/* Lets the guard do its work, and waits for it.  Safe in a signal handler. */
static void guard_release(void)
{
    pid_t ended;

    if (guard_pipe >= 0) {
        close(guard_pipe);
        guard_pipe = -1;
        do {
            ended = waitpid(guard_pid, NULL, 0);
        } while (ended < 0 && errno == EINTR);
    }
}

static int open_zram = -1;      /* closed before the guard can remove it */

/* Another process of ours that has the device open; 0: none. */
static volatile pid_t zram_user;

void bench_zram_set_user(pid_t pid)
{
    zram_user = pid;
}

static void on_signal(int sig)
{
    if (zram_user) {
        kill(zram_user, SIGKILL);
    }
    if (open_zram >= 0) {
        close(open_zram);
    }
    guard_release();
    /* SA_RESETHAND: this time it ends the program. */
    raise(sig);
}

static void on_exit_release(void)
{
    if (open_zram >= 0) {
        close(open_zram);
        open_zram = -1;
    }
    guard_release();
}

void bench_zram_guard(void)
{
    static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
    struct sigaction action = {
        .sa_handler = on_signal,
        .sa_flags = SA_RESETHAND,
    };
    int fds[2];

    if (access(CONTROL, F_OK) || pipe(fds)) {
        return;
    }
    guard_pid = fork();
    if (guard_pid < 0) {
        close(fds[0]);
        close(fds[1]);
        return;
    }
    if (!guard_pid) {
        /* What ends the parent, from a terminal or a script, ends not this. */
        setsid();
        action.sa_handler = SIG_IGN;
        for (size_t i = 0; i < G_N_ELEMENTS(signals); i++) {
            sigaction(signals[i], &action, NULL);
        }
        close(fds[1]);
        guard_main(fds[0]);
        _exit(0);
    }
    close(fds[0]);
    guard_pipe = fds[1];
    for (size_t i = 0; i < G_N_ELEMENTS(signals); i++) {
        sigaction(signals[i], &action, NULL);
    }
    atexit(on_exit_release);
}

/* --- The device --- */

/* Our device, which is one for all that this program measures; -1: none. */
static int zram_id = -1;

/* Returns the number of a device that is guarded, or -1 and @why. */
static int hot_add(const char **why)
{
    sigset_t all, old;
    FILE *add;
    int id = -1;

    if (zram_id >= 0) {
        return zram_id;
    }
    add = fopen(CONTROL "hot_add", "r");
    if (!add) {
        *why = errno == EACCES ? "zram was skipped: only root can make one" :
                                 "zram was skipped: this host has none";
        return -1;
    }
    /* The read makes the device: no signal before the guard knows of it. */
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, &old);
    if (fscanf(add, "%d", &id) != 1 ||
        write(guard_pipe, &id, sizeof(id)) != sizeof(id)) {
        *why = "zram was skipped: its hot_add gave no device";
    }
    sigprocmask(SIG_SETMASK, &old, NULL);
    fclose(add);
    zram_id = id;
    return id;
}

BenchZram *bench_zram_open(uint64_t nr_pages, const char **why)
{
    size_t requests = nr_pages / BENCH_BATCH;
    g_autofree char *size = g_strdup_printf("%zu", requests * REQUEST_BYTES);
    g_autofree char *node = NULL;
    BenchZram *z;
    int id, fd = -1;

    if (guard_pipe < 0) {
        *why = "zram was skipped: this host has none";
        return NULL;
    }
    if (!requests) {
        *why = "zram was skipped: there are fewer than 32 pages";
        return NULL;
    }
    id = hot_add(why);
    if (id < 0) {
        return NULL;
    }
    node = g_strdup_printf("/dev/zram%d", id);
    if (zram_set(id, "comp_algorithm", "lz4") &&
        zram_set(id, "disksize", size)) {
        /* The node appears a moment after the device. */
        for (int i = 0; i < 100 && fd < 0; i++) {
            fd = open(node, O_RDWR | O_DIRECT | O_CLOEXEC);
            if (fd < 0) {
                g_usleep(10000);
            }
        }
    }
    if (fd < 0) {
        *why = "zram was skipped: it does not take lz4, or there is no "
               "/dev/zramN";
        return NULL;
    }
    open_zram = fd;
    bench_say("zram, /dev/zram%d is ours until the end", id);
    z = g_new0(BenchZram, 1);
    z->id = id;
    z->fd = fd;
    z->requests = requests;
    z->now = bench_cpu_now;
    g_strlcpy(z->node, node, sizeof(z->node));
    z->buffer = g_aligned_alloc(1, REQUEST_BYTES, TMEM_PAGE_SIZE);
    z->scattered = g_new(uint32_t, requests);
    for (size_t i = 0; i < requests; i++) {
        z->scattered[i] = i;
    }
    bench_shuffle(z->scattered, requests, 0xd1342543de82ef95ull);
    return z;
}

/* What it holds goes at once; the device itself goes with the process. */
void bench_zram_close(BenchZram *z)
{
    open_zram = -1;
    close(z->fd);
    zram_set(z->id, "reset", "1");
    g_aligned_free(z->buffer);
    g_free(z->scattered);
    g_free(z);
}

/*
 * Where the request with the order's pages @at ... @at + 31 lies: one behind
 * the other, or scattered if the order is a random one.
 */
off_t bench_zram_place(const BenchZram *z, const BenchCorpus *corpus,
                       const uint32_t *order, size_t at)
{
    size_t r = at / BENCH_BATCH % z->requests;

    if (order == corpus->load_order || order == corpus->store_order) {
        r = z->scattered[r];
    }
    return (off_t)r * REQUEST_BYTES;
}

static double zram_store(void *opaque, const BenchCorpus *corpus,
                         const uint32_t *order, size_t first, size_t n)
{
    BenchZram *z = opaque;
    double spent = 0;
    size_t done = 0;

    for (size_t i = first; i + BENCH_BATCH <= first + n; i += BENCH_BATCH) {
        off_t at = bench_zram_place(z, corpus, order, i);
        double start;

        for (int j = 0; j < BENCH_BATCH; j++) {
            memcpy(z->buffer + j * TMEM_PAGE_SIZE,
                   bench_corpus_page(corpus, order[i + j]), TMEM_PAGE_SIZE);
        }
        start = z->now();
        if (pwrite(z->fd, z->buffer, REQUEST_BYTES, at) != REQUEST_BYTES) {
            bench_die("writing to zram: %s", g_strerror(errno));
        }
        spent += z->now() - start;
        done += BENCH_BATCH;
    }
    /* As if the pages of an incomplete request had cost the same. */
    return done ? spent * n / done : 0;
}

static double zram_load(void *opaque, const BenchCorpus *corpus,
                        const uint32_t *order, size_t first, size_t n)
{
    BenchZram *z = opaque;
    double start = z->now();
    size_t done = 0;

    for (size_t i = first; i + BENCH_BATCH <= first + n; i += BENCH_BATCH) {
        off_t at = bench_zram_place(z, corpus, order, i);

        if (pread(z->fd, z->buffer, REQUEST_BYTES, at) != REQUEST_BYTES) {
            bench_die("reading from zram: %s", g_strerror(errno));
        }
        done += BENCH_BATCH;
    }
    return done ? (z->now() - start) * n / done : 0;
}

static double zram_drop(void *opaque, const BenchCorpus *corpus,
                        const uint32_t *order, size_t first, size_t n)
{
    BenchZram *z = opaque;

    for (size_t i = first; i + BENCH_BATCH <= first + n; i += BENCH_BATCH) {
        uint64_t range[2] = {
            bench_zram_place(z, corpus, order, i), REQUEST_BYTES,
        };

        if (ioctl(z->fd, BLKDISCARD, range) < 0) {
            bench_die("discarding from zram: %s", g_strerror(errno));
        }
    }
    return 0;
}

BenchSide bench_side_zram(BenchZram *z)
{
    return (BenchSide) { zram_store, zram_load, zram_drop, z };
}

void bench_zram_use_wall_clock(BenchZram *z)
{
    z->now = bench_now;
}

const char *bench_zram_node(const BenchZram *z)
{
    return z->node;
}

/* --- Page by page, for what is held and not for how long it takes --- */

static void flush(BenchZram *z)
{
    ssize_t bytes = z->nr_put * TMEM_PAGE_SIZE;

    if (bytes && pwrite(z->fd, z->buffer, bytes,
                        (z->next << TMEM_PAGE_SHIFT) - bytes) != bytes) {
        bench_die("writing to zram: %s", g_strerror(errno));
    }
    z->nr_put = 0;
}

void bench_zram_put(BenchZram *z, uint64_t nr, const void *page)
{
    if (nr != z->next || z->nr_put == BENCH_BATCH) {
        flush(z);
    }
    memcpy(z->buffer + z->nr_put++ * TMEM_PAGE_SIZE, page, TMEM_PAGE_SIZE);
    z->next = nr + 1;
}

void bench_zram_forget(BenchZram *z, uint64_t nr)
{
    uint64_t range[2] = { nr << TMEM_PAGE_SHIFT, TMEM_PAGE_SIZE };

    flush(z);
    if (ioctl(z->fd, BLKDISCARD, range) < 0) {
        bench_die("discarding from zram: %s", g_strerror(errno));
    }
}

void bench_zram_compact(BenchZram *z)
{
    flush(z);
    zram_set(z->id, "compact", "1");
}

double bench_zram_density(BenchZram *z)
{
    g_autofree char *path = g_strdup_printf("/sys/block/zram%d/mm_stat",
                                            z->id);
    unsigned long long orig, compressed, used;
    double density = BENCH_NONE;
    FILE *file;

    flush(z);
    file = fopen(path, "r");
    if (file && fscanf(file, "%llu %llu %llu", &orig, &compressed,
                       &used) == 3 && compressed) {
        density = (double)used / compressed;
    }
    if (file) {
        fclose(file);
    }
    return density;
}
