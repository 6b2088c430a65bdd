// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * virtio-tmem guest driver: system sleep
 *
 * Every sleep of the system resets virtio devices, and what they hold is gone:
 * while this one holds pages there is none.
 *
 * Locking: as in health.c.
 */
#include <linux/suspend.h>

#include "compat/virtio.h"
#include "device.h"

/*
 * The system is awake.  If the virtio core could not bring the device back it
 * has not called vtmem_restore(), and jobs would wait for ever.
 */
int vtmem_pm_notify(struct notifier_block *nb, unsigned long event,
		    void *unused)
{
	struct vtmem_dev *dev = container_of(nb, struct vtmem_dev, pm_nb);

	if (event != PM_POST_SUSPEND && event != PM_POST_HIBERNATION &&
	    event != PM_POST_RESTORE)
		return NOTIFY_DONE;
	mutex_lock(&dev->lock);
	if (!dev->failed && !dev->ctrl.vq) {
		pr_err("virtio_tmem %s: the device did not come back from sleep: all further requests fail\n",
		       dev->name);
		vtmem_dev_fail(dev);
	}
	mutex_unlock(&dev->lock);
	return NOTIFY_OK;
}

#ifdef CONFIG_PM_SLEEP
static void vtmem_log_no_sleep(struct vtmem_dev *dev, unsigned long held)
{
	/* What mkswap has written is still there after swapoff. */
	const char *unused = vtmem_disk_unused(dev, held);

	if (unused)
		pr_err("virtio_tmem %s: cannot sleep: %lu pages on the host would be lost, of %s, which nobody uses; run blkdiscard /dev/%s first\n",
		       dev->name, held, unused, unused);
	else
		pr_err("virtio_tmem %s: cannot sleep: %lu pages on the host would be lost; run swapoff first\n",
		       dev->name, held);
}

/*
 * The system goes to sleep, and the virtio core will reset the device: it may
 * hold no page.  Tasks are frozen; what reclaim still asks for waits.
 */
int vtmem_freeze(struct virtio_device *vdev)
{
	struct vtmem_dev *dev = vdev->priv;
	unsigned long held;

	/* It is asked for again when the system is awake. */
	vtmem_config_stop(dev);
	mutex_lock(&dev->lock);
	if (dev->failed) {
		mutex_unlock(&dev->lock);
		return 0;
	}
	vtmem_queues_set_state(dev, VTMEM_FROZEN);
	mutex_unlock(&dev->lock);

	/* Without the lock: if the device fails instead, it is needed. */
	vtmem_queues_wait_idle(dev);

	mutex_lock(&dev->lock);
	held = dev->failed ? 0 : vtmem_dev_nr_held(dev);
	if (held) {
		vtmem_queues_set_state(dev, VTMEM_RUNNING);
		mutex_unlock(&dev->lock);
		vtmem_log_no_sleep(dev, held);
		vtmem_config_check(dev);
		return -EBUSY;
	}
	vtmem_ctrl_set_state(dev, VTMEM_FROZEN);
	/* Against status_work: who waits goes on asking for it. */
	dev->at_rest = true;
	mutex_unlock(&dev->lock);

	synchronize_rcu();
	vtmem_reset(vdev);
	cancel_delayed_work_sync(&dev->status_work);
	vtmem_queues_cancel_work(dev);
	vtmem_cleancache_reset(dev);
	mutex_lock(&dev->lock);
	vtmem_queues_forget(dev);
	vdev->config->del_vqs(vdev);
	mutex_unlock(&dev->lock);
	return 0;
}

/* After hibernation it may be another host, and the device set up otherwise. */
static int vtmem_check_config(struct vtmem_dev *dev)
{
	unsigned int nr_queues, max_batch;
	int err;

	err = vtmem_read_config(dev->vdev, &nr_queues, &max_batch);
	if (err)
		return err;
	if (nr_queues >= dev->nr_queues && max_batch >= dev->max_batch)
		return 0;
	dev_err(&dev->vdev->dev,
		"before the sleep the device had %u queues and batches of %u, now %u and %u: it cannot be used\n",
		dev->nr_queues, dev->max_batch, nr_queues, max_batch);
	return -EINVAL;
}

int vtmem_restore(struct virtio_device *vdev)
{
	struct vtmem_dev *dev = vdev->priv;
	struct vtmem_area *area;
	int err;

	mutex_lock(&dev->lock);
	if (dev->failed) {
		mutex_unlock(&dev->lock);
		return 0;
	}
	err = vtmem_check_config(dev);
	if (!err)
		err = vtmem_start_queues(dev);
	dev->at_rest = false;
	mutex_unlock(&dev->lock);
	/* No area comes or goes: the tasks and works that make them are frozen. */
	list_for_each_entry(area, &dev->areas, node)
		if (!err)
			err = vtmem_pool_create(dev, &area->pool);
	mutex_lock(&dev->lock);
	if (err) {
		dev_err(&vdev->dev,
			"the device does not come back from sleep: error %d\n",
			err);
		vtmem_dev_fail(dev);
	} else if (!dev->failed) {
		vtmem_queues_set_state(dev, VTMEM_RUNNING);
	}
	mutex_unlock(&dev->lock);
	/* The interrupt may have come while nobody listened. */
	vtmem_config_check(dev);
	return err;
}
#endif /* CONFIG_PM_SLEEP */
