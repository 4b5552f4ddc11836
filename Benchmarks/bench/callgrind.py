"""Exact costs of a frame, in instructions and calls, on any machine: what CI can gate on.

A benchmark runs under callgrind with N rounds and with 3N; the difference is 2N rounds of the steady
state, because start-up, warm-up and the dynamic linker are in both and fall out.
"""

import concurrent.futures
import json
import os
import re
import subprocess
import tempfile

from . import ROOT, programs
from harness import Failed

# What the loop must never call: reference counting, exclusivity checks, memory.
FORBIDDEN = re.compile(
    r"^(swift_(retain|release|bridgeObject\w+|unknownObject\w+|beginAccess|endAccess|alloc\w+|dealloc\w+|slow\w+"
    r"|isUniquely\w+|task\w+|once|getGenericMetadata|dynamicCast\w*|projectBox)(_n)?|_swift_(retain|release)_?(_n)?"
    r"|malloc|calloc|realloc|free|posix_memalign|aligned_alloc|pthread_mutex_(un)?lock)$")

# Valgrind shows the host's vector units to glibc, which picks its memcpy by them. The plain one is
# there everywhere, so that a budget made on one machine holds on another.
TUNABLES = ("glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX2,-AVX,-ERMS,-FSRM,-Fast_Copy_Backward,"
            "-AVX_Fast_Unaligned_Load,-Fast_Unaligned_Copy")

# Benchmark, variants, frames a round, N.
SUBJECTS = [("forwarding-bench", ("swift", "c", "copy"), 1023, 8), ("virtqueue-bench", ("swift", "copy"), 256, 32)]
SIZES = (64, 1514)


def run(program, variant, size, rounds):
    """(instructions, calls by function) of a whole run."""
    with tempfile.NamedTemporaryFile(prefix="callgrind.") as out:
        done = subprocess.run(
            ["valgrind", "-q", "--tool=callgrind", f"--callgrind-out-file={out.name}", program, "--count",
             variant, str(size), str(rounds)],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            env=dict(os.environ, GLIBC_TUNABLES=TUNABLES, SWIFT_BACKTRACE="enable=no"))
        if done.returncode != 0:
            raise Failed(f"{os.path.basename(program)} --count {variant} {size} {rounds} under callgrind ended "
                         f"with {done.returncode}: {done.stderr.strip()[-500:]}")
        with open(out.name, errors="replace") as file:
            return parse(file)


def parse(lines):
    """Names appear once and are numbers from then on; a cycle's functions carry a 'N at the end."""
    names, calls, callee, total = {}, {}, "", 0
    for line in lines:
        if line.startswith(("fn=", "cfn=")):
            number, _, name = line.split("=", 1)[1].strip().partition(" ")
            if name:
                names[number] = re.sub(r"'\d+$", "", name)
            if line.startswith("cfn="):
                callee = names.get(number, number)
        elif line.startswith("calls="):
            calls[callee] = calls.get(callee, 0) + int(line[6:].split()[0])
        elif line.startswith(("totals:", "summary:")):
            total = int(line.split()[1])
    return total, calls


def count(program, variant, size, frames, rounds):
    """What one frame costs: instructions, all calls, and forbidden calls by name."""
    (low, few), (high, many) = run(program, variant, size, rounds), run(program, variant, size, 3 * rounds)
    moved = 2 * rounds * frames
    more = {name: n - few.get(name, 0) for name, n in many.items()}
    return {
        "instructions": round((high - low) / moved, 2),
        "calls": round(sum(more.values()) / moved, 2),
        "forbidden": {name: n / moved for name, n in more.items() if n and FORBIDDEN.match(name)},
    }


def count_all():
    """All subjects: {"forwarding-bench 64": {"swift": cost, "c": cost, "copy": cost}}"""
    programs.need("valgrind", "counts instructions")
    result = {}
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for product, variants, frames, rounds in SUBJECTS:
            program = programs.without_debug_information(programs.swift(product))
            for size in SIZES:
                result[f"{product} {size}"] = {
                    v: pool.submit(count, program, v, size, frames, rounds) for v in variants}
        return {name: {v: job.result() for v, job in row.items()} for name, row in result.items()}


def compiler():
    said = subprocess.run(["swift", "--version"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                          text=True).stdout
    found = re.search(r"Swift version (\S+)", said)
    return found[1] if found else "unknown"


def read(path):
    try:
        with open(path) as file:
            return json.load(file)
    except FileNotFoundError:
        raise Failed(f"there is no budget {path}: make one with Benchmarks/hotpath --update {path}") from None
    except ValueError as error:
        raise Failed(f"{path} is not JSON: {error}") from None


def write(path, costs):
    """The costs as they are now become the budget."""
    budget = {
        "comment": "Instructions a frame under callgrind; Benchmarks/hotpath --update rewrites it.",
        "compiler": f"Swift {compiler()}",
        "tolerance": 0.05,
        "instructions": {name: row["swift"]["instructions"] for name, row in costs.items()},
    }
    with open(path, "w") as file:
        file.write(json.dumps(budget, indent=4) + "\n")


def verdicts(costs, budget):
    """(broken promises, remarks) of costs against a budget."""
    broken, remarks = [], []
    allowed, tolerance = budget.get("instructions", {}), budget.get("tolerance", 0.05)
    for name, row in costs.items():
        cost = row["swift"]
        for function, n in cost["forbidden"].items():
            broken.append(f"{name}: {n:.4f} calls of {function} a frame; the loop may have none")
        if name not in allowed:
            broken.append(f"{name}: the budget does not know it; add it with --update")
            continue
        change = cost["instructions"] / allowed[name] - 1
        if change > tolerance:
            broken.append(f"{name}: {cost['instructions']} instructions a frame, {change:+.1%} against the budget's "
                          f"{allowed[name]} (tolerance {tolerance:.0%}, budget made with {budget.get('compiler')})")
        elif change < -tolerance:
            remarks.append(f"{name}: {cost['instructions']} instructions a frame, {change:+.1%}: better than the "
                           "budget; keep the gain with --update")
    return broken, remarks


def table(costs, budget=None):
    """The costs as text."""
    allowed = (budget or {}).get("instructions", {})
    yield f"{'instructions a frame':<26}{'wirevale':>10}{'C twin':>10}{'bare copy':>11}{'budget':>10}   forbidden calls"
    for name, row in costs.items():
        number = lambda v: f"{row[v]['instructions']:.1f}" if v in row else "-"
        forbidden = sum(row["swift"]["forbidden"].values())
        yield (f"{name:<26}{number('swift'):>10}{number('c'):>10}{number('copy'):>11}"
               f"{allowed.get(name, '-'):>10}   {forbidden:g}")
