# shellcheck shell=bash
# shellcheck disable=SC2154  # set by scripts/lib.sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Makes the initramfs of a test guest.  Sourced by run, after scripts/lib.sh.

guest_dir=$top/tests/guest

# Puts modules of a kernel, with all they need, decompressed into ROOT.  A
# name that the kernel does not have is built in or another kernel's: skipped.
install_modules() { # KERNEL-DIR ROOT NAME...
    local from=$1/modules release to file
    release=$(cat "$1/release")
    to=$2/lib/modules/$release
    shift 2
    mkdir -p "$to"
    # Only the lines of modules.dep whose own module is asked for; a line has
    # all of its dependencies, not only the direct ones.
    awk -v names="$*" '
        BEGIN { n = split(names, a, " "); while (n) want[a[n--]] = 1 }
        {
            name = $1
            sub(/:$/, "", name); sub(/.*\//, "", name); sub(/\.ko.*/, "", name)
            gsub(/-/, "_", name)
            if (name in want) { sub(/:/, ""); print }
        }' "$from/modules.dep" | tr ' ' '\n' | sort -u |
    while read -r file; do
        case "$file" in
        '') ;;
        *.xz) xz -dc "$from/$file" >"$to/$(basename "${file%.xz}")" ;;
        *.zst) zstd -qdc "$from/$file" >"$to/$(basename "${file%.zst}")" ;;
        *) cp "$from/$file" "$to/" ;;
        esac
    done
    cp "$from"/modules.{order,builtin,builtin.modinfo} "$to/"
}

# Compiles the static test programs, if need be, and puts them into ROOT.
install_programs() { # ROOT
    # One at a time: two runs that begin in a fresh tree need the same files.
    mkdir -p "$build/guest"
    flock "$guest_dir/programs" make -s -C "$guest_dir/programs" OUT="$build/guest" ||
        die "the test programs do not compile: see above."
    cp "$build/guest"/* "$1/bin/"
}

# Puts programs of this machine into /tools below ROOT, and their libraries.  To
# be called by path: the guest's shell prefers what busybox has by that name.
install_tools() { # ROOT NAME...
    local root=$1 name path file
    shift
    for name; do
        path=$(command -v "$name") ||
            die "there is no $name: run scripts/install-deps guest."
        mkdir -p "$root/tools"
        cp "$path" "$root/tools/"
        ldd "$path" | grep -oE '/[^ ]+' | while read -r file; do
            mkdir -p "$root$(dirname "$file")"
            cp -L "$file" "$root$file"
        done
    done
}

# Copies what --add SRC:DST names.
add_file() { # ROOT SRC:DST
    local source=${2%%:*} target=${2#*:}
    case "$2" in
    ?*:/?*) ;;
    *) die "--add $2: give it as SRC:DST, where DST is a path from /." ;;
    esac
    [ -e "$source" ] || die "--add $2: there is no $source."
    mkdir -p "$1/$(dirname "$target")"
    cp -rL "$source" "$1/$target"
}

# Packs ROOT into FILE.  Not compressed: under TCG the guest unpacks slower
# than QEMU reads.
pack() { # ROOT FILE
    (cd "$1" && find . -print0 | LC_ALL=C sort -z |
        cpio --null --create --format=newc --owner=0:0 --quiet) >"$2"
}

# The part of the file system that every guest has.
install_base() { # ROOT
    command -v busybox >/dev/null ||
        die "there is no busybox: run scripts/install-deps guest."
    mkdir -p "$1"/{bin,dev,etc,lib,proc,run,sys,tmp}
    ln -s bin "$1/sbin"
    cp "$(command -v busybox)" "$1/bin/busybox"
    cp "$guest_dir/init" "$1/init"
    cp "$guest_dir"/bin/* "$1/bin/"
}
