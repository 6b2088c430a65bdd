# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Runs the suites of scripts/check, some side by side, and counts what they did.
# Sourced by it, in place of lib.sh; logs, lanes, limit, alone, needs, command and
# alone_here are the caller's.

# shellcheck disable=SC2154
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# shellcheck disable=SC2034  # of lib.sh: a suite stops what it started first
grace=10
passed=0 failed=0 skipped=0
running=()                  # suites, the oldest first
declare -A pid began        # of those
declare -A verdict said     # of those that are over; what to print of them
trap 'stop_suites "${running[@]}"; rm -rf "$tmp"' EXIT

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
# was said around the first, or around the first report of a guest's kernel, and
# the end of its log.
show_failure() { # LOG
    awk -v most=20 -v before=10 -v after=30 -v tail=25 '
        { gsub(/\r|\033(\[[0-9;?]*[A-Za-z])?/, ""); line[NR] = $0 }
        /^not ok / { if (!first) first = last = NR; if (++n <= most) print "    " $0 }
        /^\[ *[0-9.]+\].*(INFO: |WARNING: |BUG[: ]|cut here|panic|Oops)/ {
            if (!first) { first = NR; last = NR + after }
        }
        END {
            if (n > most) print "    and " n - most " more"
            end = NR - tail
            if (first && first <= end) {
                if (last > end) last = end
                for (i = first - before; i <= last; i++)
                    if (i > 0) print "    | " line[i]
                if (last < end) print "    | ..."
            }
            for (i = end + 1; i <= NR; i++) if (i > 0) print "    | " line[i]
        }' "$1"
}

# Ends suites and all that they started.
stop_suites() { # NAME...
    local name
    for name; do
        # It has no group before setsid has run.
        kill -TERM -- "-${pid[$name]}" 2>/dev/null ||
            kill -TERM "${pid[$name]}" 2>/dev/null || true
    done
    for name; do
        child=${pid[$name]}
        stop_child
    done
}

start_suite() { # NAME
    : >"$logs/$1.log"   # is there before its process is
    setsid bash -c "${command[$1]}" >>"$logs/$1.log" 2>&1 </dev/null {alone_here}>&- &
    pid[$1]=$!
    began[$1]=$SECONDS
    running+=("$1")
}

# What a suite came to, by its status and its log.
end_suite() { # NAME STATUS WHY
    local name=$1 log=$logs/$1.log took=$((SECONDS - ${began[$1]})) good bad
    if [ "$2" = 77 ]; then
        skipped=$((skipped + 1)) verdict[$name]=skipped
        said[$name]="skipped $name: $(tail -n 1 "$log")"
        return
    fi
    count "$log" "$2"
    if [ "$bad" = 0 ]; then
        verdict[$name]=ok
        said[$name]="ok $name ($took s$( ((good < 2)) || echo ", $good tests"))"
    else
        verdict[$name]=failed
        said[$name]="FAILED $name ($3log: ${log#"$top"/})"
        said[$name]+=$(echo && show_failure "$log")
    fi
    said[$name]+=$(sed -nE 's/^ok [0-9]+ (.*[^ ]) *# *SKIP *(.*)/\n    skipped \1: \2/p' "$log")
}

# Takes those that are over, or over their limit, out of running.
look_at_suites() {
    local name status why still=()
    for name in "${running[@]}"; do
        status=0 why=
        if kill -0 "${pid[$name]}" 2>/dev/null; then
            if ((SECONDS - ${began[$name]} < ${limit[$name]})); then
                still+=("$name")
                continue
            fi
            stop_suites "$name"
            status=124 why="over its limit of ${limit[$name]} s, "
        else
            wait "${pid[$name]}" || status=$?
            # What it has left running is nobody's.
            kill -KILL -- "-${pid[$name]}" 2>/dev/null || true
        fi
        end_suite "$name" $status "$why"
    done
    running=("${still[@]}")
}

# May a suite run now?  0: it may; 1: what it needs is not over; 2: it must wait
# for a place, and so must all behind it; 3: what it needs failed, so it did.
may_start() { # NAME
    local need at=0
    for need in ${needs[$1]}; do
        case "${verdict[$need]:-}" in
        ok) ;;
        '') at=1 ;;
        *) fail_for_need "$1" "$need"; return 3 ;;
        esac
    done
    [ $at = 0 ] || return 1
    [ ${#running[@]} != 0 ] || return 0
    [ -z "${alone[$1]}${alone[${running[0]}]}" ] || return 2
    [ ${#running[@]} -lt "$lanes" ] || return 2
}

fail_for_need() { # NAME NEED
    failed=$((failed + 1)) verdict[$1]=failed
    said[$1]="FAILED $1 (needs $2)"
}

# One line about what runs: on a terminal it moves, else it comes when nothing
# has been said for a minute.
show_running() {
    local name text=''
    for name in "${running[@]}"; do
        text+=${text:+, }"$name $((SECONDS - ${began[$name]})) s"
    done
    if [ -z "$text" ] || [ "$text" = "$shown" ]; then return; fi
    shown=$text
    text="running $text: $(tail -n 1 "$logs/${running[0]}.log" | tr -d '\r\033')"
    if [ -t 1 ]; then
        printf '\r\033[K%.*s' "$(($(tput cols 2>/dev/null || echo 80) - 1))" "$text"
    elif ((SECONDS - last >= 60)); then
        printf '%s\n' "$text"
        last=$SECONDS
    fi
}

# Runs suites side by side, as many as there are lanes and one that is to be
# alone with nothing beside it, and tells of them in the order given.
run_suites() { # NAME...
    local order=("$@") waiting=("$@") left name at full shown='' last=$SECONDS
    while [ ${#order[@]} -gt 0 ]; do
        look_at_suites
        left=() full=
        for name in "${waiting[@]}"; do
            at=2
            [ -n "$full" ] || { at=0; may_start "$name" || at=$?; }
            case $at in
            0) start_suite "$name" ;;
            1) left+=("$name") ;;
            2) left+=("$name") full=1 ;;
            esac
        done
        waiting=("${left[@]}")
        # Nothing else could ever change that.
        if [ ${#running[@]} = 0 ] && [ ${#waiting[@]} -gt 0 ]; then
            fail_for_need "${waiting[0]}" "${needs[${waiting[0]}]}"
            waiting=("${waiting[@]:1}")
        fi
        while [ ${#order[@]} -gt 0 ] && [ -n "${said[${order[0]}]:-}" ]; do
            [ ! -t 1 ] || printf '\r\033[K'
            printf '%s\n' "${said[${order[0]}]}"
            order=("${order[@]:1}") last=$SECONDS shown=
        done
        show_running
        [ ${#running[@]} = 0 ] || sleep 0.1
    done
}
