# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The guest of apparmor: storage daemon and QEMU under the package's rules.

set -e
bin=/usr/lib/virtio-tmem/bin
PATH=$PATH:/usr/bin
fail() { echo "$*"; exit 1; }
wait_for() { # SOCKET
    local tries=0
    until [ -S "$1" ]; do
        tries=$((tries + 1))
        [ $tries -lt 300 ] || fail "in 30 seconds $1 did not come"
        usleep 100000
    done
}
confined() { # PID PROFILE
    local label
    read -r label <"/proc/$1/attr/current"
    [ "$label" = "$2 (enforce)" ] || fail "process $1 runs as '$label'"
}
denials() { dmesg | grep -F 'apparmor="DENIED"' || true; }
no_denials() {
    local found
    found=$(denials)
    [ -z "$found" ] || fail "$1 was denied: $found"
}

mount -t securityfs securityfs /sys/kernel/security
# The kernel tells each of them, and not only the first ten of a second.
echo on >/proc/sys/kernel/printk_devkmsg
mkdir -p /etc/apparmor
: >/etc/apparmor/parser.conf
for rules in daemon guest; do
    apparmor_parser --add --skip-cache --base /apparmor.d "/apparmor.d/$rules"
done

# All doors of a daemon, overflow to a file, and the host's pressure.
mkdir -p /run/tmem-store /var/lib/tmem-store
dd if=/dev/zero of=/var/lib/tmem-store/overflow bs=1M count=16 2>/dev/null
echo secret >/secret
daemon() {
    exec $bin/qemu-storage-daemon --object tmem-store,id=store0,size=64M,pressure-stall=100 "$@"
}
daemon --blockdev file,node-name=file0,filename=/var/lib/tmem-store/overflow \
    --blockdev tmem,node-name=disk0,store=store0,size=16M,overflow=file0 \
    --export vhost-user-blk,id=e0,node-name=disk0,writable=on,addr.type=unix,addr.path=/run/tmem-store/disk0 \
    --nbd-server addr.type=unix,addr.path=/run/tmem-store/nbd \
    --export nbd,id=e1,node-name=disk0 \
    --object tmem-vhost-user-server,id=guest2,store=store0,addr.type=unix,addr.path=/run/tmem-store/guest2 \
    --chardev socket,id=q,path=/run/tmem-store/qmp,server=on,wait=off --monitor chardev=q &
daemon=$!
wait_for /run/tmem-store/qmp
wait_for /run/tmem-store/guest2
confined $daemon virtio-tmem-storage-daemon
tmemctl --socket /run/tmem-store/qmp list
no_denials "the storage daemon"

# A QEMU with a device of its own and another whose pages are in the daemon.
$bin/qemu-system-x86_64 -nodefaults -no-user-config -display none -M q35,accel=tcg -m 64 -S \
    -object memory-backend-memfd,id=ram0,size=64M,share=on -machine memory-backend=ram0 \
    -object tmem-store,id=store1,size=64M,pressure-stall=100 \
    -device virtio-tmem,store=store1,client=guest1,disk-size=64M \
    -chardev socket,id=vu0,path=/run/tmem-store/guest2 -device vhost-user-tmem-pci,chardev=vu0 \
    -qmp unix:/run/guest1.qmp,server=on,wait=off &
guest=$!
wait_for /run/guest1.qmp
confined $guest guest
tmemctl --socket /run/guest1.qmp list
no_denials "QEMU"
kill $guest $daemon
wait
no_denials "their end"

# The rules are in force.
if (daemon --blockdev file,node-name=f,filename=/secret,read-only=on --daemonize) 2>/run/said; then
    fail "the daemon reads what is not its own"
fi
cat /run/said
grep -q 'Permission denied' /run/said
denials | grep -qF 'name="/secret"' || fail "AppArmor has not denied it"
