# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The guest of libvirt-device: it swaps on its device while somebody at virsh
# watches it, limits it, plugs in another, and shuts it down.

set -e
wait_until() { # WHAT COMMAND...
    local tries=0 what=$1
    shift
    until "$@"; do
        tries=$((tries + 1))
        [ $tries -lt 200 ] || { echo "in 20 seconds $what"; exit 1; }
        usleep 100000
    done
}
noise() { # MIB
    dd if=/dev/urandom of=/dev/vtmem0 bs=1M count="$1" conv=fsync 2>/dev/null
}

checkpoint start
modprobe virtio_tmem frontswap=0
wait_until "no disk came" [ -b /dev/vtmem0 ]
mkswap /dev/vtmem0 >/dev/null
swapon /dev/vtmem0

snapshot before
pressure --passes 1 --mib 210
snapshot after
checkpoint agree before after
checkpoint hmp

# With pages there, neither device nor guest go anywhere.
mount -t tmpfs -o size=200M tmpfs /tmp
dd if=/dev/urandom bs=1M count=1 of=/run/noise 2>/dev/null
for _ in $(seq 150); do cat /run/noise; done >/tmp/file
checkpoint pages-up 2000
checkpoint no-unplug
checkpoint no-migration
rm /tmp/file

# Less than it wants, and then as much again.
swapoff /dev/vtmem0
blkdiscard /dev/vtmem0
checkpoint pages-at-most 0
checkpoint limit 16
if noise 32; then echo "32 MiB fit into 16"; exit 1; fi
checkpoint event TMEM_CLIENT_LIMIT client:guest1 reached:true
checkpoint limit 256
# A driver that was refused asks again after a second.
wait_until "32 MiB did not fit into 256" noise 32
checkpoint event TMEM_CLIENT_LIMIT client:guest1 reached:false
checkpoint pages-up 8000
blkdiscard /dev/vtmem0
checkpoint pages-at-most 0

# Another disk while it runs; it goes again when nothing is on it.
checkpoint plug
wait_until "no second disk came" [ -b /dev/vtmem1 ]
dd if=/dev/urandom of=/dev/vtmem1 bs=1M count=4 conv=fsync 2>/dev/null
checkpoint second 1024
blkdiscard /dev/vtmem1
gone() { [ ! -e /dev/vtmem1 ]; }
checkpoint unplug
wait_until "the second disk did not go" gone

# The button is pressed while pages are out; what then happens is ours to do.
modprobe evdev
modprobe button
mkdir -p /etc/acpi/PWRF /var/log /var/run
printf '#!/bin/sh\n: >/run/pressed\n' >/etc/acpi/PWRF/00000080
chmod +x /etc/acpi/PWRF/00000080
wait_until "no button came" [ -e /dev/input/event0 ]
acpid
mkswap /dev/vtmem0 >/dev/null
swapon /dev/vtmem0
for _ in $(seq 150); do cat /run/noise; done >/tmp/file
checkpoint pages-up 2000
checkpoint shutdown
wait_until "the button was not pressed" [ -e /run/pressed ]
# The script ends, and with it the machine: init powers it off.
