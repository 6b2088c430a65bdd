// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * virtio-tmem guest driver: cleancache
 *
 * Kernels up to 5.16, built with CONFIG_CLEANCACHE, offer each clean page of a
 * file that they are about to drop, and ask for it before they read the disk.
 * Each mounted file system that takes part (ext4, btrfs, ocfs2) has an ephemeral
 * pool; a file is an object, named by the key that cleancache makes for it.
 *
 * The file system knows a pool by a number that is not used again before 2^31
 * others were: a hook that read the number before an unmount must not reach the
 * pool of the file system that is mounted next.
 *
 * The pool on the host is made by a worker when the first page is offered, for
 * which nothing can wait, so the first pages are lost; one that is shared also
 * when the first page is asked for, as others may have it.  In return a mount
 * costs nothing and cannot fail, and what is mounted but not used has no pool.
 * That is more than thrift: ext4 asks for a pool again when it is remounted
 * writable, and forgets the one it had without a word.  When the host has no
 * room for one more pool, the one that was used least recently goes, if that is
 * long ago; it comes back when it is needed.
 *
 * A shared file system (ocfs2) whose disk cannot be written to here joins the
 * pool of its UUID, if the host has authorised this guest for that: guests with
 * the same read-only disk find each other's pages.
 *
 * Where the disk can be written to it gets a pool of its own.  That is right,
 * because a node that may lose its lock on a file drops the pages of that file
 * from its page cache, and then cleancache invalidates the whole file here.  A
 * shared pool would not be: nothing tells cleancache that a page which it has is
 * being changed.  A node that alone has a file open may drop a page, so that it is
 * stored, write that page anew, and then only share its lock (EX to PR), which
 * writes the page to the disk and leaves it in the page cache.  The old page in
 * the pool is hidden from this node by its page cache, but from no other.  The
 * disk has to be read-only, and not only the mount, as a mount can be made
 * writable and nobody tells us; with such a disk ocfs2 refuses that.
 *
 * Loads are exclusive if the host can do that and the pool is not shared: the
 * page is in the guest now, and would be stored again when it is dropped again.
 *
 * What the host gives back is believed, as the disk's content is: file systems
 * that check or decrypt what they read from a disk (fs-verity, fscrypt) had done
 * so before the page was stored, and do not again.
 *
 * Hooks cannot be unregistered, so the module stays once they are.
 *
 * A pool can be found by its number until the work that ends it runs, which is
 * after a sleep of the system that comes in between: the reset of the device
 * then concerns it like all others.
 *
 * Locking: store, load and invalidate find a pool under RCU.  store and
 * invalidate run under the lock of a file's page tree, with interrupts off.  The
 * state of a pool is changed by its work alone, but for the step from live to
 * spoiled, which anybody may take (ephemeral.c), and during system sleep, when
 * no work runs.  vtmem_cc_work_mutex serialises the works, which wait for the
 * host, and may be held when vtmem_cc_mutex is taken, which guards the device and
 * is all that a mount takes.  vtmem_eph_dev.nr_live is guarded by
 * vtmem_cc_work_mutex.  vtmem_cc_register_mutex comes before the kernel's
 * locks of mounted file systems (s_umount), so it is taken with no other held.
 */
#include <linux/blkdev.h>
#include <linux/cleancache.h>
#include <linux/fs.h>
#include <linux/jhash.h>
#include <linux/module.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/uuid.h>
#include <linux/virtio_config.h>
#include <linux/xarray.h>

#include "vtmem.h"

/* A pool that had nothing to do for so long may lose its place to another. */
#define VTMEM_CC_IDLE		(10 * HZ)

/* Until a pool is asked for again: doubled each time the host refuses it. */
#define VTMEM_CC_RETRY_MIN	HZ
#define VTMEM_CC_RETRY_MAX	(60 * HZ)

struct vtmem_cc_pool {
	struct vtmem_eph eph;		/* first: the hooks' */
	int id;
	unsigned long retry_at;		/* jiffies: when to ask for it again */
	unsigned long retry;		/* jiffies from one refusal to the next */
	int refused;			/* what the log has told: an error, or 0 */
	uuid_t uuid;			/* of a shared file system, or null */
	bool unchanging;		/* its disk cannot be written to here */
	bool rejoined;			/* it was not the first to join, once */
	int unshared;			/* what the log has told of sharing */
	struct work_struct end_work;	/* queued once, at unmount */
};

