/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The virtio core's interfaces as the newest kernels have them. */
#ifndef VTMEM_COMPAT_VIRTIO_H
#define VTMEM_COMPAT_VIRTIO_H

#include <linux/slab.h>
#include <linux/virtio.h>
#include <linux/virtio_config.h>

#include "compat/have.h"

#ifndef HAVE_VIRTIO_RESET_DEVICE
static inline void virtio_reset_device(struct virtio_device *vdev)
{
	vdev->config->reset(vdev);
}
#endif

/*
 * vtmem_find_vqs(): no struct irq_affinity, ever.  It would make the vectors
 * managed, and a managed vector is shut down when the last CPU of its share
 * goes offline, in the belief that nobody posts to that queue any more.  Here a
 * queue is chosen by object, so any CPU posts to any queue.
 */
#ifndef HAVE_VIRTQUEUE_INFO
struct virtqueue_info {
	const char *name;
	vq_callback_t *callback;
};

static inline int vtmem_find_vqs(struct virtio_device *vdev, unsigned int nvqs,
				 struct virtqueue **vqs,
				 const struct virtqueue_info *info)
{
	vq_callback_t **callbacks;
	const char **names;
	unsigned int i;
	int err = -ENOMEM;

	/* GFP_KERNEL: called from probe and restore only. */
	callbacks = kcalloc(nvqs, sizeof(*callbacks), GFP_KERNEL);
	names = kcalloc(nvqs, sizeof(*names), GFP_KERNEL);
	if (callbacks && names) {
		for (i = 0; i < nvqs; i++) {
			callbacks[i] = info[i].callback;
			names[i] = info[i].name;
		}
		err = virtio_find_vqs(vdev, nvqs, vqs, callbacks, names, NULL);
	}
	kfree(callbacks);
	kfree(names);
	return err;
}
#else
static inline int vtmem_find_vqs(struct virtio_device *vdev, unsigned int nvqs,
				 struct virtqueue **vqs,
				 struct virtqueue_info *info)
{
	return virtio_find_vqs(vdev, nvqs, vqs, info, NULL);
}
#endif

#endif /* VTMEM_COMPAT_VIRTIO_H */
