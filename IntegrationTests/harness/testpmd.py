"""dpdk-testpmd: virtio-user clients for our switch, and net_vhost as a stand-in for it.

Works without hugepages (--no-huge puts DPDK's memory into a memfd, which is what vhost-user needs)
and keeps all of DPDK's own files inside the test's directory (RUNTIME_DIRECTORY).
"""

import json
import os
import re
import socket
import subprocess
import threading
import time

from .process import Failed, Process, eventually


def virtio_user(path, number, server=False, mergeable=True, queues=1, more=""):
    """A front-end's --vdev, except for its index."""
    return (f"net_virtio_user{{}},path={path},queues={queues},mac={mac(number)}"
            + (",server=1" if server else "") + ("" if mergeable else ",mrg_rxbuf=0")
            + ("," + more if more else ""))


def vhost(path, client=False, more=""):
    """A back-end's --vdev, except for its index."""
    return (f"net_vhost{{}},iface={path},queues=1" + (",client=1" if client else "")
            + ("," + more if more else ""))


def mac(number):
    return f"02:00:00:00:77:{number:02x}"


class Testpmd(Process):
    """An interactive testpmd: it forwards only between `start` and `stop`, so that counters settle."""

    def __init__(self, test, name, devices, peers=(), extra=(), wait=True):
        self.devices = devices
        self.said = ""
        self.changed = threading.Condition()
        state = os.path.join(test.directory, "dpdk-state")
        os.makedirs(state, exist_ok=True)
        self.telemetry = os.path.join(state, "dpdk", f"wvt-{name}", "dpdk_telemetry.v2")
        arguments = ["dpdk-testpmd", "--no-huge", "-m", "96", "--no-pci", "--file-prefix", f"wvt-{name}",
                     # Any processor: pinned loops on a small machine starve each other.
                     "--lcores", "0@(0-{0}),1@(0-{0})".format(os.cpu_count() - 1)]
        for index, device in enumerate(devices):
            arguments += ["--vdev", device.format(index)]
        arguments += ["--", "-i", "--total-num-mbufs=12288", "--no-lsc-interrupt",
                      "--disable-link-check"]
        arguments += [f"--eth-peer={index},{address}" for index, address in enumerate(peers) if address]
        super().__init__(test, name, arguments + list(extra), stdin=subprocess.PIPE,
                         stdout=subprocess.PIPE, env={"RUNTIME_DIRECTORY": state})
        self.reader = threading.Thread(target=self.listen, daemon=True)
        self.reader.start()
        if wait:
            self.ready()

    def listen(self):
        with open(self.log, "ab") as log:
            while True:
                data = os.read(self.child.stdout.fileno(), 65536)
                log.write(data)
                log.flush()
                with self.changed:
                    self.said += data.decode(errors="replace")
                    self.changed.notify_all()
                if not data:
                    return

    def expect(self, pattern, seconds=20):
        deadline = time.monotonic() + seconds
        with self.changed:
            while True:
                found = re.search(pattern, self.said)
                if found:
                    self.said = self.said[found.end():]
                    return found
                left = deadline - time.monotonic()
                if left <= 0 or not self.running:
                    raise Failed(f"{self.name} never said '{pattern}': {self.said[-500:]!r}")
                self.changed.wait(min(left, 0.5))

    def ready(self, seconds=20):
        """Waits for its prompt: all devices are set up."""
        self.expect("testpmd> ", seconds)
        return self

    def command(self, line, seconds=20):
        """Types a line and waits for the next prompt."""
        with self.changed:
            self.said = ""
        self.child.stdin.write((line + "\n").encode())
        self.child.stdin.flush()
        self.expect(r"testpmd> ", seconds)

    def forward(self, mode, size=64, first=0):
        """Starts forwarding; `first` bursts of 32 frames are sent before anything else."""
        self.command(f"set fwd {mode}")
        self.command(f"set txpkts {size}")
        self.command(f"start tx_first {first}" if first else "start")

    def halt(self):
        self.command("stop")

    def ask(self, query):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as telemetry:
            telemetry.settimeout(10)
            telemetry.connect(self.telemetry)
            telemetry.recv(4096)
            telemetry.send(query.encode())
            return json.loads(telemetry.recv(1 << 20))[query.split(",")[0]]

    def statistics(self, port=0):
        """A port's counters: exact, and readable without disturbing the run."""
        return self.ask(f"/ethdev/stats,{port}")

    def link(self, port=0):
        return self.ask(f"/ethdev/link_status,{port}")["status"] == "UP"

    def settled(self, port=0, quiet=0.4, seconds=20):
        """Waits until a port's counters stand still, and returns them."""
        last = [self.statistics(port), time.monotonic()]

        def still():
            now = self.statistics(port)
            if now != last[0]:
                last[:] = [now, time.monotonic()]
            return time.monotonic() - last[1] > quiet

        eventually(still, seconds, f"counters of {self.name} that stand still")
        return last[0]

    def stop(self, *_, **__):
        """Quits by its own command, so that it says goodbye to the switch; kills it otherwise."""
        if self.running:
            try:
                self.child.stdin.write(b"stop\nquit\n")
                self.child.stdin.flush()
                self.child.wait(8)
            except (OSError, subprocess.TimeoutExpired):
                self.kill()
        self.reader.join(5)
        self.child.stdin.close()
        self.child.stdout.close()
