/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmem-store: the clients of a store by name, shared by the doors of a guest
 *
 * A guest may have several doors into one store: block nodes and one device of
 * virtio-tmem.  Those that name the same client are one client: one row of
 * figures and one set of limits.  Each limit is what a door gave, until an
 * operator sets it.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "tmem-spare.h"
#include "tmem-store-internal.h"

typedef struct TmemStoreClient TmemStoreClient;

struct TmemStoreClient {
    TmemClient *client;
    unsigned doors[TMEM_DOOR__MAX];
    unsigned pins;              /* commands at work on it */
    TmemLimits given;           /* by doors; 0: by none */
    unsigned operated;          /* TMEM_LIMIT_*: by an operator since */
    Object *owner;              /* of its virtio-tmem device; may be NULL */
    TmemStoreClient *group;     /* trust group it is a member of, or NULL */
    unsigned members;           /* of the trust group that it is */
    QTAILQ_ENTRY(TmemStoreClient) next;
};

/*
 * What an operator gave a trust group that went with its last member: it is for
 * the next of that name.  A minimum is not, which may be promised to others by
 * then: their guests come first.
 */
typedef struct TmemGroupLimits {
    unsigned operated;
    uint64_t max_bytes;
    uint32_t weight;
} TmemGroupLimits;

/* A virtio-tmem device, wherever it is. */
static bool tmem_door_is_device(TmemDoor door)
{
    return door == TMEM_DOOR_DEVICE || door == TMEM_DOOR_VHOST_USER;
}

static bool tmem_store_client_has_device(const TmemStoreClient *c)
{
    return c->doors[TMEM_DOOR_DEVICE] || c->doors[TMEM_DOOR_VHOST_USER];
}

static bool tmem_store_client_has_doors(const TmemStoreClient *c)
{
    return tmem_store_client_has_device(c) || c->doors[TMEM_DOOR_BLOCK];
}

static TmemStoreClient *tmem_store_client_by_name(TmemStoreObject *obj,
                                                  const char *name)
{
    TmemStoreClient *c;

    QTAILQ_FOREACH(c, &obj->clients, next) {
        if (!strcmp(tmem_client_name(c->client), name)) {
            return c;
        }
    }
    return NULL;
}

static bool tmem_limits_given(const TmemLimits *limits)
{
    return limits->min_bytes || limits->max_bytes || limits->weight;
}

static bool tmem_limit_contradicts(uint64_t one, uint64_t other)
{
    return one && other && one != other;
}

/* As libtmem does, which does not see those that an operator has overruled. */
static bool tmem_limits_in_range(const TmemClientConfig *config, Error **errp)
{
    const TmemLimits *limits = &config->limits;

    if (limits->weight > TMEM_WEIGHT_MAX) {
        error_setg(errp, "client '%s': weight %" PRIu32 " is out of range;"
                   " possible are 1 to %d", config->name, limits->weight,
                   TMEM_WEIGHT_MAX);
        return false;
    }
    if (limits->max_bytes && limits->min_bytes > limits->max_bytes) {
        error_setg(errp, "client '%s': the minimum of %" PRIu64 " bytes is"
                   " above the maximum of %" PRIu64 " bytes", config->name,
                   limits->min_bytes, limits->max_bytes);
        return false;
    }
    return true;
}

/* Those that @from has go to @to, but for @except. */
static void tmem_limits_merge(TmemLimits *to, const TmemLimits *from,
                              unsigned except)
{
    if (from->min_bytes && !(except & TMEM_LIMIT_MIN_SIZE)) {
        to->min_bytes = from->min_bytes;
    }
    if (from->max_bytes && !(except & TMEM_LIMIT_MAX_SIZE)) {
        to->max_bytes = from->max_bytes;
    }
    if (from->weight && !(except & TMEM_LIMIT_WEIGHT)) {
        to->weight = from->weight;
    }
}

static TmemStoreClient *tmem_store_client_new(TmemStoreObject *obj,
                                              const TmemClientConfig *config,
                                              Error **errp)
{
    GError *err = NULL;
    TmemClient *client = tmem_client_new(obj->store, config, &err);
    TmemStoreClient *c;

    if (!client) {
        tmem_propagate_gerror(errp, err);
        return NULL;
    }
    if (!tmem_spare_for_client(errp)) {
        tmem_client_free(client);
        return NULL;
    }
    c = g_new0(TmemStoreClient, 1);
    c->client = client;
    c->given = config->limits;
    QTAILQ_INSERT_TAIL(&obj->clients, c, next);
    tmem_store_events_client(obj, config->name, true);
    return c;
}

