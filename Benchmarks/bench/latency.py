"""One frame in flight between two ports of a switch: round trips a second, p50 and p99, busy and asleep.

The client (`latency-bench`) prints a line for each window; here is decided which windows count. As in
`loop`, the switches take turns and every visit carries the ping-pong. A switch that sleeps cannot be
judged by its share of a processor, so a window counts if neither side's busiest thread had to wait for
its processor: for those that poll that is the same.
"""

import json
import statistics
import subprocess
import time

from . import loop, machine, programs
from .bed import bed
from .figure import Figure, Sample, paired
from .polling import CLIENT_CPU
from harness import Failed
from harness.process import Process

# Seconds of a window; asleep it has a few hundred round trips, enough for its 99th percentile.
WINDOWS = {"busy": 0.4, "asleep": 1.0}
PART = "latency: one 64-byte frame between two ports, there and back (a ratio of times below 1 is faster)"
# (title, unit, field of a window, scale, digits)
BUSY = [("round trips", "thousand/s", "rate", 1e3, 0), ("p50", "us", "p50", 1e3, 2), ("p99", "us", "p99", 1e3, 2)]
QUANTITIES = {"busy": BUSY, "asleep": BUSY[1:]}


def next_window(client):
    """What the client says about a window, when it is over."""
    line = client.child.stdout.readline()
    if not line.startswith(b"{"):
        raise Failed(f"latency-bench ended: {line.decode(errors='replace').strip() or 'nothing said'}")
    return json.loads(line)


def visit(test, program, switch, mode, options):
    """One visit to one switch: every window, each with `clean`."""
    near = machine.ping_pong()
    switch.resume()
    client = Process(test, "latency-bench", [program, *switch.sockets, mode, WINDOWS[mode], CLIENT_CPU],
                     stdout=subprocess.PIPE)
    pids, windows = (switch.pid, client.pid), []
    try:
        if options.nice:
            machine.prioritise(pids, options.nice)
        next_window(client)  # its end is where the first one that can count begins
        deadline = time.monotonic() + options.patience
        while time.monotonic() < deadline and sum(w["clean"] for w in windows) < options.windows:
            before, taken = [machine.schedules(p) for p in pids], machine.stolen()
            seen = next_window(client)
            after = [machine.schedules(p) for p in pids]
            seen["share"] = min(machine.unhindered(a, b) for a, b in zip(before, after))
            seen["clean"] = seen["share"] >= options.clean and machine.steal(taken, machine.stolen()) <= loop.STOLEN
            windows.append(seen)
    finally:
        if options.nice:
            machine.prioritise(pids, 0)
        client.stop()
        client.child.stdout.close()
        switch.pause()
    return {"windows": windows, "near": (near, machine.ping_pong())}


def round_of(test, program, options, remarks):
    """{mode: {switch's name: visit}}, each switch visited once for each mode."""
    switches = []
    for switch in loop.started(test, options, remarks):
        switch.pause()
        switches.append(switch)
    result = {}
    for mode in WINDOWS:
        for switch in switches:
            seen = result.setdefault(mode, {})[switch.name] = visit(test, program, switch, mode, options)
            options.progress(
                f"{mode}, {switch.name}: p50 {middle(seen, 'p50', False) / 1e3:.2f} us, "
                f"p99 {middle(seen, 'p99', False) / 1e3:.2f} us, "
                f"{sum(w['clean'] for w in seen['windows'])}/{len(seen['windows'])} clean windows, "
                f"ping-pong {seen['near'][0]:.0f}/{seen['near'][1]:.0f} ns")
    for switch in switches:
        switch.resume()
        switch.stop()
    return result


def measure(options):
    """The figures, busy first."""
    program = programs.swift("latency-bench")
    programs.need("dpdk-testpmd", "a peer")
    programs.limits()
    remarks, rounds = [], []
    loop.kinds(options, remarks)
    for _ in range(options.rounds):
        with bed() as test:
            rounds.append(round_of(test, program, options, remarks))
    return [figure for mode in WINDOWS for figure in figures(mode, [row[mode] for row in rounds], remarks)]


def middle(seen, field, clean):
    """A visit's median over its clean windows, or over all; None without one."""
    values = [w[field] for w in seen["windows"] if w["clean"] or not clean]
    return statistics.median(values) if values else None


def figures(mode, rows, remarks):
    names = list(dict.fromkeys(name for row in rows for name in row))
    # One kind of window for everybody: the clean ones if each switch had some, else all there are.
    clean = all(any(w["clean"] for row in rows if n in row for w in row[n]["windows"]) for n in names)

    def values(name, field, scale=1.0):
        found = [middle(row[name], field, clean) if name in row else None for row in rows]
        return [None if value is None else value / scale for value in found]

    for title, unit, field, scale, digits in QUANTITIES[mode]:
        ours = values("wirevale", field, scale)
        made = Figure(PART, f"{mode}: {title}", unit, "Benchmarks/latency", Sample.of(ours), digits=digits)
        made.peers = {n: Sample.of(values(n, field, scale)) for n in names if n != "wirevale"}
        made.ratios = {n: paired(ours, values(n, field, scale)) for n in made.peers}
        yield made
    # What holds for all of the mode's figures stands under the last of them.
    windows = [w for row in rows for n in row for w in row[n]["windows"]]
    near = [ns for row in rows for n in row for ns in row[n]["near"]]
    states = sorted({machine.nearness(ns) for ns in near})
    made.notes.append(f"{mode}: ping-pong {min(near):.0f}-{max(near):.0f} ns ({', '.join(states)}); "
                      f"{sum(w['clean'] for w in windows)} of {len(windows)} windows clean, "
                      f"mean share {statistics.mean(w['share'] for w in windows):.2f}")
    for name in names:
        tail, worst = (Sample.of(values(name, field, 1e3)) for field in ("p99.9", "max"))
        own = [w for row in rows if name in row for w in row[name]["windows"]]
        trips, kicks, lost = (sum(w[field] for w in own) for field in ("count", "kicks", "lost"))
        made.notes.append(f"{name}: p99.9 {tail.text()} us, max {worst.text(0)} us; "
                          f"woken {kicks / max(1, trips):.2f} times a round trip"
                          + (f"; {lost} frames lost or over 100 ms late" if lost else ""))
    if not clean:
        made.notes.append("NOISY: not every switch had a clean window; these are medians over all windows")
    made.notes += remarks
