/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What an operator does to the tmem stores of this process over QMP
 *
 * Each command does all of what it was asked for, or nothing and says why.
 * What may take seconds runs in a thread, as the main loop is also that of the
 * guest's devices.
 */
#include "qemu/osdep.h"
#include "block/thread-pool.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-tmem.h"
#include "qapi/util.h"
#include "qemu/cutils.h"
#include "qemu/uuid.h"
#include "tmem-store-internal.h"

/* Whom a command is about. */
typedef struct TmemTarget {
    TmemStoreObject *obj;
    TmemStore *store;
    TmemClient *client;         /* NULL: the store as a whole */
} TmemTarget;

static bool tmem_target_find(TmemTarget *target, const char *store,
                             const char *client, Error **errp)
{
    target->client = NULL;
    target->obj = tmem_store_object_find(store, errp);
    if (!target->obj) {
        return false;
    }
    target->store = tmem_store_object_get(target->obj);
    if (client) {
        target->client = tmem_store_client_find(target->obj, client, errp);
    }
    return !client || target->client;
}

/* The command is going to wait: what it is about stays until unpinned. */
static void tmem_target_pin(TmemTarget *target)
{
    tmem_store_object_attach(target->obj);
    if (target->client) {
        tmem_store_client_pin(target->obj, target->client);
    }
}

static void tmem_target_unpin(TmemTarget *target)
{
    if (target->client) {
        tmem_store_client_unpin(target->obj, target->client);
    }
    tmem_store_object_detach(target->obj);
}

/* --- Limits --- */

/* What a command changes of a client, or of a pool of it. */
typedef struct TmemChange {
    bool has_pool;
    uint64_t pool;
    unsigned which;             /* TMEM_LIMIT_* */
    TmemLimits limits;          /* of these */
    const char *compressor;     /* NULL: not given */
} TmemChange;

/* For sentences: whose limits these are. */
static char *tmem_change_whose(const TmemTarget *target,
                               const TmemChange *change)
{
    const char *client = tmem_client_name(target->client);

    return change->has_pool ?
           g_strdup_printf("pool 0x%" PRIx64 " of client '%s'", change->pool,
                           client) :
           g_strdup_printf("client '%s'", client);
}

/* Whether it says something, before it is known about whom. */
static bool tmem_change_is_given(const TmemChange *change, Error **errp)
{
    if (change->compressor && !change->has_pool) {
        error_setg(errp, "'compressor' is one of a pool, and there is no"
                   " 'pool': give the 'id' of one as query-tmem shows it, or"
                   " set the 'compressor' of the store with qom-set");
        return false;
    }
    if (!change->which && !change->compressor) {
        error_setg(errp, "there is nothing to set: give at least one of %s",
                   change->has_pool ? "'min-size', 'max-size', 'weight' and"
                                      " 'compressor'" :
                                      "'min-size', 'max-size' and 'weight'");
        return false;
    }
    return true;
}

/*
 * libtmem takes such a limit and waits for the guest.  An operator who sets one
 * expects the memory to go, which it would not.
 */
static bool tmem_change_is_possible(const TmemChange *change, const char *whose,
                                    uint64_t pinned_bytes, Error **errp)
{
    uint64_t max_bytes = change->which & TMEM_LIMIT_MAX_SIZE ?
                         change->limits.max_bytes : 0;
    g_autofree char *max = size_to_str(max_bytes);
    g_autofree char *held = size_to_str(pinned_bytes);

    /* To libtmem that is the default. */
    if (change->which & TMEM_LIMIT_WEIGHT && !change->limits.weight) {
        error_setg(errp, "%s: weight 0 is out of range; possible are 1 to %d",
                   whose, TMEM_WEIGHT_MAX);
        return false;
    }
    if (!max_bytes || max_bytes >= pinned_bytes) {
        return true;
    }
    error_setg(errp, "%s has %s (%" PRIu64 " bytes) that cannot be"
               " evicted, persistent pages and their tables; a 'max-size' of %s"
               " is below that: give more, or tmem-freeze the client so that"
               " it takes no more", whose, held, pinned_bytes, max);
    return false;
}

static void tmem_change_merge(const TmemChange *change, TmemLimits *limits)
{
    if (change->which & TMEM_LIMIT_MIN_SIZE) {
        limits->min_bytes = change->limits.min_bytes;
    }
    if (change->which & TMEM_LIMIT_MAX_SIZE) {
        limits->max_bytes = change->limits.max_bytes;
    }
    if (change->which & TMEM_LIMIT_WEIGHT) {
        limits->weight = change->limits.weight;
    }
}

