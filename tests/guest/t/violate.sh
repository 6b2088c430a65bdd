# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The device finds a request that is too short to be one, breaks, and says so
# (NEEDS_RESET): what was on the host is an I/O error from then on, what is on the
# disk behind can be had, nothing wrong is read, nobody waits, and the driver goes.

set -e
dmesg -n 1      # a line for each error takes longer than all the rest
modprobe virtio_tmem frontswap=0 cleancache=0 backing=/dev/vda
until [ -b /dev/vtmem0 ]; do usleep 100000; done
state=$(readlink -f /sys/block/vtmem0/device)/state
[ "$(cat "$state")" = running ]

# Some pages are on the host, and what it refuses on the disk behind.
disk-truth --vanishing --processes 2 --pages 3000 --operations 3000 \
    --random-percent 90 /dev/vtmem0 &
until [ "$(counter disk_writes)" -gt 500 ]; do usleep 20000; done
[ "$(counter stores_ok)" -gt 500 ]
insmod /wrong-answers.ko violate=1
wait $!
[ "$(cat /sys/module/wrong_answers/parameters/violate)" = 0 ]
[ "$(cat "$state")" = failed ]
said "virtio_tmem virtio[0-9]*: the device has failed; [1-9][0-9]* pages are lost and all further requests fail"
[ "$(counter loads_error)" -gt 0 ] || { echo "no lost page was read"; exit 1; }

# Written anew it is on the disk behind, and right.
dd if=/dev/urandom of=/run/data bs=1M count=8 2>/dev/null
dd if=/run/data of=/dev/vtmem0 bs=1M oflag=direct 2>/dev/null
dd if=/dev/vtmem0 bs=1M count=8 iflag=direct 2>/dev/null | cmp - /run/data
blkdiscard /dev/vtmem0
echo none >/sys/block/vtmem0/backing
# Without one a write is an error, and not in silence.
if dd if=/run/data of=/dev/vtmem0 bs=4k count=1 oflag=direct 2>/run/said; then
    echo "a device that has failed took a page"
    exit 1
fi
grep 'Input/output error' /run/said
if dd if=/dev/vtmem0 bs=4k count=1 of=/run/page iflag=direct 2>/dev/null; then
    # What was discarded is an error too, or zeros.
    tr -d '\000' </run/page | wc -c | grep -qx 0
fi
rmmod virtio_tmem
