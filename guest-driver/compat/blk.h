/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the block layer has for disks, old and new, behind one set of functions. */
#ifndef VTMEM_COMPAT_BLK_H
#define VTMEM_COMPAT_BLK_H

#include <linux/blk-mq.h>
#include <linux/blkdev.h>

#include "compat/have.h"

#ifdef HAVE_GENHD_FL_NO_PART
#define VTMEM_GENHD_FLAGS	GENHD_FL_NO_PART
#else
#define VTMEM_GENHD_FLAGS	GENHD_FL_NO_PART_SCAN
#endif

/* block_device_operations.open and .release, in terms of the disk alone. */
static int vtmem_open_disk(struct gendisk *gd);
static void vtmem_release_disk(struct gendisk *gd);

#ifdef HAVE_BLK_MODE_T
static int vtmem_open(struct gendisk *gd, blk_mode_t mode)
{
	return vtmem_open_disk(gd);
}

static void vtmem_release(struct gendisk *gd)
{
	vtmem_release_disk(gd);
}
#else
static int vtmem_open(struct block_device *bdev, fmode_t mode)
{
	return vtmem_open_disk(bdev->bd_disk);
}

static void vtmem_release(struct gendisk *gd, fmode_t mode)
{
	vtmem_release_disk(gd);
}
#endif

struct vtmem_disk_limits {
	unsigned int block_size;
	unsigned int max_sectors;
	unsigned int chunk_sectors;
	unsigned int max_segments;
	unsigned int max_segment_size;
	unsigned int max_discard_sectors;
};

#ifdef HAVE_BLK_MQ_ALLOC_DISK_LIMITS
static inline struct gendisk *
vtmem_alloc_disk(struct blk_mq_tag_set *set,
		 const struct vtmem_disk_limits *limits, void *data)
{
	struct queue_limits lim = {
		.logical_block_size = limits->block_size,
		.physical_block_size = limits->block_size,
		.io_min = limits->block_size,
		.max_hw_sectors = limits->max_sectors,
		.chunk_sectors = limits->chunk_sectors,
		.max_segments = limits->max_segments,
		.max_segment_size = limits->max_segment_size,
		.dma_alignment = limits->block_size - 1,
		.discard_granularity = limits->block_size,
		.max_hw_discard_sectors = limits->max_discard_sectors,
		.max_write_zeroes_sectors = limits->max_discard_sectors,
	};
	struct gendisk *disk = blk_mq_alloc_disk(set, &lim, data);

	/* Until 6.11, where it became what a disk is if it says nothing. */
#ifdef QUEUE_FLAG_NONROT
	if (!IS_ERR(disk))
		blk_queue_flag_set(QUEUE_FLAG_NONROT, disk->queue);
#endif
	return disk;
}
#else
static inline void vtmem_set_limits(struct request_queue *q,
				    const struct vtmem_disk_limits *limits)
{
	blk_queue_logical_block_size(q, limits->block_size);
	blk_queue_physical_block_size(q, limits->block_size);
	blk_queue_io_min(q, limits->block_size);
	blk_queue_max_hw_sectors(q, limits->max_sectors);
	blk_queue_chunk_sectors(q, limits->chunk_sectors);
	blk_queue_max_segments(q, limits->max_segments);
	blk_queue_max_segment_size(q, limits->max_segment_size);
	blk_queue_dma_alignment(q, limits->block_size - 1);
	q->limits.discard_granularity = limits->block_size;
	blk_queue_max_discard_sectors(q, limits->max_discard_sectors);
	blk_queue_max_write_zeroes_sectors(q, limits->max_discard_sectors);
#ifdef QUEUE_FLAG_DISCARD
	blk_queue_flag_set(QUEUE_FLAG_DISCARD, q);
#endif
	blk_queue_flag_set(QUEUE_FLAG_NONROT, q);
	blk_queue_flag_clear(QUEUE_FLAG_ADD_RANDOM, q);
}

static inline struct gendisk *
vtmem_alloc_disk(struct blk_mq_tag_set *set,
		 const struct vtmem_disk_limits *limits, void *data)
{
	struct gendisk *disk;
#ifdef HAVE_BLK_MQ_ALLOC_DISK
	disk = blk_mq_alloc_disk(set, data);
	if (IS_ERR(disk))
		return disk;
#else
	struct request_queue *q;

	disk = alloc_disk(1);
	if (!disk)
		return ERR_PTR(-ENOMEM);
	q = blk_mq_init_queue(set);
	if (IS_ERR(q)) {
		put_disk(disk);
		return ERR_CAST(q);
	}
	q->queuedata = data;
	disk->queue = q;
#endif
	vtmem_set_limits(disk->queue, limits);
	return disk;
}
#endif

static inline int vtmem_add_disk(struct device *parent, struct gendisk *disk,
				 const struct attribute_group **groups)
{
#ifdef HAVE_ADD_DISK_INT
	return device_add_disk(parent, disk, groups);
#else
	device_add_disk(parent, disk, groups);
	return 0;
#endif
}

/* Changes the size of a disk that is in use, and tells user space. */
static inline void vtmem_set_capacity(struct gendisk *disk, sector_t sectors)
{
#ifdef HAVE_SET_CAPACITY_AND_NOTIFY
	set_capacity_and_notify(disk, sectors);
#else
	set_capacity_revalidate_and_notify(disk, sectors, true);
#endif
}

/* Is the disk a swap area? */
static inline bool vtmem_is_swap_area(struct gendisk *disk)
{
#if defined(HAVE_BD_MAPPING)
	return IS_SWAPFILE(disk->part0->bd_mapping->host);
#elif defined(HAVE_GENHD_PART0_BDEV)
	return IS_SWAPFILE(disk->part0->bd_inode);
#else
	struct block_device *bdev = bdget_disk(disk, 0);
	bool is_swap = bdev && IS_SWAPFILE(bdev->bd_inode);

	if (bdev)
		bdput(bdev);
	return is_swap;
#endif
}

/* Ends the disk's queue; the caller's reference to the disk stays. */
static inline void vtmem_cleanup_queue(struct gendisk *disk)
{
#ifdef HAVE_BLK_CLEANUP_QUEUE
	blk_cleanup_queue(disk->queue);
#endif
}

#endif /* VTMEM_COMPAT_BLK_H */
