/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmem-store: files that were handed over to stores that are not there
 *
 * A store that has another ID now does not ask for the file of the old one.
 * Left where it is, a process later with the old ID again would find pages that
 * guests have written to since.  So it is used up by the first process that
 * starts, which keeps it as long as it lives, for a store that is made later.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "tmem-fdstore.h"
#include "tmem-handover-orphans.h"

typedef struct TmemOrphan {
    char *name;
    int fd;
    TmemLoader *loader;
} TmemOrphan;

/* Main thread only. */
static GPtrArray *tmem_orphans;

static void tmem_orphan_report(const char *name, const char *what)
{
    warn_report("tmem-store '%s', which is not there: %s",
                name + strlen(TMEM_FDSTORE_PREFIX), what);
}

static void tmem_orphan_free(void *opaque)
{
    TmemOrphan *orphan = opaque;

    tmem_loader_free(orphan->loader);
    if (orphan->fd >= 0) {
        close(orphan->fd);
    }
    g_free(orphan->name);
    g_free(orphan);
}

static void tmem_orphan_find(const char *name)
{
    TmemOrphan *orphan = g_new0(TmemOrphan, 1);
    g_autoptr(GError) gerr = NULL;
    Error *err = NULL;

    orphan->name = g_strdup(name);
    orphan->fd = tmem_fdstore_take(orphan->name, &err);
    if (orphan->fd >= 0) {
        orphan->loader = tmem_loader_new(NULL, orphan->fd, &gerr);
    }
    tmem_fdstore_remove(orphan->name);
    if (!orphan->loader || !tmem_loader_use(orphan->loader, &gerr)) {
        tmem_orphan_report(orphan->name, gerr ? gerr->message :
                                                error_get_pretty(err));
        error_free(err);
        tmem_orphan_free(orphan);
        return;
    }
    tmem_orphan_report(orphan->name, "its pages were handed over, and are kept"
                       " until it is there, or this process ends");
    g_ptr_array_add(tmem_orphans, orphan);
}

void tmem_orphans_find(void)
{
    const char *name;

    tmem_orphans = g_ptr_array_new_with_free_func(tmem_orphan_free);
    while ((name = tmem_fdstore_left())) {
        tmem_orphan_find(name);
    }
}

TmemLoader *tmem_orphans_take(const char *name, int *fd)
{
    for (unsigned i = 0; tmem_orphans && i < tmem_orphans->len; i++) {
        TmemOrphan *orphan = g_ptr_array_index(tmem_orphans, i);
        TmemLoader *loader = orphan->loader;

        if (!strcmp(orphan->name, name)) {
            *fd = orphan->fd;
            orphan->fd = -1;
            orphan->loader = NULL;
            g_ptr_array_remove_index(tmem_orphans, i);
            return loader;
        }
    }
    return NULL;
}

void tmem_orphans_drop(void)
{
    for (unsigned i = 0; i < tmem_orphans->len; i++) {
        TmemOrphan *orphan = g_ptr_array_index(tmem_orphans, i);

        tmem_orphan_report(orphan->name, "the pages that were handed over are"
                           " lost: there was no store of that ID until the"
                           " end");
    }
    g_clear_pointer(&tmem_orphans, g_ptr_array_unref);
}
