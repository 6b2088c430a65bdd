/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: the bounded arena that all memory caused by guests comes from
 */
#include <errno.h>
#include <string.h>

#include "libtmem/tmem.h"
#include "tmem-arena.h"
#include "tmem-error.h"
#include "tmem-fault.h"
#include "tmem-os.h"

/*
 * A segment is the unit in which memory moves between classes, clients and
 * the operating system.  Larger ones waste less at their end, smaller ones
 * leave less half-used in small stores: 1/4096 of the store, within limits,
 * and never less than a page of the host, or it could not be given back.
 */
#define SEGMENT_SHIFT_MIN   15
#define SEGMENT_SHIFT_MAX   17
#define SEGMENTS_WANTED     4096

/* Idle segments kept resident: this many, or 1/16 of those in use if less. */
#define IDLE_KEEP_MAX       8
#define IDLE_KEEP_FRACTION  16

/* A free slot: the owner word stays 0, then the next free one's unit + 1. */
typedef struct FreeSlot {
    uint64_t owner;
    uint16_t next;
} FreeSlot;

G_STATIC_ASSERT(sizeof(FreeSlot) <= TMEM_UNIT);
G_STATIC_ASSERT((1u << (SEGMENT_SHIFT_MAX - TMEM_UNIT_SHIFT)) < UINT16_MAX);

/* --- Set-up --- */

static uint32_t add_class(TmemArena *arena, uint32_t nr, uint32_t slot_bytes)
{
    for (int space = 0; space < TMEM_SPACE__MAX; space++) {
        TmemClass *c = &arena->classes[space][nr];

        tmem_lock_init(&c->lock, TMEM_RANK_CLASS);
        c->slot_bytes = slot_bytes;
        c->slots = (1u << arena->segment_shift) / slot_bytes;
        c->first = TMEM_SEGMENT_NONE;
    }
    return nr + 1;
}

/*
 * Class sizes are segment / n: with n slots nothing is lost at the segment's
 * end.  Classes nearer to each other than 1/64 would only spread the data
 * over more half-used segments; small stores cannot afford even that many.
 */
static void make_classes(TmemArena *arena)
{
    uint32_t segment = 1u << arena->segment_shift;
    uint32_t sizes[TMEM_ARENA_CLASSES_MAX];
    uint32_t nr_sizes = 0, nr = 0, units = 0;
    bool small = arena->size_bytes <
                 (uint64_t)SEGMENTS_WANTED << (SEGMENT_SHIFT_MIN + 1);
    uint32_t spacing = small ? 24 : 64;
    uint32_t last = UINT32_MAX;

    for (uint32_t n = segment / TMEM_SLOT_BYTES_MAX; last > TMEM_UNIT; n++) {
        uint32_t bytes = segment / n & ~(TMEM_UNIT - 1);

        if (last == UINT32_MAX ||
            bytes + MAX(TMEM_UNIT, last / spacing) <= last) {
            g_assert(nr_sizes < TMEM_ARENA_CLASSES_MAX);
            sizes[nr_sizes++] = last = bytes;
        }
    }
    while (nr_sizes--) {
        uint32_t bytes = sizes[nr_sizes];

        for (; units <= MIN(bytes, TMEM_SLOT_BYTES_MAX) / TMEM_UNIT; units++) {
            arena->class_of[units] = nr;
        }
        nr = add_class(arena, nr, bytes);
    }
    arena->nr_classes = nr;
}

static unsigned choose_segment_shift(uint64_t size_bytes)
{
    unsigned shift = SEGMENT_SHIFT_MIN;

    while (shift < SEGMENT_SHIFT_MAX &&
           (size_bytes >> (shift + 1) >= SEGMENTS_WANTED ||
            1ull << shift < tmem_os_page_size())) {
        shift++;
    }
    return shift;
}

