# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Works on more memory than there is, round after round, and verifies every
# byte, until the host has seen enough: it ends this guest.

mib=$(sed -n 's/.*fleet_mib=\([0-9]*\).*/\1/p' /proc/cmdline)
note ready
round=1
while :; do
    pressure --mib "$mib" --processes 2 --passes 2 --random-percent 50 \
        --rewrite-percent 40 --seed $round
    note "round $round is right"
    round=$((round + 1))
done
