/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-tmem: an older driver on a newer device, and the reverse
 *
 * Drivers and devices of different age agree on the features that both know,
 * so an older one is one that lacks some.
 */
#include "qemu/osdep.h"
#include "virtio-tmem-fixture.h"
#include "qemu/module.h"

/* The bits of the device type; above are those of rings and transports. */
#define TYPE_BITS   ((1ull << 24) - 1)

static uint64_t offered(void *obj)
{
    return qvirtio_get_features(((QVirtioTmem *)obj)->vdev) & TYPE_BITS;
}

/* What a driver may choose: both are about ephemeral pools. */
static bool is_possible(uint64_t features)
{
    return !(features & (F(SHARED) | F(EXCLUSIVE))) ||
           (features & F(EPHEMERAL));
}

static void use_ephemeral_pool(Fixture *f, uint64_t features)
{
    static const uint8_t uuid[16] = { 1 };
    QTmemBatch *b;
    uint64_t id;

    /* PERM: understood, and not authorised. */
    g_assert_cmpuint(qtmem_join_pool(f->t, uuid, &id), ==,
                     features & F(SHARED) ? VIRTIO_TMEM_S_PERM :
                                            VIRTIO_TMEM_S_UNSUPP);
    g_assert_cmpuint(qtmem_create_pool(f->t, VIRTIO_TMEM_POOL_EPHEMERAL,
                                       &f->ephemeral), ==,
                     features & F(EPHEMERAL) ? VIRTIO_TMEM_S_OK :
                                               VIRTIO_TMEM_S_UNSUPP);
    if (!(features & F(EPHEMERAL))) {
        return;
    }
    g_assert_cmpuint(store(f, f->ephemeral, 1, 10), ==, VIRTIO_TMEM_S_OK);
    b = qtmem_batch_new();
    qtmem_batch_add(b, VIRTIO_TMEM_OP_LOAD, f->ephemeral, 1, 1, NULL)->flags =
        VIRTIO_TMEM_OP_F_EXCLUSIVE;
    run(f, b);
    if (features & F(EXCLUSIVE)) {
        g_assert_cmpuint(f->a.status[0], ==, VIRTIO_TMEM_S_OK);
        g_assert_cmpuint(load(f, f->ephemeral, 1, 0), ==, VIRTIO_TMEM_S_MISS);
    } else {
        g_assert_cmpuint(f->a.status[0], ==, VIRTIO_TMEM_S_UNSUPP);
        g_assert_cmpuint(load(f, f->ephemeral, 1, 10), ==, VIRTIO_TMEM_S_OK);
    }
}

/* All that a driver with @features does works; all else is not there. */
static void use(Fixture *f, uint64_t features)
{
    g_assert_cmpuint(qtmem_create_pool(f->t, 0, &f->pool), ==,
                     VIRTIO_TMEM_S_OK);
    g_assert_cmpuint(store(f, f->pool, 1, 10), ==, VIRTIO_TMEM_S_OK);
    g_assert_cmpuint(store(f, f->pool, 1, 12), ==, VIRTIO_TMEM_S_OK);
    g_assert_cmpuint(load(f, f->pool, 1, 12), ==, VIRTIO_TMEM_S_OK);
    /* DEV-9: members of features that were not chosen are zero */
    if (features & F(CREDIT)) {
        g_assert_cmpuint(f->t->credit, >, 0);
    } else {
        g_assert_cmpuint(f->t->credit, ==, 0);
    }
    g_assert_cmpuint(f->t->hints, ==, 0);
    use_ephemeral_pool(f, features);

    qtest_qmp_assert_success(global_qtest, "{ 'execute': 'tmem-freeze',"
                             " 'arguments': { 'store': 's0' } }");
    g_assert_cmpuint(store(f, f->pool, 2, 10), ==, VIRTIO_TMEM_S_FROZEN);
    g_assert_cmpuint(!!f->t->hints, ==, !!(features & F(HINT)));
    qtest_qmp_assert_success(global_qtest, "{ 'execute': 'tmem-thaw',"
                             " 'arguments': { 'store': 's0' } }");

    g_assert_cmpuint(qtmem_invalidate(f->t, 0, f->pool, 1, 1), ==,
                     VIRTIO_TMEM_S_OK);
    g_assert_cmpuint(load(f, f->pool, 1, 0), ==, VIRTIO_TMEM_S_MISS);
}

