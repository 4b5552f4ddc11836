"""What a flooding guest costs its neighbours: their rate, their round trip, and the worker's turn.

Two neighbours bounce a few frames between each other (one burst in flight: what they count is latency), or one
sends to the other as fast as it can. Beside them a third floods, or polls without sending, so that in both cases
the same programs want the processors. With fewer processors than programs
the figures say as much about the kernel's scheduler; `virtqueue-bench --visits` has what a visit costs.
"""

import time

from .client import Client
from .process import eventually
from .testpmd import mac

# What the flooder sends: the sizes of a frame's segments, and how many frames it may be made of in one burst.
FLOODS = {
    "nothing": None,
    "64 B": "64",
    "1500 B": "1500",
    "9 kB in 5 buffers": ",".join(["1800"] * 5),
    "28 kB in 14 buffers": ",".join(["2000"] * 14),
    "14 x 18 B": ",".join(["18"] * 14),
}
BURST = 32


class Street:
    """Two neighbours, a flooder and its sink on one switch with one worker."""

    def __init__(self, test, *options):
        self.engine = test.engine(*options)
        self.one = Client(test, self.engine, "one", 1, mac(2))
        self.two = Client(test, self.engine, "two", 2, mac(1))
        self.flooder = Client(test, self.engine, "flooder", 3, mac(4))
        self.sink = Client(test, self.engine, "sink", 4, mac(3))
        for number, client in enumerate((self.one, self.two, self.flooder, self.sink), 1):
            client.process.forward("rxonly", first=1)
            eventually(lambda: self.engine.fdb().get(mac(number)) == client.name, 10, f"{client.name} is learned")
            client.process.halt()
        # Nobody reads there: what arrives is copied until its ring is full, then dropped.
        self.sink.process.forward("rxonly")

    def measure(self, flood, seconds):
        """One flood, with the neighbours bouncing and then sending; a dict of figures."""
        figures = {}
        process = self.flooder.process
        if flood is None:
            process.forward("rxonly")
        else:
            process.command("set fwd txonly")
            process.command(f"set txpkts {flood}")
            process.command("start")
        flooded = self.flooder.sent()
        began = time.monotonic()
        self.two.process.forward("mac")
        self.one.process.forward("mac", first=1)
        time.sleep(0.1)
        figures["round trips"] = self.one.rate(seconds) / BURST
        self.one.process.halt()
        self.two.process.halt()
        self.two.process.forward("rxonly")
        self.one.process.forward("txonly")
        time.sleep(0.1)
        figures["frames"] = self.two.rate(seconds)
        self.one.process.halt()
        self.two.process.halt()
        figures["flood"] = (self.flooder.sent() - flooded) / (time.monotonic() - began)
        process.halt()
        return figures


def table(rows):
    """Lines for people."""
    yield f"{'the flooder sends':<22}{'its frames/s':>14}{'neighbour frames/s':>20}{'round trips/s':>15}"
    for name, row in rows.items():
        yield (f"{name:<22}{row['flood']:>14,.0f}{row['frames']:>20,.0f}{row['round trips']:>15,.0f}")
