/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmem_store_check() finds a contradiction in each structure, and names it
 *
 * Each case damages one thing in a store with pages of all sorts, wants the
 * sentence of the check, puts the thing right, and wants silence.
 */
#include "testpeek.h"

#define PLANTED_MAX     4

/* What was changed, to be put right again. */
typedef struct World {
    Fixture f;
    TmemClient *other;
    struct {
        void *at;
        size_t bytes;
        uint64_t old;
    } planted[PLANTED_MAX];
    unsigned nr;
} World;

static void plant(World *w, void *at, size_t bytes, uint64_t value)
{
    g_assert_cmpuint(w->nr, <, PLANTED_MAX);
    w->planted[w->nr].at = at;
    w->planted[w->nr].bytes = bytes;
    memcpy(&w->planted[w->nr].old, at, bytes);
    memcpy(at, &value, bytes);
    w->nr++;
}

/* Sets a member, whatever its type. */
#define PLANT(w, member, value)                                               \
    plant(w, &(member), sizeof(member), value)

static void put_right(World *w)
{
    while (w->nr) {
        w->nr--;
        memcpy(w->planted[w->nr].at, &w->planted[w->nr].old,
               w->planted[w->nr].bytes);
    }
}

/*
 * Object 1 of each pool has pages 0 to 9 of all sorts in one node with an
 * array; object 2 has two nodes of one page each.
 */
static TmemHandle page_of(World *w, bool ephemeral, unsigned i)
{
    return test_handle(ephemeral ? w->f.ephemeral : w->f.persistent, 1, i);
}

static TestPeek peek(World *w, TmemHandle h)
{
    TestPeek found;

    g_assert_true(test_peek(w->f.ctx, h, &found));
    return found;
}

static TestPeek peek_text(World *w, bool ephemeral)
{
    return peek(w, page_of(w, ephemeral, TEST_PAGE_TEXT));
}

static TmemSegment *segment_of(World *w, TmemRef ref)
{
    TmemArena *arena = &w->f.store->arena;

    return &arena->segments[tmem_arena_segment_of(arena, ref)];
}

static TmemSegment *text_segment(World *w)
{
    return segment_of(w, tmem_entry_ref(*peek_text(w, true).entry));
}

/* --- What to damage --- */

static void entry_kind(World *w)
{
    PLANT(w, *peek_text(w, false).entry, 0);
}

static void entry_ref(World *w)
{
    TmemEntry *entry = peek_text(w, false).entry;

    PLANT(w, *entry, *entry | ((1ull << TMEM_REF_BITS) - 1));
}

static void entry_ref_free(World *w)
{
    TmemArena *arena = &w->f.store->arena;
    TmemEntry *entry = peek_text(w, false).entry;
    TmemRef ref = tmem_arena_ref(arena, arena->nr_segments - 1, 0);

    PLANT(w, *entry, tmem_entry_make(TMEM_KIND_LZ4, ref, 100, 0));
}

/* Where a segment of the ephemeral space has its owner words. */
static void entry_ref_no_slot(World *w)
{
    TmemArena *arena = &w->f.store->arena;
    TmemEntry *entry = peek_text(w, true).entry;
    uint32_t nr = tmem_arena_segment_of(arena, tmem_entry_ref(*entry));
    TmemRef ref = tmem_arena_ref(arena, nr, 0);

    PLANT(w, *entry, *entry - tmem_entry_ref(*entry) + ref);
}

static void entry_shared(World *w)
{
    TestPeek mixed = peek(w, page_of(w, false, TEST_PAGE_MIXED));

    PLANT(w, *peek(w, page_of(w, false, TEST_PAGE_NOISE)).entry, *mixed.entry);
}

static void entry_len(World *w)
{
    TmemEntry *entry = peek_text(w, false).entry;

    PLANT(w, *entry, *entry | 0xfffull << TMEM_ENTRY_LEN_SHIFT);
}

static void record_checksum(World *w)
{
    TestPeek p = peek_text(w, false);

    PLANT(w, *p.checksum, ~*p.checksum);
}

static void record_data(World *w)
{
    TestPeek p = peek_text(w, true);

    PLANT(w, p.data[p.len / 2], ~p.data[p.len / 2]);
}

static void record_tag(World *w)
{
    TestPeek p = peek_text(w, false);
    uint8_t *tag = (uint8_t *)p.checksum + TMEM_RECORD_TAG;

    PLANT(w, *tag, ~*tag);
}

