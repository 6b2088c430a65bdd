/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A trust group, two members and an outsider, for tests
 */
#ifndef TMEM_TESTTRUST_H
#define TMEM_TESTTRUST_H

#include "testpeek.h"
#include "tmem-trust.h"

#define MEMBERS     3
#define OUTSIDER    2

/* Two members of a group, and one client that is of none. */
typedef struct TrustWorld {
    TmemStore *store;
    TmemClient *group;
    uint64_t tables_bytes;      /* of a group that keeps nothing */
    Fixture member[MEMBERS];
} TrustWorld;

void trust_set_up_sized(TrustWorld *w, uint64_t size_bytes);
void trust_set_up(TrustWorld *w);
void trust_tear_down(TrustWorld *w);

/** All is as it should be, and the group keeps so much. */
void trust_expect_group(TrustWorld *w, uint64_t pages, uint64_t references);

/** The same pages for every member that stores them; all have a record. */
TmemHandle trust_page_of(const Fixture *m, uint64_t n);
TestPage trust_sort_of(uint64_t n);
void trust_store_pages(Fixture *m, uint64_t first, uint64_t nr);
void trust_expect_pages(Fixture *m, uint64_t first, uint64_t nr);

/** A page of this kind that both members have. */
void trust_store_both(TrustWorld *w, TestPage kind, uint64_t n);
void trust_invalidate_both(TrustWorld *w, uint64_t n);

/** What is left, and the references to it, moves to fewer segments. */
void trust_compact(TrustWorld *w);

#endif /* TMEM_TESTTRUST_H */
