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

static void vtmem_stats_sum(struct vtmem_dev *dev, struct vtmem_stats *sum)
{
	struct vtmem_queue *q;

	memset(sum, 0, sizeof(*sum));
	for (q = dev->queues; q < dev->queues + dev->nr_queues; q++) {
		spin_lock_irq(&q->lock);
#define VTMEM_ADD(name) sum->name += q->stats.name;
		VTMEM_COUNTERS(VTMEM_ADD)
#undef VTMEM_ADD
		spin_unlock_irq(&q->lock);
	}
}

static int stats_show(struct seq_file *m, void *unused)
{
	struct vtmem_dev *dev = m->private;
	unsigned long held = 0, pending = 0;
	struct vtmem_area *area;
	struct vtmem_stats sum;
	unsigned int i;

	vtmem_stats_sum(dev, &sum);
#define VTMEM_SHOW(name) seq_printf(m, "%-20s %llu\n", #name, sum.name);
	VTMEM_COUNTERS(VTMEM_SHOW)
#undef VTMEM_SHOW

	mutex_lock(&dev->lock);
	list_for_each_entry(area, &dev->areas, node)
		held += vtmem_area_nr_held(area);
	mutex_unlock(&dev->lock);
	for (i = 0; i < dev->nr_queues; i++)
		pending += READ_ONCE(dev->queues[i].nr_pending);
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
