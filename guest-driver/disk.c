// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * virtio-tmem guest driver: the life of the swap disk /dev/vtmem0
 *
 * A block device whose pages live in one pool of the host.  It is meant for
 * swap: it forgets everything when the device is reset, so it is not a place
 * for file systems, and a flush has nothing to do (none is announced, and the
 * block layer then answers flushes by itself).  There are no partitions: a
 * swap area's slot n is the disk's page n, which vtmem_slot_free_notify() and
 * frontswap.c rely on.
 *
 * Locking: see disk.h.
 */
#include <linux/idr.h>
#include <linux/module.h>
#include <linux/slab.h>

#include "compat/blk.h"
#include "compat/virtio.h"
#include "disk.h"

DEFINE_MUTEX(vtmem_open_mutex);	/* gendisk.private_data */
static DEFINE_IDA(vtmem_index_ida);
static int vtmem_major;

/*
 * A swap slot is free.  Called under the swap locks, with interrupts off, also
 * after the device was removed: the opener's reference keeps it in memory.
 */
static void __maybe_unused vtmem_slot_free_notify(struct block_device *bdev,
						  unsigned long slot)
{
	struct vtmem_dev *dev = bdev->bd_disk->private_data;

	vtmem_area_invalidate(dev->disk->area, slot, false);
}

static int vtmem_open_disk(struct gendisk *gd)
{
	struct vtmem_dev *dev;
	int err = -ENXIO;

	mutex_lock(&vtmem_open_mutex);
	dev = gd->private_data;
	if (dev) {
		kref_get(&dev->ref);
		vtmem_gate_openers(dev->disk->area, ++dev->disk->openers);
		err = 0;
	}
	mutex_unlock(&vtmem_open_mutex);
	if (err)
		return err;
	vtmem_gate_disk_opened(dev->disk->area);
	/* It may be swapoff. */
	err = vtmem_shrink_hold();
	if (err)
		vtmem_release_disk(gd);
	return err;
}

static void vtmem_release_disk(struct gendisk *gd)
{
	struct vtmem_dev *dev = gd->private_data;
	unsigned int i;

	/* After swapoff nothing comes that would take freed slots along. */
	for (i = 0; i < dev->nr_queues; i++)
		vtmem_queue_flush(&dev->queues[i]);
	mutex_lock(&vtmem_open_mutex);
	vtmem_gate_openers(dev->disk->area, --dev->disk->openers);
	mutex_unlock(&vtmem_open_mutex);
	vtmem_dev_put(dev);
}

static const struct block_device_operations vtmem_fops = {
	.owner			= THIS_MODULE,
	.open			= vtmem_open,
	.release		= vtmem_release,
#ifdef HAVE_SWAP_SLOT_FREE_NOTIFY
	.swap_slot_free_notify	= vtmem_slot_free_notify,
#endif
};

/* The area of the swap disk @bdev, or NULL if it is another disk. */
struct vtmem_area *vtmem_disk_area(struct block_device *bdev)
{
	struct vtmem_dev *dev = bdev->bd_disk->private_data;

	return bdev->bd_disk->fops == &vtmem_fops ? dev->disk->area : NULL;
}

/*
 * The disk's name if all of the device's @nr_pages are on it and nobody has it
 * open, else NULL.  For a time when no disk comes or goes.
 */
const char *vtmem_disk_unused(struct vtmem_dev *dev, unsigned long nr_pages)
{
	struct vtmem_disk *disk = dev->disk;

	return disk && !READ_ONCE(disk->openers) &&
	       vtmem_area_nr_held(disk->area) == nr_pages ?
	       disk->gd->disk_name : NULL;
}

/* Does somebody have the disk open for something that is not swap? */
bool vtmem_disk_used_otherwise(struct vtmem_disk *disk)
{
	return READ_ONCE(disk->openers) && (!vtmem_is_swap_area(disk->gd) ||
					    vtmem_gate_open_beside(disk->area));
}

/* The disk's name, or NULL without one. */
const char *vtmem_disk_name(struct vtmem_dev *dev)
{
	return dev->disk ? dev->disk->gd->disk_name : NULL;
}

