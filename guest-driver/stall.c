// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * virtio-tmem guest driver: devices that do not answer, and waiting for those
 * that do
 */
#include <linux/moduleparam.h>

#include "vq.h"

static unsigned int stall_timeout = 300;
module_param(stall_timeout, uint, 0644);
MODULE_PARM_DESC(stall_timeout, "Seconds without an answer after which a device is taken for dead and its pages for lost; 0: never (default: 300)");

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
