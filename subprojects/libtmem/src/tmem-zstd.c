/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: pages through zstd, in memory that the caller has
 *
 * The stored form is a frame without magic number, content size, checksum and
 * dictionary id: 2 bytes more than its blocks.  What these fields would tell is
 * known (it is a page) or checked (every record has a checksum of its own).
 */
#define ZSTD_STATIC_LINKING_ONLY
#include <zstd.h>

#include <glib.h>

#include "libtmem/tmem.h"
#include "tmem-policy.h"
#include "tmem-zstd.h"

static size_t round_up(size_t bytes)
{
    return (bytes + 63) & ~(size_t)63;
}

/* For a page at whatever level: it may change from page to page. */
static size_t encoder_bytes(void)
{
    size_t most = 0;

    for (int level = TMEM_ZSTD_LEVEL_MIN; level <= TMEM_ZSTD_LEVEL_MAX;
         level++) {
        size_t bytes = ZSTD_estimateCCtxSize_usingCParams(
            ZSTD_getCParams(level, TMEM_PAGE_SIZE, 0));

        most = MAX(most, bytes);
    }
    return round_up(most);
}

static size_t decoder_bytes(void)
{
    return round_up(ZSTD_estimateDCtxSize());
}

size_t tmem_zstd_memory(void)
{
    return encoder_bytes() + decoder_bytes();
}

void tmem_zstd_init(TmemZstd *z, void *memory)
{
    *z = (TmemZstd) {
        .decoder_memory = memory,
        .encoder_memory = (uint8_t *)memory + decoder_bytes(),
    };
}

static bool set(ZSTD_CCtx *cctx, ZSTD_cParameter parameter, int value)
{
    return !ZSTD_isError(ZSTD_CCtx_setParameter(cctx, parameter, value));
}

static bool make_encoder(TmemZstd *z)
{
    ZSTD_CCtx *cctx = ZSTD_initStaticCCtx(z->encoder_memory, encoder_bytes());

    if (!cctx || !set(cctx, ZSTD_c_format, ZSTD_f_zstd1_magicless) ||
        !set(cctx, ZSTD_c_contentSizeFlag, 0)) {
        return false;
    }
    z->encoder = cctx;
    z->level = 0;       /* not one that anyone asks for */
    return true;
}

size_t tmem_zstd_encode(TmemZstd *z, int level, const void *page, void *out,
                        size_t max)
{
    size_t len;

    if (!z->encoder && !make_encoder(z)) {
        return 0;
    }
    if (level != z->level) {
        if (!set(z->encoder, ZSTD_c_compressionLevel, level)) {
            return 0;
        }
        z->level = level;
    }
    len = ZSTD_compress2(z->encoder, out, max, page, TMEM_PAGE_SIZE);
    return ZSTD_isError(len) ? 0 : len;
}

static bool make_decoder(TmemZstd *z)
{
    ZSTD_DCtx *dctx = ZSTD_initStaticDCtx(z->decoder_memory, decoder_bytes());

    if (!dctx || ZSTD_isError(ZSTD_DCtx_setParameter(dctx, ZSTD_d_format,
                                                     ZSTD_f_zstd1_magicless))) {
        return false;
    }
    z->decoder = dctx;
    return true;
}

bool tmem_zstd_decode(TmemZstd *z, const void *in, size_t len, void *page)
{
    if (!z->decoder && !make_decoder(z)) {
        return false;
    }
    return ZSTD_decompressDCtx(z->decoder, page, TMEM_PAGE_SIZE, in, len) ==
           TMEM_PAGE_SIZE;
}
