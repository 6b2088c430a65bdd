// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * virtio-tmem guest driver: frontswap's self-shrink
 *
 * A page that was swapped out stays on the host until somebody reads it, also
 * when the guest has had memory to spare for long.  If its administrator wants
 * that (selfshrink=), a thread fetches such pages back, a few each second, as long
 * as enough memory is left (selfshrink_reserve=).  The kernel does the work: a
 * partial swapoff, frontswap_shrink(), as Xen's balloon driver used it.
 *
 * That function has four habits to live with:
 *
 *  - asked for all pages of a swap area, it goes on until the area is empty, also
 *    of pages that frontswap does not have; so one page always stays.  With
 *    several areas it may still come to that, and then, as when other tasks take
 *    the pages away, it tries without end: until a signal is pending.  A timer
 *    sends one.
 *
 *  - before 5.19 it gives a task whatever is in memory in place of a page that
 *    cannot be read.  So the thread's own load of a lost page does not return
 *    (frontswap.c), and the page stays locked: who wants it waits, too.  Nothing is
 *    fetched back from a device that is known to have failed.
 *
 *  - it counts the pages of all of frontswap, those in zswap among them.
 *
 *  - it does not keep the swap area, which it chooses by itself, from going away:
 *    swapoff may free the memory in which it looks for pages.  So nothing is
 *    fetched back unless all swap areas lie on disks of ours.  There swapoff opens
 *    the disk before anything else, and has it open for as long as it runs; that
 *    ends the step under way and allows no other (vtmem_shrink_hold).
 */
#include <linux/freezer.h>
#include <linux/frontswap.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sched/signal.h>
#include <linux/swap.h>
#include <linux/timer.h>

#include "vtmem.h"

/* Between two steps, and how long one may take. */
#define VTMEM_SHRINK_PAUSE	HZ
#define VTMEM_SHRINK_STEP	(HZ / 4)
/* It may wait for the host.  So long swapoff does, too, and then it fails. */
#define VTMEM_SHRINK_PATIENCE	(10 * HZ)

static unsigned int selfshrink;		/* MiB */
static unsigned int selfshrink_reserve = 50;
static struct task_struct *vtmem_shrink_task;
static DECLARE_WAIT_QUEUE_HEAD(vtmem_shrink_wait);
static bool vtmem_shrink_busy;		/* a step is under way */
static DECLARE_WAIT_QUEUE_HEAD(vtmem_shrink_idle);

static int vtmem_shrink_set(const char *val, const struct kernel_param *kp)
{
	int err = vtmem_uint_set(val, kp);

	if (!err)
		wake_up(&vtmem_shrink_wait);
	return err;
}

static const struct kernel_param_ops vtmem_shrink_ops = {
	.set = vtmem_shrink_set,
	.get = vtmem_uint_get,
};

static const struct vtmem_uint vtmem_shrink_param = { &selfshrink, 1024 };
module_param_cb(selfshrink, &vtmem_shrink_ops, (void *)&vtmem_shrink_param,
		0644);
__MODULE_PARM_TYPE(selfshrink, "uint");
MODULE_PARM_DESC(selfshrink, "MiB of swapped pages, 1024 at most, that frontswap fetches back each second while there is memory to spare; 0: none (default)");

static const struct vtmem_uint vtmem_reserve_param = {
	&selfshrink_reserve, 100
};
module_param_cb(selfshrink_reserve, &vtmem_uint_ops,
		(void *)&vtmem_reserve_param, 0644);
__MODULE_PARM_TYPE(selfshrink_reserve, "uint");
MODULE_PARM_DESC(selfshrink_reserve, "Percent of the memory that selfshrink leaves available (default: 50)");

/* Is this the thread that fetches pages back? */
bool vtmem_is_shrinking(void)
{
	return current == READ_ONCE(vtmem_shrink_task);
}

static void vtmem_shrink_enough(struct timer_list *timer)
{
	send_sig(SIGINT, vtmem_shrink_task, 1);
}

static DEFINE_TIMER(vtmem_shrink_timer, vtmem_shrink_enough);

/* How many pages to fetch back now. */
static unsigned long vtmem_shrink_pages(unsigned long have)
{
	unsigned long percent = READ_ONCE(selfshrink_reserve);
	long spare = si_mem_available() - totalram_pages() / 100 * percent;
	unsigned long want = READ_ONCE(selfshrink);

	if (spare <= 0 || have <= 1)
		return 0;
	want <<= 20 - PAGE_SHIFT;
	/* Half of it: others take memory at the same time. */
	return min3(want, have - 1, (unsigned long)spare / 2);
}

static void vtmem_shrink_step(void)
{
	unsigned long have, pages;

	WRITE_ONCE(vtmem_shrink_busy, true);
	/* Pairs with vtmem_shrink_hold(): who is there sees us, or we it. */
	smp_mb();
	have = frontswap_curr_pages();
	pages = vtmem_shrink_pages(have);
	if (pages && vtmem_frontswap_may_shrink()) {
		mod_timer(&vtmem_shrink_timer, jiffies + VTMEM_SHRINK_STEP);
		frontswap_shrink(have - pages);
		del_timer_sync(&vtmem_shrink_timer);
	}
	/* The kernel is done with the swap area before anybody is told. */
	smp_store_release(&vtmem_shrink_busy, false);
	wake_up_all(&vtmem_shrink_idle);
	flush_signals(current);
}

static bool vtmem_shrink_is_over(void)
{
	/* Pairs with the end of vtmem_shrink_step(). */
	return !smp_load_acquire(&vtmem_shrink_busy);
}

/**
 * vtmem_shrink_hold() - end the step under way, if there is one
 *
 * The caller has seen to it that vtmem_frontswap_may_shrink() allows no other.
 * Sleeps.  Returns 0, or a negative error if it goes on: the step waits for the
 * host for too long, or the caller is to die.
 */
int vtmem_shrink_hold(void)
{
	long left;

	/* Pairs with vtmem_shrink_step(). */
	smp_mb();
	if (vtmem_shrink_is_over())
		return 0;
	send_sig(SIGINT, vtmem_shrink_task, 1);
	left = wait_event_killable_timeout(vtmem_shrink_idle,
					   vtmem_shrink_is_over(),
					   VTMEM_SHRINK_PATIENCE);
	if (left > 0)
		return 0;
	/* Not -ERESTARTSYS: kernels up to 5.10 open again and again then. */
	return left ? -EINTR : -EBUSY;
}

static int vtmem_shrink_thread(void *unused)
{
	allow_signal(SIGINT);
	set_freezable();
	for (;;) {
		wait_event_freezable(vtmem_shrink_wait, READ_ONCE(selfshrink));
		flush_signals(current);
		vtmem_shrink_step();
		try_to_freeze();
		schedule_timeout_idle(VTMEM_SHRINK_PAUSE);
	}
	return 0;
}

/* Called once, when the hooks are registered; the module stays from then on. */
void vtmem_shrink_start(void)
{
	struct task_struct *task = kthread_create(vtmem_shrink_thread, NULL,
						  "vtmem_shrink");

	if (IS_ERR(task)) {
		pr_warn("virtio_tmem: no thread for selfshrink: error %ld\n",
			PTR_ERR(task));
		return;
	}
	/* It knows itself before it runs. */
	WRITE_ONCE(vtmem_shrink_task, task);
	wake_up_process(task);
}