static bool tmem_change_client(const TmemTarget *target,
                               const TmemChange *change, const char *whose,
                               Error **errp)
{
    GError *err = NULL;
    TmemClientStats stats;
    TmemLimits limits;

    tmem_client_get_stats(target->client, &stats);
    if (!tmem_change_is_possible(change, whose, stats.pinned_bytes, errp)) {
        return false;
    }
    tmem_client_get_limits(target->client, &limits);
    tmem_change_merge(change, &limits);
    if (!tmem_client_change_limits(target->client, &limits, &err)) {
        tmem_propagate_gerror(errp, err);
        return false;
    }
    tmem_store_client_operated(target->obj, target->client, change->which);
    return true;
}

/* --- Pools --- */

typedef struct TmemPoolSearch {
    uint64_t id;
    bool found;
    TmemPoolKind kind;
    uint64_t pinned_bytes;      /* what cannot be evicted */
} TmemPoolSearch;

static void tmem_pool_search(const TmemPoolInfo *pool, void *opaque)
{
    TmemPoolSearch *search = opaque;

    if (pool->id == search->id) {
        search->found = true;
        search->kind = pool->kind;
        search->pinned_bytes = pool->kind == TMEM_POOL_PERSISTENT ?
                               pool->stats.data_bytes +
                               pool->stats.index_bytes : 0;
    }
}

static bool tmem_pool_search_in(TmemClient *client, TmemPoolSearch *search,
                                Error **errp)
{
    tmem_client_foreach_pool(client, tmem_pool_search, search);
    if (search->found) {
        return true;
    }
    if (tmem_client_is_trust_group(client)) {
        error_set(errp, ERROR_CLASS_DEVICE_NOT_FOUND,
                  "'%s' is a trust group, and has no pools: leave 'pool' out,"
                  " or name a member of it", tmem_client_name(client));
        return false;
    }
    error_set(errp, ERROR_CLASS_DEVICE_NOT_FOUND,
              "client '%s' has no pool with ID 0x%" PRIx64 " (%" PRIu64 ");"
              " query-tmem lists those that it has",
              tmem_client_name(client), search->id, search->id);
    return false;
}

/* NULL in @codec: the store's, as "default" says. */
static bool tmem_pool_parse_codec(const char *text, TmemCodecChoice *choice,
                                  const TmemCodecChoice **codec, Error **errp)
{
    GError *err = NULL;

    if (!strcmp(text, "default")) {
        *codec = NULL;
        return true;
    }
    *codec = choice;
    if (!tmem_codec_choice_parse(text, choice, &err)) {
        tmem_propagate_gerror(errp, err);
        error_append_hint(errp, "'default' is that of the store.\n");
        return false;
    }
    return true;
}

/* All that may be refused comes before what is changed. */
static bool tmem_change_pool(const TmemTarget *target,
                             const TmemChange *change, const char *whose,
                             Error **errp)
{
    TmemPoolSearch search = { .id = change->pool };
    const TmemCodecChoice *codec = NULL;
    TmemCodecChoice choice;
    GError *err = NULL;
    TmemLimits limits;
    bool ok;

    if (!tmem_pool_search_in(target->client, &search, errp) ||
        !tmem_change_is_possible(change, whose, search.pinned_bytes, errp)) {
        return false;
    }
    if (change->which & TMEM_LIMIT_WEIGHT &&
        search.kind == TMEM_POOL_PERSISTENT) {
        error_setg(errp, "%s is persistent, and a 'weight' says how much a pool"
                   " keeps when ephemeral pages make room: give 'min-size' or"
                   " 'max-size', or the weight to the client", whose);
        return false;
    }
    if (change->compressor &&
        !tmem_pool_parse_codec(change->compressor, &choice, &codec, errp)) {
        return false;
    }
    ok = tmem_pool_get_limits(target->client, change->pool, &limits, &err);
    if (ok && change->which) {
        tmem_change_merge(change, &limits);
        ok = tmem_pool_change_limits(target->client, change->pool, &limits,
                                     &err);
    }
    /* Now only a guest that destroys the pool can come between. */
    if (ok && change->compressor) {
        ok = tmem_pool_set_codec(target->client, change->pool, codec, &err);
    }
    if (!ok) {
        tmem_propagate_gerror(errp, err);
    }
    return ok;
}

/* --- Both --- */

typedef struct TmemLimitsWork {
    TmemClient *client;
    const TmemChange *change;
} TmemLimitsWork;

