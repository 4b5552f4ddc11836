"""Two guests, attached in several ways: TCP, UDP and request/response, beside QEMU's back-ends and a kernel bridge.

Under TCG the guests' processors are emulated and are the bottleneck everywhere, so these figures say
how little the way between them takes from the guests, not how fast it could be. All guests are booted
once and stay; the attachments take turns.
"""

import json
import os
import re
import subprocess
import threading
import time

from . import kernelbridge, programs
from .bed import bed
from .figure import Figure, Sample, paired
from harness import Engine, Failed, Guest, Skipped, eventually
from harness.process import Process

PART = "guests: iperf3 and ping between two guests"


class PlainGuest(Guest):
    """The harness's guest with a `-netdev` of QEMU's own; `inside` is a command that QEMU stands behind."""

    def __init__(self, test, name, number, netdev, inside=()):
        image = test.image()
        self.test, self.number = test, number
        self.address, self.mac = f"10.77.0.{number}", f"52:54:00:00:77:{number:02x}"
        self.transcript, self.calls, self.booted = "", 0, 0
        self.changed = threading.Condition()
        self.started = time.monotonic()
        # Without no_timer_check the kernel panics now and then when it boots on a busy machine.
        words = f"console=ttyS0 quiet panic=-1 mitigations=off no_timer_check wv.name={name} wv.ip={self.address}/24 wv.life=900"
        Process.__init__(
            self, test, name,
            [*inside, "qemu-system-x86_64", "-netdev", netdev, "-device", f"virtio-net-pci,netdev=net0,mac={self.mac}",
             "-m", "192", "-accel", test.accelerator(), "-cpu", "max", "-nodefaults", "-no-user-config",
             "-display", "none", "-serial", "stdio", "-no-reboot", "-kernel", f"{image}/vmlinuz",
             "-initrd", f"{image}/initramfs", "-append", words + (" wv.serve=1" if number % 2 else "")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.console = os.path.join(test.directory, name + ".console.log")
        test.add_log(self.console)
        self.reader = threading.Thread(target=self.listen, daemon=True)
        self.reader.start()


def wirevale(test, number):
    engine = Engine(test)
    return [test.guest(f"wv{n}", number=number + n - 1, engine=engine, port=f"vale0:vm{n}", serve=n == 1)
            for n in (1, 2)]


def pair(kind, first, second):
    """Two guests whose netdevs talk to each other directly."""
    def make(test, number):
        place = os.path.join(test.directory, kind)
        one = PlainGuest(test, kind + "1", number, first.format(place))
        eventually(lambda: one.running, 1, "QEMU")
        time.sleep(0.5)  # the listener first
        return [one, PlainGuest(test, kind + "2", number + 1, second.format(place))]
    return make


def vde(test, number):
    programs.need("vde_switch", "one of the peers")
    control = os.path.join(test.directory, "vde.ctl")
    # It ends when its standard input does, so it gets one that stays.
    Process(test, "vde_switch", ["vde_switch", "-s", control], stdin=subprocess.PIPE)
    eventually(lambda: os.path.exists(control + "/ctl"), 5, "vde_switch")
    return [PlainGuest(test, f"vde{n}", number + n - 1, f"vde,id=net0,sock={control}") for n in (1, 2)]


def bridge(test, number):
    return [PlainGuest(test, f"tap{n}", number + n, netdev, kernelbridge.INSIDE)
            for n, netdev in enumerate(kernelbridge.build(test))]


def attachments(port):
    return {
        "wirevale": wirevale,
        "-netdev socket": pair("socket", f"socket,id=net0,listen=127.0.0.1:{port}",
                               f"socket,id=net0,connect=127.0.0.1:{port}"),
        "-netdev stream": pair("stream", "stream,id=net0,server=on,addr.type=unix,addr.path={0}",
                               "stream,id=net0,server=off,addr.type=unix,addr.path={0}"),
        "-netdev dgram": pair("dgram", "dgram,id=net0,local.type=unix,local.path={0}a,remote.type=unix,remote.path={0}b",
                              "dgram,id=net0,local.type=unix,local.path={0}b,remote.type=unix,remote.path={0}a"),
        "vde_switch": vde,
        "kernel bridge": bridge,
    }


def iperf(client, server, seconds, *options):
    """iperf3's summary of what arrived."""
    said = client.must(f"iperf3 -J -c {server.address} -t {seconds} {' '.join(options)}", seconds + 25)
    report = json.loads(said[said.index("{"):])
    return report["end"]


def tcp(client, server, seconds):
    return iperf(client, server, seconds)["sum_received"]["bits_per_second"] / 1e6


def udp(client, server, seconds):
    # As many small datagrams as the sender can make; those that arrive count.
    total = iperf(client, server, seconds, "-u", "-b", "0", "-l", "64")["sum"]
    return (total["packets"] - total["lost_packets"]) / total["seconds"] / 1e3


def responses(client, server, seconds):
    """Request and response, the next one when the last has come back."""
    said = client.run(f"ping -A -q -w {seconds} {server.address}", seconds + 15)[1]
    found = re.search(r"(\d+) packets transmitted, (\d+) (?:packets )?received", said)
    if not found:
        raise Skipped(f"the guest's ping knows no -A: {said[-200:]}")
    return int(found[2]) / seconds


TESTS = [("TCP stream", "Mbit/s", 0, tcp), ("UDP, 64-byte datagrams, received", "thousand/s", 1, udp),
         ("request/response (ping -A)", "a second", 0, responses)]


def measure(options):
    port = 20000 + os.getpid() % 20000
    remarks, seen = [], {}
    with bed() as test:
        pairs = {}
        for number, (name, make) in enumerate(attachments(port).items()):
            if options.attachments and not any(word in name for word in options.attachments):
                continue
            try:
                server, client = make(test, 1 + 2 * number)
                server.ready(90)
                client.ready(90)
                eventually(lambda: client.ping(server, 2)[1] > 0, 20, f"{name}: the guests reach each other")
            except Skipped as reason:
                remarks.append(f"{name} SKIPPED: {reason}")
            except Failed as reason:
                if name == "wirevale":
                    raise
                remarks.append(f"{name} SKIPPED: {reason}")
            else:
                pairs[name] = client, server
                options.progress(f"{name}: two guests are up")
        for number in range(options.guest_rounds):
            for what, unit, digits, run in TESTS:
                for name, (client, server) in pairs.items():
                    value = run(client, server, options.guest_seconds)
                    seen.setdefault(what, {}).setdefault(name, []).append(value)
                    options.progress(f"round {number + 1}: {what}, {name}: {value:.{digits}f} {unit}")
        accelerator = test.accelerator()
    figures = []
    for what, unit, digits, _ in TESTS:
        rows = seen.get(what, {})
        ours = rows.get("wirevale", [])
        peers = {name: values for name, values in rows.items() if name != "wirevale"}
        made = Figure(PART, f"{what} ({accelerator})", unit, f"Benchmarks/guests --rounds {options.guest_rounds}",
                      Sample.of(ours), digits=digits)
        made.peers = {name: Sample.of(values) for name, values in peers.items()}
        made.ratios = {name: paired(ours, values) for name, values in peers.items()}
        judged = [ratio.median for ratio in made.ratios.values() if ratio]
        made.aim = "ahead of every peer"
        made.met = min(judged) > 1 if judged else None
        made.notes = list(remarks)
        figures.append(made)
    return figures
