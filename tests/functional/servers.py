# SPDX-License-Identifier: GPL-2.0-or-later
"""Real processes of QEMU's for tests: qemu-storage-daemon and qemu-system-*."""

import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
TOP = HERE.parent.parent
sys.path[:0] = [str(HERE), str(TOP / 'tests/guest')]

# pylint: disable=wrong-import-position
from nbd import NBD, NBDError               # noqa: E402
from qmp import QMP, QMPError               # noqa: E402

BIN = TOP / 'build/bin'
MIB = 1 << 20
PAGE = 4096


class Server:
    """A process of QEMU's with a QMP socket, and its directory."""

    def __init__(self, program, *arguments):
        self.dir = tempfile.mkdtemp(prefix='tmem-test-')
        self.socket = f'{self.dir}/qmp'
        self.program = program
        self.arguments = [str(a).replace('{dir}', self.dir) for a in arguments]
        self.start()

    def start(self):
        qmp = (['-qmp', f'unix:{self.socket},server=on,wait=off']
               if 'qemu-system' in self.program else
               ['--chardev',
                f'socket,id=q,path={self.socket},server=on,wait=off',
                '--monitor', 'chardev=q'])
        self.process = subprocess.Popen(
            [BIN / self.program, *qmp, *self.arguments],
            stderr=subprocess.PIPE, text=True)
        for _ in range(600):
            if self.process.poll() is not None:
                shutil.rmtree(self.dir)
                raise RuntimeError(self.process.stderr.read())
            try:
                self.qmp = QMP(self.socket, timeout=60)
                return
            except (QMPError, OSError):
                time.sleep(0.05)
        raise RuntimeError(f'{self.program} does not answer')

    def kill(self):
        """It dies at once, as in a crash, and start() begins a new one."""
        self.qmp.close()
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(30)
        self.process.stderr.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.qmp.close()
        self.process.terminate()
        self.process.wait(30)
        self.process.stderr.close()
        shutil.rmtree(self.dir)

    def add_disk(self, **options):
        """A tmem node behind an NBD export; returns a client of it."""
        name = options.setdefault('node-name', 'disk')
        self.qmp.cmd('blockdev-add', driver='tmem', **options)
        path = f'{self.dir}/nbd'
        if not os.path.exists(path):
            self.qmp.cmd('nbd-server-start',
                         addr={'type': 'unix', 'data': {'path': path}})
        self.qmp.cmd('block-export-add', type='nbd', id=f'export-{name}',
                     **{'node-name': name, 'writable': True, 'name': name})
        return NBD(path, name)

    def remove_disk(self, nbd, name='disk'):
        nbd.close()
        export = f'export-{name}'
        self.qmp.cmd('block-export-del', id=export, mode='hard')
        ends = time.monotonic() + 60
        # Others may stay.
        while export in [e['id'] for e in self.qmp.cmd('query-block-exports')]:
            check(time.monotonic() < ends, f'{export} stays')
            time.sleep(0.05)
        self.qmp.cmd('blockdev-del', **{'node-name': name})

    def add_file(self, name, size):
        path = f'{self.dir}/{name}'
        with open(path, 'wb') as file:
            file.truncate(size)
        self.qmp.cmd('blockdev-add', driver='file', filename=path,
                     **{'node-name': name})

    def wait_event(self, name, **data):
        """The event arrives soon, with that data at least."""
        ends = time.monotonic() + 60
        while True:
            for event in list(self.qmp.events):
                if (event['event'] == name and
                        data.items() <= event['data'].items()):
                    self.qmp.events.remove(event)
                    return event['data']
            check(time.monotonic() < ends,
                  f'no {name} with {data} in {list(self.qmp.events)}')
            time.sleep(0.05)
            self.qmp.cmd('query-version')

    def client(self, name='disk'):
        for store in self.qmp.cmd('query-tmem'):
            for client in store['clients']:
                if client['name'] == name:
                    return client
        return None


def daemon(size=64 * MIB):
    return Server('qemu-storage-daemon', '--object',
                  f'tmem-store,id=s0,size={size}')


class Skip(Exception):
    """Why a case cannot run on this machine."""


def check(condition, text):
    if not condition:
        raise AssertionError(text)


def expect_error(number, function, *arguments):
    try:
        function(*arguments)
    except NBDError as e:
        check(e.errno == number, f'errno {e.errno} instead of {number}')
    else:
        raise AssertionError('no error')


def refuse(text, function, *arguments, **named):
    """The command is refused with a sentence that contains @text."""
    try:
        function(*arguments, **named)
    except (QMPError, RuntimeError) as e:
        check(text in str(e), f'"{e}" does not say "{text}"')
    else:
        raise AssertionError(f'not refused: "{text}"')


def run_cases(names, comment=''):
    """Runs the functions case_* of the program that are wanted, as TAP."""
    cases = {name[5:].replace('_', '-'): function
             for name, function in names.items() if name.startswith('case_')}
    wanted = sys.argv[1:] or list(cases)
    unknown = [name for name in wanted if name not in cases]
    if unknown:
        sys.exit(f'no case {unknown[0]}: there are {", ".join(cases)}')
    print(f'1..{len(wanted)}{comment}', flush=True)
    failed = 0
    for number, name in enumerate(wanted, 1):
        try:
            cases[name]()
            print(f'ok {number} {name}', flush=True)
        except Skip as e:
            print(f'ok {number} {name} # SKIP {e}', flush=True)
        except (AssertionError, OSError, QMPError, RuntimeError) as e:
            failed += 1
            text = f'{type(e).__name__}: {e}'.replace('\n', '\n# ')
            print(f'# {text}\nnot ok {number} {name}', flush=True)
    sys.exit(bool(failed))
