/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vhost-user-tmem: a guest's door to the tmem store of another process
 *
 * To the guest it is the device of virtio-tmem.  Queues and pages are the
 * server's; here are the transport, the connection, and what must not be done
 * to a guest whose pages another process holds.
 *
 * All functions are called with the BQL held.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "hw/boards.h"
#include "hw/mem/memory-device.h"
#include "hw/qdev-properties.h"
#include "hw/qdev-properties-system.h"
#include "hw/virtio/vhost-user-tmem.h"
#include "hw/virtio/virtio-bus.h"
#include "migration/blocker.h"
#include "qemu/bswap.h"
#include "qemu/cutils.h"
#include "qemu/error-report.h"
#include "qemu/module.h"
#include "system/hostmem.h"
#include "system/numa.h"
#include "system/tmem-device.h"

/* Entries of a virtqueue, as virtio-tmem has them. */
#define VHOST_USER_TMEM_QUEUE_SIZE      256

/* The feature bits that belong to the device type. */
#define VHOST_USER_TMEM_DEVICE_FEATURES MAKE_64BIT_MASK(0, 24)

static const char *vhost_user_tmem_chardev(VHostUserTmem *s)
{
    return s->chardev.chr->label ?: "";
}

unsigned vhost_user_tmem_max_queues(const VHostUserTmem *s)
{
    return s->num_queues == VHOST_USER_TMEM_AUTO_NUM_QUEUES ?
           MIN(current_machine->smp.cpus,
               VIRTIO_QUEUE_MAX - TMEM_DEVICE_VQ_NUM_FIXED) :
           s->num_queues;
}

/* --- The guest's memory --- */

/* What keeps a server from using it: behind "is", or NULL. */
static const char *vhost_user_tmem_what_is_wrong(MemoryRegion *mr)
{
    int fd = memory_region_get_fd(mr);
    int seals = fd < 0 ? -1 : fcntl(fd, F_GET_SEALS);

    if (fd < 0 || !qemu_ram_is_shared(mr->ram_block)) {
        return "not shared with the process that serves the device";
    }
    if (seals < 0 || !(seals & F_SEAL_SHRINK)) {
        return "in a file that may shrink, which no server of this device"
               " takes";
    }
    if (qemu_ram_pagesize(mr->ram_block) != qemu_real_host_page_size()) {
        return "in huge pages of hugetlbfs, which no server of this device"
               " takes";
    }
    return NULL;
}

static bool vhost_user_tmem_check_ram(MemoryRegion *mr, Error **errp)
{
    ERRP_GUARD();
    const char *wrong = vhost_user_tmem_what_is_wrong(mr);

    if (wrong) {
        error_setg(errp, "vhost-user-tmem: the guest's RAM is %s", wrong);
        error_append_hint(errp, "Use memory that both can have:"
                          " -object memory-backend-memfd,id=mem,size=SIZE,"
                          "share=on -machine memory-backend=mem\n");
    }
    return !wrong;
}

/*
 * Whether the guest uses what is in the memory device as its RAM, which it
 * swaps out.  A persistent one has an image, which is none, and an enclave's
 * pages leave it by no request.  Of a kind that is not known here, it does.
 */
static bool vhost_user_tmem_is_ram(Object *obj)
{
    static const char *const others[] = {
        "nvdimm", "virtio-pmem-pci-base", "sgx-epc",
    };

    for (int i = 0; i < ARRAY_SIZE(others); i++) {
        if (object_dynamic_cast(obj, others[i])) {
            return false;
        }
    }
    return true;
}

/*
 * A DIMM, or another device whose memory the guest uses as its RAM.  Pages of
 * it would be in requests that no server can carry out, which ends the
 * connection and loses all that the guest has swapped out.
 */
static bool vhost_user_tmem_check_memory_device(Object *obj, Error **errp)
{
    Object *mem = object_property_get_link(obj, "memdev", NULL);
    const char *wrong;

    if (!mem || !object_dynamic_cast(mem, TYPE_MEMORY_BACKEND) ||
        !vhost_user_tmem_is_ram(obj)) {
        return true;
    }
    wrong = vhost_user_tmem_what_is_wrong(
        host_memory_backend_get_memory(MEMORY_BACKEND(mem)));
    if (wrong) {
        error_setg(errp, "vhost-user-tmem: the guest's RAM in memory backend"
                   " '%s' is %s: use -object memory-backend-memfd,share=on for"
                   " it, without seal=off and hugetlb=on",
                   object_get_canonical_path_component(mem), wrong);
    }
    return !wrong;
}

