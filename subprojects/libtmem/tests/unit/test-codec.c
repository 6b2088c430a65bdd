/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Codecs: several side by side, changed while the store runs
 */
#include "testlib.h"
#include "testpeek.h"
#include "tmem-fault.h"
#include "tmem-policy.h"

static TmemCodecChoice parse(const char *text)
{
    TmemCodecChoice choice;
    GError *err = NULL;

    tmem_codec_choice_parse(text, &choice, &err);
    g_assert_no_error(err);
    return choice;
}

static TmemKind kind_of(Fixture *f, TmemHandle h)
{
    TestPeek peek;

    g_assert_true(test_peek(f->ctx, h, &peek));
    return tmem_entry_kind(*peek.entry);
}

static void set_pool_codec(Fixture *f, uint64_t pool, const char *text)
{
    TmemCodecChoice choice = text ? parse(text) : (TmemCodecChoice) {};
    GError *err = NULL;

    tmem_pool_set_codec(f->client, pool, text ? &choice : NULL, &err);
    g_assert_no_error(err);
}

static void set_store_codec(Fixture *f, const char *text)
{
    TmemPolicy policy;
    GError *err = NULL;

    tmem_store_get_policy(f->store, &policy);
    policy.codec = parse(text);
    tmem_store_set_policy(f->store, &policy, &err);
    g_assert_no_error(err);
}

/* --- All compressors and levels --- */

static void round_trip(TmemCodec *codec, TmemCodecChoice choice,
                       const uint8_t *page, TmemKind want)
{
    uint8_t back[TMEM_PAGE_SIZE];
    TmemEncoded enc;

    choice = tmem_codec_unpack(tmem_codec_pack(&choice));
    tmem_codec_encode_page(codec, choice, TMEM_CODEC_MAX, page, &enc);
    g_assert_cmpint(enc.kind, ==, want);
    g_assert_cmpuint(enc.len, <=, want == TMEM_KIND_RAW ? TMEM_PAGE_SIZE :
                                                          TMEM_CODEC_MAX);
    memcpy(codec->in, enc.data, enc.len);
    memset(back, 0xee, sizeof(back));
    g_assert_true(tmem_codec_decode(codec, enc.kind, enc.len, back));
    g_assert_cmpmem(back, sizeof(back), page, TMEM_PAGE_SIZE);
}

static void test_levels(void)
{
    static const struct {
        TmemCompressor compressor;
        int min;
        int max;
        TmemKind kind;
    } cases[] = {
        { TMEM_COMPRESSOR_LZ4, 0, 64, TMEM_KIND_LZ4 },
        { TMEM_COMPRESSOR_ZSTD, -7, 19, TMEM_KIND_ZSTD },
        { TMEM_COMPRESSOR_NONE, 0, 0, TMEM_KIND_RAW },
    };
    g_autofree void *memory = g_malloc(tmem_codec_memory());
    uint8_t text[TMEM_PAGE_SIZE], noise[TMEM_PAGE_SIZE];
    TmemCodec codec;

    tmem_codec_init(&codec, memory);
    test_page_make(text, TEST_PAGE_TEXT, 7);
    test_page_make(noise, TEST_PAGE_NOISE, 7);
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        for (int level = cases[i].min; level <= cases[i].max; level++) {
            TmemCodecChoice choice = { cases[i].compressor, level };

            g_assert_true(tmem_codec_choice_check(&choice, NULL));
            round_trip(&codec, choice, text, cases[i].kind);
            round_trip(&codec, choice, noise, TMEM_KIND_RAW);
        }
    }
}

static uint32_t zstd_bytes(TmemCodec *codec, const uint8_t *page, int level)
{
    TmemCodecChoice choice = { TMEM_COMPRESSOR_ZSTD, level };
    TmemEncoded enc;

    tmem_codec_encode_page(codec, choice, TMEM_CODEC_MAX, page, &enc);
    g_assert_cmpint(enc.kind, ==, TMEM_KIND_ZSTD);
    return enc.len;
}

/* The level is that of the page, whatever the one before it had. */
static void test_level_of_page(void)
{
    g_autofree void *memory = g_malloc(tmem_codec_memory());
    uint8_t page[TMEM_PAGE_SIZE];
    uint32_t fast, small;
    TmemCodec codec;

    tmem_codec_init(&codec, memory);
    test_page_make(page, TEST_PAGE_TEXT, 7);
    fast = zstd_bytes(&codec, page, -7);
    small = zstd_bytes(&codec, page, 19);
    g_assert_cmpuint(small, <, fast);
    g_assert_cmpuint(zstd_bytes(&codec, page, -7), ==, fast);
    g_assert_cmpuint(zstd_bytes(&codec, page, 19), ==, small);
}

