/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where a page lies in a store, for tests that damage it
 *
 * For tests with nothing else under way: what is found here may move as soon as
 * anything is asked of the store.
 */
#ifndef TMEM_TESTPEEK_H
#define TMEM_TESTPEEK_H

#include "testlib.h"
#include "tmem-store.h"

typedef struct TestPeek {
    TmemKey key;
    TmemNode *node;
    TmemEntry *entry;
    /* NULL if the page has no record. */
    uint32_t *checksum;
    uint8_t *data;
    uint32_t len;
} TestPeek;

/** Returns false if nothing is stored under @h. */
bool test_peek(TmemContext *ctx, TmemHandle h, TestPeek *peek);

/**
 * test_copy_record() - the record of one page in the place of another's
 *
 * Both are of one length.  The slot still says whose it is.
 */
void test_copy_record(const TestPeek *from, TestPeek *to);

#endif /* TMEM_TESTPEEK_H */
