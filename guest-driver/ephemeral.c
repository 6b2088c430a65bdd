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
 *               skipped, and a skipped store is an invalidate
 *   invalidate  noted, and sent in batches, in order.  If there is no room to
 *               note it the whole pool is *spoiled*: it answers misses until
 *               its owner has replaced it (cleancache.c)
 *   load        waits, but not for ever: the answer arrives in the slot's own
 *               page.  A host that keeps silent is a miss, and the slot is its
 *               until it answers
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
#include <linux/vmalloc.h>

#include "compat/virtio.h"
#include "vtmem.h"

/* Per queue: requests of one page at a time, each with a page of its own. */
#define VTMEM_EPH_SLOTS		64
/* Of these are left for loads, which someone waits for. */
#define VTMEM_EPH_LOAD_SLOTS	8
/* Requests with a batch of invalidates. */
#define VTMEM_EPH_FLUSHES	4
#define VTMEM_EPH_NOTES		1024
#define VTMEM_EPH_GENS		256

/* Stores for one notification of the host, and how long the first waits. */
#define VTMEM_EPH_KICK		16
#define VTMEM_EPH_KICK_MS	10

#define VTMEM_EPH_LOAD_TIMEOUT	HZ

#define VTMEM_EPH_OBJECT_BITS	18
/* Pages the host may hold for a page of RAM until the map says little. */
#define VTMEM_EPH_PAGE_FACTOR	8

/* Requests as the device sees them, without the page. */
struct vtmem_eph_wire {
	struct virtio_tmem_req req;
	struct virtio_tmem_op op;

	struct virtio_tmem_resp resp __aligned(VTMEM_DMA_ALIGN);
	u8 status;
};

struct vtmem_eph_batch {
	struct virtio_tmem_req req;
	struct virtio_tmem_op ops[VTMEM_BATCH_MAX];

	struct virtio_tmem_resp resp __aligned(VTMEM_DMA_ALIGN);
	u8 status[VTMEM_BATCH_MAX];
};

/* Someone waits for a load. */
struct vtmem_eph_wait {
	struct completion done;
	u8 status;
};

struct vtmem_eph_slot {
	struct vtmem_token token;
	struct list_head node;
	struct page *page;
	struct vtmem_eph_wire *wire;
	struct vtmem_eph *pool;
	struct vtmem_eph_wait *wait;	/* a load that is waited for */
	unsigned int page_bit;
};

struct vtmem_eph_flush {
	struct vtmem_token token;
	struct list_head node;
	struct vtmem_eph_batch *wire;	/* a page */
	unsigned int nr_ops;
	struct vtmem_eph *pools[VTMEM_BATCH_MAX];
};

/* An invalidate that is not yet posted. */
struct vtmem_eph_note {
	struct vtmem_eph *pool;
	struct vtmem_eph_name name;
	bool whole;			/* all of the object */
};

struct vtmem_eph_queue {
	struct list_head slots;		/* free ones */
	struct list_head flushes;	/* free ones */
	unsigned int nr_free;		/* of slots */
	bool silent;			/* a load was given up, and no answer since */
	unsigned int first_note;
	unsigned int nr_notes;
	u32 gen[VTMEM_EPH_GENS];	/* by object */
	struct vtmem_eph_note *notes;	/* a ring */

	struct vtmem_eph_slot slot[VTMEM_EPH_SLOTS];
	struct vtmem_eph_flush flush[VTMEM_EPH_FLUSHES];
	struct vtmem_eph_wire *wires;
	wait_queue_head_t room;		/* loads without a slot */
	struct delayed_work work;	/* notify, flush */
	struct vtmem_queue *q;
};

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

/* A function of the object alone, so that its operations keep their order. */
static struct vtmem_queue *vtmem_eph_pick(struct vtmem_eph *pool, u32 hash)
{
	struct vtmem_dev *dev = pool->dev;

	return &dev->queues[(hash >> 16) % dev->nr_queues];
}

static void vtmem_eph_op(struct virtio_tmem_op *op, u8 type,
			 const struct vtmem_eph *pool,
			 const struct vtmem_eph_name *name)
{
	*op = (struct virtio_tmem_op) {
		.op = type,
		.pool = pool->host,
		.object[0] = name->object[0],
		.object[1] = name->object[1],
		.object[2] = name->object[2],
	};
	if (type != VIRTIO_TMEM_OP_INVALIDATE_OBJECT)
		op->index = cpu_to_le64(name->index);
}

