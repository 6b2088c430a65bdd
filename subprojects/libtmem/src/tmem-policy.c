/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: policies: defaults, names, and what is out of range
 */
#include <stdlib.h>
#include <string.h>

#include "tmem-error.h"
#include "tmem-policy.h"

typedef struct CompressorInfo {
    const char *name;
    bool has_level;
    int level_min;
    int level_max;
    int level_default;
} CompressorInfo;

static const CompressorInfo compressors[] = {
    [TMEM_COMPRESSOR_LZ4] = { "lz4", true, 1, 64, 1 },
    [TMEM_COMPRESSOR_NONE] = { "none", false, 0, 0, 0 },
    [TMEM_COMPRESSOR_ZSTD] = {
        "zstd", true, TMEM_ZSTD_LEVEL_MIN, TMEM_ZSTD_LEVEL_MAX, 1,
    },
};

void tmem_policy_init(TmemPolicy *policy)
{
    *policy = (TmemPolicy) {
        .codec = { .compressor = TMEM_COMPRESSOR_LZ4 },
        .admission = { .max_stored_bytes = TMEM_PAGE_SIZE / 8 * 7 },
        .upkeep = { .cpu_percent = 10, .compact = true },
    };
}

const char *tmem_compressor_str(TmemCompressor compressor)
{
    return compressors[compressor].name;
}

char *tmem_codec_choice_str(const TmemCodecChoice *codec)
{
    const char *name = tmem_compressor_str(codec->compressor);

    return codec->level ? g_strdup_printf("%s:%d", name, codec->level) :
                          g_strdup(name);
}

int tmem_codec_level(const TmemCodecChoice *codec)
{
    return codec->level ? codec->level :
                          compressors[codec->compressor].level_default;
}

int tmem_policy_recompress_level(const TmemPolicy *policy)
{
    TmemCodecChoice choice = {
        .compressor = TMEM_COMPRESSOR_ZSTD,
        .level = policy->upkeep.recompress_level,
    };

    return tmem_codec_level(&choice);
}

uint32_t tmem_codec_pack(const TmemCodecChoice *codec)
{
    return (uint32_t)(codec->compressor + 1) << 8 |
           (uint32_t)(tmem_codec_level(codec) + 128);
}

static bool check_level(TmemCompressor compressor, int64_t level, GError **errp)
{
    const CompressorInfo *info = &compressors[compressor];

    if (level && !info->has_level) {
        return tmem_error_set(errp, "compressor '%s' has no levels",
                              info->name);
    }
    if (level && (level < info->level_min || level > info->level_max)) {
        return tmem_error_set(errp, "level %" G_GINT64_FORMAT " of compressor "
                              "'%s' is out of range; possible are %d to %d",
                              level, info->name, info->level_min,
                              info->level_max);
    }
    return true;
}

bool tmem_codec_choice_check(const TmemCodecChoice *codec, GError **errp)
{
    if ((unsigned)codec->compressor >= G_N_ELEMENTS(compressors)) {
        return tmem_error_set(errp, "there is no compressor number %u",
                              (unsigned)codec->compressor);
    }
    return check_level(codec->compressor, codec->level, errp);
}

/* What was written behind the colon; 0 would mean the default. */
static bool parse_level(TmemCompressor compressor, const char *text,
                        int64_t *level, GError **errp)
{
    const CompressorInfo *info = &compressors[compressor];

    if (g_ascii_string_to_signed(text, 10, INT_MIN, INT_MAX, level, NULL) &&
        *level) {
        return check_level(compressor, *level, errp);
    }
    if (!info->has_level) {
        return tmem_error_set(errp, "compressor '%s' has no levels",
                              info->name);
    }
    return tmem_error_set(errp, "'%s' is not a level of compressor '%s'; "
                          "possible are %d to %d%s", text, info->name,
                          info->level_min, info->level_max,
                          info->level_min < 0 ? ", without 0" : "");
}

bool tmem_codec_choice_parse(const char *text, TmemCodecChoice *codec,
                             GError **errp)
{
    const char *colon = strchr(text, ':');
    size_t len = colon ? (size_t)(colon - text) : strlen(text);

    for (unsigned i = 0; i < G_N_ELEMENTS(compressors); i++) {
        if (strlen(compressors[i].name) == len &&
            !strncmp(text, compressors[i].name, len)) {
            int64_t level = 0;

            if (colon && !parse_level(i, colon + 1, &level, errp)) {
                return false;
            }
            codec->compressor = i;
            codec->level = level;
            return true;
        }
    }
    return tmem_error_set(errp, "unknown compressor '%.*s'; known are lz4, "
                          "zstd and none", (int)len, text);
}

static bool check_range(const char *name, uint64_t value, uint64_t min,
                        uint64_t max, GError **errp)
{
    if (value < min || value > max) {
        return tmem_error_set(errp, "%s %" G_GUINT64_FORMAT " is out of range; "
                              "possible are %" G_GUINT64_FORMAT " to %"
                              G_GUINT64_FORMAT, name, value, min, max);
    }
    return true;
}

bool tmem_policy_check(const TmemPolicy *policy, GError **errp)
{
    const TmemAdmission *admission = &policy->admission;
    const TmemUpkeep *upkeep = &policy->upkeep;

    return tmem_codec_choice_check(&policy->codec, errp) &&
           check_range("the largest stored size", admission->max_stored_bytes,
                       1, TMEM_PAGE_SIZE, errp) &&
           check_range("the mean stored size", admission->max_mean_bytes,
                       0, TMEM_PAGE_SIZE, errp) &&
           check_range("the share of host memory in per cent",
                       admission->max_host_percent, 0, 100, errp) &&
           check_range("the share of a CPU in per cent", upkeep->cpu_percent,
                       1, 100, errp) &&
           check_level(TMEM_COMPRESSOR_ZSTD, upkeep->recompress_level, errp) &&
           check_range("the pressure threshold in ms",
                       policy->pressure.stall_ms, 0, 999, errp);
}
