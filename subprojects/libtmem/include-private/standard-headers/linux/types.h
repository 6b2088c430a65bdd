/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the wire header needs of QEMU's include/standard-headers, for builds
 * of libtmem alone: the kernel's own, as some C libraries include it too.
 */
#include <linux/types.h>
#include <stdint.h>
