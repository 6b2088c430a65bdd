# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# cleancache of a shared file system, which tests/guest/modules/shared-fs.c plays:
# who shares a pool with whom, and what comes back then.
#
# "shared=off" on the kernel's command line: the device has no shared pools.

set -e
uuid=5a5a5a5a-5a5a-5a5a-5a5a-5a5a5a5a5a5a

step() { # NAME
    echo "$1" >/sys/module/shared_fs/parameters/step || {
        dmesg | grep shared-fs: | tail -n 1
        exit 1
    }
}

# A disk that can be written to: two mounts of one UUID, a pool of its own each.
insmod /shared-fs.ko
said "shared-fs: all right"

case "$(cat /proc/cmdline)" in
*shared=off*)
    step mount
    step put
    step unmount
    checkpoint shared-pools 0
    if dmesg | grep "virtio_tmem.*$uuid"; then
        echo "the driver talks of sharing that its device does not know"
        exit 1
    fi
    checkpoint sane
    exit
    ;;
esac
said "has a pool of its own and does not share $uuid: its disk is not read-only"

# A read-only one: not without the operator's word.
step mount
said "the host has not authorised this guest for the shared pool $uuid"
checkpoint shared-pools 0
step put
step unmount

# With it there is one pool for this guest and another.
checkpoint member-authorize guest0 "$uuid"
step mount
said "shares the pool $uuid with other guests"
checkpoint shared-pools 1
# Nothing of the pools before.
step nothing
step put
step get
checkpoint member-joins "$uuid"
step alien
step get
step forget
step put
# The other guest takes its pages along, and leaves the others.
checkpoint member-leaves
step get

# Ours leaves, and comes back to nothing.
step unmount
checkpoint shared-pools 0
step mount
step nothing
checkpoint shared-pools 1
checkpoint sane

# A mount that only reads, and comes before the last one has left, which the host
# refuses once.
step put
checkpoint member-joins "$uuid"
step read
step alien
step nothing
checkpoint member-leaves

# A second mount of this guest is no second member.
step another
said "another one of this guest is in the shared pool $uuid"
step unmount
checkpoint shared-pools 0
