/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-tmem: pools that two guests share
 *
 * Two devices are two clients of one store.  DEV-n is a requirement of
 * docs/specs/virtio-tmem.rst.
 */
#include "qemu/osdep.h"
#include "qemu/module.h"
#include "qemu/uuid.h"
#include "qobject/qdict.h"
#include "qobject/qlist.h"
#include "virtio-tmem-fixture.h"

#define POOL_UUID   "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
#define FEATURES    (F(EPHEMERAL) | F(SHARED) | F(EXCLUSIVE))

/* Clients 'one', which is the node of the test, and 'two'. */
typedef struct Two {
    Fixture *one, *two;
    SecondDevice second;
    uint8_t uuid[16];
} Two;

static void *before_two(GString *cmd_line, void *arg)
{
    g_string_append(cmd_line, " -object tmem-store,id=s0,size=64M "
                    "-device virtio-tmem-pci," SECOND_ADDR
                    ",store=s0,client=two ");
    return arg;
}

static void two_set_up(Two *s, void *obj, QGuestAllocator *alloc)
{
    QVirtioTmemPCI *pci = obj;
    QemuUUID uuid;

    g_assert_cmpint(qemu_uuid_parse(POOL_UUID, &uuid), ==, 0);
    memcpy(s->uuid, uuid.data, sizeof(s->uuid));
    second_set_up(&s->second, pci);
    s->one = setup(&pci->tmem, alloc, FEATURES);
    s->two = setup(&s->second.tmem, alloc, FEATURES);
}

static void two_tear_down(Two *s)
{
    teardown(s->two);
    teardown(s->one);
    second_tear_down(&s->second);
}

static void authorize(const char *client, bool revoke)
{
    qtest_qmp_assert_success(global_qtest, "{ 'execute': 'tmem-authorize',"
                             " 'arguments': { 'store': 's0', 'client': %s,"
                             " 'uuid': %s, 'revoke': %i } }", client, POOL_UUID,
                             revoke);
}

static uint8_t join(Two *s, Fixture *f, uint64_t *id)
{
    return qtmem_join_pool(f->t, s->uuid, id);
}

/* A counter of a client: "stats" are its own, "total" those of its pools. */
static int64_t counter(const char *client, const char *dict,
                       const char *member)
{
    QDict *rsp = qmp("{ 'execute': 'query-tmem', 'arguments': {"
                     " 'store': 's0', 'client': %s } }", client);
    QList *list = qdict_get_qlist(rsp, "return");
    int64_t value;

    list = qdict_get_qlist(qobject_to(QDict, qlist_peek(list)), "clients");
    value = qdict_get_int(qdict_get_qdict(qobject_to(QDict, qlist_peek(list)),
                                          dict), member);
    qobject_unref(rsp);
    return value;
}

/* Nobody joins without the operator's word, and each needs one. */
static void test_refused(void *obj, void *data, QGuestAllocator *alloc)
{
    /* What counts up goes on from test to test, as QEMU does. */
    int64_t one = counter("one", "stats", "joins-refused");
    int64_t two = counter("two", "stats", "joins-refused");
    uint64_t a, b;
    Two s = { };

    two_set_up(&s, obj, alloc);
    g_assert_cmpuint(join(&s, s.one, &a), ==, VIRTIO_TMEM_S_PERM);
    g_assert_cmpint(counter("one", "stats", "joins-refused"), ==, one + 1);
    g_assert_cmpint(counter("two", "stats", "joins-refused"), ==, two);

    authorize("one", false);
    g_assert_cmpuint(join(&s, s.one, &a), ==, VIRTIO_TMEM_S_OK);
    g_assert_cmpuint(join(&s, s.two, &b), ==, VIRTIO_TMEM_S_PERM);
    g_assert_cmpuint(store(s.one, a, 1, 90), ==, VIRTIO_TMEM_S_OK);
    /* The id of a member is none of another client's: DEV-19. */
    g_assert_cmpuint(load(s.two, a, 1, 0), ==, VIRTIO_TMEM_S_NOPOOL);

    /* A second time is not a second member. */
    g_assert_cmpuint(join(&s, s.one, &b), ==, VIRTIO_TMEM_S_INVAL);
    g_assert_cmpuint(load(s.one, a, 1, 90), ==, VIRTIO_TMEM_S_OK);

    /* Who is in stays in until it leaves, and does not come back. */
    authorize("one", true);
    g_assert_cmpuint(load(s.one, a, 1, 90), ==, VIRTIO_TMEM_S_OK);
    g_assert_cmpuint(qtmem_destroy_pool(s.one->t, a), ==, VIRTIO_TMEM_S_OK);
    g_assert_cmpuint(join(&s, s.one, &a), ==, VIRTIO_TMEM_S_PERM);
    two_tear_down(&s);
}

static void both_join(Two *s, uint64_t *one, uint64_t *two)
{
    authorize("one", false);
    authorize("two", false);
    g_assert_cmpuint(join(s, s->one, one), ==, VIRTIO_TMEM_S_OK);
    g_assert_cmpuint(join(s, s->two, two), ==, VIRTIO_TMEM_S_OK);
}

