// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * shared-fs: what a cluster file system asks of cleancache
 *
 * The only file system that calls cleancache_init_shared_fs() is ocfs2, which
 * needs a cluster.  This module has two super blocks of the same UUID, as two
 * mounts of a shared disk that can be written to, with one file each, and calls
 * cleancache's functions as the page cache does.  It loads if all is as it must
 * be, and else fails with a line in the log.
 *
 * Then it has a mount of that UUID on a read-only disk, for what is written to
 * its parameter "step":
 *
 *   mount, unmount
 *   read           it is unmounted, mounted anew at once, and only asks: pages
 *                  that another guest stored come back nevertheless
 *   another        a mount of the same UUID has a pool, and another's pages not
 *   put, get       pages of this guest; they come back, more than once
 *   alien          pages that another guest stored are there
 *   forget         they are invalidated here, and do not come back
 *   nothing        nothing is there
 *
 * For Linux 5.10 with cleancache alone.
 */
#include <linux/blkdev.h>
#include <linux/cleancache.h>
#include <linux/delay.h>
#include <linux/fs.h>
#include <linux/highmem.h>
#include <linux/module.h>
#include <linux/pagemap.h>
#include <linux/slab.h>
#include <linux/string.h>

#define NR_PAGES	32
#define TRIES		100
/* Pages of another guest, and what they are filled with beside their index. */
#define ALIEN_FIRST	1000
#define ALIEN_ADD	64

struct mount {
	struct super_block sb;
	struct block_device bdev;
	struct hd_struct part;
	struct inode inode;
	struct address_space mapping;
	struct page *page;
};

static const char *failed;

static void expect(bool good, const char *what)
{
	if (!good && !failed)
		failed = what;
}

static void mount_it(struct mount *m)
{
	memset(m->sb.s_uuid.b, 0x5a, sizeof(m->sb.s_uuid.b));
	m->sb.cleancache_poolid = CLEANCACHE_NO_POOL;
	m->sb.s_blocksize = PAGE_SIZE;
	__cleancache_init_shared_fs(&m->sb);
}

static struct mount *mount_new(bool read_only)
{
	struct mount *m = kzalloc(sizeof(*m), GFP_KERNEL);

	if (!m)
		return NULL;
	m->page = alloc_page(GFP_KERNEL);
	if (!m->page) {
		kfree(m);
		return NULL;
	}
	m->part.policy = read_only;
	m->bdev.bd_part = &m->part;
	m->sb.s_bdev = &m->bdev;
	m->inode.i_sb = &m->sb;
	m->inode.i_ino = 42;
	m->inode.i_mapping = &m->mapping;
	m->mapping.host = &m->inode;
	xa_init_flags(&m->mapping.i_pages, XA_FLAGS_LOCK_IRQ);
	mount_it(m);
	return m;
}

static void mount_free(struct mount *m)
{
	if (!m)
		return;
	__cleancache_invalidate_fs(&m->sb);
	__free_page(m->page);
	kfree(m);
}

/* The one page of the mount plays all pages of the file in turn. */
static void become(struct mount *m, pgoff_t index)
{
	lock_page(m->page);
	m->page->mapping = &m->mapping;
	m->page->index = index;
}

static void done(struct mount *m)
{
	m->page->mapping = NULL;
	unlock_page(m->page);
}

/* As the page cache drops a clean page: under the lock of its tree. */
static void put(struct mount *m, pgoff_t index, u8 content)
{
	become(m, index);
	memset(page_address(m->page), content, PAGE_SIZE);
	xa_lock_irq(&m->mapping.i_pages);
	__cleancache_put_page(m->page);
	xa_unlock_irq(&m->mapping.i_pages);
	done(m);
}

/* Is it there?  What is there has to be @content. */
static bool get(struct mount *m, pgoff_t index, u8 content)
{
	bool hit;

	become(m, index);
	memset(page_address(m->page), 0xee, PAGE_SIZE);
	hit = !__cleancache_get_page(m->page);
	if (hit)
		expect(!memchr_inv(page_address(m->page), content, PAGE_SIZE),
		       "a page has another content than was put");
	done(m);
	return hit;
}

/* A pool is made when the first page comes, which is lost. */
static bool wait_for_pool(struct mount *m)
{
	unsigned int i;

	for (i = 0; i < TRIES; i++) {
		put(m, NR_PAGES, 0x77);
		if (get(m, NR_PAGES, 0x77))
			return true;
		msleep(100);
	}
	return false;
}

static unsigned int get_all(struct mount *m, u8 add)
{
	unsigned int i, hits = 0;

	for (i = 0; i < NR_PAGES; i++)
		hits += get(m, i, i + add);
	return hits;
}

static void put_all(struct mount *m, u8 add)
{
	unsigned int i;

	for (i = 0; i < NR_PAGES; i++)
		put(m, i, i + add);
}

static void test_invalidate(struct mount *m)
{
	put_all(m, 2);
	become(m, 3);
	__cleancache_invalidate_page(&m->mapping, m->page);
	done(m);
	expect(!get(m, 3, 0), "a page that was invalidated was there");
	__cleancache_invalidate_inode(&m->mapping);
	expect(!get_all(m, 2), "a file that was invalidated was there");
}

