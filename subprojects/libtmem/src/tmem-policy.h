/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: policies
 */
#ifndef TMEM_POLICY_H
#define TMEM_POLICY_H

#include "libtmem/tmem.h"

#define TMEM_ZSTD_LEVEL_MIN     (-7)
#define TMEM_ZSTD_LEVEL_MAX     19

/** The level that @codec means, its default resolved. */
int tmem_codec_level(const TmemCodecChoice *codec);

/** The level at which idle pages are compressed again. */
int tmem_policy_recompress_level(const TmemPolicy *policy);

/*
 * A choice in one word that can be read and written atomically; its level is
 * resolved.  Never 0.
 */
uint32_t tmem_codec_pack(const TmemCodecChoice *codec);

static inline TmemCodecChoice tmem_codec_unpack(uint32_t word)
{
    return (TmemCodecChoice) {
        .compressor = (word >> 8) - 1, .level = (int)(word & 0xff) - 128,
    };
}

/** Returns false and sets @errp if something is unknown or out of range. */
bool tmem_codec_choice_check(const TmemCodecChoice *codec, GError **errp);
bool tmem_policy_check(const TmemPolicy *policy, GError **errp);

#endif /* TMEM_POLICY_H */
