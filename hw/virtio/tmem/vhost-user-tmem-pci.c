/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vhost-user-tmem on PCI: virtio 1.0 only
 */
#include "qemu/osdep.h"
#include "hw/qdev-properties.h"
#include "hw/virtio/vhost-user-tmem.h"
#include "hw/virtio/virtio-pci.h"
#include "qemu/module.h"
#include "qom/object.h"
#include "system/tmem-device.h"

#define TYPE_VHOST_USER_TMEM_PCI "vhost-user-tmem-pci-base"
OBJECT_DECLARE_SIMPLE_TYPE(VHostUserTmemPCI, VHOST_USER_TMEM_PCI)

struct VHostUserTmemPCI {
    VirtIOPCIProxy parent_obj;
    VHostUserTmem vdev;
};

static const Property vhost_user_tmem_pci_properties[] = {
    DEFINE_PROP_UINT32("vectors", VirtIOPCIProxy, nvectors,
                       DEV_NVECTORS_UNSPECIFIED),
};

static void vhost_user_tmem_pci_realize(VirtIOPCIProxy *vpci_dev, Error **errp)
{
    VHostUserTmemPCI *dev = VHOST_USER_TMEM_PCI(vpci_dev);

    if (vpci_dev->nvectors == DEV_NVECTORS_UNSPECIFIED) {
        /* One for each queue and one for the configuration. */
        vpci_dev->nvectors = vhost_user_tmem_max_queues(&dev->vdev) +
                             TMEM_DEVICE_VQ_NUM_FIXED + 1;
    }
    virtio_pci_force_virtio_1(vpci_dev);
    qdev_realize(DEVICE(&dev->vdev), BUS(&vpci_dev->bus), errp);
}

static void vhost_user_tmem_pci_class_init(ObjectClass *klass, void *data)
{
    DeviceClass *dc = DEVICE_CLASS(klass);
    VirtioPCIClass *k = VIRTIO_PCI_CLASS(klass);
    PCIDeviceClass *pcidev_k = PCI_DEVICE_CLASS(klass);

    set_bit(DEVICE_CATEGORY_STORAGE, dc->categories);
    device_class_set_props(dc, vhost_user_tmem_pci_properties);
    k->realize = vhost_user_tmem_pci_realize;
    pcidev_k->revision = VIRTIO_PCI_ABI_VERSION;
    pcidev_k->class_id = PCI_CLASS_OTHERS;
}

static void vhost_user_tmem_pci_instance_init(Object *obj)
{
    VHostUserTmemPCI *dev = VHOST_USER_TMEM_PCI(obj);

    virtio_instance_init_common(obj, &dev->vdev, sizeof(dev->vdev),
                                TYPE_VHOST_USER_TMEM);
}

static const VirtioPCIDeviceTypeInfo vhost_user_tmem_pci_info = {
    .base_name = TYPE_VHOST_USER_TMEM_PCI,
    .generic_name = "vhost-user-tmem-pci",
    .instance_size = sizeof(VHostUserTmemPCI),
    .instance_init = vhost_user_tmem_pci_instance_init,
    .class_init = vhost_user_tmem_pci_class_init,
};

static void vhost_user_tmem_pci_register_types(void)
{
    virtio_pci_types_register(&vhost_user_tmem_pci_info);
}

type_init(vhost_user_tmem_pci_register_types)
