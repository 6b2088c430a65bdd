# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What the driver shows in sysfs, and what Documentation/ABI says of it, added as
# /abi, are the same: on a kernel that has all of it exactly, on others nothing is
# there that is not described.  A disk of virtio-blk tells what others have, too.

set -e
modprobe virtio_tmem frontswap=0 cleancache=0
until [ -b /dev/vtmem0 ] && [ -b /dev/vda ]; do usleep 100000; done
ours=$(echo /sys/bus/virtio/drivers/virtio_tmem/virtio*)
theirs=$(echo /sys/bus/virtio/drivers/virtio_blk/virtio*)

files() { (cd "$1" && find . -follow -maxdepth "$2" -type f 2>/dev/null | sed 's|^\./||' | sort); }
beyond() { # OURS THEIRS DEPTH: prints the files of OURS that THEIRS has not
    files "$2" "$3" >/run/theirs
    files "$1" "$3" | grep -vxFf /run/theirs
}
{
    files /sys/module/virtio_tmem/parameters 1 | sed 's|^|/sys/module/virtio_tmem/parameters/|'
    beyond "$ours" "$theirs" 1 | sed 's|^|/sys/bus/virtio/drivers/virtio_tmem/virtioN/|'
    files "$ours/stats" 1 | sed 's|^|/sys/bus/virtio/drivers/virtio_tmem/virtioN/stats/|'
    beyond /sys/block/vtmem0 /sys/block/vda 1 | sed 's|^|/sys/block/vtmem<n>/|'
} | sort >/run/present
# The size every disk has; what is said of it is ours.
sed -n 's/^What:[[:space:]]*//p' /abi/* | grep -vxF '/sys/block/vtmem<n>/size' |
    sort >/run/described
wc -l /run/present /run/described
[ "$(wc -l </run/present)" -gt 30 ]
[ "$(wc -l </run/described)" = "$(uniq /run/described | wc -l)" ]

lacking() { # LINES FILE: prints the lines of FILE that LINES has not, if any
    grep -vxFf "$1" "$2" || [ $? = 1 ]
}
lacking /run/described /run/present >/run/undescribed
lacking /run/present /run/described >/run/missing
[ ! -s /run/undescribed ] || { echo "not in Documentation/ABI:"; cat /run/undescribed; exit 1; }
# Frontswap has parameters of its own.
if [ -e /sys/module/virtio_tmem/parameters/selfshrink ] && [ -s /run/missing ]; then
    echo "in Documentation/ABI, and not there:"
    cat /run/missing
    exit 1
fi
if grep -v '/parameters/' /run/missing; then exit 1; fi

# One value per file, and each can be read.
while read -r file; do
    case "$file" in
    /sys/module/*) ;;
    */vtmem\<n\>/*) file=/sys/block/vtmem0/${file##*/} ;;
    *) file=$ours/${file#*/virtioN/} ;;
    esac
    [ "$(wc -l <"$file")" = 1 ] || { echo "$file:"; cat "$file"; exit 1; }
done </run/present
