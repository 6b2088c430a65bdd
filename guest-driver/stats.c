// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * virtio-tmem guest driver: counters in debugfs
 *
 * /sys/kernel/debug/virtio_tmem/<device>/stats, one "name value" per line, with
 * the names of the host's counters where both count the same.
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
	[VTMEM_LOADS]			= "loads",
	[VTMEM_LOADS_HIT]		= "loads_hit",
	[VTMEM_LOADS_MISS]		= "loads_miss",
	[VTMEM_LOADS_ERROR]		= "loads_error",
	[VTMEM_INVALIDATES]		= "invalidates",
	[VTMEM_OBJECT_INVALIDATES]	= "object_invalidates",
	[VTMEM_INVALIDATES_ERROR]	= "invalidates_error",
	[VTMEM_REQUESTS]		= "requests",
	[VTMEM_KICKS]			= "kicks",
	[VTMEM_INTERRUPTS]		= "interrupts",
};

static int stats_show(struct seq_file *m, void *unused)
{
	u64 sum[VTMEM_NR_COUNTERS] = {};
	struct vtmem_dev *dev = m->private;
	unsigned long held = 0, pending = 0;
	struct vtmem_area *area;
	struct vtmem_queue *q;
	unsigned int i;

	for (q = dev->queues; q < dev->queues + dev->nr_queues; q++) {
		spin_lock_irq(&q->lock);
		for (i = 0; i < VTMEM_NR_COUNTERS; i++)
			sum[i] += q->stats[i];
		pending += q->nr_pending;
		spin_unlock_irq(&q->lock);
	}
	for (i = 0; i < VTMEM_NR_COUNTERS; i++)
		seq_printf(m, "%-20s %llu\n", vtmem_counter_names[i], sum[i]);

	mutex_lock(&dev->lock);
	list_for_each_entry(area, &dev->areas, node)
		held += vtmem_area_nr_held(area);
	mutex_unlock(&dev->lock);
	/* Levels: pages with the host, and freed ones it is not yet told of. */
	seq_printf(m, "%-20s %lu\n", "pages", held);
	seq_printf(m, "%-20s %lu\n", "pages_pending", pending);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(stats);

/* debugfs is for people who look: its failures are nobody's. */
void vtmem_stats_add(struct vtmem_dev *dev)
{
	dev->debugfs = debugfs_create_dir(dev->name, vtmem_debugfs);
	debugfs_create_file("stats", 0400, dev->debugfs, dev, &stats_fops);
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
