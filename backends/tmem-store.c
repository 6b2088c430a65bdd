/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmem-store: the QOM object that owns a libtmem store
 *
 * -object tmem-store,id=ID,size=SIZE[,compressor=lz4|zstd|none]
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/visitor.h"
#include "qemu/cutils.h"
#include "qemu/error-report.h"
#include "qemu/module.h"
#include "qom/object_interfaces.h"
#include "tmem-store-internal.h"

/* Completed objects that have a name, in the order of their creation; BQL. */
static QTAILQ_HEAD(, TmemStoreObject) tmem_stores =
    QTAILQ_HEAD_INITIALIZER(tmem_stores);

void tmem_propagate_gerror(Error **errp, GError *err)
{
    error_setg(errp, "%s", err->message);
    g_error_free(err);
}

TmemStore *tmem_store_object_get(TmemStoreObject *obj)
{
    return obj->store;
}

void tmem_store_object_attach(TmemStoreObject *obj)
{
    object_ref(OBJECT(obj));
    obj->users++;
}

void tmem_store_object_detach(TmemStoreObject *obj)
{
    assert(obj->users > 0);
    obj->users--;
    object_unref(OBJECT(obj));
}

char *tmem_store_object_id(TmemStoreObject *obj)
{
    if (OBJECT(obj)->parent == object_get_objects_root()) {
        return g_strdup(object_get_canonical_path_component(OBJECT(obj)));
    }
    return object_get_canonical_path(OBJECT(obj));
}

TmemStoreObject *tmem_store_object_find(const char *id, Error **errp)
{
    ERRP_GUARD();
    TmemStoreObject *obj;

    QTAILQ_FOREACH(obj, &tmem_stores, next) {
        g_autofree char *name = tmem_store_object_id(obj);
        g_autofree char *path = object_get_canonical_path(OBJECT(obj));

        if (!strcmp(id, name) || !g_strcmp0(id, path)) {
            return obj;
        }
    }
    error_set(errp, ERROR_CLASS_DEVICE_NOT_FOUND,
              "there is no tmem-store with ID '%s'", id);
    error_append_hint(errp, "Create it first: -object tmem-store,id=%s,"
                      "size=SIZE\n", id);
    return NULL;
}

void tmem_store_object_foreach(TmemStoreObjectFunc *func, void *opaque)
{
    TmemStoreObject *obj;

    QTAILQ_FOREACH(obj, &tmem_stores, next) {
        func(obj, opaque);
    }
}

bool tmem_store_can_set(TmemStoreObject *obj, const char *name, Error **errp)
{
    if (obj->store) {
        error_setg(errp, "'%s' of a tmem-store cannot be changed once it"
                   " exists", name);
        return false;
    }
    return true;
}

static void tmem_store_get_size(Object *o, Visitor *v, const char *name,
                                void *opaque, Error **errp)
{
    visit_type_size(v, name, &TMEM_STORE(o)->size, errp);
}

static void tmem_store_set_size(Object *o, Visitor *v, const char *name,
                                void *opaque, Error **errp)
{
    TmemStoreObject *obj = TMEM_STORE(o);
    uint64_t size;

    if (!tmem_store_can_set(obj, name, errp) ||
        !visit_type_size(v, name, &size, errp)) {
        return;
    }
    if (size < TMEM_STORE_SIZE_MIN) {
        g_autofree char *min = size_to_str(TMEM_STORE_SIZE_MIN);

        error_setg(errp, "'size' of a tmem-store must be at least %s", min);
        return;
    }
    obj->size = size;
}

static void tmem_store_get_group_max(Object *o, Visitor *v, const char *name,
                                     void *opaque, Error **errp)
{
    visit_type_size(v, name, &TMEM_STORE(o)->group_max_size, errp);
}

/* At any time: groups that are there keep what they have. */
static void tmem_store_set_group_max(Object *o, Visitor *v, const char *name,
                                     void *opaque, Error **errp)
{
    visit_type_size(v, name, &TMEM_STORE(o)->group_max_size, errp);
}

