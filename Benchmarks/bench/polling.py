"""Programs that poll on a processor of their own: testpmd as traffic source, our engine and testpmd as switches."""

import os
import subprocess
import threading
import time

from harness import Engine, Testpmd
from harness.process import Process
from harness.testpmd import mac, vhost, virtio_user

SWITCH_CPU, CLIENT_CPU = 0, 1
# Both formats as DPDK drives them unless told otherwise: mergeable buffers, used in order.
RINGS = {"split": "packed_vq=0", "packed": "packed_vq=1"}


class Pinned(Testpmd):
    """An interactive testpmd whose forwarding thread has one processor.

    DPDK's memory is a plain memfd (--no-huge) for clients and peers alike: Wirevale asks for no
    hugepages, and reserving them would take them from everybody else on the machine.
    """

    def __init__(self, test, name, devices, cpu, peers=()):
        self.devices = devices
        self.said = ""
        self.changed = threading.Condition()
        state = os.path.join(test.directory, "dpdk-state")
        os.makedirs(state, exist_ok=True)
        self.telemetry = os.path.join(state, "dpdk", name, "dpdk_telemetry.v2")
        arguments = ["dpdk-testpmd", "--no-huge", "-m", "96", "--no-pci", "--file-prefix", name,
                     "--lcores", f"0@{cpu},1@{cpu}"]
        for index, device in enumerate(devices):
            arguments += ["--vdev", device.format(index)]
        arguments += ["--", "-i", "--total-num-mbufs=12288", "--no-lsc-interrupt", "--disable-link-check",
                      "--txd=1024", "--rxd=1024"]
        arguments += [f"--eth-peer={index},{address}" for index, address in enumerate(peers)]
        Process.__init__(self, test, name, arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                         env={"RUNTIME_DIRECTORY": state})
        self.reader = threading.Thread(target=self.listen, daemon=True)
        self.reader.start()


class Loop(Pinned):
    """Two virtio-user ports with rings of a format (a name in RINGS) that send every frame they get out of the other one: frames circulate."""

    def __init__(self, test, name, sockets, queue, ring="split"):
        devices = [virtio_user(path, n, more=f"queue_size={queue},{RINGS[ring]}")
                   for n, path in enumerate(sockets, 1)]
        # Proper unicast for a switch that learns: addresses stay although the frames go round.
        super().__init__(test, name, devices, CLIENT_CPU, peers=[mac(2), mac(1)])
        self.ready()

    def begin(self, size, in_flight):
        """Starts with `in_flight` frames at each port."""
        burst = min(64, in_flight)
        for line in ("set fwd io", f"set burst {burst}", f"set txpkts {size}",
                     f"start tx_first {max(1, in_flight // burst)}"):
            self.command(line)

    def end(self):
        """Stops, and takes what is still under way out of the rings; returns how many frames that were."""
        self.command("stop")
        before = self.received()
        for line in ("set burst 64", "set fwd rxonly", "start"):
            self.command(line)
        time.sleep(0.15)
        self.command("stop")
        return self.received() - before

    def received(self):
        return sum(self.statistics(port)["ipackets"] for port in (0, 1))

    def sent(self):
        """(seconds, frames sent by port 0, frames sent by both)"""
        one, two = (self.statistics(port)["opackets"] for port in (0, 1))
        return time.monotonic(), one, one + two


class WirevaleSwitch:
    """Our engine with one worker."""

    name = "wirevale"
    command = f"wirevale serve --workers 1 --cpus {SWITCH_CPU}"

    def __init__(self, test):
        self.engine = Engine(test, "--workers", "1", "--cpus", str(SWITCH_CPU))
        self.sockets = [self.engine.listen(f"vale0:p{n}") for n in (1, 2)]
        self.pid = self.engine.pid

    def ways(self, _):
        """What takes turns in a comparison: a switch may forward in several ways."""
        return [self]

    def ready(self):
        """Whether both ports are connected and forward."""
        return all(port["operstate"] == "UP" for port in self.engine.ports().values())

    def resume(self):
        pass

    def pause(self):
        pass

    def losses(self):
        drops = [self.engine.drops(f"vale0:p{n}") for n in (1, 2)]
        return sum(sum(port.values()) for port in drops)

    def stop(self):
        self.engine.stop()


def another(program):
    """The class of another build of ours, to see what a change does."""
    class Another(WirevaleSwitch):
        name = f"wirevale ({os.path.basename(program)})"
        command = WirevaleSwitch.command.replace("wirevale", program, 1)

        def __init__(self, test):
            own, test.wirevale = test.program, os.path.abspath(program)
            super().__init__(test)
            test.wirevale = own

    return Another


class TestpmdSwitch:
    """testpmd with two net_vhost ports in io mode: no lookup at all, the least that a switch can do."""

    name = "testpmd io"
    command = f"dpdk-testpmd --lcores 0@{SWITCH_CPU},1@{SWITCH_CPU} --vdev net_vhost0,.. --vdev net_vhost1,.. -- -i; set fwd io"

    def __init__(self, test):
        self.sockets = [os.path.join(test.directory, f"io{n}.sock") for n in (1, 2)]
        for path in self.sockets:
            if os.path.exists(path):
                os.unlink(path)
        self.process = Pinned(test, "io", [vhost(path) for path in self.sockets], SWITCH_CPU).ready()
        self.process.command("set fwd io")
        self.pid = self.process.pid

    def ways(self, _):
        return [self]

    def ready(self):
        return all(self.process.link(port) for port in (0, 1))

    def resume(self):
        self.process.command("start")

    def pause(self):
        self.process.command("stop")

    def losses(self):
        return 0

    def stop(self):
        self.process.stop()
