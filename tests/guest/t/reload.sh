# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The module loads, works and unloads, three times.  Unloading leaves nothing
# on the host, and a module whose disk is in use stays.

set -e
for round in 1 2 3; do
    modprobe virtio_tmem frontswap=0 cleancache=0
    # A new life of the device knows nothing of the last one.
    head -c 1048576 /dev/vtmem0 | tr -d '\000' | wc -c | grep -qx 0
    mkswap /dev/vtmem0 >/dev/null
    swapon /dev/vtmem0
    pressure --passes 1 --seed $round
    if rmmod virtio_tmem 2>/dev/null; then
        echo "the module was unloaded with its swap in use"
        exit 1
    fi
    swapoff /dev/vtmem0
    disk-truth --operations 200 /dev/vtmem0
    rmmod virtio_tmem
    checkpoint pages-at-most 0
    [ ! -e /dev/vtmem0 ]
done
checkpoint sane