static int vtmem_disk_alloc(struct vtmem_disk *disk)
{
	struct vtmem_dev *dev = disk->dev;
	struct vtmem_disk_limits limits = {
		.block_size = VTMEM_BLOCK_SIZE,
		.max_sectors = dev->max_batch * VTMEM_PAGE_SECTORS,
		/* No request crosses an object, and so none two queues. */
		.chunk_sectors = VTMEM_OBJECT_PAGES * VTMEM_PAGE_SECTORS,
		.max_segments = disk->max_segments,
		.max_segment_size = min_t(size_t, UINT_MAX,
					  virtio_max_dma_size(dev->vdev)),
		.max_discard_sectors = round_down(UINT_MAX >> SECTOR_SHIFT,
						  VTMEM_PAGE_SECTORS),
	};
	struct gendisk *gd;

	gd = vtmem_alloc_disk(&disk->tags, &limits, disk);
	if (IS_ERR(gd))
		return PTR_ERR(gd);
	disk->gd = gd;
	gd->major = vtmem_major;
	gd->first_minor = disk->index;
	gd->minors = 1;
	gd->flags |= VTMEM_GENHD_FLAGS;
	gd->fops = &vtmem_fops;
	gd->private_data = dev;
	snprintf(gd->disk_name, sizeof(gd->disk_name), "vtmem%d", disk->index);
	set_capacity(gd, (sector_t)disk->area->nr_pages * VTMEM_PAGE_SECTORS);
	return 0;
}

/**
 * vtmem_disk_create() - make the swap disk of a running device
 * @dev: the device
 *
 * Sleeps.  After an error, as after success, vtmem_disk_remove() and
 * vtmem_disk_free() clean up.
 */
int vtmem_disk_create(struct vtmem_dev *dev)
{
	struct vtmem_disk *disk;
	struct vtmem_area *area;
	int err;

	/* A device that did not come back from a sleep has no rings. */
	if (!dev->ctrl.vq)
		return -EIO;
	disk = kzalloc(sizeof(*disk), GFP_KERNEL);
	if (!disk)
		return -ENOMEM;
	dev->disk = disk;
	disk->dev = dev;
	disk->index = -1;
	mutex_init(&disk->backing_mutex);
	vtmem_refusals_init(disk);
	vtmem_discard_init(disk);
	/*
	 * Memory of n pages may begin and end within a page: n + 1 pieces.  Two
	 * descriptors are for the request's head and for its answer.
	 */
	disk->max_segments = min(dev->max_batch + 1, vtmem_ring_size(dev) - 2);
	dev->ring_min = max(dev->ring_min, disk->max_segments + 2);

	area = vtmem_area_create(dev, dev->disk_bytes >> PAGE_SHIFT);
	if (IS_ERR(area))
		return PTR_ERR(area);
	disk->area = area;

	disk->index = ida_alloc_max(&vtmem_index_ida, MINORMASK, GFP_KERNEL);
	if (disk->index < 0)
		return disk->index;
	err = vtmem_disk_alloc_tags(disk);
	if (err)
		return err;
	err = vtmem_disk_alloc(disk);
	if (err)
		return err;
	err = vtmem_add_disk(&dev->vdev->dev, disk->gd, vtmem_disk_groups);
	disk->added = !err;
	if (err)
		return err;
	vtmem_backing_from_parameter(disk);
	return 0;
}

/*
 * Ends the disk's service.  It stays in memory for those who have it open, and
 * gives them errors.
 */
void vtmem_disk_remove(struct vtmem_dev *dev)
{
	struct vtmem_disk *disk = dev->disk;

	if (!disk)
		return;
	if (disk->added)
		del_gendisk(disk->gd);
	if (disk->gd)
		vtmem_cleanup_queue(disk->gd);
	flush_work(&disk->discard_work);
	vtmem_disk_backing_remove(disk);
	if (disk->gd && !disk->added) {
		/* Nobody else has it; its queue goes before the tags do. */
		put_disk(disk->gd);
		disk->gd = NULL;
	}
	if (disk->tags.tags)
		blk_mq_free_tag_set(&disk->tags);
}

/*
 * The last reference to the device goes.  The caller holds vtmem_open_mutex, so
 * that an opener either came before and has a reference, or finds nothing.
 */
