/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Trust groups of which something in memory went bad
 */
#include "testtrust.h"

static TmemRef content_ref(TrustWorld *w, Fixture *m, uint64_t n)
{
    TmemReference reference;
    TestPeek peek;

    g_assert_true(test_peek(m->ctx, trust_page_of(m, n), &peek));
    g_assert_cmpint(tmem_entry_kind(*peek.entry), ==, TMEM_KIND_SHARED);
    memcpy(&reference, peek.data, sizeof(reference));
    for (unsigned i = 0; i < w->group->heap.trust->nr_shards; i++) {
        const TmemTrustShard *shard = &w->group->heap.trust->shards[i];

        for (uint32_t bucket = 0; bucket < shard->nr_buckets; bucket++) {
            TmemRef ref = shard->buckets[bucket];

            while (ref) {
                TmemContent *content = tmem_arena_ptr(&w->store->arena, ref);

                if (content->id == reference.id) {
                    return ref;
                }
                ref = content->next;
            }
        }
    }
    g_assert_not_reached();
}

static TmemContent *content_of(TrustWorld *w, Fixture *m, uint64_t n)
{
    return tmem_arena_ptr(&w->store->arena, content_ref(w, m, n));
}

/* An error for all who have the page, and never a miss or another page. */
static void test_damaged_content(void)
{
    TmemContent *content;
    TrustWorld w;
    Fixture *a, *b;

    trust_set_up(&w);
    a = &w.member[0];
    b = &w.member[1];
    trust_store_pages(a, 0, 10);
    trust_store_pages(b, 0, 10);
    content = content_of(&w, a, 4);
    content->data[content->len / 2] ^= 1;
    test_expect_status(a->ctx, trust_page_of(a, 4), TMEM_STATUS_IO);
    content->data[content->len / 2] ^= 1;
    test_expect_status(a->ctx, trust_page_of(a, 4), TMEM_STATUS_IO);
    test_expect_status(b->ctx, trust_page_of(b, 4), TMEM_STATUS_IO);
    g_assert_cmpuint(test_stats(a->client).total.pages_damaged, ==, 1);
    g_assert_cmpuint(test_stats(a->client).total.loads_error, ==, 2);
    g_assert_cmpuint(test_stats(a->client).total.loads_hit, ==, 0);
    trust_expect_group(&w, 10, 20);
    /* Whoever stores the page again has it. */
    trust_store_pages(b, 4, 1);
    test_expect_page(b->ctx, trust_page_of(b, 4), trust_sort_of(4), 4);
    test_expect_status(a->ctx, trust_page_of(a, 4), TMEM_STATUS_IO);
    trust_expect_group(&w, 11, 20);
    trust_store_pages(a, 4, 1);
    trust_expect_group(&w, 10, 20);
    trust_expect_pages(a, 0, 10);
    trust_expect_pages(b, 0, 10);
    trust_tear_down(&w);
}

/* Caught: what zstd made was taken for a page as it is, and what came after. */
static void test_damaged_kind(void)
{
    TmemCodecChoice codec = { .compressor = TMEM_COMPRESSOR_ZSTD };
    Fixture *a;
    TrustWorld w;

    trust_set_up(&w);
    a = &w.member[0];
    g_assert_true(tmem_pool_set_codec(a->client, a->ephemeral, &codec, NULL));
    for (unsigned bit = 0; bit < 3; bit++) {
        TmemContent *content;

        trust_store_pages(a, 4, 1);
        content = content_of(&w, a, 4);
        g_assert_cmpint(content->kind, ==, TMEM_KIND_ZSTD);
        content->kind ^= 1u << bit;
        test_expect_status(a->ctx, trust_page_of(a, 4), TMEM_STATUS_IO);
        content->kind ^= 1u << bit;
    }
    trust_store_pages(a, 4, 1);
    trust_expect_pages(a, 4, 1);
    trust_tear_down(&w);
}

/* Caught: what was freed stayed in its chain. */
static void test_damaged_hash(void)
{
    TrustWorld w;

    trust_set_up(&w);
    for (unsigned bit = 0; bit < 64; bit++) {
        for (unsigned i = 0; i < 2; i++) {
            trust_store_pages(&w.member[i], 0, 10);
        }
        content_of(&w, &w.member[0], 4)->hash ^= 1ull << bit;
        trust_expect_pages(&w.member[0], 0, 10);
        trust_expect_pages(&w.member[1], 0, 10);
        for (unsigned i = 0; i < 2; i++) {
            TmemHandle h = trust_page_of(&w.member[i], 0);

            g_assert_cmpint(tmem_object_invalidate(w.member[i].ctx, &h), ==,
                            TMEM_STATUS_OK);
        }
        trust_expect_group(&w, 0, 0);
    }
    trust_tear_down(&w);
}

