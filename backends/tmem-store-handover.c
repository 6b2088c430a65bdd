/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmem-store: what the doors hold goes to the process that follows
 *
 * A process that is told to end closes its exports and connections, writes what
 * each door holds to a memfd, and gives that to the service manager.  The one
 * that follows finds it when it makes the store of the same ID.
 *
 * Two things must not happen.  A process that fails to start must not take the
 * pages along: so nothing is taken before all options have been found good.
 * And a stream must not be used twice, since its pages have changed by then: so
 * it is marked as used before anybody can connect.
 */
#include "qemu/osdep.h"
#include <sys/mman.h>
#include "qapi/error.h"
#include "libtmem/tmem-save.h"
#include "qemu/error-report.h"
#include "qemu/memfd.h"
#include "tmem-fdstore.h"
#include "tmem-handover-orphans.h"
#include "tmem-store-internal.h"

struct TmemStoreHandover {
    char *name;                 /* of the file, in the service manager */
    bool ending;                /* doors are to keep what they hold */
    QTAILQ_HEAD(, TmemStoreDoor) doors;

    /* What was handed over to this process, while something is left of it. */
    int fd;                     /* -1: none */
    TmemLoader *loader;
    bool opened;                /* it may be used now, and is marked as used */
};

/* Whether the main program calls tmem_handover_finish(). */
static bool tmem_handover_enabled;

/* Whether it has called tmem_handover_ready(). */
static bool tmem_handover_started;

/* --- Taking over --- */

static char *tmem_door_bundle(const TmemStoreDoor *door)
{
    return g_strdup_printf("%s:%s", door->ops->is_device ? "device" : "block",
                           door->name);
}

static void tmem_handover_forget(TmemStoreHandover *h)
{
    g_clear_pointer(&h->loader, tmem_loader_free);
    if (h->fd >= 0) {
        close(h->fd);
        h->fd = -1;
    }
}

static void tmem_handover_report(TmemStoreObject *obj, const char *door,
                                 const char *why)
{
    g_autofree char *id = tmem_store_object_id(obj);

    warn_report("tmem-store '%s'%s%s%s: %s", id, door ? ", '" : "",
                door ?: "", door ? "'" : "", why);
}

/* The bundle @name goes to @door. */
static bool tmem_door_take(TmemStoreObject *obj, TmemStoreDoor *door,
                           const char *name, GError **gerr, Error **errp)
{
    g_autofree void *state = NULL;
    uint64_t bytes, pool;

    if (!tmem_loader_take(obj->handover->loader, name, door->ctx, &state,
                          &bytes, &pool, gerr)) {
        return false;
    }
    if (!pool == door->ops->is_device &&
        door->ops->restore(door->opaque, state, bytes, pool, errp)) {
        return true;
    }
    if (pool) {
        tmem_pool_destroy(door->client, pool);
    } else {
        tmem_client_reset(door->client);
    }
    return false;
}

static void tmem_door_restore(TmemStoreObject *obj, TmemStoreDoor *door)
{
    g_autofree char *name = tmem_door_bundle(door);
    g_autoptr(GError) gerr = NULL;
    Error *err = NULL;

    if (tmem_door_take(obj, door, name, &gerr, &err)) {
        return;
    }
    tmem_handover_report(obj, name, gerr ? gerr->message :
                         err ? error_get_pretty(err) :
                         "the pages that were handed over are lost: the stream"
                         " makes no sense");
    error_free(err);
    if (door->ops->lost) {
        door->ops->lost(door->opaque);
    }
}

static bool tmem_door_has_bundle(TmemStoreObject *obj,
                                 const TmemStoreDoor *door)
{
    g_autofree char *name = tmem_door_bundle(door);
    TmemBundle bundle;

    return tmem_loader_find(obj->handover->loader, name, &bundle);
}

/*
 * All doors that have something to get, or @only one.  Pools of devices come
 * first: they must get their places in the table of their client.
 */
static void tmem_handover_restore(TmemStoreObject *obj, TmemStoreDoor *only)
{
    TmemStoreHandover *h = obj->handover;
    g_autoptr(GPtrArray) doors = g_ptr_array_new();
    TmemStoreDoor *door;

    QTAILQ_FOREACH(door, &h->doors, next) {
        if ((!only || door == only) && tmem_door_has_bundle(obj, door)) {
            g_ptr_array_insert(doors, door->ops->is_device ? 0 : -1, door);
            if (door->ops->vacate) {
                door->ops->vacate(door->opaque);
            }
        }
    }
    for (unsigned i = 0; i < doors->len; i++) {
        tmem_door_restore(obj, g_ptr_array_index(doors, i));
    }
    if (!tmem_loader_left(h->loader, 0)) {
        tmem_handover_forget(h);
    }
}

