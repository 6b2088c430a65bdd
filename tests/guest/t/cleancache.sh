# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Files larger than memory, read over and over: the second time most pages come
# from the host and not from the disk, every byte is right, and with the file
# system goes all that the host kept of it.

set -e
read_mib() { awk '{ printf "%d", $3 / 2048 }' /sys/block/vda/stat; }
kernel_says() { cat "/sys/kernel/debug/cleancache/$1"; }
driver_says() { awk -v name="$1" '$1 == name { print $2 }' /sys/kernel/debug/virtio_tmem/*/stats; }

/tools/mke2fs -q -t ext4 -E nodiscard /dev/vda
mkdir /mnt
mount -t ext4 /dev/vda /mnt
file-scan --mib 256 --passes 0 /mnt
exec 4</mnt/scan-0 5</mnt/scan-1 6</mnt/scan-2 7</mnt/scan-3

# Written pages are not known to be on the disk: first they have to be read.
file-scan --read-only --mib 256 --passes 1 /mnt
from_disk=$(read_mib)
hits=$(kernel_says succ_gets)
file-scan --read-only --mib 256 --passes 1 /mnt
file-scan --read-only --mib 256 --passes 1 --shuffled /mnt
from_disk=$(($(read_mib) - from_disk))
hits=$(($(kernel_says succ_gets) - hits))
echo "of 512 MiB $from_disk came from the disk and $((hits / 256)) from the host"
echo "$(driver_says cleancache_stores) stores, $(driver_says cleancache_stores_skipped) skipped," \
     "$(driver_says kicks) kicks, $(driver_says interrupts) interrupts"
# How many depends on how fast the host is; each is one that the disk need not
# read.
[ "$hits" -gt 20000 ]
[ "$from_disk" -lt $((512 - hits / 256 + 32)) ]
checkpoint hits "$hits"
[ "$(driver_says cleancache_loads_hit)" = "$(kernel_says succ_gets)" ]
checkpoint sane

exec 4<&- 5<&- 6<&- 7<&-
umount /mnt
checkpoint pages-at-most 0
checkpoint sane
