"""The preload library under programs that check it, with an engine that does as they say."""

import os
import shutil
import subprocess

from .process import MARK, Failed, Process, Skipped, eventually

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SOURCES = os.path.join(ROOT, "IntegrationTests", "shim")
COMMON = os.path.join(ROOT, "IntegrationTests", "common")


def library():
    """libnetmap-shim.so, built if it is not there or old."""
    built = subprocess.run([os.path.join(ROOT, "scripts", "build-shim")], stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, text=True)
    if built.returncode != 0:
        raise Failed(f"the preload library does not build: {built.stdout.strip()}")
    return os.path.join(ROOT, ".build", "release", "libnetmap-shim.so")


class Shim:
    """Checks in C (IntegrationTests/shim), each in a process of its own with a mock engine of its own."""

    def __init__(self, test):
        self.test = test
        self.library = library()
        self.compiler = os.environ.get("CC") or shutil.which("clang") or shutil.which("cc")
        if not self.compiler:
            raise Skipped("no C compiler")

    def compile(self, program):
        """The program of the sources whose names begin so."""
        if os.path.exists(self.path(program)):
            return self.path(program)
        files = sorted(name for name in os.listdir(SOURCES) if name.startswith(program) and name.endswith(".c"))
        made = subprocess.run(
            [self.compiler, "-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-Werror",
             "-I" + os.path.join(ROOT, "Sources", "CNetmap", "include"), "-I" + COMMON, "-o", self.path(program),
             "-pthread", os.path.join(COMMON, "checks.c"), *[os.path.join(SOURCES, name) for name in files]],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if made.returncode != 0:
            raise Failed(f"{program} does not compile: {made.stdout.strip()}")
        return self.path(program)

    def path(self, name):
        return os.path.join(self.test.directory, name)

    def environment(self, socket):
        return dict(os.environ, LD_PRELOAD=self.library, WIREVALE_NETMAP=socket, **{MARK: self.test.directory})

    def check(self, name):
        """Runs the checks called `name`; each line that one prints becomes one of ours."""
        socket = self.path(name + ".sock")
        engine = Process(self.test, "mock-" + name, [self.compile("mock_engine"), socket])
        eventually(lambda: os.path.exists(socket), 5, "a mock engine that listens")
        done = subprocess.run([self.compile("check"), name], env=self.environment(socket), stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60)
        for line in done.stdout.splitlines():
            verdict, _, what = line.partition(": ")
            self.test.check(what, verdict != "FAILED") if verdict in ("ok", "FAILED") else self.test.note(what)
        self.test.check(f"{name}: all of them ran", done.returncode == 0, done.stderr.strip() or f"status {done.returncode}")
        engine.stop()
        return done.stderr

    def run(self, *words, **options):
        """Any program with the library in it, and no engine."""
        return subprocess.run(words, env=self.environment("/nonexistent/netmap.sock"), stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60, **options)
