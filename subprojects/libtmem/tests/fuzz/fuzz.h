/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a fuzz target defines and a fuzzer, or fuzz-driver.c, calls
 */
#ifndef TMEM_FUZZ_H
#define TMEM_FUZZ_H

#include <stddef.h>
#include <stdint.h>

/** Runs one input; aborts if something is wrong.  Returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What a target reads its input with; zeros follow the end. */
typedef struct FuzzInput {
    const uint8_t *data;
    size_t size;
} FuzzInput;

/** Takes @bytes from the input as a number, big-endian. */
static inline uint64_t fuzz_take(FuzzInput *in, size_t bytes)
{
    uint64_t v = 0;

    for (; bytes && in->size; bytes--) {
        v = v << 8 | *in->data++;
        in->size--;
    }
    return v;
}

#endif /* TMEM_FUZZ_H */
