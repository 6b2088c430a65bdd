/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: pools out of a stream
 *
 * tmem_loader_new() sums all of it up before anything in it is believed.  What
 * a section says is checked for sense all the same, as it is taken: no file may
 * make the process do anything but refuse it.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "libtmem/tmem-save.h"
#include "tmem-error.h"
#include "tmem-fault.h"
#include "tmem-op.h"
#include "tmem-policy.h"
#include "tmem-share.h"
#include "tmem-stream.h"

/* Of the directory. */
#define DIRECTORY_MAX   (TMEM_STREAM_BUNDLES_MAX * \
                         (sizeof(StreamEntry) + 2ull * TMEM_BUNDLE_NAME_MAX))

/*
 * Each client's table has these, whoever's guest is to need them: no guest may
 * make it larger for the others.
 */
#define FOREIGN_SLOTS_MAX   64

typedef struct Bundle {
    StreamEntry entry;
    char *name;
    char *client;
    uint64_t pages;
    uint64_t memory_bytes;  /* that it will need: at least entry.bytes */
    uint64_t held_bytes;    /* kept free for it; clients_lock */
    bool taken;
} Bundle;

struct TmemLoader {
    TmemStore *store;       /* or NULL, until one is there */
    int fd;
    uint64_t next_generation;   /* of pool ids */
    GArray *bundles;        /* Bundle */
    uint8_t *block;
    uint8_t page[TMEM_PAGE_SIZE];
};

static bool refuse(GError **errp, const char *what)
{
    return tmem_error_set(errp, "the pages that were handed over are lost: %s",
                          what);
}

/* --- Reading a section --- */

typedef struct Reader {
    TmemLoader *loader;
    uint64_t offset;        /* of what comes after the block */
    uint64_t left;          /* bytes after the block */
    uint64_t sum;           /* of the section up to the end of the block */
    size_t used;            /* of the block */
    size_t bytes;           /* in the block */
    uint64_t due_bytes;     /* stored, and still kept free as well */
    Bundle *gives_back;     /* memory of the file, as it is read, or NULL */
} Reader;

static Reader read_section(TmemLoader *loader, const Bundle *bundle)
{
    return (Reader) {
        .loader = loader,
        .offset = bundle->entry.offset,
        .left = bundle->entry.bytes,
    };
}

/* Counts what waits for its door. */
static void count(uint64_t *level, int64_t by)
{
    __atomic_fetch_add(level, by, __ATOMIC_RELAXED);
}

static void count_bundle(const TmemLoader *loader, const Bundle *bundle,
                         int by)
{
    if (loader->store && !bundle->taken) {
        count(&loader->store->waiting.doors, by);
        count(&loader->store->waiting.pages, by * (int64_t)bundle->pages);
    }
}

static void set_taken(TmemLoader *loader, Bundle *bundle)
{
    count_bundle(loader, bundle, -1);
    bundle->taken = true;
}

/* The store keeps @bytes more free for the bundle, or less if negative. */
static void book_held(TmemLoader *loader, Bundle *bundle, int64_t bytes)
{
    TmemStore *store = loader->store;
    TmemClient *client;

    count(&store->waiting.bytes, bytes);
    tmem_lock(&store->clients_lock);
    bundle->held_bytes += bytes;
    client = tmem_store_client_locked(store, bundle->client);
    tmem_share_wait(&store->arena, client ? &client->heap : NULL, bytes);
    tmem_unlock(&store->clients_lock);
}

/* Up to @bytes of what is kept free for the bundle is free for all. */
static void unhold(TmemLoader *loader, Bundle *bundle, uint64_t bytes)
{
    bytes = MIN(bytes, bundle->held_bytes);
    if (bytes) {
        book_held(loader, bundle, -(int64_t)bytes);
    }
}

/*
 * So much of the bundle is stored now.  What was kept free for it goes only
 * after that, a little at a time, or others would be faster.
 */
static void stored(Reader *r, uint64_t bytes)
{
    r->due_bytes += bytes;
    if (r->due_bytes >= TMEM_SHARE_OVERLAP / 2) {
        unhold(r->loader, r->gives_back, r->due_bytes);
        r->due_bytes = 0;
    }
}