/* Nothing of the pool may be believed any more; any context. */
static void vtmem_eph_spoil(struct vtmem_queue *q, struct vtmem_eph *pool)
{
	if (cmpxchg(&pool->state, VTMEM_EPH_LIVE, VTMEM_EPH_SPOILED) !=
	    VTMEM_EPH_LIVE)
		return;
	q->stats[VTMEM_EPH_POOLS_SPOILED]++;
	queue_work(system_freezable_wq, &pool->work);
}

/* Puts a request into the ring; the token is busy after true. */
static bool vtmem_eph_add(struct vtmem_queue *q, struct vtmem_token *token,
			  struct scatterlist **sgs, unsigned int out,
			  unsigned int in)
{
	int err;

	if (q->state != VTMEM_RUNNING || q->vq->num_free < out + in)
		return false;
	/* GFP_ATOMIC: spinlock held; without indirect descriptors not used. */
	err = virtqueue_add_sgs(q->vq, sgs, out, in, token, GFP_ATOMIC);
	if (err == -EIO)
		vtmem_dev_broken(q->dev);
	if (err)
		return false;
	q->nr_busy++;
	q->nr_unkicked++;
	q->stats[VTMEM_REQUESTS]++;
	return true;
}

/* What the device answered, of @len bytes it says it wrote. */
static u8 vtmem_eph_status(const struct virtio_tmem_resp *resp,
			   const u8 *status, unsigned int nr_ops,
			   unsigned int i, unsigned int len)
{
	if (len < sizeof(*resp))
		return VIRTIO_TMEM_S_IO;
	if (resp->status != VIRTIO_TMEM_S_OK)
		return resp->status;
	if (len < sizeof(*resp) + nr_ops)
		return VIRTIO_TMEM_S_IO;
	return status[i];
}

static struct vtmem_eph_note *vtmem_eph_note_at(struct vtmem_eph_queue *eq,
						unsigned int i)
{
	return &eq->notes[(eq->first_note + i) % VTMEM_EPH_NOTES];
}

/* Posts one batch of the notes, oldest first. */
static bool vtmem_eph_post_flush(struct vtmem_queue *q)
{
	struct vtmem_eph_queue *eq = q->eph;
	struct scatterlist head, tail, *sgs[] = { &head, &tail };
	struct vtmem_eph_flush *flush;
	struct vtmem_eph_batch *wire;
	struct vtmem_eph_note *note;
	unsigned int i, nr;

	flush = list_first_entry_or_null(&eq->flushes, struct vtmem_eph_flush,
					 node);
	nr = min3(eq->nr_notes, q->dev->max_batch, VTMEM_BATCH_MAX + 0U);
	if (!flush || !nr)
		return false;
	wire = flush->wire;
	for (i = 0; i < nr; i++) {
		note = vtmem_eph_note_at(eq, i);
		flush->pools[i] = note->pool;
		vtmem_eph_op(&wire->ops[i], note->whole ?
			     VIRTIO_TMEM_OP_INVALIDATE_OBJECT :
			     VIRTIO_TMEM_OP_INVALIDATE,
			     note->pool, &note->name);
	}
	wire->req = (struct virtio_tmem_req) {
		.type = VIRTIO_TMEM_T_PAGES,
		.nr_ops = cpu_to_le16(nr),
	};
	/* What the device does not write must not read as success. */
	wire->resp.status = VIRTIO_TMEM_S_IO;
	sg_init_one(&head, &wire->req,
		    offsetof(struct vtmem_eph_batch, ops[nr]));
	sg_init_one(&tail, &wire->resp, sizeof(wire->resp) + nr);
	if (!vtmem_eph_add(q, &flush->token, sgs, 1, 1))
		return false;

	list_del(&flush->node);
	flush->nr_ops = nr;
	for (i = 0; i < nr; i++)
		atomic_inc(&flush->pools[i]->inflight);
	eq->first_note = (eq->first_note + nr) % VTMEM_EPH_NOTES;
	eq->nr_notes -= nr;
	return true;
}

static void vtmem_eph_flush_end(struct vtmem_queue *q,
				struct vtmem_token *token, unsigned int len,
				struct list_head *done)
{
	struct vtmem_eph_flush *flush =
		container_of(token, struct vtmem_eph_flush, token);
	struct vtmem_eph_batch *wire = flush->wire;
	unsigned int i;
	u8 status;