bool tmem_arena_init(TmemArena *arena, uint64_t size_bytes, GError **errp)
{
    memset(arena, 0, sizeof(*arena));
    arena->size_bytes = size_bytes;
    arena->segment_shift = choose_segment_shift(size_bytes);
    arena->nr_segments = size_bytes >> arena->segment_shift;
    arena->segments_bytes = arena->nr_segments * sizeof(TmemSegment);
    arena->idle = arena->returned = TMEM_SEGMENT_NONE;
    for (int space = 0; space < TMEM_SPACE__MAX; space++) {
        arena->order[space].first = TMEM_SEGMENT_NONE;
        arena->order[space].last = TMEM_SEGMENT_NONE;
    }

    arena->base = tmem_os_reserve(size_bytes);
    if (arena->base) {
        arena->segments = tmem_os_reserve(arena->segments_bytes);
    }
    if (!arena->segments) {
        tmem_error_set(errp, "cannot reserve %" G_GUINT64_FORMAT " MiB of "
                       "address space for the store: %s; choose a smaller "
                       "size or raise the limit (ulimit -v)",
                       size_bytes >> 20, g_strerror(errno));
        tmem_os_release(arena->base, size_bytes);
        return false;
    }
    tmem_lock_init(&arena->lock, TMEM_RANK_ARENA);
    make_classes(arena);
    return true;
}

void tmem_arena_destroy(TmemArena *arena)
{
    for (int space = 0; space < TMEM_SPACE__MAX; space++) {
        for (uint32_t i = 0; i < arena->nr_classes; i++) {
            tmem_lock_destroy(&arena->classes[space][i].lock);
        }
    }
    tmem_lock_destroy(&arena->lock);
    tmem_os_release(arena->segments, arena->segments_bytes);
    tmem_os_release(arena->base, arena->size_bytes);
}

/* --- Budget --- */

static void set_used_locked(TmemArena *arena, uint64_t bytes)
{
    g_assert(bytes <= arena->size_bytes);
    __atomic_store_n(&arena->used_bytes, bytes, __ATOMIC_RELAXED);
}

uint64_t tmem_arena_used_bytes(const TmemArena *arena)
{
    return __atomic_load_n(&arena->used_bytes, __ATOMIC_RELAXED);
}

static bool charge(TmemArena *arena, uint64_t bytes)
{
    bool ok;

    tmem_lock(&arena->lock);
    ok = bytes <= arena->size_bytes - arena->used_bytes;
    if (ok) {
        arena->charged_bytes += bytes;
        set_used_locked(arena, arena->used_bytes + bytes);
    }
    tmem_unlock(&arena->lock);
    return ok;
}

bool tmem_arena_charge(TmemArena *arena, uint64_t bytes)
{
    if (TMEM_FAULT("arena-charge")) {
        return false;
    }
    if (!charge(arena, bytes)) {
        /* Idle segments count as used. */
        tmem_arena_trim_all(arena);
        return charge(arena, bytes);
    }
    return true;
}

void tmem_arena_uncharge(TmemArena *arena, uint64_t bytes)
{
    tmem_lock(&arena->lock);
    g_assert(bytes <= arena->charged_bytes);
    arena->charged_bytes -= bytes;
    set_used_locked(arena, arena->used_bytes - bytes);
    tmem_unlock(&arena->lock);
}

/* --- Eviction order --- */

static void order_append_locked(TmemArena *arena, uint32_t nr)
{
    TmemSegment *seg = &arena->segments[nr];
    uint32_t last = arena->order[seg->space].last;

    seg->order_next = TMEM_SEGMENT_NONE;
    seg->order_prev = last;
    if (last == TMEM_SEGMENT_NONE) {
        arena->order[seg->space].first = nr;
    } else {
        arena->segments[last].order_next = nr;
    }
    arena->order[seg->space].last = nr;
    seg->order_stamp = arena->order_clock++;
}

/* Keeps its stamp, which must be older than those in the order. */
static void order_prepend_locked(TmemArena *arena, uint32_t nr)
{
    TmemSegment *seg = &arena->segments[nr];
    uint32_t first = arena->order[seg->space].first;

    seg->order_prev = TMEM_SEGMENT_NONE;
    seg->order_next = first;
    if (first == TMEM_SEGMENT_NONE) {
        arena->order[seg->space].last = nr;
    } else {
        arena->segments[first].order_prev = nr;
    }
    arena->order[seg->space].first = nr;
}

