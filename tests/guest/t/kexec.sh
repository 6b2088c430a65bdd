# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Another kernel takes over while pages are held and requests are on their way:
# by kexec, or after a crash.  It finds a device that knows nothing of the last
# one, and the host keeps nothing.  To be added: /vmlinuz, the kernel.  Which of
# the two it is says the command line: takeover=now or takeover=crash.

set -e
modprobe virtio_tmem frontswap=0
mkswap /dev/vtmem0 >/dev/null
swapon /dev/vtmem0
# The same initramfs again, with another script: of two archives one after the
# other the second wins.
mkdir -p /run/second
cat >/run/second/test <<'END'
set -e
echo "the second kernel: $(cat /proc/cmdline)"
grep -q second /proc/cmdline
modprobe virtio_tmem frontswap=0
checkpoint pages-at-most 0
head -c 8388608 /dev/vtmem0 | tr -d '\000' | wc -c | grep -qx 0
mkswap /dev/vtmem0 >/dev/null
swapon /dev/vtmem0
pressure --passes 1
swapoff /dev/vtmem0
rmmod virtio_tmem
checkpoint pages-at-most 0
checkpoint sane
END
(cd / && { printf '%s\n' dev proc run sys tmp sbin && find bin lib etc init test; } |
    cpio -o -H newc >/run/initrd 2>/dev/null)
(cd /run/second && echo test | cpio -o -H newc >>/run/initrd 2>/dev/null)
read -r words </proc/cmdline
how=${words##*takeover=}
how=${how%% *}
words="${words%%takeover=*} second"
if [ "$how" = crash ]; then
    dmesg | grep -i 'crashkernel reserved'
    kexec-boot crash /vmlinuz /run/initrd "$words nr_cpus=1"
fi

pressure --passes 50 &
until [ "$(awk '$1 == "pswpin" { print $2 }' /proc/vmstat)" -gt 500 ]; do usleep 100000; done
if [ "$how" = crash ]; then
    echo 'expect sysrq triggered crash' >/dev/ttyS1
    # The answer to this says that the line before has been read.
    checkpoint sane
    echo c >/proc/sysrq-trigger
fi
kexec-boot now /vmlinuz /run/initrd "$words"
