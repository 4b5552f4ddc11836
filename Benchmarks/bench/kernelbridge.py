"""The kernel's bridge with two taps, in a network namespace that goes when the measurement ends.

QEMU opens the taps itself (no vhost), with virtio-net headers, so its guests have the kernel's checksum and
segmentation offloads, as guests on a vhost-user port have ours.
"""

import os
import subprocess

from harness import Skipped
from harness.kernel import ip

# The harness reports namespaces of this name that are still there at the end.
NAMESPACE, BRIDGE = f"wvt-bench-{os.getpid()}", "wvtbr"
TAPS = ["wvta", "wvtb"]
# What a program has to stand behind to run beside the bridge; `ip` replaces itself by it.
INSIDE = ["ip", "netns", "exec", NAMESPACE]


def remove():
    subprocess.run(["ip", "netns", "del", NAMESPACE], check=True)


def inside(*words):
    ip("-n", NAMESPACE, *words)


def build(test):
    """The bridge; returns a `-netdev` for each tap."""
    if os.geteuid() != 0:
        raise Skipped("a kernel bridge with taps needs root")
    if not os.path.exists("/dev/net/tun"):
        raise Skipped("no /dev/net/tun")
    ip("netns", "add", NAMESPACE)
    # Undone after QEMU has ended, as cleanups run newest first.
    test.cleanup("remove the bridge's namespace", remove)
    inside("link", "add", BRIDGE, "type", "bridge", "forward_delay", "0", "stp_state", "0", "mcast_snooping", "0")
    for tap in TAPS:
        inside("tuntap", "add", tap, "mode", "tap", "vnet_hdr")
        inside("link", "set", tap, "addrgenmode", "none", "master", BRIDGE, "up")
    inside("link", "set", BRIDGE, "addrgenmode", "none", "up")
    return [f"tap,id=net0,ifname={tap},script=no,downscript=no" for tap in TAPS]
