/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-tmem guest driver: the words shared by its files
 *
 * A *device* has *queues*.  An *area* is a range of pages that a front end (the
 * swap disk, or one swap type under frontswap) keeps in one pool of the host.
 * 256 consecutive pages of an area form an *object*; all operations on an
 * object go through the same queue, which is what keeps them in order.  A
 * *job* is one request of a front end; a *slot* is the memory that one request
 * needs while the device has it.
 *
 * Lock order:
 *
 *   vtmem_devices_mutex (main.c)
 *     vtmem_open_mutex (disk.h) or frontswap's mutex
 *       vtmem_dev.lock
 *         vtmem_ctrl.mutex
 *           vtmem_queue.lock, vtmem_ctrl.lock (interrupts off)
 *             vtmem_gate.lock
 *
 * The kernel's swap locks are outside of vtmem_queue.lock, so nothing of the
 * kernel's that takes locks is called under it, except the virtio ring, the
 * queueing of work, and the waking of tasks: a wait queue's or a completion's lock
 * is innermost, like the scheduler's, and nobody holds one and takes ours.
 */
#ifndef VTMEM_H
#define VTMEM_H

#include <linux/blk_types.h>
#include <linux/completion.h>
#include <linux/jiffies.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/moduleparam.h>
#include <linux/mutex.h>
#include <linux/notifier.h>
#include <linux/scatterlist.h>
#include <linux/spinlock.h>
#include <linux/uuid.h>
#include <linux/virtio.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "uapi/linux/virtio_tmem.h"

#define VTMEM_OBJECT_SHIFT	8	/* log2 of an object's pages: 1 MiB */
#define VTMEM_OBJECT_PAGES	BIT(VTMEM_OBJECT_SHIFT)
#define VTMEM_SEGMENT_SHIFT	8	/* log2 of the objects allocated together */

/*
 * Operations in one request, at most; the device may allow fewer.  A bit mask
 * of them fits in a u64, and one request's memory in a page (vtmem_wire).
 */
#define VTMEM_BATCH_MAX		64

/* In vtmem_job.status beside VIRTIO_TMEM_S_*: what is for the front end to do. */
#define VTMEM_S_DISK		0xf0	/* the page is on the disk behind */
#define VTMEM_S_HOST		0xf1	/* inside area.c: the host is asked */

/*
 * Who waits for the device looks at its status so often (jiffies).  A device
 * that fails says so by a configuration change, but the virtio core passes none
 * on during probe, removal and sleep, and after a sleep that was refused.
 */
#define VTMEM_POLL		HZ

/*
 * Counters, per queue under its lock, summed when they are read.  They count
 * pages unless they say otherwise; stats.c has their names.
 */
enum vtmem_counter {
	VTMEM_STORES,			/* asked of the host */
	VTMEM_STORES_OK,
	VTMEM_STORES_REFUSED,		/* full, over quota, by policy, frozen */
	VTMEM_STORES_ERROR,
	VTMEM_STORES_SKIPPED,		/* not asked: see gate.c */
	VTMEM_STORES_CREDIT,		/* of the stores, complete before that */
	VTMEM_STORES_KEPT,		/* of these not OK: in a copy here */
	VTMEM_LOADS,			/* asked of the host */
	VTMEM_LOADS_HIT,
	VTMEM_LOADS_MISS,		/* as the host answered */
	VTMEM_LOADS_ERROR,		/* as the front end was told */
	VTMEM_LOADS_COPY,		/* not asked: the page was here still */
	VTMEM_PREFETCHES,		/* of the loads asked, ahead of need */
	VTMEM_PREFETCHES_USED,		/* given out without another request */
	VTMEM_INVALIDATES,
	VTMEM_OBJECT_INVALIDATES,	/* operations */
	VTMEM_INVALIDATES_ERROR,	/* operations */
	VTMEM_REQUESTS,			/* descriptor chains */
	VTMEM_KICKS,			/* notifications to the host */
	VTMEM_KICKS_LOADS,		/* of these, for a load to be waited for */
	VTMEM_INTERRUPTS,		/* notifications from the host */
	VTMEM_POLLS,			/* looks by a task that found answers */
	VTMEM_DISK_WRITES,		/* pages refused, now on the disk behind */
	VTMEM_DISK_READS,
	VTMEM_DISK_ERRORS,
	VTMEM_EPH_STORES,		/* of the above, ephemeral */
	VTMEM_EPH_STORES_SKIPPED,	/* no slot: not asked of the host */
	VTMEM_EPH_LOADS_HIT,		/* given to a file system */
	VTMEM_EPH_LOADS_SPOILED,	/* hits that an invalidate overtook */
	VTMEM_EPH_LOADS_GIVEN_UP,	/* the host kept silent */
	VTMEM_EPH_POOLS_SPOILED,	/* pools given up, see ephemeral.c */
	VTMEM_NR_COUNTERS
};