/* Even if nothing else told: less than all of it is no page. */
static void test_cut_off(void)
{
    g_autofree void *memory = g_malloc(tmem_codec_memory());
    uint8_t page[TMEM_PAGE_SIZE];
    TmemCodec codec;
    uint32_t len;

    tmem_codec_init(&codec, memory);
    test_page_make(page, TEST_PAGE_TEXT, 7);
    len = zstd_bytes(&codec, page, 1);
    memcpy(codec.in, codec.out, len);
    g_assert_true(tmem_codec_decode(&codec, TMEM_KIND_ZSTD, len, page));
    g_assert_false(tmem_codec_decode(&codec, TMEM_KIND_ZSTD, len - 1, page));
    codec.in[0] ^= 0xff;
    g_assert_false(tmem_codec_decode(&codec, TMEM_KIND_ZSTD, len, page));
}

/* A smaller limit is kept to, byte by byte. */
static void test_limit(void)
{
    g_autofree void *memory = g_malloc(tmem_codec_memory());
    uint8_t page[TMEM_PAGE_SIZE];
    TmemEncoded enc;
    TmemCodec codec;
    uint32_t len;

    tmem_codec_init(&codec, memory);
    test_page_make(page, TEST_PAGE_TEXT, 7);
    for (int i = 0; i < 2; i++) {
        TmemCodecChoice choice = parse(i ? "lz4:1" : "zstd:1");

        tmem_codec_encode_page(&codec, choice, TMEM_PAGE_SIZE, page, &enc);
        g_assert_cmpint(enc.kind, !=, TMEM_KIND_RAW);
        len = enc.len;
        for (uint32_t max = 1; max < len; max++) {
            tmem_codec_encode_page(&codec, choice, max, page, &enc);
            g_assert_cmpint(enc.kind, ==, TMEM_KIND_RAW);
        }
        /* Some encoders want more than what comes out. */
        tmem_codec_encode_page(&codec, choice, len + 64, page, &enc);
        g_assert_cmpuint(enc.len, ==, len);
    }
}

/* --- In a store --- */

static void test_side_by_side(void)
{
    static const struct {
        const char *codec;
        TmemKind text;
        TmemKind noise;
    } cases[] = {
        { "lz4", TMEM_KIND_LZ4, TMEM_KIND_RAW },
        { "zstd:3", TMEM_KIND_ZSTD, TMEM_KIND_RAW },
        { "none", TMEM_KIND_RAW, TMEM_KIND_RAW },
        { "zstd:-5", TMEM_KIND_ZSTD, TMEM_KIND_RAW },
        { "lz4:20", TMEM_KIND_LZ4, TMEM_KIND_RAW },
    };
    TmemClientStats stats;
    Fixture f;

    fixture_set_up(&f, FIXTURE_SIZE, 0);
    for (uint64_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        set_store_codec(&f, cases[i].codec);
        for (uint64_t n = 0; n < 3 * TEST_PAGE__MAX; n++) {
            TmemHandle h = test_handle(n % 2 ? f.ephemeral : f.persistent, i,
                                       n);

            g_assert_cmpint(test_store(f.ctx, h, n % TEST_PAGE__MAX, n), ==,
                            TMEM_STATUS_OK);
            if (n % TEST_PAGE__MAX == TEST_PAGE_TEXT) {
                g_assert_cmpint(kind_of(&f, h), ==, cases[i].text);
            } else if (n % TEST_PAGE__MAX == TEST_PAGE_NOISE) {
                g_assert_cmpint(kind_of(&f, h), ==, cases[i].noise);
            } else if (n % TEST_PAGE__MAX <= TEST_PAGE_FILL64) {
                /* Same-filled pages are elided whatever the codec. */
                g_assert_cmpint(kind_of(&f, h), <=, TMEM_KIND_FILL64);
            }
        }
    }
    for (uint64_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        for (uint64_t n = 0; n < 3 * TEST_PAGE__MAX; n++) {
            test_expect_page(f.ctx, test_handle(n % 2 ? f.ephemeral :
                                                        f.persistent, i, n),
                             n % TEST_PAGE__MAX, n);
        }
    }
    tmem_client_get_stats(f.client, &stats);
    g_assert_cmpuint(stats.total.pages_zstd, >=, 2 * 3);
    g_assert_cmpuint(stats.total.pages_compressed, >, stats.total.pages_zstd);
    fixture_tear_down(&f);
}

