// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * virtio-tmem guest driver: which disk is behind the swap disk
 *
 * It comes with a module parameter or through sysfs, and goes through sysfs or
 * with the swap disk.  What it does is in backing.c.
 *
 * Locking: vtmem_disk.backing is read under RCU, and counted before it is used;
 * backing_mutex serialises those who change it.
 */
#include <linux/delay.h>
#include <linux/module.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>

#include "disk.h"

static char *backing[4];
module_param_array(backing, charp, NULL, 0444);
MODULE_PARM_DESC(backing, "Block devices for pages that the host refuses, one for each swap disk in turn; their content is overwritten (see also /sys/block/vtmem*/backing)");

static void vtmem_rq_backing_done(struct vtmem_backing_io *io)
{
	struct request *rq = io->job->owner;
	struct vtmem_disk *disk = rq->q->queuedata;
	struct vtmem_dev *dev = disk->dev;

	/*
	 * With the last one the disk behind may go, and then the device: not
	 * before the RCU section has ended (vtmem_backing_drain).
	 */
	rcu_read_lock();
	blk_mq_complete_request(rq);
	if (atomic_dec_and_test(&disk->backing_users) &&
	    wq_has_sleeper(&dev->idle))
		wake_up_all(&dev->idle);
	rcu_read_unlock();
}

/* Hands what remains to do to the disk behind, if there is one. */
bool vtmem_rq_to_backing(struct vtmem_disk *disk, struct vtmem_rq *vrq)
{
	struct vtmem_backing *b;

	rcu_read_lock();
	b = rcu_dereference(disk->backing);
	if (b && vrq->job.op == VIRTIO_TMEM_OP_STORE &&
	    !READ_ONCE(disk->backing_takes))
		b = NULL;
	if (b) {
		atomic_inc(&disk->backing_users);
		vrq->io.job = &vrq->job;
		vrq->io.done = vtmem_rq_backing_done;
		vtmem_backing_submit(b, &vrq->io);
	}
	rcu_read_unlock();
	return b;
}

/*
 * A loop device or a device mapper on the swap disk, perhaps by several steps,
 * must not stand behind it: a refused page would come back here for ever.  What
 * is below a disk no module is told, but these have the swap disk open, as only
 * swap should, and that only as often as it does.  Who looks at a disk that is
 * new, as udev does, is soon gone.  A loop device itself is always refused
 * (backing.c).
 */
#define VTMEM_OPENERS_MS	3000
#define VTMEM_OPENERS_POLL_MS	50

static bool vtmem_may_lead_back(struct vtmem_disk *disk)
{
	unsigned int ms;

	for (ms = 0; ms < VTMEM_OPENERS_MS; ms += VTMEM_OPENERS_POLL_MS) {
		if (!vtmem_disk_used_otherwise(disk))
			return false;
		msleep(VTMEM_OPENERS_POLL_MS);
	}
	return true;
}

/* Puts a disk behind the swap disk.  Sleeps. */
static int vtmem_backing_attach(struct vtmem_disk *disk, const char *path)
{
	struct vtmem_backing *b;
	int err = 0;

	mutex_lock(&disk->backing_mutex);
	b = rcu_dereference_protected(disk->backing, true);
	if (b) {
		pr_err("virtio_tmem %s: %s: backing=%s: %s is there already: write \"none\" first\n",
		       disk->dev->name, disk->gd->disk_name, path,
		       vtmem_backing_path(b));
		err = -EBUSY;
		goto out;
	}
	if (vtmem_may_lead_back(disk)) {
		pr_err("virtio_tmem %s: %s: backing=%s: somebody has %s open, and not as swap: what stands on it must not stand behind it, so close it first\n",
		       disk->dev->name, disk->gd->disk_name, path,
		       disk->gd->disk_name);
		err = -ELOOP;
		goto out;
	}
	b = vtmem_backing_open(disk->area, path, disk->gd->disk_name);
	if (IS_ERR(b)) {
		err = PTR_ERR(b);
		goto out;
	}
	rcu_assign_pointer(disk->backing, b);
	WRITE_ONCE(disk->backing_takes, true);
	WRITE_ONCE(disk->area->has_fallback, true);
	pr_info("virtio_tmem %s: %s: pages that the host refuses go to %s\n",
		disk->dev->name, disk->gd->disk_name, path);
out:
	mutex_unlock(&disk->backing_mutex);
	return err;
}

static void vtmem_backing_drain(struct vtmem_disk *disk)
{
	synchronize_rcu();
	wait_event(disk->dev->idle, !atomic_read(&disk->backing_users));
	/* Who made it 0 may be about to wake us still. */
	synchronize_rcu();
}

