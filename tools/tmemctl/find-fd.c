/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmemctl: the name of a socket that a process was given as a descriptor
 *
 * A service manager listens, and starts the process when somebody comes.
 */
#include <string.h>
#include <unistd.h>

#include "find.h"

/* Fields of a line of net/unix before the path; the last one is the inode. */
#define UNIX_FIELDS     7

/* The inode of the socket that is descriptor @fd of @pid, or 0. */
static guint64 socket_inode(pid_t pid, const char *fd)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/fd/%s", (int)pid, fd);
    g_autofree char *target = g_file_read_link(path, NULL);
    guint64 inode;

    if (!target || !g_str_has_prefix(target, "socket:[") ||
        !g_str_has_suffix(target, "]")) {
        return 0;
    }
    target[strlen(target) - 1] = 0;
    return g_ascii_string_to_unsigned(target + strlen("socket:["), 10, 1,
                                      G_MAXUINT64, &inode, NULL) ? inode : 0;
}

/* The path in @line of net/unix if it is that of @inode. */
static const char *line_path(const char *line, guint64 inode)
{
    int i;

    for (i = 0; i < UNIX_FIELDS; i++) {
        line += strspn(line, " ");
        if (i == UNIX_FIELDS - 1 &&
            g_ascii_strtoull(line, NULL, 10) != inode) {
            return NULL;
        }
        line += strcspn(line, " ");
    }
    return *line == ' ' && line[1] ? line + 1 : NULL;
}

/*
 * Looks for @inode in the sockets of one network namespace; false if it has
 * another name than *@found.  Anybody can write lines there, since the kernel
 * prints a line feed of a name as it is.
 */
static bool find_inode(const char *file, guint64 inode, char **found)
{
    g_autofree char *data = NULL;
    g_auto(GStrv) lines = NULL;
    int i;

    if (!g_file_get_contents(file, &data, NULL, NULL)) {
        return true;
    }
    lines = g_strsplit(data, "\n", -1);
    for (i = 0; lines[i]; i++) {
        const char *path = line_path(lines[i], inode);

        if (path && *found && strcmp(path, *found)) {
            return false;
        }
        if (path && !*found) {
            *found = g_strdup(path);
        }
    }
    return true;
}

char *ctl_socket_of_fd(pid_t pid, const char *fd)
{
    g_autofree char *own = g_strdup_printf("/proc/%d/net/unix", (int)pid);
    g_autofree char *path = NULL;
    guint64 number, inode;

    /* Names of descriptors are for those that came over QMP. */
    if (!g_ascii_string_to_unsigned(fd, 10, 0, G_MAXINT, &number, NULL)) {
        return NULL;
    }
    inode = socket_inode(pid, fd);
    /* The manager has often kept the process out of its own network. */
    if (!inode || !find_inode(own, inode, &path) ||
        !find_inode("/proc/self/net/unix", inode, &path)) {
        return NULL;
    }
    return g_steal_pointer(&path);
}
