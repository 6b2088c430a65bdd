// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * virtio-tmem guest driver: a device that fails
 *
 * Whatever ends a device (removal, an error it reports, a ring it spoils) goes
 * through vtmem_dev_fail(): no job is posted any more, the device is reset, and
 * only then are its buffers taken back and their jobs ended with errors.  A
 * device that failed stays so: its pages are gone, and the kernel's hooks turn to
 * another one (main.c).
 *
 * Locking: vtmem_dev.lock serialises failure, sleep and removal.  It is not held
 * while waiting for an answer of the device, since it takes the lock to find
 * out that none will come.
 */
#include <linux/virtio_ring.h>

#include "compat/virtio.h"
#include "device.h"

/* For status_work alone: the other's work may wait for a broken device. */
static struct workqueue_struct *vtmem_status_wq;

/* What reads of a PCI device return that was pulled out. */
static bool vtmem_is_gone(struct virtio_device *vdev)
{
	return vdev->config->get_status(vdev) == 0xff;
}

/*
 * The device forgets its rings and all pages.  One that is gone writes to no
 * memory any more, and its status would be waited for in vain.
 */
void vtmem_reset(struct virtio_device *vdev)
{
	if (!vtmem_is_gone(vdev))
		virtio_reset_device(vdev);
}

/* Stops the device and ends all jobs with errors.  Holds dev->lock. */
void vtmem_dev_fail(struct vtmem_dev *dev)
{
	lockdep_assert_held(&dev->lock);

	if (dev->failed)
		return;
	dev->failed = true;
	vtmem_ctrl_set_state(dev, VTMEM_FAILED);
	vtmem_queues_set_state(dev, VTMEM_FAILED);
	/* Who posted before is not about to notify any more (vq.c). */
	synchronize_rcu();
	/* Also waits for the interrupts that are being handled. */
	vtmem_reset(dev->vdev);
	vtmem_ctrl_abort(dev);
	vtmem_queues_abort(dev);
	vtmem_hooks_failed(dev);
}

/* Pages that would be lost with the device.  The caller holds dev->lock. */
unsigned long vtmem_dev_nr_held(struct vtmem_dev *dev)
{
	struct vtmem_area *area;
	unsigned long nr = 0;

	lockdep_assert_held(&dev->lock);

	list_for_each_entry(area, &dev->areas, node)
		nr += vtmem_area_nr_held(area);
	return nr;
}

/* Why a device can no longer be used, or NULL. */
static const char *vtmem_dev_is_broken(struct vtmem_dev *dev)
{
	u8 status = dev->vdev->config->get_status(dev->vdev);
	unsigned int i;

	if (vtmem_is_gone(dev->vdev))
		return "is gone";
	if (status & VIRTIO_CONFIG_S_NEEDS_RESET)
		return "has failed";
	/* Somebody went behind our back: what it held is gone. */
	if (!(status & VIRTIO_CONFIG_S_DRIVER_OK))
		return "was reset";
	for (i = 0; i < dev->nr_queues; i++)
		if (virtqueue_is_broken(dev->queues[i].vq))
			return "has failed";
	if (virtqueue_is_broken(dev->ctrl.vq))
		return "has failed";
	if (vtmem_queues_stalled(dev) || vtmem_ctrl_stalled(dev))
		return "does not answer any more (see stall_timeout)";
	return NULL;
}

/*
 * Whoever waits asks for this, and as long as the device has requests it asks
 * for itself: otherwise a reader of the disk would do so once in five seconds.
 */
static void vtmem_status_work(struct work_struct *work)
{
	struct vtmem_dev *dev = container_of(to_delayed_work(work),
					     struct vtmem_dev, status_work);
	const char *why;

	mutex_lock(&dev->lock);
	if (dev->failed || dev->at_rest || !dev->ctrl.vq)
		goto out;
	if (jiffies - dev->last_second >= HZ) {
		dev->last_second = jiffies;
		WRITE_ONCE(dev->seconds, dev->seconds + 1);
	}
	why = vtmem_dev_is_broken(dev);
	if (!why)
		vtmem_hint_read(dev);
	if (why) {
		pr_err("virtio_tmem %s: the device %s; %lu pages are lost and all further requests fail\n",
		       dev->name, why, vtmem_dev_nr_held(dev));
		vtmem_dev_fail(dev);
	} else if (vtmem_queues_busy(dev)) {
		queue_delayed_work(vtmem_status_wq, &dev->status_work,
				   VTMEM_POLL);
	}
out:
	mutex_unlock(&dev->lock);
}

/* Something looks wrong; any context. */
void vtmem_dev_broken(struct vtmem_dev *dev)
{
	mod_delayed_work(vtmem_status_wq, &dev->status_work, 0);
}

/* For vtmem_devices_do(). */
int vtmem_dev_has_failed(struct vtmem_dev *dev)
{
	return READ_ONCE(dev->failed) ? -EIO : 0;
}

void vtmem_health_init(struct vtmem_dev *dev)
{
	INIT_DELAYED_WORK(&dev->status_work, vtmem_status_work);
	dev->last_second = jiffies;
}

int vtmem_health_start(void)
{
	/* MEM_RECLAIM: it ends requests that will never be answered. */
	vtmem_status_wq = alloc_workqueue("virtio_tmem_status",
					  WQ_MEM_RECLAIM | WQ_UNBOUND, 0);
	return vtmem_status_wq ? 0 : -ENOMEM;
}

void vtmem_health_end(void)
{
	destroy_workqueue(vtmem_status_wq);
}
