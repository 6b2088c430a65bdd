#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A greedy and hostile guest: a vhost-user front end in a process of its own.

    hostile.py SOCKET MIB VICTIM-SOCKET

It stores pages that do not compress, twice MIB of them under handles at random,
as fast as it can and without ever giving one back, and asks for some of them to
be loaded again.  Among these are requests that make no sense, operations on
pools that are not its own, notifications of nothing, and connections to the
server of another guest.  Ends with status 1 if a load brings a wrong page.
"""

import pathlib
import random
import socket
import struct
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

# pylint: disable=wrong-import-position
import vhost_user as vu                                     # noqa: E402

BATCH = 32
OBJECT_PAGES = 256


class Greedy:
    """What it has stored, as far as it was told."""

    def __init__(self, front_end, pages):
        self.front_end = front_end
        self.pages = pages
        self.rng = random.Random()
        self.noise = self.rng.randbytes(4 * vu.PAGE)
        self.pool = front_end.create_pool()
        self.held = {}
        self.round = 0

    def page(self, number, version):
        """Noise that says which page it is."""
        tag = struct.pack('<QQ', number, version)
        at = (number * 37 + version) % (3 * vu.PAGE)
        return tag + self.noise[at:at + vu.PAGE - len(tag)]

    def some(self):
        return [self.rng.randrange(self.pages) for _ in range(BATCH)]

    @staticmethod
    def handle(number):
        return number // OBJECT_PAGES, number

    def store(self):
        self.round += 1
        numbers = list(set(self.some()))
        statuses, _ = self.front_end.pages(
            [(vu.STORE, *self.handle(n), self.page(n, self.round))
             for n in numbers], self.pool)
        for number, status in zip(numbers, statuses):
            if status == vu.OK:
                self.held[number] = self.round
            else:
                self.held.pop(number, None)

    def load(self):
        numbers = self.some()
        statuses, pages = self.front_end.pages(
            [(vu.LOAD, *self.handle(n), None) for n in numbers], self.pool)
        for number, status, page in zip(numbers, statuses, pages):
            version = self.held.get(number)
            wanted = (vu.MISS, bytes(vu.PAGE)) if version is None else \
                (vu.OK, self.page(number, version))
            if (status, page) != wanted:
                sys.exit(f'page {number}: status {status}, version {version}: '
                         'a load brought something else')

    def nonsense(self):
        """Requests that are answered, and do nothing."""
        rng, front_end = self.rng, self.front_end
        kind = rng.randrange(4)
        if kind == 0:
            header = struct.pack('<BBHI', rng.randrange(2, 256), 0,
                                 rng.randrange(1, 65536), 0)
            front_end.submit(1, header + rng.randbytes(48 * 4), 8 + 64)
        elif kind == 1:
            front_end.pages([(rng.randrange(5, 256), 1, 1, None)] * BATCH,
                            self.pool)
        elif kind == 2:
            strangers = [self.pool + n for n in range(-BATCH, BATCH) if n]
            pool = rng.choice(strangers) % (1 << 64)
            front_end.pages([(vu.LOAD, n // OBJECT_PAGES, n, None)
                             for n in range(BATCH)], pool)
            front_end.pages([(vu.INVALIDATE_OBJECT, n, 0, None)
                             for n in range(BATCH)], pool)
        else:
            for _ in range(BATCH):
                front_end.kick(1)

    def turn(self):
        what = self.rng.randrange(100)
        if what < 75:
            self.store()
        elif what < 90:
            self.load()
        else:
            self.nonsense()


def disturb(victim):
    """A second front end for a guest that has one."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(0.2)
        try:
            sock.connect(victim)
            sock.sendall(struct.pack('<III', vu.GET_FEATURES, 1, 0))
            sock.recv(64)
        except OSError:
            pass


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__.strip())
    path, mib, victim = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    with vu.FrontEnd(path, timeout=60) as front_end:
        greedy = Greedy(front_end, 2 * (mib << 20) // vu.PAGE)
        disturbed = 0.0
        while True:
            greedy.turn()
            if time.monotonic() - disturbed > 1:
                disturb(victim)
                disturbed = time.monotonic()


main()
