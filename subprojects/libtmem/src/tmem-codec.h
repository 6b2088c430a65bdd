/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: pages in, encoded data out, and back
 *
 * Runs with no lock held, on buffers of the calling context.
 */
#ifndef TMEM_CODEC_H
#define TMEM_CODEC_H

#include <stdbool.h>
#include <stdint.h>

#include "tmem-entry.h"
#include "tmem-zstd.h"

/*
 * A page whose compressed form is longer than this is kept raw, whatever the
 * policy says: decompressing would cost more than the 1/16 that it saves.
 */
#define TMEM_CODEC_MAX      (TMEM_PAGE_SIZE - TMEM_PAGE_SIZE / 16)

typedef struct TmemCodec {
    void *lz4_state;
    uint8_t *out;       /* TMEM_PAGE_SIZE: encoded by tmem_codec_encode() */
    uint8_t *in;        /* TMEM_PAGE_SIZE: to be decoded */
    TmemZstd zstd;
} TmemCodec;

/** Bytes of working memory that tmem_codec_init() divides up. */
size_t tmem_codec_memory(void);
void tmem_codec_init(TmemCodec *codec, void *memory);

typedef struct TmemEncoded {
    TmemKind kind;
    uint32_t word32;    /* FILL32 */
    uint32_t len;       /* bytes at data; FILL32: 0 */
    const void *data;   /* the page itself if RAW, else in the codec */
} TmemEncoded;

/** Whether encoding a page can make @len bytes of @kind. */
static inline bool tmem_codec_makes(TmemKind kind, uint32_t len)
{
    switch (kind) {
    case TMEM_KIND_FILL32:
        return !len;
    case TMEM_KIND_FILL64:
        return len == sizeof(uint64_t);
    case TMEM_KIND_LZ4:
    case TMEM_KIND_ZSTD:
        return len && len <= TMEM_CODEC_MAX;
    case TMEM_KIND_RAW:
        return len == TMEM_PAGE_SIZE;
    default:
        return false;
    }
}

/**
 * tmem_codec_made() - whether @entry can be that of an encoded page
 *
 * If not it went bad.  What FILL32 leaves unused is 0; a compressed page whose
 * kind became FILL32 is known by its length.
 */
static inline bool tmem_codec_made(TmemEntry entry)
{
    TmemKind kind = tmem_entry_kind(entry);

    return tmem_codec_makes(kind, tmem_entry_len(entry)) &&
           (kind != TMEM_KIND_FILL32 ||
            !(entry >> 32 & ((1u << (TMEM_REF_BITS - 32)) - 1)));
}

/**
 * tmem_codec_encode_page() - encode one page
 * @choice: its level resolved, as tmem_codec_unpack() returns it
 * @max: longer compressed forms are given up; at most TMEM_CODEC_MAX counts
 *
 * Cannot fail: what does not compress to @max is RAW.
 */
void tmem_codec_encode_page(TmemCodec *codec, TmemCodecChoice choice,
                            uint32_t max, const void *page, TmemEncoded *enc);

/* With the defaults of the compressor. */
static inline void tmem_codec_encode(TmemCodec *codec,
                                     TmemCompressor compressor,
                                     const void *page, TmemEncoded *enc)
{
    TmemCodecChoice choice = { .compressor = compressor, .level = 1 };

    tmem_codec_encode_page(codec, choice, TMEM_CODEC_MAX, page, enc);
}

/**
 * tmem_codec_decode() - decode @len bytes at codec->in into @page
 *
 * Returns false if the data do not decode to exactly one page; @page is
 * undefined then.
 */
bool tmem_codec_decode(TmemCodec *codec, TmemKind kind, uint32_t len,
                       void *page);

/** Fills a page with a repeated word. */
void tmem_codec_fill(void *page, uint64_t word);

/**
 * tmem_codec_checksum() - 32-bit checksum of @len bytes
 * @seed: what the data belong to, so that a record found under another handle
 *        does not pass
 *
 * The lower half of xxHash's XXH64.  It guards against memory errors and stray
 * writes, not against an attacker, and costs a few per cent of decompressing
 * the same data.
 */
uint32_t tmem_codec_checksum(const void *data, size_t len, uint64_t seed);

#endif /* TMEM_CODEC_H */
