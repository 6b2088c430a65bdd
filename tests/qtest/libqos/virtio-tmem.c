/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libqos nodes of virtio-tmem
 */
#include "qemu/osdep.h"
#include "../libqtest.h"
#include "qemu/module.h"
#include "qgraph.h"
#include "virtio-tmem.h"

static void *qvirtio_tmem_get_driver(QVirtioTmem *tmem, const char *interface)
{
    if (!g_strcmp0(interface, "virtio-tmem")) {
        return tmem;
    }
    if (!g_strcmp0(interface, "virtio")) {
        return tmem->vdev;
    }
    fprintf(stderr, "%s not present in virtio-tmem\n", interface);
    g_assert_not_reached();
}

/* virtio-tmem-device */
static void *qvirtio_tmem_device_get_driver(void *object,
                                            const char *interface)
{
    QVirtioTmemDevice *dev = object;

    return qvirtio_tmem_get_driver(&dev->tmem, interface);
}

static void *virtio_tmem_device_create(void *virtio_dev,
                                       QGuestAllocator *alloc, void *addr)
{
    QVirtioTmemDevice *dev = g_new0(QVirtioTmemDevice, 1);

    dev->tmem.vdev = virtio_dev;
    dev->obj.get_driver = qvirtio_tmem_device_get_driver;
    return &dev->obj;
}

/* virtio-tmem-pci */
static void *qvirtio_tmem_pci_get_driver(void *object, const char *interface)
{
    QVirtioTmemPCI *dev = object;

    if (!g_strcmp0(interface, "pci-device")) {
        return dev->pci_vdev.pdev;
    }
    return qvirtio_tmem_get_driver(&dev->tmem, interface);
}

static void *virtio_tmem_pci_create(void *pci_bus, QGuestAllocator *alloc,
                                    void *addr)
{
    QVirtioTmemPCI *dev = g_new0(QVirtioTmemPCI, 1);
    QOSGraphObject *obj = &dev->pci_vdev.obj;

    virtio_pci_init(&dev->pci_vdev, pci_bus, addr);
    dev->tmem.vdev = &dev->pci_vdev.vdev;
    obj->get_driver = qvirtio_tmem_pci_get_driver;
    return obj;
}

static void virtio_tmem_register_nodes(void)
{
    QPCIAddress addr = {
        .devfn = QPCI_DEVFN(4, 0),
    };
    QOSGraphEdgeOptions pci_opts = {
        .extra_device_opts = "addr=04.0,id=tm0",
    };
    QOSGraphEdgeOptions mmio_opts = {
        .extra_device_opts = "bus=virtio-mmio-bus.0,id=tm0",
    };

    qos_node_create_driver("virtio-tmem-device", virtio_tmem_device_create);
    qos_node_consumes("virtio-tmem-device", "virtio-mmio-modern-bus",
                      &mmio_opts);
    qos_node_produces("virtio-tmem-device", "virtio");
    qos_node_produces("virtio-tmem-device", "virtio-tmem");

    add_qpci_address(&pci_opts, &addr);
    qos_node_create_driver("virtio-tmem-pci", virtio_tmem_pci_create);
    qos_node_consumes("virtio-tmem-pci", "pci-bus", &pci_opts);
    qos_node_produces("virtio-tmem-pci", "pci-device");
    qos_node_produces("virtio-tmem-pci", "virtio");
    qos_node_produces("virtio-tmem-pci", "virtio-tmem");
}

libqos_init(virtio_tmem_register_nodes);