/* Gets the next block.  Returns false at the end, or if it cannot be read. */
static bool next_block(Reader *r)
{
    TmemLoader *loader = r->loader;

    r->used = 0;
    r->bytes = MIN(r->left, TMEM_STREAM_BLOCK);
    if (!r->bytes || !tmem_stream_read(loader->fd, loader->block, r->bytes,
                                       r->offset)) {
        r->bytes = 0;
        return false;
    }
    r->sum = tmem_stream_sum(r->sum, loader->block, r->bytes);
    if (r->gives_back) {
        /* Where the file system cannot, the memory goes with the file. */
        fallocate(loader->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                  r->offset, r->bytes);
    }
    r->offset += r->bytes;
    r->left -= r->bytes;
    return true;
}

static void skip_rest(Reader *r)
{
    bool more = true;

    while (more) {
        more = next_block(r);
    }
}

/* @to: or NULL, then they are passed over. */
static bool get(Reader *r, void *to, uint64_t bytes)
{
    while (bytes) {
        size_t part;

        if (r->used == r->bytes && !next_block(r)) {
            return false;
        }
        part = MIN(bytes, r->bytes - r->used);
        if (to) {
            memcpy(to, r->loader->block + r->used, part);
            to = (uint8_t *)to + part;
        }
        r->used += part;
        bytes -= part;
    }
    return true;
}

/* --- Opening --- */

static bool check_header(const StreamHeader *header, uint64_t file_bytes,
                         GError **errp)
{
    StreamHeader unsummed = *header;

    if (!memcmp(header->magic, TMEM_STREAM_USED, TMEM_STREAM_MAGIC_BYTES)) {
        return refuse(errp, "another process has had them already");
    }
    if (memcmp(header->magic, TMEM_STREAM_MAGIC, TMEM_STREAM_MAGIC_BYTES)) {
        return refuse(errp, "the file is no complete stream of pages");
    }
    if (header->byte_order != TMEM_STREAM_BYTE_ORDER) {
        return refuse(errp, "the stream is of another kind of host");
    }
    if (header->version != TMEM_STREAM_VERSION) {
        g_autofree char *what = g_strdup_printf(
            "the stream is of version %u, and this program knows version %u "
            "only; before an update like this, let the guests take back what "
            "they have in the store (swapoff)", header->version,
            TMEM_STREAM_VERSION);

        return refuse(errp, what);
    }
    if (header->page_shift != TMEM_PAGE_SHIFT) {
        return refuse(errp, "the pages in the stream are of another size");
    }
    unsummed.sum = 0;
    if (header->sum != tmem_stream_sum(0, &unsummed, sizeof(unsummed))) {
        return refuse(errp, "the header of the stream is damaged");
    }
    if (header->total_bytes != file_bytes ||
        header->directory > file_bytes ||
        header->directory_bytes != file_bytes - header->directory) {
        return refuse(errp, "the stream has been cut off");
    }
    if (header->nr_bundles > TMEM_STREAM_BUNDLES_MAX ||
        header->directory_bytes > DIRECTORY_MAX) {
        return refuse(errp, "the directory of the stream makes no sense");
    }
    return true;
}

static bool read_header(int fd, StreamHeader *header, GError **errp)
{
    struct stat st;

    if (fstat(fd, &st)) {
        return refuse(errp, strerror(errno));
    }
    if (!S_ISREG(st.st_mode) || st.st_size < TMEM_STREAM_ALIGN ||
        !tmem_stream_read(fd, header, sizeof(*header), 0)) {
        return refuse(errp, "the file is no complete stream of pages");
    }
    return check_header(header, st.st_size, errp);
}

