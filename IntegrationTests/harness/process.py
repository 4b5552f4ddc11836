"""Child processes that cannot be forgotten, and what a test may say about its outcome."""

import os
import signal
import subprocess
import time

# Every process that a test starts inherits this variable; whoever still carries it afterwards is a leak.
MARK = "WIREVALE_TEST_DIR"
TICKS = os.sysconf("SC_CLK_TCK")


class Failed(Exception):
    """The product did something else than it should."""


class Skipped(Exception):
    """This machine cannot run the test; the reason says what is missing."""


def eventually(question, seconds, what):
    """Asks until the answer is true and returns it; fails with `what` when time is up."""
    deadline = time.monotonic() + seconds
    while True:
        answer = question()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise Failed(f"not within {seconds} s: {what}")
        time.sleep(0.05)


class Process:
    """One child with its log file."""

    def __init__(self, test, name, arguments, stdin=subprocess.DEVNULL, stdout=None, env=None):
        self.name = name
        self.log = os.path.join(test.directory, name + ".log")
        self.arguments = [str(a) for a in arguments]
        with open(self.log, "ab") as log:
            log.write((" ".join(self.arguments) + "\n").encode())
            log.flush()
            try:
                self.child = subprocess.Popen(
                    self.arguments,
                    stdin=stdin,
                    stdout=log if stdout is None else stdout,
                    stderr=log,
                    env=dict(os.environ, **{MARK: test.directory}, **(env or {})),
                )
            except FileNotFoundError as error:
                raise Skipped(f"{error.filename} is not installed: scripts/install-packages test")
        test.add_log(self.log, self)
        test.cleanup(f"stop {name}", self.stop)

    @property
    def pid(self):
        return self.child.pid

    @property
    def running(self):
        return self.child.poll() is None

    def send_signal(self, number):
        if self.running:
            self.child.send_signal(number)

    def wait(self, seconds):
        """The exit status (negative: the signal that ended it)."""
        try:
            return self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Failed(f"{self.name} (pid {self.pid}) did not end within {seconds} s") from None

    def kill(self):
        self.send_signal(signal.SIGKILL)
        self.child.wait()

    def stop(self, number=signal.SIGTERM, seconds=10):
        """Asks to end, insists after a while; returns the exit status."""
        self.send_signal(number)
        try:
            return self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise Failed(f"{self.name} (pid {self.pid}) ignored signal {number}; killed") from None

    def cpu_seconds(self):
        """Processor time used so far by all threads, from the scheduler (nanosecond grain)."""
        return cpu_seconds(self.pid)

    def text(self):
        with open(self.log, errors="replace") as log:
            return log.read()


def cpu_seconds(pid):
    total = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{thread}/schedstat") as file:
                total += int(file.read().split()[0])
        except FileNotFoundError:
            pass
    return total / 1e9


def marked(directory):
    """Pids (with command lines) of live processes that carry this test's mark."""
    found = []
    mark = f"{MARK}={directory}".encode()
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        try:
            with open(f"/proc/{entry}/environ", "rb") as file:
                if mark not in file.read().split(b"\0"):
                    continue
            with open(f"/proc/{entry}/cmdline", "rb") as file:
                words = file.read().split(b"\0")
        except OSError:
            continue
        if words != [b""]:
            found.append((int(entry), b" ".join(words).decode(errors="replace").strip()))
    return found


def kill_marked(directory):
    """Ends whatever still carries the mark; returns what it found."""
    found = marked(directory)
    for pid, _ in found:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    deadline = time.monotonic() + 5
    while marked(directory) and time.monotonic() < deadline:
        time.sleep(0.02)
    return found
