# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The QEMU of this guest dies in the midst of its work.

set -e
dd if=/dev/urandom of=/run/data bs=1M count=32 2>/dev/null
dd if=/run/data of=/dev/vda bs=65536 oflag=direct 2>/dev/null
checkpoint pages-up 8192
dd if=/run/data of=/dev/vda bs=65536 seek=4096 oflag=direct 2>/dev/null &
checkpoint die
