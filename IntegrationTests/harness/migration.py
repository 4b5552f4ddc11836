"""A guest that moves to another QEMU while others use it."""

import os
import re

from .guest import Guest
from .process import Failed, eventually

PING_INTERVAL = 0.1


class Move:
    """`source` is to move to a second QEMU, which stands ready on `port` of `engine` when this returns."""

    def __init__(self, test, source, engine, port, name="target", **options):
        self.source = source
        path = os.path.join(test.directory, name + ".migration")
        self.address = f"unix:{path}"
        self.target = Guest(test, name, source.number, engine=engine, port=port, extra=("-incoming", self.address),
                            **options)
        eventually(lambda: os.path.exists(path), 20, "the second QEMU to listen")
        self.monitor = source.qmp()

    def begin(self):
        # So fast that it ends before what others do with the guest does.
        self.monitor.execute("migrate-set-parameters", **{"max-bandwidth": 1 << 30, "downtime-limit": 500})
        self.monitor.execute("migrate", uri=self.address)

    def outcome(self, seconds=120):
        """Waits for the end; QEMU's report, whatever it says."""
        last = {}

        def ended():
            last.update(self.monitor.execute("query-migrate"))
            return last["status"] in ("completed", "failed", "cancelled")

        eventually(ended, seconds, "the migration to end")
        return last

    def complete(self):
        """Migrates, and ends the QEMU that was left; QEMU's report."""
        self.begin()
        report = self.outcome()
        if report["status"] != "completed":
            raise Failed(f"the migration ended as {report['status']}: {report.get('error-desc')}")
        return report


class Download:
    """A file on its way from `sender` to a guest, which moves meanwhile, and pings beside it."""

    def __init__(self, sender, receiver, megabytes, seconds=150):
        self.sender = sender
        sender.must(f"ping -i {PING_INTERVAL} -W 5 -c 900 {receiver.address} >/tmp/ping 2>&1 &")
        self.file = sender.begin_file(receiver, megabytes, seconds=seconds)

    def finish(self, receiver):
        """Waits for the last byte at the guest's new place; (digest sent, digest arrived, seconds)."""
        _, *rest = self.file
        return self.sender.finish_file((receiver, *rest))

    def gap(self):
        """Ends the pings: (sent, answered, seconds without an answer at worst)."""
        self.sender.must("killall -INT ping")
        said = self.sender.must("sleep 0.3; cat /tmp/ping")
        sent, answered = map(int, re.search(r"(\d+) packets transmitted, (\d+) packets received", said).groups())
        numbers = [int(number) for number in re.findall(r" seq=(\d+) ", said)]
        worst = max((b - a - 1 for a, b in zip(numbers, numbers[1:])), default=0)
        return sent, answered, worst * PING_INTERVAL
