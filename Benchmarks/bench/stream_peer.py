#!/usr/bin/env python3
"""One end of a socket that carries frames: writes as fast as it is taken, or reads and throws away.

    stream_peer.py write|read bytes PATH LENGTH     a unix stream; frames behind their lengths, many with one call
    stream_peer.py write|read vde   PATH LENGTH     a port of the vde_switch whose control directory is PATH

A reader prints how many frames it has had since it was asked last, whenever it reads a line from standard input.
"""

import os
import socket
import struct
import sys
import threading

TO, FROM = b"\x02\0\0\0\x5e\x02", b"\x02\0\0\0\x5e\x01"


def frame(to, sender, length):
    return (to + sender + b"\x88\xb5").ljust(length, b"\0")


def plug(path):
    """A port of a vde_switch: a datagram socket, connected to the switch's for that port."""
    control = socket.socket(socket.AF_UNIX)
    control.connect(path + "/ctl")
    data = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    own = f"{path}.{os.getpid()}"
    data.bind(own)
    name = struct.pack("=H108s", socket.AF_UNIX, own.encode())
    # Magic, version 3, a new port, our address, a description.
    control.sendall(struct.pack("=III", 0xfeedface, 3, 0) + name + b"bench".ljust(128, b"\0"))
    answer = control.recv(110)
    data.connect(answer[2:].split(b"\0")[0].decode())
    return data, control


def main():
    verb, kind, path, length = *sys.argv[1:4], int(sys.argv[4])
    count = 0
    lock = threading.Lock()

    def answer():
        nonlocal count
        for _ in sys.stdin:
            with lock:
                print(count, flush=True)
                count = 0
        os._exit(0)

    if kind == "vde":
        made, _control = plug(path)
    else:
        made = socket.socket(socket.AF_UNIX)
        made.connect(path)
    size = struct.pack(">I", length)
    if verb == "read":
        hello = frame(b"\xff" * 6, TO, 60)
        made.sendall(hello if kind == "vde" else struct.pack(">I", 60) + hello)
        threading.Thread(target=answer, daemon=True).start()
        part = 0
        while True:
            data = made.recv(1 << 20)
            if not data:
                return
            if kind == "vde":
                count += 1
            else:
                part += len(data)
                n, part = divmod(part, length + 4)
                with lock:
                    count += n
    one = frame(TO, FROM, length)
    if kind == "vde":
        while True:
            made.send(one)
    many = (size + one) * max(1, (1 << 18) // (length + 4))
    while True:
        made.sendall(many)


try:
    main()
except (BrokenPipeError, ConnectionError, KeyboardInterrupt):
    pass
