# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# After a sleep the device is another than before, and cannot be used: it has failed,
# and has no rings.  The disk can be taken away and asked for, which is refused in one
# line; nothing else is, and the module goes.

set -e
insmod /wrong-config.ko
modprobe virtio_tmem frontswap=0 cleancache=0
until [ -b /dev/vtmem0 ]; do usleep 100000; done
state=$(readlink -f /sys/block/vtmem0/device)/state
echo 1 >/sys/module/wrong_config/parameters/max_batch
echo deep >/sys/power/mem_sleep
checkpoint wake-in 1
touch /run/slept
dmesg -c >/dev/null
echo mem >/sys/power/state
said 'virtio_tmem virtio[0-9]*: the device does not come back from sleep: error -22'
[ "$(cat "$state")" = failed ]
if dd if=/dev/zero of=/dev/vtmem0 bs=4k count=1 oflag=direct 2>/dev/null; then
    echo "a device that has failed took a page"
    exit 1
fi

# Who asks for the disk of such a device is told so, and gets none.
parameter=/sys/module/virtio_tmem/parameters/disk
echo 0 >$parameter
[ ! -e /sys/block/vtmem0 ]
if echo 1 >$parameter; then
    echo "a device that has failed has a disk"
    exit 1
fi
said 'virtio_tmem virtio[0-9]*: cannot make a swap disk of [0-9]* MiB: error -5'
[ ! -e /sys/block/vtmem0 ]
[ "$(cat "${state%/*}/disk" 2>/dev/null || echo none)" = none ]
rmmod virtio_tmem
checkpoint sane
