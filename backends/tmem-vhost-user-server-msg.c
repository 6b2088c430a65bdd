/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmem-vhost-user-server: what a front end may say
 *
 * The front end is as hostile as its guest.  libvhost-user was written for
 * front ends that mean well: it believes counts, sizes and addresses, and some
 * messages make it exit.  Everything that it would believe is checked here
 * before it sees the message; what is not in the table below it never sees.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "qemu/range.h"
#include "tmem-vhost-user-server-internal.h"

/* libvhost-user does not know it; the number is the specification's. */
#define TMEM_VU_RESET_DEVICE                34
#define TMEM_VU_PROTOCOL_F_RESET_DEVICE     13

#define TMEM_VU_PROTOCOL_FEATURES \
    (BIT_ULL(VHOST_USER_PROTOCOL_F_MQ) | \
     BIT_ULL(VHOST_USER_PROTOCOL_F_REPLY_ACK) | \
     BIT_ULL(VHOST_USER_PROTOCOL_F_BACKEND_REQ) | \
     BIT_ULL(VHOST_USER_PROTOCOL_F_CONFIG) | \
     BIT_ULL(TMEM_VU_PROTOCOL_F_RESET_DEVICE) | \
     BIT_ULL(VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS))

/* Addresses end here, so that no sum of an address and a length wraps. */
#define TMEM_VU_ADDRESS_MAX                 (1ull << 62)

/*
 * Checks one message.  Returns NULL, or what is wrong with it: a sentence for
 * the operator, to be freed.
 */
typedef char *TmemVuCheck(TmemVhostUserServer *s, VhostUserMsg *msg);

static VuDev *tmem_vu_dev(TmemVhostUserServer *s)
{
    return &s->vu_server.vu_dev;
}

/* --- Memory --- */

static char *tmem_vu_check_file(const VhostUserMemoryRegion *region, int fd)
{
    uint64_t end = region->mmap_offset + region->memory_size;
    const char *wrong = vhost_user_server_check_file(fd);
    struct stat st;

    if (wrong) {
        return g_strdup(wrong);
    }
    if (fstat(fd, &st) || st.st_size < 0 || end > st.st_size) {
        return g_strdup_printf("a memory region ends at byte %" PRIu64
                               " of a file of %" PRId64, end,
                               (int64_t)st.st_size);
    }
    return NULL;
}

static char *tmem_vu_check_region(const VhostUserMemoryRegion *region, int fd)
{
    if (!region->memory_size ||
        region->memory_size > TMEM_VU_ADDRESS_MAX ||
        region->guest_phys_addr > TMEM_VU_ADDRESS_MAX ||
        region->userspace_addr > TMEM_VU_ADDRESS_MAX ||
        region->mmap_offset > TMEM_VU_ADDRESS_MAX) {
        return g_strdup_printf("a memory region of %" PRIu64 " bytes at 0x%"
                               PRIx64 " makes no sense", region->memory_size,
                               region->guest_phys_addr);
    }
    return tmem_vu_check_file(region, fd);
}

static bool tmem_vu_overlap(uint64_t gpa, uint64_t qva, uint64_t size,
                            const VhostUserMemoryRegion *other)
{
    return ranges_overlap(gpa, size, other->guest_phys_addr,
                          other->memory_size) ||
           ranges_overlap(qva, size, other->userspace_addr,
                          other->memory_size);
}

static char *tmem_vu_check_mem_table(TmemVhostUserServer *s, VhostUserMsg *msg)
{
    VhostUserMemory memory = msg->payload.memory;
    const VhostUserMemoryRegion *regions = memory.regions;
    char *wrong;

    if (!memory.nregions || memory.nregions > VHOST_MEMORY_BASELINE_NREGIONS ||
        memory.nregions != msg->fd_num ||
        msg->size < offsetof(VhostUserMemory, regions[memory.nregions])) {
        return g_strdup_printf("a memory table of %u regions came with %d"
                               " files in %u bytes", memory.nregions,
                               msg->fd_num, msg->size);
    }
    for (unsigned i = 0; i < memory.nregions; i++) {
        wrong = tmem_vu_check_region(&regions[i], msg->fds[i]);
        if (wrong) {
            return wrong;
        }
        for (unsigned j = 0; j < i; j++) {
            if (tmem_vu_overlap(regions[i].guest_phys_addr,
                                regions[i].userspace_addr,
                                regions[i].memory_size, &regions[j])) {
                return g_strdup("memory regions overlap");
            }
        }
    }
    tmem_vu_drain(s);
    return NULL;
}

