# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A store too small for the disk: writes are refused with ENOSPC, what was
# accepted reads back, what was refused reads as nothing and never as what was
# there before, and space comes back with a discard.

set -e
swapoff /dev/vtmem0
disk-truth --refusals --processes 2 --pages 5000 --operations 2500 \
    --random-percent 90 /dev/vtmem0
checkpoint refused
checkpoint sane
blkdiscard /dev/vtmem0
checkpoint pages-at-most 0
disk-truth --processes 1 --pages 500 --operations 300 /dev/vtmem0
