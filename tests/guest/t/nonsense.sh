# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Devices that are odd: a disk too large for any account of it to be kept is
# refused in one line and takes nothing with it; no disk is said to be none; and
# one without MSI-X, with a single queue, works.

set -e
wait_until() { # WHAT COMMAND...
    local tries=0 what=$1
    shift
    until "$@"; do
        tries=$((tries + 1))
        [ $tries -lt 200 ] || { echo "in 20 seconds $what"; dmesg | tail; exit 1; }
        usleep 100000
    done
}
plug() { # NAME=VALUE...
    checkpoint qmp device_add driver=virtio-tmem bus=rp0 id=tmem0 store=store0 "$@" 2>/dev/null
}
unplug() {
    checkpoint qmp device_del id=tmem0
    wait_until "the device did not go" no_device
}
no_device() { [ -z "$(ls /sys/bus/virtio/devices)" ]; }
logged() { dmesg | grep -q "$1"; }

modprobe virtio_tmem frontswap=0 cleancache=0
for size in 562949953421312 9223372036854771712; do
    dmesg -c >/dev/null
    # The guest lets the last one go first, then the host does.
    wait_until "the device could not be plugged in" plug disk-size=$size
    wait_until "nothing was said of the size" \
        logged 'virtio_tmem virtio0: cannot make a swap disk of [0-9]* MiB: error -27'
    [ ! -e /dev/vtmem0 ]
    # One line of ours, and no trace of a failed allocation.
    [ "$(dmesg | grep -v probe | grep -c 'virtio_tmem virtio0')" = 1 ] || { dmesg; exit 1; }
    if dmesg | grep -E 'vmalloc|allocation failure|Out of memory'; then exit 1; fi
    unplug
done

wait_until "the device could not be plugged in" plug disk-size=0
wait_until "nothing was said of the disk" logged 'no swap disk: the host offers none'
[ ! -e /dev/vtmem0 ]
unplug

wait_until "the device could not be plugged in" plug disk-size=67108864 vectors=0 num-queues=1
wait_until "no disk came" [ -b /dev/vtmem0 ]
# What is in sysfs comes after the disk.
wait_until "nothing came in sysfs" [ -e /sys/bus/virtio/drivers/virtio_tmem/virtio0/queues ]
[ "$(cat /sys/bus/virtio/drivers/virtio_tmem/virtio0/queues)" = 1 ]
disk-truth --operations 300 --pages 4000 /dev/vtmem0
rmmod virtio_tmem
checkpoint sane
