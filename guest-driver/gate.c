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
 *    The count is an exported variable, and all arithmetic on it relative, so
 *    that swapon, swapoff and other areas do not mind.
 *
 * Locking: vtmem_gate.lock, inside of any queue's lock, for the gate.  What is
 * withheld belongs to the work alone, and to vtmem_gate_stop() after it.  The
 * queues' counts are read without their locks; an estimate does.
 */
#include <linux/swap.h>

#include "map.h"

#define VTMEM_GATE_MIN_MS	1000
#define VTMEM_GATE_MAX_MS	10000
#define VTMEM_GATE_SHORT_MS	200	/* always, with another place to go */
#define VTMEM_GATE_TICK_MS	100

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

#ifdef CONFIG_VTMEM_SWAP_COUNT
static long vtmem_gate_free_slots(void)
{
	return atomic_long_read(&nr_swap_pages);
}

/* Changes by how many slots the kernel's count is below what it would be. */
static void vtmem_gate_withhold(struct vtmem_gate *gate, long slots)
{
	atomic_long_sub(slots - gate->withheld, &nr_swap_pages);
	gate->withheld = slots;
}
#else
/* Nothing to withhold from: the gate alone has to do. */
static long vtmem_gate_free_slots(void)
{
	return 0;
}

static void vtmem_gate_withhold(struct vtmem_gate *gate, long slots)
{
}
#endif

static void vtmem_gate_work(struct work_struct *work)
{
	struct vtmem_gate *gate = container_of(to_delayed_work(work),
					       struct vtmem_gate, work);
	struct vtmem_area *area = container_of(gate, struct vtmem_area, gate);
	long slots;

	if (!vtmem_gate_refuses(area)) {
		vtmem_gate_withhold(gate, 0);
		return;
	}
	slots = 0;
	if (READ_ONCE(area->is_swap) && !READ_ONCE(area->has_fallback)) {
		/* A slot in use has a page here or there, or a lost one. */
		slots = area->nr_pages - vtmem_area_nr_used(area);
		/* Never more than there are: the count must not wrap. */
		slots = clamp(gate->withheld + vtmem_gate_free_slots(), 0L,
			      slots);
	}
	vtmem_gate_withhold(gate, slots);
	/* Slots are freed, and time passes, without a store to notice. */
	queue_delayed_work(vtmem_wq, &gate->work,
			   msecs_to_jiffies(VTMEM_GATE_TICK_MS));
}

/* The area is a swap area from now on, or no longer. */
void vtmem_gate_is_swap(struct vtmem_area *area, bool is_swap)
{
	if (READ_ONCE(area->is_swap) == is_swap)
		return;
	WRITE_ONCE(area->is_swap, is_swap);
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
