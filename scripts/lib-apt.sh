# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A private apt, one per suite, in the cache: packages and sources of other
# Debian releases without touching /etc/apt or the machine's package state.
# Sourced in place of lib.sh.

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# The mirror this machine already uses: apt is asked, because it reads every
# format of sources there is.  A Debian mirror is the one that also has the
# release's -updates, which third-party archives do not.
apt_mirror() {
    local uris mirror
    if [ -n "${VIRTIO_TMEM_MIRROR:-}" ]; then
        printf '%s\n' "${VIRTIO_TMEM_MIRROR%/}"
        return
    fi
    uris=$(apt-get update --print-uris 2>/dev/null |
           sed -n "s|^'\(.*\)/dists/\([^/]*\)/InRelease'.*|\2 \1|p")
    mirror=$(grep -E '^[a-z]+-updates ' <<<"$uris" || grep -E '^[a-z]+ ' <<<"$uris" || true)
    mirror=$(head -n 1 <<<"${mirror#* }")
    [ -n "$mirror" ] || die "this machine's apt sources name no Debian mirror:\
 add one, or set VIRTIO_TMEM_MIRROR."
    printf '%s\n' "$mirror"
}

apt_configure() { # SUITE MIRROR
    local dir=$cache/apt/$1
    mkdir -p "$dir"/{lists/partial,cache/archives/partial,state}
    : >"$dir/status"
    cat >"$dir/debian.sources" <<-END
	Types: deb deb-src
	URIs: $2
	Suites: $1
	Components: main
	Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
	END
    {
        # The machine's way to the network (proxies) is kept, its hooks are not.
        apt-config dump | grep -E '^Acquire::(https?|Retries|ForceIPv[46])\b' || true
        cat <<-END
	Dir::Etc { Main "/dev/null"; Parts "/dev/null"; SourceList "$dir/debian.sources";
	  SourceParts "/dev/null";
	  Preferences "/dev/null"; PreferencesParts "/dev/null"; };
	Dir::State "$dir/state";
	Dir::State::Status "$dir/status";
	Dir::State::Lists "$dir/lists";
	Dir::Cache "$dir/cache";
	Acquire::Languages "none";
	Acquire::Retries "3";
	APT::Sandbox::User "root";
	APT::Update::Error-Mode "any";
	END
    } >"$dir/apt.conf.new"
    # Others may be reading it.
    mv "$dir/apt.conf.new" "$dir/apt.conf"
}

in_suite() { # SUITE COMMAND...
    local suite=$1; shift
    APT_CONFIG=$cache/apt/$suite/apt.conf "$@"
}

# Fresh lists of a suite; a list younger than a day is fresh unless told.
apt_fresh() { # SUITE [now]
    [ "${2:-}" != now ] && [ -n "$(find "$cache/apt/$1/fresh" -mmin -1440 2>/dev/null)" ]
}
apt_update() { # SUITE [now]
    ! apt_fresh "$@" || return 0
    lock "apt-$1"
    local fd=$locked
    ! apt_fresh "$@" || { exec {fd}>&-; return 0; }
    apt_read_lists "$1"
    # No longer than that: this script goes on, with other locks.
    exec {fd}>&-
}

# With the lock of its lists held.
apt_read_lists() { # SUITE
    local suite=$1 dir=$cache/apt/$1 log=$build/log/apt-$1.log mirror
    mkdir -p "$build/log"
    [ -f /usr/share/keyrings/debian-archive-keyring.gpg ] ||
        die "the Debian archive keys are missing: install debian-archive-keyring."
    say "reading the package lists of Debian $suite"
    mirror=$(apt_mirror) || exit 1
    apt_configure "$suite" "$mirror"
    if in_suite "$suite" apt-get update >"$log" 2>&1; then
        touch "$dir/fresh"
        return
    fi
    if grep -qiE 'could not (resolve|connect)|unreachable|temporary failure|timed out' "$log"; then
        die "no network: $mirror cannot be reached; connect this machine, or\
 set VIRTIO_TMEM_MIRROR to a Debian mirror that can be."
    fi
    if grep -qE '404 |does not have a Release file' "$log"; then
        die "Debian $suite is not on $mirror: set VIRTIO_TMEM_MIRROR to a mirror\
 that has it; old releases move to Debian's archive."
    fi
    die "cannot read the package lists of Debian $suite from $mirror: see $log."
}

# Runs COMMAND with the apt of SUITE; if it fails, the lists may be older than
# the archive, so once more with new ones.
apt_logged() { # SUITE NAME LABEL COMMAND...
    local suite=$1
    shift
    apt_update "$suite"
    export APT_CONFIG=$cache/apt/$suite/apt.conf
    if ! quietly=1 logged "$@"; then
        apt_update "$suite" now
        logged "$@" || exit 1
    fi
    unset APT_CONFIG
}

# What a suite offers of a package: its version, or the first package that
# its Depends field names.
apt_version() { # SUITE PACKAGE
    in_suite "$1" apt-cache --no-all-versions show "$2" | sed -n 's/^Version: //p'
}
apt_source_version() { # SUITE SOURCE
    in_suite "$1" apt-cache --only-source showsrc "$2" | sed -n 's/^Version: //p' |
        sort -V | tail -n 1
}
apt_depends() { # SUITE PACKAGE
    in_suite "$1" apt-cache --no-all-versions show "$2" |
        sed -n 's/^Depends: //p' | tr ',' '\n' | sed 's/^ *//; s/[ (|].*//'
}

# Downloads packages and unpacks them into DIR.
apt_unpack() { # SUITE DIR PACKAGE...
    local suite=$1 dir=$2 deb
    shift 2
    mkdir -p "$tmp" "$dir"
    # Several may be at it at once, and each has a log.
    apt_logged "$suite" "download-${0##*/}" "downloading $* of Debian $suite" \
        env -C "$tmp" apt-get download "$@"
    for deb in "$tmp"/*.deb; do
        dpkg-deb -x "$deb" "$dir"
    done
    rm -rf "$tmp"
}

# Sets meson to the path of a meson that QEMU accepts (1.5 or later) and makes
# it importable: the machine's own, or on bookworm the one of its backports,
# unpacked in the cache.
need_meson() {
    local dir=$cache/meson
    meson=/usr/bin/meson
    if [ -x $meson ] && printf '1.5\n%s\n' "$($meson --version)" | sort -VC; then
        return
    fi
    meson=$dir/usr/bin/meson
    export PYTHONPATH=$dir/usr/lib/python3/dist-packages
    [ -e "$dir/complete" ] && return
    lock meson
    [ -e "$dir/complete" ] && return
    apt_unpack bookworm-backports "$dir" meson
    # meson looks beside itself first: found there, build.ninja files that
    # call it again work without PYTHONPATH.
    ln -sfn ../lib/python3/dist-packages/mesonbuild "$dir/usr/bin/mesonbuild"
    touch "$dir/complete"
}
