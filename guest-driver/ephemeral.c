// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * virtio-tmem guest driver: ephemeral pages
 *
 * Stores, loads and invalidates of pages that may vanish at any time, for
 * callers that can neither allocate, sleep nor wait.  Other than in an area no
 * map says what the host holds: names are those of files, and there is no bound
 * on them.  What makes that safe is that a miss is always a right answer.
 *
 *   store       copied into a slot and posted; without a free slot it is
 *               skipped, and then the name is invalidated
 *   invalidate  noted, and sent in batches, in order.  If there is no room to
 *               note it the whole pool is *spoiled*: it answers misses until
 *               its owner has replaced it (cleancache.c)
 *   load        waits, but not for ever: the answer arrives in the slot's own
 *               page.  A host that keeps silent is a miss, and the slot is its
 *               until it answers
 *
 * A load is one page, one request and one notification: the kernel asks for the
 * pages of a file one at a time, and cannot be told of others.  Pages fetched ahead
 * would have to be found and killed here, in each store and invalidate, which run
 * with interrupts off; and an exclusive load takes them away from the host, so those
 * that nobody asks for would be lost to the cache.  What a load saves is a read from
 * the disk, which costs the host more than the notification.
 *
 * An invalidate that is noted and not yet posted has already happened for the
 * guest: a load of its object is a miss.  A store may overtake it, in which case
 * the new page goes too, which is a loss and no lie.  An invalidate while a load
 * is under way spoils the load: the generation of its object has changed.
 *
 * Two maps of bits, hashed, save requests.  A set bit means "perhaps", so they
 * need no room for what they cannot know:
 *
 *   objects  something of this object was stored.  Never cleared while pools
 *            live, so an invalidate may be left out when the bit is clear
 *   pages    this page may be there.  Cleared by the answer to a load, also for
 *            another page that has the same bit, so only loads may ask it
 *
 * Of a pool that other guests share (vtmem_eph.shared) they do not know what is
 * there: its loads and invalidates are not left out, and its loads, which are
 * never exclusive, clear nothing.
 *
 * Locking: all of struct vtmem_eph_queue is guarded by vtmem_queue.lock; the
 * maps are changed by atomic operations.  A pool's state and its host's name for
 * it may be read in an RCU read-side section, which ends after posting: whoever
 * changes the state to another than live waits for a grace period before the
 * pool is drained.
 */
#include <linux/highmem.h>
#include <linux/jhash.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/virtio_config.h>
#include <linux/vmalloc.h>

#include "ephemeral.h"

/* Stores for one notification of the host, and how long the first waits. */
#define VTMEM_EPH_KICK		16
#define VTMEM_EPH_KICK_MS	10

#define VTMEM_EPH_LOAD_TIMEOUT	HZ

#define VTMEM_EPH_OBJECT_BITS	18
/* Pages the host may hold for a page of RAM until the map says little. */
#define VTMEM_EPH_PAGE_FACTOR	8

static u32 vtmem_eph_hash(const struct vtmem_eph *pool,
			  const struct vtmem_eph_name *name)
{
	return jhash2((const u32 *)name->object, sizeof(name->object) / 4,
		      pool->hash);
}

static unsigned int vtmem_eph_page_bit(struct vtmem_eph_dev *maps, u32 hash,
				       u64 index)
{
	return jhash_2words(lower_32_bits(index), upper_32_bits(index), hash) &
	       (maps->nr_pages - 1);
}

static unsigned int vtmem_eph_object_bit(u32 hash)
{
	return hash & (BIT(VTMEM_EPH_OBJECT_BITS) - 1);
}

static u32 *vtmem_eph_gen(struct vtmem_eph_queue *eq, u32 hash)
{
	return &eq->gen[(hash >> 8) % VTMEM_EPH_GENS];
}

/* May something of this object be on the host? */
static bool vtmem_eph_may_hold(struct vtmem_eph *pool, u32 hash)
{
	return pool->shared ||
	       test_bit(vtmem_eph_object_bit(hash), pool->dev->eph->objects);
}

/* A function of the object alone, so that its operations keep their order. */
static struct vtmem_queue *vtmem_eph_pick(struct vtmem_eph *pool, u32 hash)
{
	struct vtmem_dev *dev = pool->dev;

	return &dev->queues[(hash >> 16) % dev->nr_queues];
}

