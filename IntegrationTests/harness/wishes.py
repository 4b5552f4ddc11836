"""The requests that a sender can make: one of each kind, any number by chance, and some that nobody can do."""

import random
import struct

from .frames import (ACK, CWR, ECN, FIN, FROM, NEEDS_CSUM, PSH, TCPV4, TCPV6, TO, UFO, URG, USO, Wish, complete,
                     packet)
from .frontend import HEADER

# Headers that are longer than usual

ROUTER_ALERT = bytes([148, 4, 0, 0])
TIMESTAMPS = bytes([1, 1, 8, 10]) + bytes(range(8))
TAG, TWO_TAGS = ((0x8100, 0x6005),), ((0x88a8, 7), (0x8100, 9))
HOP_BY_HOP = (0, bytes([1, 4, 0, 0, 0, 0]))
DESTINATION = (60, bytes([1, 12]) + bytes(12))


def silencing(transport, version=4):
    """A body that makes the checksum come out as zero."""
    head = complete(*packet("", transport, body=bytes(2), version=version)[1:])
    at = len(head) - 2
    field = at - (4 if transport == "tcp" else 2)
    return head[field:field + 2]


def plain():
    """Nothing left to be done."""
    for version in 4, 6:
        for transport in "tcp", "udp":
            yield packet(f"finished {transport}{version}", transport, version=version, finished=True)
    arp = struct.pack(">HHHBBH6s4s6s4s", 0x0806, 1, 0x0800, 6, 4, 1, FROM, bytes([10, 77, 0, 1]), bytes(6),
                      bytes([10, 77, 0, 2]))
    yield Wish("ARP", bytes(HEADER.size), TO + FROM + arp)


def checksums():
    """Only a checksum."""
    for transport in "tcp", "udp":
        for version in 4, 6:
            make = lambda what, **more: packet(f"{transport}{version} {what}", transport, version=version, **more)
            yield make("")
            yield make("without payload", payload=0)
            yield make("odd", payload=777)
            yield make("tagged", tags=TAG)
            yield make("tagged twice, odd", tags=TWO_TAGS, payload=333)
            yield make("whose sum is zero", body=silencing(transport, version))
        yield packet(f"{transport}4 with IP options", transport, options=ROUTER_ALERT)
        yield packet(f"{transport}6 with extensions", transport, version=6, extensions=(HOP_BY_HOP, DESTINATION))
    yield packet("tcp4 with TCP options", "tcp", tcp_options=TIMESTAMPS)
    yield packet("tcp6 with TCP options", "tcp", version=6, tcp_options=TIMESTAMPS, payload=91)
    unknown = TO + FROM + b"\x88\xb6" + random.Random(1).randbytes(99)
    yield Wish("a protocol of its own", HEADER.pack(NEEDS_CSUM, 0, 0, 0, 41, 20, 0), unknown)


def tcp_segments(version):
    """TCP segmentation."""
    kind = TCPV4 if version == 4 else TCPV6

    def make(what, payload=10000, gso=1448, kind=kind, **more):
        return packet(f"TSO{version} {what}", "tcp", payload, version, gso=gso, kind=kind, **more)

    yield make("")
    yield make("that divides evenly", payload=5 * 1448)
    yield make("of two, the second of one byte", payload=1449)
    yield make("of one", payload=1000)
    yield make("as long as IP allows", payload=65400)
    yield make("of odd size", gso=535)
    yield make("of odd size and TCP options", gso=1231, tcp_options=TIMESTAMPS)
    yield make("tagged", tags=TAG)
    yield make("tagged twice", tags=TWO_TAGS, tcp_options=TIMESTAMPS)
    yield make("with FIN, PSH and URG", flags=ACK | FIN | PSH | URG, urgent=3)
    yield make("over the end of sequence numbers", sequence=0xfffffc00)
    yield make("with ECN's CWR", kind=kind | ECN, flags=ACK | CWR | PSH)
    yield make("with ECN, without CWR", kind=kind | ECN)
    if version == 4:
        yield make("with IP options", options=ROUTER_ALERT * 3)
        yield make("over the end of identifications", identification=0xfffe)
        yield make("that may be fragmented", fragment=0)
    else:
        yield make("with extensions", extensions=(HOP_BY_HOP, DESTINATION))


def datagrams(version):
    """UDP segmentation."""
    def make(what, payload=7000, gso=1400, **more):
        return packet(f"USO{version} {what}", "udp", payload, version, gso=gso, kind=USO, **more)

    yield make("")
    yield make("that divides evenly", payload=5 * 1400)
    yield make("of odd size", gso=777, payload=6001)
    yield make("of one", payload=900)
    yield make("of many", payload=64000, gso=1400)
    yield make("tagged", tags=TAG)
    if version == 4:
        yield make("with IP options", options=ROUTER_ALERT)
        yield make("over the end of identifications", identification=0xfffe)
    else:
        yield make("with extensions", extensions=(HOP_BY_HOP,))


