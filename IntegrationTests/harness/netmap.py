"""netmap programs of our own on a real engine: C, compiled against the installed headers and libnetmap."""

import os
import re
import shutil
import signal
import subprocess

from .process import MARK, Failed, Process, Skipped, eventually
from .shim import COMMON, ROOT, library

SOURCES = os.path.join(ROOT, "IntegrationTests", "netmap")


class Programs:
    """`conform` and `traffic`, and the way they run on an engine."""

    def __init__(self, test):
        self.test = test
        self.library = library()
        compiler = os.environ.get("CC") or shutil.which("clang") or shutil.which("cc")
        if not compiler:
            raise Skipped("no C compiler")
        self.count = 0
        names = sorted(name for name in os.listdir(SOURCES) if name.endswith(".c"))
        libnetmap = [os.path.join(ROOT, "Sources", "LibNetmap", name) for name in ("nmctx.c", "nmport.c", "nmreq.c")]
        for program in ("conform", "traffic"):
            made = subprocess.run(
                [compiler, "-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-Werror",
                 "-I" + os.path.join(ROOT, "Sources", "CNetmap", "include"),
                 "-I" + os.path.join(ROOT, "Sources", "LibNetmap", "include"),
                 "-I" + COMMON, "-o", os.path.join(test.directory, program), "-pthread", *libnetmap,
                 os.path.join(COMMON, "checks.c"),
                 *[os.path.join(SOURCES, name) for name in names if name.startswith((program, "program"))]],
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            if made.returncode != 0:
                raise Failed(f"{program} does not compile: {made.stdout.strip()}")

    def path(self, name):
        return os.path.join(self.test.directory, name)

    def environment(self, engine):
        return dict(LD_PRELOAD=self.library, WIREVALE_NETMAP=os.path.join(engine.runtime, "netmap.sock"))

    def conform(self, engine, group):
        """Runs the checks of a group; each line that one prints becomes one of ours."""
        done = subprocess.run([self.path("conform"), group], env=dict(os.environ, **self.environment(engine),
                                                                      **{MARK: self.test.directory}),
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60)
        for line in done.stdout.splitlines():
            verdict, _, what = line.partition(": ")
            self.test.check(f"{group}: {what}", verdict != "FAILED") if verdict in ("ok", "FAILED") else self.test.note(what)
        self.test.check(f"{group}: all of them ran", done.returncode == 0, done.stderr.strip() or f"status {done.returncode}")

    def traffic(self, engine, *words, log=None):
        """A `traffic` program that runs on."""
        self.count += 1
        return Traffic(self.test, log or f"traffic{self.count}-{words[0]}", [self.path("traffic"), *words],
                       env=self.environment(engine))

    def flow(self, engine, sender, receiver, number, rate):
        """Frames with numbers from one port to another."""
        return Flow(self, engine, sender, receiver, number, rate)


class Traffic(Process):
    def ready(self, seconds=10):
        def is_ready():
            if "\nready\n" in self.text():
                return True
            if not self.running:
                raise Failed(f"{self.name} ended with {self.child.returncode}: {self.text()[-300:]}")
            return False
        eventually(is_ready, seconds, f"{self.name} with its port open")
        return self

    def numbers(self):
        """What it said at its end."""
        return {word: int(number) for word, number in re.findall(r"(\w+) (\d+)", self.text().splitlines()[-1])}


class Flow:
    """A sender and a receiver; `finish` says what was lost between them."""

    def __init__(self, programs, engine, sender, receiver, number, rate):
        self.name = f"{sender} to {receiver}"
        self.to = programs.traffic(engine, "receive", receiver, number).ready()
        # So that the switch knows the receiver's address: what is for it goes nowhere else.
        self.hello = programs.traffic(engine, "send", receiver, 0xff, number + 1, 10).ready()
        if receiver.startswith("vale"):
            mac, port = f"02:00:00:00:00:{number + 1:02x}", receiver.partition("@")[0]
            eventually(lambda: engine.fdb().get(mac) == port, 5, f"{port} is learned")
        self.sender = programs.traffic(engine, "send", sender, number + 1, number, rate).ready()
        self.hello.stop()

    def finish(self, test, seconds=20):
        self.sender.stop(signal.SIGTERM, seconds)
        sent = self.sender.numbers()
        self.to.stop(signal.SIGTERM, seconds)
        seen = self.to.numbers()
        test.check(f"{self.name}: every frame arrived, whole, once and in order",
                   sent["sent"] == seen["received"] > 0 and not seen["lost"] and not seen["late"] and not seen["damaged"],
                   dict(sent, **seen))
        return seen["received"]
