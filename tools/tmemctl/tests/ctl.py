# SPDX-License-Identifier: GPL-2.0-or-later
"""tmemctl as a user runs it, and sockets that are not QEMU's."""

import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from contextlib import contextmanager

TOP = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(TOP / 'tests/functional'))

# pylint: disable=wrong-import-position
from servers import MIB, Server, check      # noqa: E402

PROGRAM = os.environ.get('TMEMCTL', str(TOP / 'build/tmemctl-plain/tmemctl'))
# What every QEMU says first.
GREETING = (b'{"QMP": {"version": {"qemu": {"micro": 13, "minor": 0, '
            b'"major": 10}}, "capabilities": ["oob"]}}\r\n')


class Result:
    """What a run of tmemctl said."""

    def __init__(self, done):
        self.status = done.returncode
        self.out = done.stdout
        self.err = done.stderr

    @property
    def lines(self):
        return self.out.splitlines()

    @property
    def json(self):
        return json.loads(self.out)


def run(*arguments, socket=None, env=None, **options):
    """Run tmemctl; without a socket it looks for some itself."""
    command = [PROGRAM, *map(str, arguments)]
    for path in [socket] if isinstance(socket, str) else socket or []:
        command += ['--socket', path]
    env = {**os.environ, **(env or {})}
    env.setdefault('COLUMNS', '80')
    done = subprocess.run(command, stdin=subprocess.DEVNULL, env=env,
                          capture_output=True, text=True, timeout=60,
                          check=False, **options)
    check(done.returncode in (0, 1, 2),
          f'{command} ended with {done.returncode}: {done.stderr}')
    return Result(done)


def good(*arguments, **options):
    result = run(*arguments, **options)
    check(result.status == 0 and not result.err,
          f'{arguments}: status {result.status}, {result.err}')
    return result


def bad(status, text, *arguments, **options):
    """It fails with @status, and one sentence that contains @text."""
    result = run(*arguments, **options)
    check(result.status == status,
          f'{arguments}: status {result.status}, {result.err}')
    check(result.err.startswith('tmemctl: ') and result.err.count('\n') == 1
          and text in result.err, f'{arguments} says "{result.err}"')
    return result


class Fake:
    """A socket whose other side is not QEMU; @talk gets each connection."""

    def __init__(self, talk):
        self.dir = tempfile.mkdtemp(prefix='tmem-test-')
        self.path = f'{self.dir}/fake'
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen(5)
        self.talk = talk
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection:
                try:
                    self.talk(connection)
                except OSError:
                    pass

    def __enter__(self):
        return self.path

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        shutil.rmtree(self.dir)


def says(data):
    """Sends @data and waits until the other side has enough of it."""
    def talk(connection):
        connection.sendall(data)
        while connection.recv(4096):
            pass
    return talk


def answers(reply):
    """Greets as QEMU does, and has @reply for all but the negotiation."""
    def talk(connection):
        connection.sendall(GREETING)
        for line in connection.makefile('rb'):
            answer = (b'{"return": {}}' if b'qmp_capabilities' in line
                      else reply)
            connection.sendall(answer + b'\r\n')
    return talk


def answers_once(reply):
    """As answers() for one connection; later ones are closed at once."""
    talk = iter([answers(reply)])

    def once(connection):
        for first in talk:
            first(connection)
            break
    return once


def with_socket(server):
    """The tests have the first QMP socket, and tmemctl the second."""
    server.ctl = f'{server.dir}/ctl'
    return server


def daemon(size=64 * MIB):
    """A storage daemon with an empty store."""
    return with_socket(Server(
        'qemu-storage-daemon', '--object', f'tmem-store,id=s0,size={size}',
        '--chardev', 'socket,id=ctl,path={dir}/ctl,server=on,wait=off',
        '--monitor', 'ctl'))


def machine(*arguments):
    """A QEMU with an empty machine that never runs."""
    return with_socket(Server(
        'qemu-system-x86_64', '-S', '-display', 'none', '-nodefaults', '-m',
        '64', '-qmp', 'unix:{dir}/ctl,server=on,wait=off', *arguments))


def client_of(server, name='disk'):
    client = server.client(name)
    check(client, f'no client {name}')
    return client


@contextmanager
def scratch():
    path = tempfile.mkdtemp(prefix='tmem-test-')
    try:
        yield path
    finally:
        shutil.rmtree(path)
