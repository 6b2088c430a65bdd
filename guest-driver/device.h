/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-tmem guest driver: the life of a device, as its files see it
 *
 * main.c begins and ends it, health.c ends it before its time, sleep.c takes it
 * through a sleep of the system.
 */
#ifndef VTMEM_DEVICE_H
#define VTMEM_DEVICE_H

#include "vtmem.h"

/* main.c */
void vtmem_hooks_failed(struct vtmem_dev *dev);
int vtmem_start_queues(struct vtmem_dev *dev);

/* config.c */
int vtmem_read_config(struct virtio_device *vdev, unsigned int *nr_queues,
		      unsigned int *batch);
void vtmem_config_init(struct vtmem_dev *dev);
void vtmem_config_stop(struct vtmem_dev *dev);

/* health.c */
void vtmem_reset(struct virtio_device *vdev);
void vtmem_dev_fail(struct vtmem_dev *dev);
void vtmem_health_init(struct vtmem_dev *dev);
int vtmem_health_start(void);
void vtmem_health_end(void);

/* sleep.c */
int vtmem_pm_notify(struct notifier_block *nb, unsigned long event,
		    void *unused);
int vtmem_freeze(struct virtio_device *vdev);
int vtmem_restore(struct virtio_device *vdev);

#endif /* VTMEM_DEVICE_H */
