/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A trust group, two members and an outsider, for tests
 */
#include "testtrust.h"

void trust_set_up_sized(TrustWorld *w, uint64_t size_bytes)
{
    g_autoptr(GError) err = NULL;

    *w = (TrustWorld) { .store = test_new_store(size_bytes) };
    w->group = test_new_group(w->store, "g");
    w->tables_bytes = tmem_trust_tables_bytes(w->group->heap.trust);
    for (unsigned i = 0; i < MEMBERS; i++) {
        char name[] = { 'a' + i, 0 };
        TmemClientConfig client_config = { .name = name };
        Fixture *m = &w->member[i];

        fixture_join(m, w->store, &client_config);
        if (i != OUTSIDER) {
            g_assert_true(tmem_client_set_trust_group(m->client, w->group,
                                                      &err));
            g_assert_no_error(err);
        }
        fixture_create_pools(m);
    }
}

void trust_set_up(TrustWorld *w)
{
    trust_set_up_sized(w, FIXTURE_SIZE);
}

void trust_expect_group(TrustWorld *w, uint64_t pages, uint64_t references)
{
    TmemClientStats stats = test_stats(w->group);

    test_check(w->store);
    for (unsigned i = 0; i < MEMBERS && w->member[i].client; i++) {
        test_check_laws(w->member[i].client);
    }
    g_assert_cmpuint(stats.group_pages, ==, pages);
    g_assert_cmpuint(stats.group_references, ==, references);
    if (pages == references) {
        g_assert_cmpuint(stats.group_saved_bytes, ==, 0);
    }
    if (!pages) {
        g_assert_cmpuint(stats.bytes, ==, w->tables_bytes);
    }
}

void trust_tear_down(TrustWorld *w)
{
    test_check(w->store);
    for (unsigned i = 0; i < MEMBERS; i++) {
        fixture_leave(&w->member[i]);
    }
    trust_expect_group(w, 0, 0);
    tmem_client_free(w->group);
    tmem_store_free(w->store);
}

TmemHandle trust_page_of(const Fixture *m, uint64_t n)
{
    return test_handle(m->ephemeral, n / 64, n);
}

TestPage trust_sort_of(uint64_t n)
{
    return n % 3 ? TEST_PAGE_MIXED : TEST_PAGE_NOISE;
}

void trust_store_pages(Fixture *m, uint64_t first, uint64_t nr)
{
    for (uint64_t n = first; n < first + nr; n++) {
        g_assert_cmpint(test_store(m->ctx, trust_page_of(m, n),
                                   trust_sort_of(n), n), ==, TMEM_STATUS_OK);
    }
}

void trust_expect_pages(Fixture *m, uint64_t first, uint64_t nr)
{
    for (uint64_t n = first; n < first + nr; n++) {
        test_expect_page(m->ctx, trust_page_of(m, n), trust_sort_of(n), n);
    }
}

void trust_store_both(TrustWorld *w, TestPage kind, uint64_t n)
{
    for (unsigned i = 0; i < 2; i++) {
        Fixture *m = &w->member[i];

        g_assert_cmpint(test_store(m->ctx, trust_page_of(m, n), kind, n), ==,
                        0);
    }
}

void trust_invalidate_both(TrustWorld *w, uint64_t n)
{
    for (unsigned i = 0; i < 2; i++) {
        TmemHandle h = trust_page_of(&w->member[i], n);

        g_assert_cmpint(tmem_page_invalidate(w->member[i].ctx, &h), ==, 0);
    }
}

void trust_compact(TrustWorld *w)
{
    test_set_upkeep(w->store, 10, true);
    for (uint64_t s = 1; s < 100; s++) {
        test_upkeep(w->store, s);
    }
}
