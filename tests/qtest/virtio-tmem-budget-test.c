/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-tmem: turns
 *
 * A queue is served for a while, then others get their turn.  Whether the
 * device took a break shows in its trace event virtio_tmem_budget.
 */
#include "qemu/osdep.h"
#include <sys/resource.h>
#include "libqtest-single.h"
#include "qemu/bswap.h"
#include "qemu/module.h"
#include "libqos/qgraph.h"
#include "libqos/virtio-tmem.h"

#define REQ_LEN     (sizeof(struct virtio_tmem_req) + \
                     sizeof(struct virtio_tmem_op))
#define RESP_LEN    (sizeof(struct virtio_tmem_resp) + 1)

/* From now on QEMU logs its breaks to the file that is returned. */
static char *log_breaks(QTestState *qts)
{
    g_autoptr(GError) err = NULL;
    g_autofree char *out = NULL;
    char *path;
    int fd = g_file_open_tmp("virtio-tmem-budget-XXXXXX", &path, &err);

    g_assert_no_error(err);
    close(fd);
    out = qtest_hmp(qts, "logfile %s", path);
    g_assert_cmpstr(out, ==, "");
    g_free(out);
    out = qtest_hmp(qts, "trace-event virtio_tmem_budget on");
    g_assert_cmpstr(out, ==, "");
    return path;
}

/* Did the device take a break?  Ends the logging. */
static bool took_break(QTestState *qts, char *path)
{
    g_autofree char *off = qtest_hmp(qts, "trace-event virtio_tmem_budget off");
    g_autofree char *out = qtest_hmp(qts, "logfile /dev/null");
    g_autofree char *text = NULL;

    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    unlink(path);
    g_free(path);
    return strstr(text, "virtio_tmem_budget");
}

/*
 * Fills the available ring with one INVALIDATE, again and again, notifies once
 * and waits for all the answers.
 */
static void fill_ring(QTmem *t, uint64_t pool)
{
    QVirtQueue *vq = t->req[0];
    QTmemBatch *b = qtmem_batch_new();
    uint16_t idx = qtest_readw(t->qts, vq->avail + 2);
    gint64 give_up = g_get_monotonic_time() + 30 * G_TIME_SPAN_SECOND;
    uint32_t head;
    unsigned i;

    qtmem_batch_add(b, VIRTIO_TMEM_OP_INVALIDATE, pool, 1, 1, NULL);
    qtest_memwrite(t->qts, t->out, &b->hdr, sizeof(b->hdr));
    qtest_memwrite(t->qts, t->out + sizeof(b->hdr), b->op, sizeof(b->op[0]));
    qtmem_batch_free(b);

    qvirtqueue_reset_pool(vq);
    head = qvirtqueue_add(t->qts, vq, t->out, REQ_LEN, false, true);
    qvirtqueue_add(t->qts, vq, t->in, RESP_LEN, true, false);
    for (i = 0; i < vq->size; i++) {
        qtest_writew(t->qts, vq->avail + 4 + 2 * i, head);
    }
    qtest_writew(t->qts, vq->avail + 2, idx + vq->size);
    t->d->bus->virtqueue_kick(t->d, vq);
    for (i = 0; i < vq->size; ) {
        if (qvirtqueue_get_buf(t->qts, vq, NULL, NULL)) {
            i++;
        } else {
            g_assert_cmpint(g_get_monotonic_time(), <, give_up);
        }
    }
}

/* Small requests use up the budget too: a guest can keep them coming. */
static void test_small(void *obj, void *data, QGuestAllocator *alloc)
{
    QTmem *t = qtmem_start(global_qtest, ((QVirtioTmem *)obj)->vdev, alloc, 0,
                           1);
    uint64_t pool;
    char *log;

    g_assert_cmpuint(qtmem_create_pool(t, 0, &pool), ==, VIRTIO_TMEM_S_OK);
    log = log_breaks(t->qts);
    fill_ring(t, pool);
    g_assert_true(took_break(t->qts, log));
    qtmem_stop(t);
}

/* QEMU gets no file descriptor any more; returns the old limit. */
static struct rlimit exhaust_fds(QTestState *qts)
{
    struct rlimit old, new;
    unsigned fd;

    for (fd = 0; ; fd++) {
        g_autofree char *path = g_strdup_printf("/proc/%d/fd/%u",
                                                (int)qtest_pid(qts), fd);

        if (!g_file_test(path, G_FILE_TEST_IS_SYMLINK)) {
            break;
        }
    }
    g_assert_cmpint(prlimit(qtest_pid(qts), RLIMIT_NOFILE, NULL, &old), ==, 0);
    new = old;
    new.rlim_cur = fd;
    g_assert_cmpint(prlimit(qtest_pid(qts), RLIMIT_NOFILE, &new, NULL), ==, 0);
    return old;
}

/*
 * No eventfd for the iothread: whoever holds the BQL serves the queues, and
 * takes breaks as well.  Afterwards the iothread takes over again.
 */
static void test_no_eventfd(void *obj, void *data, QGuestAllocator *alloc)
{
    QVirtioTmemPCI *pci = obj;
    QTmem *t = qtmem_start(global_qtest, pci->tmem.vdev, alloc, 0, 1);
    char *log = log_breaks(t->qts);
    struct rlimit old;
    uint64_t pool;

    qvirtio_reset(t->d);
    old = exhaust_fds(t->qts);
    qtmem_restart(t, 0);
    g_assert_cmpuint(qtmem_create_pool(t, 0, &pool), ==, VIRTIO_TMEM_S_OK);
    fill_ring(t, pool);
    /* Stopping and going on tries the iothread again, in vain. */
    qtest_qmp_assert_success(t->qts, "{ 'execute': 'stop' }");
    qtest_qmp_assert_success(t->qts, "{ 'execute': 'cont' }");
    fill_ring(t, pool);
    g_assert_cmpint(prlimit(qtest_pid(t->qts), RLIMIT_NOFILE, &old, NULL), ==,
                    0);
    g_assert_true(took_break(t->qts, log));

    qtmem_restart(t, 0);
    g_assert_cmpuint(qtmem_create_pool(t, 0, &pool), ==, VIRTIO_TMEM_S_OK);
    fill_ring(t, pool);
    qtmem_stop(t);
}