/* One that is plugged while there is our device. */
static int vhost_user_tmem_memory_plugged(NotifierWithReturn *notifier,
                                          void *data, Error **errp)
{
    return vhost_user_tmem_check_memory_device(data, errp) ? 0 : -EINVAL;
}

static int vhost_user_tmem_visit_memory_device(Object *obj, void *opaque)
{
    if (!object_dynamic_cast(obj, TYPE_MEMORY_DEVICE) ||
        !DEVICE(obj)->realized) {
        return 0;
    }
    return vhost_user_tmem_check_memory_device(obj, opaque) ? 0 : -EINVAL;
}

static bool vhost_user_tmem_check_boot_memory(Error **errp)
{
    MachineState *ms = current_machine;

    if (ms->ram && memory_region_is_ram(ms->ram)) {
        return vhost_user_tmem_check_ram(ms->ram, errp);
    }
    for (int i = 0; ms->numa_state && i < ms->numa_state->num_nodes; i++) {
        HostMemoryBackend *mem = ms->numa_state->nodes[i].node_memdev;

        if (mem && !vhost_user_tmem_check_ram(
                       host_memory_backend_get_memory(mem), errp)) {
            return false;
        }
    }
    return true;
}

static bool vhost_user_tmem_check_memory(Error **errp)
{
    return vhost_user_tmem_check_boot_memory(errp) &&
           !object_child_foreach_recursive(OBJECT(current_machine),
                                           vhost_user_tmem_visit_memory_device,
                                           errp);
}

/*
 * What is left then is no RAM of the guest, like the memory of ivshmem or of
 * an NVDIMM, of which no page is swapped out: the server does without, and does
 * not hang up.
 */
static bool vhost_user_tmem_takes_memory(struct vhost_dev *dev,
                                         MemoryRegion *mr)
{
    return !vhost_user_tmem_what_is_wrong(mr);
}

/* --- Starting and stopping --- */

static int vhost_user_tmem_start(VHostUserTmem *s)
{
    VirtIODevice *vdev = VIRTIO_DEVICE(s);
    BusState *bus = qdev_get_parent_bus(DEVICE(s));
    VirtioBusClass *k = VIRTIO_BUS_GET_CLASS(bus);
    int ret;

    ret = vhost_dev_enable_notifiers(&s->vhost_dev, vdev);
    if (ret < 0) {
        return ret;
    }
    ret = k->set_guest_notifiers(bus->parent, s->num_vqs, true);
    if (ret < 0) {
        goto fail_guest_notifiers;
    }
    s->vhost_dev.acked_features = vdev->guest_features;
    for (unsigned i = 0; i < s->num_vqs; i++) {
        vhost_virtqueue_mask(&s->vhost_dev, vdev, i, false);
    }
    ret = vhost_dev_start(&s->vhost_dev, vdev, true);
    if (ret < 0) {
        goto fail_start;
    }
    s->started = true;
    return 0;

fail_start:
    k->set_guest_notifiers(bus->parent, s->num_vqs, false);
fail_guest_notifiers:
    vhost_dev_disable_notifiers(&s->vhost_dev, vdev);
    return ret;
}

static void vhost_user_tmem_stop(VHostUserTmem *s)
{
    VirtIODevice *vdev = VIRTIO_DEVICE(s);
    BusState *bus = qdev_get_parent_bus(DEVICE(s));
    VirtioBusClass *k = VIRTIO_BUS_GET_CLASS(bus);

    if (!s->started) {
        return;
    }
    s->started = false;
    vhost_dev_stop(&s->vhost_dev, vdev, true);
    k->set_guest_notifiers(bus->parent, s->num_vqs, false);
    vhost_dev_disable_notifiers(&s->vhost_dev, vdev);
}