static void record_owner(World *w)
{
    TmemRef ref = tmem_entry_ref(*peek_text(w, true).entry);
    uint64_t *owner = tmem_slot_owner(&w->f.store->arena, ref);

    PLANT(w, *owner, *owner ^ 1ull << 40);
}

static void record_space(World *w)
{
    PLANT(w, text_segment(w)->space, TMEM_SPACE_PERSISTENT);
}

static void segment_heap(World *w)
{
    TestPeek p = peek_text(w, false);

    PLANT(w, segment_of(w, tmem_entry_ref(*p.entry))->heap,
          (uintptr_t)&w->other->heap);
}

static void array_owner(World *w)
{
    TestPeek p = peek_text(w, false);
    TmemArray *array = tmem_arena_ptr(&w->f.store->arena, p.node->entries);

    PLANT(w, array->owner, 0);
}

static void node_bitmap(World *w)
{
    PLANT(w, peek_text(w, false).node->bitmap, UINT64_MAX);
}

static void node_pool(World *w)
{
    TestPeek p = peek_text(w, false);

    PLANT(w, p.node->pool, (uintptr_t)&w->f.client->pools[77]);
}

static void node_object(World *w)
{
    PLANT(w, peek_text(w, true).node->object[1], 4711);
}

static void node_owner(World *w)
{
    PLANT(w, peek_text(w, false).node->owner, 0);
}

static void node_chain(World *w)
{
    TestPeek p = peek_text(w, false);
    uint32_t bucket = tmem_shard_bucket(p.key.shard, p.key.hash_head);

    PLANT(w, *tmem_shard_chain(p.key.shard, bucket), 0);
}

static void shard_nodes(World *w)
{
    PLANT(w, w->f.store->index.shards[0].nr_nodes,
          w->f.store->index.shards[0].nr_nodes + 1);
}

static TmemNode *head_of_two(World *w)
{
    TestPeek p = peek(w, test_handle(w->f.persistent, 2, 0));

    if (!p.node->is_head) {
        p = peek(w, test_handle(w->f.persistent, 2, 640));
    }
    g_assert_true(p.node->is_head);
    return p.node;
}

static void siblings(World *w)
{
    PLANT(w, head_of_two(w)->nr_siblings, 2);
}

static void sibling_list(World *w)
{
    TmemNode *head = head_of_two(w);
    TmemNode *sibling = tmem_arena_ptr(&w->f.store->arena,
                                       head->sibling_first);

    PLANT(w, sibling->prev, head->sibling_first);
}

static void pool_objects(World *w)
{
    TmemPool *pool = tmem_pool_find(w->f.client, w->f.persistent);

    PLANT(w, pool->objects,
          ((TmemNode *)tmem_arena_ptr(&w->f.store->arena,
                                      pool->objects))->following);
}

static void persistent_pages(World *w)
{
    PLANT(w, w->f.client->persistent.came, 1);
}

static void client_pools(World *w)
{
    PLANT(w, w->f.client->nr_pools, 1);
}

static void client_charged(World *w)
{
    PLANT(w, w->f.client->heap.charged_bytes, 4096);
}

static void heap_bytes(World *w)
{
    PLANT(w, w->f.client->heap.bytes, w->f.client->heap.bytes + 16);
}

static void heap_segments(World *w)
{
    PLANT(w, w->f.client->heap.nr_segments, 1);
}

static void heaps_bytes(World *w)
{
    PLANT(w, w->f.store->arena.heaps_bytes, 16);
}

static void used_bytes(World *w)
{
    PLANT(w, w->f.store->arena.used_bytes, 0);
}

static void over_budget(World *w)
{
    PLANT(w, w->f.store->arena.used_bytes, w->f.store->size_bytes + 1);
}

static void nr_idle(World *w)
{
    PLANT(w, w->f.store->arena.nr_idle, 1000);
}

static void segment_used(World *w)
{
    PLANT(w, text_segment(w)->nr_used, text_segment(w)->nr_used + 1);
}

static void segment_watermark(World *w)
{
    PLANT(w, text_segment(w)->watermark, 0);
}

static void segment_list(World *w)
{
    PLANT(w, text_segment(w)->list, TMEM_LIST_NONE);
}

