/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The rooms one by one: codec, arena, index, hash, locks
 */
#include "testlib.h"
#include "tmem-hash.h"
#include "tmem-store.h"

/* --- Codec --- */

static void set_up_codec(TmemCodec *codec, void **memory)
{
    *memory = g_malloc(tmem_codec_memory());
    tmem_codec_init(codec, *memory);
}

static void test_codec_round_trip(void)
{
    uint8_t page[TMEM_PAGE_SIZE], back[TMEM_PAGE_SIZE];
    TmemCodec codec;
    TestRand r = { test_seed() };
    void *memory;

    set_up_codec(&codec, &memory);
    for (int i = 0; i < 3000; i++) {
        TmemEncoded enc;

        test_page_make(page, i % TEST_PAGE__MAX, test_rand(&r));
        /* Some with a byte out of place, which is no longer same-filled. */
        if (i % 3 == 0) {
            page[test_rand_below(&r, TMEM_PAGE_SIZE)] ^= 1;
        }
        tmem_codec_encode(&codec, TMEM_COMPRESSOR_LZ4, page, &enc);
        if (enc.kind == TMEM_KIND_FILL32) {
            uint64_t word = enc.word32;

            tmem_codec_fill(back, word | word << 32);
        } else {
            memcpy(codec.in, enc.data, enc.len);
            g_assert_true(tmem_codec_decode(&codec, enc.kind, enc.len,
                                            back));
        }
        g_assert_cmpmem(back, sizeof(back), page, sizeof(page));
        g_assert_true(enc.kind != TMEM_KIND_LZ4 ||
                      enc.len <= TMEM_CODEC_MAX);
    }
    g_free(memory);
}

/* Each place where a same-filled page can differ. */
static void test_codec_almost_same(void)
{
    uint8_t page[TMEM_PAGE_SIZE];
    TmemEncoded enc;
    TmemCodec codec;
    void *memory;

    set_up_codec(&codec, &memory);
    for (unsigned i = 0; i < TMEM_PAGE_SIZE; i++) {
        test_page_make(page, TEST_PAGE_FILL64, 5);
        page[i] ^= 0x80;
        tmem_codec_encode(&codec, TMEM_COMPRESSOR_LZ4, page, &enc);
        g_assert_cmpint(enc.kind, ==, TMEM_KIND_LZ4);
    }
    g_free(memory);
}

/* Wrong lengths and wrong bytes are refused, never overrun. */
static void test_codec_garbage(void)
{
    uint8_t page[TMEM_PAGE_SIZE + 64], text[TMEM_PAGE_SIZE];
    TestRand r = { test_seed() };
    TmemCodec codec;
    TmemEncoded enc;
    void *memory;

    set_up_codec(&codec, &memory);
    memset(page, 0x77, sizeof(page));
    test_page_make(text, TEST_PAGE_TEXT, 9);
    for (int i = 0; i < 20000; i++) {
        uint32_t len;

        tmem_codec_encode(&codec, TMEM_COMPRESSOR_LZ4, text, &enc);
        memcpy(codec.in, enc.data, enc.len);
        len = i % 2 ? enc.len : test_rand_below(&r, TMEM_PAGE_SIZE);
        for (int j = i % 8; j > 0; j--) {
            codec.in[test_rand_below(&r, enc.len)] = test_rand(&r);
        }
        if (i % 2 == 0 && len != enc.len) {
            g_assert_false(tmem_codec_decode(&codec, TMEM_KIND_LZ4, len,
                                             page));
        } else {
            tmem_codec_decode(&codec, TMEM_KIND_LZ4, len, page);
        }
        for (unsigned j = TMEM_PAGE_SIZE; j < sizeof(page); j++) {
            g_assert_cmpuint(page[j], ==, 0x77);
        }
    }
    g_assert_false(tmem_codec_decode(&codec, TMEM_KIND_FILL64, 7, page));
    g_assert_false(tmem_codec_decode(&codec, TMEM_KIND_NONE, 8, page));
    g_free(memory);
}

