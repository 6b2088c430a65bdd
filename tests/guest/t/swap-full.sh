# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A store much too small for the swap disk on it: pages that are refused stay
# in memory, so the work makes no progress and may be killed, but no byte is
# wrong, and when it is gone the guest and its swap are as good as before.

status=0
timeout 25 pressure --passes 1 --random-percent 80 || status=$?
case $status in
1|3) exit 1 ;;      # a wrong byte, or a page that was taken and then lost
esac
set -e
checkpoint refused
checkpoint sane
swapoff "$SWAP_AREA"
checkpoint pages-at-most 1
mkswap "$SWAP_AREA" >/dev/null
swapon "$SWAP_AREA"
# What fits is served again.
pressure --passes 1 --mib 150 --random-percent 0
checkpoint sane