/* In a thread of the pool. */
static int tmem_limits_work(void *opaque)
{
    const TmemLimitsWork *work = opaque;

    if (work->change->has_pool) {
        tmem_pool_evict_to_limits(work->client, work->change->pool);
    } else {
        tmem_client_evict_to_limits(work->client);
    }
    return 0;
}

/*
 * The limits are changed at once, so that commands of several monitors follow
 * each other; what is above them then goes meanwhile.
 */
static void coroutine_fn tmem_set_client(const char *store, const char *client,
                                         const TmemChange *change,
                                         Error **errp)
{
    g_autofree char *whose = NULL;
    TmemLimitsWork work;
    TmemTarget target;

    if (!tmem_change_is_given(change, errp) ||
        !tmem_target_find(&target, store, client, errp)) {
        return;
    }
    whose = tmem_change_whose(&target, change);
    if (change->has_pool ? !tmem_change_pool(&target, change, whose, errp) :
                           !tmem_change_client(&target, change, whose, errp)) {
        return;
    }
    work = (TmemLimitsWork) { target.client, change };
    tmem_target_pin(&target);
    thread_pool_submit_co(tmem_limits_work, &work);
    tmem_target_unpin(&target);
}

void coroutine_fn
qmp_tmem_set_client(const char *store, const char *client,
                    bool has_pool, uint64_t pool,
                    bool has_min_size, uint64_t min_size,
                    bool has_max_size, uint64_t max_size,
                    bool has_weight, uint32_t weight,
                    const char *compressor, Error **errp)
{
    const TmemChange change = {
        .has_pool = has_pool,
        .pool = pool,
        .which = (has_min_size ? TMEM_LIMIT_MIN_SIZE : 0) |
                 (has_max_size ? TMEM_LIMIT_MAX_SIZE : 0) |
                 (has_weight ? TMEM_LIMIT_WEIGHT : 0),
        .limits = { min_size, max_size, weight },
        .compressor = compressor,
    };

    tmem_set_client(store, client, &change, errp);
}

/* --- Freezing --- */

static void tmem_set_frozen(const char *store, const char *client, bool frozen,
                            Error **errp)
{
    TmemTarget target;
    bool now;

    if (!tmem_target_find(&target, store, client, errp)) {
        return;
    }
    now = client ? tmem_client_frozen(target.client) :
                   tmem_store_frozen(target.store);
    if (now == frozen) {
        error_setg(errp, "%s '%s' is %s; tmem-%s undoes that",
                   client ? "client" : "tmem-store", client ?: store,
                   now ? "frozen already" : "not frozen",
                   now ? "thaw" : "freeze");
        return;
    }
    if (client) {
        tmem_client_freeze(target.client, frozen);
    } else {
        tmem_store_freeze(target.store, frozen);
    }
}

void qmp_tmem_freeze(const char *store, const char *client, Error **errp)
{
    tmem_set_frozen(store, client, true, errp);
}

void qmp_tmem_thaw(const char *store, const char *client, Error **errp)
{
    tmem_set_frozen(store, client, false, errp);
}

/* --- Eviction --- */

typedef struct TmemEphemeral {
    TmemClient *only;           /* NULL: all clients */
    uint64_t pages;             /* held */
    uint64_t evicted;           /* ever */
} TmemEphemeral;

static void tmem_ephemeral_pool(const TmemPoolInfo *pool, void *opaque)
{
    TmemEphemeral *sum = opaque;

    if (pool->kind == TMEM_POOL_EPHEMERAL) {
        sum->pages += pool->stats.pages;
    }
}

static void tmem_ephemeral_client(TmemClient *client, void *opaque)
{
    TmemEphemeral *sum = opaque;
    TmemClientStats stats;

    if (!sum->only || sum->only == client) {
        tmem_client_get_stats(client, &stats);
        /* Pools that were destroyed count; and what a trust group keeps. */
        sum->evicted += stats.total.evicted + stats.group_evicted;
        sum->pages += stats.group_pages;
        tmem_client_foreach_pool(client, tmem_ephemeral_pool, sum);
    }
}

typedef struct TmemEviction {
    TmemTarget *target;
    uint64_t bytes;             /* wanted, and then given back */
} TmemEviction;

/* In a thread of the pool. */
static int tmem_evict_work(void *opaque)
{
    TmemEviction *work = opaque;
    TmemTarget *target = work->target;

    work->bytes = target->client ?
                  tmem_client_evict(target->client, work->bytes) :
                  tmem_store_evict(target->store, work->bytes);
    return 0;
}

