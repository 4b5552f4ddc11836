"""Programs that poll on a processor of their own: testpmd as traffic source and the switches."""

import os
import shutil
import signal
import subprocess
import threading
import time

from harness import Engine, Failed, Skipped, Testpmd, eventually
from harness.process import Process
from harness.testpmd import mac, vhost

SWITCH_CPU, CLIENT_CPU = 0, 1


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
    """Two virtio-user ports that send every frame they get out of the other one: frames circulate."""

    def __init__(self, test, name, sockets, queue):
        devices = [f"net_virtio_user{{}},path={path},queues=1,mac={mac(n)},queue_size={queue}"
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


class OpenVSwitch:
    """A private OVS-DPDK with one polling thread and the action NORMAL (it learns, as we do)."""

    name = "OVS-DPDK"
    command = f"ovs-vswitchd-dpdk, pmd-cpu-mask={1 << SWITCH_CPU:#x}, two dpdkvhostuser ports, actions=NORMAL"
    program = "/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk"
    bridge = "wvbench0"
    count = 0

    @classmethod
    def missing(cls):
        """Why it cannot run here, or None."""
        if not os.access(cls.program, os.X_OK) or not shutil.which("ovs-vsctl"):
            return "openvswitch-switch-dpdk is not installed: scripts/install-packages bench"
        return None if os.geteuid() == 0 else "OVS-DPDK needs root"

    def __init__(self, test):
        OpenVSwitch.count += 1
        home = os.path.join(test.directory, f"ovs{OpenVSwitch.count}")
        os.makedirs(home + "/run")
        self.environment = {"OVS_RUNDIR": home + "/run", "OVS_DBDIR": home, "OVS_LOGDIR": home,
                            "OVS_SYSCONFDIR": home, "RUNTIME_DIRECTORY": home}
        self.database = f"unix:{home}/run/db.sock"
        self.tool("ovsdb-tool", "create", home + "/conf.db", "/usr/share/openvswitch/vswitch.ovsschema")
        self.server = self.process(test, "ovsdb", [
            "ovsdb-server", home + "/conf.db", f"--remote=p{self.database}",
            f"--pidfile={home}/run/ovsdb-server.pid", "--no-chdir"])
        eventually(lambda: os.path.exists(home + "/run/db.sock"), 5, "ovsdb-server")
        self.vsctl("--no-wait", "init")
        options = {"dpdk-init": "true", "pmd-cpu-mask": f"{1 << SWITCH_CPU:#x}",
                   "dpdk-lcore-mask": f"{1 << SWITCH_CPU:#x}",
                   # --legacy-mem goes with --no-huge; without it OVS adds --in-memory, which does not.
                   "dpdk-extra": '"--no-huge --legacy-mem -m 2048 --no-pci --file-prefix ovs"'}
        self.vsctl("--no-wait", "set", "Open_vSwitch", ".",
                   *[f"other_config:{k}={v}" for k, v in options.items()])
        self.daemon = self.process(test, "vswitchd", [
            self.program, self.database, f"--pidfile={home}/run/ovs-vswitchd.pid", "--no-chdir"])
        # Cleanups run newest first: the bridge's interfaces go only if OVS itself removes them.
        test.cleanup("stop OVS", self.stop)
        self.vsctl("add-br", self.bridge, "--", "set", "bridge", self.bridge, "datapath_type=netdev")
        for n in (1, 2):
            self.vsctl("add-port", self.bridge, f"vhu{n}", "--", "set", "Interface", f"vhu{n}",
                       "type=dpdkvhostuser")
        self.sockets = [f"{home}/run/vhu{n}" for n in (1, 2)]
        for path in self.sockets:
            eventually(lambda: os.path.exists(path), 10, f"{path}; see vswitchd's log")
        self.pid = self.daemon.pid

    def process(self, test, name, arguments):
        return Process(test, f"{name}{OpenVSwitch.count}", arguments, env=self.environment)

    def tool(self, *arguments):
        done = subprocess.run(arguments, env=dict(os.environ, **self.environment), stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode != 0:
            raise Skipped(f"OVS-DPDK does not run here: {' '.join(arguments)}: {done.stdout.strip()[-300:]}")
        return done.stdout.strip()

    def vsctl(self, *arguments):
        return self.tool("ovs-vsctl", f"--db={self.database}", "--timeout=15", *arguments)

    def ready(self):
        return all(self.vsctl("get", "Interface", f"vhu{n}", "link_state") == "up" for n in (1, 2))

    # Its polling thread never rests, so it is stopped while it is not its turn.

    def resume(self):
        self.daemon.send_signal(signal.SIGCONT)

    def pause(self):
        self.daemon.send_signal(signal.SIGSTOP)

    def losses(self):
        return 0

    def stop(self):
        if not self.daemon.running:
            return
        self.resume()
        try:
            self.vsctl("del-br", self.bridge)
        except Skipped:
            pass
        for process in (self.daemon, self.server):
            try:
                process.stop(seconds=5)
            except Failed:
                pass
