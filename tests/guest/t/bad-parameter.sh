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
modprobe virtio_tmem disk=1 frontswap=0 cleancache=0 && [ -b /dev/vtmem0 ]
