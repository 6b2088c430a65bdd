// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * virtio-tmem guest driver: slots, the memory of requests
 *
 * A slot holds one request while the device has it: of a job, or of noted
 * invalidates.  Nothing is allocated after probe: indirect descriptors, for
 * which virtio would allocate on every add, are not negotiated (main.c).
 * Buffers belong to the device until it returns them or has been reset; there
 * is no other way out of a slot.
 *
 * Locking: all but the making and freeing is called with vtmem_queue.lock held.
 */
#include <linux/bits.h>
#include <linux/gfp.h>
#include <linux/slab.h>

#include "vq.h"

/* A free slot for a request with @nr_sg pieces of pages, or NULL. */
struct vtmem_slot *vtmem_slot_get(struct vtmem_queue *q, unsigned int nr_sg)
{
	lockdep_assert_held(&q->lock);

	if (q->vq->num_free < nr_sg + 2)
		return NULL;
	return list_first_entry_or_null(&q->free, struct vtmem_slot, node);
}

/* The head of a request whose operations are there, and room for its answer. */
void vtmem_wire_init(struct vtmem_wire *wire, unsigned int nr_ops)
{
	wire->req = (struct virtio_tmem_req) {
		.type = VIRTIO_TMEM_T_PAGES,
		.nr_ops = cpu_to_le16(nr_ops),
	};
	/* What the device does not write must not read as success. */
	wire->resp = (struct virtio_tmem_resp) {
		.status = VIRTIO_TMEM_S_IO,
	};
	memset(wire->status, VIRTIO_TMEM_S_IO, nr_ops);
}

/* What the device answered to operation @i, of @len bytes it says it wrote. */
u8 vtmem_wire_status(struct vtmem_wire *wire, unsigned int nr_ops,
		     unsigned int i, unsigned int len)
{
	unsigned int head = sizeof(wire->resp) + nr_ops;
	u8 status;

	if (len < sizeof(wire->resp))
		return VIRTIO_TMEM_S_IO;
	status = wire->resp.status;
	if (status != VIRTIO_TMEM_S_OK)
		return status;
	if (len < head)
		return VIRTIO_TMEM_S_IO;
	status = wire->status[i];
	if (status == VIRTIO_TMEM_S_OK &&
	    wire->ops[i].op == VIRTIO_TMEM_OP_LOAD &&
	    len < head + (i + 1) * PAGE_SIZE)
		return VIRTIO_TMEM_S_IO;
	return status;
}

/* What a response of @len bytes says beside its statuses. */
void vtmem_resp_note(struct vtmem_dev *dev, const struct virtio_tmem_resp *resp,
		     unsigned int len)
{
	if (len < sizeof(*resp))
		return;
	vtmem_credit_grant(dev, resp->credit);
	vtmem_hint_seen(dev, resp->hints);
}

/* The host's answer to a store, in the counters. */
void vtmem_count_store(struct vtmem_queue *q, u8 status)
{
	lockdep_assert_held(&q->lock);

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
		q->stats[VTMEM_STORES_ERROR]++;
	}
}

/*
 * Puts a request into the ring, for whose answer the caller looks itself; the
 * token is busy after it returned 0.
 */
static int vtmem_token_post(struct vtmem_queue *q, struct vtmem_token *token,
			    struct scatterlist **sgs, unsigned int out,
			    unsigned int in)
{
	int err;

	lockdep_assert_held(&q->lock);

	/* GFP_ATOMIC: spinlock held; without indirect descriptors not used. */
	err = virtqueue_add_sgs(q->vq, sgs, out, in, token, GFP_ATOMIC);
	if (err == -EIO)
		vtmem_dev_broken(q->dev);
	if (err)
		return err;
	vtmem_queue_busy(q, token);
	q->nr_unkicked++;
	q->stats[VTMEM_REQUESTS]++;
	return 0;
}

/* The same, with an interrupt for the answer. */
int vtmem_token_add(struct vtmem_queue *q, struct vtmem_token *token,
		    struct scatterlist **sgs, unsigned int out, unsigned int in)
{
	lockdep_assert_held(&q->lock);

	/*
	 * If answers are there already, somebody is about to take them (poll.c),
	 * but that task may have lost its CPU, and this one is not to wait for it.
	 */
	if (!q->armed && !vtmem_queue_arm(q, q->vq))
		queue_delayed_work(vtmem_wq, &q->look_work, 1);
	return vtmem_token_post(q, token, sgs, out, in);
}

/*
 * Newer stores of pages go into the ring: if an older one that the device still
 * has is refused, that says nothing of the page any more, also when the newer
 * one was answered first.
 */