static bool check_entry(const TmemLoader *loader, const StreamEntry *e,
                        uint64_t directory)
{
    return e->name_bytes && e->name_bytes <= TMEM_BUNDLE_NAME_MAX &&
           e->client_bytes <= TMEM_BUNDLE_NAME_MAX &&
           e->offset >= TMEM_STREAM_ALIGN &&
           e->offset % TMEM_STREAM_ALIGN == 0 && e->offset <= directory &&
           e->bytes <= directory - e->offset &&
           e->state_bytes <= e->bytes &&
           e->state_bytes <= TMEM_BUNDLE_STATE_MAX &&
           e->nr_pools <= TMEM_CLIENT_POOLS_MAX &&
           e->nr_slots <= TMEM_CLIENT_POOLS_MAX &&
           e->credit <= TMEM_CLIENT_CREDIT_MAX &&
           (!e->is_host || (e->nr_pools == 1 && !e->credit));
}

static Bundle *find_bundle(const TmemLoader *loader, const char *name)
{
    for (unsigned i = 0; i < loader->bundles->len; i++) {
        Bundle *bundle = &g_array_index(loader->bundles, Bundle, i);

        if (!bundle->taken && !strcmp(bundle->name, name)) {
            return bundle;
        }
    }
    return NULL;
}

/* Takes the bundles out of the directory. */
static bool parse_directory(TmemLoader *loader, const StreamHeader *header,
                            const uint8_t *at, GError **errp)
{
    uint64_t left = header->directory_bytes;

    for (uint32_t i = 0; i < header->nr_bundles; i++) {
        Bundle bundle = {};

        if (left >= sizeof(bundle.entry)) {
            memcpy(&bundle.entry, at, sizeof(bundle.entry));
            at += sizeof(bundle.entry);
            left -= sizeof(bundle.entry);
        }
        if (!check_entry(loader, &bundle.entry, header->directory) ||
            left < bundle.entry.name_bytes + bundle.entry.client_bytes) {
            return refuse(errp, "the directory of the stream makes no sense");
        }
        bundle.name = g_strndup((const char *)at, bundle.entry.name_bytes);
        at += bundle.entry.name_bytes;
        bundle.client = g_strndup((const char *)at, bundle.entry.client_bytes);
        at += bundle.entry.client_bytes;
        left -= bundle.entry.name_bytes + bundle.entry.client_bytes;
        bundle.taken = find_bundle(loader, bundle.name);
        g_array_append_val(loader->bundles, bundle);
    }
    return true;
}

static bool read_directory(TmemLoader *loader, const StreamHeader *header,
                           GError **errp)
{
    g_autofree uint8_t *directory =
        TMEM_FAULT("restore-directory") ? NULL :
        g_try_malloc(header->directory_bytes);

    if (header->directory_bytes && !directory) {
        return refuse(errp, strerror(ENOMEM));
    }
    if (!tmem_stream_read(loader->fd, directory, header->directory_bytes,
                          header->directory) ||
        header->directory_sum !=
        tmem_stream_sum(0, directory, header->directory_bytes)) {
        return refuse(errp, "the directory of the stream is damaged");
    }
    return parse_directory(loader, header, directory, errp);
}

/* Memory of the index for a node of @nr pages. */
static uint64_t index_bytes(unsigned nr)
{
    return nr ? sizeof(TmemNode) + (nr == 1 ? 0 :
           tmem_index_array_bytes(tmem_index_capacity(nr))) : 0;
}

static uint64_t record_bytes(const StreamPage *page)
{
    return (uint64_t)page->slot_units << TMEM_UNIT_SHIFT;
}

/* Adds up what a pool has and needs.  Returns false if it makes no sense. */
static bool measure_pool(Reader *r, uint64_t *nr_pages, uint64_t *bytes)
{
    StreamPage pages[TMEM_NODE_PAGES];
    StreamNode node;
    unsigned nr;

    if (!get(r, NULL, sizeof(StreamPool))) {
        return false;
    }
    do {
        uint64_t data_bytes = 0;

        if (!get(r, &node, sizeof(node))) {
            return false;
        }
        nr = __builtin_popcountll(node.bitmap);
        if (!get(r, pages, nr * sizeof(*pages))) {
            return false;
        }
        for (unsigned i = 0; i < nr; i++) {
            data_bytes += pages[i].len;
            *bytes += record_bytes(&pages[i]);
        }
        if (!get(r, NULL, data_bytes)) {
            return false;
        }
        *bytes += index_bytes(nr);
        *nr_pages += nr;
    } while (nr);
    return true;
}

