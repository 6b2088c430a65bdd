// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * virtio-tmem guest driver: request queues
 *
 * A job is posted when its queue has a free slot and enough free descriptors,
 * and waits in the queue's backlog otherwise, in order.  The backlog is ours
 * and not blk-mq's because a queue is chosen by object and not by hardware
 * context: blk-mq restarts a context when one of *its own* requests ends, but
 * the ring may be full of another context's, or of frontswap's.
 *
 * Nothing here allocates after probe: indirect descriptors, for which virtio
 * would allocate on every add, are not negotiated (main.c).  Buffers belong to
 * the device until it returns them or has been reset; there is no other way
 * out of a slot.
 *
 * Locking: vtmem_queue.lock guards the ring and all of the queue, and the map
 * bits of the objects that belong to it.  It is taken with interrupts off
 * because the ring's interrupt takes it and because pages are invalidated with
 * interrupts off.  Jobs end, tasks wake and the device is notified without it:
 * a notification is an exit to the host.  From posting to notifying is one RCU
 * read-side section, so that after synchronize_rcu() in a changed state nobody
 * is about to notify a ring that goes away.
 *
 * Memory barriers before the device may look at a request and before its answer
 * is read are those of the ring (virtqueue_kick_prepare, virtqueue_get_buf).
 */
#include <linux/gfp.h>
#include <linux/jiffies.h>
#include <linux/moduleparam.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>

#include "compat/virtio.h"
#include "vtmem.h"

#define VTMEM_SLOTS		32	/* per queue: 128 KiB */

/*
 * Invalidates that come along with a kick that happens anyway: with fewer the
 * host would be asked in dribbles.
 */
#define VTMEM_PIGGYBACK		16

static unsigned int stall_timeout = 300;
module_param(stall_timeout, uint, 0644);
MODULE_PARM_DESC(stall_timeout, "Seconds without an answer after which a device is taken for dead and its pages for lost; 0: never (default: 300)");

/* A request without its pages, as the device sees it. */
struct vtmem_wire {
	struct virtio_tmem_req req;
	struct virtio_tmem_op ops[VTMEM_BATCH_MAX];

	struct virtio_tmem_resp resp __aligned(VTMEM_DMA_ALIGN);
	u8 status[VTMEM_BATCH_MAX];
};

struct vtmem_slot {
	struct vtmem_token token;	/* first: what the ring knows */
	struct list_head node;
	struct vtmem_wire *wire;	/* a page */
	struct vtmem_area *area;
	struct vtmem_job *job;		/* NULL: noted invalidates */
	unsigned int nr_ops;		/* all, the pages ahead among them */
	unsigned int nr_ahead;		/* loads behind those of the job */
	u64 seq;			/* of two requests the later has more */
};

static struct vtmem_slot *vtmem_slot_get(struct vtmem_queue *q,
					 unsigned int nr_sg)
{
	if (q->vq->num_free < nr_sg + 2)
		return NULL;
	return list_first_entry_or_null(&q->free, struct vtmem_slot, node);
}

/* Puts a slot's request into the ring; the slot is busy after it returned 0. */
static int vtmem_slot_add(struct vtmem_queue *q, struct vtmem_slot *slot,
			  struct vtmem_area *area, struct vtmem_job *job,
			  unsigned int nr_ops, unsigned int nr_ahead)
{
	struct vtmem_wire *wire = slot->wire;
	struct scatterlist head, tail, *sgs[4];
	unsigned int out = 0, in = 0;
	int err;

	wire->req = (struct virtio_tmem_req) {
		.type = VIRTIO_TMEM_T_PAGES,
		.nr_ops = cpu_to_le16(nr_ops),
	};
	/* What the device does not write must not read as success. */
	wire->resp.status = VIRTIO_TMEM_S_IO;
	memset(wire->status, VIRTIO_TMEM_S_IO, nr_ops);

	sg_init_one(&head, &wire->req,
		    offsetof(struct vtmem_wire, ops[nr_ops]));
	sgs[out++] = &head;
	if (job && job->op == VIRTIO_TMEM_OP_STORE)
		sgs[out++] = job->sg;
	sg_init_one(&tail, &wire->resp, sizeof(wire->resp) + nr_ops);
	sgs[out + in++] = &tail;
	if (job && job->op == VIRTIO_TMEM_OP_LOAD)
		sgs[out + in++] = job->sg;
	if (nr_ahead)
		sgs[out + in++] = vtmem_prefetch_sg(q);

	/* GFP_ATOMIC: spinlock held; without indirect descriptors not used. */
	err = virtqueue_add_sgs(q->vq, sgs, out, in, &slot->token,
				GFP_ATOMIC);
	if (err == -EIO)
		vtmem_dev_broken(q->dev);
	if (err)
		return err;

	list_del(&slot->node);
	slot->area = area;
	slot->job = job;
	slot->nr_ops = nr_ops;
	slot->nr_ahead = nr_ahead;
	slot->seq = ++q->seq;
	atomic_inc(&area->inflight);
	vtmem_queue_busy(q, &slot->token);
	q->nr_flushes += !job;
	q->nr_unkicked++;
	q->stats[VTMEM_REQUESTS]++;
	return 0;
}