static void test_remount(struct mount *m)
{
	int before = m->sb.cleancache_poolid;

	expect(wait_for_pool(m), "no page came back before the unmount");
	put_all(m, 4);
	__cleancache_invalidate_fs(&m->sb);
	expect(!get_all(m, 4), "pages outlived an unmount");
	mount_it(m);
	expect(m->sb.cleancache_poolid >= 0, "no pool after a new mount");
	expect(m->sb.cleancache_poolid != before, "a pool id was used again");
	expect(wait_for_pool(m), "no page came back after a new mount");
	expect(!get_all(m, 4), "pages of the last mount were there");
}

static void test_all(struct mount *one, struct mount *other)
{
	unsigned int hits;

	expect(one->sb.cleancache_poolid >= 0 &&
	       other->sb.cleancache_poolid >= 0, "no pool id");
	if (failed)
		return;
	expect(wait_for_pool(one) && wait_for_pool(other),
	       "no page ever came back");
	put_all(one, 0);
	put_all(one, 1);
	/* The other node has other content under the same names. */
	put_all(other, 128);
	hits = get_all(one, 1);
	expect(hits, "none of the pages came back");
	hits = get_all(other, 128);
	expect(hits, "none of the other mount's pages came back");
	test_invalidate(one);
	test_remount(one);
}

/* --- On a read-only disk --- */

static struct mount *ro;

static void test_another(void)
{
	struct mount *m = mount_new(true);

	if (!m) {
		expect(false, "no memory");
		return;
	}
	put_all(ro, 1);
	expect(wait_for_pool(m), "no page of another mount came back");
	put_all(m, 128);
	expect(get_all(m, 128), "none of another mount's pages came back");
	expect(get_all(ro, 1), "none of the pages came back");
	mount_free(m);
}

/* A guest that has nothing to offer is to find what others have. */
static void test_read(void)
{
	unsigned int i;

	mount_free(ro);
	ro = mount_new(true);
	for (i = 0; ro && i < TRIES; i++) {
		if (get(ro, ALIEN_FIRST, ALIEN_ADD))
			return;
		msleep(100);
	}
	expect(false, "no page came to a guest that only reads");
}

static void test_alien(void)
{
	unsigned int i;

	for (i = 0; i < NR_PAGES; i++)
		expect(get(ro, ALIEN_FIRST + i, i + ALIEN_ADD),
		       "a page of another guest is not there");
}

static void test_forget(void)
{
	unsigned int i;

	become(ro, ALIEN_FIRST);
	__cleancache_invalidate_page(&ro->mapping, ro->page);
	done(ro);
	expect(!get(ro, ALIEN_FIRST, 0),
	       "a page of another guest that was invalidated was there");
	__cleancache_invalidate_inode(&ro->mapping);
	for (i = 0; i < NR_PAGES; i++)
		expect(!get(ro, ALIEN_FIRST + i, i + ALIEN_ADD),
		       "a file with pages of another guest was there");
}

static void run_step(const char *step)
{
	if (sysfs_streq(step, "mount")) {
		ro = mount_new(true);
		expect(ro && wait_for_pool(ro), "no page ever came back");
	} else if (!ro) {
		expect(false, "there is no mount");
	} else if (sysfs_streq(step, "read")) {
		test_read();
	} else if (sysfs_streq(step, "unmount")) {
		mount_free(ro);
		ro = NULL;
	} else if (sysfs_streq(step, "another")) {
		test_another();
	} else if (sysfs_streq(step, "put")) {
		put_all(ro, 1);
	} else if (sysfs_streq(step, "get")) {
		expect(get_all(ro, 1) == NR_PAGES && get_all(ro, 1) == NR_PAGES,
		       "pages did not come back twice");
	} else if (sysfs_streq(step, "alien")) {
		test_alien();
		/* Loads take nothing away. */
		test_alien();
	} else if (sysfs_streq(step, "forget")) {
		test_forget();
	} else if (sysfs_streq(step, "nothing")) {
		expect(!get_all(ro, 1), "pages were there");
	} else {
		expect(false, "there is no such step");
	}
}

/* One at a time: the kernel holds a mutex. */
static int set_step(const char *step, const struct kernel_param *kp)
{
	run_step(step);
	if (!failed)
		return 0;
	pr_err("shared-fs: %s: %s\n", step, failed);
	failed = NULL;
	return -EIO;
}

static const struct kernel_param_ops step_ops = {
	.set = set_step,
};
module_param_cb(step, &step_ops, NULL, 0200);

static int __init shared_fs_init(void)
{
	struct mount *one = mount_new(false), *other = mount_new(false);

	if (one && other)
		test_all(one, other);
	else
		failed = "no memory";
	mount_free(one);
	mount_free(other);
	if (failed) {
		pr_err("shared-fs: %s\n", failed);
		return -EIO;
	}
	pr_info("shared-fs: all right\n");
	return 0;
}
module_init(shared_fs_init);

static void __exit shared_fs_exit(void)
{
	mount_free(ro);
}
module_exit(shared_fs_exit);

MODULE_DESCRIPTION("Test of cleancache for shared file systems");
MODULE_LICENSE("GPL");
