// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * virtio-tmem guest driver: frontswap
 *
 * Kernels up to 5.16 ask frontswap before they write a page to any swap area,
 * and again before they read one back.  Each swap type has an area with a pool
 * of its own.
 *
 * A worker makes it at swapon.  When pages come memory is short, and an area
 * that was to be made then might not be for minutes, in which all pages go to
 * the swap area's disk.  They go there also until the area is there: of swap
 * areas that were in use when the module was loaded, and if memory or the host
 * was short at swapon, it is asked for anew by pages on their way to swap.
 *
 * Frontswap has no way to say "that page is lost": after a load that fails the
 * kernel reads the slot from the swap area's disk, where there is something
 * else.  Therefore
 *
 *  - on the swap disk of this driver, accepting a page marks the disk's own
 *    page as lost, until the slot is freed or written; a load may fail then,
 *    because the disk's answer is an I/O error;
 *  - on any other disk a load of an accepted page never fails: the task waits
 *    for ever, or the kernel panics (frontswap_lost=).
 *
 * Hooks cannot be unregistered, so the module stays once they are.
 *
 * Locking: store and load run with the page locked and may sleep; a slot's
 * content cannot change under them.  invalidate_page runs under the swap locks,
 * maybe with interrupts off.  init and invalidate_area run under swapon_mutex.
 * vtmem_fs_mutex guards the device, and who makes or ends areas; store, load and
 * invalidate_page do not take it.
 */
#include <linux/blkdev.h>
#include <linux/delay.h>
#include <linux/frontswap.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/pagemap.h>
#include <linux/rcupdate.h>
#include <linux/swap.h>
#include <linux/swapops.h>

#include "vtmem.h"

struct vtmem_fs_type {
	bool on;			/* there is a swap area of this type */
	struct vtmem_area *area;	/* written under vtmem_fs_mutex */
	/* On our own swap disk: its area; written before @area is set. */
	struct vtmem_area *below;
	struct vtmem_dev *dev;		/* that of the area, referenced */

	/* What make_work needs to know, and when it may be asked again. */
	unsigned long nr_pages;
	struct vtmem_area *want_below;
	unsigned long retry_at;		/* jiffies */
	unsigned long retry;		/* jiffies from one failure to the next */
	int refused;			/* what the log has told: an error, or 0 */
	struct work_struct make_work;
};

/* Until an area is asked for again: doubled each time it cannot be made. */
#define VTMEM_FS_RETRY_MIN	HZ
#define VTMEM_FS_RETRY_MAX	(60 * HZ)

static struct vtmem_fs_type vtmem_fs_types[MAX_SWAPFILES];
static DEFINE_MUTEX(vtmem_fs_mutex);
static struct vtmem_dev *vtmem_fs_dev;	/* for new areas; referenced */
static bool vtmem_fs_registered;
static bool vtmem_fs_registering;	/* init is called, but not by swapon */

/* The area of a swap type, or NULL. */
static struct vtmem_area *vtmem_fs_area(unsigned int type)
{
	/* Pairs with vtmem_fs_make_work(). */
	return smp_load_acquire(&vtmem_fs_types[type].area);
}

/* The disk that the swap area of @page lies on directly, if it is ours. */
static struct vtmem_area *vtmem_fs_below(struct address_space *mapping)
{
	if (!S_ISBLK(mapping->host->i_mode))
		return NULL;
	return vtmem_disk_area(I_BDEV(mapping->host));
}

/* There is no area: ask less and less often, and say so once. */
static void vtmem_fs_refused(struct vtmem_fs_type *fs, int err)
{
	WRITE_ONCE(fs->retry_at, jiffies + fs->retry);
	fs->retry = min(2 * fs->retry, VTMEM_FS_RETRY_MAX + 0UL);
	if (fs->refused == err)
		return;
	fs->refused = err;
	pr_warn("virtio_tmem %s: frontswap: cannot serve swap type %u yet: error %d\n",
		vtmem_fs_dev->name, (unsigned int)(fs - vtmem_fs_types), err);
}

