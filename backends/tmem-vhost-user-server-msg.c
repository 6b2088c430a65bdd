/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmem-vhost-user-server: what a front end may say
 *
 * What is the same for every device is checked in util/vhost-user-check.c, and
 * the rest of what libvhost-user would believe is checked here.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/vhost-user-check.h"
#include "tmem-vhost-user-server-internal.h"

/* libvhost-user does not know it; the number is the specification's. */
#define TMEM_VU_PROTOCOL_F_RESET_DEVICE     13

#define TMEM_VU_PROTOCOL_FEATURES \
    (VHOST_USER_CHECK_PROTOCOL_FEATURES | \
     BIT_ULL(TMEM_VU_PROTOCOL_F_RESET_DEVICE))

/*
 * Checks one message that is good for some device.  Returns NULL, or what is
 * wrong with it: a sentence for the operator, to be freed.
 */
typedef char *TmemVuCheck(TmemVhostUserServer *s, VhostUserMsg *msg);

/* Requests that are half done belong to the memory and the ring as they are. */
static char *tmem_vu_before_change(TmemVhostUserServer *s, VhostUserMsg *msg)
{
    tmem_vu_drain(s);
    return NULL;
}

/* --- Rings --- */

/*
 * All that the client holds is another guest's, or that of one before reset.
 * @handed_over: the process before had left the ring elsewhere; then that is so
 *               also of a client that had lost pages there
 */
static void tmem_vu_ring_elsewhere(TmemVhostUserServer *s, unsigned base,
                                   bool handed_over)
{
    tmem_vu_drain(s);
    for (unsigned i = 0; i < s->num_vqs; i++) {
        s->queues[i].has_base = false;
    }
    if (!base) {
        /* A front end that cannot say so has reset the device. */
        tmem_client_reset(s->client);
        s->resumed = false;
    } else if (handed_over || !s->resumed) {
        tmem_client_reset(s->client);
        s->resumed = true;
        peer_warn_report(&s->vu_server.reports,
                         "tmem-vhost-user-server '%s': the guest of client '%s'"
                         " used its device before this connection: the pages it"
                         " had are lost, and reading them fails until it resets"
                         " the device", s->id, tmem_client_name(s->client));
    }
}

/*
 * A ring that goes on where no connection of this object has left it is that
 * of a device that was in use before: with a daemon that is gone, or over a
 * connection that was lost.  Its pools are gone with their pages, and their ids
 * are never valid again: every load is an error, and none looks like a page
 * that was never stored, until the guest resets the device.
 *
 * Where a process before this one has handed over, all rings must be where it
 * left them: else they are those of another guest, or of one that was reset.
 */
static char *tmem_vu_check_vring_base(TmemVhostUserServer *s,
                                      VhostUserMsg *msg)
{
    unsigned index = msg->payload.state.index;
    unsigned base = msg->payload.state.num;
    VuVirtq *vq = vu_get_queue(&s->vu_server.vu_dev, index);
    bool handed_over = s->queues[index].has_base;

    s->unclaimed = false;
    if (base == (handed_over ? s->queues[index].base : vq->last_avail_idx)) {
        s->queues[index].has_base = false;
        return NULL;
    }
    if (vq->started) {
        return g_strdup_printf("virtqueue %u is moved while it runs", index);
    }
    tmem_vu_ring_elsewhere(s, base, handed_over);
    return NULL;
}

void tmem_vu_ring_starts(TmemVhostUserServer *s, unsigned index)
{
    unsigned base = vu_get_queue(&s->vu_server.vu_dev, index)->last_avail_idx;

    s->unclaimed = false;
    if (s->queues[index].has_base && base != s->queues[index].base) {
        tmem_vu_ring_elsewhere(s, base, true);
    }
    s->queues[index].has_base = false;
}

static char *tmem_vu_enable_vring(TmemVhostUserServer *s, VhostUserMsg *msg)
{
    if (msg->payload.state.num) {
        /* A kick may have come before.  Runs when the message is done with. */
        qemu_bh_schedule(s->queues[msg->payload.state.index].bh);
    }
    return NULL;
}

/* --- Everything else --- */

