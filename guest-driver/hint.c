// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * virtio-tmem guest driver: the host says that it takes no pages at present
 *
 * Each answer says so for each kind of pool, and a change of the configuration
 * says when that is over.  It is advice: an ephemeral store that is left out costs
 * an invalidate and saves the copy, the exit and the refusal.  A persistent one is
 * asked for in any case: gate.c knows from a refusal itself, and what to do.
 *
 * So that nothing depends on the order in which an answer and the change of the
 * configuration are seen, advice is forgotten VTMEM_HINT_MS after it was given;
 * the next store is then asked for again.
 */
#include <linux/virtio_config.h>

#include "vtmem.h"

#define VTMEM_HINT_MS		1000

/* @hints: VIRTIO_TMEM_HINT_*, as the host said just now; 0 without the feature */
void vtmem_hint_seen(struct vtmem_dev *dev, u8 hints)
{
	if (hints)
		WRITE_ONCE(dev->hinted, jiffies);
	if (READ_ONCE(dev->hints) != hints)
		WRITE_ONCE(dev->hints, hints);
}

/* Does the host say that it refuses stores of this kind? */
bool vtmem_hint_refuses(struct vtmem_dev *dev, u8 hint)
{
	return READ_ONCE(dev->hints) & hint &&
	       time_before(jiffies, READ_ONCE(dev->hinted) +
				    msecs_to_jiffies(VTMEM_HINT_MS));
}

/* The configuration has changed.  Sleeps; the device is there. */
void vtmem_hint_read(struct vtmem_dev *dev)
{
	u32 not_accepting;

	if (!virtio_has_feature(dev->vdev, VIRTIO_TMEM_F_HINT))
		return;
	virtio_cread_le(dev->vdev, struct virtio_tmem_config, not_accepting,
			&not_accepting);
	vtmem_hint_seen(dev, not_accepting);
}
