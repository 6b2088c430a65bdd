/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-tmem on PCI: virtio 1.0 only
 */
#include "qemu/osdep.h"
#include "hw/qdev-properties.h"
#include "hw/virtio/virtio-pci.h"
#include "hw/virtio/virtio-tmem.h"
#include "qemu/module.h"
#include "qom/object.h"

#define TYPE_VIRTIO_TMEM_PCI "virtio-tmem-pci-base"
OBJECT_DECLARE_SIMPLE_TYPE(VirtIOTmemPCI, VIRTIO_TMEM_PCI)

struct VirtIOTmemPCI {
    VirtIOPCIProxy parent_obj;
    VirtIOTmem vdev;
};

static const Property virtio_tmem_pci_properties[] = {
    DEFINE_PROP_BIT("ioeventfd", VirtIOPCIProxy, flags,
                    VIRTIO_PCI_FLAG_USE_IOEVENTFD_BIT, true),
    DEFINE_PROP_UINT32("vectors", VirtIOPCIProxy, nvectors,
                       DEV_NVECTORS_UNSPECIFIED),
};

static void virtio_tmem_pci_realize(VirtIOPCIProxy *vpci_dev, Error **errp)
{
    VirtIOTmemPCI *dev = VIRTIO_TMEM_PCI(vpci_dev);
    VirtIOTmemConf *conf = &dev->vdev.conf;

    if (conf->num_queues == VIRTIO_TMEM_AUTO_NUM_QUEUES) {
        conf->num_queues =
            virtio_pci_optimal_num_queues(VIRTIO_TMEM_VQ_NUM_FIXED);
    }
    if (vpci_dev->nvectors == DEV_NVECTORS_UNSPECIFIED) {
        /* One for each queue and one for the configuration. */
        vpci_dev->nvectors = conf->num_queues + VIRTIO_TMEM_VQ_NUM_FIXED + 1;
    }
    virtio_pci_force_virtio_1(vpci_dev);
    qdev_realize(DEVICE(&dev->vdev), BUS(&vpci_dev->bus), errp);
}

static void virtio_tmem_pci_class_init(ObjectClass *klass, void *data)
{
    DeviceClass *dc = DEVICE_CLASS(klass);
    VirtioPCIClass *k = VIRTIO_PCI_CLASS(klass);
    PCIDeviceClass *pcidev_k = PCI_DEVICE_CLASS(klass);

    set_bit(DEVICE_CATEGORY_STORAGE, dc->categories);
    device_class_set_props(dc, virtio_tmem_pci_properties);
    k->realize = virtio_tmem_pci_realize;
    pcidev_k->revision = VIRTIO_PCI_ABI_VERSION;
    pcidev_k->class_id = PCI_CLASS_OTHERS;
}

static void virtio_tmem_pci_instance_init(Object *obj)
{
    VirtIOTmemPCI *dev = VIRTIO_TMEM_PCI(obj);

    virtio_instance_init_common(obj, &dev->vdev, sizeof(dev->vdev),
                                TYPE_VIRTIO_TMEM);
}

static const VirtioPCIDeviceTypeInfo virtio_tmem_pci_info = {
    .base_name = TYPE_VIRTIO_TMEM_PCI,
    .generic_name = "virtio-tmem-pci",
    .instance_size = sizeof(VirtIOTmemPCI),
    .instance_init = virtio_tmem_pci_instance_init,
    .class_init = virtio_tmem_pci_class_init,
};

static void virtio_tmem_pci_register_types(void)
{
    virtio_pci_types_register(&virtio_tmem_pci_info);
}

type_init(virtio_tmem_pci_register_types)
