// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * virtio-tmem guest driver: areas, and invalidates that are never dropped
 *
 * An area knows of each page what the host owes for it.  The maps change when
 * a request enters the ring, which is the order in which the device applies
 * the operations on one page, and never when an answer comes:
 *
 *   a store is posted       held, even if it will be refused: from then on the
 *                           page has content that only the host can have, and a
 *                           miss is an error, not zeros and not older data
 *   an invalidate is noted  not held: the page reads as zeros whatever the
 *                           host answers, so a failed invalidate shows nothing
 *   content is given up     not held but lost: reading is an error
 *
 * Pages are freed in places that can neither sleep, allocate nor fail.  There
 * an invalidate is a bit in a map that exists since the area does; the bits are
 * sent in batches, when a batch is full, along with another kick, before a load
 * of the page, or after VTMEM_FLUSH_MS.  A store of the page takes the bit's
 * place once it is in the ring, because a store leaves nothing of what was
 * there before.  Any later operation on the page finds the bit under the same
 * lock.
 *
 * Locking: the map bits of an object, and its place in vtmem_queue.dirty, are
 * guarded by the lock of its queue.  Bits are changed with non-atomic operations
 * since objects share no words.
 */
#include <linux/bitmap.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "vtmem.h"

/* Freed pages may stay with the host so long; shorter costs more kicks. */
#define VTMEM_FLUSH_MS		20

static struct vtmem_object *vtmem_object(struct vtmem_area *area,
					 unsigned long page)
{
	return &area->objects[page >> VTMEM_OBJECT_SHIFT];
}

static unsigned long vtmem_object_first(struct vtmem_object *obj)
{
	return (obj - obj->area->objects) << VTMEM_OBJECT_SHIFT;
}

static unsigned long vtmem_object_end(struct vtmem_object *obj)
{
	return min(vtmem_object_first(obj) + VTMEM_OBJECT_PAGES,
		   obj->area->nr_pages);
}

static bool vtmem_any(const unsigned long *map, unsigned long first,
		      unsigned long end)
{
	return find_next_bit(map, end, first) < end;
}

/*
 * The queue of a page is a function of its object alone: whichever CPU works
 * on the page, the operations meet in one ring, in order.  Neighbouring objects
 * are on different queues.
 */
struct vtmem_queue *vtmem_area_queue(struct vtmem_area *area,
				     unsigned long page)
{
	struct vtmem_dev *dev = area->dev;

	return &dev->queues[(page >> VTMEM_OBJECT_SHIFT) % dev->nr_queues];
}

static void vtmem_op_fill(struct virtio_tmem_op *op, u8 type,
			  struct vtmem_area *area, unsigned long page)
{
	/*
	 * The index counts within the object, which is a dense array of 256
	 * pages for the host, at every size of the area.
	 */
	*op = (struct virtio_tmem_op) {
		.op = type,
		.pool = area->pool,
		.object[0] = cpu_to_le64(page >> VTMEM_OBJECT_SHIFT),
		.index = cpu_to_le64(page & (VTMEM_OBJECT_PAGES - 1)),
	};
}

static unsigned long vtmem_op_page(const struct virtio_tmem_op *op)
{
	return (le64_to_cpu(op->object[0]) << VTMEM_OBJECT_SHIFT) +
	       le64_to_cpu(op->index);
}

static void vtmem_clear_pending(struct vtmem_queue *q, struct vtmem_area *area,
				unsigned long first, unsigned long end)
{
	unsigned long page = first;

	for_each_set_bit_from(page, area->pending, end) {
		__clear_bit(page, area->pending);
		q->nr_pending--;
	}
}

/* Notes that a page's content is not wanted any more, or @lost. */
static void vtmem_note(struct vtmem_queue *q, struct vtmem_area *area,
		       unsigned long page, bool lost)
{
	struct vtmem_object *obj = vtmem_object(area, page);

	lockdep_assert_held(&q->lock);

	__assign_bit(page, area->lost, lost);
	/* A host that has failed holds nothing. */
	if (!__test_and_clear_bit(page, area->held) ||
	    q->state == VTMEM_FAILED)
		return;
	__set_bit(page, area->pending);
	q->nr_pending++;
	if (list_empty(&obj->node))
		list_add_tail(&obj->node, &q->dirty);
}

/**
 * vtmem_area_invalidate() - a page's content is not wanted any more
 * @area: of the page
 * @page: its number; beyond the area nothing is done
 * @lost: the content is gone against its owner's will: reading the page is an
 *        error until it is stored or invalidated
 *
 * Any context; never sleeps, allocates or fails.
 */
