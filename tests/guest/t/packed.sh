# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Packed rings and addresses that an IOMMU translates are really in use; then
# the same as pressure.sh, which is to be added as /pressure.sh.

cd /sys/bus/virtio/drivers/virtio_tmem/virtio0 || exit
feature() { # BIT NAME
    [ "$(cut -c $(($1 + 1)) features)" = 1 ] ||
        { echo "$2 was not negotiated: $(cat features)"; exit 1; }
}
feature 33 ACCESS_PLATFORM
feature 34 RING_PACKED
[ -d "$(readlink -f .)/../iommu_group" ] ||
    { echo "the device is not behind an IOMMU"; exit 1; }
cd / && exec sh /pressure.sh
