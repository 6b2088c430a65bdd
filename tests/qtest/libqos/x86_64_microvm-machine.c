/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libqos microvm machine: the x86 machine with virtio-mmio
 */
#include "qemu/osdep.h"
#include "../libqtest.h"
#include "qemu/module.h"
#include "qemu/units.h"
#include "libqos-malloc.h"
#include "qgraph.h"
#include "virtio-mmio-modern.h"

/* hw/i386/microvm.h; virtio-mmio-bus.0 is the first of the transports. */
#define MICROVM_VIRTIO_MMIO_BASE    0xfeb00000
#define MICROVM_RAM_START           (1 * MiB)
#define MICROVM_RAM_END             (128 * MiB)
#define MICROVM_PAGE_SIZE           4096

typedef struct QMicrovmMachine {
    QOSGraphObject obj;
    QGuestAllocator alloc;
    QVirtioMMIODevice virtio_mmio;
} QMicrovmMachine;

static void microvm_destructor(QOSGraphObject *obj)
{
    QMicrovmMachine *machine = (QMicrovmMachine *)obj;

    alloc_destroy(&machine->alloc);
}

static void *microvm_get_driver(void *object, const char *interface)
{
    QMicrovmMachine *machine = object;

    if (!g_strcmp0(interface, "memory")) {
        return &machine->alloc;
    }
    fprintf(stderr, "%s not present in x86_64/microvm\n", interface);
    g_assert_not_reached();
}

static QOSGraphObject *microvm_get_device(void *object, const char *device)
{
    QMicrovmMachine *machine = object;

    if (!g_strcmp0(device, "virtio-mmio-modern")) {
        return &machine->virtio_mmio.obj;
    }
    fprintf(stderr, "%s not present in x86_64/microvm\n", device);
    g_assert_not_reached();
}

static void *qos_create_machine_microvm(QTestState *qts)
{
    QMicrovmMachine *machine = g_new0(QMicrovmMachine, 1);

    alloc_init(&machine->alloc, 0, MICROVM_RAM_START, MICROVM_RAM_END,
               MICROVM_PAGE_SIZE);
    qvirtio_mmio_modern_init_device(&machine->virtio_mmio, qts,
                                    MICROVM_VIRTIO_MMIO_BASE);
    machine->obj.get_device = microvm_get_device;
    machine->obj.get_driver = microvm_get_driver;
    machine->obj.destructor = microvm_destructor;
    return machine;
}

static void microvm_machine_register_nodes(void)
{
    qos_node_create_machine_args("x86_64/microvm", qos_create_machine_microvm,
                                 " -global virtio-mmio.force-legacy=off");
    qos_node_contains("x86_64/microvm", "virtio-mmio-modern", NULL);
}

libqos_init(microvm_machine_register_nodes);
