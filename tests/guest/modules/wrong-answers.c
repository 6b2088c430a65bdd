// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * wrong-answers: between the driver and its device, spoils what is said of stores
 * within credit, and requests, in ways that no driver or host of this tree has
 * reason to
 *
 *   refuse   of so many requests within credit a reserved field is set before
 *            the device sees them, so that it refuses each as a whole
 *   fail     to so many of those requests the first status that the device has
 *            answered is changed to an I/O error before the driver sees it
 *   violate  of so many requests that load only the first four bytes of the head
 *            are given to the device, which breaks it
 *
 * All count down as they are used.  For a device with one request queue: both
 * functions are called under that queue's lock, which is all the locking here.
 */
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/scatterlist.h>
#include <linux/virtio.h>

#include "virtio_tmem.h"

static unsigned int refuse;
module_param(refuse, uint, 0644);
MODULE_PARM_DESC(refuse, "Requests that the device is to refuse as a whole");

static unsigned int fail;
module_param(fail, uint, 0644);
MODULE_PARM_DESC(fail, "Requests whose first store is to fail");

static unsigned int violate;
module_param(violate, uint, 0644);
MODULE_PARM_DESC(violate, "Requests that are to be shorter than a request can be");

/* What the driver knows the request by whose answer will be changed. */
static void *token;
static struct virtio_tmem_resp *answer;

/* virtqueue_add_sgs(vq, sgs, out_sgs, in_sgs, data, gfp) is called. */
static int add_sgs(struct kprobe *p, struct pt_regs *regs)
{
	struct virtqueue *vq = (void *)regs_get_kernel_argument(regs, 0);
	struct scatterlist **sgs = (void *)regs_get_kernel_argument(regs, 1);
	struct virtio_tmem_req *req;
	struct virtio_tmem_op *op;

	if (vq->vdev->id.device != VIRTIO_ID_TMEM)
		return 0;
	/* Head out, answer and pages in: it loads, and has nothing else to read. */
	if (regs_get_kernel_argument(regs, 2) == 1 &&
	    regs_get_kernel_argument(regs, 3) > 1 && violate) {
		violate--;
		sgs[0]->length = 4;
		return 0;
	}
	/* Head and pages out, answer in: it stores. */
	if (regs_get_kernel_argument(regs, 2) != 2 ||
	    regs_get_kernel_argument(regs, 3) != 1)
		return 0;
	req = sg_virt(sgs[0]);
	op = (struct virtio_tmem_op *)(req + 1);
	if (!(op->flags & VIRTIO_TMEM_OP_F_CREDIT))
		return 0;
	if (refuse) {
		refuse--;
		req->reserved1 = cpu_to_le32(1);
	} else if (fail && !token) {
		token = (void *)regs_get_kernel_argument(regs, 4);
		answer = sg_virt(sgs[2]);
	}
	return 0;
}

static struct kprobe add_probe = {
	.symbol_name = "virtqueue_add_sgs",
	.pre_handler = add_sgs,
};

/* virtqueue_get_buf() returns. */
static int get_buf(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	u8 *status = (u8 *)(answer + 1);

	if (!token || (void *)regs_return_value(regs) != token)
		return 0;
	status[0] = VIRTIO_TMEM_S_IO;
	token = NULL;
	fail--;
	return 0;
}

static struct kretprobe get_probe = {
	.kp.symbol_name = "virtqueue_get_buf",
	.handler = get_buf,
	.maxactive = 16,
};

static int __init wrong_answers_init(void)
{
	int err = register_kprobe(&add_probe);

	if (err)
		return err;
	err = register_kretprobe(&get_probe);
	if (err)
		unregister_kprobe(&add_probe);
	return err;
}
module_init(wrong_answers_init);

static void __exit wrong_answers_exit(void)
{
	unregister_kretprobe(&get_probe);
	unregister_kprobe(&add_probe);
}
module_exit(wrong_answers_exit);

MODULE_DESCRIPTION("Spoils stores and requests, for tests of virtio_tmem");
MODULE_LICENSE("GPL");
