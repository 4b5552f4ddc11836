"""A client of VDE switches, as libvdeplug is one: a control connection, and datagrams that are frames."""

import os
import select
import socket
import struct
import time

from .process import Failed

MAGIC = 0xfeedface


def address(path):
    return struct.pack("H108s", socket.AF_UNIX, path.encode())


def request(path, port=0, description="test", magic=MAGIC, version=3):
    return struct.pack("=III", magic, version, port << 8) + address(path) + description.encode()


class VdeClient:
    """A plug in the switch at `directory`; `answer` is where frames go, or None if it was refused."""

    count = 0

    def __init__(self, test, directory, message=None, **wish):
        VdeClient.count += 1
        path = os.path.join(test.directory, f"vde{VdeClient.count}")
        self.data = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.data.bind(path)
        self.control = socket.socket(socket.AF_UNIX)
        test.cleanup("unplug a VDE client", self.close)
        self.control.settimeout(7)
        self.control.connect(os.path.join(directory, "ctl"))
        self.control.sendall(request(path, **wish) if message is None else message)
        answer = self.control.recv(110)
        self.answer = None
        if answer:
            self.answer = answer[2:].split(b"\0")[0].decode()
            self.data.connect(self.answer)
        os.unlink(path)

    def close(self):
        self.control.close()
        self.data.close()

    def send(self, frame):
        self.data.send(frame)

    def receive(self, seconds=5):
        """The next frame, or None."""
        if not select.select([self.data], [], [], seconds)[0]:
            return None
        return self.data.recv(70000)

    def drain(self, silence=0.3):
        """Everything that comes until it is quiet."""
        frames = []
        while True:
            frame = self.receive(silence)
            if frame is None:
                return frames
            frames.append(frame)


def frame(target, source, number, size=60):
    """An Ethernet frame between stations (their last bytes) that says its number."""
    head = bytes([2, 0, 0, 0, 0, target]) + bytes([2, 0, 0, 0, 0, source]) + b"\x88\xb5" + struct.pack("!I", number)
    if target == 255:
        head = b"\xff" * 6 + head[6:]
    return head + bytes(max(0, size - len(head)))


def number(data):
    return struct.unpack("!I", data[14:18])[0]


def exchange(source, target, frames, window=8, seconds=30):
    """Sends frames, a few at a time; fails unless each arrives, once and in order."""
    deadline = time.monotonic() + seconds
    for begin in range(0, len(frames), window):
        part = frames[begin:begin + window]
        for data in part:
            source.send(data)
        for data in part:
            got = target.receive(max(0.01, deadline - time.monotonic()))
            if got != data:
                raise Failed(f"frame {number(data)} of {len(frames)}: got {got and got[:20].hex()}")