void vtmem_slots_supersede(struct vtmem_queue *q, struct vtmem_area *area,
			   unsigned long page, unsigned int nr)
{
	struct vtmem_slot *slot;
	struct vtmem_job *job;
	unsigned long first, end;

	lockdep_assert_held(&q->lock);

	if (!q->nr_busy)
		return;
	for (slot = q->slots; slot < q->slots + VTMEM_SLOTS; slot++) {
		job = slot->job;
		if (!job || slot->area != area ||
		    job->op != VIRTIO_TMEM_OP_STORE)
			continue;
		first = max(page, job->page);
		end = min(page + nr, job->page + job->nr);
		if (first < end)
			slot->superseded |= GENMASK_ULL(end - job->page - 1,
							first - job->page);
	}
}

/* Puts a slot's request into the ring; the slot is busy after it returned 0. */
int vtmem_slot_add(struct vtmem_queue *q, struct vtmem_slot *slot,
		   struct vtmem_area *area, struct vtmem_job *job,
		   unsigned int nr_ops, unsigned int nr_ahead)
{
	struct vtmem_wire *wire = slot->wire;
	struct scatterlist head, tail, *sgs[4];
	unsigned int out = 0, in = 0;
	int err;

	lockdep_assert_held(&q->lock);

	vtmem_wire_init(wire, nr_ops);
	sg_init_one(&head, &wire->req,
		    offsetof(struct vtmem_wire, ops[nr_ops]));
	sgs[out++] = &head;
	if (job && job->op == VIRTIO_TMEM_OP_STORE)
		sgs[out++] = job->sg;
	sg_init_one(&tail, &wire->resp, sizeof(wire->resp) + nr_ops);
	sgs[out + in++] = &tail;
	if (job && job->op == VIRTIO_TMEM_OP_LOAD)
		sgs[out + in++] = job->sg;
	if (nr_ahead)
		sgs[out + in++] = vtmem_prefetch_sg(q);

	/* Interrupts that nobody needs any more end here. */
	if (job && job->look && !q->nr_busy && q->armed)
		vtmem_queue_disarm(q, q->vq);
	if (job && job->look)
		err = vtmem_token_post(q, &slot->token, sgs, out, in);
	else
		err = vtmem_token_add(q, &slot->token, sgs, out, in);
	if (err)
		return err;

	if (job && job->op == VIRTIO_TMEM_OP_STORE)
		vtmem_slots_supersede(q, area, job->page, job->nr);
	list_del(&slot->node);
	slot->area = area;
	slot->job = job;
	slot->nr_ops = nr_ops;
	slot->nr_ahead = nr_ahead;
	slot->superseded = 0;
	slot->since = job && job->op == VIRTIO_TMEM_OP_LOAD ?
		      vtmem_poll_begin() : 0;
	atomic_inc(&area->inflight);
	q->nr_flushes += !job;
	return 0;
}

/* The device has returned a slot, or will never look at it again (@len 0). */
static void vtmem_slot_done(struct vtmem_queue *q, struct vtmem_token *token,
			    unsigned int len, struct list_head *done)
{
	struct vtmem_slot *slot = container_of(token, struct vtmem_slot, token);
	struct virtio_tmem_op *op = slot->wire->ops;
	unsigned int i, nr = slot->nr_ops - slot->nr_ahead;
	u8 status;

	vtmem_resp_note(q->dev, &slot->wire->resp, len);
	if (slot->since)
		vtmem_poll_took(q, slot->since);
	for (i = 0; i < nr; i++) {
		status = vtmem_wire_status(slot->wire, slot->nr_ops, i, len);
		vtmem_area_answer(q, slot->job, &op[i], i, status,
				  !(slot->superseded >> i & 1));
	}
	for (; i < slot->nr_ops; i++) {
		status = vtmem_wire_status(slot->wire, slot->nr_ops, i, len);
		vtmem_prefetch_arrived(q, slot->area, &op[i], status);
	}
	if (slot->job)
		list_add_tail(&slot->job->node, done);
	else
		q->nr_flushes--;
	slot->job = NULL;
	q->nr_busy--;
	atomic_dec(&slot->area->inflight);
	list_add(&slot->node, &q->free);
}

void vtmem_slots_free(struct vtmem_queue *q)
{
	unsigned int i;

	for (i = 0; q->slots && i < VTMEM_SLOTS; i++)
		free_page((unsigned long)q->slots[i].wire);
	kfree(q->slots);
}

/* Of a new queue; vtmem_slots_free() also after an error. */
int vtmem_slots_alloc(struct vtmem_queue *q)
{
	unsigned int i;

	BUILD_BUG_ON(sizeof(struct vtmem_wire) > PAGE_SIZE);

	/* GFP_KERNEL, here and below: probe. */
	q->slots = kcalloc(VTMEM_SLOTS, sizeof(*q->slots), GFP_KERNEL);
	if (!q->slots)
		return -ENOMEM;
	for (i = 0; i < VTMEM_SLOTS; i++) {
		q->slots[i].token.end = vtmem_slot_done;
		q->slots[i].wire = (void *)__get_free_page(GFP_KERNEL);
		if (!q->slots[i].wire)
			return -ENOMEM;
		list_add(&q->slots[i].node, &q->free);
	}
	return 0;
}