void vtmem_area_invalidate(struct vtmem_area *area, unsigned long page,
			   bool lost)
{
	struct vtmem_queue *q;
	unsigned long flags;
	unsigned int nr;

	if (page >= area->nr_pages)
		return;
	/*
	 * Without the lock: who may invalidate a page also knows that its last
	 * store has been posted.  Most pages of an area under frontswap were
	 * never on the disk below it, and the other way round.
	 */
	if (!lost && !test_bit(page, area->held) && !test_bit(page, area->lost))
		return;

	q = vtmem_area_queue(area, page);
	spin_lock_irqsave(&q->lock, flags);
	vtmem_note(q, area, page, lost);
	nr = q->nr_pending;
	spin_unlock_irqrestore(&q->lock, flags);

	if (nr >= area->dev->max_batch)
		vtmem_queue_flush(q);
	else if (nr)
		queue_delayed_work(vtmem_wq, &q->flush_work,
				   msecs_to_jiffies(VTMEM_FLUSH_MS));
}

/* The host has refused a page: nothing is there and nothing is owed. */
void vtmem_area_forget(struct vtmem_area *area, unsigned long page)
{
	struct vtmem_queue *q = vtmem_area_queue(area, page);
	unsigned long flags;

	spin_lock_irqsave(&q->lock, flags);
	__clear_bit(page, area->held);
	__clear_bit(page, area->lost);
	spin_unlock_irqrestore(&q->lock, flags);
}

/* Is the page stored?  For callers that keep it from changing. */
bool vtmem_area_holds(struct vtmem_area *area, unsigned long page)
{
	return page < area->nr_pages && test_bit(page, area->held);
}

/* Pages that would be lost with the device. */
unsigned long vtmem_area_nr_held(struct vtmem_area *area)
{
	unsigned long i, nr = 0;

	/* Whole words: a single call counts to INT_MAX bits only. */
	for (i = 0; i < BITS_TO_LONGS(area->nr_pages); i++)
		nr += hweight_long(READ_ONCE(area->held[i]));
	return nr;
}

/*
 * If invalidates are noted for the pages of @job, makes its object the first to
 * be flushed and returns true.
 */
bool vtmem_area_promote(struct vtmem_queue *q, struct vtmem_job *job)
{
	struct vtmem_area *area = job->area;

	if (!vtmem_any(area->pending, job->page, job->page + job->nr))
		return false;
	list_move(&vtmem_object(area, job->page)->node, &q->dirty);
	return true;
}

static unsigned int vtmem_build_load(struct vtmem_job *job,
				     struct virtio_tmem_op *ops)
{
	struct vtmem_area *area = job->area;
	unsigned int i;

	job->held = 0;
	job->lost = 0;
	for (i = 0; i < job->nr; i++) {
		if (test_bit(job->page + i, area->held))
			job->held |= BIT_ULL(i);
		if (test_bit(job->page + i, area->lost))
			job->lost |= BIT_ULL(i);
		job->status[i] = job->lost & BIT_ULL(i) ? VIRTIO_TMEM_S_IO :
							  VIRTIO_TMEM_S_MISS;
		vtmem_op_fill(&ops[i], job->op, area, job->page + i);
	}
	/* Of pages that were never stored the host knows nothing. */
	return job->held ? job->nr : 0;
}

static unsigned int vtmem_build_invalidate(struct vtmem_job *job,
					   struct virtio_tmem_op *ops)
{
	struct vtmem_area *area = job->area;
	unsigned long page, end = job->page + job->nr;
	unsigned int nr = 0;

	job->status[0] = VIRTIO_TMEM_S_OK;
	if (job->nr > VTMEM_BATCH_MAX || job->nr > area->dev->max_batch) {
		if (!vtmem_any(area->held, job->page, end) &&
		    !vtmem_any(area->pending, job->page, end))
			return 0;
		vtmem_op_fill(ops, VIRTIO_TMEM_OP_INVALIDATE_OBJECT, area,
			      job->page);
		return 1;
	}
	for (page = job->page; page < end; page++)
		if (test_bit(page, area->held) || test_bit(page, area->pending))
			vtmem_op_fill(&ops[nr++], job->op, area, page);
	return nr;
}

/*
 * Writes the operations of @job, or returns 0 and answers it if the device need
 * not be asked.
 */
unsigned int vtmem_area_build(struct vtmem_job *job, struct virtio_tmem_op *ops)
{
	unsigned int i;

	switch (job->op) {
	case VIRTIO_TMEM_OP_LOAD:
		return vtmem_build_load(job, ops);
	case VIRTIO_TMEM_OP_INVALIDATE:
		return vtmem_build_invalidate(job, ops);
	default:
		for (i = 0; i < job->nr; i++)
			vtmem_op_fill(&ops[i], job->op, job->area,
				      job->page + i);
		return job->nr;
	}
}