static void test_damaged_reference(void)
{
    TestPeek peek;
    TrustWorld w;
    Fixture *a;

    trust_set_up(&w);
    a = &w.member[0];
    trust_store_pages(a, 0, 10);
    trust_store_pages(&w.member[1], 0, 10);
    g_assert_true(test_peek(a->ctx, trust_page_of(a, 4), &peek));
    peek.data[9] ^= 1;
    test_expect_status(a->ctx, trust_page_of(a, 4), TMEM_STATUS_IO);
    test_expect_status(a->ctx, trust_page_of(a, 4), TMEM_STATUS_IO);
    test_check(w.store);
    g_assert_cmpuint(test_stats(a->client).total.pages_damaged, ==, 1);
    trust_expect_pages(&w.member[1], 0, 10);
    peek.data[9] ^= 1;
    trust_tear_down(&w);
}

/* What tmem_store_check() says of each thing that is wrong. */
static void test_check_finds(void)
{
    TmemTrustShard *shard;
    TmemContent *content;
    uint64_t *owner;
    TrustWorld w;

    trust_set_up(&w);
    trust_store_pages(&w.member[0], 0, 10);
    trust_store_pages(&w.member[1], 0, 5);
    content = content_of(&w, &w.member[0], 4);
    owner = tmem_slot_owner(&w.store->arena,
                            content_ref(&w, &w.member[0], 4));
    shard = &w.group->heap.trust->shards[tmem_owner_shard(*owner)];
#define EXPECT(place, sentence) do {                                          \
        g_autoptr(GError) err = NULL;                                         \
                                                                              \
        place ^= 1;                                                           \
        g_assert_false(tmem_store_check(w.store, &err));                      \
        g_assert_nonnull(strstr(err->message, sentence));                     \
        place ^= 1;                                                           \
        test_check(w.store);                                                  \
    } while (0)
    EXPECT(content->nr_refs, "counts 3 references to a page, 2 found");
    EXPECT(content->data[10], "does not match its hash or its checksum");
    EXPECT(content->checksum, "does not match its hash or its checksum");
    EXPECT(*owner, "in the wrong place");
    EXPECT(shard->levels.contents, "a trust group counts");
    EXPECT(shard->levels.references, "a trust group counts");
    EXPECT(shard->levels.data_bytes, "a trust group counts");
    EXPECT(shard->levels.saved_bytes, "a trust group counts");
#undef EXPECT
    trust_tear_down(&w);
}

/* A length that went bad leads no mover beyond the slot. */
static void damage_length(TestPage kind, unsigned mask)
{
    const uint64_t nr = 4000, left = 20;
    TmemContent *content[4000 / 20];
    TrustWorld w;

    trust_set_up_sized(&w, 128u << 20);
    for (uint64_t n = 0; n < nr; n++) {
        trust_store_both(&w, kind, n);
    }
    for (uint64_t n = 0; n < nr; n++) {
        if (n % left) {
            trust_invalidate_both(&w, n);
        }
    }
    for (uint64_t n = 0; n < nr; n += 4 * left) {
        content[n / left] = content_of(&w, &w.member[0], n);
        content[n / left]->len ^= mask;
    }
    trust_compact(&w);
    for (uint64_t n = 0; n < nr; n += left) {
        for (unsigned i = 0; i < 2; i++) {
            Fixture *m = &w.member[i];

            if (n % (4 * left)) {
                test_expect_page(m->ctx, trust_page_of(m, n), kind, n);
            } else {
                test_expect_status(m->ctx, trust_page_of(m, n), TMEM_STATUS_IO);
            }
        }
    }
    for (uint64_t n = 0; n < nr; n += 4 * left) {
        content[n / left]->len ^= mask;
    }
    trust_expect_group(&w, nr / left, 2 * nr / left);
    trust_tear_down(&w);
}

static void test_damaged_length(void)
{
    damage_length(TEST_PAGE_MIXED, TMEM_PAGE_SIZE);
}

/* Caught: more than a page, but still inside of the slot, ended the process. */
static void test_damaged_length_raw(void)
{
    damage_length(TEST_PAGE_NOISE, 8);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/tmem/trust/damaged-content", test_damaged_content);
    g_test_add_func("/tmem/trust/damaged-kind", test_damaged_kind);
    g_test_add_func("/tmem/trust/damaged-hash", test_damaged_hash);
    g_test_add_func("/tmem/trust/damaged-reference", test_damaged_reference);
    g_test_add_func("/tmem/trust/damaged-length", test_damaged_length);
    g_test_add_func("/tmem/trust/damaged-length-raw", test_damaged_length_raw);
    g_test_add_func("/tmem/trust/check", test_check_finds);
    return g_test_run();
}
