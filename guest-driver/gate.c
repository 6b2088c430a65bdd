// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * virtio-tmem guest driver: a full store is not asked again at once
 *
 * The kernel knows one reason for swap to take no page: all slots are in use.
 * A write that fails is to it an accident; reclaim offers the page again, and
 * the next, and goes on as long as there are free slots.  A guest whose work
 * needs more than its RAM and the store hold would do nothing else for ever,
 * because a page stored here and there, where a task has just freed one, counts
 * as progress, and it takes 16 rounds without any over all of its memory until
 * the OOM killer gets its turn.  Therefore
 *
 *  - after a refusal the gate closes, and stores are refused here, without an
 *    exit, until the host has rid itself of an eighth of this guest's pages or a
 *    time has passed, which grows as long as the host refuses soon after.
 *    (zswap's accept_threshold_percent does the same for its pool.)
 *
 *  - while it is closed, and refused pages have no other place to go, the free
 *    slots of a swap area on our disk are taken out of the kernel's count of
 *    free slots.  That is what they are, not free, and /proc/meminfo says so;
 *    reclaim stops writing, and the guest's fate is that of any with full swap.
 *    The count is an exported variable, and all arithmetic on it relative.
 *
 * The count is of all swap areas, and no module is told which there are.  How
 * many slots ours has says the header that mkswap writes to the disk; without
 * one (a file system is on the disk, and a swap file in that) nothing is
 * withheld.  With more free slots than ours can have there is another area,
 * whose slots are not ours to withhold: then nothing is, for as long as ours is
 * in use.  The kernel goes on to an area of lower priority only when ours has no
 * slot left, so a second area should have the same priority or a higher one, or
 * better be the disk behind (backing=).
 *
 * swapoff takes all of the area's slots out of the count, and it has the disk
 * open all the while: nothing is withheld while somebody has it open beside who
 * has had it since it is swap.
 *
 * Locking: vtmem_gate.lock, inside of any queue's lock, for the gate.  What is
 * withheld belongs to the work alone, and to vtmem_gate_stop() after it.  Who
 * has the disk open is counted under vtmem_open_mutex.  The queues' counts are
 * read without their locks; an estimate does.
 */
#include <linux/moduleparam.h>
#include <linux/swap.h>

#include "compat/have.h"
#include "map.h"

#define VTMEM_GATE_MIN_MS	1000
#define VTMEM_GATE_MAX_MS	10000
#define VTMEM_GATE_SHORT_MS	200	/* always, with another place to go */
#define VTMEM_GATE_TICK_MS	100

/* That there is another swap area is seen for so long before it is believed. */
#define VTMEM_GATE_OTHERS	5	/* ticks */
/*
 * A swap area has its disk open so often: kernels before 6.11 open it to see what
 * it is and once more to have it for themselves; later ones open it once, and need
 * not remember what its block size was in between.
 */
#ifdef HAVE_SWAP_OLD_BLOCK_SIZE
#define VTMEM_SWAP_OPENERS	2
#else
#define VTMEM_SWAP_OPENERS	1
#endif

/* Slots that may be in the kernel's count before their pages are in ours. */
#define VTMEM_GATE_SLACK	1024

static unsigned long vtmem_gate_nr_host(struct vtmem_dev *dev)
{
	unsigned long nr = 0;
	unsigned int i;

	for (i = 0; i < dev->nr_queues; i++)
		nr += READ_ONCE(dev->queues[i].nr_host);
	return nr;
}

static void vtmem_gate_open(struct vtmem_gate *gate)
{
	lockdep_assert_held(&gate->lock);

	WRITE_ONCE(gate->closed, false);
	gate->opened = jiffies;
	/* Gives back what is withheld. */
	mod_delayed_work(vtmem_wq, &gate->work, 0);
}

/*
 * Is a store of the area to be refused without asking?  Returns why, or
 * VIRTIO_TMEM_S_OK.  Any context, without locks.
 */
u8 vtmem_gate_refuses(struct vtmem_area *area)
{
	struct vtmem_gate *gate = &area->gate;
	u8 reason = VIRTIO_TMEM_S_OK;
	unsigned long flags;

	if (likely(!READ_ONCE(gate->closed)))
		return VIRTIO_TMEM_S_OK;

	spin_lock_irqsave(&gate->lock, flags);
	if (gate->closed) {
		if (vtmem_gate_nr_host(area->dev) <= gate->enough) {
			gate->window = 0;
			vtmem_gate_open(gate);
		} else if (time_after(jiffies, gate->until)) {
			vtmem_gate_open(gate);
		} else {
			reason = gate->reason;
		}
	}
	spin_unlock_irqrestore(&gate->lock, flags);
	return reason;
}

/* The host has refused a store.  Under the lock of its queue. */
void vtmem_gate_refused(struct vtmem_area *area, u8 status)
{
	struct vtmem_gate *gate = &area->gate;
	unsigned long flags, nr;
	unsigned int ms;

	/* A policy may be about this page alone. */
	if (status == VIRTIO_TMEM_S_REFUSED)
		return;

	spin_lock_irqsave(&gate->lock, flags);
	if (!gate->closed) {
		ms = VTMEM_GATE_MIN_MS;
		if (time_before(jiffies, gate->opened + 2 * gate->window))
			ms = min(2 * jiffies_to_msecs(gate->window),
				 (unsigned int)VTMEM_GATE_MAX_MS);
		if (READ_ONCE(area->has_fallback))
			ms = VTMEM_GATE_SHORT_MS;
		gate->window = msecs_to_jiffies(ms);
		gate->until = jiffies + gate->window;
		nr = vtmem_gate_nr_host(area->dev);
		gate->enough = nr - nr / 8;
		gate->reason = status;
		WRITE_ONCE(gate->closed, true);
		mod_delayed_work(vtmem_wq, &gate->work, 0);
	}
	spin_unlock_irqrestore(&gate->lock, flags);
}

/* Has somebody the disk open beside its swap area, if it is one? */
bool vtmem_gate_open_beside(struct vtmem_area *area)
{
	struct vtmem_gate *gate = &area->gate;

	return READ_ONCE(gate->openers) >
	       (READ_ONCE(area->is_swap) ? READ_ONCE(gate->swap_openers) :
					   VTMEM_SWAP_OPENERS);
}

#ifdef CONFIG_VTMEM_SWAP_COUNT
static bool swap_full = true;
module_param(swap_full, bool, 0644);
MODULE_PARM_DESC(swap_full, "While the host refuses pages, and swap on our disk is all there is, let it count as full (default: yes)");

/* Will free slots of the area be withheld while its gate is closed? */
bool vtmem_gate_withholds(struct vtmem_area *area)
{
	struct vtmem_gate *gate = &area->gate;

	return READ_ONCE(swap_full) && READ_ONCE(area->is_swap) &&
	       READ_ONCE(gate->swap_slots) &&
	       !READ_ONCE(area->has_fallback) && !READ_ONCE(gate->others);
}

/* Changes by how many slots the kernel's count is below what it would be. */
static void vtmem_gate_withhold(struct vtmem_gate *gate, long slots)
{
	atomic_long_sub(slots - gate->withheld, &nr_swap_pages);
	gate->withheld = slots;
}

/* Slots of the area that may be free; those in use have a page, or lost one. */
static long vtmem_gate_area_slots(struct vtmem_area *area)
{
	return max_t(long, READ_ONCE(area->gate.swap_slots) -
			   vtmem_area_nr_used(area), 0);
}

/* How many slots are to be withheld while the gate is closed. */
static long vtmem_gate_slots(struct vtmem_area *area)
{
	struct vtmem_gate *gate = &area->gate;
	long slots, ours = vtmem_gate_area_slots(area), most;

	/* No more than there are: the count must not wrap. */
	slots = max(gate->withheld + atomic_long_read(&nr_swap_pages), 0L);
	/* Whichever came first, slots freed or slots taken meanwhile. */
	most = max(ours, vtmem_gate_area_slots(area)) + VTMEM_GATE_SLACK;
#ifndef HAVE_SWAP_SLOT_FREE_NOTIFY
	/* Of slots that are freed we are not told. */
	most = READ_ONCE(gate->swap_slots);
#endif
	if (gate->others < VTMEM_GATE_OTHERS)
		WRITE_ONCE(gate->others, slots > most ? gate->others + 1 : 0);
	/* Is there somebody who might be swapoff? */
	if (!vtmem_gate_withholds(area) || vtmem_gate_open_beside(area))
		return 0;
	return min(slots, ours);
}
#else
/* Nothing to withhold from: the gate alone has to do. */
bool vtmem_gate_withholds(struct vtmem_area *area)
{
	return false;
}

static void vtmem_gate_withhold(struct vtmem_gate *gate, long slots)
{
}

static long vtmem_gate_slots(struct vtmem_area *area)
{
	return 0;
}
#endif

static void vtmem_gate_work(struct work_struct *work)
{
	struct vtmem_gate *gate = container_of(to_delayed_work(work),
					       struct vtmem_gate, work);
	struct vtmem_area *area = container_of(gate, struct vtmem_area, gate);

	if (!vtmem_gate_refuses(area)) {
		vtmem_gate_withhold(gate, 0);
		return;
	}
	vtmem_gate_withhold(gate, vtmem_gate_slots(area));
	/* Slots are freed, and time passes, without a store to notice. */
	queue_delayed_work(vtmem_wq, &gate->work,
			   msecs_to_jiffies(VTMEM_GATE_TICK_MS));
}

/* So many have the disk open now.  Under vtmem_open_mutex. */
void vtmem_gate_openers(struct vtmem_area *area, unsigned int openers)
{
	struct vtmem_gate *gate = &area->gate;

	WRITE_ONCE(gate->openers, openers);
	/* Who looked at it for a moment when swap began is not swap. */
	if (READ_ONCE(gate->swap_openers) > openers)
		WRITE_ONCE(gate->swap_openers, openers);
	if (!openers)
		vtmem_gate_is_swap(area, false);
}

/* Somebody has opened the disk, perhaps to end its swap area.  Sleeps. */
void vtmem_gate_disk_opened(struct vtmem_area *area)
{
	struct vtmem_gate *gate = &area->gate;

	/* Not only if the gate is closed: the work that opened it may be late. */
	if (!READ_ONCE(area->is_swap))
		return;
	mod_delayed_work(vtmem_wq, &gate->work, 0);
	flush_delayed_work(&gate->work);
}

/* The disk's first page is written: with the header of a swap area, or not. */
void vtmem_gate_swap_slots(struct vtmem_area *area, unsigned long slots)
{
	WRITE_ONCE(area->gate.swap_slots,
		   min(slots, vtmem_area_nr_pages(area)));
}

/* The area is a swap area from now on, or no longer. */
void vtmem_gate_is_swap(struct vtmem_area *area, bool is_swap)
{
	if (READ_ONCE(area->is_swap) == is_swap)
		return;
	/* Who has had it open for longer is not swap either. */
	WRITE_ONCE(area->gate.swap_openers, min(READ_ONCE(area->gate.openers),
						VTMEM_SWAP_OPENERS + 0U));
	WRITE_ONCE(area->is_swap, is_swap);
	/* Another swap area may come and go until the next time. */
	WRITE_ONCE(area->gate.others, 0);
	if (!is_swap)
		mod_delayed_work(vtmem_wq, &area->gate.work, 0);
}

void vtmem_gate_init(struct vtmem_gate *gate)
{
	spin_lock_init(&gate->lock);
	INIT_DELAYED_WORK(&gate->work, vtmem_gate_work);
	gate->opened = jiffies;
}

/* No store will be refused any more.  Sleeps. */
void vtmem_gate_stop(struct vtmem_gate *gate)
{
	spin_lock_irq(&gate->lock);
	WRITE_ONCE(gate->closed, false);
	spin_unlock_irq(&gate->lock);
	cancel_delayed_work_sync(&gate->work);
	vtmem_gate_withhold(gate, 0);
}
