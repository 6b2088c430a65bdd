/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmem-vhost-user-server: virtio-tmem for a guest of another process
 *
 * -object tmem-vhost-user-server,id=ID,store=ID,addr.type=unix,addr.path=PATH
 *
 * Each object is one client of its store and serves one connection at a time.
 * What the client holds goes with the connection; its limits stay.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/clone-visitor.h"
#include "qapi/qapi-visit-sockets.h"
#include "qapi/visitor.h"
#include "libtmem/tmem-req.h"
#include "libtmem/tmem-save.h"
#include "qemu/error-report.h"
#include "qemu/module.h"
#include "qemu/vhost-user-check.h"
#include "qom/object_interfaces.h"
#include "tmem-spare.h"
#include "tmem-vhost-user-server-internal.h"

/* --- Listening --- */

/* Context: the AioContext; nothing of the connection is running. */
static void tmem_vu_disconnected(VuServer *server)
{
    TmemVhostUserServer *s = container_of(server, TmemVhostUserServer,
                                          vu_server);

    /*
     * Who has set no ring has had nothing to do with what was handed over.  A
     * connection that broke is not the guest's doing, and costs it nothing when
     * all connections end.
     */
    if (!s->unclaimed && (!s->handing_over || s->violated)) {
        tmem_vu_forget(s);
    } else {
        tmem_vu_drain(s);
        tmem_vu_keep(s);
        tmem_vu_forget_rings(s);
    }
    s->violated = false;
}

static bool tmem_vu_listen(TmemVhostUserServer *s, Error **errp)
{
    if (!vhost_user_check_path(s->addr, errp) ||
        !vhost_user_server_start(&s->vu_server, s->addr, s->aio_context,
                                 s->num_vqs, &tmem_vu_iface, errp)) {
        return false;
    }
    /* The main loop, where we are, accepts connections. */
    s->vu_server.name = s->id;
    s->vu_server.disconnected = tmem_vu_disconnected;
    s->listening = true;
    return true;
}

void tmem_vu_stop_listening(TmemVhostUserServer *s)
{
    if (!s->listening) {
        return;
    }
    vhost_user_server_stop(&s->vu_server);
    s->listening = false;
}

/* --- Life --- */

static bool tmem_vu_check_properties(TmemVhostUserServer *s, Error **errp)
{
    if (!s->store_id) {
        error_setg(errp, "a tmem-vhost-user-server needs 'store', the ID of a"
                   " tmem-store");
        return false;
    }
    if (!s->addr) {
        error_setg(errp, "a tmem-vhost-user-server needs 'addr', the socket to"
                   " listen on");
        return false;
    }
    /* With that of its kind it is a name in the stream of a handover. */
    if (strlen(s->id) > TMEM_BUNDLE_NAME_MAX - strlen("device:")) {
        error_setg(errp, "the ID of a tmem-vhost-user-server has at most %zu"
                   " bytes, and this one has %zu", TMEM_BUNDLE_NAME_MAX -
                   strlen("device:"), strlen(s->id));
        return false;
    }
    if (!s->device.num_queues ||
        s->device.num_queues > TMEM_VU_NUM_QUEUES_MAX) {
        error_setg(errp, "'num-queues' must be between 1 and %d, and is %u",
                   TMEM_VU_NUM_QUEUES_MAX, s->device.num_queues);
        return false;
    }
    if (!s->device.max_pools || s->device.max_pools > TMEM_CLIENT_POOLS_MAX) {
        error_setg(errp, "'max-pools' must be between 1 and %u, and is %u",
                   TMEM_CLIENT_POOLS_MAX, s->device.max_pools);
        return false;
    }
    if (s->device.credit > TMEM_CLIENT_CREDIT_MAX) {
        error_setg(errp, "'credit' must be at most %u pages, and is %u; 0 is"
                   " for none", TMEM_CLIENT_CREDIT_MAX, s->device.credit);
        return false;
    }
    if (s->device.disk_size % TMEM_PAGE_SIZE) {
        error_setg(errp, "'disk-size' must be a multiple of %u bytes, and is %"
                   PRIu64, TMEM_PAGE_SIZE, s->device.disk_size);
        return false;
    }
    return true;
}