/* A free slot was made in set_up(). */
static void segment_free_list(World *w)
{
    TmemArena *arena = &w->f.store->arena;

    for (uint32_t nr = 0; nr < arena->nr_virgin; nr++) {
        TmemSegment *seg = &arena->segments[nr];

        if (seg->in_use && seg->free_head) {
            PLANT(w, seg->free_head, seg->free_head + 1);
            return;
        }
    }
    g_assert_not_reached();
}

static void class_used(World *w)
{
    TmemClass *c = tmem_segment_class(text_segment(w));

    PLANT(w, c->nr_used, c->nr_used + 1);
}

static void eviction_order(World *w)
{
    TmemSpace space = TMEM_SPACE_EPHEMERAL;

    PLANT(w, w->f.client->heap.order[space].first, TMEM_SEGMENT_NONE);
}

/* It must end, too. */
static void eviction_order_ring(World *w)
{
    PLANT(w, text_segment(w)->order_next,
          (uint32_t)(text_segment(w) - w->f.store->arena.segments));
}

typedef struct Case {
    const char *name;
    void (*damage)(World *w);
    const char *sentence;       /* a part of it */
} Case;

/* Of the places for credit, which is granted for this. */
static TmemParts *records_of(World *w)
{
    tmem_client_grant_credit(w->f.ctx);
    return &w->f.client->purse.parts[TMEM_PART_RECORD];
}

static void purse_count(World *w)
{
    PLANT(w, records_of(w)->nr, records_of(w)->nr + 1);
}

static void purse_claims(World *w)
{
    PLANT(w, records_of(w)->nr_claimed, records_of(w)->nr + 1);
}

static void purse_credit(World *w)
{
    PLANT(w, w->f.client->purse.credit, records_of(w)->nr_claimed + 1);
}

static void purse_bytes(World *w)
{
    records_of(w);
    PLANT(w, w->f.client->purse.bytes, w->f.client->purse.bytes + 16);
}

/* The record of a page that is held. */
static void purse_shared(World *w)
{
    TestPeek text = peek_text(w, false);

    PLANT(w, records_of(w)->first, tmem_entry_ref(*text.entry));
}

/* A slot that is too small. */
static void purse_slot(World *w)
{
    TmemParts *records = records_of(w);

    PLANT(w, records->first,
          w->f.client->purse.parts[TMEM_PART_INDEX].first);
}

static void purse_outside(World *w)
{
    PLANT(w, records_of(w)->first, 1ull << 39);
}

static const Case cases[] = {
    { "purse-count", purse_count, "places for credit" },
    { "purse-claims", purse_claims, "places claimed" },
    { "purse-credit", purse_credit, "places claimed" },
    { "purse-bytes", purse_bytes, "bytes for credit" },
    { "purse-shared", purse_shared, "a place for credit" },
    { "purse-slot", purse_slot, "none of the client's" },
    { "purse-outside", purse_outside, "credit outside of the arena" },
    { "entry-kind", entry_kind, "entry of unknown kind" },
    { "entry-outside", entry_ref, "a record outside of the arena" },
    { "entry-in-free-segment", entry_ref_free, "a record in a free segment" },
    /* Caught: the owner word was looked for far outside, and that crashed. */
    { "entry-in-no-slot", entry_ref_no_slot, "a record in no slot" },
    { "entry-shared", entry_shared, "a record shares its slot" },
    { "entry-length", entry_len, "does not fit its slot" },
    { "record-checksum", record_checksum, "does not match its checksum" },
    { "record-data", record_data, "does not match its checksum" },
    { "record-tag", record_tag, "record with the wrong tag" },
    { "record-owner", record_owner, "record with the wrong owner" },
    { "record-space", record_space, "in the wrong space" },
    { "segment-client", segment_heap, "in another client's segment" },
    { "array-owner", array_owner, "array with the wrong owner" },
    { "node-bitmap", node_bitmap, "node with 64 pages" },
    { "node-pool", node_pool, "node of a pool that does not exist" },
    { "node-object", node_object, "node in the wrong place" },
    { "node-owner", node_owner, "node in the wrong place" },
    { "node-chain", node_chain, "nodes, " },
    { "shard-nodes", shard_nodes, "shard 0: " },
    { "siblings", siblings, "siblings" },
    { "sibling-list", sibling_list, "wrong list of siblings" },
    { "pool-objects", pool_objects, "pool's list of objects" },
    { "persistent-pages", persistent_pages, "client's persistent pages" },
    { "client-pools", client_pools, "client's pools" },
    { "client-tables", client_charged, "client's tables" },
    { "heap-bytes", heap_bytes, "a client of " },
    { "heap-segments", heap_segments, "a client of 1 segments" },
    { "heaps-bytes", heaps_bytes, "clients of 16 bytes" },
    { "used-bytes", used_bytes, "0 bytes used" },
    { "over-budget", over_budget, "bytes used" },
    { "idle-segments", nr_idle, "bytes used" },
    { "segment-used", segment_used, "used and" },
    { "segment-watermark", segment_watermark, "segment " },
    { "segment-list", segment_list, "on the wrong list" },
    { "segment-free-list", segment_free_list, "bad free slot" },
    { "class-used", class_used, "slots are used that neither" },
    { "eviction-order", eviction_order, "in the eviction order" },
    { "eviction-order-ring", eviction_order_ring, "in the eviction order" },
};

