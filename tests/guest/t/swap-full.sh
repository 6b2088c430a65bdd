# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A store much too small for the swap disk on it, and nothing else to go to: the
# work cannot be done, and the guest learns that at once, as with any swap that
# is full: swap counts as full and a task is killed.  No byte is wrong, the guest
# never stands still, and afterwards it and its swap are as good as before.

status=0
pressure --passes 1 --random-percent 80 || status=$?
if [ $status != 2 ]; then
    echo "the end was status $status, and not that a task was killed"
    exit 1
fi
set -e
said "vtmem0: the host refuses pages: its store is full; meanwhile this swap counts as full"
checkpoint refused
checkpoint sane
[ "$(counter loads_error)" = 0 ]
# The count of free slots is right again, now and without swap.
free() { awk -v name="$1:" '$1 == name { print $2 }' /proc/meminfo; }
i=0
until [ "$(free SwapFree)" -gt $(($(free SwapTotal) * 9 / 10)) ]; do
    i=$((i + 1))
    [ $i -lt 100 ] || { echo "swap is not free again"; cat /proc/meminfo; exit 1; }
    usleep 100000
done
swapoff "$SWAP_AREA"
[ "$(free SwapFree)" = 0 ]
checkpoint pages-at-most 1
mkswap "$SWAP_AREA" >/dev/null
swapon "$SWAP_AREA"
[ "$(free SwapFree)" = "$(free SwapTotal)" ]
# What fits is served again.  It has to fit twice: of pages that came back the host
# keeps its copy, as long as the kernel thinks that there is swap to spare.
# So it is little more than fits the guest, which only trying tells.
stores=$(counter stores_ok)
mib=$(($(free MemAvailable) / 1024))
until [ "$(counter stores_ok)" -gt $((stores + 100)) ]; do
    mib=$((mib + 4))
    [ $mib -lt $(($(free MemTotal) / 512)) ] || { echo "hardly anything was swapped"; exit 1; }
    pressure --passes 1 --mib $mib --random-percent 0
done
checkpoint sane
