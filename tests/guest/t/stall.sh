# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# One of the device's two queues is answered no more, while the other one goes
# on: after stall_timeout the device is taken for dead.  Who waited gets an I/O
# error or what was written, nobody anything else, and the module unloads once
# the device lets go of its buffers.

set -e
dmesg -n 1      # a line for each error takes longer than all the rest
modprobe virtio_tmem frontswap=0 cleancache=0 stall_timeout=5
until [ -b /dev/vtmem0 ]; do usleep 100000; done
dd if=/dev/urandom of=/run/data bs=1M count=4 2>/dev/null
dd if=/run/data of=/dev/vtmem0 bs=1M oflag=direct 2>/dev/null

# Objects of 1 MiB are on the queues in turn.
checkpoint stop-iothread io1 25
dd if=/dev/vtmem0 of=/run/one bs=1M skip=1 count=1 iflag=direct 2>/run/said &
waits=$!
answered=0
while kill -0 $waits 2>/dev/null; do
    # Until the device is dead the other queue's pages are right.
    if dd if=/dev/vtmem0 bs=4k skip=$((answered % 256)) count=1 iflag=direct \
        of=/run/page 2>/dev/null; then
        dd if=/run/data bs=4k skip=$((answered % 256)) count=1 2>/dev/null | cmp - /run/page
        answered=$((answered + 1))
    fi
    usleep 100000
done
# The reset has to wait for the thread, which may answer at the last moment.
if wait $waits; then
    dd if=/run/data bs=1M skip=1 count=1 2>/dev/null | cmp - /run/one
else
    grep -i 'input/output error' /run/said
fi
[ $answered -gt 20 ] || { echo "the other queue answered $answered times only"; exit 1; }
said "the device does not answer any more (see stall_timeout); [0-9]* pages are lost"
[ "$(cat /sys/bus/virtio/drivers/virtio_tmem/virtio*/state)" = failed ]
if dd if=/dev/vtmem0 of=/run/one bs=1M count=1 iflag=direct 2>/dev/null; then
    echo "a lost page was read"
    exit 1
fi
rmmod virtio_tmem
# A new life.
modprobe virtio_tmem frontswap=0 cleancache=0
disk-truth --processes 2 --operations 200 /dev/vtmem0
checkpoint sane
