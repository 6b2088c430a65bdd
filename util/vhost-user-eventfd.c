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
#include "qemu/vhost-user-eventfd.h"

/* Requests that have ended stay until somebody collects them. */
#define EVENTS          64

/* Others may take what was collected here; then it is collected again. */
#define TRIES           16

/* Constant after the first use. */
static aio_context_t aio_ctx;
static int null_fd = -1;

bool vhost_user_eventfd_check(int fd)
{
    g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", fd);
    char name[sizeof("anon_inode:[eventfd]") + 1] = "";

    /* Who has no /proc here has to believe it. */
    return readlink(path, name, sizeof(name) - 1) < 0 ||
           !strcmp(name, "anon_inode:[eventfd]");
}

static void unblock(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    if (flags >= 0 && !(flags & O_NONBLOCK)) {
        fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    }
}

static ssize_t read_nowait(int fd)
{
    uint64_t value;
    struct iovec iov = { .iov_base = &value, .iov_len = sizeof(value) };

    return preadv2(fd, &iov, 1, -1, RWF_NOWAIT);
}

/* Whether this kernel can be told not to wait at an eventfd. */
static gpointer probe_read(gpointer unused)
{
    int fd = eventfd(1, EFD_CLOEXEC);
    bool can = fd >= 0 && read_nowait(fd) == sizeof(uint64_t);

    if (fd >= 0) {
        close(fd);
    }
    return GINT_TO_POINTER(can);
}

int vhost_user_eventfd_take(int fd)
{
    static GOnce once = G_ONCE_INIT;
    eventfd_t value;
    int ret;

    if (GPOINTER_TO_INT(g_once(&once, probe_read, NULL))) {
        ret = read_nowait(fd) < 0 ? -1 : 0;
    } else {
        unblock(fd);
        ret = eventfd_read(fd, &value);
    }
    return ret && errno == EAGAIN ? 0 : ret;
}

static gpointer start_aio(gpointer unused)
{
    null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    return GINT_TO_POINTER(null_fd >= 0 &&
                           !syscall(__NR_io_setup, EVENTS, &aio_ctx));
}

/* Returns 0, or -1 with errno set; EAGAIN: not now. */
static int signal_aio(int fd)
{
    char nothing;
    struct iocb request = {
        .aio_lio_opcode = IOCB_CMD_PREAD,
        .aio_fildes = null_fd,
        .aio_buf = (uintptr_t)&nothing,
        .aio_nbytes = sizeof(nothing),
        .aio_flags = IOCB_FLAG_RESFD,
        .aio_resfd = fd,
    };
    struct iocb *requests[] = { &request };
    struct io_event events[EVENTS];

    for (int i = 0; i < TRIES; i++) {
        if (syscall(__NR_io_submit, aio_ctx, 1, requests) == 1) {
            return 0;
        }
        if (errno != EAGAIN) {
            return -1;
        }
        syscall(__NR_io_getevents, aio_ctx, 0, EVENTS, events, NULL);
    }
    errno = EAGAIN;
    return -1;
}

int vhost_user_eventfd_signal(int fd)
{
    static GOnce once = G_ONCE_INIT;
    int ret;

    if (GPOINTER_TO_INT(g_once(&once, start_aio, NULL))) {
        ret = signal_aio(fd);
        if (!ret || errno != EAGAIN) {
            return ret;
        }
    }
    unblock(fd);
    ret = eventfd_write(fd, 1);
    return ret && errno == EAGAIN ? 0 : ret;
}