void vtmem_disk_free(struct vtmem_dev *dev)
{
	struct vtmem_disk *disk = dev->disk;

	if (!disk)
		return;
	if (disk->gd) {
		disk->gd->private_data = NULL;
		put_disk(disk->gd);
	}
	if (disk->index >= 0)
		ida_free(&vtmem_index_ida, disk->index);
	if (disk->area)
		vtmem_area_free(disk->area);
	kfree(disk);
}

/* Ends a disk that nobody has open, or whose creation failed half way. */
void vtmem_disk_discard(struct vtmem_dev *dev)
{
	struct vtmem_disk *disk = dev->disk;

	if (!disk)
		return;
	vtmem_disk_remove(dev);
	if (disk->area)
		vtmem_area_close(disk->area);
	vtmem_disk_free(dev);
	dev->disk = NULL;
}

/* -EBUSY if somebody has the disk open, or if pages are on it and matter. */
static int vtmem_disk_end(struct vtmem_dev *dev, bool pages_matter)
{
	struct vtmem_disk *disk = dev->disk;
	bool busy;

	mutex_lock(&vtmem_open_mutex);
	busy = disk->openers ||
	       (pages_matter && (vtmem_area_nr_held(disk->area) ||
				 vtmem_area_nr_disk(disk->area)));
	/* From here on there is nothing to open. */
	if (!busy)
		disk->gd->private_data = NULL;
	mutex_unlock(&vtmem_open_mutex);

	if (busy)
		return -EBUSY;
	vtmem_disk_discard(dev);
	return 0;
}

/*
 * Ends the disk of a device that goes on, with all pages on it; -EBUSY if
 * somebody has it open.  The caller holds vtmem_devices_mutex.
 */
int vtmem_disk_retire(struct vtmem_dev *dev)
{
	return vtmem_disk_end(dev, false);
}

/**
 * vtmem_disk_resize() - the device offers a disk of dev->disk_bytes
 * @dev:  the device, which has a disk
 * @news: it did not before: say in the log what comes of it
 *
 * The disk grows while it is in use.  It becomes smaller only while it is not:
 * no page is given up.  Sleeps; the caller holds vtmem_devices_mutex.
 */
void vtmem_disk_resize(struct vtmem_dev *dev, bool news)
{
	struct vtmem_disk *disk = dev->disk;
	unsigned long old = disk->area->nr_pages;
	unsigned long nr_pages = min_t(u64, dev->disk_bytes >> PAGE_SHIFT,
				       ULONG_MAX);
	char name[DISK_NAME_LEN];

	lockdep_assert_held(&vtmem_devices_mutex);

	if (nr_pages == old || (nr_pages < old && !news))
		return;
	strscpy(name, disk->gd->disk_name, sizeof(name));
	if (nr_pages < old) {
		if (!vtmem_disk_end(dev, true))
			vtmem_disk_on(dev);
		else
			pr_warn("virtio_tmem %s: %s: the host offers %llu MiB, less than the %lu it has: it stays as it is while in use; after swapoff and blkdiscard, write 0 and 1 to /sys/module/virtio_tmem/parameters/disk\n",
				dev->name, name, dev->disk_bytes >> 20,
				old >> (20 - PAGE_SHIFT));
		return;
	}
	if (vtmem_disk_grow(disk, nr_pages, news))
		return;
	/* After the area: requests come as soon as it is seen. */
	vtmem_set_capacity(disk->gd, (sector_t)nr_pages * VTMEM_PAGE_SECTORS);
	pr_info("virtio_tmem %s: %s: grown from %lu to %lu MiB; a swap area on it grows with swapoff, mkswap and swapon\n",
		dev->name, name, old >> (20 - PAGE_SHIFT),
		nr_pages >> (20 - PAGE_SHIFT));
}

int vtmem_blk_init(void)
{
	int err;

	err = vtmem_discard_start();
	if (err)
		return err;
	vtmem_major = register_blkdev(0, "vtmem");
	if (vtmem_major >= 0)
		return 0;
	vtmem_discard_end();
	return vtmem_major;
}

void vtmem_blk_exit(void)
{
	unregister_blkdev(vtmem_major, "vtmem");
	vtmem_discard_end();
	ida_destroy(&vtmem_index_ida);
}
