# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A guest that installs nothing, on a disk whose store is too small for what it
# swaps out: the kernel is told, keeps those pages in RAM, and goes on.

set -e
mkswap /dev/vda >/dev/null
echo 0 >/sys/block/vda/queue/rotational
swapon -d /dev/vda

# All of it fits into RAM: it is swapped out because it is asked for.
pressure --processes 1 --passes 1 --mib 40 --random-percent 100 --resident 10
said "Write-error on swap-device"

# What is gone makes room.
swapoff /dev/vda
swapon -d /dev/vda
checkpoint pages-at-most 1
pressure --processes 1 --passes 1 --mib 12 --random-percent 50 --resident 6
swapoff /dev/vda
