# SPDX-License-Identifier: GPL-2.0-or-later
"""A small NBD client: what a test needs to read, write and discard.

Newstyle handshake with NBD_OPT_GO and simple replies, see
https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md
"""

import socket
import struct

OPT_GO = 7
REP_ACK = 1
REP_INFO = 3
CMD_READ, CMD_WRITE, CMD_DISC, CMD_FLUSH, CMD_TRIM = range(5)
CMD_WRITE_ZEROES = 6


class NBDError(OSError):
    """The server answered with an error; errno is the one it sent."""


class NBD:
    """One connection to the export @name of the server at @path."""

    def __init__(self, path, name, timeout=60):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(timeout)
        self.sock.connect(path)
        magic, _, _ = struct.unpack('>8sQH', self._recv(18))
        if magic != b'NBDMAGIC':
            raise NBDError(5, f'{path} does not speak NBD')
        self.sock.sendall(struct.pack('>I', 3))
        data = (struct.pack('>I', len(name)) + name.encode() +
                struct.pack('>H', 0))
        self.sock.sendall(b'IHAVEOPT' +
                          struct.pack('>II', OPT_GO, len(data)) + data)
        self.size = None
        while True:
            _, _, kind, length = struct.unpack('>QIII', self._recv(20))
            reply = self._recv(length)
            if kind == REP_ACK:
                break
            if kind != REP_INFO:
                raise NBDError(2, f'{path} has no export {name}')
            if struct.unpack('>H', reply[:2])[0] == 0:
                self.size = struct.unpack('>Q', reply[2:10])[0]
        self.handle = 0

    def _recv(self, length):
        data = b''
        while len(data) < length:
            part = self.sock.recv(length - len(data))
            if not part:
                raise NBDError(104, 'the NBD server closed the connection')
            data += part
        return data

    def _command(self, kind, offset, length, data=b'', expected=0):
        self.handle += 1
        self.sock.sendall(struct.pack('>IHHQQI', 0x25609513, 0, kind,
                                      self.handle, offset, length) + data)
        magic, error, handle = struct.unpack('>IIQ', self._recv(16))
        assert magic == 0x67446698 and handle == self.handle
        if error:
            raise NBDError(error, f'NBD command {kind} at {offset}')
        return self._recv(expected)

    def read(self, offset, length):
        return self._command(CMD_READ, offset, length, expected=length)

    def write(self, offset, data):
        self._command(CMD_WRITE, offset, len(data), data)

    def trim(self, offset, length):
        self._command(CMD_TRIM, offset, length)

    def write_zeroes(self, offset, length):
        self._command(CMD_WRITE_ZEROES, offset, length)

    def flush(self):
        self._command(CMD_FLUSH, 0, 0)

    def close(self):
        self.sock.sendall(struct.pack('>IHHQQI', 0x25609513, 0, CMD_DISC,
                                      0, 0, 0))
        self.sock.close()