/* Takes the disk behind away, unless it has pages.  Sleeps. */
static int vtmem_backing_detach(struct vtmem_disk *disk, bool force)
{
	struct vtmem_backing *b;
	unsigned long nr = 0;
	int err = 0;

	mutex_lock(&disk->backing_mutex);
	b = rcu_dereference_protected(disk->backing, true);
	if (!b)
		goto out;
	/* What comes now is refused; what is there can be read meanwhile. */
	WRITE_ONCE(disk->backing_takes, false);
	vtmem_backing_drain(disk);
	if (!force)
		nr = vtmem_area_nr_disk(disk->area);
	if (nr) {
		WRITE_ONCE(disk->backing_takes, true);
		pr_err("virtio_tmem %s: %s: %s holds %lu pages: run swapoff first\n",
		       disk->dev->name, disk->gd->disk_name,
		       vtmem_backing_path(b), nr);
		err = -EBUSY;
		goto out;
	}
	WRITE_ONCE(disk->area->has_fallback, false);
	rcu_assign_pointer(disk->backing, NULL);
	vtmem_backing_drain(disk);
	vtmem_backing_close(b);
	/* It may have been too small for the disk to grow. */
	if (!force)
		vtmem_config_check(disk->dev);
out:
	mutex_unlock(&disk->backing_mutex);
	return err;
}

/* Not by way of private_data, which may go before the file does. */
static struct vtmem_disk *vtmem_disk_of(struct device *d)
{
	return dev_to_disk(d)->queue->queuedata;
}

static ssize_t backing_show(struct device *d, struct device_attribute *attr,
			    char *buf)
{
	struct vtmem_disk *disk = vtmem_disk_of(d);
	struct vtmem_backing *b;
	ssize_t len;

	mutex_lock(&disk->backing_mutex);
	b = rcu_dereference_protected(disk->backing, true);
	len = sysfs_emit(buf, "%s\n", b ? vtmem_backing_path(b) : "none");
	mutex_unlock(&disk->backing_mutex);
	return len;
}

static ssize_t backing_store(struct device *d, struct device_attribute *attr,
			     const char *buf, size_t count)
{
	struct vtmem_disk *disk = vtmem_disk_of(d);
	char *path;
	int err;

	if (sysfs_streq(buf, "none") || sysfs_streq(buf, "")) {
		err = vtmem_backing_detach(disk, false);
		return err ? err : count;
	}
	path = kstrndup(buf, strcspn(buf, "\n"), GFP_KERNEL);
	if (!path)
		return -ENOMEM;
	err = vtmem_backing_attach(disk, path);
	kfree(path);
	return err ? err : count;
}
static DEVICE_ATTR_RW(backing);

static struct attribute *vtmem_disk_attrs[] = {
	&dev_attr_backing.attr,
	NULL
};

static const struct attribute_group vtmem_disk_group = {
	.attrs = vtmem_disk_attrs,
};

const struct attribute_group *vtmem_disk_groups[] = {
	&vtmem_disk_group,
	NULL
};

/* Attaches what the parameter names; without it the disk still serves. */
void vtmem_backing_from_parameter(struct vtmem_disk *disk)
{
	/* The log says why there is none. */
	if (disk->index < ARRAY_SIZE(backing) && backing[disk->index] &&
	    *backing[disk->index])
		vtmem_backing_attach(disk, backing[disk->index]);
}

/**
 * vtmem_disk_grow() - make the swap disk's area larger, or say why not
 * @disk:     the disk
 * @nr_pages: its size from then on
 * @news:     say so
 *
 * Sleeps.  The disk behind cannot be exchanged meanwhile: it has to be as large.
 * Returns 0 or a negative error, after one line in the log if @news.
 */
int vtmem_disk_grow(struct vtmem_disk *disk, unsigned long nr_pages, bool news)
{
	struct vtmem_backing *b;
	int err;

	mutex_lock(&disk->backing_mutex);
	b = rcu_dereference_protected(disk->backing, true);
	if (b && vtmem_backing_bytes(b) >> PAGE_SHIFT < nr_pages)
		err = -ENOSPC;
	else
		err = vtmem_area_grow(disk->area, nr_pages);
	if (err == -ENOSPC && news)
		pr_warn("virtio_tmem %s: %s: the host offers %lu MiB, but %s behind it has %llu: it stays at %lu MiB until that is taken away (echo none >/sys/block/%s/backing)\n",
			disk->dev->name, disk->gd->disk_name,
			nr_pages >> (20 - PAGE_SHIFT), vtmem_backing_path(b),
			vtmem_backing_bytes(b) >> 20,
			disk->area->nr_pages >> (20 - PAGE_SHIFT),
			disk->gd->disk_name);
	else if (err && news)
		pr_err("virtio_tmem %s: %s: cannot grow to %lu MiB, it stays at %lu: error %d\n",
		       disk->dev->name, disk->gd->disk_name,
		       nr_pages >> (20 - PAGE_SHIFT),
		       disk->area->nr_pages >> (20 - PAGE_SHIFT), err);
	mutex_unlock(&disk->backing_mutex);
	return err;
}

/* The swap disk goes, and with it what it has on the disk behind.  Sleeps. */
void vtmem_disk_backing_remove(struct vtmem_disk *disk)
{
	vtmem_backing_detach(disk, true);
}
