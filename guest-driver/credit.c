// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * virtio-tmem guest driver: stores that are complete before their answer
 *
 * The host grants credit: room for a page each, which it does not take back.
 * Within credit a store cannot be refused for want of room, so its caller need
 * not wait: the page is copied into memory of the queue and the store is
 * complete.  The copy is the page until the host has answered:
 *
 *   gathered  in the open batch, which is a request that grows until it is full
 *             or store_delay old, or until something else has to come after it
 *   posted    the device has the batch
 *   kept      the host has answered with an error, or the device is gone: the
 *             copy is all there is of the page, until nobody wants it any more
 *
 * Loads are served from the copy in all three.  To the map (map.h) such a page
 * is VTMEM_HOST; whatever changes it there (vtmem_page_set) also takes its copy
 * out of the table, and the memory is free for another page once the device has
 * returned it.
 *
 * There are as many copies as there is memory for them, so credit beyond that is
 * of no use, and kept copies make it less.  Nothing is allocated after probe.
 *
 * Order: the open batch is older than any request that is added to the ring
 * after it was gathered.  Requests for other objects may overtake it; before one
 * that changes its object, or noted invalidates, it is closed (vtmem_batch_before).
 *
 * Locking: all but the making and freeing, and vtmem_store_ahead(), is called
 * with vtmem_queue.lock held.  The credit is the device's and atomic.
 */
#include <linux/bitops.h>
#include <linux/gfp.h>
#include <linux/highmem.h>
#include <linux/list.h>
#include <linux/moduleparam.h>
#include <linux/rcupdate.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/virtio_config.h>
#include <linux/vmalloc.h>

#include "map.h"
#include "vq.h"

/* Pages of a batch: one kick and one interrupt for so many stores. */
#define VTMEM_GATHER_MAX	32
#define VTMEM_GATHER_MS		10
#define VTMEM_GATHER_MS_MAX	10000
#define VTMEM_BATCHES		8	/* per queue */

/* Copies in all queues, if that leaves each of them two batches. */
#define VTMEM_ALL_COPIES	512
#define VTMEM_COPIES		256	/* per queue, at most: 1 MiB */
#define VTMEM_COPY_BUCKETS	64

/* What a host grants beyond this is not used. */
#define VTMEM_CREDIT_MAX	BIT(16)

static unsigned int store_delay = VTMEM_GATHER_MS;
module_param(store_delay, uint, 0644);
MODULE_PARM_DESC(store_delay, "Milliseconds that a store of frontswap within the host's credit waits for more, to be one notification with them; at most 10000 (default: 10)");

/* Answers that a store without room waits for, before it goes without credit. */
#define VTMEM_AHEAD_WAITS	8

/*
 * struct vtmem_copy - a page on its way to the host
 *
 * @hash: in the table, as long as the content is wanted
 * @node: among the free ones
 * @busy: in a batch
 */
struct vtmem_copy {
	struct hlist_node hash;
	struct list_head node;
	struct vtmem_area *area;
	unsigned long page;
	struct page *data;
	bool busy;
};

struct vtmem_batch {
	struct vtmem_token token;
	struct list_head node;		/* among the free ones */
	struct vtmem_wire *wire;	/* a page */
	struct vtmem_area *area;
	unsigned int nr;
	struct vtmem_copy *copies[VTMEM_GATHER_MAX];
};

struct vtmem_ahead {
	struct vtmem_batch *open;	/* or NULL */
	bool due;			/* the open batch is to be closed */
	unsigned int nr_posted;		/* batches the device has */
	unsigned int nr_answers;	/* batches, ever; read without lock */
	struct list_head batches;	/* free ones */
	struct list_head copies;	/* free ones */
	struct hlist_head table[VTMEM_COPY_BUCKETS];
	wait_queue_head_t room;		/* stores that wait for an answer */
	struct scatterlist sg[VTMEM_GATHER_MAX];
	struct vtmem_batch batch[VTMEM_BATCHES];
	struct vtmem_copy copy[VTMEM_COPIES];
};

/* The host has room for so many pages more; any context. */
void vtmem_credit_grant(struct vtmem_dev *dev, __le32 credit)
{
	u32 more = min_t(u32, le32_to_cpu(credit), VTMEM_CREDIT_MAX);

	/* Hardly above the limit if two do so at once, which is no harm. */
	if (more && atomic_read(&dev->credit) < VTMEM_CREDIT_MAX)
		atomic_add(more, &dev->credit);
}