/*
 * Of small pages far apart it is more than the section has bytes.  One that
 * makes no sense is refused when it is taken.
 */
static void measure(Reader *r, Bundle *bundle)
{
    const StreamEntry *entry = &bundle->entry;
    uint64_t bytes = (uint64_t)entry->credit *
                     (TMEM_PAGE_SIZE + index_bytes(TMEM_NODE_PAGES)) +
                     (uint64_t)entry->nr_slots *
                     (sizeof(TmemPool) + sizeof(TmemTally));
    bool ok = get(r, NULL, entry->state_bytes);

    for (uint32_t i = 0; ok && i < entry->nr_pools; i++) {
        ok = measure_pool(r, &bundle->pages, &bytes);
    }
    bundle->memory_bytes = MAX(bytes, entry->bytes);
}

static bool check_sections(TmemLoader *loader, GError **errp)
{
    for (unsigned i = 0; i < loader->bundles->len; i++) {
        Bundle *bundle = &g_array_index(loader->bundles, Bundle, i);
        Reader r = read_section(loader, bundle);

        measure(&r, bundle);
        skip_rest(&r);
        if (r.left || r.sum != bundle->entry.sum) {
            return refuse(errp, "the stream is damaged");
        }
    }
    return true;
}

static void clear_bundle(void *data)
{
    Bundle *bundle = data;

    g_free(bundle->name);
    g_free(bundle->client);
}

/* What tmem_client_new() asks. */
static void set_loader(TmemStore *store, TmemLoader *loader)
{
    tmem_lock(&store->clients_lock);
    store->loader = loader;
    tmem_unlock(&store->clients_lock);
}

TmemLoader *tmem_loader_new(TmemStore *store, int fd, GError **errp)
{
    TmemLoader *loader = g_new0(TmemLoader, 1);
    StreamHeader header;

    loader->fd = fd;
    loader->block = g_malloc(TMEM_STREAM_BLOCK);
    loader->bundles = g_array_new(false, false, sizeof(Bundle));
    g_array_set_clear_func(loader->bundles, clear_bundle);
    if (!read_header(fd, &header, errp) ||
        !read_directory(loader, &header, errp) ||
        !check_sections(loader, errp)) {
        tmem_loader_free(loader);
        return NULL;
    }
    loader->next_generation = header.next_generation;
    if (store) {
        tmem_loader_set_store(loader, store);
    }
    return loader;
}

void tmem_loader_set_store(TmemLoader *loader, TmemStore *store)
{
    g_assert(!store->clients);
    /* No id that the stream has seen is given again. */
    __atomic_store_n(&store->next_generation, loader->next_generation,
                     __ATOMIC_RELAXED);
    loader->store = store;
    for (unsigned i = 0; i < loader->bundles->len; i++) {
        count_bundle(loader, &g_array_index(loader->bundles, Bundle, i), 1);
    }
    set_loader(store, loader);
}

uint32_t tmem_loader_slots(const TmemLoader *loader, const char *client)
{
    uint32_t nr_slots = 0;

    for (unsigned i = 0; loader && i < loader->bundles->len; i++) {
        const Bundle *bundle = &g_array_index(loader->bundles, Bundle, i);
        uint32_t most = strcmp(bundle->client, client) ? FOREIGN_SLOTS_MAX :
                                                         UINT32_MAX;

        if (!bundle->taken && !bundle->entry.is_host) {
            nr_slots = MAX(nr_slots, MIN(bundle->entry.nr_slots, most));
        }
    }
    return nr_slots;
}

uint64_t tmem_loader_held(const TmemLoader *loader, const char *client)
{
    uint64_t bytes = 0;

    for (unsigned i = 0; loader && i < loader->bundles->len; i++) {
        const Bundle *bundle = &g_array_index(loader->bundles, Bundle, i);

        bytes += strcmp(bundle->client, client) ? 0 : bundle->held_bytes;
    }
    return bytes;
}

