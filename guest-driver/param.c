// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * virtio-tmem guest driver: module parameters, at load and at run time
 *
 * A front end is switched off without a page lost.  The swap disk goes, which
 * it only can while nobody has it open.  The hooks of frontswap cannot be given
 * back: they take no more pages, and those they took are served until they are
 * freed.
 *
 * Locking: the kernel serialises writers of a module's parameters.  Disks come
 * and go under vtmem_devices_mutex.
 */
#include <linux/module.h>

#include "vtmem.h"

bool vtmem_param_disk = true;
bool vtmem_param_frontswap = IS_ENABLED(CONFIG_VTMEM_FRONTSWAP);
bool vtmem_param_cleancache = IS_ENABLED(CONFIG_VTMEM_CLEANCACHE);
bool vtmem_param_lost_panics;

/* Sets a number that has a greatest value; more is refused, and said. */
int vtmem_uint_set(const char *val, const struct kernel_param *kp)
{
	const struct vtmem_uint *param = kp->arg;
	unsigned int value;

	if (kstrtouint(val, 0, &value) || value > param->max) {
		pr_err("virtio_tmem: %s=%.*s: give it a number from 0 to %u\n",
		       kp->name, (int)strcspn(val, "\n"), val, param->max);
		return -EINVAL;
	}
	WRITE_ONCE(*param->value, value);
	return 0;
}

int vtmem_uint_get(char *buffer, const struct kernel_param *kp)
{
	const struct vtmem_uint *param = kp->arg;

	return sysfs_emit(buffer, "%u\n", READ_ONCE(*param->value));
}

const struct kernel_param_ops vtmem_uint_ops = {
	.set = vtmem_uint_set,
	.get = vtmem_uint_get,
};

/* Makes the disk that the device offers, if there is none. */
int vtmem_disk_on(struct vtmem_dev *dev)
{
	int err;

	lockdep_assert_held(&vtmem_devices_mutex);

	if (dev->disk || dev->disk_bytes < PAGE_SIZE)
		return 0;
	err = vtmem_disk_create(dev);
	if (!err) {
		pr_info("virtio_tmem %s: swap disk %s, %llu MiB\n", dev->name,
			vtmem_disk_name(dev), dev->disk_bytes >> 20);
		return 0;
	}
	pr_err("virtio_tmem %s: cannot make a swap disk of %llu MiB: error %d\n",
	       dev->name, dev->disk_bytes >> 20, err);
	vtmem_disk_discard(dev);
	return err;
}

static int vtmem_disk_off(struct vtmem_dev *dev)
{
	lockdep_assert_held(&vtmem_devices_mutex);

	if (!dev->disk)
		return 0;
	if (vtmem_disk_retire(dev)) {
		pr_err("virtio_tmem %s: swap disk %s is in use and stays: run swapoff first\n",
		       dev->name, vtmem_disk_name(dev));
		return -EBUSY;
	}
	pr_info("virtio_tmem %s: no swap disk: switched off (disk=0)\n",
		dev->name);
	return 0;
}

static int vtmem_disk_set(const char *val, const struct kernel_param *kp)
{
	bool old = vtmem_param_disk;
	int err;

	err = param_set_bool(val, kp);
	/* When the module is loaded there is no device yet. */
	if (!err)
		err = vtmem_devices_do(vtmem_param_disk ? vtmem_disk_on :
							    vtmem_disk_off);
	if (err)
		vtmem_param_disk = old;
	return err;
}

static const struct kernel_param_ops vtmem_disk_ops = {
	.flags	= KERNEL_PARAM_OPS_FL_NOARG,
	.set	= vtmem_disk_set,
	.get	= param_get_bool,
};
module_param_cb(disk, &vtmem_disk_ops, &vtmem_param_disk, 0644);
__MODULE_PARM_TYPE(disk, "bool");
MODULE_PARM_DESC(disk, "Make a swap disk /dev/vtmemN of each device that offers one; off at run time: remove those not in use (default: yes)");

static int vtmem_frontswap_on(struct vtmem_dev *dev)
{
	if (!vtmem_dev_has_failed(dev))
		vtmem_frontswap_attach(dev);
	return 0;
}

static int vtmem_frontswap_set(const char *val, const struct kernel_param *kp)
{
	bool old = vtmem_param_frontswap;
	int err;

	err = param_set_bool(val, kp);
	if (err || vtmem_param_frontswap == old)
		return err;
	if (vtmem_param_frontswap)
		return vtmem_devices_do(vtmem_frontswap_on);
	return 0;
}

static const struct kernel_param_ops vtmem_frontswap_ops = {
	.flags	= KERNEL_PARAM_OPS_FL_NOARG,
	.set	= vtmem_frontswap_set,
	.get	= param_get_bool,
};
module_param_cb(frontswap, &vtmem_frontswap_ops, &vtmem_param_frontswap, 0644);
__MODULE_PARM_TYPE(frontswap, "bool");
MODULE_PARM_DESC(frontswap, "Store pages of all swap areas on the host, on kernels whose frontswap modules can use; off at run time: take no more pages (default there: yes)");

static int vtmem_cleancache_on(struct vtmem_dev *dev)
{
	if (!vtmem_dev_has_failed(dev))
		vtmem_cleancache_attach(dev);
	return 0;
}

static int vtmem_cleancache_set(const char *val, const struct kernel_param *kp)
{
	bool old = vtmem_param_cleancache;
	int err;

	err = param_set_bool(val, kp);
	if (err || vtmem_param_cleancache == old)
		return err;
	if (!vtmem_param_cleancache) {
		vtmem_cleancache_off();
		return 0;
	}
	err = vtmem_devices_do(vtmem_cleancache_on);
	vtmem_cleancache_register();
	return err;
}

static const struct kernel_param_ops vtmem_cleancache_ops = {
	.flags	= KERNEL_PARAM_OPS_FL_NOARG,
	.set	= vtmem_cleancache_set,
	.get	= param_get_bool,
};
module_param_cb(cleancache, &vtmem_cleancache_ops, &vtmem_param_cleancache,
		0644);
__MODULE_PARM_TYPE(cleancache, "bool");
MODULE_PARM_DESC(cleancache, "Keep clean file pages on the host, on kernels built with cleancache; off at run time: drop them (default there: yes)");

static int vtmem_lost_set(const char *val, const struct kernel_param *kp)
{
	if (sysfs_streq(val, "wait")) {
		vtmem_param_lost_panics = false;
	} else if (sysfs_streq(val, "panic")) {
		vtmem_param_lost_panics = true;
	} else {
		pr_err("virtio_tmem: frontswap_lost=%.*s is unknown: use \"wait\" or \"panic\"\n",
		       (int)strcspn(val, "\n"), val);
		return -EINVAL;
	}
	return 0;
}

static int vtmem_lost_get(char *buffer, const struct kernel_param *kp)
{
	return sysfs_emit(buffer, "%s\n",
			  vtmem_param_lost_panics ? "panic" : "wait");
}

static const struct kernel_param_ops vtmem_lost_ops = {
	.set = vtmem_lost_set,
	.get = vtmem_lost_get,
};
module_param_cb(frontswap_lost, &vtmem_lost_ops, NULL, 0644);
__MODULE_PARM_TYPE(frontswap_lost, "charp");
MODULE_PARM_DESC(frontswap_lost, "If the host loses a page of a swap area on another disk, \"wait\" for ever or \"panic\" (default: wait)");
