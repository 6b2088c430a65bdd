/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmem-bench: which of its measurements
 */
#include <stdio.h>
#include <string.h>

#include "bench.h"

static const char usage[] =
    "Usage: tmem-bench {store|evict|vring} [OPTION]...\n"
    "\n"
    "  store   libtmem against raw LZ4 and the host's zram, on a file of pages\n"
    "  evict   eviction policies, on a trace of file pages\n"
    "  vring   a storage daemon over vhost-user against zram and vhost-user-blk\n"
    "\n"
    "tmem-bench store --help, and so on, lists the options.\n";

int main(int argc, char **argv)
{
    if (argc > 1 && !strcmp(argv[1], "store")) {
        return bench_main_store(argc - 1, argv + 1);
    }
    if (argc > 1 && !strcmp(argv[1], "evict")) {
        return bench_main_evict(argc - 1, argv + 1);
    }
    if (argc > 1 && !strcmp(argv[1], "vring")) {
        return bench_main_vring(argc - 1, argv + 1);
    }
    if (argc > 1 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))) {
        fputs(usage, stdout);
        return 0;
    }
    if (argc > 1) {
        fprintf(stderr, "tmem-bench: there is no '%s': it is 'store', "
                "'evict' or 'vring', see tmem-bench --help\n", argv[1]);
    } else {
        fputs("tmem-bench: what to measure? 'store', 'evict' or 'vring', see "
              "tmem-bench --help\n", stderr);
    }
    return 2;
}
