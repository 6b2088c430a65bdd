/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: a compressed page store shared by many clients
 *
 * This header is the manual of the library.
 *
 * A *store* owns a bounded amount of host memory.  A *client* is one guest as
 * its transport knows it; identity is the TmemClient pointer and never comes
 * from a request.  A client creates *pools*: persistent (a page that was
 * stored stays until it is invalidated) or ephemeral (a page may vanish at any
 * moment, and is evicted when the store is full).  A page is named by a
 * *handle*: pool, object (192 bit), index (64 bit).
 *
 * Rules that hold for every operation:
 *
 *  - A store that does not answer TMEM_STATUS_OK leaves nothing under its
 *    handle, whatever the reason and whatever was there before.
 *  - A load answers OK (hit), MISS (never stored, invalidated, or an evicted
 *    ephemeral page) or an error.  An error never looks like a miss.
 *  - After an invalidate returned, no load returns the old data.
 *  - All memory a client causes to be used, index included, is counted
 *    against the store's size; the store never grows past it.
 *
 * Threads: a TmemContext belongs to one thread at a time (one per virtqueue
 * is usual); everything else may be called from any thread unless its comment
 * says otherwise.  No function blocks on I/O.
 *
 * Words.  Xen tmem and zcache say put, get and flush for store, load and
 * invalidate.
 */
#ifndef LIBTMEM_TMEM_H
#define LIBTMEM_TMEM_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "libtmem/tmem-policy.h"
#include "libtmem/tmem-stats.h"

G_BEGIN_DECLS

#define TMEM_PAGE_SHIFT     12
#define TMEM_PAGE_SIZE      (1u << TMEM_PAGE_SHIFT)

/* The smallest store that can hold its own metadata and some pages. */
#define TMEM_STORE_SIZE_MIN (1u << 20)

typedef struct TmemStore TmemStore;
typedef struct TmemClient TmemClient;
typedef struct TmemContext TmemContext;

/**
 * TmemStatus: the answer to an operation
 *
 * The values are those of VIRTIO_TMEM_S_* on the wire (asserted in tmem-req.c).
 */
typedef enum TmemStatus {
    TMEM_STATUS_OK = 0,
    TMEM_STATUS_MISS = 1,       /* load: nothing is stored there */
    TMEM_STATUS_NOSPC = 2,      /* store refused: the store is full */
    TMEM_STATUS_QUOTA = 3,      /* refused: a limit of this client */
    TMEM_STATUS_REFUSED = 4,    /* store refused: admission policy */
    TMEM_STATUS_FROZEN = 5,     /* store refused: the client is frozen */
    TMEM_STATUS_IO = 6,         /* stored once, lost or damaged */
    TMEM_STATUS_NOPOOL = 7,     /* no such pool of this client */
    TMEM_STATUS_UNSUPP = 8,     /* unknown operation or flag */
    TMEM_STATUS_INVAL = 9,      /* malformed */
    TMEM_STATUS_PERM = 10,      /* not authorised */
} TmemStatus;

/** Returns the name of @status in lower case, e.g. "nospc". */
const char *tmem_status_str(TmemStatus status);

typedef enum TmemPoolKind {
    TMEM_POOL_PERSISTENT,
    TMEM_POOL_EPHEMERAL,
} TmemPoolKind;

/** Returns "persistent" or "ephemeral". */
const char *tmem_pool_kind_str(TmemPoolKind kind);

/**
 * tmem_codec_choice_parse() - compressor and level by name
 * @text: "lz4", "lz4:4", "zstd", "zstd:3" or "none"
 *
 * Returns false and sets @errp to a sentence that lists what is known if @text
 * is none of it or the level is out of range.
 */
bool tmem_codec_choice_parse(const char *text, TmemCodecChoice *codec,
                             GError **errp);
const char *tmem_compressor_str(TmemCompressor compressor);

/** The reverse: "lz4" or "zstd:3"; free with g_free(). */
char *tmem_codec_choice_str(const TmemCodecChoice *codec);

/* --- Store --- */

typedef struct TmemStoreConfig {
    uint64_t size_bytes;        /* hard limit, >= TMEM_STORE_SIZE_MIN */
    const TmemPolicy *policy;   /* NULL: the defaults; copied */
    /* Of pool generations and the hash; 0: from the kernel.  For tests. */
    uint64_t seed;
} TmemStoreConfig;