/* Starts, or hangs up where that fails: a queue must not look alive. */
static void vhost_user_tmem_start_or_hang_up(VHostUserTmem *s)
{
    int ret = vhost_user_tmem_start(s);

    if (ret < 0) {
        error_report("vhost-user-tmem: the server behind chardev '%s' did not"
                     " take the device: %s; its own messages say why",
                     vhost_user_tmem_chardev(s), strerror(-ret));
        qemu_chr_fe_disconnect(&s->chardev);
    }
}

/*
 * Pages may be held as long as the driver runs, and only the server knows how
 * many; a driver that holds none can be unbound, which resets the device.
 */
static void vhost_user_tmem_update_unplug_blocker(VHostUserTmem *s,
                                                  uint8_t status)
{
    DeviceState *transport = qdev_get_parent_bus(DEVICE(s))->parent;
    bool block = status & VIRTIO_CONFIG_S_DRIVER_OK;

    if (block && !s->unplug_blocker) {
        error_setg(&s->unplug_blocker, "vhost-user-tmem: the guest's driver may"
                   " hold swapped-out pages, which would be lost: run"
                   " 'swapoff' and unload virtio_tmem in the guest first");
        qdev_add_unplug_blocker(transport, s->unplug_blocker);
    } else if (!block && s->unplug_blocker) {
        qdev_del_unplug_blocker(transport, s->unplug_blocker);
        error_free(s->unplug_blocker);
        s->unplug_blocker = NULL;
    }
}

static void vhost_user_tmem_set_status(VirtIODevice *vdev, uint8_t status)
{
    VHostUserTmem *s = VHOST_USER_TMEM(vdev);
    bool should_start = virtio_device_should_start(vdev, status);

    vhost_user_tmem_update_unplug_blocker(s, status);
    if (!s->connected || s->started == should_start) {
        return;
    }
    if (should_start) {
        vhost_user_tmem_start_or_hang_up(s);
    } else {
        vhost_user_tmem_stop(s);
    }
}

/* The queues are stopped; the server drops what the client holds. */
static void vhost_user_tmem_reset(VirtIODevice *vdev)
{
    VHostUserTmem *s = VHOST_USER_TMEM(vdev);

    if (s->connected) {
        vhost_reset_device(&s->vhost_dev);
    }
}

/* The server looks at the rings when they are started. */
static void vhost_user_tmem_handle_output(VirtIODevice *vdev, VirtQueue *vq)
{
}

/* --- What the guest sees --- */

static uint64_t vhost_user_tmem_get_features(VirtIODevice *vdev,
                                             uint64_t features, Error **errp)
{
    VHostUserTmem *s = VHOST_USER_TMEM(vdev);

    if (virtio_has_feature(features, VIRTIO_F_RING_PACKED) &&
        !virtio_has_feature(s->vhost_dev.features, VIRTIO_F_RING_PACKED)) {
        error_setg(errp, "vhost-user-tmem: the server has no packed rings:"
                   " leave 'packed=on' out");
        return 0;
    }
    return (features | VHOST_USER_TMEM_DEVICE_FEATURES) &
           s->vhost_dev.features & ~BIT_ULL(VHOST_USER_F_PROTOCOL_FEATURES);
}

static int vhost_user_tmem_validate_features(VirtIODevice *vdev)
{
    return tmem_device_features_ok(vdev->guest_features) ? 0 : -EINVAL;
}

static void vhost_user_tmem_get_config(VirtIODevice *vdev, uint8_t *data)
{
    VHostUserTmem *s = VHOST_USER_TMEM(vdev);
    struct virtio_tmem_config config = s->config;

    config.num_queues = cpu_to_le16(s->num_queues);
    memcpy(data, &config, sizeof(config));
}

static bool vhost_user_tmem_fetch_config(VHostUserTmem *s, Error **errp)
{
    return vhost_dev_get_config(&s->vhost_dev, (uint8_t *)&s->config,
                                sizeof(s->config), errp) >= 0;
}

static int vhost_user_tmem_config_changed(struct vhost_dev *dev)
{
    VHostUserTmem *s = container_of(dev, VHostUserTmem, vhost_dev);
    Error *err = NULL;

    if (!vhost_user_tmem_fetch_config(s, &err)) {
        error_report_err(err);
        return -1;
    }
    virtio_notify_config(VIRTIO_DEVICE(s));
    return 0;
}

