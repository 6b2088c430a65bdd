// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * virtio-tmem guest driver: invalidates of ephemeral pages that are not yet sent
 *
 * They are kept in a ring, in their order, in memory that exists since probe,
 * and leave in batches.  When the ring is full of others, the whole object goes
 * if it has a note already, or else its pool is spoiled.
 *
 * Locking: all here is called with vtmem_queue.lock held.
 */
#include <linux/workqueue.h>

#include "ephemeral.h"

static struct vtmem_eph_note *vtmem_eph_note_at(struct vtmem_eph_queue *eq,
						unsigned int i)
{
	return &eq->notes[(eq->first_note + i) % VTMEM_EPH_NOTES];
}

void vtmem_eph_flush_end(struct vtmem_queue *q,
			 struct vtmem_token *token, unsigned int len,
			 struct list_head *done)
{
	struct vtmem_eph_flush *flush =
		container_of(token, struct vtmem_eph_flush, token);
	struct vtmem_eph_batch *wire = flush->wire;
	unsigned int i;
	u8 status;

	lockdep_assert_held(&q->lock);

	vtmem_resp_note(q->dev, &wire->resp, len);
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

/* Posts notes as far as possible. */
void vtmem_eph_flush_notes(struct vtmem_queue *q)
{
	lockdep_assert_held(&q->lock);

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
struct vtmem_eph_note *
vtmem_eph_find_note(struct vtmem_eph_queue *eq, const struct vtmem_eph *pool,
		    const struct vtmem_eph_name *name)
{
	struct vtmem_eph_note *note;
	unsigned int i;

	lockdep_assert_held(&eq->q->lock);

	for (i = 0; i < eq->nr_notes; i++) {
		note = vtmem_eph_note_at(eq, i);
		if (vtmem_eph_same_object(note, pool, name))
			return note;
	}
	return NULL;
}

/* Notes an invalidate; there is always a way. */
void vtmem_eph_note(struct vtmem_queue *q, struct vtmem_eph *pool,
		    const struct vtmem_eph_name *name, bool whole)
{
	struct vtmem_eph_queue *eq = q->eph;
	struct vtmem_eph_note *note;

	lockdep_assert_held(&q->lock);

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

void vtmem_eph_drop_notes(struct vtmem_queue *q, struct vtmem_eph *pool)
{
	struct vtmem_eph_queue *eq = q->eph;
	unsigned int i, kept = 0;

	lockdep_assert_held(&q->lock);

	for (i = 0; i < eq->nr_notes; i++)
		if (vtmem_eph_note_at(eq, i)->pool != pool)
			*vtmem_eph_note_at(eq, kept++) =
				*vtmem_eph_note_at(eq, i);
	eq->nr_notes = kept;
}
