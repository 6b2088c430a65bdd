// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * virtio-tmem guest driver: the disk behind the swap disk
 *
 * A page that the host refuses is written to a real disk, at the same place,
 * and read from there.  Which pages are there the area knows (map.h): nothing
 * on this disk is ever looked at because it happens to be there.
 *
 * This is reclaim, and may be the only way for the guest to get memory: the
 * worker has a rescuer, its bios come from a reserve, each is sent off before
 * the next is asked for, and nothing else is allocated.
 *
 * Locking: vtmem_backing.lock guards the list of what waits for the worker; it
 * is taken with interrupts off since jobs end in them.  Who has the backing, and
 * counts the requests that are with it, is disk-backing.c's business.
 */
#include <linux/major.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

#include "compat/bdev.h"
#include "map.h"

/* Bios that make progress in any case. */
#define VTMEM_BACKING_BIOS	16

struct vtmem_backing {
	struct vtmem_area *area;
	struct vtmem_bdev bdev;
	struct bio_set bios;
	struct workqueue_struct *wq;
	struct work_struct work;
	spinlock_t lock;		/* the list below */
	struct list_head waiting;	/* of vtmem_backing_io */
	char *path;
};

/* A bio, and which pages of the job it is for. */
struct vtmem_bio {
	struct vtmem_backing_io *io;
	unsigned int first, nr;
	struct bio bio;			/* last: its vectors follow */
};

static bool vtmem_backing_page(const struct vtmem_job *job, unsigned int i)
{
	return job->op == VIRTIO_TMEM_OP_LOAD ?
	       job->status[i] == VTMEM_S_DISK :
	       job->status[i] != VIRTIO_TMEM_S_OK;
}

/* Is there anything in a job that has ended that the disk behind is to do? */
bool vtmem_backing_concerns(const struct vtmem_job *job)
{
	unsigned int i;

	if (job->op == VIRTIO_TMEM_OP_INVALIDATE)
		return false;
	for (i = 0; i < job->nr; i++)
		if (vtmem_backing_page(job, i))
			return true;
	return false;
}

static void vtmem_backing_put(struct vtmem_backing_io *io)
{
	if (atomic_dec_and_test(&io->nr_bios))
		io->done(io);
}

static void vtmem_bio_end(struct bio *bio)
{
	struct vtmem_bio *vb = container_of(bio, struct vtmem_bio, bio);
	struct vtmem_backing_io *io = vb->io;
	struct vtmem_job *job = io->job;
	bool good = !bio->bi_status;
	unsigned int i;

	if (!good)
		pr_err_ratelimited("virtio_tmem %s: %s: cannot %s pages %lu to %lu: error %d\n",
				   job->area->dev->name, io->backing->path,
				   job->op == VIRTIO_TMEM_OP_LOAD ? "read" :
								    "write",
				   job->page + vb->first,
				   job->page + vb->first + vb->nr - 1,
				   blk_status_to_errno(bio->bi_status));
	for (i = vb->first; i < vb->first + vb->nr; i++) {
		vtmem_area_disk_done(job->area, job->page + i, job->op, good);
		job->status[i] = good ? VIRTIO_TMEM_S_OK : VIRTIO_TMEM_S_IO;
	}
	bio_put(bio);
	vtmem_backing_put(io);
}

/* Adds @bytes of the job's memory, from @skip on; false if they do not fit. */
static bool vtmem_bio_fill(struct bio *bio, struct vtmem_job *job, size_t skip,
			   size_t bytes)
{
	struct scatterlist *sg;
	unsigned int i;
	size_t len;

	for_each_sg(job->sg, sg, job->nr_sg, i) {
		if (!bytes)
			break;
		if (skip >= sg->length) {
			skip -= sg->length;
			continue;
		}
		len = min_t(size_t, sg->length - skip, bytes);
		if (bio_add_page(bio, sg_page(sg), len, sg->offset + skip) !=
		    len)
			return false;
		skip = 0;
		bytes -= len;
	}
	return !bytes;
}

static void vtmem_backing_send(struct vtmem_backing_io *io, unsigned int first,
			       unsigned int nr)
{
	struct vtmem_backing *b = io->backing;
	struct vtmem_job *job = io->job;
	struct vtmem_bio *vb;
	struct bio *bio;

	/* A vector for each piece, of which there are less than 100. */
	bio = vtmem_bio_alloc(vtmem_bdev(&b->bdev), job->nr_sg,
			      job->op == VIRTIO_TMEM_OP_STORE, &b->bios);
	vb = container_of(bio, struct vtmem_bio, bio);
	vb->io = io;
	vb->first = first;
	vb->nr = nr;
	bio->bi_iter.bi_sector = (sector_t)(job->page + first) <<
				 (PAGE_SHIFT - SECTOR_SHIFT);
	bio->bi_end_io = vtmem_bio_end;
	atomic_inc(&io->nr_bios);
	if (vtmem_bio_fill(bio, job, (size_t)first << PAGE_SHIFT,
			   (size_t)nr << PAGE_SHIFT))
		submit_bio(bio);
	else
		bio_io_error(bio);
}

static void vtmem_backing_do(struct vtmem_backing_io *io)
{
	struct vtmem_job *job = io->job;
	u64 wanted = 0;
	unsigned int i, first;

	/* The answers change while bios end. */
	for (i = 0; i < job->nr; i++)
		if (vtmem_backing_page(job, i))
			wanted |= BIT_ULL(i);

	atomic_set(&io->nr_bios, 1);
	for (i = 0; i < job->nr; i++) {
		if (!(wanted & BIT_ULL(i)))
			continue;
		first = i;
		while (i < job->nr && wanted & BIT_ULL(i))
			i++;
		vtmem_backing_send(io, first, i - first);
	}
	vtmem_backing_put(io);
}

