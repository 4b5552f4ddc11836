"""What a netmap program gets from the engine, beside the bare loops: frames, slots, round trips, syncs.

The program is plain C (Programs/netmap_bench.c) on the preload library. Its thread has one processor, the engine's worker the
other; the bare copy has the same two. They take turns, window by window of 0.2 s, each visit labelled with the cache-line
ping-pong before and after; a pair of visits is compared by its medians.
"""

import os
import statistics
import subprocess
import time

from . import ROOT, machine, programs
from .bed import bed
from .figure import Figure, Sample, paired
from .polling import CLIENT_CPU, SWITCH_CPU
from harness import Engine, Failed, eventually
from harness.process import Process

PART = "netmap: a C program on the preload library"


def client():
    """netmap_bench, compiled against the headers that `make install` installs."""
    source = os.path.join(ROOT, "Benchmarks", "Programs", "netmap_bench.c")
    target = os.path.join(ROOT, ".build", "bench", "netmap_bench")
    if not os.path.exists(target) or os.path.getmtime(target) < os.path.getmtime(source):
        programs.need("gcc", "compiles the client")
        os.makedirs(os.path.dirname(target), exist_ok=True)
        subprocess.run(["gcc", "-O2", "-Wall", "-Wno-attributes", "-Werror", "-pthread", "-o", target, source,
                        f"-I{ROOT}/Sources/CNetmap/include"], check=True)
    return target


def shim():
    subprocess.run([os.path.join(ROOT, "scripts", "build-shim")], check=True, stdout=subprocess.DEVNULL)
    return os.path.join(ROOT, ".build", "release", "libnetmap-shim.so")


class Program:
    """Runs netmap_bench, bare or on an engine."""

    def __init__(self, engine):
        self.program = client()
        self.environment = dict(os.environ, LD_PRELOAD=shim(),
                                WIREVALE_NETMAP=os.path.join(engine.runtime, "netmap.sock"))

    def lines(self, *arguments, bare=False):
        done = subprocess.run([self.program, *[str(a) for a in arguments]], text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, env=None if bare else self.environment, timeout=60)
        if done.returncode != 0:
            raise Failed(f"netmap_bench {' '.join(map(str, arguments))}: {done.stderr.strip()}")
        return [[float(word) for word in line.split()] for line in done.stdout.splitlines()]

    def rate(self, *arguments, bare=False):
        """Millions a second, the median of the windows."""
        return statistics.median(line[0] for line in self.lines(*arguments, bare=bare))


def measure(options):
    programs.limits()
    figures = []
    with bed() as test:
        engine = Engine(test, "--workers", "1", "--cpus", str(SWITCH_CPU))
        program = Program(engine)
        if "vale" in options.netmap:
            figures += [vale(program, size, options) for size in (64, 1500)]
        if "generators" in options.netmap:
            figures += [generators(test, engine, program, size, options) for size in (64, 1500)]
        if "pipe" in options.netmap:
            figures.append(pipe(program, options))
        if "latency" in options.netmap:
            figures += [trips(program, kind, how, options) for kind in ("VALE", "pipe") for how in ("busy", "asleep")]
        if "sync" in options.netmap:
            figures += [syncs(program, how, options) for how in ("busy", "asleep")]
    return figures


def visits(ours, bare, options, label):
    """Medians of interleaved visits, and the ping-pong around each pair."""
    mine, theirs, near = [], [], []
    for _ in range(options.rounds):
        near.append(machine.ping_pong())
        mine.append(ours())
        theirs.append(bare())
        near.append(machine.ping_pong())
        options.progress(f"{label}: {mine[-1]:.2f}, bare {theirs[-1]:.2f}, ping-pong {near[-2]:.0f}/{near[-1]:.0f} ns")
    return mine, theirs, near


def label(near):
    states = sorted({machine.nearness(ns) for ns in near})
    return f"ping-pong {min(near):.0f}-{max(near):.0f} ns ({', '.join(states)})"


def vale(program, size, options):
    mine, bare, near = visits(
        lambda: program.rate("loop", "vale0:a", "vale0:b", size, 1, CLIENT_CPU),
        lambda: program.rate("copy", size, 1, CLIENT_CPU, SWITCH_CPU, bare=True), options, f"VALE, {size} bytes")
    floor = 0.6 if size == 64 else 0.8
    made = Figure(PART, f"VALE, {size} bytes, source and sink in one thread", "Mpps", "Benchmarks/netmap",
                  Sample.of(mine), limits={"the bare copy": Sample.of(bare)},
                  ratios={"the bare copy": paired(mine, bare)}, aim=f"at least {floor} of the bare copy")
    made.met = made.ratios["the bare copy"].median >= floor
    made.notes.append(label(near))
    return made


