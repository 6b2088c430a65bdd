/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Eventfds of a vhost-user front end, which nobody waits for
 *
 * A read can be told not to wait whatever the file's flags are (RWF_NOWAIT), a
 * write to an eventfd cannot.  But the kernel itself never waits when it
 * signals one, and does so at the end of an asynchronous request: here, a read
 * of /dev/null, which ends within io_submit().
 *
 * Where the kernel has neither, the flag is set before each use: that is all
 * that can be done there.
 */
#include "qemu/osdep.h"
#include <linux/aio_abi.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include "qemu/atomic.h"
#include "qemu/error-report.h"
#include "qemu/vhost-user-eventfd.h"

/*
 * Others may take what was collected here; then it is collected again.  And as
 * often an eventfd may be ready again at once: more looks like a semaphore.
 */
#define TRIES           16

/* 1 or 0: whether each read takes only 1 of it; -1: the kernel does not say. */
static int is_semaphore(int fd)
{
    static const char key[] = "eventfd-semaphore:";
    g_autofree char *path = g_strdup_printf("/proc/self/fdinfo/%d", fd);
    g_autofree char *info = NULL;
    const char *line;

    if (!g_file_get_contents(path, &info, NULL, NULL)) {
        return -1;
    }
    line = strstr(info, key);
    return line ? atoi(line + strlen(key)) != 0 : -1;
}

const char *vhost_user_eventfd_check(int fd)
{
    g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", fd);
    char name[sizeof("anon_inode:[eventfd]") + 1] = "";
    int flags = fcntl(fd, F_GETFL);

    /* Who has no /proc here has to believe it. */
    if (readlink(path, name, sizeof(name) - 1) >= 0 &&
        strcmp(name, "anon_inode:[eventfd]")) {
        return "is no eventfd";
    }
    /* A mere handle can neither be read nor polled. */
    if (flags < 0 || flags & O_PATH) {
        return "is no eventfd that is open for reading and writing";
    }
    return is_semaphore(fd) == 1 ? "is an eventfd that is a semaphore" : NULL;
}

static void unblock(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    if (flags >= 0 && !(flags & O_NONBLOCK)) {
        fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    }
}

/* --- Reading --- */

static ssize_t read_nowait(int fd, uint64_t *value)
{
    struct iovec iov = { .iov_base = value, .iov_len = sizeof(*value) };

    return preadv2(fd, &iov, 1, -1, RWF_NOWAIT);
}

/* What this kernel can say and do. */
enum {
    CAN_PROBED = 1,
    CAN_READ_NOWAIT = 2,    /* be told not to wait at an eventfd */
    CAN_TELL_SEMAPHORE = 4, /* vhost_user_eventfd_check() has refused them */
};

static gpointer probe_read(gpointer unused)
{
    int fd = eventfd(1, EFD_CLOEXEC);
    int can = CAN_PROBED;
    uint64_t value;

    if (fd >= 0) {
        can |= is_semaphore(fd) < 0 ? 0 : CAN_TELL_SEMAPHORE;
        can |= read_nowait(fd, &value) < 0 ? 0 : CAN_READ_NOWAIT;
        close(fd);
    }
    return GINT_TO_POINTER(can);
}

static int take_once(int fd, int can, uint64_t *value)
{
    if (can & CAN_READ_NOWAIT) {
        return read_nowait(fd, value) < 0 ? -1 : 0;
    }
    unblock(fd);
    return eventfd_read(fd, value);
}

int vhost_user_eventfd_take(int fd)
{
    static GOnce once = G_ONCE_INIT;
    int can = GPOINTER_TO_INT(g_once(&once, probe_read, NULL));
    uint64_t value;

    for (int i = 0; i < TRIES; i++) {
        if (take_once(fd, can, &value)) {
            return errno == EAGAIN ? 0 : -1;
        }
        /* What may be a semaphore says that it was 1 until it is 0. */
        if (value != 1 || can & CAN_TELL_SEMAPHORE) {
            return 0;
        }
    }
    errno = EINVAL;
    return -1;
}

/* --- Writing --- */

/* Missing where all that has a time came with 64 bits of it. */
#ifdef SYS_io_getevents

/* Requests that have ended stay until somebody collects them. */
#define EVENTS          64

/* How long to go without, where there was none to be had. */
#define RETRY_US        (1 * G_USEC_PER_SEC)

typedef enum AioState {
    AIO_UNKNOWN,
    AIO_READY,              /* and the next two are constant */
    AIO_NONE,
} AioState;

static AioState aio_state;  /* atomic */
static aio_context_t aio_ctx;
static int null_fd = -1;
static GMutex aio_mutex;    /* of setting the above */

/* Others may have all that there is, and give it back. */
static AioState start_aio(void)
{
    const char *what = "opening /dev/null";
    AioState state = AIO_UNKNOWN;

    if (null_fd < 0) {
        null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    }
    if (null_fd >= 0) {
        what = "io_setup()";
        if (!syscall(SYS_io_setup, EVENTS, &aio_ctx)) {
            return AIO_READY;
        }
        state = errno == EAGAIN ? AIO_UNKNOWN : AIO_NONE;
    }
    warn_report_once("a vhost-user front end that means harm can make this "
                     "process wait for it: %s: %s%s", what, strerror(errno),
                     null_fd >= 0 && errno == EAGAIN ?
                     "; raise the sysctl fs.aio-max-nr" : "");
    return state;
}

static bool has_aio(void)
{
    static int64_t retry_us;    /* aio_mutex */
    AioState state = qatomic_load_acquire(&aio_state);

    if (state == AIO_UNKNOWN) {
        g_mutex_lock(&aio_mutex);
        state = aio_state;
        if (state == AIO_UNKNOWN && g_get_monotonic_time() >= retry_us) {
            state = start_aio();
            retry_us = g_get_monotonic_time() + RETRY_US;
            qatomic_store_release(&aio_state, state);
        }
        g_mutex_unlock(&aio_mutex);
    }
    return state == AIO_READY;
}

/* Returns 0, or -1 with errno set; EAGAIN: not now. */
static int signal_aio(int fd)
{
    char nothing;
    struct iocb request = {
        .aio_lio_opcode = IOCB_CMD_PREAD,
        .aio_buf = (uintptr_t)&nothing,
        .aio_nbytes = sizeof(nothing),
        .aio_flags = IOCB_FLAG_RESFD,
        .aio_resfd = fd,
    };
    struct iocb *requests[] = { &request };
    struct io_event events[EVENTS];

    for (int i = 0; has_aio() && i < TRIES; i++) {
        request.aio_fildes = null_fd;
        if (syscall(SYS_io_submit, aio_ctx, 1, requests) == 1) {
            return 0;
        }
        if (errno != EAGAIN) {
            return -1;
        }
        syscall(SYS_io_getevents, aio_ctx, 0, EVENTS, events, NULL);
    }
    errno = EAGAIN;
    return -1;
}

#else

static int signal_aio(int fd)
{
    errno = EAGAIN;
    return -1;
}

#endif

int vhost_user_eventfd_signal(int fd)
{
    int ret = signal_aio(fd);

    if (!ret || errno != EAGAIN) {
        return ret;
    }
    unblock(fd);
    ret = eventfd_write(fd, 1);
    return ret && errno == EAGAIN ? 0 : ret;
}