static void order_remove_locked(TmemArena *arena, uint32_t nr)
{
    TmemSegment *seg = &arena->segments[nr];

    if (seg->order_prev == TMEM_SEGMENT_NONE) {
        arena->order[seg->space].first = seg->order_next;
    } else {
        arena->segments[seg->order_prev].order_next = seg->order_next;
    }
    if (seg->order_next == TMEM_SEGMENT_NONE) {
        arena->order[seg->space].last = seg->order_prev;
    } else {
        arena->segments[seg->order_next].order_prev = seg->order_prev;
    }
}

void tmem_arena_order_renew_locked(TmemArena *arena, uint32_t segment)
{
    order_remove_locked(arena, segment);
    order_append_locked(arena, segment);
}

uint32_t tmem_arena_order_oldest_locked(const TmemArena *arena)
{
    uint32_t record = arena->order[TMEM_SPACE_EPHEMERAL].first;
    uint32_t index = arena->order[TMEM_SPACE_EPHEMERAL_INDEX].first;
    int32_t older_by;

    if (record == TMEM_SEGMENT_NONE || index == TMEM_SEGMENT_NONE) {
        return record == TMEM_SEGMENT_NONE ? index : record;
    }
    older_by = arena->segments[record].order_stamp -
               arena->segments[index].order_stamp;
    return older_by > 0 ? index : record;
}

/* --- Segments --- */

/* Charges the descriptor of the next virgin segment beside @bytes. */
static bool charge_descriptor_locked(TmemArena *arena, uint64_t bytes)
{
    uint64_t more = tmem_os_round_up((arena->nr_virgin + 1) *
                                     sizeof(TmemSegment)) -
                    arena->descriptors_bytes;

    if (bytes + more > arena->size_bytes - arena->used_bytes) {
        return false;
    }
    arena->descriptors_bytes += more;
    arena->charged_bytes += more;
    set_used_locked(arena, arena->used_bytes + more);
    return true;
}

/* When nothing is in use, and nothing on its way: all is as at the start. */
static void drop_descriptors_locked(TmemArena *arena)
{
    if (arena->nr_in_use || arena->nr_idle || !arena->nr_virgin ||
        arena->used_bytes != arena->charged_bytes) {
        return;
    }
    tmem_os_discard(arena->segments, arena->descriptors_bytes);
    arena->returned = TMEM_SEGMENT_NONE;
    arena->nr_virgin = 0;
    arena->charged_bytes -= arena->descriptors_bytes;
    set_used_locked(arena, arena->used_bytes - arena->descriptors_bytes);
    arena->descriptors_bytes = 0;
}

/* Takes a free segment within the budget. */
static uint32_t segment_pop_locked(TmemArena *arena)
{
    uint64_t bytes = 1ull << arena->segment_shift;
    uint32_t nr;

    if (arena->idle != TMEM_SEGMENT_NONE) {
        nr = arena->idle;
        arena->idle = arena->segments[nr].next;
        __atomic_store_n(&arena->nr_idle, arena->nr_idle - 1,
                         __ATOMIC_RELAXED);
        return nr;
    }
    if (bytes > arena->size_bytes - arena->used_bytes) {
        return TMEM_SEGMENT_NONE;
    }
    if (arena->returned != TMEM_SEGMENT_NONE) {
        nr = arena->returned;
        arena->returned = arena->segments[nr].next;
    } else if (arena->nr_virgin < arena->nr_segments &&
               charge_descriptor_locked(arena, bytes)) {
        nr = arena->nr_virgin++;
    } else {
        return TMEM_SEGMENT_NONE;
    }
    set_used_locked(arena, arena->used_bytes + bytes);
    return nr;
}

