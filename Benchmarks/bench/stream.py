"""Frames a second from one unix stream to another: through the engine's stream ports, through vde_switch, which has sockets
for the same purpose, and with nothing in between."""

import os
import subprocess
import sys
import time

from . import programs
from .bed import bed
from .figure import Figure, Sample, paired
from harness import Engine, Skipped, eventually
from harness.process import Process

PART = "stream: frames between two processes that speak QEMU's -netdev stream"
PEER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "stream_peer.py")
SIZES = 60, 1514


def play(test, verb, kind, path, length):
    return Process(test, f"{verb}-{kind}", [sys.executable, PEER, verb, kind, path, length],
                   stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def taken(reader):
    reader.child.stdin.write(b"\n")
    reader.child.stdin.flush()
    return int(reader.child.stdout.readline())


def rate(test, kind, places, length, seconds, ready):
    """Frames a second that a reader at the second place gets from a writer at the first."""
    reader = play(test, "read", kind, places[1], length)
    ready()
    writer = play(test, "write", kind, places[0], length)
    try:
        eventually(lambda: taken(reader) > 0, 5, f"frames ({kind})")
        taken(reader)
        began = time.monotonic()
        time.sleep(seconds)
        return taken(reader) / (time.monotonic() - began) / 1e6
    finally:
        writer.kill()
        reader.kill()


class Wirevale:
    def __init__(self, test):
        self.test, self.engine = test, Engine(test)
        self.paths = [f"{test.directory}/{side}.sock" for side in "ab"]
        for side, path in zip("ab", self.paths):
            self.engine.execute("netdev_add", type="stream", id=side, port=f"vale0:{side}", server=True, lossless=True,
                                addr={"type": "unix", "path": path})

    def rate(self, length, seconds):
        heard = self.engine.port("vale0:b")["stats64"]["rx"]["packets"]
        ready = lambda: eventually(  # noqa: E731
            lambda: self.engine.port("vale0:b")["stats64"]["rx"]["packets"] > heard, 5, "a reader that is known")
        return rate(self.test, "bytes", self.paths, length, seconds, ready)


class VdeSwitch:
    def __init__(self, test):
        programs.need("vde_switch", "one of the peers")
        self.test, self.path = test, f"{test.directory}/vde.ctl"
        Process(test, "vde_switch", ["vde_switch", "-s", self.path], stdin=subprocess.PIPE)
        eventually(lambda: os.path.exists(self.path + "/ctl"), 5, "vde_switch")

    def rate(self, length, seconds):
        return rate(self.test, "vde", [self.path] * 2, length, seconds, lambda: time.sleep(0.3))


def measure(options):
    rows, remarks = {}, ["peers in Python; Wirevale's write and read many frames with one call, vde_switch's one each"]
    with bed() as test:
        switches = {}
        for name, make in ("wirevale", Wirevale), ("vde_switch", VdeSwitch):
            try:
                switches[name] = make(test)
            except Skipped as reason:
                if name == "wirevale":
                    raise
                remarks.append(f"{name} SKIPPED: {reason}")
        for number in range(options.stream_rounds):
            for length in SIZES:
                for name, switch in switches.items():
                    value = switch.rate(length, options.stream_seconds)
                    rows.setdefault(length, {}).setdefault(name, []).append(value)
                    options.progress(f"round {number + 1}: {length} bytes, {name}: {value:.3f} M frames/s")
    figures = []
    for length, values in rows.items():
        made = Figure(PART, f"frames of {length} bytes", "M frames/s", f"Benchmarks/stream --rounds {options.stream_rounds}",
                      Sample.of(values["wirevale"]))
        if "vde_switch" in values:
            made.peers = {"vde_switch": Sample.of(values["vde_switch"])}
            made.ratios = {"vde_switch": paired(values["wirevale"], values["vde_switch"])}
            made.aim, made.met = "5 of vde_switch", made.ratios["vde_switch"].median >= 5
        made.notes = list(remarks)
        figures.append(made)
    return figures
