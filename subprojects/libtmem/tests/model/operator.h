/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What an operator does to a store while guests use it, drawn at random
 *
 * None of it may change what a load answers, but that ephemeral pages may go;
 * what else must hold is checked here, and the model is told what it must know.
 * Upkeep works in steps that are drawn too; its thread stays away.
 */
#ifndef TMEM_TEST_OPERATOR_H
#define TMEM_TEST_OPERATOR_H

#include "model.h"
#include "testlib.h"

#define OPERATOR_CLIENTS_MAX    5

typedef struct Operator {
    TmemStore *store;
    Model *model;
    TmemClient *clients[OPERATOR_CLIENTS_MAX];
    unsigned nr_clients;
    /* What a client held when its limit was changed, or it was taken over. */
    uint64_t held[OPERATOR_CLIENTS_MAX];
    bool frozen[OPERATOR_CLIENTS_MAX];
    bool all_frozen;
    uint64_t now_ns;            /* as upkeep is told */
    uint64_t evicted;           /* bytes, on command */
    uint64_t smaller;           /* pages, recompressed on command */
} Operator;

/* Before the store is made. */
void operator_prepare(void);
void operator_init(Operator *o, TmemStore *store, Model *model);
void operator_add_client(Operator *o, TmemClient *client);

/** The clients have what they had in another process. */
void operator_note_taken(Operator *o);

/** Does one thing. */
void operator_act(Operator *o, TestRand *r);

/** test_check_laws() of all clients, lowered limits taken into account. */
void operator_check_laws(Operator *o);

#endif /* TMEM_TEST_OPERATOR_H */
