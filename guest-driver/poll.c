// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * virtio-tmem guest driver: answers that are taken without an interrupt
 *
 * Who asks for a page waits for it, and a host that answers in microseconds has done
 * so before an interrupt is worth its price.  So the ring is asked to interrupt only
 * when somebody needs it.  A queue is armed, or not:
 *
 * - A request for whose answer nobody looks arms it, before the device can see it
 *   (vtmem_token_add).  All but loads from task context are such.
 * - A load in task context does not.  Its task looks at the ring once it has notified
 *   the device, and if the answer is not there arms the queue.  With poll= it looks
 *   for longer, for twice as long as loads have taken on average, and not if that
 *   average is more than what it may spend.
 * - An interrupt disarms it, and arms it if the device has more requests.
 *
 * So whenever the device has a request, the queue is armed or somebody is on the way
 * to look and then arm it: between vtmem_submit() and the end of the vtmem_kick() or
 * vtmem_poll() that follows.  A queue cannot be armed while answers are there that
 * were not taken, for the device may have passed the index at which it was to
 * interrupt.  All of it happens under the queue's lock.
 *
 * Who looks takes what is there, others' answers as well, and ends their jobs, with
 * softirqs off: a job that is submitted from there (a file system's next request)
 * is not looked for, which would go on without end on one stack.
 *
 * If answers are taken by looking, an interrupt that was asked for finds nothing to
 * do, and so does one that some kernels' rings cannot take back (5.10 with event
 * indexes).  Of an interrupt that has nothing to do in all but 100 of 100,000 cases
 * the kernel thinks that nobody cares, and switches it off.  So after
 * VTMEM_POLLED_MAX looks that found something loads arm the queue like all others,
 * and nobody takes from an armed queue, until an interrupt comes that has something
 * to do.
 *
 * Loads of cleancache always sleep: the lock of a page of a file is held, by
 * readahead of many pages in a row, and spinning would delay whoever reads them and
 * save only the first sleep.
 *
 * poll= is 0 by default: under TCG, where a load takes most of a millisecond, no gain
 * could be told from noise; and where the host's threads need the CPU that spins,
 * with more virtual CPUs than real ones, it takes from them what they need to answer.
 */
#include <linux/completion.h>
#include <linux/ktime.h>
#include <linux/moduleparam.h>
#include <linux/sched.h>

#include "vq.h"

/* Microseconds; more than the average of loads may be (vtmem_poll_took) is no use. */
#define VTMEM_POLL_MAX		USEC_PER_MSEC

static unsigned int poll;
static const struct vtmem_uint vtmem_poll_param = { &poll, VTMEM_POLL_MAX };
module_param_cb(poll, &vtmem_uint_ops, (void *)&vtmem_poll_param, 0644);
__MODULE_PARM_TYPE(poll, "uint");
MODULE_PARM_DESC(poll, "Microseconds, 1000 at most, that a task looks for the answer to a load before it has the host interrupt; 0: one look (default)");

/* When a load is posted: for vtmem_poll_took(), or 0 if nobody wants to know. */
u64 vtmem_poll_begin(void)
{
	return READ_ONCE(poll) ? ktime_get_ns() : 0;
}

/* A load posted at @since was answered. */
void vtmem_poll_took(struct vtmem_queue *q, u64 since)
{
	/* What took long was another's fault. */
	u64 ns = min_t(u64, ktime_get_ns() - since, NSEC_PER_MSEC);

	lockdep_assert_held(&q->lock);

	/* An eighth of the new one; others read it without the lock. */
	WRITE_ONCE(q->load_ns, q->load_ns - q->load_ns / 8 + ns / 8);
}

/* How long to look (ns); 0: once. */
static u64 vtmem_poll_time(struct vtmem_queue *q)
{
	u64 most = (u64)READ_ONCE(poll) * NSEC_PER_USEC;
	u64 average = READ_ONCE(q->load_ns);

	/* Of the first ones nothing is known. */
	return average > most ? 0 : average ? min(most, 2 * average) : most;
}

/* Has the device a request of whose answer no interrupt will tell? */
static bool vtmem_queue_unarmed(struct vtmem_queue *q)
{
	return READ_ONCE(q->nr_busy) && !READ_ONCE(q->armed);
}

/*
 * Looks for answers of which no interrupt tells, until @done if that is given, and
 * has one tell of those that are not there soon.  Any context; in task context only
 * is there anything to do.
 */
void vtmem_poll(struct vtmem_queue *q, struct completion *done)
{
	u64 time, end = 0;
	bool last, over;

	/* Others' requests, if any, are looked for by these. */
	if (in_interrupt() || (done ? completion_done(done) :
				      !vtmem_queue_unarmed(q)))
		return;
	time = vtmem_poll_time(q);
	if (time)
		end = ktime_get_ns() + time;
	do {
		/* Nobody is left behind: also after success there is a last look. */
		last = !time || ktime_get_ns() >= end || need_resched() ||
		       (done && completion_done(done));
		over = vtmem_queue_look(q, last, done);
		cpu_relax();
	} while (!last && !over);
}