/* Class lock held: gives the class a segment, unlisted. */
static uint32_t segment_get(TmemArena *arena, TmemSpace space,
                            uint32_t class_nr)
{
    TmemSegment *seg;
    uint32_t nr;

    if (TMEM_FAULT("arena-segment")) {
        return TMEM_SEGMENT_NONE;
    }
    tmem_lock(&arena->lock);
    nr = segment_pop_locked(arena);
    if (nr != TMEM_SEGMENT_NONE) {
        seg = &arena->segments[nr];
        memset(seg, 0, sizeof(*seg));
        seg->class_nr = class_nr;
        seg->space = space;
        seg->in_use = true;
        arena->nr_in_use++;
        if (space != TMEM_SPACE_PERSISTENT) {
            order_append_locked(arena, nr);
        }
    }
    tmem_unlock(&arena->lock);
    return nr;
}

/* Class lock held: an empty, unlisted segment leaves its class. */
static void segment_put(TmemArena *arena, uint32_t nr, bool by_evictor)
{
    TmemSegment *seg = &arena->segments[nr];

    tmem_lock(&arena->lock);
    if (by_evictor || !seg->victim) {
        if (seg->space != TMEM_SPACE_PERSISTENT && !by_evictor) {
            order_remove_locked(arena, nr);
        }
        arena->nr_victims -= seg->victim;
        seg->in_use = false;
        seg->victim = false;
        seg->next = arena->idle;
        arena->idle = nr;
        arena->nr_in_use--;
        __atomic_store_n(&arena->nr_idle, arena->nr_idle + 1,
                         __ATOMIC_RELAXED);
    }
    /* else the evictor, who waits for the class lock, puts it */
    tmem_unlock(&arena->lock);
}

static void list_segment(TmemArena *arena, TmemClass *c, uint32_t nr)
{
    TmemSegment *seg = &arena->segments[nr];

    seg->prev = TMEM_SEGMENT_NONE;
    seg->next = c->first;
    if (c->first != TMEM_SEGMENT_NONE) {
        arena->segments[c->first].prev = nr;
    }
    c->first = nr;
    seg->listed = true;
}

static void unlist_segment(TmemArena *arena, TmemClass *c, uint32_t nr)
{
    TmemSegment *seg = &arena->segments[nr];

    if (seg->prev == TMEM_SEGMENT_NONE) {
        c->first = seg->next;
    } else {
        arena->segments[seg->prev].next = seg->next;
    }
    if (seg->next != TMEM_SEGMENT_NONE) {
        arena->segments[seg->next].prev = seg->prev;
    }
    seg->listed = false;
}

static uint32_t idle_keep_locked(const TmemArena *arena)
{
    return MIN(IDLE_KEEP_MAX, arena->nr_in_use / IDLE_KEEP_FRACTION);
}

static void trim(TmemArena *arena, bool all)
{
    size_t bytes = (size_t)1 << arena->segment_shift;

    tmem_lock(&arena->lock);
    while (arena->nr_idle > (all ? 0 : idle_keep_locked(arena))) {
        uint32_t nr = arena->idle;

        arena->idle = arena->segments[nr].next;
        __atomic_store_n(&arena->nr_idle, arena->nr_idle - 1,
                         __ATOMIC_RELAXED);
        /* It stays in used_bytes until the memory is really gone. */
        tmem_unlock(&arena->lock);
        tmem_os_discard(arena->base + nr * bytes, bytes);
        tmem_lock(&arena->lock);
        arena->segments[nr].next = arena->returned;
        arena->returned = nr;
        set_used_locked(arena, arena->used_bytes - bytes);
    }
    drop_descriptors_locked(arena);
    tmem_unlock(&arena->lock);
}

void tmem_arena_trim(TmemArena *arena)
{
    if (__atomic_load_n(&arena->nr_idle, __ATOMIC_RELAXED)) {
        trim(arena, false);
    }
}

void tmem_arena_trim_all(TmemArena *arena)
{
    trim(arena, true);
}

/* --- Slots --- */

static TmemRef ref_of(const TmemArena *arena, uint32_t segment, uint32_t unit)
{
    return ((TmemRef)segment << (arena->segment_shift - TMEM_UNIT_SHIFT)) +
           unit + 1;
}