/* Any one bit changes the checksum; so does the seed, and the length. */
static void test_codec_checksum(void)
{
    static const size_t lengths[] = { 1, 7, 8, 31, 32, 33, 100, 1427, 4096 };
    uint8_t buf[TMEM_PAGE_SIZE];

    test_page_make(buf, TEST_PAGE_NOISE, 3);
    for (unsigned i = 0; i < G_N_ELEMENTS(lengths); i++) {
        size_t len = lengths[i];
        uint32_t sum = tmem_codec_checksum(buf, len, 1);

        g_assert_cmpuint(tmem_codec_checksum(buf, len, 1), ==, sum);
        g_assert_cmpuint(tmem_codec_checksum(buf, len, 2), !=, sum);
        g_assert_cmpuint(tmem_codec_checksum(buf, len - 1, 1), !=, sum);
        for (size_t bit = 0; bit < len * 8; bit++) {
            buf[bit / 8] ^= 1 << bit % 8;
            g_assert_cmpuint(tmem_codec_checksum(buf, len, 1), !=, sum);
            buf[bit / 8] ^= 1 << bit % 8;
        }
    }
}

/* --- Damage: found, counted, quarantined --- */

static TmemEntry *find_entry(Fixture *f, TmemHandle h, TmemKey *key)
{
    TmemPool *pool = tmem_pool_find(f->client, h.pool);
    TmemNode *node;

    tmem_index_key(&f->store->index, pool, h.pool, h.object, h.index, key);
    node = tmem_index_find(&f->store->index, key);
    return tmem_node_entry(&f->store->index, node, key->pos);
}

static void test_damage(void)
{
    static const TestPage sorts[] = {
        TEST_PAGE_FILL64, TEST_PAGE_TEXT, TEST_PAGE_MIXED, TEST_PAGE_NOISE,
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(sorts) * 2; i++) {
        TestPage sort = sorts[i / 2];
        TmemClientStats stats;
        g_autoptr(GError) err = NULL;
        TmemHandle h;
        uint8_t *data;
        TmemKey key;
        Fixture f;

        fixture_set_up(&f, FIXTURE_SIZE, 0);
        h = test_handle(i % 2 ? f.ephemeral : f.persistent, 1, 1);
        g_assert_cmpint(test_store(f.ctx, h, sort, 1), ==, 0);
        data = tmem_record_data(
            tmem_arena_ptr(&f.store->arena,
                           tmem_entry_ref(*find_entry(&f, h, &key))));
        data[5] ^= 0x10;
        /* The check sees it, and so does a load; it stays so. */
        g_assert_false(tmem_store_check(f.store, &err));
        g_assert_nonnull(err);
        test_expect_status(f.ctx, h, TMEM_STATUS_IO);
        test_check(f.store);
        data[5] ^= 0x10;
        test_expect_status(f.ctx, h, TMEM_STATUS_IO);
        tmem_client_get_stats(f.client, &stats);
        g_assert_cmpuint(stats.total.loads_error, ==, 2);
        g_assert_cmpuint(stats.total.loads_hit, ==, 0);
        /* Until it is replaced, or invalidated. */
        if (i % 2) {
            g_assert_cmpint(test_store(f.ctx, h, sort, 2), ==, 0);
            test_expect_page(f.ctx, h, sort, 2);
        } else {
            g_assert_cmpint(tmem_page_invalidate(f.ctx, &h), ==, 0);
            test_expect_status(f.ctx, h, TMEM_STATUS_MISS);
        }
        fixture_tear_down(&f);
    }
}

