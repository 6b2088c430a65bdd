# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The guest's half of the demo: works on more memory than there is, and tells
# the host each second how it is doing.

mib=288
read -r before _ </proc/uptime

sample() {
    awk '
        /^(MemTotal|MemFree|SwapTotal|SwapFree):/ { v[$1] = $2 }
        END {
            printf "total=%d free=%d swap=%d ", v["MemTotal:"],
                v["MemFree:"], v["SwapTotal:"] - v["SwapFree:"]
        }' /proc/meminfo
    echo "work=$(cat /run/progress 2>/dev/null)"
}
while :; do
    note "$(sample)"
    sleep 1
done &
sampler=$!

# Rounds, because nobody knows how fast a guest is here: with KVM one would be
# over before it is seen, and a long one under TCG would never end.
round=1
while :; do
    pressure --mib $mib --processes 4 --passes 1 --seed $round \
        --progress /run/progress || break
    read -r now _ </proc/uptime
    [ $((${now%.*} - ${before%.*})) -lt 30 ] || break
    round=$((round + 1))
done
status=$?
kill $sampler
wait $sampler 2>/dev/null
note "rounds=$round"
exit $status