/**
 * tmem_store_new() - create an empty store
 *
 * Address space for the store is reserved at once; memory is used only as
 * pages come in and is returned as they go.  This holds under
 * mlockall(MCL_FUTURE) too: the store's memory is not locked.
 *
 * Returns NULL and sets @errp to one sentence if the size is out of range or
 * the reservation fails.
 */
TmemStore *tmem_store_new(const TmemStoreConfig *config, GError **errp);

/**
 * tmem_store_free() - free a store
 *
 * All clients must have been freed before.
 */
void tmem_store_free(TmemStore *store);

/**
 * tmem_store_set_policy() - change the policy of a running store
 *
 * Takes effect for operations that begin after it returns.  Returns false,
 * changing nothing, and sets @errp to a sentence if a value is out of range.
 */
bool tmem_store_set_policy(TmemStore *store, const TmemPolicy *policy,
                           GError **errp);
void tmem_store_get_policy(TmemStore *store, TmemPolicy *policy);

/**
 * tmem_store_freeze() - refuse the stores of all clients, or take them again
 *
 * A refused store answers FROZEN and drops the older page, as any refusal does;
 * loads and invalidates go on.  Beside and independent of
 * tmem_client_freeze().
 */
void tmem_store_freeze(TmemStore *store, bool frozen);
bool tmem_store_frozen(TmemStore *store);

/**
 * tmem_store_evict() - evict ephemeral pages until @bytes of memory are free
 *
 * From the clients that are furthest over their share first; if these leave too
 * little, from those below their minimums too, as nobody but an operator may
 * (this, and tmem_client_evict()).  No lock held.
 * Returns how many bytes went back to the operating system: less than @bytes if
 * there were not so many, more by less than a segment.
 */
uint64_t tmem_store_evict(TmemStore *store, uint64_t bytes);

/**
 * tmem_store_recompress() - compress all pages again now, however young
 *
 * As the policy's recompress_level says, without regard to its share of a CPU:
 * returns when all was tried.  Freeing a client waits for a page meanwhile;
 * nothing else waits.  Returns how many pages take less memory: none of those
 * for which there is no room to be written, which recompress_starved counts.  A
 * full store, or a client at its limit, keeps such room only if the policy's
 * recompress_idle_seconds is above 0.
 *
 * For programs that know of a quiet moment, and for tests.  QEMU's operators
 * have no command for it: with recompress_idle_seconds upkeep does the same to
 * the pages that are idle, by itself and within its share of a CPU.
 */
uint64_t tmem_store_recompress(TmemStore *store);

typedef enum TmemEvent {
    TMEM_EVENT_LIMIT_REACHED,   /* a client's store was refused: its limit */
    TMEM_EVENT_LIMIT_LEFT,      /* it has room again (1/16 of its limit) */
    TMEM_EVENT_FULL,            /* a store was refused: no memory */
    TMEM_EVENT_NOT_FULL,        /* there is room again (3/32 of the size) */
    TMEM_EVENT_DAMAGED,         /* a page of the client cannot be read */
    TMEM_EVENT_PRESSURE,        /* the host is short: eviction begins */
    TMEM_EVENT_PRESSURE_END,
    TMEM_EVENT_PRESSURE_LOST,   /* it cannot be watched now; tried again */
} TmemEvent;

/**
 * TmemEventFunc: something an operator wants to know has happened
 * @client: whom it concerns, NULL if the whole store
 *
 * Called from any thread, with no lock held, on edges only: never once a page,
 * but for DAMAGED.  Must not call the library, nor wait for a thread that does:
 * freeing a client may wait for this call to end.
 */
typedef void TmemEventFunc(TmemEvent event, TmemClient *client, void *opaque);

/** Sets the one receiver of events; before any client is attached. */
void tmem_store_set_event_func(TmemStore *store, TmemEventFunc *func,
                               void *opaque);

/** Sums the counters of the store.  No allocation; any thread. */
void tmem_store_get_stats(TmemStore *store, TmemStoreStats *stats);

/**
 * tmem_store_check() - walk and cross-check every structure
 * @errp: names the first contradiction found
 *
 * Takes all locks and visits every page: for tests and for an operator who
 * asks, never for a hot path.  Returns false if something does not add up.
 */
bool tmem_store_check(TmemStore *store, GError **errp);

/* --- Client --- */

