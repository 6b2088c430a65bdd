/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmemctl: the QMP sockets of the QEMUs and storage daemons of this machine
 */
#ifndef TMEMCTL_FIND_H
#define TMEMCTL_FIND_H

#include <glib.h>
#include <stdbool.h>
#include <sys/types.h>

/** CtlPlace: a process that may have stores, and how it can be asked. */
typedef struct CtlPlace {
    pid_t pid;
    char *program;              /* the last part of its name */
    GPtrArray *sockets;         /* its QMP sockets, in the order of options */
    GPtrArray *given;           /* those of @sockets it did not make itself */
    char *libvirt;              /* domain of libvirt, or NULL */
    bool tmem;                  /* its command line speaks of tmem */
    bool mem_lock;              /* and of locking its memory */
} CtlPlace;

/** ctl_place_free() - free a place */
void ctl_place_free(CtlPlace *place);

/**
 * ctl_place_parse() - what the command line of one process says
 *
 * @pid: used for what it names relative to its directory
 * @argv: its arguments
 *
 * Returns NULL if it is not one of QEMU's programs.
 */
CtlPlace *ctl_place_parse(pid_t pid, char *const *argv);

/** ctl_find_place() - what @proc/@pid/cmdline says; NULL as above */
CtlPlace *ctl_find_place(const char *proc, pid_t pid);

/**
 * ctl_find_places() - all of them, by pid
 *
 * Reads @proc/PID/cmdline ("/proc"), and of a socket that came as a descriptor
 * what the kernel has about it in /proc.
 */
GPtrArray *ctl_find_places(const char *proc);

/**
 * ctl_socket_of_fd() - the name of the socket that is descriptor @fd of @pid
 *
 * Returns a path, or @NAME for one in the abstract namespace; NULL if it is no
 * such socket, or if that cannot be seen or is not certain.
 */
char *ctl_socket_of_fd(pid_t pid, const char *fd);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(CtlPlace, ctl_place_free)

#endif /* TMEMCTL_FIND_H */