enum vtmem_state {
	VTMEM_FROZEN,	/* jobs wait: no rings yet, or the system sleeps */
	VTMEM_RUNNING,
	VTMEM_SHUT,	/* shutdown: loads wait for ever, other jobs fail */
	VTMEM_FAILED,	/* jobs fail; for good */
};

/* Enough for any cache line: parts the device writes share none with others. */
#define VTMEM_DMA_ALIGN		128

struct vtmem_slot;
struct vtmem_ahead;
struct vtmem_eph_queue;
struct vtmem_queue;

/*
 * struct vtmem_token - what the ring knows a request by
 *
 * @node: in vtmem_queue.busy, while the device has the request
 * @since: vtmem_dev.seconds when it got it
 * @end: the device has returned the request and written @len bytes, or never
 *       will (0).  Called with the queue's lock held; jobs that are over go to
 *       @done and are ended without it.
 */
struct vtmem_token {
	struct list_head node;
	unsigned int since;
	void (*end)(struct vtmem_queue *q, struct vtmem_token *token,
		    unsigned int len, struct list_head *done);
};

struct vtmem_queue {
	spinlock_t lock;		/* interrupts off: taken in them */
	struct virtqueue *vq;
	enum vtmem_state state;
	unsigned int nr_busy;		/* slots that the device has */
	unsigned int nr_flushes;	/* of these, without a job */
	unsigned int nr_unkicked;	/* requests added since the last kick */
	bool armed;			/* the next answer interrupts, see poll.c */
	u64 load_ns;			/* a load takes, about; no lock */
	unsigned int nr_pending;	/* pages whose invalidate is noted */
	unsigned long nr_host;		/* pages that the host has */
	struct vtmem_prefetch *prefetch;
	struct vtmem_ahead *ahead;	/* NULL: without credit */
	bool flush_due;			/* post these without more delay */
	unsigned long flush_at;		/* jiffies, while flush_work is queued */
	unsigned int nr_polled;		/* looks since the last interrupt, see poll.c */
	struct list_head busy;		/* of vtmem_token: the oldest first */
	struct list_head free;		/* of vtmem_slot */
	struct list_head backlog;	/* of vtmem_job: waiting for a slot */
	struct list_head dirty;		/* of vtmem_object: with pending pages */
	u64 stats[VTMEM_NR_COUNTERS];

	/* Written while no other thread can see the queue. */
	struct vtmem_dev *dev;
	struct vtmem_slot *slots;
	struct vtmem_eph_queue *eph;	/* NULL: without cleancache */
	struct delayed_work flush_work;
	struct delayed_work look_work;
	char name[16];
} ____cacheline_aligned_in_smp;

/* The control queue: one request at a time. */
struct vtmem_ctrl {
	struct mutex mutex;		/* the sender's */
	spinlock_t lock;		/* the five below; taken in interrupts */
	struct virtqueue *vq;
	enum vtmem_state state;
	bool busy;			/* the device has the wire buffer */
	unsigned int since;		/* vtmem_dev.seconds when it got it */
	unsigned int len;		/* bytes answered, 0 when aborted */
	struct completion done;
	struct vtmem_ctrl_wire *wire;
};

