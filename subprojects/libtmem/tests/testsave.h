/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What one process leaves to the next, for tests: a stream in memory
 */
#ifndef TMEM_TESTSAVE_H
#define TMEM_TESTSAVE_H

#include "libtmem/tmem-save.h"
#include "testlib.h"

/* What a client leaves: all that is its guest's, or a pool of the host's. */
typedef struct TestLeft {
    TmemClient *client;
    const char *name;       /* of the bundle; NULL: the client's */
    const char *state;      /* NULL: none */
    uint64_t host_pool;     /* 0: none */
    bool is_bad;            /* counters that are checked else may be wrong */
} TestLeft;

/** An empty file that can be sealed. */
int test_new_stream(void);

/** Moves all of @left, @nr of them, to a new stream. */
int test_save(TmemStore *store, const TestLeft *left, unsigned nr);

#endif /* TMEM_TESTSAVE_H */
