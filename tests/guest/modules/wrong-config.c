// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * wrong-config: gives the driver of a virtio-tmem device another configuration than
 * the device has, as no host of this tree would
 *
 * To be loaded before the driver: it is offered the device first, changes how its
 * configuration is read, and declines.
 */
#include <linux/module.h>
#include <linux/virtio.h>
#include <linux/virtio_config.h>

#include "virtio_tmem.h"

static int num_queues = -1;
module_param(num_queues, int, 0644);
MODULE_PARM_DESC(num_queues, "What the field is to say (default: what it says)");

static int max_batch = -1;
module_param(max_batch, int, 0644);
MODULE_PARM_DESC(max_batch, "What the field is to say (default: what it says)");

static int shift = -1;
module_param_named(page_shift, shift, int, 0644);
MODULE_PARM_DESC(page_shift, "What the field is to say (default: what it says)");

static struct virtio_device *device;
static const struct virtio_config_ops *original;
static struct virtio_config_ops changed;

static void get(struct virtio_device *vdev, unsigned int offset, void *buf,
		unsigned int len)
{
	__le16 value;

	original->get(vdev, offset, buf, len);
	if (offset == offsetof(struct virtio_tmem_config, num_queues) &&
	    num_queues >= 0) {
		value = cpu_to_le16(num_queues);
		memcpy(buf, &value, sizeof(value));
	}
	if (offset == offsetof(struct virtio_tmem_config, max_batch) &&
	    max_batch >= 0) {
		value = cpu_to_le16(max_batch);
		memcpy(buf, &value, sizeof(value));
	}
	if (offset == offsetof(struct virtio_tmem_config, page_shift) &&
	    shift >= 0)
		*(u8 *)buf = shift;
}

static int probe(struct virtio_device *vdev)
{
	if (!device) {
		device = vdev;
		original = vdev->config;
		changed = *original;
		changed.get = get;
		vdev->config = &changed;
	}
	/* Nothing was agreed on with who comes next. */
	original->reset(vdev);
	return -ENODEV;
}

static void remove(struct virtio_device *vdev)
{
}

static const struct virtio_device_id ids[] = {
	{ VIRTIO_ID_TMEM, VIRTIO_DEV_ANY_ID },
	{ 0 },
};

static struct virtio_driver driver = {
	.driver.name	= KBUILD_MODNAME,
	.driver.owner	= THIS_MODULE,
	.id_table	= ids,
	.probe		= probe,
	.remove		= remove,
};

static int __init wrong_config_init(void)
{
	return register_virtio_driver(&driver);
}
module_init(wrong_config_init);

/* No other driver has the device. */
static void __exit wrong_config_exit(void)
{
	unregister_virtio_driver(&driver);
	if (device)
		device->config = original;
}
module_exit(wrong_config_exit);

MODULE_DESCRIPTION("Changes what a virtio-tmem device says of itself, for tests");
MODULE_LICENSE("GPL");
