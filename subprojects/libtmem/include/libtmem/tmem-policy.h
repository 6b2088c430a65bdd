/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: what an operator chooses for a store, and may change while it runs
 *
 * Included by tmem.h.
 */
#ifndef LIBTMEM_TMEM_POLICY_H
#define LIBTMEM_TMEM_POLICY_H

#include <stdbool.h>
#include <stdint.h>

typedef enum TmemCompressor {
    TMEM_COMPRESSOR_LZ4,
    TMEM_COMPRESSOR_NONE,       /* same-filled pages are still elided */
    TMEM_COMPRESSOR_ZSTD,
} TmemCompressor;

/**
 * TmemCodecChoice: how pages that come in are compressed
 *
 * @level: 0 for the compressor's default.  lz4: its acceleration, 1 (default)
 * to 64; more is faster and denser is less.  zstd: its level, -7 to 19, default
 * 1.  none: 0.
 *
 * A change holds for pages stored from then on; older ones keep their form.
 */
typedef struct TmemCodecChoice {
    TmemCompressor compressor;
    int level;
} TmemCodecChoice;

/**
 * TmemAdmission: which pages the store takes
 *
 * A page that is refused for one of these answers TMEM_STATUS_REFUSED.
 * Same-filled pages are always taken.
 */
typedef struct TmemAdmission {
    /*
     * A page whose compressed form is larger than this is incompressible;
     * 1 ... TMEM_PAGE_SIZE; default 7/8 of a page, as in zcache
     * (zv_max_zsize).
     */
    uint32_t max_stored_bytes;
    /* Incompressible pages are refused; default: kept as they are. */
    bool refuse_incompressible;
    /*
     * While the compressed pages that the client holds are larger than this on
     * average, one that is larger than this itself is refused; 0 (default): no
     * such limit; zcache had 5/8 of a page (zv_max_mean_zsize).
     */
    uint32_t max_mean_bytes;
    /*
     * The store as a whole uses at most so many per cent of the host's memory,
     * whatever its size says; 0 (default): no such limit.  zcache:
     * zv_page_count_policy_percent.  A store that would need more than this
     * answers as if the store were full.  If more is used when this is set,
     * ephemeral pages go, down to the minimums of clients.
     */
    uint32_t max_host_percent;
} TmemAdmission;

/**
 * TmemUpkeep: what the store does in the background
 *
 * Nothing of it holds a lock for longer than a page takes, and all of it
 * together takes no more than its share of one CPU.
 */
typedef struct TmemUpkeep {
    uint32_t cpu_percent;           /* 1 ... 100; default 10 */
    /*
     * A page that was neither stored nor loaded for at least this long is
     * compressed again with @recompress_level of zstd, and keeps that form if
     * it saves memory; 0 (default): never.  Ages are noticed in steps, so a
     * page may be as old as 1.5 times this.
     */
    uint32_t recompress_idle_seconds;
    int recompress_level;           /* of zstd; 0: the default, 1 */
    bool compact;                   /* empty half-used segments; default: on */
} TmemUpkeep;

/**
 * TmemPressure: what the store does when the host is short of memory
 *
 * When tasks of the host stalled on memory for @stall_ms within one second
 * (PSI, /proc/pressure/memory "some"), ephemeral pages are evicted, 1/16 of
 * them each time, until stalls are below half of that, no more than
 * @floor_bytes of ephemeral data are left, or no client is above its minimum.
 */
typedef struct TmemPressure {
    uint32_t stall_ms;              /* 1 ... 999; 0 (default): off */
    uint64_t floor_bytes;
} TmemPressure;

typedef struct TmemPolicy {
    TmemCodecChoice codec;
    TmemAdmission admission;
    TmemUpkeep upkeep;
    TmemPressure pressure;
} TmemPolicy;

/** Sets @policy to the defaults. */
void tmem_policy_init(TmemPolicy *policy);

#endif /* LIBTMEM_TMEM_POLICY_H */