/* Posts one batch of noted invalidates; false if that is not possible now. */
static bool vtmem_post_flush(struct vtmem_queue *q)
{
	struct vtmem_slot *slot = vtmem_slot_get(q, 0);
	struct vtmem_area *area;
	unsigned int nr_ops;

	/* Half of the slots at most: loads and stores go on meanwhile. */
	if (!slot || q->nr_flushes >= VTMEM_SLOTS / 2)
		return false;
	nr_ops = vtmem_pending_gather(q, slot->wire->ops, &area);
	if (!nr_ops)
		return false;
	if (vtmem_slot_add(q, slot, area, NULL, nr_ops, 0))
		return false;
	vtmem_pending_gathered(q, area, slot->wire->ops, nr_ops);
	return true;
}

/* Loads to add to that of @job, which has @nr_ops, as far as there is room. */
static unsigned int vtmem_plan_ahead(struct vtmem_queue *q,
				     struct vtmem_job *job,
				     struct vtmem_slot *slot,
				     unsigned int nr_ops)
{
	/* Half of the descriptors stay for what is needed at once. */
	unsigned int room = q->vq->num_free / 2;

	if (job->op != VIRTIO_TMEM_OP_LOAD || room <= job->nr_sg + 2)
		return 0;
	return vtmem_prefetch_plan(q, job, slot->wire->ops + nr_ops,
				   min(room - job->nr_sg - 2,
				       q->dev->max_batch - nr_ops));
}

/*
 * Posts a job.  Returns 1 if there is nothing to ask the device and the job is
 * answered, -EBUSY if it has to wait.
 */
static int vtmem_post_job(struct vtmem_queue *q, struct vtmem_job *job)
{
	struct vtmem_slot *slot;
	unsigned int nr_ops, nr_ahead;

	/* A load comes after all invalidates noted for its pages. */
	if (job->op == VIRTIO_TMEM_OP_LOAD)
		while (vtmem_pending_promote(q, job))
			if (!vtmem_post_flush(q))
				return -EBUSY;

	slot = vtmem_slot_get(q, job->nr_sg);
	if (!slot)
		return -EBUSY;
	nr_ops = vtmem_area_build(job, slot->wire->ops);
	if (nr_ops && job->op == VIRTIO_TMEM_OP_LOAD &&
	    vtmem_prefetch_take(q, job))
		return 1;
	if (nr_ops) {
		nr_ahead = vtmem_plan_ahead(q, job, slot, nr_ops);
		if (vtmem_slot_add(q, slot, job->area, job, nr_ops + nr_ahead,
				   nr_ahead))
			return -EBUSY;
		vtmem_prefetch_posted(q, job->area, slot->wire->ops + nr_ops,
				      nr_ahead);
	}
	vtmem_area_posted(q, job);
	return nr_ops ? 0 : 1;
}

static void vtmem_flush_later(struct vtmem_queue *q, unsigned int ms)
{
	queue_delayed_work(vtmem_wq, &q->flush_work, msecs_to_jiffies(ms));
}

/* The ring to notify, or NULL.  The caller holds the queue's lock. */
struct virtqueue *vtmem_kick_prepare(struct vtmem_queue *q)
{
	if (!q->nr_unkicked || q->state != VTMEM_RUNNING)
		return NULL;
	if (q->nr_pending >= VTMEM_PIGGYBACK)
		vtmem_post_flush(q);
	q->nr_unkicked = 0;
	if (!virtqueue_kick_prepare(q->vq))
		return NULL;
	q->stats[VTMEM_KICKS]++;
	return q->vq;
}

