// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * virtio-tmem guest driver: areas
 *
 * An area knows of each page where it is (map.h).  The map changes when a
 * request enters the ring, which is the order in which the device applies the
 * operations on one page; an answer changes it only if it says that the page is
 * not where the request was to put it, and if nothing newer is on its way:
 *
 *   a store is posted       HOST, even if it will be refused: from then on the
 *                           page has content that only the host can have, and a
 *                           miss is an error, not zeros and not older data
 *   it was refused          LOST, whatever the disk behind holds from earlier
 *   the disk behind has it  DISK, if the page is still LOST: whoever stored or
 *                           invalidated it meanwhile is newer
 *   an invalidate is noted  NONE: the page reads as zeros whatever the host
 *                           answers, so a failed invalidate shows nothing
 *   content is given up     LOST
 *
 * Locking: the objects of an area belong to a queue each, and its lock guards
 * them.  Segments of objects are added while the area is in use, and freed with
 * it; vtmem_area.nr_pages is published when the objects are there.
 */
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "map.h"

/* Freed pages may stay with the host so long; shorter costs more kicks. */
#define VTMEM_FLUSH_MS		20

#define VTMEM_SEGMENT_OBJECTS	BIT(VTMEM_SEGMENT_SHIFT)

/* An area may grow up to so many segments, 1 TiB, without a larger table. */
#define VTMEM_SEGMENTS_MIN	4096

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

void vtmem_op_fill(struct virtio_tmem_op *op, u8 type,
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
		.index = cpu_to_le64(vtmem_in_object(page)),
	};
}

unsigned long vtmem_op_page(const struct virtio_tmem_op *op)
{
	return (le64_to_cpu(op->object[0]) << VTMEM_OBJECT_SHIFT) +
	       le64_to_cpu(op->index);
}

/*
 * Whatever happens to a page, a copy that was fetched ahead is an older one, and
 * so is one that is on its way to the host.
 */
void vtmem_page_set(struct vtmem_queue *q, struct vtmem_area *area,
		    unsigned long page, u8 state)
{
	struct vtmem_object *obj = vtmem_object(area, page);
	unsigned int i = vtmem_in_object(page);
	unsigned int shift = i % VTMEM_MAP_PAGES * VTMEM_MAP_BITS;
	unsigned long *word = &obj->map[i / VTMEM_MAP_PAGES];
	int used;

	lockdep_assert_held(&q->lock);

	q->nr_host -= vtmem_page(area, page) == VTMEM_HOST;
	q->nr_host += state == VTMEM_HOST;
	used = state != VTMEM_NONE;
	used -= vtmem_page(area, page) != VTMEM_NONE;
	if (used)
		atomic_long_add(used, &area->nr_used);
	WRITE_ONCE(*word, (*word & ~(3UL << shift)) |
			  (unsigned long)state << shift);
	vtmem_prefetch_kill(q, area, page);
	vtmem_copy_kill(q, area, page);
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
	bool full;

	if (page >= vtmem_area_nr_pages(area))
		return;
	/*
	 * Without the lock: who may invalidate a page also knows that its last
	 * store has been posted.  Most pages of an area under frontswap were
	 * never on the disk below it, and the other way round.
	 */
	if (!lost && vtmem_page(area, page) == VTMEM_NONE)
		return;

	q = vtmem_area_queue(area, page);
	spin_lock_irqsave(&q->lock, flags);
	vtmem_pending_note(q, area, page, lost);
	full = q->nr_pending >= area->dev->max_batch;
	if (q->nr_pending && !full)
		vtmem_flush_within(q, msecs_to_jiffies(VTMEM_FLUSH_MS));
	spin_unlock_irqrestore(&q->lock, flags);

	if (full)
		vtmem_queue_flush(q);
}

/* The host has refused a page, and somebody else has it: nothing is owed. */
void vtmem_area_forget(struct vtmem_area *area, unsigned long page)
{
	struct vtmem_queue *q = vtmem_area_queue(area, page);
	unsigned long flags;

	spin_lock_irqsave(&q->lock, flags);
	vtmem_page_set(q, area, page, VTMEM_NONE);
	spin_unlock_irqrestore(&q->lock, flags);
}

