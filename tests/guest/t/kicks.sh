# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# How often the host is notified while memory is only filled, and while swapped
# pages are only read, in order: once for many pages.

set -e
# Frontswap makes its area when the first pages come.
until swap-held 64 true >/dev/null && [ "$(counter stores)" -gt 64 ]; do usleep 100000; done
cat >/bin/mark <<'END'
#!/bin/busybox sh
snapshot "$1-$2"
END
chmod +x /bin/mark
swap-steps 152 32 mark
# P6 of the design: notifications per page, and interrupts.  With KASAN that says nothing
# of the disk: reclaim gives it 1.3 pages in a request and starts each request by itself
# (31730 pages, 23958 requests, 22682 notifications); frontswap has to keep to it.
few="0.05 0.10"
[ ! -e /sys/kernel/debug/kmemleak ] || [ "$AGREE" != disk ] || few="1 1"
# shellcheck disable=SC2086  # two words
checkpoint kicks store-begin store-end $few
checkpoint kicks load-begin load-end 0.13 0.13
checkpoint agree store-begin load-end "$AGREE"
