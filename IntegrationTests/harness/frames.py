"""Frames and what a sender may leave to be done to them, byte by byte.

Written from the RFCs and the virtio specification alone, so that it can be wrong in other ways than the switch.
"""

import random
import struct
from collections import namedtuple

from .frontend import HEADER

TO, FROM = bytes.fromhex("020000007702"), bytes.fromhex("020000007701")
NEEDS_CSUM = 1
TCPV4, UFO, TCPV6, USO, ECN = 1, 3, 4, 5, 0x80
FIN, PSH, ACK, URG, CWR = 0x01, 0x08, 0x10, 0x20, 0x80

Wish = namedtuple("Wish", "name header frame")
Wish.__doc__ = "A frame with its virtio-net header, and what it is for."


def total(data):
    """The ones' complement sum of 16-bit words (RFC 1071), not complemented."""
    if len(data) % 2:
        data += b"\0"
    number = sum(struct.unpack(f">{len(data) // 2}H", data))
    while number >> 16:
        number = (number & 0xffff) + (number >> 16)
    return number


def complete(header, frame):
    """The frame with the checksum that its header leaves open."""
    flags, _, _, _, start, offset, _ = HEADER.unpack(header)
    if not flags & NEEDS_CSUM:
        return frame
    field = 0xffff - total(frame[start:])
    if field == 0 and offset == 6:
        field = 0xffff  # In UDP, 0 says that there is none (RFC 768).
    return frame[:start + offset] + struct.pack(">H", field) + frame[start + offset + 2:]


def ipv4(payload, protocol, options=b"", identification=0x1234, fragment=0x4000):
    source, target = bytes([10, 77, 0, 1]), bytes([10, 77, 0, 2])
    words = 5 + len(options) // 4
    head = struct.pack(">BBHHHBBH4s4s", 0x40 | words, 0, (4 * words + len(payload)) & 0xffff, identification, fragment,
                       64, protocol, 0, source, target) + options
    head = head[:10] + struct.pack(">H", 0xffff - total(head)) + head[12:]
    return head, source + target + struct.pack(">HH", protocol, len(payload) & 0xffff)


def ipv6(payload, protocol, extensions=()):
    """`extensions`: (protocol number, body) in their order; bodies as RFC 8200 has them after the first two bytes."""
    source, target = bytes.fromhex("fd77" + "00" * 13 + "01"), bytes.fromhex("fd77" + "00" * 13 + "02")
    chain, following = b"", protocol
    for number, body in reversed(extensions):
        chain = bytes([following, (len(body) + 2) // 8 - 1]) + body + chain
        following = number
    head = struct.pack(">IHBB16s16s", 6 << 28, (len(chain) + len(payload)) & 0xffff, following, 64, source, target)
    return head + chain, source + target + struct.pack(">II", len(payload), protocol)


def tcp(length, payload, flags=ACK, options=b"", sequence=0x10000, urgent=0):
    words = 5 + len(options) // 4
    return struct.pack(">HHIIBBHHH", 40000, 5001, sequence, 7, words << 4, flags, 512, 0, urgent) + options + payload


def packet(name, transport, payload=1000, version=4, tags=(), gso=0, kind=0, finished=False, body=None, **more):
    """One frame. `gso` and `kind` ask for segmentation; `more` goes to the headers, by the names of their arguments."""
    of_ip = {key: more.pop(key) for key in ("options", "identification", "fragment", "extensions") if key in more}
    of_tcp = {"options" if key == "tcp_options" else key: value for key, value in more.items()}
    if body is None:
        body = random.Random(name).randbytes(payload)
    if transport == "tcp":
        segment, protocol, field = tcp(payload, body, **of_tcp), 6, 16
    else:
        segment, protocol, field = struct.pack(">HHHH", 40000, 5001, (8 + len(body)) & 0xffff, 0) + body, 17, 6
    head, pseudo = (ipv4 if version == 4 else ipv6)(segment, protocol, **of_ip)
    ethernet = TO + FROM + b"".join(struct.pack(">HH", *tag) for tag in tags)
    ethernet += struct.pack(">H", 0x0800 if version == 4 else 0x86dd)
    # What the sender leaves: the pseudo header's sum, which whoever completes the checksum sums along.
    segment = segment[:field] + struct.pack(">H", total(pseudo)) + segment[field + 2:]
    frame, start = ethernet + head + segment, len(ethernet + head)
    lengths = start + len(segment) - len(body)
    header = HEADER.pack(NEEDS_CSUM, kind, lengths if kind else 0, gso, start, field, 0)
    if finished:
        return Wish(name, bytes(HEADER.size), complete(header, frame))
    return Wish(name, header, frame)
