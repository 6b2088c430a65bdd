# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Two request queues on two iothreads, two CPUs: every byte is right, the
# counters agree, and both queues did work.

set -e
snapshot before
pressure --passes 2
snapshot after
checkpoint agree before after "$AGREE"
checkpoint queues-used 2
checkpoint sane
