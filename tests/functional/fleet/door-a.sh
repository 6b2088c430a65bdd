# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A guest that installs nothing: swap on the daemon's disk behind virtio-blk.

set -e
mkswap /dev/vda >/dev/null
# Linux discards freed slots only on a disk that does not rotate.
echo 0 >/sys/block/vda/queue/rotational
swapon -d /dev/vda
. /work.sh
