// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * virtio-tmem guest driver: the swap disk /dev/vtmem0
 *
 * A block device whose pages live in one pool of the host.  It is meant for
 * swap: it forgets everything when the device is reset, so it is not a place
 * for file systems, and a flush has nothing to do (none is announced, and the
 * block layer then answers flushes by itself).  There are no partitions: a
 * swap area's slot n is the disk's page n, which vtmem_slot_free_notify() and
 * frontswap.c rely on.
 *
 * Reads of pages never written, or discarded, return zeros.  Reads of pages
 * that the host cannot give back fail with EIO.  A write that the host refuses
 * goes to the disk behind, if there is one (backing.c), and else fails with
 * ENOSPC; swap then keeps the page in memory.
 *
 * Requests of several pages end page by page, so that one page lost or refused
 * does not fail the bios that were merged with its own.
 *
 * Locking: vtmem_open_mutex guards gendisk.private_data, which is how an opener
 * finds the device, against the device's last reference; see vtmem_disk_free().
 * vtmem_disk.lock guards the list of discards.  vtmem_disk.backing is read under
 * RCU; backing_mutex serialises those who change it.
 */
#include <linux/idr.h>
#include <linux/module.h>
#include <linux/ratelimit.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>

#include "compat/blk.h"
#include "compat/virtio.h"
#include "vtmem.h"

/* What the host keeps: smaller blocks would have to be read first. */
#define VTMEM_BLOCK_SIZE	PAGE_SIZE
#define VTMEM_PAGE_SECTORS	(PAGE_SIZE >> SECTOR_SHIFT)

/* Requests in flight for each hardware context. */
#define VTMEM_QUEUE_DEPTH	64

static char *backing[4];
module_param_array(backing, charp, NULL, 0444);
MODULE_PARM_DESC(backing, "Block devices for pages that the host refuses, one for each swap disk in turn; their content is overwritten (see also /sys/block/vtmem*/backing)");

/* Objects that are invalidated at a time by one discard. */
#define VTMEM_DISCARD_JOBS	16

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

DEFINE_MUTEX(vtmem_open_mutex);	/* gendisk.private_data */
static DEFINE_IDA(vtmem_index_ida);
static int vtmem_major;

static blk_status_t vtmem_blk_status(u8 status)
{
	switch (status) {
	case VIRTIO_TMEM_S_OK:
	case VIRTIO_TMEM_S_MISS:
		return BLK_STS_OK;
	case VIRTIO_TMEM_S_NOSPC:
	case VIRTIO_TMEM_S_QUOTA:
	case VIRTIO_TMEM_S_REFUSED:
	case VIRTIO_TMEM_S_FROZEN:
		return BLK_STS_NOSPC;
	default:
		return BLK_STS_IOERR;
	}
}

static void vtmem_log_refusal(struct vtmem_disk *disk, u8 status)
{
	/* Reclaim tries again and again: one line in ten seconds says it. */
	static DEFINE_RATELIMIT_STATE(limit, 10 * HZ, 1);
	const char *reason;

	ratelimit_set_flags(&limit, RATELIMIT_MSG_ON_RELEASE);
	if (!__ratelimit(&limit))
		return;
	switch (status) {
	case VIRTIO_TMEM_S_NOSPC:
		reason = "its store is full";
		break;
	case VIRTIO_TMEM_S_QUOTA:
		reason = "this guest's quota is used up";
		break;
	case VIRTIO_TMEM_S_FROZEN:
		reason = "this guest is frozen";
		break;
	default:
		reason = "by its policy";
	}
	pr_warn("virtio_tmem %s: %s: the host refuses pages: %s%s\n",
		disk->dev->name, disk->gd->disk_name, reason,
		READ_ONCE(disk->backing_takes) ?
		"; they go to the disk behind" :
		vtmem_gate_withholds(disk->area) ?
		"; meanwhile this swap counts as full" : "");
}

/* What the host refuses is in the log already, see vtmem_log_refusal(). */
static void vtmem_rq_quiet(struct request *rq, blk_status_t status)
{
	if (status == BLK_STS_NOSPC)
		rq->rq_flags |= RQF_QUIET;
	else
		rq->rq_flags &= ~RQF_QUIET;
}

