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

#endif /* TMEM_FUZZ_H */
