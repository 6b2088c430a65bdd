#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# probe.sh OUTPUT CC FLAGS...: writes a header with one HAVE_* line for each
# interface below that this kernel has in the form shown.
#
# Distributions carry interfaces back to older kernels, so a version number
# says little; the compiler says it exactly.

out=$1
shift
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT

# Each probe is a file NAME.c.  BASE must compile everywhere: if it does not,
# the headers or the flags are at fault and no other answer means anything.
probe() {
	cat >"$dir/$1.c"
}

probe BASE <<'END'
#include <linux/module.h>
#include <linux/blk-mq.h>
#include <linux/virtio.h>
END

probe VIRTQUEUE_INFO <<'END'
#include <linux/virtio_config.h>
int f(struct virtio_device *d, struct virtqueue **v, struct virtqueue_info *i);
int f(struct virtio_device *d, struct virtqueue **v, struct virtqueue_info *i)
{
	return virtio_find_vqs(d, 1, v, i, NULL);
}
END

probe VIRTIO_RESET_DEVICE <<'END'
#include <linux/virtio.h>
void f(struct virtio_device *d);
void f(struct virtio_device *d)
{
	virtio_reset_device(d);
}
END

probe VIRTIO_DRIVER_SHUTDOWN <<'END'
#include <linux/virtio.h>
static void s(struct virtio_device *d)
{
}

extern struct virtio_driver drv;
struct virtio_driver drv = { .shutdown = s };
END

probe BLK_MQ_ALLOC_DISK <<'END'
#include <linux/blk-mq.h>
struct gendisk *f(struct blk_mq_tag_set *s);
struct gendisk *f(struct blk_mq_tag_set *s)
{
	return blk_mq_alloc_disk(s, NULL);
}
END

probe BLK_MQ_ALLOC_DISK_LIMITS <<'END'
#include <linux/blk-mq.h>
struct gendisk *f(struct blk_mq_tag_set *s, struct queue_limits *l);
struct gendisk *f(struct blk_mq_tag_set *s, struct queue_limits *l)
{
	return blk_mq_alloc_disk(s, l, NULL);
}
END

probe BLK_CLEANUP_QUEUE <<'END'
#include <linux/blk-mq.h>
void f(struct request_queue *q);
void f(struct request_queue *q)
{
	blk_cleanup_queue(q);
}
END

probe ADD_DISK_INT <<'END'
#include <linux/blk-mq.h>
int f(struct gendisk *d);
int f(struct gendisk *d)
{
	return add_disk(d);
}
END

probe BLK_MODE_T <<'END'
#include <linux/blkdev.h>
static int o(struct gendisk *d, blk_mode_t m)
{
	return 0;
}

extern struct block_device_operations ops;
struct block_device_operations ops = { .open = o };
END

probe BLK_RQ_MAP_SG_REQUEST <<'END'
#include <linux/blk-mq.h>
int f(struct request *r, struct scatterlist *s);
int f(struct request *r, struct scatterlist *s)
{
	return blk_rq_map_sg(r, s);
}
END

probe BLK_MQ_F_SHOULD_MERGE <<'END'
#include <linux/blk-mq.h>
extern int f;
int f = BLK_MQ_F_SHOULD_MERGE;
END

probe GENHD_FL_NO_PART <<'END'
#include <linux/blkdev.h>
extern int f;
int f = GENHD_FL_NO_PART;
END

probe BLK_MQ_TIMEOUT_RESERVED <<'END'
#include <linux/blk-mq.h>
static enum blk_eh_timer_return t(struct request *r, bool reserved)
{
	return BLK_EH_RESET_TIMER;
}

extern struct blk_mq_ops ops;
struct blk_mq_ops ops = { .timeout = t };
END

probe SWAP_SLOT_FREE_NOTIFY <<'END'
#include <linux/blkdev.h>
static void n(struct block_device *b, unsigned long o)
{
}

extern struct block_device_operations ops;
struct block_device_operations ops = { .swap_slot_free_notify = n };
END

probe SWAP_OLD_BLOCK_SIZE <<'END'
#include <linux/swap.h>
unsigned int f(struct swap_info_struct *si);
unsigned int f(struct swap_info_struct *si)
{
	return si->old_block_size;
}
END

probe BDEV_FILE_OPEN_BY_PATH <<'END'
#include <linux/blkdev.h>
struct file *f(void *h);
struct file *f(void *h)
{
	return bdev_file_open_by_path("", BLK_OPEN_READ, h, NULL);
}
END

probe BDEV_OPEN_BY_PATH <<'END'
#include <linux/blkdev.h>
struct bdev_handle *f(void *h);
struct bdev_handle *f(void *h)
{
	return bdev_open_by_path("", BLK_OPEN_READ, h, NULL);
}
END

probe BLKDEV_GET_HOLDER_OPS <<'END'
#include <linux/blkdev.h>
struct block_device *f(void *h);
struct block_device *f(void *h)
{
	return blkdev_get_by_path("", BLK_OPEN_READ, h, NULL);
}
END

probe BDEV_NR_BYTES <<'END'
#include <linux/blkdev.h>
loff_t f(struct block_device *b);
loff_t f(struct block_device *b)
{
	return bdev_nr_bytes(b);
}
END

probe BIO_ALLOC_BDEV <<'END'
#include <linux/bio.h>
struct bio *f(struct block_device *b, struct bio_set *s);
struct bio *f(struct block_device *b, struct bio_set *s)
{
	return bio_alloc_bioset(b, 1, REQ_OP_WRITE, GFP_NOIO, s);
}
END

probe SET_CAPACITY_AND_NOTIFY <<'END'
#include <linux/blkdev.h>
bool f(struct gendisk *d);
bool f(struct gendisk *d)
{
	return set_capacity_and_notify(d, 0);
}
END

probe BD_MAPPING <<'END'
#include <linux/blkdev.h>
struct inode *f(struct gendisk *d);
struct inode *f(struct gendisk *d)
{
	return d->part0->bd_mapping->host;
}
END

probe GENHD_PART0_BDEV <<'END'
#include <linux/blkdev.h>
struct block_device *f(struct gendisk *d);
struct block_device *f(struct gendisk *d)
{
	return d->part0;
}
END

for file in "$dir"/*.c; do
	"$@" -DMODULE -DKBUILD_MODNAME='"probe"' -DKBUILD_BASENAME='"probe"' \
		-Wno-unused-function -Wno-unused-parameter \
		-Wno-missing-prototypes \
		-Werror=implicit-function-declaration \
		-Werror=incompatible-pointer-types -Werror=int-conversion \
		-fsyntax-only -x c "$file" >"${file%.c}.log" 2>&1 &&
		touch "${file%.c}.ok" &
done
wait

if [ ! -e "$dir/BASE.ok" ]; then
	echo "probe.sh: nothing compiles against these kernel headers:" >&2
	head -n 20 "$dir/BASE.log" >&2
	exit 1
fi

{
	echo "/* Generated by compat/probe.sh for one kernel; do not edit. */"
	for file in "$dir"/*.ok; do
		name=$(basename "$file" .ok)
		[ "$name" = BASE ] || echo "#define HAVE_$name 1"
	done
} >"$out"
