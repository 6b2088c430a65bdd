#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A small QMP client: the host side of the guest tests and of the demo.

As a program it runs one command and prints what it returns:

    qmp.py SOCKET query-status
    qmp.py SOCKET qom-get '{"path": "/machine", "property": "type"}'
"""

import collections
import json
import socket
import sys


class QMPError(Exception):
    """QEMU refused a command, or is not there to be asked."""


class QMP:
    """One connection to a QMP server on a UNIX socket."""

    def __init__(self, path, timeout=10):
        self.path = path
        self.events = collections.deque(maxlen=1000)
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(timeout)
        try:
            self.sock.connect(path)
            self.file = self.sock.makefile('rw', encoding='utf-8')
            if 'QMP' not in self._read():
                raise QMPError(f'{path} does not speak QMP')
            self.cmd('qmp_capabilities')
        except OSError as e:
            self.sock.close()
            raise QMPError(f'no QEMU answers on {path}: {e}') from e
        except QMPError:
            self.sock.close()
            raise

    def _read(self):
        line = self.file.readline()
        if not line:
            raise QMPError(f'QEMU closed {self.path}')
        try:
            return json.loads(line)
        except ValueError as e:
            raise QMPError(f'{self.path} sent no JSON: {line[:80]!r}') from e

    def cmd(self, name, /, **arguments):
        """Run a command; events that arrive in between go to self.events."""
        request = {'execute': name}
        if arguments:
            request['arguments'] = arguments
        try:
            self.file.write(json.dumps(request) + '\n')
            self.file.flush()
            while True:
                answer = self._read()
                if 'return' in answer:
                    return answer['return']
                if 'error' in answer:
                    raise QMPError(f"{name}: {answer['error']['desc']}")
                self.events.append(answer)
        except OSError as e:
            raise QMPError(f'{name}: {e}') from e

    def close(self):
        # The socket is open as long as its file is.
        self.file.close()
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def main():
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__.strip())
    try:
        arguments = json.loads(sys.argv[3]) if len(sys.argv) == 4 else {}
        with QMP(sys.argv[1]) as qmp:
            print(json.dumps(qmp.cmd(sys.argv[2], **arguments), indent=2))
    except (QMPError, ValueError, TypeError) as e:
        sys.exit(f'qmp.py: {e}')


if __name__ == '__main__':
    main()
