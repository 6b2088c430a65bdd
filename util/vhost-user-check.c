/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vhost-user servers: what a front end may say
 *
 * The front end is as hostile as its guest.  libvhost-user was written for
 * front ends that mean well: it believes counts, sizes and addresses, and some
 * messages make it exit.  Everything that it would believe is checked here
 * before it sees the message; what is not in the table below it never sees.
 */
#include "qemu/osdep.h"
#include <sys/socket.h>
#include <sys/un.h>
#include "qapi/error.h"
#include "qapi/qapi-types-sockets.h"
#include "qemu/host-utils.h"
#include "qemu/range.h"
#include "qemu/sockets.h"
#include "qemu/vhost-user-check.h"
#include "qemu/vhost-user-eventfd.h"

/* Addresses end here, so that no sum of an address and a length wraps. */
#define ADDRESS_MAX     (1ull << 62)

typedef char *Check(VuDev *dev, VhostUserMsg *msg);

/* Why files may have been lost on their way, to be put behind a sentence. */
static const char *why_fewer(void)
{
    int fd = dup(STDERR_FILENO);

    if (fd >= 0) {
        close(fd);
        return "";
    }
    return errno == EMFILE || errno == ENFILE ?
           ": no file descriptor is left here, raise the limit (ulimit -n,"
           " LimitNOFILE=)" : "";
}

/* --- Memory --- */

static char *check_file(const VhostUserMemoryRegion *region, int fd)
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

static char *check_region(const VhostUserMemoryRegion *region, int fd)
{
    if (!region->memory_size ||
        region->memory_size > ADDRESS_MAX ||
        region->guest_phys_addr > ADDRESS_MAX ||
        region->userspace_addr > ADDRESS_MAX ||
        region->mmap_offset > ADDRESS_MAX) {
        return g_strdup_printf("a memory region of %" PRIu64 " bytes at 0x%"
                               PRIx64 " makes no sense", region->memory_size,
                               region->guest_phys_addr);
    }
    return check_file(region, fd);
}

static bool overlap(uint64_t gpa, uint64_t qva, uint64_t size,
                    const VhostUserMemoryRegion *other)
{
    return ranges_overlap(gpa, size, other->guest_phys_addr,
                          other->memory_size) ||
           ranges_overlap(qva, size, other->userspace_addr,
                          other->memory_size);
}

static char *check_mem_table(VuDev *dev, VhostUserMsg *msg)
{
    VhostUserMemory memory = msg->payload.memory;
    const VhostUserMemoryRegion *regions = memory.regions;
    char *wrong;

    if (!memory.nregions || memory.nregions > VHOST_MEMORY_BASELINE_NREGIONS ||
        memory.nregions != msg->fd_num ||
        msg->size < offsetof(VhostUserMemory, regions[memory.nregions])) {
        return g_strdup_printf("a memory table of %u regions came with %d"
                               " files in %u bytes%s", memory.nregions,
                               msg->fd_num, msg->size, why_fewer());
    }
    for (unsigned i = 0; i < memory.nregions; i++) {
        wrong = check_region(&regions[i], msg->fds[i]);
        if (wrong) {
            return wrong;
        }
        for (unsigned j = 0; j < i; j++) {
            if (overlap(regions[i].guest_phys_addr, regions[i].userspace_addr,
                        regions[i].memory_size, &regions[j])) {
                return g_strdup("memory regions overlap");
            }
        }
    }
    return NULL;
}

static char *check_add_region(VuDev *dev, VhostUserMsg *msg)
{
    VhostUserMemoryRegion region = msg->payload.memreg.region;
    char *wrong;

    if (msg->fd_num != 1) {
        return g_strdup_printf("a memory region came without its file%s",
                               why_fewer());
    }
    wrong = check_region(&region, msg->fds[0]);
    if (wrong) {
        return wrong;
    }
    for (unsigned i = 0; i < dev->nregions; i++) {
        if (overlap(dev->regions[i].gpa, dev->regions[i].qva,
                    dev->regions[i].size, &region)) {
            return g_strdup("memory regions overlap");
        }
    }
    return NULL;
}

/* --- Rings --- */

/*
 * Where we have [@addr, @addr + @len) of the front end's address space; NULL if
 * that is not within one region.
 */