/**
 * TmemLimits: the share of a client, or of a pool within its client
 *
 * Bytes are host memory: a client's are the segments that it holds, index
 * included; a pool's are its records as allocated and its part of the index.
 *
 * The store's memory beyond all minimums is divided by weight.  A store is
 * refused if it would leave another client's unused minimum unservable, or,
 * when the store is nearly full, if its client is above its weighted share.
 * Ephemeral pages are evicted from whoever is furthest above its share, and
 * persistent pages never: shares of these converge as pages come and go.
 * Persistent pages that others hold already stay, too, if a minimum is raised
 * or the budget lowered: until enough of them are gone nobody above its minimum
 * may store more, and only then is the minimum there as a whole.
 */
typedef struct TmemLimits {
    uint64_t min_bytes;         /* guaranteed */
    uint64_t max_bytes;         /* hard limit; 0: the store's size */
    uint32_t weight;            /* 1 ... TMEM_WEIGHT_MAX; 0: the default */
} TmemLimits;

#define TMEM_WEIGHT_DEFAULT     100
#define TMEM_WEIGHT_MAX         10000

typedef struct TmemClientConfig {
    const char *name;           /* unique in the store; copied */
    /*
     * At its limit the client's own ephemeral pages make room, so that a cache
     * never keeps its persistent pages out.
     */
    TmemLimits limits;
    uint32_t max_pools;         /* of the guest; 0: TMEM_CLIENT_POOLS_DEFAULT */
    uint32_t credit;            /* pages; 0: no credit is granted */
    bool is_trust_group;        /* see tmem_client_set_trust_group() */
} TmemClientConfig;

/*
 * What a device that has credit offers unless told otherwise.  Reclaim stores
 * 32 pages at a time and every vCPU may be at it; notifications cost little per
 * page from a few dozen on; and it is 600 KiB.
 */
#define TMEM_CLIENT_CREDIT_DEFAULT  128
#define TMEM_CLIENT_CREDIT_MAX      4096

#define TMEM_CLIENT_POOLS_DEFAULT   1024
#define TMEM_CLIENT_POOLS_MAX       65536

/* Of its name; in bytes. */
#define TMEM_CLIENT_NAME_MAX        1024

/**
 * tmem_client_new() - attach a client to @store
 *
 * Returns NULL and sets @errp if the name is taken or a limit is out of range.
 */
TmemClient *tmem_client_new(TmemStore *store, const TmemClientConfig *config,
                            GError **errp);

/**
 * tmem_client_set_device() - what the guest's device is offered
 * @max_pools: pools of the guest; 0: TMEM_CLIENT_POOLS_DEFAULT
 * @credit: pages; 0: no credit is granted
 *
 * For a client that was there before its device; as in TmemClientConfig.  No
 * request may be in progress.  Returns false and sets @errp if a number is out
 * of range.
 */
bool tmem_client_set_device(TmemClient *client, uint32_t max_pools,
                            uint32_t credit, GError **errp);

/**
 * tmem_client_set_trust_group() - let @client's cached pages be kept once
 * @group: a client made with is_trust_group; NULL: of none
 *
 * Of the pages that the members of a group store to their private ephemeral
 * pools, those with the same contents are in memory once.  The group pays for
 * them: it is a client, with limits and a share like others, but has no pools;
 * a member pays for its index, and 40 bytes a page.  A member can find out, by
 * how long a store takes, whether another holds a page that it can guess; no
 * other client can.  Pages that compress to very little, and those for which
 * the group has no room or is frozen, are the member's own.
 *
 * Returns false, changing nothing, and sets @errp to a sentence if the guest of
 * @client has pools, or if @group is no group, or @client is one.  A group must
 * not be freed before its members have left it or were freed.
 */
bool tmem_client_set_trust_group(TmemClient *client, TmemClient *group,
                                 GError **errp);

/** The group that @client is a member of, or NULL. */
TmemClient *tmem_client_trust_group(const TmemClient *client);
bool tmem_client_is_trust_group(const TmemClient *client);

/**
 * tmem_client_free() - drop all pools of @client and detach it
 *
 * Its contexts must have been freed before.
 */
void tmem_client_free(TmemClient *client);

/**
 * tmem_client_reset() - drop all pools of @client, but for those of the host
 *
 * As after a device reset: no request may be in progress on any of its
 * contexts, but operations on pools of the host may.  Ids of the dropped pools
 * are never valid again.
 */
void tmem_client_reset(TmemClient *client);

const char *tmem_client_name(const TmemClient *client);
void tmem_client_get_stats(TmemClient *client, TmemClientStats *stats);

/** Sums how long the client's operations took, by kind; any thread. */
void tmem_client_get_latency(TmemClient *client, TmemLatencyStats *latency);

