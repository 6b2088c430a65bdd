# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The host stops the guest and lets it go on, in the middle of swapping, also in
# a way that makes the guest's clock jump by more than it gives a silent device;
# memory is plugged in, and a balloon takes some and gives it back.

set -e
modprobe virtio_balloon
pressure --passes 3 --progress /run/progress >/run/said &
work=$!
until grep -q '^pass [1-9]' /run/progress 2>/dev/null; do usleep 100000; done
for seconds in 0.2 2 0.5; do
    checkpoint pause $seconds
    usleep 300000
done

echo 3 >/sys/module/virtio_tmem/parameters/stall_timeout
for seconds in 6 4; do
    checkpoint stop-qemu $seconds
    sleep 1
done
echo 300 >/sys/module/virtio_tmem/parameters/stall_timeout

before=$(awk '/^MemTotal/ { print $2 }' /proc/meminfo)
checkpoint qmp object-add qom-type=memory-backend-ram id=more size=134217728
checkpoint qmp device_add driver=pc-dimm id=dimm0 memdev=more
tries=0
until [ "$(awk '/^MemTotal/ { print $2 }' /proc/meminfo)" -gt $((before + 100000)) ]; do
    for state in /sys/devices/system/memory/memory*/state; do
        ! grep -q offline "$state" || echo online >"$state" || true
    done
    tries=$((tries + 1))
    [ $tries -lt 200 ] || { echo "the memory did not come"; exit 1; }
    usleep 100000
done
total() { awk '/^MemTotal/ { print $2 }' /proc/meminfo; }
whole=$(total)
checkpoint qmp balloon value=234881024
# KiB of 96 MiB, most of which the guest can spare.
tries=0
until [ "$(total)" -le $((whole - 65536)) ]; do
    tries=$((tries + 1))
    [ $tries -lt 200 ] || { echo "the balloon took $((whole - $(total))) KiB"; exit 1; }
    usleep 100000
done
checkpoint qmp balloon value=335544320
wait $work || { cat /run/said; exit 1; }
tail -n 1 /run/said
[ "$(awk '$1 == "pswpin" { print $2 }' /proc/vmstat)" -gt 5000 ] ||
    { echo "next to nothing was swapped, so nothing is proven"; exit 1; }
checkpoint sane
