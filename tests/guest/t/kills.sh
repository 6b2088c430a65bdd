# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Processes die in the middle of swapping, again and again: their slots are
# freed in batches under locks where nothing may sleep.  Afterwards memory is
# still right and nothing is left on the host.

set -e
for round in 1 2 3 4 5 6; do
    pressure --processes 6 --seed $round --passes 9 >/dev/null &
    sleep $((1 + round % 3))
    # Some may be gone already: killed with the one before.
    killall -9 pressure 2>/dev/null || true
    wait
done
pressure --passes 1
swapoff "$SWAP_AREA"
checkpoint pages-at-most 1     # what mkswap wrote
checkpoint sane
# A task that was to look for answers itself has found some.
[ "$(cat /sys/module/virtio_tmem/parameters/poll)" = 0 ] || [ "$(counter polls)" -gt 0 ]