/* The disk behind has written or read a page, or has failed to. */
void vtmem_area_disk_done(struct vtmem_area *area, unsigned long page, u8 op,
			  bool good)
{
	struct vtmem_queue *q = vtmem_area_queue(area, page);
	unsigned long flags;

	spin_lock_irqsave(&q->lock, flags);
	if (!good)
		q->stats[VTMEM_DISK_ERRORS]++;
	else if (op == VIRTIO_TMEM_OP_LOAD)
		q->stats[VTMEM_DISK_READS]++;
	else
		q->stats[VTMEM_DISK_WRITES]++;
	if (good && op == VIRTIO_TMEM_OP_STORE &&
	    vtmem_page(area, page) == VTMEM_LOST)
		vtmem_page_set(q, area, page, VTMEM_DISK);
	spin_unlock_irqrestore(&q->lock, flags);
}

/* Is the page on the host?  For callers that keep it from changing. */
bool vtmem_area_holds(struct vtmem_area *area, unsigned long page)
{
	return page < vtmem_area_nr_pages(area) &&
	       vtmem_page(area, page) == VTMEM_HOST;
}

static unsigned long vtmem_area_count(struct vtmem_area *area,
				      unsigned long (*pick)(unsigned long word))
{
	struct vtmem_object *obj;
	unsigned long page, nr = 0, end = vtmem_area_nr_pages(area);
	unsigned int i;

	might_sleep();
	for (page = 0; page < end; page += VTMEM_OBJECT_PAGES) {
		cond_resched();
		obj = vtmem_object(area, page);
		for (i = 0; i < ARRAY_SIZE(obj->map); i++)
			nr += hweight_long(pick(READ_ONCE(obj->map[i])));
	}
	return nr;
}

/* Pages that would be lost with the device.  Sleeps, as the next does. */
unsigned long vtmem_area_nr_held(struct vtmem_area *area)
{
	return vtmem_area_count(area, vtmem_map_host);
}

/* Pages that would be lost with the disk behind. */
unsigned long vtmem_area_nr_disk(struct vtmem_area *area)
{
	return vtmem_area_count(area, vtmem_map_disk);
}

/* Pages that are somewhere, or lost; any context. */
unsigned long vtmem_area_nr_used(struct vtmem_area *area)
{
	return atomic_long_read(&area->nr_used);
}

static unsigned int vtmem_build_load(struct vtmem_job *job,
				     struct virtio_tmem_op *ops)
{
	static const u8 status[] = {
		[VTMEM_NONE] = VIRTIO_TMEM_S_MISS,
		[VTMEM_HOST] = VTMEM_S_HOST,
		[VTMEM_DISK] = VTMEM_S_DISK,
		[VTMEM_LOST] = VIRTIO_TMEM_S_IO,
	};
	bool ask = false;
	unsigned int i;

	for (i = 0; i < job->nr; i++) {
		job->status[i] = status[vtmem_page(job->area, job->page + i)];
		ask |= job->status[i] == VTMEM_S_HOST;
		vtmem_op_fill(&ops[i], job->op, job->area, job->page + i);
	}
	/* Of pages that are not there the host knows nothing. */
	return ask ? job->nr : 0;
}

static unsigned int vtmem_build_invalidate(struct vtmem_job *job,
					   struct virtio_tmem_op *ops)
{
	/* max_batch is never above VTMEM_BATCH_MAX. */
	bool whole = job->nr > job->area->dev->max_batch;
	unsigned long page, end = job->page + job->nr;
	unsigned int nr = 0;

	job->status[0] = VIRTIO_TMEM_S_OK;
	for (page = job->page; page < end; page++) {
		if (vtmem_page(job->area, page) != VTMEM_HOST &&
		    !vtmem_is_pending(job->area, page))
			continue;
		if (whole) {
			vtmem_op_fill(ops, VIRTIO_TMEM_OP_INVALIDATE_OBJECT,
				      job->area, job->page);
			return 1;
		}
		vtmem_op_fill(&ops[nr++], job->op, job->area, page);
	}
	return nr;
}

/*
 * Writes the operations of @job, or returns 0 and answers it if the device need
 * not be asked.
 */
unsigned int vtmem_area_build(struct vtmem_job *job, struct virtio_tmem_op *ops)
{
	unsigned int i;

	lockdep_assert_held(&vtmem_area_queue(job->area, job->page)->lock);

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
	unsigned int i;

	lockdep_assert_held(&q->lock);

	if (job->op == VIRTIO_TMEM_OP_LOAD)
		return;
	vtmem_pending_clear(q, job->area, job->page, job->nr);
	for (i = 0; i < job->nr; i++)
		vtmem_page_set(q, job->area, job->page + i,
			       job->op == VIRTIO_TMEM_OP_STORE ? VTMEM_HOST :
								 VTMEM_NONE);
}