/* A record that the index attributes to another page does not pass. */
static void test_wrong_record(void)
{
    TmemHandle a, b;
    TmemEntry *ea, *eb, e;
    TmemKey key;
    Fixture f;

    fixture_set_up(&f, FIXTURE_SIZE, 0);
    a = test_handle(f.persistent, 1, 1);
    b = test_handle(f.persistent, 1, 2);
    g_assert_cmpint(test_store(f.ctx, a, TEST_PAGE_TEXT, 1), ==, 0);
    g_assert_cmpint(test_store(f.ctx, b, TEST_PAGE_TEXT, 2), ==, 0);
    ea = find_entry(&f, a, &key);
    eb = find_entry(&f, b, &key);
    e = *ea;
    *ea = *eb;
    *eb = e;
    test_expect_status(f.ctx, a, TMEM_STATUS_IO);
    test_expect_status(f.ctx, b, TMEM_STATUS_IO);
    /* Each slot comes back with the page that it is of, and with no other. */
    e = *ea;
    *ea = *eb;
    *eb = e;
    fixture_tear_down(&f);
}

/* --- Arena --- */

static void test_arena_classes(void)
{
    static const uint64_t sizes[] = {
        TMEM_STORE_SIZE_MIN, 8u << 20, 300u << 20, 1ull << 40,
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(sizes); i++) {
        TmemArena *arena = g_new0(TmemArena, 1);
        TmemLimits limits = {};
        TmemStatus why;
        TmemHeap heap;

        g_assert_true(tmem_arena_init(arena, sizes[i], NULL));
        g_assert_true(tmem_heap_init(&heap, arena, "test", &limits, NULL));
        for (unsigned n = 0; n < 2 * TMEM_SLOT_BYTES_MAX; n++) {
            unsigned bytes = n / 2 + 1;
            TmemRef ref = tmem_heap_alloc(&heap, n % 2, bytes, false, &why);
            uint32_t slot = tmem_arena_slot_bytes(arena, ref);

            g_assert_cmpuint(ref, !=, 0);
            g_assert_cmpuint(slot, >=, bytes);
            /* What a class wastes is bounded. */
            g_assert_cmpuint(slot, <=, bytes + bytes / 6 + 2 * TMEM_UNIT);
            memset(tmem_arena_ptr(arena, ref), 0xff, slot);
            tmem_heap_free(arena, ref);
            tmem_arena_trim(arena);
        }
        g_assert_cmpuint(tmem_arena_used_bytes(arena), ==, 0);
        tmem_heap_destroy(&heap);
        tmem_arena_destroy(arena);
        g_free(arena);
    }
}

/* What a record of @bytes takes of a segment of @space, waste included. */
static double share_of_segment(const TmemArena *arena, TmemSpace space,
                               unsigned bytes)
{
    const TmemSizes *sizes = tmem_arena_sizes(arena, space);
    const TmemSize *size = &sizes->of_class[tmem_sizes_class(sizes, bytes)];
    double segment = 1ull << arena->segment_shift;

    g_assert_cmpuint(size->slot_bytes, >=, bytes);
    g_assert_cmpuint((size->first_unit << TMEM_UNIT_SHIFT) +
                     size->slots * size->slot_bytes, <=, segment);
    g_assert_cmpuint(size->first_unit << TMEM_UNIT_SHIFT, >=,
                     tmem_space_has_owners(space) ?
                     size->slots * sizeof(uint64_t) : 0);
    return segment / size->slots;
}

/*
 * Caught: sizes that are parts of a whole segment, where it begins with owner
 * words, which push one slot out of most segments.  An owner word may cost
 * what it would if it lay before the record.
 */
static void test_arena_owner_words(void)
{
    static const uint64_t sizes[] = {
        TMEM_STORE_SIZE_MIN, 128u << 20, 256u << 20, 512u << 20, 1ull << 40,
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(sizes); i++) {
        TmemArena *arena = g_new0(TmemArena, 1);
        double sum = 0, raw;
        unsigned nr = 0;

        g_assert_true(tmem_arena_init(arena, sizes[i], NULL));
        for (unsigned bytes = 300; bytes <= 3840; bytes++, nr++) {
            sum += share_of_segment(arena, TMEM_SPACE_EPHEMERAL, bytes) /
                   share_of_segment(arena, TMEM_SPACE_PERSISTENT, bytes + 8);
        }
        g_test_message("%" G_GUINT64_FORMAT " MiB: %+.2f %%", sizes[i] >> 20,
                       100 * (sum / nr - 1));
        g_assert_cmpfloat(sum / nr, <, 1.002);
        raw = share_of_segment(arena, TMEM_SPACE_EPHEMERAL, 4100) /
              share_of_segment(arena, TMEM_SPACE_PERSISTENT, 4108);
        g_assert_cmpfloat(raw, <=, 1);
        tmem_arena_destroy(arena);
        g_free(arena);
    }
}

