# shellcheck shell=bash
# shellcheck disable=SC2034  # what is set here is used by the scripts
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What every script here needs: where things are, how to speak, how to run
# long work.  Sourced, never run.

set -euo pipefail

# Only the distribution's own tools, so that a build does not depend on what
# else the user has first in PATH (pyenv, a cross compiler, CUDA stubs), and
# no flags from outside: the cache is shared and not keyed by them.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8
unset CC CXX CFLAGS CXXFLAGS CPPFLAGS LDFLAGS LIBRARY_PATH CPATH \
      C_INCLUDE_PATH PKG_CONFIG_PATH PYTHONPATH PYTHONHOME

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=$top/build
# For whatever directory the scripts that are called change to.
case "${VIRTIO_TMEM_CACHE:-/}" in
/*) ;;
*) export VIRTIO_TMEM_CACHE=$PWD/$VIRTIO_TMEM_CACHE ;;
esac
cache=${VIRTIO_TMEM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/virtio-tmem}
python=/usr/bin/python3
jobs=$(nproc)
# Objects are found again in another tree of QEMU: paths below it count as
# relative, and so does the directory that debug information names.
export CCACHE_DIR=$cache/ccache CCACHE_MAXSIZE=5G CCACHE_BASEDIR=$cache/qemu CCACHE_NOHASHDIR=1

say() { printf '%s\n' "$*" >&2; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

elapsed() { # SECONDS -> 7m40s
    if (($1 < 60)); then printf '%ds' "$1"
    else printf '%dm%02ds' $(($1 / 60)) $(($1 % 60)); fi
}

# Debian 12 and 13 on amd64 are what the package names and versions here fit.
require_debian() {
    local ID='' VERSION_ID='' PRETTY_NAME='' arch
    # shellcheck disable=SC1090
    . "${VIRTIO_TMEM_OS_RELEASE:-/etc/os-release}" 2>/dev/null || true
    case "$ID-$VERSION_ID" in
    debian-12|debian-13) ;;
    *) die "this needs Debian 12 or 13, and this is ${PRETTY_NAME:-an unknown\
 system}: use a Debian container or virtual machine." ;;
    esac
    arch=$(dpkg --print-architecture)
    [ "$arch" = amd64 ] || die "this needs an amd64 machine, and this is\
 $arch: only x86_64 guests are built."
    debian=$VERSION_ID
}

# Sets as_root to what a command that needs root is prefixed with.
need_root() { # WHAT
    as_root=()
    [ "$(id -u)" != 0 ] || return 0
    command -v sudo >/dev/null ||
        die "$1 needs root: run this as root or install sudo."
    sudo -v || die "$1 needs root, and sudo refused it."
    as_root=(sudo)
    session=()  # sudo remembers the password for this terminal session only
}

# Holds $cache/lock/NAME until the script ends, or closes the descriptor "locked".
# With or-not it does not wait for another script, but fails.
locked=
lock() { # NAME [or-not]
    local fd
    mkdir -p "$cache/lock" 2>/dev/null ||
        die "cannot write to $cache: make it writable or set VIRTIO_TMEM_CACHE."
    exec {fd}>"$cache/lock/$1"
    locked=$fd
    flock -n "$fd" && return
    [ -z "${2:-}" ] || return 1
    say "waiting for another build that uses $1 in $cache"
    flock "$fd"
}

# What is running now and what is half made, so that an interrupt or an
# error leaves neither behind.
child=
grace=3     # seconds from TERM to KILL
session=(setsid)
tmp=$cache/tmp.$$
launched=      # what the last child before was, while one is being started
stop_child() {
    local n
    # A signal may come before the shell has noted whom it started.
    if [ -n "$launched" ] && [ "${!:-none}" != "$launched" ]; then child=$!; fi
    [ -n "$child" ] || return 0
    # It has no group before setsid has run.
    kill -TERM -- "-$child" 2>/dev/null || kill -TERM "$child" 2>/dev/null || true
    for ((n = 0; n < grace * 5; n++)); do
        kill -0 -- "-$child" 2>/dev/null || break
        sleep 0.2
    done
    kill -KILL -- "-$child" 2>/dev/null || true
    child=
}
trap 'stop_child; rm -rf "$tmp"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP

progress_at=
# One line about work in progress: how far ninja (or anything that prints
# [done/total]) is, and for how long.
show_progress() { # LABEL LOG START
    local at='' now=$((SECONDS - $3)) left=''
    [ "$now" != "$progress_at" ] || return 0
    progress_at=$now
    at=$(tail -c 2000 "$2" 2>/dev/null | tr '\r' '\n' |
         grep -oE '\[[0-9]+/[0-9]+\]' | tail -n 1 || true)
    if [ -n "$at" ]; then
        local n=${at#[} t=${at%]}; n=${n%/*} t=${t#*/}
        at=" $n of $t"
        ((n > 50 && t > n)) && left=", about $(elapsed $((now * (t - n) / n))) left"
    fi
    if [ -t 2 ]; then printf '\r\033[K%s:%s, %s%s' "$1" "$at" "$(elapsed $now)" "$left" >&2
    elif ((now > 0 && now % 30 == 0)); then say "$1:$at, $(elapsed $now)$left"; fi
}

# Runs COMMAND with its output in build/log/NAME.log and LABEL and progress
# on the terminal; on failure shows the end of the log, unless quietly=1.
logged() { # NAME LABEL COMMAND...
    local log=$build/log/$1.log label=$2 start=$SECONDS status=0
    shift 2
    mkdir -p "$build/log"
    launched=${!:-none}
    "${session[@]}" "$@" >"$log" 2>&1 </dev/null &
    child=$! launched=
    while kill -0 "$child" 2>/dev/null; do
        show_progress "$label" "$log" "$start"
        sleep 0.2
    done
    wait "$child" || status=$?
    child=
    [ -t 2 ] && printf '\r\033[K' >&2
    if [ $status != 0 ]; then
        [ -z "${quietly:-}" ] || return $status
        tail -n 30 "$log" >&2
        say "${0##*/}: $label failed with status $status; the whole log is $log"
        return $status
    fi
    say "$label: done in $(elapsed $((SECONDS - start)))"
}

# The files of the checkout, committed or not, below the given paths.
checkout_files() { # PATH...
    git -c safe.directory='*' -C "$top" ls-files -co --exclude-standard \
        -- "$@" | sort -u | while read -r f; do
        if [ -e "$top/$f" ] || [ -L "$top/$f" ]; then printf '%s\n' "$f"; fi
    done
}
