"""What an engine costs that has nothing to do: two guests are attached and awake, and say nothing."""

import os
import time

from .bed import bed
from .figure import Figure, Sample

PART = "idle: the engine with two idle guests attached"


def ticks(pid):
    """User and system time from /proc/PID/stat in seconds: what `top` would say."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident(pid):
    with open(f"/proc/{pid}/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS")) / 1024


def measure(options):
    with bed() as test:
        engine = test.engine()
        one, two = test.guests(
            dict(name="one", number=1, engine=engine, port="vale0:vm1"),
            dict(name="two", number=2, engine=engine, port="vale0:vm2"))
        test.check("the guests reach each other", one.ping(two)[1] == 3)
        time.sleep(2)
        options.progress(f"two guests are up; watching the idle engine for {options.seconds:g} s")

        def reading():
            workers = engine.execute("query-workers")
            return (engine.cpu_seconds(), ticks(engine.pid), time.monotonic(),
                    sum(p["stats64"]["rx"]["packets"] for p in engine.ports().values()),
                    sum(w["turns"] for w in workers), sum(w["sleeps"] for w in workers))

        before = reading()
        time.sleep(options.seconds)
        after = reading()
        used, ticked, took, frames, turns, sleeps = (b - a for a, b in zip(before, after))
        share = 100 * used / took
        made = Figure(PART, f"processor time over {took:.0f} s", "% of a processor",
                      f"Benchmarks/idle --seconds {options.seconds:g}", Sample.of([share]),
                      aim="under 0.5 %", met=share < 0.5, digits=3)
        made.notes = [f"{used * 1e3:.1f} ms by the scheduler's account, {ticked * 1e3:.0f} ms by the clock ticks' "
                      f"({test.accelerator()} guests)",
                      f"{frames} frames, {turns} turns of the workers, {sleeps} sleeps in that time; "
                      f"resident {resident(engine.pid):.1f} MiB"]
        return [made]
