/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: pages through zstd, in memory that the caller has
 */
#ifndef TMEM_ZSTD_H
#define TMEM_ZSTD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ZSTD_CCtx_s;
struct ZSTD_DCtx_s;

typedef struct TmemZstd {
    void *encoder_memory;
    void *decoder_memory;
    /* Made in their memory when first needed: until then it is not touched. */
    struct ZSTD_CCtx_s *encoder;
    struct ZSTD_DCtx_s *decoder;
    int level;              /* that the encoder is set to */
} TmemZstd;

/** Bytes of memory that tmem_zstd_init() divides up, a multiple of 64. */
size_t tmem_zstd_memory(void);

/** @memory: aligned to 8 */
void tmem_zstd_init(TmemZstd *z, void *memory);

/**
 * tmem_zstd_encode() - compress one page
 * @level: TMEM_ZSTD_LEVEL_MIN ... TMEM_ZSTD_LEVEL_MAX
 * @max: bytes at @out
 *
 * Returns the length, or 0 if the page does not fit @max.
 */
size_t tmem_zstd_encode(TmemZstd *z, int level, const void *page, void *out,
                        size_t max);

/**
 * tmem_zstd_decode() - decompress into exactly one page
 *
 * Allocates nothing and trusts nothing of @in.  Returns false if the data do
 * not decode to one page; @page is undefined then.
 */
bool tmem_zstd_decode(TmemZstd *z, const void *in, size_t len, void *page);

#endif /* TMEM_ZSTD_H */
