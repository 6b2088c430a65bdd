# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Two devices with a store each.  Each disk says for itself that its host refuses
# pages, and not for every one of them.  Swap areas and file systems are served by
# the first device, and new ones by the other from when the first is unplugged, or
# is there still and has failed.

set -e
dmesg -n 4
for name in one two; do
    truncate -s 16M /run/$name
    # Of blocks smaller than a page cleancache is not offered any.
    /tools/mke2fs -q -F -t ext4 -b 4096 -E nodiscard /run/$name
    mkdir /$name
done
dd if=/dev/urandom of=/run/data bs=64k count=16 2>/dev/null
echo 4 >/proc/sys/vm/drop_caches    # from now on without a line in the log
modprobe virtio_tmem
until [ -b /dev/vtmem0 ] && [ -b /dev/vtmem1 ]; do usleep 100000; done
one=$(readlink -f /sys/block/vtmem0/device) two=$(readlink -f /sys/block/vtmem1/device)
is() { # FILE VALUE
    [ "$(cat "$1")" = "$2" ] || { echo "$1 is $(cat "$1") and not $2"; exit 1; }
}
wait_for() { # FILE VALUE
    tries=0
    until [ "$(cat "$1")" = "$2" ]; do
        tries=$((tries + 1))
        [ $tries -lt 200 ] || { echo "$1 does not become $2"; exit 1; }
        usleep 100000
    done
}
hooks="frontswap $([ ! -e /sys/kernel/debug/cleancache ] || echo cleancache)"
for hook in $hooks; do
    is "$one/$hook" 1
    is "$two/$hook" 0
done

# Of a file in DIRECTORY so many of the 256 pages come from DEVICE, and from no other
# one.  Each is right.
files_on() { # DEVICE DIRECTORY
    cp /run/data "$2/data"
    exec 4<"$2/data"
    others=$(($(counter cleancache_loads_hit) - $(cat "$1/stats/cleancache_loads_hit")))
    enough=$(($(cat "$1/stats/cleancache_loads_hit") + 200)) tries=0
    sync
    until [ "$(cat "$1/stats/cleancache_loads_hit")" -ge $enough ]; do
        tries=$((tries + 1))
        [ $tries -lt 50 ] || { echo "$2: no pages from ${1##*/}"; exit 1; }
        # The first page that is dropped has the pool made, which takes a moment.
        echo 1 >/proc/sys/vm/drop_caches
        usleep 200000
        cmp "$2/data" /run/data
    done
    exec 4<&-
    [ "$(counter cleancache_loads_hit)" = \
        $((others + $(cat "$1/stats/cleancache_loads_hit"))) ]
}
mount -o loop -t ext4 /run/one /one
files_on "$one" /one

start=$(cut -d . -f 1 /proc/uptime)
for disk in vtmem0 vtmem1 vtmem0 vtmem1; do
    if dd if=/dev/urandom of=/dev/$disk bs=1M oflag=direct 2>/dev/null; then
        echo "the store of $disk took 32 MiB"
        exit 1
    fi
done
seconds=$(($(cut -d . -f 1 /proc/uptime) - start))
for disk in vtmem0 vtmem1; do
    lines=$(dmesg | grep -c "virtio_tmem virtio[0-9]*: $disk: the host refuses pages: its store is full") || true
    echo "$disk: $lines lines in $seconds seconds"
    [ "$lines" -ge 1 ] || { echo "nobody was told that $disk takes no pages"; dmesg | tail -n 40; exit 1; }
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
swap_on() { # DEVICE STORES-SO-FAR
    mkswap /dev/vda >/dev/null
    swapon /dev/vda
    # The first pages go to the disk, until frontswap has an area.
    tries=0
    until swap-held 32 true >/run/said && [ "$(cat "$1/stats/stores_ok")" -gt $(($2 + 16)) ]; do
        tries=$((tries + 1))
        [ $tries -lt 100 ] || { echo "${1##*/} takes no pages"; cat /run/said; exit 1; }
        usleep 100000
    done
    grep 'right 32, lost 0, wrong 0' /run/said
    swap-held 2000 true | grep 'right 2000, lost 0, wrong 0'
    swapoff /dev/vda
    is "$1/pages" 0
}
swap_on "$two" "$before"
# What is mounted has lost the pages it had there, and a new one keeps its own here.
echo 1 >/proc/sys/vm/drop_caches
cmp /one/data /run/data
mount -o loop -t ext4 /run/two /two
files_on "$two" /two
cmp /one/data /run/data
umount /one /two

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

# One that is there, and has failed, gives way, too: who waits for it finds out.
first=$(grep -l 1 /sys/bus/virtio/drivers/virtio_tmem/virtio*/frontswap)
other=$(grep -l 0 /sys/bus/virtio/drivers/virtio_tmem/virtio*/frontswap)
one=$(readlink -f "${first%/*}") two=$(readlink -f "${other%/*}")
for hook in $hooks; do is "$one/$hook" 1; done
before=$(cat "$two/stats/stores_ok")
echo 1 >"${one%/*}/reset"
if dd if=/run/data of="/dev/$(cat "$one/disk")" bs=4k count=1 oflag=direct 2>/dev/null; then
    echo "a device that was reset took a page"
    exit 1
fi
is "$one/state" failed
for hook in $hooks; do
    is "$one/$hook" 0
    wait_for "$two/$hook" 1
done
swap_on "$two" "$before"
mount -o loop -t ext4 /run/two /two
files_on "$two" /two
umount /two
# Switched off and on again it stays so; and nobody is left when that one goes.
for hook in $hooks; do
    echo 0 >"/sys/module/virtio_tmem/parameters/$hook"
    echo 1 >"/sys/module/virtio_tmem/parameters/$hook"
    is "$two/$hook" 1
done
echo 1 >"${two%/*}/remove"
for hook in $hooks; do is "$one/$hook" 0; done
