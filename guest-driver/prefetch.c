// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * virtio-tmem guest driver: pages that are fetched ahead of need
 *
 * Tasks that come back to memory in order read their pages one by one, or in
 * the kernel's small read-ahead.  When a load goes on where an earlier one ended
 * the request for it also asks for the pages that follow, into memory of the
 * queue; the loads that come for them are answered without the host.
 *
 * A page fetched ahead is a copy that may get old, in the queue's memory as
 * well as on its way there.  Each has one entry, found by the page's number,
 * from when its load is posted until it is used or thrown away.  Whatever
 * changes the page (vtmem_page_set) kills the entry under the same lock: what
 * arrives for a dead entry is dropped, and until it has arrived the entry is
 * given to no other page, nor to the same one again.
 *
 * Locking: all of this is guarded by the lock of the queue.
 */
#include <linux/moduleparam.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>

#include "map.h"

#define VTMEM_PREFETCH_ENTRIES	64	/* 256 KiB per queue */
#define VTMEM_PREFETCH_STREAMS	8	/* readers in order at the same time */
#define VTMEM_PREFETCH_FIRST	4	/* pages, for a new stream */

static unsigned int vtmem_param_prefetch = VTMEM_PREFETCH_MAX;
module_param_named(prefetch, vtmem_param_prefetch, uint, 0644);
MODULE_PARM_DESC(prefetch, "Pages to fetch ahead of a task that reads back its memory in order; 0: none (default and at most: 16)");

enum vtmem_entry_state {
	VTMEM_ENTRY_FREE,
	VTMEM_ENTRY_COMING,	/* the device writes to it */
	VTMEM_ENTRY_DEAD,	/* the same, and nobody wants it */
	VTMEM_ENTRY_READY,
};

struct vtmem_entry {
	struct vtmem_area *area;
	unsigned long page;
	enum vtmem_entry_state state;
	void *data;
};

/* Where a reader in order will go on, and how far it is served ahead. */
struct vtmem_stream {
	struct vtmem_area *area;
	unsigned long next;
	unsigned int ahead;
};

struct vtmem_prefetch {
	struct vtmem_entry entries[VTMEM_PREFETCH_ENTRIES];
	struct vtmem_stream streams[VTMEM_PREFETCH_STREAMS];
	unsigned int oldest;		/* stream */
	struct scatterlist sg[VTMEM_PREFETCH_MAX];
};

int vtmem_prefetch_alloc(struct vtmem_queue *q)
{
	unsigned int i;

	/* GFP_KERNEL: probe. */
	q->prefetch = kzalloc(sizeof(*q->prefetch), GFP_KERNEL);
	if (!q->prefetch)
		return -ENOMEM;
	for (i = 0; i < VTMEM_PREFETCH_ENTRIES; i++) {
		q->prefetch->entries[i].data =
			(void *)__get_free_page(GFP_KERNEL);
		if (!q->prefetch->entries[i].data)
			return -ENOMEM;
	}
	return 0;
}

void vtmem_prefetch_free(struct vtmem_queue *q)
{
	unsigned int i;

	if (!q->prefetch)
		return;
	for (i = 0; i < VTMEM_PREFETCH_ENTRIES; i++)
		free_page((unsigned long)q->prefetch->entries[i].data);
	kfree(q->prefetch);
}

/* The one entry a page can have; it may be another page's. */
static struct vtmem_entry *vtmem_entry(struct vtmem_queue *q,
				       unsigned long page)
{
	return &q->prefetch->entries[page % VTMEM_PREFETCH_ENTRIES];
}

static bool vtmem_entry_is(const struct vtmem_entry *entry,
			   struct vtmem_area *area, unsigned long page,
			   enum vtmem_entry_state state)
{
	return entry->state == state && entry->page == page &&
	       entry->area == area;
}

/*
 * Answers a load if all of its pages that the host has were fetched ahead.
 * They are in the reader's hands then, and their entries free.
 */
bool vtmem_prefetch_take(struct vtmem_queue *q, struct vtmem_job *job)
{
	struct vtmem_entry *entry;
	unsigned long page;
	unsigned int i;

	lockdep_assert_held(&q->lock);

	for (i = 0; i < job->nr; i++) {
		page = job->page + i;
		if (vtmem_page(job->area, page) == VTMEM_HOST &&
		    !vtmem_entry_is(vtmem_entry(q, page), job->area, page,
				    VTMEM_ENTRY_READY))
			return false;
	}
	for (i = 0; i < job->nr; i++) {
		page = job->page + i;
		if (vtmem_page(job->area, page) != VTMEM_HOST)
			continue;
		entry = vtmem_entry(q, page);
		sg_pcopy_from_buffer(job->sg, job->nr_sg, entry->data,
				     PAGE_SIZE, (off_t)i << PAGE_SHIFT);
		entry->state = VTMEM_ENTRY_FREE;
		job->status[i] = VIRTIO_TMEM_S_OK;
		q->stats[VTMEM_PREFETCHES_USED]++;
	}
	return true;
}

/* How many pages to fetch after @job: more with each time it goes on. */
static unsigned int vtmem_stream_ahead(struct vtmem_queue *q,
				       struct vtmem_job *job)
{
	unsigned int i, max = READ_ONCE(vtmem_param_prefetch);
	unsigned long end = job->page + job->nr;
	struct vtmem_prefetch *pf = q->prefetch;
	struct vtmem_stream *stream;

