/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: the sizes of slots that segments are cut into
 */
#include <glib.h>

#include "tmem-sizes.h"

/* Bytes at a segment's beginning that the words of @slots slots take. */
static uint32_t words_bytes(uint32_t slots, uint32_t word_bytes)
{
    return (slots * word_bytes + TMEM_UNIT - 1) & ~(TMEM_UNIT - 1);
}

/* The largest size of which @slots fit a segment behind their words. */
static uint32_t size_of(uint32_t segment_bytes, uint32_t slots,
                        uint32_t word_bytes)
{
    return (segment_bytes - words_bytes(slots, word_bytes)) / slots &
           ~(TMEM_UNIT - 1);
}

static TmemSize cut(uint32_t segment_bytes, uint32_t slot_bytes,
                    uint32_t word_bytes)
{
    uint32_t slots = segment_bytes / (slot_bytes + word_bytes);

    /* The words are rounded up, which may be what the last slot needs. */
    if (size_of(segment_bytes, slots, word_bytes) < slot_bytes) {
        slots--;
    }
    return (TmemSize) {
        .slot_bytes = slot_bytes,
        .slots = slots,
        .first_unit = words_bytes(slots, word_bytes) >> TMEM_UNIT_SHIFT,
    };
}

/*
 * A size is what n slots leave nothing of a segment with, but for less than a
 * unit each; so there is one for each n, from the least of which a slot is
 * large enough for anything.
 */
void tmem_sizes_init(TmemSizes *sizes, uint32_t segment_bytes,
                     uint32_t word_bytes, uint32_t spacing)
{
    uint32_t bytes[TMEM_SIZES_MAX];
    uint32_t n = segment_bytes / TMEM_SLOT_BYTES_MAX;
    uint32_t nr = 0, units = 0, last;

    while (size_of(segment_bytes, n, word_bytes) < TMEM_SLOT_BYTES_MAX) {
        n--;
    }
    last = bytes[nr++] = size_of(segment_bytes, n, word_bytes);
    while (last > TMEM_UNIT) {
        uint32_t next = size_of(segment_bytes, ++n, word_bytes);

        if (next + MAX(TMEM_UNIT, last / spacing) <= last) {
            g_assert(nr < TMEM_SIZES_MAX);
            last = bytes[nr++] = next;
        }
    }
    sizes->nr = nr;
    for (uint32_t i = 0; i < nr; i++) {
        TmemSize *size = &sizes->of_class[i];

        *size = cut(segment_bytes, bytes[nr - 1 - i], word_bytes);
        for (; units <= MIN(size->slot_bytes, TMEM_SLOT_BYTES_MAX) / TMEM_UNIT;
             units++) {
            sizes->class_of[units] = i;
        }
    }
}