void tmem_loader_free(TmemLoader *loader)
{
    if (loader) {
        for (unsigned i = 0; i < loader->bundles->len; i++) {
            Bundle *bundle = &g_array_index(loader->bundles, Bundle, i);

            unhold(loader, bundle, UINT64_MAX);
            set_taken(loader, bundle);
        }
        if (loader->store) {
            set_loader(loader->store, NULL);
            tmem_share_taken_over(&loader->store->arena);
        }
        g_array_unref(loader->bundles);
        g_free(loader->block);
        g_free(loader);
    }
}

bool tmem_loader_use(TmemLoader *loader, GError **errp)
{
    return tmem_stream_write(loader->fd, TMEM_STREAM_USED,
                             TMEM_STREAM_MAGIC_BYTES, 0) ||
           refuse(errp, "the file cannot be marked as used");
}

bool tmem_loader_find(const TmemLoader *loader, const char *name,
                      TmemBundle *bundle)
{
    const Bundle *found = find_bundle(loader, name);

    if (found) {
        *bundle = (TmemBundle) {
            .name = found->name,
            .client = found->client,
            .state_bytes = found->entry.state_bytes,
        };
    }
    return found;
}

void tmem_loader_hold(TmemLoader *loader)
{
    for (unsigned i = 0; i < loader->bundles->len; i++) {
        Bundle *bundle = &g_array_index(loader->bundles, Bundle, i);

        if (!bundle->taken && !bundle->held_bytes &&
            tmem_arena_charge(&loader->store->arena, bundle->memory_bytes)) {
            book_held(loader, bundle, bundle->memory_bytes);
        }
    }
}

static const Bundle *left_bundle(const TmemLoader *loader, unsigned nth)
{
    for (unsigned i = 0; i < loader->bundles->len; i++) {
        const Bundle *bundle = &g_array_index(loader->bundles, Bundle, i);

        if (!bundle->taken && !nth--) {
            return bundle;
        }
    }
    return NULL;
}

const char *tmem_loader_left(const TmemLoader *loader, unsigned nth)
{
    const Bundle *bundle = left_bundle(loader, nth);

    return bundle ? bundle->name : NULL;
}

bool tmem_loader_waiting(const TmemLoader *loader, unsigned nth,
                         TmemWaiting *waiting)
{
    const Bundle *bundle = left_bundle(loader, nth);

    if (bundle) {
        *waiting = (TmemWaiting) {
            .name = bundle->name,
            .client = bundle->client,
            .is_host = bundle->entry.is_host,
            .nr_pools = bundle->entry.nr_pools,
            .pages = bundle->pages,
            .bytes = bundle->memory_bytes,
            .held_bytes = bundle->held_bytes,
        };
    }
    return bundle;
}

/* --- Pages --- */

static bool no_sense(GError **errp)
{
    return refuse(errp, "what the stream says of a page makes no sense");
}

static bool page_makes_sense(const StreamPage *page)
{
    if (page->damaged) {
        return !page->len;
    }
    return tmem_codec_makes(page->kind, page->len);
}

static bool take_page(Reader *r, TmemContext *ctx, const TmemHandle *handle,
                      uint64_t old_pool, const StreamPage *page, GError **errp)
{
    TmemEncoded enc = {
        .kind = page->kind,
        .word32 = page->kind == TMEM_KIND_FILL32 ? page->word : 0,
        .len = page->len,
        .data = page->len ? r->loader->page : NULL,
    };
    bool intact = !page->damaged;
    TmemStatus status;

    if (!page_makes_sense(page) || !get(r, r->loader->page, page->len)) {
        return no_sense(errp);
    }
    if (page->len) {
        /* It may have been damaged in the memory of the other process. */
        intact = page->word ==
                 tmem_codec_checksum(r->loader->page, page->len,
                                     tmem_page_seed(old_pool, handle->object,
                                                    handle->index));
    }
    status = tmem_page_restore(ctx, handle, intact ? &enc : NULL,
                               page->slot_units);
    if (status == TMEM_STATUS_OK) {
        return true;
    }
    return refuse(errp, status == TMEM_STATUS_QUOTA ?
                  "they are more than the client may have; give it a larger "
                  "max-size" :
                  "the store has no room for them; give it a larger size");
}

