// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * virtio-tmem guest driver: module, probe and removal
 *
 * The order of life: rings, control queue, request queues running, front ends;
 * and back.
 *
 * Locking: vtmem_dev.lock serialises failure (health.c), sleep and removal.
 */
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/suspend.h>
#include <linux/virtio_ring.h>

#include "compat/virtio.h"
#include "device.h"

struct workqueue_struct *vtmem_wq;
/* Devices that are in service, and which of their front ends are. */
DEFINE_MUTEX(vtmem_devices_mutex);
static LIST_HEAD(vtmem_devices);

/*
 * Calls @fn for each device, under vtmem_devices_mutex, also after an error, of
 * which it returns the first.
 */
int vtmem_devices_do(int (*fn)(struct vtmem_dev *dev))
{
	struct vtmem_dev *dev;
	int err, first = 0;

	mutex_lock(&vtmem_devices_mutex);
	list_for_each_entry(dev, &vtmem_devices, node) {
		err = fn(dev);
		if (!first)
			first = err;
	}
	mutex_unlock(&vtmem_devices_mutex);
	return first;
}

/* The caller holds vtmem_open_mutex. */
static void vtmem_dev_release(struct kref *ref)
{
	struct vtmem_dev *dev = container_of(ref, struct vtmem_dev, ref);

	/* Users of areas may have asked for it after vtmem_stop(). */
	cancel_delayed_work_sync(&dev->status_work);
	vtmem_disk_free(dev);
	vtmem_eph_free(dev);
	vtmem_queues_free(dev);
	vtmem_ctrl_free(dev);
	kfree(dev);
}

void vtmem_dev_put(struct vtmem_dev *dev)
{
	if (kref_put_mutex(&dev->ref, vtmem_dev_release, &vtmem_open_mutex))
		mutex_unlock(&vtmem_open_mutex);
}

static void vtmem_config_changed(struct virtio_device *vdev)
{
	vtmem_dev_broken(vdev->priv);
	vtmem_config_check(vdev->priv);
}

int vtmem_start_queues(struct vtmem_dev *dev)
{
	int err;

	err = vtmem_vqs_find(dev);
	if (err) {
		dev_err(&dev->vdev->dev,
			"cannot set up %u request queues: error %d\n",
			dev->nr_queues, err);
		return err;
	}
	if (vtmem_ring_size(dev) < dev->ring_min) {
		dev_err(&dev->vdev->dev,
			"the device's queues have fewer than %u descriptors: it cannot be used\n",
			dev->ring_min);
		vtmem_queues_forget(dev);
		dev->vdev->config->del_vqs(dev->vdev);
		return -EINVAL;
	}
	virtio_device_ready(dev->vdev);
	vtmem_ctrl_set_state(dev, VTMEM_RUNNING);
	return 0;
}

/* Ends the device; nothing refers to dev->vdev after that. */
static void vtmem_stop(struct vtmem_dev *dev)
{
	struct virtio_device *vdev = dev->vdev;

	mutex_lock(&dev->lock);
	vtmem_dev_fail(dev);
	mutex_unlock(&dev->lock);
	/* If it failed earlier the core may have brought it back from sleep. */
	vtmem_reset(vdev);
	cancel_delayed_work_sync(&dev->status_work);
	vtmem_queues_cancel_work(dev);
	vtmem_eph_cancel_work(dev);
	if (dev->ctrl.vq)
		vdev->config->del_vqs(vdev);
	/* Without its interrupts nobody asks for it again. */
	vtmem_config_stop(dev);
	dev->vdev = NULL;
}

static void vtmem_log_found(struct vtmem_dev *dev)
{
	struct device *d = &dev->vdev->dev;

	pr_warn_once("virtio_tmem: experimental: until a first release the device ID and all else may change\n");
	if (dev->disk)
		dev_info(d, "swap disk %s, %llu MiB, %u queues\n",
			 vtmem_disk_name(dev), dev->disk_bytes >> 20,
			 dev->nr_queues);
	else if (!vtmem_param_disk)
		dev_info(d, "no swap disk: switched off (disk=0)\n");
	else
		dev_info(d, "no swap disk: the host offers none\n");
	if (!IS_ENABLED(CONFIG_VTMEM_FRONTSWAP))
		dev_info(d, "frontswap: not in this kernel\n");
	if (!IS_ENABLED(CONFIG_VTMEM_CLEANCACHE))
		dev_info(d, "cleancache: not in this kernel\n");
}

static struct vtmem_dev *vtmem_dev_alloc(struct virtio_device *vdev)
{
	struct vtmem_dev *dev = kzalloc(sizeof(*dev), GFP_KERNEL);

	if (!dev)
		return NULL;
	dev->vdev = vdev;
	strscpy(dev->name, dev_name(&vdev->dev), sizeof(dev->name));
	mutex_init(&dev->lock);
	/* Head, answer, and a page between, which may be in two pieces. */
	dev->ring_min = 4;
	INIT_LIST_HEAD(&dev->areas);
	INIT_LIST_HEAD(&dev->node);
	vtmem_health_init(dev);
	vtmem_config_init(dev);
	dev->pm_nb.notifier_call = vtmem_pm_notify;
	init_waitqueue_head(&dev->idle);
	kref_init(&dev->ref);
	return dev;
}