	for (i = 0; i < flush->nr_ops; i++) {
		if (wire->ops[i].op == VIRTIO_TMEM_OP_INVALIDATE)
			q->stats[VTMEM_INVALIDATES]++;
		else
			q->stats[VTMEM_OBJECT_INVALIDATES]++;
		status = vtmem_eph_status(&wire->resp, wire->status,
					  flush->nr_ops, i, len);
		if (status != VIRTIO_TMEM_S_OK) {
			q->stats[VTMEM_INVALIDATES_ERROR]++;
			vtmem_eph_spoil(q, flush->pools[i]);
		}
		atomic_dec(&flush->pools[i]->inflight);
	}
	q->nr_busy--;
	q->eph->silent = false;
	list_add(&flush->node, &q->eph->flushes);
	/* Not from here: with a notification, and not when all is ending. */
	if (q->eph->nr_notes && q->state == VTMEM_RUNNING)
		mod_delayed_work(vtmem_wq, &q->eph->work, 0);
}

static void vtmem_eph_slot_free(struct vtmem_eph_queue *eq,
				struct vtmem_eph_slot *slot)
{
	list_add(&slot->node, &eq->slots);
	eq->nr_free++;
	if (waitqueue_active(&eq->room))
		wake_up(&eq->room);
}

static bool vtmem_eph_post(struct vtmem_queue *q, struct vtmem_eph_slot *slot,
			   struct vtmem_eph *pool, u8 op, u8 flags,
			   const struct vtmem_eph_name *name)
{
	struct scatterlist head, data, tail, *sgs[3];
	struct vtmem_eph_wire *wire = slot->wire;
	unsigned int out = 0, in = 0;

	wire->req = (struct virtio_tmem_req) {
		.type = VIRTIO_TMEM_T_PAGES,
		.nr_ops = cpu_to_le16(1),
	};
	vtmem_eph_op(&wire->op, op, pool, name);
	wire->op.flags = flags;
	wire->resp.status = VIRTIO_TMEM_S_IO;
	wire->status = VIRTIO_TMEM_S_IO;

	sg_init_one(&head, &wire->req,
		    offsetofend(struct vtmem_eph_wire, op));
	sg_init_table(&data, 1);
	sg_set_page(&data, slot->page, PAGE_SIZE, 0);
	sg_init_one(&tail, &wire->resp, sizeof(wire->resp) + 1);
	sgs[out++] = &head;
	if (op == VIRTIO_TMEM_OP_STORE)
		sgs[out++] = &data;
	sgs[out + in++] = &tail;
	if (op == VIRTIO_TMEM_OP_LOAD)
		sgs[out + in++] = &data;
	if (!vtmem_eph_add(q, &slot->token, sgs, out, in))
		return false;
	list_del(&slot->node);
	q->eph->nr_free--;
	slot->pool = pool;
	atomic_inc(&pool->inflight);
	return true;
}

static void vtmem_eph_stored(struct vtmem_queue *q, struct vtmem_eph_slot *slot,
			     u8 status)
{
	q->stats[VTMEM_STORES]++;
	switch (status) {
	case VIRTIO_TMEM_S_OK:
		q->stats[VTMEM_STORES_OK]++;
		break;
	case VIRTIO_TMEM_S_NOSPC:
	case VIRTIO_TMEM_S_QUOTA:
	case VIRTIO_TMEM_S_REFUSED:
	case VIRTIO_TMEM_S_FROZEN:
		q->stats[VTMEM_STORES_REFUSED]++;
		break;
	default:
		/* Perhaps not understood at all: an older page may be there. */
		q->stats[VTMEM_STORES_ERROR]++;
		vtmem_eph_spoil(q, slot->pool);
	}
}

static void vtmem_eph_loaded(struct vtmem_queue *q, struct vtmem_eph_slot *slot,
			     u8 status)
{
	q->stats[VTMEM_LOADS]++;
	if (status == VIRTIO_TMEM_S_OK)
		q->stats[VTMEM_LOADS_HIT]++;
	else if (status == VIRTIO_TMEM_S_MISS)
		q->stats[VTMEM_LOADS_MISS]++;
	else
		q->stats[VTMEM_LOADS_ERROR]++;
	/* It is not there any more: taken, or never there. */
	if (status == VIRTIO_TMEM_S_MISS ||
	    slot->wire->op.flags & VIRTIO_TMEM_OP_F_EXCLUSIVE)
		clear_bit(slot->page_bit, q->dev->eph->pages);
}

