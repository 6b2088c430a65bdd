# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Without a device the module loads, because one may be plugged in later; it
# says so in one line, makes no disk, and unloads.

set -e
modprobe virtio_tmem
dmesg | grep 'virtio_tmem: no usable virtio-tmem device'
[ ! -e /dev/vtmem0 ]
rmmod virtio_tmem
[ ! -e /sys/module/virtio_tmem ]