/* Ends a read or write, in runs of pages with the same result. */
static void vtmem_complete_rq(struct request *rq)
{
	struct vtmem_rq *vrq = blk_mq_rq_to_pdu(rq);
	struct vtmem_job *job = &vrq->job;
	blk_status_t status, run_status = BLK_STS_OK;
	unsigned int i, run = 0;

	if (req_op(rq) != REQ_OP_READ && req_op(rq) != REQ_OP_WRITE) {
		blk_mq_end_request(rq, vrq->status);
		return;
	}

	/* Before any bio ends: the pages are not ours afterwards. */
	for (i = 0; req_op(rq) == REQ_OP_READ && i < job->nr; i++)
		if (job->status[i] == VIRTIO_TMEM_S_MISS)
			sg_zero_buffer(job->sg, job->nr_sg, PAGE_SIZE,
				       (off_t)i << PAGE_SHIFT);

	for (i = 0; i < job->nr; i++) {
		status = vtmem_blk_status(job->status[i]);
		if (status != run_status) {
			if (run) {
				vtmem_rq_quiet(rq, run_status);
				blk_update_request(rq, run_status,
						   run << PAGE_SHIFT);
			}
			run = 0;
			run_status = status;
		}
		run++;
	}
	vtmem_rq_quiet(rq, run_status);
	blk_mq_end_request(rq, run_status);
}

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
static bool vtmem_rq_to_backing(struct vtmem_disk *disk, struct vtmem_rq *vrq)
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

/* The host has done its part of a read or write. */
static void vtmem_rq_done(struct vtmem_job *job)
{
	struct vtmem_rq *vrq = container_of(job, struct vtmem_rq, job);
	struct request *rq = job->owner;
	struct vtmem_disk *disk = rq->q->queuedata;
	unsigned int i;

	for (i = 0; job->op == VIRTIO_TMEM_OP_STORE && i < job->nr; i++)
		if (vtmem_blk_status(job->status[i]) == BLK_STS_NOSPC) {
			vtmem_log_refusal(disk, job->status[i]);
			break;
		}
	if (!vtmem_backing_concerns(job) || !vtmem_rq_to_backing(disk, vrq))
		blk_mq_complete_request(rq);
}

/* Starts a read or write; false if it is not what the limits allow. */
static bool vtmem_start_rw(struct vtmem_disk *disk, struct request *rq)
{
	struct vtmem_rq *vrq = blk_mq_rq_to_pdu(rq);
	struct vtmem_job *job = &vrq->job;
	unsigned long first = blk_rq_pos(rq) / VTMEM_PAGE_SECTORS;
	unsigned int nr = blk_rq_bytes(rq) >> PAGE_SHIFT;

	if (blk_rq_pos(rq) % VTMEM_PAGE_SECTORS ||
	    offset_in_page(blk_rq_bytes(rq)) || !nr ||
	    nr > disk->dev->max_batch ||
	    first + nr > disk->area->nr_pages ||
	    first >> VTMEM_OBJECT_SHIFT !=
	    (first + nr - 1) >> VTMEM_OBJECT_SHIFT)
		return false;

	job->area = disk->area;
	job->page = first;
	job->nr = nr;
	job->op = req_op(rq) == REQ_OP_READ ? VIRTIO_TMEM_OP_LOAD :
					      VIRTIO_TMEM_OP_STORE;
	sg_init_table(vrq->sg, blk_rq_nr_phys_segments(rq));
	job->sg = vrq->sg;
	job->nr_sg = vtmem_map_sg(rq, vrq->sg);
	job->done = vtmem_rq_done;
	job->owner = rq;
	vtmem_submit(job, false);
	return true;
}

