"""A testpmd on a port of a switch, with its own counters and the switch's side by side."""

import signal
import time

from .testpmd import Testpmd, virtio_user


class Client:
    """`number` is its address (`mac(number)`), `peer` the address that it sends to."""

    def __init__(self, test, engine, name, number, peer=None, switch="vale0", queues=1, mergeable=True, **port):
        self.engine = engine
        self.name = f"{switch}:{name}"
        path = engine.listen(self.name, queues=queues, **port)
        extra = [f"--rxq={queues}", f"--txq={queues}"] if queues > 1 else []
        self.process = Testpmd(test, name, [virtio_user(path, number, mergeable=mergeable, queues=queues)],
                               [peer], extra=extra)

    def port(self):
        return self.engine.port(self.name)

    def drops(self):
        """Frames lost at the port, by direction and reason."""
        return self.engine.drops(self.name)

    def sent(self):
        return self.process.statistics()["opackets"]

    def received(self):
        return self.process.statistics()["ipackets"]

    def settled(self, quiet=0.4):
        return self.process.settled(quiet=quiet)

    def freeze(self):
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)

    def rate(self, seconds, way="ipackets"):
        """Frames a second that the client counts, over a while."""
        before, began = self.process.statistics()[way], time.monotonic()
        time.sleep(seconds)
        return (self.process.statistics()[way] - before) / (time.monotonic() - began)
