/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: what clients hold, moved from one process to the next
 *
 * A process that ends writes the pools of its clients to a file, a *stream*,
 * and the one that follows takes them into its own store.  Pages travel as they
 * are kept, and pool ids stay valid, so that a guest notices nothing.
 *
 * A stream is made of *bundles*.  A bundle is what one door into the store
 * leaves behind: either one pool of tmem_pool_create_host(), or all that the
 * guest itself holds in a client, with its credit.  With it goes what the door
 * has to remember, as bytes that only the door understands.
 *
 * Persistent pages travel.  Ephemeral ones are dropped; a private ephemeral
 * pool is there again, empty.  Shared pools stay behind: who was a member finds
 * no pool under its id.  Limits of clients, policy and counters are those of
 * the new process.  Pools keep limits and a codec of their own, but for a
 * minimum that the client there has no room for.
 *
 * Saving moves: each page is dropped as it is written, so that the host needs
 * the memory once.  The stream is for the same host and is written in its byte
 * order; every part of it has a checksum, and each page its own, which the
 * store goes on to check at every load.
 */
#ifndef LIBTMEM_TMEM_SAVE_H
#define LIBTMEM_TMEM_SAVE_H

#include "libtmem/tmem.h"

G_BEGIN_DECLS

typedef struct TmemSaver TmemSaver;
typedef struct TmemLoader TmemLoader;

/* Of the name of a bundle, and of that of its client; in bytes. */
#define TMEM_BUNDLE_NAME_MAX    TMEM_CLIENT_NAME_MAX

/* Of what a door remembers; in bytes. */
#define TMEM_BUNDLE_STATE_MAX   (1ull << 32)

typedef struct TmemBundle {
    const char *name;           /* of the door; unique in its stream */
    const char *client;
    const void *state;
    uint64_t state_bytes;
} TmemBundle;

/**
 * tmem_saver_new() - begin a stream at the start of @fd
 * @fd: an empty regular file or memfd, which stays the caller's
 */
TmemSaver *tmem_saver_new(TmemStore *store, int fd);

/**
 * tmem_saver_add() - move a bundle into the stream
 * @client: no operation of its door may be in progress
 * @host_pool: the pool that makes up the bundle; 0: all that the guest holds
 *
 * The pools are gone, with their pages, and so is the guest's credit.  Returns
 * false and sets @errp to a sentence if the file takes no more; then nothing of
 * the stream is of use, and what is missing in the store is lost.
 */
bool tmem_saver_add(TmemSaver *saver, TmemClient *client,
                    const TmemBundle *bundle, uint64_t host_pool,
                    GError **errp);

/**
 * tmem_saver_finish() - complete the stream
 *
 * Until then it is not one.  Returns false as tmem_saver_add() does.
 */
bool tmem_saver_finish(TmemSaver *saver, GError **errp);
void tmem_saver_free(TmemSaver *saver);

/**
 * tmem_loader_new() - open and verify a stream
 * @store: as in tmem_loader_set_store(), or NULL: then that is called later
 * @fd: which stays the caller's, and open until tmem_loader_free()
 *
 * Reads all of it once.  Returns NULL and sets @errp to a sentence that says
 * what is wrong with it: then the store is as it was.
 */
TmemLoader *tmem_loader_new(TmemStore *store, int fd, GError **errp);

/**
 * tmem_loader_set_store() - say into which store the bundles are taken
 * @store: without clients; its pool ids go on where those of the stream end
 *
 * Once, and before the first tmem_loader_take().
 */
void tmem_loader_set_store(TmemLoader *loader, TmemStore *store);

void tmem_loader_free(TmemLoader *loader);

/**
 * tmem_loader_use() - mark the stream as used, once and for all
 *
 * Before the first tmem_loader_take(): nobody may open the stream again, who
 * would find pages that have changed since.  Returns false and sets @errp if
 * the file cannot be written to.
 */
bool tmem_loader_use(TmemLoader *loader, GError **errp);

/**
 * tmem_loader_hold() - keep room free in the store for what was not taken
 *
 * As overhead, so that what comes meanwhile does not take the room of pages
 * that were there before it; and below the maximum of the client that had
 * them.  A bundle for which there is no room gets none.
 */
void tmem_loader_hold(TmemLoader *loader);

/**
 * tmem_loader_find() - is there a bundle of that name, not taken yet?
 * @bundle: filled in, without the state; valid as long as @loader
 */
bool tmem_loader_find(const TmemLoader *loader, const char *name,
                      TmemBundle *bundle);

/** The name of the @nth bundle that was not taken, or NULL. */
const char *tmem_loader_left(const TmemLoader *loader, unsigned nth);

/** TmemWaiting: a bundle that was not taken yet */
typedef struct TmemWaiting {
    const char *name;           /* of the door; valid as long as the loader */
    const char *client;         /* that it had; the same */
    bool is_host;               /* a pool of the host's, and no guest's */
    uint32_t nr_pools;
    uint64_t pages;
    uint64_t bytes;             /* memory that they will take */
    uint64_t held_bytes;        /* of that, kept free by tmem_loader_hold() */
} TmemWaiting;

/**
 * tmem_loader_waiting() - what the @nth bundle that was not taken consists of
 *
 * Returns false if there are not so many.
 */
bool tmem_loader_waiting(const TmemLoader *loader, unsigned nth,
                         TmemWaiting *waiting);

/**
 * tmem_loader_take() - move the bundle @name into the store
 * @ctx: of the client that gets it, whatever its name; of a guest's bundle, it
 *       has no pools but the host's
 * @state: set to what the door remembers; free with g_free()
 * @host_pool: set to the pool of the host, whose id is a new one; 0 if the
 *             bundle is a guest's
 *
 * All of it or nothing: returns false and sets @errp to a sentence if there is
 * no room for it, or if it is damaged.  Room there is up to the client's max
 * and the store's size, and a little beyond, for what pages need more of in
 * another order: then nothing new is taken until both are kept again.  Neither
 * the client's share nor what others are promised counts.  Else its pages are
 * lost.  The bundle is taken in either case, and its memory
 * in the file is given back.
 */
bool tmem_loader_take(TmemLoader *loader, const char *name, TmemContext *ctx,
                      void **state, uint64_t *state_bytes, uint64_t *host_pool,
                      GError **errp);

/**
 * tmem_loader_make_way() - let a door be made for which a bundle waits
 * @client: of the door
 * @nr_contexts: that it is about to make, beside a pool of the host's
 *
 * They may be beyond the client's max and the store's size: others may have
 * filled what tmem_loader_hold() does not keep, and who waits would be shut out
 * from its own pages.  Until tmem_loader_made_way(), which must follow.
 */
void tmem_loader_make_way(TmemClient *client, uint32_t nr_contexts);
void tmem_loader_made_way(TmemClient *client);

/**
 * tmem_loader_drop() - give the bundle @name up, if there is one
 *
 * Its pages are lost: who was told so must not see them come back later.
 */
void tmem_loader_drop(TmemLoader *loader, const char *name);

G_END_DECLS

#endif /* LIBTMEM_TMEM_SAVE_H */