static struct hlist_head *vtmem_copy_bucket(struct vtmem_ahead *ahead,
					    unsigned long page)
{
	return &ahead->table[page % VTMEM_COPY_BUCKETS];
}

static struct vtmem_copy *vtmem_copy_find(struct vtmem_queue *q,
					  struct vtmem_area *area,
					  unsigned long page)
{
	struct vtmem_copy *copy;

	lockdep_assert_held(&q->lock);

	hlist_for_each_entry(copy, vtmem_copy_bucket(q->ahead, page), hash)
		if (copy->page == page && copy->area == area)
			return copy;
	return NULL;
}

/* Is there a copy of the page, which the host may not have yet? */
bool vtmem_copy_exists(struct vtmem_queue *q, struct vtmem_area *area,
		       unsigned long page)
{
	lockdep_assert_held(&q->lock);

	return q->ahead && vtmem_copy_find(q, area, page);
}

static void vtmem_copy_free(struct vtmem_ahead *ahead, struct vtmem_copy *copy)
{
	hlist_del_init(&copy->hash);
	copy->busy = false;
	list_add(&copy->node, &ahead->copies);
}

/* The page is not what it was when it was copied. */
void vtmem_copy_kill(struct vtmem_queue *q, struct vtmem_area *area,
		     unsigned long page)
{
	struct vtmem_copy *copy;

	lockdep_assert_held(&q->lock);

	if (!q->ahead)
		return;
	copy = vtmem_copy_find(q, area, page);
	if (!copy)
		return;
	if (copy->busy)
		hlist_del_init(&copy->hash);
	else
		vtmem_copy_free(q->ahead, copy);
}

/* Answers a load of one page from its copy; any state of the queue. */
bool vtmem_copy_load(struct vtmem_queue *q, struct vtmem_job *job)
{
	struct vtmem_copy *copy;

	lockdep_assert_held(&q->lock);

	if (!q->ahead || job->nr != 1)
		return false;
	copy = vtmem_copy_find(q, job->area, job->page);
	if (!copy)
		return false;
	/* GFP_KERNEL: it has an address. */
	sg_copy_from_buffer(job->sg, job->nr_sg, page_address(copy->data),
			    PAGE_SIZE);
	job->status[0] = VIRTIO_TMEM_S_OK;
	q->stats[VTMEM_LOADS_COPY]++;
	return true;
}

/*
 * The device has answered the store of @copy, or never will.
 * @used: its credit is
 */
static void vtmem_copy_answered(struct vtmem_queue *q, struct vtmem_copy *copy,
				u8 status, bool used)
{
	if (!used)
		atomic_inc(&q->dev->credit);
	vtmem_count_store(q, status);
	copy->busy = false;
	if (status == VIRTIO_TMEM_S_OK || hlist_unhashed(&copy->hash)) {
		vtmem_copy_free(q->ahead, copy);
		return;
	}
	q->stats[VTMEM_STORES_KEPT]++;
	/* We and the host disagree: begin again with what it grants. */
	if (status == VIRTIO_TMEM_S_INVAL && used)
		atomic_set(&q->dev->credit, 0);
}

static void vtmem_batch_free(struct vtmem_ahead *ahead,
			     struct vtmem_batch *batch)
{
	batch->nr = 0;
	list_add(&batch->node, &ahead->batches);
}

static void vtmem_batch_end(struct vtmem_queue *q, struct vtmem_token *token,
			    unsigned int len, struct list_head *done)
{
	struct vtmem_batch *batch = container_of(token, struct vtmem_batch,
						 token);
	struct virtio_tmem_resp *resp = &batch->wire->resp;
	struct vtmem_ahead *ahead = q->ahead;
	/* In a request that is refused as a whole no store has used any. */
	bool used = len < sizeof(*resp) || resp->status == VIRTIO_TMEM_S_OK;
	unsigned int i;

	/* Before any INVAL takes it away. */
	vtmem_resp_note(q->dev, resp, len);
	for (i = 0; i < batch->nr; i++)
		vtmem_copy_answered(q, batch->copies[i],
				    vtmem_wire_status(batch->wire, batch->nr, i,
						      len), used);
	q->nr_busy--;
	atomic_dec(&batch->area->inflight);
	ahead->nr_posted--;
	vtmem_batch_free(ahead, batch);
	WRITE_ONCE(ahead->nr_answers, ahead->nr_answers + 1);
	wake_up(&ahead->room);
}

