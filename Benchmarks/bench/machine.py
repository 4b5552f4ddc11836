"""The machine: what it is, how near its two processors are right now, and who had them."""

import os
import platform
import re
import subprocess
import time

from . import ROOT, programs


def description():
    """CPU model, processors, kernel, memory and the state of the source."""
    with open("/proc/cpuinfo") as file:
        model = re.search(r"^model name\s*:\s*(.*)$", file.read(), re.M)
    with open("/proc/meminfo") as file:
        facts = dict(re.findall(r"^(\w+):\s+(\d+)", file.read(), re.M))
    commit = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty"], text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout.strip()
    return {
        "cpu": model[1] if model else platform.machine(),
        "processors": os.cpu_count(),
        "kernel": platform.release(),
        "memory-gib": round(int(facts["MemTotal"]) / 2**20, 1),
        "hugepages": int(facts.get("HugePages_Total", 0)),
        "load": os.getloadavg()[0],
        "commit": commit or "unknown",
    }


def ping_pong(here=0, there=1):
    """Nanoseconds for a cache line to go to the other processor and back (best of 21)."""
    said = subprocess.run([programs.limits(), "pingpong", str(here), str(there)], check=True,
                          stdout=subprocess.PIPE, text=True).stdout
    return float(said.split()[0])


def nearness(nanoseconds):
    """The three states that a cache-line ping-pong has, in words."""
    if nanoseconds < 85:
        return "threads of one core"
    return "same cache" if nanoseconds < 350 else "far apart"


def copy(size, cpu=0):
    """Nanoseconds to copy `size` bytes between ring buffers (median of 21)."""
    said = subprocess.run([programs.limits(), "copy", str(cpu), str(size)], check=True,
                          stdout=subprocess.PIPE, text=True).stdout
    return float(said.split()[1])


def schedules(pid):
    """Nanoseconds on a processor, and of waiting for one, of every thread; the time of asking under None."""
    times = {None: time.monotonic_ns()}
    for thread in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{thread}/schedstat") as file:
                times[thread] = tuple(int(word) for word in file.read().split()[:2])
        except (FileNotFoundError, ProcessLookupError):
            pass
    return times


def run_times(pid):
    """The same without the waiting."""
    return {thread: times if thread is None else times[0] for thread, times in schedules(pid).items()}


def unhindered(before, after):
    """The share of the time between two schedules in which the busiest thread did not wait for a processor.

    For a thread that polls this is its share of the processor; it means something for one that sleeps, too.
    """
    _, waited = max((after[t][0] - before[t][0], after[t][1] - before[t][1])
                      for t in after if t is not None and t in before)
    return 1 - waited / (after[None] - before[None])


def prioritise(pids, nice):
    """Sets the nice value of processes, and of ourselves: whoever watches must not wait either."""
    for pid in (*pids, os.getpid()):
        renice(pid, nice)


def renice(pid, nice):
    """Sets the nice value of every thread of a process; below 0 it keeps neighbours away (root only)."""
    for thread in os.listdir(f"/proc/{pid}/task"):
        try:
            os.setpriority(os.PRIO_PROCESS, int(thread), nice)
        except ProcessLookupError:
            pass
    try:
        # Where sessions are scheduled as groups, a nice value counts only inside its group.
        with open(f"/proc/{pid}/autogroup", "w") as file:
            file.write(str(nice))
    except OSError:
        pass


def busiest(before, after):
    """The share of a processor that the busiest thread had between two readings."""
    used = [after[t] - before.get(t, 0) for t in after if t is not None]
    return max(used, default=0) / (after[None] - before[None])


def stolen():
    """Ticks that the host took from each processor, and all ticks."""
    result = []
    with open("/proc/stat") as file:
        for line in file:
            if re.match(r"cpu\d", line):
                ticks = [int(n) for n in line.split()[1:9]]
                result.append((ticks[7], sum(ticks)))
    return result


def steal(before, after):
    """The largest share of a processor that the host took between two readings."""
    return max((b[0] - a[0]) / max(1, b[1] - a[1]) for a, b in zip(before, after))


def others(seconds=0.3):
    """The busiest processor's load, for a look at the neighbours before a measurement."""
    def reading():
        with open("/proc/stat") as file:
            rows = [[int(n) for n in line.split()[1:9]] for line in file if re.match(r"cpu\d", line)]
        return [(row[3] + row[4], sum(row)) for row in rows]

    before = reading()
    time.sleep(seconds)
    return max(1 - (b[0] - a[0]) / max(1, b[1] - a[1]) for a, b in zip(before, reading()))
