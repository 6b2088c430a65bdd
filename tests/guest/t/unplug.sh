# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The device is unplugged.  While it holds pages the host refuses to, and the
# guest's driver offers no way to unbind it; without any it goes, and one that is
# plugged in later is a new one.  Torn out in use, it leaves errors behind and
# never other data, and the guest lives on.

set -e
wait_until() { # WHAT COMMAND...
    local tries=0 what=$1
    shift
    until "$@"; do
        tries=$((tries + 1))
        [ $tries -lt 200 ] || { echo "in 20 seconds $what"; exit 1; }
        usleep 100000
    done
}
plug() {
    checkpoint qmp device_add driver=virtio-tmem bus=rp0 id=tmem0 \
        store=store0 disk-size=1073741824 2>/dev/null
}
no_disk() { [ ! -e /dev/vtmem0 ]; }

# The module comes first, the device later.
modprobe virtio_tmem frontswap=0
no_disk
plug
wait_until "no disk came" [ -b /dev/vtmem0 ]
mkswap /dev/vtmem0 >/dev/null
swapon /dev/vtmem0
pressure --passes 1
checkpoint qmp-refuses "'holds swapped-out pages of its guest'" device_del id=tmem0
[ ! -e /sys/bus/virtio/drivers/virtio_tmem/unbind ]

swapoff /dev/vtmem0
blkdiscard /dev/vtmem0
checkpoint pages-at-most 0
checkpoint qmp device_del id=tmem0
wait_until "the disk did not go" no_disk
# The guest lets the device go first, then the host does.
wait_until "the device could not be plugged in again" plug
wait_until "the device did not come back" [ -b /dev/vtmem0 ]
checkpoint pages-at-most 0
head -c 1048576 /dev/vtmem0 | tr -d '\000' | wc -c | grep -qx 0

# Torn out while a group of processes has nearly all of its memory there, and
# nobody else any: their work ends because pages are lost (pressure says 3, or 2
# if a process was killed for one that the kernel or a signal's handler needed),
# and no byte is wrong (1).  A kernel without such groups is asked by the work
# itself to swap it out.
mkdir -p /run/cgroup/torn
if mount -t cgroup2 none /run/cgroup 2>/dev/null &&
    grep -qw memory /run/cgroup/cgroup.controllers; then
    echo +memory >/run/cgroup/cgroup.subtree_control
    mkdir /run/cgroup/torn
    # Not memory.max: whose pages are all being written by a slow host at a time
    # is killed for want of memory there, with swap to spare.
    echo 24M >/run/cgroup/torn/memory.high
    mib=72 resident=0
else
    mib=40 resident=1
fi
mkswap /dev/vtmem0 >/dev/null
swapon /dev/vtmem0
export mib resident
sh -c '[ "$resident" != 0 ] || echo $$ >/run/cgroup/torn/cgroup.procs
       exec pressure --mib $mib --passes 50 --resident $resident --progress /run/progress' &
work=$!
wait_until "the work did not begin" grep -qs '^pass [1-9]' /run/progress
pci=$(dirname "$(readlink -f /sys/bus/virtio/drivers/virtio_tmem/virtio*)")
exec 4</dev/vtmem0
kill -0 $work || { echo "the work ended before the device was torn out"; exit 1; }
echo 1 >"$pci/remove"
status=0
wait $work || status=$?
case $status in 2|3) ;; *) false ;; esac || { echo "the work ended with status $status"; exit 1; }
dmesg | grep 'removed while in use: [0-9]* pages are lost'
no_disk
if head -c 4096 <&4 >/run/data 2>/dev/null && [ -s /run/data ]; then
    echo "a disk that is gone was read"
    exit 1
fi
exec 4<&-
# The guest goes on, without this swap.
pressure --passes 1 --mib 32
