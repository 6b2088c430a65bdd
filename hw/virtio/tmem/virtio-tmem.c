/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-tmem: a guest's door to a tmem store
 *
 * The device is one client of a store.  It lives as long as the device is
 * realized, and a reset drops all that it holds.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/visitor.h"
#include "hw/boards.h"
#include "hw/qdev-properties.h"
#include "hw/virtio/iothread-vq-mapping.h"
#include "hw/virtio/virtio-mmio.h"
#include "qemu/cutils.h"
#include "qemu/module.h"
#include "qom/object_interfaces.h"
#include "system/tmem-device.h"
#include "trace.h"
#include "virtio-tmem-internal.h"

static TmemDeviceConf virtio_tmem_device_conf(const VirtIOTmem *s)
{
    return (TmemDeviceConf) {
        .disk_size = s->conf.disk_size,
        .max_pools = s->conf.max_pools,
        .credit = s->conf.credit,
        .num_queues = s->conf.num_queues,
    };
}

static void virtio_tmem_get_config(VirtIODevice *vdev, uint8_t *data)
{
    VirtIOTmem *s = VIRTIO_TMEM(vdev);
    TmemDeviceConf conf = virtio_tmem_device_conf(s);
    struct virtio_tmem_config config;

    tmem_device_config(&conf, &config);
    if (virtio_vdev_has_feature(vdev, VIRTIO_TMEM_F_HINT)) {
        config.not_accepting = cpu_to_le32(tmem_client_hints(s->client));
    }
    memcpy(data, &config, sizeof(config));
}

/* Context: BH in the main loop. */
static void virtio_tmem_hint_bh(void *opaque)
{
    VirtIOTmem *s = opaque;
    VirtIODevice *vdev = VIRTIO_DEVICE(s);

    if (virtio_vdev_has_feature(vdev, VIRTIO_TMEM_F_HINT)) {
        trace_virtio_tmem_hints(tmem_client_name(s->client),
                                tmem_client_hints(s->client));
        virtio_notify_config(vdev);
    }
}

/* Context: any thread. */
static void virtio_tmem_hints_changed(void *opaque)
{
    VirtIOTmem *s = opaque;

    qemu_bh_schedule(s->hint_bh);
}

static bool virtio_tmem_is_mmio(VirtIOTmem *s)
{
    DeviceState *transport = qdev_get_parent_bus(DEVICE(s))->parent;

    return object_dynamic_cast(OBJECT(transport), TYPE_VIRTIO_MMIO);
}

static uint64_t virtio_tmem_get_features(VirtIODevice *vdev, uint64_t features,
                                         Error **errp)
{
    VirtIOTmem *s = VIRTIO_TMEM(vdev);

    /* QEMU's virtio-mmio lacks the register that resets a queue. */
    if (virtio_tmem_is_mmio(s)) {
        virtio_clear_feature(&features, VIRTIO_F_RING_RESET);
    }
    return features | s->host_features;
}

/* Called for FEATURES_OK; an error refuses it. */
static int virtio_tmem_validate_features(VirtIODevice *vdev)
{
    return tmem_device_features_ok(vdev->guest_features) ? 0 : -EINVAL;
}

/* Context: BQL held. */
static void virtio_tmem_set_status(VirtIODevice *vdev, uint8_t status)
{
    VirtIOTmem *s = VIRTIO_TMEM(vdev);

    trace_virtio_tmem_set_status(tmem_client_name(s->client), status,
                                 vdev->vm_running);
    /* The virtio core leaves it to the transports, which do not check. */
    if ((status & VIRTIO_CONFIG_S_FEATURES_OK) && !vdev->broken &&
        !virtio_vdev_has_feature(vdev, VIRTIO_F_VERSION_1)) {
        virtio_error(vdev, "virtio-tmem: the driver of client '%s' does not"
                     " know virtio 1.0", tmem_client_name(s->client));
    }
    if (vdev->vm_running && (status & VIRTIO_CONFIG_S_DRIVER_OK)) {
        virtio_tmem_queues_resume(s);
    }
}