/*
 * @job is not sent: the device has failed, or is known to refuse.  A store that
 * is skipped is an invalidate, and what is on the disk behind can be had.
 */
void vtmem_area_refuse(struct vtmem_queue *q, struct vtmem_job *job, u8 status)
{
	unsigned int i;

	lockdep_assert_held(&q->lock);

	switch (job->op) {
	case VIRTIO_TMEM_OP_STORE:
		for (i = 0; i < job->nr; i++) {
			vtmem_pending_note(q, job->area, job->page + i, true);
			job->status[i] = status;
		}
		q->stats[VTMEM_STORES_SKIPPED] += job->nr;
		break;
	case VIRTIO_TMEM_OP_LOAD:
		for (i = 0; i < job->nr; i++)
			job->status[i] = vtmem_page(job->area, job->page + i) ==
					 VTMEM_DISK ? VTMEM_S_DISK : status;
		break;
	default:
		for (i = 0; i < job->nr; i++)
			vtmem_pending_note(q, job->area, job->page + i, false);
		job->status[0] = VIRTIO_TMEM_S_OK;
	}
}

static void vtmem_answer_store(struct vtmem_queue *q, struct vtmem_area *area,
			       unsigned long page, u8 status, bool latest)
{
	vtmem_count_store(q, status);
	switch (status) {
	case VIRTIO_TMEM_S_OK:
		break;
	case VIRTIO_TMEM_S_NOSPC:
	case VIRTIO_TMEM_S_QUOTA:
	case VIRTIO_TMEM_S_REFUSED:
	case VIRTIO_TMEM_S_FROZEN:
		vtmem_gate_refused(area, status);
		/* Nothing is there, and nothing of that need be told. */
		if (latest && vtmem_page(area, page) == VTMEM_HOST)
			vtmem_page_set(q, area, page, VTMEM_LOST);
		break;
	default:
		/*
		 * The request may not have been understood at all, and then an
		 * older page is still there.
		 */
		if (latest && vtmem_page(area, page) == VTMEM_HOST)
			vtmem_pending_note(q, area, page, true);
		q->flush_due = q->nr_pending;
	}
}

static u8 vtmem_answer_load(struct vtmem_queue *q, u8 known, u8 status)
{
	u8 ret = known;

	q->stats[VTMEM_LOADS]++;
	if (status == VIRTIO_TMEM_S_MISS)
		q->stats[VTMEM_LOADS_MISS]++;
	else if (status == VIRTIO_TMEM_S_OK)
		q->stats[VTMEM_LOADS_HIT]++;

	/* Whatever else a device may say is an error, refusals among it. */
	if (known == VTMEM_S_HOST)
		ret = status == VIRTIO_TMEM_S_OK ? status : VIRTIO_TMEM_S_IO;
	else if (known == VIRTIO_TMEM_S_MISS && status > VIRTIO_TMEM_S_MISS)
		ret = VIRTIO_TMEM_S_IO;
	if (ret == VIRTIO_TMEM_S_IO)
		q->stats[VTMEM_LOADS_ERROR]++;
	return ret;
}

/*
 * The device's answer to operation @i of @job, or to a noted invalidate.
 * @latest: no newer store of the page has been posted
 */
