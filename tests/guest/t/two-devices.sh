# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Two devices with a store each.  Each disk says for itself that its host refuses
# pages, and not for every one of them.  Swap areas and file systems are served by
# the first device, and by the other one from when the first is unplugged.

set -e
dmesg -n 4
modprobe virtio_tmem
until [ -b /dev/vtmem0 ] && [ -b /dev/vtmem1 ]; do usleep 100000; done
one=$(readlink -f /sys/block/vtmem0/device) two=$(readlink -f /sys/block/vtmem1/device)
is() { # FILE VALUE
    [ "$(cat "$1")" = "$2" ] || { echo "$1 is $(cat "$1") and not $2"; exit 1; }
}
hooks="frontswap $([ ! -e /sys/kernel/debug/cleancache ] || echo cleancache)"
for hook in $hooks; do
    is "$one/$hook" 1
    is "$two/$hook" 0
done

start=$(cut -d . -f 1 /proc/uptime)
for disk in vtmem0 vtmem1 vtmem0 vtmem1; do
    if dd if=/dev/urandom of=/dev/$disk bs=1M oflag=direct 2>/dev/null; then
        echo "the store of $disk took 32 MiB"
        exit 1
    fi
done
seconds=$(($(cut -d . -f 1 /proc/uptime) - start))
for disk in vtmem0 vtmem1; do
    lines=$(dmesg | grep -c "virtio_tmem virtio[0-9]*: $disk: the host refuses pages: its store is full")
    echo "$disk: $lines lines in $seconds seconds"
    [ "$lines" -ge 1 ] || { echo "nobody was told that $disk takes no pages"; exit 1; }
    [ "$lines" -le $((1 + (seconds + 10) / 10)) ]
    blkdiscard /dev/$disk
done

mkswap /dev/vda >/dev/null
swapon /dev/vda
until swap-held 32 true >/dev/null && [ "$(cat "$one/stats/stores")" -gt 32 ]; do usleep 100000; done
before=$(cat "$two/stats/stores_ok")
swapoff /dev/vda
[ "$(cat "$one/pages")" = 0 ]
dmesg -c >/dev/null
echo 1 >"${one%/*}/remove"
for hook in $hooks; do
    is "$two/$hook" 1
    dmesg | grep "virtio_tmem ${two##*/}: $hook: active"
done
# The first pages go to the disk, until frontswap has an area.
mkswap /dev/vda >/dev/null
swapon /dev/vda
tries=0
until swap-held 32 true >/run/said && [ "$(cat "$two/stats/stores_ok")" -gt $((before + 16)) ]; do
    tries=$((tries + 1))
    [ $tries -lt 100 ] || { echo "the second device takes no pages"; cat /run/said; exit 1; }
    usleep 100000
done
grep 'right 32, lost 0, wrong 0' /run/said
swap-held 2000 true | grep 'right 2000, lost 0, wrong 0'
swapoff /dev/vda
is "$two/pages" 0

# With the last one gone nothing is taken, and one that comes later is used again.
echo 1 >"${two%/*}/remove"
swapon /dev/vda
swap-held 2000 true | grep 'right 2000, lost 0, wrong 0'
swapoff /dev/vda
echo 1 >/sys/bus/pci/rescan
until [ -b /dev/vtmem0 ] && [ -b /dev/vtmem1 ]; do usleep 100000; done
for hook in $hooks; do
    [ "$(cat /sys/bus/virtio/drivers/virtio_tmem/virtio*/"$hook" | sort | tr -d '\n')" = 01 ]
done
