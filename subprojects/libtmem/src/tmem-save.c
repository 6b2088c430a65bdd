/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: pools into a stream
 *
 * A node is copied under its shard's lock and dropped in the same hold; it is
 * written with no lock held.
 */
#include <errno.h>
#include <string.h>

#include "libtmem/tmem-save.h"
#include "tmem-error.h"
#include "tmem-store.h"
#include "tmem-stream.h"

/* The most that one node can need. */
#define NODE_BYTES_MAX  (sizeof(StreamNode) + TMEM_NODE_PAGES *               \
                         (sizeof(StreamPage) + TMEM_PAGE_SIZE))

struct TmemSaver {
    TmemStore *store;
    int fd;
    uint64_t offset;        /* where the block goes */
    uint64_t sum;           /* of the section so far */
    size_t used;            /* of the block */
    uint8_t *block;
    uint8_t *node;          /* NODE_BYTES_MAX */
    GByteArray *directory;
    uint32_t nr_bundles;
};

/* --- Writing --- */

static bool cannot_write(GError **errp)
{
    return tmem_error_set(errp, "the pages cannot be handed over, for want of "
                          "memory or of room in the file: %s",
                          strerror(errno));
}

static bool flush(TmemSaver *saver, GError **errp)
{
    if (!saver->used) {
        return true;
    }
    if (!tmem_stream_write(saver->fd, saver->block, saver->used,
                           saver->offset)) {
        return cannot_write(errp);
    }
    saver->sum = tmem_stream_sum(saver->sum, saver->block, saver->used);
    saver->offset += saver->used;
    saver->used = 0;
    return true;
}

static bool put(TmemSaver *saver, const void *data, uint64_t bytes,
                GError **errp)
{
    while (bytes) {
        size_t part = MIN(bytes, TMEM_STREAM_BLOCK - saver->used);

        memcpy(saver->block + saver->used, data, part);
        saver->used += part;
        data = (const uint8_t *)data + part;
        bytes -= part;
        if (saver->used == TMEM_STREAM_BLOCK && !flush(saver, errp)) {
            return false;
        }
    }
    return true;
}

/* --- A node --- */

/* Shard locked: what is said of the page at @pos; its data go to @data. */
static size_t pack_page(TmemSaver *saver, TmemNode *node, unsigned pos,
                        StreamPage *page, uint8_t *data)
{
    TmemIndex *index = &saver->store->index;
    TmemEntry entry = *tmem_node_entry(index, node, pos);
    TmemRef ref = tmem_entry_ref(entry);
    void *record;

    *page = (StreamPage) {
        .kind = tmem_entry_kind(entry),
        .word = tmem_entry_word32(entry),
    };
    /* The next process would take what makes no sense for a broken stream. */
    if ((entry & TMEM_ENTRY_DAMAGED) || !tmem_codec_made(entry) ||
        !tmem_index_is_whole(index, node, pos, entry)) {
        page->damaged = 1;
        page->word = 0;
        return 0;
    }
    if (!ref) {
        return 0;
    }
    record = tmem_arena_ptr(&saver->store->arena, ref);
    page->slot_units = tmem_arena_slot_bytes(&saver->store->arena, ref) >>
                       TMEM_UNIT_SHIFT;
    page->len = tmem_entry_len(entry);
    page->word = *tmem_record_checksum(record);
    memcpy(data, tmem_record_data(record), page->len);
    return page->len;
}

/* Shard locked: copies @node to saver->node.  Returns how many bytes it is. */
static size_t pack_node(TmemSaver *saver, TmemNode *node)
{
    unsigned nr = __builtin_popcountll(node->bitmap), n = 0;
    StreamNode head = { .base = node->base, .bitmap = node->bitmap };
    uint8_t *pages = saver->node + sizeof(head);
    uint8_t *data = pages + nr * sizeof(StreamPage);

    memcpy(head.object, node->object, sizeof(head.object));
    memcpy(saver->node, &head, sizeof(head));
    for (uint64_t left = node->bitmap; left; left &= left - 1) {
        StreamPage page;

        data += pack_page(saver, node, __builtin_ctzll(left), &page, data);
        memcpy(pages + n++ * sizeof(page), &page, sizeof(page));
    }
    return data - saver->node;
}

/* Moves the oldest node of the pool's oldest object; 0: there is none. */
static size_t take_node(TmemSaver *saver, TmemPool *pool)
{
    TmemIndex *index = &saver->store->index;
    TmemDelta delta = {};
    uint64_t object[3];
    size_t bytes = 0;
    TmemNode *head;
    TmemKey key;

    if (!tmem_pool_first_object(pool, object)) {
        return 0;
    }
    tmem_index_key(index, pool, pool->hash_id, object, 0, &key);
    tmem_lock(&key.shard->lock);
    head = tmem_index_find_head(index, &key);
    if (head) {
        bytes = pack_node(saver, head);
        tmem_index_remove_node(index, key.shard, head, &delta);
        tmem_pool_apply(pool, &delta);
    }
    tmem_unlock(&key.shard->lock);
    tmem_arena_trim(&saver->store->arena);
    return bytes;
}

/* --- A pool --- */

static bool save_nodes(TmemSaver *saver, TmemPool *pool, GError **errp)
{
    size_t bytes;

    while ((bytes = take_node(saver, pool))) {
        if (!put(saver, saver->node, bytes, errp)) {
            return false;
        }
    }
    return true;
}

