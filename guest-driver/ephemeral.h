/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio-tmem guest driver: what the files of ephemeral pages share. */
#ifndef VTMEM_EPHEMERAL_H
#define VTMEM_EPHEMERAL_H

#include "vtmem.h"

/*
 * Requests of one page at a time, each with a page of its own: in a queue at
 * most, and in all queues, if that leaves each of them a few.
 */
#define VTMEM_EPH_SLOTS		192
#define VTMEM_EPH_ALL_SLOTS	512
/* Of these are left for loads, which someone waits for. */
#define VTMEM_EPH_LOAD_SLOTS	8
/* Requests with a batch of invalidates. */
#define VTMEM_EPH_FLUSHES	4
#define VTMEM_EPH_NOTES		1024
#define VTMEM_EPH_GENS		256

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

/* ephemeral.c */
void vtmem_eph_work(struct work_struct *work);

/* eph-queue.c; all but the first two and the last under the queue's lock */
int vtmem_eph_queue_alloc(struct vtmem_queue *q);
void vtmem_eph_queue_free(struct vtmem_queue *q);
void vtmem_eph_spoil(struct vtmem_queue *q, struct vtmem_eph *pool);
bool vtmem_eph_add(struct vtmem_queue *q, struct vtmem_token *token,
		   struct scatterlist **sgs, unsigned int out, unsigned int in);
bool vtmem_eph_post(struct vtmem_queue *q, struct vtmem_eph_slot *slot,
		    struct vtmem_eph *pool, u8 op, u8 flags,
		    const struct vtmem_eph_name *name);
void vtmem_eph_slot_free(struct vtmem_eph_queue *eq,
			 struct vtmem_eph_slot *slot);
u8 vtmem_eph_status(const struct virtio_tmem_resp *resp, const u8 *status,
		    unsigned int nr_ops, unsigned int i, unsigned int len);
void vtmem_eph_op(struct virtio_tmem_op *op, u8 type,
		  const struct vtmem_eph *pool,
		  const struct vtmem_eph_name *name);

/* eph-note.c; all under the queue's lock */
void vtmem_eph_note(struct vtmem_queue *q, struct vtmem_eph *pool,
		    const struct vtmem_eph_name *name, bool whole);
struct vtmem_eph_note *
vtmem_eph_find_note(struct vtmem_eph_queue *eq, const struct vtmem_eph *pool,
		    const struct vtmem_eph_name *name);
void vtmem_eph_flush_notes(struct vtmem_queue *q);
void vtmem_eph_flush_end(struct vtmem_queue *q, struct vtmem_token *token,
			 unsigned int len, struct list_head *done);
void vtmem_eph_drop_notes(struct vtmem_queue *q, struct vtmem_eph *pool);

#endif /* VTMEM_EPHEMERAL_H */
