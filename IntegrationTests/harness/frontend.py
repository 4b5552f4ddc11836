"""A vhost-user front-end of our own: any virtio-net header on the way in, every byte of it on the way out.

One ring pair, split rings, one memory region in a memfd. It does what it is told, also what no driver
would do; QEMU and DPDK do the rest of the testing.
"""

import mmap
import os
import select
import socket
import struct
import time

from .process import Failed

# Requests (vhost-user's specification has their payloads).
GET_FEATURES, SET_FEATURES, SET_OWNER, SET_MEM_TABLE = 1, 2, 3, 5
SET_VRING_NUM, SET_VRING_ADDR, SET_VRING_BASE, SET_VRING_KICK, SET_VRING_CALL = 8, 9, 10, 12, 13
GET_PROTOCOL_FEATURES, SET_PROTOCOL_FEATURES, SET_VRING_ENABLE = 15, 16, 18
VERSION, REPLY, NEED_REPLY = 1, 4, 8
REPLY_ACK = 1 << 3

# Virtio-net's feature bits, by the names that QEMU's device properties have.
FEATURES = {"csum": 0, "guest_csum": 1, "guest_tso4": 7, "guest_tso6": 8, "guest_ecn": 9, "guest_ufo": 10,
            "host_tso4": 11, "host_tso6": 12, "host_ecn": 13, "host_ufo": 14, "mrg_rxbuf": 15,
            "guest_uso4": 54, "guest_uso6": 55, "host_uso": 56}
PROTOCOL_FEATURES, VERSION_1 = 1 << 30, 1 << 32
SENDER = ("csum", "host_tso4", "host_tso6", "host_ecn", "host_ufo", "host_uso")

HEADER = struct.Struct("<BBHHHHH")
NEXT, WRITE = 1, 2
# Where the memory lies in our address space, as the back-end is told; any other number would do.
BASE = 0x10000000000
TX_SIZE, TX_ROOM = 64, 1 << 17


