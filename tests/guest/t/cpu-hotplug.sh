# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# CPUs come and go under the driver.  The queue of a page follows from the page
# and not from the CPU, so every queue has to be answered as long as there is
# any CPU: with one that left after the module was loaded, with one that was
# not there then (as with maxcpus=), and with one that comes and goes while
# memory is swapped.

set -e
cpu1=/sys/devices/system/cpu/cpu1/online

echo 1 >$cpu1
modprobe virtio_tmem frontswap=0 cleancache=0
echo 0 >$cpu1
disk-truth --processes 2 --operations 500 /dev/vtmem0
rmmod virtio_tmem

modprobe virtio_tmem frontswap=0 cleancache=0
disk-truth --processes 2 --operations 500 /dev/vtmem0
echo 1 >$cpu1

mkswap /dev/vtmem0 >/dev/null
swapon /dev/vtmem0
# shellcheck disable=SC2015  # the first that fails ends the loop
(
    moves=0
    until [ -e /run/enough ]; do
        echo 0 >$cpu1 && sleep 0.5 && echo 1 >$cpu1 && sleep 0.5 || exit 1
        moves=$((moves + 1))
        touch /run/moved-$moves
    done
    echo "CPU 1 went away $moves times"
) &
mover=$!
pressure --passes 2
# A quick host has not seen much of it yet.
until [ -e /run/moved-3 ]; do
    kill -0 $mover
    pressure --passes 1
done
touch /run/enough
wait $mover

swapoff /dev/vtmem0
checkpoint queues-used 2
checkpoint sane
rmmod virtio_tmem
checkpoint pages-at-most 0