/*
 * Caught: an owner word that went bad leads to a segment that becomes another's
 * just now.  Who looks there sees the class that it had with the space that it
 * gets, divides by the size of a class that this space has not, and dies.
 */
static void test_arena_class_of_another(void)
{
    TmemArena *arena = g_new0(TmemArena, 1);
    TmemSegment *seg;
    TmemLimits limits = {};
    TmemStatus why;
    TmemHeap heap;
    TmemRef ref;

    g_assert_true(tmem_arena_init(arena, TMEM_STORE_SIZE_MIN, NULL));
    g_assert_true(tmem_heap_init(&heap, arena, "test", &limits, NULL));
    ref = tmem_heap_alloc(&heap, TMEM_SPACE_PERSISTENT, TMEM_SLOT_BYTES_MAX,
                          false, &why);
    seg = &arena->segments[tmem_arena_segment_of(arena, ref)];
    g_assert_cmpuint(seg->class_nr, >=,
                     tmem_arena_sizes(arena, TMEM_SPACE_EPHEMERAL)->nr);
    g_assert_true(tmem_heap_is_slot(arena, TMEM_SPACE_PERSISTENT, ref, 1));
    seg->space = TMEM_SPACE_EPHEMERAL;
    g_assert_false(tmem_heap_is_slot(arena, TMEM_SPACE_EPHEMERAL, ref, 1));
    g_assert_false(tmem_heap_is_slot(arena, TMEM_SPACE_PERSISTENT, ref, 1));
    seg->space = TMEM_SPACE_PERSISTENT;
    tmem_heap_free(arena, ref);
    tmem_arena_trim(arena);
    tmem_heap_destroy(&heap);
    tmem_arena_destroy(arena);
    g_free(arena);
}

/* Slots do not overlap, and the budget holds to the byte. */
static void test_arena_slots(void)
{
    TestRand r = { test_seed() };
    TmemArena *arena = g_new0(TmemArena, 1);
    struct { TmemRef ref; uint32_t bytes; uint8_t fill; } slot[800] = {};
    TmemLimits limits = {};
    TmemStatus why;
    TmemHeap heap;

    g_assert_true(tmem_arena_init(arena, TMEM_STORE_SIZE_MIN, NULL));
    g_assert_true(tmem_heap_init(&heap, arena, "test", &limits, NULL));
    for (int i = 0; i < 200000; i++) {
        unsigned n = test_rand_below(&r, G_N_ELEMENTS(slot));
        uint8_t *p;

        if (slot[n].ref) {
            p = tmem_arena_ptr(arena, slot[n].ref);
            g_assert_cmpuint(p[0], ==, slot[n].fill);
            g_assert_cmpuint(p[slot[n].bytes / 2], ==, slot[n].fill);
            g_assert_cmpuint(p[slot[n].bytes - 1], ==, slot[n].fill);
            tmem_heap_free(arena, slot[n].ref);
            slot[n].ref = 0;
            continue;
        }
        slot[n].bytes = 16 + test_rand_below(&r, TMEM_SLOT_BYTES_MAX - 15);
        slot[n].fill = i;
        slot[n].ref = tmem_heap_alloc(&heap, i % 2, slot[n].bytes,
                                      test_rand_below(&r, 2), &why);
        if (slot[n].ref) {
            slot[n].bytes = tmem_arena_slot_bytes(arena, slot[n].ref);
            p = tmem_arena_ptr(arena, slot[n].ref);
            memset(p, slot[n].fill, slot[n].bytes);
            /* Which a record of an ephemeral space does not write over. */
            g_assert_true(i % 2 == TMEM_SPACE_PERSISTENT ||
                          !tmem_owner_read(tmem_slot_owner(arena,
                                                           slot[n].ref)));
        }
        g_assert_cmpuint(tmem_arena_used_bytes(arena), <=,
                         TMEM_STORE_SIZE_MIN);
    }
    for (unsigned n = 0; n < G_N_ELEMENTS(slot); n++) {
        if (slot[n].ref) {
            tmem_heap_free(arena, slot[n].ref);
        }
    }
    tmem_arena_trim(arena);
    g_assert_cmpuint(tmem_arena_used_bytes(arena), ==, 0);

    /* The whole budget can be set aside, and not a byte more. */
    g_assert_true(tmem_arena_charge(arena, TMEM_STORE_SIZE_MIN));
    g_assert_false(tmem_arena_charge(arena, 1));
    g_assert_cmpuint(tmem_heap_alloc(&heap, 0, 16, true, &why), ==, 0);
    g_assert_cmpint(why, ==, TMEM_STATUS_NOSPC);
    tmem_arena_uncharge(arena, TMEM_STORE_SIZE_MIN);
    tmem_heap_destroy(&heap);
    tmem_arena_destroy(arena);
    g_free(arena);
}

