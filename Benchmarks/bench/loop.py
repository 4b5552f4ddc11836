"""Frames that circulate: one testpmd with two virtio-user ports on one processor, the switch on the other.

Time slicing ruins such figures (two polling loops out of step collapse to a tenth), and the host
moves the two virtual processors about. Therefore: only windows count in which both polling threads
had 97 % of their processor and the host took little; the cache-line ping-pong is measured before and
after each sample; the switches take turns; and ratios are medians of ratios within a round. OVS-DPDK forwards by
the action NORMAL (it learns, as we do) and by static flows (it looks the port up, and nothing else).
"""

import itertools
import statistics
import time

from . import machine, programs
from .bed import bed
from .figure import Figure, Sample, paired
from .openvswitch import OpenVSwitch
from .polling import Loop, TestpmdSwitch, WirevaleSwitch, another
from harness import Skipped, eventually

WINDOW, STOLEN = 0.4, 0.04
PART = "loop: two virtio-user ports through one switching worker"
COMMAND = "dpdk-testpmd --lcores 0@1,1@1 --vdev net_virtio_user0,.. --vdev net_virtio_user1,.. -- -i; set fwd io; start tx_first"


def window(switch, client, share):
    """(frames a second both ways, round trips a second, clean, shares) over one window."""
    pids = (switch.pid, client.pid)
    times, taken = [machine.run_times(p) for p in pids], machine.stolen()
    began, one, both = client.sent()
    time.sleep(WINDOW)
    ended, one_after, both_after = client.sent()
    later, taken_after = [machine.run_times(p) for p in pids], machine.stolen()
    seconds = ended - began
    shares = [machine.busiest(a, b) for a, b in zip(times, later)]
    clean = min(shares) >= share and machine.steal(taken, taken_after) <= STOLEN
    return (both_after - both) / seconds, (one_after - one) / seconds, clean, shares


def sample(switch, client, size, in_flight, options):
    """One visit to one switch: the medians over clean windows."""
    near = machine.ping_pong()
    switch.resume()
    client.begin(size, in_flight)
    windows = []
    try:
        if options.nice:
            machine.prioritise((switch.pid, client.pid), options.nice)
        time.sleep(0.4)
        deadline = time.monotonic() + options.patience
        while time.monotonic() < deadline:
            windows.append(window(switch, client, options.clean))
            if sum(w[2] for w in windows) >= options.windows:
                break
    finally:
        if options.nice:
            machine.prioritise((switch.pid, client.pid), 0)
        kept = client.end()
        switch.pause()
    clean = [w for w in windows if w[2]]
    return {
        # Medians over the clean windows, if there are any, and over all.
        "rate": {kind: statistics.median(w[0] for w in some) for kind, some in (("clean", clean), ("all", windows)) if some},
        "trips": {kind: statistics.median(w[1] for w in some) for kind, some in (("clean", clean), ("all", windows)) if some},
        "clean": len(clean), "windows": len(windows), "near": (near, machine.ping_pong()),
        "lost": 2 * in_flight - kept,
        "share": min(statistics.mean(w[3][k] for w in windows) for k in (0, 1)),
    }


def kinds(options, remarks):
    """The switches that can run here."""
    chosen = [WirevaleSwitch] + ([another(options.against)] if options.against else []) + [TestpmdSwitch]
    if not options.without_ovs:
        why = OpenVSwitch.missing()
        remarks.append(f"OVS-DPDK SKIPPED: {why}") if why else chosen.append(OpenVSwitch)
    return chosen


def started(test, options, remarks):
    """The switches that can run here, with processes (and so memory layouts) of their own."""
    for kind in kinds(options, []):
        try:
            yield kind(test)
        except Skipped as reason:
            if f"{kind.name} SKIPPED: {reason}" not in remarks:
                remarks.append(f"{kind.name} SKIPPED: {reason}")


def round_of(test, ring, queue, cases, options, remarks, tag):
    """Every case once on every switch."""
    pairs, actors = [], []
    for switch in started(test, options, remarks):
        client = Loop(test, f"loop{tag}{len(pairs)}", switch.sockets, queue, ring)
        eventually(switch.ready, 20, f"{switch.name} with both ports connected")
        switch.pause()
        pairs.append((switch, client))
        actors += [(way, client) for way in switch.ways(options)]
    result = {}
    for case in cases:
        for switch, client in actors:
            seen = sample(switch, client, *case, options)
            result.setdefault(case, {})[switch.name] = seen
            options.progress(f"{ring} rings of {queue}, {case[0]} B, {case[1]} in flight, {switch.name}: "
                             f"{seen['rate']['all'] / 1e6:.2f} Mpps, {seen['clean']}/{seen['windows']} clean windows, share {seen['share']:.2f}, "
                             f"ping-pong {seen['near'][0]:.0f}/{seen['near'][1]:.0f} ns")
    for switch, client in pairs:
        switch.resume()
        lost = switch.losses()
        if lost:
            remarks.append(f"{switch.name} dropped {lost} frames with {ring} rings of {queue}")
        client.stop()
        switch.stop()
    return result