/* The stream is of no use: to doors that come later, too. */
static void tmem_handover_lose(TmemStoreObject *obj, const char *why)
{
    TmemStoreDoor *door;

    tmem_handover_report(obj, NULL, why);
    obj->handover_lost = true;
    if (!obj->handover) {
        return;
    }
    tmem_handover_forget(obj->handover);
    QTAILQ_FOREACH(door, &obj->handover->doors, next) {
        if (door->ops->lost) {
            door->ops->lost(door->opaque);
        }
    }
}

/* From now on pages may change. */
static void tmem_store_handover_open(TmemStoreObject *obj)
{
    TmemStoreHandover *h = obj->handover;
    GError *err = NULL;

    if (!h || h->opened) {
        return;
    }
    h->opened = true;
    if (h->loader && !tmem_loader_use(h->loader, &err)) {
        tmem_handover_lose(obj, err->message);
        g_error_free(err);
    }
    /* Also what is of no use: it will be older still next time. */
    tmem_fdstore_remove(h->name);
    if (h->loader) {
        tmem_handover_restore(obj, NULL);
    }
    if (h->loader) {
        /* Guests that are there go on now, and would take its room. */
        tmem_loader_hold(h->loader);
    }
}

static void tmem_handover_ready_store(TmemStoreObject *obj, void *opaque)
{
    const char *left;

    if (!obj->handover) {
        return;
    }
    tmem_store_handover_open(obj);
    for (unsigned i = 0; obj->handover->loader &&
         (left = tmem_loader_left(obj->handover->loader, i)); i++) {
        tmem_handover_report(obj, left, "its pages were handed over, and are"
                             " kept until it is there");
    }
}

bool tmem_store_door_begin(TmemStoreObject *obj, const TmemStoreDoor *door,
                           unsigned nr_contexts)
{
    TmemStoreHandover *h = obj->handover;

    if (!h || !h->opened || !h->loader || !tmem_door_has_bundle(obj, door)) {
        return false;
    }
    tmem_loader_make_way(door->client, nr_contexts);
    return true;
}

void tmem_store_door_begun(const TmemStoreDoor *door)
{
    tmem_loader_made_way(door->client);
}

void tmem_store_door_add(TmemStoreObject *obj, TmemStoreDoor *door)
{
    TmemStoreHandover *h = obj->handover;

    if (obj->handover_lost && door->ops->lost) {
        door->ops->lost(door->opaque);
    }
    if (!h) {
        return;
    }
    QTAILQ_INSERT_TAIL(&h->doors, door, next);
    door->registered = true;
    if (h->opened && h->loader) {
        tmem_handover_restore(obj, door);
    }
}

void tmem_store_door_remove(TmemStoreObject *obj, TmemStoreDoor *door)
{
    if (door->registered) {
        QTAILQ_REMOVE(&obj->handover->doors, door, next);
        door->registered = false;
    }
}

/* --- Handing over --- */

bool tmem_store_hands_over(TmemStoreObject *obj)
{
    return obj->handover;
}

bool tmem_store_handing_over(TmemStoreObject *obj)
{
    return obj->handover && obj->handover->ending;
}

static bool tmem_door_save(TmemStoreDoor *door, TmemSaver *saver,
                           GError **errp)
{
    g_autoptr(GByteArray) state = g_byte_array_new();
    g_autofree char *name = tmem_door_bundle(door);
    TmemBundle bundle = {
        .name = name,
        .client = tmem_client_name(door->client),
    };
    uint64_t pool = 0;

    door->ops->save(door->opaque, state, &pool);
    bundle.state = state->data;
    bundle.state_bytes = state->len;
    return tmem_saver_add(saver, door->client, &bundle, pool, errp);
}

/*
 * The bundle @name goes from the one stream to the other, through a client of
 * its own.  Returns false and sets @errp if the new stream is of no use.
 */
