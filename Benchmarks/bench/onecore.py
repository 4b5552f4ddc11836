"""What a frame costs on one core, nanoseconds and instructions, beside the bare copy and a C twin.

The Swift benchmarks interleave their variants by the millisecond and give medians of ratios, so these
figures bear a busy machine better than any that need two cores.
"""

import json
import os
import re
import subprocess

from . import ROOT, callgrind, programs
from .figure import Figure, Sample
from harness import Failed

LINE = re.compile(r"^(\d+) bytes: wirevale ([\d.]+) ns/frame \(best [\d.]+\), C twin ([\d.]+), bare copy ([\d.]+); "
                  r"wirevale/copy ([\d.]+), wirevale/C ([\d.]+)$", re.M)
# What issue 2 asks of a frame: at most so many times the bare copy, and the C twin.
AIMS = {64: {"bare copy": 3.5, "C twin": 1.10}, 1514: {"bare copy": 1.15}}
BUDGET = os.path.join(ROOT, "Benchmarks", "budget.json")


def said(program, *arguments):
    done = subprocess.run([program, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        raise Failed(f"{os.path.basename(program)} ended with {done.returncode}: {done.stdout.strip()[-500:]}")
    return done.stdout


def forwarding(options):
    """Two in-memory ports, learning, batches of 64."""
    program = programs.swift("forwarding-bench")
    seen = {}
    for turn in range(options.repeats):
        options.progress(f"forwarding-bench, run {turn + 1} of {options.repeats}")
        for row in LINE.findall(said(program)):
            seen.setdefault(int(row[0]), []).append([float(n) for n in row[1:]])
    figures = []
    for size, rows in seen.items():
        ours, twin, copy, to_copy, to_twin = (Sample.of(column) for column in zip(*rows))
        made = Figure("forwarding: two in-memory ports, one core, learning, batches of 64", f"{size} B", "ns a frame",
                      ".build/release/forwarding-bench", ours, {"C twin": twin}, {"bare copy": copy},
                      {"bare copy": to_copy, "C twin": to_twin})
        judge(made, AIMS.get(size, {}))
        figures.append(made)
    return figures


def judge(made, aims):
    if aims:
        made.aim = " and ".join(f"at most {limit:g} x {name}" for name, limit in aims.items())
        made.met = all(made.ratios[name].median <= limit for name, limit in aims.items())


def virtqueue(options):
    """From one guest's virtqueue to another's, drivers included, without a second core."""
    program = programs.swift("virtqueue-bench")
    seen = {}
    for turn in range(options.repeats):
        options.progress(f"virtqueue-bench, run {turn + 1} of {options.repeats}")
        for line in said(program, "--json").splitlines():
            row = json.loads(line)
            seen.setdefault((row["queue"], row["size"]), []).append((row["wirevale"], row["copy"], row["ratio"]))
    figures = []
    for (queue, size), rows in seen.items():
        ours, copy, ratio = (Sample.of(column) for column in zip(*rows))
        figures.append(Figure(
            "virtqueue: from one split queue to another, one core, batches of 64", f"{size} B, queues of {queue}",
            "ns a frame", ".build/release/virtqueue-bench", ours, {}, {"bare copy": copy}, {"bare copy": ratio}))
    return figures


def hotpath(options):
    """Instructions and forbidden calls a frame."""
    options.progress("counting instructions")
    costs = callgrind.count_all()
    budget = callgrind.read(BUDGET)
    broken, remarks = callgrind.verdicts(costs, budget)
    figures = []
    for name, row in costs.items():
        cost = row["swift"]
        made = Figure("hotpath: exact costs of a frame, under callgrind", name, "instructions",
                      "Benchmarks/hotpath --check Benchmarks/budget.json",
                      Sample.of([cost["instructions"]]), digits=1)
        made.peers = {"C twin": Sample.of([row["c"]["instructions"]])} if "c" in row else {}
        made.limits = {"bare copy": Sample.of([row["copy"]["instructions"]])}
        made.aim = (f"budget {budget['instructions'].get(name)}, and no retain, release, allocation or "
                    "exclusivity check")
        made.met = not any(line.startswith(name + ":") for line in broken)
        calls = sum(cost["forbidden"].values())
        made.notes = [f"{calls:g} such calls a frame"] + [
            line for line in broken + remarks if line.startswith(name + ":")]
        figures.append(made)
    return figures
