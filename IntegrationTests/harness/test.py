"""The frame of a test: a private directory, a stack of things to undo, a check that nothing is left."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback

from .accelerator import accelerator
from .engine import Engine
from .guest import Guest
from .process import Failed, Skipped, kill_marked
from .testpmd import Testpmd

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SKIP = 77


def binary():
    """The program under test: $WIREVALE, else the release build, else the debug build."""
    named = os.environ.get("WIREVALE")
    for path in [named] if named else [
        os.path.join(ROOT, ".build", kind, "wirevale") for kind in ("release", "debug")
    ]:
        if os.access(path, os.X_OK):
            return os.path.abspath(path)
    raise Failed("no wirevale program: run 'swift build', or set WIREVALE=PATH")


def image_directory():
    return os.environ.get("WIREVALE_GUEST", os.path.join(ROOT, ".build", "guest"))


class Test:
    """Handed to a test's `main`: makes the actors and remembers how to get rid of them."""

    def __init__(self):
        # Short: a unix socket's path has 107 bytes.
        self.directory = tempfile.mkdtemp(prefix="wv-")
        self.wirevale = None
        self.prepared = None
        self.stack = []
        self.logs = {}
        self.before = Surroundings()
        self.began = time.monotonic()

    # Actors

    @property
    def program(self):
        self.wirevale = self.wirevale or binary()
        return self.wirevale

    def engine(self, *options, **more):
        """A running `wirevale serve` of our own."""
        return Engine(self, *options, **more)

    def image(self):
        """The guest's kernel and initramfs, made when missing or old."""
        if self.prepared:
            return self.prepared
        directory = image_directory()
        made = subprocess.run([os.path.join(ROOT, "scripts", "guest-image"), directory],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if made.returncode != 0:
            raise Skipped(f"no guest image: {made.stdout.strip()}")
        self.prepared = directory
        return directory

    def guest(self, name, **options):
        """A virtual machine that is starting; `ready()` waits for it."""
        return Guest(self, name, **options)

    def guests(self, *descriptions):
        """Several, started together; returns them booted. Each is a dict for `guest`."""
        made = [self.guest(**description) for description in descriptions]
        return [guest.ready() for guest in made]

    def testpmd(self, name, devices, **options):
        return Testpmd(self, name, devices, **options)

    def accelerator(self):
        return accelerator(self.image())

    # Outcome

    def check(self, what, condition, detail=""):
        """Says what holds, or fails with what does not."""
        if not condition:
            raise Failed(f"not so: {what}" + (f" ({str(detail)[:2000]})" if detail != "" else ""))
        self.note(what + (f" ({detail})" if detail != "" else ""))

    def check_quietly(self, what, condition):
        """One of many checks of a loop."""
        if not condition:
            raise Failed(f"not so: {what}")

    def note(self, text):
        print(f"  {time.monotonic() - self.began:5.1f} s  {text}", flush=True)

    def skip(self, reason):
        raise Skipped(reason)

    # Undoing

    def cleanup(self, what, action):
        self.stack.append((what, action))

    def add_log(self, path, process=None):
        """A file whose end is shown when the test fails, unless its process had ended well."""
        self.logs[path] = process

    def tear_down(self, hasty):
        """Undoes everything, newest first, whatever fails; returns what went wrong."""
        troubles = []
        while self.stack:
            what, action = self.stack.pop()
            try:
                action()
            except Failed as error:
                troubles.append(f"{what}: {error}")
            except Exception as error:  # pylint: disable=broad-except
                troubles.append(f"{what}: {error!r}")
        for pid, command in kill_marked(self.directory):
            troubles.append(f"left running: {pid} {command}")
        troubles += self.before.changes()
        return [] if hasty else troubles

    def show_logs(self):
        for path, process in self.logs.items():
            if process and not process.running and process.child.returncode == 0:
                continue  # It did its part long ago.
            with open(path, errors="replace") as file:
                lines = file.read().splitlines()
            print(f"--- {os.path.basename(path)} (the last of {len(lines)} lines)")
            print("\n".join("    " + line[:400] for line in lines[-25:]), flush=True)


class Surroundings:
    """What a test shares with the machine. Others use the machine, too: only what carries our name counts.

    Tests that need a network namespace or interface call it `wvt...`; none needs hugepages or writes to
    DPDK's directory.
    """

    def __init__(self):
        self.seen = self.look()

    @staticmethod
    def look():
        places = ("/run/netns", "/sys/class/net", "/run/dpdk")
        return {f"{place}/{name}" for place in places if os.path.isdir(place)
                for name in os.listdir(place) if name.startswith("wvt")}

    def changes(self):
        return [f"left behind: {name}" for name in sorted(self.look() - self.seen)]


def interrupted(number, _):
    raise KeyboardInterrupt(signal.Signals(number).name)


def run(main):
    """Runs a test and exits: 0 passed, 77 skipped, 1 failed; 130 when it was interrupted."""
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, interrupted)
    test = Test()
    status = 0
    began = time.monotonic()
    try:
        main(test)
    except Skipped as reason:
        print(f"SKIPPED: {reason}", flush=True)
        status = SKIP
    except KeyboardInterrupt as reason:
        print(f"INTERRUPTED by {reason} after {time.monotonic() - began:.0f} s", flush=True)
        traceback.print_exc(limit=-3)
        status = 130
    except Failed as error:
        where = traceback.extract_tb(sys.exc_info()[2])
        place = next((f for f in reversed(where) if "/harness/" not in f.filename), where[-1])
        print(f"FAILED: {error}\n    at line {place.lineno}: {place.line}", flush=True)
        status = 1
    except Exception:  # pylint: disable=broad-except
        traceback.print_exc()
        status = 1
    if status in (1, 130):
        test.show_logs()
    # A second signal must not interrupt the sweeping.
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    troubles = test.tear_down(hasty=False)
    for trouble in troubles:
        print(f"NOT CLEAN: {trouble}", flush=True)
    if troubles and status in (0, SKIP):
        test.show_logs()
        status = 1
    if os.environ.get("WIREVALE_KEEP_LOGS") and status == 1:
        print(f"logs kept in {test.directory}", flush=True)
    else:
        shutil.rmtree(test.directory, ignore_errors=True)
    sys.exit(status)
