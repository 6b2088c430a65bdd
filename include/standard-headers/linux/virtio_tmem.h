/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * virtio-tmem: transcendent memory over virtio, wire format
 *
 * The normative text is docs/specs/virtio-tmem.rst.  Everything on the wire
 * is little-endian; structures are naturally aligned and have no padding.
 *
 * Copyright (c) 2026 the virtio-tmem authors
 */
#ifndef _LINUX_VIRTIO_TMEM_H
#define _LINUX_VIRTIO_TMEM_H

#include "standard-headers/linux/types.h"

/*
 * Provisional: not assigned by the virtio TC.  Linux binds modern PCI devices
 * up to ID 63 only, so QEMU's experimental range cannot be used.
 */
#ifndef VIRTIO_ID_TMEM
#define VIRTIO_ID_TMEM			57
#endif

/* Feature bits; each is one separable behaviour. */
#define VIRTIO_TMEM_F_DISK		0 /* disk_size is valid */
#define VIRTIO_TMEM_F_MQ		1 /* more than one request queue */
#define VIRTIO_TMEM_F_EPHEMERAL		2 /* ephemeral pools */
#define VIRTIO_TMEM_F_SHARED		3 /* shared ephemeral pools */
#define VIRTIO_TMEM_F_EXCLUSIVE		4 /* loads that remove the page */
#define VIRTIO_TMEM_F_CREDIT		5 /* stores ahead of their response */
#define VIRTIO_TMEM_F_HINT		6 /* the not-accepting hint */

/* Virtqueues: one control queue, then num_queues request queues. */
#define VIRTIO_TMEM_VQ_CONTROL		0
#define VIRTIO_TMEM_VQ_REQUEST(n)	(1 + (n))

/* Device configuration; read-only for the driver. */
struct virtio_tmem_config {
	__le16 num_queues;	/* request queues; use 1 without F_MQ */
	__le16 max_batch;	/* operations in one request, at most */
	__le32 max_pools;	/* pools that may exist at one time */
	uint8_t page_shift;	/* log2 of the page size in bytes */
	uint8_t reserved[3];
	__le32 not_accepting;	/* VIRTIO_TMEM_HINT_*; with F_HINT */
	__le64 disk_size;	/* bytes; with F_DISK */
};

/* Bits of not_accepting in the configuration and of hints in a response. */
#define VIRTIO_TMEM_HINT_PERSISTENT	(1 << 0)
#define VIRTIO_TMEM_HINT_EPHEMERAL	(1 << 1)

/* Status of a request and of each of its operations. */
#define VIRTIO_TMEM_S_OK		0
#define VIRTIO_TMEM_S_MISS		1  /* load: nothing is stored there */
#define VIRTIO_TMEM_S_NOSPC		2  /* refused: the store is full */
#define VIRTIO_TMEM_S_QUOTA		3  /* refused: a limit of this client */
#define VIRTIO_TMEM_S_REFUSED		4  /* refused: admission policy */
#define VIRTIO_TMEM_S_FROZEN		5  /* refused: the client is frozen */
#define VIRTIO_TMEM_S_IO		6  /* stored once and lost or damaged */
#define VIRTIO_TMEM_S_NOPOOL		7  /* unknown pool, stale generation */
#define VIRTIO_TMEM_S_UNSUPP		8  /* unknown type, op or flag */
#define VIRTIO_TMEM_S_INVAL		9  /* malformed, or reserved bits set */
#define VIRTIO_TMEM_S_PERM		10 /* not authorised for shared pool */

/*
 * Request queues.  Device-readable part of a descriptor chain:
 *
 *   struct virtio_tmem_req    one
 *   struct virtio_tmem_op     nr_ops of them
 *   page data                 one page for each STORE, in their order
 *
 * Device-writable part:
 *
 *   struct virtio_tmem_resp   one
 *   uint8_t status[nr_ops]    one for each operation, in their order
 *   page data                 one page for each LOAD, in their order
 */
#define VIRTIO_TMEM_T_PAGES		1

struct virtio_tmem_req {
	uint8_t type;		/* VIRTIO_TMEM_T_PAGES */
	uint8_t reserved0;
	__le16 nr_ops;		/* 1 ... max_batch */
	__le32 reserved1;
};

#define VIRTIO_TMEM_OP_STORE		1
#define VIRTIO_TMEM_OP_LOAD		2
#define VIRTIO_TMEM_OP_INVALIDATE	3 /* one page */
#define VIRTIO_TMEM_OP_INVALIDATE_OBJECT 4 /* all pages of object; index 0 */

#define VIRTIO_TMEM_OP_F_EXCLUSIVE	(1 << 0) /* LOAD; with F_EXCLUSIVE */
#define VIRTIO_TMEM_OP_F_CREDIT		(1 << 1) /* STORE; with F_CREDIT */

struct virtio_tmem_op {
	uint8_t op;		/* VIRTIO_TMEM_OP_* */
	uint8_t flags;		/* VIRTIO_TMEM_OP_F_* */
	__le16 reserved0;
	__le32 reserved1;
	__le64 pool;		/* as returned by CREATE_POOL */
	__le64 object[3];
	__le64 index;
};

struct virtio_tmem_resp {
	uint8_t status;		/* of the request as a whole */
	uint8_t hints;		/* VIRTIO_TMEM_HINT_*; with F_HINT, else 0 */
	__le16 reserved;
	__le32 credit;		/* newly granted; with F_CREDIT, else 0 */
};

/*
 * Control queue.  The device-readable part is one of the requests below, the
 * device-writable part is struct virtio_tmem_ctrl_resp.
 */
#define VIRTIO_TMEM_T_CREATE_POOL	16
#define VIRTIO_TMEM_T_DESTROY_POOL	17

#define VIRTIO_TMEM_POOL_EPHEMERAL	(1 << 0) /* else persistent */
#define VIRTIO_TMEM_POOL_SHARED		(1 << 1) /* by uuid; EPHEMERAL too */

struct virtio_tmem_create_pool {
	uint8_t type;		/* VIRTIO_TMEM_T_CREATE_POOL */
	uint8_t page_shift;	/* that of the configuration */
	__le16 flags;		/* VIRTIO_TMEM_POOL_* */
	__le32 reserved;
	uint8_t uuid[16];	/* of a shared pool, else zero */
};

struct virtio_tmem_destroy_pool {
	uint8_t type;		/* VIRTIO_TMEM_T_DESTROY_POOL */
	uint8_t reserved[7];
	__le64 pool;
};

struct virtio_tmem_ctrl_resp {
	uint8_t status;		/* VIRTIO_TMEM_S_* */
	uint8_t hints;
	__le16 reserved;
	__le32 credit;
	__le64 pool;		/* CREATE_POOL: never 0 when OK; else 0 */
};

#endif /* _LINUX_VIRTIO_TMEM_H */
