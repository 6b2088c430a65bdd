// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * virtio-tmem guest driver: attributes of a device in sysfs
 *
 * In /sys/bus/virtio/drivers/virtio_tmem/virtioN/, one value in a file; what
 * they mean is in Documentation/ABI/testing/sysfs-bus-virtio-virtio_tmem.  The
 * driver core removes them before vtmem_remove() and waits for readers.
 */
#include <linux/device.h>
#include <linux/sysfs.h>

#include "vtmem.h"

static struct vtmem_dev *vtmem_of(struct device *d)
{
	return dev_to_virtio(d)->priv;
}

static ssize_t state_show(struct device *d, struct device_attribute *attr,
			  char *buf)
{
	struct vtmem_dev *dev = vtmem_of(d);
	const char *state = "running";

	mutex_lock(&dev->lock);
	if (dev->failed)
		state = "failed";
	else if (!dev->ctrl.vq)
		state = "asleep";
	mutex_unlock(&dev->lock);
	return sysfs_emit(buf, "%s\n", state);
}
static DEVICE_ATTR_RO(state);

static ssize_t disk_show(struct device *d, struct device_attribute *attr,
			 char *buf)
{
	struct vtmem_dev *dev = vtmem_of(d);
	ssize_t len;

	mutex_lock(&vtmem_devices_mutex);
	len = sysfs_emit(buf, "%s\n",
			 dev->disk ? vtmem_disk_name(dev) : "none");
	mutex_unlock(&vtmem_devices_mutex);
	return len;
}
static DEVICE_ATTR_RO(disk);

static ssize_t frontswap_show(struct device *d, struct device_attribute *attr,
			      char *buf)
{
	bool active = vtmem_frontswap_served_by(vtmem_of(d)) &&
		      !vtmem_dev_has_failed(vtmem_of(d)) &&
		      READ_ONCE(vtmem_param_frontswap);

	return sysfs_emit(buf, "%d\n", active);
}
static DEVICE_ATTR_RO(frontswap);

static ssize_t cleancache_show(struct device *d, struct device_attribute *attr,
			       char *buf)
{
	bool active = vtmem_cleancache_served_by(vtmem_of(d)) &&
		      !vtmem_dev_has_failed(vtmem_of(d)) &&
		      READ_ONCE(vtmem_param_cleancache);

	return sysfs_emit(buf, "%d\n", active);
}
static DEVICE_ATTR_RO(cleancache);

static ssize_t pages_show(struct device *d, struct device_attribute *attr,
			  char *buf)
{
	struct vtmem_dev *dev = vtmem_of(d);
	unsigned long held;

	mutex_lock(&dev->lock);
	held = vtmem_dev_nr_held(dev);
	mutex_unlock(&dev->lock);
	return sysfs_emit(buf, "%lu\n", held);
}
static DEVICE_ATTR_RO(pages);

static ssize_t queues_show(struct device *d, struct device_attribute *attr,
			   char *buf)
{
	return sysfs_emit(buf, "%u\n", vtmem_of(d)->nr_queues);
}
static DEVICE_ATTR_RO(queues);

static ssize_t max_batch_show(struct device *d, struct device_attribute *attr,
			      char *buf)
{
	return sysfs_emit(buf, "%u\n", vtmem_of(d)->max_batch);
}
static DEVICE_ATTR_RO(max_batch);

static ssize_t credit_show(struct device *d, struct device_attribute *attr,
			   char *buf)
{
	return sysfs_emit(buf, "%d\n", atomic_read(&vtmem_of(d)->credit));
}
static DEVICE_ATTR_RO(credit);

static struct attribute *vtmem_attrs[] = {
	&dev_attr_state.attr,
	&dev_attr_disk.attr,
	&dev_attr_frontswap.attr,
	&dev_attr_cleancache.attr,
	&dev_attr_pages.attr,
	&dev_attr_queues.attr,
	&dev_attr_max_batch.attr,
	&dev_attr_credit.attr,
	NULL
};

static const struct attribute_group vtmem_group = {
	.attrs = vtmem_attrs,
};