static void vtmem_eph_slot_end(struct vtmem_queue *q, struct vtmem_token *token,
			       unsigned int len, struct list_head *done)
{
	struct vtmem_eph_slot *slot =
		container_of(token, struct vtmem_eph_slot, token);
	u8 status = vtmem_eph_status(&slot->wire->resp, &slot->wire->status, 1,
				     0, len);
	bool load = slot->wire->op.op == VIRTIO_TMEM_OP_LOAD;

	if (load && status == VIRTIO_TMEM_S_OK &&
	    len < sizeof(slot->wire->resp) + 1 + PAGE_SIZE)
		status = VIRTIO_TMEM_S_IO;
	if (load)
		vtmem_eph_loaded(q, slot, status);
	else
		vtmem_eph_stored(q, slot, status);
	atomic_dec(&slot->pool->inflight);
	q->nr_busy--;
	q->eph->silent = false;
	if (slot->wait) {
		/* Who waits frees the slot, after having read its page. */
		slot->wait->status = status;
		complete(&slot->wait->done);
	} else {
		vtmem_eph_slot_free(q->eph, slot);
	}
}

/* Posts notes as far as possible. */
static void vtmem_eph_flush_notes(struct vtmem_queue *q)
{
	while (vtmem_eph_post_flush(q))
		;
}

static bool vtmem_eph_same_object(const struct vtmem_eph_note *note,
				  const struct vtmem_eph *pool,
				  const struct vtmem_eph_name *name)
{
	return note->pool == pool &&
	       !memcmp(note->name.object, name->object, sizeof(name->object));
}

/* Finds a note that a load of the object would have to wait for. */
static struct vtmem_eph_note *
vtmem_eph_find_note(struct vtmem_eph_queue *eq, const struct vtmem_eph *pool,
		    const struct vtmem_eph_name *name)
{
	struct vtmem_eph_note *note;
	unsigned int i;

	for (i = 0; i < eq->nr_notes; i++) {
		note = vtmem_eph_note_at(eq, i);
		if (vtmem_eph_same_object(note, pool, name))
			return note;
	}
	return NULL;
}

