# SPDX-License-Identifier: GPL-2.0-or-later
"""The storage daemon with tmem-vhost-user-servers, and guests' pages for it."""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
TOP = HERE.parent.parent
sys.path[:0] = [str(HERE), str(TOP / 'tests/guest')]

# pylint: disable=wrong-import-position
import vhost_user as vu                     # noqa: E402
from qmp import QMP, QMPError               # noqa: E402

BIN = TOP / 'build/bin'
MIB = 1 << 20
PAGE = 4096


def check(condition, text):
    if not condition:
        raise AssertionError(text)


def soon(condition, text, seconds=60):
    ends = time.monotonic() + seconds
    while not condition():
        check(time.monotonic() < ends, text)
        time.sleep(0.02)


def ended(process, seconds):
    """Waits for the end of a process; one that does not end is killed."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired as e:
        process.kill()
        process.wait()
        raise AssertionError(f'it does not end in {seconds} s') from e


class Daemon:
    """qemu-storage-daemon with one store and any number of servers."""

    def __init__(self, store=64 * MIB, directory=None, under=(), files=(),
                 program=BIN / 'qemu-storage-daemon', stderr=None):
        """@under: a command in front of its own; @files: it inherits them."""
        self.dir = directory or tempfile.mkdtemp(prefix='tmem-vu-')
        self.own_dir = directory is None
        self.log = open(f'{self.dir}/log', 'ab+')
        self.process = subprocess.Popen(
            [*under, program, '--object',
             f'tmem-store,id=s0,size={store}', '--chardev',
             f'socket,id=q,path={self.dir}/qmp,server=on,wait=off',
             '--monitor', 'chardev=q'], stderr=stderr or self.log,
            pass_fds=files)
        for _ in range(600):
            check(self.process.poll() is None, f'no daemon: {self.said()}')
            try:
                self.qmp = QMP(f'{self.dir}/qmp', timeout=60)
                return
            except (QMPError, OSError):
                time.sleep(0.05)
        raise RuntimeError('qemu-storage-daemon does not answer')

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.qmp.close()
        if self.process.poll() is None:
            self.process.terminate()
            # With whatever connections there still are.
            ended(self.process, 30)
            check(self.process.returncode == 0,
                  f'it ended with {self.process.returncode}: {self.said()}')
        self.log.close()
        if self.own_dir:
            shutil.rmtree(self.dir)

    def said(self):
        # Not where the file is at: each write of the daemon moves that.
        fd = self.log.fileno()
        return os.pread(fd, os.fstat(fd).st_size, 0).decode()

    def path(self, name='g'):
        return f'{self.dir}/{name}.sock'

    def serve(self, name='g', **options):
        arguments = {'qom-type': 'tmem-vhost-user-server', 'id': name,
                     'store': 's0',
                     'addr': {'type': 'unix', 'path': self.path(name)}}
        arguments.update(options)
        self.qmp.cmd('object-add', **arguments)
        return self.path(name)

    def client(self, name='g'):
        for client in self.qmp.cmd('query-tmem')[0]['clients']:
            if client['name'] == name:
                return client
        return None

    def pages(self, name='g'):
        return self.client(name)['total']['pages']

    def empty(self, name='g'):
        client = self.client(name)
        return not client['total']['pages'] and not client['pools'] and \
            not client['stats']['bytes']

    def resources(self):
        proc = f'/proc/{self.process.pid}'
        return len(os.listdir(f'{proc}/fd')), len(os.listdir(f'{proc}/task'))

    def memory(self):
        """Resident bytes."""
        with open(f'/proc/{self.process.pid}/statm', encoding='ascii') as file:
            return int(file.read().split()[1]) * PAGE


def some_pages(rng, number):
    kinds = (lambda: bytes(PAGE), lambda: rng.randbytes(PAGE),
             lambda: (b'virtio-tmem %06d ' % rng.randrange(10 ** 6) *
                      256)[:PAGE])
    return [rng.choice(kinds)() for _ in range(number)]


def keep(front_end, pages, kind=0, queue=1):
    """Store pages in a new pool, of a kind as create_pool() has it."""
    pool = front_end.create_pool(kind)
    for first in range(0, len(pages), 32):
        ops = [(vu.STORE, 7, first + i, page)
               for i, page in enumerate(pages[first:first + 32])]
        check(front_end.pages(ops, pool, queue)[0] == [vu.OK] * len(ops),
              'a store was refused')
    return pool


def use(front_end, rng, number=64, queue=1):
    """Store pages, look at them, and leave them there; returns the pool."""
    pages = some_pages(rng, number)
    pool = keep(front_end, pages, queue=queue)
    look(front_end, pool, pages, queue)
    return pool, pages


def look(front_end, pool, pages, queue=1):
    for first in range(0, len(pages), 32):
        wanted = pages[first:first + 32]
        status, got = front_end.pages(
            [(vu.LOAD, 7, first + i, None) for i in range(len(wanted))], pool,
            queue)
        check(status == [vu.OK] * len(wanted), f'loads answered {status}')
        check(got == wanted, 'a load returned other data')