/* --- Index --- */

static const uint64_t index_edges[] = {
    0, 1, 63, 64, 65, 4095, 4096, UINT32_MAX, 1ull << 32, (1ull << 63) - 1,
    1ull << 63, UINT64_MAX - 64, UINT64_MAX - 63, UINT64_MAX,
};

/* F5, F6: indexes and objects at their edges, gone in all orders. */
static void test_index_edges(void)
{
    static const uint64_t objects[][3] = {
        { 0, 0, 0 }, { UINT64_MAX, UINT64_MAX, UINT64_MAX },
        { 1, 2, 3 }, { 1, 3, 2 }, { 2, 1, 3 }, { 2, 3, 1 }, { 3, 1, 2 },
        { 3, 2, 1 }, { 1, 0, 0 }, { 0, 1, 0 }, { 0, 0, 1 },
    };
    const unsigned nr = G_N_ELEMENTS(objects) * G_N_ELEMENTS(index_edges);
    TmemClientStats stats;
    Fixture f;

    fixture_set_up(&f, FIXTURE_SIZE, 0);
    for (int order = 0; order < 3; order++) {
        for (unsigned i = 0; i < nr; i++) {
            TmemHandle h = { .pool = f.persistent };

            memcpy(h.object, objects[i % G_N_ELEMENTS(objects)], 24);
            h.index = index_edges[i / G_N_ELEMENTS(objects)];
            g_assert_cmpint(test_store(f.ctx, h, TEST_PAGE_FILL32, i), ==, 0);
        }
        tmem_client_get_stats(f.client, &stats);
        g_assert_cmpuint(stats.total.pages, ==, nr);
        g_assert_cmpuint(stats.total.objects, ==, G_N_ELEMENTS(objects));
        test_check(f.store);
        for (unsigned i = 0; i < nr; i++) {
            /* Forwards, backwards (the largest first), inside out. */
            unsigned n = order == 0 ? i : order == 1 ? nr - 1 - i :
                         (i * 101 + 77) % nr;
            TmemHandle h = { .pool = f.persistent };

            memcpy(h.object, objects[n % G_N_ELEMENTS(objects)], 24);
            h.index = index_edges[n / G_N_ELEMENTS(objects)];
            test_expect_page(f.ctx, h, TEST_PAGE_FILL32, n);
            g_assert_cmpint(tmem_page_invalidate(f.ctx, &h), ==, 0);
            test_expect_status(f.ctx, h, TMEM_STATUS_MISS);
            if (i % 16 == 0) {
                test_check(f.store);
            }
        }
        tmem_client_get_stats(f.client, &stats);
        g_assert_cmpuint(stats.total.pages, ==, 0);
        g_assert_cmpuint(stats.total.objects, ==, 0);
        g_assert_cmpuint(stats.total.index_bytes, ==, 0);
    }
    fixture_tear_down(&f);
}

