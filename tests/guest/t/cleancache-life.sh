# shellcheck shell=dash
# shellcheck disable=SC2016  # what each does to a file it evaluates
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What happens to a machine under a mounted file system: it sleeps, which resets the
# device, so the host's pages are gone and the pools that held them; the device is
# reset behind the driver's back; it is torn out.  The file system goes on all the
# time and no page of before is ever read.

set -e
files=24
each() { # COMMAND: for all $files files, whose numbers it finds in $i
    i=0
    while [ $i -lt $files ]; do
        eval "$1"
        i=$((i + 1))
    done
}
drop() { echo 1 >/proc/sys/vm/drop_caches; }
# All files are on the host, as far as their pages are in no cache of the guest.
keep() {
    each 'cmp /run/was /mnt/file-$i'
    drop
    sleep 1.2   # the first page that is dropped has the pool made
    kept=$(counter stores_ok)
    each 'cmp /run/was /mnt/file-$i; drop'
    kept=$(($(counter stores_ok) - kept))
    echo "$kept pages are on the host"
    [ $kept -gt 1000 ]
}
read_back() { # sets hits
    hits=$(counter cleancache_loads_hit)
    each 'cmp /run/was /mnt/file-$i'
    hits=$(($(counter cleancache_loads_hit) - hits))
    drop
}

modprobe virtio_tmem frontswap=0
until [ -b /dev/vtmem0 ]; do usleep 100000; done
/tools/mke2fs -q -t ext4 -E nodiscard /dev/vda
mkdir /mnt
mount -t ext4 /dev/vda /mnt
dd if=/dev/urandom of=/run/was bs=192k count=1 2>/dev/null
each 'cp /run/was /mnt/file-$i'
sync
drop
keep
read_back
[ "$hits" -gt 1000 ]

touch /run/slept
echo deep >/sys/power/mem_sleep
for round in 1 2; do
    keep
    dmesg -c >/run/log
    checkpoint wake-in 1
    echo mem >/sys/power/state
    dmesg | grep -E 'ACPI: (PM: )?Waking up from system sleep state S3'
    checkpoint pages-at-most 0
    # Half of the files are overwritten as a whole, so that none of them is read.
    dd if=/dev/urandom of=/run/new bs=192k count=1 2>/dev/null
    each '[ $((i % 2)) = 0 ] || dd if=/run/new of=/mnt/file-$i bs=192k conv=notrunc,fsync 2>/dev/null'
    drop
    each 'if [ $((i % 2)) = 0 ]; then cmp /run/was /mnt/file-$i; else cmp /run/new /mnt/file-$i; fi'
    each 'dd if=/run/new of=/mnt/file-$i bs=192k conv=notrunc,fsync 2>/dev/null'
    mv /run/new /run/was
    keep
    read_back
    echo "after sleep $round: $hits pages came from the host"
    [ "$hits" -gt 1000 ]
done
# No request named a pool of before.
checkpoint sane

keep
device=$(readlink -f /sys/block/vtmem0/device)
echo 1 >"${device%/*}/reset"
read_back
[ "$hits" = 0 ]
said 'the device was reset; 0 pages are lost and all further requests fail'
file-truth --processes 2 --files 3 --pages 100 --operations 300 /mnt
[ "$(cat /sys/bus/virtio/drivers/virtio_tmem/virtio*/state)" = failed ]

# The hooks stay with the module, and find no device.
echo 1 >"${device%/*}/remove"
read_back
file-truth --processes 2 --files 3 --pages 100 --operations 300 --seed 2 /mnt
umount /mnt
mount -t ext4 /dev/vda /mnt
read_back
umount /mnt
[ ! -e /dev/vtmem0 ]
