// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * virtio-tmem guest driver: the swap disk's requests
 *
 * Reads of pages never written, or discarded, return zeros.  Reads of pages
 * that the host cannot give back fail with EIO.  A write that the host refuses
 * goes to the disk behind, if there is one (backing.c), and else fails with
 * ENOSPC; swap then keeps the page in memory.
 *
 * Requests of several pages end page by page, so that one page lost or refused
 * does not fail the bios that were merged with its own.
 */
#include <linux/swap.h>

#include "compat/blk-mq.h"
#include "disk.h"

/* Requests in flight for each hardware context. */
#define VTMEM_QUEUE_DEPTH	64

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

/* Reclaim tries again and again: one line in ten seconds for each reason. */
void vtmem_refusals_init(struct vtmem_disk *disk)
{
	unsigned int i;

	for (i = 0; i < VTMEM_NR_REFUSALS; i++) {
		ratelimit_state_init(&disk->refusals[i], 10 * HZ, 1);
		/* How many lines there would have been is of no interest. */
		ratelimit_set_flags(&disk->refusals[i],
				    RATELIMIT_MSG_ON_RELEASE);
	}
}

static enum vtmem_refusal vtmem_refusal_of(u8 status)
{
	switch (status) {
	case VIRTIO_TMEM_S_NOSPC:
		return VTMEM_FULL;
	case VIRTIO_TMEM_S_QUOTA:
		return VTMEM_QUOTA;
	case VIRTIO_TMEM_S_FROZEN:
		return VTMEM_HOST_FROZEN;
	default:
		return VTMEM_POLICY;
	}
}

static void vtmem_log_refusal(struct vtmem_disk *disk, u8 status)
{
	static const char * const reasons[] = {
		[VTMEM_FULL]	    = "its store is full",
		[VTMEM_QUOTA]	    = "this guest's quota is used up",
		[VTMEM_HOST_FROZEN] = "this guest is frozen",
		[VTMEM_POLICY]	    = "by its policy",
	};
	enum vtmem_refusal refusal = vtmem_refusal_of(status);

	if (!__ratelimit(&disk->refusals[refusal]))
		return;
	pr_warn("virtio_tmem %s: %s: the host refuses pages: %s%s\n",
		disk->dev->name, disk->gd->disk_name, reasons[refusal],
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

/* The first page is written: is a swap area made on the disk, and how large? */
static void vtmem_look_at_header(struct vtmem_area *area,
				 struct scatterlist *sg, unsigned int nr_sg)
{
	union swap_header *h = NULL;
	char magic[sizeof(h->magic.magic)];
	u32 last_page = 0;

	sg_pcopy_to_buffer(sg, nr_sg, magic, sizeof(magic),
			   offsetof(union swap_header, magic.magic));
	sg_pcopy_to_buffer(sg, nr_sg, &last_page, sizeof(last_page),
			   offsetof(union swap_header, info.last_page));
	vtmem_gate_swap_slots(area, memcmp(magic, "SWAPSPACE2", sizeof(magic)) ?
				    0 : last_page);
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
	    first + nr > vtmem_area_nr_pages(disk->area) ||
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
	if (!first && job->op == VIRTIO_TMEM_OP_STORE)
		vtmem_look_at_header(job->area, vrq->sg, job->nr_sg);
	vtmem_submit(job, false);
	return true;
}

static blk_status_t vtmem_queue_rq(struct blk_mq_hw_ctx *hctx,
				   const struct blk_mq_queue_data *bd)
{
	struct vtmem_disk *disk = hctx->queue->queuedata;
	struct request *rq = bd->rq;

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
		vtmem_discard_queue(disk, rq);
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

int vtmem_disk_alloc_tags(struct vtmem_disk *disk)
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
