/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: pages in, encoded data out, and back
 */
#include <lz4.h>
#include <string.h>
#include <xxhash.h>

#include "tmem-codec.h"
#include "tmem-lock.h"

static size_t lz4_state_bytes(void)
{
    return (LZ4_sizeofState() + 63) & ~63;
}

size_t tmem_codec_memory(void)
{
    return 2 * TMEM_PAGE_SIZE + lz4_state_bytes() + tmem_zstd_memory();
}

void tmem_codec_init(TmemCodec *codec, void *memory)
{
    codec->in = memory;
    codec->out = codec->in + TMEM_PAGE_SIZE;
    codec->lz4_state = codec->out + TMEM_PAGE_SIZE;
    tmem_zstd_init(&codec->zstd,
                   (uint8_t *)codec->lz4_state + lz4_state_bytes());
}

static inline uint64_t load64(const void *p)
{
    uint64_t v;

    memcpy(&v, p, sizeof(v));
    return v;
}

static bool same_filled(const void *page, uint64_t *word)
{
    uint64_t first = load64(page);

    /*
     * Most pages are told apart by their first and last words.  The rest is
     * one memcmp() of the page with itself, one word further on.
     */
    if (load64((const uint8_t *)page + TMEM_PAGE_SIZE - 8) != first) {
        return false;
    }
    *word = first;
    return !memcmp(page, (const uint8_t *)page + 8, TMEM_PAGE_SIZE - 8);
}

/* Compresses to codec->out.  Returns the length, 0 if it is more than @max. */
static uint32_t compress(TmemCodec *codec, TmemCodecChoice choice,
                         uint32_t max, const void *page, TmemKind *kind)
{
    switch (choice.compressor) {
    case TMEM_COMPRESSOR_LZ4:
        *kind = TMEM_KIND_LZ4;
        return LZ4_compress_fast_extState(codec->lz4_state, page,
                                          (char *)codec->out, TMEM_PAGE_SIZE,
                                          max, choice.level);
    case TMEM_COMPRESSOR_ZSTD:
        *kind = TMEM_KIND_ZSTD;
        return tmem_zstd_encode(&codec->zstd, choice.level, page, codec->out,
                                max);
    default:
        return 0;
    }
}

void tmem_codec_encode_page(TmemCodec *codec, TmemCodecChoice choice,
                            uint32_t max, const void *page, TmemEncoded *enc)
{
    uint64_t word;

    tmem_assert_unlocked();
    if (same_filled(page, &word)) {
        if ((uint32_t)word == word >> 32) {
            enc->kind = TMEM_KIND_FILL32;
            enc->word32 = word;
            enc->len = 0;
            enc->data = NULL;
            return;
        }
        memcpy(codec->out, &word, sizeof(word));
        enc->kind = TMEM_KIND_FILL64;
        enc->len = sizeof(word);
        enc->data = codec->out;
        return;
    }
    enc->len = compress(codec, choice, MIN(max, TMEM_CODEC_MAX), page,
                        &enc->kind);
    enc->data = codec->out;
    if (!enc->len) {
        enc->kind = TMEM_KIND_RAW;
        enc->len = TMEM_PAGE_SIZE;
        enc->data = page;
    }
}

bool tmem_codec_decode(TmemCodec *codec, TmemKind kind, uint32_t len,
                       void *page)
{
    tmem_assert_unlocked();
    switch (kind) {
    case TMEM_KIND_FILL64:
        if (len != sizeof(uint64_t)) {
            return false;
        }
        tmem_codec_fill(page, load64(codec->in));
        return true;
    case TMEM_KIND_RAW:
        if (len != TMEM_PAGE_SIZE) {
            return false;
        }
        memcpy(page, codec->in, TMEM_PAGE_SIZE);
        return true;
    case TMEM_KIND_LZ4:
        return LZ4_decompress_safe((const char *)codec->in, page, len,
                                   TMEM_PAGE_SIZE) == TMEM_PAGE_SIZE;
    case TMEM_KIND_ZSTD:
        return tmem_zstd_decode(&codec->zstd, codec->in, len, page);
    default:
        return false;
    }
}

void tmem_codec_fill(void *page, uint64_t word)
{
    uint8_t *p = page;

    for (unsigned i = 0; i < TMEM_PAGE_SIZE; i += sizeof(word)) {
        memcpy(p + i, &word, sizeof(word));
    }
}

uint32_t tmem_codec_checksum(const void *data, size_t len, uint64_t seed)
{
    return XXH64(data, len, seed);
}
