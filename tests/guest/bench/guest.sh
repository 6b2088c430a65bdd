# shellcheck shell=dash
# shellcheck disable=SC2154  # row, mib and passes are set above this
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The guest's part of "scripts/bench guest": puts the swap area of this row into
# use where run has not, and works on more memory than there is.

case $row in
blk-*) mkswap /dev/vda >/dev/null && swapon /dev/vda || exit 125 ;;
guest-zram)
    modprobe zram || exit 125
    ! grep -q lz4 /sys/block/zram0/comp_algorithm || echo lz4 >/sys/block/zram0/comp_algorithm
    echo "${mib}M" >/sys/block/zram0/disksize
    mkswap /dev/zram0 >/dev/null && swapon /dev/zram0 || exit 125
    ;;
esac
echo "swap: $(tail -n 1 /proc/swaps)"

# The host takes its figures when swapping has come to rest.
cat >/bin/mark <<'END'
#!/bin/busybox sh
tries=0
until grep -q '^nr_writeback 0$' /proc/vmstat || [ $tries -ge 50 ]; do
    tries=$((tries + 1))
    usleep 20000
done
checkpoint "$@" $(counters)
END
chmod +x /bin/mark

status=0
mark work begin || exit 125
pressure --mib "$mib" --passes "$passes" || status=$?
mark work end || exit 125
# Frontswap makes its area when the first pages come: there is one by now.
swap-steps "$mib" "$load_mib" mark || status=$?
exit $status
