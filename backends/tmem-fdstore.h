/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmem-store: files that a service manager keeps between two processes
 *
 * systemd's protocol, which any supervisor can speak: a file goes to the
 * manager in a datagram to $NOTIFY_SOCKET (sd_notify(3), FDSTORE=1), and comes
 * back as one of $LISTEN_FDS with its name in $LISTEN_FDNAMES
 * (sd_listen_fds(3)).
 */
#ifndef TMEM_FDSTORE_H
#define TMEM_FDSTORE_H

/** Whether there is a manager; else false, with @errp set to the way out. */
bool tmem_fdstore_available(Error **errp);

/* What the names of our files begin with. */
#define TMEM_FDSTORE_PREFIX "tmem-"

/* What memfd_create() takes; systemd takes 255. */
#define TMEM_FDSTORE_NAME_MAX ((size_t)249)

/**
 * tmem_fdstore_start: note which files the manager has passed
 *
 * First of all, before the process opens or closes anything.  Sockets, and
 * what has another kind of name, are none of ours.
 */
void tmem_fdstore_start(void);

/**
 * tmem_fdstore_take: the file of that name
 *
 * Returns -1 if there is none any more, and -1 with @errp set if there are
 * several, which are closed.  The caller owns the file, of which the manager
 * has one more.
 */
int tmem_fdstore_take(const char *name, Error **errp);

/** The name of a file that was not taken, or NULL. */
const char *tmem_fdstore_left(void);

/** Gives @fd to the manager, and waits until it has it.  @fd stays ours. */
bool tmem_fdstore_put(const char *name, int fd, Error **errp);

/** The manager forgets all files of that name. */
void tmem_fdstore_remove(const char *name);

#endif /* TMEM_FDSTORE_H */