	for (i = 0; i < VTMEM_PREFETCH_STREAMS; i++) {
		stream = &pf->streams[i];
		/* Pages in between may be in memory still. */
		if (stream->area != job->area || job->page < stream->next ||
		    job->page - stream->next > 2 * VTMEM_PREFETCH_MAX)
			continue;
		stream->ahead = clamp_t(unsigned int, 2 * stream->ahead,
					VTMEM_PREFETCH_FIRST,
					VTMEM_PREFETCH_MAX);
		stream->next = end;
		return min(stream->ahead, max);
	}
	pf->streams[pf->oldest++ % VTMEM_PREFETCH_STREAMS] =
		(struct vtmem_stream) { .area = job->area, .next = end };
	return 0;
}

/*
 * Writes up to @max loads of pages that follow those of @job, and returns their
 * number; their memory is vtmem_prefetch_sg().  Nothing is promised before
 * vtmem_prefetch_posted().
 */
unsigned int vtmem_prefetch_plan(struct vtmem_queue *q, struct vtmem_job *job,
				 struct virtio_tmem_op *ops, unsigned int max)
{
	unsigned long page = job->page + job->nr;
	unsigned int nr = 0, want = min(vtmem_stream_ahead(q, job), max);
	struct vtmem_area *area = job->area;
	struct vtmem_entry *entry;

	lockdep_assert_held(&q->lock);

	/* Not beyond the object: the next one is another queue's. */
	if (!vtmem_in_object(page))
		return 0;
	want = min_t(unsigned int, want,
		     VTMEM_OBJECT_PAGES - vtmem_in_object(page));
	for (; nr < want && page < area->nr_pages; page++, nr++) {
		entry = vtmem_entry(q, page);
		/* Of what is still here the host may have an older version. */
		if (vtmem_page(area, page) != VTMEM_HOST ||
		    vtmem_copy_exists(q, area, page) ||
		    entry->state == VTMEM_ENTRY_COMING ||
		    entry->state == VTMEM_ENTRY_DEAD ||
		    vtmem_entry_is(entry, area, page, VTMEM_ENTRY_READY))
			break;
		vtmem_op_fill(&ops[nr], VIRTIO_TMEM_OP_LOAD, area, page);
	}
	if (!nr)
		return 0;
	sg_init_table(q->prefetch->sg, nr);
	for (want = 0; want < nr; want++)
		sg_set_buf(&q->prefetch->sg[want],
			   vtmem_entry(q, vtmem_op_page(&ops[want]))->data,
			   PAGE_SIZE);
	return nr;
}

struct scatterlist *vtmem_prefetch_sg(struct vtmem_queue *q)
{
	lockdep_assert_held(&q->lock);

	return q->prefetch->sg;
}

/* The device has the memory of the entries from now on. */
void vtmem_prefetch_posted(struct vtmem_queue *q, struct vtmem_area *area,
			   const struct virtio_tmem_op *ops, unsigned int nr)
{
	struct vtmem_entry *entry;
	unsigned int i;

	lockdep_assert_held(&q->lock);

	for (i = 0; i < nr; i++) {
		entry = vtmem_entry(q, vtmem_op_page(&ops[i]));
		entry->area = area;
		entry->page = vtmem_op_page(&ops[i]);
		entry->state = VTMEM_ENTRY_COMING;
	}
}

/* The device has given the memory of an entry back. */
void vtmem_prefetch_arrived(struct vtmem_queue *q, struct vtmem_area *area,
			    const struct virtio_tmem_op *op, u8 status)
{
	struct vtmem_entry *entry = vtmem_entry(q, vtmem_op_page(op));

	lockdep_assert_held(&q->lock);

	q->stats[VTMEM_LOADS]++;
	q->stats[VTMEM_PREFETCHES]++;
	if (status == VIRTIO_TMEM_S_OK)
		q->stats[VTMEM_LOADS_HIT]++;
	else if (status == VIRTIO_TMEM_S_MISS)
		q->stats[VTMEM_LOADS_MISS]++;
	/* An error is told to who asks for that page, if anybody does. */
	entry->state = entry->state == VTMEM_ENTRY_COMING &&
		       status == VIRTIO_TMEM_S_OK ? VTMEM_ENTRY_READY :
						    VTMEM_ENTRY_FREE;
}

/* The page is not what it was when it was asked for. */
void vtmem_prefetch_kill(struct vtmem_queue *q, struct vtmem_area *area,
			 unsigned long page)
{
	struct vtmem_entry *entry = vtmem_entry(q, page);

	lockdep_assert_held(&q->lock);

	if (entry->page != page || entry->area != area)
		return;
	if (entry->state == VTMEM_ENTRY_COMING)
		entry->state = VTMEM_ENTRY_DEAD;
	else if (entry->state == VTMEM_ENTRY_READY)
		entry->state = VTMEM_ENTRY_FREE;
}

/* Kills all of an area that goes, or everything (NULL): the device was reset. */
void vtmem_prefetch_purge(struct vtmem_queue *q, struct vtmem_area *only)
{
	struct vtmem_prefetch *pf = q->prefetch;
	unsigned int i;

	lockdep_assert_held(&q->lock);

	for (i = 0; i < VTMEM_PREFETCH_ENTRIES; i++)
		if (!only || pf->entries[i].area == only)
			vtmem_prefetch_kill(q, pf->entries[i].area,
					    pf->entries[i].page);
	for (i = 0; i < VTMEM_PREFETCH_STREAMS; i++)
		if (!only || pf->streams[i].area == only)
			pf->streams[i].area = NULL;
}
