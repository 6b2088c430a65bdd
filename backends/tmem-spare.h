/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What there must be enough of for one more door of a store
 */
#ifndef BACKENDS_TMEM_SPARE_H
#define BACKENDS_TMEM_SPARE_H

/**
 * tmem_spare_for_client:
 * @errp: which limit is in the way
 *
 * Whether there is memory for what comes with a client that was just made.
 * Any thread.
 */
bool tmem_spare_for_client(Error **errp);

/**
 * tmem_spare_for_server:
 * @needs_thread: whether it will have a thread of its own
 * @errp: which limit is in the way
 *
 * Whether there are file descriptors, memory and a thread for one server more.
 * Any thread.
 */
bool tmem_spare_for_server(bool needs_thread, Error **errp);

#endif /* BACKENDS_TMEM_SPARE_H */
