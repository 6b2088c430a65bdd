/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmem-vhost-user-server: rings without kicks
 *
 * A driver that waits for each answer puts its next request on the ring some
 * microseconds after it, and a sleep and a wake-up take longer than that.  So
 * the thread goes on looking at the rings it has just served, their kicks off,
 * for as long as it is worth while: the time adapts to how soon requests came
 * last, as that of AioContext does, and has the same upper end, the IOThread's
 * poll-max-ns.
 *
 * AioContext's own polling needs a poll function of every file of its thread,
 * and that of the connection has none.  This looks once in each turn of the
 * event loop, so that messages and the thread's other users get theirs, too.
 */
#include "qemu/osdep.h"
#include "qemu/timer.h"
#include "tmem-vhost-user-server-internal.h"

/* As in AioContext: where growing begins, and by what factor it goes on. */
#define TMEM_VU_POLL_START_NS   4000
#define TMEM_VU_POLL_GROW       2

static int64_t tmem_vu_poll_max(const TmemVhostUserServer *s)
{
    return s->aio_context->poll_max_ns;
}

/* @idle: what the last request was waited for; looked for in vain or not */
static void tmem_vu_poll_adapt(TmemVhostUserServer *s, int64_t idle)
{
    TmemVuPoll *poll = &s->poll;
    int64_t max = tmem_vu_poll_max(s);

    if (idle > max) {
        poll->ns = 0;
    } else if (idle > poll->ns) {
        poll->ns = MIN(max, poll->ns ? poll->ns * TMEM_VU_POLL_GROW :
                                       TMEM_VU_POLL_START_NS);
    }
}

void tmem_vu_poll_busy(TmemVhostUserServer *s)
{
    if (s->poll.idle_since) {
        tmem_vu_poll_adapt(s, get_clock() - s->poll.idle_since);
        s->poll.idle_since = 0;
    }
}

void tmem_vu_poll_idle(TmemVhostUserServer *s)
{
    s->poll.idle_since = get_clock();
    if (s->poll.ns && !s->poll.active) {
        s->poll.active = true;
        qemu_bh_schedule(s->poll.bh);
    }
}

/* Kicks on again, with a last look at what came before they were. */
static void tmem_vu_poll_end(TmemVhostUserServer *s)
{
    s->poll.active = false;
    for (unsigned i = 0; i < s->num_vqs; i++) {
        TmemVuQueue *q = &s->queues[i];

        if (q->polled) {
            q->polled = false;
            tmem_vu_queue_run(q);
        }
    }
}

static void tmem_vu_poll_bh(void *opaque)
{
    TmemVhostUserServer *s = opaque;
    TmemVuPoll *poll = &s->poll;
    bool found = false;

    for (unsigned i = 0; i < s->num_vqs; i++) {
        TmemVuQueue *q = &s->queues[i];

        if (q->polled) {
            found |= tmem_vu_queue_run(q);
        }
    }
    if (!found && poll->idle_since &&
        get_clock() - poll->idle_since >= poll->ns) {
        tmem_vu_poll_end(s);
    } else {
        qemu_bh_schedule(poll->bh);
    }
}

void tmem_vu_poll_stop(TmemVhostUserServer *s)
{
    qemu_bh_cancel(s->poll.bh);
    s->poll.active = false;
    s->poll.idle_since = 0;
    s->poll.ns = 0;
}

void tmem_vu_poll_init(TmemVhostUserServer *s)
{
    s->poll = (TmemVuPoll) {
        .bh = aio_bh_new(s->aio_context, tmem_vu_poll_bh, s),
    };
}

void tmem_vu_poll_cleanup(TmemVhostUserServer *s)
{
    qemu_bh_delete(s->poll.bh);
    s->poll.bh = NULL;
}
