// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * virtio-tmem guest driver: control queue and pools
 *
 * Pools are made and destroyed one at a time, by tasks that may sleep.  Before
 * a pool is destroyed its area has been drained (vtmem_area_close), because the
 * device keeps no order between the control queue and the others.
 *
 * Locking: vtmem_ctrl.mutex serialises the senders and is held while one waits
 * for the answer.  vtmem_ctrl.lock guards the ring, and settles whether the
 * answer or the end of the device comes first; interrupts are off because the
 * ring's interrupt takes it.
 */
#include <linux/slab.h>

#include "compat/virtio.h"
#include "vtmem.h"

struct vtmem_ctrl_wire {
	union {
		struct virtio_tmem_create_pool create;
		struct virtio_tmem_destroy_pool destroy;
	} req;

	/* On cache lines of its own: DMA need not be coherent. */
	struct virtio_tmem_ctrl_resp resp __aligned(128);
};

int vtmem_ctrl_alloc(struct vtmem_dev *dev)
{
	struct vtmem_ctrl *ctrl = &dev->ctrl;

	BUILD_BUG_ON(sizeof(struct vtmem_ctrl_wire) > PAGE_SIZE);

	mutex_init(&ctrl->mutex);
	spin_lock_init(&ctrl->lock);
	init_completion(&ctrl->done);
	ctrl->state = VTMEM_FROZEN;
	ctrl->wire = (void *)get_zeroed_page(GFP_KERNEL);
	return ctrl->wire ? 0 : -ENOMEM;
}

void vtmem_ctrl_free(struct vtmem_dev *dev)
{
	free_page((unsigned long)dev->ctrl.wire);
}

/* The device has answered @len bytes; 0: it never will. */
static void vtmem_ctrl_finish(struct vtmem_ctrl *ctrl, unsigned int len)
{
	lockdep_assert_held(&ctrl->lock);

	if (!ctrl->busy)
		return;
	ctrl->busy = false;
	ctrl->len = len;
	complete(&ctrl->done);
}

/* Interrupt of the control queue. */
void vtmem_ctrl_done(struct virtqueue *vq)
{
	struct vtmem_dev *dev = vq->vdev->priv;
	struct vtmem_ctrl *ctrl = &dev->ctrl;
	unsigned long flags;
	unsigned int len;

	spin_lock_irqsave(&ctrl->lock, flags);
	if (virtqueue_get_buf(vq, &len))
		vtmem_ctrl_finish(ctrl, len);
	if (virtqueue_is_broken(vq))
		vtmem_dev_broken(dev);
	spin_unlock_irqrestore(&ctrl->lock, flags);
}

void vtmem_ctrl_set_state(struct vtmem_dev *dev, enum vtmem_state state)
{
	spin_lock_irq(&dev->ctrl.lock);
	dev->ctrl.state = state;
	spin_unlock_irq(&dev->ctrl.lock);
}

/* The device has been reset: nothing more will be answered. */
void vtmem_ctrl_abort(struct vtmem_dev *dev)
{
	struct vtmem_ctrl *ctrl = &dev->ctrl;

	spin_lock_irq(&ctrl->lock);
	if (ctrl->vq)
		while (virtqueue_detach_unused_buf(ctrl->vq))
			;
	vtmem_ctrl_finish(ctrl, 0);
	spin_unlock_irq(&ctrl->lock);
}

static bool vtmem_ctrl_overdue(struct vtmem_dev *dev)
{
	struct vtmem_ctrl *ctrl = &dev->ctrl;
	bool overdue;

	spin_lock_irq(&ctrl->lock);
	overdue = ctrl->busy && vtmem_stalled(dev, ctrl->since);
	spin_unlock_irq(&ctrl->lock);
	return overdue;
}

/* Is an answer overdue, and not only its interrupt?  Holds dev->lock. */
bool vtmem_ctrl_stalled(struct vtmem_dev *dev)
{
	if (!vtmem_ctrl_overdue(dev))
		return false;
	vtmem_ctrl_done(dev->ctrl.vq);
	return vtmem_ctrl_overdue(dev);
}