/** Sums the client's pages by stored size; any thread. */
void tmem_client_get_sizes(TmemClient *client, TmemSizeStats *sizes);

/**
 * tmem_client_set_limits() - change the limits of a running client
 *
 * A limit below what the client holds is allowed: its ephemeral pages are
 * evicted at once, persistent ones stay and nothing more is taken.
 *
 * Returns false, changing nothing, and sets @errp to a sentence if the minimum
 * is above the maximum, if it is raised to where all minimums together are more
 * than the store may use, if the maximum is below what the minimums of the
 * client's pools come to, or if a value is out of range.
 */
bool tmem_client_set_limits(TmemClient *client, const TmemLimits *limits,
                            GError **errp);

/**
 * tmem_client_change_limits() - the same without the eviction, which takes long
 *
 * What the client holds above a new limit stays until
 * tmem_client_evict_to_limits(), which must follow.
 */
bool tmem_client_change_limits(TmemClient *client, const TmemLimits *limits,
                               GError **errp);

/** The eviction; any thread, as it may take seconds. */
void tmem_client_evict_to_limits(TmemClient *client);

void tmem_client_get_limits(TmemClient *client, TmemLimits *limits);

/** See tmem_store_freeze(). */
void tmem_client_freeze(TmemClient *client, bool frozen);
bool tmem_client_frozen(TmemClient *client);

/* Kinds of pool, as bits. */
#define TMEM_HINT_PERSISTENT    (1u << TMEM_POOL_PERSISTENT)
#define TMEM_HINT_EPHEMERAL     (1u << TMEM_POOL_EPHEMERAL)

static inline uint8_t tmem_hint_of(TmemPoolKind kind)
{
    return 1u << kind;
}

/**
 * tmem_client_hints() - the kinds of pool that take no stores at present
 *
 * As TMEM_HINT_*.  Advice: a store without credit is likely to be refused,
 * because the client is frozen, or because one was for want of memory and not
 * enough came free since (see TMEM_EVENT_LIMIT_LEFT and TMEM_EVENT_NOT_FULL; or
 * to be below its minimum), nor were others kept.  Any thread.
 */
uint8_t tmem_client_hints(TmemClient *client);

/**
 * TmemHintFunc: tmem_client_hints() may have changed
 *
 * As TmemEventFunc: from any thread, on edges; must not call the library.
 */
typedef void TmemHintFunc(void *opaque);

/** Sets whom to tell of @client's hints; NULL: nobody from now on. */
void tmem_client_set_hint_func(TmemClient *client, TmemHintFunc *func,
                               void *opaque);

/** As tmem_store_evict(), from this client only. */
uint64_t tmem_client_evict(TmemClient *client, uint64_t bytes);

/**
 * tmem_client_authorize() - let @client join the shared pool @uuid, or no more
 *
 * A client that already joined stays in.  Returns false and sets @errp to a
 * sentence if too many uuids are listed (TMEM_CLIENT_UUIDS_MAX).
 */
bool tmem_client_authorize(TmemClient *client, const uint8_t uuid[16],
                           bool allow, GError **errp);

#define TMEM_CLIENT_UUIDS_MAX   64

/** Copies the uuids that @client may join to @uuids; returns their number. */
uint32_t tmem_client_get_authorized(TmemClient *client,
                                    uint8_t uuids[TMEM_CLIENT_UUIDS_MAX][16]);

/** The pages that the guest holds in persistent pools (for blockers). */
uint64_t tmem_client_persistent_pages(TmemClient *client);

typedef void TmemClientFunc(TmemClient *client, void *opaque);

/**
 * tmem_store_foreach_client() - call @func for each client, ordered by name
 *
 * The client table is locked meanwhile: @func may read statistics and pools,
 * and must not attach or free clients.
 */
void tmem_store_foreach_client(TmemStore *store, TmemClientFunc *func,
                               void *opaque);

/* --- Pool --- */

typedef struct TmemPoolInfo {
    uint64_t id;
    TmemPoolKind kind;
    bool shared;
    uint8_t uuid[16];           /* of a shared pool, else zeros */
    uint8_t page_shift;
    TmemLimits limits;          /* as they act */
    bool has_codec;             /* else that of the store */
    TmemCodecChoice codec;      /* that acts; level 0: the default one */
    TmemPoolStats stats;
} TmemPoolInfo;

/**
 * tmem_pool_create() - create a pool of @client
 * @page_shift: must be TMEM_PAGE_SHIFT
 * @id: set on success; never 0, not reused for the life of the process, and
 *      different from the ids of an earlier process
 *
 * Returns OK; UNSUPP (page size); QUOTA (too many pools); NOSPC (no room for
 * the metadata of the pool).
 */