/* Makes the area of a swap type, once its size is known. */
static void vtmem_fs_make_work(struct work_struct *work)
{
	struct vtmem_fs_type *fs = container_of(work, struct vtmem_fs_type,
						make_work);
	unsigned int type = fs - vtmem_fs_types;
	struct vtmem_area *area;

	mutex_lock(&vtmem_fs_mutex);
	if (fs->area || !vtmem_fs_dev)
		goto out;
	area = vtmem_area_create(vtmem_fs_dev, fs->nr_pages);
	if (IS_ERR(area)) {
		vtmem_fs_refused(fs, PTR_ERR(area));
		goto out;
	}
	fs->retry = VTMEM_FS_RETRY_MIN;
	fs->refused = 0;
	kref_get(&vtmem_fs_dev->ref);
	fs->dev = vtmem_fs_dev;
	fs->below = fs->want_below;
	/* Maybe no page ever comes to the disk, from which it would see that. */
	if (fs->below)
		vtmem_gate_is_swap(fs->below, true);
	/* Pairs with vtmem_fs_area(): who sees the area sees all of it. */
	smp_store_release(&fs->area, area);
	pr_info("virtio_tmem %s: frontswap: serving swap type %u, %lu MiB%s\n",
		fs->dev->name, type, area->nr_pages >> (20 - PAGE_SHIFT),
		fs->below ? ", on the swap disk" : "");
out:
	mutex_unlock(&vtmem_fs_mutex);
}

/* Asks for the area of @page's swap area; at most once a second, or less. */
static void vtmem_fs_want(struct vtmem_fs_type *fs, struct page *page)
{
	struct address_space *mapping = page_file_mapping(page);

	/* Races of two askers are harmless: both write the same values. */
	if (!READ_ONCE(vtmem_fs_dev) || work_pending(&fs->make_work) ||
	    time_before(jiffies, READ_ONCE(fs->retry_at)))
		return;
	WRITE_ONCE(fs->retry_at, jiffies + VTMEM_FS_RETRY_MIN);
	WRITE_ONCE(fs->nr_pages, i_size_read(mapping->host) >> PAGE_SHIFT);
	WRITE_ONCE(fs->want_below, vtmem_fs_below(mapping));
	/*
	 * It allocates, so it is no work that reclaim can rely on; and no pool
	 * is made while the system goes to sleep.
	 */
	queue_work(system_freezable_wq, &fs->make_work);
}

/*
 * Asks for the area at swapon.  Its size is not told there; the kernel tells the
 * file of a page in the swap cache, so this one stands for the first slot.
 */
static void vtmem_fs_want_early(unsigned int type)
{
	/* GFP_KERNEL: swapon. */
	struct page *page = alloc_page(GFP_KERNEL);

	if (!page)
		return;
	SetPageSwapBacked(page);
	SetPageSwapCache(page);
	set_page_private(page, swp_entry(type, 1).val);
	vtmem_fs_want(&vtmem_fs_types[type], page);
	set_page_private(page, 0);
	ClearPageSwapCache(page);
	ClearPageSwapBacked(page);
	__free_page(page);
}

static void vtmem_fs_init(unsigned int type)
{
	WRITE_ONCE(vtmem_fs_types[type].on, true);
	/* A swap area that is there already may be about to lose its file. */
	if (!READ_ONCE(vtmem_fs_registering))
		vtmem_fs_want_early(type);
	/*
	 * The step under way knows nothing of it.  One that goes on nevertheless
	 * has found its area before, and looks for no other.
	 */
	vtmem_shrink_hold();
}

/* A job of one page, in the caller's frame: it is not DMA memory. */
static u8 vtmem_fs_do(struct vtmem_area *area, u8 op, pgoff_t offset,
		      struct page *page)
{
	struct scatterlist sg;
	struct vtmem_job job = {
		.area = area,
		.op = op,
		.page = offset,
		.nr = 1,
		.sg = &sg,
		.nr_sg = 1,
	};

	sg_init_table(&sg, 1);
	sg_set_page(&sg, page, PAGE_SIZE, 0);
	vtmem_submit_wait(&job);
	return job.status[0];
}

/*
 * Returns 0 if the host has the page, -1 if it goes to the disk.  Allocates
 * nothing: this is reclaim, and the caller may hold locks of file systems.
 */