/* @job is in the ring: from now on its effects are what later ones meet. */
void vtmem_area_posted(struct vtmem_queue *q, struct vtmem_job *job)
{
	struct vtmem_area *area = job->area;
	unsigned long page, end = job->page + job->nr;

	if (job->op == VIRTIO_TMEM_OP_LOAD)
		return;
	vtmem_clear_pending(q, area, job->page, end);
	for (page = job->page; page < end; page++) {
		__assign_bit(page, area->held,
			     job->op == VIRTIO_TMEM_OP_STORE);
		__clear_bit(page, area->lost);
	}
}

static unsigned int vtmem_gather_object(struct vtmem_object *obj,
					struct virtio_tmem_op *ops,
					unsigned int max)
{
	struct vtmem_area *area = obj->area;
	unsigned long end = vtmem_object_end(obj);
	unsigned long page = vtmem_object_first(obj);
	unsigned int nr = 0;

	/* Nothing of it is wanted any more: one operation for all. */
	if (!vtmem_any(area->held, page, end)) {
		vtmem_op_fill(ops, VIRTIO_TMEM_OP_INVALIDATE_OBJECT, area,
			      page);
		return 1;
	}
	for_each_set_bit_from(page, area->pending, end) {
		if (nr == max)
			break;
		vtmem_op_fill(&ops[nr++], VIRTIO_TMEM_OP_INVALIDATE, area,
			      page);
	}
	return nr;
}

/*
 * Writes one batch of noted invalidates, all of one area, and returns their
 * number.  They stay noted until vtmem_area_gathered().
 */
unsigned int vtmem_area_gather(struct vtmem_queue *q,
			       struct virtio_tmem_op *ops,
			       struct vtmem_area **areap)
{
	struct vtmem_object *obj, *next;
	unsigned int nr = 0, max = q->dev->max_batch;

	*areap = NULL;
	list_for_each_entry_safe(obj, next, &q->dirty, node) {
		if (*areap && obj->area != *areap)
			continue;
		/* Stores may have taken the place of all. */
		if (!vtmem_any(obj->area->pending, vtmem_object_first(obj),
			       vtmem_object_end(obj))) {
			list_del_init(&obj->node);
			continue;
		}
		*areap = obj->area;
		nr += vtmem_gather_object(obj, ops + nr, max - nr);
		if (nr == max)
			break;
	}
	return nr;
}

/* The batch is in the ring. */
void vtmem_area_gathered(struct vtmem_queue *q, struct vtmem_area *area,
			 const struct virtio_tmem_op *ops, unsigned int nr_ops)
{
	struct vtmem_object *obj;
	unsigned long page;
	unsigned int i;

	for (i = 0; i < nr_ops; i++) {
		page = vtmem_op_page(&ops[i]);
		obj = vtmem_object(area, page);
		if (ops[i].op == VIRTIO_TMEM_OP_INVALIDATE)
			vtmem_clear_pending(q, area, page, page + 1);
		else
			vtmem_clear_pending(q, area, page,
					    vtmem_object_end(obj));
	}
}

static void vtmem_answer_store(struct vtmem_queue *q, struct vtmem_area *area,
			       unsigned long page, u8 status)
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
		/*
		 * The request may not have been understood at all, and then an
		 * older page is still there.
		 */
		q->stats[VTMEM_STORES_ERROR]++;
		vtmem_note(q, area, page, true);
		q->flush_due = q->nr_pending;
	}
}

static u8 vtmem_answer_load(struct vtmem_queue *q, struct vtmem_job *job,
			    unsigned int i, u8 status)
{
	u8 ret = VIRTIO_TMEM_S_IO;

	/* Whatever else a device may say is an error, refusals among it. */
	if (status == VIRTIO_TMEM_S_OK || status == VIRTIO_TMEM_S_MISS) {
		if (job->held & BIT_ULL(i)) {
			if (status == VIRTIO_TMEM_S_OK)
				ret = VIRTIO_TMEM_S_OK;
		} else if (!(job->lost & BIT_ULL(i))) {
			ret = VIRTIO_TMEM_S_MISS;
		}
	}

	q->stats[VTMEM_LOADS]++;
	if (status == VIRTIO_TMEM_S_MISS)
		q->stats[VTMEM_LOADS_MISS]++;
	else if (status == VIRTIO_TMEM_S_OK)
		q->stats[VTMEM_LOADS_HIT]++;
	if (ret != VIRTIO_TMEM_S_OK && ret != VIRTIO_TMEM_S_MISS)
		q->stats[VTMEM_LOADS_ERROR]++;
	return ret;
}

