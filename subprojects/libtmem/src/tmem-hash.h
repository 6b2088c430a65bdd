/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: keyed hash of handles
 *
 * SipHash-1-3 over 64-bit words.  Handles are chosen by guests, so the hash
 * must not be predictable without the key.
 */
#ifndef TMEM_HASH_H
#define TMEM_HASH_H

#include <stdint.h>

typedef struct TmemSip {
    uint64_t v0, v1, v2, v3;
} TmemSip;

static inline uint64_t tmem_sip_rotl(uint64_t v, unsigned n)
{
    return v << n | v >> (64 - n);
}

static inline void tmem_sip_round(TmemSip *s)
{
    s->v0 += s->v1;
    s->v1 = tmem_sip_rotl(s->v1, 13) ^ s->v0;
    s->v0 = tmem_sip_rotl(s->v0, 32);
    s->v2 += s->v3;
    s->v3 = tmem_sip_rotl(s->v3, 16) ^ s->v2;
    s->v0 += s->v3;
    s->v3 = tmem_sip_rotl(s->v3, 21) ^ s->v0;
    s->v2 += s->v1;
    s->v1 = tmem_sip_rotl(s->v1, 17) ^ s->v2;
    s->v2 = tmem_sip_rotl(s->v2, 32);
}

static inline void tmem_sip_init(TmemSip *s, const uint64_t key[2])
{
    s->v0 = key[0] ^ 0x736f6d6570736575ull;
    s->v1 = key[1] ^ 0x646f72616e646f6dull;
    s->v2 = key[0] ^ 0x6c7967656e657261ull;
    s->v3 = key[1] ^ 0x7465646279746573ull;
}

static inline void tmem_sip_word(TmemSip *s, uint64_t word)
{
    s->v3 ^= word;
    tmem_sip_round(s);
    s->v0 ^= word;
}

/* @words: how many went in; makes hashes of different lengths differ. */
static inline uint64_t tmem_sip_end(TmemSip s, uint64_t words)
{
    tmem_sip_word(&s, (words * 8) << 56);
    s.v2 ^= 0xff;
    tmem_sip_round(&s);
    tmem_sip_round(&s);
    tmem_sip_round(&s);
    return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

#endif /* TMEM_HASH_H */
