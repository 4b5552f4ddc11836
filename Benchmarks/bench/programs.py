"""Builds and finds what is measured: the Swift benchmarks and the C program with the bare limits."""

import os
import shutil
import subprocess

from . import ROOT
from harness import Failed, Skipped


def swift(product):
    """The release build of a benchmark; $WIREVALE_BENCH_BIN names a directory with ready ones."""
    ready = os.environ.get("WIREVALE_BENCH_BIN")
    if ready:
        path = os.path.join(ready, product)
        if not os.access(path, os.X_OK):
            raise Failed(f"WIREVALE_BENCH_BIN is set, but there is no program {path}")
        return path
    # The same flags as `make release`, so that neither build undoes the other.
    made = subprocess.run(["swift", "build", "-c", "release", "--static-swift-stdlib", "--product", product],
                          cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if made.returncode != 0:
        raise Failed(f"{product} does not build:\n{made.stdout[-2000:]}")
    return os.path.join(ROOT, ".build", "release", product)


def without_debug_information(program):
    """A copy that valgrind can read: it gives up on the DWARF of Swift's own libraries."""
    need("strip", "prepares programs for valgrind")
    target = os.path.join(ROOT, ".build", "bench", os.path.basename(program))
    os.makedirs(os.path.dirname(target), exist_ok=True)
    subprocess.run(["strip", "--strip-debug", "-o", target, program], check=True)
    return target


def limits():
    """`limits`, compiled when its source is newer."""
    source = os.path.join(ROOT, "Benchmarks", "Limits", "limits.c")
    target = os.path.join(ROOT, ".build", "bench", "limits")
    if not os.path.exists(target) or os.path.getmtime(target) < os.path.getmtime(source):
        need("gcc", "compiles the bare limits")
        os.makedirs(os.path.dirname(target), exist_ok=True)
        subprocess.run(["gcc", "-O2", "-Wall", "-Werror", "-pthread", "-o", target, source], check=True)
    return target


def need(program, why):
    """Skips the part when a program is missing, saying what would install it."""
    if not shutil.which(program):
        raise Skipped(f"{program} is not installed ({why}): scripts/install-packages bench")
    return program
