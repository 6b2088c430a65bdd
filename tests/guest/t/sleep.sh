# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Every kind of sleep that this kernel has is refused with a reason while the
# host holds pages, and memory is as it was; without pages the guest suspends to
# RAM, wakes up, and swaps again.

set -e
modprobe virtio_tmem frontswap=0 cleancache=0
mkswap /dev/vtmem0 >/dev/null
swapon /dev/vtmem0
pressure --passes 30 --progress /run/progress >/run/said &
work=$!
until grep -q '^pass [1-9]' /run/progress 2>/dev/null; do usleep 100000; done

refused=0
read -r kinds </sys/power/state
[ ! -e /sys/power/disk ] || echo shutdown >/sys/power/disk
for kind in $kinds; do
    dmesg -c >/dev/null
    if echo "$kind" >/sys/power/state 2>/run/why; then
        echo "the guest slept ($kind) with pages on the host"
        exit 1
    fi
    cat /run/why
    dmesg | grep 'virtio_tmem virtio0: cannot sleep: [0-9]* pages on the host would be lost; run swapoff first' ||
        { echo "$kind was refused for another reason:"; dmesg; exit 1; }
    refused=$((refused + 1))
done
[ $refused -ge 2 ] || { echo "this kernel has no sleep: $kinds"; exit 1; }
grep -qx running /sys/bus/virtio/drivers/virtio_tmem/virtio0/state
# The work goes on, right to the end.
kill -0 $work
# Its processes go with it.
kill "$work"
wait $work || true
if grep -E 'WRONG|LOST' /run/said; then exit 1; fi
pressure --passes 1

# A disk that was written to has pages too.
swapoff /dev/vtmem0
if echo freeze >/sys/power/state 2>/dev/null; then
    echo "the guest slept with a page of the disk on the host"
    exit 1
fi
said "of vtmem0, which nobody uses; run blkdiscard /dev/vtmem0 first"
blkdiscard /dev/vtmem0
checkpoint pages-at-most 0
echo deep >/sys/power/mem_sleep
for seed in 1 2; do
    dmesg -c >/dev/null
    checkpoint wake-in 1
    touch /run/slept
    echo mem >/sys/power/state
    # Linux 5.10 leaves out the "PM: ".
    dmesg | grep -E 'ACPI: (PM: )?Waking up from system sleep state S3'
    mkswap /dev/vtmem0 >/dev/null
    swapon /dev/vtmem0
    pressure --passes 1 --seed $seed
    swapoff /dev/vtmem0
    blkdiscard /dev/vtmem0
    checkpoint pages-at-most 0
done
rmmod virtio_tmem
checkpoint sane
