// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * virtio-tmem guest driver: discards and zeroes written to the swap disk
 *
 * Both invalidate pages, as many as a disk has, in any number of objects and
 * hence of queues: a task's work.  It waits for its jobs, which may wait for
 * other work of ours to find room in the ring; so it has a rescuer of its own.
 *
 * Locking: vtmem_disk.lock guards the list of what waits for the work.
 */
#include "disk.h"

static struct workqueue_struct *vtmem_discard_wq;

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
		object_end = round_down(*first, VTMEM_OBJECT_PAGES) +
			     VTMEM_OBJECT_PAGES;
		job->area = disk->area;
		job->op = VIRTIO_TMEM_OP_INVALIDATE;
		job->page = *first;
		job->nr = min(object_end, end) - *first;
		/*
		 * The whole only if all of it is ours: the last object of a
		 * disk that grows has more pages than we were told of.
		 */
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
	    offset_in_page(blk_rq_bytes(rq)) ||
	    end > vtmem_area_nr_pages(disk->area))
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

/* Has a discard or a write of zeroes done and ended.  Any context. */
void vtmem_discard_queue(struct vtmem_disk *disk, struct request *rq)
{
	struct vtmem_rq *vrq = blk_mq_rq_to_pdu(rq);
	unsigned long flags;

	spin_lock_irqsave(&disk->lock, flags);
	list_add_tail(&vrq->node, &disk->discards);
	spin_unlock_irqrestore(&disk->lock, flags);
	queue_work(vtmem_discard_wq, &disk->discard_work);
}

void vtmem_discard_init(struct vtmem_disk *disk)
{
	spin_lock_init(&disk->lock);
	INIT_LIST_HEAD(&disk->discards);
	INIT_WORK(&disk->discard_work, vtmem_discard_work);
	init_completion(&disk->jobs_done);
}

int vtmem_discard_start(void)
{
	vtmem_discard_wq = alloc_workqueue("virtio_tmem_discard",
					   WQ_MEM_RECLAIM | WQ_UNBOUND, 0);
	return vtmem_discard_wq ? 0 : -ENOMEM;
}

void vtmem_discard_end(void)
{
	destroy_workqueue(vtmem_discard_wq);
}