static bool tmem_vu_attach_client(TmemVhostUserServer *s, Error **errp)
{
    TmemClientConfig config = {
        .name = s->client_name ?: s->id,
        .limits = {
            .min_bytes = s->min_size,
            .max_bytes = s->max_size,
            .weight = s->weight,
        },
        .max_pools = s->device.max_pools,
        .credit = s->device.credit,
    };

    s->store = tmem_store_object_find(s->store_id, errp);
    if (!s->store) {
        return false;
    }
    tmem_store_object_attach(s->store);
    s->client = tmem_store_client_get(s->store, &config,
                                      TMEM_DOOR_VHOST_USER, errp);
    if (!s->client ||
        !tmem_store_client_set_trust_group(s->store, s->client, s->trust_group,
                                           errp)) {
        return false;
    }
    tmem_store_client_set_owner(s->store, s->client, OBJECT(s));
    return true;
}

/*
 * A connection has a thread of its own unless the user knows better: a front
 * end that keeps it busy, or waiting, is in nobody's way.
 */
static bool tmem_vu_attach_thread(TmemVhostUserServer *s, Error **errp)
{
    g_autofree char *name = g_strdup_printf("tmem-%s", s->id);
    IOThread *iothread = s->iothread;

    if (!tmem_spare_for_server(!iothread, errp)) {
        return false;
    }
    if (!iothread) {
        s->own_iothread = iothread_create(name, errp);
        iothread = s->own_iothread;
    }
    if (!iothread) {
        return false;
    }
    /* The property lets go of it before we are finalized. */
    object_ref(OBJECT(iothread));
    s->thread = iothread;
    s->aio_context = iothread_get_aio_context(iothread);
    return true;
}

static bool tmem_vu_attach_queues(TmemVhostUserServer *s, Error **errp)
{
    bool begun, ok;

    s->door = (TmemStoreDoor) {
        .ops = &tmem_vu_door_ops,
        .opaque = s,
        .name = s->id,
        .client = s->client,
    };
    begun = tmem_store_door_begin(s->store, &s->door, s->device.num_queues +
                                  TMEM_DEVICE_VQ_NUM_FIXED);
    ok = tmem_vu_queues_init(s, errp);
    if (begun) {
        tmem_store_door_begun(&s->door);
    }
    return ok;
}

static void tmem_vu_teardown(TmemVhostUserServer *s)
{
    if (s->client) {
        tmem_client_set_hint_func(s->client, NULL, NULL);
    }
    tmem_store_door_remove(s->store, &s->door);
    tmem_vu_stop_listening(s);
    if (s->queues) {
        tmem_vu_queues_cleanup(s);
    }
    if (s->thread) {
        object_unref(OBJECT(s->thread));
        s->thread = NULL;
    }
    if (s->own_iothread) {
        iothread_destroy(s->own_iothread);
        s->own_iothread = NULL;
    }
    if (s->client) {
        tmem_store_client_put(s->store, s->client, TMEM_DOOR_VHOST_USER);
        s->client = NULL;
    }
    if (s->store) {
        tmem_store_object_detach(s->store);
        s->store = NULL;
    }
}

static void tmem_vu_complete(UserCreatable *uc, Error **errp)
{
    TmemVhostUserServer *s = TMEM_VHOST_USER_SERVER(uc);

    s->id = g_strdup(object_get_canonical_path_component(OBJECT(s)));
    if (!tmem_vu_check_properties(s, errp) ||
        !tmem_vu_attach_client(s, errp) ||
        !tmem_vu_attach_thread(s, errp) ||
        !tmem_vu_attach_queues(s, errp) ||
        !tmem_vu_listen(s, errp)) {
        tmem_vu_teardown(s);
        return;
    }
    s->door.ctx = s->queues[VIRTIO_TMEM_VQ_CONTROL].ctx;
    tmem_store_door_add(s->store, &s->door);
}

static void tmem_vu_init(Object *obj)
{
    TmemVhostUserServer *s = TMEM_VHOST_USER_SERVER(obj);

    s->device.num_queues = 1;
    s->device.max_pools = TMEM_CLIENT_POOLS_DEFAULT;
    s->device.credit = TMEM_CLIENT_CREDIT_DEFAULT;
}

static void tmem_vu_finalize(Object *obj)
{
    TmemVhostUserServer *s = TMEM_VHOST_USER_SERVER(obj);

    tmem_vu_teardown(s);
    qapi_free_SocketAddress(s->addr);
    g_free(s->store_id);
    g_free(s->client_name);
    g_free(s->trust_group);
    g_free(s->id);
}

