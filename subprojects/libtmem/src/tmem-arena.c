/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: the bounded arena that all memory caused by guests comes from
 */
#include <errno.h>
#include <stdlib.h>
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

G_STATIC_ASSERT(1u << (SEGMENT_SHIFT_MAX - TMEM_UNIT_SHIFT) <=
                TMEM_SEGMENT_SLOTS_MAX);

/*
 * Memory of a segment is paid for in steps of this, or of a page of the host if
 * that is larger.
 */
#define STEP_SHIFT  14

/* Idle segments kept resident: this many, or 1/16 of those in use if less. */
#define IDLE_KEEP_MAX       8
#define IDLE_KEEP_FRACTION  16

/* --- Set-up --- */

/*
 * Classes nearer to each other than 1/64 would only spread the data over more
 * half-used segments; small stores cannot afford even that many.
 */
static void make_classes(TmemArena *arena)
{
    bool small = arena->size_bytes <
                 (uint64_t)SEGMENTS_WANTED << (SEGMENT_SHIFT_MIN + 1);

    for (unsigned owned = 0; owned < G_N_ELEMENTS(arena->sizes); owned++) {
        tmem_sizes_init(&arena->sizes[owned], 1u << arena->segment_shift,
                        owned ? sizeof(uint64_t) : 0, small ? 24 : 64);
        arena->nr_classes = MAX(arena->nr_classes, arena->sizes[owned].nr);
    }
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

/*
 * Address space for a segment for each step that the budget pays for: many
 * clients with a few pages in each class have as many that are just begun, and
 * what others were promised is worth nothing without a segment.  A process with
 * a limit may have too little for that.
 */
static bool reserve(TmemArena *arena)
{
    unsigned shift = arena->segment_shift - arena->step_shift;

    for (;;) {
        arena->span_bytes = arena->size_bytes << shift;
        arena->base = tmem_os_reserve(arena->span_bytes);
        if (arena->base || !shift) {
            break;
        }
        shift--;
    }
    /* In the largest store the last unit's reference would not fit. */
    arena->nr_segments = MIN(arena->span_bytes >> arena->segment_shift,
                             ((1ull << TMEM_REF_BITS) - 1) >>
                             (arena->segment_shift - TMEM_UNIT_SHIFT));
    arena->segments_bytes = arena->nr_segments * sizeof(TmemSegment);
    return arena->base;
}

bool tmem_arena_init(TmemArena *arena, uint64_t size_bytes, GError **errp)
{
    memset(arena, 0, sizeof(*arena));
    arena->size_bytes = arena->budget_bytes = size_bytes;
    arena->segment_shift = choose_segment_shift(size_bytes);
    arena->step_shift = STEP_SHIFT;
    while (1ull << arena->step_shift < tmem_os_page_size()) {
        arena->step_shift++;
    }
    arena->idle = arena->returned = TMEM_SEGMENT_NONE;

    if (reserve(arena)) {
        arena->segments = tmem_os_reserve(arena->segments_bytes);
    }
    if (!arena->segments) {
        /* EAGAIN: this process locks all its memory, and may not so much. */
        tmem_error_set(errp, "cannot reserve %" G_GUINT64_FORMAT " MiB of "
                       "address space for the store: %s; choose a smaller "
                       "size or raise the limit (ulimit -%c)",
                       size_bytes >> 20, strerror(errno),
                       errno == EAGAIN ? 'l' : 'v');
        tmem_os_release(arena->base, arena->span_bytes);
        return false;
    }
    tmem_lock_init(&arena->lock, TMEM_RANK_ARENA);
    pthread_cond_init(&arena->victims_done, NULL);
    make_classes(arena);
    return true;
}

void tmem_arena_destroy(TmemArena *arena)
{
    g_assert(!arena->heaps);
    pthread_cond_destroy(&arena->victims_done);
    tmem_lock_destroy(&arena->lock);
    tmem_os_release(arena->segments, arena->segments_bytes);
    tmem_os_release(arena->base, arena->span_bytes);
}

/* --- Budget --- */

void tmem_arena_set_used_locked(TmemArena *arena, uint64_t bytes)
{
    g_assert(bytes <= arena->size_bytes + tmem_arena_grace_locked(arena));
    __atomic_store_n(&arena->used_bytes, bytes, __ATOMIC_RELAXED);
}

uint64_t tmem_arena_used_bytes(const TmemArena *arena)
{
    return __atomic_load_n(&arena->used_bytes, __ATOMIC_RELAXED);
}

void tmem_arena_set_budget_locked(TmemArena *arena, uint64_t bytes)
{
    __atomic_store_n(&arena->budget_bytes, MIN(bytes, arena->size_bytes),
                     __ATOMIC_RELAXED);
}

static bool charge(TmemArena *arena, uint64_t bytes)
{
    bool ok;

    tmem_lock(&arena->lock);
    ok = bytes <= tmem_arena_room_locked(arena, 0);
    if (ok) {
        arena->charged_bytes += bytes;
        tmem_arena_set_used_locked(arena, arena->used_bytes + bytes);
    }
    tmem_unlock(&arena->lock);
    return ok;
}

void tmem_arena_set_reserve(TmemArena *arena, bool on)
{
    tmem_lock(&arena->lock);
    arena->reserve_bytes = on ? 1ull << arena->segment_shift : 0;
    tmem_unlock(&arena->lock);
}

bool tmem_arena_charge(TmemArena *arena, uint64_t bytes)
{
    if (TMEM_FAULT("arena-charge")) {
        return false;
    }
    if (!charge(arena, bytes)) {
        /* Idle segments count as used. */
        tmem_arena_trim_bytes(arena, UINT64_MAX);
        return charge(arena, bytes);
    }
    return true;
}

void tmem_arena_uncharge_locked(TmemArena *arena, uint64_t bytes)
{
    g_assert(bytes <= arena->charged_bytes);
    arena->charged_bytes -= bytes;
    tmem_arena_set_used_locked(arena, arena->used_bytes - bytes);
}

void tmem_arena_uncharge(TmemArena *arena, uint64_t bytes)
{
    tmem_lock(&arena->lock);
    tmem_arena_uncharge_locked(arena, bytes);
    tmem_unlock(&arena->lock);
}

/* --- Segments --- */

/* Charges the descriptor of the next virgin segment beside @bytes. */
static bool charge_descriptor_locked(TmemArena *arena, uint64_t bytes,
                                     uint64_t grace)
{
    uint64_t more = tmem_os_round_up((arena->nr_virgin + 1) *
                                     sizeof(TmemSegment)) -
                    arena->descriptors_bytes;

    if (bytes + more > tmem_arena_room_locked(arena, grace)) {
        return false;
    }
    arena->descriptors_bytes += more;
    arena->charged_bytes += more;
    tmem_arena_set_used_locked(arena, arena->used_bytes + more);
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
    tmem_arena_set_used_locked(arena, arena->used_bytes -
                                      arena->descriptors_bytes);
    arena->descriptors_bytes = 0;
}

bool tmem_arena_pay_locked(TmemArena *arena, uint32_t segment,
                           uint32_t nr_steps, uint64_t grace)
{
    TmemSegment *seg = &arena->segments[segment];
    uint64_t bytes = (uint64_t)(nr_steps - seg->nr_steps) << arena->step_shift;

    if (bytes > tmem_arena_room_locked(arena, grace)) {
        return false;
    }
    seg->nr_steps = nr_steps;
    tmem_arena_set_used_locked(arena, arena->used_bytes + bytes);
    return true;
}

static void unlink_idle_locked(TmemArena *arena, uint32_t nr)
{
    arena->idle = arena->segments[nr].next;
    __atomic_store_n(&arena->nr_idle, arena->nr_idle - 1, __ATOMIC_RELAXED);
}

uint32_t tmem_arena_pop_locked(TmemArena *arena, uint64_t max_bytes,
                               uint64_t grace)
{
    uint64_t step = 1ull << arena->step_shift;
    uint32_t nr = arena->idle;

    if (nr != TMEM_SEGMENT_NONE &&
        tmem_segment_bytes(arena, &arena->segments[nr]) <= max_bytes) {
        unlink_idle_locked(arena, nr);
        return nr;
    }
    if (step > tmem_arena_room_locked(arena, grace)) {
        return TMEM_SEGMENT_NONE;
    }
    if (arena->returned != TMEM_SEGMENT_NONE) {
        nr = arena->returned;
        arena->returned = arena->segments[nr].next;
    } else if (arena->nr_virgin < arena->nr_segments &&
               charge_descriptor_locked(arena, step, grace)) {
        nr = arena->nr_virgin++;
    } else {
        return TMEM_SEGMENT_NONE;
    }
    arena->segments[nr].nr_steps = 0;
    tmem_arena_pay_locked(arena, nr, 1, grace);
    return nr;
}

void tmem_arena_push_locked(TmemArena *arena, uint32_t nr)
{
    arena->segments[nr].in_use = false;
    arena->segments[nr].next = arena->idle;
    arena->idle = nr;
    __atomic_store_n(&arena->nr_idle, arena->nr_idle + 1, __ATOMIC_RELAXED);
}

static uint32_t idle_keep_locked(const TmemArena *arena)
{
    return tmem_arena_excess_locked(arena) ? 0 :
           MIN(IDLE_KEEP_MAX, arena->nr_in_use / IDLE_KEEP_FRACTION);
}

/* Segments on their way back to the operating system. */
typedef struct Leaving {
    uint32_t nr_segments;
    uint64_t bytes;
    uint32_t nr[TMEM_TRIM_BATCH];
} Leaving;

/* Takes idle segments: about @max_bytes, and none of the last @keep. */
static void take_idle_locked(TmemArena *arena, uint32_t keep,
                             uint64_t max_bytes, Leaving *leaving)
{
    leaving->nr_segments = 0;
    leaving->bytes = 0;
    while (leaving->nr_segments < TMEM_TRIM_BATCH && arena->nr_idle > keep &&
           leaving->bytes < max_bytes) {
        uint32_t nr = arena->idle;

        unlink_idle_locked(arena, nr);
        leaving->nr[leaving->nr_segments++] = nr;
        leaving->bytes += tmem_segment_bytes(arena, &arena->segments[nr]);
    }
}

static int by_number(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

/* Neighbours that are resident to their ends go in one system call. */
static void discard(TmemArena *arena, Leaving *leaving)
{
    uint64_t segment = 1ull << arena->segment_shift;
    uint32_t i = 0;

    qsort(leaving->nr, leaving->nr_segments, sizeof(leaving->nr[0]),
          by_number);
    while (i < leaving->nr_segments) {
        uint32_t first = leaving->nr[i];
        uint64_t bytes = 0;

        do {
            bytes += tmem_segment_bytes(arena,
                                        &arena->segments[leaving->nr[i++]]);
        } while (i < leaving->nr_segments &&
                 first + bytes / segment == leaving->nr[i] &&
                 !(bytes % segment));
        tmem_os_discard(arena->base + ((size_t)first << arena->segment_shift),
                        bytes);
    }
}

static void put_returned_locked(TmemArena *arena, const Leaving *leaving)
{
    for (uint32_t i = leaving->nr_segments; i-- > 0; ) {
        TmemSegment *seg = &arena->segments[leaving->nr[i]];

        seg->nr_steps = 0;
        seg->next = arena->returned;
        arena->returned = leaving->nr[i];
    }
    tmem_arena_set_used_locked(arena, arena->used_bytes - leaving->bytes);
}

/* Gives back what is beyond @keep idle segments, and about @max_bytes of it. */
static uint64_t trim(TmemArena *arena, bool keep, uint64_t max_bytes)
{
    uint64_t returned = 0;
    Leaving leaving;

    tmem_lock(&arena->lock);
    for (;;) {
        take_idle_locked(arena, keep ? idle_keep_locked(arena) : 0,
                         max_bytes - MIN(returned, max_bytes), &leaving);
        if (!leaving.nr_segments) {
            break;
        }
        /* They stay in used_bytes until the memory is really gone. */
        tmem_unlock(&arena->lock);
        discard(arena, &leaving);
        tmem_lock(&arena->lock);
        put_returned_locked(arena, &leaving);
        returned += leaving.bytes;
    }
    drop_descriptors_locked(arena);
    tmem_unlock(&arena->lock);
    return returned;
}

void tmem_arena_trim(TmemArena *arena)
{
    if (__atomic_load_n(&arena->nr_idle, __ATOMIC_RELAXED)) {
        trim(arena, true, UINT64_MAX);
    }
}

uint64_t tmem_arena_trim_bytes(TmemArena *arena, uint64_t bytes)
{
    return trim(arena, false, bytes);
}

/* --- Statistics --- */

void tmem_arena_levels(TmemArena *arena, uint64_t *used_bytes,
                       uint64_t *overhead_bytes)
{
    tmem_lock(&arena->lock);
    *used_bytes = arena->used_bytes;
    *overhead_bytes = arena->used_bytes - arena->heaps_bytes;
    tmem_unlock(&arena->lock);
}