static const VhostDevConfigOps vhost_user_tmem_config_ops = {
    .vhost_dev_config_notifier = vhost_user_tmem_config_changed,
};

/* --- The connection --- */

static bool vhost_user_tmem_init_vhost(VHostUserTmem *s, unsigned nvqs,
                                       Error **errp)
{
    ERRP_GUARD();

    s->vhost_dev.nvqs = nvqs;
    s->vhost_dev.vqs = s->vhost_vqs;
    s->vhost_dev.num_queues = nvqs;
    s->vhost_dev.vq_index_end = nvqs;
    vhost_dev_set_config_notifier(&s->vhost_dev, &vhost_user_tmem_config_ops);
    s->vhost_dev.takes_memory = vhost_user_tmem_takes_memory;
    s->vhost_user.supports_config = true;
    if (vhost_dev_init(&s->vhost_dev, &s->vhost_user, VHOST_BACKEND_TYPE_USER,
                       0, errp) < 0) {
        error_prepend(errp, "vhost-user-tmem: the server behind chardev '%s'"
                      " does not serve us: ", vhost_user_tmem_chardev(s));
        error_append_hint(errp, "It serves one guest at a time, and its own"
                          " messages say more.\n");
        return false;
    }
    /* It names a missing feature; ours, which is always there, a way out. */
    migrate_del_blocker(&s->vhost_dev.migration_blocker);
    return true;
}

/*
 * What the guest was told must stay true when a server comes back, or another
 * one in its place.
 */
static bool vhost_user_tmem_same_device(VHostUserTmem *s, Error **errp)
{
    struct virtio_tmem_config before = s->config;

    if (!vhost_user_tmem_fetch_config(s, errp)) {
        return false;
    }
    /* What is advice for the moment may be another. */
    before.not_accepting = s->config.not_accepting;
    if (memcmp(&before, &s->config, sizeof(before)) ||
        VIRTIO_DEVICE(s)->host_features & VHOST_USER_TMEM_DEVICE_FEATURES &
        ~s->vhost_dev.features) {
        s->config = before;
        error_setg(errp, "vhost-user-tmem: the server behind chardev '%s' came"
                   " back with another 'disk-size', 'num-queues' or"
                   " 'max-pools', which the guest cannot be told",
                   vhost_user_tmem_chardev(s));
        return false;
    }
    return true;
}

/* After the first time: the device is realized. */
static bool vhost_user_tmem_reconnect(VHostUserTmem *s, Error **errp)
{
    VirtIODevice *vdev = VIRTIO_DEVICE(s);

    if (s->connected) {
        return true;
    }
    if (!vhost_user_tmem_init_vhost(s, s->num_vqs, errp)) {
        return false;
    }
    if (!vhost_user_tmem_same_device(s, errp)) {
        vhost_dev_cleanup(&s->vhost_dev);
        return false;
    }
    s->connected = true;
    if (virtio_device_started(vdev, vdev->status)) {
        vhost_user_tmem_start_or_hang_up(s);
    }
    return true;
}

static void vhost_user_tmem_event(void *opaque, QEMUChrEvent event);

static void vhost_user_tmem_listen_to_chardev(VHostUserTmem *s)
{
    qemu_chr_fe_set_handlers(&s->chardev, NULL, NULL, vhost_user_tmem_event,
                             NULL, s, NULL, true);
}

static void vhost_user_tmem_disconnected(DeviceState *dev)
{
    VHostUserTmem *s = VHOST_USER_TMEM(dev);

    if (s->connected) {
        s->connected = false;
        vhost_user_tmem_stop(s);
        vhost_dev_cleanup(&s->vhost_dev);
        warn_report("vhost-user-tmem: the server behind chardev '%s' is gone,"
                    " and with it the pages that it hands over to no other",
                    vhost_user_tmem_chardev(s));
    }
    vhost_user_tmem_listen_to_chardev(s);
}

