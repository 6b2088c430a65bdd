# shellcheck shell=bash
# shellcheck disable=SC2154  # set by run and by scripts/lib.sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Chooses between KVM and TCG.  Sourced by run, after lib-initramfs.sh.
#
# A /dev/kvm that opens says little: in nested set-ups it may hang or stop
# with an internal error.  So a guest with this very kernel is tried once, with
# a time limit, and the verdict is kept in the cache.

kvm_trial_seconds=20

# A guest whose only deed is to say that it lives.  Sets accel, and fails if
# QEMU itself failed: that is no verdict on this kernel to remember.
kvm_trial() {
    local status=0
    local root=$tmp/trial
    install_base "$root"
    cat >"$root/init" <<-'END'
	#!/bin/busybox sh
	/bin/busybox mount -t devtmpfs devtmpfs /dev
	echo alive >/dev/ttyS0
	/bin/busybox sleep 1
	/bin/busybox poweroff -f
	END
    pack "$root" "$tmp/trial.initramfs"
    timeout -k 1 $kvm_trial_seconds "$qemu" -nodefaults -no-user-config \
        -no-reboot -display none -machine q35 -accel kvm -cpu host -m 128 \
        -kernel "$kernel_dir/vmlinuz" -initrd "$tmp/trial.initramfs" \
        -append "console=ttyS0 quiet panic=-1" \
        -serial "file:$tmp/trial.out" </dev/null >/dev/null 2>&1 &
    background=$!
    wait "$background" || status=$?
    background=
    rm -rf "$root" "$tmp/trial.initramfs"
    grep -q alive "$tmp/trial.out" 2>/dev/null && accel=kvm
    case $status in
    0|124|137) ;;   # it ended by itself, or by the time limit
    *) [ "$accel" = kvm ] ;;
    esac
}

# Sets accel to kvm or tcg.
choose_accel() {
    local verdict
    [ "$accel" = auto ] || return 0
    accel=tcg
    { [ -r /dev/kvm ] && [ -w /dev/kvm ]; } || return 0
    # Another host kernel or processor is another answer.
    verdict=$cache/kvm/$( { cat "$kernel_dir/release"; uname -r
        grep -m 1 '^model name' /proc/cpuinfo; } | sha256sum | cut -c 1-16)
    if [ ! -e "$verdict" ]; then
        mkdir -p "$cache/kvm"
        say "trying KVM once with Linux $kernel, at most $kvm_trial_seconds seconds"
        ! kvm_trial || echo "$accel" >"$verdict"
        say "KVM trial: guests of Linux $kernel run with $accel"
        return
    fi
    accel=$(cat "$verdict")
}
