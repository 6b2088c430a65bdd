# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Disks that cannot stand behind the swap disk are refused with one line and
# the right error; one that vanishes loses its pages and no others.

set -e

# The parameter: the disk serves without.
modprobe virtio_tmem frontswap=0 cleancache=0 backing=/dev/nosuch
until [ -b /dev/vtmem0 ]; do usleep 100000; done
said "vtmem0: backing=/dev/nosuch: there is no such device"
file=/sys/block/vtmem0/backing
[ "$(cat $file)" = none ]

refused() { # PATH ERROR LOG
    local error
    dmesg -c >/dev/null
    error=$( (echo "$1" >$file) 2>&1) && {
        echo "backing=$1 was accepted"
        exit 1
    }
    case "$error" in
    *"$2"*) ;;
    *) echo "backing=$1: the error is not \"$2\" but: $error"; exit 1 ;;
    esac
    said "$3"
    [ "$(cat $file)" = none ]
}
refused /dev/nosuch "No such file" "backing=/dev/nosuch: there is no such device"
refused /etc "lock device required" "backing=/etc: it is not a block device"
refused /dev/vtmem0 "ymbolic link" "backing=/dev/vtmem0: a swap disk of virtio-tmem cannot"
refused /dev/vdb "No space left" "backing=/dev/vdb: it has 16 MiB and the swap disk 64"
mkswap /dev/vda >/dev/null
swapon /dev/vda
refused /dev/vda "busy" "backing=/dev/vda: it is mounted or in use"
swapoff /dev/vda
# Who has it open might be a loop device, and lead back to it; swap does not.
exec 5</dev/vtmem0
refused /dev/vda "ymbolic link" "backing=/dev/vda: somebody has vtmem0 open, and not as swap"
exec 5<&-
mkswap /dev/vtmem0 >/dev/null
swapon /dev/vtmem0
# A loop device needs memory to give memory, wherever its file is.
[ -e /dev/loop0 ] || modprobe loop
head -c 67108864 /dev/zero >/run/file
losetup /dev/loop0 /run/file
refused /dev/loop0 "ymbolic link" "backing=/dev/loop0: a loop device needs memory"
losetup -d /dev/loop0
rm /run/file
# Swap does not hide who else has it open.
swap-held 64 true
losetup /dev/loop0 /dev/vtmem0
refused /dev/loop0 "ymbolic link" "backing=/dev/loop0: somebody has vtmem0 open"
refused /dev/vda "ymbolic link" "backing=/dev/vda: somebody has vtmem0 open"
losetup -d /dev/loop0
swapoff /dev/vtmem0
# Nor does it hide who was there first: a device mapper on that loop device looks
# like any disk, and leads back.
losetup /dev/loop0 /dev/vtmem0
swapon /dev/vtmem0
swap-held 64 true
refused /dev/vda "ymbolic link" "backing=/dev/vda: somebody has vtmem0 open"
losetup -d /dev/loop0
echo /dev/vda >$file
swapoff /dev/vtmem0
blkdiscard /dev/vtmem0
echo none >$file

echo /dev/vda >$file
if (echo /dev/vdb >$file) 2>/dev/null; then
    echo "a second disk behind was accepted"
    exit 1
fi
said "backing=/dev/vdb: /dev/vda is there already"
# It is taken: nobody else gets it.
if mkswap /dev/vda >/dev/null && swapon /dev/vda 2>/dev/null; then
    echo "the disk behind was swapped on"
    exit 1
fi

# It vanishes under load.  Pages on the host stay right, pages on it are I/O
# errors, refused ones ENOSPC or EIO, and nobody waits for ever.
disk-truth --vanishing --processes 2 --pages 5000 --operations 4000 \
    --random-percent 90 /dev/vtmem0 &
until [ "$(counter disk_writes)" -gt 3000 ]; do usleep 50000; done
echo 1 >"$(readlink -f /sys/block/vda/device/..)/remove"
wait $!
[ "$(counter disk_errors)" -gt 0 ]
checkpoint sane
blkdiscard /dev/vtmem0
checkpoint pages-at-most 0
echo none >$file
rmmod virtio_tmem
