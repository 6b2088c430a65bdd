/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmem-store: what an operator is told, as events of QMP
 *
 * The library tells from any thread and in the midst of an operation, so what
 * it says is noted here and sent from the main loop.  Of what changes to and
 * fro each second is told once, as it is then.  What the host does to the store
 * is also logged, for whoever looks after this process and has no QMP.
 *
 * Threads that serve guests wait for the lock, so that nothing is sent or
 * logged with it held, and nothing is logged that waits for a reader.
 */
#include "qemu/osdep.h"
#include "qapi/qapi-events-tmem.h"
#include "qemu/lockable.h"
#include "qemu/peer-report.h"
#include "qemu/timer.h"
#include "tmem-store-internal.h"

/* Between two events about the same thing. */
#define TMEM_EVENT_INTERVAL_NS  NANOSECONDS_PER_SECOND

typedef enum TmemNoteKind {
    TMEM_NOTE_LIMIT,
    TMEM_NOTE_FULL,
    TMEM_NOTE_PRESSURE,
    TMEM_NOTE_DAMAGED,
} TmemNoteKind;

/* One thing that is so or not: a state, or pages not told of yet. */
typedef struct TmemNote {
    TmemNoteKind kind;
    char *client;               /* NULL: the store */
    uint64_t now;
    uint64_t told;
    int64_t told_ns;            /* 0: never */
    QTAILQ_ENTRY(TmemNote) next;
} TmemNote;

struct TmemStoreEvents {
    char *store;                /* its name, also when it is deleted already */
    TmemStore *libtmem;
    uint64_t given_back;        /* for pressure, when that was last told */
    PeerReports reports;        /* of pressure */
    QEMUTimer *timer;
    QemuMutex lock;             /* guards the notes */
    QTAILQ_HEAD(, TmemNote) notes;
};

static TmemNote *tmem_note_get(TmemStoreEvents *events, TmemNoteKind kind,
                               const char *client)
{
    TmemNote *note;

    QTAILQ_FOREACH(note, &events->notes, next) {
        if (note->kind == kind && !g_strcmp0(note->client, client)) {
            return note;
        }
    }
    note = g_new0(TmemNote, 1);
    note->kind = kind;
    note->client = g_strdup(client);
    QTAILQ_INSERT_TAIL(&events->notes, note, next);
    return note;
}

static void tmem_note_free(TmemStoreEvents *events, TmemNote *note)
{
    QTAILQ_REMOVE(&events->notes, note, next);
    g_free(note->client);
    g_free(note);
}

/* From any thread. */
static void tmem_event(TmemEvent event, TmemClient *client, void *opaque)
{
    static const struct {
        TmemNoteKind kind;
        bool now;
    } notes[] = {
        [TMEM_EVENT_LIMIT_REACHED] = { TMEM_NOTE_LIMIT, true },
        [TMEM_EVENT_LIMIT_LEFT] = { TMEM_NOTE_LIMIT, false },
        [TMEM_EVENT_FULL] = { TMEM_NOTE_FULL, true },
        [TMEM_EVENT_NOT_FULL] = { TMEM_NOTE_FULL, false },
        [TMEM_EVENT_DAMAGED] = { TMEM_NOTE_DAMAGED, true },
        [TMEM_EVENT_PRESSURE] = { TMEM_NOTE_PRESSURE, true },
        [TMEM_EVENT_PRESSURE_END] = { TMEM_NOTE_PRESSURE, false },
    };
    TmemStoreEvents *events = opaque;
    TmemNote *note;

    if (event == TMEM_EVENT_PRESSURE_LOST) {
        /* What its counter says, too; for whoever looks after this process. */
        peer_warn_report(&events->reports,
                         "tmem-store '%s': the kernel stopped watching the"
                         " host's memory pressure; this is tried again",
                         events->store);
        return;
    }
    QEMU_LOCK_GUARD(&events->lock);
    note = tmem_note_get(events, notes[event].kind,
                         client ? tmem_client_name(client) : NULL);
    if (note->kind == TMEM_NOTE_DAMAGED) {
        note->now++;
    } else {
        note->now = notes[event].now;
    }
    timer_mod_anticipate_ns(events->timer,
                            qemu_clock_get_ns(QEMU_CLOCK_REALTIME));
}