/* Context: BQL held; the transport has stopped ioeventfd and iothreads. */
static void virtio_tmem_reset(VirtIODevice *vdev)
{
    VirtIOTmem *s = VIRTIO_TMEM(vdev);
    unsigned i;

    assert(!s->dataplane_started);
    trace_virtio_tmem_reset(tmem_client_name(s->client),
                            tmem_client_persistent_pages(s->client));
    for (i = 0; i < s->num_vqs; i++) {
        virtio_tmem_queue_quiesce(&s->queues[i]);
        qatomic_set(&s->queues[i].violation, NULL);
    }
    tmem_client_reset(s->client);
    virtio_tmem_update_unplug_blocker(s);
}

/* Fills in what the user left to us. */
static void virtio_tmem_choose(VirtIOTmem *s)
{
    VirtIOTmemConf *conf = &s->conf;
    uint64_t ram_bytes = current_machine->ram_size;

    if (conf->num_queues == VIRTIO_TMEM_AUTO_NUM_QUEUES) {
        conf->num_queues = 1;
    }
    if (conf->disk_size == VIRTIO_TMEM_AUTO_SIZE) {
        conf->disk_size = ROUND_DOWN(ram_bytes, TMEM_PAGE_SIZE);
    }
    if (!conf->store && conf->store_size == VIRTIO_TMEM_AUTO_SIZE) {
        conf->store_size = MAX(ram_bytes / 2, TMEM_STORE_SIZE_MIN);
    }
}

static bool virtio_tmem_check_queues(VirtIOTmem *s, Error **errp)
{
    const VirtIOTmemConf *conf = &s->conf;

    if (!conf->num_queues || conf->num_queues > VIRTIO_TMEM_NUM_QUEUES_MAX) {
        error_setg(errp, "'" VIRTIO_TMEM_NUM_QUEUES_PROP "' must be between 1"
                   " and %d, and is %u", VIRTIO_TMEM_NUM_QUEUES_MAX,
                   conf->num_queues);
        return false;
    }
    return true;
}

static bool virtio_tmem_check_disk_size(uint64_t bytes, Error **errp)
{
    if (bytes % TMEM_PAGE_SIZE) {
        error_setg(errp, "'" VIRTIO_TMEM_DISK_SIZE_PROP "' must be a multiple"
                   " of %u bytes, and is %" PRIu64, TMEM_PAGE_SIZE, bytes);
        return false;
    }
    return true;
}

static bool virtio_tmem_check_limits(VirtIOTmem *s, Error **errp)
{
    ERRP_GUARD();
    const VirtIOTmemConf *conf = &s->conf;

    if (!conf->max_pools || conf->max_pools > TMEM_CLIENT_POOLS_MAX) {
        error_setg(errp, "'" VIRTIO_TMEM_MAX_POOLS_PROP "' must be between 1"
                   " and %u, and is %u", TMEM_CLIENT_POOLS_MAX,
                   conf->max_pools);
        return false;
    }
    if (conf->credit > TMEM_CLIENT_CREDIT_MAX) {
        error_setg(errp, "'" VIRTIO_TMEM_CREDIT_PROP "' must be at most %u"
                   " pages, and is %u; 0 is for none",
                   TMEM_CLIENT_CREDIT_MAX, conf->credit);
        return false;
    }
    if (!virtio_tmem_check_disk_size(conf->disk_size, errp)) {
        return false;
    }
    if (!conf->store && conf->store_size < TMEM_STORE_SIZE_MIN) {
        g_autofree char *min = size_to_str(TMEM_STORE_SIZE_MIN);

        error_setg(errp, "'" VIRTIO_TMEM_STORE_SIZE_PROP "' must be at least"
                   " %s", min);
        return false;
    }
    if (conf->store && conf->store_size != VIRTIO_TMEM_AUTO_SIZE) {
        error_setg(errp, "'" VIRTIO_TMEM_STORE_SIZE_PROP "' is for the device's"
                   " own store and cannot be used with '"
                   VIRTIO_TMEM_STORE_PROP "'");
        error_append_hint(errp, "The limit of one client of a store is '"
                          VIRTIO_TMEM_MAX_SIZE_PROP "'.\n");
        return false;
    }
    return true;
}

static bool virtio_tmem_check_transport(VirtIOTmem *s, Error **errp)
{
    ERRP_GUARD();
    DeviceState *transport = qdev_get_parent_bus(DEVICE(s))->parent;

    if (virtio_tmem_is_mmio(s) && VIRTIO_MMIO(transport)->legacy) {
        error_setg(errp, "virtio-tmem needs virtio 1.0, and this virtio-mmio"
                   " transport is a legacy one");
        error_append_hint(errp,
                          "Use -global virtio-mmio.force-legacy=off\n");
        return false;
    }
    return true;
}

