# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Parameters that make no sense: modprobe fails, the log says why in one line
# that names the parameter, nothing is left half done, and a good load follows.

refuses() { # PARAMETER PATTERN
    dmesg -c >/dev/null
    if modprobe virtio_tmem "$1" 2>/run/err; then
        echo "modprobe virtio_tmem $1 was accepted"
        exit 1
    fi
    dmesg | grep "$2" || { echo "the log does not say why $1 is bad:"; dmesg; exit 1; }
    if [ -e /sys/module/virtio_tmem ] || [ -e /dev/vtmem0 ]; then
        echo "$1 left something behind"
        exit 1
    fi
}
refuses disk=perhaps "virtio_tmem: .perhaps. invalid for parameter .disk."
refuses cleancache=maybe "virtio_tmem: .maybe. invalid for parameter .cleancache."
refuses frontswap=2x "virtio_tmem: .2x. invalid for parameter .frontswap."
refuses frontswap_lost=shrug 'virtio_tmem: frontswap_lost=shrug is unknown: use "wait" or "panic"'
refuses_number() { # PARAMETER VALUE MOST
    # Those of frontswap are not there without it.
    [ -e "/run/parameters/$1" ] || return 0
    refuses "$1=$2" "virtio_tmem: $1=$2: give it a number from 0 to $3"
}
modprobe virtio_tmem frontswap=0 cleancache=0
cp -r /sys/module/virtio_tmem/parameters /run/
if echo 1001 >/sys/module/virtio_tmem/parameters/poll; then echo "poll=1001 was accepted"; exit 1; fi
[ "$(cat /sys/module/virtio_tmem/parameters/poll)" = 0 ]
echo 1000 >/sys/module/virtio_tmem/parameters/poll
[ "$(cat /sys/module/virtio_tmem/parameters/poll)" = 1000 ]
rmmod virtio_tmem
refuses_number poll 1001 1000
refuses_number poll -1 1000
refuses_number poll 4294967297 1000
refuses_number selfshrink 1025 1024
refuses_number selfshrink_reserve 101 100
refuses_number selfshrink_reserve half 100
# What it does not know the kernel says, and goes on.
dmesg -c >/dev/null
modprobe virtio_tmem frontswap=0 cleancache=0 selfshrnk=1
dmesg | grep "virtio_tmem: unknown parameter 'selfshrnk' ignored"
rmmod virtio_tmem
modprobe virtio_tmem disk=1 frontswap=0 cleancache=0 && [ -b /dev/vtmem0 ]