/*
 * Posts what waits, as far as possible.  Jobs that need no device go to @done.
 * Returns the ring to notify, or NULL.
 */
static struct virtqueue *vtmem_queue_run(struct vtmem_queue *q,
					 struct list_head *done)
{
	unsigned int nr_unkicked = q->nr_unkicked;
	struct vtmem_job *job;
	int ret;

	if (q->state != VTMEM_RUNNING)
		return NULL;

	if (q->flush_due) {
		while (q->nr_pending && vtmem_post_flush(q))
			;
		q->flush_due = q->nr_pending;
	}
	while (!list_empty(&q->backlog)) {
		job = list_first_entry(&q->backlog, struct vtmem_job, node);
		ret = vtmem_post_job(q, job);
		if (ret < 0)
			break;
		list_del(&job->node);
		if (ret > 0)
			list_add_tail(&job->node, done);
	}
	/*
	 * An answer of the device runs the queue again.  With no answer to come
	 * (memory to map the pages was short) a timer has to.
	 */
	if (!q->nr_busy && (q->flush_due || !list_empty(&q->backlog)))
		vtmem_flush_later(q, 10);
	/* Others may be collecting requests for one kick: leave that to them. */
	return q->nr_unkicked == nr_unkicked ? NULL : vtmem_kick_prepare(q);
}

static void vtmem_jobs_end(struct list_head *done)
{
	struct vtmem_job *job, *next;

	/* The job may be gone once its owner knows. */
	list_for_each_entry_safe(job, next, done, node)
		job->done(job);
}

/**
 * vtmem_submit() - hand a job to the device
 * @job:  filled by the caller
 * @kick: tell the device at once; else vtmem_kick() has to follow
 *
 * Any context in which job->done may be called.  If the device has failed, or
 * is known to refuse, the job ends at once.
 */
void vtmem_submit(struct vtmem_job *job, bool kick)
{
	struct vtmem_queue *q = vtmem_area_queue(job->area, job->page);
	struct virtqueue *notify = NULL;
	u8 refused = VIRTIO_TMEM_S_OK;
	unsigned long flags;
	int ret;

	if (job->op == VIRTIO_TMEM_OP_STORE)
		refused = vtmem_gate_refuses(job->area);

	rcu_read_lock();
	spin_lock_irqsave(&q->lock, flags);
	if (q->state == VTMEM_FAILED ||
	    (q->state == VTMEM_SHUT && job->op != VIRTIO_TMEM_OP_LOAD))
		refused = VIRTIO_TMEM_S_IO;
	if (refused) {
		vtmem_area_refuse(q, job, refused);
		ret = 1;
	} else if (q->state != VTMEM_RUNNING || !list_empty(&q->backlog)) {
		ret = -EBUSY;
	} else {
		ret = vtmem_post_job(q, job);
	}
	if (ret < 0) {
		list_add_tail(&job->node, &q->backlog);
		if (!q->nr_busy)
			vtmem_flush_later(q, 10);
	}
	/* Of a store that was skipped: nothing else may come by soon. */
	if (refused && q->nr_pending)
		vtmem_flush_later(q, 10);
	/* Who waits for room must not wait for requests nobody told of. */
	if (kick || ret < 0)
		notify = vtmem_kick_prepare(q);
	spin_unlock_irqrestore(&q->lock, flags);
	if (notify)
		virtqueue_notify(notify);
	rcu_read_unlock();

	if (ret > 0)
		job->done(job);
}

static void vtmem_job_wake(struct vtmem_job *job)
{
	complete(job->owner);
}

/*
 * Submits a job and sleeps until it has ended; sets done and owner.  Sleeps as
 * long as the device takes, like any disk: the memory is the device's.
 */
void vtmem_submit_wait(struct vtmem_job *job)
{
	DECLARE_COMPLETION_ONSTACK(done);

	job->done = vtmem_job_wake;
	job->owner = &done;
	vtmem_submit(job, true);
	while (!wait_for_completion_io_timeout(&done, VTMEM_POLL))
		vtmem_dev_broken(job->area->dev);
}