struct vtmem_disk;

struct vtmem_dev {
	unsigned int nr_queues;
	unsigned int max_batch;
	unsigned int ring_min;		/* descriptors one request may need */
	struct vtmem_queue *queues;
	struct vtmem_disk *disk;	/* NULL: none; vtmem_devices_mutex */
	u64 disk_bytes;			/* offered; vtmem_devices_mutex */
	struct vtmem_ctrl ctrl;
	atomic_t credit;		/* granted and not used: see credit.c */
	u8 hints;			/* VIRTIO_TMEM_HINT_*: see hint.c */
	unsigned long hinted;		/* jiffies, when they were last seen */
	struct vtmem_eph_dev *eph;	/* NULL: without cleancache */

	struct mutex lock;		/* life cycle, and the list of areas */
	struct virtio_device *vdev;	/* NULL after removal; under lock */
	bool failed;			/* under lock */
	/* We have reset it, for sleep or the machine's end; under lock. */
	bool at_rest;
	/* Seconds in which somebody watched it; written under lock. */
	unsigned int seconds;
	unsigned long last_second;	/* jiffies; under lock */
	struct list_head areas;
	struct delayed_work status_work;
	struct work_struct config_work;
	struct notifier_block pm_nb;
	wait_queue_head_t idle;		/* woken when a count reaches 0 */
	struct kref ref;		/* driver core, disk openers, areas */
	struct dentry *debugfs;
	struct list_head node;		/* in main.c's list of devices */
	char name[32];			/* for messages after vdev is gone */
};

/* The device has one request more, and is due to answer. */
static inline void vtmem_queue_busy(struct vtmem_queue *q,
				    struct vtmem_token *token)
{
	q->nr_busy++;
	token->since = READ_ONCE(q->dev->seconds);
	list_add_tail(&token->node, &q->busy);
}

/* 256 pages; under the lock of the object's queue, but see map.h. */
struct vtmem_object {
	struct list_head node;		/* in vtmem_queue.dirty, or empty */
	struct vtmem_area *area;
	unsigned long nr;
	unsigned long map[2 * VTMEM_OBJECT_PAGES / BITS_PER_LONG];
	/* An invalidate is noted but not yet in the ring; implies !VTMEM_HOST */
	unsigned long pending[VTMEM_OBJECT_PAGES / BITS_PER_LONG];
};

/*
 * struct vtmem_gate - stores are held back while the host refuses them
 *
 * @closed may be read without @lock.
 */
struct vtmem_gate {
	spinlock_t lock;		/* inside of vtmem_queue.lock */
	bool closed;
	u8 reason;			/* VIRTIO_TMEM_S_* */
	unsigned long window;		/* jiffies */
	unsigned long until;		/* jiffies, while closed */
	unsigned long opened;		/* jiffies, since it is open */
	unsigned long enough;		/* host pages at which it opens early */
	long withheld;			/* swap slots; see gate.c */
	unsigned int others;		/* ticks: another swap area is there */
	unsigned long swap_slots;	/* of the swap area on the disk, or 0 */
	unsigned int openers;		/* of the disk */
	unsigned int swap_openers;	/* of these, the swap area's own; gate.c */
	struct delayed_work work;
};

/*
 * struct vtmem_area - pages kept in one pool
 *
 * @segments grows with @nr_pages, which is read without a lock: it is written
 * when the objects up to there exist.
 */
struct vtmem_area {
	struct vtmem_dev *dev;
	unsigned long nr_pages;
	struct vtmem_object **segments;
	unsigned long max_segments;
	bool has_fallback;		/* refused pages find another place */
	bool is_swap;			/* it is our swap disk, and in use as such */
	struct vtmem_gate gate;
	__le64 pool;			/* changes only while nothing is posted */
	atomic_t inflight;		/* requests that the device has */
	atomic_long_t nr_used;		/* pages that are not VTMEM_NONE */
	struct list_head node;		/* in vtmem_dev.areas */
};