static bool tmem_store_client_join_limits(TmemStoreClient *c,
                                          const TmemClientConfig *config,
                                          Error **errp)
{
    const TmemLimits *new = &config->limits;
    TmemLimits limits;
    GError *err = NULL;

    if (!tmem_limits_given(new)) {
        return true;
    }
    if (!tmem_limits_in_range(config, errp)) {
        return false;
    }
    if (tmem_limit_contradicts(c->given.min_bytes, new->min_bytes) ||
        tmem_limit_contradicts(c->given.max_bytes, new->max_bytes) ||
        tmem_limit_contradicts(c->given.weight, new->weight)) {
        error_setg(errp, "the limits given for client '%s' contradict those"
                   " that it has from another door of its guest; give them"
                   " once", config->name);
        return false;
    }
    tmem_client_get_limits(c->client, &limits);
    tmem_limits_merge(&limits, new, c->operated);
    /* Not in a thread: it would keep the store in use when the door is gone. */
    if (!tmem_client_set_limits(c->client, &limits, &err)) {
        tmem_propagate_gerror(errp, err);
        return false;
    }
    tmem_limits_merge(&c->given, new, 0);
    return true;
}

/*
 * Lets a further door of the guest in.  Limits that it gives count, unless an
 * operator has set them; and a device, of which there is one, says what a
 * device is offered.
 */
static bool tmem_store_client_join(TmemStoreClient *c,
                                   const TmemClientConfig *config,
                                   TmemDoor door, Error **errp)
{
    GError *err = NULL;

    if (tmem_client_is_trust_group(c->client)) {
        error_setg(errp, "'%s' is a trust group of the store; give the client"
                   " another name", config->name);
        return false;
    }
    if (tmem_door_is_device(door) && tmem_store_client_has_device(c)) {
        error_setg(errp, "the client '%s' of the store has a virtio-tmem device"
                   " already, and a guest has one; give this one another"
                   " 'client'", config->name);
        return false;
    }
    if (!tmem_store_client_join_limits(c, config, errp)) {
        return false;
    }
    if (tmem_door_is_device(door) &&
        !tmem_client_set_device(c->client, config->max_pools, config->credit,
                                &err)) {
        tmem_propagate_gerror(errp, err);
        return false;
    }
    return true;
}

TmemClient *tmem_store_client_get(TmemStoreObject *obj,
                                  const TmemClientConfig *config,
                                  TmemDoor door, Error **errp)
{
    TmemStoreClient *c = NULL;

    if (config->name) {
        c = tmem_store_client_by_name(obj, config->name);
    }
    if (c) {
        if (!tmem_store_client_join(c, config, door, errp)) {
            return NULL;
        }
    } else {
        c = tmem_store_client_new(obj, config, errp);
        if (!c) {
            return NULL;
        }
    }
    c->doors[door]++;
    return c->client;
}

TmemClient *tmem_store_client_find(TmemStoreObject *obj, const char *name,
                                   Error **errp)
{
    TmemStoreClient *c = tmem_store_client_by_name(obj, name);

    if (!c) {
        g_autofree char *id = tmem_store_object_id(obj);

        error_set(errp, ERROR_CLASS_DEVICE_NOT_FOUND,
                  "tmem-store '%s' has no client '%s'; query-tmem lists those"
                  " that it has", id, name);
        return NULL;
    }
    return c->client;
}

void tmem_store_client_operated(TmemStoreObject *obj, TmemClient *client,
                                unsigned limits)
{
    tmem_store_client_by_name(obj, tmem_client_name(client))->operated |=
        limits;
}

bool tmem_store_client_only_door(TmemStoreObject *obj, const char *name,
                                 TmemDoor *door)
{
    const TmemStoreClient *c = tmem_store_client_by_name(obj, name);
    unsigned kinds = 0;

    for (TmemDoor i = 0; i < TMEM_DOOR__MAX; i++) {
        if (c->doors[i]) {
            *door = i;
            kinds++;
        }
    }
    return kinds == 1;
}

void tmem_store_client_set_owner(TmemStoreObject *obj, TmemClient *client,
                                 Object *owner)
{
    tmem_store_client_by_name(obj, tmem_client_name(client))->owner = owner;
}

void tmem_store_client_foreach_owned(TmemStoreObject *obj,
                                     TmemStoreClientOwnedFunc *func,
                                     void *opaque)
{
    TmemStoreClient *c;

    QTAILQ_FOREACH(c, &obj->clients, next) {
        if (c->owner) {
            func(c->client, c->owner, opaque);
        }
    }
}

/* --- Limits of trust groups --- */

static TmemGroupLimits *tmem_group_limits(TmemStoreObject *obj,
                                          const char *name)
{
    return obj->group_limits ? g_hash_table_lookup(obj->group_limits, name) :
                               NULL;
}

/* Those that it begins with. */
static TmemLimits tmem_group_limits_recall(TmemStoreObject *obj,
                                           const char *name)
{
    const TmemGroupLimits *known = tmem_group_limits(obj, name);
    TmemLimits limits = { .max_bytes = obj->group_max_size };

    if (known && known->operated & TMEM_LIMIT_MAX_SIZE) {
        limits.max_bytes = known->max_bytes;
    }
    if (known && known->operated & TMEM_LIMIT_WEIGHT) {
        limits.weight = known->weight;
    }
    return limits;
}

