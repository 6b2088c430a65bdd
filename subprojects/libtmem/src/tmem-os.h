/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: memory from the operating system
 *
 * The only place that knows mmap() and madvise().  All sizes are rounded up
 * to the host's page size by the functions themselves.
 */
#ifndef TMEM_OS_H
#define TMEM_OS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * tmem_os_reserve() - reserve zeroed memory that costs nothing until touched
 * @bytes: more than 0
 *
 * It is not locked where the process locks all memory that it maps from now on,
 * with mlockall(MCL_FUTURE), nor by tmem_mlock_process(): what is reserved is
 * far more than what is used.
 *
 * Returns NULL with errno set on failure.
 */
void *tmem_os_reserve(size_t bytes);

/** Gives a reservation back. @addr and @bytes as they were reserved. */
void tmem_os_release(void *addr, size_t bytes);

/**
 * tmem_os_discard() - drop the contents of the whole pages in a range
 *
 * The range stays reserved; what it holds is undefined afterwards (zeros,
 * or the old contents where someone locked it after it was reserved).  Parts of
 * pages at both ends keep their contents.
 */
void tmem_os_discard(void *addr, size_t bytes);

size_t tmem_os_page_size(void);

/** @bytes, rounded up to whole pages of the host: what touching them takes. */
size_t tmem_os_round_up(size_t bytes);

/** The memory of the host. */
uint64_t tmem_os_host_bytes(void);

#ifdef TMEM_DEBUG
/** Act as on a host with so much memory; 0: as much as there is. */
void tmem_os_pretend_host_bytes(uint64_t bytes);

/**
 * tmem_os_pretend_page_size() - act as on a host with larger pages
 * @bytes: a multiple of the real size; 0: the real one
 *
 * For stores that are made from now on, while there is no other.
 */
void tmem_os_pretend_page_size(size_t bytes);
#endif

/** Fills @bytes of @buf with random bytes from the kernel; false on failure. */
bool tmem_os_random(void *buf, size_t bytes);

#endif /* TMEM_OS_H */
