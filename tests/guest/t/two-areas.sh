# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Two swap areas of the same priority under frontswap, on our disk and on another.
# One is swapped off while work goes on, at first by somebody who is killed over it:
# every byte is right, and nothing of it stays on the host.

set -e
modprobe virtio_tmem
until [ -b /dev/vtmem0 ]; do usleep 100000; done
mkswap /dev/vda >/dev/null
mkswap /dev/vtmem0 >/dev/null
swap-on 5 /dev/vda /dev/vtmem0
until [ "$(dmesg | grep -c 'frontswap: serving swap type [01],')" = 2 ]; do
    swap-held 600 true >/dev/null
    usleep 100000
done
# In KiB; without another process, which may take longer than what it looks for.
used() {
    while read -r area _ _ kib _; do
        [ "$area" != "$1" ] || echo "$kib"
    done </proc/swaps
}

pressure --passes 3 --progress /run/progress >/run/said &
work=$!
until grep -q '^pass [1-9]' /run/progress 2>/dev/null; do usleep 100000; done
before=$(used /dev/vda)
echo "KiB in use: $before on vda, $(used /dev/vtmem0) on vtmem0"
[ "$before" -gt 4000 ] && [ "$(used /dev/vtmem0)" -gt 4000 ]
swapoff /dev/vda &
off=$!
# It has begun, and much is left.
while kill -0 $off && [ "$(used /dev/vda)" -ge $((before - 400)) ]; do :; done
kill -9 $off
if wait $off 2>/dev/null; then echo "swapoff was not killed"; exit 1; fi
[ "$(used /dev/vda)" -gt 0 ] || { echo "it was over by then"; exit 1; }
kill -0 $work || { cat /run/said; exit 1; }
swapoff /dev/vda
[ -z "$(used /dev/vda)" ]
# What is left is that of the other area, on whatever side of its disk.
checkpoint sane
wait $work || { cat /run/said; exit 1; }
tail -n 1 /run/said
swapoff /dev/vtmem0
checkpoint pages-at-most 1
checkpoint sane
