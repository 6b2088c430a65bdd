/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Opening a block device for ourselves, and bios for it. */
#ifndef VTMEM_COMPAT_BDEV_H
#define VTMEM_COMPAT_BDEV_H

#include <linux/bio.h>
#include <linux/blkdev.h>
#include <linux/fs.h>

#include "compat/have.h"

/*
 * vtmem_bdev_open(): for reading and writing, with nobody else.  @holder is
 * what the kernel tells two such users apart by.
 */
#if defined(HAVE_BDEV_FILE_OPEN_BY_PATH)
struct vtmem_bdev {
	struct file *file;
};

static inline int vtmem_bdev_open(struct vtmem_bdev *b, const char *path,
				  void *holder)
{
	b->file = bdev_file_open_by_path(path,
					 BLK_OPEN_READ | BLK_OPEN_WRITE,
					 holder, NULL);
	return PTR_ERR_OR_ZERO(b->file);
}

static inline void vtmem_bdev_close(struct vtmem_bdev *b, void *holder)
{
	bdev_fput(b->file);
}

static inline struct block_device *vtmem_bdev(struct vtmem_bdev *b)
{
	return file_bdev(b->file);
}
#elif defined(HAVE_BDEV_OPEN_BY_PATH)
struct vtmem_bdev {
	struct bdev_handle *handle;
};

static inline int vtmem_bdev_open(struct vtmem_bdev *b, const char *path,
				  void *holder)
{
	b->handle = bdev_open_by_path(path, BLK_OPEN_READ | BLK_OPEN_WRITE,
				      holder, NULL);
	return PTR_ERR_OR_ZERO(b->handle);
}

static inline void vtmem_bdev_close(struct vtmem_bdev *b, void *holder)
{
	bdev_release(b->handle);
}

static inline struct block_device *vtmem_bdev(struct vtmem_bdev *b)
{
	return b->handle->bdev;
}
#else
struct vtmem_bdev {
	struct block_device *bdev;
};

static inline int vtmem_bdev_open(struct vtmem_bdev *b, const char *path,
				  void *holder)
{
#ifdef HAVE_BLKDEV_GET_HOLDER_OPS
	b->bdev = blkdev_get_by_path(path, BLK_OPEN_READ | BLK_OPEN_WRITE,
				     holder, NULL);
#else
	b->bdev = blkdev_get_by_path(path, FMODE_READ | FMODE_WRITE |
					   FMODE_EXCL, holder);
#endif
	return PTR_ERR_OR_ZERO(b->bdev);
}

static inline void vtmem_bdev_close(struct vtmem_bdev *b, void *holder)
{
#ifdef HAVE_BLKDEV_GET_HOLDER_OPS
	blkdev_put(b->bdev, holder);
#else
	blkdev_put(b->bdev, FMODE_READ | FMODE_WRITE | FMODE_EXCL);
#endif
}

static inline struct block_device *vtmem_bdev(struct vtmem_bdev *b)
{
	return b->bdev;
}
#endif

static inline u64 vtmem_bdev_bytes(struct vtmem_bdev *b)
{
#ifdef HAVE_BDEV_NR_BYTES
	return bdev_nr_bytes(vtmem_bdev(b));
#else
	return i_size_read(vtmem_bdev(b)->bd_inode);
#endif
}

/* Sleeps until there is one; never fails with a flag that allows sleeping. */
static inline struct bio *vtmem_bio_alloc(struct block_device *bdev,
					  unsigned int nr_vecs,
					  bool write, struct bio_set *bios)
{
#ifdef HAVE_BIO_ALLOC_BDEV
	return bio_alloc_bioset(bdev, nr_vecs,
				write ? REQ_OP_WRITE : REQ_OP_READ, GFP_NOIO,
				bios);
#else
	struct bio *bio = bio_alloc_bioset(GFP_NOIO, nr_vecs, bios);

	if (bio) {
		bio_set_dev(bio, bdev);
		bio->bi_opf = write ? REQ_OP_WRITE : REQ_OP_READ;
	}
	return bio;
#endif
}

#endif /* VTMEM_COMPAT_BDEV_H */