/* The device's answer to operation @i of @job, or to a noted invalidate. */
void vtmem_area_answer(struct vtmem_queue *q, struct vtmem_job *job,
		       const struct virtio_tmem_op *op, unsigned int i,
		       u8 status)
{
	switch (op->op) {
	case VIRTIO_TMEM_OP_STORE:
		/* No answer to a store, and for the disk a page of zeros. */
		if (status == VIRTIO_TMEM_S_MISS)
			status = VIRTIO_TMEM_S_IO;
		vtmem_answer_store(q, job->area, job->page + i, status);
		job->status[i] = status;
		return;
	case VIRTIO_TMEM_OP_LOAD:
		job->status[i] = vtmem_answer_load(q, job, i, status);
		return;
	case VIRTIO_TMEM_OP_INVALIDATE:
		q->stats[VTMEM_INVALIDATES]++;
		break;
	default:
		q->stats[VTMEM_OBJECT_INVALIDATES]++;
	}
	if (status != VIRTIO_TMEM_S_OK) {
		q->stats[VTMEM_INVALIDATES_ERROR]++;
		if (job)
			job->status[0] = status;
	}
}

/* Forgets noted invalidates: of an area whose pool goes, or of all (NULL). */
void vtmem_area_drop_pending(struct vtmem_queue *q, struct vtmem_area *only)
{
	struct vtmem_object *obj, *next;

	list_for_each_entry_safe(obj, next, &q->dirty, node) {
		if (only && obj->area != only)
			continue;
		vtmem_clear_pending(q, obj->area, vtmem_object_first(obj),
				    vtmem_object_end(obj));
		list_del_init(&obj->node);
	}
	if (!q->nr_pending)
		q->flush_due = false;
}

static int vtmem_area_alloc(struct vtmem_area *area)
{
	unsigned long i, nr_objects;
	size_t bytes;

	/* Up to the end of the last object, which is a whole number of words */
	nr_objects = DIV_ROUND_UP(area->nr_pages, VTMEM_OBJECT_PAGES);
	bytes = nr_objects * VTMEM_OBJECT_PAGES / BITS_PER_BYTE;

	/* GFP_KERNEL inside: probe, or a worker that nobody waits for. */
	area->held = vzalloc(bytes);
	area->lost = vzalloc(bytes);
	area->pending = vzalloc(bytes);
	area->objects = vmalloc(array_size(nr_objects, sizeof(*area->objects)));
	if (!area->held || !area->lost || !area->pending || !area->objects)
		return -ENOMEM;

	for (i = 0; i < nr_objects; i++) {
		INIT_LIST_HEAD(&area->objects[i].node);
		area->objects[i].area = area;
	}
	return 0;
}

/**
 * vtmem_area_create() - an empty area with a pool of its own
 * @dev:      a running device
 * @nr_pages: size of the area
 *
 * Sleeps.  Returns the area or an error pointer; on success it is closed with
 * vtmem_area_close() and freed with vtmem_area_free().
 */
struct vtmem_area *vtmem_area_create(struct vtmem_dev *dev,
				     unsigned long nr_pages)
{
	struct vtmem_area *area;
	int err;

	area = kzalloc(sizeof(*area), GFP_KERNEL);
	if (!area)
		return ERR_PTR(-ENOMEM);
	area->dev = dev;
	area->nr_pages = nr_pages;
	atomic_set(&area->inflight, 0);

	err = vtmem_area_alloc(area);
	if (!err)
		err = vtmem_pool_create(dev, &area->pool);
	if (err) {
		vtmem_area_free(area);
		return ERR_PTR(err);
	}
	mutex_lock(&dev->lock);
	list_add_tail(&area->node, &dev->areas);
	mutex_unlock(&dev->lock);
	return area;
}

/**
 * vtmem_area_close() - give up an area's pool and all of its pages
 * @area: the area
 *
 * Sleeps.  The caller has seen to it that no operation is under way or will
 * come.
 */
void vtmem_area_close(struct vtmem_area *area)
{
	struct vtmem_dev *dev = area->dev;
	struct vtmem_queue *q;

	mutex_lock(&dev->lock);
	list_del(&area->node);
	mutex_unlock(&dev->lock);

	for (q = dev->queues; q < dev->queues + dev->nr_queues; q++) {
		spin_lock_irq(&q->lock);
		vtmem_area_drop_pending(q, area);
		spin_unlock_irq(&q->lock);
	}
	while (!wait_event_timeout(dev->idle, !atomic_read(&area->inflight),
				   VTMEM_POLL))
		vtmem_dev_broken(dev);
	vtmem_pool_destroy(dev, area->pool);
}

void vtmem_area_free(struct vtmem_area *area)
{
	vfree(area->held);
	vfree(area->lost);
	vfree(area->pending);
	vfree(area->objects);
	kfree(area);
}
