# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Huge pages are swapped out as a whole, 512 pages in a row: frontswap does not
# take them, and the disk below does; with another disk below that one does.

set -e
count() { awk -v name="$1" '$1 == name { print $2 }' /proc/vmstat; }
enabled=/sys/kernel/mm/transparent_hugepage/enabled
grep -q '\[always\]\|\[madvise\]' $enabled || echo madvise >$enabled
# Frontswap makes its area when the first pages come.
until swap-held 64 true >/dev/null && [ "$(counter stores)" -gt 64 ]; do usleep 100000; done

whole=$(count thp_swpout) stores=$(counter stores_ok)
for _ in 1 2; do
    swap-held --huge 8192 \
        "[ \$(cat /sys/block/vtmem0/device/pages) -ge 4096 ]" >/run/said || { cat /run/said; exit 1; }
    cat /run/said
    grep -q '^swap-held: right 8192, lost 0, wrong 0' /run/said
done
whole=$(($(count thp_swpout) - whole)) stores=$(($(counter stores_ok) - stores))
echo "$whole huge pages were swapped out as a whole, $stores pages stored"
[ "$whole" -gt 0 ] && [ $stores -ge $((whole * 512)) ]
# Huge or not, under slots that others have had, and among small ones.
swap-held 3000 true | grep 'right 3000, lost 0, wrong 0'
swap-held --huge 4096 true | grep 'right 4096, lost 0, wrong 0'
swapoff "$SWAP_AREA"
checkpoint pages-at-most 1
checkpoint sane
