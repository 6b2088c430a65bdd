/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: which ephemeral pages were here not long ago
 */
#include "tmem-ghosts.h"
#include "tmem-os.h"

/* A ghost of 4 bytes for each KiB of the store: more than it holds pages. */
#define BYTES_SHIFT     8

/* Of a store's size; what is remembered is never as long ago as 16 sizes. */
#define TICKS_SHIFT     12

/* Stores until it is tried again to set aside memory that was not there. */
#define RETRY           1024

#define MIX             0x9e3779b97f4a7c15ull

void tmem_ghosts_init(TmemGhosts *ghosts, TmemIndex *index)
{
    size_t line = TMEM_GHOSTS_WAYS * sizeof(uint32_t);
    uint64_t size = index->arena->size_bytes;

    *ghosts = (TmemGhosts) {
        .index = index,
        .nr_lines = MAX((size >> BYTES_SHIFT) / line, 1),
    };
    while (size >> (ghosts->tick_shift + TICKS_SHIFT) > 1) {
        ghosts->tick_shift++;
    }
    ghosts->bytes = tmem_os_round_up((size_t)ghosts->nr_lines * line);
    ghosts->table = tmem_os_reserve(ghosts->bytes);
}

void tmem_ghosts_destroy(TmemGhosts *ghosts)
{
    if (ghosts->state == TMEM_GHOSTS_ON) {
        tmem_arena_uncharge(ghosts->index->arena, ghosts->bytes);
    }
    if (ghosts->table) {
        tmem_os_release(ghosts->table, ghosts->bytes);
    }
}

/* --- Its memory --- */

static bool change(TmemGhosts *ghosts, TmemGhostsState from)
{
    int old = from;

    return __atomic_compare_exchange_n(&ghosts->state, &old,
                                       TMEM_GHOSTS_CHANGING, false,
                                       __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

static bool is_on(const TmemGhosts *ghosts)
{
    return __atomic_load_n(&ghosts->state, __ATOMIC_ACQUIRE) ==
           TMEM_GHOSTS_ON;
}

bool tmem_ghosts_start(TmemGhosts *ghosts)
{
    bool ok;

    if (is_on(ghosts)) {
        return true;
    }
    if (!ghosts->table ||
        __atomic_fetch_add(&ghosts->nr_refused, 1, __ATOMIC_RELAXED) % RETRY ||
        !change(ghosts, TMEM_GHOSTS_OFF)) {
        return false;
    }
    ok = tmem_arena_charge(ghosts->index->arena, ghosts->bytes);
    if (ok) {
        __atomic_store_n(&ghosts->nr_refused, 0, __ATOMIC_RELAXED);
    }
    __atomic_store_n(&ghosts->state, ok ? TMEM_GHOSTS_ON : TMEM_GHOSTS_OFF,
                     __ATOMIC_RELEASE);
    return ok;
}

void tmem_ghosts_stop(TmemGhosts *ghosts)
{
    TmemIndex *index = ghosts->index;
    uint32_t nr_ephemeral;

    tmem_lock(&index->arena->lock);
    nr_ephemeral = index->arena->nr_ephemeral;
    tmem_unlock(&index->arena->lock);
    if (nr_ephemeral || !change(ghosts, TMEM_GHOSTS_ON)) {
        return;
    }
    /* Whoever still writes holds the lock of a shard. */
    for (uint32_t i = 0; i < index->nr_shards; i++) {
        tmem_lock(&index->shards[i].lock);
        tmem_unlock(&index->shards[i].lock);
    }
    tmem_os_discard(ghosts->table, ghosts->bytes);
    tmem_arena_uncharge(index->arena, ghosts->bytes);
    __atomic_store_n(&ghosts->nr_refused, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&ghosts->state, TMEM_GHOSTS_OFF, __ATOMIC_RELEASE);
}

/* --- Ghosts --- */

/*
 * The page's line, anywhere in the table: all of an object is in one shard, and
 * a large file's pages need more of it than a shard's part.  @tag: never 0, in
 * the upper half.
 */
static uint32_t *line_of(const TmemGhosts *ghosts, const TmemKey *key,
                         unsigned pos, uint32_t *tag)
{
    uint64_t hash = (key->hash_node + pos) * MIX;
    uint32_t line;

    hash = (hash ^ hash >> 29) * MIX;
    *tag = (hash >> 8 & 0xffff0000) | 1u << 31;
    line = (unsigned __int128)hash * ghosts->nr_lines >> 64;
    return ghosts->table + (size_t)TMEM_GHOSTS_WAYS * line;
}

static bool has_tag(uint32_t ghost, uint32_t tag)
{
    return (ghost & 0xffff0000) == tag;
}

static uint16_t now_of(const TmemGhosts *ghosts, const TmemHeap *heap)
{
    return __atomic_load_n(&heap->left_bytes, __ATOMIC_RELAXED) >>
           ghosts->tick_shift;
}

void tmem_ghosts_note(TmemGhosts *ghosts, const TmemKey *key, unsigned pos,
                      TmemHeap *heap, uint32_t bytes)
{
    uint32_t tag, *line, ghost;

    if (!is_on(ghosts)) {
        return;
    }
    __atomic_fetch_add(&heap->left_bytes, bytes, __ATOMIC_RELAXED);
    line = line_of(ghosts, key, pos, &tag);
    ghost = tag | now_of(ghosts, heap);
    /* In front, where the others make way: up to its older self, or the end. */
    for (int i = 0; i < TMEM_GHOSTS_WAYS && ghost; i++) {
        uint32_t other = __atomic_load_n(&line[i], __ATOMIC_RELAXED);

        __atomic_store_n(&line[i], ghost, __ATOMIC_RELAXED);
        ghost = has_tag(other, tag) ? 0 : other;
    }
}

bool tmem_ghosts_know(const TmemGhosts *ghosts, const TmemKey *key,
                      const TmemHeap *heap)
{
    uint32_t tag, *line = line_of(ghosts, key, key->pos, &tag);
    uint64_t held = tmem_heap_bytes(heap) >> ghosts->tick_shift;

    for (int i = 0; i < TMEM_GHOSTS_WAYS; i++) {
        uint32_t ghost = __atomic_load_n(&line[i], __ATOMIC_RELAXED);

        if (has_tag(ghost, tag)) {
            return (uint16_t)(now_of(ghosts, heap) - ghost) < held;
        }
    }
    return false;
}
