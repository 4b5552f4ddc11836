"""One client against one port: frames into it, out of it, and both, beside DPDK's net_vhost.

testpmd swallows frames (rxonly: it copies each out of the guest's memory and frees it), makes them (txonly) or
sends them back through the port that they came from (io). A switch that learns does none of that, so ours
forwards to and from a second port, which costs its client next to nothing (`Flow.swift`). So a frame is copied once in
either case, but for "both", where testpmd copies every frame twice and we copy two frames; what we do beyond is to learn, to look up,
and to fill or empty the second port's rings. Otherwise as in `latency`: the switches take turns, every visit carries the
ping-pong, and only windows count in which neither side had to wait for its processor.
"""

import os
import statistics
import subprocess
import time

from . import latency, loop, machine, programs
from .bed import bed
from .figure import Figure, Sample, paired
from .polling import CLIENT_CPU, SWITCH_CPU, Pinned, WirevaleSwitch, another
from harness.process import Process
from harness.testpmd import vhost

WINDOW = 0.4
PART = "oneport: one client against one port, 64 and 1500 bytes, split rings of 256"
MODES = {"in": "rxonly", "out": "txonly", "both": "io"}
# What a direction's rate is: for "both" the frames that came back.
FIELD = {"in": "in", "out": "out", "both": "out"}


class TestpmdPort:
    """testpmd with one net_vhost port."""

    name = "testpmd net_vhost"

    def __init__(self, test):
        self.sockets = [os.path.join(test.directory, "one.sock")]
        self.process = Pinned(test, "one", [vhost(self.sockets[0])], SWITCH_CPU).ready()
        self.pid = self.process.pid

    def begin(self, way, size):
        for line in (f"set fwd {MODES[way]}", f"set txpkts {size}", "start"):
            self.process.command(line)

    def end(self):
        self.process.command("stop")

    def losses(self):
        return 0

    def stop(self):
        self.process.stop()


def ours(kind):
    """One of our engines, which needs no telling."""
    class Port(kind):
        def begin(self, *_):
            pass

        def end(self):
            pass

    return Port


def visit(test, program, switch, way, size, options):
    near, lost = machine.ping_pong(), switch.losses()
    switch.begin(way, size)
    client = Process(test, "flow", [program, "flow", way, size, 256, WINDOW, CLIENT_CPU, *switch.sockets],
                     stdout=subprocess.PIPE)
    pids, windows = (switch.pid, client.pid), []
    try:
        if options.nice:
            machine.prioritise(pids, options.nice)
        latency.next_window(client)  # caches settle
        deadline = time.monotonic() + options.patience
        while time.monotonic() < deadline and sum(w["clean"] for w in windows) < options.windows:
            before, taken = [machine.run_times(p) for p in pids], machine.stolen()
            seen = latency.next_window(client)
            after = [machine.run_times(p) for p in pids]
            seen["share"] = min(machine.busiest(a, b) for a, b in zip(before, after))
            seen["clean"] = seen["share"] >= options.clean and machine.steal(taken, machine.stolen()) <= loop.STOLEN
            windows.append(seen)
    finally:
        if options.nice:
            machine.prioritise(pids, 0)
        client.stop()
        client.child.stdout.close()
        switch.end()
    return {"windows": windows, "near": (near, machine.ping_pong()), "lost": switch.losses() - lost}


def round_of(test, program, options):
    kinds = [ours(WirevaleSwitch)] + ([ours(another(options.against))] if options.against else []) + [TestpmdPort]
    switches = [kind(test) for kind in kinds]
    # Whoever has no client sleeps, so all can live at once.
    result = {}
    for size in options.sizes:
        for way in MODES:
            for switch in switches:
                seen = result.setdefault((way, size), {})[switch.name] = visit(test, program, switch, way, size, options)
                options.progress(
                    f"{size} bytes, {way}, {switch.name}: {latency.middle(seen, FIELD[way], False) / 1e6:.2f} Mpps, "
                    f"{sum(w['clean'] for w in seen['windows'])}/{len(seen['windows'])} clean windows, "
                    f"ping-pong {seen['near'][0]:.0f}/{seen['near'][1]:.0f} ns")
    for switch in switches:
        switch.stop()
    return result


def measure(options):
    program = programs.swift("latency-bench")
    programs.need("dpdk-testpmd", "the peer")
    programs.limits()
    rounds = []
    for _ in range(options.rounds):
        with bed() as test:
            rounds.append(round_of(test, program, options))
    return [figure(way, size, [row[way, size] for row in rounds]) for size in options.sizes for way in MODES]


def figure(way, size, rows):
    names = list(rows[0])
    clean = all(any(w["clean"] for row in rows for w in row[n]["windows"]) for n in names)

    def values(name):
        found = [latency.middle(row[name], FIELD[way], clean) for row in rows]
        return [None if value is None else value / 1e6 for value in found]

    mine = values("wirevale")
    made = Figure(PART, f"{size} bytes, {way}", "Mpps", "Benchmarks/oneport", Sample.of(mine))
    made.peers = {n: Sample.of(values(n)) for n in names if n != "wirevale"}
    made.ratios = {n: paired(mine, values(n)) for n in made.peers}
    windows = [w for row in rows for n in row for w in row[n]["windows"]]
    near = [ns for row in rows for n in row for ns in row[n]["near"]]
    states = sorted({machine.nearness(ns) for ns in near})
    made.notes.append(f"ping-pong {min(near):.0f}-{max(near):.0f} ns ({', '.join(states)}); "
                      f"{sum(w['clean'] for w in windows)} of {len(windows)} windows clean, "
                      f"mean share {statistics.mean(w['share'] for w in windows):.2f}")
    lost = sum(row["wirevale"]["lost"] for row in rows)
    if lost:
        made.notes.append(f"{lost} frames dropped by our port: the client was slower than the other port")
    if not clean:
        made.notes.append("NOISY: not every switch had a clean window; these are medians over all windows")
    return made
