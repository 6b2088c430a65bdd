# SPDX-License-Identifier: GPL-2.0-or-later
"""A small vhost-user front end with a virtio-tmem driver, polite or not.

The protocol is that of docs/interop/vhost-user.rst in QEMU, and the requests
are those of docs/specs/virtio-tmem.rst.
"""

import fcntl
import mmap
import os
import select
import socket
import struct
import threading
import time

(GET_FEATURES, SET_FEATURES, SET_OWNER, RESET_OWNER, SET_MEM_TABLE,
 SET_LOG_BASE, SET_LOG_FD, SET_VRING_NUM, SET_VRING_ADDR, SET_VRING_BASE,
 GET_VRING_BASE, SET_VRING_KICK, SET_VRING_CALL, SET_VRING_ERR,
 GET_PROTOCOL_FEATURES, SET_PROTOCOL_FEATURES, GET_QUEUE_NUM,
 SET_VRING_ENABLE) = range(1, 19)
SET_BACKEND_REQ_FD, GET_CONFIG, SET_CONFIG = 21, 24, 25
POSTCOPY_ADVISE, GET_INFLIGHT_FD, SET_INFLIGHT_FD = 28, 31, 32
RESET_DEVICE, VRING_KICK, GET_MAX_MEM_SLOTS = 34, 35, 36
ADD_MEM_REG, REM_MEM_REG = 37, 38

F_VERSION_1, F_PROTOCOL_FEATURES, F_LOG_ALL = 1 << 32, 1 << 30, 1 << 26
F_DISK, F_MQ, F_EPHEMERAL, F_EXCLUSIVE = 1 << 0, 1 << 1, 1 << 2, 1 << 4
F_SHARED, F_HINT = 1 << 3, 1 << 6
REPLY_ACK = 1 << 3
NEED_REPLY = 1 << 3

F_ADD_SEALS, F_SEAL_SHRINK, F_SEAL_GROW = 1033, 2, 4

PAGE = 4096
OK, MISS, NOPOOL, PERM = 0, 1, 7, 10
STORE, LOAD, INVALIDATE, INVALIDATE_OBJECT = 1, 2, 3, 4

GPA = 0x100000000       # of the shared memory, for the device
QVA = 0x7f0000000000    # in the messages
ENTRIES = 256           # of each ring
RING_BYTES = 0x8000
DESC_NEXT, DESC_WRITE = 1, 2
# Read at once: '<H' is one byte after the other.
INDEX = '@H'


class Dropped(RuntimeError):
    """The server has closed the connection."""


