# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# All that can be done to a file, on the file systems that use cleancache, while
# caches are dropped and the host in turn accepts, evicts and refuses: no read
# ever shows what was there before.
#
# Two are left out since nothing can be wrong there in Linux 5.10: btrfs gives no
# page away, for none of its pages counts as mapped to the disk, which
# unaccount_page_cache_page() asks for; and with blocks smaller than a page
# ext4_mpage_readpages() asks for none back.

set -e
driver_says() { awk -v name="$1" '$1 == name { print $2 }' /sys/kernel/debug/virtio_tmem/*/stats; }
mkdir /mnt

# The host's moods: full of pages it must keep, then empty again, then frozen.
moods() {
    until [ -e /run/enough ]; do
        dd if=/dev/urandom of=/dev/vtmem0 bs=64k oflag=direct 2>/dev/null || true
        sleep 1
        blkdiscard /dev/vtmem0
        sleep 1
        checkpoint qmp tmem-freeze store=store0 >/dev/null
        usleep 300000
        checkpoint qmp tmem-thaw store=store0 >/dev/null
        sleep 1
    done
}
drops() {
    echo 4 >/proc/sys/vm/drop_caches  # from now on without a line in the log
    until [ -e /run/enough ]; do
        for what in 1 1 2 1 3; do
            echo $what >/proc/sys/vm/drop_caches
            usleep 150000
        done
    done
}

# Works until the host gave enough back to have been found in a lie, which is the
# first time unless caches were dropped when there was little in them.
use() { # NAME MOUNT...
    name=$1 rounds=0
    shift
    before=$(driver_says cleancache_loads_hit)
    until
        "$@" /dev/vda /mnt || exit
        seed=$((seed + 1))
        # shellcheck disable=SC2086
        file-truth --processes 2 --files 3 --pages 400 --operations 900 \
            --seed $seed $shift /mnt || exit
        file-race 4 /mnt/race || exit
        umount /mnt || exit
        hits=$(($(driver_says cleancache_loads_hit) - before))
        [ "$hits" -gt 50 ]
    do
        rounds=$((rounds + 1))
        [ $rounds -lt 4 ] || { echo "$name: only $hits hits"; exit 1; }
    done
    echo "$name: $hits hits"
}

seed=0 shift=''
drops &
dropping=$!
moods &
background=$!

for type in ext4 ext3 ext2; do
    /tools/mke2fs -q -F -t $type -E nodiscard /dev/vda
    use $type mount -t $type
done
/tools/mke2fs -q -F -t ext4 -E nodiscard /dev/vda
# This kernel mixes a file's data up by itself there, cleancache or not, when
# ranges of it are collapsed or inserted.
shift=--no-shift
use "ext4, data=journal" mount -t ext4 -o data=journal

touch /run/enough
wait $dropping
wait $background
# Both have really been dropped, and often.
[ "$(grep -cE '^drop_(pagecache|slab) [1-9][0-9]' /proc/vmstat)" = 2 ]
grep -E 'stores|loads|spoiled|cleancache|invalidates' /sys/kernel/debug/virtio_tmem/*/stats
blkdiscard /dev/vtmem0
checkpoint pages-at-most 0
checkpoint refused