/* Drivers that know any part of what the device offers. */
static void test_old_driver(void *obj, void *data, QGuestAllocator *alloc)
{
    uint64_t all = offered(obj) & (F(EPHEMERAL) | F(SHARED) | F(EXCLUSIVE) |
                                   F(CREDIT) | F(HINT) | F(DISK) | F(MQ));
    /* Subsets of the bits of @all, beginning with that of no bit. */
    uint64_t features = 0;
    unsigned n = 0;
    Fixture f = {
        .t = qtmem_start(global_qtest, ((QVirtioTmem *)obj)->vdev, alloc, 0, 1),
    };

    do {
        if (is_possible(features)) {
            qtmem_restart(f.t, features);
            use(&f, features);
            n++;
        }
        features = (features - all) & all;
    } while (features);
    g_test_message("%u kinds of driver", n);
    g_assert_cmpuint(n, >=, 40);
    qtmem_stop(f.t);
}

/* A device without all that can be left out, and a driver that knows it. */
static void test_old_device(void *obj, void *data, QGuestAllocator *alloc)
{
    Fixture f = {
        .t = qtmem_start(global_qtest, ((QVirtioTmem *)obj)->vdev, alloc, 0, 1),
    };

    g_assert_cmphex(offered(obj), ==, 0);
    use(&f, 0);
    qtmem_stop(f.t);
}

/* One without EPHEMERAL has neither of both, whatever the properties say. */
static void test_no_ephemeral(void *obj, void *data, QGuestAllocator *alloc)
{
    uint64_t features = offered(obj) & (F(CREDIT) | F(HINT));
    Fixture f = {
        .t = qtmem_start(global_qtest, ((QVirtioTmem *)obj)->vdev, alloc,
                         features, 1),
    };

    g_assert_cmphex(offered(obj) & (F(EPHEMERAL) | F(SHARED) | F(EXCLUSIVE)),
                    ==, 0);
    g_assert_cmphex(features, ==, F(CREDIT) | F(HINT));
    use(&f, features);
    qtmem_stop(f.t);
}

/* One that has all but shared pools. */
static void test_no_shared(void *obj, void *data, QGuestAllocator *alloc)
{
    uint64_t features = offered(obj) &
                        (F(EPHEMERAL) | F(SHARED) | F(EXCLUSIVE));
    Fixture f = {
        .t = qtmem_start(global_qtest, ((QVirtioTmem *)obj)->vdev, alloc,
                         features, 1),
    };

    g_assert_cmphex(features, ==, F(EPHEMERAL) | F(EXCLUSIVE));
    use(&f, features);
    qtmem_stop(f.t);
}

/*
 * The device of the machines of QEMU 10.0.  A feature that is new later must
 * have a property that hw_compat_10_0 turns off, and this stays as it is.
 */
static void test_machine(void *obj, void *data, QGuestAllocator *alloc)
{
    g_assert_cmphex(offered(obj), ==,
                    F(DISK) | F(MQ) | F(EPHEMERAL) | F(SHARED) | F(EXCLUSIVE) |
                    F(CREDIT) | F(HINT));
}

static void *before(GString *cmd_line, void *arg)
{
    g_string_append(cmd_line, " -object tmem-store,id=s0,size=64M ");
    return arg;
}

static void add(const char *name, QOSTestFunc func, const char *device_opts)
{
    QOSGraphTestOptions opts = {
        .before = before,
        .edge = { .extra_device_opts = device_opts },
    };

    qos_add_test(name, "virtio-tmem", func, &opts);
}

static void register_virtio_tmem_compat_test(void)
{
    add("compat/old-driver", test_old_driver,
        "store=s0,disk-size=64M,num-queues=2");
    add("compat/machine", test_machine, "store=s0,disk-size=64M,num-queues=2");
    add("compat/old-device", test_old_device,
        "store=s0,disk-size=0,num-queues=1,credit=0,ephemeral=off,"
        "shared=off,exclusive=off,hint=off");
    add("compat/no-shared", test_no_shared, "store=s0,shared=off");
    add("compat/no-ephemeral", test_no_ephemeral, "store=s0,ephemeral=off");
}

libqos_init(register_virtio_tmem_compat_test);