/* --- Running them --- */

static void set_up(World *w)
{
    TmemClientConfig config = { .name = "test", .credit = 4 };

    memset(w, 0, sizeof(*w));
    fixture_set_up_client(&w->f, FIXTURE_SIZE, &config);
    for (int ephemeral = 0; ephemeral < 2; ephemeral++) {
        for (unsigned i = 0; i < 10; i++) {
            g_assert_cmpint(test_store(w->f.ctx, page_of(w, ephemeral, i),
                                       i % TEST_PAGE__MAX, i + 1), ==, 0);
        }
        for (unsigned i = 0; i < 2; i++) {
            TmemHandle h = test_handle(ephemeral ? w->f.ephemeral :
                                       w->f.persistent, 2, i * 640);

            g_assert_cmpint(test_store(w->f.ctx, h, TEST_PAGE_MIXED, i), ==,
                            0);
        }
    }
    /* Two records of one class, one of which goes again. */
    for (unsigned i = 100; i < 102; i++) {
        TmemHandle h = page_of(w, false, i);

        g_assert_cmpint(test_store(w->f.ctx, h, TEST_PAGE_NOISE, i), ==, 0);
        if (i == 101) {
            tmem_page_invalidate(w->f.ctx, &h);
        }
    }
    config = (TmemClientConfig) { .name = "other" };
    w->other = tmem_client_new(w->f.store, &config, NULL);
    g_assert_nonnull(w->other);
}

static void tear_down(World *w)
{
    tmem_client_free(w->other);
    fixture_tear_down(&w->f);
}

static void expect_check(World *w, const char *sentence)
{
    g_autoptr(GError) err = NULL;

    g_assert_false(tmem_store_check(w->f.store, &err));
    g_assert_nonnull(err);
    if (!strstr(err->message, sentence)) {
        g_test_message("wanted '%s'", sentence);
        g_assert_cmpstr(err->message, ==, sentence);
    }
}

static void expect_sentence(World *w, const char *sentence)
{
    expect_check(w, sentence);
    put_right(w);
    test_check(w->f.store);
}

static void test_case(gconstpointer opaque)
{
    const Case *c = opaque;
    World w;

    set_up(&w);
    test_check(w.f.store);
    c->damage(&w);
    expect_sentence(&w, c->sentence);
    tear_down(&w);
}

static void check_pool_level(World *w, uint64_t *level, const char *name)
{
    g_autofree char *sentence = g_strdup_printf("pool %s: counters say", name);

    plant(w, level, sizeof(*level), *level + 1);
    expect_sentence(w, sentence);
}