TmemStatus tmem_pool_create(TmemClient *client, TmemPoolKind kind,
                            uint8_t page_shift, uint64_t *id);

/**
 * tmem_pool_create_host() - create a persistent pool out of the guest's reach
 *
 * For a front end that is not the client's transport, a block device for
 * instance: requests do not find it, tmem_client_reset() leaves it alone, and
 * its pages are not among tmem_client_persistent_pages().  Otherwise as
 * tmem_pool_create().
 */
TmemStatus tmem_pool_create_host(TmemClient *client, uint64_t *id);

/**
 * tmem_pool_join() - join the shared ephemeral pool @uuid, making it if needed
 * @id: set on success; this client's id of the pool
 *
 * Every client has an id of its own.  Pages stored by one are found by all; a
 * page, with its part of the index, belongs to the client that stored it and
 * goes when that client leaves.  Loads never remove.
 *
 * A client that destroys its id leaves; the pool ends with its last member.
 *
 * Returns as tmem_pool_create(), PERM (not authorised: never silently a private
 * pool), INVAL (this client is a member already).
 */
TmemStatus tmem_pool_join(TmemClient *client, const uint8_t uuid[16],
                          uint8_t page_shift, uint64_t *id);

/**
 * tmem_pool_set_limits() - limits of a pool within those of its client
 *
 * As tmem_client_set_limits().  At its maximum an ephemeral pool makes room
 * with its own oldest pages, and a persistent one refuses with QUOTA.  When
 * pages of the client are evicted, whoever wants the memory, its ephemeral
 * pools give in proportion to what they hold above their weighted shares, and
 * none below its minimum while another can give.
 *
 * A persistent pool also refuses with QUOTA what would leave too little for the
 * minimums of others, of what the client can have: its maximum, or, if that is
 * more or there is none, what the store has promised to no other client.  So a
 * minimum holds against other clients only as far as the client's own does.
 */
bool tmem_pool_set_limits(TmemClient *client, uint64_t id,
                          const TmemLimits *limits, GError **errp);

/** As tmem_client_change_limits(): tmem_pool_evict_to_limits() must follow. */
bool tmem_pool_change_limits(TmemClient *client, uint64_t id,
                             const TmemLimits *limits, GError **errp);

/** The eviction; any thread, as it may take seconds.  The pool may be gone. */
void tmem_pool_evict_to_limits(TmemClient *client, uint64_t id);

/**
 * tmem_pool_get_limits() - the limits that were set, to change one of them
 *
 * 0 where none was set: TmemPoolInfo has what acts then.  Returns false and
 * sets @errp to a sentence if there is no such pool.
 */
bool tmem_pool_get_limits(TmemClient *client, uint64_t id, TmemLimits *limits,
                          GError **errp);

/**
 * tmem_pool_set_codec() - how pages are compressed that come from now on
 * @codec: NULL: as the store's policy says, also when that changes
 *
 * Those that are there stay as they are; tmem_store_recompress() and upkeep
 * see to them without regard to this.  Returns false, changing nothing, and
 * sets @errp to a sentence if there is no such pool or no such level.
 */
bool tmem_pool_set_codec(TmemClient *client, uint64_t id,
                         const TmemCodecChoice *codec, GError **errp);

/**
 * tmem_pool_destroy() - destroy a pool with all its pages
 *
 * On return no operation sees the pool any more, and what was in it is gone
 * and no longer counted.  Operations that run at the same time on other
 * threads end as before or after the destruction.
 *
 * Returns OK or NOPOOL.
 */
TmemStatus tmem_pool_destroy(TmemClient *client, uint64_t id);

typedef void TmemPoolFunc(const TmemPoolInfo *info, void *opaque);

/**
 * tmem_client_foreach_pool() - call @func for each pool of @client
 *
 * In the order of creation.  The pool table is locked meanwhile: @func must not
 * call anything about this client.
 */
void tmem_client_foreach_pool(TmemClient *client, TmemPoolFunc *func,
                              void *opaque);

/* --- Page operations --- */

typedef struct TmemHandle {
    uint64_t pool;
    uint64_t object[3];
    uint64_t index;
} TmemHandle;

/**
 * tmem_context_new() - what one thread needs to operate on a client's pages
 *
 * Holds the codec's working memory, a bounce page and counters, so that no
 * operation allocates these.  Returns NULL and sets @errp if out of memory.
 */
