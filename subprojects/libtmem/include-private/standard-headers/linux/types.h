/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The integer types of the wire header, for a library that is built without
 * QEMU's copy of this file.
 */
#ifndef LIBTMEM_STANDARD_HEADERS_LINUX_TYPES_H
#define LIBTMEM_STANDARD_HEADERS_LINUX_TYPES_H

#include <stdint.h>

typedef uint16_t __le16;
typedef uint32_t __le32;
typedef uint64_t __le64;

#endif /* LIBTMEM_STANDARD_HEADERS_LINUX_TYPES_H */
