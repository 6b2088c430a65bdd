# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Files that the file system decrypts or checks when it reads the disk, which it does
# not when a page comes from the host: they read right from there, too, and when the
# key goes the host has nothing left of what it protected.

set -e
drop() { echo 1 >/proc/sys/vm/drop_caches; }
hits() { counter cleancache_loads_hit; }
on_host() { # FILE: reads it, gives it to the host a few pages at a time, sets held
    held=$(counter stores_ok)
    part=0
    while [ $part -lt 16 ]; do
        dd if="$1" bs=256k skip=$part count=1 of=/dev/null 2>/dev/null
        drop
        part=$((part + 1))
    done
    held=$(($(counter stores_ok) - held))
    echo "$1: $held pages are on the host"
    [ $held -gt 800 ]
}
comes_back() { # FILE
    before=$(hits)
    cmp /run/data "$1"
    echo "$1: $(($(hits) - before)) pages came from there"
    [ $(($(hits) - before)) -gt 800 ]
}

/tools/mke2fs -q -t ext4 -b 4096 -O encrypt,verity -E nodiscard /dev/vda
mkdir /mnt
mount -t ext4 /dev/vda /mnt
dd if=/dev/urandom of=/run/data bs=1M count=4 2>/dev/null

# A first page has the pool made.
cp /run/data /mnt/first
sync
cat /mnt/first >/dev/null; drop
cat /mnt/first >/dev/null; drop
sleep 1.2
rm /mnt/first
checkpoint pages-at-most 0

mkdir /mnt/secret
file-seal encrypt /mnt/secret
cp /run/data /mnt/secret/file
sync
drop
cat /mnt/secret/file >/dev/null
drop
on_host /mnt/secret/file
comes_back /mnt/secret/file
on_host /mnt/secret/file
file-seal lock /mnt
checkpoint pages-at-most 0
if cat /mnt/secret/file >/dev/null 2>&1; then
    echo "a file was read without its key"
    exit 1
fi
file-seal unlock /mnt
before=$(hits)
cmp /run/data /mnt/secret/file
[ "$(hits)" = "$before" ]
file-truth --processes 1 --files 2 --pages 100 --operations 400 --no-direct --no-shift /mnt/secret
file-seal lock /mnt

cp /run/data /mnt/checked
sync
drop
cat /mnt/checked >/dev/null
drop
on_host /mnt/checked
file-seal verity /mnt/checked
# What was kept before nobody has checked.
before=$(hits)
cmp /run/data /mnt/checked
[ "$(hits)" = "$before" ]
on_host /mnt/checked
comes_back /mnt/checked
if echo x 2>/dev/null >>/mnt/checked; then
    echo "a checked file was written to"
    exit 1
fi
umount /mnt
checkpoint pages-at-most 0
checkpoint sane