static int vtmem_fs_store(unsigned int type, pgoff_t offset, struct page *page)
{
	struct vtmem_fs_type *fs = &vtmem_fs_types[type];
	struct vtmem_area *area = vtmem_fs_area(type);
	unsigned int i;

	/* The kernel has already invalidated what was under the slot. */
	if (!READ_ONCE(vtmem_param_frontswap))
		return -1;
	if (!area) {
		vtmem_fs_want(fs, page);
		return -1;
	}
	if (PageTransHuge(page)) {
		/*
		 * Frontswap keeps one bit for all of a huge page.  Whatever was
		 * under its slots goes: a skipped store is an invalidate.
		 */
		for (i = 0; i < thp_nr_pages(page); i++)
			vtmem_area_invalidate(area, offset + i, false);
		return -1;
	}
	if (offset >= area->nr_pages)
		return -1;
	/* What is refused here the disk may refuse as well, if it is ours. */
	WRITE_ONCE(area->has_fallback,
		   !fs->below || READ_ONCE(fs->below->has_fallback));
	if (!vtmem_store_ahead(area, offset, page) &&
	    vtmem_fs_do(area, VIRTIO_TMEM_OP_STORE, offset, page) !=
	    VIRTIO_TMEM_S_OK) {
		/* The disk will have it, so nobody misses it here. */
		vtmem_area_forget(area, offset);
		return -1;
	}
	/* From here on the disk's page is an older one. */
	if (fs->below)
		vtmem_area_invalidate(fs->below, offset, true);
	return 0;
}

/* A page that frontswap holds cannot be given back, and nobody else has it. */
static int vtmem_fs_lost(struct vtmem_fs_type *fs, unsigned int type,
			 pgoff_t offset)
{
	/* Its caller would not look whether the page was read. */
	if (vtmem_is_shrinking())
		pr_crit("virtio_tmem %s: frontswap: page %lu of swap type %u is lost while it was fetched back; who wants it will wait for ever, and nothing is fetched back any more\n",
			fs->dev->name, offset, type);
	while (vtmem_is_shrinking())
		schedule_timeout_idle(VTMEM_POLL);
	/* The swap disk knows that it does not have the page: EIO. */
	if (fs->below) {
		pr_err_ratelimited("virtio_tmem %s: frontswap: page %lu of swap type %u is lost\n",
				   fs->dev->name, offset, type);
		return -1;
	}
	if (READ_ONCE(vtmem_param_lost_panics))
		panic("virtio_tmem %s: frontswap: page %lu of swap type %u is lost (frontswap_lost=panic)",
		      fs->dev->name, offset, type);
	pr_crit("virtio_tmem %s: frontswap: page %lu of swap type %u is lost; the task %s (%d) will wait for ever (frontswap_lost=wait)\n",
		fs->dev->name, offset, type, current->comm,
		task_pid_nr(current));
	/* Idle sleep: known, reported above, and no reason to panic on. */
	while (!READ_ONCE(vtmem_param_lost_panics))
		schedule_timeout_idle(HZ);
	panic("virtio_tmem %s: frontswap: page %lu of swap type %u is lost (frontswap_lost=panic)",
	      fs->dev->name, offset, type);
}

/* Returns 0 with the page, or -1 if the slot was not stored here. */
static int vtmem_fs_load(unsigned int type, pgoff_t offset, struct page *page)
{
	struct vtmem_fs_type *fs = &vtmem_fs_types[type];
	struct vtmem_area *area = vtmem_fs_area(type);

	/* Other backends are asked for the pages they hold, and so are we. */
	if (!area || !vtmem_area_holds(area, offset))
		return -1;
	if (vtmem_fs_do(area, VIRTIO_TMEM_OP_LOAD, offset, page) ==
	    VIRTIO_TMEM_S_OK)
		return 0;
	return vtmem_fs_lost(fs, type, offset);
}

static void vtmem_fs_invalidate_page(unsigned int type, pgoff_t offset)
{
	struct vtmem_area *area;

	/* Under a spinlock, and so an RCU read-side section: see below. */
	area = vtmem_fs_area(type);
	if (area)
		vtmem_area_invalidate(area, offset, false);
}

/* After swapoff: the swap type has no page any more. */
static void vtmem_fs_invalidate_area(unsigned int type)
{
	struct vtmem_fs_type *fs = &vtmem_fs_types[type];
	struct vtmem_area *area;
	struct vtmem_dev *dev;

	cancel_work_sync(&fs->make_work);
	mutex_lock(&vtmem_fs_mutex);
	area = fs->area;
	dev = fs->dev;
	WRITE_ONCE(fs->on, false);
	WRITE_ONCE(fs->area, NULL);
	fs->below = NULL;
	fs->dev = NULL;
	fs->retry = VTMEM_FS_RETRY_MIN;
	fs->refused = 0;
	WRITE_ONCE(fs->retry_at, jiffies);
	mutex_unlock(&vtmem_fs_mutex);
	if (!area)
		return;

	/* Waits for invalidate_page, the only hook that may still be in it. */
	synchronize_rcu();
	vtmem_area_close(area);
	vtmem_area_free(area);
	vtmem_dev_put(dev);
}