static void *translate(VuDev *dev, uint64_t addr, uint64_t len)
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
static bool translate_ring(VuDev *dev, const struct vhost_vring_addr *addr,
                           unsigned num, VuRing *ring)
{
    if (!num || (addr->desc_user_addr | addr->avail_user_addr << 3 |
                 addr->used_user_addr << 2) & 15) {
        return false;
    }
    ring->desc = translate(dev, addr->desc_user_addr,
                           num * sizeof(*ring->desc));
    ring->avail = translate(dev, addr->avail_user_addr,
                            offsetof(struct vring_avail, ring) +
                            (num + 1) * sizeof(uint16_t));
    ring->used = translate(dev, addr->used_user_addr,
                           offsetof(struct vring_used, ring) +
                           num * sizeof(struct vring_used_elem) +
                           sizeof(uint16_t));
    return ring->desc && ring->avail && ring->used;
}

bool vhost_user_map_ring(VuDev *dev, VuVirtq *vq)
{
    return translate_ring(dev, &vq->vra, vq->vring.num, &vq->vring);
}

static char *check_index(VuDev *dev, unsigned index)
{
    return index < dev->max_queues ? NULL :
           g_strdup_printf("it has %u virtqueues, and number %u is meant",
                           dev->max_queues, index);
}

static char *check_vring_num(VuDev *dev, VhostUserMsg *msg)
{
    unsigned index = msg->payload.state.index;
    unsigned num = msg->payload.state.num;
    char *wrong = check_index(dev, index);

    if (wrong) {
        return wrong;
    }
    if (!is_power_of_2(num) || num > VIRTQUEUE_MAX_SIZE) {
        return g_strdup_printf("a ring of %u entries makes no sense", num);
    }
    /* Answers to come would be written past the end of a ring that grows. */
    if (vu_get_queue(dev, index)->started) {
        return g_strdup_printf("virtqueue %u changes its size while it runs",
                               index);
    }
    return NULL;
}

static char *check_vring_addr(VuDev *dev, VhostUserMsg *msg)
{
    struct vhost_vring_addr addr = msg->payload.addr;
    char *wrong = check_index(dev, addr.index);
    VuRing ring;

    if (!wrong &&
        !translate_ring(dev, &addr, vu_get_queue(dev, addr.index)->vring.num,
                        &ring)) {
        wrong = g_strdup_printf("the ring of virtqueue %u is not in the memory"
                                " that was shared", addr.index);
    }
    return wrong;
}

static char *check_vring_state(VuDev *dev, VhostUserMsg *msg)
{
    return check_index(dev, msg->payload.state.index);
}

static char *check_vring_file(VuDev *dev, VhostUserMsg *msg)
{
    bool none = msg->payload.u64 & VHOST_USER_VRING_NOFD_MASK;
    const char *wrong;

    if (msg->fd_num != !none) {
        return g_strdup_printf("message %d came with %d files%s", msg->request,
                               msg->fd_num, why_fewer());
    }
    if (none && msg->request == VHOST_USER_SET_VRING_KICK) {
        return g_strdup("a virtqueue without an eventfd is not polled here");
    }
    wrong = none ? NULL : vhost_user_eventfd_check(msg->fds[0]);
    if (wrong) {
        return g_strdup_printf("the file of message %d %s", msg->request,
                               wrong);
    }
    return check_index(dev, msg->payload.u64 & VHOST_USER_VRING_IDX_MASK);
}

/* --- Everything else --- */

static char *check_one_file(VuDev *dev, VhostUserMsg *msg)
{
    return msg->fd_num == 1 ? NULL :
           g_strdup_printf("message %d came with %d files%s", msg->request,
                           msg->fd_num, why_fewer());
}

/* Whether there is a configuration, and what is in it, the device knows. */
static char *check_config(VuDev *dev, VhostUserMsg *msg)
{
    uint32_t size = msg->payload.config.size;

    if (size > VHOST_USER_MAX_CONFIG_SIZE ||
        msg->size < VHOST_USER_CONFIG_HDR_SIZE + size) {
        return g_strdup_printf("message %d of %u bytes has %u bytes of"
                               " configuration", msg->request, msg->size, size);
    }
    return NULL;
}

/* --- All messages --- */

typedef struct Message {
    bool known;
    uint16_t min_size;          /* bytes of the payload */
    uint8_t max_fds;
    Check *check;
} Message;

#define MESSAGE(size, fds, function) \
    { .known = true, .min_size = (size), .max_fds = (fds), .check = (function) }
#define STATE   sizeof(struct vhost_vring_state)
#define ADDR    sizeof(struct vhost_vring_addr)
#define TABLE   offsetof(VhostUserMemory, regions)
#define REGION  sizeof(VhostUserMemRegMsg)
#define U64     sizeof(uint64_t)
#define CONFIG  VHOST_USER_CONFIG_HDR_SIZE