static DEFINE_XARRAY_ALLOC(vtmem_cc_pools);	/* by id */
static u32 vtmem_cc_next_id;
static DEFINE_MUTEX(vtmem_cc_work_mutex);

static DEFINE_MUTEX(vtmem_cc_mutex);
static struct vtmem_dev *vtmem_cc_dev;	/* for new pools; referenced */

static DEFINE_MUTEX(vtmem_cc_register_mutex);
static bool vtmem_cc_registered;

static struct vtmem_cc_pool *vtmem_cc_from_work(struct work_struct *work)
{
	return container_of(work, struct vtmem_cc_pool, eph.work);
}

/*
 * Nothing of the pool may be believed any more, and its place on the host goes.
 * False if that was so before.  Under RCU, or in the pool's own work.
 */
static bool vtmem_cc_spoil(struct vtmem_cc_pool *pool)
{
	if (cmpxchg(&pool->eph.state, VTMEM_EPH_LIVE, VTMEM_EPH_SPOILED) !=
	    VTMEM_EPH_LIVE)
		return false;
	queue_work(system_freezable_wq, &pool->eph.work);
	return true;
}

/* The host's pool goes, with all that is in it. */
static void vtmem_cc_drop(struct vtmem_cc_pool *pool)
{
	struct vtmem_eph *eph = &pool->eph;

	lockdep_assert_held(&vtmem_cc_work_mutex);

	if (eph->state == VTMEM_EPH_NONE)
		return;
	WRITE_ONCE(eph->state, VTMEM_EPH_SPOILED);
	vtmem_eph_drain(eph);
	vtmem_pool_destroy(eph->dev, eph->host);
	WRITE_ONCE(eph->state, VTMEM_EPH_NONE);
	eph->dev->eph->nr_live--;
}

/*
 * Has the pool of @dev that was idle the longest give up its place on the host.
 * Returns whether there is one that does.
 */
static bool vtmem_cc_make_room(struct vtmem_dev *dev)
{
	struct vtmem_cc_pool *pool, *oldest = NULL;
	unsigned long id;
	bool found;

	lockdep_assert_held(&vtmem_cc_work_mutex);

	rcu_read_lock();
	xa_for_each(&vtmem_cc_pools, id, pool)
		if (pool->eph.dev == dev &&
		    pool->eph.state != VTMEM_EPH_NONE &&
		    time_after(jiffies, pool->eph.used + VTMEM_CC_IDLE) &&
		    (!oldest || time_before(pool->eph.used, oldest->eph.used)))
			oldest = pool;
	found = oldest && vtmem_cc_spoil(oldest);
	rcu_read_unlock();
	return found;
}

/* The host has refused a pool: it is asked less and less often. */
static void vtmem_cc_refused(struct vtmem_cc_pool *pool, int err)
{
	bool room = err == -ENOSPC && vtmem_cc_make_room(pool->eph.dev);

	WRITE_ONCE(pool->retry_at,
		   jiffies + (room ? VTMEM_CC_RETRY_MIN : pool->retry));
	if (!room)
		pool->retry = min(2 * pool->retry, VTMEM_CC_RETRY_MAX + 0UL);
	if (pool->refused == err)
		return;
	pool->refused = err;
	pr_warn("virtio_tmem %s: cleancache: no pool for file system %d yet: %s\n",
		pool->eph.dev->name, pool->id, err == -ENOSPC ?
		"the host has no room for one more" : "the host refused it");
}

/*
 * A shared file system has joined its pool, or has one of its own for @why: an
 * error.  Told once.
 */
static void vtmem_cc_tell_sharing(struct vtmem_cc_pool *pool, int why)
{
	const char *name = pool->eph.dev->name;

	if (pool->unshared == why)
		return;
	pool->unshared = why;
	switch (why) {
	case 0:
		pr_info("virtio_tmem %s: cleancache: file system %d shares the pool %pUb with other guests\n",
			name, pool->id, &pool->uuid);
		break;
	case -EROFS:
		pr_info("virtio_tmem %s: cleancache: file system %d has a pool of its own and does not share %pUb: its disk is not read-only\n",
			name, pool->id, &pool->uuid);
		break;
	case -EPERM:
		pr_warn("virtio_tmem %s: cleancache: file system %d has a pool of its own: the host has not authorised this guest for the shared pool %pUb; after tmem-authorize there, mount it again\n",
			name, pool->id, &pool->uuid);
		break;
	default:
		pr_warn("virtio_tmem %s: cleancache: file system %d has a pool of its own: another one of this guest is in the shared pool %pUb\n",
			name, pool->id, &pool->uuid);
	}
}

