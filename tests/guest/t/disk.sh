# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The swap disk tells the truth: random direct writes, discards, zeroings and
# reads, and a file system's kind of use through the page cache.

set -e
swapoff /dev/vtmem0
blkdiscard /dev/vtmem0
checkpoint pages-at-most 0

disk-truth --processes 4 --operations 1500 /dev/vtmem0
disk-truth --processes 1 --operations 3000 --pages 20000 --seed 2 /dev/vtmem0

# Through the page cache, in large and odd pieces, over the end of the disk's
# first object, and read back with an empty cache.
dd if=/dev/urandom of=/run/data bs=1000 count=5000 2>/dev/null
dd if=/run/data of=/dev/vtmem0 bs=12345 seek=3 conv=fsync 2>/dev/null
echo 3 >/proc/sys/vm/drop_caches
tail -c +$((12345 * 3 + 1)) /dev/vtmem0 | head -c 5000000 | cmp - /run/data
blkdiscard /dev/vtmem0
checkpoint pages-at-most 0
checkpoint sane
