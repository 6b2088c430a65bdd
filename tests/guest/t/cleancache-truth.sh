# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# All that can be done to a file, on the file systems that use cleancache, while
# caches are dropped and the host in turn accepts, evicts and refuses: no read
# ever shows what was there before.

set -e
driver_says() { awk -v name="$1" '$1 == name { print $2 }' /sys/kernel/debug/virtio_tmem/*/stats; }
mkdir /mnt

# The host's moods: full of pages it must keep, then empty again.
moods() {
    until [ -e /run/enough ]; do
        dd if=/dev/urandom of=/dev/vtmem0 bs=64k oflag=direct 2>/dev/null || true
        sleep 1
        blkdiscard /dev/vtmem0
        sleep 1
    done
}
drops() {
    until [ -e /run/enough ]; do
        for what in 5 5 6 5 7; do  # 4: without a line in the log
            echo $what >/proc/sys/vm/drop_caches
            usleep 150000
        done
    done
}

# Rates of success by which to see that there was something to be wrong.
use() { # NAME MOUNT...
    name=$1
    shift
    before=$(driver_says cleancache_loads_hit)
    "$@" /dev/vda /mnt
    for directory in ${directories:-/mnt}; do
        seed=$((seed + 1))
        # shellcheck disable=SC2086
        file-truth --processes 2 --files 3 --pages 400 --operations 900 \
            --seed $seed $shift "$directory" &
        truths="$truths $!"
    done
    for truth in $truths; do wait "$truth"; done
    truths=
    [ "$name" = btrfs ] || file-race 4 /mnt/race
    umount /mnt
    hits=$(($(driver_says cleancache_loads_hit) - before))
    echo "$name: $hits hits"
}

seed=0 truths='' directories='' shift=''
drops &
moods &
background=$!

for type in ext4 ext3 ext2; do
    /tools/mke2fs -q -F -t $type -E nodiscard /dev/vda
    use $type mount -t $type
    # Enough to have found a lie, on each that looks for its pages.
    [ "$hits" -gt 50 ]
done
/tools/mke2fs -q -F -t ext4 -E nodiscard /dev/vda
# This kernel mixes a file's data up by itself there, cleancache or not, when
# ranges of it are collapsed or inserted.
shift=--no-shift
use "ext4, data=journal" mount -t ext4 -o data=journal
shift=
/tools/mke2fs -q -F -t ext4 -b 1024 -E nodiscard /dev/vda
use "ext4, blocks of 1024" mount -t ext4

# Subvolumes have inodes of the same numbers.
/tools/mkfs.btrfs -q -f -K /dev/vda
mount -t btrfs /dev/vda /mnt
/tools/btrfs -q subvolume create /mnt/one
/tools/btrfs -q subvolume create /mnt/two
umount /mnt
directories='/mnt/one /mnt/two'
use btrfs mount -t btrfs

touch /run/enough
wait $background
grep -E 'stores|loads|spoiled|cleancache|invalidates' /sys/kernel/debug/virtio_tmem/*/stats
blkdiscard /dev/vtmem0
checkpoint pages-at-most 0
checkpoint refused