static void test_pool_levels(void)
{
    TmemPool *pool;
    World w;

    set_up(&w);
    pool = tmem_pool_find(w.f.client, w.f.ephemeral);
#define LEVEL(name, kind, unit, text)                                         \
    check_pool_level(&w, &pool->shared.name, #name);
    TMEM_POOL_LEVELS(LEVEL)
#undef LEVEL
    tear_down(&w);
}

/* One page more than there is in the middle of the distribution of sizes. */
static void test_sizes(void)
{
    unsigned bucket = TMEM_SIZE_BUCKETS / 2;
    World w;

    set_up(&w);
    PLANT(&w, w.f.client->held.sizes.held[bucket],
          w.f.client->held.sizes.held[bucket] + 1);
    expect_sentence(&w, "client's distribution of sizes: counters say");
    PLANT(&w, w.f.ctx->held.sizes.held[bucket],
          w.f.ctx->held.sizes.held[bucket] - 1);
    expect_sentence(&w, "client's distribution of sizes: counters say");
    PLANT(&w, w.f.ctx->held.bytes, w.f.ctx->held.bytes + 1);
    expect_sentence(&w, "client's stored bytes: counters say");
    tear_down(&w);
}

/* A slot that was taken and forgotten. */
static void test_lost_slot(void)
{
    TmemStatus why;
    TmemRef ref;
    World w;

    set_up(&w);
    ref = tmem_heap_alloc(&w.f.client->heap, TMEM_SPACE_PERSISTENT, 100, false,
                          &why);
    g_assert_cmpuint(ref, !=, 0);
    expect_check(&w, "slots are used that neither the index");
    tmem_heap_free(&w.f.store->arena, ref);
    tear_down(&w);
}

typedef struct InHand {
    World *w;
    TmemRef ref;
} InHand;

/* What the end of a store that is refused does, with no shard locked. */
static void give_back(void *opaque)
{
    InHand *h = opaque;

    if (h->ref) {
        tmem_heap_free(&h->w->f.store->arena, h->ref);
        __atomic_store_n(&h->w->f.ctx->in_operation, false, __ATOMIC_RELAXED);
        h->ref = 0;
    }
}

/* A slot that an operation has in hand, and gives back during the check. */
static void test_slot_in_hand(void)
{
    TmemStatus why;
    InHand h;
    World w;

    set_up(&w);
    h.w = &w;
    __atomic_store_n(&w.f.ctx->in_operation, true, __ATOMIC_RELAXED);
    h.ref = tmem_heap_alloc(&w.f.client->heap, TMEM_SPACE_PERSISTENT, 100,
                            false, &why);
    g_assert_cmpuint(h.ref, !=, 0);
    test_check(w.f.store);
    tmem_check_set_between(give_back, &h);
    test_check(w.f.store);
    g_assert_cmpuint(h.ref, ==, 0);
    tmem_check_set_between(NULL, NULL);
    tear_down(&w);
}

/* How long a check waits for what must not happen meanwhile. */
#define PATIENCE_US     (100 * 1000)

typedef struct Newcomer {
    TmemStore *store;
    GThread *thread;
    bool done;              /* atomic */
} Newcomer;

/* A group whose tables are more than it may have: it comes, and goes at once */
static gpointer come_and_go(gpointer opaque)
{
    TmemClientConfig config = {
        .name = "newcomer", .is_trust_group = true,
        .limits.max_bytes = 40 << 10,
    };
    g_autoptr(GError) err = NULL;
    Newcomer *n = opaque;

    g_assert_null(tmem_client_new(n->store, &config, &err));
    g_assert_nonnull(strstr(err->message, "the tables of the trust group"));
    __atomic_store_n(&n->done, true, __ATOMIC_RELAXED);
    return NULL;
}

static void during_check(void *opaque)
{
    int64_t end_us = g_get_monotonic_time() + PATIENCE_US;
    Newcomer *n = opaque;

    n->thread = g_thread_new("newcomer", come_and_go, n);
    while (g_get_monotonic_time() < end_us) {
        g_assert_false(__atomic_load_n(&n->done, __ATOMIC_RELAXED));
        g_usleep(1000);
    }
}

/* Caught: the check read the heap of a client that was just refused. */
static void test_client_refused(void)
{
    Newcomer n = {};
    World w;

    set_up(&w);
    n.store = w.f.store;
    tmem_check_set_between(during_check, &n);
    test_check(w.f.store);
    tmem_check_set_between(NULL, NULL);
    g_thread_join(n.thread);
    g_assert_true(n.done);
    tear_down(&w);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *path = g_strdup_printf("/tmem/check/%s",
                                                cases[i].name);

        g_test_add_data_func(path, &cases[i], test_case);
    }
    g_test_add_func("/tmem/check/pool-levels", test_pool_levels);
    g_test_add_func("/tmem/check/sizes", test_sizes);
    g_test_add_func("/tmem/check/lost-slot", test_lost_slot);
    g_test_add_func("/tmem/check/slot-in-hand", test_slot_in_hand);
    g_test_add_func("/tmem/check/client-refused", test_client_refused);
    return g_test_run();
}
