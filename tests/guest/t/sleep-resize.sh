# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The host gives the disk another size while the guest goes to sleep: when tasks are
# frozen and devices still awake.  No disk changes, comes or goes before the guest is
# awake again, because that waits for answers of a device that is about to be reset.

set -e
modprobe virtio_tmem frontswap=0 cleancache=0
until [ -b /dev/vtmem0 ]; do usleep 100000; done
insmod /slow-suspend.ko
echo deep >/sys/power/mem_sleep
size=134217728
dmesg -c >/dev/null
checkpoint wake-in 1 qom-set path=/machine/peripheral/tmem0 property=disk-size value=$size
touch /run/slept
echo mem >/sys/power/state
tries=0
until [ "$(cat /sys/block/vtmem0/size)" = $((size / 512)) ]; do
    tries=$((tries + 1))
    [ $tries -lt 100 ] || { echo "the disk has not grown"; dmesg; exit 1; }
    usleep 100000
done
dmesg | grep -nE 'Waking up from system sleep|vtmem0: grown from' | tee /run/order
head -n 1 /run/order | grep -q 'Waking up' || { echo "it grew before the sleep"; exit 1; }
disk-truth --processes 2 --operations 200 /dev/vtmem0
blkdiscard /dev/vtmem0
checkpoint pages-at-most 0
rmmod virtio_tmem
checkpoint sane