/* The ring to notify now; if there is none, but work, it is done a bit later. */
static struct virtqueue *vtmem_eph_kick(struct vtmem_queue *q)
{
	if (q->nr_unkicked >= VTMEM_EPH_KICK)
		return vtmem_kick_prepare(q);
	if (q->nr_unkicked || q->eph->nr_notes)
		queue_delayed_work(vtmem_wq, &q->eph->work,
				   msecs_to_jiffies(VTMEM_EPH_KICK_MS));
	return NULL;
}

void vtmem_eph_work(struct work_struct *work)
{
	struct vtmem_eph_queue *eq = container_of(to_delayed_work(work),
						  struct vtmem_eph_queue, work);
	struct vtmem_queue *q = eq->q;
	struct virtqueue *notify;

	rcu_read_lock();
	spin_lock_irq(&q->lock);
	vtmem_eph_flush_notes(q);
	notify = vtmem_kick_prepare(q);
	/* The end of a flush asks again; without one in the ring time has to. */
	if (eq->nr_notes && q->state != VTMEM_FAILED)
		queue_delayed_work(vtmem_wq, &eq->work,
				   msecs_to_jiffies(VTMEM_EPH_KICK_MS));
	spin_unlock_irq(&q->lock);
	if (notify)
		virtqueue_notify(notify);
	rcu_read_unlock();
}

/**
 * vtmem_eph_invalidate() - nothing that was stored may be loaded any more
 * @pool:  of the page
 * @name:  of the page
 * @whole: all pages of its object
 *
 * Any context; never sleeps, allocates or fails.  The caller is in an RCU
 * read-side section.
 */
void vtmem_eph_invalidate(struct vtmem_eph *pool,
			  const struct vtmem_eph_name *name, bool whole)
{
	u32 hash = vtmem_eph_hash(pool, name);
	struct vtmem_queue *q = vtmem_eph_pick(pool, hash);
	struct virtqueue *notify = NULL;
	unsigned long flags;

	spin_lock_irqsave(&q->lock, flags);
	(*vtmem_eph_gen(q->eph, hash))++;
	if (READ_ONCE(pool->state) == VTMEM_EPH_LIVE &&
	    q->state != VTMEM_FAILED && vtmem_eph_may_hold(pool, hash)) {
		vtmem_eph_note(q, pool, name, whole);
		notify = vtmem_eph_kick(q);
	}
	spin_unlock_irqrestore(&q->lock, flags);
	if (notify)
		virtqueue_notify(notify);
}

/**
 * vtmem_eph_store() - offer a page to the host
 * @pool: where to
 * @name: of the page
 * @page: its content, which is copied
 *
 * Any context; never sleeps or allocates.  If it does not get there, neither
 * does what was under the name before.  The caller is in an RCU read-side
 * section.
 */
void vtmem_eph_store(struct vtmem_eph *pool, const struct vtmem_eph_name *name,
		     struct page *page)
{
	u32 hash = vtmem_eph_hash(pool, name);
	struct vtmem_queue *q = vtmem_eph_pick(pool, hash);
	struct vtmem_eph_queue *eq = q->eph;
	struct vtmem_eph_dev *maps = q->dev->eph;
	struct vtmem_eph_slot *slot = NULL;
	struct virtqueue *notify = NULL;
	unsigned long flags;

	spin_lock_irqsave(&q->lock, flags);
	if (READ_ONCE(pool->state) != VTMEM_EPH_LIVE ||
	    q->state == VTMEM_FAILED)
		goto out;
	if (eq->nr_free > VTMEM_EPH_LOAD_SLOTS &&
	    !vtmem_hint_refuses(q->dev, VIRTIO_TMEM_HINT_EPHEMERAL))
		slot = list_first_entry(&eq->slots, struct vtmem_eph_slot,
					node);
	if (slot) {
		copy_highpage(slot->page, page);
		slot->wait = NULL;
		slot->page_bit = vtmem_eph_page_bit(maps, hash, name->index);
		if (!vtmem_eph_post(q, slot, pool, VIRTIO_TMEM_OP_STORE, 0,
				    name))
			slot = NULL;
	}
	if (slot) {
		set_bit(vtmem_eph_object_bit(hash), maps->objects);
		set_bit(slot->page_bit, maps->pages);
		pool->used = jiffies;
		q->stats[VTMEM_EPH_STORES]++;
	} else {
		q->stats[VTMEM_EPH_STORES_SKIPPED]++;
		(*vtmem_eph_gen(eq, hash))++;
		if (vtmem_eph_may_hold(pool, hash))
			vtmem_eph_note(q, pool, name, false);
	}
	/* When slots run short the host should know what it has to do. */
	notify = slot ? vtmem_eph_kick(q) : vtmem_kick_prepare(q);
	if (!slot && eq->nr_notes)
		vtmem_eph_kick(q);
out:
	spin_unlock_irqrestore(&q->lock, flags);
	if (notify)
		virtqueue_notify(notify);
}