static void tmem_pressure_log(TmemStoreEvents *events, bool active)
{
    TmemStoreStats stats;
    g_autofree char *size = NULL;

    tmem_store_get_stats(events->libtmem, &stats);
    if (active) {
        peer_info_report(&events->reports,
                         "tmem-store '%s': the host is short of memory,"
                         " unused memory and ephemeral pages are given back",
                         events->store);
    } else {
        size = g_format_size_full(stats.pressure_bytes - events->given_back,
                                  G_FORMAT_SIZE_IEC_UNITS);
        peer_info_report(&events->reports,
                         "tmem-store '%s': the host is no longer short of"
                         " memory, %s were given back", events->store, size);
        events->given_back = stats.pressure_bytes;
    }
}

static void tmem_note_send(TmemStoreEvents *events, const TmemNote *note)
{
    const char *store = events->store;

    switch (note->kind) {
    case TMEM_NOTE_LIMIT:
        qapi_event_send_tmem_client_limit(store, note->client, note->now);
        break;
    case TMEM_NOTE_FULL:
        qapi_event_send_tmem_store_full(store, note->now);
        break;
    case TMEM_NOTE_PRESSURE:
        tmem_pressure_log(events, note->now);
        qapi_event_send_tmem_host_pressure(store, note->now);
        break;
    case TMEM_NOTE_DAMAGED:
        qapi_event_send_tmem_pages_damaged(store, note->client,
                                           note->now - note->told);
        break;
    }
}

/*
 * Marks a note that is due at @now_ns as told, and fills in @due as it was
 * before; its client is to be freed.  False if there is none: the timer comes
 * again for what is due later.
 */
static bool tmem_note_take(TmemStoreEvents *events, int64_t now_ns,
                           TmemNote *due)
{
    TmemNote *note;

    QEMU_LOCK_GUARD(&events->lock);
    QTAILQ_FOREACH(note, &events->notes, next) {
        int64_t due_ns = note->told_ns ?
                         note->told_ns + TMEM_EVENT_INTERVAL_NS : now_ns;

        if (note->now == note->told) {
            continue;
        }
        if (due_ns > now_ns) {
            timer_mod_anticipate_ns(events->timer, due_ns);
            continue;
        }
        *due = *note;
        due->client = g_strdup(note->client);
        note->told = note->now;
        note->told_ns = now_ns;
        return true;
    }
    return false;
}

/* In the main loop. */
static void tmem_events_timer(void *opaque)
{
    TmemStoreEvents *events = opaque;
    int64_t now_ns = qemu_clock_get_ns(QEMU_CLOCK_REALTIME);
    TmemNote due;

    while (tmem_note_take(events, now_ns, &due)) {
        tmem_note_send(events, &due);
        g_free(due.client);
    }
}

void tmem_store_events_start(TmemStoreObject *obj)
{
    TmemStoreEvents *events = g_new0(TmemStoreEvents, 1);

    events->store = tmem_store_object_id(obj);
    events->libtmem = obj->store;
    qemu_mutex_init(&events->lock);
    QTAILQ_INIT(&events->notes);
    events->timer = timer_new_ns(QEMU_CLOCK_REALTIME, tmem_events_timer,
                                 events);
    obj->events = events;
    tmem_store_set_event_func(obj->store, tmem_event, events);
}

void tmem_store_events_stop(TmemStoreObject *obj)
{
    TmemStoreEvents *events = obj->events;
    TmemNote *note, *next;

    if (!events) {
        return;
    }
    timer_free(events->timer);
    QTAILQ_FOREACH_SAFE(note, &events->notes, next, next) {
        tmem_note_free(events, note);
    }
    qemu_mutex_destroy(&events->lock);
    g_free(events->store);
    g_free(events);
    obj->events = NULL;
}

void tmem_store_events_client(TmemStoreObject *obj, const char *client,
                              bool attached)
{
    TmemStoreEvents *events = obj->events;
    TmemNote *note, *next;

    qapi_event_send_tmem_client(events->store, client, attached);
    if (attached) {
        return;
    }
    /* Of this one there is no more to tell. */
    QEMU_LOCK_GUARD(&events->lock);
    QTAILQ_FOREACH_SAFE(note, &events->notes, next, next) {
        if (!g_strcmp0(note->client, client)) {
            tmem_note_free(events, note);
        }
    }
}