class Ring:
    """The driver's side of one split ring at `offset` in the memory."""

    def __init__(self, memory, offset, size):
        self.memory, self.size = memory, size
        # For what the other side reads meanwhile: one store each, where struct.pack_into writes zeroes first.
        self.words = memoryview(memory).cast("H")
        self.table = offset
        self.available = offset + 16 * size
        self.used = (self.available + 6 + 2 * size + 3) & ~3
        self.end = self.used + 6 + 8 * size
        self.added = self.seen = 0
        self.kick = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.call = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def describe(self, index, address, length, flags, following=0):
        struct.pack_into("<QIHH", self.memory, self.table + 16 * index, address, length, flags, following)

    def add(self, head):
        """Makes a chain available; x86 keeps the order of the two stores."""
        struct.pack_into("<H", self.memory, self.available + 4 + 2 * (self.added % self.size), head)
        self.added = (self.added + 1) & 0xffff
        self.words[self.available // 2 + 1] = self.added

    def notify(self):
        os.eventfd_write(self.kick, 1)

    def pending(self):
        return (self.words[self.used // 2 + 1] - self.seen) & 0xffff

    def take(self):
        """The next used element: (head, length)."""
        element = struct.unpack_from("<II", self.memory, self.used + 4 + 8 * (self.seen % self.size))
        self.seen = (self.seen + 1) & 0xffff
        return element

    def wait(self, deadline):
        """Sleeps until there is something used; false if there is nothing in time."""
        while not self.pending():
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.call], [], [], left)[0]:
                return self.pending() > 0
            os.eventfd_read(self.call)
        return True

    def close(self):
        self.words.release()
        os.close(self.kick)
        os.close(self.call)


class Frontend:
    """A port's guest, started and enabled when the constructor returns.

    `features`  names of virtio-net features
    `asks`      more of them: what it may leave to the switch when it sends
    `chains`    how many receive buffers; each of `pieces` descriptors of `size` bytes
    `legacy`    whether it is a driver from before virtio 1; without mergeable buffers its headers have ten bytes
    """

    def __init__(self, test, path, features=("mrg_rxbuf",), asks=SENDER, chains=256, size=2048, pieces=1,
                 legacy=False):
        self.features = (0 if legacy else VERSION_1) | sum(1 << FEATURES[name] for name in (*asks, *features))
        self.size, self.pieces, self.mergeable = size, pieces, "mrg_rxbuf" in features
        self.header = HEADER.size - 2 if legacy and not self.mergeable else HEADER.size
        receive_area = 1 << 16
        self.transmit_area = (receive_area + chains * pieces * size + 4095) & ~4095
        length = self.transmit_area + TX_ROOM
        self.file = os.memfd_create("wvt-frontend", os.MFD_CLOEXEC)
        os.truncate(self.file, length)
        self.memory = mmap.mmap(self.file, length)
        self.rx = Ring(self.memory, 0, chains * pieces)
        self.tx = Ring(self.memory, (self.rx.end + 15) & ~15, TX_SIZE)
        if self.tx.end > receive_area:
            raise ValueError(f"rings of {self.tx.end} bytes are too large for this front-end")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(5)
        test.cleanup(f"close the front-end of {path}", self.close)
        for chain in range(chains):
            for piece in range(pieces):
                index = chain * pieces + piece
                more = NEXT if piece + 1 < pieces else 0
                self.rx.describe(index, receive_area + index * size, size, WRITE | more, index + 1 if more else 0)
            self.rx.add(chain * pieces)
        self.receive_area = receive_area
        self.connect(path, length)

    # The conversation

    def connect(self, path, length):
        self.socket.connect(path)
        self.negotiate()
        self.tell(SET_MEM_TABLE, struct.pack("<IIQQQQ", 1, 0, 0, length, BASE, 0), [self.file])
        for index, ring in enumerate((self.rx, self.tx)):
            self.tell(SET_VRING_NUM, struct.pack("<II", index, ring.size))
            self.tell(SET_VRING_BASE, struct.pack("<II", index, 0))
            self.tell(SET_VRING_ADDR, struct.pack("<IIQQQQ", index, 0, BASE + ring.table, BASE + ring.used,
                                                  BASE + ring.available, 0))
            self.start(index, ring)

    def negotiate(self):
        offered, = struct.unpack("<Q", self.ask(GET_FEATURES))
        wanted = self.features | PROTOCOL_FEATURES
        if wanted & ~offered:
            raise Failed(f"the port does not offer features {wanted & ~offered:#x}")
        self.ask(GET_PROTOCOL_FEATURES)
        self.tell(SET_PROTOCOL_FEATURES, struct.pack("<Q", REPLY_ACK), acknowledged=False)
        self.tell(SET_OWNER)
        self.tell(SET_FEATURES, struct.pack("<Q", wanted))

    def start(self, index, ring):
        self.tell(SET_VRING_CALL, struct.pack("<Q", index), [ring.call])
        self.tell(SET_VRING_KICK, struct.pack("<Q", index), [ring.kick])
        self.tell(SET_VRING_ENABLE, struct.pack("<II", index, 1))
        ring.notify()

    def tell(self, request, payload=b"", files=(), acknowledged=True):
        flags = VERSION | (NEED_REPLY if acknowledged else 0)
        socket.send_fds(self.socket, [struct.pack("<III", request, flags, len(payload)) + payload], list(files))
        if acknowledged and self.reply(request) != bytes(8):
            raise Failed(f"the port refused request {request}")

    def ask(self, request, payload=b""):
        socket.send_fds(self.socket, [struct.pack("<III", request, VERSION, len(payload)) + payload], [])
        return self.reply(request)

    def reply(self, request):
        answered, flags, size = struct.unpack("<III", self.exactly(12))
        if (answered, flags) != (request, VERSION | REPLY):
            raise Failed(f"request {request} was answered by {answered} with flags {flags:#x}")
        return self.exactly(size)

    def exactly(self, count):
        data = b""
        while len(data) < count:
            more = self.socket.recv(count - len(data))
            if not more:
                raise Failed("the port closed the connection")
            data += more
        return data

    # Frames

    def send(self, frame, header=bytes(HEADER.size), cuts=()):
        """Puts a frame on the ring, in pieces that end at `cuts`, and waits until the switch is done with it."""
        edges = [0, *(cut for cut in cuts if 0 < cut < len(frame)), len(frame)]
        parts = [header[:self.header]] + [frame[a:b] for a, b in zip(edges, edges[1:])]
        at = self.transmit_area
        for index, part in enumerate(parts):
            self.memory[at:at + len(part)] = part
            more = NEXT if index + 1 < len(parts) else 0
            self.tx.describe(index, at, len(part), more, index + 1)
            at += len(part)
        self.tx.add(0)
        self.tx.notify()
        if not self.tx.wait(time.monotonic() + 5):
            raise Failed("the switch did not take a frame within 5 s")
        self.tx.take()

    def receive(self, seconds=5):
        """The next frame with its header, or None."""
        deadline = time.monotonic() + seconds
        data, buffers = b"", 1
        while buffers:
            if not self.rx.wait(deadline):
                if data:
                    raise Failed(f"{buffers} buffers of a frame are missing")
                return None
            head, length = self.rx.take()
            start = self.receive_area + head * self.size
            part = self.memory[start:start + length]
            if not data:
                buffers = HEADER.unpack_from(part)[-1] if self.header == HEADER.size else 1
                if buffers < 1 or (buffers > 1 and not self.mergeable):
                    raise Failed(f"a frame in {buffers} buffers")
            data += part
            buffers -= 1
            self.rx.add(head)
        self.rx.notify()
        # The number of buffers that a short header leaves out.
        header = data[:self.header] + (b"" if self.header == HEADER.size else b"\1\0")
        return header, data[self.header:]

    def receive_until(self, last):
        """All frames before the one that is `last`."""
        frames = []
        while True:
            received = self.receive()
            if received is None:
                raise Failed(f"the marker did not arrive; {len(frames)} frames did")
            if received[1] == last:
                return frames
            frames.append(received)

    def close(self):
        """Goes as a killed client goes."""
        if self.file is None:
            return
        self.socket.close()
        self.rx.close()
        self.tx.close()
        self.memory.close()
        os.close(self.file)
        self.file = None
