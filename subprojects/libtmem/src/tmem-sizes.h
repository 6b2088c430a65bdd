/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: the sizes of slots that segments are cut into
 *
 * A segment has slots of one size.  There is a table of the sizes for each kind
 * of segment: one that is nothing but slots, and one that begins with a word
 * for each of its slots, see tmem-heap.h.  The words take memory from the
 * slots, so that what fits n times into the one kind does not into the other.
 */
#ifndef TMEM_SIZES_H
#define TMEM_SIZES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TMEM_UNIT_SHIFT     4
#define TMEM_UNIT           (1u << TMEM_UNIT_SHIFT)

/* The largest slot anyone asks for: a raw page as a content (tmem-trust.h). */
#define TMEM_SLOT_BYTES_MAX (4096 + 2 * TMEM_UNIT)

#define TMEM_SIZES_MAX          250
#define TMEM_SEGMENT_SLOTS_MAX  8192

/* One of the sizes: what a segment's class means. */
typedef struct TmemSize {
    uint32_t slot_bytes;
    uint32_t slots;         /* in one segment */
    uint32_t first_unit;    /* where the first of them starts */
} TmemSize;

static inline uint32_t tmem_size_units(const TmemSize *size)
{
    return size->slot_bytes >> TMEM_UNIT_SHIFT;
}

typedef struct TmemSizes {
    uint32_t nr;
    /* The smallest class for a size in units, rounded up. */
    uint8_t class_of[TMEM_SLOT_BYTES_MAX / TMEM_UNIT + 1];
    TmemSize of_class[TMEM_SIZES_MAX];      /* ascending */
} TmemSizes;

/**
 * tmem_sizes_init() - choose the sizes for segments of @segment_bytes
 * @word_bytes: of what segments begin with, for each slot; 0: nothing
 * @spacing: sizes nearer to each other than 1/@spacing are one
 */
void tmem_sizes_init(TmemSizes *sizes, uint32_t segment_bytes,
                     uint32_t word_bytes, uint32_t spacing);

/** The class of slots for @bytes. */
static inline uint32_t tmem_sizes_class(const TmemSizes *sizes, size_t bytes)
{
    return sizes->class_of[(bytes + TMEM_UNIT - 1) >> TMEM_UNIT_SHIFT];
}

/** The bytes that a slot for @bytes has. */
static inline uint32_t tmem_sizes_slot_bytes(const TmemSizes *sizes,
                                             size_t bytes)
{
    return sizes->of_class[tmem_sizes_class(sizes, bytes)].slot_bytes;
}

#endif /* TMEM_SIZES_H */
