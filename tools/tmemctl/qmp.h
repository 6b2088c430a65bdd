/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmemctl: one connection to a QMP server on a UNIX socket
 */
#ifndef TMEMCTL_QMP_H
#define TMEMCTL_QMP_H

#include <json-glib/json-glib.h>
#include <sys/types.h>

/* What a caller has to tell apart; the message is a sentence for people. */
typedef enum CtlError {
    CTL_ERROR_FAILED,
    CTL_ERROR_USAGE,            /* the command line is wrong: exit status 2 */
    CTL_ERROR_NO_COMMAND,       /* that server does not have the command */
    CTL_ERROR_REFUSED,          /* the server answered with an error */
    CTL_ERROR_LATE,             /* no answer in time; it may be done yet */
    CTL_ERROR_WAITING,          /* that client is not there, and may come */
} CtlError;

#define CTL_ERROR ctl_error_quark()
GQuark ctl_error_quark(void);

typedef struct Qmp Qmp;

/**
 * qmp_open() - connect to the server at @path and negotiate
 *
 * @path: a socket, or @NAME for one in the abstract namespace
 * @timeout_ms: how long each answer is waited for
 *
 * Returns NULL with a sentence in @errp if there is no QMP server, if it
 * serves somebody else, or if it is not allowed.
 */
Qmp *qmp_open(const char *path, int timeout_ms, GError **errp);
void qmp_close(Qmp *qmp);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Qmp, qmp_close)

/**
 * qmp_run() - run @command with @arguments, which are taken (NULL: none)
 *
 * Returns what it returns.
 */
JsonNode *qmp_run(Qmp *qmp, const char *command, JsonObject *arguments,
                  GError **errp);

/**
 * qmp_take_event() - an event that has arrived, without waiting
 *
 * Returns NULL without an error if there is none.
 */
JsonObject *qmp_take_event(Qmp *qmp, GError **errp);

/** qmp_fd() - to be polled before qmp_take_event() */
int qmp_fd(const Qmp *qmp);

/** qmp_pid() - the process that listens, or 0 where that is not known */
pid_t qmp_pid(const Qmp *qmp);

#endif /* TMEMCTL_QMP_H */
