"""The other end of a stream port, played by a test: frames behind their lengths, numbered so that a gap shows."""

import socket
import struct
import threading
import time

ETHERTYPE = b"\x88\xb5"


def station(number):
    return b"\x02\x00\x00\x00\x5e" + bytes([number])


def frame(to, sender, number=0, length=60):
    """A frame with a number in it."""
    return (to + sender + ETHERTYPE + struct.pack(">Q", number)).ljust(length, b"\xa5")


def hello(sender):
    """A frame to everybody that nobody counts."""
    return (b"\xff" * 6 + sender + b"\x88\xb6").ljust(60, b"\0")


def framed(data):
    return struct.pack(">I", len(data)) + data


def connect(address, seconds=5):
    """A connection to a unix socket's path, or to a port of this host."""
    made = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
    made.settimeout(seconds)
    deadline = time.monotonic() + seconds
    while True:
        try:
            made.connect(address if isinstance(address, str) else ("127.0.0.1", address))
            return made
        except (ConnectionRefusedError, FileNotFoundError, BlockingIOError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


class Reader:
    """Takes frames off a connection, on a thread, and looks at the numbers of those with our type."""

    def __init__(self, made):
        self.socket = made
        self.frames = 0
        self.expected = None
        self.last = None
        self.gaps = []
        self.others = 0
        self.ended = None
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        buffer = b""
        self.socket.settimeout(None)
        try:
            while True:
                data = self.socket.recv(1 << 20)
                if not data:
                    self.ended = "closed"
                    return
                buffer += data
                place = 0
                while len(buffer) - place >= 4:
                    length = int.from_bytes(buffer[place:place + 4], "big")
                    if len(buffer) - place - 4 < length:
                        break
                    self.take(buffer[place + 4:place + 4 + length])
                    place += 4 + length
                buffer = buffer[place:]
        except OSError as error:
            self.ended = str(error)

    def take(self, data):
        if data[12:14] != ETHERTYPE:
            self.others += 1
            return
        number = int.from_bytes(data[14:22], "big")
        if self.expected is not None and number != self.expected and len(self.gaps) < 10:
            self.gaps.append((self.expected, number))
        self.expected = number + 1
        self.last = number
        self.frames += 1


class Writer:
    """Sends numbered frames as fast as they are taken, on a thread, until `stop`."""

    def __init__(self, made, to, sender, length=60, ethertype=ETHERTYPE):
        self.socket = made
        self.sent = 0
        self.going = True
        self.head = to + sender + ethertype
        self.length = length
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        self.socket.settimeout(None)
        pad = b"\xa5" * (self.length - 22)
        size = struct.pack(">I", self.length)
        while self.going:
            try:
                self.socket.sendall(b"".join(
                    size + self.head + struct.pack(">Q", self.sent + k) + pad for k in range(100)))
            except OSError:
                return
            self.sent += 100

    def stop(self):
        self.going = False
        self.thread.join(20)
        return self.sent
