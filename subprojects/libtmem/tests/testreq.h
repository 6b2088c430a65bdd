/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Requests as a driver makes them, for tests: bytes, cut into pieces
 */
#ifndef TMEM_TESTREQ_H
#define TMEM_TESTREQ_H

#include "libtmem/tmem-req.h"
#include "standard-headers/linux/virtio_tmem.h"
#include "testlib.h"

#define TEST_REQ_FEATURES                                                     \
    (1ull << VIRTIO_TMEM_F_EPHEMERAL | 1ull << VIRTIO_TMEM_F_EXCLUSIVE)

/* A request under construction and its reply. */
typedef struct TestReq {
    GByteArray *out;        /* header, operations */
    GByteArray *data;       /* of stores */
    unsigned nr_ops;
    unsigned nr_loads;

    size_t in_bytes;        /* of the reply; as the operations want it */
    uint8_t *in;            /* filled with 0xee before submission */
    size_t written;
    const char *violation;
    unsigned slices;        /* submission and resumptions that it took */

    /* How the two parts are cut; NULL: in one piece each. */
    TestRand *cut;
} TestReq;

void test_req_init(TestReq *r);
void test_req_clear(TestReq *r);

/** Adds an operation; @page is what a STORE stores. */
void test_req_add(TestReq *r, uint8_t op, uint8_t flags,
                  const TmemHandle *handle, const void *page);

/** The header, to be tampered with before submission. */
struct virtio_tmem_req *test_req_header(TestReq *r);
struct virtio_tmem_op *test_req_op(TestReq *r, unsigned i);

/** Joins operations and data, and makes room for the reply. */
void test_req_finish(TestReq *r);

/** Submits @r (finishing it) on @ctx; the reply is complete on return. */
void test_req_submit(TestReq *r, TmemContext *ctx, uint64_t features);

/** Submits @bytes of @cmd on the control queue. */
void test_req_control(TestReq *r, TmemContext *ctx, uint64_t features,
                      const void *cmd, size_t bytes);

struct virtio_tmem_resp *test_req_resp(TestReq *r);
uint8_t test_req_status(TestReq *r, unsigned i);
/** The page of the @i-th load. */
uint8_t *test_req_page(TestReq *r, unsigned i);

#endif /* TMEM_TESTREQ_H */
