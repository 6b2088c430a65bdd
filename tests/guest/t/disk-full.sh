# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A store too small for the disk: writes are refused with ENOSPC, what was
# accepted reads back, what was refused reads as nothing and never as what was
# there before, and space comes back with a discard.

set -e
swapoff /dev/vtmem0
start=$(cut -d . -f 1 /proc/uptime)
disk-truth --refusals --processes 2 --pages 5000 --operations 2500 \
    --random-percent 90 /dev/vtmem0
checkpoint refused
# One line in ten seconds says it, however many pages are refused.
seconds=$(($(cut -d . -f 1 /proc/uptime) - start))
lines=$(dmesg | grep -c 'virtio_tmem .*: vtmem0: the host refuses pages: its store is full')
echo "$lines lines in $seconds seconds for $(counter stores_refused) pages refused"
[ "$lines" -ge 1 ] && [ "$lines" -le $((2 + seconds / 10)) ]
checkpoint sane
blkdiscard /dev/vtmem0
checkpoint pages-at-most 0
disk-truth --processes 1 --pages 500 --operations 300 /dev/vtmem0
