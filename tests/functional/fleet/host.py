# SPDX-License-Identifier: GPL-2.0-or-later
"""The host of the fleet: one storage daemon, three clients, three guests."""

import os
import pathlib
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

# pylint: disable=wrong-import-position
from servers import MIB, QMP, QMPError, Server, TOP         # noqa: E402

MEMORY = 160            # MiB of RAM of each guest that is a virtual machine
DISK = 512              # MiB of its swap disk, and of the disk behind that
GREEDY, A, B = 'greedy', 'guest-a', 'guest-b'
WEIGHTS = {GREEDY: 1, A: 2, B: 3}
DOORS = {GREEDY: 'vhost-user', A: 'vhost-user-blk', B: 'vhost-user'}
TICKS = os.sysconf('SC_CLK_TCK')


def cpu_seconds(pid):
    """CPU time of a process so far, 0 if it has ended."""
    try:
        with open(f'/proc/{pid}/stat', encoding='ascii') as file:
            words = file.read().rpartition(') ')[2].split()
    except OSError:
        return 0.0
    return (int(words[11]) + int(words[12])) / TICKS


def peer_pid(path):
    """The process that listens on a socket."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(path)
        return struct.unpack('3i', sock.getsockopt(
            socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize('3i')))[0]


class Host:
    """The daemon with its store, and a door for each client."""

    def __init__(self, size):
        self.size = size
        self.server = Server('qemu-storage-daemon', '--object',
                             f'tmem-store,id=store0,size={size}')
        self.dir = self.server.dir
        self.pid = self.server.process.pid
        self.log = []
        # Nothing that a guest makes it say may block it.
        threading.Thread(target=self._listen, daemon=True).start()
        self.min_bytes = {name: size // 24 * weight
                          for name, weight in WEIGHTS.items()}
        self._open_doors()
        self.empty = {client['name']: client['stats']['bytes']
                      for client in self.query()['clients']}

    def _listen(self):
        for line in self.server.process.stderr:
            self.log = self.log[-99:] + [line.rstrip()]

    def _limits(self, name):
        return {'min-size': self.min_bytes[name], 'weight': WEIGHTS[name]}

    def _open_doors(self):
        cmd = self.server.qmp.cmd
        for name in (GREEDY, B):
            cmd('object-add', id=name, store='store0',
                **{'qom-type': 'tmem-vhost-user-server',
                   'addr': {'type': 'unix', 'path': self.path(name)},
                   'disk-size': DISK * MIB, **self._limits(name)})
        self.server.add_file('behind', DISK * MIB)
        cmd('blockdev-add', driver='tmem', store='store0', size=DISK * MIB,
            overflow='behind', **{'node-name': A, 'on-disconnect': 'drop',
                                  **self._limits(A)})
        cmd('object-add', id='io-a', **{'qom-type': 'iothread'})
        cmd('block-export-add', type='vhost-user-blk', id='export-a',
            writable=True, iothread='io-a',
            addr={'type': 'unix', 'path': self.path(A)}, **{'node-name': A})

    def path(self, name):
        return f'{self.dir}/{name}'

    def beside(self):
        """Resident bytes that the budget leaves out: buffers of the doors.

        To be asked when all doors have been in use and the store is empty.
        """
        return max(0, self.memory() - self.query()['stats']['used-bytes'])

    def rss_peak(self):
        """The most resident bytes that the daemon ever had."""
        with open(f'/proc/{self.pid}/status', encoding='ascii') as file:
            return next(int(line.split()[1]) * 1024 for line in file
                        if line.startswith('VmHWM:'))

    def memory(self):
        """Resident bytes that libtmem has from the system.

        They are mappings without a reservation of swap that say whether they
        want huge pages, which nothing else in this process says.
        """
        total = resident = 0
        with open(f'/proc/{self.pid}/smaps', encoding='ascii') as file:
            for line in file:
                word, _, rest = line.partition(':')
                if word == 'Rss':
                    resident = int(rest.split()[0]) * 1024
                elif word == 'VmFlags':
                    flags = rest.split()
                    if 'nr' in flags and ('nh' in flags or 'hg' in flags):
                        total += resident
        if not total:
            raise RuntimeError('no memory of the store is found in smaps')
        return total

    def query(self):
        return self.server.qmp.cmd('query-tmem', histograms=True)[0]

    def client(self, name):
        for client in self.query()['clients']:
            if client['name'] == name:
                return client
        return None

    def close(self):
        self.server.__exit__()


class Hostile:
    """The greedy one."""

    def __init__(self, host):
        self.log = f'{host.dir}/greedy.log'
        with open(self.log, 'wb') as log:
            self.process = subprocess.Popen(
                [HERE / 'hostile.py', host.path(GREEDY),
                 str(host.size // MIB), host.path(B)],
                stdout=log, stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL)
        self.pid = self.process.pid

    def problem(self):
        """Why it is not at work any more, or None."""
        if self.process.poll() is None:
            return None
        with open(self.log, encoding='utf-8', errors='replace') as file:
            return f'{GREEDY} has ended: {file.read().strip()[-400:]}'

    def stop(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


class Guest:
    """A virtual machine under tests/guest/run, at work until it is killed."""

    def __init__(self, host, name, work, timeout):
        self.name = name
        self.dir = f'{host.dir}/vm-{name}'
        self.pid = None
        script, arguments = ('door-a.sh', self._door_a(host)) if name == A \
            else ('door-b.sh', self._door_b(host))
        words = [word for a in arguments for word in ('--qemu', a)]
        os.mkdir(self.dir)
        with open(f'{self.dir}/log', 'wb') as log:
            self.process = subprocess.Popen(
                [TOP / 'tests/guest/run', '--kernel', '6.12', '--memory',
                 str(MEMORY), '--smp', '1',
                 '--append', f'fleet_mib={work} watchdog_thresh=60',
                 '--device', 'none',
                 '--front-end', 'none',
                 *(['--disk', str(DISK)] if name == B else []),
                 '--add', f'{HERE}/work.sh:/work.sh',
                 '--work', self.dir, '--timeout', str(timeout), '--quiet',
                 '--init', HERE / script, *words],
                stdout=log, stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL)

    @staticmethod
    def _shared_memory():
        return ['-object', 'memory-backend-memfd,id=ram0,'
                f'size={MEMORY}M,share=on', '-machine', 'memory-backend=ram0']

    def _door_a(self, host):
        return [*self._shared_memory(),
                '-chardev', f'socket,id=swap0,path={host.path(self.name)}',
                '-device', 'vhost-user-blk-pci,chardev=swap0,num-queues=1']

    def _door_b(self, host):
        return [*self._shared_memory(),
                '-chardev', f'socket,id=vu0,path={host.path(self.name)}',
                '-device', 'vhost-user-tmem-pci,id=tmem0,chardev=vu0']

    def notes(self):
        try:
            with open(f'{self.dir}/notes', encoding='utf-8') as file:
                return file.read().splitlines()
        except OSError:
            return []

    def problem(self):
        if self.process.poll() is None:
            return None
        with open(f'{self.dir}/log', encoding='utf-8',
                  errors='replace') as file:
            return f'{self.name} has ended: {file.read().strip()[-600:]}'

    def monitor(self, command):
        """One command to its QEMU, whose process is known from then on."""
        with QMP(f'{self.dir}/qmp', timeout=60) as monitor:
            monitor.cmd(command)
        if self.pid is None:
            self.pid = peer_pid(f'{self.dir}/qmp')

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(60)


def wait_until(condition, seconds, what, *watched):
    """Waits until the condition holds and whoever is watched is at work."""
    ends = time.monotonic() + seconds
    while not condition():
        for one in watched:
            if one.problem():
                raise RuntimeError(one.problem())
        if time.monotonic() > ends:
            raise RuntimeError(f'after {seconds:.0f} s still not: {what}')
        time.sleep(0.2)


__all__ = ['A', 'B', 'DOORS', 'GREEDY', 'Guest', 'Host', 'Hostile', 'MIB',
           'QMPError', 'WEIGHTS', 'cpu_seconds', 'wait_until']