/* Starts the front ends, from now on as the module's parameters say. */
static int vtmem_enter_service(struct vtmem_dev *dev)
{
	int err = 0;

	mutex_lock(&vtmem_devices_mutex);
	if (vtmem_param_disk && dev->disk_bytes >= PAGE_SIZE)
		err = vtmem_disk_create(dev);
	if (!err) {
		vtmem_log_found(dev);
		vtmem_frontswap_attach(dev);
		vtmem_cleancache_attach(dev);
		list_add_tail(&dev->node, &vtmem_devices);
	} else {
		dev_err(&dev->vdev->dev,
			"cannot make a swap disk of %llu MiB: error %d\n",
			dev->disk_bytes >> 20, err);
	}
	mutex_unlock(&vtmem_devices_mutex);
	vtmem_cleancache_register();
	return err;
}

static int vtmem_probe(struct virtio_device *vdev)
{
	struct vtmem_dev *dev;
	int err;

	dev = vtmem_dev_alloc(vdev);
	if (!dev)
		return -ENOMEM;
	err = vtmem_read_config(vdev, &dev->nr_queues, &dev->max_batch);
	if (!err)
		err = vtmem_ctrl_alloc(dev);
	if (!err)
		err = vtmem_queues_alloc(dev);
	if (err)
		goto err_put;

	if (virtio_has_feature(vdev, VIRTIO_TMEM_F_DISK))
		virtio_cread_le(vdev, struct virtio_tmem_config, disk_size,
				&dev->disk_bytes);
	vdev->priv = dev;
	/* Against status_work, for which a device may ask at once. */
	mutex_lock(&dev->lock);
	err = vtmem_start_queues(dev);
	mutex_unlock(&dev->lock);
	if (err)
		goto err_put;
	vtmem_queues_set_state(dev, VTMEM_RUNNING);

	err = vtmem_enter_service(dev);
	if (err)
		goto err_stop;
	vtmem_stats_add(dev);
	register_pm_notifier(&dev->pm_nb);
	return 0;

err_stop:
	vtmem_disk_remove(dev);
	vtmem_stop(dev);
err_put:
	vtmem_dev_put(dev);
	return err;
}

static int vtmem_hooks_attach(struct vtmem_dev *dev)
{
	if (vtmem_dev_has_failed(dev))
		return 0;
	if (!vtmem_frontswap_served_by(dev))
		vtmem_frontswap_attach(dev);
	if (!vtmem_cleancache_served_by(dev))
		vtmem_cleancache_attach(dev);
	return 0;
}

/* As dev->lock is inside of what this takes, it is left to a work. */
static void vtmem_hooks_work_fn(struct work_struct *unused)
{
	vtmem_devices_do(vtmem_hooks_attach);
	vtmem_cleancache_register();
}

static DECLARE_WORK(vtmem_hooks_work, vtmem_hooks_work_fn);

/*
 * @dev is there and has failed: if it serves the kernel's hooks, another device
 * is to take its place.  Any context.
 */
void vtmem_hooks_failed(struct vtmem_dev *dev)
{
	/* It allocates, and makes nothing while the system goes to sleep. */
	if (vtmem_frontswap_served_by(dev) || vtmem_cleancache_served_by(dev))
		queue_work(system_freezable_wq, &vtmem_hooks_work);
}

/*
 * The kernel's hooks have no use for @dev any more.  What new swap areas and file
 * systems store goes to another device from now on, if there is one.
 */
static void vtmem_hooks_hand_over(struct vtmem_dev *dev)
{
	bool served = vtmem_frontswap_served_by(dev) ||
		      vtmem_cleancache_served_by(dev);

	vtmem_frontswap_detach(dev);
	vtmem_cleancache_detach(dev);
	if (!served)
		return;
	vtmem_devices_do(vtmem_hooks_attach);
	vtmem_cleancache_register();
}

static void vtmem_remove(struct virtio_device *vdev)
{
	struct vtmem_dev *dev = vdev->priv;
	unsigned long held;

	unregister_pm_notifier(&dev->pm_nb);
	mutex_lock(&vtmem_devices_mutex);
	list_del_init(&dev->node);
	mutex_unlock(&vtmem_devices_mutex);
	vtmem_hooks_hand_over(dev);
	/* Areas end with swapoff, which may come at the same time. */
	mutex_lock(&dev->lock);
	/* With no reference but ours, nobody misses what is still there. */
	held = vtmem_dev_nr_held(dev);
	if (held && kref_read(&dev->ref) > 1)
		dev_warn(&vdev->dev,
			 "removed while in use: %lu pages are lost\n", held);
	/* A device that is gone ends no request, and del_gendisk() waits. */
	if (!dev->failed &&
	    (!dev->ctrl.vq || virtqueue_is_broken(dev->ctrl.vq)))
		vtmem_dev_fail(dev);
	mutex_unlock(&dev->lock);
	vtmem_disk_remove(dev);

	vtmem_stats_remove(dev);
	vtmem_stop(dev);
	vtmem_dev_put(dev);
}

