/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Eventfds of a vhost-user front end, which nobody waits for
 *
 * Whoever else has the file shares its O_NONBLOCK, and can take the flag away
 * between our look at it and our use: then a read waits for a kick that was
 * taken away, and a write for a counter that was filled.
 */
#ifndef QEMU_VHOST_USER_EVENTFD_H
#define QEMU_VHOST_USER_EVENTFD_H

/**
 * vhost_user_eventfd_check:
 * @fd: a file of a front end
 *
 * Others may be ready for ever, and keep the thread busy that looks at them; so
 * may an eventfd that each read takes only 1 of (EFD_SEMAPHORE), and one that
 * was opened with O_PATH.
 *
 * Returns NULL for an eventfd that can be used, else what is wrong, to be put
 * behind the file's name.
 */
const char *vhost_user_eventfd_check(int fd);

/**
 * vhost_user_eventfd_take:
 * @fd: an eventfd
 *
 * Resets it, as eventfd_read() does; that it was reset before is no error.
 *
 * Returns 0, or -1 with errno set; EINVAL: no read resets it.
 */
int vhost_user_eventfd_take(int fd);

/**
 * vhost_user_eventfd_signal:
 * @fd: an eventfd
 *
 * Adds 1, as eventfd_write() does; that it is full is no error, for it is
 * signalled then.
 *
 * Returns 0, or -1 with errno set.
 */
int vhost_user_eventfd_signal(int fd);

#endif /* QEMU_VHOST_USER_EVENTFD_H */