/* The counters, by the names they have in debugfs and on the host. */

struct vtmem_stat_attr {
	struct device_attribute attr;
	enum vtmem_counter counter;
};

static ssize_t vtmem_stat_show(struct device *d, struct device_attribute *attr,
			       char *buf)
{
	struct vtmem_stat_attr *stat = container_of(attr,
						    struct vtmem_stat_attr,
						    attr);

	return sysfs_emit(buf, "%llu\n",
			  vtmem_stats_sum(vtmem_of(d), stat->counter));
}

#define VTMEM_STAT(_name, _counter)					\
	static struct vtmem_stat_attr vtmem_stat_##_name = {		\
		.attr = __ATTR(_name, 0444, vtmem_stat_show, NULL),	\
		.counter = _counter,					\
	}

VTMEM_STAT(stores, VTMEM_STORES);
VTMEM_STAT(stores_ok, VTMEM_STORES_OK);
VTMEM_STAT(stores_refused, VTMEM_STORES_REFUSED);
VTMEM_STAT(stores_error, VTMEM_STORES_ERROR);
VTMEM_STAT(stores_credit, VTMEM_STORES_CREDIT);
VTMEM_STAT(stores_kept, VTMEM_STORES_KEPT);
VTMEM_STAT(loads, VTMEM_LOADS);
VTMEM_STAT(loads_hit, VTMEM_LOADS_HIT);
VTMEM_STAT(loads_miss, VTMEM_LOADS_MISS);
VTMEM_STAT(loads_error, VTMEM_LOADS_ERROR);
VTMEM_STAT(loads_copy, VTMEM_LOADS_COPY);
VTMEM_STAT(invalidates, VTMEM_INVALIDATES);
VTMEM_STAT(object_invalidates, VTMEM_OBJECT_INVALIDATES);
VTMEM_STAT(invalidates_error, VTMEM_INVALIDATES_ERROR);
VTMEM_STAT(requests, VTMEM_REQUESTS);
VTMEM_STAT(kicks, VTMEM_KICKS);
VTMEM_STAT(kicks_loads, VTMEM_KICKS_LOADS);
VTMEM_STAT(interrupts, VTMEM_INTERRUPTS);
VTMEM_STAT(cleancache_stores, VTMEM_EPH_STORES);
VTMEM_STAT(cleancache_stores_skipped, VTMEM_EPH_STORES_SKIPPED);
VTMEM_STAT(cleancache_loads_hit, VTMEM_EPH_LOADS_HIT);

static struct attribute *vtmem_stat_attrs[] = {
	&vtmem_stat_stores.attr.attr,
	&vtmem_stat_stores_ok.attr.attr,
	&vtmem_stat_stores_refused.attr.attr,
	&vtmem_stat_stores_error.attr.attr,
	&vtmem_stat_stores_credit.attr.attr,
	&vtmem_stat_stores_kept.attr.attr,
	&vtmem_stat_loads.attr.attr,
	&vtmem_stat_loads_hit.attr.attr,
	&vtmem_stat_loads_miss.attr.attr,
	&vtmem_stat_loads_error.attr.attr,
	&vtmem_stat_loads_copy.attr.attr,
	&vtmem_stat_invalidates.attr.attr,
	&vtmem_stat_object_invalidates.attr.attr,
	&vtmem_stat_invalidates_error.attr.attr,
	&vtmem_stat_requests.attr.attr,
	&vtmem_stat_kicks.attr.attr,
	&vtmem_stat_kicks_loads.attr.attr,
	&vtmem_stat_interrupts.attr.attr,
	&vtmem_stat_cleancache_stores.attr.attr,
	&vtmem_stat_cleancache_stores_skipped.attr.attr,
	&vtmem_stat_cleancache_loads_hit.attr.attr,
	NULL
};

static const struct attribute_group vtmem_stat_group = {
	.name = "stats",
	.attrs = vtmem_stat_attrs,
};

const struct attribute_group *vtmem_groups[] = {
	&vtmem_group,
	&vtmem_stat_group,
	NULL
};
