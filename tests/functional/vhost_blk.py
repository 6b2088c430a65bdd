# SPDX-License-Identifier: GPL-2.0-or-later
"""The front end of a vhost-user-blk export of a tmem node."""

import struct

from servers import MIB, PAGE, check
from vhost_user import F_PROTOCOL_FEATURES, F_VERSION_1, FrontEnd

FEATURES = F_VERSION_1 | F_PROTOCOL_FEATURES
(BLK_IN, BLK_OUT, BLK_DISCARD, BLK_ZEROES) = 0, 1, 11, 13
BLK_OK, BLK_ERROR = 0, 1


class Disk(FrontEnd):
    """The front end of a vhost-user-blk export."""

    def request(self, kind, page, data=b'', queue=0):
        """One request for one page; its status, and what was read."""
        out = struct.pack('<IIQ', kind, 0, page * (PAGE // 512)) + data
        room = PAGE if kind == BLK_IN else 0
        answer = self.submit(queue, out, room + 1)
        return answer[room], answer[:room]

    def read(self, page, queue=0):
        return self.request(BLK_IN, page, queue=queue)

    def write(self, page, data):
        status, _ = self.request(BLK_OUT, page, data)
        check(status == BLK_OK, f'a write was answered {status}')

    def forget(self, kind, page):
        """A discard, or zeroes, of one page."""
        status = self.forget_sectors(kind, page * (PAGE // 512), PAGE // 512)
        check(status == BLK_OK, f'request {kind} was answered {status}')

    def forget_sectors(self, kind, sector, sectors):
        """The same for some sectors; the status."""
        return self.request(kind, 0, struct.pack('<QII', sector, sectors, 0))[0]


def export(server, name='disk', queues=2, iothread=None, size=8 * MIB, **node):
    """A tmem node behind vhost-user-blk; returns the path of its socket."""
    thread = {'iothread': iothread} if iothread else {}
    path = f'{server.dir}/{name}.sock'
    server.qmp.cmd('blockdev-add', driver='tmem', store='s0', size=size,
                   **{'node-name': name, **node})
    server.qmp.cmd('block-export-add', type='vhost-user-blk', writable=True,
                   id=name, addr={'type': 'unix', 'path': path},
                   **{'node-name': name, 'num-queues': queues}, **thread)
    return path