/*
 * Posts a load.  Returns the slot; NULL if it is a miss; -EBUSY if there is no
 * slot at present.
 */
static struct vtmem_eph_slot *
vtmem_eph_post_load(struct vtmem_queue *q, struct vtmem_eph *pool,
		    const struct vtmem_eph_name *name, u32 hash, u32 *gen,
		    struct vtmem_eph_wait *wait)
{
	struct vtmem_eph_queue *eq = q->eph;
	struct vtmem_eph_dev *maps = q->dev->eph;
	unsigned int bit = vtmem_eph_page_bit(maps, hash, name->index);
	struct vtmem_eph_slot *slot;

	lockdep_assert_held(&q->lock);

	if (READ_ONCE(pool->state) != VTMEM_EPH_LIVE || eq->silent ||
	    q->state != VTMEM_RUNNING ||
	    (!pool->shared && !test_bit(bit, maps->pages)))
		return NULL;
	vtmem_eph_flush_notes(q);
	if (vtmem_eph_find_note(eq, pool, name))
		return NULL;
	slot = list_first_entry_or_null(&eq->slots, struct vtmem_eph_slot,
					node);
	if (!slot)
		return ERR_PTR(-EBUSY);
	slot->wait = wait;
	slot->page_bit = bit;
	if (!vtmem_eph_post(q, slot, pool, VIRTIO_TMEM_OP_LOAD,
			    maps->exclusive && !pool->shared ?
			    VIRTIO_TMEM_OP_F_EXCLUSIVE : 0, name))
		return NULL;
	*gen = *vtmem_eph_gen(eq, hash);
	pool->used = jiffies;
	return slot;
}

/*
 * Waits for the answer, for as long as that makes sense.  Returns false when
 * it is given up: the slot belongs to the device.
 */
static bool vtmem_eph_wait(struct vtmem_queue *q, struct vtmem_eph_slot *slot,
			   struct vtmem_eph_wait *wait)
{
	bool answered = true;

	if (wait_for_completion_io_timeout(&wait->done, VTMEM_EPH_LOAD_TIMEOUT))
		return true;
	vtmem_dev_broken(q->dev);
	spin_lock_irq(&q->lock);
	if (!completion_done(&wait->done)) {
		slot->wait = NULL;
		q->eph->silent = true;
		q->stats[VTMEM_EPH_LOADS_GIVEN_UP]++;
		answered = false;
	}
	spin_unlock_irq(&q->lock);
	return answered;
}

/**
 * vtmem_eph_load() - get a page back
 * @pool: where from
 * @name: of the page
 * @page: for its content; without a hit it may have changed, too
 *
 * Sleeps, but not for longer than VTMEM_EPH_LOAD_TIMEOUT.  Returns whether
 * @page has the content that was stored last.  The caller keeps the pool from
 * going away.
 */
bool vtmem_eph_load(struct vtmem_eph *pool, const struct vtmem_eph_name *name,
		    struct page *page)
{
	u32 gen, hash = vtmem_eph_hash(pool, name);
	struct vtmem_queue *q = vtmem_eph_pick(pool, hash);
	struct vtmem_eph_queue *eq = q->eph;
	struct vtmem_eph_slot *slot;
	struct vtmem_eph_wait wait;
	struct virtqueue *notify;
	bool hit;

	init_completion(&wait.done);
	for (;;) {
		rcu_read_lock();
		spin_lock_irq(&q->lock);
		slot = vtmem_eph_post_load(q, pool, name, hash, &gen, &wait);
		/* Also if there is no slot: others' requests must get there. */
		notify = slot ? vtmem_kick_prepare(q) : NULL;
		if (notify)
			q->stats[VTMEM_KICKS_LOADS]++;
		spin_unlock_irq(&q->lock);
		if (notify)
			virtqueue_notify(notify);
		rcu_read_unlock();
		if (!IS_ERR(slot))
			break;
		if (!wait_event_timeout(eq->room, READ_ONCE(eq->nr_free),
					VTMEM_EPH_LOAD_TIMEOUT))
			return false;
	}
	if (!slot || !vtmem_eph_wait(q, slot, &wait))
		return false;

