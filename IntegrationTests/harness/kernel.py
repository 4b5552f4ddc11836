"""The kernel as a switch: two taps with virtio-net headers and a bridge, in a network namespace of our own.

Frames written to one tap, whatever their header leaves open, come out of the other finished as far as its
offloads demand: what our switch is compared with. The namespace ends with the test's process.
"""

import ctypes
import errno
import fcntl
import os
import select
import struct
import subprocess
import time

from .frontend import HEADER
from .process import Failed, Skipped

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
TUNSETIFF, TUNSETOFFLOAD, TUNSETVNETHDRSZ = 0x400454ca, 0x400454d0, 0x400454d8
IFF_TAP, IFF_NO_PI, IFF_VNET_HDR = 0x0002, 0x1000, 0x4000

# TUN_F_*: by the names of the virtio-net features that mean the same.
OFFLOADS = {"guest_csum": 0x01, "guest_tso4": 0x02, "guest_tso6": 0x04, "guest_ecn": 0x08, "guest_ufo": 0x10,
            "guest_uso4": 0x20, "guest_uso6": 0x40}


def private_network():
    """Moves this thread, and what it starts, to an empty network namespace; needs no root where users may."""
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.getuid(), os.getgid()
    if libc.unshare(CLONE_NEWNET | (CLONE_NEWUSER if os.geteuid() else 0)) != 0:
        raise Skipped(f"no network namespace: {os.strerror(ctypes.get_errno())}")
    if user:
        for name, text in ("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1"):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)


def setting(name, value):
    """Writes a /proc/sys/net entry, if this kernel has it."""
    try:
        with open(f"/proc/sys/net/{name}", "w") as file:
            file.write(str(value))
    except FileNotFoundError:
        pass


def ip(*words):
    try:
        done = subprocess.run(["ip", *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    except FileNotFoundError:
        raise Skipped("ip is not installed: scripts/install-packages test") from None
    if done.returncode:
        raise Skipped(f"ip {' '.join(words)}: {done.stdout.strip()}")


class Bridge:
    """`send` writes to one tap, `receive_until` reads from the other; as with a Frontend."""

    def __init__(self, test):
        private_network()
        for family in "all", "default":
            setting(f"ipv6/conf/{family}/disable_ipv6", 1)
        ip("link", "add", "wvtbr", "type", "bridge", "forward_delay", "0", "stp_state", "0", "mcast_snooping", "0")
        # Else the bridge would look at IP headers, and a switch must not.
        for tables in "iptables", "ip6tables", "arptables":
            setting(f"bridge/bridge-nf-call-{tables}", 0)
        self.source, self.target = self.tap(test, "wvta"), self.tap(test, "wvtb")
        ip("link", "set", "wvtbr", "up")

    @staticmethod
    def tap(test, name):
        try:
            tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise Skipped(f"no /dev/net/tun: {error.strerror}") from None
        test.cleanup(f"close {name}", lambda: os.close(tap))
        fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI | IFF_VNET_HDR))
        fcntl.ioctl(tap, TUNSETVNETHDRSZ, struct.pack("i", HEADER.size))
        ip("link", "set", name, "txqueuelen", "5000", "mtu", "9000", "master", "wvtbr", "up")
        return tap

    def accept(self, features):
        """What the receiver takes: names of virtio-net features, of which offloads count; whether this kernel can."""
        try:
            fcntl.ioctl(self.target, TUNSETOFFLOAD, sum(OFFLOADS.get(name, 0) for name in features))
            return True
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            return False

    def send(self, frame, header=bytes(HEADER.size)):
        """Writes a frame; one that the kernel refuses does not arrive, like one that a switch drops."""
        try:
            os.write(self.source, header + frame)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise

    def receive_until(self, last):
        frames = []
        deadline = time.monotonic() + 5
        while select.select([self.target], [], [], max(0, deadline - time.monotonic()))[0]:
            data = os.read(self.target, 1 << 17)
            if data[HEADER.size:] == last:
                return frames
            frames.append((data[:HEADER.size], data[HEADER.size:]))
        raise Failed(f"the marker did not come through the kernel; {len(frames)} frames did")