/* What the user calls this device: its ID or, for want of one, its path. */
static char *virtio_tmem_user_name(VirtIOTmem *s)
{
    DeviceState *transport = qdev_get_parent_bus(DEVICE(s))->parent;
    bool part_of_it = OBJECT(s)->parent == OBJECT(transport);
    DeviceState *dev = part_of_it ? transport : DEVICE(s);

    return dev->id ? g_strdup(dev->id) : object_get_canonical_path(OBJECT(dev));
}

static bool virtio_tmem_attach_store(VirtIOTmem *s, Error **errp)
{
    ERRP_GUARD();
    s->store = s->conf.store;
    if (!s->store) {
        g_autofree char *size = g_strdup_printf("%" PRIu64,
                                                s->conf.store_size);
        Object *obj = object_new_with_props(TYPE_TMEM_STORE, OBJECT(s),
                                            "own-store", errp,
                                            TMEM_STORE_SIZE_PROP, size, NULL);

        if (!obj) {
            error_prepend(errp, "cannot create a store for virtio-tmem: ");
            return false;
        }
        s->store = TMEM_STORE(obj);
    }
    tmem_store_object_attach(s->store);
    return true;
}

static void virtio_tmem_detach_store(VirtIOTmem *s)
{
    tmem_store_object_detach(s->store);
    if (!s->conf.store) {
        object_unparent(OBJECT(s->store));
    }
    s->store = NULL;
}

static bool virtio_tmem_attach_client(VirtIOTmem *s, Error **errp)
{
    ERRP_GUARD();
    g_autofree char *name = virtio_tmem_user_name(s);
    g_autofree char *store_id = NULL;
    TmemClientConfig config = {
        .name = s->conf.client ?: name,
        .limits = {
            .min_bytes = s->conf.min_size,
            .max_bytes = s->conf.max_size,
            .weight = s->conf.weight,
        },
        .max_pools = s->conf.max_pools,
        .credit = s->conf.credit,
    };

    s->client = tmem_store_client_get(s->store, &config, TMEM_DOOR_DEVICE,
                                      errp);
    if (!s->client) {
        error_append_hint(errp, "Its name is set with '"
                          VIRTIO_TMEM_CLIENT_PROP "=NAME', its share with '"
                          VIRTIO_TMEM_MIN_SIZE_PROP "', '"
                          VIRTIO_TMEM_MAX_SIZE_PROP "' and '"
                          VIRTIO_TMEM_WEIGHT_PROP "'.\n");
        return false;
    }
    if (!tmem_store_client_set_trust_group(s->store, s->client,
                                           s->conf.trust_group, errp)) {
        tmem_store_client_put(s->store, s->client, TMEM_DOOR_DEVICE);
        s->client = NULL;
        return false;
    }
    tmem_store_client_set_owner(s->store, s->client, OBJECT(s));
    s->hint_bh = virtio_bh_new_guarded(DEVICE(s), virtio_tmem_hint_bh, s);
    tmem_client_set_hint_func(s->client, virtio_tmem_hints_changed, s);
    store_id = tmem_store_object_id(s->store);
    trace_virtio_tmem_realize(config.name, store_id, s->conf.num_queues,
                              s->conf.disk_size);
    return true;
}

static void virtio_tmem_detach_client(VirtIOTmem *s)
{
    tmem_client_set_hint_func(s->client, NULL, NULL);
    qemu_bh_delete(s->hint_bh);
    s->hint_bh = NULL;
    tmem_store_client_put(s->store, s->client, TMEM_DOOR_DEVICE);
    s->client = NULL;
}

static void virtio_tmem_device_init(VirtIOTmem *s)
{
    unsigned i;

    virtio_init(VIRTIO_DEVICE(s), VIRTIO_ID_TMEM,
                sizeof(struct virtio_tmem_config));
    VIRTIO_DEVICE(s)->ram_only = true;
    s->num_vqs = s->conf.num_queues + VIRTIO_TMEM_VQ_NUM_FIXED;
    s->queues = g_new0(VirtIOTmemQueue, s->num_vqs);
    for (i = 0; i < s->num_vqs; i++) {
        s->queues[i].dev = s;
    }
}