typedef struct Seen {
    uint64_t id;
    bool has_codec;
    TmemCodecChoice codec;
} Seen;

static void see_pool(const TmemPoolInfo *info, void *opaque)
{
    Seen *seen = opaque;

    if (info->id == seen->id) {
        seen->has_codec = info->has_codec;
        seen->codec = info->codec;
    }
}

/* A pool's own choice comes before the store's, and can be taken back. */
static void test_per_pool(void)
{
    TmemHandle p, e;
    Seen seen;
    Fixture f;

    fixture_set_up(&f, FIXTURE_SIZE, 0);
    p = test_handle(f.persistent, 1, 1);
    e = test_handle(f.ephemeral, 1, 1);
    seen.id = f.persistent;

    set_pool_codec(&f, f.persistent, "zstd:5");
    g_assert_cmpint(test_store(f.ctx, p, TEST_PAGE_TEXT, 1), ==, 0);
    g_assert_cmpint(test_store(f.ctx, e, TEST_PAGE_TEXT, 1), ==, 0);
    g_assert_cmpint(kind_of(&f, p), ==, TMEM_KIND_ZSTD);
    g_assert_cmpint(kind_of(&f, e), ==, TMEM_KIND_LZ4);
    tmem_client_foreach_pool(f.client, see_pool, &seen);
    g_assert_true(seen.has_codec);
    g_assert_cmpint(seen.codec.compressor, ==, TMEM_COMPRESSOR_ZSTD);
    g_assert_cmpint(seen.codec.level, ==, 5);

    set_store_codec(&f, "none");
    g_assert_cmpint(test_store(f.ctx, p, TEST_PAGE_TEXT, 2), ==, 0);
    g_assert_cmpint(test_store(f.ctx, e, TEST_PAGE_TEXT, 2), ==, 0);
    g_assert_cmpint(kind_of(&f, p), ==, TMEM_KIND_ZSTD);
    g_assert_cmpint(kind_of(&f, e), ==, TMEM_KIND_RAW);

    set_pool_codec(&f, f.persistent, NULL);
    g_assert_cmpint(test_store(f.ctx, p, TEST_PAGE_TEXT, 3), ==, 0);
    g_assert_cmpint(kind_of(&f, p), ==, TMEM_KIND_RAW);
    tmem_client_foreach_pool(f.client, see_pool, &seen);
    g_assert_false(seen.has_codec);
    g_assert_cmpint(seen.codec.compressor, ==, TMEM_COMPRESSOR_NONE);
    test_expect_page(f.ctx, p, TEST_PAGE_TEXT, 3);
    test_expect_page(f.ctx, e, TEST_PAGE_TEXT, 2);
    fixture_tear_down(&f);
}

static void expect_refused(bool ok, GError **err, const char *words)
{
    g_assert_false(ok);
    g_assert_nonnull(*err);
    g_assert_nonnull(strstr((*err)->message, words));
    g_clear_error(err);
}

/* One sentence, and nothing changed. */
static void test_bad_choice(void)
{
    static const TmemCodecChoice bad[] = {
        { TMEM_COMPRESSOR_ZSTD, 20 }, { TMEM_COMPRESSOR_ZSTD, -8 },
        { TMEM_COMPRESSOR_LZ4, 65 }, { TMEM_COMPRESSOR_LZ4, -1 },
        { TMEM_COMPRESSOR_NONE, 1 }, { 3, 0 }, { -1, 0 },
    };
    TmemPolicy policy, after;
    GError *err = NULL;
    Seen seen = {};
    Fixture f;

    fixture_set_up(&f, FIXTURE_SIZE, 0);
    seen.id = f.persistent;
    tmem_store_get_policy(f.store, &policy);
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        TmemPolicy changed = policy;

        expect_refused(tmem_pool_set_codec(f.client, f.persistent, &bad[i],
                                           &err), &err, "compressor");
        changed.codec = bad[i];
        expect_refused(tmem_store_set_policy(f.store, &changed, &err), &err,
                       "compressor");
    }
    expect_refused(tmem_pool_set_codec(f.client, 0x1234, NULL, &err), &err,
                   "no pool with ID 0x1234");
    tmem_client_foreach_pool(f.client, see_pool, &seen);
    g_assert_false(seen.has_codec);
    tmem_store_get_policy(f.store, &after);
    g_assert_cmpmem(&after, sizeof(after), &policy, sizeof(policy));
    fixture_tear_down(&f);
}

