/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmem: a node's pages go to the process that follows
 *
 * With its pool goes the map, so that a page that was lost stays lost, and what
 * is on the overflow node is found there, if that is the same file and nobody
 * has touched it.  And with it goes where front ends have left their queues, so
 * that one whose past is another is told from them (tmem-front-end.c).
 */
#include "qemu/osdep.h"
#include "block/block.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "tmem-int.h"

/* What tells a file from another, and from itself after a change. */
typedef struct TmemFileLook {
    uint64_t known;             /* 0: it cannot be told */
    uint64_t dev;
    uint64_t ino;
    uint64_t size;
    int64_t mtime_ns;
    int64_t ctime_ns;
} TmemFileLook;

/*
 * What is remembered: this, the name of the overflow node's file, where the
 * first queues were left, 32 bits each as in BDRVTmemState, and the places of
 * the first pages, two in a byte; the other pages are nowhere.
 */
typedef struct TmemNodeState {
    uint64_t size;
    uint64_t nr_pages;
    TmemFileLook overflow;
    uint32_t name_bytes;
    uint8_t past_known;         /* as in BDRVTmemState */
    uint8_t past_unknown;
    uint8_t layout;             /* of this; here in all layouts */
    uint8_t zero;
    uint32_t nr_queues;
    uint32_t zero2;
} TmemNodeState;

#define NODE_STATE_LAYOUT   2

/* Of the oldest layout; what is shorter tells nothing. */
#define TMEM_NODE_STATE_MIN offsetof(TmemNodeState, nr_queues)

#define PLACE_BITS      4
#define PLACES_PER_BYTE (8 / PLACE_BITS)
#define PLACE_MASK      ((1u << PLACE_BITS) - 1)

QEMU_BUILD_BUG_ON(TMEM_PLACE__MAX > PLACE_MASK + 1);

static int64_t tmem_pages(const BDRVTmemState *s)
{
    return s->size / TMEM_PAGE_SIZE;
}

/* For people; "" if there is none. */
static char *tmem_overflow_name(BDRVTmemState *s)
{
    char *name;

    if (!s->overflow) {
        return g_strdup("");
    }
    bdrv_graph_rdlock_main_loop();
    bdrv_refresh_filename(s->overflow->bs);
    name = g_strdup(s->overflow->bs->filename);
    bdrv_graph_rdunlock_main_loop();
    return name;
}

static int64_t tmem_ns(struct timespec ts)
{
    return ts.tv_sec * NANOSECONDS_PER_SECOND + ts.tv_nsec;
}

/*
 * Only a regular file can be told, by the name that its node was opened with.
 * Behind a network, or another format, are others who change what is there.
 */
static bool tmem_overflow_stat(BDRVTmemState *s, struct stat *st)
{
    BlockDriverState *bs = s->overflow ? s->overflow->bs : NULL;

    return bs && bs->drv && !strcmp(bs->drv->format_name, "file") &&
           !stat(bs->exact_filename, st) && S_ISREG(st->st_mode);
}

void tmem_note_overflow(BDRVTmemState *s)
{
    struct stat st;

    s->overflow_known = tmem_overflow_stat(s, &st);
    if (s->overflow_known) {
        s->overflow_dev = st.st_dev;
        s->overflow_ino = st.st_ino;
    }
}

/* If the name is still that of the file that the node has open. */
static TmemFileLook tmem_overflow_look(BDRVTmemState *s)
{
    struct stat st;

    if (!s->overflow_known || !tmem_overflow_stat(s, &st) ||
        st.st_dev != s->overflow_dev || st.st_ino != s->overflow_ino) {
        return (TmemFileLook) { };
    }
    return (TmemFileLook) {
        .known = true,
        .dev = st.st_dev,
        .ino = st.st_ino,
        .size = st.st_size,
        .mtime_ns = tmem_ns(st.st_mtim),
        .ctime_ns = tmem_ns(st.st_ctim),
    };
}

/* --- Handing over --- */

/* Returns of how many queues it tells. */
static uint32_t tmem_save_left(BDRVTmemState *s, GByteArray *state)
{
    uint32_t nr = TMEM_LEFT_QUEUES;

    while (nr && !s->left[nr - 1]) {
        nr--;
    }
    g_byte_array_append(state, (void *)s->left, nr * sizeof(*s->left));
    return nr;
}

/* Returns of how many pages it tells. */
static uint64_t tmem_save_places(BDRVTmemState *s, GByteArray *state)
{
    int64_t nr = tmem_pages(s);
    size_t at = state->len;

    while (nr && tmem_place(s, nr - 1) == TMEM_PLACE_NONE) {
        nr--;
    }
    g_byte_array_set_size(state, at + DIV_ROUND_UP(nr, PLACES_PER_BYTE));
    memset(state->data + at, 0, state->len - at);
    for (int64_t page = 0; page < nr; page++) {
        state->data[at + page / PLACES_PER_BYTE] |=
            tmem_place(s, page) << page % PLACES_PER_BYTE * PLACE_BITS;
    }
    return nr;
}

