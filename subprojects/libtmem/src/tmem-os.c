/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libtmem: memory from the operating system
 */
#include <errno.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include "tmem-fault.h"
#include "tmem-mlock.h"
#include "tmem-os.h"

#ifdef TMEM_DEBUG

static size_t pretended_page_size;

void tmem_os_pretend_page_size(size_t bytes)
{
    pretended_page_size = bytes;
}

size_t tmem_os_page_size(void)
{
    return pretended_page_size ? pretended_page_size : getauxval(AT_PAGESZ);
}

#else

size_t tmem_os_page_size(void)
{
    return getauxval(AT_PAGESZ);
}

#endif

#ifdef TMEM_DEBUG
static uint64_t pretended_host_bytes;

void tmem_os_pretend_host_bytes(uint64_t bytes)
{
    pretended_host_bytes = bytes;
}
#endif

uint64_t tmem_os_host_bytes(void)
{
#ifdef TMEM_DEBUG
    if (pretended_host_bytes) {
        return pretended_host_bytes;
    }
#endif
    return sysconf(_SC_PHYS_PAGES) * (uint64_t)getauxval(AT_PAGESZ);
}

size_t tmem_os_round_up(size_t bytes)
{
    size_t mask = tmem_os_page_size() - 1;

    return (bytes + mask) & ~mask;
}

/* Inaccessible memory, known as a store's; NULL with errno set on failure. */
static void *map_reservation(size_t bytes)
{
    TmemReservation *r = TMEM_FAULT("os-reservation") ? NULL :
                         g_try_new0(TmemReservation, 1);
    void *addr = MAP_FAILED;

    errno = ENOMEM;
    if (!r) {
        return NULL;
    }
    tmem_reservations_lock();
    /*
     * MAP_NORESERVE: the store's own budget limits what is touched, so the
     * reservation itself must not count against the overcommit limit.
     */
    if (!TMEM_FAULT("os-reserve")) {
        addr = mmap(NULL, bytes, PROT_NONE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    }
    if (addr != MAP_FAILED) {
        r->start = (uintptr_t)addr;
        r->end = r->start + bytes;
        tmem_reservations_add_locked(g_steal_pointer(&r));
    }
    tmem_reservations_unlock();
    if (r) {
        int saved = errno;

        g_free(r);
        errno = saved;
        return NULL;
    }
    return addr;
}

void *tmem_os_reserve(size_t bytes)
{
    void *addr = map_reservation(tmem_os_round_up(bytes));

    if (!addr) {
        return NULL;
    }
    /*
     * A process that locks all its future memory would have all of this
     * populated by mmap() and could not discard any of it.  Inaccessible
     * memory is not populated, so first unlock it, then open it.
     */
    munlock(addr, tmem_os_round_up(bytes));
    if (TMEM_FAULT("os-protect") ||
        mprotect(addr, tmem_os_round_up(bytes), PROT_READ | PROT_WRITE) < 0) {
        int saved = errno;

        tmem_os_release(addr, bytes);
        errno = saved;
        return NULL;
    }
    /*
     * What is touched here is spread out on purpose, and the budget counts it
     * in small pages: a huge page under each would take many times as much,
     * and khugepaged would fill again what was discarded.  Kernels without
     * huge pages refuse; then there is nothing to refuse.
     */
    madvise(addr, tmem_os_round_up(bytes), MADV_NOHUGEPAGE);
    return addr;
}

void tmem_os_release(void *addr, size_t bytes)
{
    TmemReservation *r;

    if (addr) {
        tmem_reservations_lock();
        r = tmem_reservations_take_locked(addr);
        munmap(addr, tmem_os_round_up(bytes));
        tmem_reservations_unlock();
        g_free(r);
    }
}

void tmem_os_discard(void *addr, size_t bytes)
{
    uintptr_t mask = tmem_os_page_size() - 1;
    uintptr_t start = ((uintptr_t)addr + mask) & ~mask;
    uintptr_t end = ((uintptr_t)addr + bytes) & ~mask;

    if (start < end) {
        /* Fails only where someone locked it since: then nothing is to do. */
        madvise((void *)start, end - start, MADV_DONTNEED);
    }
}

bool tmem_os_random(void *buf, size_t bytes)
{
    uint8_t *p = buf;

    if (TMEM_FAULT("os-random")) {
        return false;
    }
    while (bytes) {
        ssize_t n = getrandom(p, bytes, 0);

        if (n < 0) {
            if (errno == EINTR) {
                continue;
            }
            return false;
        }
        p += n;
        bytes -= n;
    }
    return true;
}
