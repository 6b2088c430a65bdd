/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: admission: which pages the store takes
 */
#ifndef TMEM_ADMIT_H
#define TMEM_ADMIT_H

#include "tmem-codec.h"

/* TmemAdmission, as operations read it: each member alone, atomically. */
typedef struct TmemAdmit {
    uint32_t max_stored_bytes;
    uint32_t max_mean_bytes;
    bool refuse_incompressible;
} TmemAdmit;

typedef enum TmemVerdict {
    TMEM_VERDICT_OK,
    TMEM_VERDICT_TOO_LARGE,
    TMEM_VERDICT_MEAN,
} TmemVerdict;

/** Makes @admission what holds from now on.  Policy lock held, or no client. */
void tmem_admit_set_locked(TmemStore *store, const TmemAdmission *admission);

/** Evicts what the host's share does not allow, down to the minimums. */
void tmem_admit_make_fit(TmemStore *store);

/** Whether the stores of @client are refused. */
bool tmem_admit_frozen(const TmemClient *client);

/** Compressed forms longer than this are not wanted. */
uint32_t tmem_admit_max(const TmemStore *store);

/** Whether a page that became @enc is taken.  No lock held. */
TmemVerdict tmem_admit_page(TmemContext *ctx, const TmemEncoded *enc);

#endif /* TMEM_ADMIT_H */
