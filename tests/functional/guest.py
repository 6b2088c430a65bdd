# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest of a QEMU that is not ours, on a disk of our storage daemon.

The guest runs a script under tests/guest/run; its checkpoints are answered by
the test, which holds the daemon.
"""

import contextlib
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time

from servers import BIN, QMP, Server, TOP, check

STOCK_QEMU = '/usr/bin/qemu-system-x86_64'
MEMORY = 192        # MiB of the guest's RAM


def export_daemon(*node, size='512M'):
    """A daemon with one node "swap0" behind vhost-user-blk, at {dir}/swap0."""
    node = ','.join(('tmem,node-name=swap0,store=s0,size=1G', *node))
    return Server(
        'qemu-storage-daemon', '--object', f'tmem-store,id=s0,size={size}',
        '--blockdev', node,
        '--export', 'vhost-user-blk,id=export0,node-name=swap0,writable=on,'
        'num-queues=2,addr.type=unix,addr.path={dir}/swap0')


def nbd_daemon():
    """A daemon with one node "swap0" behind NBD, at {dir}/nbd."""
    return Server(
        'qemu-storage-daemon', '--object', 'tmem-store,id=s0,size=512M',
        '--blockdev', 'tmem,node-name=swap0,store=s0,size=1G',
        '--nbd-server', 'addr.type=unix,addr.path={dir}/nbd',
        '--export', 'nbd,id=export0,node-name=swap0,name=swap0,writable=on')


def stock_qemu(program=STOCK_QEMU):
    """What makes tests/guest/run use the distribution's QEMU and no device."""
    return ['--qemu-binary', program, '--device', 'none',
            '--front-end', 'none', '--memory', str(MEMORY)]


def vhost_user_disk(path):
    """The guest's RAM must be shared with the daemon: memfd, share=on."""
    words = ['-object', f'memory-backend-memfd,id=mem,size={MEMORY}M,share=on',
             '-machine', 'memory-backend=mem',
             '-chardev', f'socket,id=swap0,path={path},reconnect=1',
             '-device', 'vhost-user-blk-pci,chardev=swap0,num-queues=2']
    return [word for argument in words for word in ('--qemu', argument)]


def nbd_disk(path):
    """The same for a node behind an NBD export, as virtio-blk."""
    words = ['-blockdev', 'nbd,node-name=swap0,server.type=unix,'
             f'server.path={path},export=swap0,discard=unmap',
             '-device', 'virtio-blk-pci,drive=swap0,werror=report']
    return [word for argument in words for word in ('--qemu', argument)]


def inner_disk():
    """Our QEMU with a store and a node of its own, as virtio-blk."""
    words = ['-object', 'tmem-store,id=s0,size=512M',
             '-blockdev', 'tmem,node-name=swap0,store=s0,size=1G',
             '-device', 'virtio-blk-pci,drive=swap0,werror=report']
    return [word for argument in words for word in ('--qemu', argument)]


class Inside:
    """In the place of a daemon: the QEMU that runs the guest."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix='tmem-test-')
        self.guest_dir = f'{self.dir}/guest'
        self.connection = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.connection:
            self.connection.close()
        shutil.rmtree(self.dir)

    @property
    def qmp(self):
        if not self.connection:
            self.connection = QMP(f'{self.guest_dir}/qmp', timeout=60)
        return self.connection


class Checks:
    """What the guest may ask of the test; words become method names."""

    def __init__(self, server):
        self.server = server
        self.records = {}
        self.peak = 0
        self.asker = 0      # process that the guest's checkpoint runs

    def total(self):
        stores = self.server.qmp.cmd('query-tmem')
        return stores[0]['clients'][0]['total']

    def take(self, name, *counters):
        guest = dict(word.split('=') for word in counters)
        self.records[name] = self.total(), {k: int(v) for k, v in guest.items()}
        return name

    def agree(self, before, after):
        """Each page that the guest counted is one that the daemon counted."""
        said = []
        for ours, theirs in ('stores-ok', 'pswpout'), ('loads-hit', 'pswpin'):
            host = self.records[after][0][ours] - self.records[before][0][ours]
            guest = (self.records[after][1][theirs] -
                     self.records[before][1][theirs])
            check(host == guest > 1000, f'{ours} {host}, {theirs} {guest}')
            said.append(f'{ours} and {theirs} {host}')
        return ', '.join(said)

    def pages_up(self, least):
        self.peak = self.total()['pages']
        check(self.peak >= int(least), f'{self.peak} pages')
        return f'{self.peak} pages'

    def pages_down(self):
        # Linux discards a freed slot when all of its cluster (2 MiB) are free.
        return self.pages_at_most(self.peak - 1000)

    def pages_at_most(self, most):
        # A guest discards what it has freed when it has nothing else to do.
        ends = time.monotonic() + 40
        while (pages := self.total()['pages']) > int(most):
            check(time.monotonic() < ends, f'{pages} pages are left')
            time.sleep(0.05)
        return f'{pages} pages'

    def restart(self):
        """The daemon dies, and comes back empty."""
        self.server.kill()
        self.server.start()
        return 'the daemon was killed and started again'

    def die(self):
        """The guest's QEMU dies; which is the other child of our asker's
        parent."""
        with open(f'/proc/{self.asker}/stat', encoding='ascii') as file:
            parent = file.read().rpartition(') ')[2].split()[1]
        listed = subprocess.run(['ps', '-o', 'pid=,comm=', '--ppid', parent],
                                stdout=subprocess.PIPE, check=True, text=True)
        pids = [int(line.split()[0]) for line in listed.stdout.splitlines()
                if 'qemu' in line.split()[1]]
        check(len(pids) == 1, f'there is not one QEMU: {listed.stdout}')
        os.kill(pids[0], signal.SIGKILL)
        return f'QEMU {pids[0]} was killed'

    def answer(self, conn):
        credentials = conn.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED,
                                      struct.calcsize('3i'))
        self.asker = struct.unpack('3i', credentials)[0]
        words = conn.makefile().readline().rstrip('\n').split('\0')
        try:
            said = getattr(self, words[0].replace('-', '_'))(*words[1:])
            conn.sendall(f'0 {said}'.encode())
        except Exception as e:      # pylint: disable=broad-except
            conn.sendall(f'1 {type(e).__name__}: {e}'.encode())


@contextlib.contextmanager
def answering(checks):
    """Answers checkpoints meanwhile; yields the environment for the guest."""
    path = f'{checks.server.dir}/ask'
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(4)

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    conn = listener.accept()[0]
                    with conn:
                        checks.answer(conn)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield dict(os.environ, TMEM_TEST_SOCKET=path)
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
    os.unlink(path)


def command(script, *arguments, kernel='6.12', timeout=380):
    return [TOP / 'tests/guest/run', '--kernel', kernel, '--init', script,
            '--timeout', str(timeout), '--host-check',
            TOP / 'tests/functional/ask', *arguments]


def run(checks, script, *arguments, status=0, **named):
    """Runs the guest to its end, to be @status; returns what it said."""
    with answering(checks) as environment:
        done = subprocess.run(command(script, *arguments, **named),
                              env=environment, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, check=False)
    lines = done.stdout.splitlines()
    said = [line for line in lines if not re.match(r'\[ *\d+\.\d+\]', line)]
    # What is not the kernel's comes last: a log is read from its end.
    check(done.returncode == status,
          f'the guest ended with {done.returncode}:\n' +
          '\n'.join([*lines[-40:], 'without what the kernel said:',
                     *said[-15:]]))
    return said