/* Class lock held: takes a slot from a listed segment. */
static TmemRef slot_take(TmemArena *arena, TmemClass *c, uint32_t nr)
{
    TmemSegment *seg = &arena->segments[nr];
    FreeSlot *slot;
    uint32_t unit;
    TmemRef ref;

    if (seg->free_head) {
        unit = seg->free_head - 1;
        ref = ref_of(arena, nr, unit);
        slot = tmem_arena_ptr(arena, ref);
        seg->free_head = slot->next;
    } else {
        unit = seg->watermark * (c->slot_bytes >> TMEM_UNIT_SHIFT);
        ref = ref_of(arena, nr, unit);
        slot = tmem_arena_ptr(arena, ref);
        /* An evictor may look at any slot below the watermark. */
        __atomic_store_n(&slot->owner, 0, __ATOMIC_RELAXED);
        seg->watermark++;
    }
    seg->nr_used++;
    c->nr_used++;
    if (seg->nr_used == c->slots) {
        unlist_segment(arena, c, nr);
    }
    return ref;
}

static TmemRef class_alloc(TmemArena *arena, TmemSpace space,
                           uint32_t class_nr, bool may_grow)
{
    TmemClass *c = &arena->classes[space][class_nr];
    TmemRef ref = 0;
    uint32_t nr;

    tmem_lock(&c->lock);
    nr = c->first;
    if (nr == TMEM_SEGMENT_NONE && may_grow) {
        nr = segment_get(arena, space, class_nr);
        if (nr != TMEM_SEGMENT_NONE) {
            list_segment(arena, c, nr);
        }
    }
    if (nr != TMEM_SEGMENT_NONE) {
        ref = slot_take(arena, c, nr);
    }
    tmem_unlock(&c->lock);
    return ref;
}

TmemRef tmem_arena_alloc(TmemArena *arena, TmemSpace space, size_t bytes,
                         bool any_class)
{
    uint32_t class_nr;
    TmemRef ref;

    g_assert(bytes > 0 && bytes <= TMEM_SLOT_BYTES_MAX);
    if (TMEM_FAULT("arena-slot")) {
        return 0;
    }
    class_nr = arena->class_of[(bytes + TMEM_UNIT - 1) >> TMEM_UNIT_SHIFT];
    ref = class_alloc(arena, space, class_nr, true);
    while (!ref && any_class && ++class_nr < arena->nr_classes) {
        ref = class_alloc(arena, space, class_nr, false);
    }
    return ref;
}

void tmem_arena_free(TmemArena *arena, TmemRef ref)
{
    uint32_t nr = tmem_arena_segment_of(arena, ref);
    TmemSegment *seg = &arena->segments[nr];
    TmemClass *c = &arena->classes[seg->space][seg->class_nr];
    FreeSlot *slot = tmem_arena_ptr(arena, ref);

    tmem_lock(&c->lock);
    g_assert(seg->nr_used > 0);
    __atomic_store_n(&slot->owner, 0, __ATOMIC_RELAXED);
    slot->next = seg->free_head;
    seg->free_head = ref - ref_of(arena, nr, 0) + 1;
    seg->nr_used--;
    c->nr_used--;
    if (!seg->frozen) {
        if (!seg->nr_used) {
            if (seg->listed) {
                unlist_segment(arena, c, nr);
            }
            segment_put(arena, nr, false);
        } else if (!seg->listed) {
            list_segment(arena, c, nr);
        }
    }
    tmem_unlock(&c->lock);
}

uint32_t tmem_arena_slot_bytes(const TmemArena *arena, TmemRef ref)
{
    const TmemSegment *seg =
        &arena->segments[tmem_arena_segment_of(arena, ref)];

    return arena->classes[seg->space][seg->class_nr].slot_bytes;
}

/* --- Eviction --- */

