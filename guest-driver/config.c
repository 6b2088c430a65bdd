// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * virtio-tmem guest driver: what a device's configuration says
 *
 * The size of the disk may change at any time.  The device says so with an
 * interrupt, and a task reads it.
 *
 * Locking: the work takes vtmem_devices_mutex, under which disks come and go;
 * vtmem_dev.lock keeps the device from going to sleep while it is read.
 */
#include <linux/virtio_config.h>
#include <linux/workqueue.h>

#include "device.h"

/*
 * Reads how many queues there are and how large a batch may be; one sentence in
 * the log if the device cannot be used.
 */
int vtmem_read_config(struct virtio_device *vdev, unsigned int *nr_queues,
		      unsigned int *batch)
{
	u16 num_queues, max_batch;
	u8 page_shift;

	virtio_cread_le(vdev, struct virtio_tmem_config, num_queues,
			&num_queues);
	virtio_cread_le(vdev, struct virtio_tmem_config, max_batch, &max_batch);
	virtio_cread_le(vdev, struct virtio_tmem_config, page_shift,
			&page_shift);
	if (page_shift != PAGE_SHIFT) {
		dev_err(&vdev->dev,
			"the host's pages have %llu bytes, this kernel's %lu: the device cannot be used\n",
			1ULL << min_t(u8, page_shift, 63), PAGE_SIZE);
		return -EINVAL;
	}
	if (!num_queues || !max_batch) {
		dev_err(&vdev->dev,
			"the device offers %u queues and batches of %u: it cannot be used\n",
			num_queues, max_batch);
		return -EINVAL;
	}
	if (!virtio_has_feature(vdev, VIRTIO_TMEM_F_MQ))
		num_queues = 1;
	*nr_queues = min_t(unsigned int, num_queues, nr_cpu_ids);
	*batch = min_t(unsigned int, max_batch, VTMEM_BATCH_MAX);
	return 0;
}

/* Reads what the device offers for a disk; false if it cannot be asked. */
static bool vtmem_read_disk_bytes(struct vtmem_dev *dev, u64 *bytes)
{
	bool can;

	mutex_lock(&dev->lock);
	can = dev->vdev && !dev->failed && !dev->at_rest &&
	      virtio_has_feature(dev->vdev, VIRTIO_TMEM_F_DISK);
	/* Of the accessors, the one for 64 bits watches the generation. */
	if (can)
		virtio_cread_le(dev->vdev, struct virtio_tmem_config, disk_size,
				bytes);
	mutex_unlock(&dev->lock);
	return can;
}

static void vtmem_config_work(struct work_struct *work)
{
	struct vtmem_dev *dev = container_of(work, struct vtmem_dev,
					     config_work);
	u64 bytes, old;

	mutex_lock(&vtmem_devices_mutex);
	/* In service, and with a right to ask? */
	if (list_empty(&dev->node) || !vtmem_read_disk_bytes(dev, &bytes))
		goto out;
	old = dev->disk_bytes;
	dev->disk_bytes = bytes;
	if (dev->disk)
		vtmem_disk_resize(dev, bytes != old);
	else if (vtmem_param_disk && bytes != old)
		vtmem_disk_on(dev);
out:
	mutex_unlock(&vtmem_devices_mutex);
}

/*
 * Looks whether the device offers another disk than before.  Any context, while
 * the device is there.
 */
void vtmem_config_check(struct vtmem_dev *dev)
{
	/*
	 * Not vtmem_wq: this work allocates, and reclaim that waits for ours
	 * must not wait for itself.  Freezable: it makes and ends areas, and waits
	 * for answers that a device does not give which is reset for a sleep.
	 */
	queue_work(system_freezable_wq, &dev->config_work);
}

/* The device is reset, and will not ask for the work again.  Sleeps. */
void vtmem_config_stop(struct vtmem_dev *dev)
{
	cancel_work_sync(&dev->config_work);
}

void vtmem_config_init(struct vtmem_dev *dev)
{
	INIT_WORK(&dev->config_work, vtmem_config_work);
}
