# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A swap area that is much smaller than the disk it is on, and a second one on
# the guest's own disk, with less room than the rest of ours: when the host
# refuses pages only free slots of the first area may count as used, and the
# second takes what is left.

set -e
modprobe virtio_tmem frontswap=0
# Of 1 KiB: 40 MiB of a disk of 2 GiB.
mkswap /dev/vtmem0 40960 >/dev/null
swapon /dev/vtmem0
mkswap /dev/vda >/dev/null
swapon /dev/vda
pressure --passes 1 --random-percent 60
[ "$(counter stores_refused)" -gt 0 ] || { echo "the host refused nothing"; exit 1; }
read -r _ _ _ _ _ _ sectors _ </sys/block/vda/stat
echo "$((sectors / 8)) pages were written to the second area"
[ "$sectors" -gt 1000 ]
checkpoint sane
# Nothing is withheld while swapoff is under way, or after it.
watch() {
    while [ ! -e /run/stop ]; do
        awk '/^SwapTotal/ { total = $2 } /^SwapFree/ && $2 > total { print }' /proc/meminfo
        usleep 20000
    done >/run/wrong
}
watch &
swapoff /dev/vtmem0
touch /run/stop
wait
if [ -s /run/wrong ]; then
    echo "more swap was free than there is:"
    cat /run/wrong
    exit 1
fi
free() { awk -v name="$1:" '$1 == name { print $2 }' /proc/meminfo; }
swapoff /dev/vda
[ "$(free SwapFree)" = 0 ]