/* Each finds what the other stored, and loads take nothing away. */
static void test_seen(void *obj, void *data, QGuestAllocator *alloc)
{
    uint64_t a, b;
    QTmemBatch *batch;
    Two s = { };

    two_set_up(&s, obj, alloc);
    both_join(&s, &a, &b);
    g_assert_cmphex(a, !=, b);

    g_assert_cmpuint(store(s.one, a, 1, 90), ==, VIRTIO_TMEM_S_OK);
    g_assert_cmpuint(store(s.two, b, 2, 92), ==, VIRTIO_TMEM_S_OK);
    for (unsigned i = 0; i < 2; i++) {
        g_assert_cmpuint(load(s.one, a, 1, 90), ==, VIRTIO_TMEM_S_OK);
        g_assert_cmpuint(load(s.one, a, 2, 92), ==, VIRTIO_TMEM_S_OK);
        g_assert_cmpuint(load(s.two, b, 1, 90), ==, VIRTIO_TMEM_S_OK);
        g_assert_cmpuint(load(s.two, b, 2, 92), ==, VIRTIO_TMEM_S_OK);
    }
    batch = qtmem_batch_new();
    qtmem_batch_add(batch, VIRTIO_TMEM_OP_LOAD, b, 1, 1, NULL)->flags =
        VIRTIO_TMEM_OP_F_EXCLUSIVE;
    run(s.two, batch);
    g_assert_cmpuint(s.two->a.status[0], ==, VIRTIO_TMEM_S_INVAL);

    /* DEV-12 and DEV-16, whoever it was that stored it */
    g_assert_cmpuint(store(s.two, b, 1, 94), ==, VIRTIO_TMEM_S_OK);
    g_assert_cmpuint(load(s.one, a, 1, 94), ==, VIRTIO_TMEM_S_OK);
    g_assert_cmpuint(qtmem_invalidate(s.one->t, 0, a, 1, 2), ==,
                     VIRTIO_TMEM_S_OK);
    g_assert_cmpuint(load(s.two, b, 2, 0), ==, VIRTIO_TMEM_S_MISS);

    /* Other pools of the two are not the shared one. */
    g_assert_cmpuint(load(s.one, s.one->ephemeral, 1, 0), ==,
                     VIRTIO_TMEM_S_MISS);
    g_assert_cmpuint(load(s.two, s.two->pool, 1, 0), ==, VIRTIO_TMEM_S_MISS);
    two_tear_down(&s);
    authorize("one", true);
    authorize("two", true);
}

/* Memory is the storing client's, who takes its pages along when it goes. */
static void test_billed(void *obj, void *data, QGuestAllocator *alloc)
{
    enum { NR = 64 };
    int64_t one = counter("one", "total", "loads-hit");
    int64_t two = counter("two", "total", "loads-hit");
    uint64_t a, b;
    unsigned i;
    Two s = { };

    two_set_up(&s, obj, alloc);
    both_join(&s, &a, &b);
    for (i = 0; i < NR; i++) {
        g_assert_cmpuint(store(s.one, a, i, 2 * i + 91), ==,
                         VIRTIO_TMEM_S_OK);
    }
    g_assert_cmpuint(store(s.two, b, NR, 92), ==, VIRTIO_TMEM_S_OK);
    for (i = 0; i < NR; i++) {
        g_assert_cmpuint(load(s.two, b, i, 2 * i + 91), ==, VIRTIO_TMEM_S_OK);
    }
    g_assert_cmpint(counter("one", "total", "pages"), ==, NR);
    g_assert_cmpint(counter("two", "total", "pages"), ==, 1);
    g_assert_cmpint(counter("one", "total", "loads-hit"), ==, one);
    g_assert_cmpint(counter("two", "total", "loads-hit"), ==, two + NR);
    /* A page that the other replaces is the other's from then on. */
    g_assert_cmpuint(store(s.two, b, 0, 94), ==, VIRTIO_TMEM_S_OK);
    g_assert_cmpint(counter("one", "total", "pages"), ==, NR - 1);
    g_assert_cmpint(counter("two", "total", "pages"), ==, 2);

    /* A reset leaves; the authorisation is the operator's, and stays. */
    qtmem_restart(s.one->t, FEATURES);
    g_assert_cmpint(counter("one", "total", "pages"), ==, 0);
    g_assert_cmpuint(load(s.one, a, 1, 0), ==, VIRTIO_TMEM_S_NOPOOL);
    for (i = 1; i < NR; i++) {
        g_assert_cmpuint(load(s.two, b, i, 0), ==, VIRTIO_TMEM_S_MISS);
    }
    g_assert_cmpuint(load(s.two, b, 0, 94), ==, VIRTIO_TMEM_S_OK);
    g_assert_cmpuint(join(&s, s.one, &a), ==, VIRTIO_TMEM_S_OK);
    g_assert_cmpuint(load(s.one, a, NR, 92), ==, VIRTIO_TMEM_S_OK);
    two_tear_down(&s);
    authorize("one", true);
    authorize("two", true);
}

static void register_virtio_tmem_shared_test(void)
{
    QOSGraphTestOptions opts = {
        .before = before_two,
        .edge = { .extra_device_opts = "store=s0,client=one" },
    };

    qos_add_test("shared/refused", "virtio-tmem-pci", test_refused, &opts);
    qos_add_test("shared/seen", "virtio-tmem-pci", test_seen, &opts);
    qos_add_test("shared/billed", "virtio-tmem-pci", test_billed, &opts);
}

libqos_init(register_virtio_tmem_shared_test);