/* What an operator gave @c, which goes; as many as operators named. */
static void tmem_group_limits_note(TmemStoreObject *obj,
                                   const TmemStoreClient *c)
{
    unsigned operated = c->operated & (TMEM_LIMIT_MAX_SIZE |
                                       TMEM_LIMIT_WEIGHT);
    TmemGroupLimits *known;
    TmemLimits limits;

    if (!operated || !tmem_client_is_trust_group(c->client)) {
        return;
    }
    tmem_client_get_limits(c->client, &limits);
    known = g_new(TmemGroupLimits, 1);
    *known = (TmemGroupLimits) {
        operated, limits.max_bytes, limits.weight,
    };
    if (!obj->group_limits) {
        obj->group_limits = g_hash_table_new_full(g_str_hash, g_str_equal,
                                                  g_free, g_free);
    }
    g_hash_table_replace(obj->group_limits,
                         g_strdup(tmem_client_name(c->client)), known);
}

void tmem_store_client_forget(TmemStoreObject *obj)
{
    g_clear_pointer(&obj->group_limits, g_hash_table_destroy);
}

/* --- Ends --- */

/* What nobody uses any more goes; returns whether it did. */
static bool tmem_store_client_release(TmemStoreObject *obj, TmemStoreClient *c)
{
    TmemStoreClient *group = c->group;
    g_autofree char *name = NULL;

    if (tmem_store_client_has_doors(c) || c->pins || c->members) {
        return false;
    }
    QTAILQ_REMOVE(&obj->clients, c, next);
    tmem_group_limits_note(obj, c);
    name = g_strdup(tmem_client_name(c->client));
    tmem_client_free(c->client);
    tmem_store_events_client(obj, name, false);
    g_free(c);
    if (group) {
        group->members--;
        tmem_store_client_release(obj, group);
    }
    return true;
}

/* The group that @c, whose guest has no pools, is a member of; NULL: none. */
static bool tmem_store_client_set_group(TmemStoreObject *obj,
                                        TmemStoreClient *c,
                                        TmemStoreClient *group, Error **errp)
{
    TmemStoreClient *old = c->group;
    GError *err = NULL;

    if (!tmem_client_set_trust_group(c->client, group ? group->client : NULL,
                                     &err)) {
        tmem_propagate_gerror(errp, err);
        return false;
    }
    c->group = group;
    if (group) {
        group->members++;
    }
    if (old) {
        old->members--;
        tmem_store_client_release(obj, old);
    }
    return true;
}

static TmemStoreClient *tmem_store_client_make_group(TmemStoreObject *obj,
                                                     const char *name,
                                                     Error **errp)
{
    TmemStoreClient *group = tmem_store_client_by_name(obj, name);

    if (!group) {
        const TmemGroupLimits *known = tmem_group_limits(obj, name);
        const TmemClientConfig config = {
            .name = name,
            .limits = tmem_group_limits_recall(obj, name),
            .is_trust_group = true,
        };

        group = tmem_store_client_new(obj, &config, errp);
        if (group && known) {
            group->operated = known->operated;
        }
        return group;
    }
    if (!tmem_client_is_trust_group(group->client)) {
        error_setg(errp, "'trust-group' names '%s', which is a client of the"
                   " store and no trust group; give the group a name of its"
                   " own", name);
        return NULL;
    }
    return group;
}

bool tmem_store_client_set_trust_group(TmemStoreObject *obj,
                                       TmemClient *client, const char *name,
                                       Error **errp)
{
    TmemStoreClient *c = tmem_store_client_by_name(obj,
                                                   tmem_client_name(client));
    TmemStoreClient *group = NULL;

    if (name && !*name) {
        error_setg(errp, "'trust-group' must be the name of a group, and is"
                   " empty; leave it out for none");
        return false;
    }
    if (name) {
        group = tmem_store_client_make_group(obj, name, errp);
        if (!group) {
            return false;
        }
    }
    if (!tmem_store_client_set_group(obj, c, group, errp)) {
        if (group) {
            tmem_store_client_release(obj, group);
        }
        return false;
    }
    return true;
}

void tmem_store_client_pin(TmemStoreObject *obj, TmemClient *client)
{
    tmem_store_client_by_name(obj, tmem_client_name(client))->pins++;
}

void tmem_store_client_unpin(TmemStoreObject *obj, TmemClient *client)
{
    TmemStoreClient *c = tmem_store_client_by_name(obj,
                                                   tmem_client_name(client));

    c->pins--;
    tmem_store_client_release(obj, c);
}

void tmem_store_client_put(TmemStoreObject *obj, TmemClient *client,
                           TmemDoor door)
{
    TmemStoreClient *c;

    if (!client) {
        return;
    }
    c = tmem_store_client_by_name(obj, tmem_client_name(client));
    c->doors[door]--;
    if (tmem_door_is_device(door)) {
        c->owner = NULL;
    }
    if (!tmem_store_client_release(obj, c) && tmem_door_is_device(door)) {
        tmem_client_reset(client);
        /* Its guest has no pools now, so that it can. */
        tmem_store_client_set_group(obj, c, NULL, NULL);
    }
}