static inline unsigned long vtmem_area_nr_pages(struct vtmem_area *area)
{
	/* Who sees a size sees the objects up to there: vtmem_area_grow(). */
	return smp_load_acquire(&area->nr_pages);
}

/*
 * struct vtmem_job - one request of a front end
 *
 * The front end fills the first part and owns the memory; it must stay in
 * place until @done was called, in any context and without locks.
 *
 * @op:   VIRTIO_TMEM_OP_STORE, _LOAD or _INVALIDATE
 * @page: first page, @nr: how many; all in one object and at most max_batch,
 *        or a whole object to be invalidated
 * @sg:   memory of the pages, as many bytes as they have, split anyhow
 *
 * @status: for each page of a load or store: OK; MISS for a load of what is not
 *          there and reads as zeros; VTMEM_S_DISK for a load of what is on the
 *          disk behind; or what went wrong
 */
struct vtmem_job {
	struct vtmem_area *area;
	unsigned long page;
	unsigned int nr;
	u8 op;
	unsigned int nr_sg;
	struct scatterlist *sg;
	void (*done)(struct vtmem_job *job);
	void *owner;			/* for @done */

	bool look;			/* who posts it looks for its answer */
	struct list_head node;
	u8 status[VTMEM_BATCH_MAX];
};

/* Maps of bits over all ephemeral pools of a device, see ephemeral.c. */
struct vtmem_eph_dev {
	unsigned long *objects;
	unsigned long *pages;
	unsigned int nr_pages;		/* bits, a power of 2 */
	/* What the device knows, also when it is gone. */
	bool exclusive;			/* exclusive loads */
	bool shared;			/* pools shared by several guests */
	unsigned int nr_live;		/* pools on the host; see cleancache.c */
};

enum vtmem_eph_state {
	VTMEM_EPH_NONE,		/* the host has no pool: misses */
	VTMEM_EPH_LIVE,
	VTMEM_EPH_SPOILED,	/* the host has one, to be replaced: misses */
};

/*
 * struct vtmem_eph - an ephemeral pool
 *
 * @work: queued when the state needs to be changed by someone who can sleep
 */
struct vtmem_eph {
	struct vtmem_dev *dev;
	enum vtmem_eph_state state;
	__le64 host;			/* its id; while live */
	bool shared;			/* other guests use it, too; while live */
	u32 hash;			/* start value: pools differ */
	atomic_t inflight;		/* operations the device has, and loads */
	unsigned long used;		/* jiffies, about */
	struct work_struct work;
};

struct vtmem_eph_name {
	__le64 object[3];
	u64 index;
};

/* main.c, health.c */
extern bool vtmem_param_cleancache;
extern struct workqueue_struct *vtmem_wq;
extern struct mutex vtmem_devices_mutex;
int vtmem_devices_do(int (*fn)(struct vtmem_dev *dev));
unsigned long vtmem_dev_nr_held(struct vtmem_dev *dev);
void vtmem_dev_put(struct vtmem_dev *dev);
void vtmem_dev_broken(struct vtmem_dev *dev);
int vtmem_dev_has_failed(struct vtmem_dev *dev);

/* config.c */
void vtmem_config_check(struct vtmem_dev *dev);

/* param.c */

/* A parameter of the module that is a number up to @max. */
struct vtmem_uint {
	unsigned int *value;
	unsigned int max;
};

extern const struct kernel_param_ops vtmem_uint_ops;
int vtmem_uint_set(const char *val, const struct kernel_param *kp);
int vtmem_uint_get(char *buffer, const struct kernel_param *kp);
int vtmem_disk_on(struct vtmem_dev *dev);
extern bool vtmem_param_disk;
extern bool vtmem_param_frontswap;
extern bool vtmem_param_lost_panics;

