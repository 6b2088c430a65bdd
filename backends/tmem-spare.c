/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What there must be enough of for one more door of a store
 *
 * A process that serves many guests must not end because one more was to be
 * added.  But GLib makes the event loop of a thread, QEMU the thread, and both
 * take memory, and they abort where any of it is short: so we look first.
 * Between the look and the use others may take what there is, from the little
 * that is spare then.
 */
#include "qemu/osdep.h"
#include <sys/eventfd.h>
#include "qapi/error.h"
#include "qemu/units.h"
#include "tmem-spare.h"

/*
 * The event loop takes three or four, the socket two; and its first front end
 * is to have one.
 */
#define SPARE_FILES     8

/*
 * Beside the stack of a thread: rings and contexts of 255 queues, coroutines,
 * and the heap of a thread.
 */
#define SPARE_BYTES     (32 * MiB)

static bool tmem_spare_check_files(Error **errp)
{
    int fds[SPARE_FILES];
    int err = 0;
    int n;

    for (n = 0; n < SPARE_FILES; n++) {
        fds[n] = eventfd(0, EFD_CLOEXEC);
        if (fds[n] < 0) {
            err = errno;
            break;
        }
    }
    for (int i = 0; i < n; i++) {
        close(fds[i]);
    }
    if (n < SPARE_FILES) {
        error_setg_errno(errp, err, "a tmem-vhost-user-server needs %d file"
                         " descriptors to spare, and there are %d: raise the"
                         " limit (LimitNOFILE= of the unit, ulimit -n)",
                         SPARE_FILES, n);
        return false;
    }
    return true;
}

static void *tmem_spare_do_nothing(void *opaque)
{
    return NULL;
}

/* As qemu_thread_create() starts one. */
static bool tmem_spare_check_thread(Error **errp)
{
    pthread_t thread;
    int err = pthread_create(&thread, NULL, tmem_spare_do_nothing, NULL);

    if (err) {
        error_setg_errno(errp, err, "a tmem-vhost-user-server needs a thread,"
                         " and none can be started: raise the limit on threads"
                         " (TasksMax= of the unit, ulimit -u) or on memory"
                         " (ulimit -v)");
        return false;
    }
    pthread_join(thread, NULL);
    return true;
}

bool tmem_spare_for_client(Error **errp)
{
    void *spare = mmap(NULL, SPARE_BYTES, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (spare == MAP_FAILED) {
        error_setg_errno(errp, errno, "a client of a tmem-store needs %d MiB of"
                         " address space to spare: raise the limit (LimitAS="
                         " of the unit, ulimit -v)", (int)(SPARE_BYTES / MiB));
        return false;
    }
    munmap(spare, SPARE_BYTES);
    return true;
}

bool tmem_spare_for_server(bool needs_thread, Error **errp)
{
    return tmem_spare_check_files(errp) &&
           (!needs_thread || tmem_spare_check_thread(errp)) &&
           tmem_spare_for_client(errp);
}
