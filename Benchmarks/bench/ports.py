"""What ports cost that are attached and have nothing to do: 2, 10, 50 and 250 of them, two of them busy."""

import resource
import time

from . import machine
from .bed import bed
from .figure import Figure, Sample, paired
from .idle import resident
from .loop import sample
from .polling import Loop, WirevaleSwitch
from harness import eventually
from harness.frontend import Frontend

PART = "ports: two busy ports among idle ones (64-byte frames in a loop, one worker)"
COMMAND = "Benchmarks/ports"
QUEUE, IN_FLIGHT = 256, 64


class Town:
    """An engine with `count` ports: two for a testpmd that loops frames, the others with idle front-ends."""

    def __init__(self, test, count):
        self.count = count
        self.switch = WirevaleSwitch(test)
        engine = self.switch.engine
        # Few and small buffers: what is measured is the engine, not guests' memory.
        self.idle = [Frontend(test, engine.listen(f"vale0:idle{n}"), chains=16, size=2048)
                     for n in range(count - 2)]
        self.client = Loop(test, f"loop{count}", self.switch.sockets, QUEUE)
        eventually(self.switch.ready, 20, f"{count} ports to be up")

    def quiet(self, seconds):
        """Percent of a processor while nothing happens."""
        before, began = self.switch.engine.cpu_seconds(), time.monotonic()
        time.sleep(seconds)
        return 100 * (self.switch.engine.cpu_seconds() - before) / (time.monotonic() - began)

    def own_memory(self):
        """MiB that are the engine's alone, and MiB with what it has touched of its guests'."""
        with open(f"/proc/{self.switch.pid}/status") as file:
            anonymous = next(int(line.split()[1]) for line in file if line.startswith("RssAnon")) / 1024
        return anonymous, resident(self.switch.pid)


def measure(options):
    # Six descriptors a front-end, here and in the engine.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    facts, rounds = {}, []
    with bed() as test:
        towns = [Town(test, count) for count in options.ports]
        time.sleep(1)
        for town in towns:
            facts[town.count] = (town.quiet(options.idle_seconds), *town.own_memory())
            options.progress(f"{town.count} ports: idle {facts[town.count][0]:.3f} %, "
                             f"{facts[town.count][1]:.1f} MiB of its own")
        for _ in range(options.rounds):
            row = {}
            for town in towns:
                row[town.count] = seen = sample(town.switch, town.client, 64, IN_FLIGHT, options)
                options.progress(f"{town.count} ports: {seen['rate']['all'] / 1e6:.2f} Mpps, "
                                 f"{seen['clean']}/{seen['windows']} clean windows, "
                                 f"ping-pong {seen['near'][0]:.0f}/{seen['near'][1]:.0f} ns")
            rounds.append(row)
        losses = {town.count: town.switch.losses() for town in towns}
    return [figure(count, facts[count], rounds, losses[count], options) for count in options.ports]


def figure(count, fact, rounds, lost, options):
    # One kind of window for everybody, as in the loop.
    clean = all(any(row[n]["clean"] for row in rows) for rows in [rounds] for n in options.ports)
    kind = "clean" if clean else "all"

    def values(number):
        return [row[number]["rate"].get(kind, 0) / 1e6 or None for row in rounds]

    made = Figure(PART, f"{count} ports", "Mpps both ways", COMMAND, Sample.of(values(count)))
    first = options.ports[0]
    if count != first:
        made.ratios = {f"{first} ports": paired(values(count), values(first))}
    share, own, all_of_it = fact
    near = [ns for row in rounds for ns in row[count]["near"]]
    made.notes = [
        f"idle: {share:.3f} % of a processor over {options.idle_seconds:g} s; {own:.1f} MiB of its own, "
        f"{all_of_it:.1f} MiB resident with what it touched of its guests' memory",
        f"ping-pong {min(near):.0f}-{max(near):.0f} ns ({', '.join(sorted({machine.nearness(ns) for ns in near}))}); "
        f"{lost} frames dropped"]
    if not clean:
        made.notes.append("NOISY: not every case had a clean window; these are medians over all windows")
    return made