static bool save_pool(TmemSaver *saver, TmemClient *client,
                      const StreamPool *head, GError **errp)
{
    static const StreamNode end;
    TmemPool *pool = tmem_pool_find(client, head->id);
    bool ok = put(saver, head, sizeof(*head), errp);

    if (ok && pool && tmem_pool_id_kind(head->id) == TMEM_POOL_PERSISTENT) {
        ok = save_nodes(saver, pool, errp);
    }
    tmem_pool_destroy(client, head->id);
    return ok && put(saver, &end, sizeof(end), errp);
}

/* --- A bundle --- */

typedef struct Pools {
    TmemClient *client;
    uint64_t host_pool;
    GArray *heads;          /* StreamPool */
} Pools;

/* With the client locked, as for any TmemPoolFunc. */
static void collect_pool(const TmemPoolInfo *info, void *opaque)
{
    Pools *pools = opaque;
    const TmemPool *pool =
        &pools->client->pools[tmem_pool_id_slot(info->id)];
    StreamPool head = {
        .id = info->id,
        .min_bytes = pool->quota.min_bytes,
        .max_bytes = pool->quota.max_bytes,
        .weight = pool->quota.weight,
        .codec = pool->codec,
    };

    if (pools->host_pool ? info->id == pools->host_pool :
        !info->shared && !tmem_pool_id_is_host(info->id)) {
        g_array_append_val(pools->heads, head);
    }
}

static void list_entry(TmemSaver *saver, const StreamEntry *entry,
                       const TmemBundle *bundle)
{
    g_byte_array_append(saver->directory, (const void *)entry, sizeof(*entry));
    g_byte_array_append(saver->directory, (const void *)bundle->name,
                        entry->name_bytes);
    g_byte_array_append(saver->directory, (const void *)bundle->client,
                        entry->client_bytes);
    saver->nr_bundles++;
}

static bool check_bundle(const TmemSaver *saver, const TmemBundle *bundle,
                         GError **errp)
{
    if (strlen(bundle->name) > TMEM_BUNDLE_NAME_MAX ||
        strlen(bundle->client) > TMEM_BUNDLE_NAME_MAX ||
        bundle->state_bytes > TMEM_BUNDLE_STATE_MAX ||
        saver->nr_bundles == TMEM_STREAM_BUNDLES_MAX) {
        return tmem_error_set(errp, "the pages of '%s' cannot be handed over: "
                              "its name is too long, or there is too much of "
                              "it", bundle->name);
    }
    return true;
}

bool tmem_saver_add(TmemSaver *saver, TmemClient *client,
                    const TmemBundle *bundle, uint64_t host_pool,
                    GError **errp)
{
    g_autoptr(GArray) heads = g_array_new(false, false, sizeof(StreamPool));
    Pools pools = {
        .client = client, .host_pool = host_pool, .heads = heads,
    };
    StreamEntry entry = {
        .offset = saver->offset,
        .state_bytes = bundle->state_bytes,
        .name_bytes = strlen(bundle->name),
        .client_bytes = strlen(bundle->client),
        .is_host = host_pool != 0,
        .credit = host_pool ? 0 : tmem_credit_outstanding(client),
    };

    tmem_assert_unlocked();
    if (!check_bundle(saver, bundle, errp)) {
        return false;
    }
    saver->sum = 0;
    tmem_client_foreach_pool(client, collect_pool, &pools);
    entry.nr_pools = heads->len;
    if (!put(saver, bundle->state, bundle->state_bytes, errp)) {
        return false;
    }
    for (unsigned i = 0; i < heads->len; i++) {
        const StreamPool *head = &g_array_index(heads, StreamPool, i);

        entry.nr_slots = MAX(entry.nr_slots, tmem_pool_id_slot(head->id) + 1);
        if (!save_pool(saver, client, head, errp)) {
            return false;
        }
    }
    if (!host_pool) {
        tmem_credit_forget(client);
    }
    if (!flush(saver, errp)) {
        return false;
    }
    entry.bytes = saver->offset - entry.offset;
    entry.sum = saver->sum;
    saver->offset = tmem_stream_align(saver->offset);
    list_entry(saver, &entry, bundle);
    return true;
}

/* --- The stream --- */

TmemSaver *tmem_saver_new(TmemStore *store, int fd)
{
    TmemSaver *saver = g_new0(TmemSaver, 1);

    saver->store = store;
    saver->fd = fd;
    saver->offset = TMEM_STREAM_ALIGN;
    saver->block = g_malloc(TMEM_STREAM_BLOCK);
    saver->node = g_malloc(NODE_BYTES_MAX);
    saver->directory = g_byte_array_new();
    return saver;
}

bool tmem_saver_finish(TmemSaver *saver, GError **errp)
{
    const GByteArray *directory = saver->directory;
    StreamHeader header = {
        .magic = TMEM_STREAM_MAGIC,
        .version = TMEM_STREAM_VERSION,
        .byte_order = TMEM_STREAM_BYTE_ORDER,
        .page_shift = TMEM_PAGE_SHIFT,
        .nr_bundles = saver->nr_bundles,
        .total_bytes = saver->offset + directory->len,
        .next_generation = tmem_store_generation(saver->store),
        .directory = saver->offset,
        .directory_bytes = directory->len,
        .directory_sum = tmem_stream_sum(0, directory->data, directory->len),
    };

    header.sum = tmem_stream_sum(0, &header, sizeof(header));
    return (tmem_stream_write(saver->fd, directory->data, directory->len,
                              saver->offset) &&
            tmem_stream_write(saver->fd, &header, sizeof(header), 0)) ||
           cannot_write(errp);
}

void tmem_saver_free(TmemSaver *saver)
{
    if (saver) {
        g_byte_array_unref(saver->directory);
        g_free(saver->node);
        g_free(saver->block);
        g_free(saver);
    }
}