/* --- Properties --- */

/* Returns false and sets @errp if the object is complete. */
static bool tmem_vu_can_set(Object *obj, const char *name, Error **errp)
{
    if (TMEM_VHOST_USER_SERVER(obj)->listening) {
        error_setg(errp, "'%s' of a tmem-vhost-user-server cannot be changed"
                   " once it exists", name);
        return false;
    }
    return true;
}

static void tmem_vu_get_addr(Object *obj, Visitor *v, const char *name,
                             void *opaque, Error **errp)
{
    visit_type_SocketAddress(v, name, &TMEM_VHOST_USER_SERVER(obj)->addr,
                             errp);
}

static void tmem_vu_set_addr(Object *obj, Visitor *v, const char *name,
                             void *opaque, Error **errp)
{
    TmemVhostUserServer *s = TMEM_VHOST_USER_SERVER(obj);
    SocketAddress *addr = NULL;

    if (tmem_vu_can_set(obj, name, errp) &&
        visit_type_SocketAddress(v, name, &addr, errp)) {
        qapi_free_SocketAddress(s->addr);
        s->addr = addr;
    }
}

static char *tmem_vu_get_store(Object *obj, Error **errp)
{
    return g_strdup(TMEM_VHOST_USER_SERVER(obj)->store_id);
}

static void tmem_vu_set_store(Object *obj, const char *value, Error **errp)
{
    TmemVhostUserServer *s = TMEM_VHOST_USER_SERVER(obj);

    if (tmem_vu_can_set(obj, "store", errp)) {
        g_free(s->store_id);
        s->store_id = g_strdup(value);
    }
}

static char *tmem_vu_get_client(Object *obj, Error **errp)
{
    return g_strdup(TMEM_VHOST_USER_SERVER(obj)->client_name);
}

static void tmem_vu_set_client(Object *obj, const char *value, Error **errp)
{
    TmemVhostUserServer *s = TMEM_VHOST_USER_SERVER(obj);

    if (tmem_vu_can_set(obj, "client", errp)) {
        g_free(s->client_name);
        s->client_name = g_strdup(value);
    }
}

static char *tmem_vu_get_trust_group(Object *obj, Error **errp)
{
    return g_strdup(TMEM_VHOST_USER_SERVER(obj)->trust_group);
}

static void tmem_vu_set_trust_group(Object *obj, const char *value,
                                    Error **errp)
{
    TmemVhostUserServer *s = TMEM_VHOST_USER_SERVER(obj);

    if (tmem_vu_can_set(obj, "trust-group", errp)) {
        g_free(s->trust_group);
        s->trust_group = g_strdup(value);
    }
}

/* The numbers: @opaque is one of these. */
typedef struct TmemVuNumber {
    const char *name;
    const char *type;
    size_t offset;
    const char *description;
} TmemVuNumber;

#define NUMBER(name, type, field, text) \
    { name, type, offsetof(TmemVhostUserServer, field), text }

/* The first can be set later. */
static const TmemVuNumber tmem_vu_numbers[] = {
    NUMBER("disk-size", "size", device.disk_size,
           "Size of the swap disk (default: 0, no disk)"),
    NUMBER("min-size", "size", min_size,
           "Memory of the store that is kept for this client (default: 0)"),
    NUMBER("max-size", "size", max_size,
           "Memory of the store that this client may use at most (default: the"
           " size of the store)"),
    NUMBER("weight", "uint32", weight,
           "Share of this client in what is kept for none, from 1 to 10000"
           " (default: 100)"),
    NUMBER("max-pools", "uint32", device.max_pools,
           "Pools that may exist at one time (default: 1024)"),
    NUMBER("credit", "uint32", device.credit,
           "Stores that the guest may report ahead of their answer, in pages"
           " (default: 128; 0: none)"),
    NUMBER("num-queues", "uint16", device.num_queues,
           "Request queues that are offered, from 1 to 255 (default: 1)"),
};

static void tmem_vu_visit_number(Object *obj, Visitor *v, const char *name,
                                 void *opaque, Error **errp)
{
    const TmemVuNumber *number = opaque;
    void *field = (char *)obj + number->offset;

    if (!strcmp(number->type, "size")) {
        visit_type_size(v, name, field, errp);
    } else if (!strcmp(number->type, "uint32")) {
        visit_type_uint32(v, name, field, errp);
    } else {
        visit_type_uint16(v, name, field, errp);
    }
}

