/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: cursors over guest memory
 *
 * The only code that touches a request's vectors.  A guest can change what is
 * there at any time: each byte that decides something is read once.
 */
#ifndef TMEM_IOV_H
#define TMEM_IOV_H

#include <stddef.h>
#include <sys/uio.h>

typedef struct TmemCursor {
    const struct iovec *iov;
    unsigned num;
    size_t offset;          /* in *iov */
} TmemCursor;

/** Bytes in a vector; SIZE_MAX if they are more than that. */
size_t tmem_iov_bytes(const struct iovec *iov, unsigned num);

/** A cursor @offset bytes into the vector, which has as many. */
TmemCursor tmem_cursor_at(const struct iovec *iov, unsigned num,
                          size_t offset);

/* @bytes must be left in each of these. */
void tmem_cursor_read(TmemCursor *c, void *buf, size_t bytes);
void tmem_cursor_write(TmemCursor *c, const void *buf, size_t bytes);
void tmem_cursor_zero(TmemCursor *c, size_t bytes);

#endif /* TMEM_IOV_H */
