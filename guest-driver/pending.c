// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * virtio-tmem guest driver: invalidates that are noted, and never dropped
 *
 * Who frees a page may neither wait nor fail, and the ring may be full.  So an
 * invalidate is a bit that exists since the area does; the bits are sent in
 * batches, when a batch is full, along with another kick, before a load of the
 * page, or after VTMEM_FLUSH_MS (area.c).  A store of the page takes the bit's
 * place once it is in the ring, because a store leaves nothing of what was there
 * before.  Any later operation on the page finds the bit under the same lock.
 *
 * Locking: all of this is called under the lock of the object's queue.
 */
#include <linux/bitmap.h>

#include "map.h"

/*
 * vtmem_pending_note() - a page's content is not wanted any more
 * @lost: it is gone against its owner's will: reading the page is an error
 */
void vtmem_pending_note(struct vtmem_queue *q, struct vtmem_area *area,
			unsigned long page, bool lost)
{
	struct vtmem_object *obj = vtmem_object(area, page);
	bool held = vtmem_page(area, page) == VTMEM_HOST;

	lockdep_assert_held(&q->lock);

	vtmem_page_set(q, area, page, lost ? VTMEM_LOST : VTMEM_NONE);
	/* A host that has failed holds nothing. */
	if (!held || q->state == VTMEM_FAILED)
		return;
	__set_bit(vtmem_in_object(page), obj->pending);
	q->nr_pending++;
	if (list_empty(&obj->node))
		list_add_tail(&obj->node, &q->dirty);
}

/* Forgets what is noted for @nr pages, all in one object. */
void vtmem_pending_clear(struct vtmem_queue *q, struct vtmem_area *area,
			 unsigned long page, unsigned int nr)
{
	struct vtmem_object *obj = vtmem_object(area, page);
	unsigned int i = vtmem_in_object(page), end = i + nr;

	lockdep_assert_held(&q->lock);

	for_each_set_bit_from(i, obj->pending, end) {
		__clear_bit(i, obj->pending);
		q->nr_pending--;
	}
}

/*
 * If invalidates are noted for the pages of @job, makes its object the first to
 * be flushed and returns true.
 */
bool vtmem_pending_promote(struct vtmem_queue *q, struct vtmem_job *job)
{
	struct vtmem_object *obj = vtmem_object(job->area, job->page);
	unsigned int first = vtmem_in_object(job->page);

	lockdep_assert_held(&q->lock);

	if (find_next_bit(obj->pending, first + job->nr, first) >=
	    first + job->nr)
		return false;
	list_move(&obj->node, &q->dirty);
	return true;
}

static unsigned int vtmem_gather_object(struct vtmem_object *obj,
					struct virtio_tmem_op *ops,
					unsigned int max)
{
	unsigned long first = vtmem_object_first(obj);
	unsigned int i, nr = 0;

	/* Nothing of it is wanted any more: one operation for all. */
	if (!vtmem_object_any_host(obj)) {
		vtmem_op_fill(ops, VIRTIO_TMEM_OP_INVALIDATE_OBJECT, obj->area,
			      first);
		return 1;
	}
	for_each_set_bit(i, obj->pending, VTMEM_OBJECT_PAGES) {
		if (nr == max)
			break;
		vtmem_op_fill(&ops[nr++], VIRTIO_TMEM_OP_INVALIDATE, obj->area,
			      first + i);
	}
	return nr;
}

/*
 * Writes one batch of noted invalidates, all of one area, and returns their
 * number.  They stay noted until vtmem_pending_gathered().
 */
unsigned int vtmem_pending_gather(struct vtmem_queue *q,
				  struct virtio_tmem_op *ops,
				  struct vtmem_area **areap)
{
	struct vtmem_object *obj, *next;
	unsigned int nr = 0, max = q->dev->max_batch;

	lockdep_assert_held(&q->lock);

	*areap = NULL;
	list_for_each_entry_safe(obj, next, &q->dirty, node) {
		if (*areap && obj->area != *areap)
			continue;
		/* Stores may have taken the place of all. */
		if (bitmap_empty(obj->pending, VTMEM_OBJECT_PAGES)) {
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
void vtmem_pending_gathered(struct vtmem_queue *q, struct vtmem_area *area,
			    const struct virtio_tmem_op *ops,
			    unsigned int nr_ops)
{
	unsigned int i;

	lockdep_assert_held(&q->lock);

	for (i = 0; i < nr_ops; i++)
		vtmem_pending_clear(q, area, vtmem_op_page(&ops[i]),
				    ops[i].op == VIRTIO_TMEM_OP_INVALIDATE ?
				    1 : VTMEM_OBJECT_PAGES);
}

/* Forgets noted invalidates: of an area whose pool goes, or of all (NULL). */
void vtmem_pending_drop(struct vtmem_queue *q, struct vtmem_area *only)
{
	struct vtmem_object *obj, *next;

	lockdep_assert_held(&q->lock);

	list_for_each_entry_safe(obj, next, &q->dirty, node) {
		if (only && obj->area != only)
			continue;
		vtmem_pending_clear(q, obj->area, vtmem_object_first(obj),
				    VTMEM_OBJECT_PAGES);
		list_del_init(&obj->node);
	}
	if (!q->nr_pending)
		q->flush_due = false;
}