TmemContext *tmem_context_new(TmemClient *client, GError **errp);

/** Counters of @ctx are added to those of its client and live on there. */
void tmem_context_free(TmemContext *ctx);

/** A page-aligned buffer of TMEM_PAGE_SIZE bytes that belongs to @ctx. */
void *tmem_context_bounce(TmemContext *ctx);

/* Counted by the front end, shown with the client. */
void tmem_context_count_kick(TmemContext *ctx);
void tmem_context_count_interrupt(TmemContext *ctx);
/* Of a chain that never reached tmem_req_submit(), which counts its own. */
void tmem_context_count_violation(TmemContext *ctx);

/**
 * tmem_context_begin_request() - when a request was taken, for who takes it
 * apart without tmem_req_submit()
 *
 * Returns 0 if this one is not to be timed.
 */
uint64_t tmem_context_begin_request(TmemContext *ctx);

/**
 * tmem_context_end_load_request() - a request with loads can be handed back
 * @begun: from any context of the client
 */
void tmem_context_end_load_request(TmemContext *ctx, uint64_t begun);

/**
 * tmem_page_prefetch() - operations on these handles are about to come
 * @nr: at most TMEM_PREFETCH_MAX are looked at
 *
 * Touches what the operations will need, so that the misses of one overlap with
 * those of the others.  Changes nothing and promises nothing.
 */
void tmem_page_prefetch(TmemContext *ctx, const TmemHandle *handles,
                        unsigned nr);

#define TMEM_PREFETCH_MAX   64

/**
 * tmem_page_store() - store a page under @handle
 * @page: TMEM_PAGE_SIZE bytes that nobody writes to during the call; data
 *        owned by a guest must have been copied to tmem_context_bounce()
 *
 * Replaces what was stored there.  Every answer but OK leaves nothing there.
 *
 * Returns OK, NOSPC, QUOTA, REFUSED, FROZEN, NOPOOL.
 */
TmemStatus tmem_page_store(TmemContext *ctx, const TmemHandle *handle,
                           const void *page);

/**
 * tmem_page_store_with_credit() - tmem_page_store(), with one credit
 *
 * Uses one credit of the client, whatever the answer.  Not refused for want of
 * memory, nor for a limit, freezing or admission.
 *
 * Returns OK, NOPOOL, INVAL (the client has no credit, or the pool is
 * ephemeral).
 */
TmemStatus tmem_page_store_with_credit(TmemContext *ctx,
                                       const TmemHandle *handle,
                                       const void *page);

/**
 * tmem_client_grant_credit() - grant the context's client more credit
 *
 * As much as TmemClientConfig says, less what it has, and less what would take
 * more than about 1/16 of what it may hold: room for that is reserved and
 * charged to the client.  None while it has no persistent pool, is frozen, it
 * or one of its pools is above a limit, or the store has no memory for it.
 * Credit is never withdrawn; only tmem_client_reset() forgets it.
 *
 * tmem_req_submit() does this itself.  Returns how much was granted.
 */
uint32_t tmem_client_grant_credit(TmemContext *ctx);

/**
 * tmem_page_load() - load the page under @handle
 * @page: TMEM_PAGE_SIZE bytes; holds the page if OK, else zeros
 * @version: if not NULL, set on OK to what tmem_page_take() wants
 *
 * Never allocates.  Returns OK, MISS, IO (damaged: counted, quarantined, and
 * answered again by every later load), NOPOOL.
 */
TmemStatus tmem_page_load(TmemContext *ctx, const TmemHandle *handle,
                          void *page, uint64_t *version);

/**
 * tmem_page_take() - finish an exclusive load
 *
 * Called after the loaded page was delivered: removes it unless it was
 * replaced since.  Returns OK (removed, or no longer there), INVAL (the pool is
 * not a private ephemeral one), NOPOOL.
 */
TmemStatus tmem_page_take(TmemContext *ctx, const TmemHandle *handle,
                          uint64_t version);

/** Drops the page under @handle, if any.  Returns OK or NOPOOL. */
TmemStatus tmem_page_invalidate(TmemContext *ctx, const TmemHandle *handle);

/**
 * tmem_object_invalidate() - drop all pages of an object
 *
 * @handle's index is ignored.  Costs in proportion to the pages of this object
 * only.  Returns OK or NOPOOL.
 */
TmemStatus tmem_object_invalidate(TmemContext *ctx, const TmemHandle *handle);

G_END_DECLS

#endif /* LIBTMEM_TMEM_H */