static bool tmem_bundle_pass_on(TmemStoreObject *obj, const char *name,
                                TmemSaver *saver, GError **errp)
{
    TmemClientConfig config = {
        .name = name,
        .max_pools = TMEM_CLIENT_POOLS_MAX,
        .credit = TMEM_CLIENT_CREDIT_MAX,
    };
    TmemBundle bundle = { };
    g_autoptr(GError) gerr = NULL;
    g_autofree void *state = NULL;
    TmemClient *client = tmem_client_new(obj->store, &config, &gerr);
    TmemContext *ctx = client ? tmem_context_new(client, &gerr) : NULL;
    uint64_t pool;
    bool ok = true;

    tmem_loader_find(obj->handover->loader, name, &bundle);
    if (ctx && tmem_loader_take(obj->handover->loader, name, ctx, &state,
                                &bundle.state_bytes, &pool, &gerr)) {
        bundle.state = state;
        ok = tmem_saver_add(saver, client, &bundle, pool, errp);
    } else {
        tmem_handover_report(obj, name, gerr->message);
    }
    tmem_context_free(ctx);
    if (client) {
        tmem_client_free(client);
    }
    return ok;
}

/* What came before and nobody asked for; after the doors, which make room. */
static bool tmem_handover_pass_on(TmemStoreObject *obj, TmemSaver *saver,
                                  GError **errp)
{
    TmemLoader *loader = obj->handover->loader;
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    const char *name;
    bool ok = true;

    while (loader && (name = tmem_loader_left(loader, names->len))) {
        g_ptr_array_add(names, (void *)name);
    }
    for (unsigned i = 0; ok && i < names->len; i++) {
        ok = tmem_bundle_pass_on(obj, g_ptr_array_index(names, i), saver, errp);
    }
    return ok;
}

static bool tmem_handover_save(TmemStoreObject *obj, int fd, GError **errp)
{
    TmemSaver *saver = tmem_saver_new(obj->store, fd);
    TmemStoreDoor *door;
    bool ok = true;

    QTAILQ_FOREACH(door, &obj->handover->doors, next) {
        ok = ok && tmem_door_save(door, saver, errp);
    }
    ok = ok && tmem_handover_pass_on(obj, saver, errp);
    ok = ok && tmem_saver_finish(saver, errp);
    tmem_saver_free(saver);
    return ok;
}

static void tmem_handover_store(TmemStoreObject *obj, void *opaque)
{
    TmemStoreHandover *h = obj->handover;
    g_autoptr(GError) gerr = NULL;
    Error *err = NULL;
    int fd;

    if (!h) {
        return;
    }
    tmem_store_handover_open(obj);
    if (QTAILQ_EMPTY(&h->doors) && !h->loader) {
        return;
    }
    fd = memfd_create(h->name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0) {
        tmem_handover_report(obj, NULL, "the pages are lost: no memory file");
        return;
    }
    if (!tmem_handover_save(obj, fd, &gerr)) {
        tmem_handover_report(obj, NULL, gerr->message);
    } else {
        /* Not against writing: who takes over marks it, and frees as it goes */
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
        if (!tmem_fdstore_put(h->name, fd, &err)) {
            tmem_handover_report(obj, NULL, error_get_pretty(err));
            error_free(err);
        }
    }
    close(fd);
    tmem_handover_forget(h);
}

static void tmem_handover_begin_store(TmemStoreObject *obj, void *opaque)
{
    if (obj->handover) {
        /* Nobody may be served before they have what is theirs. */
        tmem_store_handover_open(obj);
        obj->handover->ending = true;
    }
}

static void tmem_handover_quiesce(TmemStoreObject *obj, void *opaque)
{
    TmemStoreDoor *door;

    if (!obj->handover) {
        return;
    }
    QTAILQ_FOREACH(door, &obj->handover->doors, next) {
        if (door->ops->quiesce) {
            door->ops->quiesce(door->opaque);
        }
    }
}

void tmem_handover_enable(void)
{
    tmem_fdstore_start();
    tmem_handover_enabled = true;
}

void tmem_handover_ready(void)
{
    tmem_handover_started = true;
    tmem_store_object_foreach(tmem_handover_ready_store, NULL);
    tmem_orphans_find();
}

void tmem_handover_begin(void)
{
    tmem_store_object_foreach(tmem_handover_begin_store, NULL);
}

void tmem_handover_finish(void)
{
    tmem_store_object_foreach(tmem_handover_quiesce, NULL);
    tmem_store_object_foreach(tmem_handover_store, NULL);
    tmem_orphans_drop();
}