/* Tells the device of all requests added without a kick. */
void vtmem_kick(struct vtmem_dev *dev)
{
	struct virtqueue *notify;
	struct vtmem_queue *q;
	unsigned long flags;

	for (q = dev->queues; q < dev->queues + dev->nr_queues; q++) {
		/* What this task added it sees; others kick for themselves. */
		if (!READ_ONCE(q->nr_unkicked))
			continue;
		rcu_read_lock();
		spin_lock_irqsave(&q->lock, flags);
		notify = vtmem_kick_prepare(q);
		spin_unlock_irqrestore(&q->lock, flags);
		if (notify)
			virtqueue_notify(notify);
		rcu_read_unlock();
	}
}

static void vtmem_flush_work(struct work_struct *work)
{
	struct vtmem_queue *q = container_of(to_delayed_work(work),
					     struct vtmem_queue, flush_work);
	struct virtqueue *notify;
	LIST_HEAD(done);

	rcu_read_lock();
	spin_lock_irq(&q->lock);
	q->flush_due = q->nr_pending;
	notify = vtmem_queue_run(q, &done);
	spin_unlock_irq(&q->lock);
	if (notify)
		virtqueue_notify(notify);
	rcu_read_unlock();
	vtmem_jobs_end(&done);
}

/*
 * Posts the queue's noted invalidates, now and as slots become free.  Ends no
 * job, for the sake of callers who hold the swap locks: if there is a backlog,
 * of which some may end at once, it is left to the work.
 */
void vtmem_queue_flush(struct vtmem_queue *q)
{
	struct virtqueue *notify = NULL;
	unsigned long flags;
	LIST_HEAD(none);

	rcu_read_lock();
	spin_lock_irqsave(&q->lock, flags);
	q->flush_due = q->nr_pending;
	if (list_empty(&q->backlog))
		notify = vtmem_queue_run(q, &none);
	else
		mod_delayed_work(vtmem_wq, &q->flush_work, 0);
	spin_unlock_irqrestore(&q->lock, flags);
	if (notify)
		virtqueue_notify(notify);
	rcu_read_unlock();
}

/* What the device answered to operation @i, of @len bytes it says it wrote. */
static u8 vtmem_slot_status(struct vtmem_slot *slot, unsigned int i,
			    unsigned int len)
{
	unsigned int head = sizeof(slot->wire->resp) + slot->nr_ops;
	u8 status;

	if (len < sizeof(slot->wire->resp))
		return VIRTIO_TMEM_S_IO;
	status = slot->wire->resp.status;
	if (status != VIRTIO_TMEM_S_OK)
		return status;
	if (len < head)
		return VIRTIO_TMEM_S_IO;
	status = slot->wire->status[i];
	if (status == VIRTIO_TMEM_S_OK &&
	    slot->wire->ops[i].op == VIRTIO_TMEM_OP_LOAD &&
	    len < head + (i + 1) * PAGE_SIZE)
		return VIRTIO_TMEM_S_IO;
	return status;
}

/* Was a later store of the page put into the ring? */
static bool vtmem_superseded(struct vtmem_queue *q, struct vtmem_slot *than,
			     unsigned long page)
{
	struct vtmem_slot *slot;

	for (slot = q->slots; slot < q->slots + VTMEM_SLOTS; slot++)
		if (slot->job && slot->job->op == VIRTIO_TMEM_OP_STORE &&
		    slot->area == than->area && slot->seq > than->seq &&
		    page >= slot->job->page &&
		    page < slot->job->page + slot->job->nr)
			return true;
	return false;
}

/* The device has returned a slot, or will never look at it again (@len 0). */
static void vtmem_slot_done(struct vtmem_queue *q, struct vtmem_token *token,
			    unsigned int len, struct list_head *done)
{
	struct vtmem_slot *slot = container_of(token, struct vtmem_slot, token);
	struct virtio_tmem_op *op = slot->wire->ops;
	unsigned int i, nr = slot->nr_ops - slot->nr_ahead;
	bool latest;
	u8 status;

	for (i = 0; i < nr; i++) {
		status = vtmem_slot_status(slot, i, len);
		/* Only who was refused asks. */
		latest = op[i].op != VIRTIO_TMEM_OP_STORE || !status ||
			 !vtmem_superseded(q, slot, vtmem_op_page(&op[i]));
		vtmem_area_answer(q, slot->job, &op[i], i, status, latest);
	}
	for (; i < slot->nr_ops; i++)
		vtmem_prefetch_arrived(q, slot->area, &op[i],
				       vtmem_slot_status(slot, i, len));
	if (slot->job)
		list_add_tail(&slot->job->node, done);
	else
		q->nr_flushes--;
	slot->job = NULL;
	q->nr_busy--;
	atomic_dec(&slot->area->inflight);
	list_add(&slot->node, &q->free);
}

