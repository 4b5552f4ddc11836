"""Traffic between testpmd clients of one switch, added up to the frame."""

import os
import time

from .process import eventually
from .testpmd import Testpmd, mac, virtio_user


class Client:
    """A testpmd on a port of vale0."""

    def __init__(self, test, engine, name, number, peer, we_listen=True, mergeable=True, more=""):
        self.engine = engine
        self.name = f"vale0:{name}"
        if we_listen:
            path = engine.listen(self.name)
        else:
            path = os.path.join(test.directory, f"{name}.sock")
        self.process = Testpmd(test, name, [virtio_user(path, number, not we_listen, mergeable, more=more)], [peer],
                               wait=we_listen)
        if not we_listen:
            engine.connect(self.name, path)
            self.process.ready()

    def reading(self, quiet=0.3):
        """What the client has counted and what the switch has, both at rest."""
        dpdk = self.process.settled(quiet=quiet)
        while True:
            ours = self.engine.port(self.name)
            time.sleep(0.1)
            if self.engine.port(self.name)["stats64"] == ours["stats64"]:
                return dpdk, ours

    def mark(self):
        self.before = self.reading()

    def delta(self):
        """(dpdk, rx, tx, drops by reason) since `mark`."""
        dpdk, ours = self.reading()
        old_dpdk, old = self.before
        less = lambda new, old: {k: new[k] - old[k] for k in new if isinstance(new[k], int)}
        drops = {f"{way}.{why}": n - old["drops"][way].get(why, 0)
                 for way in ("rx", "tx") for why, n in ours["drops"][way].items()}
        return (less(dpdk, old_dpdk), less(ours["stats64"]["rx"], old["stats64"]["rx"]),
                less(ours["stats64"]["tx"], old["stats64"]["tx"]), {k: n for k, n in drops.items() if n})


def account(test, label, size, sender, receivers):
    """One burst of traffic of about a second, and the sums."""
    for client in (sender, *receivers):
        client.mark()
    sender.process.forward("txonly", size)
    time.sleep(0.8)
    sender.process.halt()
    sent, rx, _, lost_there = sender.delta()
    sent_frames = sent["opackets"]
    test.check(f"{label}: the switch took all that was sent", rx["packets"] == sent_frames > 1000,
               f"{sent_frames} frames, {rx['packets']} seen")
    test.check(f"{label}: and counted their bytes", rx["bytes"] == sent["obytes"] == sent_frames * size)
    lost_at_source = sum(n for why, n in lost_there.items() if why.startswith("rx."))
    for receiver in receivers:
        got, _, tx, lost = receiver.delta()
        lost_here = sum(n for why, n in lost.items() if why.startswith("tx."))
        test.check(f"{label}: {receiver.name}: sent = received + drops",
                   sent_frames == got["ipackets"] + lost_here + lost_at_source,
                   f"{sent_frames} = {got['ipackets']} + {lost_here} + {lost_at_source} {lost or ''}")
        test.check(f"{label}: {receiver.name}: the switch counts as DPDK does",
                   (tx["packets"], tx["bytes"]) == (got["ipackets"], got["ibytes"])
                   and got["ibytes"] == got["ipackets"] * size and tx["dropped"] == lost_here
                   and got["ierrors"] == got["rx_nombuf"] == 0)


def burst(test, engine, label, name, sizes, **options):
    """A sender and a receiver of one kind on the switch; every frame of theirs accounted for."""
    receiver = Client(test, engine, f"{name}-to", 2, mac(1), **options)
    sender = Client(test, engine, f"{name}-from", 1, mac(2), **options)
    # One burst of its own, so that the switch learns where it is.
    receiver.process.forward("rxonly", first=1)
    eventually(lambda: engine.fdb().get(mac(2)) == receiver.name, 5, f"{label}: learning")
    for size in sizes:
        account(test, f"{label}, {size} B", size, sender, [receiver])
    for client in sender, receiver:
        client.process.stop()
        engine.execute("netdev_del", id=client.name.replace(":", "-"))