/* May the pool have pages that this guest has not stored? */
static bool vtmem_cc_may_share(const struct vtmem_cc_pool *pool)
{
	return pool->unchanging && !uuid_is_null(&pool->uuid);
}

/*
 * Has the host make the pool, which is nobody's yet, or joins it.  -EAGAIN if
 * that is to be tried again.
 */
static int vtmem_cc_create(struct vtmem_cc_pool *pool, __le64 *host)
{
	struct vtmem_eph *eph = &pool->eph;
	int err = -EROFS;

	eph->shared = false;
	if (uuid_is_null(&pool->uuid) || !eph->dev->eph->shared)
		return vtmem_pool_create_ephemeral(eph->dev, host);
	if (pool->unchanging) {
		err = vtmem_pool_join(eph->dev, &pool->uuid, host);
		/* Of this guest, the last mount may still be leaving it. */
		if (err == -EINVAL && !pool->rejoined) {
			pool->rejoined = true;
			return -EAGAIN;
		}
		if (err && err != -EPERM && err != -EINVAL)
			return err;
	}
	vtmem_cc_tell_sharing(pool, err);
	if (err)
		return vtmem_pool_create_ephemeral(eph->dev, host);
	eph->shared = true;
	return 0;
}

/* Makes a pool live. */
static void vtmem_cc_make(struct vtmem_cc_pool *pool)
{
	struct vtmem_eph *eph = &pool->eph;
	__le64 host;
	int err;

	lockdep_assert_held(&vtmem_cc_work_mutex);

	if (!READ_ONCE(vtmem_param_cleancache) ||
	    eph->dev != READ_ONCE(vtmem_cc_dev) || READ_ONCE(eph->dev->failed))
		return;
	err = vtmem_cc_create(pool, &host);
	/* vtmem_cc_ask() has said when. */
	if (err == -EAGAIN)
		return;
	if (err) {
		vtmem_cc_refused(pool, err);
		return;
	}
	pool->retry = VTMEM_CC_RETRY_MIN;
	pool->refused = 0;
	if (!eph->dev->eph->nr_live++)
		vtmem_eph_clear_maps(eph->dev);
	eph->host = host;
	eph->used = jiffies;
	/* Pairs with vtmem_cc_find(): who sees it live sees the rest. */
	smp_store_release(&eph->state, VTMEM_EPH_LIVE);
	/* Pairs with vtmem_cleancache_off(), which may have missed it. */
	smp_mb();
	if (!READ_ONCE(vtmem_param_cleancache))
		vtmem_cc_spoil(pool);
}

/*
 * A pool without a place on the host is to get one; one that cannot be believed
 * loses it.  Allocates nothing, but waits for the host.
 */
static void vtmem_cc_work(struct work_struct *work)
{
	struct vtmem_cc_pool *pool = vtmem_cc_from_work(work);

	mutex_lock(&vtmem_cc_work_mutex);
	switch (READ_ONCE(pool->eph.state)) {
	case VTMEM_EPH_NONE:
		vtmem_cc_make(pool);
		break;
	case VTMEM_EPH_SPOILED:
		vtmem_cc_drop(pool);
		break;
	case VTMEM_EPH_LIVE:
		break;
	}
	mutex_unlock(&vtmem_cc_work_mutex);
}

/* After the file system has forgotten the pool. */
static void vtmem_cc_end_work(struct work_struct *work)
{
	struct vtmem_cc_pool *pool = container_of(work, struct vtmem_cc_pool,
						  end_work);

	xa_erase(&vtmem_cc_pools, pool->id);
	/* A hook that found it before may still be asking for the work. */
	synchronize_rcu();
	/*
	 * After the first of these nothing makes it live; but an answer that is
	 * an error still asks for the work of a live pool.
	 */
	cancel_work_sync(&pool->eph.work);
	cmpxchg(&pool->eph.state, VTMEM_EPH_LIVE, VTMEM_EPH_SPOILED);
	/* Who spoiled it first may be about to ask (vtmem_eph_spoil). */
	synchronize_rcu();
	cancel_work_sync(&pool->eph.work);
	mutex_lock(&vtmem_cc_work_mutex);
	vtmem_cc_drop(pool);
	mutex_unlock(&vtmem_cc_work_mutex);
	/* The last load has counted itself out, and may not yet have woken us. */
	synchronize_rcu();
	vtmem_dev_put(pool->eph.dev);
	kfree(pool);
}