/* One node.  Sets @more to false at the end of the pool. */
static bool take_node(Reader *r, TmemContext *ctx, uint64_t pool,
                      uint64_t old_pool, bool *more, GError **errp)
{
    StreamPage pages[TMEM_NODE_PAGES];
    StreamNode node;
    unsigned n = 0;

    if (!get(r, &node, sizeof(node)) ||
        node.base > UINT64_MAX >> TMEM_NODE_PAGES_SHIFT ||
        !get(r, pages, __builtin_popcountll(node.bitmap) * sizeof(*pages))) {
        return no_sense(errp);
    }
    *more = node.bitmap;
    for (unsigned pos = 0; pos < TMEM_NODE_PAGES; pos++) {
        TmemHandle handle = {
            .pool = pool,
            .index = node.base << TMEM_NODE_PAGES_SHIFT | pos,
        };

        memcpy(handle.object, node.object, sizeof(handle.object));
        if (node.bitmap >> pos & 1) {
            if (!take_page(r, ctx, &handle, old_pool, &pages[n], errp)) {
                return false;
            }
            stored(r, record_bytes(&pages[n++]));
        }
    }
    stored(r, index_bytes(n));
    return true;
}

/* --- Pools --- */

static bool make_pool(TmemClient *client, uint64_t id, bool is_host,
                      uint64_t *pool, GError **errp)
{
    TmemStatus status;

    *pool = id;
    status = is_host ? tmem_pool_create_host(client, pool) :
                       tmem_pool_create_again(client, id);
    switch (status) {
    case TMEM_STATUS_OK:
        return true;
    case TMEM_STATUS_INVAL:
        return refuse(errp, "the place of one of their pools in the client is "
                      "taken");
    case TMEM_STATUS_QUOTA:
        return refuse(errp, "the client has no room for their pools; give it "
                      "a larger max-size");
    default:
        return refuse(errp, "the store has no room for their pools; give it a "
                      "larger size");
    }
}

/*
 * What the pool had of its own.  After its pages, which come whatever that
 * says.  A minimum that the client has no room for any more is left out.
 */
static bool take_choices(TmemClient *client, uint64_t pool,
                         const StreamPool *head)
{
    TmemCodecChoice codec = tmem_codec_unpack(head->codec);
    TmemLimits limits = {
        .min_bytes = head->min_bytes, .max_bytes = head->max_bytes,
        .weight = head->weight,
    };

    if (head->codec && (!tmem_codec_choice_check(&codec, NULL) ||
                        !tmem_pool_set_codec(client, pool, &codec, NULL))) {
        return false;
    }
    if (limits.max_bytes && limits.min_bytes > limits.max_bytes) {
        return false;
    }
    if (!tmem_pool_set_limits(client, pool, &limits, NULL)) {
        limits.min_bytes = 0;
        return tmem_pool_set_limits(client, pool, &limits, NULL);
    }
    return true;
}

static bool take_pool(Reader *r, TmemContext *ctx, const StreamEntry *entry,
                      uint64_t *host_pool, GError **errp)
{
    bool more = true;
    StreamPool head;
    uint64_t pool;

    if (!get(r, &head, sizeof(head))) {
        return no_sense(errp);
    }
    if (!make_pool(ctx->client, head.id, entry->is_host, &pool, errp)) {
        return false;
    }
    if (entry->is_host) {
        *host_pool = pool;
    }
    while (more) {
        if (!take_node(r, ctx, pool, head.id, &more, errp)) {
            return false;
        }
        if (more && tmem_pool_id_kind(head.id) == TMEM_POOL_EPHEMERAL) {
            return no_sense(errp);
        }
    }
    return take_choices(ctx->client, pool, &head) || no_sense(errp);
}