def turns(rounds, seconds, remarks):
    """The numbers of rounds, as many as fit into `seconds`, but at least one."""
    began, longest = time.monotonic(), 0
    for number in range(rounds):
        before = time.monotonic()
        if number and before + longest > began + seconds:
            remarks.append(f"{number} of {rounds} rounds: another would not have ended within {seconds:g} s")
            return
        yield number
        longest = max(longest, time.monotonic() - before)


def measure(options):
    """The figures for frames that circulate, and for one frame in flight."""
    programs.need("dpdk-testpmd", "the virtio-user client")
    programs.limits()
    remarks, rounds = [], {}
    kinds(options, remarks)
    for number in turns(options.rounds, options.at_most, remarks):
        for ring, queue in itertools.product(options.rings, options.queues):
            cases = [(size, queue // 4) for size in options.sizes]
            if options.latency and (ring, queue) == (options.rings[0], options.queues[0]):
                cases.append((64, 1))
            with bed() as test:
                for case, row in round_of(test, ring, queue, cases, options, remarks, number).items():
                    rounds.setdefault((ring, queue, *case), []).append(row)
    copies = {size: machine.copy(size) for size in options.sizes}
    figures = [figure(key, rows, copies, remarks) for key, rows in sorted(rounds.items(), key=order)]
    return figures


def order(item):
    (ring, queue, size, in_flight), _ = item
    return in_flight == 1, size, ring != "split", queue


def figure(key, rows, copies, remarks):
    ring, queue, size, in_flight = key
    latency = in_flight == 1
    quantity, scale = ("trips", 1e3) if latency else ("rate", 1e6)

    names = list(dict.fromkeys(name for row in rows for name in row if name != "wirevale"))
    # One kind of window for everybody: the clean ones if each switch had some, else all there are.
    unclean = not all(any(row[n]["clean"] for row in rows if n in row) for n in ("wirevale", *names))
    kind = "all" if unclean else "clean"

    def values(name):
        return [row[name][quantity][kind] / scale if name in row and kind in row[name][quantity] else None
                for row in rows]

    ours = values("wirevale")
    shape = (f"one {size}-byte frame in flight each way, {ring} rings of {queue}" if latency else
             f"{size} B, {ring} rings of {queue}, {in_flight} frames in flight each way")
    made = Figure(PART, shape, "thousand round trips/s" if latency else "Mpps both ways",
                  f"Benchmarks/loop   ({WirevaleSwitch.command}; {COMMAND})", Sample.of(ours),
                  digits=0 if latency else 2)
    made.peers = {name: Sample.of(values(name)) for name in names}
    made.ratios = {name: paired(ours, values(name)) for name in names}
    if not latency:
        made.limits = {"one core copying such frames": Sample.of([1e3 / copies[size]])}
    wanted = {"testpmd io": 2.0, "OVS-DPDK NORMAL": 3.0} if size == 64 and not latency else {"testpmd io": 1.0, "OVS-DPDK NORMAL": 1.0}
    made.aim = ", ".join(f"{wanted[n]:g} x {n}" for n in wanted if n in names)
    judged = [made.ratios[n].median >= wanted[n] for n in wanted if made.ratios.get(n)]
    made.met = all(judged) if judged and not unclean else None
    seen = [row[n] for row in rows for n in row]
    near = [ns for one in seen for ns in one["near"]]
    states = sorted({machine.nearness(ns) for ns in near})
    made.notes.append(
        f"ping-pong {min(near):.0f}-{max(near):.0f} ns ({', '.join(states)}); "
        f"{sum(s['clean'] for s in seen)} of {sum(s['windows'] for s in seen)} windows clean, mean share {statistics.mean(s['share'] for s in seen):.2f}")
    for name in ["wirevale", *names]:
        lost = max(row[name]["lost"] for row in rows if name in row)
        if lost:
            made.notes.append(f"{name}: {lost} of {2 * in_flight} frames were lost under way in one round")
    if unclean:
        made.notes.append("NOISY: not every switch had a clean window; these are medians over all windows")
    made.notes += remarks
    return made