/* What a page costs in the index, in a dense object and alone. */
static void test_index_cost(void)
{
    const uint64_t nr = 64 * 1024;
    TmemClientStats stats;
    Fixture f;

    fixture_set_up(&f, 64u << 20, 0);
    for (uint64_t i = 0; i < nr; i++) {
        g_assert_cmpint(test_store(f.ctx, test_handle(f.persistent, 1, i),
                                   TEST_PAGE_ZERO, 0), ==, 0);
    }
    tmem_client_get_stats(f.client, &stats);
    g_test_message("dense: %.2f bytes a page",
                   (double)stats.total.index_bytes / nr);
    g_assert_cmpuint(stats.total.index_bytes, <, nr * 11);
    test_check(f.store);
    g_assert_cmpint(tmem_object_invalidate(f.ctx,
                        &(TmemHandle) { f.persistent, { 1, 2, 3 } }), ==, 0);

    for (uint64_t i = 0; i < nr; i++) {
        g_assert_cmpint(test_store(f.ctx, test_handle(f.persistent, i, i),
                                   TEST_PAGE_ZERO, 0), ==, 0);
    }
    tmem_client_get_stats(f.client, &stats);
    g_test_message("alone: %.2f bytes a page",
                   (double)stats.total.index_bytes / nr);
    g_assert_cmpuint(stats.total.index_bytes, <, nr * 130);
    test_check(f.store);
    fixture_tear_down(&f);
}

/*
 * One object whose indexes lie far apart, a node for each page: all of them in
 * one shard, and still as many buckets as nodes.
 */
static void test_index_sparse_object(void)
{
    const uint64_t nr = 60000;
    TmemHandle h;
    TmemKey key;
    Fixture f;

    fixture_set_up(&f, FIXTURE_SIZE, 0);
    for (uint64_t i = 0; i < nr; i++) {
        h = test_handle(f.persistent, 1, i * TMEM_NODE_PAGES);
        g_assert_cmpint(test_store(f.ctx, h, TEST_PAGE_ZERO, 0), ==, 0);
    }
    find_entry(&f, h, &key);
    g_assert_cmpuint(key.shard->nr_nodes, ==, nr);
    g_assert_cmpuint(key.shard->nr_buckets, >=, nr);
    test_check(f.store);
    fixture_tear_down(&f);
}

/* Order of words matters, and low bits of the hash are even. */
static void test_hash(void)
{
    uint64_t key[2] = { 0x0706050403020100ull, 0x0f0e0d0c0b0a0908ull };
    unsigned buckets[256] = {};
    TmemSip a, b;

    tmem_sip_init(&a, key);
    tmem_sip_init(&b, key);
    tmem_sip_word(&a, 1);
    tmem_sip_word(&a, 2);
    tmem_sip_word(&b, 2);
    tmem_sip_word(&b, 1);
    g_assert_cmpuint(tmem_sip_end(a, 2), !=, tmem_sip_end(b, 2));
    for (uint64_t i = 0; i < 256 * 100; i++) {
        tmem_sip_init(&a, key);
        tmem_sip_word(&a, i << 32);
        buckets[tmem_sip_end(a, 1) & 255]++;
    }
    for (unsigned i = 0; i < 256; i++) {
        g_assert_cmpuint(buckets[i], >, 50);
        g_assert_cmpuint(buckets[i], <, 150);
    }
}

/* --- Locks --- */