static bool take_section(Reader *r, TmemContext *ctx, const Bundle *bundle,
                         void *state, uint64_t *host_pool, GError **errp)
{
    const StreamEntry *entry = &bundle->entry;

    if (!get(r, state, entry->state_bytes)) {
        return no_sense(errp);
    }
    for (uint32_t i = 0; i < entry->nr_pools; i++) {
        if (!take_pool(r, ctx, entry, host_pool, errp)) {
            return false;
        }
    }
    if (r->left || r->used < r->bytes || r->sum != entry->sum) {
        return refuse(errp, "the stream is damaged");
    }
    return tmem_credit_restore(ctx->client, entry->credit) ||
           refuse(errp, "the client has no room for the credit that its guest "
                  "has; give it a larger max-size, or the store a larger "
                  "size");
}

/* The bundle is taken, and what is left of its memory goes back. */
static void drop_rest(Bundle *bundle, Reader *r)
{
    set_taken(r->loader, bundle);
    r->gives_back = bundle;
    skip_rest(r);
    unhold(r->loader, bundle, UINT64_MAX);
}

void tmem_loader_drop(TmemLoader *loader, const char *name)
{
    Bundle *bundle = find_bundle(loader, name);

    if (bundle) {
        Reader r = read_section(loader, bundle);

        drop_rest(bundle, &r);
    }
}

/* What it may cost a pool of the host's to keep out of others' places. */
static uint64_t places_bytes(TmemContext *ctx, const Bundle *bundle)
{
    TmemClient *client = ctx->client;
    uint64_t bytes = 0;

    if (bundle->entry.is_host) {
        tmem_lock(&client->lock);
        bytes = tmem_client_table_bytes_locked(client, FOREIGN_SLOTS_MAX + 1);
        tmem_unlock(&client->lock);
    }
    return bytes;
}

void tmem_loader_make_way(TmemClient *client, uint32_t nr_contexts)
{
    uint32_t nr_slots;
    uint64_t bytes;

    tmem_assert_unlocked();
    tmem_lock(&client->lock);
    nr_slots = MAX(client->nr_slots, FOREIGN_SLOTS_MAX) + 1;
    bytes = tmem_client_table_bytes_locked(client, nr_slots) +
            nr_contexts * tmem_tallies_bytes(nr_slots);
    tmem_unlock(&client->lock);
    tmem_share_take_over(&client->heap, 1, bytes);
}

void tmem_loader_made_way(TmemClient *client)
{
    tmem_share_take_over(&client->heap, 0, 0);
}

bool tmem_loader_take(TmemLoader *loader, const char *name, TmemContext *ctx,
                      void **state, uint64_t *state_bytes, uint64_t *host_pool,
                      GError **errp)
{
    Bundle *bundle = find_bundle(loader, name);
    bool ok;
    Reader r;

    tmem_assert_unlocked();
    *state = NULL;
    *host_pool = 0;
    if (!bundle) {
        return refuse(errp, "the stream has none of that name");
    }
    set_taken(loader, bundle);
    r = read_section(loader, bundle);
    r.gives_back = bundle;
    *state_bytes = bundle->entry.state_bytes;
    *state = TMEM_FAULT("restore-state") ? NULL : g_try_malloc(*state_bytes);
    if (*state_bytes && !*state) {
        drop_rest(bundle, &r);
        return refuse(errp, strerror(ENOMEM));
    }
    /* Whatever is in it, some comes. */
    tmem_share_take_over(&ctx->client->heap, bundle->memory_bytes + 1,
                         places_bytes(ctx, bundle));
    ok = take_section(&r, ctx, bundle, *state, host_pool, errp);
    unhold(loader, bundle, UINT64_MAX);
    tmem_share_take_over(&ctx->client->heap, 0, 0);
    if (ok) {
        return true;
    }
    if (*host_pool) {
        tmem_pool_destroy(ctx->client, *host_pool);
        *host_pool = 0;
    } else if (!bundle->entry.is_host) {
        tmem_client_reset(ctx->client);
    }
    drop_rest(bundle, &r);
    g_clear_pointer(state, g_free);
    return false;
}