/* --- Loads --- */

/* A context that never saw zstd loads what another stored with it. */
static void test_loads_need_no_memory(void)
{
    TmemContext *other;
    Fixture f;

    fixture_set_up(&f, FIXTURE_SIZE, 0);
    set_store_codec(&f, "zstd");
    for (uint64_t i = 0; i < 100; i++) {
        g_assert_cmpint(test_store(f.ctx, test_handle(f.persistent, 1, i),
                                   TEST_PAGE_TEXT, i), ==, 0);
    }
    other = tmem_context_new(f.client, NULL);
    tmem_fault_arm_from(NULL, 1);
    for (uint64_t i = 0; i < 100; i++) {
        test_expect_page(other, test_handle(f.persistent, 1, i),
                         TEST_PAGE_TEXT, i);
    }
    g_assert_null(tmem_fault_disarm());
    tmem_context_free(other);
    fixture_tear_down(&f);
}

/* A damaged record is an error for good, and counted as a level. */
static void test_damaged(gconstpointer opaque)
{
    TmemClientStats stats;
    TestPeek peek;
    TmemHandle h;
    Fixture f;

    fixture_set_up(&f, FIXTURE_SIZE, 0);
    set_store_codec(&f, opaque);
    h = test_handle(f.persistent, 1, 1);
    g_assert_cmpint(test_store(f.ctx, h, TEST_PAGE_TEXT, 1), ==, 0);
    g_assert_true(test_peek(f.ctx, h, &peek));
    peek.data[peek.len / 2] ^= 4;
    test_expect_status(f.ctx, h, TMEM_STATUS_IO);
    peek.data[peek.len / 2] ^= 4;
    test_expect_status(f.ctx, h, TMEM_STATUS_IO);
    tmem_client_get_stats(f.client, &stats);
    g_assert_cmpuint(stats.total.pages_damaged, ==, 1);
    g_assert_cmpuint(stats.total.loads_error, ==, 2);
    test_check(f.store);
    /* What is stored over it is whole. */
    g_assert_cmpint(test_store(f.ctx, h, TEST_PAGE_TEXT, 2), ==, 0);
    test_expect_page(f.ctx, h, TEST_PAGE_TEXT, 2);
    tmem_client_get_stats(f.client, &stats);
    g_assert_cmpuint(stats.total.pages_damaged, ==, 0);
    fixture_tear_down(&f);
}

/*
 * What is marked is what was read: another page may have the same entry, as its
 * record may have come to lie in the same slot.
 */
static void test_quarantine_exact(void)
{
    uint8_t data[TMEM_PAGE_SIZE];
    TmemDelta delta = {};
    TestPeek peek;
    uint32_t checksum;
    TmemEntry seen;
    TmemHandle h;
    Fixture f;

    fixture_set_up(&f, FIXTURE_SIZE, 0);
    h = test_handle(f.persistent, 1, 1);
    g_assert_cmpint(test_store(f.ctx, h, TEST_PAGE_TEXT, 1), ==, 0);
    g_assert_true(test_peek(f.ctx, h, &peek));
    seen = *peek.entry;
    checksum = *peek.checksum;
    memcpy(data, peek.data, peek.len);
    tmem_lock(&peek.key.shard->lock);

    /* Other bytes, another checksum, another generation: another page. */
    data[peek.len - 1] ^= 1;
    tmem_index_quarantine(&f.store->index, peek.node, peek.key.pos, seen,
                          checksum, data, &delta);
    data[peek.len - 1] ^= 1;
    tmem_index_quarantine(&f.store->index, peek.node, peek.key.pos, seen,
                          checksum + 1, data, &delta);
    tmem_index_quarantine(&f.store->index, peek.node, peek.key.pos,
                          seen ^ 1ull << TMEM_ENTRY_GEN_SHIFT, checksum, data,
                          &delta);
    g_assert_cmpint(delta.pages_damaged, ==, 0);
    g_assert_cmpuint(*peek.entry, ==, seen);

    /* Whatever its age. */
    tmem_index_quarantine(&f.store->index, peek.node, peek.key.pos,
                          tmem_entry_aged(seen, 2), checksum, data, &delta);
    g_assert_cmpint(delta.pages_damaged, ==, 1);
    g_assert_cmpuint(*peek.entry, ==, seen | TMEM_ENTRY_DAMAGED);
    tmem_pool_apply(peek.node->pool, &delta);
    tmem_unlock(&peek.key.shard->lock);
    test_expect_status(f.ctx, h, TMEM_STATUS_IO);
    fixture_tear_down(&f);
}

