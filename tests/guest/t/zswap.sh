# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# zswap beside frontswap of the host: both are asked for each page, ours first
# because it came later.  Each is switched on and off under load, with a store too
# small for the work: every byte is right, wherever its page went.

set -e
parameters=/sys/module/virtio_tmem/parameters
zswap=/sys/module/zswap/parameters/enabled
echo 1 >$zswap
pressure --passes 2 &
work=$!
round=0 most=0
while kill -0 $work 2>/dev/null; do
    round=$((round + 1))
    # Both, zswap, ours, none; longer with zswap, which comes second.
    case $((round % 6)) in 0|1|2|3) echo 1 ;; *) echo 0 ;; esac >$zswap
    case $((round % 6)) in 0|1|4) echo 1 ;; *) echo 0 ;; esac >$parameters/frontswap
    pages=$(cat /sys/kernel/debug/zswap/stored_pages)
    [ "$pages" -le "$most" ] || most=$pages
    usleep 700000
done
wait $work
[ "$most" -gt 0 ] || { echo "zswap has taken nothing"; exit 1; }
[ "$(counter stores_ok)" -gt 0 ] || { echo "the host has taken nothing"; exit 1; }
echo "zswap has held $most pages, the host has taken $(counter stores_ok)"
echo 0 >$zswap
swapoff "$SWAP_AREA"
checkpoint sane