static void test_lock_order(void)
{
    if (g_test_subprocess()) {
        TmemLock low, high;

        tmem_lock_init(&low, TMEM_RANK_SHARD);
        tmem_lock_init(&high, TMEM_RANK_ARENA);
        tmem_lock(&high);
        tmem_lock(&low);
        return;
    }
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_failed();
    g_test_trap_assert_stderr("*taking 'shard' while holding 'arena'*");
}

static void test_lock_across_call(void)
{
    if (g_test_subprocess()) {
        Fixture f;

        fixture_set_up(&f, FIXTURE_SIZE, 0);
        tmem_lock(&f.store->index.shards[0].lock);
        test_store(f.ctx, test_handle(f.persistent, 1, 1), TEST_PAGE_TEXT, 1);
        return;
    }
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_failed();
    g_test_trap_assert_stderr("*'shard' held where none may be*");
}

/* --- The check itself finds what is wrong --- */

static void expect_contradiction(TmemStore *store)
{
    g_autoptr(GError) err = NULL;

    g_assert_false(tmem_store_check(store, &err));
    g_assert_nonnull(err);
    g_test_message("%s", err->message);
}

static void test_check_finds(void)
{
    TmemPool *pool;
    TmemNode *node;
    TmemStatus why;
    TmemKey key;
    TmemRef ref;
    Fixture f;

    fixture_set_up(&f, FIXTURE_SIZE, 0);
    for (uint64_t i = 0; i < 300; i++) {
        test_store(f.ctx, test_handle(f.persistent, i % 3, i),
                   TEST_PAGE_TEXT, i);
    }
    test_check(f.store);
    find_entry(&f, test_handle(f.persistent, 0, 0), &key);
    node = tmem_index_find(&f.store->index, &key);
    pool = node->pool;

    node->bitmap ^= 2;
    expect_contradiction(f.store);
    node->bitmap ^= 2;

    node->base++;
    expect_contradiction(f.store);
    node->base--;

    pool->shared.pages++;
    expect_contradiction(f.store);
    pool->shared.pages--;

    f.client->heap.bytes += 16;
    expect_contradiction(f.store);
    f.client->heap.bytes -= 16;

    key.shard->nr_nodes++;
    expect_contradiction(f.store);
    key.shard->nr_nodes--;

    node->nr_siblings++;
    expect_contradiction(f.store);
    node->nr_siblings--;

    f.store->arena.used_bytes -= 4096;
    expect_contradiction(f.store);
    f.store->arena.used_bytes += 4096;

    /* A slot that nobody knows. */
    ref = tmem_heap_alloc(&f.client->heap, TMEM_SPACE_PERSISTENT, 100, false,
                          &why);
    expect_contradiction(f.store);
    tmem_heap_free(&f.store->arena, ref);
    test_check(f.store);
    fixture_tear_down(&f);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/tmem/codec/round-trip", test_codec_round_trip);
    g_test_add_func("/tmem/codec/almost-same", test_codec_almost_same);
    g_test_add_func("/tmem/codec/garbage", test_codec_garbage);
    g_test_add_func("/tmem/codec/checksum", test_codec_checksum);
    g_test_add_func("/tmem/B3/damage", test_damage);
    g_test_add_func("/tmem/B4/wrong-record", test_wrong_record);
    g_test_add_func("/tmem/arena/classes", test_arena_classes);
    g_test_add_func("/tmem/arena/owner-words", test_arena_owner_words);
    g_test_add_func("/tmem/arena/class-of-another",
                    test_arena_class_of_another);
    g_test_add_func("/tmem/arena/slots", test_arena_slots);
    g_test_add_func("/tmem/B7-B9/index/edges", test_index_edges);
    g_test_add_func("/tmem/index/cost", test_index_cost);
    g_test_add_func("/tmem/index/sparse-object", test_index_sparse_object);
    g_test_add_func("/tmem/hash", test_hash);
    g_test_add_func("/tmem/lock/order", test_lock_order);
    g_test_add_func("/tmem/lock/across-call", test_lock_across_call);
    g_test_add_func("/tmem/check/finds", test_check_finds);
    return g_test_run();
}
