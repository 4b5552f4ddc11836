"""Two namespaces on one switch, and a guest and a namespace: TCP and request/response, beside the kernel's bridge and
vde_switch.

Namespaces reach Wirevale and vde_switch through taps, the kernel's bridge through veth, which is the fastest that the
kernel has for them. All are set up once and stay; they take turns.
"""

import json
import os
import re
import subprocess

from . import programs
from .bed import bed
from .figure import Figure, Sample, paired
from .guests import PlainGuest
from harness import Engine, Failed, Skipped, eventually
from harness.namespace import Namespace
from harness.process import Process

PART = "host: iperf3 and ping between namespaces, and from a guest to a namespace"


class Segment:
    """One switch with two namespaces on it, and room for a guest."""

    def __init__(self, test, name, number):
        self.test, self.name, self.number = test, name, number
        self.hosts = [Namespace(test, f"{name}{side}") for side in "ab"]
        self.addresses = [f"10.77.0.{number + side}" for side in (100, 101)]
        self.build()
        for host, address in zip(self.hosts, self.addresses):
            host.configure("eth0", address + "/24")
        host = self.hosts[1]
        host.start(f"iperf3-{name}", "iperf3", "-s")
        eventually(lambda: self.hosts[0].ping(self.addresses[1], 1)[1], 10, f"{name}: the namespaces reach each other")


class Wirevale(Segment):
    def build(self):
        self.engine = Engine(self.test)
        for side, host in zip("ab", self.hosts):
            self.engine.execute("netdev_add", type="tap", id=side, port=f"vale0:{side}", ifname="eth0", netns=host.name)

    def guest(self, number):
        return self.test.guest("wvguest", number=number, engine=self.engine, port="vale0:vm")


class KernelBridge(Segment):
    def build(self):
        self.switch = Namespace(self.test, "br")
        self.switch.ip("link", "add", "wvtbr", "type", "bridge", "forward_delay", "0", "stp_state", "0", "mcast_snooping", "0")
        self.switch.ip("link", "set", "wvtbr", "up")
        for side, host in zip("ab", self.hosts):
            self.switch.ip("link", "add", "name", f"to{side}", "type", "veth", "peer", "name", "eth0", "netns", host.name)
            self.switch.ip("link", "set", f"to{side}", "master", "wvtbr", "up")

    def guest(self, number):
        self.switch.ip("tuntap", "add", "wvtg", "mode", "tap", "vnet_hdr")
        self.switch.ip("link", "set", "wvtg", "master", "wvtbr", "up")
        return PlainGuest(self.test, "brguest", number, "tap,id=net0,ifname=wvtg,script=no,downscript=no", self.switch.prefix)


class VdeSwitch(Segment):
    def build(self):
        programs.need("vde_switch", "one of the peers")
        self.control = os.path.join(self.test.directory, "vde.ctl")
        Process(self.test, "vde_switch", ["vde_switch", "-s", self.control], stdin=subprocess.PIPE)
        eventually(lambda: os.path.exists(self.control + "/ctl"), 5, "vde_switch")
        for side, host in zip("ab", self.hosts):
            host.start(f"plug-{side}", "vde_plug2tap", "-s", self.control, "eth0")
            eventually(lambda: "eth0" in host.ip("link"), 5, "vde_plug2tap's interface")

    def guest(self, number):
        return PlainGuest(self.test, "vdeguest", number, f"vde,id=net0,sock={self.control}")


SEGMENTS = {"wirevale": Wirevale, "kernel bridge": KernelBridge, "vde_switch": VdeSwitch}


def tcp(segment, seconds):
    said = segment.hosts[0].run("iperf3", "-J", "-c", segment.addresses[1], "-t", seconds, seconds=seconds + 30)
    return json.loads(said)["end"]["sum_received"]["bits_per_second"] / 1e9


def responses(segment, seconds):
    said = segment.hosts[0].run("ping", "-A", "-q", "-w", seconds, segment.addresses[1], seconds=seconds + 15)
    found = re.search(r"(\d+) packets transmitted, (\d+) received", said)
    if not found:
        raise Failed(f"ping -A said: {said[-200:]}")
    return int(found[2]) / seconds


def from_guest(segment, seconds):
    said = segment.vm.must(f"iperf3 -J -c {segment.addresses[1]} -t {seconds}", seconds + 25)
    return json.loads(said[said.index("{"):])["end"]["sum_received"]["bits_per_second"] / 1e9


# What, unit, digits, how, the least ratio that is aimed at by peer.
TESTS = [
    ("TCP stream between namespaces", "Gbit/s", 2, tcp, {"kernel bridge": 0.5, "vde_switch": 10}),
    ("request/response between namespaces (ping -A)", "a second", 0, responses, {}),
    ("TCP stream from a guest to a namespace", "Gbit/s", 2, from_guest, {"kernel bridge": 0.5, "vde_switch": 1}),
]


def measure(options):
    remarks, seen = [], {}
    with bed() as test:
        segments = {}
        for number, (name, make) in enumerate(SEGMENTS.items()):
            try:
                segments[name] = make(test, name.split()[0][:4], 10 * number)
            except Skipped as reason:
                if name == "wirevale":
                    raise
                remarks.append(f"{name} SKIPPED: {reason}")
        tests = TESTS if options.host_guests else TESTS[:2]
        if options.host_guests:
            for number, segment in enumerate(segments.values()):
                segment.vm = segment.guest(20 + number)
            for name, segment in segments.items():
                segment.vm.ready(90)
                options.progress(f"{name}: the guest is up")
        for number in range(options.host_rounds):
            for what, unit, digits, run, _ in tests:
                for name, segment in segments.items():
                    value = run(segment, options.host_seconds)
                    seen.setdefault(what, {}).setdefault(name, []).append(value)
                    options.progress(f"round {number + 1}: {what}, {name}: {value:.{digits}f} {unit}")
        if options.host_guests:
            remarks.append(f"guests under {test.accelerator()}")
    figures = []
    for what, unit, digits, _, aims in tests:
        rows = seen[what]
        ours = rows["wirevale"]
        peers = {name: values for name, values in rows.items() if name != "wirevale"}
        made = Figure(PART, what, unit, f"Benchmarks/host --rounds {options.host_rounds}", Sample.of(ours), digits=digits)
        made.peers = {name: Sample.of(values) for name, values in peers.items()}
        made.ratios = {name: paired(ours, values) for name, values in peers.items()}
        wanted = {name: least for name, least in aims.items() if name in made.ratios}
        if wanted:
            made.aim = ", ".join(f"{least:g} of {name}" for name, least in wanted.items())
            made.met = all(made.ratios[name].median >= least for name, least in wanted.items())
        made.notes = list(remarks)
        figures.append(made)
    return figures