/*
 * Puts the open batch into the ring, without a kick.  False if there is one and
 * that is not possible now: nothing that has to come after it may be posted.
 */
bool vtmem_batch_close(struct vtmem_queue *q)
{
	struct scatterlist head, tail, *sgs[3] = { &head, NULL, &tail };
	struct vtmem_ahead *ahead = q->ahead;
	struct vtmem_batch *batch;
	struct vtmem_wire *wire;
	unsigned int i;

	lockdep_assert_held(&q->lock);

	if (!ahead || !ahead->open)
		return true;
	/* Until it succeeds, whoever runs the queue tries again. */
	ahead->due = true;
	batch = ahead->open;
	wire = batch->wire;
	if (q->state != VTMEM_RUNNING || q->vq->num_free < batch->nr + 2)
		return false;

	vtmem_wire_init(wire, batch->nr);
	sg_init_one(&head, &wire->req,
		    offsetof(struct vtmem_wire, ops[batch->nr]));
	sg_init_table(ahead->sg, batch->nr);
	for (i = 0; i < batch->nr; i++)
		sg_set_page(&ahead->sg[i], batch->copies[i]->data, PAGE_SIZE,
			    0);
	sgs[1] = ahead->sg;
	sg_init_one(&tail, &wire->resp, sizeof(wire->resp) + batch->nr);
	if (vtmem_token_add(q, &batch->token, sgs, 2, 1))
		return false;
	atomic_inc(&batch->area->inflight);
	ahead->nr_posted++;
	ahead->open = NULL;
	ahead->due = false;
	return true;
}

/* The open batch goes into the ring when the queue is run. */
void vtmem_batch_is_due(struct vtmem_queue *q)
{
	lockdep_assert_held(&q->lock);

	if (q->ahead)
		q->ahead->due = q->ahead->open;
}

/* Closes the open batch if it is due; false if that did not work. */
bool vtmem_batch_run(struct vtmem_queue *q)
{
	lockdep_assert_held(&q->lock);

	return !q->ahead || !q->ahead->due || vtmem_batch_close(q);
}

/* Along with a kick that happens anyway. */
void vtmem_batch_piggyback(struct vtmem_queue *q, unsigned int least)
{
	lockdep_assert_held(&q->lock);

	if (q->ahead && q->ahead->open && q->ahead->open->nr >= least)
		vtmem_batch_close(q);
}

/*
 * A request that changes pages of the object of @page is about to be posted: what
 * was gathered of that object goes before it.  False if that is not possible now.
 */
bool vtmem_batch_before(struct vtmem_queue *q, struct vtmem_area *area,
			unsigned long page)
{
	struct vtmem_batch *batch = q->ahead ? q->ahead->open : NULL;
	unsigned int i;

	lockdep_assert_held(&q->lock);

	if (!batch || batch->area != area)
		return true;
	for (i = 0; i < batch->nr; i++)
		if (batch->copies[i]->page >> VTMEM_OBJECT_SHIFT ==
		    page >> VTMEM_OBJECT_SHIFT)
			return vtmem_batch_close(q);
	return true;
}

/*
 * The open batch will never be posted: its area goes, or the device was reset.
 * With @keep its copies are what is left of their pages.
 */
static void vtmem_batch_drop(struct vtmem_queue *q, bool keep)
{
	struct vtmem_ahead *ahead = q->ahead;
	struct vtmem_batch *batch = ahead->open;
	struct vtmem_copy *copy;
	unsigned int i;

	for (i = 0; i < batch->nr; i++) {
		copy = batch->copies[i];
		copy->busy = false;
		if (!keep || hlist_unhashed(&copy->hash))
			vtmem_copy_free(ahead, copy);
		else
			q->stats[VTMEM_STORES_KEPT]++;
		/* A device that is gone has no more use for it. */
		if (!keep)
			atomic_inc(&q->dev->credit);
	}
	ahead->open = NULL;
	ahead->due = false;
	vtmem_batch_free(ahead, batch);
}

