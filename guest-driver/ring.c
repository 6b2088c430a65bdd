// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * virtio-tmem guest driver: request queues as a whole
 *
 * Their rings, from when they are found until they are given up; what the
 * device returns through them; and the states in which jobs run, wait or fail.
 *
 * Locking: see vq.c.
 */
#include <linux/rcupdate.h>
#include <linux/slab.h>

#include "compat/virtio.h"
#include "vq.h"

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

/*
 * Has the device interrupt for the answer that comes next.  False if there is
 * one already, of which an interrupt may not tell: it has to be taken first.
 */
bool vtmem_queue_arm(struct vtmem_queue *q, struct virtqueue *vq)
{
	lockdep_assert_held(&q->lock);

	WRITE_ONCE(q->armed, virtqueue_enable_cb(vq));
	/* It leaves them enabled: each answer taken would ask for the next. */
	if (!q->armed)
		virtqueue_disable_cb(vq);
	return q->armed;
}

/* No answer interrupts, until vtmem_queue_arm(). */
void vtmem_queue_disarm(struct vtmem_queue *q, struct virtqueue *vq)
{
	lockdep_assert_held(&q->lock);

	virtqueue_disable_cb(vq);
	WRITE_ONCE(q->armed, false);
}

/* Takes all answers; if more are to come, an interrupt will tell. */
static void vtmem_settle(struct vtmem_queue *q, struct virtqueue *vq,
			 struct list_head *done)
{
	do {
		vtmem_reap(q, vq, done);
	} while (q->nr_busy && !q->armed && !virtqueue_is_broken(vq) &&
		 !vtmem_queue_arm(q, vq));
}

static void vtmem_wake_idle(struct vtmem_dev *dev)
{
	/* Its barrier pairs with that of prepare_to_wait() in wait_event(). */
	if (wq_has_sleeper(&dev->idle))
		wake_up_all(&dev->idle);
}

/* Interrupt of a request queue; also called by vtmem_queues_stalled(). */
void vtmem_vq_done(struct virtqueue *vq)
{
	struct vtmem_dev *dev = vq->vdev->priv;
	struct vtmem_queue *q = &dev->queues[vq->index -
					     VIRTIO_TMEM_VQ_REQUEST(0)];
	struct virtqueue *notify;
	unsigned long flags;
	LIST_HEAD(done);

	spin_lock_irqsave(&q->lock, flags);
	q->stats[VTMEM_INTERRUPTS]++;
	/* Tasks may take answers again, see poll.c. */
	q->nr_polled = 0;
	vtmem_queue_disarm(q, vq);
	vtmem_settle(q, vq, &done);
	if (unlikely(virtqueue_is_broken(vq)))
		vtmem_dev_broken(dev);
	notify = vtmem_queue_run(q, &done);
	spin_unlock_irqrestore(&q->lock, flags);
	if (notify)
		virtqueue_notify(notify);

	vtmem_jobs_end(&done);
	vtmem_wake_idle(dev);
}

/*
 * Takes what the device has returned, as its interrupt would; task context.
 * Returns whether there is nothing to look for any more: the device has no
 * request, or an interrupt will tell, which is so in any case if this is the
 * @last look.  Who waits for its @own answer may go on although an interrupt
 * will tell, unless it is the interrupt's turn.
 */
bool vtmem_queue_look(struct vtmem_queue *q, bool last, bool own)
{
	struct virtqueue *notify = NULL;
	unsigned int nr_busy;
	LIST_HEAD(done);
	bool over;

	/*
	 * From taking others' answers to telling them nobody is to get in between;
	 * and what a block request's end leaves to softirqs is done at once.
	 */
	local_bh_disable();
	rcu_read_lock();
	spin_lock_irq(&q->lock);
	nr_busy = q->nr_busy;
	/* In any state: as long as the device has requests there is a ring. */
	if (nr_busy && (!q->armed || q->nr_polled < VTMEM_POLLED_MAX)) {
		if (last)
			vtmem_settle(q, q->vq, &done);
		else
			vtmem_reap(q, q->vq, &done);
		if (unlikely(virtqueue_is_broken(q->vq)))
			vtmem_dev_broken(q->dev);
	}
	if (q->nr_busy != nr_busy) {
		q->nr_polled++;
		q->stats[VTMEM_POLLS]++;
		notify = vtmem_queue_run(q, &done);
	}
	over = !q->nr_busy ||
	       (q->armed && (!own || q->nr_polled >= VTMEM_POLLED_MAX));
	spin_unlock_irq(&q->lock);
	if (notify)
		virtqueue_notify(notify);
	rcu_read_unlock();
	vtmem_jobs_end(&done);
	local_bh_enable();
	vtmem_wake_idle(q->dev);
	return over;
}

/* Who was about to look may not be running: see vtmem_token_add(). */
static void vtmem_look_work(struct work_struct *work)
{
	struct vtmem_queue *q = container_of(to_delayed_work(work),
					     struct vtmem_queue, look_work);

	vtmem_queue_look(q, true, false);
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
		vtmem_ahead_abort(q);
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
		vtmem_ahead_abort(q);
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

	for (q = dev->queues; q < dev->queues + dev->nr_queues; q++) {
		cancel_delayed_work_sync(&q->flush_work);
		cancel_delayed_work_sync(&q->look_work);
	}
}

static void vtmem_queue_free(struct vtmem_queue *q)
{
	/* A queue that vtmem_queues_alloc() did not come to. */
	if (!q->dev)
		return;
	/* Freed pages may have asked for it after vtmem_stop(). */
	cancel_delayed_work_sync(&q->flush_work);
	cancel_delayed_work_sync(&q->look_work);
	vtmem_slots_free(q);
	vtmem_prefetch_free(q);
	vtmem_ahead_free(q);
}

static int vtmem_queue_alloc(struct vtmem_dev *dev, struct vtmem_queue *q)
{
	int err;

	spin_lock_init(&q->lock);
	INIT_LIST_HEAD(&q->busy);
	INIT_LIST_HEAD(&q->free);
	INIT_LIST_HEAD(&q->backlog);
	INIT_LIST_HEAD(&q->dirty);
	INIT_DELAYED_WORK(&q->flush_work, vtmem_flush_work);
	INIT_DELAYED_WORK(&q->look_work, vtmem_look_work);
	q->dev = dev;
	q->state = VTMEM_FROZEN;
	snprintf(q->name, sizeof(q->name), "request.%u",
		 (unsigned int)(q - dev->queues));

	err = vtmem_slots_alloc(q);
	if (!err)
		err = vtmem_prefetch_alloc(q);
	return err ?: vtmem_ahead_alloc(q);
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

	/* GFP_KERNEL: probe. */
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

	/* New rings interrupt, maybe as soon as they are there. */
	for (i = 0; i < dev->nr_queues; i++)
		dev->queues[i].armed = true;

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