/* --- Life --- */

bool tmem_store_handover_waiting(TmemStoreObject *obj, unsigned nth,
                                 TmemWaiting *waiting)
{
    TmemStoreHandover *h = obj->handover;

    return h && h->loader && tmem_loader_waiting(h->loader, nth, waiting);
}

/* Opens the stream that @fd is, if it is one. */
static void tmem_handover_find(TmemStoreObject *obj)
{
    TmemStoreHandover *h = obj->handover;
    GError *gerr = NULL;
    Error *err = NULL;

    h->loader = tmem_orphans_take(h->name, &h->fd);
    if (h->loader) {
        tmem_loader_set_store(h->loader, obj->store);
        return;
    }
    h->fd = tmem_fdstore_take(h->name, &err);
    if (h->fd >= 0) {
        h->loader = tmem_loader_new(obj->store, h->fd, &gerr);
    }
    if (err) {
        tmem_handover_lose(obj, error_get_pretty(err));
        error_free(err);
    }
    if (gerr) {
        tmem_handover_lose(obj, gerr->message);
        g_error_free(gerr);
    }
}

/*
 * A stream that nobody takes would be old when somebody asks for it again: if
 * this process does not hand over, the next one must not find it.
 */
static void tmem_handover_void(TmemStoreObject *obj, const char *name)
{
    int fd = -1;
    TmemLoader *loader = tmem_orphans_take(name, &fd);

    if (!loader) {
        fd = tmem_fdstore_take(name, NULL);
    }
    if (fd < 0) {
        return;
    }
    if (!loader) {
        loader = tmem_loader_new(obj->store, fd, NULL);
    }
    if (loader && tmem_loader_use(loader, NULL)) {
        tmem_handover_lose(obj, "the pages that were handed over are lost: this"
                           " store does not have 'handover=fdstore'");
    }
    tmem_loader_free(loader);
    close(fd);
    tmem_fdstore_remove(name);
}

bool tmem_store_handover_start(TmemStoreObject *obj, Error **errp)
{
    g_autofree char *id = tmem_store_object_id(obj);
    g_autofree char *name = g_strdup_printf(TMEM_FDSTORE_PREFIX "%s", id);
    TmemStoreHandover *h;

    if (obj->handover_mode == TMEM_HANDOVER_OFF) {
        if (tmem_handover_enabled) {
            tmem_handover_void(obj, name);
        }
        return true;
    }
    if (!tmem_handover_enabled) {
        error_setg(errp, "'handover' is for stores of qemu-storage-daemon: a"
                   " guest does not outlive the store that its own QEMU has");
        return false;
    }
    if (strlen(name) > TMEM_FDSTORE_NAME_MAX) {
        error_setg(errp, "'handover' is for stores with an ID of up to %zu"
                   " bytes, and this one has %zu: choose a shorter ID",
                   TMEM_FDSTORE_NAME_MAX - strlen(TMEM_FDSTORE_PREFIX),
                   strlen(id));
        return false;
    }
    if (!tmem_fdstore_available(errp)) {
        return false;
    }
    h = g_new0(TmemStoreHandover, 1);
    obj->handover = h;
    h->name = g_steal_pointer(&name);
    QTAILQ_INIT(&h->doors);
    tmem_handover_find(obj);
    if (tmem_handover_started) {
        tmem_store_handover_open(obj);
    }
    return true;
}

void tmem_store_handover_stop(TmemStoreObject *obj)
{
    TmemStoreHandover *h = obj->handover;

    if (h) {
        tmem_handover_forget(h);
        g_free(h->name);
        g_free(h);
        obj->handover = NULL;
    }
}

static int tmem_store_get_handover(Object *o, Error **errp)
{
    return TMEM_STORE(o)->handover_mode;
}

static void tmem_store_set_handover(Object *o, int value, Error **errp)
{
    TmemStoreObject *obj = TMEM_STORE(o);

    if (tmem_store_can_set(obj, "handover", errp)) {
        obj->handover_mode = value;
    }
}

void tmem_store_handover_class_init(ObjectClass *oc)
{
    object_class_property_add_enum(oc, "handover", "TmemHandover",
                                   &TmemHandover_lookup,
                                   tmem_store_get_handover,
                                   tmem_store_set_handover);
    object_class_property_set_description(oc, "handover",
        "Whether the pages go to the process that follows, and how");
}