/* sysfs.c */
extern const struct attribute_group *vtmem_groups[];

/* slot.c; under the queue's lock, but for the first */
void vtmem_resp_note(struct vtmem_dev *dev, const struct virtio_tmem_resp *resp,
		     unsigned int len);
void vtmem_count_store(struct vtmem_queue *q, u8 status);
int vtmem_token_add(struct vtmem_queue *q, struct vtmem_token *token,
		    struct scatterlist **sgs, unsigned int out,
		    unsigned int in);

/* hint.c; any context */
void vtmem_hint_seen(struct vtmem_dev *dev, u8 hints);
bool vtmem_hint_refuses(struct vtmem_dev *dev, u8 hint);
void vtmem_hint_read(struct vtmem_dev *dev);

/* ring.c */
int vtmem_queues_alloc(struct vtmem_dev *dev);
void vtmem_queues_free(struct vtmem_dev *dev);
int vtmem_vqs_find(struct vtmem_dev *dev);
void vtmem_queues_set_state(struct vtmem_dev *dev, enum vtmem_state state);
void vtmem_queues_shut(struct vtmem_dev *dev);
void vtmem_queues_abort(struct vtmem_dev *dev);
void vtmem_queues_forget(struct vtmem_dev *dev);
void vtmem_queues_cancel_work(struct vtmem_dev *dev);
unsigned int vtmem_ring_size(struct vtmem_dev *dev);

/* stall.c */
bool vtmem_queues_busy(struct vtmem_dev *dev);
bool vtmem_queues_stalled(struct vtmem_dev *dev);
bool vtmem_stalled(struct vtmem_dev *dev, unsigned int since);
void vtmem_queues_wait_idle(struct vtmem_dev *dev);

/* vq.c */
void vtmem_submit(struct vtmem_job *job, bool kick);
void vtmem_submit_wait(struct vtmem_job *job);
void vtmem_kick(struct vtmem_dev *dev);
void vtmem_queue_flush(struct vtmem_queue *q);
void vtmem_flush_within(struct vtmem_queue *q, unsigned long delay);
struct virtqueue *vtmem_kick_prepare(struct vtmem_queue *q);

/* area.c */
struct vtmem_area *vtmem_area_create(struct vtmem_dev *dev,
				     unsigned long nr_pages);
int vtmem_area_grow(struct vtmem_area *area, unsigned long nr_pages);
void vtmem_area_close(struct vtmem_area *area);
void vtmem_area_free(struct vtmem_area *area);
unsigned long vtmem_area_nr_held(struct vtmem_area *area);
unsigned long vtmem_area_nr_disk(struct vtmem_area *area);
unsigned long vtmem_area_nr_used(struct vtmem_area *area);
bool vtmem_area_holds(struct vtmem_area *area, unsigned long page);
void vtmem_area_invalidate(struct vtmem_area *area, unsigned long page,
			   bool lost);
void vtmem_area_forget(struct vtmem_area *area, unsigned long page);
struct vtmem_queue *vtmem_area_queue(struct vtmem_area *area,
				     unsigned long page);
void vtmem_op_fill(struct virtio_tmem_op *op, u8 type,
		   struct vtmem_area *area, unsigned long page);
unsigned long vtmem_op_page(const struct virtio_tmem_op *op);
void vtmem_area_disk_done(struct vtmem_area *area, unsigned long page, u8 op,
			  bool good);

/* area.c for those of queues and pending.c; under the queue's lock */
void vtmem_page_set(struct vtmem_queue *q, struct vtmem_area *area,
		    unsigned long page, u8 state);
unsigned int vtmem_area_build(struct vtmem_job *job,
			      struct virtio_tmem_op *ops);
void vtmem_area_posted(struct vtmem_queue *q, struct vtmem_job *job);
void vtmem_area_answer(struct vtmem_queue *q, struct vtmem_job *job,
		       const struct virtio_tmem_op *op, unsigned int i,
		       u8 status, bool current_content);
