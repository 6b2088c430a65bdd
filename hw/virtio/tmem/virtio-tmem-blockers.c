/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-tmem: what is forbidden while this host holds pages of the guest
 *
 * Pages in a persistent pool are the guest's only copy.  They do not travel
 * with a migration yet, and they are lost when the device goes.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "hw/qdev-core.h"
#include "migration/blocker.h"
#include "trace.h"
#include "virtio-tmem-internal.h"

/* The device that a user can unplug is the transport, not we. */
static DeviceState *virtio_tmem_transport(VirtIOTmem *s)
{
    return qdev_get_parent_bus(DEVICE(s))->parent;
}

bool virtio_tmem_blockers_init(VirtIOTmem *s, Error **errp)
{
    error_setg(&s->migration_blocker,
               "virtio-tmem: the pages that client '%s' keeps in this host's"
               " store cannot be migrated or saved: run 'swapoff' in the"
               " guest and remove the device first",
               tmem_client_name(s->client));
    return migrate_add_blocker(&s->migration_blocker, errp) == 0;
}

static void virtio_tmem_add_unplug_blocker(VirtIOTmem *s)
{
    error_setg(&s->unplug_blocker,
               "virtio-tmem: client '%s' holds swapped-out pages of its"
               " guest, which would be lost: run 'swapoff' in the guest"
               " and discard the swap disk first",
               tmem_client_name(s->client));
    qdev_add_unplug_blocker(virtio_tmem_transport(s), s->unplug_blocker);
}

static void virtio_tmem_del_unplug_blocker(VirtIOTmem *s)
{
    qdev_del_unplug_blocker(virtio_tmem_transport(s), s->unplug_blocker);
    error_free(s->unplug_blocker);
    s->unplug_blocker = NULL;
}

void virtio_tmem_blockers_cleanup(VirtIOTmem *s)
{
    migrate_del_blocker(&s->migration_blocker);
    if (s->unplug_blocker) {
        virtio_tmem_del_unplug_blocker(s);
        qatomic_set(&s->unplug_blocked, false);
    }
}

bool virtio_tmem_unplug_blocker_is_stale(VirtIOTmem *s)
{
    /*
     * Pairs with itself.  An iothread has changed the number of pages and
     * looks at the blocker; virtio_tmem_update_unplug_blocker() has changed the
     * blocker and looks at the number.  One of them sees what the other did.
     */
    smp_mb();
    return (tmem_client_persistent_pages(s->client) != 0) !=
           qatomic_read(&s->unplug_blocked);
}

void virtio_tmem_update_unplug_blocker(VirtIOTmem *s)
{
    uint64_t pages = tmem_client_persistent_pages(s->client);

    if (!pages == !s->unplug_blocker) {
        return;
    }
    if (pages) {
        virtio_tmem_add_unplug_blocker(s);
    } else {
        virtio_tmem_del_unplug_blocker(s);
    }
    qatomic_set(&s->unplug_blocked, pages != 0);
    trace_virtio_tmem_unplug_blocker(tmem_client_name(s->client), pages != 0,
                                     pages);
    /*
     * An iothread that stored or dropped a page since we counted has compared
     * with the old unplug_blocked, and does not call us again.  The barrier in
     * here pairs with the same one over there.  Later, not in a loop: a guest
     * could keep us in it, with the BQL held.
     */
    if (virtio_tmem_unplug_blocker_is_stale(s)) {
        qemu_bh_schedule(s->main_bh);
    }
}
