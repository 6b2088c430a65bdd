# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A swap disk no larger than the store can hold, and a second area on the
# guest's own disk: when the first is used up the second takes the rest.

set -e
snapshot before
pressure --passes 2
snapshot after
checkpoint agree before after "$AGREE"
checkpoint sane
# Sectors written to the second area: something, or this proves nothing.
read -r _ _ _ _ _ _ sectors _ </sys/block/vda/stat
echo "$((sectors / 8)) pages were written to the second area"
[ "$sectors" -gt 1000 ]