/* @sb: of a shared file system, or NULL. */
static int vtmem_cc_init(const struct super_block *sb, size_t page_size)
{
	struct vtmem_cc_pool *pool;
	u32 id;
	int err;

	if (page_size != PAGE_SIZE)
		return -1;
	pool = kzalloc(sizeof(*pool), GFP_KERNEL);
	if (!pool)
		return -1;
	INIT_WORK(&pool->eph.work, vtmem_cc_work);
	INIT_WORK(&pool->end_work, vtmem_cc_end_work);
	pool->retry_at = jiffies;
	pool->retry = VTMEM_CC_RETRY_MIN;
	pool->unshared = 1;		/* nothing yet */
	if (sb) {
		uuid_copy(&pool->uuid, &sb->s_uuid);
		pool->unchanging = bdev_read_only(sb->s_bdev);
	}

	mutex_lock(&vtmem_cc_mutex);
	err = -ENODEV;
	if (vtmem_cc_dev) {
		/* GFP_KERNEL: no lock is held that reclaim could want. */
		err = xa_alloc_cyclic(&vtmem_cc_pools, &id, pool,
				      XA_LIMIT(0, INT_MAX), &vtmem_cc_next_id,
				      GFP_KERNEL);
	}
	if (err < 0) {
		mutex_unlock(&vtmem_cc_mutex);
		kfree(pool);
		return -1;
	}
	/* Nobody is told the number before all is there. */
	kref_get(&vtmem_cc_dev->ref);
	pool->eph.dev = vtmem_cc_dev;
	pool->eph.hash = jhash_1word(id, 0);
	pool->id = id;
	mutex_unlock(&vtmem_cc_mutex);
	return id;
}

/* Called by a mount, or a remount, which may sleep. */
static int vtmem_cc_init_fs(size_t page_size)
{
	return vtmem_cc_init(NULL, page_size);
}

/* The same; cleancache passes the UUID that is in the super block. */
static int vtmem_cc_init_shared_fs(uuid_t *uuid, size_t page_size)
{
	return vtmem_cc_init(container_of(uuid, struct super_block, s_uuid),
			     page_size);
}

/* The pool of @id, if it is live.  Under RCU. */
static struct vtmem_cc_pool *vtmem_cc_find(int id)
{
	struct vtmem_cc_pool *pool = xa_load(&vtmem_cc_pools, id);

	/* Pairs with vtmem_cc_make(). */
	if (pool && smp_load_acquire(&pool->eph.state) != VTMEM_EPH_LIVE)
		return NULL;
	return pool;
}

static struct vtmem_eph_name vtmem_cc_name(const struct cleancache_filekey *key,
					   pgoff_t index)
{
	const u32 *word = key->u.key;
	struct vtmem_eph_name name;
	unsigned int i;

	BUILD_BUG_ON(sizeof(key->u.key) != sizeof(name.object));

	for (i = 0; i < ARRAY_SIZE(name.object); i++)
		name.object[i] = cpu_to_le64(word[2 * i] |
					     (u64)word[2 * i + 1] << 32);
	name.index = index;
	return name;
}

/* Has a pool made that is not live, if it is time for that.  Under RCU. */
static void vtmem_cc_ask(struct vtmem_cc_pool *pool)
{
	/* Races of two askers are harmless. */
	if (time_before(jiffies, READ_ONCE(pool->retry_at)))
		return;
	WRITE_ONCE(pool->retry_at, jiffies + VTMEM_CC_RETRY_MIN);
	queue_work(system_freezable_wq, &pool->eph.work);
}

/* A clean page is about to be dropped. */
static void vtmem_cc_put_page(int id, struct cleancache_filekey key,
			      pgoff_t index, struct page *page)
{
	struct vtmem_eph_name name = vtmem_cc_name(&key, index);
	struct vtmem_cc_pool *pool;

	rcu_read_lock();
	pool = xa_load(&vtmem_cc_pools, id);
	if (!pool) {
		/* Forgotten. */
	} else if (READ_ONCE(pool->eph.state) != VTMEM_EPH_LIVE) {
		vtmem_cc_ask(pool);
	} else if (PageTransCompound(page)) {
		/*
		 * Only the first page of a huge one is offered, and nothing is
		 * said about what was stored of the others.
		 */
		vtmem_eph_invalidate(&pool->eph, &name, true);
	} else {
		/* What it is live with: pairs with vtmem_cc_make(). */
		smp_rmb();
		vtmem_eph_store(&pool->eph, &name, page);
	}
	rcu_read_unlock();
}

