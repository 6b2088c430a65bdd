/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmem: what the files of the block driver share
 */
#ifndef BLOCK_TMEM_INT_H
#define BLOCK_TMEM_INT_H

#include "block/block_int.h"
#include "libtmem/tmem.h"
#include "qapi/qapi-types-block-core.h"
#include "qemu/peer-report.h"
#include "system/tmem-store.h"

/* Pages of one object: the unit that a discard can drop as a whole. */
#define OBJECT_PAGES        512

/* Queues whose place is remembered; of others every place is a foreign one. */
#define TMEM_LEFT_QUEUES    1024
#define TMEM_LEFT           (1u << 16)

typedef struct BDRVTmemState BDRVTmemState;

typedef enum TmemPlace {
    /* Never written, or discarded: zeros, an error while past_unknown is set */
    TMEM_PLACE_NONE,
    TMEM_PLACE_ZERO,        /* discarded while past_unknown is set: zeros */
    TMEM_PLACE_STORE,
    TMEM_PLACE_OVERFLOW,
    TMEM_PLACE_LOST,        /* refused: reading it is an error */
    /*
     * In the store, or on the overflow node, since before a front end came
     * whose past is another: an error while past_unknown is set
     */
    TMEM_PLACE_STORE_BEFORE,
    TMEM_PLACE_OVERFLOW_BEFORE,
    TMEM_PLACE__MAX,
} TmemPlace;

struct BDRVTmemState {
    TmemStoreObject *store;
    TmemClient *client;
    uint64_t pool;
    int64_t size;
    BdrvChild *overflow;
    bool overflow_known;        /* these are of its file */
    dev_t overflow_dev;
    ino_t overflow_ino;
    TmemOnDisconnect on_disconnect;
    Error *migration_blocker;
    TmemStoreDoor door;

    /* A TmemPlace for each page; atomic. */
    uint8_t *map;

    /* A context serves one thread at a time; these are idle. */
    QemuMutex contexts_lock;
    QemuCond contexts_cond;
    GPtrArray *contexts;

    /* See tmem-front-end.c; main thread only. */
    unsigned front_ends;        /* connected to exports of this node */
    PeerReports reports;        /* messages that they cause */

    /*
     * Where front ends have left each queue: TMEM_LEFT | base, or 0 if none
     * has.  Written in the main thread; atomic.
     */
    uint32_t *left;

    /* Written where exports run, in turns; atomic. */
    bool past_known;            /* a front end has begun here */
    bool handed_over;           /* to this process, and this is the first */
    bool claimed;               /* by a front end that has set its queues */
    bool past_unknown;          /* this one has not */
};

static inline TmemPlace tmem_place(BDRVTmemState *s, int64_t page)
{
    return qatomic_read(&s->map[page]);
}

static inline void tmem_set_place(BDRVTmemState *s, int64_t page,
                                  TmemPlace place)
{
    qatomic_set(&s->map[page], place);
}

static inline TmemHandle tmem_handle(BDRVTmemState *s, int64_t page)
{
    return (TmemHandle) {
        .pool = s->pool,
        .object = { page / OBJECT_PAGES },
        .index = page % OBJECT_PAGES,
    };
}

/**
 * tmem_get_context: what a thread needs to work on pages, until it puts it back
 */
TmemContext *tmem_get_context(BDRVTmemState *s);
void tmem_put_context(BDRVTmemState *s, TmemContext *ctx);

/** tmem-handover.c: over to another process */
extern const TmemStoreDoorOps tmem_node_door_ops;

/** tmem_note_overflow: the overflow node, if any, has just been opened */
void tmem_note_overflow(BDRVTmemState *s);

/** BlockDriver.bdrv_front_end */
void tmem_front_end(BlockDriverState *bs, BdrvFrontEndEvent event);

/** BlockDriver.bdrv_front_end_left */
void tmem_front_end_left(BlockDriverState *bs, unsigned int queue,
                         uint16_t base);

/** BlockDriver.bdrv_front_end_was_at */
bool tmem_front_end_was_at(BlockDriverState *bs, unsigned int queue,
                           uint16_t base);

#endif /* BLOCK_TMEM_INT_H */