static void tmem_node_save(void *opaque, GByteArray *state, uint64_t *pool)
{
    BlockDriverState *bs = opaque;
    BDRVTmemState *s = bs->opaque;
    g_autofree char *name = tmem_overflow_name(s);
    TmemNodeState head = {
        .size = s->size,
        .name_bytes = strlen(name),
        .past_known = qatomic_read(&s->past_known),
        .past_unknown = qatomic_read(&s->past_unknown),
        .layout = NODE_STATE_LAYOUT,
    };

    /* What could not be written is not there, and no later write moves times */
    if (s->overflow && bdrv_flush(s->overflow->bs) >= 0) {
        head.overflow = tmem_overflow_look(s);
    }

    g_byte_array_append(state, (void *)&head, sizeof(head));
    g_byte_array_append(state, (void *)name, head.name_bytes);
    head.nr_queues = tmem_save_left(s, state);
    head.nr_pages = tmem_save_places(s, state);
    memcpy(state->data, &head, sizeof(head));
    *pool = s->pool;
}

/* --- Taking over --- */

static void tmem_node_vacate(void *opaque)
{
    BlockDriverState *bs = opaque;
    BDRVTmemState *s = bs->opaque;

    tmem_pool_destroy(s->client, s->pool);
    s->pool = 0;
}

/*
 * Without a pool, where there is not even room for that, writes fail; nothing
 * was written that could be read.
 */
static void tmem_node_lost(void *opaque)
{
    BlockDriverState *bs = opaque;
    BDRVTmemState *s = bs->opaque;

    if (!s->pool) {
        tmem_pool_create_host(s->client, &s->pool);
    }
    qatomic_set(&s->past_unknown, true);
}

/* @bytes: of the state, @head with it. */
static bool tmem_check_state(BDRVTmemState *s, const TmemNodeState *head,
                             size_t bytes, Error **errp)
{
    if (bytes >= TMEM_NODE_STATE_MIN && head->layout != NODE_STATE_LAYOUT) {
        error_setg(errp, "the pages that were handed over are lost: they are"
                   " those of a program of another version");
        return false;
    }
    if (head->size > s->size) {
        error_setg(errp, "the pages that were handed over are lost: the node"
                   " was %" PRIu64 " bytes large and is %" PRId64 " now; give"
                   " it the size it had", head->size, s->size);
        return false;
    }
    if (bytes < sizeof(*head) || head->nr_pages > tmem_pages(s) ||
        head->nr_queues > TMEM_LEFT_QUEUES ||
        bytes - sizeof(*head) != (uint64_t)head->name_bytes +
                                 head->nr_queues * sizeof(*s->left) +
                                 DIV_ROUND_UP(head->nr_pages,
                                              PLACES_PER_BYTE)) {
        error_setg(errp, "the pages that were handed over are lost: the stream"
                   " makes no sense");
        return false;
    }
    return true;
}

/* Whether the overflow node is as the process before has left it. */
static bool tmem_overflow_is_same(BDRVTmemState *s, const TmemFileLook *before)
{
    TmemFileLook now = tmem_overflow_look(s);

    return now.known && !memcmp(&now, before, sizeof(now));
}

/* Returns how many pages of the overflow node are lost. */
static int64_t tmem_restore_places(BDRVTmemState *s, const uint8_t *places,
                                   int64_t nr, bool has_overflow)
{
    int64_t lost = 0;

    for (int64_t page = 0; page < nr; page++) {
        TmemPlace place = places[page / PLACES_PER_BYTE] >>
                          page % PLACES_PER_BYTE * PLACE_BITS & PLACE_MASK;

        if ((place == TMEM_PLACE_OVERFLOW ||
             place == TMEM_PLACE_OVERFLOW_BEFORE) && !has_overflow) {
            place = TMEM_PLACE_LOST;
            lost++;
        }
        if (place >= TMEM_PLACE__MAX) {
            /* Of a program that knows more places, and this one none of it. */
            place = TMEM_PLACE_LOST;
        }
        if (place != TMEM_PLACE_NONE) {
            tmem_set_place(s, page, place);
        }
    }
    return lost;
}

static bool tmem_node_restore(void *opaque, const uint8_t *state, size_t bytes,
                              uint64_t pool, Error **errp)
{
    BlockDriverState *bs = opaque;
    BDRVTmemState *s = bs->opaque;
    TmemNodeState head = { };
    const uint8_t *name, *left, *places;
    int64_t lost;

    memcpy(&head, state, MIN(bytes, sizeof(head)));
    if (!tmem_check_state(s, &head, bytes, errp)) {
        return false;
    }
    name = state + sizeof(head);
    left = name + head.name_bytes;
    places = left + head.nr_queues * sizeof(*s->left);
    memcpy(s->left, left, head.nr_queues * sizeof(*s->left));
    lost = tmem_restore_places(s, places, head.nr_pages,
                               tmem_overflow_is_same(s, &head.overflow));
    if (lost) {
        warn_report("tmem node '%s': %" PRId64 " pages are on the overflow node"
                    " '%.*s', which is not a file that nobody has touched"
                    " since: reading them fails",
                    bdrv_get_node_name(bs), lost, (int)head.name_bytes, name);
    }
    s->pool = pool;
    qatomic_set(&s->past_known, head.past_known);
    qatomic_set(&s->handed_over, head.past_known);
    qatomic_set(&s->past_unknown, head.past_unknown);
    return true;
}

const TmemStoreDoorOps tmem_node_door_ops = {
    .save = tmem_node_save,
    .vacate = tmem_node_vacate,
    .restore = tmem_node_restore,
    .lost = tmem_node_lost,
};
