// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * virtio-tmem guest driver: what a device's configuration says
 */
#include <linux/virtio_config.h>

#include "device.h"

/*
 * Reads how many queues there are and how large a batch may be; one sentence in
 * the log if the device cannot be used.
 */
int vtmem_read_config(struct virtio_device *vdev, unsigned int *nr_queues,
		      unsigned int *batch)
{
	u16 num_queues, max_batch;
	u8 page_shift;

	virtio_cread_le(vdev, struct virtio_tmem_config, num_queues,
			&num_queues);
	virtio_cread_le(vdev, struct virtio_tmem_config, max_batch, &max_batch);
	virtio_cread_le(vdev, struct virtio_tmem_config, page_shift,
			&page_shift);
	if (page_shift != PAGE_SHIFT) {
		dev_err(&vdev->dev,
			"the host's pages have %llu bytes, this kernel's %lu: the device cannot be used\n",
			1ULL << min_t(u8, page_shift, 63), PAGE_SIZE);
		return -EINVAL;
	}
	if (!num_queues || !max_batch) {
		dev_err(&vdev->dev,
			"the device offers %u queues and batches of %u: it cannot be used\n",
			num_queues, max_batch);
		return -EINVAL;
	}
	if (!virtio_has_feature(vdev, VIRTIO_TMEM_F_MQ))
		num_queues = 1;
	*nr_queues = min_t(unsigned int, num_queues, nr_cpu_ids);
	*batch = min_t(unsigned int, max_batch, VTMEM_BATCH_MAX);
	return 0;
}
