# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The script of the Debian package, to be added as /bin/virtio-tmem-swap: it puts
# the swap disk into use and out of it, overwrites nothing of anybody's, says in
# one line what is wrong with bad input, warns of what compresses twice, and gives
# back the disk it has put behind, whatever its setting names by then.

set -e
modprobe virtio_tmem frontswap=0 cleancache=0
[ ! -e /version ] || [ "$(cat /sys/module/virtio_tmem/version)" = "$(cat /version)" ]
refuses() { # WORDS COMMAND...
    words=$1
    shift
    if "$@" 2>/run/said; then echo "$* was accepted"; exit 1; fi
    grep -F "$words" /run/said || { cat /run/said; exit 1; }
}
refuses 'no disk of virtio_tmem' virtio-tmem-swap start vda
refuses 'no disk of virtio_tmem' virtio-tmem-swap start vtmem0/../vda
refuses 'there is no disk /dev/vtmem9' virtio-tmem-swap start vtmem9
refuses 'give it a number' env VIRTIO_TMEM_PRIORITY=high virtio-tmem-swap start vtmem0
# The shell of busybox takes its own swapon, whatever is in /bin; that knows no
# priority.
swapon() { /bin/swapon "$@"; }
sed -i 's|! swapon |! /bin/swapon |' /bin/virtio-tmem-swap
swapon --help 2>&1 | grep -q -e --priority || export VIRTIO_TMEM_PRIORITY=
echo precious >/dev/vtmem0
refuses 'holds something that is not swap' virtio-tmem-swap start vtmem0
head -c 8 /dev/vtmem0 | grep -qx precious
blkdiscard /dev/vtmem0

# What would compress twice is named, in the kernel's log too.
modprobe zram
echo 16M >/sys/block/zram0/disksize
mkswap /dev/zram0 >/dev/null
swapon /dev/zram0
dmesg -c >/dev/null
virtio-tmem-swap start vtmem0
dmesg | grep 'virtio_tmem: there is swap on zram0'
swapoff /dev/zram0
if [ -e /sys/module/zswap ]; then
    echo 1 >/sys/module/zswap/parameters/enabled
    virtio-tmem-swap check
    dmesg | grep 'virtio_tmem: zswap is on'
    echo 0 >/sys/module/zswap/parameters/enabled
fi
dmesg -c >/dev/null
virtio-tmem-swap check
if dmesg | grep virtio_tmem; then echo "there is nothing to warn of"; exit 1; fi

# Whoever asks, and without the settings: is a swap area before ours, or after it?
if [ -n "${VIRTIO_TMEM_PRIORITY-100}" ]; then
    virtio-tmem-swap stop vtmem0
    VIRTIO_TMEM_PRIORITY=5 virtio-tmem-swap start vtmem0
    mkswap /dev/vda >/dev/null
    swapon -p 50 /dev/vda
    virtio-tmem-swap check
    if dmesg | grep 'lower priority'; then cat /proc/swaps; exit 1; fi
    swapoff /dev/vda
    swapon -p 4 /dev/vda
    virtio-tmem-swap check
    dmesg | grep 'there is swap of lower priority on /dev/vda'
    swapoff /dev/vda
    dd if=/dev/zero of=/dev/vda bs=4096 count=1 2>/dev/null
    virtio-tmem-swap stop vtmem0
    virtio-tmem-swap start vtmem0
fi

[ -n "${VIRTIO_TMEM_PRIORITY-100}" ] && priority=100 || priority="-[0-9]*"
grep -qE "^/dev/vtmem0 .*	$priority\$" /proc/swaps || { cat /proc/swaps; exit 1; }
virtio-tmem-swap start vtmem0
pressure --passes 1
virtio-tmem-swap stop vtmem0
checkpoint pages-at-most 0
virtio-tmem-swap start vtmem0
virtio-tmem-swap stop vtmem0

# A disk behind it: before there is swap, also when that disk comes late, and not
# without need; without it there is swap nevertheless, and a line in the log.
behind=/sys/block/vtmem0/backing
(sleep 1 && ln -s /dev/vda /dev/spill) &
VIRTIO_TMEM_BACKING=/dev/spill virtio-tmem-swap start vtmem0
wait
[ "$(cat $behind)" = /dev/spill ]
grep -q '^/dev/vtmem0 ' /proc/swaps
VIRTIO_TMEM_BACKING="/dev/spill" virtio-tmem-swap stop vtmem0
[ "$(cat $behind)" = none ]
for wrong in /dev/vtmem0 '/dev/*'; do
    dmesg -c >/dev/null
    VIRTIO_TMEM_BACKING="$wrong /dev/vda" virtio-tmem-swap start vtmem0
    dmesg | grep -F 'virtio_tmem: VIRTIO_TMEM_BACKING: '
    [ "$(cat $behind)" = none ]
    grep -q '^/dev/vtmem0 ' /proc/swaps
    virtio-tmem-swap stop vtmem0
done
# For the second disk, of which there is none; and what somebody else has put there.
VIRTIO_TMEM_BACKING="" virtio-tmem-swap start vtmem0
[ "$(cat $behind)" = none ]
virtio-tmem-swap stop vtmem0
echo /dev/vda >$behind
VIRTIO_TMEM_BACKING=/dev/nosuch virtio-tmem-swap start vtmem0
dmesg | grep 'virtio_tmem: VIRTIO_TMEM_BACKING: /dev/vda is behind /dev/vtmem0, so /dev/nosuch cannot'
[ "$(cat $behind)" = /dev/vda ]
VIRTIO_TMEM_BACKING=/dev/nosuch virtio-tmem-swap stop vtmem0
[ "$(cat $behind)" = /dev/vda ]
echo none >$behind

# The setting is changed or removed, and the unit restarted: stop sees the new one.
is_behind() { [ "$(cat $behind)" = "$1" ] || { echo "$(cat $behind) is behind, not $1"; exit 1; }; }
VIRTIO_TMEM_BACKING=/dev/vda virtio-tmem-swap start vtmem0
is_behind /dev/vda
VIRTIO_TMEM_BACKING=/dev/spill virtio-tmem-swap stop vtmem0
is_behind none
VIRTIO_TMEM_BACKING=/dev/spill virtio-tmem-swap start vtmem0
is_behind /dev/spill
virtio-tmem-swap stop vtmem0
is_behind none
[ ! -e /run/virtio-tmem/vtmem0.backing ]
# A start that fails keeps no disk; one that was killed, none that nobody wants.
blockdev --setro /dev/vtmem0
refuses 'is not in use as swap' env VIRTIO_TMEM_BACKING=/dev/vda virtio-tmem-swap start vtmem0
blockdev --setrw /dev/vtmem0
is_behind none
echo /dev/vda >/run/virtio-tmem/vtmem0.backing
echo /dev/vda >$behind
virtio-tmem-swap start vtmem0
is_behind none
virtio-tmem-swap stop vtmem0

# Who has a disk behind, or is about to, is not told to set one.
mkswap /dev/vda >/dev/null
swapon /dev/vda
lower() { VIRTIO_TMEM_PRIORITY=100 virtio-tmem-swap check 2>&1 | grep 'swap of lower priority on /dev/vda'; }
lower
if VIRTIO_TMEM_BACKING=/dev/spill lower; then echo "a disk behind is configured"; exit 1; fi
swapoff /dev/vda
rmmod virtio_tmem
checkpoint sane