static void virtio_tmem_device_cleanup(VirtIOTmem *s)
{
    g_free(s->queues);
    s->queues = NULL;
    virtio_cleanup(VIRTIO_DEVICE(s));
}

/* The feature bits that can be turned off by a property. */
#define VIRTIO_TMEM_SWITCHES    (BIT_ULL(VIRTIO_TMEM_F_EPHEMERAL) | \
                                 BIT_ULL(VIRTIO_TMEM_F_SHARED) | \
                                 BIT_ULL(VIRTIO_TMEM_F_EXCLUSIVE) | \
                                 BIT_ULL(VIRTIO_TMEM_F_HINT))

static uint64_t virtio_tmem_offered(VirtIOTmem *s)
{
    TmemDeviceConf device = virtio_tmem_device_conf(s);
    /* Hints are beside what the device is over vhost-user, too. */
    uint64_t features = tmem_device_features(&device) |
                        BIT_ULL(VIRTIO_TMEM_F_HINT);

    features &= s->conf.features | ~VIRTIO_TMEM_SWITCHES;
    if (!(features & BIT_ULL(VIRTIO_TMEM_F_EPHEMERAL))) {
        features &= ~(BIT_ULL(VIRTIO_TMEM_F_SHARED) |
                      BIT_ULL(VIRTIO_TMEM_F_EXCLUSIVE));
    }
    return features;
}

static void virtio_tmem_realize(DeviceState *dev, Error **errp)
{
    VirtIOTmem *s = VIRTIO_TMEM(dev);

    virtio_tmem_choose(s);
    if (!virtio_tmem_check_transport(s, errp) ||
        !virtio_tmem_check_queues(s, errp) ||
        !virtio_tmem_check_limits(s, errp) ||
        !virtio_tmem_attach_store(s, errp)) {
        return;
    }
    if (!virtio_tmem_attach_client(s, errp)) {
        goto fail_client;
    }
    if (!virtio_tmem_blockers_init(s, errp)) {
        goto fail_blockers;
    }
    s->host_features = virtio_tmem_offered(s);
    virtio_tmem_device_init(s);
    if (!virtio_tmem_dataplane_init(s, errp)) {
        goto fail_dataplane;
    }
    if (!virtio_tmem_queues_init(s, errp)) {
        goto fail_queues;
    }
    return;

fail_queues:
    virtio_tmem_dataplane_cleanup(s);
fail_dataplane:
    virtio_tmem_device_cleanup(s);
    virtio_tmem_blockers_cleanup(s);
fail_blockers:
    virtio_tmem_detach_client(s);
fail_client:
    virtio_tmem_detach_store(s);
}

static void virtio_tmem_unrealize(DeviceState *dev)
{
    VirtIOTmem *s = VIRTIO_TMEM(dev);

    virtio_tmem_queues_cleanup(s);
    virtio_tmem_dataplane_cleanup(s);
    virtio_tmem_device_cleanup(s);
    virtio_tmem_blockers_cleanup(s);
    virtio_tmem_detach_client(s);
    virtio_tmem_detach_store(s);
}

/* --- store=ID: a link, with an error that names the way out --- */

static void virtio_tmem_get_store(Object *obj, Visitor *v, const char *name,
                                  void *opaque, Error **errp)
{
    TmemStoreObject **store = object_field_prop_ptr(obj, opaque);
    g_autofree char *id = *store ? tmem_store_object_id(*store) : g_strdup("");

    visit_type_str(v, name, &id, errp);
}

static void virtio_tmem_set_store(Object *obj, Visitor *v, const char *name,
                                  void *opaque, Error **errp)
{
    TmemStoreObject **store = object_field_prop_ptr(obj, opaque);
    g_autofree char *id = NULL;
    TmemStoreObject *found;

    if (!visit_type_str(v, name, &id, errp)) {
        return;
    }
    found = tmem_store_object_find(id, errp);
    if (!found) {
        return;
    }
    object_ref(OBJECT(found));
    object_unref(OBJECT(*store));
    *store = found;
}

static void virtio_tmem_release_store(Object *obj, const char *name,
                                      void *opaque)
{
    TmemStoreObject **store = object_field_prop_ptr(obj, opaque);

    object_unref(OBJECT(*store));
    *store = NULL;
}