void vtmem_area_refuse(struct vtmem_queue *q, struct vtmem_job *job, u8 status);

/* pending.c; under the queue's lock */
void vtmem_pending_note(struct vtmem_queue *q, struct vtmem_area *area,
			unsigned long page, bool lost);
void vtmem_pending_clear(struct vtmem_queue *q, struct vtmem_area *area,
			 unsigned long page, unsigned int nr);
bool vtmem_pending_promote(struct vtmem_queue *q, struct vtmem_job *job);
unsigned int vtmem_pending_gather(struct vtmem_queue *q,
				  struct virtio_tmem_op *ops,
				  struct vtmem_area **areap);
void vtmem_pending_gathered(struct vtmem_queue *q, struct vtmem_area *area,
			    const struct virtio_tmem_op *ops,
			    unsigned int nr_ops);
void vtmem_pending_drop(struct vtmem_queue *q, struct vtmem_area *only);

/* gate.c */
void vtmem_gate_init(struct vtmem_gate *gate);
u8 vtmem_gate_refuses(struct vtmem_area *area);
void vtmem_gate_refused(struct vtmem_area *area, u8 status);
bool vtmem_gate_withholds(struct vtmem_area *area);
bool vtmem_gate_open_beside(struct vtmem_area *area);
void vtmem_gate_openers(struct vtmem_area *area, unsigned int openers);
void vtmem_gate_disk_opened(struct vtmem_area *area);
void vtmem_gate_swap_slots(struct vtmem_area *area, unsigned long slots);
void vtmem_gate_is_swap(struct vtmem_area *area, bool is_swap);
void vtmem_gate_stop(struct vtmem_gate *gate);

/* prefetch.c; all but alloc and free under the queue's lock */
#define VTMEM_PREFETCH_MAX	16	/* pages in one request */
int vtmem_prefetch_alloc(struct vtmem_queue *q);
void vtmem_prefetch_free(struct vtmem_queue *q);
bool vtmem_prefetch_take(struct vtmem_queue *q, struct vtmem_job *job);
unsigned int vtmem_prefetch_plan(struct vtmem_queue *q, struct vtmem_job *job,
				 struct virtio_tmem_op *ops, unsigned int max);
struct scatterlist *vtmem_prefetch_sg(struct vtmem_queue *q);
void vtmem_prefetch_posted(struct vtmem_queue *q, struct vtmem_area *area,
			   const struct virtio_tmem_op *ops, unsigned int nr);
void vtmem_prefetch_arrived(struct vtmem_queue *q, struct vtmem_area *area,
			    const struct virtio_tmem_op *op, u8 status);
void vtmem_prefetch_kill(struct vtmem_queue *q, struct vtmem_area *area,
			 unsigned long page);
void vtmem_prefetch_purge(struct vtmem_queue *q, struct vtmem_area *only);

/* credit.c; all but alloc, free, grant and store_ahead under the queue's lock */
#ifdef CONFIG_VTMEM_FRONTSWAP
int vtmem_ahead_alloc(struct vtmem_queue *q);
void vtmem_ahead_free(struct vtmem_queue *q);
void vtmem_credit_grant(struct vtmem_dev *dev, __le32 credit);
bool vtmem_store_ahead(struct vtmem_area *area, unsigned long page,
		       struct page *data);
bool vtmem_copy_exists(struct vtmem_queue *q, struct vtmem_area *area,
		       unsigned long page);
void vtmem_copy_kill(struct vtmem_queue *q, struct vtmem_area *area,
		     unsigned long page);
bool vtmem_copy_load(struct vtmem_queue *q, struct vtmem_job *job);
bool vtmem_batch_close(struct vtmem_queue *q);
void vtmem_batch_is_due(struct vtmem_queue *q);
bool vtmem_batch_run(struct vtmem_queue *q);
void vtmem_batch_piggyback(struct vtmem_queue *q, unsigned int least);
bool vtmem_batch_before(struct vtmem_queue *q, struct vtmem_area *area,
			unsigned long page);
