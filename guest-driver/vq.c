// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * virtio-tmem guest driver: posting requests
 *
 * A job is posted when its queue has a free slot and enough free descriptors,
 * and waits in the queue's backlog otherwise, in order.  The backlog is ours
 * and not blk-mq's because a queue is chosen by object and not by hardware
 * context: blk-mq restarts a context when one of *its own* requests ends, but
 * the ring may be full of another context's, or of frontswap's.
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
#include <linux/jiffies.h>
#include <linux/preempt.h>
#include <linux/rcupdate.h>

#include "vq.h"

/*
 * Invalidates that come along with a kick that happens anyway: with fewer the
 * host would be asked in dribbles.
 */
#define VTMEM_PIGGYBACK		16

#define VTMEM_RETRY_MS		10

/* Posts one batch of noted invalidates; false if that is not possible now. */
static bool vtmem_post_flush(struct vtmem_queue *q)
{
	struct vtmem_slot *slot = vtmem_slot_get(q, 0);
	struct vtmem_area *area;
	unsigned int nr_ops;

	/* Half of the slots at most: loads and stores go on meanwhile. */
	if (!slot || q->nr_flushes >= VTMEM_SLOTS / 2)
		return false;
	/* They may be of pages that were stored since. */
	if (q->nr_pending && !vtmem_batch_close(q))
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

	lockdep_assert_held(&q->lock);

	/* A load comes after all invalidates noted for its pages. */
	if (job->op == VIRTIO_TMEM_OP_LOAD) {
		while (vtmem_pending_promote(q, job))
			if (!vtmem_post_flush(q))
				return -EBUSY;
	} else if (!vtmem_batch_before(q, job->area, job->page)) {
		return -EBUSY;
	}

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

/*
 * Has flush_work run in @delay jiffies, if it would not before.  Under the queue's
 * lock, which the work takes: once it runs it sees what it was asked for here.
 */
void vtmem_flush_within(struct vtmem_queue *q, unsigned long delay)
{
	unsigned long at = jiffies + delay;

	lockdep_assert_held(&q->lock);

	if (delayed_work_pending(&q->flush_work) &&
	    !time_before(at, q->flush_at))
		return;
	q->flush_at = at;
	mod_delayed_work(vtmem_wq, &q->flush_work, delay);
}

/* There is no room, or no answer to come: try again soon. */
static void vtmem_flush_later(struct vtmem_queue *q)
{
	vtmem_flush_within(q, msecs_to_jiffies(VTMEM_RETRY_MS));
}

/* The ring to notify, or NULL.  The caller holds the queue's lock. */
struct virtqueue *vtmem_kick_prepare(struct vtmem_queue *q)
{
	lockdep_assert_held(&q->lock);

	if (!q->nr_unkicked || q->state != VTMEM_RUNNING)
		return NULL;
	if (q->nr_pending >= VTMEM_PIGGYBACK)
		vtmem_post_flush(q);
	vtmem_batch_piggyback(q, VTMEM_PIGGYBACK);
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
struct virtqueue *vtmem_queue_run(struct vtmem_queue *q,
				  struct list_head *done)
{
	unsigned int nr_unkicked = q->nr_unkicked;
	struct vtmem_job *job;
	bool closed;
	int ret;

	lockdep_assert_held(&q->lock);

	if (q->state != VTMEM_RUNNING)
		return NULL;

	closed = vtmem_batch_run(q);
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
	if (!q->nr_busy &&
	    (!closed || q->flush_due || !list_empty(&q->backlog)))
		vtmem_flush_later(q);
	/* Others may be collecting requests for one kick: leave that to them. */
	return q->nr_unkicked == nr_unkicked ? NULL : vtmem_kick_prepare(q);
}

/* Tells the owners; without locks. */
void vtmem_jobs_end(struct list_head *done)
{
	struct vtmem_job *job, *next;

	/* The job may be gone once its owner knows. */
	list_for_each_entry_safe(job, next, done, node)
		job->done(job);
}

/**
 * vtmem_submit() - hand a job to the device
 * @job:  filled by the caller
 * @kick: tell the device at once
 *
 * What has to follow: vtmem_kick(), or with @kick vtmem_poll(), as for the answer
 * to a load no interrupt may have been asked yet.  Any context in which job->done
 * may be called.  If the device has failed, or is known to refuse, the job ends at
 * once.
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
	/* In softirqs and above nobody looks, nor where one ends a job: poll.c. */
	job->look = job->op == VIRTIO_TMEM_OP_LOAD && !in_interrupt() &&
		    q->nr_polled < VTMEM_POLLED_MAX;
	if (q->state == VTMEM_FAILED ||
	    (q->state == VTMEM_SHUT && job->op != VIRTIO_TMEM_OP_LOAD))
		refused = VIRTIO_TMEM_S_IO;
	if (job->op == VIRTIO_TMEM_OP_LOAD && vtmem_copy_load(q, job)) {
		/* In any state: the host is not needed. */
		refused = VIRTIO_TMEM_S_OK;
		ret = 1;
	} else if (refused) {
		vtmem_area_refuse(q, job, refused);
		ret = 1;
	} else if (q->state != VTMEM_RUNNING || !list_empty(&q->backlog)) {
		ret = -EBUSY;
	} else {
		ret = vtmem_post_job(q, job);
	}
	if (ret < 0) {
		job->look = false;
		list_add_tail(&job->node, &q->backlog);
		if (!q->nr_busy)
			vtmem_flush_later(q);
	}
	/* Of a store that was skipped: nothing else may come by soon. */
	if (refused && q->nr_pending)
		vtmem_flush_later(q);
	/* Who waits for room must not wait for requests nobody told of. */
	if (kick || ret < 0)
		notify = vtmem_kick_prepare(q);
	if (notify && job->op == VIRTIO_TMEM_OP_LOAD)
		q->stats[VTMEM_KICKS_LOADS]++;
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
	struct vtmem_queue *q = vtmem_area_queue(job->area, job->page);
	DECLARE_COMPLETION_ONSTACK(done);

	job->done = vtmem_job_wake;
	job->owner = &done;
	vtmem_submit(job, true);
	if (job->op == VIRTIO_TMEM_OP_LOAD)
		vtmem_poll(q, &done);
	while (!wait_for_completion_io_timeout(&done, VTMEM_POLL))
		vtmem_dev_broken(q->dev);
}

/*
 * Tells the device of all requests added without a kick, and looks for answers of
 * which no interrupt will tell.
 */
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
	/* When all of them know; others may have kicked for this task. */
	for (q = dev->queues; q < dev->queues + dev->nr_queues; q++)
		vtmem_poll(q, NULL);
}

void vtmem_flush_work(struct work_struct *work)
{
	struct vtmem_queue *q = container_of(to_delayed_work(work),
					     struct vtmem_queue, flush_work);
	struct virtqueue *notify;
	LIST_HEAD(done);

	rcu_read_lock();
	spin_lock_irq(&q->lock);
	q->flush_due = q->nr_pending;
	vtmem_batch_is_due(q);
	notify = vtmem_queue_run(q, &done);
	/* What was posted without a kick, when another batch had to be closed. */
	if (!notify)
		notify = vtmem_kick_prepare(q);
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
		vtmem_flush_within(q, 0);
	spin_unlock_irqrestore(&q->lock, flags);
	if (notify)
		virtqueue_notify(notify);
	rcu_read_unlock();
}