static char *tmem_vu_check_features(TmemVhostUserServer *s, VhostUserMsg *msg)
{
    uint64_t features = msg->payload.u64;

    if (features & ~tmem_vu_features(s)) {
        return g_strdup_printf("features 0x%" PRIx64 " were not offered",
                               features & ~tmem_vu_features(s));
    }
    if (!tmem_device_features_ok(features)) {
        return g_strdup("VIRTIO_TMEM_F_SHARED and VIRTIO_TMEM_F_EXCLUSIVE need"
                        " VIRTIO_TMEM_F_EPHEMERAL");
    }
    tmem_vu_drain(s);
    return NULL;
}

static char *tmem_vu_check_protocol_features(TmemVhostUserServer *s,
                                             VhostUserMsg *msg)
{
    uint64_t alien = msg->payload.u64 & ~TMEM_VU_PROTOCOL_FEATURES;

    return alien ? g_strdup_printf("protocol features 0x%" PRIx64
                                   " were not offered", alien) : NULL;
}

static char *tmem_vu_check_config(TmemVhostUserServer *s, VhostUserMsg *msg)
{
    uint32_t offset = msg->payload.config.offset;
    uint32_t size = msg->payload.config.size;

    if (offset || size > sizeof(struct virtio_tmem_config)) {
        return g_strdup_printf("%u bytes of configuration at %u do not exist",
                               size, offset);
    }
    return NULL;
}

static TmemVuCheck *const tmem_vu_checks[] = {
    [VHOST_USER_SET_FEATURES] = tmem_vu_check_features,
    [VHOST_USER_SET_PROTOCOL_FEATURES] = tmem_vu_check_protocol_features,
    [VHOST_USER_SET_MEM_TABLE] = tmem_vu_before_change,
    [VHOST_USER_REM_MEM_REG] = tmem_vu_before_change,
    [VHOST_USER_SET_VRING_NUM] = tmem_vu_before_change,
    [VHOST_USER_SET_VRING_BASE] = tmem_vu_check_vring_base,
    [VHOST_USER_GET_VRING_BASE] = tmem_vu_before_change,
    [VHOST_USER_SET_VRING_ENABLE] = tmem_vu_enable_vring,
    [VHOST_USER_GET_CONFIG] = tmem_vu_check_config,
    [VHOST_USER_SET_CONFIG] = tmem_vu_check_config,
};

static char *tmem_vu_check_message(TmemVhostUserServer *s, VhostUserMsg *msg)
{
    char *wrong = vhost_user_check_message(&s->vu_server.vu_dev, msg);

    if (wrong || msg->request >= ARRAY_SIZE(tmem_vu_checks) ||
        !tmem_vu_checks[msg->request]) {
        return wrong;
    }
    return tmem_vu_checks[msg->request](s, msg);
}

static int tmem_vu_reply(VhostUserMsg *msg, uint64_t value, int *do_reply)
{
    msg->payload.u64 = value;
    msg->size = sizeof(msg->payload.u64);
    msg->fd_num = 0;
    *do_reply = true;
    return true;
}

/* Context: the server's AioContext; true: libvhost-user has nothing to do. */
int tmem_vu_process_msg(VuDev *dev, VhostUserMsg *msg, int *do_reply)
{
    VuServer *server = container_of(dev, VuServer, vu_dev);
    TmemVhostUserServer *s = container_of(server, TmemVhostUserServer,
                                          vu_server);
    g_autofree char *wrong = tmem_vu_check_message(s, msg);

    if (wrong) {
        for (int i = 0; i < msg->fd_num; i++) {
            close(msg->fds[i]);
        }
        msg->fd_num = 0;
        tmem_vu_drop(s, "%s", wrong);
        return true;
    }
    switch (msg->request) {
    case VHOST_USER_GET_FEATURES:
        /* libvhost-user would offer VHOST_F_LOG_ALL: pages do not migrate. */
        return tmem_vu_reply(msg, tmem_vu_features(s), do_reply);
    case VHOST_USER_GET_PROTOCOL_FEATURES:
        return tmem_vu_reply(msg, TMEM_VU_PROTOCOL_FEATURES, do_reply);
    case VHOST_USER_CHECK_RESET_DEVICE:
        tmem_vu_forget(s);
        return true;
    default:
        return false;
    }
}
