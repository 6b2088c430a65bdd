# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A store far too small and a disk behind the swap disk: what the host refuses
# goes there and is found there again, and nothing else of it is ever seen.

set -e

# What happens to be on the disk behind must never be read.  It is all there: dd
# would have taken what a pipe gives at a time for a block.
tr '\0' '\252' </dev/zero | head -c 134217728 >/dev/vda
head -c 134217728 /dev/vda | tr -d '\252' | wc -c | grep -qx 0
modprobe virtio_tmem frontswap=0 cleancache=0 backing=/dev/vda
until [ -b /dev/vtmem0 ]; do usleep 100000; done
file=/sys/block/vtmem0/backing
[ "$(cat $file)" = /dev/vda ]

# By itself: every write is taken, whoever keeps it, and every byte read back.
disk-truth --processes 2 --pages 5000 --operations 1500 --random-percent 90 \
    /dev/vtmem0
checkpoint refused
checkpoint sane
if echo none >$file 2>/dev/null; then
    echo "the disk behind was taken away with pages on it"
    exit 1
fi
said "/dev/vda holds [0-9]* pages: run swapoff first"
blkdiscard /dev/vtmem0
checkpoint pages-at-most 0
echo none >$file
[ "$(cat $file)" = none ]
# Nobody else's now: it can be had again.
echo /dev/vda >$file

# As swap, with more to do than RAM and store together hold.
mkswap /dev/vtmem0 >/dev/null
swapon /dev/vtmem0
writes=$(counter disk_writes) reads=$(counter disk_reads)
pressure --passes 1 --random-percent 60
writes=$(($(counter disk_writes) - writes)) reads=$(($(counter disk_reads) - reads))
echo "$writes pages were written to the disk behind, $reads read from it"
[ "$writes" -gt 2000 ]
[ "$reads" -gt 2000 ]
[ "$(counter disk_errors)" = 0 ]
checkpoint sane
swapoff /dev/vtmem0
checkpoint pages-at-most 1     # what mkswap wrote
blkdiscard /dev/vtmem0
rmmod virtio_tmem
# The disk behind is free again.
mkswap /dev/vda >/dev/null
swapon /dev/vda
