# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The daemon is restarted in order, and again, while this guest swaps and
# writes: every page is there, and nothing that was under way is lost.

set -e
disk=/dev/vda
if [ -n "$DOOR_B" ]; then
    modprobe virtio_tmem
    until [ -b /dev/vtmem0 ]; do usleep 100000; done
    disk=/dev/vtmem0
fi

same() { # FIRST-PAGE: what is there is what was written; past the page cache
    dd if=$disk bs=4096 skip="$1" count=512 iflag=direct 2>/dev/null |
        cmp - /run/data
}

dd if=/dev/urandom of=/run/data bs=4096 count=512 2>/dev/null
dd if=/run/data of=$disk bs=65536 oflag=direct 2>/dev/null
for at in 10000 20000; do
    dd if=/run/data of=$disk bs=4096 seek=$at oflag=direct 2>/run/said &
    checkpoint restart-in-order
    wait $! || { cat /run/said; exit 1; }
    same 0
    same $at
    # What was never written is nothing, and no error.
    dd if=$disk bs=4096 skip=50000 count=16 iflag=direct 2>/dev/null |
        cmp -n 65536 - /dev/zero
done

mkswap $disk >/dev/null
swapon $disk
pressure --passes 1 --mib 210 &
checkpoint pages-soon 1000
checkpoint restart-in-order
wait $!
