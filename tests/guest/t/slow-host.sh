# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# In the middle of swapping nothing is answered any more for 20 seconds, less than
# what a device is given.  Who needs memory waits for the swap that is under way:
# nobody is killed for want of memory while swap is free, nobody is told of an error,
# and every byte is right.

set -e
modprobe virtio_tmem frontswap=0 cleancache=0
until [ -b /dev/vtmem0 ]; do usleep 100000; done
mkswap /dev/vtmem0 >/dev/null
swapon /dev/vtmem0
pressure --passes 1 --processes 6 --progress /run/progress >/run/said &
work=$!
until grep -q '^pass [1-9]' /run/progress 2>/dev/null; do usleep 100000; done
stores=$(counter stores)
checkpoint stop-iothread io0 20
wait $work || { cat /run/said; dmesg | grep -A 40 'invoked oom-killer' | tail -n 60; exit 1; }
tail -n 1 /run/said
[ "$(counter stores)" -gt "$stores" ] || { echo "nothing was swapped after that"; exit 1; }
grep -x 'oom_kill 0' /proc/vmstat
[ "$(counter stores_error)" = 0 ]
[ "$(counter loads_error)" = 0 ]
swapoff /dev/vtmem0
checkpoint sane