void vtmem_ahead_drop_area(struct vtmem_queue *q, struct vtmem_area *area);
void vtmem_ahead_abort(struct vtmem_queue *q);
unsigned int vtmem_ahead_nr_unanswered(struct vtmem_queue *q);
#else
static inline int vtmem_ahead_alloc(struct vtmem_queue *q)
{
	return 0;
}

static inline void vtmem_ahead_free(struct vtmem_queue *q)
{
}

static inline void vtmem_credit_grant(struct vtmem_dev *dev, __le32 credit)
{
}

static inline bool vtmem_copy_exists(struct vtmem_queue *q,
				     struct vtmem_area *area,
				     unsigned long page)
{
	return false;
}

static inline void vtmem_copy_kill(struct vtmem_queue *q,
				   struct vtmem_area *area, unsigned long page)
{
}

static inline bool vtmem_copy_load(struct vtmem_queue *q, struct vtmem_job *job)
{
	return false;
}

static inline bool vtmem_batch_close(struct vtmem_queue *q)
{
	return true;
}

static inline void vtmem_batch_is_due(struct vtmem_queue *q)
{
}

static inline bool vtmem_batch_run(struct vtmem_queue *q)
{
	return true;
}

static inline void vtmem_batch_piggyback(struct vtmem_queue *q,
					 unsigned int least)
{
}

static inline bool vtmem_batch_before(struct vtmem_queue *q,
				      struct vtmem_area *area,
				      unsigned long page)
{
	return true;
}

static inline void vtmem_ahead_drop_area(struct vtmem_queue *q,
					 struct vtmem_area *area)
{
}

static inline void vtmem_ahead_abort(struct vtmem_queue *q)
{
}

static inline unsigned int vtmem_ahead_nr_unanswered(struct vtmem_queue *q)
{
	return 0;
}
#endif

/* ephemeral.c */
#ifdef CONFIG_VTMEM_CLEANCACHE
int vtmem_eph_alloc(struct vtmem_dev *dev);
void vtmem_eph_free(struct vtmem_dev *dev);
void vtmem_eph_store(struct vtmem_eph *pool, const struct vtmem_eph_name *name,
		     struct page *page);
bool vtmem_eph_load(struct vtmem_eph *pool, const struct vtmem_eph_name *name,
		    struct page *page);
void vtmem_eph_invalidate(struct vtmem_eph *pool,
			  const struct vtmem_eph_name *name, bool whole);
void vtmem_eph_drain(struct vtmem_eph *pool);
void vtmem_eph_clear_maps(struct vtmem_dev *dev);
void vtmem_eph_cancel_work(struct vtmem_dev *dev);
#else
static inline void vtmem_eph_free(struct vtmem_dev *dev)
{
}

static inline void vtmem_eph_cancel_work(struct vtmem_dev *dev)
{
}
#endif

/* pool.c */
int vtmem_ctrl_alloc(struct vtmem_dev *dev);
void vtmem_ctrl_free(struct vtmem_dev *dev);
void vtmem_ctrl_done(struct virtqueue *vq);
void vtmem_ctrl_set_state(struct vtmem_dev *dev, enum vtmem_state state);
void vtmem_ctrl_abort(struct vtmem_dev *dev);
bool vtmem_ctrl_stalled(struct vtmem_dev *dev);
int vtmem_pool_create(struct vtmem_dev *dev, __le64 *pool);
int vtmem_pool_create_ephemeral(struct vtmem_dev *dev, __le64 *pool);
int vtmem_pool_join(struct vtmem_dev *dev, const uuid_t *uuid, __le64 *pool);
void vtmem_pool_destroy(struct vtmem_dev *dev, __le64 pool);

/* backing.c */
struct vtmem_backing;

