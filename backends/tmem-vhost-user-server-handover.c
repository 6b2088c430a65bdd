/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmem-vhost-user-server: over to the process that follows
 *
 * All requests that were taken off a ring have been answered.  A front end
 * that connects to the next process goes on where the used ring ends, and that
 * is how it is recognised: one whose rings are elsewhere has a guest that was
 * reset meanwhile, or is another one.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "tmem-vhost-user-server-internal.h"

/* What is remembered: this, and a base for each virtqueue. */
typedef struct TmemVuState {
    uint32_t num_vqs;
    uint32_t resumed;
} TmemVuState;

/* Context: BQL held. */
static void tmem_vu_quiesce(void *opaque)
{
    TmemVhostUserServer *s = opaque;

    s->handing_over = true;
    tmem_vu_stop_listening(s);
}

static void tmem_vu_save(void *opaque, GByteArray *state, uint64_t *pool)
{
    TmemVhostUserServer *s = opaque;
    TmemVuState head = { .num_vqs = s->num_vqs, .resumed = s->resumed };

    g_byte_array_append(state, (void *)&head, sizeof(head));
    for (unsigned i = 0; i < s->num_vqs; i++) {
        uint16_t base = s->queues[i].base;

        g_byte_array_append(state, (void *)&base, sizeof(base));
    }
}

static bool tmem_vu_restore(void *opaque, const uint8_t *state, size_t bytes,
                            uint64_t pool, Error **errp)
{
    TmemVhostUserServer *s = opaque;
    TmemVuState head;

    if (bytes < sizeof(head)) {
        error_setg(errp, "the pages that were handed over are lost: the stream"
                   " makes no sense");
        return false;
    }
    memcpy(&head, state, sizeof(head));
    if (head.num_vqs > TMEM_VU_NUM_QUEUES_MAX + TMEM_DEVICE_VQ_NUM_FIXED ||
        bytes != sizeof(head) + head.num_vqs * sizeof(uint16_t)) {
        error_setg(errp, "the pages that were handed over are lost: the stream"
                   " makes no sense");
        return false;
    }
    s->resumed = head.resumed;
    for (unsigned i = 0; i < MIN(head.num_vqs, s->num_vqs); i++) {
        memcpy(&s->queues[i].base, state + sizeof(head) + i * sizeof(uint16_t),
               sizeof(uint16_t));
        s->queues[i].has_base = true;
    }
    s->unclaimed = true;
    return true;
}

const TmemStoreDoorOps tmem_vu_door_ops = {
    .is_device = true,
    .quiesce = tmem_vu_quiesce,
    .save = tmem_vu_save,
    .restore = tmem_vu_restore,
};

/* Context: the AioContext; the rings are as a connection left them. */
void tmem_vu_keep(TmemVhostUserServer *s)
{
    for (unsigned i = 0; i < s->num_vqs; i++) {
        /* One that was not set since is where the process before left it. */
        if (!s->queues[i].has_base) {
            s->queues[i].base =
                vu_get_queue(&s->vu_server.vu_dev, i)->last_avail_idx;
        }
    }
}
