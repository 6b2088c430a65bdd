/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: pages through every compressor and level, and data that no
 * compressor made
 *
 * The input is a choice of compressor, level and limit, and bytes that become
 * either a page or encoded data.
 *
 *   - What was encoded decodes to the same page, and a page that was kept as it
 *     is was kept for a reason.
 *   - What was shortened or changed since does not pass the checksum.
 *   - Whatever is decoded stays within its buffers and answers yes or no.
 *
 * Buffers are allocations of exactly their size, so that a sanitiser sees a
 * step beyond them.
 */
#include "fuzz.h"
#include "testlib.h"
#include "tmem-codec.h"
#include "tmem-policy.h"

typedef struct World {
    TmemCodec codec;
    void *memory;
    uint8_t *page;      /* what went in */
    uint8_t *out;       /* what came back */
} World;

static TmemCodecChoice take_choice(FuzzInput *in)
{
    uint8_t compressor = fuzz_take(in, 1), level = fuzz_take(in, 1);
    TmemCodecChoice choice = {};

    switch (compressor % 3) {
    case 0:
        choice.compressor = TMEM_COMPRESSOR_LZ4;
        choice.level = level % 65;
        break;
    case 1:
        choice.compressor = TMEM_COMPRESSOR_ZSTD;
        choice.level = TMEM_ZSTD_LEVEL_MIN +
                       level % (TMEM_ZSTD_LEVEL_MAX - TMEM_ZSTD_LEVEL_MIN + 1);
        break;
    default:
        choice.compressor = TMEM_COMPRESSOR_NONE;
        break;
    }
    g_assert_true(tmem_codec_choice_check(&choice, NULL));
    /* Packed and unpacked, as the store keeps it. */
    return tmem_codec_unpack(tmem_codec_pack(&choice));
}

/* Makes a page of what is left of the input. */
static void take_page(FuzzInput *in, uint8_t how, uint8_t *page)
{
    size_t size = MIN(in->size, TMEM_PAGE_SIZE);
    TestRand r = { how };

    memset(page, 0, TMEM_PAGE_SIZE);
    switch (how % 4) {
    case 0:     /* once */
        memcpy(page, in->data, size);
        break;
    case 1:     /* again and again */
        for (size_t i = 0; size && i < TMEM_PAGE_SIZE; i++) {
            page[i] = in->data[i % size];
        }
        break;
    case 2:     /* in runs */
        for (size_t i = 0; size && i < TMEM_PAGE_SIZE; i++) {
            page[i] = in->data[i / (1 + how / 4u) % size];
        }
        break;
    default:    /* between noise */
        for (size_t i = 0; i < TMEM_PAGE_SIZE; i++) {
            page[i] = i % 64 < how / 4u && size ? in->data[i % size] :
                      (uint8_t)test_rand(&r);
        }
        break;
    }
}

static bool is_same_filled(const uint8_t *page)
{
    for (size_t i = 8; i < TMEM_PAGE_SIZE; i++) {
        if (page[i] != page[i - 8]) {
            return false;
        }
    }
    return true;
}

/* Decodes @len bytes of @data in buffers of their own. */
static bool decode(World *w, TmemKind kind, const void *data, uint32_t len)
{
    uint8_t *in = w->codec.in;
    bool ok;

    w->codec.in = g_memdup2(data, len);
    memset(w->out, 0xee, TMEM_PAGE_SIZE);
    ok = tmem_codec_decode(&w->codec, kind, len, w->out);
    g_free(w->codec.in);
    w->codec.in = in;
    return ok;
}

/* Damaged data: its checksum says so, and decoding it does no harm. */
static void damage(World *w, FuzzInput *in, const TmemEncoded *enc,
                   uint64_t seed)
{
    uint32_t checksum = tmem_codec_checksum(enc->data, enc->len, seed);
    g_autofree uint8_t *data = g_memdup2(enc->data, enc->len);
    uint32_t at = fuzz_take(in, 2) % enc->len;
    uint8_t by = fuzz_take(in, 1);

    data[at] ^= by;
    g_assert_true((checksum == tmem_codec_checksum(data, enc->len, seed)) ==
                  !by);
    decode(w, enc->kind, data, enc->len);
    data[at] ^= by;

    /* Of another page, and cut short. */
    g_assert_cmpuint(checksum, !=,
                     tmem_codec_checksum(data, enc->len, seed + 1));
    g_assert_cmpuint(checksum, !=, tmem_codec_checksum(data, at, seed));
    if (enc->kind == TMEM_KIND_LZ4 || enc->kind == TMEM_KIND_ZSTD) {
        g_assert_false(at && decode(w, enc->kind, data, at) &&
                       memcmp(w->out, w->page, TMEM_PAGE_SIZE));
    }
}

static void round_trip(World *w, FuzzInput *in)
{
    TmemCodecChoice choice = take_choice(in);
    uint32_t max = 1 + fuzz_take(in, 2) % TMEM_PAGE_SIZE;
    FuzzInput how_to_damage = { in->data, MIN(in->size, 3u) };
    uint8_t how = fuzz_take(in, 1);
    TmemEncoded enc = {};

    take_page(in, how, w->page);
    tmem_codec_encode_page(&w->codec, choice, max, w->page, &enc);
    if (enc.kind == TMEM_KIND_FILL32) {
        tmem_codec_fill(w->out, (uint64_t)enc.word32 << 32 | enc.word32);
        g_assert_cmpmem(w->out, TMEM_PAGE_SIZE, w->page, TMEM_PAGE_SIZE);
        return;
    }
    g_assert_true(is_same_filled(w->page) == (enc.kind == TMEM_KIND_FILL64));
    if (enc.kind == TMEM_KIND_RAW) {
        g_assert_cmpuint(enc.len, ==, TMEM_PAGE_SIZE);
    } else if (enc.kind != TMEM_KIND_FILL64) {
        g_assert_cmpuint(enc.len, <=, MIN(max, TMEM_CODEC_MAX));
        g_assert_cmpuint(enc.len, >, 0);
    }
    g_assert_true(decode(w, enc.kind, enc.data, enc.len));
    g_assert_cmpmem(w->out, TMEM_PAGE_SIZE, w->page, TMEM_PAGE_SIZE);
    damage(w, &how_to_damage, &enc, how);
}

/* Data that nobody encoded. */
static void foreign(World *w, FuzzInput *in)
{
    TmemKind kind = fuzz_take(in, 1) & 7;
    uint32_t len = MIN(in->size, TMEM_PAGE_SIZE);

    /* A raw page is a page by its kind alone. */
    if (len && kind != TMEM_KIND_RAW) {
        decode(w, kind, in->data, len);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    FuzzInput in = { data, size };
    World w;

    w.memory = g_malloc(tmem_codec_memory());
    w.page = g_malloc(TMEM_PAGE_SIZE);
    w.out = g_malloc(TMEM_PAGE_SIZE);
    tmem_codec_init(&w.codec, w.memory);
    if (fuzz_take(&in, 1) & 3) {
        round_trip(&w, &in);
    } else {
        foreign(&w, &in);
    }
    g_free(w.out);
    g_free(w.page);
    g_free(w.memory);
    return 0;
}
