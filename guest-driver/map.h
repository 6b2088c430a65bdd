/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-tmem guest driver: where each page of an area is
 *
 * Two bits for a page, in its object, are the only authority.  They are read
 * and written under the lock of the object's queue; vtmem_page() alone may be
 * called without it, by who keeps the page from changing.
 */
#ifndef VTMEM_MAP_H
#define VTMEM_MAP_H

#include "vtmem.h"

enum vtmem_page {
	VTMEM_NONE,	/* nowhere: it was never stored, or invalidated */
	VTMEM_HOST,	/* the host has it, and must give it back */
	VTMEM_DISK,	/* the disk behind the swap disk has it */
	VTMEM_LOST,	/* nobody has it, and reading it is an error */
};

#define VTMEM_MAP_BITS		2
#define VTMEM_MAP_PAGES		(BITS_PER_LONG / VTMEM_MAP_BITS) /* a word's */
#define VTMEM_MAP_LOW		(~0UL / 3)	/* the low bit of each page */

static inline struct vtmem_object *vtmem_object(struct vtmem_area *area,
						unsigned long page)
{
	unsigned long nr = page >> VTMEM_OBJECT_SHIFT;

	return &area->segments[nr >> VTMEM_SEGMENT_SHIFT]
			      [nr & (BIT(VTMEM_SEGMENT_SHIFT) - 1)];
}

static inline unsigned int vtmem_in_object(unsigned long page)
{
	return page & (VTMEM_OBJECT_PAGES - 1);
}

static inline unsigned long vtmem_object_first(const struct vtmem_object *obj)
{
	return obj->nr << VTMEM_OBJECT_SHIFT;
}

static inline enum vtmem_page vtmem_page(struct vtmem_area *area,
					 unsigned long page)
{
	struct vtmem_object *obj = vtmem_object(area, page);
	unsigned int i = vtmem_in_object(page);

	return READ_ONCE(obj->map[i / VTMEM_MAP_PAGES]) >>
	       i % VTMEM_MAP_PAGES * VTMEM_MAP_BITS & 3;
}

/* The bits of a word's pages that are VTMEM_HOST. */
static inline unsigned long vtmem_map_host(unsigned long word)
{
	return word & ~(word >> 1) & VTMEM_MAP_LOW;
}

/* The same for VTMEM_DISK. */
static inline unsigned long vtmem_map_disk(unsigned long word)
{
	return word >> 1 & ~word & VTMEM_MAP_LOW;
}

static inline bool vtmem_object_any_host(const struct vtmem_object *obj)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(obj->map); i++)
		if (vtmem_map_host(obj->map[i]))
			return true;
	return false;
}

static inline bool vtmem_is_pending(struct vtmem_area *area, unsigned long page)
{
	return test_bit(vtmem_in_object(page),
			vtmem_object(area, page)->pending);
}

#endif /* VTMEM_MAP_H */
