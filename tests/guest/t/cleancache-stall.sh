# shellcheck shell=dash
# shellcheck disable=SC2016  # what each does to a file it evaluates
# SPDX-License-Identifier: GPL-2.0-or-later
#
# One of the device's two queues is answered no more for a while, shorter than what
# a device is given.  Who reads a file waits a second and then takes the disk; more
# pages are overwritten than the driver can note invalidates for, so that nothing
# the host has may be believed; an unmount waits for nobody.  No byte is wrong, then
# or later, and afterwards the host is used as before.

set -e
files=80
age() { cut -d . -f 1 /proc/uptime; }
each() { # COMMAND: for all $files files, whose numbers it finds in $i
    i=0
    while [ $i -lt $files ]; do
        eval "$1"
        i=$((i + 1))
    done
}
drop() { echo 1 >/proc/sys/vm/drop_caches; }

# From here on without a line in the log each time.
echo 4 >/proc/sys/vm/drop_caches

/tools/mke2fs -q -t ext4 -E nodiscard /dev/vda
mkdir /mnt
mount -t ext4 /dev/vda /mnt
dd if=/dev/urandom of=/run/old bs=192k count=1 2>/dev/null
dd if=/dev/urandom of=/run/new bs=192k count=1 2>/dev/null
# Files are on the queues by their inode's number: some of each kind on both.
each 'cp /run/old /mnt/overwritten-$i; cp /run/old /mnt/read-$i'
sync
drop
# Written pages are not known to be on the disk before they were read, and the
# first that is dropped has the pool made.
each 'cat /mnt/overwritten-$i /mnt/read-$i >/dev/null'
drop
sleep 1.2
# A few at a time: what cannot be under way at once is not stored.
each 'cat /mnt/overwritten-$i /mnt/read-$i >/dev/null; drop'
echo "$(counter cleancache_stores) stores, $(counter cleancache_stores_skipped) skipped"
[ "$(counter cleancache_stores)" -gt 5000 ]
[ "$(counter cleancache_pools_spoiled)" = 0 ]

checkpoint stop-iothread io1 40
start=$(age)
# A second for the first page, and none for those that follow.
for i in 0 1 2 3 4 5 6 7 8 9 10 11; do cmp /run/old /mnt/read-$i; done
echo "$(counter cleancache_loads_given_up) loads given up, $(($(age) - start)) s"
[ "$(counter cleancache_loads_given_up)" -gt 0 ]
[ $(($(age) - start)) -lt 30 ]
for i in 1 2 3; do file-race 2 /mnt/race-$i; done
# In place: a truncate would take one note for all of a file.
each 'dd if=/run/new of=/mnt/overwritten-$i bs=192k conv=notrunc,fsync 2>/dev/null'
drop
echo "$(counter cleancache_pools_spoiled) pools spoiled, after $(($(age) - start)) s"
[ "$(counter cleancache_pools_spoiled)" -gt 0 ]
each 'cmp /run/new /mnt/overwritten-$i'
drop
file-truth --processes 2 --files 6 --pages 200 --operations 600 /mnt

# Until the thread goes on the pool cannot be given back, and made anew.
hits=$(counter cleancache_loads_hit)
until [ "$(counter cleancache_loads_hit)" -gt $((hits + 500)) ]; do
    [ $(($(age) - start)) -lt 120 ] || { echo "the host is not used any more"; exit 1; }
    each 'cmp /run/new /mnt/overwritten-$i; cmp /run/old /mnt/read-$i; drop'
done
echo "used again after $(($(age) - start)) s"
each 'cmp /run/new /mnt/overwritten-$i; cmp /run/old /mnt/read-$i'
drop

# Silent for less than a load waits: the answer is of a page that was overwritten
# in between.
file-race 12 /mnt/race-1 &
race=$!
while kill -0 $race 2>/dev/null; do
    checkpoint stop-iothread io0 0.5 && checkpoint stop-iothread io1 0.5
    sleep 1
done
wait $race
echo "$(counter cleancache_loads_spoiled) loads spoiled"
[ "$(counter cleancache_loads_spoiled)" -gt 0 ]

each 'cat /mnt/read-$i >/dev/null'
checkpoint stop-iothread io1 20
drop
start=$(age)
umount /mnt
[ $(($(age) - start)) -lt 15 ] || { echo "the unmount waited for the host"; exit 1; }
checkpoint pages-at-most 0
checkpoint sane