void tmem_arena_victim_begin(TmemArena *arena, uint32_t segment,
                             TmemVictim *victim)
{
    TmemSegment *seg = &arena->segments[segment];
    TmemClass *c;

    g_assert(seg->in_use && !seg->victim);
    seg->victim = true;
    arena->nr_victims++;
    order_remove_locked(arena, segment);
    c = &arena->classes[seg->space][seg->class_nr];
    tmem_unlock(&arena->lock);

    tmem_lock(&c->lock);
    seg->frozen = true;
    if (seg->listed) {
        unlist_segment(arena, c, segment);
    }
    victim->segment = segment;
    victim->nr_slots = seg->watermark;
    victim->slot_units = c->slot_bytes >> TMEM_UNIT_SHIFT;
    victim->first = ref_of(arena, segment, 0);
    tmem_unlock(&c->lock);
}

bool tmem_arena_victim_end(TmemArena *arena, TmemVictim *victim, bool walked)
{
    TmemSegment *seg = &arena->segments[victim->segment];
    TmemClass *c = &arena->classes[seg->space][seg->class_nr];
    bool empty;

    tmem_lock(&c->lock);
    seg->frozen = false;
    empty = !seg->nr_used;
    if (empty) {
        segment_put(arena, victim->segment, true);
    } else {
        /* A slot is in the hand of a store that has not published it yet. */
        if (seg->nr_used < c->slots) {
            list_segment(arena, c, victim->segment);
        }
        tmem_lock(&arena->lock);
        seg->victim = false;
        arena->nr_victims--;
        if (walked) {
            order_append_locked(arena, victim->segment);
        } else {
            order_prepend_locked(arena, victim->segment);
        }
        tmem_unlock(&arena->lock);
    }
    tmem_unlock(&c->lock);
    return empty;
}

/* --- Statistics and checks --- */

uint64_t tmem_arena_slots_bytes(TmemArena *arena)
{
    uint64_t bytes = 0;

    for (int space = 0; space < TMEM_SPACE__MAX; space++) {
        for (uint32_t i = 0; i < arena->nr_classes; i++) {
            TmemClass *c = &arena->classes[space][i];

            tmem_lock(&c->lock);
            bytes += c->nr_used * c->slot_bytes;
            tmem_unlock(&c->lock);
        }
    }
    return bytes;
}

static bool test_unit(const uint64_t *map, uint64_t unit)
{
    return map[unit / 64] >> (unit % 64) & 1;
}

/* Class lock held. */
static bool check_segment(TmemArena *arena, TmemClass *c, uint32_t nr,
                          const uint64_t *is_used, bool *unknown,
                          GError **errp)
{
    TmemSegment *seg = &arena->segments[nr];
    uint32_t units = c->slot_bytes >> TMEM_UNIT_SHIFT;
    uint64_t first = ref_of(arena, nr, 0) - 1;
    uint32_t nr_free = 0, nr_known = 0;

    for (uint32_t head = seg->free_head; head; nr_free++) {
        uint32_t unit = head - 1;
        FreeSlot *slot = tmem_arena_ptr(arena, first + unit + 1);

        if (unit % units || unit / units >= seg->watermark ||
            nr_free >= seg->watermark || slot->owner) {
            return tmem_error_set(errp, "segment %u: bad free slot at unit %u",
                                  nr, unit);
        }
        if (test_unit(is_used, first + unit)) {
            return tmem_error_set(errp, "segment %u: the slot at unit %u is "
                                  "free and in the index", nr, unit);
        }
        head = slot->next;
    }
    for (uint32_t unit = 0;
         unit < 1u << (arena->segment_shift - TMEM_UNIT_SHIFT); unit++) {
        if (!test_unit(is_used, first + unit)) {
            continue;
        }
        if (unit % units || unit / units >= seg->watermark) {
            return tmem_error_set(errp, "segment %u: the index knows unit %u, "
                                  "which is no slot", nr, unit);
        }
        nr_known++;
    }
    if (seg->watermark > c->slots ||
        seg->nr_used + nr_free != seg->watermark) {
        return tmem_error_set(errp, "segment %u: %u used and %u free slots of "
                              "%u", nr, seg->nr_used, nr_free, seg->watermark);
    }
    if (nr_known > seg->nr_used) {
        return tmem_error_set(errp, "segment %u: %u slots used, %u known to "
                              "the index", nr, seg->nr_used, nr_known);
    }
    *unknown |= nr_known < seg->nr_used;
    if (!seg->frozen && seg->listed != (seg->nr_used < c->slots)) {
        return tmem_error_set(errp, "segment %u: on the wrong list", nr);
    }
    return true;
}