class FrontEnd:
    """One connection, with the memory and the rings of a guest."""

    def __init__(self, path, queues=2, memory=8 << 20, seal=True, start=True,
                 timeout=60):
        self.timeout = timeout
        self.queues = queues
        self.polite = False     # kick only where the server wants it
        self.barrier = threading.Lock()
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(timeout)
        self.sock.connect(path)
        self.fd = os.memfd_create('guest', os.MFD_ALLOW_SEALING)
        os.truncate(self.fd, memory)
        if seal:
            fcntl.fcntl(self.fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW)
        self.size = memory
        self.memory = mmap.mmap(self.fd, memory)
        self.kicks = [os.eventfd(0) for _ in range(queues)]
        self.calls = [os.eventfd(0) for _ in range(queues)]
        self.avail = [0] * queues
        self.used = [0] * queues
        self.data = queues * RING_BYTES
        if start:
            self.start()

    def close(self):
        if self.sock:
            self.sock.close()
            self.memory.close()
            for fd in [self.fd, *self.kicks, *self.calls]:
                os.close(fd)
        self.sock = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def config(self):
        """num_queues, max_batch, max_pools, page_shift, not_accepting, size."""
        return struct.unpack('<HHIB3xIQ', self.ask(
            GET_CONFIG, struct.pack('<III', 0, 24, 0) + bytes(24))[12:])

    def listen(self):
        """A socket that is told when the configuration changes."""
        self.set(SET_PROTOCOL_FEATURES,
                 struct.pack('<Q', REPLY_ACK | 1 << 5 | 1 << 9))
        ours, theirs = socket.socketpair()
        self.set(SET_BACKEND_REQ_FD, fds=[theirs.fileno()])
        theirs.close()
        ours.settimeout(self.timeout)
        return ours

    # Messages.

    def send(self, request, payload=b'', fds=(), flags=1, size=None):
        data = struct.pack('<III', request, flags,
                           len(payload) if size is None else size) + payload
        try:
            socket.send_fds(self.sock, [data], list(fds))
        except (BrokenPipeError, ConnectionResetError) as e:
            raise Dropped(str(e)) from e

    def receive(self):
        data = b''
        while len(data) < 12 or len(data) < 12 + size:
            try:
                part = self.sock.recv(4096)
            except ConnectionResetError as e:
                raise Dropped(str(e)) from e
            if not part:
                raise Dropped('the server closed the connection')
            data += part
            size = struct.unpack('<III', data[:12])[2] if len(data) >= 12 else 0
        return data[12:]

    def ask(self, request, payload=b''):
        self.send(request, payload)
        return self.receive()

    def set(self, request, payload=b'', fds=()):
        """A message that is answered when it was taken."""
        self.send(request, payload, fds, flags=1 | NEED_REPLY)
        return self.receive()

    def ask_u64(self, request):
        return struct.unpack('<Q', self.ask(request))[0]

    def expect_drop(self):
        """The server drops this connection, now or with the next message."""
        ends = time.monotonic() + self.timeout
        try:
            while time.monotonic() < ends:
                self.ask(GET_FEATURES)
        except Dropped:
            return
        raise TimeoutError('the connection lives on')

    # Setting up.

    def region(self, gpa=GPA, size=None, qva=QVA, offset=0):
        return struct.pack('<QQQQ', gpa, self.size if size is None else size,
                           qva, offset)

    def negotiate(self, features=None):
        self.features = self.ask_u64(GET_FEATURES)
        self.ask_u64(GET_PROTOCOL_FEATURES)
        self.send(SET_PROTOCOL_FEATURES, struct.pack('<Q', REPLY_ACK))
        self.set(SET_OWNER)
        wanted = F_VERSION_1 | F_PROTOCOL_FEATURES | F_EPHEMERAL | \
            F_SHARED | F_EXCLUSIVE | (F_MQ if self.queues > 2 else 0)
        self.set(SET_FEATURES, struct.pack(
            '<Q', wanted if features is None else features))

    def set_memory(self):
        self.set(SET_MEM_TABLE, struct.pack('<II', 1, 0) + self.region(),
                 [self.fd])

    def ring_addr(self, index, qva=QVA):
        ring = qva + index * RING_BYTES
        return struct.pack('<IIQQQQ', index, 0, ring, ring + 0x4000,
                           ring + 0x2000, 0)

    def start_queue(self, index, base=0, enable=True):
        self.set(SET_VRING_NUM, struct.pack('<II', index, ENTRIES))
        self.set(SET_VRING_BASE, struct.pack('<II', index, base))
        self.set(SET_VRING_ADDR, self.ring_addr(index))
        self.set(SET_VRING_KICK, struct.pack('<Q', index), [self.kicks[index]])
        self.set(SET_VRING_CALL, struct.pack('<Q', index), [self.calls[index]])
        if enable:
            self.enable_queue(index)

    def enable_queue(self, index):
        self.set(SET_VRING_ENABLE, struct.pack('<II', index, 1))

    def stop_queue(self, index):
        return struct.unpack('<II', self.ask(
            GET_VRING_BASE, struct.pack('<II', index, 0)))[1]

    def start(self, features=None, bases=None):
        self.negotiate(features)
        self.set_memory()
        for index in range(self.queues):
            self.begin_queue(index, bases[index] if bases else 0)

    def begin_queue(self, index, base=0, enable=True):
        """A queue whose ring is new here, and stands at @base."""
        self.avail[index] = self.used[index] = base
        ring = index * RING_BYTES
        struct.pack_into('<HH', self.memory, ring + 0x2000, 0, base)
        struct.pack_into('<HH', self.memory, ring + 0x4000, 0, base)
        self.start_queue(index, base, enable)

    def reconnect(self, path):
        """The same guest, with its rings as they are, at another server."""
        self.sock.close()
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(path)
        self.negotiate()
        self.set_memory()
        for index in range(self.queues):
            used = index * RING_BYTES + 0x4000 + 2
            self.start_queue(index, struct.unpack_from('<H', self.memory,
                                                       used)[0])

    # Requests.

    def descriptor(self, index, slot, address, length, flags=0, after=0):
        struct.pack_into('<QIHH', self.memory, index * RING_BYTES + slot * 16,
                         address, length, flags, after)

    def offer(self, index, slot=0, kick=True):
        """Make the chain at @slot available."""
        ring = index * RING_BYTES + 0x2000
        at = self.avail[index] % ENTRIES
        struct.pack_into('<H', self.memory, ring + 4 + 2 * at, slot)
        self.avail[index] = (self.avail[index] + 1) & 0xffff
        # Whole, as the server may be looking: pack_into() writes zeros first.
        with memoryview(self.memory) as view, view.cast('H') as words:
            words[(ring + 2) // 2] = self.avail[index]
        if kick and not (self.polite and self.looked_at(index)):
            self.kick(index)

    def looked_at(self, index):
        """Whether the server says that it needs no kick."""
        with self.barrier:
            pass    # our index is there before we look at its flags
        return struct.unpack_from('<H', self.memory,
                                  index * RING_BYTES + 0x4000)[0] & 1

    def kick(self, index):
        os.eventfd_write(self.kicks[index], 1)

    def wait(self, index):
        """Until the chain is used; Dropped if it never will be."""
        def used():
            at = index * RING_BYTES + 0x4000 + 2
            return struct.unpack_from(INDEX, self.memory, at)[0]
        while used() == self.used[index]:
            ready = select.select([self.calls[index], self.sock], [], [],
                                  self.timeout)[0]
            if not ready:
                raise TimeoutError(f'no answer on virtqueue {index}')
            if self.calls[index] in ready:
                os.eventfd_read(self.calls[index])
            elif used() == self.used[index]:
                raise Dropped('the server closed the connection')
        self.used[index] = (self.used[index] + 1) & 0xffff

    def submit(self, index, out, room):
        """One request and its answer, of @room bytes."""
        self.memory[self.data:self.data + len(out)] = out
        answer = self.data + (1 << 20)
        self.descriptor(index, 0, GPA + self.data, len(out), DESC_NEXT, 1)
        self.descriptor(index, 1, GPA + answer, room, DESC_WRITE)
        self.offer(index)
        self.wait(index)
        return bytes(self.memory[answer:answer + room])

    def create_pool(self, flags=0, uuid=bytes(16)):
        """A persistent pool; flags=1: ephemeral, flags=3: shared by @uuid."""
        answer = self.submit(0, struct.pack('<BBHI16s', 16, 12, flags, 0,
                                            uuid), 16)
        status, pool = answer[0], struct.unpack('<Q', answer[8:])[0]
        if status != OK:
            raise OSError(f'CREATE_POOL answered {status}')
        return pool

    def pages(self, ops, pool, queue=1):
        """@ops: (operation, object, index, page); statuses and pages."""
        loads = sum(op[0] == LOAD for op in ops)
        out = struct.pack('<BBHI', 1, 0, len(ops), 0)
        for op in ops:
            out += struct.pack('<BBHIQQQQQ', op[0], 0, 0, 0, pool, op[1], 0, 0,
                               op[2])
        out += b''.join(op[3] for op in ops if op[0] == STORE)
        answer = self.submit(queue, out, 8 + len(ops) + loads * PAGE)
        self.hints = answer[1]
        data = answer[8 + len(ops):]
        return (list(answer[8:8 + len(ops)]),
                [data[i * PAGE:(i + 1) * PAGE] for i in range(loads)])
