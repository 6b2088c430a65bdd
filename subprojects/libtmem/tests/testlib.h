/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the tests of libtmem share: a small store with a client, pages of known
 * contents, seeds, and requests made of iovecs.
 */
#ifndef TMEM_TESTLIB_H
#define TMEM_TESTLIB_H

#include <glib.h>
#include <string.h>

#include "libtmem/tmem.h"

/* --- Random numbers: one seed, printed, taken from TMEM_TEST_SEED --- */

typedef struct TestRand {
    uint64_t state;
} TestRand;

/** The seed of this run; printed so that it can be given again. */
uint64_t test_seed(void);
uint64_t test_rand(TestRand *r);
/** A number below @n. */
uint64_t test_rand_below(TestRand *r, uint64_t n);

/* --- Pages --- */

typedef enum TestPage {
    TEST_PAGE_ZERO,         /* same-filled, no record */
    TEST_PAGE_FILL32,       /* same-filled, no record */
    TEST_PAGE_FILL64,       /* same-filled with a 64-bit word */
    TEST_PAGE_TEXT,         /* compresses well */
    TEST_PAGE_MIXED,        /* half noise: compresses a little */
    TEST_PAGE_NOISE,        /* does not compress */
    TEST_PAGE__MAX,
} TestPage;

/** Fills a page of that sort; different @tag, different contents. */
void test_page_make(uint8_t *page, TestPage sort, uint64_t tag);

/** Letters of an alphabet of 16: nothing for LZ4, half of it for zstd. */
void test_page_letters(uint8_t *page, uint64_t tag);

/* --- A store with one client, two pools and a context --- */

typedef struct Fixture {
    TmemStore *store;
    TmemClient *client;
    TmemContext *ctx;
    uint64_t persistent;
    uint64_t ephemeral;
    uint64_t empty_bytes;   /* used by the store before the client came */
} Fixture;

#define FIXTURE_SIZE    (8u << 20)
#define TEST_SECOND     1000000000ull

void fixture_set_up(Fixture *f, uint64_t size_bytes, uint64_t max_bytes);
void fixture_set_up_client(Fixture *f, uint64_t size_bytes,
                           const TmemClientConfig *client_config);

/** Checks the store, takes it down, and finds everything given back. */
void fixture_tear_down(Fixture *f);

/** An empty store; what it does in the background it does not do by itself. */
TmemStore *test_new_store(uint64_t size_bytes);

/** Another client of a store and a context, for now without pools. */
void fixture_join(Fixture *f, TmemStore *store,
                  const TmemClientConfig *client_config);
void fixture_create_pools(Fixture *f);

/** The client goes with all it has; the store stays. */
void fixture_leave(Fixture *f);

TmemClient *test_new_group(TmemStore *store, const char *name);

/** Fails the test with the contradiction found, if any. */
void test_check(TmemStore *store);

TmemHandle test_handle(uint64_t pool, uint64_t object, uint64_t index);

/** Stores a page made by test_page_make(). */
TmemStatus test_store(TmemContext *ctx, TmemHandle h, TestPage sort,
                      uint64_t tag);

/** Loads and expects that page. */
void test_expect_page(TmemContext *ctx, TmemHandle h, TestPage sort,
                      uint64_t tag);

/** Loads, expects @status, which is not OK, and a page of zeros. */
void test_expect_status(TmemContext *ctx, TmemHandle h, TmemStatus status);

/** Checks the arithmetic that counters and levels of a client obey (F13). */
void test_check_laws(TmemClient *client);

/**
 * test_check_laws_of() - the same for all clients that share pools
 * @held: what each held when its limit was lowered; NULL: none was
 */
void test_check_laws_of(TmemClient *const *clients, unsigned nr,
                        const uint64_t *held);

TmemClientStats test_stats(TmemClient *client);

/** Resident memory of this process, in bytes. */
uint64_t test_resident_bytes(void);

/** Sets what upkeep does from now on; see TmemUpkeep. */
void test_set_upkeep(TmemStore *store, uint32_t idle_seconds, bool compact);

/** Upkeep at @second of a clock of the test's, until nothing is left to do. */
void test_upkeep(TmemStore *store, uint64_t second);

#endif /* TMEM_TESTLIB_H */
