# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Hooks of frontswap cannot be unregistered, so the module stays once they are,
# also when no page is held; it still serves swap after swapoff.  One CPU: there
# the kernel's counters of frontswap are exact.

set -e
pressure --passes 1
swapoff "$SWAP_AREA"
if rmmod virtio_tmem 2>/dev/null; then
    echo "the module went, and its hooks stayed behind"
    exit 1
fi
mkswap "$SWAP_AREA" >/dev/null
swapon "$SWAP_AREA"
snapshot before
pressure --passes 1 --seed 2
snapshot after
checkpoint agree before after "$AGREE"
checkpoint sane
