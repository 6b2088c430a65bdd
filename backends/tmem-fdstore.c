/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmem-store: files that a service manager keeps between two processes
 */
#include "qemu/osdep.h"
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include "qapi/error.h"
#include "qemu/cutils.h"
#include "qemu/id.h"
#include "qemu/sockets.h"
#include "tmem-fdstore.h"

/* The first of the files that a manager passes. */
#define FIRST_FD            3

/* How long the manager may take to have read what was sent to it. */
#define BARRIER_MS          10000

/* --- To the manager --- */

static bool tmem_fdstore_address(struct sockaddr_un *un, socklen_t *len,
                                 Error **errp)
{
    const char *path = getenv("NOTIFY_SOCKET");

    if (!path || !*path) {
        error_setg(errp, "'handover=fdstore' needs a service manager that"
                   " keeps files (NOTIFY_SOCKET is not set): run this as a"
                   " systemd service with FileDescriptorStoreMax=, or leave"
                   " the property out");
        return false;
    }
    if ((*path != '/' && *path != '@') ||
        strlen(path) >= sizeof(un->sun_path)) {
        error_setg(errp, "NOTIFY_SOCKET is '%s', which is no socket of this"
                   " host", path);
        return false;
    }
    *un = (struct sockaddr_un) { .sun_family = AF_UNIX };
    memcpy(un->sun_path, path, strlen(path));
    *len = offsetof(struct sockaddr_un, sun_path) + strlen(path);
    if (*path == '@') {
        un->sun_path[0] = 0;
    } else {
        (*len)++;
    }
    return true;
}

bool tmem_fdstore_available(Error **errp)
{
    struct sockaddr_un un;
    socklen_t len;

    return tmem_fdstore_address(&un, &len, errp);
}

/* One datagram; with @fd unless that is -1. */
static bool tmem_fdstore_send(const char *text, int fd, Error **errp)
{
    union {
        struct cmsghdr head;
        char space[CMSG_SPACE(sizeof(int))];
    } control = { };
    struct iovec iov = {
        .iov_base = (void *)text, .iov_len = strlen(text),
    };
    struct sockaddr_un un;
    struct msghdr msg = { .msg_name = &un, .msg_iov = &iov, .msg_iovlen = 1 };
    ssize_t sent;
    int sock;

    if (!tmem_fdstore_address(&un, &msg.msg_namelen, errp)) {
        return false;
    }
    if (fd >= 0) {
        control.head.cmsg_level = SOL_SOCKET;
        control.head.cmsg_type = SCM_RIGHTS;
        control.head.cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(&control.head), &fd, sizeof(fd));
        msg.msg_control = &control;
        msg.msg_controllen = sizeof(control.space);
    }
    sock = qemu_socket(AF_UNIX, SOCK_DGRAM, 0);
    if (sock < 0) {
        error_setg_errno(errp, errno, "cannot make a socket");
        return false;
    }
    sent = RETRY_ON_EINTR(sendmsg(sock, &msg, MSG_NOSIGNAL));
    if (sent < 0) {
        error_setg_errno(errp, errno, "cannot reach the service manager");
    }
    close(sock);
    return sent >= 0;
}

/* Waits until the manager has read all that was sent before. */
static bool tmem_fdstore_barrier(Error **errp)
{
    struct pollfd pfd = { };
    int fds[2], ret;

    if (!g_unix_open_pipe(fds, FD_CLOEXEC, NULL)) {
        error_setg_errno(errp, errno, "cannot make a pipe");
        return false;
    }
    if (!tmem_fdstore_send("BARRIER=1", fds[1], errp)) {
        close(fds[0]);
        close(fds[1]);
        return false;
    }
    close(fds[1]);
    pfd.fd = fds[0];
    ret = RETRY_ON_EINTR(poll(&pfd, 1, BARRIER_MS));
    close(fds[0]);
    if (ret <= 0) {
        error_setg(errp, "the service manager does not answer");
    }
    return ret > 0;
}

