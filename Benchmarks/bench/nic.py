"""An interface of the host as a port: AF_XDP beside packet sockets and what DPDK makes of both, 64-byte frames.

Every variant has a cable (veth) of its own into one other namespace. Receive: a C program there sends as fast as a
plain packet socket can; what counts is what reached the variant. Transmit: pkt-gen sends into the variant's port of the
switch, the C program and testpmd send by themselves; what counts is what went into the cable. One processor is the
variant's worker's, the other its peer's. On a veth the sender's processor does the receiver's kernel work, too, so this
compares what the ways cost, not what a network card could do.
"""

import contextlib
import ctypes
import json
import os
import subprocess
import time

from . import ROOT, programs
from .bed import bed
from .figure import Figure, Sample, paired
from .polling import CLIENT_CPU, SWITCH_CPU, Pinned
from harness import Engine, Failed, Skipped, eventually
from harness.kernel import private_network
from harness.namespace import Namespace
from harness.process import Process

PART = "nic: frames of 64 bytes from and to an interface (veth), in a namespace"
SIZE = 60  # without the checksum that a cable would add


def plain_program():
    source = os.path.join(ROOT, "Benchmarks", "Programs", "nic_bench.c")
    target = os.path.join(ROOT, ".build", "bench", "nic_bench")
    if not os.path.exists(target) or os.path.getmtime(target) < os.path.getmtime(source):
        programs.need("gcc", "compiles the plain way")
        os.makedirs(os.path.dirname(target), exist_ok=True)
        subprocess.run(["gcc", "-O2", "-Wall", "-Werror", "-o", target, source], check=True)
    return target