	hit = wait.status == VIRTIO_TMEM_S_OK;
	if (hit)
		copy_highpage(page, slot->page);
	spin_lock_irq(&q->lock);
	if (hit && (*vtmem_eph_gen(eq, hash) != gen ||
		    READ_ONCE(pool->state) != VTMEM_EPH_LIVE)) {
		q->stats[VTMEM_EPH_LOADS_SPOILED]++;
		hit = false;
	}
	q->stats[VTMEM_EPH_LOADS_HIT] += hit;
	vtmem_eph_slot_free(eq, slot);
	spin_unlock_irq(&q->lock);
	return hit;
}

/**
 * vtmem_eph_drain() - wait until nothing of a pool is under way
 * @pool: its state is not live any more
 *
 * Sleeps.
 */
void vtmem_eph_drain(struct vtmem_eph *pool)
{
	struct vtmem_dev *dev = pool->dev;
	struct vtmem_queue *q;

	/* Who saw it live has posted what it was about to. */
	synchronize_rcu();
	for (q = dev->queues; q < dev->queues + dev->nr_queues; q++) {
		spin_lock_irq(&q->lock);
		vtmem_eph_drop_notes(q, pool);
		spin_unlock_irq(&q->lock);
		mod_delayed_work(vtmem_wq, &q->eph->work, 0);
	}
	while (!wait_event_timeout(dev->idle, !atomic_read(&pool->inflight),
				   VTMEM_POLL))
		vtmem_dev_broken(dev);
}

/* No pool is live: what the maps remember is of none. */
void vtmem_eph_clear_maps(struct vtmem_dev *dev)
{
	bitmap_zero(dev->eph->objects, BIT(VTMEM_EPH_OBJECT_BITS));
	bitmap_zero(dev->eph->pages, dev->eph->nr_pages);
}

/* For the end of a device, and its sleep. */
void vtmem_eph_cancel_work(struct vtmem_dev *dev)
{
	struct vtmem_queue *q;

	for (q = dev->queues; q < dev->queues + dev->nr_queues; q++)
		if (q->eph)
			cancel_delayed_work_sync(&q->eph->work);
}

void vtmem_eph_free(struct vtmem_dev *dev)
{
	unsigned int i;

	for (i = 0; dev->queues && i < dev->nr_queues; i++)
		vtmem_eph_queue_free(&dev->queues[i]);
	if (!dev->eph)
		return;
	vfree(dev->eph->objects);
	vfree(dev->eph->pages);
	kfree(dev->eph);
	dev->eph = NULL;
}

/*
 * Memory for ephemeral pages; after an error there is none.  The caller keeps
 * dev->vdev from going.
 */
int vtmem_eph_alloc(struct vtmem_dev *dev)
{
	struct vtmem_eph_dev *maps;
	int err = -ENOMEM;
	unsigned int i;

	BUILD_BUG_ON(sizeof(struct vtmem_eph_batch) > PAGE_SIZE);

	maps = kzalloc(sizeof(*maps), GFP_KERNEL);
	if (!maps)
		return -ENOMEM;
	dev->eph = maps;
	maps->exclusive = virtio_has_feature(dev->vdev,
					     VIRTIO_TMEM_F_EXCLUSIVE);
	maps->shared = virtio_has_feature(dev->vdev, VIRTIO_TMEM_F_SHARED);
	maps->nr_pages = roundup_pow_of_two(min(totalram_pages(), BIT(27)) *
					    VTMEM_EPH_PAGE_FACTOR);
	maps->objects = vzalloc(BIT(VTMEM_EPH_OBJECT_BITS) / BITS_PER_BYTE);
	maps->pages = vzalloc(maps->nr_pages / BITS_PER_BYTE);
	if (maps->objects && maps->pages)
		err = 0;
	for (i = 0; !err && i < dev->nr_queues; i++)
		err = vtmem_eph_queue_alloc(&dev->queues[i]);
	if (err)
		vtmem_eph_free(dev);
	return err;
}