/* The area goes, and nobody wants its pages. */
void vtmem_ahead_drop_area(struct vtmem_queue *q, struct vtmem_area *area)
{
	lockdep_assert_held(&q->lock);

	if (q->ahead && q->ahead->open && q->ahead->open->area == area)
		vtmem_batch_drop(q, false);
}

/* The device is gone: its credit is, too.  Those who wait need not. */
void vtmem_ahead_abort(struct vtmem_queue *q)
{
	lockdep_assert_held(&q->lock);

	if (!q->ahead)
		return;
	if (q->ahead->open)
		vtmem_batch_drop(q, true);
	atomic_set(&q->dev->credit, 0);
	WRITE_ONCE(q->ahead->nr_answers, q->ahead->nr_answers + 1);
	wake_up(&q->ahead->room);
}

/* Stores that are complete to the kernel and not answered by the host. */
unsigned int vtmem_ahead_nr_unanswered(struct vtmem_queue *q)
{
	struct vtmem_ahead *ahead = q->ahead;
	unsigned int i, nr = 0;

	lockdep_assert_held(&q->lock);

	for (i = 0; ahead && i < VTMEM_BATCHES; i++)
		nr += ahead->batch[i].nr;
	return nr;
}

/* As many as a request may have and, with its two ends, the ring has room for. */
static bool vtmem_batch_is_whole(struct vtmem_queue *q,
				 const struct vtmem_batch *batch)
{
	return batch->nr >= min3(q->dev->max_batch, VTMEM_GATHER_MAX + 0U,
				 virtqueue_get_vring_size(q->vq) - 2);
}

/* The batch to gather a store of @area in, or NULL. */
static struct vtmem_batch *vtmem_batch_open(struct vtmem_queue *q,
					    struct vtmem_area *area)
{
	struct vtmem_ahead *ahead = q->ahead;
	struct vtmem_batch *batch = ahead->open;

	if (batch && (batch->area != area || vtmem_batch_is_whole(q, batch)))
		if (!vtmem_batch_close(q))
			return NULL;
	if (ahead->open)
		return batch;
	batch = list_first_entry_or_null(&ahead->batches, struct vtmem_batch,
					 node);
	if (batch) {
		list_del(&batch->node);
		batch->area = area;
		ahead->open = batch;
	}
	return batch;
}

/* Takes a page into the open batch, if there is room and credit for it. */
static bool vtmem_gather(struct vtmem_queue *q, struct vtmem_area *area,
			 unsigned long page, struct page *data)
{
	struct vtmem_ahead *ahead = q->ahead;
	struct vtmem_batch *batch;
	struct vtmem_copy *copy;
	struct virtio_tmem_op *op;

	copy = list_first_entry_or_null(&ahead->copies, struct vtmem_copy,
					node);
	if (!copy || atomic_dec_if_positive(&q->dev->credit) < 0)
		return false;
	batch = vtmem_batch_open(q, area);
	if (!batch) {
		atomic_inc(&q->dev->credit);
		return false;
	}

	copy_highpage(copy->data, data);
	op = &batch->wire->ops[batch->nr];
	vtmem_op_fill(op, VIRTIO_TMEM_OP_STORE, area, page);
	op->flags = VIRTIO_TMEM_OP_F_CREDIT;
	batch->copies[batch->nr++] = copy;

	/* As if it were in the ring: nothing of it will come before this. */
	vtmem_slots_supersede(q, area, page, 1);
	vtmem_pending_clear(q, area, page, 1);
	vtmem_page_set(q, area, page, VTMEM_HOST);
	list_del(&copy->node);
	copy->area = area;
	copy->page = page;
	copy->busy = true;
	hlist_add_head(&copy->hash, vtmem_copy_bucket(ahead, page));
	q->stats[VTMEM_STORES_CREDIT]++;
	return true;
}

/* In jiffies: how long a batch may stay open. */
static unsigned long vtmem_gather_delay(void)
{
	return msecs_to_jiffies(min(READ_ONCE(store_delay),
				    VTMEM_GATHER_MS_MAX + 0U));
}

/* Is it time to tell the host? */
static bool vtmem_batch_is_full(struct vtmem_queue *q)
{
	struct vtmem_batch *batch = q->ahead->open;

	/* Without credit or copies it will not grow. */
	return batch && (vtmem_batch_is_whole(q, batch) ||
			 !atomic_read(&q->dev->credit) ||
			 list_empty(&q->ahead->copies));
}