/* What is no level is told with what is one. */
static void test_level_sentences(void)
{
    static const struct {
        const char *text;
        const char *sentence;
    } cases[] = {
        { "lz4:0", "'0' is not a level of compressor 'lz4'; possible are 1 to "
          "64" },
        { "lz4:", "'' is not a level of compressor 'lz4'; possible are 1 to "
          "64" },
        { "zstd:x", "'x' is not a level of compressor 'zstd'; possible are -7 "
          "to 19, without 0" },
        { "zstd:99999999999", "'99999999999' is not a level of compressor "
          "'zstd'; possible are -7 to 19, without 0" },
        { "zstd:20", "level 20 of compressor 'zstd' is out of range; possible "
          "are -7 to 19" },
        { "none:0", "compressor 'none' has no levels" },
        { "none:1", "compressor 'none' has no levels" },
        { "lzo:0", "unknown compressor 'lzo'; known are lz4, zstd and none" },
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        TmemCodecChoice choice = { TMEM_COMPRESSOR_ZSTD, 3 };
        g_autoptr(GError) err = NULL;

        g_assert_false(tmem_codec_choice_parse(cases[i].text, &choice, &err));
        g_assert_cmpstr(err->message, ==, cases[i].sentence);
        g_assert_cmpint(choice.level, ==, 3);
    }
}

/* --- Checksums --- */

/*
 * Caught: two flipped bits, one of them the highest that a multiplication
 * leaves alone, gave the same checksum wherever they were 32 bytes apart.
 */
static void test_two_bits(void)
{
    static const size_t lengths[] = { 1, 4, 8, 13, 16, 31, 32, 40, 72, 100,
                                      137 };
    uint8_t data[137];
    TestRand r = { 1 };

    for (unsigned i = 0; i < sizeof(data); i++) {
        data[i] = test_rand(&r);
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(lengths); i++) {
        size_t len = lengths[i];
        uint32_t sum = tmem_codec_checksum(data, len, 77);

        g_assert_cmpuint(tmem_codec_checksum(data, len, 78), !=, sum);
        for (unsigned a = 0; a < len * 8; a++) {
            data[a / 8] ^= 1 << a % 8;
            g_assert_cmpuint(tmem_codec_checksum(data, len, 77), !=, sum);
            for (unsigned b = 0; b < a; b++) {
                data[b / 8] ^= 1 << b % 8;
                g_assert_cmpuint(tmem_codec_checksum(data, len, 77), !=, sum);
                data[b / 8] ^= 1 << b % 8;
            }
            data[a / 8] ^= 1 << a % 8;
        }
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/tmem/codec/levels", test_levels);
    g_test_add_func("/tmem/codec/level-of-page", test_level_of_page);
    g_test_add_func("/tmem/codec/cut-off", test_cut_off);
    g_test_add_func("/tmem/codec/two-bits", test_two_bits);
    g_test_add_func("/tmem/codec/level-sentences", test_level_sentences);
    g_test_add_func("/tmem/codec/limit", test_limit);
    g_test_add_func("/tmem/codec/side-by-side", test_side_by_side);
    g_test_add_func("/tmem/codec/per-pool", test_per_pool);
    g_test_add_func("/tmem/codec/bad-choice", test_bad_choice);
    g_test_add_func("/tmem/codec/loads-need-no-memory",
                    test_loads_need_no_memory);
    g_test_add_data_func("/tmem/codec/damaged/lz4", "lz4", test_damaged);
    g_test_add_data_func("/tmem/codec/damaged/zstd", "zstd", test_damaged);
    g_test_add_data_func("/tmem/codec/damaged/none", "none", test_damaged);
    g_test_add_func("/tmem/codec/quarantine-exact", test_quarantine_exact);
    return g_test_run();
}
