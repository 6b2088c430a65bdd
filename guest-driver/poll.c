// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * virtio-tmem guest driver: waiting for a load without sleeping
 *
 * A load that the host answers in microseconds costs an interrupt's delay and a
 * wake-up on top.  With poll= a task that waits for one looks at the ring itself, for
 * twice as long as loads have taken on average, and not at all when the average is
 * more than what it may spend.  It does so in task context, with interrupts on in
 * between, and then sleeps as without.
 *
 * The interrupt comes nevertheless: the ring has asked for it already, and with
 * event indexes there is no taking that back.  It then finds nothing to do, and of
 * an interrupt that has nothing to do in all but 100 of 100,000 cases the kernel
 * thinks that nobody cares, and switches it off.  So after VTMEM_POLLED_MAX answers
 * were taken without one, everybody sleeps until one comes that has something to do.
 *
 * Loads of the swap disk are not waited for here: a block request ends by itself, and
 * who waits for a page does so in the page cache, which has no way to call a driver;
 * for those who want it the block layer has polled queues.  Loads of cleancache are
 * waited for with the lock of a page of a file held, by readahead of many pages in a
 * row, where spinning would delay whoever reads them and save only the first sleep.
 *
 * Off by default: under TCG, where a load takes most of a millisecond, no gain could
 * be told from noise; and where the host's threads need the CPU that spins, with
 * more virtual CPUs than real ones, it takes from them what they need to answer.
 */
#include <linux/completion.h>
#include <linux/ktime.h>
#include <linux/moduleparam.h>
#include <linux/sched.h>

#include "vq.h"

/* Answers taken by tasks for one that an interrupt takes; see above. */
#define VTMEM_POLLED_MAX	64

/* Microseconds; more than the average of loads may be (vtmem_poll_took) is no use. */
#define VTMEM_POLL_MAX		USEC_PER_MSEC

static unsigned int poll;
static const struct vtmem_uint vtmem_poll_param = { &poll, VTMEM_POLL_MAX };
module_param_cb(poll, &vtmem_uint_ops, (void *)&vtmem_poll_param, 0644);
__MODULE_PARM_TYPE(poll, "uint");
MODULE_PARM_DESC(poll, "Microseconds, 1000 at most, that a task looks for the answer to a load before it sleeps; 0: none (default)");

/* A load has ended that took so long; races lose a sample, no more. */
void vtmem_poll_took(struct vtmem_queue *q, u64 ns)
{
	u64 average = READ_ONCE(q->load_ns);

	/* An eighth of the new one; what slept long was another's fault. */
	ns = min_t(u64, ns, NSEC_PER_MSEC);
	WRITE_ONCE(q->load_ns, average - average / 8 + ns / 8);
}

/* Looks for answers until @done, if that will be soon.  Task context. */
void vtmem_poll(struct vtmem_queue *q, struct completion *done)
{
	u64 most = (u64)READ_ONCE(poll) * NSEC_PER_USEC;
	u64 average = READ_ONCE(q->load_ns);
	u64 end;

	if (!most || average > most)
		return;
	might_sleep();
	/* Of the first ones nothing is known. */
	end = ktime_get_ns() + (average ? min(most, 2 * average) : most);
	while (!completion_done(done) && ktime_get_ns() < end &&
	       READ_ONCE(q->nr_polled) < VTMEM_POLLED_MAX) {
		vtmem_queue_poll(q);
		cpu_relax();
		cond_resched();
	}
}
