/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmem-store: the policy of a store as properties of its object
 *
 * Given at creation, and changed at run time with qom-set.  What a value may
 * be is libtmem's to say.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/visitor.h"
#include "tmem-store-internal.h"

/* The policy to show: that of the store, or what it is going to be. */
static void tmem_policy_get(TmemStoreObject *obj, TmemPolicy *policy)
{
    if (obj->store) {
        tmem_store_get_policy(obj->store, policy);
    } else {
        *policy = obj->policy;
    }
}

static void tmem_policy_set(TmemStoreObject *obj, const TmemPolicy *policy,
                            Error **errp)
{
    GError *err = NULL;

    if (obj->store && !tmem_store_set_policy(obj->store, policy, &err)) {
        tmem_propagate_gerror(errp, err);
        return;
    }
    /* Before that, tmem_store_new() checks it. */
    obj->policy = *policy;
}

/* --- Numbers and switches: one table --- */

typedef struct TmemPolicyProp {
    const char *name;
    const char *type;           /* as the user sees it */
    size_t offset;              /* in TmemPolicy */
    const char *text;
} TmemPolicyProp;

static const TmemPolicyProp tmem_policy_props[] = {
    { "max-stored-size", "uint32",
      offsetof(TmemPolicy, admission.max_stored_bytes),
      "A page that compresses to more bytes is incompressible (3584)" },
    { "refuse-incompressible", "bool",
      offsetof(TmemPolicy, admission.refuse_incompressible),
      "Refuse incompressible pages instead of keeping them as they are (off)" },
    { "max-mean-size", "uint32",
      offsetof(TmemPolicy, admission.max_mean_bytes),
      "Refuse larger pages while a client's mean is above this; 0: never (0)" },
    { "max-host-percent", "uint32",
      offsetof(TmemPolicy, admission.max_host_percent),
      "Per cent of the host's memory to use at most; 0: no such limit (0)" },
    { "upkeep-cpu-percent", "uint32",
      offsetof(TmemPolicy, upkeep.cpu_percent),
      "Per cent of one CPU for work in the background, at most (10)" },
    { "recompress-after", "uint32",
      offsetof(TmemPolicy, upkeep.recompress_idle_seconds),
      "Seconds after which an idle page is compressed harder; 0: never (0)" },
    { "recompress-level", "int32",
      offsetof(TmemPolicy, upkeep.recompress_level),
      "Level of zstd for that; 0: its default (0)" },
    { "compact", "bool",
      offsetof(TmemPolicy, upkeep.compact),
      "Empty half-used memory in the background (on)" },
    { "pressure-stall", "uint32",
      offsetof(TmemPolicy, pressure.stall_ms),
      "Milliseconds per second that the host stalls on memory before ephemeral"
      " pages are evicted; 0: off (0)" },
    { "pressure-floor", "size",
      offsetof(TmemPolicy, pressure.floor_bytes),
      "Bytes of ephemeral pages that such pressure leaves alone (0)" },
};

static void tmem_policy_visit(Visitor *v, const TmemPolicyProp *prop,
                              TmemPolicy *policy, Error **errp)
{
    void *member = (char *)policy + prop->offset;

    if (!strcmp(prop->type, "bool")) {
        visit_type_bool(v, prop->name, member, errp);
    } else if (!strcmp(prop->type, "int32")) {
        visit_type_int32(v, prop->name, member, errp);
    } else if (!strcmp(prop->type, "size")) {
        visit_type_size(v, prop->name, member, errp);
    } else {
        visit_type_uint32(v, prop->name, member, errp);
    }
}

static void tmem_policy_prop_get(Object *o, Visitor *v, const char *name,
                                 void *opaque, Error **errp)
{
    TmemPolicy policy;

    tmem_policy_get(TMEM_STORE(o), &policy);
    tmem_policy_visit(v, opaque, &policy, errp);
}

static void tmem_policy_prop_set(Object *o, Visitor *v, const char *name,
                                 void *opaque, Error **errp)
{
    ERRP_GUARD();
    TmemPolicy policy;

    tmem_policy_get(TMEM_STORE(o), &policy);
    tmem_policy_visit(v, opaque, &policy, errp);
    if (!*errp) {
        tmem_policy_set(TMEM_STORE(o), &policy, errp);
    }
}

/* --- The compressor, with its level --- */

static char *tmem_policy_get_compressor(Object *o, Error **errp)
{
    TmemPolicy policy;

    tmem_policy_get(TMEM_STORE(o), &policy);
    return tmem_codec_choice_str(&policy.codec);
}

static void tmem_policy_set_compressor(Object *o, const char *value,
                                       Error **errp)
{
    TmemPolicy policy;
    GError *err = NULL;

    tmem_policy_get(TMEM_STORE(o), &policy);
    if (!tmem_codec_choice_parse(value, &policy.codec, &err)) {
        tmem_propagate_gerror(errp, err);
        return;
    }
    tmem_policy_set(TMEM_STORE(o), &policy, errp);
}

void tmem_store_policy_class_init(ObjectClass *oc)
{
    object_class_property_add_str(oc, TMEM_STORE_COMPRESSOR_PROP,
                                  tmem_policy_get_compressor,
                                  tmem_policy_set_compressor);
    object_class_property_set_description(oc, TMEM_STORE_COMPRESSOR_PROP,
        "How pages are compressed: lz4 (default), zstd or none; a level may"
        " follow, as in zstd:3");
    for (size_t i = 0; i < ARRAY_SIZE(tmem_policy_props); i++) {
        const TmemPolicyProp *prop = &tmem_policy_props[i];

        object_class_property_add(oc, prop->name, prop->type,
                                  tmem_policy_prop_get, tmem_policy_prop_set,
                                  NULL, (void *)prop);
        object_class_property_set_description(oc, prop->name, prop->text);
    }
}
