# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The host gives the swap disk another size.  It grows while it is at work, and
# what is on it stays; it does not become smaller while somebody has it open, nor
# larger than the disk behind; and nonsense is refused.

set -e
MIB=1048576
offer() { # BYTES
    checkpoint qmp qom-set path=/machine/peripheral/tmem0 property=disk-size value="$1"
}
until_size() { # BYTES
    tries=0
    until [ "$(cat /sys/block/vtmem0/size 2>/dev/null)" = $(($1 / 512)) ]; do
        tries=$((tries + 1))
        [ $tries -lt 100 ] || { echo "after 10 seconds the disk has not $1 bytes"; exit 1; }
        usleep 100000
    done
}
until_said() { # WORDS
    tries=0
    until said "$1" >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ $tries -lt 100 ] || said "$1"
        usleep 100000
    done
}
modprobe virtio_tmem frontswap=0 cleancache=0
start=67633152      # its last object is half there
until_size $start

# At work: also the last object, which becomes whole, and discards of all there is.
disk-truth --processes 2 --pages 8256 --operations 12000 /dev/vtmem0 &
work=$!
for size in 67637248 100663296 134217728 $((512 * MIB)); do
    usleep 300000
    offer $size
    until_size $size
    said "vtmem0: grown from [0-9]* to $((size / MIB)) MiB"
done
kill -0 $work || { echo "the disk did not grow while it was at work"; exit 1; }
wait $work
# What came is as good as what was, on both sides of the old end.
dd if=/dev/urandom of=/run/data bs=4k count=1500 2>/dev/null
dd if=/run/data of=/dev/vtmem0 bs=4k seek=$((start / 4096 - 500)) oflag=direct 2>/dev/null
dd if=/dev/vtmem0 bs=4k skip=$((start / 4096 - 500)) count=1500 iflag=direct 2>/dev/null |
    cmp - /run/data

blkdiscard /dev/vtmem0
checkpoint pages-at-most 0

# As swap on all of it.  The area stays what mkswap made of it.
mkswap /dev/vtmem0 >/dev/null
swapon /dev/vtmem0
pressure --passes 1 --progress /run/progress >/run/said &
work=$!
until grep -q '^pass [1-9]' /run/progress 2>/dev/null; do usleep 100000; done
offer $((768 * MIB))
until_size $((768 * MIB))
checkpoint qmp-refuses "'can only grow'" qom-set path=/machine/peripheral/tmem0 \
    property=disk-size value=$((256 * MIB))
wait $work || { cat /run/said; exit 1; }
swapoff /dev/vtmem0
mkswap /dev/vtmem0 >/dev/null
swapon /dev/vtmem0
[ "$(awk '/^SwapTotal/ { print $2 }' /proc/meminfo)" -gt $((767 * 1024)) ]
swapoff /dev/vtmem0
blkdiscard /dev/vtmem0
checkpoint pages-at-most 0

# A disk behind it, which is as large and not larger.
echo /dev/vda >/sys/block/vtmem0/backing
offer $((896 * MIB))
until_said "vtmem0: the host offers 896 MiB, but /dev/vda behind it has 800: it stays at 768 MiB"
until_size $((768 * MIB))
echo none >/sys/block/vtmem0/backing
until_size $((896 * MIB))

# Smaller while the guest sleeps: not as long as somebody has it open, which by
# itself does not keep the system from sleeping; then it can be made anew.
echo deep >/sys/power/mem_sleep
exec 5</dev/vtmem0
checkpoint wake-in 1 qom-set path=/machine/peripheral/tmem0 property=disk-size \
    value=$((192 * MIB))
touch /run/slept
echo mem >/sys/power/state
until_said "vtmem0: the host offers 192 MiB, less than the 896 it has: it stays as it is while in use"
until_size $((896 * MIB))
exec 5<&-
echo 0 >/sys/module/virtio_tmem/parameters/disk
echo 1 >/sys/module/virtio_tmem/parameters/disk
until_size $((192 * MIB))
disk-truth --processes 2 --operations 200 /dev/vtmem0

# More than any memory has maps for.
offer $((1 << 60))
until_said "vtmem0: cannot grow to 1099511627776 MiB, it stays at 192: error -27"
until_size $((192 * MIB))

rmmod virtio_tmem
checkpoint sane