static void vtmem_token_end(struct vtmem_queue *q, struct vtmem_token *token,
			    unsigned int len, struct list_head *done)
{
	list_del(&token->node);
	token->end(q, token, len, done);
}

/* @vq: the queue's, which it does not know yet while probe finds its rings */
static void vtmem_reap(struct vtmem_queue *q, struct virtqueue *vq,
		       struct list_head *done)
{
	struct vtmem_token *token;
	unsigned int len;

	while ((token = virtqueue_get_buf(vq, &len)))
		vtmem_token_end(q, token, len, done);
}

static void vtmem_wake_idle(struct vtmem_dev *dev)
{
	/* Its barrier pairs with that of prepare_to_wait() in wait_event(). */
	if (wq_has_sleeper(&dev->idle))
		wake_up_all(&dev->idle);
}

/* Interrupt of a request queue; also called by vtmem_queues_stalled(). */
static void vtmem_vq_done(struct virtqueue *vq)
{
	struct vtmem_dev *dev = vq->vdev->priv;
	struct vtmem_queue *q = &dev->queues[vq->index -
					     VIRTIO_TMEM_VQ_REQUEST(0)];
	struct virtqueue *notify;
	unsigned long flags;
	LIST_HEAD(done);

	spin_lock_irqsave(&q->lock, flags);
	q->stats[VTMEM_INTERRUPTS]++;
	do {
		virtqueue_disable_cb(vq);
		vtmem_reap(q, vq, &done);
		if (unlikely(virtqueue_is_broken(vq))) {
			vtmem_dev_broken(dev);
			break;
		}
	} while (!virtqueue_enable_cb(vq));
	notify = vtmem_queue_run(q, &done);
	spin_unlock_irqrestore(&q->lock, flags);
	if (notify)
		virtqueue_notify(notify);

	vtmem_jobs_end(&done);
	vtmem_wake_idle(dev);
}

/* Lets jobs run, wait or fail, from now on and for those that wait. */
void vtmem_queues_set_state(struct vtmem_dev *dev, enum vtmem_state state)
{
	struct virtqueue *notify;
	struct vtmem_queue *q;

	for (q = dev->queues; q < dev->queues + dev->nr_queues; q++) {
		spin_lock_irq(&q->lock);
		notify = vtmem_kick_prepare(q);
		q->state = state;
		spin_unlock_irq(&q->lock);
		/* The caller keeps the rings, so no RCU section is needed. */
		if (notify)
			virtqueue_notify(notify);
		if (state == VTMEM_RUNNING)
			vtmem_queue_flush(q);
	}
}

/*
 * Is it so long ago that the device must be taken for dead?  Counted are the
 * seconds in which somebody watched (health.c): the clock may jump when the guest
 * or its host was stopped, and in that time no device could answer.
 */
bool vtmem_stalled(struct vtmem_dev *dev, unsigned int since)
{
	unsigned int seconds = READ_ONCE(stall_timeout);

	/* The first of them had begun already. */
	return seconds && READ_ONCE(dev->seconds) - since > seconds;
}

/* Has the device any request? */
bool vtmem_queues_busy(struct vtmem_dev *dev)
{
	struct vtmem_queue *q;

	for (q = dev->queues; q < dev->queues + dev->nr_queues; q++)
		if (READ_ONCE(q->nr_busy))
			return true;
	return false;
}

/* The oldest request counts: others may be answered all the time. */
static bool vtmem_queue_stalled(struct vtmem_queue *q)
{
	struct vtmem_token *token;
	bool stalled;

	spin_lock_irq(&q->lock);
	token = list_first_entry_or_null(&q->busy, struct vtmem_token, node);
	stalled = token && vtmem_stalled(q->dev, token->since);
	spin_unlock_irq(&q->lock);
	return stalled;
}

