/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-tmem guest driver: the swap disk, as its files see it
 *
 * disk.c has its life, blk.c its requests, discard.c those of them that take
 * pages away, disk-backing.c what stands behind it.
 *
 * Locking: vtmem_open_mutex guards gendisk.private_data, which is how an opener
 * finds the device, against the device's last reference; see vtmem_disk_free().
 * vtmem_disk.lock guards the list of discards.  vtmem_disk.backing is read under
 * RCU; backing_mutex serialises those who change it.
 */
#ifndef VTMEM_DISK_H
#define VTMEM_DISK_H

#include <linux/blk-mq.h>
#include <linux/ratelimit.h>

#include "vtmem.h"

/* What the host keeps: smaller blocks would have to be read first. */
#define VTMEM_BLOCK_SIZE	PAGE_SIZE
#define VTMEM_PAGE_SECTORS	(PAGE_SIZE >> SECTOR_SHIFT)

/* Objects that are invalidated at a time by one discard. */
#define VTMEM_DISCARD_JOBS	16

/* Why the host refuses pages. */
enum vtmem_refusal {
	VTMEM_FULL,
	VTMEM_QUOTA,
	VTMEM_HOST_FROZEN,
	VTMEM_POLICY,
	VTMEM_NR_REFUSALS
};

struct vtmem_disk {
	struct vtmem_dev *dev;
	struct vtmem_area *area;
	struct gendisk *gd;
	struct blk_mq_tag_set tags;
	unsigned int max_segments;
	int index;
	bool added;			/* users may have seen it */
	unsigned int openers;		/* under vtmem_open_mutex */

	struct mutex backing_mutex;	/* who changes the next two */
	struct vtmem_backing __rcu *backing;
	bool backing_takes;		/* and not only gives back */
	atomic_t backing_users;		/* requests */

	/* When the log was told last why the host refuses pages: blk.c. */
	struct ratelimit_state refusals[VTMEM_NR_REFUSALS];

	spinlock_t lock;		/* discards */
	struct list_head discards;	/* of vtmem_rq */
	struct work_struct discard_work;
	/* Of discard_work, which never runs twice at a time. */
	struct vtmem_job jobs[VTMEM_DISCARD_JOBS];
	atomic_t nr_jobs;
	struct completion jobs_done;
};

/* The driver's part of a struct request. */
struct vtmem_rq {
	struct vtmem_job job;
	struct vtmem_backing_io io;
	struct list_head node;		/* discards */
	blk_status_t status;		/* discards */
	struct scatterlist sg[];	/* max_segments */
};

/* disk.c */
bool vtmem_disk_used_otherwise(struct vtmem_disk *disk);

/* blk.c */
void vtmem_refusals_init(struct vtmem_disk *disk);
int vtmem_disk_alloc_tags(struct vtmem_disk *disk);

/* discard.c */
void vtmem_discard_init(struct vtmem_disk *disk);
void vtmem_discard_queue(struct vtmem_disk *disk, struct request *rq);
int vtmem_discard_start(void);
void vtmem_discard_end(void);

/* disk-backing.c */
extern const struct attribute_group *vtmem_disk_groups[];
void vtmem_backing_from_parameter(struct vtmem_disk *disk);
void vtmem_disk_backing_remove(struct vtmem_disk *disk);
int vtmem_disk_grow(struct vtmem_disk *disk, unsigned long nr_pages, bool news);
bool vtmem_rq_to_backing(struct vtmem_disk *disk, struct vtmem_rq *vrq);

#endif /* VTMEM_DISK_H */
