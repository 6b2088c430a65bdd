# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A guest with the driver: swap on /dev/vtmem0, and what the host refuses on a
# disk of its own behind it.

set -e
modprobe virtio_tmem frontswap=0 cleancache=0 backing=/dev/vda
until [ -b /dev/vtmem0 ]; do usleep 100000; done
mkswap /dev/vtmem0 >/dev/null
swapon /dev/vtmem0
. /work.sh
