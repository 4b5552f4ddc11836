"""`wirevale serve` with a runtime directory of its own, and the tools that talk to it."""

import json
import os
import signal
import subprocess

from .process import MARK, Failed, Process, cpu_seconds, eventually
from .qmp import QMP


class Engine:
    """A running engine. `start=False` only prepares the directory (for starting on demand)."""

    count = 0

    def __init__(self, test, *options, start=True, runtime=None, prefix=()):
        Engine.count += 1
        self.prefix = list(prefix)  # what it is run by: in a namespace, as another user
        self.test = test
        self.options = options
        self.runtime = runtime or os.path.join(test.directory, f"run{Engine.count}")
        os.makedirs(self.runtime, mode=0o700, exist_ok=True)
        self.environment = {"WIREVALE_RUNTIME_DIR": self.runtime}
        self.process = None
        self.monitor = None
        if start:
            self.start()

    @property
    def control(self):
        return os.path.join(self.runtime, "control.sock")

    def start(self, env=None):
        """Starts it and waits until it answers."""
        self.monitor = None
        self.process = Process(
            self.test, f"engine{Engine.count}", [*self.prefix, self.test.program, "serve", *self.options],
            env=dict(self.environment, **(env or {})))
        self.await_ready()
        return self

    def await_ready(self, seconds=10):
        def answers():
            if self.process and not self.process.running:
                raise Failed(f"the engine ended with {self.process.child.returncode} instead of serving")
            try:
                QMP(self.control).close()
                return True
            except OSError:
                return False

        eventually(answers, seconds, f"an engine that answers on {self.control}")

    # Asking

    def qmp(self, **options):
        """A new connection to the control socket."""
        connection = QMP(self.control, **options)
        self.test.cleanup("close a control connection", connection.close)
        return connection

    def execute(self, command, /, **arguments):
        """One command on a connection that stays open as long as the test."""
        self.monitor = self.monitor or self.qmp()
        return self.monitor.execute(command, **arguments)

    def tool(self, *arguments, check=True, seconds=30, text_in=None, env=None):
        """Runs `wirevale ARGUMENTS` against this engine."""
        done = subprocess.run(
            [self.test.program, *[str(a) for a in arguments]],
            env=dict(os.environ, **{MARK: self.test.directory}, **self.environment, **(env or {})),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=seconds,
            input=text_in, stdin=None if text_in is not None else subprocess.DEVNULL)
        if check and done.returncode != 0:
            raise Failed(f"wirevale {' '.join(map(str, arguments))} ended with {done.returncode}: "
                         f"{done.stderr.strip()}")
        return done

    def json(self, *arguments):
        """The same with --json, parsed."""
        return json.loads(self.tool(*arguments, "--json").stdout)

    def ports(self):
        """Ports by name (`vale0:vm1`)."""
        return {port["ifname"]: port for port in self.execute("query-ports")}

    def port(self, name):
        ports = self.ports()
        if name not in ports:
            raise Failed(f"there is no port {name}; there are {sorted(ports)}")
        return ports[name]

    def drops(self, name):
        """Frames lost at a port, both directions, by reason."""
        drops = self.port(name)["drops"]
        return {f"{way}.{reason}": n for way in drops for reason, n in drops[way].items() if n}

    def fdb(self):
        """The port of each learned or static address."""
        return {entry["mac"]: entry["ifname"] for entry in self.execute("query-fdb")}

    def listen(self, ifname, port_id=None, **more):
        """Adds a port that listens for a vhost-user client; returns its socket's path."""
        port_id = port_id or ifname.replace(":", "-")
        self.execute("netdev_add", type="netmap", id=port_id, ifname=ifname, **more)
        return self.port(ifname)["socket"]

    def connect(self, ifname, path, port_id=None):
        """Adds a port that connects to a vhost-user client which listens at `path`."""
        port_id = port_id or ifname.replace(":", "-")
        self.execute("chardev-add", id=port_id + "-c", backend={"type": "socket", "data": {
            "addr": {"type": "unix", "data": {"path": path}}, "server": False, "reconnect": 1}})
        self.execute("netdev_add", type="vhost-user", id=port_id, chardev=port_id + "-c", ifname=ifname)

    # Ending

    @property
    def pid(self):
        if self.process:
            return self.process.pid
        with open(os.path.join(self.runtime, "engine.pid")) as file:
            return int(file.read().split()[0])

    def cpu_seconds(self):
        return cpu_seconds(self.pid)

    def stop(self, number=signal.SIGTERM, seconds=10):
        """Ends it in an orderly way; returns the exit status."""
        return self.process.stop(number, seconds)

    def kill(self):
        self.process.kill()

    def leftovers(self):
        """Everything in the runtime directory that is not a plain log or lock."""
        return sorted(os.path.relpath(os.path.join(folder, name), self.runtime)
                      for folder, folders, files in os.walk(self.runtime) for name in files + folders)
