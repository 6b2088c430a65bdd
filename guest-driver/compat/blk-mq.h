/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the block layer has for requests, old and new. */
#ifndef VTMEM_COMPAT_BLK_MQ_H
#define VTMEM_COMPAT_BLK_MQ_H

#include <linux/blk-mq.h>

#include "compat/have.h"

/* Flags that were given up when what they ask for became the only way. */
#ifdef HAVE_BLK_MQ_F_SHOULD_MERGE
#define VTMEM_BLK_MQ_FLAGS	BLK_MQ_F_SHOULD_MERGE
#else
#define VTMEM_BLK_MQ_FLAGS	0
#endif

/* blk_mq_ops.timeout, in terms of the request alone. */
static enum blk_eh_timer_return vtmem_rq_timeout(struct request *rq);

#ifdef HAVE_BLK_MQ_TIMEOUT_RESERVED
static enum blk_eh_timer_return vtmem_timeout(struct request *rq, bool reserved)
{
	return vtmem_rq_timeout(rq);
}
#else
static enum blk_eh_timer_return vtmem_timeout(struct request *rq)
{
	return vtmem_rq_timeout(rq);
}
#endif

static inline int vtmem_map_sg(struct request *rq, struct scatterlist *sg)
{
#ifdef HAVE_BLK_RQ_MAP_SG_REQUEST
	return blk_rq_map_sg(rq, sg);
#else
	return blk_rq_map_sg(rq->q, rq, sg);
#endif
}

#endif /* VTMEM_COMPAT_BLK_MQ_H */
