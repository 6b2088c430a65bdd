# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The daemon dies and another takes its place, while this guest goes on: what
# the new one never held is an I/O error and not zeros, until the disk is reset.

set -e
page() { # NUMBER: the page on standard output
    dd if=/dev/vda bs=4096 skip="$1" count=1 iflag=direct 2>/dev/null
}
is_lost() { # NUMBER
    if page "$1" >/run/page; then
        echo "page $1 was lost, and could be read: $(head -c 64 /run/page | hexdump)"
        exit 1
    fi
}

dd if=/dev/urandom of=/run/data bs=4096 count=1024 2>/dev/null
dd if=/run/data of=/dev/vda bs=65536 oflag=direct 2>/dev/null
dd if=/dev/vda bs=65536 count=64 iflag=direct 2>/dev/null | cmp - /run/data

# Requests that are on their way then are neither lost nor answered wrongly.
dd if=/run/data of=/dev/vda bs=4096 seek=100000 oflag=direct 2>/run/said &
checkpoint restart
wait $! || { cat /run/said; exit 1; }

for n in 0 1 511 512 1023 50000; do is_lost $n; done
# What is written now is there.
dd if=/run/data of=/dev/vda bs=4096 count=1 oflag=direct conv=notrunc 2>/dev/null
page 0 | cmp -n 4096 - /run/data
is_lost 1

echo virtio0 >/sys/bus/virtio/drivers/virtio_blk/unbind
echo virtio0 >/sys/bus/virtio/drivers/virtio_blk/bind
page 0 | cmp -n 4096 - /run/data
page 1 | cmp -n 4096 - /dev/zero