static const Message messages[] = {
    [VHOST_USER_GET_FEATURES] = MESSAGE(0, 0, NULL),
    [VHOST_USER_SET_FEATURES] = MESSAGE(U64, 0, NULL),
    [VHOST_USER_SET_OWNER] = MESSAGE(0, 0, NULL),
    [VHOST_USER_RESET_OWNER] = MESSAGE(0, 0, NULL),
    [VHOST_USER_SET_MEM_TABLE] = MESSAGE(TABLE, VHOST_MEMORY_BASELINE_NREGIONS,
                                         check_mem_table),
    [VHOST_USER_SET_VRING_NUM] = MESSAGE(STATE, 0, check_vring_num),
    [VHOST_USER_SET_VRING_ADDR] = MESSAGE(ADDR, 0, check_vring_addr),
    [VHOST_USER_SET_VRING_BASE] = MESSAGE(STATE, 0, check_vring_state),
    [VHOST_USER_GET_VRING_BASE] = MESSAGE(STATE, 0, check_vring_state),
    [VHOST_USER_SET_VRING_KICK] = MESSAGE(U64, 1, check_vring_file),
    [VHOST_USER_SET_VRING_CALL] = MESSAGE(U64, 1, check_vring_file),
    [VHOST_USER_SET_VRING_ERR] = MESSAGE(U64, 1, check_vring_file),
    [VHOST_USER_GET_PROTOCOL_FEATURES] = MESSAGE(0, 0, NULL),
    [VHOST_USER_SET_PROTOCOL_FEATURES] = MESSAGE(U64, 0, NULL),
    [VHOST_USER_GET_QUEUE_NUM] = MESSAGE(0, 0, NULL),
    [VHOST_USER_SET_VRING_ENABLE] = MESSAGE(STATE, 0, check_vring_state),
    [VHOST_USER_SET_BACKEND_REQ_FD] = MESSAGE(0, 1, check_one_file),
    [VHOST_USER_GET_CONFIG] = MESSAGE(CONFIG, 0, check_config),
    [VHOST_USER_SET_CONFIG] = MESSAGE(CONFIG, 0, check_config),
    [VHOST_USER_CHECK_RESET_DEVICE] = MESSAGE(0, 0, NULL),
    [VHOST_USER_GET_MAX_MEM_SLOTS] = MESSAGE(0, 0, NULL),
    [VHOST_USER_ADD_MEM_REG] = MESSAGE(REGION, 1, check_add_region),
    [VHOST_USER_REM_MEM_REG] = MESSAGE(REGION, 1, NULL),
};

char *vhost_user_check_message(VuDev *dev, VhostUserMsg *msg)
{
    const Message *known;

    if ((msg->flags & VHOST_USER_VERSION_MASK) != 1 ||
        (msg->flags & VHOST_USER_REPLY_MASK)) {
        return g_strdup_printf("its front end speaks another version of"
                               " vhost-user (flags 0x%x)", msg->flags);
    }
    if (msg->request < 0 || msg->request >= ARRAY_SIZE(messages) ||
        !messages[msg->request].known) {
        return g_strdup_printf("message %d is not for this device",
                               msg->request);
    }
    known = &messages[msg->request];
    if (msg->size < known->min_size || msg->fd_num > known->max_fds) {
        return g_strdup_printf("message %d came with %u bytes and %d files",
                               msg->request, msg->size, msg->fd_num);
    }
    return known->check ? known->check(dev, msg) : NULL;
}

/* --- The socket --- */

bool vhost_user_check_path(const SocketAddress *addr, Error **errp)
{
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    const char *path;
    struct stat st;
    bool busy;
    int fd;

    if (addr->type != SOCKET_ADDRESS_TYPE_UNIX) {
        return true;
    }
    path = addr->u.q_unix.path;
#ifdef CONFIG_LINUX
    if (addr->u.q_unix.has_abstract && addr->u.q_unix.abstract) {
        return true;
    }
#endif
    if (stat(path, &st)) {
        return true;
    }
    if (!S_ISSOCK(st.st_mode)) {
        error_setg(errp, "'%s' exists and is no socket: choose another path",
                   path);
        return false;
    }
    if (strlen(path) >= sizeof(un.sun_path)) {
        return true;
    }
    strcpy(un.sun_path, path);
    fd = qemu_socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        error_setg_errno(errp, errno, "cannot look at the socket '%s'", path);
        return false;
    }
    busy = !connect(fd, (struct sockaddr *)&un, sizeof(un)) || errno == EAGAIN;
    close(fd);
    if (busy) {
        error_setg(errp, "the socket '%s' is served already: choose another"
                   " path, or stop who serves it", path);
        return false;
    }
    return true;
}
