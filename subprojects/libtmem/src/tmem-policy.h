/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: policies
 */
#ifndef TMEM_POLICY_H
#define TMEM_POLICY_H

#include "libtmem/tmem.h"

/** The level that @codec means, its default resolved. */
int tmem_codec_level(const TmemCodecChoice *codec);

/** Returns false and sets @errp if something is unknown or out of range. */
bool tmem_codec_choice_check(const TmemCodecChoice *codec, GError **errp);
bool tmem_policy_check(const TmemPolicy *policy, GError **errp);

#endif /* TMEM_POLICY_H */