static const PropertyInfo virtio_tmem_prop_store = {
    .type = "str",
    .description = "ID of a tmem-store; without it the device has its own",
    .get = virtio_tmem_get_store,
    .set = virtio_tmem_set_store,
    .release = virtio_tmem_release_store,
};

/* --- disk-size=BYTES: may change while the guest runs --- */

/* The disk is there: @bytes is what it is to have from now on. */
static bool virtio_tmem_check_resize(VirtIOTmem *s, uint64_t bytes,
                                     Error **errp)
{
    const char *client = tmem_client_name(s->client);

    if (!virtio_tmem_check_disk_size(bytes, errp)) {
        return false;
    }
    if (!(s->host_features & BIT_ULL(VIRTIO_TMEM_F_DISK))) {
        error_setg(errp, "client '%s' was started without a disk: start it"
                   " with another '" VIRTIO_TMEM_DISK_SIZE_PROP "' than 0",
                   client);
        return false;
    }
    if (!bytes) {
        error_setg(errp, "the disk of client '%s' cannot be taken away: remove"
                   " the device", client);
        return false;
    }
    if (bytes < s->conf.disk_size &&
        VIRTIO_DEVICE(s)->status & VIRTIO_CONFIG_S_DRIVER) {
        error_setg(errp, "the disk of client '%s' has %" PRIu64 " bytes and can"
                   " only grow while the guest's driver uses the device:"
                   " unload the driver to make it smaller", client,
                   s->conf.disk_size);
        return false;
    }
    return true;
}

static void virtio_tmem_get_disk_size(Object *obj, Visitor *v,
                                      const char *name, void *opaque,
                                      Error **errp)
{
    uint64_t *bytes = object_field_prop_ptr(obj, opaque);

    visit_type_size(v, name, bytes, errp);
}

/* Context: BQL held. */
static void virtio_tmem_set_disk_size(Object *obj, Visitor *v,
                                      const char *name, void *opaque,
                                      Error **errp)
{
    uint64_t *bytes = object_field_prop_ptr(obj, opaque);
    VirtIOTmem *s = VIRTIO_TMEM(obj);
    uint64_t value;

    if (!visit_type_size(v, name, &value, errp)) {
        return;
    }
    if (!DEVICE(s)->realized) {
        *bytes = value;
        return;
    }
    if (!virtio_tmem_check_resize(s, value, errp) || value == *bytes) {
        return;
    }
    trace_virtio_tmem_disk_size(tmem_client_name(s->client), *bytes, value);
    *bytes = value;
    virtio_notify_config(VIRTIO_DEVICE(s));
}

static void virtio_tmem_set_default_disk_size(ObjectProperty *op,
                                              const Property *prop)
{
    object_property_set_default_uint(op, prop->defval.u);
}

static const PropertyInfo virtio_tmem_prop_disk_size = {
    .type = "size",
    .description = "bytes of the guest's swap disk; may grow while it runs",
    .realized_set_allowed = true,
    .get = virtio_tmem_get_disk_size,
    .set = virtio_tmem_set_disk_size,
    .set_default_value = virtio_tmem_set_default_disk_size,
};

