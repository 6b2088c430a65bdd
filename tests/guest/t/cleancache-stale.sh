# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The page that must not come back: a file is kept by the host, each page of it
# is overwritten as a whole, so that none is asked for, and then dropped in such
# numbers that the driver cannot send them all.  What it does not send must not
# leave the old page behind.

set -e
driver_says() { awk -v name="$1" '$1 == name { print $2 }' /sys/kernel/debug/virtio_tmem/*/stats; }
/tools/mke2fs -q -t ext4 -E nodiscard /dev/vda
mkdir /mnt
mount -t ext4 /dev/vda /mnt

for generation in 1 2; do
    # Written, read back to be known as on the disk, and given to the host.
    file-scan --mib 48 --passes 0 --generation $generation /mnt
    exec 4</mnt/scan-0 5</mnt/scan-1 6</mnt/scan-2 7</mnt/scan-3
    echo 1 >/proc/sys/vm/drop_caches
    file-scan --read-only --mib 48 --passes 1 --generation $generation /mnt
    echo 1 >/proc/sys/vm/drop_caches
    # In place: a truncate would invalidate the whole file.
    for file in 0 1 2 3; do
        file-scan --read-only --mib 48 --passes 0 /mnt
        dd if=/dev/urandom of=/run/new bs=1M count=12 2>/dev/null
        dd if=/run/new of=/mnt/scan-$file bs=64k conv=notrunc,fsync 2>/dev/null
        echo 1 >/proc/sys/vm/drop_caches
        cmp /run/new /mnt/scan-$file
        echo 1 >/proc/sys/vm/drop_caches
        cmp /run/new /mnt/scan-$file
        rm /run/new
    done
    exec 4<&- 5<&- 6<&- 7<&-
done
grep cleancache /sys/kernel/debug/virtio_tmem/*/stats
# Without these nothing was tried.
[ "$(driver_says cleancache_loads_hit)" -gt 5000 ]
[ "$(driver_says cleancache_stores_skipped)" -gt 100 ]
umount /mnt
checkpoint pages-at-most 0
checkpoint sane
