# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Sleep under frontswap, on a disk of its own: refused while the host has pages of
# the area; with an area that is in use and has none there the guest sleeps, the
# device forgets the area's pool, and with a new one the guest swaps again.

set -e
modprobe virtio_tmem cleancache=0
until [ -b /dev/vtmem0 ]; do usleep 100000; done
mkswap /dev/vda >/dev/null
swapon /dev/vda
pressure --passes 30 --mib 128 --progress /run/progress >/run/said &
work=$!
until grep -q '^pass [1-9]' /run/progress 2>/dev/null; do usleep 100000; done
[ "$(counter stores_ok)" -gt 1000 ]

# To hibernate there would not be enough memory left, so that is sleep.sh's.
for kind in freeze mem; do
    dmesg -c >/dev/null
    if echo "$kind" >/sys/power/state 2>/run/why; then
        echo "the guest slept ($kind) with pages on the host"
        exit 1
    fi
    cat /run/why
    said 'virtio_tmem virtio[0-9]*: cannot sleep: [0-9]* pages on the host would be lost; run swapoff first'
done
kill -0 $work
kill "$work"
wait $work || true
if grep -E 'WRONG|LOST' /run/said; then exit 1; fi

touch /run/slept
echo deep >/sys/power/mem_sleep
for seed in 1 2; do
    # What is there comes back, and the area is empty.
    swapoff /dev/vda
    swapon /dev/vda
    checkpoint pages-at-most 0
    dmesg -c >/dev/null
    checkpoint wake-in 1
    echo mem >/sys/power/state
    said 'ACPI: .*Waking up from system sleep state S3'
    stores=$(counter stores_ok) loads=$(cat /sys/kernel/debug/frontswap/loads)
    pressure --passes 1 --seed $seed --mib 128
    echo "$(($(counter stores_ok) - stores)) pages stored after sleep $seed, $(($(cat /sys/kernel/debug/frontswap/loads) - loads)) read back"
    [ $(($(counter stores_ok) - stores)) -gt 1000 ]
    [ $(($(cat /sys/kernel/debug/frontswap/loads) - loads)) -gt 1000 ]
done
swapoff /dev/vda
checkpoint pages-at-most 0
checkpoint sane