static void tmem_vu_set_number(Object *obj, Visitor *v, const char *name,
                               void *opaque, Error **errp)
{
    if (tmem_vu_can_set(obj, name, errp)) {
        tmem_vu_visit_number(obj, v, name, opaque, errp);
    }
}

/* The one property that has a meaning for a device that exists. */
static void tmem_vu_set_disk_size(Object *obj, Visitor *v, const char *name,
                                  void *opaque, Error **errp)
{
    TmemVhostUserServer *s = TMEM_VHOST_USER_SERVER(obj);
    uint64_t size;

    if (!visit_type_size(v, name, &size, errp)) {
        return;
    }
    if (!s->listening) {
        s->device.disk_size = size;
        return;
    }
    if (!size || size % TMEM_PAGE_SIZE) {
        error_setg(errp, "'disk-size' must be a multiple of %u bytes, and is %"
                   PRIu64, TMEM_PAGE_SIZE, size);
        return;
    }
    if (size < s->device.disk_size && s->vu_server.current) {
        error_setg(errp, "the disk of client '%s' can only grow while a front"
                   " end is connected", tmem_client_name(s->client));
        return;
    }
    if (!s->device.disk_size) {
        error_setg(errp, "the device was made without a disk, which the guest"
                   " cannot be given now");
        return;
    }
    qatomic_set(&s->device.disk_size, size);
    /* Not waited for: the front end can keep its thread. */
    qemu_bh_schedule(s->config_bh);
}

static void tmem_vu_check_link(const Object *obj, const char *name,
                               Object *value, Error **errp)
{
    tmem_vu_can_set((Object *)obj, name, errp);
}

static void tmem_vu_class_init(ObjectClass *oc, void *data)
{
    UserCreatableClass *ucc = USER_CREATABLE_CLASS(oc);

    ucc->complete = tmem_vu_complete;

    object_class_property_add_str(oc, "store", tmem_vu_get_store,
                                  tmem_vu_set_store);
    object_class_property_set_description(oc, "store",
        "ID of the tmem-store that holds the pages");
    object_class_property_add_str(oc, "client", tmem_vu_get_client,
                                  tmem_vu_set_client);
    object_class_property_set_description(oc, "client",
        "Name of the store's client (default: the ID of this object)");
    object_class_property_add_str(oc, "trust-group", tmem_vu_get_trust_group,
                                  tmem_vu_set_trust_group);
    object_class_property_set_description(oc, "trust-group",
        "Group of clients whose equal cached pages are kept once");
    object_class_property_add(oc, "addr", "SocketAddress", tmem_vu_get_addr,
                              tmem_vu_set_addr, NULL, NULL);
    object_class_property_set_description(oc, "addr",
        "Socket to listen on, of type 'unix' or 'fd'");
    object_class_property_add_link(oc, "iothread", TYPE_IOTHREAD,
                                   offsetof(TmemVhostUserServer, iothread),
                                   tmem_vu_check_link, OBJ_PROP_LINK_STRONG);
    object_class_property_set_description(oc, "iothread",
        "Thread that serves the connection; one of its own if not set");
    for (size_t i = 0; i < ARRAY_SIZE(tmem_vu_numbers); i++) {
        const TmemVuNumber *number = &tmem_vu_numbers[i];

        object_class_property_add(oc, number->name, number->type,
                                  tmem_vu_visit_number,
                                  i ? tmem_vu_set_number :
                                      tmem_vu_set_disk_size,
                                  NULL, (void *)number);
        object_class_property_set_description(oc, number->name,
                                              number->description);
    }
}

static const TypeInfo tmem_vu_info = {
    .name = TYPE_TMEM_VHOST_USER_SERVER,
    .parent = TYPE_OBJECT,
    .instance_size = sizeof(TmemVhostUserServer),
    .instance_init = tmem_vu_init,
    .instance_finalize = tmem_vu_finalize,
    .class_init = tmem_vu_class_init,
    .interfaces = (InterfaceInfo[]) {
        { TYPE_USER_CREATABLE },
        { }
    },
};

static void tmem_vu_register_types(void)
{
    type_register_static(&tmem_vu_info);
}

type_init(tmem_vu_register_types)