class Plain(Process):
    """nic_bench: counts frames, and says how many when it is asked."""

    def __init__(self, test, name, *arguments, prefix=()):
        super().__init__(test, name, [*prefix, plain_program(), *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        if self.child.stdout.readline() != b"ready\n":
            raise Failed(f"{name}: {self.text()[-300:]}")

    def frames(self):
        self.child.stdin.write(b"?\n")
        self.child.stdin.flush()
        return int(self.child.stdout.readline())


def sent_into(interface):
    """Frames that went into the cable at our end."""
    said = json.loads(subprocess.run(["ip", "-s", "-j", "link", "show", interface], check=True,
                                     stdout=subprocess.PIPE, text=True).stdout)
    return said[0]["stats64"]["tx"]["packets"]


class Port:
    """A port of our engine."""

    def __init__(self, bench, name, interface, **arguments):
        self.bench, self.name, self.interface = bench, name, interface
        self.vale = f"vale{interface[-1]}"
        bench.engine.execute("netdev_add", id=interface, port=f"{self.vale}:nic", ifname=interface, **arguments)
        self.generator = None

    def begin(self, way):
        if way == "transmit":
            self.generator = Process(
                self.bench.test, f"gen-{self.interface}",
                [self.bench.test.program, "pkt-gen", "-i", f"{self.vale}:gen", "-f", "tx", "-l", SIZE, "-a", CLIENT_CPU,
                 "-S", "02:00:00:00:00:01", "-D", "02:00:00:00:62:02"], env=self.bench.engine.environment)

    def frames(self, way):
        if way == "transmit":
            return sent_into(self.interface)
        return self.bench.engine.port(f"{self.vale}:nic")["stats64"]["rx"]["packets"]

    def end(self):
        if self.generator:
            self.generator.kill()
        self.generator = None


class PlainSocket:
    name = "recvmmsg/sendmmsg"

    def __init__(self, bench, interface):
        self.bench, self.interface, self.process = bench, interface, None

    def begin(self, way):
        words = ("send", self.interface, SWITCH_CPU, SIZE) if way == "transmit" else ("receive", self.interface, SWITCH_CPU)
        self.process = Plain(self.bench.test, "plain", *words)

    def frames(self, way):
        return sent_into(self.interface) if way == "transmit" else self.process.frames()

    def end(self):
        self.process.kill()


class DPDK:
    """testpmd on the interface; made anew for each visit, because it polls all the time."""

    def __init__(self, bench, name, interface, device):
        self.bench, self.name, self.interface, self.device = bench, name, interface, device
        self.process = None

    def begin(self, way):
        self.process = Pinned(self.bench.test, f"wvt-{self.interface}", [self.device], SWITCH_CPU)
        self.process.ready()
        for line in (f"set fwd {'txonly' if way == 'transmit' else 'rxonly'}", f"set txpkts {SIZE}", "start"):
            self.process.command(line)

    def frames(self, way):
        if way == "transmit":
            return sent_into(self.interface)
        return self.process.statistics()["ipackets"]

    def end(self):
        self.process.kill()
        self.process = None


class Bench:
    def __init__(self, test, options):
        self.test = test
        self.far = Namespace(test, "far")
        self.engine = Engine(test, "--workers", "1", "--cpus", str(SWITCH_CPU))
        self.variants, self.remarks = [], []
        self.options = options
        for make in (
            lambda name: Port(self, "af-xdp native", name, type="af-xdp", mode="native"),
            lambda name: Port(self, "af-xdp skb", name, type="af-xdp", mode="skb"),
            lambda name: Port(self, "packet", name, type="packet"),
            lambda name: Port(self, "packet ring=on (TPACKET_V3)", name, type="packet", ring=True),
            lambda name: PlainSocket(self, name),
            lambda name: DPDK(self, "DPDK net_af_xdp", name, f"net_af_xdp{{}},iface={name}"),
            lambda name: DPDK(self, "DPDK net_af_packet", name, f"net_af_packet{{}},iface={name}"),
        ):
            number = len(self.variants)
            name = f"wvtn{number}"
            subprocess.run(["ip", "link", "add", name, "type", "veth", "peer", "name", f"far{number}", "netns", self.far.name],
                           check=True)
            self.far.ip("link", "set", f"far{number}", "up")
            subprocess.run(["ip", "link", "set", name, "up"], check=True)
            self.variants.append(make(name))

    def visit(self, variant, way):
        """Millions of frames a second."""
        source = None
        try:
            variant.begin(way)
            if way == "receive":
                source = Plain(self.test, "source", "send", f"far{variant.interface[-1]}", CLIENT_CPU, SIZE, prefix=self.far.prefix)
            eventually(lambda: variant.frames(way) > 1000, 10, f"{variant.name}: frames")
            time.sleep(0.3)
            began, before = time.monotonic(), variant.frames(way)
            time.sleep(self.options.nic_seconds)
            after, ended = variant.frames(way), time.monotonic()
            return (after - before) / (ended - began) / 1e6
        finally:
            if source:
                source.kill()
            variant.end()


@contextlib.contextmanager
def own_network():
    """A network namespace for this process until the part is over."""
    if os.geteuid():
        raise Skipped("XDP programs and network namespaces need root")
    here = os.open("/proc/self/ns/net", os.O_RDONLY)
    private_network()
    try:
        yield
    finally:
        ctypes.CDLL(None).setns(here, 0)
        os.close(here)


def measure(options):
    seen, failed = {}, {}
    with own_network(), bed() as test:
        bench = Bench(test, options)
        for number in range(options.nic_rounds):
            for way in ("receive", "transmit"):
                for variant in bench.variants:
                    if (way, variant.name) in failed:
                        continue
                    try:
                        value = bench.visit(variant, way)
                    except Failed as error:
                        if isinstance(variant, Port):
                            raise
                        failed[way, variant.name] = str(error)[:120]
                        continue
                    seen.setdefault(way, {}).setdefault(variant.name, []).append(value)
                    options.progress(f"round {number + 1}: {way}, {variant.name}: {value:.3f} million a second")
        names = [variant.name for variant in bench.variants]
    figures = []
    for way, rows in seen.items():
        for ours in names[:4]:
            made = Figure(PART, f"{way}, {ours}", "million frames a second", f"Benchmarks/nic --rounds {options.nic_rounds}",
                          Sample.of(rows[ours]), digits=3)
            made.peers = {name: Sample.of(rows[name]) for name in names if name != ours and name in rows}
            made.ratios = {name: paired(rows[ours], rows[name]) for name in made.peers}
            made.notes = [f"{name} did not work: {why}" for (path, name), why in failed.items() if path == way]
            figures.append(made)
    return figures