static void vhost_user_tmem_event(void *opaque, QEMUChrEvent event)
{
    VHostUserTmem *s = opaque;
    Error *err = NULL;

    if (event == CHR_EVENT_OPENED) {
        if (!vhost_user_tmem_reconnect(s, &err)) {
            error_report_err(err);
            qemu_chr_fe_disconnect(&s->chardev);
        }
    } else if (event == CHR_EVENT_CLOSED) {
        /* Later: vhost may be in the middle of a message. */
        vhost_user_async_close(DEVICE(s), &s->chardev, &s->vhost_dev,
                               vhost_user_tmem_disconnected);
    }
}

/* --- Life --- */

/* Asks the server how many queues it has, and takes or checks ours. */
static bool vhost_user_tmem_choose_queues(VHostUserTmem *s, Error **errp)
{
    bool automatic = s->num_queues == VHOST_USER_TMEM_AUTO_NUM_QUEUES;
    unsigned offered;
    bool ok;

    if (!s->num_queues ||
        vhost_user_tmem_max_queues(s) + TMEM_DEVICE_VQ_NUM_FIXED >
        VIRTIO_QUEUE_MAX) {
        error_setg(errp, "'num-queues' must be between 1 and %d, and is %u",
                   VIRTIO_QUEUE_MAX - TMEM_DEVICE_VQ_NUM_FIXED, s->num_queues);
        return false;
    }
    if (!vhost_user_tmem_init_vhost(s, 0, errp)) {
        return false;
    }
    ok = vhost_user_tmem_fetch_config(s, errp);
    offered = le16_to_cpu(s->config.num_queues);
    vhost_dev_cleanup(&s->vhost_dev);
    if (!ok) {
        return false;
    }
    s->num_queues = MIN(vhost_user_tmem_max_queues(s),
                        automatic ? offered : UINT16_MAX);
    if (!offered || s->num_queues > offered) {
        error_setg(errp, "'num-queues' is %u, and the server behind chardev"
                   " '%s' offers %u", s->num_queues,
                   vhost_user_tmem_chardev(s), offered);
        return false;
    }
    return true;
}

static void vhost_user_tmem_device_init(VHostUserTmem *s)
{
    VirtIODevice *vdev = VIRTIO_DEVICE(s);

    virtio_init(vdev, VIRTIO_ID_TMEM, sizeof(s->config));
    s->num_vqs = s->num_queues + TMEM_DEVICE_VQ_NUM_FIXED;
    s->vqs = g_new(VirtQueue *, s->num_vqs);
    s->vhost_vqs = g_new0(struct vhost_virtqueue, s->num_vqs);
    for (unsigned i = 0; i < s->num_vqs; i++) {
        s->vqs[i] = virtio_add_queue(vdev, VHOST_USER_TMEM_QUEUE_SIZE,
                                     vhost_user_tmem_handle_output);
    }
}

static void vhost_user_tmem_device_cleanup(VHostUserTmem *s)
{
    for (unsigned i = 0; i < s->num_vqs; i++) {
        virtio_delete_queue(s->vqs[i]);
    }
    g_free(s->vqs);
    g_free(s->vhost_vqs);
    s->vqs = NULL;
    s->vhost_vqs = NULL;
    virtio_cleanup(VIRTIO_DEVICE(s));
}

static void vhost_user_tmem_realize(DeviceState *dev, Error **errp)
{
    VHostUserTmem *s = VHOST_USER_TMEM(dev);
    BusState *bus = qdev_get_parent_bus(dev);

    if (!s->chardev.chr) {
        error_setg(errp, "vhost-user-tmem needs 'chardev', the socket of a"
                   " tmem-vhost-user-server");
        return;
    }
    if (!VIRTIO_BUS_GET_CLASS(bus)->set_guest_notifiers) {
        error_setg(errp, "vhost-user-tmem: this transport has no guest"
                   " notifiers");
        return;
    }
    if (!vhost_user_tmem_check_memory(errp)) {
        return;
    }
    error_setg(&s->migration_blocker, "vhost-user-tmem: the pages that another"
               " process keeps for the guest cannot be migrated or saved: run"
               " 'swapoff' in the guest and remove the device first");
    if (migrate_add_blocker(&s->migration_blocker, errp) < 0) {
        return;
    }
    if (!vhost_user_init(&s->vhost_user, &s->chardev, errp)) {
        goto fail_vhost_user;
    }
    if (qemu_chr_fe_wait_connected(&s->chardev, errp) < 0 ||
        !vhost_user_tmem_choose_queues(s, errp)) {
        goto fail_connection;
    }
    vhost_user_tmem_device_init(s);
    if (!vhost_user_tmem_init_vhost(s, s->num_vqs, errp)) {
        goto fail_device;
    }
    s->connected = true;
    vhost_user_tmem_listen_to_chardev(s);
    s->memory_plugged.notify = vhost_user_tmem_memory_plugged;
    memory_device_add_pre_plug_notifier(&s->memory_plugged);
    return;

fail_device:
    vhost_user_tmem_device_cleanup(s);
fail_connection:
    qemu_chr_fe_disconnect(&s->chardev);
    vhost_user_cleanup(&s->vhost_user);
fail_vhost_user:
    migrate_del_blocker(&s->migration_blocker);
}

