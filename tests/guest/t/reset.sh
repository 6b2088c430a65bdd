# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The device is reset behind the driver's back, while the disk is at work and
# pages are held: nobody waits for ever and nothing wrong is read.  What was on
# the host is an I/O error from then on, also what had been fetched ahead; what
# is on the disk behind can be had, and pages go there now.

set -e
dmesg -n 1      # a line for each error takes longer than all the rest
modprobe virtio_tmem frontswap=0 cleancache=0 backing=/dev/vda
until [ -b /dev/vtmem0 ]; do usleep 100000; done

dd if=/dev/urandom of=/run/data bs=1M count=8 2>/dev/null
dd if=/run/data of=/dev/vtmem0 bs=1M oflag=direct 2>/dev/null
# In order, so that pages are fetched ahead; it stops in the middle.
dd if=/dev/vtmem0 bs=4k count=500 iflag=direct 2>/dev/null |
    cmp -n 2048000 - /run/data
[ "$(counter prefetches)" -gt 0 ]

device=$(readlink -f /sys/block/vtmem0/device)
enough=$(($(counter stores) + 1000))
disk-truth --vanishing --processes 2 --pages 3000 --operations 6000 \
    /dev/vtmem0 &
until [ "$(counter stores)" -gt $enough ]; do usleep 20000; done
echo 1 >"${device%/*}/reset"
wait $!
said "the device was reset; [0-9]* pages are lost and all further requests fail"
# Written anew it is on the disk behind, and right.
dd if=/run/data of=/dev/vtmem0 bs=1M oflag=direct 2>/dev/null
dd if=/dev/vtmem0 bs=1M count=8 iflag=direct 2>/dev/null | cmp - /run/data
[ "$(counter disk_writes)" -gt 2000 ]
blkdiscard /dev/vtmem0
rmmod virtio_tmem
