// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * virtio-tmem guest driver: requests for ephemeral pages, in a queue
 *
 * Each request of one page has a slot with a page of its own, from which a store
 * is sent and in which a load arrives; none is allocated later than probe.  A
 * slot belongs to the device until the device has returned it.
 *
 * Locking: all here is called with vtmem_queue.lock held, but for the making and
 * freeing of what the queue needs.
 */
#include <linux/slab.h>

#include "ephemeral.h"

void vtmem_eph_op(struct virtio_tmem_op *op, u8 type,
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
void vtmem_eph_spoil(struct vtmem_queue *q, struct vtmem_eph *pool)
{
	lockdep_assert_held(&q->lock);

	if (cmpxchg(&pool->state, VTMEM_EPH_LIVE, VTMEM_EPH_SPOILED) !=
	    VTMEM_EPH_LIVE)
		return;
	q->stats[VTMEM_EPH_POOLS_SPOILED]++;
	queue_work(system_freezable_wq, &pool->work);
}

/* Puts a request into the ring; the token is busy after true. */
bool vtmem_eph_add(struct vtmem_queue *q, struct vtmem_token *token,
		   struct scatterlist **sgs, unsigned int out,
		   unsigned int in)
{
	lockdep_assert_held(&q->lock);

	return q->state == VTMEM_RUNNING && q->vq->num_free >= out + in &&
	       !vtmem_token_add(q, token, sgs, out, in);
}

/* What the device answered, of @len bytes it says it wrote. */
u8 vtmem_eph_status(const struct virtio_tmem_resp *resp,
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

void vtmem_eph_slot_free(struct vtmem_eph_queue *eq,
			 struct vtmem_eph_slot *slot)
{
	lockdep_assert_held(&eq->q->lock);

	list_add(&slot->node, &eq->slots);
	eq->nr_free++;
	wake_up(&eq->room);
}

/*
 * May a store go into the ring?  A page that can be left out must not keep the
 * ones waiting that cannot: what waits comes first, and room stays for the
 * largest request of others, as far as a small ring allows.
 */
static bool vtmem_eph_store_fits(struct vtmem_queue *q)
{
	unsigned int room = min(q->dev->ring_min,
				virtqueue_get_vring_size(q->vq) / 2);

	return list_empty(&q->backlog) && q->vq->num_free >= room + 3;
}

bool vtmem_eph_post(struct vtmem_queue *q, struct vtmem_eph_slot *slot,
		    struct vtmem_eph *pool, u8 op, u8 flags,
		    const struct vtmem_eph_name *name)
{
	struct scatterlist head, data, tail, *sgs[3];
	struct vtmem_eph_wire *wire = slot->wire;
	unsigned int out = 0, in = 0;

	lockdep_assert_held(&q->lock);

	if (op == VIRTIO_TMEM_OP_STORE &&
	    (q->state != VTMEM_RUNNING || !vtmem_eph_store_fits(q)))
		return false;
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
	vtmem_count_store(q, status);
	switch (status) {
	case VIRTIO_TMEM_S_OK:
	case VIRTIO_TMEM_S_NOSPC:
	case VIRTIO_TMEM_S_QUOTA:
	case VIRTIO_TMEM_S_REFUSED:
	case VIRTIO_TMEM_S_FROZEN:
		break;
	default:
		/* Perhaps not understood at all: an older page may be there. */
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
	if (!slot->pool->shared &&
	    (status == VIRTIO_TMEM_S_MISS ||
	     slot->wire->op.flags & VIRTIO_TMEM_OP_F_EXCLUSIVE))
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

	vtmem_resp_note(q->dev, &slot->wire->resp, len);
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

void vtmem_eph_queue_free(struct vtmem_queue *q)
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

int vtmem_eph_queue_alloc(struct vtmem_queue *q)
{
	unsigned int i, nr_slots = clamp(VTMEM_EPH_ALL_SLOTS /
					 q->dev->nr_queues, 32U,
					 VTMEM_EPH_SLOTS + 0U);
	struct vtmem_eph_queue *eq;

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
	for (i = 0; i < nr_slots; i++) {
		eq->slot[i].token.end = vtmem_eph_slot_end;
		eq->slot[i].wire = &eq->wires[i];
		eq->slot[i].page = alloc_page(GFP_KERNEL);
		if (!eq->slot[i].page)
			return -ENOMEM;
		list_add(&eq->slot[i].node, &eq->slots);
		eq->nr_free++;
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