void vtmem_area_answer(struct vtmem_queue *q, struct vtmem_job *job,
		       const struct virtio_tmem_op *op, unsigned int i,
		       u8 status, bool latest)
{
	lockdep_assert_held(&q->lock);

	switch (op->op) {
	case VIRTIO_TMEM_OP_STORE:
		/* No answer to a store, and for the disk a page of zeros. */
		if (status == VIRTIO_TMEM_S_MISS)
			status = VIRTIO_TMEM_S_IO;
		vtmem_answer_store(q, job->area, job->page + i, status, latest);
		job->status[i] = status;
		return;
	case VIRTIO_TMEM_OP_LOAD:
		job->status[i] = vtmem_answer_load(q, job->status[i], status);
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

/* A device may claim any size: half of the memory here is what it gets for it. */
static bool vtmem_area_too_large(unsigned long nr_pages)
{
	u64 bytes = DIV_ROUND_UP_ULL(nr_pages, VTMEM_OBJECT_PAGES) *
		    sizeof(struct vtmem_object);

	return bytes > (u64)totalram_pages() << (PAGE_SHIFT - 1);
}

/**
 * vtmem_area_grow() - make an area larger, while it is in use
 * @area:     the area
 * @nr_pages: its size from then on; not smaller than it is
 *
 * Sleeps; one caller at a time.  Returns 0 or a negative error, and then the
 * size is what it was.
 */
int vtmem_area_grow(struct vtmem_area *area, unsigned long nr_pages)
{
	unsigned long nr_objects = DIV_ROUND_UP(nr_pages, VTMEM_OBJECT_PAGES);
	unsigned long s, i;
	struct vtmem_object *objects;

	if (vtmem_area_too_large(nr_pages) ||
	    DIV_ROUND_UP(nr_objects, VTMEM_SEGMENT_OBJECTS) >
	    area->max_segments)
		return -EFBIG;
	for (s = 0; s << VTMEM_SEGMENT_SHIFT < nr_objects; s++) {
		if (area->segments[s])
			continue;
		/* GFP_KERNEL: probe, or a worker that nobody waits for. */
		objects = kvcalloc(VTMEM_SEGMENT_OBJECTS, sizeof(*objects),
				   GFP_KERNEL);
		if (!objects)
			return -ENOMEM;
		for (i = 0; i < VTMEM_SEGMENT_OBJECTS; i++) {
			INIT_LIST_HEAD(&objects[i].node);
			objects[i].area = area;
			objects[i].nr = (s << VTMEM_SEGMENT_SHIFT) + i;
		}
		area->segments[s] = objects;
	}
	/* Who sees the size sees the objects. */
	smp_store_release(&area->nr_pages, nr_pages);
	return 0;
}

static int vtmem_area_alloc(struct vtmem_area *area, unsigned long nr_pages)
{
	unsigned long segment_pages = VTMEM_OBJECT_PAGES *
				      VTMEM_SEGMENT_OBJECTS;

	if (vtmem_area_too_large(nr_pages))
		return -EFBIG;
	area->max_segments = max_t(unsigned long, VTMEM_SEGMENTS_MIN,
				   DIV_ROUND_UP(nr_pages, segment_pages));
	area->segments = kvcalloc(area->max_segments, sizeof(*area->segments),
				  GFP_KERNEL);
	if (!area->segments)
		return -ENOMEM;
	return vtmem_area_grow(area, nr_pages);
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
	atomic_set(&area->inflight, 0);
	atomic_long_set(&area->nr_used, 0);
	vtmem_gate_init(&area->gate);

	err = vtmem_area_alloc(area, nr_pages);
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

/* The area's pages end with its pool: nothing of them is counted any more. */
static void vtmem_area_uncount(struct vtmem_area *area)
{
	struct vtmem_queue *q;
	unsigned long page;

	for (page = 0; page < area->nr_pages; page++) {
		if (!vtmem_in_object(page))
			cond_resched();
		if (vtmem_page(area, page) != VTMEM_HOST)
			continue;
		q = vtmem_area_queue(area, page);
		spin_lock_irq(&q->lock);
		vtmem_page_set(q, area, page, VTMEM_LOST);
		spin_unlock_irq(&q->lock);
	}
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
	vtmem_gate_stop(&area->gate);

	for (q = dev->queues; q < dev->queues + dev->nr_queues; q++) {
		spin_lock_irq(&q->lock);
		vtmem_ahead_drop_area(q, area);
		vtmem_pending_drop(q, area);
		spin_unlock_irq(&q->lock);
	}
	while (!wait_event_timeout(dev->idle, !atomic_read(&area->inflight),
				   VTMEM_POLL))
		vtmem_dev_broken(dev);
	/* What was fetched ahead has arrived by now. */
	for (q = dev->queues; q < dev->queues + dev->nr_queues; q++) {
		spin_lock_irq(&q->lock);
		vtmem_prefetch_purge(q, area);
		spin_unlock_irq(&q->lock);
	}
	vtmem_area_uncount(area);
	vtmem_pool_destroy(dev, area->pool);
}

void vtmem_area_free(struct vtmem_area *area)
{
	unsigned long s;

	/* The disk's area ends without vtmem_area_close(). */
	vtmem_gate_stop(&area->gate);
	for (s = 0; area->segments && s < area->max_segments; s++)
		kvfree(area->segments[s]);
	kvfree(area->segments);
	kfree(area);
}
