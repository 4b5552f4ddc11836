"""OVS-DPDK, privately: its own database, directories and bridge; nothing of the machine's own OVS is touched."""

import os
import shutil
import signal
import subprocess

from .polling import SWITCH_CPU
from harness import Failed, Skipped, eventually
from harness.process import Process

# NORMAL learns addresses, as we do; static flows only look the port up, the least that OVS can do.
FLOWS = {"NORMAL": ["actions=NORMAL"],
         "static": ["in_port=1,actions=output:2", "in_port=2,actions=output:1"]}


class OpenVSwitch:
    """A running OVS-DPDK with one polling thread and two dpdkvhostuser ports."""

    name = "OVS-DPDK"
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
            self.program, self.database, f"--pidfile={home}/run/ovs-vswitchd.pid", "--no-chdir",
            f"--unixctl={home}/run/vswitchd.ctl"])
        # Cleanups run newest first: the bridge's interfaces go only if OVS itself removes them.
        test.cleanup("stop OVS", self.stop)
        self.vsctl("add-br", self.bridge, "--", "set", "bridge", self.bridge, "datapath_type=netdev")
        for n in (1, 2):
            self.vsctl("add-port", self.bridge, f"vhu{n}", "--", "set", "Interface", f"vhu{n}",
                       "type=dpdkvhostuser", f"ofport_request={n}")
        self.sockets = [f"{home}/run/vhu{n}" for n in (1, 2)]
        for path in self.sockets:
            eventually(lambda: os.path.exists(path), 10, f"{path}; see vswitchd's log")
        self.pid = self.daemon.pid
        self.management, self.appctl = f"{home}/run/{self.bridge}.mgmt", f"{home}/run/vswitchd.ctl"
        self.flow = None

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

    def ways(self, options):
        return [Forwarding(self, flow) for flow in options.flows]

    def ready(self):
        return all(self.vsctl("get", "Interface", f"vhu{n}", "link_state") == "up" for n in (1, 2))

    def forward_by(self, flow):
        """Exchanges the flow table, and waits until the polling thread's caches follow it."""
        if flow == self.flow:
            return
        self.tool("ovs-ofctl", "del-flows", self.management)
        for rule in FLOWS[flow]:
            self.tool("ovs-ofctl", "add-flow", self.management, rule)
        for order in "revalidator/purge", "revalidator/wait":
            self.tool("ovs-appctl", "--timeout=15", "-t", self.appctl, order)
        self.flow = flow

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


class Forwarding:
    """A running OVS-DPDK that forwards by one of FLOWS."""

    def __init__(self, switch, flow):
        self.switch, self.flow = switch, flow
        self.name = f"{switch.name} {flow}"
        self.pid = switch.pid

    def resume(self):
        self.switch.resume()
        self.switch.forward_by(self.flow)

    def pause(self):
        self.switch.pause()
