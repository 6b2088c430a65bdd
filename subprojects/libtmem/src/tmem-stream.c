/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: streams of saved pools, as files
 */
#include <errno.h>
#include <unistd.h>
#include <xxhash.h>

#include "tmem-stream.h"

uint64_t tmem_stream_sum(uint64_t sum, const void *block, size_t bytes)
{
    return XXH64(block, bytes, sum);
}

bool tmem_stream_read(int fd, void *buf, size_t bytes, uint64_t offset)
{
    while (bytes) {
        ssize_t got = pread(fd, buf, bytes, offset);

        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            errno = got ? errno : 0;
            return false;
        }
        buf = (uint8_t *)buf + got;
        bytes -= got;
        offset += got;
    }
    return true;
}

bool tmem_stream_write(int fd, const void *buf, size_t bytes, uint64_t offset)
{
    while (bytes) {
        ssize_t put = pwrite(fd, buf, bytes, offset);

        if (put < 0 && errno == EINTR) {
            continue;
        }
        if (put < 0) {
            return false;
        }
        buf = (const uint8_t *)buf + put;
        bytes -= put;
        offset += put;
    }
    return true;
}