/*
 * Has the device had a request for too long?  The caller holds dev->lock, and
 * the device has its rings.
 */
bool vtmem_queues_stalled(struct vtmem_dev *dev)
{
	struct vtmem_queue *q;

	for (q = dev->queues; q < dev->queues + dev->nr_queues; q++) {
		if (!vtmem_queue_stalled(q))
			continue;
		/* Not for want of an interrupt. */
		vtmem_vq_done(q->vq);
		if (vtmem_queue_stalled(q))
			return true;
	}
	return false;
}

static bool vtmem_queue_idle(struct vtmem_queue *q)
{
	bool idle;

	spin_lock_irq(&q->lock);
	idle = !q->nr_busy;
	spin_unlock_irq(&q->lock);
	return idle;
}

/* Waits until the device has no request; the caller has stopped new ones. */
void vtmem_queues_wait_idle(struct vtmem_dev *dev)
{
	struct vtmem_queue *q;

	for (q = dev->queues; q < dev->queues + dev->nr_queues; q++)
		while (!wait_event_timeout(dev->idle, vtmem_queue_idle(q),
					   VTMEM_POLL))
			vtmem_dev_broken(dev);
}

/*
 * The machine goes down, or another kernel takes over, and the device will be
 * reset.  Who reads a page then must not be told that it is lost: it waits, and
 * nobody will miss it.  Stores fail, because reclaim on the way down may need
 * the memory, and what waits for room may hold all of the disk's requests.
 */
void vtmem_queues_shut(struct vtmem_dev *dev)
{
	struct vtmem_job *job, *next;
	struct vtmem_queue *q;
	LIST_HEAD(done);

	for (q = dev->queues; q < dev->queues + dev->nr_queues; q++) {
		spin_lock_irq(&q->lock);
		q->state = VTMEM_SHUT;
		list_for_each_entry_safe(job, next, &q->backlog, node) {
			if (job->op == VIRTIO_TMEM_OP_LOAD)
				continue;
			memset(job->status, VIRTIO_TMEM_S_IO,
			       sizeof(job->status));
			list_move_tail(&job->node, &done);
		}
		spin_unlock_irq(&q->lock);
	}
	vtmem_jobs_end(&done);
}

/*
 * Ends everything with errors.  The device has been reset and holds nothing;
 * the queues' state is VTMEM_FAILED.
 */
void vtmem_queues_abort(struct vtmem_dev *dev)
{
	struct vtmem_token *token;
	struct vtmem_queue *q;
	struct vtmem_job *job;
	LIST_HEAD(done);

	for (q = dev->queues; q < dev->queues + dev->nr_queues; q++) {
		spin_lock_irq(&q->lock);
		if (q->vq) {
			vtmem_reap(q, q->vq, &done);
			while ((token = virtqueue_detach_unused_buf(q->vq)))
				vtmem_token_end(q, token, 0, &done);
		}
		list_for_each_entry(job, &q->backlog, node)
			vtmem_area_refuse(q, job, VIRTIO_TMEM_S_IO);
		list_splice_tail_init(&q->backlog, &done);
		vtmem_pending_drop(q, NULL);
		vtmem_prefetch_purge(q, NULL);
		spin_unlock_irq(&q->lock);
	}
	vtmem_jobs_end(&done);
	vtmem_wake_idle(dev);
}

/* Drops noted invalidates: the device holds no page and has been reset. */
void vtmem_queues_forget(struct vtmem_dev *dev)
{
	struct vtmem_queue *q;

	for (q = dev->queues; q < dev->queues + dev->nr_queues; q++) {
		spin_lock_irq(&q->lock);
		vtmem_pending_drop(q, NULL);
		vtmem_prefetch_purge(q, NULL);
		q->vq = NULL;
		spin_unlock_irq(&q->lock);
	}
	dev->ctrl.vq = NULL;
}

void vtmem_queues_cancel_work(struct vtmem_dev *dev)
{
	struct vtmem_queue *q;

	for (q = dev->queues; q < dev->queues + dev->nr_queues; q++)
		cancel_delayed_work_sync(&q->flush_work);
}

