# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Pages that nobody reads come back to a guest with memory to spare, if it is told
# to fetch them, and are right; with none to spare, or not told, they stay.  They
# also stay while there is a swap area whose end the driver would not see coming,
# and while somebody has the disk open who may be about to end this one.

set -e
parameters=/sys/module/virtio_tmem/parameters
[ "$(cat $parameters/selfshrink)" = 0 ]
# Until frontswap has its area, pages go to the disk.
until swap-held 16 true && [ "$(counter stores_ok)" -gt 16 ]; do usleep 200000; done

cat >/run/idle <<END
before=\$(counter pages)
stay() {
    sleep 3
    # A swapoff also frees the slots that each CPU keeps for later.
    [ \$(counter pages) -ge \$((before - 256)) ] ||
        { echo "\$((before - \$(counter pages))) of \$before pages came back \$1"; exit 1; }
}
stay untold
echo 10 >$parameters/selfshrink_reserve
echo 4 >$parameters/selfshrink
stay "with a swap area on another disk"
exec 5</dev/vtmem0
swapoff /dev/vda
stay "while somebody had the disk open"
echo 100 >$parameters/selfshrink_reserve
exec 5<&-
stay "with no memory to spare"
echo 10 >$parameters/selfshrink_reserve
tries=0
until [ \$(counter pages) -lt \$((before / 4)) ]; do
    tries=\$((tries + 1))
    [ \$tries -lt 100 ] || { echo "\$(counter pages) of \$before pages are still there"; exit 1; }
    usleep 500000
done
echo 0 >$parameters/selfshrink
END
swap-held 4000 'sh /run/idle' >/run/said || { cat /run/said; exit 1; }
grep 'right 4000, lost 0, wrong 0' /run/said

# All the time, while others need the memory, and as the area ends.
echo 64 >$parameters/selfshrink
pressure --passes 1
swapoff "$SWAP_AREA"
checkpoint sane