/*
 * struct vtmem_backing_io - a job whose refused pages go to the disk behind, or
 * whose pages come from there
 */
struct vtmem_backing_io {
	struct list_head node;
	struct vtmem_backing *backing;
	struct vtmem_job *job;
	atomic_t nr_bios;
	void (*done)(struct vtmem_backing_io *io);	/* any context */
};

struct vtmem_backing *vtmem_backing_open(struct vtmem_area *area,
					 const char *path, const char *who);
void vtmem_backing_close(struct vtmem_backing *backing);
const char *vtmem_backing_path(struct vtmem_backing *backing);
u64 vtmem_backing_bytes(struct vtmem_backing *backing);
bool vtmem_backing_concerns(const struct vtmem_job *job);
void vtmem_backing_submit(struct vtmem_backing *backing,
			  struct vtmem_backing_io *io);

/* disk.c */
extern struct mutex vtmem_open_mutex;
int vtmem_disk_create(struct vtmem_dev *dev);
void vtmem_disk_remove(struct vtmem_dev *dev);
void vtmem_disk_free(struct vtmem_dev *dev);
void vtmem_disk_discard(struct vtmem_dev *dev);
int vtmem_disk_retire(struct vtmem_dev *dev);
void vtmem_disk_resize(struct vtmem_dev *dev, bool news);
const char *vtmem_disk_unused(struct vtmem_dev *dev, unsigned long nr_pages);
struct vtmem_area *vtmem_disk_area(struct block_device *bdev);
const char *vtmem_disk_name(struct vtmem_dev *dev);
int vtmem_blk_init(void);
void vtmem_blk_exit(void);

/* frontswap.c */
#ifdef CONFIG_VTMEM_FRONTSWAP
void vtmem_frontswap_attach(struct vtmem_dev *dev);
void vtmem_frontswap_detach(struct vtmem_dev *dev);
bool vtmem_frontswap_served_by(struct vtmem_dev *dev);
bool vtmem_frontswap_may_shrink(void);
#else
static inline void vtmem_frontswap_attach(struct vtmem_dev *dev)
{
}

static inline void vtmem_frontswap_detach(struct vtmem_dev *dev)
{
}

static inline bool vtmem_frontswap_served_by(struct vtmem_dev *dev)
{
	return false;
}
#endif

/* shrink.c */
#ifdef CONFIG_VTMEM_FRONTSWAP
void vtmem_shrink_start(void);
bool vtmem_is_shrinking(void);
int vtmem_shrink_hold(void);
#else
static inline int vtmem_shrink_hold(void)
{
	return 0;
}
#endif

/* cleancache.c */
#ifdef CONFIG_VTMEM_CLEANCACHE
void vtmem_cleancache_attach(struct vtmem_dev *dev);
void vtmem_cleancache_register(void);
void vtmem_cleancache_detach(struct vtmem_dev *dev);
void vtmem_cleancache_reset(struct vtmem_dev *dev);
void vtmem_cleancache_off(void);
bool vtmem_cleancache_served_by(struct vtmem_dev *dev);
#else
static inline void vtmem_cleancache_attach(struct vtmem_dev *dev)
{
}

static inline void vtmem_cleancache_register(void)
{
}

static inline void vtmem_cleancache_detach(struct vtmem_dev *dev)
{
}

static inline void vtmem_cleancache_reset(struct vtmem_dev *dev)
{
}

static inline void vtmem_cleancache_off(void)
{
}

static inline bool vtmem_cleancache_served_by(struct vtmem_dev *dev)
{
	return false;
}
#endif

/* stats.c */
void vtmem_stats_init(void);
void vtmem_stats_exit(void);
u64 vtmem_stats_sum(struct vtmem_dev *dev, enum vtmem_counter counter);
void vtmem_stats_add(struct vtmem_dev *dev);
void vtmem_stats_remove(struct vtmem_dev *dev);

#endif /* VTMEM_H */
