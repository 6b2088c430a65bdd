/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmem-bench: a vhost-user front end, and one request at a time on its rings
 *
 * What a guest and its QEMU would do, in one process: the messages of the
 * protocol, split rings in shared memory, an eventfd to kick and one to be
 * woken by.  The server is another process.  An answer is looked for for a
 * bounded time before we sleep, as the driver's poll= does for loads.
 */
#include <errno.h>
#include <linux/virtio_ring.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "bench.h"

/* Of the protocol: requests, and flags of a message. */
enum {
    GET_FEATURES = 1, SET_FEATURES = 2, SET_OWNER = 3, SET_MEM_TABLE = 5,
    SET_VRING_NUM = 8, SET_VRING_ADDR = 9, SET_VRING_BASE = 10,
    SET_VRING_KICK = 12, SET_VRING_CALL = 13, GET_PROTOCOL_FEATURES = 15,
    SET_PROTOCOL_FEATURES = 16, SET_VRING_ENABLE = 18,
};
#define VERSION         1
#define NEED_REPLY      (1 << 3)
#define F_PROTOCOL      (1ull << 30)
#define F_VERSION_1     (1ull << 32)
#define P_REPLY_ACK     (1ull << 3)

#define ENTRIES         256     /* of a ring */
#define AVAIL_AT        0x2000  /* in BENCH_RING_BYTES */
#define USED_AT         0x4000
#define GUEST_BASE      (1ull << 32)

typedef struct Ring {
    struct vring_desc *desc;
    struct vring_avail *avail;
    struct vring_used *used;
    uint16_t seen;              /* of used->idx */
    int kick;
    int call;
} Ring;

struct BenchVhost {
    int sock;
    int memfd;
    uint8_t *memory;
    uint64_t bytes;
    unsigned nr_rings;
    double poll;                /* seconds to look for an answer */
    Ring rings[BENCH_RINGS_MAX];
};

/* --- Messages --- */

typedef struct Message {
    uint32_t request;
    uint32_t flags;
    uint32_t size;
    uint8_t payload[64];
} __attribute__((packed)) Message;

static void send_message(BenchVhost *v, uint32_t request, const void *payload,
                         uint32_t size, int fd)
{
    Message message = {
        .request = request, .flags = VERSION | NEED_REPLY, .size = size,
    };
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = { };
    struct iovec iov = { &message, 12 + size };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

    memcpy(message.payload, payload, size);
    if (fd >= 0) {
        msg.msg_control = &control;
        msg.msg_controllen = sizeof(control);
        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_RIGHTS;
        control.header.cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
    }
    if (sendmsg(v->sock, &msg, MSG_NOSIGNAL) != (ssize_t)iov.iov_len) {
        bench_die("the vhost-user server took no message: %s",
                  g_strerror(errno));
    }
}

static uint64_t receive_u64(BenchVhost *v)
{
    Message message;
    uint64_t value;

    if (recv(v->sock, &message, 20, MSG_WAITALL) != 20) {
        bench_die("the vhost-user server did not answer: its messages say why");
    }
    memcpy(&value, message.payload, sizeof(value));
    return value;
}

static void set(BenchVhost *v, uint32_t request, const void *payload,
                uint32_t size, int fd)
{
    send_message(v, request, payload, size, fd);
    if (receive_u64(v)) {
        bench_die("the vhost-user server refused message %u", request);
    }
}

static uint64_t ask(BenchVhost *v, uint32_t request)
{
    send_message(v, request, "", 0, -1);
    return receive_u64(v);
}

/* --- Setting up --- */

static void set_features(BenchVhost *v, uint64_t features)
{
    uint64_t protocol = P_REPLY_ACK;

    if (~ask(v, GET_FEATURES) & (features | F_PROTOCOL | F_VERSION_1)) {
        bench_die("the vhost-user server lacks a feature");
    }
    ask(v, GET_PROTOCOL_FEATURES);
    set(v, SET_PROTOCOL_FEATURES, &protocol, sizeof(protocol), -1);
    set(v, SET_OWNER, "", 0, -1);
    features |= F_PROTOCOL | F_VERSION_1;
    set(v, SET_FEATURES, &features, sizeof(features), -1);
}

static void set_memory(BenchVhost *v)
{
    struct {
        uint32_t nr, padding;
        uint64_t guest, size, user, offset;
    } table = {
        .nr = 1, .guest = GUEST_BASE, .size = v->bytes,
        .user = (uintptr_t)v->memory,
    };

    set(v, SET_MEM_TABLE, &table, sizeof(table), v->memfd);
}

static void start_ring(BenchVhost *v, unsigned index, uint8_t *at)
{
    Ring *ring = &v->rings[index];
    uint32_t num[2] = { index, ENTRIES }, base[2] = { index, 0 };
    uint32_t enable[2] = { index, 1 };
    uint64_t which = index;
    struct {
        uint32_t index, flags;
        uint64_t desc, used, avail, log;
    } addr = {
        .index = index,
        .desc = (uintptr_t)at,
        .used = (uintptr_t)at + USED_AT,
        .avail = (uintptr_t)at + AVAIL_AT,
    };

    *ring = (Ring) {
        .desc = (void *)at,
        .avail = (void *)(at + AVAIL_AT),
        .used = (void *)(at + USED_AT),
        .kick = eventfd(0, EFD_CLOEXEC),
        .call = eventfd(0, EFD_CLOEXEC),
    };
    if (ring->kick < 0 || ring->call < 0) {
        bench_die("no eventfd: %s", g_strerror(errno));
    }
    set(v, SET_VRING_NUM, num, sizeof(num), -1);
    set(v, SET_VRING_BASE, base, sizeof(base), -1);
    set(v, SET_VRING_ADDR, &addr, sizeof(addr), -1);
    set(v, SET_VRING_KICK, &which, sizeof(which), ring->kick);
    set(v, SET_VRING_CALL, &which, sizeof(which), ring->call);
    set(v, SET_VRING_ENABLE, enable, sizeof(enable), -1);
}

