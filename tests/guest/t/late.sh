# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The module comes when the swap area is long in use, with pages on its disk:
# frontswap takes what is swapped out from then on, the older pages come from
# the disk, and every byte is right.

set -e
mkswap /dev/vda >/dev/null
swapon /dev/vda
pressure --passes 2 --progress /run/progress >/run/said &
work=$!
until grep -q '^pass 1' /run/progress 2>/dev/null; do usleep 100000; done
modprobe virtio_tmem
dmesg | grep 'virtio_tmem virtio[0-9]*: frontswap: active'
wait $work || { cat /run/said; exit 1; }
tail -n 1 /run/said
taken=$(cat /sys/kernel/debug/frontswap/succ_stores)
echo "frontswap took $taken pages"
[ "$taken" -gt 1000 ]
swapoff /dev/vda
checkpoint pages-at-most 0
checkpoint sane