bool tmem_fdstore_put(const char *name, int fd, Error **errp)
{
    /* Not polled for errors: a memfd reports one at once (EPOLLERR). */
    g_autofree char *text = g_strdup_printf("FDSTORE=1\nFDPOLL=0\nFDNAME=%s",
                                            name);

    return tmem_fdstore_send(text, fd, errp) && tmem_fdstore_barrier(errp);
}

void tmem_fdstore_remove(const char *name)
{
    g_autofree char *text = g_strdup_printf("FDSTOREREMOVE=1\nFDNAME=%s",
                                            name);

    tmem_fdstore_send(text, -1, NULL);
}

/* --- From the manager --- */

/*
 * What the manager passed and nobody has taken, by name.  The variables are
 * read once, before the process opens anything: later the numbers in them may
 * be those of files that are somebody else's.
 */
typedef struct TmemPassedFile {
    char *name;
    int fd;
} TmemPassedFile;

static GArray *tmem_passed;

/* The names of files that are meant for another process, or NULL. */
static char **tmem_passed_astray;

/* Returns how many files were passed; sets @ours, if they are for us. */
static unsigned long tmem_fdstore_count(bool *ours)
{
    const char *pid = getenv("LISTEN_PID");
    const char *fds = getenv("LISTEN_FDS");
    unsigned long number, count;

    if (!fds || qemu_strtoul(fds, NULL, 10, &count) < 0) {
        return 0;
    }
    *ours = pid && qemu_strtoul(pid, NULL, 10, &number) >= 0 &&
            number == (unsigned long)getpid();
    return count;
}

/* A store's, and not the socket of a unit, whose name may begin like ours. */
static bool tmem_fdstore_is_store(const char *name, int fd)
{
    struct stat st;

    return g_str_has_prefix(name, TMEM_FDSTORE_PREFIX) &&
           id_wellformed(name + strlen(TMEM_FDSTORE_PREFIX)) &&
           !fstat(fd, &st) && !S_ISSOCK(st.st_mode);
}

void tmem_fdstore_start(void)
{
    const char *listed = getenv("LISTEN_FDNAMES");
    g_auto(GStrv) names = g_strsplit(listed ?: "", ":", -1);
    bool ours = true;
    unsigned long count = tmem_fdstore_count(&ours);

    tmem_passed = g_array_new(false, false, sizeof(TmemPassedFile));
    if (!ours) {
        tmem_passed_astray = g_steal_pointer(&names);
        return;
    }
    for (unsigned i = 0; i < count && names[i]; i++) {
        TmemPassedFile file = { .fd = FIRST_FD + i };

        if (!tmem_fdstore_is_store(names[i], file.fd)) {
            continue;
        }
        qemu_set_cloexec(file.fd);
        file.name = g_strdup(names[i]);
        g_array_append_val(tmem_passed, file);
    }
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
}

int tmem_fdstore_take(const char *name, Error **errp)
{
    unsigned found = 0;
    int fd = -1;

    if (tmem_passed_astray &&
        g_strv_contains((const char *const *)tmem_passed_astray, name)) {
        error_setg(errp, "'handover=fdstore' does not find the files of the"
                   " service manager, which are for another process"
                   " (LISTEN_PID): leave out --daemonize, and start this"
                   " program without a shell before it");
        return -1;
    }
    for (unsigned i = 0; i < tmem_passed->len; ) {
        TmemPassedFile *file = &g_array_index(tmem_passed, TmemPassedFile, i);

        if (strcmp(file->name, name)) {
            i++;
            continue;
        }
        if (found++) {
            close(fd);
        }
        fd = file->fd;
        g_free(file->name);
        g_array_remove_index(tmem_passed, i);
    }
    if (found > 1) {
        error_setg(errp, "the service manager passes several files '%s',"
                   " and which is the last one cannot be told", name);
        close(fd);
        return -1;
    }
    return fd;
}

const char *tmem_fdstore_left(void)
{
    return !tmem_passed->len ? NULL :
           g_array_index(tmem_passed, TmemPassedFile, 0).name;
}
