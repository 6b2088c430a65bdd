/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmem-store: what the files of the object share
 */
#ifndef TMEM_STORE_INTERNAL_H
#define TMEM_STORE_INTERNAL_H

#include "qemu/queue.h"
#include "qom/object.h"
#include "system/tmem-store.h"

struct TmemStoreObject {
    Object parent_obj;

    uint64_t size;
    TmemPolicy policy;          /* until the store exists */
    TmemStore *store;
    unsigned users;
    QTAILQ_ENTRY(TmemStoreObject) next;
};

/** Adds the properties that make up the policy. */
void tmem_store_policy_class_init(ObjectClass *oc);

#endif /* TMEM_STORE_INTERNAL_H */
