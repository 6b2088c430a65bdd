# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The store is in a storage daemon, over vhost-user.  Swapping is right and is
# counted there.  Then the daemon dies and comes back with nothing: what it had
# is an I/O error, and neither zeros nor anything else, until the driver begins
# anew.

set -e
snapshot before
pressure --passes 1 --mib 140
snapshot after
checkpoint agree before after "$AGREE"
checkpoint sane
swapoff "$SWAP_AREA"
blkdiscard /dev/vtmem0
checkpoint pages-at-most 0

dd if=/dev/urandom of=/run/data bs=1M count=4 2>/dev/null
dd if=/run/data of=/dev/vtmem0 bs=64k oflag=direct 2>/dev/null
# Stopped and continued, the guest has what it had.
checkpoint pause 1
dd if=/dev/vtmem0 bs=64k count=64 iflag=direct 2>/dev/null | cmp - /run/data
checkpoint crash-daemon
# A page at a time: each of them is an error, and the end of none was reached.
for page in 0 1 17 500 1023; do
    if dd if=/dev/vtmem0 of=/run/page bs=4k skip=$page count=1 iflag=direct \
            2>/run/said; then
        echo "page $page, which was lost, could be read"
        exit 1
    fi
    grep -q 'Input/output error' /run/said
    [ ! -s /run/page ]
done
checkpoint daemon-said "are lost"

rmmod virtio_tmem
modprobe virtio_tmem frontswap=0 cleancache=0
until [ -b /dev/vtmem0 ]; do usleep 100000; done
dd if=/run/data of=/dev/vtmem0 bs=64k oflag=direct 2>/dev/null
dd if=/dev/vtmem0 bs=64k count=64 iflag=direct 2>/dev/null | cmp - /run/data
blkdiscard /dev/vtmem0
checkpoint pages-at-most 0
