/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio-tmem guest driver: what the files of request queues share. */
#ifndef VTMEM_VQ_H
#define VTMEM_VQ_H

#include "vtmem.h"

#define VTMEM_SLOTS		32	/* per queue: 128 KiB */

/* Looks with success between two interrupts at most; see poll.c. */
#define VTMEM_POLLED_MAX	256

/* A request without its pages, as the device sees it. */
struct vtmem_wire {
	struct virtio_tmem_req req;
	struct virtio_tmem_op ops[VTMEM_BATCH_MAX];

	struct virtio_tmem_resp resp __aligned(VTMEM_DMA_ALIGN);
	u8 status[VTMEM_BATCH_MAX];
};

struct vtmem_slot {
	struct vtmem_token token;	/* first: what the ring knows */
	struct list_head node;
	struct vtmem_wire *wire;	/* a page */
	struct vtmem_area *area;
	struct vtmem_job *job;		/* NULL: noted invalidates */
	unsigned int nr_ops;		/* all, the pages ahead among them */
	unsigned int nr_ahead;		/* loads behind those of the job */
	u64 since;			/* ns, of a load whose time is taken; or 0 */
	u64 superseded;			/* stores of these pages came later */
};

/* slot.c; all but alloc and free under the queue's lock */
void vtmem_wire_init(struct vtmem_wire *wire, unsigned int nr_ops);
u8 vtmem_wire_status(struct vtmem_wire *wire, unsigned int nr_ops,
		     unsigned int i, unsigned int len);
void vtmem_slots_supersede(struct vtmem_queue *q, struct vtmem_area *area,
			   unsigned long page, unsigned int nr);
int vtmem_slots_alloc(struct vtmem_queue *q);
void vtmem_slots_free(struct vtmem_queue *q);
struct vtmem_slot *vtmem_slot_get(struct vtmem_queue *q, unsigned int nr_sg);
int vtmem_slot_add(struct vtmem_queue *q, struct vtmem_slot *slot,
		   struct vtmem_area *area, struct vtmem_job *job,
		   unsigned int nr_ops, unsigned int nr_ahead);

/* vq.c */
struct virtqueue *vtmem_queue_run(struct vtmem_queue *q,
				  struct list_head *done);
void vtmem_jobs_end(struct list_head *done);
void vtmem_flush_work(struct work_struct *work);

/* poll.c */
u64 vtmem_poll_begin(void);
void vtmem_poll_took(struct vtmem_queue *q, u64 since);
void vtmem_poll(struct vtmem_queue *q, struct completion *done);

/* ring.c */
bool vtmem_queue_arm(struct vtmem_queue *q, struct virtqueue *vq);
void vtmem_queue_disarm(struct vtmem_queue *q, struct virtqueue *vq);
bool vtmem_queue_look(struct vtmem_queue *q, bool last, bool own);
void vtmem_vq_done(struct virtqueue *vq);

#endif /* VTMEM_VQ_H */