def generators(test, engine, program, size, options):
    """pkt-gen at both ends, ours and, if $WIREVALE_PKT_GEN names it, upstream's: frames that the receiver's port got."""
    makes = {"our pkt-gen": ([test.program, "pkt-gen"], engine.environment)}
    upstream = os.environ.get("WIREVALE_PKT_GEN")
    if upstream:
        makes["upstream's pkt-gen"] = ([upstream], program.environment)
    seen, bare, near = {name: [] for name in makes}, [], []
    for _ in range(options.rounds):
        near.append(machine.ping_pong())
        for name, (command, environment) in makes.items():
            pinned = ["taskset", "-c", str(CLIENT_CPU), *command]
            ends = [Process(test, f"{way}{size}{len(seen[name])}{name[0]}", [*pinned, "-i", f"vale0:{way}", "-f", way, "-w", "0",
                                                                         *(["-l", str(size - 4)] if way == "tx" else [])], env=environment)
                    for way in ("rx", "tx")]
            eventually(lambda: {"vale0:rx", "vale0:tx"} <= set(engine.ports()), 10, f"{name} is there")
            time.sleep(0.5)
            before, began = engine.port("vale0:rx")["stats64"]["tx"]["packets"], time.monotonic()
            time.sleep(1)
            got = engine.port("vale0:rx")["stats64"]["tx"]["packets"] - before
            seen[name].append(got / (time.monotonic() - began) / 1e6)
            for end in ends:
                end.kill()
            eventually(lambda: not {"vale0:rx", "vale0:tx"} & set(engine.ports()), 10, "the ports are gone")
        bare.append(program.rate("copy", size, 1, CLIENT_CPU, SWITCH_CPU, bare=True))
        near.append(machine.ping_pong())
        options.progress(f"pkt-gen, {size} bytes: " + ", ".join(f"{n} {v[-1]:.2f}" for n, v in seen.items()) + f", bare {bare[-1]:.2f}")
    made = Figure(PART, f"VALE, {size} bytes, pkt-gen at both ends", "Mpps", "Benchmarks/netmap --netmap generators",
                  Sample.of(seen["our pkt-gen"]), limits={"the bare copy": Sample.of(bare)})
    made.ratios = {f"the bare copy ({name})": paired(values, bare) for name, values in seen.items()}
    made.peers = {name: Sample.of(values) for name, values in seen.items() if name != "our pkt-gen"}
    made.notes.append(label(near) + "; both ends share one processor, the engine's worker has the other, the bare copy has both")
    if not upstream:
        made.notes.append("upstream's pkt-gen left out: $WIREVALE_PKT_GEN names no program")
    return made


def pipe(program, options):
    alone = []

    def bare():
        alone.append(program.rate("slots", 1, CLIENT_CPU, CLIENT_CPU, bare=True))
        return program.rate("slots", 1, CLIENT_CPU, SWITCH_CPU, bare=True)

    mine, both, near = visits(lambda: program.rate("pipe", "netmap:p{1", "netmap:p}1", 1, CLIENT_CPU, SWITCH_CPU),
                              bare, options, "pipe")
    limits = {"16-byte slots there and back, two threads": both, "the same, one thread": alone}
    made = Figure(PART, "pipe between two threads", "million slots/s", "Benchmarks/netmap", Sample.of(mine),
                  limits={name: Sample.of(values) for name, values in limits.items()},
                  ratios={name: paired(mine, values) for name, values in limits.items()},
                  aim="100, in any case a third of the slot copy by two threads")
    made.met = made.ours.median >= 100 or made.ratios["16-byte slots there and back, two threads"].median >= 1 / 3
    made.notes.append(label(near))
    return made


def trips(program, kind, how, options):
    ends = ("vale0:a", "vale0:b") if kind == "VALE" else ("netmap:p{1", "netmap:p}1")
    rows = [program.lines("ping", *ends, 20000 if how == "busy" else 1500, CLIENT_CPU, how)[0]
            for _ in range(options.rounds)]
    made = Figure(PART, f"one frame in flight, {kind}, {how}: p50", "us", "Benchmarks/netmap",
                  Sample.of([row[0] / 1e3 for row in rows]))
    middle = [statistics.median(row[k] / 1e3 for row in rows) for k in (1, 2)]
    made.notes.append(f"p99 {middle[0]:.1f} us, p99.9 {middle[1]:.1f} us"
                      + (f", {statistics.median(row[3] for row in rows) / 1e3:.0f} thousand round trips/s" if how == "busy" else
                         ", both ends sleep in poll" + (", the engine too" if kind == "VALE" else "")))
    options.progress(f"{made.name} {made.ours.median:.2f} us, {made.notes[-1]}")
    return made


def syncs(program, how, options):
    rows = [program.lines("sync", "vale0:a", 100000 if how == "busy" else 1500, CLIENT_CPU, how)[0]
            for _ in range(options.rounds)]
    name = "awake" if how == "busy" else "asleep"
    made = Figure(PART, f"NIOCTXSYNC with one frame, engine {name}: p50", "ns", "Benchmarks/netmap",
                  Sample.of([row[0] for row in rows]))
    made.notes.append(f"p99 {statistics.median(row[1] for row in rows):.0f} ns (with two clock_gettime)")
    options.progress(f"{made.name} {made.ours.median:.0f} ns")
    return made
