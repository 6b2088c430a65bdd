# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A guest that installs nothing swaps on /dev/vda: memory under pressure, every
# byte verified, and freed slots come back to the host.

set -e
[ ! -e /sys/module/virtio_tmem ]
mkswap /dev/vda >/dev/null
# Without discards the host would never learn of slots that are free, and Linux
# discards freed slots only on a disk that does not rotate, which virtio-blk
# cannot say of itself.
echo 0 >/sys/block/vda/queue/rotational
swapon -d /dev/vda

snapshot before
pressure --passes 1 --mib 210
snapshot after
checkpoint agree before after

# Up with what is swapped out, and down when that is gone.
mount -t tmpfs -o size=200M tmpfs /tmp
dd if=/dev/zero bs=1M count=140 2>/dev/null | tr '\0' x >/tmp/file
sum=$(sha256sum </tmp/file)
checkpoint pages-up 4000
[ "$(sha256sum </tmp/file)" = "$sum" ]
rm /tmp/file
checkpoint pages-down

# All of it goes when the area is put into use again.
swapoff /dev/vda
swapon -d /dev/vda
checkpoint pages-at-most 1
swapoff /dev/vda
blkdiscard /dev/vda
checkpoint pages-at-most 0
