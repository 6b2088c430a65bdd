# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The guest hibernates to a disk of its own while the module is in use and the host
# holds no page, the machine is reset, another boot of the kernel finds the image,
# and the guest goes on where it was: on a device that was reset twice meanwhile,
# with swap as before.  (Process 1 of the second boot is this script, too.)

set -e
disk=/dev/vda
image=$(dd if=$disk bs=1 skip=4086 count=10 2>/dev/null)
if [ "$image" = S1SUSPEND ]; then
    echo "an image is found"
    cat /sys/block/vda/dev >/sys/power/resume
    echo "the kernel did not take the image"
    exit 1
fi

modprobe virtio_tmem frontswap=0 cleancache=0
until [ -b /dev/vtmem0 ]; do usleep 100000; done
dd if=/dev/urandom of=/run/memory bs=1M count=8 2>/dev/null
sum=$(sha256sum </run/memory)
dd if=/run/memory of=/dev/vtmem0 bs=1M oflag=direct 2>/dev/null
[ "$(counter stores_ok)" = 2048 ]
blkdiscard /dev/vtmem0
checkpoint pages-at-most 0

# The image goes to the first swap area.
mkswap $disk >/dev/null
swapon $disk
echo reboot >/sys/power/disk
dmesg -c >/dev/null
echo disk >/sys/power/state
# It fails, or returns in the image.
said 'PM: hibernation: hibernation exit'
[ "$(sha256sum </run/memory)" = "$sum" ]
[ "$(cat /sys/bus/virtio/drivers/virtio_tmem/virtio*/state)" = running ]

# Nothing is there any more, and what is written from now on is.
head -c 8388608 /dev/vtmem0 | tr -d '\000' | wc -c | grep -qx 0
swapoff $disk
mkswap /dev/vtmem0 >/dev/null
swapon /dev/vtmem0
stores=$(counter stores_ok)
pressure --passes 1 --mib 192
[ $(($(counter stores_ok) - stores)) -gt 1000 ]
swapoff /dev/vtmem0
blkdiscard /dev/vtmem0
checkpoint pages-at-most 0
checkpoint sane
rmmod virtio_tmem
