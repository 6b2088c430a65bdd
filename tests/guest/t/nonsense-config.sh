# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A device whose configuration makes no sense is refused in one line that names
# what is wrong, with nothing left behind; with its own configuration it works.

set -e
driver=/sys/bus/virtio/drivers/virtio_tmem
refused() { # FIELD=VALUE WORDS
    insmod /wrong-config.ko "$1"
    dmesg -c >/dev/null
    modprobe virtio_tmem frontswap=0 cleancache=0
    # One line of ours, and the core's with the error.
    dmesg | grep 'virtio_tmem' | grep -v 'no usable virtio-tmem device'
    said "virtio_tmem virtio[0-9]*: $2"
    [ "$(dmesg | grep 'virtio_tmem virtio' | grep -vc 'probe')" = 1 ]
    dmesg | grep 'no usable virtio-tmem device'
    [ ! -e /dev/vtmem0 ]
    [ "$(echo $driver/virtio*)" = "$driver/virtio*" ]
    rmmod virtio_tmem
    rmmod wrong_config
}
refused num_queues=0 'the device offers 0 queues and batches of [0-9]*: it cannot be used'
said 'error -22'
refused max_batch=0 'the device offers 2 queues and batches of 0: it cannot be used'
refused page_shift=16 "the host's pages have 65536 bytes, this kernel's 4096: the device cannot be used"
refused page_shift=255 "the host's pages have 9223372036854775808 bytes, this kernel's 4096"
# Of 65535 one for each of four CPUs; the device has two.
refused num_queues=65535 'cannot set up 4 request queues: error -[0-9]'

# More in a request than anybody has: the driver has its own limit.
insmod /wrong-config.ko max_batch=65535
modprobe virtio_tmem frontswap=0 cleancache=0
until [ -b /dev/vtmem0 ]; do usleep 100000; done
[ "$(cat $driver/virtio*/max_batch)" = 64 ]
[ "$(cat $driver/virtio*/queues)" = 2 ]
disk-truth --operations 300 --pages 4000 /dev/vtmem0
rmmod virtio_tmem
checkpoint sane
