/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmem: a node's pages go to the process that follows
 *
 * With its pool goes the map, so that a page that was lost stays lost, and what
 * is on the overflow node is found there, if that is the same file.
 */
#include "qemu/osdep.h"
#include "block/block.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "tmem-int.h"

/*
 * What is remembered: this, the name of the overflow node's file, and the
 * places of the first pages, two in a byte; the other pages are nowhere.
 */
typedef struct TmemNodeState {
    uint64_t size;
    uint64_t nr_pages;
    uint32_t name_bytes;
    uint8_t past_known;         /* as in BDRVTmemState */
    uint8_t past_unknown;
    uint8_t zero[2];
} TmemNodeState;

#define PLACE_BITS      4
#define PLACES_PER_BYTE (8 / PLACE_BITS)
#define PLACE_MASK      ((1u << PLACE_BITS) - 1)

QEMU_BUILD_BUG_ON(TMEM_PLACE_LOST > PLACE_MASK);

static int64_t tmem_pages(const BDRVTmemState *s)
{
    return s->size / TMEM_PAGE_SIZE;
}

/* What tells the overflow node from another; "" if there is none. */
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

/* --- Handing over --- */

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
    };

    g_byte_array_append(state, (void *)&head, sizeof(head));
    g_byte_array_append(state, (void *)name, head.name_bytes);
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
static void tmem_node_start_empty(void *opaque)
{
    BlockDriverState *bs = opaque;
    BDRVTmemState *s = bs->opaque;

    tmem_pool_create_host(s->client, &s->pool);
}

static bool tmem_check_state(BDRVTmemState *s, const TmemNodeState *head,
                             size_t bytes, Error **errp)
{
    if (head->size > s->size) {
        error_setg(errp, "the pages that were handed over are lost: the node"
                   " was %" PRIu64 " bytes large and is %" PRId64 " now; give"
                   " it the size it had", head->size, s->size);
        return false;
    }
    if (head->nr_pages > tmem_pages(s) || head->name_bytes > bytes ||
        DIV_ROUND_UP(head->nr_pages, PLACES_PER_BYTE) !=
        bytes - head->name_bytes) {
        error_setg(errp, "the pages that were handed over are lost: the stream"
                   " makes no sense");
        return false;
    }
    return true;
}

/* Returns how many pages of the overflow node are lost. */
static int64_t tmem_restore_places(BDRVTmemState *s, const uint8_t *places,
                                   int64_t nr, bool has_overflow)
{
    int64_t lost = 0;

    for (int64_t page = 0; page < nr; page++) {
        TmemPlace place = places[page / PLACES_PER_BYTE] >>
                          page % PLACES_PER_BYTE * PLACE_BITS & PLACE_MASK;

        if (place == TMEM_PLACE_OVERFLOW && !has_overflow) {
            place = TMEM_PLACE_LOST;
            lost++;
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
    g_autofree char *name = tmem_overflow_name(s);
    TmemNodeState head = { };
    bool same;
    int64_t lost;

    if (bytes < sizeof(head)) {
        error_setg(errp, "the pages that were handed over are lost: the stream"
                   " makes no sense");
        return false;
    }
    memcpy(&head, state, sizeof(head));
    state += sizeof(head);
    if (!tmem_check_state(s, &head, bytes - sizeof(head), errp)) {
        return false;
    }
    same = *name && strlen(name) == head.name_bytes &&
           !memcmp(name, state, head.name_bytes);
    lost = tmem_restore_places(s, state + head.name_bytes, head.nr_pages,
                               same);
    if (lost) {
        warn_report("tmem node '%s': %" PRId64 " pages are on the overflow node"
                    " '%.*s', which is not there any more: reading them fails",
                    bdrv_get_node_name(bs), lost, (int)head.name_bytes, state);
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
    .start_empty = tmem_node_start_empty,
};