static void tmem_store_complete(UserCreatable *uc, Error **errp)
{
    TmemStoreObject *obj = TMEM_STORE(uc);
    TmemStoreConfig config = {
        .size_bytes = obj->size,
        .policy = &obj->policy,
    };
    uint64_t host_bytes = qemu_get_host_physmem();
    GError *err = NULL;

    if (!obj->size) {
        error_setg(errp, "a tmem-store needs 'size', the host memory that it"
                   " may use at most");
        return;
    }
    obj->store = tmem_store_new(&config, &err);
    if (!obj->store) {
        tmem_propagate_gerror(errp, err);
        return;
    }
    if (!tmem_store_handover_start(obj, errp)) {
        g_clear_pointer(&obj->store, tmem_store_free);
        return;
    }
    tmem_store_events_start(obj);
    if (host_bytes && obj->size > host_bytes) {
        g_autofree char *id = tmem_store_object_id(obj);
        g_autofree char *size = size_to_str(obj->size);
        g_autofree char *host = size_to_str(host_bytes);

        warn_report("tmem-store '%s' may grow to %s, but this host has only"
                    " %s of memory", id, size, host);
    }
    QTAILQ_INSERT_TAIL(&tmem_stores, obj, next);
}

static bool tmem_store_can_be_deleted(UserCreatable *uc)
{
    return TMEM_STORE(uc)->users == 0;
}

/*
 * Deleted: it has no name any more.  Whoever holds a reference (an unplugged
 * device does until RCU has let go of it) keeps it alive a little longer.
 */
static void tmem_store_unparent(Object *o)
{
    TmemStoreObject *obj = TMEM_STORE(o);

    if (QTAILQ_IN_USE(obj, next)) {
        QTAILQ_REMOVE(&tmem_stores, obj, next);
    }
}

static void tmem_store_init(Object *o)
{
    TmemStoreObject *obj = TMEM_STORE(o);

    tmem_policy_init(&obj->policy);
    QTAILQ_INIT(&obj->clients);
}

static void tmem_store_finalize(Object *o)
{
    TmemStoreObject *obj = TMEM_STORE(o);

    tmem_store_handover_stop(obj);
    if (obj->store) {
        tmem_store_free(obj->store);
    }
    tmem_store_events_stop(obj);
    tmem_store_client_forget(obj);
}

static void tmem_store_class_init(ObjectClass *oc, void *data)
{
    UserCreatableClass *ucc = USER_CREATABLE_CLASS(oc);

    oc->unparent = tmem_store_unparent;
    ucc->complete = tmem_store_complete;
    ucc->can_be_deleted = tmem_store_can_be_deleted;

    object_class_property_add(oc, TMEM_STORE_SIZE_PROP, "size",
                              tmem_store_get_size, tmem_store_set_size,
                              NULL, NULL);
    object_class_property_set_description(oc, TMEM_STORE_SIZE_PROP,
        "Host memory that the store may use at most, metadata included");
    object_class_property_add(oc, TMEM_STORE_GROUP_MAX_PROP, "size",
                              tmem_store_get_group_max,
                              tmem_store_set_group_max, NULL, NULL);
    object_class_property_set_description(oc, TMEM_STORE_GROUP_MAX_PROP,
        "Bytes that each trust group may use at most, until tmem-set-client"
        " gives it another maximum; 0: no such limit (0)");
    tmem_store_policy_class_init(oc);
    tmem_store_handover_class_init(oc);
}

static const TypeInfo tmem_store_info = {
    .name = TYPE_TMEM_STORE,
    .parent = TYPE_OBJECT,
    .instance_size = sizeof(TmemStoreObject),
    .instance_init = tmem_store_init,
    .instance_finalize = tmem_store_finalize,
    .class_init = tmem_store_class_init,
    .interfaces = (InterfaceInfo[]) {
        { TYPE_USER_CREATABLE },
        { }
    },
};

static void tmem_store_register_types(void)
{
    type_register_static(&tmem_store_info);
}

type_init(tmem_store_register_types)
