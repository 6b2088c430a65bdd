/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: cursors over guest memory
 */
#include <glib.h>
#include <stdint.h>
#include <string.h>

#include "tmem-iov.h"

size_t tmem_iov_bytes(const struct iovec *iov, unsigned num)
{
    size_t sum = 0;

    for (unsigned i = 0; i < num; i++) {
        if (__builtin_add_overflow(sum, iov[i].iov_len, &sum)) {
            return SIZE_MAX;
        }
    }
    return sum;
}

TmemCursor tmem_cursor_at(const struct iovec *iov, unsigned num, size_t offset)
{
    while (num && offset >= iov->iov_len) {
        offset -= iov->iov_len;
        iov++;
        num--;
    }
    return (TmemCursor) { .iov = iov, .num = num, .offset = offset };
}

/* The next contiguous piece of at most @bytes, which must exist. */
static void *next_piece(TmemCursor *c, size_t bytes, size_t *piece)
{
    void *p;

    while (c->offset == c->iov->iov_len) {
        c->iov++;
        c->num--;
        c->offset = 0;
    }
    p = (uint8_t *)c->iov->iov_base + c->offset;
    *piece = MIN(bytes, c->iov->iov_len - c->offset);
    c->offset += *piece;
    return p;
}

void tmem_cursor_read(TmemCursor *c, void *buf, size_t bytes)
{
    uint8_t *to = buf;
    size_t piece;

    for (; bytes; bytes -= piece, to += piece) {
        const void *from = next_piece(c, bytes, &piece);

        memcpy(to, from, piece);
    }
}

void tmem_cursor_write(TmemCursor *c, const void *buf, size_t bytes)
{
    const uint8_t *from = buf;
    size_t piece;

    for (; bytes; bytes -= piece, from += piece) {
        void *to = next_piece(c, bytes, &piece);

        memcpy(to, from, piece);
    }
}

void tmem_cursor_zero(TmemCursor *c, size_t bytes)
{
    size_t piece;

    for (; bytes; bytes -= piece) {
        void *to = next_piece(c, bytes, &piece);

        memset(to, 0, piece);
    }
}