TmemEvictInfo * coroutine_fn
qmp_tmem_evict(const char *store, const char *client,
                              bool has_bytes, uint64_t bytes, Error **errp)
{
    TmemEphemeral before = {}, after = {};
    TmemEviction work;
    TmemEvictInfo *info;
    TmemTarget target;

    if (!tmem_target_find(&target, store, client, errp)) {
        return NULL;
    }
    if (has_bytes && !bytes) {
        error_setg(errp, "evicting 0 bytes is nothing to do; leave 'bytes' out"
                   " to evict all that can be");
        return NULL;
    }
    before.only = after.only = target.client;
    tmem_store_foreach_client(target.store, tmem_ephemeral_client, &before);
    if (!before.pages) {
        error_setg(errp, "%s '%s' has no ephemeral pages, and others cannot be"
                   " evicted", client ? "client" : "tmem-store",
                   client ?: store);
        return NULL;
    }
    work.target = &target;
    work.bytes = has_bytes ? bytes : UINT64_MAX;
    tmem_target_pin(&target);
    thread_pool_submit_co(tmem_evict_work, &work);

    tmem_store_foreach_client(target.store, tmem_ephemeral_client, &after);
    tmem_target_unpin(&target);
    info = g_new0(TmemEvictInfo, 1);
    info->freed_bytes = work.bytes;
    /* Those of a client that left meanwhile went with it. */
    info->evicted_pages = after.evicted - MIN(after.evicted, before.evicted);
    return info;
}

/* --- Shared pools --- */

static bool tmem_is_authorized(TmemClient *client, const QemuUUID *uuid)
{
    uint8_t uuids[TMEM_CLIENT_UUIDS_MAX][16];
    uint32_t nr = tmem_client_get_authorized(client, uuids);

    for (uint32_t i = 0; i < nr; i++) {
        if (!memcmp(uuids[i], uuid->data, sizeof(uuid->data))) {
            return true;
        }
    }
    return false;
}

void qmp_tmem_authorize(const char *store, const char *client,
                        const char *uuid, bool has_revoke, bool revoke,
                        Error **errp)
{
    bool allow = !has_revoke || !revoke;
    GError *err = NULL;
    TmemTarget target;
    QemuUUID id;

    if (!tmem_target_find(&target, store, client, errp)) {
        return;
    }
    if (qemu_uuid_parse(uuid, &id) < 0) {
        error_setg(errp, "'%s' is not a UUID, such as"
                   " 6ba7b810-9dad-11d1-80b4-00c04fd430c8", uuid);
        return;
    }
    if (tmem_is_authorized(target.client, &id) == allow) {
        error_setg(errp, "client '%s' is %s for the shared pool %s", client,
                   allow ? "authorised already" : "not authorised", uuid);
        return;
    }
    if (!tmem_client_authorize(target.client, id.data, allow, &err)) {
        tmem_propagate_gerror(errp, err);
    }
}

/* --- Checking --- */

typedef struct TmemCheck {
    TmemStoreObject *obj;
    GError *err;
    bool ok;
} TmemCheck;

/* In a thread of the pool. */
static int tmem_check_work(void *opaque)
{
    TmemCheck *check = opaque;

    check->ok = tmem_store_check(tmem_store_object_get(check->obj),
                                 &check->err);
    return 0;
}

static TmemCheckInfo * coroutine_fn tmem_check_store(TmemStoreObject *obj)
{
    TmemCheckInfo *info = g_new0(TmemCheckInfo, 1);
    TmemCheck check = { .obj = obj };

    info->store = tmem_store_object_id(obj);
    thread_pool_submit_co(tmem_check_work, &check);
    info->ok = check.ok;
    if (check.err) {
        info->problem = g_strdup(check.err->message);
        g_error_free(check.err);
    }
    return info;
}

static void tmem_check_attach(TmemStoreObject *obj, void *opaque)
{
    tmem_store_object_attach(obj);
    g_ptr_array_add(opaque, obj);
}

TmemCheckInfoList * coroutine_fn qmp_x_tmem_check(const char *store,
                                                  Error **errp)
{
    TmemCheckInfoList *list = NULL, **tail = &list;
    g_autoptr(GPtrArray) stores = g_ptr_array_new();

    if (store) {
        TmemStoreObject *only = tmem_store_object_find(store, errp);

        if (!only) {
            return NULL;
        }
        tmem_check_attach(only, stores);
    } else {
        tmem_store_object_foreach(tmem_check_attach, stores);
    }
    for (unsigned i = 0; i < stores->len; i++) {
        TmemStoreObject *obj = g_ptr_array_index(stores, i);

        QAPI_LIST_APPEND(tail, tmem_check_store(obj));
        tmem_store_object_detach(obj);
    }
    return list;
}
