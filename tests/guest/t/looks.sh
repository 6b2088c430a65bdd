# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The host answers within the notification (ioeventfd=off): who asks for a page
# finds it at the first look, and the host need not interrupt.

set -e
snapshot before
pressure
snapshot after
# P6 of the design, of what the driver handled, and of what the device sent: some find
# their answers taken.  Of a kernel several times slower, as with KASAN, that is no
# measure: it swaps in smaller pieces.  Each load at random is a notification.
[ -e /sys/kernel/debug/kmemleak ] && most=0.25 || most=0.10
checkpoint kicks before after 0.6 "$most"
checkpoint interrupts before after "$most"
checkpoint agree before after "$AGREE"
looks=$(counter polls)
[ "$looks" -gt 1000 ]

# Those who look for longer than that find the right pages as well.
echo 1000 >/sys/module/virtio_tmem/parameters/poll
pressure --seed 2
[ "$(counter polls)" -gt $((looks + 1000)) ]
swapoff "$SWAP_AREA"
checkpoint pages-at-most 1     # what mkswap wrote
checkpoint sane
