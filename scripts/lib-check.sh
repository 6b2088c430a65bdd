# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Runs one suite of scripts/check and counts what it did.  Sourced by it, in
# place of lib.sh; logs, limit, needs and command are the caller's.

# shellcheck disable=SC2154
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# shellcheck disable=SC2034  # of lib.sh: a suite stops what it started first
grace=10
passed=0 failed=0 skipped=0 shown=
declare -A verdict

# How many cases a log tells of, if it is TAP with a plan; else one.  A plan
# that names more cases than there were is a failure, whatever the status says.
# (Plans are not added up: GLib repeats them as it goes.)
count() { # LOG STATUS
    local left=0 planned
    good=1 bad=0
    planned=$(awk -F '[. ]+' '
        /^1\.\.[0-9]/ { tap = 1; if ($2 > n) n = $2 } END { if (tap) print n }' "$1")
    if [ -n "$planned" ]; then
        left=$(grep -cE '^ok .*# *SKIP' "$1" || true)
        good=$(($(grep -cE '^ok ' "$1" || true) - left))
        bad=$(grep -cE '^not ok ' "$1" || true)
        ((bad > 0 || ($2 == 0 && good + left >= planned))) || bad=1
    elif [ "$2" != 0 ]; then
        good=0 bad=1
    fi
    passed=$((passed + good)) failed=$((failed + bad)) skipped=$((skipped + left))
}

# Why a suite failed, for who has only this output: its cases that failed, what
# was said just before the first, where that is, and the end of its log.
show_failure() { # LOG
    awk -v most=20 -v before=10 -v tail=25 '
        { gsub(/\r|\033(\[[0-9;?]*[A-Za-z])?/, ""); line[NR] = $0 }
        /^not ok / { if (!first) first = NR; if (++n <= most) print "    " $0 }
        END {
            if (n > most) print "    and " n - most " more"
            end = NR - tail
            if (first && first <= end) {
                for (i = first - before; i <= first; i++)
                    if (i > 0) print "    | " line[i]
                if (first < end) print "    | ..."
                if (end < first) end = first
            }
            for (i = end + 1; i <= NR; i++) if (i > 0) print "    | " line[i]
        }' "$1"
}

# On a terminal a line that moves, else one each minute.
show_suite() { # NAME SECONDS LOG
    [ "$2" != "$shown" ] || return 0
    shown=$2
    if [ -t 1 ]; then
        printf '\r\033[Krunning %s, %d s: %.50s' "$1" "$2" "$(tail -n 1 "$3" | tr -d '\r\033')"
    elif (($2 > 0 && $2 % 60 == 0)); then
        printf 'running %s, %d s: %s\n' "$1" "$2" "$(tail -n 1 "$3" | tr -d '\r\033')"
    fi
}

# Runs one suite by its row of the table, within its limit.
run_suite() { # NAME: sets verdict[NAME] and prints its line
    local name=$1 log=$logs/$1.log need start=$SECONDS status=0 took why='' good bad
    for need in ${needs[$name]}; do
        if [ "${verdict[$need]}" != ok ]; then
            echo "FAILED $name (needs $need)"
            failed=$((failed + 1)) verdict[$name]=failed
            return
        fi
    done
    setsid bash -c "${command[$name]}" >"$log" 2>&1 </dev/null &
    child=$!
    while kill -0 "$child" 2>/dev/null; do
        took=$((SECONDS - start))
        if [ "$took" -ge "${limit[$name]}" ]; then
            stop_child
            why="over its limit of ${limit[$name]} s, "
            break
        fi
        show_suite "$name" $took "$log"
        sleep 0.2
    done
    [ -n "$why" ] || wait "$child" || status=$?
    [ -z "$why" ] || status=124
    child=
    took=$((SECONDS - start))
    [ ! -t 1 ] || printf '\r\033[K'
    if [ $status = 77 ]; then
        skipped=$((skipped + 1)) verdict[$name]=skipped
        echo "skipped $name: $(tail -n 1 "$log")"
        return
    fi
    count "$log" $status
    if [ "$bad" = 0 ]; then
        verdict[$name]=ok
        if ((good > 1)); then echo "ok $name ($took s, $good tests)"
        else echo "ok $name ($took s)"; fi
    else
        verdict[$name]=failed
        echo "FAILED $name (${why}log: ${log#"$top"/})"
        show_failure "$log"
    fi
    sed -nE 's/^ok [0-9]+ (.*[^ ]) *# *SKIP *(.*)/    skipped \1: \2/p' "$log"
}