static const Property virtio_tmem_properties[] = {
    DEFINE_PROP(VIRTIO_TMEM_STORE_PROP, VirtIOTmem, conf.store,
                virtio_tmem_prop_store, TmemStoreObject *),
    DEFINE_PROP_SIZE(VIRTIO_TMEM_STORE_SIZE_PROP, VirtIOTmem, conf.store_size,
                     VIRTIO_TMEM_AUTO_SIZE),
    DEFINE_PROP_STRING(VIRTIO_TMEM_CLIENT_PROP, VirtIOTmem, conf.client),
    DEFINE_PROP_STRING(VIRTIO_TMEM_TRUST_GROUP_PROP, VirtIOTmem,
                       conf.trust_group),
    DEFINE_PROP_UNSIGNED(VIRTIO_TMEM_DISK_SIZE_PROP, VirtIOTmem,
                         conf.disk_size, VIRTIO_TMEM_AUTO_SIZE,
                         virtio_tmem_prop_disk_size, uint64_t),
    DEFINE_PROP_SIZE(VIRTIO_TMEM_MIN_SIZE_PROP, VirtIOTmem, conf.min_size, 0),
    DEFINE_PROP_SIZE(VIRTIO_TMEM_MAX_SIZE_PROP, VirtIOTmem, conf.max_size, 0),
    DEFINE_PROP_UINT32(VIRTIO_TMEM_WEIGHT_PROP, VirtIOTmem, conf.weight, 0),
    DEFINE_PROP_UINT32(VIRTIO_TMEM_MAX_POOLS_PROP, VirtIOTmem, conf.max_pools,
                       TMEM_CLIENT_POOLS_DEFAULT),
    DEFINE_PROP_UINT32(VIRTIO_TMEM_CREDIT_PROP, VirtIOTmem, conf.credit,
                       TMEM_CLIENT_CREDIT_DEFAULT),
    DEFINE_PROP_UINT16(VIRTIO_TMEM_NUM_QUEUES_PROP, VirtIOTmem,
                       conf.num_queues, VIRTIO_TMEM_AUTO_NUM_QUEUES),
    /*
     * Feature bits that nothing else decides on.  What is new in a release gets
     * one, which hw_compat_* turns off for the machines of earlier ones: their
     * guests see the device that they have always seen.
     */
    DEFINE_PROP_BIT64(VIRTIO_TMEM_EPHEMERAL_PROP, VirtIOTmem, conf.features,
                      VIRTIO_TMEM_F_EPHEMERAL, true),
    DEFINE_PROP_BIT64(VIRTIO_TMEM_SHARED_PROP, VirtIOTmem, conf.features,
                      VIRTIO_TMEM_F_SHARED, true),
    DEFINE_PROP_BIT64(VIRTIO_TMEM_EXCLUSIVE_PROP, VirtIOTmem, conf.features,
                      VIRTIO_TMEM_F_EXCLUSIVE, true),
    DEFINE_PROP_BIT64(VIRTIO_TMEM_HINT_PROP, VirtIOTmem, conf.features,
                      VIRTIO_TMEM_F_HINT, true),
    DEFINE_PROP_LINK(VIRTIO_TMEM_IOTHREAD_PROP, VirtIOTmem, conf.iothread,
                     TYPE_IOTHREAD, IOThread *),
    DEFINE_PROP_IOTHREAD_VQ_MAPPING_LIST(VIRTIO_TMEM_IOTHREAD_VQ_MAPPING_PROP,
                                         VirtIOTmem,
                                         conf.iothread_vq_mapping_list),
};

static void virtio_tmem_class_init(ObjectClass *klass, void *data)
{
    DeviceClass *dc = DEVICE_CLASS(klass);
    VirtioDeviceClass *vdc = VIRTIO_DEVICE_CLASS(klass);
    VirtIOTmemClass *vtc = VIRTIO_TMEM_CLASS(klass);

    device_class_set_props(dc, virtio_tmem_properties);
    dc->desc = "guest's door to a compressed page store";
    set_bit(DEVICE_CATEGORY_STORAGE, dc->categories);
    vdc->realize = virtio_tmem_realize;
    vdc->unrealize = virtio_tmem_unrealize;
    vdc->get_config = virtio_tmem_get_config;
    vdc->get_features = virtio_tmem_get_features;
    vdc->validate_features = virtio_tmem_validate_features;
    vdc->set_status = virtio_tmem_set_status;
    vdc->reset = virtio_tmem_reset;
    vdc->queue_reset = virtio_tmem_queue_reset;
    vdc->queue_enable = virtio_tmem_queue_enable;
    vtc->parent_start_ioeventfd = vdc->start_ioeventfd;
    vtc->parent_stop_ioeventfd = vdc->stop_ioeventfd;
    vdc->start_ioeventfd = virtio_tmem_dataplane_start;
    vdc->stop_ioeventfd = virtio_tmem_dataplane_stop;
}

static const TypeInfo virtio_tmem_info = {
    .name = TYPE_VIRTIO_TMEM,
    .parent = TYPE_VIRTIO_DEVICE,
    .instance_size = sizeof(VirtIOTmem),
    .class_size = sizeof(VirtIOTmemClass),
    .class_init = virtio_tmem_class_init,
};

static void virtio_tmem_register_types(void)
{
    type_register_static(&virtio_tmem_info);
}

type_init(virtio_tmem_register_types)
