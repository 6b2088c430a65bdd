# SPDX-License-Identifier: GPL-2.0-or-later
"""A service manager that keeps files, and the storage daemon as its service.

It speaks as much of systemd's protocol as sd_notify(3) and sd_listen_fds(3)
tell of the file descriptor store.
"""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

from qmp import QMP, QMPError
from servers import BIN, MIB, check

# The files get the numbers from 3 on, and LISTEN_PID is who it is exec'ed by.
LAUNCH = r'''
n=3
for fd in $TEST_FDS; do
    eval "exec $n<&$fd $fd<&-"
    n=$((n + 1))
done
export LISTEN_PID=${TEST_PID:-$$}
exec "$@"
'''


class Supervisor:
    """Starts and restarts one daemon; keeps the files that it hands over."""

    def __init__(self, *arguments, size=64 * MIB, handover='fdstore',
                 store=''):
        self.dir = tempfile.mkdtemp(prefix='tmem-life-')
        self.arguments = [a.replace('{dir}', self.dir) for a in arguments]
        self.size = size
        self.handover = handover
        self.store = store
        self.without_store = False
        self.files = []             # (name, number)
        self.env = {}
        self.process = None
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(f'{self.dir}/notify')
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()
        self.log = open(f'{self.dir}/log', 'ab+')

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process and self.process.poll() is None:
            self.kill()
        self.notify.shutdown(socket.SHUT_RD)
        self.reader.join(10)
        self.notify.close()
        for _, fd in self.files:
            os.close(fd)
        self.log.close()
        shutil.rmtree(self.dir)

    def read(self):
        """What a manager does with the messages of its service."""
        while True:
            data, fds, _, _ = socket.recv_fds(self.notify, 4096, 16)
            if not data:
                return
            lines = dict(line.split('=', 1)
                         for line in data.decode().splitlines())
            name = lines.get('FDNAME', 'stored')
            if lines.get('FDSTORE') == '1':
                self.files += [(name, fd) for fd in fds]
                fds = []
            if lines.get('FDSTOREREMOVE') == '1':
                for file in [f for f in self.files if f[0] == name]:
                    self.files.remove(file)
                    os.close(file[1])
            for fd in fds:          # BARRIER
                os.close(fd)

    def command(self):
        handover = f',handover={self.handover}' if self.handover else ''
        store = [] if self.without_store else [
            '--object',
            f'tmem-store,id=s0,size={self.size}{handover}{self.store}']
        return [BIN / 'qemu-storage-daemon', '--chardev',
                f'socket,id=q,path={self.dir}/qmp,server=on,wait=off',
                '--monitor', 'chardev=q', *store, *self.arguments]

    def launch(self):
        env = dict(os.environ, NOTIFY_SOCKET=f'{self.dir}/notify',
                   TEST_FDS=' '.join(str(fd) for _, fd in self.files),
                   LISTEN_FDS=str(len(self.files)),
                   LISTEN_FDNAMES=':'.join(name for name, _ in self.files))
        env.update(self.env)
        self.process = subprocess.Popen(
            ['bash', '-c', LAUNCH, 'bash', *self.command()], stderr=self.log,
            env={k: v for k, v in env.items() if v is not None},
            pass_fds=[fd for _, fd in self.files])

    def start(self):
        self.launch()
        for _ in range(600):
            check(self.process.poll() is None, f'no daemon: {self.said()}')
            try:
                self.qmp = QMP(f'{self.dir}/qmp', timeout=60)
                return self
            except (QMPError, OSError):
                time.sleep(0.05)
        raise RuntimeError('qemu-storage-daemon does not answer')

    def fail(self, text):
        """It does not start, and says why."""
        self.launch()
        check(self.process.wait(30), 'it ended as if all were well')
        check(text in self.said(), f'"{text}" is not in "{self.said()}"')

    def stop(self):
        """As on "systemctl restart": an orderly end."""
        self.qmp.close()
        self.process.send_signal(signal.SIGTERM)
        check(self.process.wait(30) == 0,
              f'it ended with {self.process.returncode}: {self.said()}')

    def kill(self):
        self.qmp.close()
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(30)

    def expect_no_files(self):
        """The daemon took over, and told the manager to forget the file."""
        ends = time.monotonic() + 60
        while self.files:
            check(time.monotonic() < ends, f'{self.files} may be used twice')
            time.sleep(0.01)

    def said(self):
        # Not where the file is at: each write of the daemon moves that.
        fd = self.log.fileno()
        return os.pread(fd, os.fstat(fd).st_size, 0).decode()

    def clients(self):
        return {client['name']: client for store in self.qmp.cmd('query-tmem')
                for client in store['clients']}

    def overhead(self):
        return self.qmp.cmd('query-tmem')[0]['stats']['overhead-bytes']

    def pages(self, name):
        return self.clients()[name]['total']['pages']

    def waiting(self):
        """What waits for doors that are not there, after a look at the sums."""
        store, = self.qmp.cmd('query-tmem')
        stats, waiting = store['stats'], store['waiting']
        check((stats['waiting-doors'], stats['waiting-pages'],
               stats['waiting-bytes']) ==
              (len(waiting), sum(w['pages'] for w in waiting),
               sum(w['held-bytes'] for w in waiting)), f'{store}')
        check(stats['waiting-bytes'] <= stats['overhead-bytes'], f'{stats}')
        return {f"{w['door']}:{w['name']}": w for w in waiting}
