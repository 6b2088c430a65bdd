# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Works on more memory than there is, again and again, and verifies every byte,
# until the host has seen enough: it ends this guest.  Between two runs the
# guest would need no memory, and others would have its share meanwhile.

# Files of a guest's first file system are memory, too; swapped out and never
# read again, they alone would fill a share.
find /bin /lib -type f -size +100k ! -name busybox ! -name pressure -exec rm {} +

mib=$(sed -n 's/.*fleet_mib=\([0-9]*\).*/\1/p' /proc/cmdline)
note ready
pressure --mib "$mib" --processes 2 --passes 1000 --random-percent 50 \
    --rewrite-percent 40
