# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Memory pressure through the front end of this run: every byte is right, host
# and guest count the same pages, and when swap is off nothing stays behind.

set -e

# Frontswap's area is made at swapon: when pages come there is no memory for it.
waited=0
until [ "$AGREE" = disk ] || dmesg | grep -q 'frontswap: serving swap type 0'; do
    [ $waited -lt 300 ] || { echo "nothing was made at swapon"; exit 1; }
    waited=$((waited + 1))
    usleep 100000
done

# Pages of a tmpfs take another road into swap than those of processes.
dd if=/dev/urandom of=/run/file bs=1M count=16 2>/dev/null
sum=$(sha256sum </run/file)
tmpfs_is_right() {
    [ "$(sha256sum </run/file)" = "$sum" ] ||
        { echo "the file in tmpfs is not what it was $1"; exit 1; }
}

snapshot before
pressure
tmpfs_is_right "before"
snapshot after
checkpoint agree before after "$AGREE"
checkpoint sane
# Frontswap's pages go out in batches; loads at random each wait for their answer.
[ "$AGREE" = disk ] || checkpoint per-page before after 0.05 0.3

swapoff "$SWAP_AREA"
tmpfs_is_right "before swapoff"
if [ "$SWAP_AREA" = /dev/vda ]; then
    checkpoint pages-at-most 0
else
    # What mkswap wrote is on the disk until it is discarded.
    checkpoint pages-at-most 1
    blkdiscard "$SWAP_AREA"
    checkpoint pages-at-most 0
fi