static void vhost_user_tmem_unrealize(DeviceState *dev)
{
    VHostUserTmem *s = VHOST_USER_TMEM(dev);

    memory_device_remove_pre_plug_notifier(&s->memory_plugged);
    virtio_set_status(VIRTIO_DEVICE(s), 0);
    vhost_user_tmem_update_unplug_blocker(s, 0);
    qemu_chr_fe_set_handlers(&s->chardev, NULL, NULL, NULL, NULL, NULL, NULL,
                             false);
    if (s->connected) {
        s->connected = false;
        vhost_dev_cleanup(&s->vhost_dev);
    }
    vhost_user_tmem_device_cleanup(s);
    vhost_user_cleanup(&s->vhost_user);
    migrate_del_blocker(&s->migration_blocker);
}

static struct vhost_dev *vhost_user_tmem_get_vhost(VirtIODevice *vdev)
{
    return &VHOST_USER_TMEM(vdev)->vhost_dev;
}

/* The default of num-queues is that of vhost_user_tmem_init(). */
static const Property vhost_user_tmem_properties[] = {
    DEFINE_PROP_CHR("chardev", VHostUserTmem, chardev),
    DEFINE_PROP_UNSIGNED_NODEFAULT("num-queues", VHostUserTmem, num_queues,
                                   qdev_prop_uint16, uint16_t),
};

static void vhost_user_tmem_init(Object *obj)
{
    VHOST_USER_TMEM(obj)->num_queues = VHOST_USER_TMEM_AUTO_NUM_QUEUES;
}

static void vhost_user_tmem_class_init(ObjectClass *klass, void *data)
{
    DeviceClass *dc = DEVICE_CLASS(klass);
    VirtioDeviceClass *vdc = VIRTIO_DEVICE_CLASS(klass);

    device_class_set_props(dc, vhost_user_tmem_properties);
    object_class_property_set_description(klass, "chardev",
        "Socket of the tmem-vhost-user-server that serves the device");
    object_class_property_set_description(klass, "num-queues",
        "Request queues (default: as many as the server offers, at most one for"
        " each vCPU)");
    dc->desc = "guest's door to a compressed page store of another process";
    set_bit(DEVICE_CATEGORY_STORAGE, dc->categories);
    vdc->realize = vhost_user_tmem_realize;
    vdc->unrealize = vhost_user_tmem_unrealize;
    vdc->get_config = vhost_user_tmem_get_config;
    vdc->get_features = vhost_user_tmem_get_features;
    vdc->validate_features = vhost_user_tmem_validate_features;
    vdc->set_status = vhost_user_tmem_set_status;
    vdc->reset = vhost_user_tmem_reset;
    vdc->get_vhost = vhost_user_tmem_get_vhost;
}

static const TypeInfo vhost_user_tmem_info = {
    .name = TYPE_VHOST_USER_TMEM,
    .parent = TYPE_VIRTIO_DEVICE,
    .instance_size = sizeof(VHostUserTmem),
    .instance_init = vhost_user_tmem_init,
    .class_init = vhost_user_tmem_class_init,
};

static void vhost_user_tmem_register_types(void)
{
    type_register_static(&vhost_user_tmem_info);
}

type_init(vhost_user_tmem_register_types)