/* Returns 0 if the page is what it was when it was put, else -1. */
static int vtmem_cc_get_page(int id, struct cleancache_filekey key,
			     pgoff_t index, struct page *page)
{
	struct vtmem_eph_name name = vtmem_cc_name(&key, index);
	struct vtmem_cc_pool *pool;
	wait_queue_head_t *idle;
	bool hit;

	rcu_read_lock();
	pool = xa_load(&vtmem_cc_pools, id);
	/* Pairs with vtmem_cc_make(). */
	if (pool && smp_load_acquire(&pool->eph.state) != VTMEM_EPH_LIVE) {
		if (vtmem_cc_may_share(pool))
			vtmem_cc_ask(pool);
		pool = NULL;
	}
	if (pool)
		atomic_inc(&pool->eph.inflight);
	rcu_read_unlock();
	if (!pool)
		return -1;
	hit = vtmem_eph_load(&pool->eph, &name, page);
	/* vtmem_cc_end_work() waits for who is here: pool and device stay. */
	rcu_read_lock();
	idle = &pool->eph.dev->idle;
	if (atomic_dec_and_test(&pool->eph.inflight) && wq_has_sleeper(idle))
		wake_up_all(idle);
	rcu_read_unlock();
	return hit ? 0 : -1;
}

static void vtmem_cc_invalidate(int id, const struct cleancache_filekey *key,
				pgoff_t index, bool whole)
{
	struct vtmem_eph_name name = vtmem_cc_name(key, index);
	struct vtmem_cc_pool *pool;

	rcu_read_lock();
	pool = vtmem_cc_find(id);
	if (pool)
		vtmem_eph_invalidate(&pool->eph, &name, whole);
	rcu_read_unlock();
}

static void vtmem_cc_invalidate_page(int id, struct cleancache_filekey key,
				     pgoff_t index)
{
	vtmem_cc_invalidate(id, &key, index, false);
}

static void vtmem_cc_invalidate_inode(int id, struct cleancache_filekey key)
{
	vtmem_cc_invalidate(id, &key, 0, true);
}

/* At unmount, which does not wait for the host. */
static void vtmem_cc_invalidate_fs(int id)
{
	struct vtmem_cc_pool *pool;

	/* No hook is called with this number any more, so it is not ended twice. */
	rcu_read_lock();
	pool = xa_load(&vtmem_cc_pools, id);
	if (pool)
		queue_work(system_freezable_wq, &pool->end_work);
	rcu_read_unlock();
}

static const struct cleancache_ops vtmem_cc_ops = {
	.init_fs		= vtmem_cc_init_fs,
	.init_shared_fs		= vtmem_cc_init_shared_fs,
	.get_page		= vtmem_cc_get_page,
	.put_page		= vtmem_cc_put_page,
	.invalidate_page	= vtmem_cc_invalidate_page,
	.invalidate_inode	= vtmem_cc_invalidate_inode,
	.invalidate_fs		= vtmem_cc_invalidate_fs,
};

/* Why @dev is not to serve cleancache, or NULL.  Holds vtmem_cc_mutex. */
static const char *vtmem_cc_why_not(struct vtmem_dev *dev)
{
	if (!vtmem_param_cleancache)
		return "switched off (cleancache=0)";
	if (!virtio_has_feature(dev->vdev, VIRTIO_TMEM_F_EPHEMERAL))
		return "the host offers no ephemeral pools";
	if (vtmem_cc_dev == dev)
		return "switched on again";
	if (vtmem_cc_dev && !vtmem_dev_has_failed(vtmem_cc_dev))
		return "another device serves it";
	/* It is there if this device has served it before, or was about to. */
	if (!dev->eph && vtmem_eph_alloc(dev))
		return "not enough memory";
	return NULL;
}

/*
 * Makes @dev the device for cleancache, if there is none yet that works.  Sleeps.
 * Once the caller has let go of vtmem_devices_mutex it calls
 * vtmem_cleancache_register().
 */