static blk_status_t vtmem_queue_rq(struct blk_mq_hw_ctx *hctx,
				   const struct blk_mq_queue_data *bd)
{
	struct vtmem_disk *disk = hctx->queue->queuedata;
	struct request *rq = bd->rq;
	struct vtmem_rq *vrq = blk_mq_rq_to_pdu(rq);
	unsigned long flags;

	blk_mq_start_request(rq);
	if (rq->cmd_flags & REQ_SWAP)
		vtmem_gate_is_swap(disk->area, true);
	switch (req_op(rq)) {
	case REQ_OP_READ:
	case REQ_OP_WRITE:
		if (!vtmem_start_rw(disk, rq))
			blk_mq_end_request(rq, BLK_STS_IOERR);
		break;
	case REQ_OP_DISCARD:
	case REQ_OP_WRITE_ZEROES:
		/* Any number of objects, hence of queues: a task's work. */
		spin_lock_irqsave(&disk->lock, flags);
		list_add_tail(&vrq->node, &disk->discards);
		spin_unlock_irqrestore(&disk->lock, flags);
		queue_work(vtmem_wq, &disk->discard_work);
		break;
	default:
		blk_mq_end_request(rq, BLK_STS_NOTSUPP);
	}
	/* A request that found no room waits in vq.c: never "try again". */
	if (bd->last)
		vtmem_kick(disk->dev);
	return BLK_STS_OK;
}

static void vtmem_commit_rqs(struct blk_mq_hw_ctx *hctx)
{
	struct vtmem_disk *disk = hctx->queue->queuedata;

	vtmem_kick(disk->dev);
}

/* The device may take its time, unless it has failed: see VTMEM_POLL. */
static enum blk_eh_timer_return vtmem_rq_timeout(struct request *rq)
{
	struct vtmem_disk *disk = rq->q->queuedata;

	vtmem_dev_broken(disk->dev);
	return BLK_EH_RESET_TIMER;
}

static const struct blk_mq_ops vtmem_mq_ops = {
	.queue_rq	= vtmem_queue_rq,
	.commit_rqs	= vtmem_commit_rqs,
	.complete	= vtmem_complete_rq,
	.timeout	= vtmem_timeout,
};

static void vtmem_discard_done(struct vtmem_job *job)
{
	struct vtmem_disk *disk = job->owner;

	if (atomic_dec_and_test(&disk->nr_jobs))
		complete(&disk->jobs_done);
}

/* Invalidates up to VTMEM_DISCARD_JOBS pieces of [*first, end), and waits. */
static blk_status_t vtmem_discard_some(struct vtmem_disk *disk,
				       unsigned long *first, unsigned long end)
{
	blk_status_t status = BLK_STS_OK;
	unsigned long object_end;
	struct vtmem_job *job;
	unsigned int i, nr_jobs = 0;

	while (*first < end && nr_jobs < VTMEM_DISCARD_JOBS) {
		job = &disk->jobs[nr_jobs++];
		object_end = min(round_down(*first, VTMEM_OBJECT_PAGES) +
				 VTMEM_OBJECT_PAGES, disk->area->nr_pages);
		job->area = disk->area;
		job->op = VIRTIO_TMEM_OP_INVALIDATE;
		job->page = *first;
		job->nr = min(object_end, end) - *first;
		if (*first % VTMEM_OBJECT_PAGES || end < object_end)
			job->nr = min(job->nr, disk->dev->max_batch);
		job->nr_sg = 0;
		job->done = vtmem_discard_done;
		job->owner = disk;
		*first += job->nr;
	}

	reinit_completion(&disk->jobs_done);
	atomic_set(&disk->nr_jobs, nr_jobs);
	for (i = 0; i < nr_jobs; i++)
		vtmem_submit(&disk->jobs[i], false);
	vtmem_kick(disk->dev);
	wait_for_completion(&disk->jobs_done);

	for (i = 0; i < nr_jobs; i++)
		if (disk->jobs[i].status[0] != VIRTIO_TMEM_S_OK)
			status = BLK_STS_IOERR;
	return status;
}

