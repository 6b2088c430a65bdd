# shellcheck shell=dash
# shellcheck disable=SC2317  # functions are called by name
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A page that frontswap holds for a swap area on another disk is lost.  Frontswap
# cannot say so, and the disk has something else in its place: who reads it waits,
# and gets no byte.  The log says who waits for what; frontswap_lost=panic ends it.

set -e
until_it() { # WHAT-NOT COMMAND...
    local tries=0 what=$1
    shift
    until "$@"; do
        tries=$((tries + 1))
        [ $tries -lt 300 ] || { echo "in 30 seconds $what"; dmesg | tail; exit 1; }
        usleep 100000
    done
}
parameters=/sys/module/virtio_tmem/parameters
modprobe virtio_tmem
until_it "no disk came" [ -b /dev/vtmem0 ]
device=$(readlink -f /sys/block/vtmem0/device)
mkswap /dev/vda >/dev/null
swapon /dev/vda
[ "$(cat $parameters/frontswap_lost)" = wait ]
# The first pages go to the disk, until frontswap has an area.
taken() { swap-held 16 true && [ "$(counter stores_credit)" -gt 16 ]; }
until_it "frontswap took nothing" taken

# All of them are on the host, none in a copy here.
cat >/run/disaster <<END
until [ \$(counter stores_unanswered) = 0 ]; do usleep 50000; done
[ \$(cat $device/pages) -ge 32 ] || exit 1
echo 1 >${device%/*}/reset
echo it was reset
END
swap-held 64 "sh /run/disaster" >/run/said 2>&1 &
work=$!
until_it "the device was not reset" grep -qs "was reset" /run/said
waits() { dmesg | grep 'frontswap: page [0-9]* of swap type 0 is lost; the task swap-held ([0-9]*) will wait for ever (frontswap_lost=wait)'; }
until_it "nobody was told that the page is lost" waits
said 'the device was reset; [1-9][0-9]* pages are lost and all further requests fail'

# It does wait: it reads nothing, and does not end, nor does a signal end it.
kill -9 $work
sleep 3
kill -0 $work || { echo "the task went on without its page"; exit 1; }
[ "$(awk '{ print $3 }' /proc/$work/stat)" = I ] || { cat /proc/$work/stat; exit 1; }
if grep swap-held /run/said; then echo "the page was read"; exit 1; fi
[ "$(dmesg | grep -c 'is lost; the task')" = 1 ]
if dmesg | grep 'Read-error on swap-device'; then echo "the disk was asked"; exit 1; fi

# The verdict comes first: after a panic there is nobody to give one, and without
# a panic the next one counts.
[ "$(cat $parameters/frontswap_lost)" = wait ]
printf 'expect is lost (frontswap_lost=panic)\nexit 0\n' >/dev/ttyS1
echo panic >$parameters/frontswap_lost
sleep 20
echo "the kernel did not panic"
exit 1