/* The class that segment @nr belongs to, locked; NULL if it is free. */
static TmemClass *lock_class_of(TmemArena *arena, uint32_t nr)
{
    TmemSegment *seg = &arena->segments[nr];
    TmemClass *c = NULL;
    bool again;

    do {
        tmem_lock(&arena->lock);
        c = seg->in_use ? &arena->classes[seg->space][seg->class_nr] : NULL;
        tmem_unlock(&arena->lock);
        if (!c) {
            return NULL;
        }
        tmem_lock(&c->lock);
        tmem_lock(&arena->lock);
        again = !seg->in_use ||
                c != &arena->classes[seg->space][seg->class_nr];
        tmem_unlock(&arena->lock);
        if (again) {
            tmem_unlock(&c->lock);
        }
    } while (again);
    return c;
}

static bool check_segments(TmemArena *arena, const uint64_t *is_used,
                           bool *unknown, GError **errp)
{
    uint64_t nr_used[TMEM_SPACE__MAX][TMEM_ARENA_CLASSES_MAX] = {};

    for (uint32_t nr = 0; nr < arena->nr_segments; nr++) {
        TmemClass *c = lock_class_of(arena, nr);
        TmemSegment *seg = &arena->segments[nr];
        bool ok;

        if (c) {
            ok = check_segment(arena, c, nr, is_used, unknown, errp);
            nr_used[seg->space][seg->class_nr] += seg->nr_used;
            tmem_unlock(&c->lock);
            if (!ok) {
                return false;
            }
        }
    }
    for (int space = 0; space < TMEM_SPACE__MAX; space++) {
        for (uint32_t i = 0; i < arena->nr_classes; i++) {
            TmemClass *c = &arena->classes[space][i];

            tmem_lock(&c->lock);
            *unknown |= nr_used[space][i] != c->nr_used;
            tmem_unlock(&c->lock);
        }
    }
    return true;
}

static bool check_budget(TmemArena *arena, GError **errp)
{
    uint64_t expect, nr_order = 0, nr_ephemeral = 0;
    bool ok = true;

    tmem_lock(&arena->lock);
    expect = arena->charged_bytes +
             ((uint64_t)(arena->nr_in_use + arena->nr_idle)
              << arena->segment_shift);
    for (int space = 0; space < TMEM_SPACE__MAX; space++) {
        for (uint32_t nr = arena->order[space].first; nr != TMEM_SEGMENT_NONE;
             nr = arena->segments[nr].order_next) {
            nr_order++;
        }
    }
    for (uint32_t nr = 0; nr < arena->nr_virgin; nr++) {
        TmemSegment *seg = &arena->segments[nr];

        nr_ephemeral += seg->in_use && !seg->victim &&
                        seg->space != TMEM_SPACE_PERSISTENT;
    }
    if (arena->used_bytes < expect || arena->used_bytes > arena->size_bytes) {
        /* More than expected is a segment on its way to the OS in trim(). */
        ok = tmem_error_set(errp, "%" G_GUINT64_FORMAT " bytes used, %"
                            G_GUINT64_FORMAT " found", arena->used_bytes,
                            expect);
    } else if (nr_order != nr_ephemeral) {
        ok = tmem_error_set(errp, "%" G_GUINT64_FORMAT " ephemeral segments, %"
                            G_GUINT64_FORMAT " in the eviction order",
                            nr_ephemeral, nr_order);
    }
    tmem_unlock(&arena->lock);
    return ok;
}

bool tmem_arena_check(TmemArena *arena, const uint64_t *is_used,
                      bool *unknown, GError **errp)
{
    *unknown = false;
    return check_segments(arena, is_used, unknown, errp) &&
           check_budget(arena, errp);
}
