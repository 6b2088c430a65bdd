/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: the layout of a stream of saved pools
 *
 *   offset 0    StreamHeader, written last
 *   4096        the sections, one for each bundle, each at a multiple of 4096
 *   then        the directory: for each bundle a StreamEntry, the bundle's name
 *               and its client's, neither with an end mark
 *
 * A section is the door's state, then for each pool a StreamPool and its nodes.
 * A node is a StreamNode, a StreamPage for each page in it, and the data of
 * these; one without pages ends the pool.
 *
 * Numbers are in the host's byte order: a stream never leaves it.  A change of
 * anything here, of the codecs or of their checksum needs another version.
 */
#ifndef TMEM_STREAM_H
#define TMEM_STREAM_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#define TMEM_STREAM_MAGIC       "tmemsave"
#define TMEM_STREAM_USED        "tmemused"
#define TMEM_STREAM_MAGIC_BYTES 8

/*
 * A stream of another version is refused as a whole: its pages are lost, as in
 * a crash, and reads of them are I/O errors.  No version has been released yet,
 * so none but the last one is read; from the first release on, a change comes
 * with a reader of what that release writes.
 */
#define TMEM_STREAM_VERSION     4
#define TMEM_STREAM_ALIGN       4096
#define TMEM_STREAM_BUNDLES_MAX 16384

/* What a section is read, written and summed up in. */
#define TMEM_STREAM_BLOCK       (256u << 10)

typedef struct StreamHeader {
    char magic[TMEM_STREAM_MAGIC_BYTES];
    uint32_t version;
    uint32_t byte_order;        /* TMEM_STREAM_BYTE_ORDER */
    uint32_t page_shift;
    uint32_t nr_bundles;
    uint64_t total_bytes;       /* of the file */
    uint64_t next_generation;   /* of pool ids */
    uint64_t directory;         /* where it is */
    uint64_t directory_bytes;
    uint64_t directory_sum;
    uint64_t sum;               /* of the header, with 0 here */
} StreamHeader;

#define TMEM_STREAM_BYTE_ORDER  0x01020304u

typedef struct StreamEntry {
    uint64_t offset;            /* of the section */
    uint64_t bytes;
    uint64_t sum;
    uint64_t state_bytes;
    uint32_t name_bytes;
    uint32_t client_bytes;
    uint32_t nr_pools;
    uint32_t credit;
    uint32_t is_host;           /* one pool, of the host's */
    uint32_t nr_slots;          /* its pools' places are below; 0: not said */
} StreamEntry;

typedef struct StreamPool {
    uint64_t id;
    uint64_t min_bytes;         /* of its own, as the two that follow */
    uint64_t max_bytes;
    uint32_t weight;
    uint32_t codec;             /* tmem_codec_pack(), 0: the store's */
} StreamPool;

typedef struct StreamNode {
    uint64_t object[3];
    uint64_t base;              /* index / 64 */
    uint64_t bitmap;            /* of the pages that follow; 0: no more nodes */
} StreamNode;

typedef struct StreamPage {
    uint16_t len;               /* bytes of data */
    uint16_t slot_units;        /* of the slot they were in; 0: none */
    uint8_t kind;               /* TmemKind */
    uint8_t damaged;            /* then there are no data */
    uint16_t zero;
    uint32_t word;              /* FILL32: the word; else the data's checksum */
} StreamPage;

G_STATIC_ASSERT(sizeof(StreamHeader) == 72);
G_STATIC_ASSERT(sizeof(StreamEntry) == 56);
G_STATIC_ASSERT(sizeof(StreamPool) == 32);
G_STATIC_ASSERT(sizeof(StreamNode) == 40);
G_STATIC_ASSERT(sizeof(StreamPage) == 12);

/** Adds one block to the running sum of a section; begin with 0. */
uint64_t tmem_stream_sum(uint64_t sum, const void *block, size_t bytes);

/** Reads or writes all of it.  Returns false with errno set, 0 at the end. */
bool tmem_stream_read(int fd, void *buf, size_t bytes, uint64_t offset);
bool tmem_stream_write(int fd, const void *buf, size_t bytes, uint64_t offset);

static inline uint64_t tmem_stream_align(uint64_t offset)
{
    return (offset + TMEM_STREAM_ALIGN - 1) & ~(TMEM_STREAM_ALIGN - 1ull);
}

#endif /* TMEM_STREAM_H */