static void vtmem_queue_free(struct vtmem_queue *q)
{
	unsigned int i;

	/* A queue that vtmem_queues_alloc() did not come to. */
	if (!q->dev)
		return;
	/* Freed pages may have asked for it after vtmem_stop(). */
	cancel_delayed_work_sync(&q->flush_work);
	for (i = 0; q->slots && i < VTMEM_SLOTS; i++)
		free_page((unsigned long)q->slots[i].wire);
	kfree(q->slots);
	vtmem_prefetch_free(q);
}

static int vtmem_queue_alloc(struct vtmem_dev *dev, struct vtmem_queue *q)
{
	unsigned int i;

	BUILD_BUG_ON(sizeof(struct vtmem_wire) > PAGE_SIZE);

	spin_lock_init(&q->lock);
	INIT_LIST_HEAD(&q->busy);
	INIT_LIST_HEAD(&q->free);
	INIT_LIST_HEAD(&q->backlog);
	INIT_LIST_HEAD(&q->dirty);
	INIT_DELAYED_WORK(&q->flush_work, vtmem_flush_work);
	q->dev = dev;
	q->state = VTMEM_FROZEN;
	snprintf(q->name, sizeof(q->name), "request.%u",
		 (unsigned int)(q - dev->queues));

	/* GFP_KERNEL, here and below: probe. */
	q->slots = kcalloc(VTMEM_SLOTS, sizeof(*q->slots), GFP_KERNEL);
	if (!q->slots)
		return -ENOMEM;
	for (i = 0; i < VTMEM_SLOTS; i++) {
		q->slots[i].token.end = vtmem_slot_done;
		q->slots[i].wire = (void *)__get_free_page(GFP_KERNEL);
		if (!q->slots[i].wire)
			return -ENOMEM;
		list_add(&q->slots[i].node, &q->free);
	}
	return vtmem_prefetch_alloc(q);
}

void vtmem_queues_free(struct vtmem_dev *dev)
{
	unsigned int i;

	for (i = 0; dev->queues && i < dev->nr_queues; i++)
		vtmem_queue_free(&dev->queues[i]);
	kfree(dev->queues);
}

/* Memory of dev->nr_queues queues; vtmem_queues_free() also after an error. */
int vtmem_queues_alloc(struct vtmem_dev *dev)
{
	unsigned int i;
	int err;

	dev->queues = kcalloc(dev->nr_queues, sizeof(*dev->queues), GFP_KERNEL);
	if (!dev->queues)
		return -ENOMEM;
	for (i = 0; i < dev->nr_queues; i++) {
		err = vtmem_queue_alloc(dev, &dev->queues[i]);
		if (err)
			return err;
	}
	return 0;
}

/* Finds the rings; for probe and restore. */
int vtmem_vqs_find(struct vtmem_dev *dev)
{
	unsigned int i, nr = VIRTIO_TMEM_VQ_REQUEST(dev->nr_queues);
	struct virtqueue_info *info;
	struct virtqueue **vqs;
	int err = -ENOMEM;

	vqs = kcalloc(nr, sizeof(*vqs), GFP_KERNEL);
	info = kcalloc(nr, sizeof(*info), GFP_KERNEL);
	if (!vqs || !info)
		goto out;

	info[VIRTIO_TMEM_VQ_CONTROL].name = "control";
	info[VIRTIO_TMEM_VQ_CONTROL].callback = vtmem_ctrl_done;
	for (i = 0; i < dev->nr_queues; i++) {
		info[VIRTIO_TMEM_VQ_REQUEST(i)].name = dev->queues[i].name;
		info[VIRTIO_TMEM_VQ_REQUEST(i)].callback = vtmem_vq_done;
	}
	err = vtmem_find_vqs(dev->vdev, nr, vqs, info);
	if (err)
		goto out;

	dev->ctrl.vq = vqs[VIRTIO_TMEM_VQ_CONTROL];
	for (i = 0; i < dev->nr_queues; i++)
		dev->queues[i].vq = vqs[VIRTIO_TMEM_VQ_REQUEST(i)];
out:
	kfree(info);
	kfree(vqs);
	return err;
}

/* Descriptors of the smallest request ring. */
unsigned int vtmem_ring_size(struct vtmem_dev *dev)
{
	unsigned int i, size = UINT_MAX;

	for (i = 0; i < dev->nr_queues; i++)
		size = min(size, virtqueue_get_vring_size(dev->queues[i].vq));
	return size;
}