static char *tmem_vu_check_add_region(TmemVhostUserServer *s,
                                      VhostUserMsg *msg)
{
    VuDev *dev = tmem_vu_dev(s);
    VhostUserMemoryRegion region = msg->payload.memreg.region;
    char *wrong;

    if (msg->fd_num != 1) {
        return g_strdup("a memory region came without its file");
    }
    wrong = tmem_vu_check_region(&region, msg->fds[0]);
    if (wrong) {
        return wrong;
    }
    for (unsigned i = 0; i < dev->nregions; i++) {
        if (tmem_vu_overlap(dev->regions[i].gpa, dev->regions[i].qva,
                            dev->regions[i].size, &region)) {
            return g_strdup("memory regions overlap");
        }
    }
    return NULL;
}

static char *tmem_vu_check_remove_region(TmemVhostUserServer *s,
                                         VhostUserMsg *msg)
{
    tmem_vu_drain(s);
    return NULL;
}

/* --- Rings --- */

/*
 * Where we have [@addr, @addr + @len) of the front end's address space; NULL if
 * that is not within one region.
 */
static void *tmem_vu_translate(VuDev *dev, uint64_t addr, uint64_t len)
{
    for (unsigned i = 0; i < dev->nregions; i++) {
        const VuDevRegion *r = &dev->regions[i];

        if (addr >= r->qva && addr - r->qva < r->size &&
            len <= r->size - (addr - r->qva)) {
            return (void *)(uintptr_t)(r->mmap_addr + r->mmap_offset +
                                       (addr - r->qva));
        }
    }
    return NULL;
}

/* With the word behind either ring that says when to notify. */
static bool tmem_vu_translate_ring(VuDev *dev,
                                   const struct vhost_vring_addr *addr,
                                   unsigned num, VuRing *ring)
{
    if (!num || (addr->desc_user_addr | addr->avail_user_addr << 3 |
                 addr->used_user_addr << 2) & 15) {
        return false;
    }
    ring->desc = tmem_vu_translate(dev, addr->desc_user_addr,
                                   num * sizeof(*ring->desc));
    ring->avail = tmem_vu_translate(dev, addr->avail_user_addr,
                                    offsetof(struct vring_avail, ring) +
                                    (num + 1) * sizeof(uint16_t));
    ring->used = tmem_vu_translate(dev, addr->used_user_addr,
                                   offsetof(struct vring_used, ring) +
                                   num * sizeof(struct vring_used_elem) +
                                   sizeof(uint16_t));
    return ring->desc && ring->avail && ring->used;
}

bool tmem_vu_map_ring(VuDev *dev, VuVirtq *vq)
{
    return tmem_vu_translate_ring(dev, &vq->vra, vq->vring.num, &vq->vring);
}

static char *tmem_vu_check_index(TmemVhostUserServer *s, unsigned index)
{
    return index < s->num_vqs ? NULL :
           g_strdup_printf("it has %u virtqueues, and number %u is meant",
                           s->num_vqs, index);
}

static char *tmem_vu_check_vring_num(TmemVhostUserServer *s, VhostUserMsg *msg)
{
    unsigned index = msg->payload.state.index;
    unsigned num = msg->payload.state.num;
    char *wrong = tmem_vu_check_index(s, index);

    if (wrong) {
        return wrong;
    }
    if (!is_power_of_2(num) || num > TMEM_VU_RING_SIZE_MAX) {
        return g_strdup_printf("a ring of %u entries makes no sense", num);
    }
    /* Answers to come would be written past the end of a ring that grows. */
    if (vu_get_queue(tmem_vu_dev(s), index)->started) {
        return g_strdup_printf("virtqueue %u changes its size while it runs",
                               index);
    }
    tmem_vu_drain(s);
    return NULL;
}

static char *tmem_vu_check_vring_addr(TmemVhostUserServer *s,
                                      VhostUserMsg *msg)
{
    VuDev *dev = tmem_vu_dev(s);
    struct vhost_vring_addr addr = msg->payload.addr;
    char *wrong = tmem_vu_check_index(s, addr.index);
    VuRing ring;

    if (!wrong &&
        !tmem_vu_translate_ring(dev, &addr,
                                vu_get_queue(dev, addr.index)->vring.num,
                                &ring)) {
        wrong = g_strdup_printf("the ring of virtqueue %u is not in the memory"
                                " that was shared", addr.index);
    }
    return wrong;
}

