# SPDX-License-Identifier: GPL-2.0-or-later
"""A libvirtd of the test's own, without systemd, and virsh.

The daemon's configuration, state and logs are in file systems that only it and
its children see: call in_own_mounts() first.  Needs root.
"""

import contextlib
import os
import pathlib
import subprocess
import sys
import time

OWN = ('/etc/libvirt', '/var/lib/libvirt', '/var/log/libvirt',
       '/var/cache/libvirt', '/run/libvirt')
# Without systemd, cgroups and the users of a real host.
QEMU_CONF = '''
user = "root"
group = "root"
security_driver = "none"
cgroup_controllers = []
namespaces = []
remember_owner = 0
stdio_handler = "file"
'''
VIRSH = ['virsh', '-q', '-c', 'qemu:///system']


def in_own_mounts():
    """Goes on where mounts are seen by this process and its children only."""
    if os.environ.pop('TMEM_TEST_OWN_MOUNTS', None) is None:
        os.environ['TMEM_TEST_OWN_MOUNTS'] = 'yes'
        os.execvp('unshare', ['unshare', '-m', '--propagation', 'private',
                              sys.executable, *sys.argv])


def virsh(*words, **named):
    """What virsh says; CalledProcessError if it fails."""
    return subprocess.run([*VIRSH, *words], check=True, text=True,
                          stdout=subprocess.PIPE, **named).stdout


def wait_for_socket(daemon):
    """Until @daemon can be asked; RuntimeError if it cannot be."""
    ends = time.monotonic() + 60
    while not os.path.exists('/run/libvirt/libvirt-sock'):
        if daemon.poll() is not None or time.monotonic() > ends:
            log = pathlib.Path('/var/log/libvirt/daemon').read_text(
                encoding='utf-8')
            raise RuntimeError(f'libvirtd did not come up:\n{log}')
        time.sleep(0.1)


@contextlib.contextmanager
def libvirtd(domain):
    """A libvirtd; @domain is ended with it."""
    for path in OWN:
        os.makedirs(path, exist_ok=True)
        subprocess.run(['mount', '-t', 'tmpfs', 'tmpfs', path], check=True)
    pathlib.Path('/etc/libvirt/qemu.conf').write_text(QEMU_CONF,
                                                      encoding='ascii')
    with open('/var/log/libvirt/daemon', 'wb') as log:
        # Another test may have one at the same time, or this machine its own.
        daemon = subprocess.Popen(['libvirtd', '-p', '/run/libvirt/pid'],
                                  stdout=log, stderr=log)
    try:
        wait_for_socket(daemon)
        yield
    finally:
        subprocess.run([*VIRSH, 'destroy', domain], stderr=subprocess.DEVNULL,
                       check=False)
        daemon.terminate()
        daemon.wait(30)
