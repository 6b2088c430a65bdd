# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Stores that are complete to the kernel, in a request that the host refuses as a
# whole, and one that it answers with an I/O error.  The pages are right, as often as
# they are read.  What the refused request had used of the credit is the driver's
# again, and what the failed store had is not: both sides still count the same.

set -e
# The first pages go to the disk, until frontswap has an area.
until swap-held 16 true && [ "$(counter stores_credit)" -gt 16 ]; do usleep 200000; done
insmod /wrong-answers.ko
wrong=/sys/module/wrong_answers/parameters

until_answered() {
    tries=0
    until [ "$(counter stores_unanswered)" = 0 ]; do
        tries=$((tries + 1))
        [ $tries -lt 100 ] || { echo "the stores are not answered"; exit 1; }
        usleep 100000
    done
}
same_credit() {
    until_answered
    checkpoint credit "$(counter credit)"
}
# Swaps pages out, of which the host hears when there are enough or a moment later.
spoiled() { # HOW STORES
    error=$(counter stores_error) kept=$(counter stores_kept)
    echo 1 >$wrong/"$1"
    swap-held 24 "until [ \$(cat $wrong/$1) = 0 ]; do usleep 50000; done" >/run/said ||
        { cat /run/said; exit 1; }
    cat /run/said
    grep -q '^swap-held: right 24, lost 0, wrong 0' /run/said
    until_answered
    error=$(($(counter stores_error) - error)) kept=$(($(counter stores_kept) - kept))
    echo "$1: $error stores failed, $kept pages were kept"
    [ $error -ge "$2" ] && [ $kept -ge 1 ]
}

same_credit
# More than there is credit: without what comes back it would be used up.
rounds=0
while [ $rounds -lt 12 ]; do
    spoiled refuse 1
    same_credit
    rounds=$((rounds + 1))
done
[ "$(counter credit)" -gt 0 ] || { echo "no credit is left"; exit 1; }
spoiled fail 1
same_credit

# Loads are answered by the copy, until the page is freed.
credit=$(counter stores_credit)
pressure --passes 1 --mib 48
pressure --passes 1
[ "$(counter stores_credit)" -gt "$credit" ]
same_credit
swapoff "$SWAP_AREA"
checkpoint pages-at-most 1