/*
 * One try.  Returns 0; -EAGAIN if an answer may make room, of which @answers
 * were counted before; -EBUSY if the store has to do without credit.
 */
static int vtmem_try_ahead(struct vtmem_queue *q, struct vtmem_area *area,
			   unsigned long page, struct page *data,
			   unsigned int *answers)
{
	struct virtqueue *notify = NULL;
	int ret = -EBUSY;

	rcu_read_lock();
	spin_lock_irq(&q->lock);
	*answers = q->ahead->nr_answers;
	/* What waits comes first. */
	if (q->state == VTMEM_RUNNING && list_empty(&q->backlog)) {
		if (vtmem_gather(q, area, page, data))
			ret = 0;
		if (ret || vtmem_batch_is_full(q)) {
			vtmem_batch_close(q);
			notify = vtmem_kick_prepare(q);
		}
		if (ret && q->ahead->nr_posted)
			ret = -EAGAIN;
		if (q->ahead->open)
			vtmem_flush_within(q, vtmem_gather_delay());
	}
	spin_unlock_irq(&q->lock);
	if (notify)
		virtqueue_notify(notify);
	rcu_read_unlock();
	return ret;
}

/**
 * vtmem_store_ahead() - store a page without waiting for the host's answer
 * @area: of the page
 * @page: its number, within the area
 * @data: its content, which is copied
 *
 * Sleeps if the host is behind.  Returns whether the page is stored, in which
 * case loads give it back whatever the host answers.  Else nothing was done: the
 * store may be tried by vtmem_submit_wait(), and refused.
 */
bool vtmem_store_ahead(struct vtmem_area *area, unsigned long page,
		       struct page *data)
{
	struct vtmem_queue *q = vtmem_area_queue(area, page);
	unsigned int i, answers;
	int ret;

	if (!q->ahead)
		return false;
	for (i = 0; i < VTMEM_AHEAD_WAITS; i++) {
		ret = vtmem_try_ahead(q, area, page, data, &answers);
		if (ret != -EAGAIN)
			return !ret;
		if (!wait_event_timeout(q->ahead->room,
					READ_ONCE(q->ahead->nr_answers) !=
					answers, VTMEM_POLL))
			vtmem_dev_broken(q->dev);
	}
	return false;
}

void vtmem_ahead_free(struct vtmem_queue *q)
{
	struct vtmem_ahead *ahead = q->ahead;
	unsigned int i;

	if (!ahead)
		return;
	for (i = 0; i < VTMEM_COPIES; i++)
		if (ahead->copy[i].data)
			__free_page(ahead->copy[i].data);
	for (i = 0; i < VTMEM_BATCHES; i++)
		free_page((unsigned long)ahead->batch[i].wire);
	kvfree(ahead);
}

/* Of a new queue, on a device with credit; vtmem_ahead_free() after an error. */
int vtmem_ahead_alloc(struct vtmem_queue *q)
{
	unsigned int i, nr = clamp(VTMEM_ALL_COPIES / q->dev->nr_queues,
				   2U * VTMEM_GATHER_MAX, VTMEM_COPIES + 0U);
	struct vtmem_ahead *ahead;

	if (!virtio_has_feature(q->dev->vdev, VIRTIO_TMEM_F_CREDIT))
		return 0;
	/* GFP_KERNEL, here and below: probe. */
	ahead = kvzalloc(sizeof(*ahead), GFP_KERNEL);
	if (!ahead)
		return -ENOMEM;
	q->ahead = ahead;
	INIT_LIST_HEAD(&ahead->batches);
	INIT_LIST_HEAD(&ahead->copies);
	init_waitqueue_head(&ahead->room);
	for (i = 0; i < VTMEM_BATCHES; i++) {
		ahead->batch[i].token.end = vtmem_batch_end;
		ahead->batch[i].wire = (void *)__get_free_page(GFP_KERNEL);
		if (!ahead->batch[i].wire)
			return -ENOMEM;
		list_add(&ahead->batch[i].node, &ahead->batches);
	}
	for (i = 0; i < nr; i++) {
		ahead->copy[i].data = alloc_page(GFP_KERNEL);
		if (!ahead->copy[i].data)
			return -ENOMEM;
		vtmem_copy_free(ahead, &ahead->copy[i]);
	}
	return 0;
}