/*
 * The machine goes down, or kexec starts another kernel, whose memory this
 * device must not write to.  Nothing comes after this but the end.
 */
static void vtmem_shutdown(struct virtio_device *vdev)
{
	struct vtmem_dev *dev = vdev->priv;

	mutex_lock(&dev->lock);
	if (!dev->failed && dev->ctrl.vq) {
		/* To those who go on waiting the device has not failed. */
		dev->at_rest = true;
		vtmem_ctrl_set_state(dev, VTMEM_FROZEN);
		vtmem_queues_shut(dev);
		/* Who posted before is not about to notify any more (vq.c). */
		synchronize_rcu();
		vtmem_reset(vdev);
		vtmem_ctrl_abort(dev);
	}
	mutex_unlock(&dev->lock);
}

#ifndef HAVE_VIRTIO_DRIVER_SHUTDOWN
static void vtmem_device_shutdown(struct device *d)
{
	vtmem_shutdown(dev_to_virtio(d));
}
#endif

static int vtmem_validate(struct virtio_device *vdev)
{
	if (!virtio_has_feature(vdev, VIRTIO_F_VERSION_1)) {
		dev_err(&vdev->dev,
			"a legacy device: virtio-tmem needs virtio 1\n");
		return -EINVAL;
	}
	/*
	 * With indirect descriptors virtio would allocate memory for every
	 * request, in reclaim and in atomic context.
	 */
	__virtio_clear_bit(vdev, VIRTIO_RING_F_INDIRECT_DESC);
	return 0;
}

static const unsigned int vtmem_features[] = {
	VIRTIO_TMEM_F_DISK,
	VIRTIO_TMEM_F_MQ,
	VIRTIO_TMEM_F_EPHEMERAL,
	VIRTIO_TMEM_F_SHARED,
	VIRTIO_TMEM_F_EXCLUSIVE,
#ifdef CONFIG_VTMEM_FRONTSWAP
	VIRTIO_TMEM_F_CREDIT,
#endif
	VIRTIO_TMEM_F_HINT,
};

static const struct virtio_device_id vtmem_ids[] = {
	{ VIRTIO_ID_TMEM, VIRTIO_DEV_ANY_ID },
	{ 0 },
};
MODULE_DEVICE_TABLE(virtio, vtmem_ids);

static struct virtio_driver vtmem_driver = {
	.driver.name		= KBUILD_MODNAME,
	.driver.owner		= THIS_MODULE,
	/* Unbinding would lose pages that are in use. */
	.driver.suppress_bind_attrs = true,
	.driver.dev_groups	= vtmem_groups,
	.feature_table		= vtmem_features,
	.feature_table_size	= ARRAY_SIZE(vtmem_features),
	.id_table		= vtmem_ids,
	.validate		= vtmem_validate,
	.probe			= vtmem_probe,
	.remove			= vtmem_remove,
	.config_changed		= vtmem_config_changed,
#ifdef HAVE_VIRTIO_DRIVER_SHUTDOWN
	.shutdown		= vtmem_shutdown,
#else
	.driver.shutdown	= vtmem_device_shutdown,
#endif
#ifdef CONFIG_PM_SLEEP
	.freeze			= vtmem_freeze,
	.restore		= vtmem_restore,
#endif
};

static int __init vtmem_init(void)
{
	int err;

	/*
	 * MEM_RECLAIM: discards of a swap disk and noted invalidates give memory
	 * back.  Not FREEZABLE: reclaim may wait for them while the system goes
	 * to sleep.  The work here allocates nothing.
	 */
	vtmem_wq = alloc_workqueue("virtio_tmem", WQ_MEM_RECLAIM | WQ_UNBOUND,
				   0);
	if (!vtmem_wq)
		return -ENOMEM;
	err = vtmem_health_start();
	if (err)
		goto err_wq;
	err = vtmem_blk_init();
	if (err)
		goto err_health;
	vtmem_stats_init();
	err = register_virtio_driver(&vtmem_driver);
	if (err)
		goto err_stats;
	if (list_empty_careful(&vtmem_devices))
		pr_info("virtio_tmem: no usable virtio-tmem device found yet; the host adds one with -device virtio-tmem\n");
	return 0;

err_stats:
	cancel_work_sync(&vtmem_hooks_work);
	vtmem_stats_exit();
	vtmem_blk_exit();
err_health:
	vtmem_health_end();
err_wq:
	destroy_workqueue(vtmem_wq);
	return err;
}
module_init(vtmem_init);

static void __exit vtmem_exit(void)
{
	unregister_virtio_driver(&vtmem_driver);
	cancel_work_sync(&vtmem_hooks_work);
	vtmem_stats_exit();
	vtmem_blk_exit();
	vtmem_health_end();
	destroy_workqueue(vtmem_wq);
}
module_exit(vtmem_exit);

MODULE_DESCRIPTION("Swap to a compressed store on the host (transcendent memory over virtio)");
MODULE_AUTHOR("The virtio-tmem authors");
MODULE_VERSION("0.1.0");
MODULE_LICENSE("GPL");