/* Sends the first @bytes of the request and returns the status answered. */
static int vtmem_ctrl_send(struct vtmem_dev *dev, size_t bytes)
{
	struct vtmem_ctrl *ctrl = &dev->ctrl;
	struct scatterlist out, in, *sgs[] = { &out, &in };
	int err = -EIO;

	lockdep_assert_held(&ctrl->mutex);

	sg_init_one(&out, &ctrl->wire->req, bytes);
	memset(&ctrl->wire->resp, 0, sizeof(ctrl->wire->resp));
	ctrl->wire->resp.status = VIRTIO_TMEM_S_IO;
	sg_init_one(&in, &ctrl->wire->resp, sizeof(ctrl->wire->resp));
	reinit_completion(&ctrl->done);

	spin_lock_irq(&ctrl->lock);
	if (ctrl->state == VTMEM_RUNNING) {
		/* GFP_ATOMIC: spinlock held; nothing is allocated. */
		err = virtqueue_add_sgs(ctrl->vq, sgs, 1, 1, ctrl, GFP_ATOMIC);
		if (!err) {
			ctrl->busy = true;
			ctrl->since = READ_ONCE(dev->seconds);
			virtqueue_kick(ctrl->vq);
		}
	}
	spin_unlock_irq(&ctrl->lock);
	if (err)
		return -EIO;

	while (!wait_for_completion_timeout(&ctrl->done, VTMEM_POLL))
		vtmem_dev_broken(dev);
	if (ctrl->len < sizeof(ctrl->wire->resp))
		return -EIO;
	vtmem_credit_grant(dev, ctrl->wire->resp.credit);
	vtmem_hint_seen(dev, ctrl->wire->resp.hints);
	return ctrl->wire->resp.status;
}

/* @uuid: of a shared pool, or NULL. */
static int vtmem_pool_create_kind(struct vtmem_dev *dev, u16 flags,
				  const uuid_t *uuid, __le64 *pool)
{
	struct vtmem_ctrl *ctrl = &dev->ctrl;
	int status;

	mutex_lock(&ctrl->mutex);
	ctrl->wire->req.create = (struct virtio_tmem_create_pool) {
		.type = VIRTIO_TMEM_T_CREATE_POOL,
		.page_shift = PAGE_SHIFT,
		.flags = cpu_to_le16(flags),
	};
	if (uuid)
		export_uuid(ctrl->wire->req.create.uuid, uuid);
	status = vtmem_ctrl_send(dev, sizeof(ctrl->wire->req.create));
	*pool = ctrl->wire->resp.pool;
	mutex_unlock(&ctrl->mutex);

	if (status < 0)
		return status;
	switch (status) {
	case VIRTIO_TMEM_S_OK:
		return *pool ? 0 : -EIO;
	case VIRTIO_TMEM_S_NOSPC:
	case VIRTIO_TMEM_S_QUOTA:
		return -ENOSPC;
	case VIRTIO_TMEM_S_PERM:
		return -EPERM;
	case VIRTIO_TMEM_S_INVAL:
		return -EINVAL;
	default:
		return -EIO;
	}
}

/**
 * vtmem_pool_create() - make a persistent, private pool
 * @dev:  a running device
 * @pool: its id, as the wire has it
 *
 * Sleeps.  Returns 0; -ENOSPC if there is no room for one more; another
 * negative error.
 */
int vtmem_pool_create(struct vtmem_dev *dev, __le64 *pool)
{
	return vtmem_pool_create_kind(dev, 0, NULL, pool);
}

/* The same for an ephemeral one, which the device must have offered. */
int vtmem_pool_create_ephemeral(struct vtmem_dev *dev, __le64 *pool)
{
	return vtmem_pool_create_kind(dev, VIRTIO_TMEM_POOL_EPHEMERAL, NULL,
				      pool);
}

/**
 * vtmem_pool_join() - take part in an ephemeral pool of several guests
 * @dev:  a running device that has offered shared pools
 * @uuid: what they call it
 * @pool: its id for this guest, as the wire has it
 *
 * Sleeps.  As vtmem_pool_create(); and -EPERM if the host has not authorised
 * this guest for @uuid, -EINVAL if the guest is in that pool already.
 */
int vtmem_pool_join(struct vtmem_dev *dev, const uuid_t *uuid, __le64 *pool)
{
	return vtmem_pool_create_kind(dev, VIRTIO_TMEM_POOL_EPHEMERAL |
				      VIRTIO_TMEM_POOL_SHARED, uuid, pool);
}

/* Sleeps.  There is nothing a caller could do about a failure. */
void vtmem_pool_destroy(struct vtmem_dev *dev, __le64 pool)
{
	struct vtmem_ctrl *ctrl = &dev->ctrl;
	int status;

	mutex_lock(&ctrl->mutex);
	ctrl->wire->req.destroy = (struct virtio_tmem_destroy_pool) {
		.type = VIRTIO_TMEM_T_DESTROY_POOL,
		.pool = pool,
	};
	status = vtmem_ctrl_send(dev, sizeof(ctrl->wire->req.destroy));
	mutex_unlock(&ctrl->mutex);

	if (status > 0)
		pr_warn("virtio_tmem %s: host could not destroy pool %#llx: status %d\n",
			dev->name, le64_to_cpu(pool), status);
}
