/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What an operator does to a store while guests use it, drawn at random
 *
 * None of it may change what a load answers, but that ephemeral pages may go;
 * what else must hold is checked here.
 */
#ifndef TMEM_TEST_OPERATOR_H
#define TMEM_TEST_OPERATOR_H

#include "testlib.h"

#define OPERATOR_CLIENTS_MAX    4

typedef struct Operator {
    TmemStore *store;
    TmemClient *clients[OPERATOR_CLIENTS_MAX];
    unsigned nr_clients;
    /* What a client held when its limit was last changed. */
    uint64_t held[OPERATOR_CLIENTS_MAX];
    uint64_t evicted;           /* bytes, on command */
} Operator;

void operator_init(Operator *o, TmemStore *store);
void operator_add_client(Operator *o, TmemClient *client);

/** Does one thing. */
void operator_act(Operator *o, TestRand *r);

/** test_check_laws() of all clients, lowered limits taken into account. */
void operator_check_laws(Operator *o);

#endif /* TMEM_TEST_OPERATOR_H */