BenchVhost *bench_vhost_open(const char *path, int memfd, uint8_t *memory,
                             uint64_t bytes, uint8_t *rings, unsigned nr_rings,
                             uint64_t features)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    BenchVhost *v = g_new0(BenchVhost, 1);

    v->memfd = memfd;
    v->memory = memory;
    v->bytes = bytes;
    v->nr_rings = nr_rings;
    v->sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
    if (v->sock < 0 || connect(v->sock, (struct sockaddr *)&address,
                               sizeof(address))) {
        bench_die("cannot connect to %s: %s", path, g_strerror(errno));
    }
    set_features(v, features);
    set_memory(v);
    for (unsigned i = 0; i < nr_rings; i++) {
        start_ring(v, i, rings + i * BENCH_RING_BYTES);
    }
    return v;
}

void bench_vhost_close(BenchVhost *v)
{
    close(v->sock);
    for (unsigned i = 0; i < v->nr_rings; i++) {
        close(v->rings[i].kick);
        close(v->rings[i].call);
    }
    g_free(v);
}

/* --- Requests --- */

static void describe(BenchVhost *v, Ring *ring, unsigned slot,
                     const struct iovec *iov, uint16_t flags)
{
    ring->desc[slot] = (struct vring_desc) {
        .addr = GUINT64_TO_LE(GUEST_BASE + ((uint8_t *)iov->iov_base -
                                            v->memory)),
        .len = GUINT32_TO_LE(iov->iov_len),
        .flags = GUINT16_TO_LE(flags),
        .next = GUINT16_TO_LE(slot + 1),
    };
}

/* Not by reading alone: the server has made the eventfd a non-blocking one. */
static void wait_for_call(BenchVhost *v, Ring *ring)
{
    struct pollfd fds[2] = {
        { .fd = ring->call, .events = POLLIN },
        { .fd = v->sock, .events = POLLRDHUP },
    };
    uint64_t number;

    if (poll(fds, 2, -1) < 0 && errno != EINTR) {
        bench_die("no answer: %s", g_strerror(errno));
    }
    if (fds[1].revents) {
        bench_die("the vhost-user server has closed the connection: its"
                  " messages say why");
    }
    if (fds[0].revents && read(ring->call, &number, sizeof(number)) < 0 &&
        errno != EAGAIN) {
        bench_die("no answer: %s", g_strerror(errno));
    }
}

static bool answered(const Ring *ring)
{
    return __atomic_load_n(&ring->used->idx, __ATOMIC_ACQUIRE) !=
           GUINT16_TO_LE(ring->seen);
}

static void want_calls(Ring *ring, bool wanted)
{
    __atomic_store_n(&ring->avail->flags,
                     GUINT16_TO_LE(wanted ? 0 : VRING_AVAIL_F_NO_INTERRUPT),
                     __ATOMIC_SEQ_CST);
}

/* The kick, unless the server looks at the ring anyway. */
static void kick(Ring *ring)
{
    uint64_t one = 1;

    if (__atomic_load_n(&ring->used->flags, __ATOMIC_SEQ_CST) &
        GUINT16_TO_LE(VRING_USED_F_NO_NOTIFY)) {
        return;
    }
    if (write(ring->kick, &one, sizeof(one)) != sizeof(one)) {
        bench_die("cannot kick: %s", g_strerror(errno));
    }
}

static void wait_for_answer(BenchVhost *v, Ring *ring)
{
    double end = v->poll ? bench_now() + v->poll : 0;

    while (v->poll && !answered(ring) && bench_now() < end) {
        /* The clock takes as long as a pause would. */
    }
    while (!answered(ring)) {
        want_calls(ring, true);
        if (!answered(ring)) {
            wait_for_call(v, ring);
        }
    }
    ring->seen++;
}

void bench_vhost_set_poll(BenchVhost *v, double seconds)
{
    v->poll = seconds;
}

void bench_vhost_request(BenchVhost *v, unsigned index,
                         const struct iovec *out, unsigned nr_out,
                         const struct iovec *in, unsigned nr_in)
{
    Ring *ring = &v->rings[index];
    unsigned nr = nr_out + nr_in;
    uint16_t idx = GUINT16_FROM_LE(ring->avail->idx);

    for (unsigned i = 0; i < nr; i++) {
        bool write = i >= nr_out;

        describe(v, ring, i, write ? &in[i - nr_out] : &out[i],
                 (write ? VRING_DESC_F_WRITE : 0) |
                 (i + 1 < nr ? VRING_DESC_F_NEXT : 0));
    }
    want_calls(ring, !v->poll);
    ring->avail->ring[idx % ENTRIES] = 0;
    __atomic_store_n(&ring->avail->idx, GUINT16_TO_LE((uint16_t)(idx + 1)),
                     __ATOMIC_SEQ_CST);
    kick(ring);
    wait_for_answer(v, ring);
}
