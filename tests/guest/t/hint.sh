# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The host is full of pages it must keep and says that it takes no others: clean
# file pages are not sent in vain.  When that is over they are sent again.

set -e
/tools/mke2fs -q -t ext4 -E nodiscard /dev/vda
mkdir /mnt
mount -t ext4 /dev/vda /mnt
dd if=/dev/urandom of=/mnt/file bs=1M count=32 2>/dev/null
sync
sum=$(sha256sum </mnt/file)
exec 4</mnt/file
rounds() { # sets sent and skipped: pages, in three rounds
    sent=$(counter cleancache_stores) skipped=$(counter cleancache_stores_skipped)
    for _ in 1 2 3; do
        echo 1 >/proc/sys/vm/drop_caches
        [ "$(sha256sum </mnt/file)" = "$sum" ]
    done
    sent=$(($(counter cleancache_stores) - sent))
    skipped=$(($(counter cleancache_stores_skipped) - skipped))
}

rounds
echo "accepted: $sent sent, $skipped skipped"
# What is dropped at once is more than can be under way.
[ "$sent" -gt 2000 ]
accepted=$sent
dd if=/dev/urandom of=/dev/vtmem0 bs=64k oflag=direct 2>/dev/null || true
rounds
echo "full: $sent sent, $skipped skipped"
[ "$sent" -lt $((accepted / 4)) ]
blkdiscard /dev/vtmem0
sleep 1
rounds
echo "accepted again: $sent sent, $skipped skipped"
[ "$sent" -gt $((accepted / 4)) ]
exec 4<&-
umount /mnt
checkpoint pages-at-most 0