static void vtmem_discard_rq(struct vtmem_disk *disk, struct request *rq)
{
	struct vtmem_rq *vrq = blk_mq_rq_to_pdu(rq);
	unsigned long first = blk_rq_pos(rq) / VTMEM_PAGE_SECTORS;
	unsigned long end = first + (blk_rq_bytes(rq) >> PAGE_SHIFT);

	vrq->status = BLK_STS_OK;
	if (blk_rq_pos(rq) % VTMEM_PAGE_SECTORS ||
	    offset_in_page(blk_rq_bytes(rq)) || end > disk->area->nr_pages)
		vrq->status = BLK_STS_IOERR;
	while (first < end && vrq->status == BLK_STS_OK) {
		vrq->status = vtmem_discard_some(disk, &first, end);
		/* Where the area is empty nothing has been waited for. */
		cond_resched();
	}
	blk_mq_complete_request(rq);
}

static void vtmem_discard_work(struct work_struct *work)
{
	struct vtmem_disk *disk = container_of(work, struct vtmem_disk,
					       discard_work);
	struct vtmem_rq *vrq;

	for (;;) {
		spin_lock_irq(&disk->lock);
		vrq = list_first_entry_or_null(&disk->discards,
					       struct vtmem_rq, node);
		if (vrq)
			list_del(&vrq->node);
		spin_unlock_irq(&disk->lock);
		if (!vrq)
			return;
		vtmem_discard_rq(disk, blk_mq_rq_from_pdu(vrq));
	}
}

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
		dev->disk->openers++;
		err = 0;
	}
	mutex_unlock(&vtmem_open_mutex);
	if (!err)
		vtmem_gate_disk_opened(dev->disk->area);
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
	if (!--dev->disk->openers)
		vtmem_gate_is_swap(dev->disk->area, false);
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

/* The disk's name, or NULL without one. */
const char *vtmem_disk_name(struct vtmem_dev *dev)
{
	return dev->disk ? dev->disk->gd->disk_name : NULL;
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
ATTRIBUTE_GROUPS(vtmem_disk);

static int vtmem_disk_alloc_tags(struct vtmem_disk *disk)
{
	struct blk_mq_tag_set *set = &disk->tags;

	set->ops = &vtmem_mq_ops;
	set->nr_hw_queues = disk->dev->nr_queues;
	set->queue_depth = VTMEM_QUEUE_DEPTH;
	set->numa_node = NUMA_NO_NODE;
	set->flags = VTMEM_BLK_MQ_FLAGS;
	/* The tags of all requests are walked for it: not every VTMEM_POLL. */
	set->timeout = 5 * VTMEM_POLL;
	set->cmd_size = struct_size((struct vtmem_rq *)0, sg,
				    disk->max_segments);
	set->driver_data = disk;
	return blk_mq_alloc_tag_set(set);
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

	disk = kzalloc(sizeof(*disk), GFP_KERNEL);
	if (!disk)
		return -ENOMEM;
	dev->disk = disk;
	disk->dev = dev;
	disk->index = -1;
	spin_lock_init(&disk->lock);
	mutex_init(&disk->backing_mutex);
	INIT_LIST_HEAD(&disk->discards);
	INIT_WORK(&disk->discard_work, vtmem_discard_work);
	init_completion(&disk->jobs_done);
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
	/* Without it the disk still serves; the log says why it has none. */
	if (disk->index < ARRAY_SIZE(backing) && backing[disk->index] &&
	    *backing[disk->index])
		vtmem_backing_attach(disk, backing[disk->index]);
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
	vtmem_backing_detach(disk, true);
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

/*
 * Ends the disk of a device that goes on, with all pages on it; -EBUSY if
 * somebody has it open.  The caller holds vtmem_devices_mutex.
 */
int vtmem_disk_retire(struct vtmem_dev *dev)
{
	struct vtmem_disk *disk = dev->disk;

	mutex_lock(&vtmem_open_mutex);
	if (disk->openers) {
		mutex_unlock(&vtmem_open_mutex);
		return -EBUSY;
	}
	/* From here on there is nothing to open. */
	disk->gd->private_data = NULL;
	mutex_unlock(&vtmem_open_mutex);

	vtmem_disk_discard(dev);
	return 0;
}

int vtmem_blk_init(void)
{
	vtmem_major = register_blkdev(0, "vtmem");
	return vtmem_major < 0 ? vtmem_major : 0;
}

void vtmem_blk_exit(void)
{
	unregister_blkdev(vtmem_major, "vtmem");
	ida_destroy(&vtmem_index_ida);
}