void vtmem_cleancache_attach(struct vtmem_dev *dev)
{
	struct device *d = &dev->vdev->dev;
	struct vtmem_dev *old = NULL;
	const char *why_not;

	mutex_lock(&vtmem_cc_mutex);
	why_not = vtmem_cc_why_not(dev);
	if (!why_not) {
		old = vtmem_cc_dev;
		kref_get(&dev->ref);
		WRITE_ONCE(vtmem_cc_dev, dev);
	}
	mutex_unlock(&vtmem_cc_mutex);
	/* Its pools go on, until they end with their file systems. */
	if (old)
		vtmem_dev_put(old);
	if (why_not)
		dev_info(d, "cleancache: %s\n", why_not);
	else if (READ_ONCE(vtmem_cc_registered))
		dev_info(d, "cleancache: active\n");
}

/*
 * Has the kernel call the hooks, if there is a device for them and it does not
 * yet.  The kernel waits for the locks of all file systems: with none of ours.
 */
void vtmem_cleancache_register(void)
{
	struct vtmem_dev *dev;

	mutex_lock(&vtmem_cc_register_mutex);
	mutex_lock(&vtmem_cc_mutex);
	dev = vtmem_cc_dev;
	if (dev)
		kref_get(&dev->ref);
	mutex_unlock(&vtmem_cc_mutex);
	if (!dev)
		goto out;
	if (vtmem_cc_registered)
		goto out_put;

	/* Calls init_fs for what is mounted already. */
	__module_get(THIS_MODULE);
	if (!cleancache_register_ops(&vtmem_cc_ops)) {
		WRITE_ONCE(vtmem_cc_registered, true);
		pr_info("virtio_tmem %s: cleancache: active; the module cannot be unloaded any more\n",
			dev->name);
	} else {
		module_put(THIS_MODULE);
		pr_info("virtio_tmem %s: cleancache: another driver serves it\n",
			dev->name);
		/* Nobody calls the hooks; the memory is kept for another try. */
		vtmem_cleancache_detach(dev);
	}
out_put:
	vtmem_dev_put(dev);
out:
	mutex_unlock(&vtmem_cc_register_mutex);
}

/* No new pool uses @dev; those there are end with their file systems. */
void vtmem_cleancache_detach(struct vtmem_dev *dev)
{
	bool ours;

	mutex_lock(&vtmem_cc_mutex);
	ours = vtmem_cc_dev == dev;
	if (ours)
		WRITE_ONCE(vtmem_cc_dev, NULL);
	mutex_unlock(&vtmem_cc_mutex);
	if (ours)
		vtmem_dev_put(dev);
}

/* Do new pools go to @dev? */
bool vtmem_cleancache_served_by(struct vtmem_dev *dev)
{
	return READ_ONCE(vtmem_cc_dev) == dev;
}

/*
 * Gives up all pages on the host.  Pools are not made again as long as the
 * parameter says so, which is the caller's.
 */
void vtmem_cleancache_off(void)
{
	struct vtmem_cc_pool *pool;
	unsigned long id;

	/*
	 * Not under vtmem_cc_work_mutex, whose holder may wait for a silent host.
	 * Pairs with vtmem_cc_make(): either it sees the parameter, or we its pool.
	 */
	smp_mb();
	rcu_read_lock();
	xa_for_each(&vtmem_cc_pools, id, pool)
		vtmem_cc_spoil(pool);
	rcu_read_unlock();
	pr_info("virtio_tmem: cleancache: switched off (cleancache=0)\n");
}

/*
 * The device was reset for system sleep: the host has no pool.  The works do not
 * run at this time, and what the hooks asked for has ended.
 */
void vtmem_cleancache_reset(struct vtmem_dev *dev)
{
	struct vtmem_cc_pool *pool;
	unsigned long id;

	if (!dev->eph)
		return;
	mutex_lock(&vtmem_cc_work_mutex);
	xa_for_each(&vtmem_cc_pools, id, pool)
		if (pool->eph.dev == dev &&
		    pool->eph.state != VTMEM_EPH_NONE) {
			WRITE_ONCE(pool->eph.state, VTMEM_EPH_SPOILED);
			vtmem_eph_drain(&pool->eph);
			WRITE_ONCE(pool->eph.state, VTMEM_EPH_NONE);
			dev->eph->nr_live--;
		}
	mutex_unlock(&vtmem_cc_work_mutex);
	vtmem_eph_cancel_work(dev);
}
