# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The life of file systems: mounted before the module is loaded and after, again
# and again, read-only and back, more of them than the host has pools for, gone
# while they are in use.  What one has kept no other ever sees.

set -e
driver_says() { awk -v name="$1" '$1 == name { print $2 }' /sys/kernel/debug/virtio_tmem/*/stats; }
hits() { driver_says cleancache_loads_hit; }

# Reads what is kept; the file must be open all the time.
keep_and_read() { # DIRECTORY MIB [GENERATION]
    exec 4<"$1/scan-0" 5<"$1/scan-1" 6<"$1/scan-2" 7<"$1/scan-3"
    for round in 1 2 3; do
        file-scan --read-only --mib "$2" --passes 1 \
            --generation "${3:-1}" "$1" >/dev/null
        echo 1 >/proc/sys/vm/drop_caches
        # The first page that is dropped has the pool made, which takes a moment.
        [ $round != 1 ] || sleep 1.2
    done
    file-scan --read-only --mib "$2" --passes 1 \
            --generation "${3:-1}" "$1" >/dev/null
    exec 4<&- 5<&- 6<&- 7<&-
}

mkdir /mnt /bind
/tools/mke2fs -q -t ext4 -E nodiscard /dev/vda
mount -t ext4 -o ro /dev/vda /mnt
mount -o remount,rw /mnt
file-scan --mib 8 --passes 0 /mnt

# Loaded under a file system that is in use, and it stays.
modprobe virtio_tmem frontswap=0
dmesg | grep 'cleancache: active'
if rmmod virtio_tmem 2>/dev/null; then
    echo "the module went, and its hooks stayed behind"
    exit 1
fi
keep_and_read /mnt 8
[ "$(hits)" -gt 1500 ]
checkpoint hits 1500

# The same file system in two places is one.
mount --bind /mnt /bind
file-scan --read-only --mib 8 --passes 1 /bind
umount /bind

# Another one in the same place, with inodes of the same numbers.
umount /mnt
/tools/mke2fs -q -F -t ext4 -E nodiscard /dev/vda
mount -t ext4 /dev/vda /mnt
file-scan --mib 8 --passes 1 --generation 2 /mnt
umount /mnt

# As often as anybody would, and the host is left with nothing; more often if the
# kernel's command line says how often.
round=0
echo 4 >/proc/sys/vm/drop_caches    # from now on without a line in the log
# shellcheck disable=SC2154
while [ $round -lt "${rounds:-100}" ]; do
    mount -t ext4 /dev/vda /mnt
    [ $((round % 10)) != 0 ] || cat /mnt/scan-0 >/dev/null
    [ $((round % 20)) != 0 ] || echo 1 >/proc/sys/vm/drop_caches
    umount /mnt
    round=$((round + 1))
done
checkpoint pages-at-most 0

# Read-only and back: ext4 asks for a new pool each time and forgets the old one,
# which stays with the host until its place is needed.
mount -t ext4 /dev/vda /mnt
for round in 1 2 3 4 5; do
    mount -o remount,ro /mnt
    mount -o remount,rw /mnt
done
before=$(hits)
file-scan --mib 8 --passes 0 /mnt
keep_and_read /mnt 8
[ "$(hits)" -gt $((before + 1500)) ]
umount /mnt

# More than the host has pools for: they work, with a pool or without.
mount -t ext4 /dev/vda /mnt
for number in 1 2 3 4 5 6; do
    truncate -s 24M /mnt/image
    /tools/mke2fs -q -F -t ext4 -E nodiscard /mnt/image
    mv /mnt/image /mnt/image-$number
    mkdir /fs-$number
    mount -o loop -t ext4 /mnt/image-$number /fs-$number
    file-scan --mib 4 --passes 0 --generation $number /fs-$number
done
for _ in 1 2 3 4; do
    for number in 1 2 3 4 5 6; do
        file-scan --read-only --mib 4 --passes 1 --generation $number \
            /fs-$number >/dev/null
        echo 1 >/proc/sys/vm/drop_caches
    done
    usleep 600000
done
dmesg | grep 'cleancache: no pool for file system .* the host has no room'

# Gone while it is in use, and while memory is short.
exec 4</fs-1/scan-0
umount -l /fs-1
cat <&4 | wc -c
exec 4<&-
file-scan --mib 96 --passes 2 --generation 9 /mnt &
scan=$!
for number in 2 3 4 5 6; do
    umount /fs-$number
done
wait $scan

# Off and on again at run time.
echo 0 >/sys/module/virtio_tmem/parameters/cleancache
checkpoint pages-at-most 0
before=$(hits)
keep_and_read /mnt 96 9
[ "$(hits)" = "$before" ]
echo 1 >/sys/module/virtio_tmem/parameters/cleancache
file-scan --mib 8 --passes 0 /mnt
keep_and_read /mnt 8
[ "$(hits)" -gt "$before" ]
umount /mnt
checkpoint pages-at-most 0
checkpoint sane
