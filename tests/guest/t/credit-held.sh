# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Stores that are complete to the kernel, and of which the host does not know yet,
# when the device is reset behind the driver's back and then torn out: their pages
# are in the guest, and right.  What the host had got is an error, and nobody waits
# for it for ever, also if pages are to be fetched back.

set -e
modprobe virtio_tmem
until [ -b /dev/vtmem0 ]; do usleep 100000; done
# So small that the kernel does not collect freed slots until they are a batch.
mkswap /dev/vtmem0 2000 >/dev/null
swapon /dev/vtmem0
device=$(readlink -f /sys/block/vtmem0/device)
pci=${device%/*}
parameters=/sys/module/virtio_tmem/parameters

# The first pages go to the disk, until frontswap has an area.
until swap-held 16 true && [ "$(counter stores_credit)" -gt 16 ]; do usleep 200000; done
# Of a page that is still here the host is not asked.
echo 10000 >$parameters/store_delay
usleep 100000
swap-held 16 true | grep 'right 16, lost 0, wrong 0'
[ "$(counter loads_copy)" -gt 0 ] || { echo "no load was answered from a copy"; exit 1; }
# That stores may take their time is nothing to pages that were freed.
sleep 1
[ "$(counter pages_pending)" = 0 ] || { echo "freed pages wait for stores"; exit 1; }

# More than one batch: the host has the first and takes it with it, the second is
# still here.  Who reads the disk finds out what has happened.  There is nothing to
# fetch back from a device that is gone.
cat >/run/disaster <<END
[ \$(counter stores_unanswered) -gt 0 ] || { echo nothing is under way; exit 1; }
echo 1 >$pci/reset
dd if=/dev/vtmem0 of=/dev/null bs=4k count=1 iflag=direct 2>/dev/null
dmesg | grep 'the device was reset' || exit 1
[ \$(counter stores_kept) -gt 0 ] || { echo nothing was kept; exit 1; }
echo 1 >$pci/remove
echo 0 >$parameters/selfshrink_reserve
echo 64 >$parameters/selfshrink
sleep 2
END
swap-held 100 "sh /run/disaster" >/run/said || { cat /run/said; exit 1; }
cat /run/said
grep -qE 'right [1-9][0-9]*, lost [1-9][0-9]*, wrong 0' /run/said
# The guest goes on, without this swap.
pressure --passes 1 --mib 32