static void vtmem_backing_work(struct work_struct *work)
{
	struct vtmem_backing *b = container_of(work, struct vtmem_backing,
					       work);
	unsigned int noio = memalloc_noio_save();
	struct vtmem_backing_io *io, *next;
	struct blk_plug plug;
	LIST_HEAD(list);

	spin_lock_irq(&b->lock);
	list_splice_init(&b->waiting, &list);
	spin_unlock_irq(&b->lock);

	blk_start_plug(&plug);
	list_for_each_entry_safe(io, next, &list, node)
		vtmem_backing_do(io);
	blk_finish_plug(&plug);
	memalloc_noio_restore(noio);
}

/*
 * Has the disk do its part of a job that has ended otherwise; the caller has
 * filled io->job and io->done.  Any context.
 */
void vtmem_backing_submit(struct vtmem_backing *b, struct vtmem_backing_io *io)
{
	unsigned long flags;

	io->backing = b;
	spin_lock_irqsave(&b->lock, flags);
	list_add_tail(&io->node, &b->waiting);
	spin_unlock_irqrestore(&b->lock, flags);
	queue_work(b->wq, &b->work);
}

const char *vtmem_backing_path(struct vtmem_backing *b)
{
	return b->path;
}

u64 vtmem_backing_bytes(struct vtmem_backing *b)
{
	return vtmem_bdev_bytes(&b->bdev);
}

/* One line about a disk that cannot be used, and the error for the caller. */
static int vtmem_backing_check(struct vtmem_backing *b, const char *who)
{
	struct block_device *bdev = vtmem_bdev(&b->bdev);
	u64 need = (u64)b->area->nr_pages << PAGE_SHIFT;

	if (vtmem_disk_area(bdev)) {
		pr_err("virtio_tmem: %s: backing=%s: a swap disk of virtio-tmem cannot stand behind another or itself\n",
		       who, b->path);
		return -ELOOP;
	}
	/* It allocates to write, and its file may be on anything, also on us. */
	if (bdev->bd_disk->major == LOOP_MAJOR) {
		pr_err("virtio_tmem: %s: backing=%s: a loop device needs memory to write, and may lead back to the swap disk: use a disk or a partition\n",
		       who, b->path);
		return -ELOOP;
	}
	if (vtmem_backing_bytes(b) < need) {
		pr_err("virtio_tmem: %s: backing=%s: it has %llu MiB and the swap disk %llu: use one as large\n",
		       who, b->path, vtmem_backing_bytes(b) >> 20, need >> 20);
		return -ENOSPC;
	}
	if (bdev_logical_block_size(bdev) > PAGE_SIZE) {
		pr_err("virtio_tmem: %s: backing=%s: its blocks are larger than a page\n",
		       who, b->path);
		return -EINVAL;
	}
	return 0;
}

static void vtmem_backing_log_open(const char *who, const char *path, int err)
{
	const char *why;

	switch (err) {
	case -ENOENT:
	case -ENXIO:
	case -ENODEV:
		why = "there is no such device";
		break;
	case -ENOTBLK:
		why = "it is not a block device";
		break;
	case -EBUSY:
		why = "it is mounted or in use";
		break;
	case -EACCES:
	case -EROFS:
		why = "it is read-only";
		break;
	default:
		why = "it cannot be opened";
	}
	pr_err("virtio_tmem: %s: backing=%s: %s (error %d)\n", who, path, why,
	       err);
}

static void vtmem_backing_free(struct vtmem_backing *b)
{
	if (b->wq)
		destroy_workqueue(b->wq);
	bioset_exit(&b->bios);
	kfree(b->path);
	kfree(b);
}

/**
 * vtmem_backing_open() - take a disk for pages that the host refuses
 * @area: whose pages
 * @path: of the block device
 * @who:  the swap disk's name, for the log
 *
 * Sleeps.  Returns it, or an error pointer after one line in the log.
 */
struct vtmem_backing *vtmem_backing_open(struct vtmem_area *area,
					 const char *path, const char *who)
{
	struct vtmem_backing *b;
	int err = -ENOMEM;

	b = kzalloc(sizeof(*b), GFP_KERNEL);
	if (!b)
		return ERR_PTR(-ENOMEM);
	b->area = area;
	spin_lock_init(&b->lock);
	INIT_LIST_HEAD(&b->waiting);
	INIT_WORK(&b->work, vtmem_backing_work);
	b->path = kstrdup(path, GFP_KERNEL);
	b->wq = alloc_workqueue("virtio_tmem_backing",
				WQ_MEM_RECLAIM | WQ_UNBOUND, 1);
	if (!b->path || !b->wq)
		goto err_free;
	err = bioset_init(&b->bios, VTMEM_BACKING_BIOS,
			  offsetof(struct vtmem_bio, bio), BIOSET_NEED_BVECS);
	if (err)
		goto err_free;
	err = vtmem_bdev_open(&b->bdev, path, b);
	if (err) {
		vtmem_backing_log_open(who, path, err);
		goto err_free;
	}
	err = vtmem_backing_check(b, who);
	if (!err)
		return b;
	vtmem_bdev_close(&b->bdev, b);
err_free:
	vtmem_backing_free(b);
	return ERR_PTR(err);
}

/* Gives the disk back.  The caller has seen to it that no request is left. */
void vtmem_backing_close(struct vtmem_backing *b)
{
	flush_work(&b->work);
	vtmem_bdev_close(&b->bdev, b);
	vtmem_backing_free(b);
}
