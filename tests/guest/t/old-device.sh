# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# On a device that has nothing but a disk, as an older one: every byte is right
# and host and guest count the same pages.

set -e

# Bit by bit from 0 on: VIRTIO_TMEM_F_DISK, and no other of the device type.
features=$(cat /sys/bus/virtio/drivers/virtio_tmem/virtio*/features)
case $features in
10000000*) ;;
*) echo "the features are $features"; exit 1 ;;
esac

snapshot before
pressure
snapshot after
checkpoint agree before after "$AGREE"
checkpoint sane
swapoff "$SWAP_AREA"
blkdiscard "$SWAP_AREA"
checkpoint pages-at-most 0
