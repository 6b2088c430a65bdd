// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * virtio-tmem guest driver: counters, and debugfs for people who look
 *
 * In /sys/kernel/debug/virtio_tmem/<device>/:
 *
 *   stats    one "name value" per line, with the names of the host's counters
 *            where both count the same
 *   queues   one line for each request queue: what it is doing
 *   areas    one line for each range of pages that a front end keeps
 */
#include <linux/debugfs.h>
#include <linux/seq_file.h>

#include "vtmem.h"

static struct dentry *vtmem_debugfs;

static const char * const vtmem_counter_names[VTMEM_NR_COUNTERS] = {
	[VTMEM_STORES]			= "stores",
	[VTMEM_STORES_OK]		= "stores_ok",
	[VTMEM_STORES_REFUSED]		= "stores_refused",
	[VTMEM_STORES_ERROR]		= "stores_error",
	[VTMEM_STORES_SKIPPED]		= "stores_skipped",
	[VTMEM_STORES_CREDIT]		= "stores_credit",
	[VTMEM_STORES_KEPT]		= "stores_kept",
	[VTMEM_LOADS]			= "loads",
	[VTMEM_LOADS_HIT]		= "loads_hit",
	[VTMEM_LOADS_MISS]		= "loads_miss",
	[VTMEM_LOADS_ERROR]		= "loads_error",
	[VTMEM_LOADS_COPY]		= "loads_copy",
	[VTMEM_PREFETCHES]		= "prefetches",
	[VTMEM_PREFETCHES_USED]		= "prefetches_used",
	[VTMEM_INVALIDATES]		= "invalidates",
	[VTMEM_OBJECT_INVALIDATES]	= "object_invalidates",
	[VTMEM_INVALIDATES_ERROR]	= "invalidates_error",
	[VTMEM_REQUESTS]		= "requests",
	[VTMEM_KICKS]			= "kicks",
	[VTMEM_KICKS_LOADS]		= "kicks_loads",
	[VTMEM_INTERRUPTS]		= "interrupts",
	[VTMEM_POLLS]			= "polls",
	[VTMEM_DISK_WRITES]		= "disk_writes",
	[VTMEM_DISK_READS]		= "disk_reads",
	[VTMEM_DISK_ERRORS]		= "disk_errors",
	[VTMEM_EPH_STORES]		= "cleancache_stores",
	[VTMEM_EPH_STORES_SKIPPED]	= "cleancache_stores_skipped",
	[VTMEM_EPH_LOADS_HIT]		= "cleancache_loads_hit",
	[VTMEM_EPH_LOADS_SPOILED]	= "cleancache_loads_spoiled",
	[VTMEM_EPH_LOADS_GIVEN_UP]	= "cleancache_loads_given_up",
	[VTMEM_EPH_POOLS_SPOILED]	= "cleancache_pools_spoiled",
};

/* A counter of all queues. */
u64 vtmem_stats_sum(struct vtmem_dev *dev, enum vtmem_counter counter)
{
	struct vtmem_queue *q;
	u64 sum = 0;

	for (q = dev->queues; q < dev->queues + dev->nr_queues; q++) {
		/* The lock is for machines that read it in two halves. */
		spin_lock_irq(&q->lock);
		sum += q->stats[counter];
		spin_unlock_irq(&q->lock);
	}
	return sum;
}

static int stats_show(struct seq_file *m, void *unused)
{
	struct vtmem_dev *dev = m->private;
	unsigned long held, pending = 0, unanswered = 0;
	struct vtmem_queue *q;
	unsigned int i;

	for (i = 0; i < VTMEM_NR_COUNTERS; i++)
		seq_printf(m, "%-20s %llu\n", vtmem_counter_names[i],
			   vtmem_stats_sum(dev, i));

	for (q = dev->queues; q < dev->queues + dev->nr_queues; q++) {
		spin_lock_irq(&q->lock);
		pending += q->nr_pending;
		unanswered += vtmem_ahead_nr_unanswered(q);
		spin_unlock_irq(&q->lock);
	}
	mutex_lock(&dev->lock);
	held = vtmem_dev_nr_held(dev);
	mutex_unlock(&dev->lock);
	/*
	 * Levels: pages with the host, freed ones it is not yet told of, stores
	 * that are complete and that it has not answered, and for how many more
	 * there is credit.
	 */
	seq_printf(m, "%-20s %lu\n", "pages", held);
	seq_printf(m, "%-20s %lu\n", "pages_pending", pending);
	seq_printf(m, "%-20s %lu\n", "stores_unanswered", unanswered);
	seq_printf(m, "%-20s %d\n", "credit", atomic_read(&dev->credit));
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(stats);

static const char * const vtmem_state_names[] = {
	[VTMEM_FROZEN]	= "frozen",
	[VTMEM_RUNNING]	= "running",
	[VTMEM_SHUT]	= "shut",
	[VTMEM_FAILED]	= "failed",
};

static int queues_show(struct seq_file *m, void *unused)
{
	struct vtmem_dev *dev = m->private;
	u64 requests, kicks, interrupts;
	unsigned int busy, pending;
	enum vtmem_state state;
	struct vtmem_queue *q;
	bool waiting;

	seq_puts(m, "queue state    in_flight waiting noted_invalidates requests     kicks        interrupts\n");
	for (q = dev->queues; q < dev->queues + dev->nr_queues; q++) {
		spin_lock_irq(&q->lock);
		state = q->state;
		busy = q->nr_busy;
		waiting = !list_empty(&q->backlog);
		pending = q->nr_pending;
		requests = q->stats[VTMEM_REQUESTS];
		kicks = q->stats[VTMEM_KICKS];
		interrupts = q->stats[VTMEM_INTERRUPTS];
		spin_unlock_irq(&q->lock);
		seq_printf(m, "%-5td %-8s %-9u %-7s %-17u %-12llu %-12llu %llu\n",
			   q - dev->queues, vtmem_state_names[state], busy,
			   waiting ? "yes" : "no", pending, requests, kicks,
			   interrupts);
	}
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(queues);

static int areas_show(struct seq_file *m, void *unused)
{
	struct vtmem_dev *dev = m->private;
	struct vtmem_area *area;

	seq_puts(m, "pool               pages        held         in_flight\n");
	mutex_lock(&dev->lock);
	list_for_each_entry(area, &dev->areas, node)
		seq_printf(m, "%#018llx %-12lu %-12lu %d\n",
			   le64_to_cpu(area->pool), area->nr_pages,
			   vtmem_area_nr_held(area),
			   atomic_read(&area->inflight));
	mutex_unlock(&dev->lock);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(areas);

/* debugfs is for people who look: its failures are nobody's. */
void vtmem_stats_add(struct vtmem_dev *dev)
{
	dev->debugfs = debugfs_create_dir(dev->name, vtmem_debugfs);
	debugfs_create_file("stats", 0400, dev->debugfs, dev, &stats_fops);
	debugfs_create_file("queues", 0400, dev->debugfs, dev, &queues_fops);
	debugfs_create_file("areas", 0400, dev->debugfs, dev, &areas_fops);
}

/* Waits for readers. */
void vtmem_stats_remove(struct vtmem_dev *dev)
{
	debugfs_remove_recursive(dev->debugfs);
}

void vtmem_stats_init(void)
{
	vtmem_debugfs = debugfs_create_dir("virtio_tmem", NULL);
}

void vtmem_stats_exit(void)
{
	debugfs_remove_recursive(vtmem_debugfs);
}
