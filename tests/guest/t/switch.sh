# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Front ends are switched at run time: the swap disk goes when nobody uses it,
# stays with a reason while somebody does, and comes back empty; frontswap, on a
# kernel that has it, takes no more pages and gives back all it took.  sysfs says
# what is so.

set -e
parameters=/sys/module/virtio_tmem/parameters
is() { # FILE VALUE
    [ "$(cat "$1")" = "$2" ] || { echo "$1 is $(cat "$1") and not $2"; exit 1; }
}
modprobe virtio_tmem frontswap=0 cleancache=0
device=/sys/bus/virtio/drivers/virtio_tmem/virtio0
is $device/state running
is $device/disk vtmem0
is $device/frontswap 0
is $device/pages 0
is $device/queues 2

mkswap /dev/vtmem0 >/dev/null
is $device/pages 1
is $device/stats/stores_ok 1
grep -q '^stores_ok  *1$' /sys/kernel/debug/virtio_tmem/virtio0/stats
grep -q '^0 .* running' /sys/kernel/debug/virtio_tmem/virtio0/queues
[ "$(wc -l </sys/kernel/debug/virtio_tmem/virtio0/areas)" = 2 ]
swapon /dev/vtmem0
if echo 0 >$parameters/disk 2>/dev/null; then
    echo "the disk was switched off while in use"
    exit 1
fi
dmesg | grep 'virtio_tmem virtio0: swap disk vtmem0 is in use and stays: run swapoff first'
is $parameters/disk Y
pressure --passes 1
swapoff /dev/vtmem0

echo 0 >$parameters/disk
is $device/disk none
[ ! -e /dev/vtmem0 ]
checkpoint pages-at-most 0
echo 1 >$parameters/disk
is $device/disk vtmem0
checkpoint pages-at-most 0
head -c 1048576 /dev/vtmem0 | tr -d '\000' | wc -c | grep -qx 0
# A file system's worth of opening and closing while it comes and goes.
(while [ ! -e /run/enough ]; do head -c 65536 /dev/vtmem0 >/dev/null 2>&1 || true; done) &
reader=$!
for _ in 1 2 3 4 5 6 7 8 9 10; do
    until echo 0 >$parameters/disk 2>/dev/null; do usleep 50000; done
    echo 1 >$parameters/disk
done
touch /run/enough
wait $reader
disk-truth --operations 200 /dev/vtmem0

if grep -q frontswap_register_ops /proc/kallsyms; then
    blkdiscard /dev/vtmem0
    mkswap /dev/vtmem0 >/dev/null
    swapon /dev/vtmem0
    echo 1 >$parameters/frontswap
    is $device/frontswap 1
    pressure --passes 1 --progress /run/progress &
    work=$!
    until grep -q 'pass 1' /run/progress 2>/dev/null; do usleep 200000; done
    taken=$(cat /sys/kernel/debug/frontswap/succ_stores)
    [ "$taken" -gt 0 ] || { echo "frontswap took nothing"; exit 1; }
    echo 0 >$parameters/frontswap
    is $device/frontswap 0
    taken=$(cat /sys/kernel/debug/frontswap/succ_stores)
    wait $work
    # One store may have been on its way on each CPU.
    now=$(cat /sys/kernel/debug/frontswap/succ_stores)
    [ $((now - taken)) -le 2 ] ||
        { echo "frontswap took $((now - taken)) pages after it was switched off"; exit 1; }
    echo 1 >$parameters/frontswap
    pressure --passes 1 --mib 150 --seed 3
    [ "$(cat /sys/kernel/debug/frontswap/succ_stores)" -gt "$now" ]
    swapoff /dev/vtmem0
    rmmod virtio_tmem 2>/dev/null && { echo "the hooks' module went"; exit 1; }
else
    echo 1 >$parameters/frontswap
    is $device/frontswap 0
    rmmod virtio_tmem
fi
checkpoint sane
