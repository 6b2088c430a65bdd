// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * slow-suspend: a device that takes three seconds to go to sleep
 *
 * The kernel puts the device that came last to sleep first.  So for three seconds
 * all tasks are frozen, and all other devices awake.
 */
#include <linux/delay.h>
#include <linux/module.h>
#include <linux/platform_device.h>

static int suspend(struct platform_device *pdev, pm_message_t state)
{
	msleep(3000);
	return 0;
}

static struct platform_driver driver = {
	.driver.name	= KBUILD_MODNAME,
	.suspend	= suspend,
};

static struct platform_device *device;

static int __init slow_suspend_init(void)
{
	int err = platform_driver_register(&driver);

	if (err)
		return err;
	device = platform_device_register_simple(KBUILD_MODNAME,
						 PLATFORM_DEVID_NONE, NULL, 0);
	if (!IS_ERR(device))
		return 0;
	platform_driver_unregister(&driver);
	return PTR_ERR(device);
}
module_init(slow_suspend_init);

static void __exit slow_suspend_exit(void)
{
	platform_device_unregister(device);
	platform_driver_unregister(&driver);
}
module_exit(slow_suspend_exit);

MODULE_DESCRIPTION("A device that is slow to go to sleep, for tests of virtio_tmem");
MODULE_LICENSE("GPL");
