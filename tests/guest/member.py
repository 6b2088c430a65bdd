# SPDX-License-Identifier: GPL-2.0-or-later
"""Another guest of the storage daemon: a member of a shared pool.

It is a vhost-user front end of the daemon that also serves the guest of the
test.  The pages and their names are those of tests/guest/modules/shared-fs.c.
"""

import os
import sys
import time
import uuid as uuids

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)),
                                '../functional'))

# pylint: disable=wrong-import-position
import qmp                                                      # noqa: E402
import vhost_user as vu                                         # noqa: E402

INODE, PAGES = 42, 32
ALIEN_FIRST, ALIEN_ADD = 1000, 64
SHARED_EPHEMERAL = 3
LEAVE = 'member-leave'      # a file: it is to go
LIFETIME = 120              # seconds, if nobody says that


class Wrong(Exception):
    """What must not be."""


def daemon():
    return qmp.QMP(os.environ['STORE_DIR'] + '/store-qmp')


def authorize(client, uuid):
    with daemon() as monitor:
        monitor.cmd('tmem-authorize', store='store0', client=client, uuid=uuid)


def page(byte):
    return bytes([byte]) * vu.PAGE


def refused(front_end, uuid):
    try:
        front_end.create_pool(SHARED_EPHEMERAL, uuids.UUID(uuid).bytes)
    except OSError as e:
        if str(vu.PERM) in str(e):
            return
        raise Wrong(f'refused with another status: {e}') from e
    raise Wrong('a guest joined that was not authorised')


def exchange(front_end, pool):
    """Finds the pages of the guest, and stores some for it."""
    status, data = front_end.pages([(vu.LOAD, INODE, i, None)
                                    for i in range(PAGES)], pool)
    if status != [vu.OK] * PAGES:
        raise Wrong(f'loads of the pages of the guest answered {status}')
    if data != [page(i + 1) for i in range(PAGES)]:
        raise Wrong('a page of the guest has another content')
    status, _ = front_end.pages([(vu.STORE, INODE, ALIEN_FIRST + i,
                                  page(i + ALIEN_ADD)) for i in range(PAGES)],
                                pool)
    if status != [vu.OK] * PAGES:
        raise Wrong(f'stores answered {status}')


def join(uuid):
    """Returns the front end, whose pages go with it."""
    path = os.environ['STORE_DIR'] + '/member'
    with daemon() as monitor:
        monitor.cmd('object-add', **{
            'qom-type': 'tmem-vhost-user-server', 'id': 'member',
            'store': 'store0', 'addr': {'type': 'unix', 'path': path}})
    front_end = vu.FrontEnd(path)
    refused(front_end, uuid)
    authorize('member', uuid)
    pool = front_end.create_pool(SHARED_EPHEMERAL, uuids.UUID(uuid).bytes)
    exchange(front_end, pool)
    return front_end


def stay(front_end):
    """Until it is to leave; then nothing of it is left."""
    ends = time.monotonic() + LIFETIME
    while time.monotonic() < ends and not os.path.exists(LEAVE):
        time.sleep(0.05)
    front_end.close()
    with daemon() as monitor:
        monitor.cmd('object-del', id='member')
    os.unlink(os.environ['STORE_DIR'] + '/member')


def leave():
    with open(LEAVE, 'w', encoding='ascii'):
        pass
    ends = time.monotonic() + 30
    while os.path.exists(os.environ['STORE_DIR'] + '/member'):
        if time.monotonic() > ends:
            raise Wrong('the other guest does not leave')
        time.sleep(0.05)
    os.unlink(LEAVE)