/* All that the client holds is another guest's, or that of one before reset. */
static void tmem_vu_ring_elsewhere(TmemVhostUserServer *s, unsigned base)
{
    tmem_vu_drain(s);
    for (unsigned i = 0; i < s->num_vqs; i++) {
        s->queues[i].has_base = false;
    }
    if (!base) {
        /* A front end that cannot say so has reset the device. */
        tmem_client_reset(s->client);
        s->resumed = false;
    } else if (!s->resumed) {
        tmem_client_reset(s->client);
        s->resumed = true;
        warn_report("tmem-vhost-user-server '%s': the guest of client '%s' used"
                    " its device before this connection: the pages it had are"
                    " lost, and reading them fails until it resets the device",
                    s->id, tmem_client_name(s->client));
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
    char *wrong = tmem_vu_check_index(s, index);
    VuVirtq *vq;

    if (wrong) {
        return wrong;
    }
    s->unclaimed = false;
    vq = vu_get_queue(tmem_vu_dev(s), index);
    if (base == (s->queues[index].has_base ? s->queues[index].base :
                                             vq->last_avail_idx)) {
        s->queues[index].has_base = false;
        return NULL;
    }
    if (vq->started) {
        return g_strdup_printf("virtqueue %u is moved while it runs", index);
    }
    tmem_vu_ring_elsewhere(s, base);
    return NULL;
}

void tmem_vu_ring_starts(TmemVhostUserServer *s, unsigned index)
{
    unsigned base = vu_get_queue(tmem_vu_dev(s), index)->last_avail_idx;

    s->unclaimed = false;
    if (s->queues[index].has_base && base != s->queues[index].base) {
        tmem_vu_ring_elsewhere(s, base);
    }
    s->queues[index].has_base = false;
}

static char *tmem_vu_check_vring_stop(TmemVhostUserServer *s,
                                      VhostUserMsg *msg)
{
    tmem_vu_drain(s);
    return tmem_vu_check_index(s, msg->payload.state.index);
}

static char *tmem_vu_check_vring_file(TmemVhostUserServer *s,
                                      VhostUserMsg *msg)
{
    bool none = msg->payload.u64 & VHOST_USER_VRING_NOFD_MASK;

    if (msg->fd_num != !none) {
        return g_strdup_printf("message %d came with %d files", msg->request,
                               msg->fd_num);
    }
    if (none && msg->request == VHOST_USER_SET_VRING_KICK) {
        return g_strdup("a virtqueue without an eventfd is not polled here");
    }
    return tmem_vu_check_index(s, msg->payload.u64 & VHOST_USER_VRING_IDX_MASK);
}

static char *tmem_vu_check_vring_enable(TmemVhostUserServer *s,
                                        VhostUserMsg *msg)
{
    char *wrong = tmem_vu_check_index(s, msg->payload.state.index);

    if (!wrong && msg->payload.state.num) {
        /* A kick may have come before.  Runs when the message is done with. */
        qemu_bh_schedule(s->queues[msg->payload.state.index].bh);
    }
    return wrong;
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
        return g_strdup("VIRTIO_TMEM_F_EXCLUSIVE needs"
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

    if (offset || size > sizeof(struct virtio_tmem_config) ||
        msg->size < VHOST_USER_CONFIG_HDR_SIZE + size) {
        return g_strdup_printf("%u bytes of configuration at %u do not exist",
                               size, offset);
    }
    return NULL;
}

static char *tmem_vu_check_one_file(TmemVhostUserServer *s, VhostUserMsg *msg)
{
    return msg->fd_num == 1 ? NULL :
           g_strdup_printf("message %d came with %d files", msg->request,
                           msg->fd_num);
}

typedef struct TmemVuMessage {
    bool known;
    uint16_t min_size;          /* bytes of the payload */
    uint8_t max_fds;
    TmemVuCheck *check;
} TmemVuMessage;

#define MESSAGE(size, fds, function) \
    { .known = true, .min_size = (size), .max_fds = (fds), .check = (function) }
#define STATE   sizeof(struct vhost_vring_state)
#define U64     sizeof(uint64_t)
#define CONFIG  VHOST_USER_CONFIG_HDR_SIZE

static const TmemVuMessage tmem_vu_messages[] = {
    [VHOST_USER_GET_FEATURES] = MESSAGE(0, 0, NULL),
    [VHOST_USER_SET_FEATURES] = MESSAGE(U64, 0, tmem_vu_check_features),
    [VHOST_USER_SET_OWNER] = MESSAGE(0, 0, NULL),
    [VHOST_USER_RESET_OWNER] = MESSAGE(0, 0, NULL),
    [VHOST_USER_SET_MEM_TABLE] =
        MESSAGE(offsetof(VhostUserMemory, regions),
                VHOST_MEMORY_BASELINE_NREGIONS, tmem_vu_check_mem_table),
    [VHOST_USER_SET_VRING_NUM] = MESSAGE(STATE, 0, tmem_vu_check_vring_num),
    [VHOST_USER_SET_VRING_ADDR] = MESSAGE(sizeof(struct vhost_vring_addr), 0,
                                          tmem_vu_check_vring_addr),
    [VHOST_USER_SET_VRING_BASE] = MESSAGE(STATE, 0, tmem_vu_check_vring_base),
    [VHOST_USER_GET_VRING_BASE] = MESSAGE(STATE, 0, tmem_vu_check_vring_stop),
    [VHOST_USER_SET_VRING_KICK] = MESSAGE(U64, 1, tmem_vu_check_vring_file),
    [VHOST_USER_SET_VRING_CALL] = MESSAGE(U64, 1, tmem_vu_check_vring_file),
    [VHOST_USER_SET_VRING_ERR] = MESSAGE(U64, 1, tmem_vu_check_vring_file),
    [VHOST_USER_GET_PROTOCOL_FEATURES] = MESSAGE(0, 0, NULL),
    [VHOST_USER_SET_PROTOCOL_FEATURES] =
        MESSAGE(U64, 0, tmem_vu_check_protocol_features),
    [VHOST_USER_GET_QUEUE_NUM] = MESSAGE(0, 0, NULL),
    [VHOST_USER_SET_VRING_ENABLE] =
        MESSAGE(STATE, 0, tmem_vu_check_vring_enable),
    [VHOST_USER_SET_BACKEND_REQ_FD] = MESSAGE(0, 1, tmem_vu_check_one_file),
    [VHOST_USER_GET_CONFIG] = MESSAGE(CONFIG, 0, tmem_vu_check_config),
    [VHOST_USER_SET_CONFIG] = MESSAGE(CONFIG, 0, tmem_vu_check_config),
    [TMEM_VU_RESET_DEVICE] = MESSAGE(0, 0, NULL),
    [VHOST_USER_GET_MAX_MEM_SLOTS] = MESSAGE(0, 0, NULL),
    [VHOST_USER_ADD_MEM_REG] = MESSAGE(sizeof(VhostUserMemRegMsg), 1,
                                       tmem_vu_check_add_region),
    [VHOST_USER_REM_MEM_REG] = MESSAGE(sizeof(VhostUserMemRegMsg), 1,
                                       tmem_vu_check_remove_region),
};

static char *tmem_vu_check_message(TmemVhostUserServer *s, VhostUserMsg *msg)
{
    const TmemVuMessage *known;

    if ((msg->flags & VHOST_USER_VERSION_MASK) != 1 ||
        (msg->flags & VHOST_USER_REPLY_MASK)) {
        return g_strdup_printf("its front end speaks another version of"
                               " vhost-user (flags 0x%x)", msg->flags);
    }
    if (msg->request < 0 || msg->request >= ARRAY_SIZE(tmem_vu_messages) ||
        !tmem_vu_messages[msg->request].known) {
        return g_strdup_printf("message %d is not for this device",
                               msg->request);
    }
    known = &tmem_vu_messages[msg->request];
    if (msg->size < known->min_size || msg->fd_num > known->max_fds) {
        return g_strdup_printf("message %d came with %u bytes and %d files",
                               msg->request, msg->size, msg->fd_num);
    }
    return known->check ? known->check(s, msg) : NULL;
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
    case TMEM_VU_RESET_DEVICE:
        tmem_vu_forget(s);
        return true;
    default:
        return false;
    }
}
