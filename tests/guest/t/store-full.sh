# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# frontswap with a store too small for the work: what the host refuses goes to
# the guest's own disk, every byte is right, and both sides count the same.

set -e
snapshot before
pressure --random-percent 60
snapshot after
checkpoint agree before after "$AGREE"
checkpoint refused
checkpoint sane
swapoff /dev/vda
checkpoint pages-at-most 0