def fragments(version):
    """UDP fragmentation."""
    def make(what, payload=7000, gso=1480 if version == 4 else 1448, **more):
        return packet(f"UFO{version} {what}", "udp", payload, version, gso=gso, kind=UFO, **more)

    yield make("")
    yield make("that divides evenly", payload=5 * (1480 if version == 4 else 1448) - 8)
    yield make("odd", payload=4999)
    yield make("as long as IP allows", payload=65400)
    yield make("tagged", tags=TAG)
    if version == 4:
        yield make("with IP options", options=ROUTER_ALERT)
        yield make("that may be", fragment=0)


def wishes():
    """One of each kind."""
    yield from plain()
    yield from checksums()
    for version in 4, 6:
        yield from tcp_segments(version)
        yield from datagrams(version)
        yield from fragments(version)


def chance(dice, number):
    """Any of them: kinds, sizes and headers as the dice fall."""
    version, transport = dice.choice((4, 6)), dice.choice(("tcp", "udp"))
    kind = dice.choice((0, TCPV4 if version == 4 else TCPV6) if transport == "tcp" else (0, UFO, USO))
    payload = dice.choice((dice.randrange(1400), dice.randrange(1400, 12000)) if kind else (dice.randrange(1400),))
    more = dict(tags=dice.choice(((), (), TAG, TWO_TAGS)), payload=payload)
    if kind:
        # Between what makes many segments and what makes one; of fragments, IP counts eights.
        gso = dice.randrange(300, 2000) & (~7 if kind == UFO else ~0)
        # One segment that is not shorter than its headers: the kernel drops it (6.18), which nobody need imitate.
        more.update(kind=kind, gso=gso, payload=payload + 200 if gso - 200 < payload <= gso else payload)
    if version == 4:
        more.update(options=dice.choice((b"", ROUTER_ALERT, ROUTER_ALERT * 10)), identification=dice.randrange(1 << 16),
                    fragment=dice.choice((0, 0x4000)))
    elif kind != UFO:
        more.update(extensions=dice.choice(((), (HOP_BY_HOP,), (HOP_BY_HOP, DESTINATION))))
    if transport == "tcp":
        more.update(tcp_options=dice.choice((b"", TIMESTAMPS, bytes([1] * 40))), urgent=dice.randrange(1 << 16),
                    sequence=dice.randrange(1 << 32), flags=dice.randrange(1 << 8) & ~CWR)
    return packet(f"number {number}, {transport}{version} of kind {kind}", transport, version=version, **more)


def changed(wish, name, **fields):
    """The same frame under another header."""
    names = ("flags", "kind", "length", "gso", "start", "offset", "buffers")
    header = dict(zip(names, HEADER.unpack(wish.header)), **fields)
    return Wish(name, HEADER.pack(*(header[name] for name in names)), wish.frame)


def flaws():
    """What nobody can do."""
    small = packet("", "udp", payload=100)
    yield changed(small, "a checksum that begins behind the frame", start=500)
    yield changed(small, "a checksum that lies behind the frame", offset=120)
    yield changed(small, "a checksum that ends behind the frame", offset=107)
    large = packet("", "tcp", payload=5000, gso=1000, kind=TCPV4)
    yield changed(large, "segments of an unknown kind", kind=9)
    yield changed(large, "segments of no kind, with ECN", kind=ECN)
    yield changed(large, "segments of no size", gso=0)
    yield changed(large, "segments of another IP version", kind=TCPV6)
    yield changed(large, "segments of another protocol", kind=USO)
    yield changed(large, "segments with a transport header elsewhere", start=5100)
    yield packet("UDP segments with ECN", "udp", payload=5000, gso=1000, kind=USO | ECN)


def refused():
    """What the kernel does and we do not."""
    large = packet("", "tcp", payload=5000, gso=1000, kind=TCPV4)
    # Virtio forbids it (1.2, 5.1.6.2.1); Linux, which takes it from old programs, never sends it.
    yield changed(large, "segments without a checksum", flags=0)
    # A segment's checksum covers the last hop, which is not in the header; we compute it from the header.
    source_route = bytes([1, 131, 7, 4, 10, 77, 0, 9])
    yield packet("segments with a source route", "tcp", payload=5000, gso=1000, kind=TCPV4, options=source_route)
    # Nobody can put these together again.
    yield packet("segments of a fragment", "tcp", payload=5000, gso=1000, kind=TCPV4, fragment=0x2000)
    # Linux sends no UFO since 4.14, but for what it gets from taps.
    yield packet("fragments of IPv6 with extensions", "udp", 5000, 6, gso=1448, kind=UFO, extensions=(HOP_BY_HOP,))
