/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a vhost-user front end may say to a process that it shares with others
 */
#ifndef QEMU_VHOST_USER_CHECK_H
#define QEMU_VHOST_USER_CHECK_H

#include "qemu/vhost-user-server.h"

/* libvhost-user does not know it; the number is the specification's. */
#define VHOST_USER_CHECK_RESET_DEVICE       34

/* What is needed for no other messages than those that are checked. */
#define VHOST_USER_CHECK_PROTOCOL_FEATURES \
    (BIT_ULL(VHOST_USER_PROTOCOL_F_MQ) | \
     BIT_ULL(VHOST_USER_PROTOCOL_F_REPLY_ACK) | \
     BIT_ULL(VHOST_USER_PROTOCOL_F_BACKEND_REQ) | \
     BIT_ULL(VHOST_USER_PROTOCOL_F_CONFIG) | \
     BIT_ULL(VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS))

/**
 * vhost_user_check_message:
 * @dev: the device, before it has seen @msg
 * @msg: what its front end says
 *
 * Whether libvhost-user can be given a message, which believes the counts,
 * sizes and addresses in it.  What depends on the kind of the device (features,
 * ring positions, the configuration) is not looked at.
 *
 * Returns NULL, or what is wrong: a sentence without its end, to be freed.
 */
char *vhost_user_check_message(VuDev *dev, VhostUserMsg *msg);

/**
 * vhost_user_map_ring:
 * @dev: the device
 * @vq: one of its virtqueues
 *
 * Maps the ring anew, where the table of memory regions has it now.  Needed
 * before a turn of the queue: the table and the ring's size may have changed.
 *
 * Returns false if it is not, or not as a whole, in one region.
 */
bool vhost_user_map_ring(VuDev *dev, VuVirtq *vq);

/**
 * vhost_user_check_path:
 * @addr: where a server is to listen
 * @errp: why it must not
 *
 * QEMU removes whatever is at the path of a socket.  That is right for the
 * socket of a process that is gone, and for nothing else.
 *
 * Returns false, and sets @errp, if there is something else.
 */
bool vhost_user_check_path(const SocketAddress *addr, Error **errp);

#endif /* QEMU_VHOST_USER_CHECK_H */