/* Notes an invalidate; there is always a way. */
static void vtmem_eph_note(struct vtmem_queue *q, struct vtmem_eph *pool,
			   const struct vtmem_eph_name *name, bool whole)
{
	struct vtmem_eph_queue *eq = q->eph;
	struct vtmem_eph_note *note;

	/* Pages go by the dozen before the file they are of. */
	if (eq->nr_notes) {
		note = vtmem_eph_note_at(eq, eq->nr_notes - 1);
		if (vtmem_eph_same_object(note, pool, name) &&
		    (note->whole || (!whole && note->name.index == name->index)))
			return;
	}
	if (eq->nr_notes >= q->dev->max_batch)
		vtmem_eph_flush_notes(q);
	if (eq->nr_notes == VTMEM_EPH_NOTES) {
		note = vtmem_eph_find_note(eq, pool, name);
		if (note)
			note->whole = true;
		else
			vtmem_eph_spoil(q, pool);
		return;
	}
	note = vtmem_eph_note_at(eq, eq->nr_notes++);
	note->pool = pool;
	note->name = *name;
	note->whole = whole;
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

static void vtmem_eph_work(struct work_struct *work)
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
	    q->state != VTMEM_FAILED &&
	    test_bit(vtmem_eph_object_bit(hash), q->dev->eph->objects)) {
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
	if (eq->nr_free > VTMEM_EPH_LOAD_SLOTS)
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
		if (test_bit(vtmem_eph_object_bit(hash), maps->objects))
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
	    q->state != VTMEM_RUNNING || !test_bit(bit, maps->pages))
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
			    maps->exclusive ? VIRTIO_TMEM_OP_F_EXCLUSIVE : 0,
			    name))
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
	struct virtqueue *notify = NULL;
	struct vtmem_eph_slot *slot;
	struct vtmem_eph_wait wait;
	bool hit;

	init_completion(&wait.done);
	for (;;) {
		rcu_read_lock();
		spin_lock_irq(&q->lock);
		slot = vtmem_eph_post_load(q, pool, name, hash, &gen, &wait);
		/* Also if there is no slot: others' requests must get there. */
		if (slot)
			notify = vtmem_kick_prepare(q);
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

static void vtmem_eph_drop_notes(struct vtmem_queue *q, struct vtmem_eph *pool)
{
	struct vtmem_eph_queue *eq = q->eph;
	unsigned int i, kept = 0;

	for (i = 0; i < eq->nr_notes; i++)
		if (vtmem_eph_note_at(eq, i)->pool != pool)
			*vtmem_eph_note_at(eq, kept++) =
				*vtmem_eph_note_at(eq, i);
	eq->nr_notes = kept;
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

static void vtmem_eph_queue_free(struct vtmem_queue *q)
{
	struct vtmem_eph_queue *eq = q->eph;
	unsigned int i;

	if (!eq)
		return;
	cancel_delayed_work_sync(&eq->work);
	for (i = 0; i < VTMEM_EPH_SLOTS; i++)
		if (eq->slot[i].page)
			__free_page(eq->slot[i].page);
	for (i = 0; i < VTMEM_EPH_FLUSHES; i++)
		free_page((unsigned long)eq->flush[i].wire);
	kvfree(eq->notes);
	kfree(eq->wires);
	kvfree(eq);
	q->eph = NULL;
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

static int vtmem_eph_queue_alloc(struct vtmem_queue *q)
{
	struct vtmem_eph_queue *eq;
	unsigned int i;

	/* GFP_KERNEL, here and below: probe. */
	eq = kvzalloc(sizeof(*eq), GFP_KERNEL);
	if (!eq)
		return -ENOMEM;
	INIT_LIST_HEAD(&eq->slots);
	INIT_LIST_HEAD(&eq->flushes);
	init_waitqueue_head(&eq->room);
	INIT_DELAYED_WORK(&eq->work, vtmem_eph_work);
	eq->q = q;
	/* Nobody looks at it before cleancache has a pool on this device. */
	q->eph = eq;

	eq->notes = kvcalloc(VTMEM_EPH_NOTES, sizeof(*eq->notes), GFP_KERNEL);
	eq->wires = kcalloc(VTMEM_EPH_SLOTS, sizeof(*eq->wires), GFP_KERNEL);
	if (!eq->notes || !eq->wires)
		return -ENOMEM;
	for (i = 0; i < VTMEM_EPH_SLOTS; i++) {
		eq->slot[i].token.end = vtmem_eph_slot_end;
		eq->slot[i].wire = &eq->wires[i];
		eq->slot[i].page = alloc_page(GFP_KERNEL);
		if (!eq->slot[i].page)
			return -ENOMEM;
		vtmem_eph_slot_free(eq, &eq->slot[i]);
	}
	for (i = 0; i < VTMEM_EPH_FLUSHES; i++) {
		eq->flush[i].token.end = vtmem_eph_flush_end;
		eq->flush[i].wire = (void *)__get_free_page(GFP_KERNEL);
		if (!eq->flush[i].wire)
			return -ENOMEM;
		list_add(&eq->flush[i].node, &eq->flushes);
	}
	return 0;
}

/*
 * Memory for ephemeral pages; vtmem_eph_free() also after an error.
 * @exclusive: the device knows loads that take the page away.
 */
int vtmem_eph_alloc(struct vtmem_dev *dev, bool exclusive)
{
	struct vtmem_eph_dev *maps;
	unsigned int i;
	int err;

	BUILD_BUG_ON(sizeof(struct vtmem_eph_batch) > PAGE_SIZE);

	maps = kzalloc(sizeof(*maps), GFP_KERNEL);
	if (!maps)
		return -ENOMEM;
	dev->eph = maps;
	maps->exclusive = exclusive;
	maps->nr_pages = roundup_pow_of_two(min(totalram_pages(), BIT(27)) *
					    VTMEM_EPH_PAGE_FACTOR);
	maps->objects = vzalloc(BIT(VTMEM_EPH_OBJECT_BITS) / BITS_PER_BYTE);
	maps->pages = vzalloc(maps->nr_pages / BITS_PER_BYTE);
	if (!maps->objects || !maps->pages)
		return -ENOMEM;
	for (i = 0; i < dev->nr_queues; i++) {
		err = vtmem_eph_queue_alloc(&dev->queues[i]);
		if (err)
			return err;
	}
	return 0;
}