static struct frontswap_ops vtmem_fs_ops = {
	.init		 = vtmem_fs_init,
	.store		 = vtmem_fs_store,
	.load		 = vtmem_fs_load,
	.invalidate_page = vtmem_fs_invalidate_page,
	.invalidate_area = vtmem_fs_invalidate_area,
};

/* Called once, and never undone. */
static void vtmem_fs_register(void)
{
	unsigned int i;

	for (i = 0; i < MAX_SWAPFILES; i++) {
		INIT_WORK(&vtmem_fs_types[i].make_work, vtmem_fs_make_work);
		vtmem_fs_types[i].retry_at = jiffies;
		vtmem_fs_types[i].retry = VTMEM_FS_RETRY_MIN;
	}
	__module_get(THIS_MODULE);
	WRITE_ONCE(vtmem_fs_registering, true);
	frontswap_register_ops(&vtmem_fs_ops);
	WRITE_ONCE(vtmem_fs_registering, false);
	vtmem_shrink_start();
}

/*
 * Makes @dev the device for frontswap, if there is none yet that works.  Sleeps;
 * the caller holds vtmem_devices_mutex.
 */
void vtmem_frontswap_attach(struct vtmem_dev *dev)
{
	struct device *d = &dev->vdev->dev;
	struct vtmem_dev *old;
	bool registered;

	if (!vtmem_param_frontswap) {
		dev_info(d, "frontswap: switched off (frontswap=0)\n");
		return;
	}
	mutex_lock(&vtmem_fs_mutex);
	old = vtmem_fs_dev;
	if (old && (old == dev || !vtmem_dev_has_failed(old))) {
		dev_info(d, "frontswap: served by %s\n", old->name);
		mutex_unlock(&vtmem_fs_mutex);
		return;
	}
	kref_get(&dev->ref);
	WRITE_ONCE(vtmem_fs_dev, dev);
	registered = vtmem_fs_registered;
	vtmem_fs_registered = true;
	mutex_unlock(&vtmem_fs_mutex);
	/* Its areas go on, until they end with swapoff. */
	if (old)
		vtmem_dev_put(old);

	if (!registered)
		vtmem_fs_register();
	dev_info(d, "frontswap: active; the module cannot be unloaded any more\n");
}

/* May pages of a swap type be fetched back, or pages of others beside it? */
static bool vtmem_fs_type_may_shrink(struct vtmem_fs_type *fs)
{
	if (!READ_ONCE(fs->on))
		return true;
	/* A device that was removed has failed, too. */
	return fs->below && fs->below->is_swap &&
	       !vtmem_gate_open_beside(fs->below) &&
	       !vtmem_dev_has_failed(fs->dev);
}

/*
 * May shrink.c ask the kernel for a swap area's pages, whichever it takes?  Only
 * if each lies on a disk of ours, where we see swapoff come: see there.  Sleeps.
 */
bool vtmem_frontswap_may_shrink(void)
{
	bool may = true;
	unsigned int i;

	mutex_lock(&vtmem_fs_mutex);
	for (i = 0; may && i < MAX_SWAPFILES; i++)
		may = vtmem_fs_type_may_shrink(&vtmem_fs_types[i]);
	mutex_unlock(&vtmem_fs_mutex);
	return may;
}

/* Do new areas of frontswap use @dev?  If it has failed they would. */
bool vtmem_frontswap_served_by(struct vtmem_dev *dev)
{
	return READ_ONCE(vtmem_fs_dev) == dev;
}

/* No new area uses @dev; those there are end with swapoff. */
void vtmem_frontswap_detach(struct vtmem_dev *dev)
{
	bool ours;

	mutex_lock(&vtmem_fs_mutex);
	ours = vtmem_fs_dev == dev;
	if (ours)
		WRITE_ONCE(vtmem_fs_dev, NULL);
	mutex_unlock(&vtmem_fs_mutex);
	if (ours)
		vtmem_dev_put(dev);
}
