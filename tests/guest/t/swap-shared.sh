# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Swapped pages that several processes have: after a fork, until one of them writes,
# and by KSM, which makes one of those that are equal.  Each sees its own.

set -e
pressure --fork --passes 2 --processes 2 --mib 112
ksm=/sys/kernel/mm/ksm
echo 2000 >$ksm/pages_to_scan
echo 10 >$ksm/sleep_millisecs
echo 1 >$ksm/run
pressure --merge --same-percent 60 --passes 2 --processes 3 &
work=$!
most=0
while kill -0 $work 2>/dev/null; do
    sharing=$(cat $ksm/pages_sharing)
    [ "$sharing" -le "$most" ] || most=$sharing
    usleep 200000
done
wait $work
echo "$most pages were another's at the same time"
[ "$most" -gt 500 ]
swapoff "$SWAP_AREA"
checkpoint pages-at-most 1
checkpoint sane