/* More pages in one object than one slice drops. */
#define MANY_PAGES  4096

static void store_many(QTmem *t, uint64_t pool)
{
    g_autofree QTmemAnswer *a = g_new(QTmemAnswer, 1);
    uint8_t zeros[QTMEM_PAGE_SIZE] = {};
    unsigned done, i;

    for (done = 0; done < MANY_PAGES; done += QTMEM_BATCH) {
        QTmemBatch *b = qtmem_batch_new();

        for (i = 0; i < QTMEM_BATCH; i++) {
            qtmem_batch_add(b, VIRTIO_TMEM_OP_STORE, pool, 1, done + i, zeros);
        }
        qtmem_batch_run(t, 0, b, a);
        for (i = 0; i < QTMEM_BATCH; i++) {
            g_assert_cmpuint(a->status[i], ==, VIRTIO_TMEM_S_OK);
        }
        qtmem_batch_free(b);
    }
}

/*
 * Dropping many pages is done in slices, with turns for others in between, and
 * what is behind it in the request still finds it done.
 */
static void test_slices(void *obj, void *data, QGuestAllocator *alloc)
{
    QTmem *t = qtmem_start(global_qtest, ((QVirtioTmem *)obj)->vdev, alloc, 0,
                           1);
    g_autofree QTmemAnswer *a = g_new(QTmemAnswer, 1);
    QTmemBatch *b = qtmem_batch_new();
    uint8_t page[QTMEM_PAGE_SIZE];
    uint64_t pool;
    char *log;

    g_assert_cmpuint(qtmem_create_pool(t, 0, &pool), ==, VIRTIO_TMEM_S_OK);
    store_many(t, pool);
    log = log_breaks(t->qts);
    qtmem_batch_add(b, VIRTIO_TMEM_OP_INVALIDATE_OBJECT, pool, 1, 0, NULL);
    qtmem_batch_add(b, VIRTIO_TMEM_OP_LOAD, pool, 1, MANY_PAGES - 1, NULL);
    qtmem_batch_run(t, 0, b, a);
    qtmem_batch_free(b);
    g_assert_true(took_break(t->qts, log));
    g_assert_cmpuint(a->status[0], ==, VIRTIO_TMEM_S_OK);
    g_assert_cmpuint(a->status[1], ==, VIRTIO_TMEM_S_MISS);

    store_many(t, pool);
    log = log_breaks(t->qts);
    g_assert_cmpuint(qtmem_destroy_pool(t, pool), ==, VIRTIO_TMEM_S_OK);
    g_assert_true(took_break(t->qts, log));
    g_assert_cmpuint(qtmem_load(t, 0, pool, 1, 0, page), ==,
                     VIRTIO_TMEM_S_NOPOOL);
    qtmem_stop(t);
}

/* A reset in the middle of it: half dropped requests are nobody's any more. */
static void test_slices_reset(void *obj, void *data, QGuestAllocator *alloc)
{
    QTmem *t = qtmem_start(global_qtest, ((QVirtioTmem *)obj)->vdev, alloc, 0,
                           1);
    int i;

    for (i = 0; i < 4; i++) {
        struct virtio_tmem_destroy_pool destroy = {
            .type = VIRTIO_TMEM_T_DESTROY_POOL,
        };
        QTmemSeg segs[] = {
            { t->out, sizeof(destroy) },
            { t->in, sizeof(struct virtio_tmem_ctrl_resp), true },
        };
        uint8_t page[QTMEM_PAGE_SIZE];
        uint64_t pool;

        g_assert_cmpuint(qtmem_create_pool(t, 0, &pool), ==,
                         VIRTIO_TMEM_S_OK);
        store_many(t, pool);
        destroy.pool = cpu_to_le64(pool);
        qtest_memwrite(t->qts, t->out, &destroy, sizeof(destroy));
        qtmem_add(t, t->ctrl, segs, ARRAY_SIZE(segs));
        if (i & 1) {
            qtest_qmp_assert_success(t->qts, "{ 'execute': 'stop' }");
        }
        qtmem_restart(t, 0);
        if (i & 1) {
            qtest_qmp_assert_success(t->qts, "{ 'execute': 'cont' }");
        }
        g_assert_cmpuint(qtmem_load(t, 0, pool, 1, 0, page), ==,
                         VIRTIO_TMEM_S_NOPOOL);
    }
    qtmem_stop(t);
}

static void *before_iothread(GString *cmd_line, void *arg)
{
    g_string_append(cmd_line, " -object iothread,id=io0 ");
    return arg;
}

static void register_virtio_tmem_budget_test(void)
{
    QOSGraphTestOptions iothread = {
        .before = before_iothread,
        .edge = { .extra_device_opts = "iothread=io0" },
    };

    qos_add_test("budget-small", "virtio-tmem", test_small, NULL);
    qos_add_test("budget-slices", "virtio-tmem", test_slices, NULL);
    qos_add_test("budget-slices-reset", "virtio-tmem", test_slices_reset,
                 NULL);
    qos_add_test("budget-no-eventfd", "virtio-tmem-pci", test_no_eventfd,
                 &iothread);
}

libqos_init(register_virtio_tmem_budget_test);
