"""Network namespaces as hosts of their own: a container, the host's stack, the far end of a cable."""

import os
import re
import subprocess
import sys

from .process import MARK, Failed, Process, Skipped


class Namespace:
    """A namespace called `wvt...` that goes with the test; needs root."""

    def __init__(self, test, name):
        if os.geteuid():
            raise Skipped("network namespaces with names need root")
        self.test = test
        self.name = f"wvt{os.getpid()}{name}"
        self.short = name
        test.cleanup(f"remove namespace {self.name}", self.remove)
        subprocess.run(["ip", "netns", "add", self.name], check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        # No frames but those that a test sends: router solicitations would be counted, too.
        for family in "all", "default":
            self.run("sysctl", "-qw", f"net.ipv6.conf.{family}.disable_ipv6=1")
        self.ip("link", "set", "lo", "up")

    def remove(self):
        for pid in subprocess.run(["ip", "netns", "pids", self.name], stdout=subprocess.PIPE, text=True).stdout.split():
            try:
                os.kill(int(pid), 9)
            except ProcessLookupError:
                pass
        subprocess.run(["ip", "netns", "del", self.name], check=True)

    @property
    def prefix(self):
        """What makes a command run here."""
        return ["ip", "netns", "exec", self.name]

    def run(self, *command, check=True, seconds=30):
        """Runs a command here to its end; returns what it printed."""
        done = subprocess.run([*self.prefix, *map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              stdin=subprocess.DEVNULL, text=True, timeout=seconds,
                              env=dict(os.environ, **{MARK: self.test.directory}))
        if check and done.returncode:
            raise Failed(f"{' '.join(map(str, command))} ended with {done.returncode} in {self.short}: {done.stdout.strip()}")
        return done.stdout

    def start(self, name, *command, **options):
        """Starts a command here that ends with the test."""
        return Process(self.test, name, [*self.prefix, *command], **options)

    def ip(self, *words):
        return self.run("ip", *words)

    def configure(self, interface, address, *more):
        """Gives an interface an address, 10.0.0.1/24, and sets it up."""
        self.ip("addr", "replace", address, "dev", interface)
        self.ip("link", "set", interface, *more, "up")

    def ping(self, address, count=5, interval=0.05, seconds=None):
        """(sent, received) echo requests and replies."""
        wait = [] if seconds is None else ["-w", str(seconds)]
        text = self.run("ping", "-n", "-c", count, "-i", interval, "-W", 1, *wait, address, check=False)
        found = re.search(r"(\d+) packets transmitted, (\d+) received", text)
        if not found:
            raise Failed(f"ping {address} in {self.short}: {text.strip()}")
        return int(found[1]), int(found[2])

    def counters(self, interface):
        """The kernel's counters of an interface here: rx_packets, tx_packets, rx_dropped, ..."""
        base = f"/sys/class/net/{interface}/statistics"
        text = self.run("sh", "-c", f"cd {base} && for f in *; do echo $f $(cat $f); done")
        return {name: int(value) for name, value in (line.split() for line in text.splitlines())}


RECEIVER = """
import hashlib, socket, sys
listener = socket.create_server((sys.argv[1], int(sys.argv[2])))
print("ready", flush=True)
peer, _ = listener.accept()
digest, count = hashlib.sha256(), 0
while True:
    data = peer.recv(1 << 18)
    if not data: break
    digest.update(data); count += len(data)
print(count, digest.hexdigest(), flush=True)
"""

SENDER = """
import hashlib, random, socket, sys
data = random.Random(int(sys.argv[4])).randbytes(1 << 20)
digest = hashlib.sha256()
peer = socket.create_connection((sys.argv[1], int(sys.argv[2])), 20)
for _ in range(int(sys.argv[3])):
    peer.sendall(data); digest.update(data)
peer.close()
print(int(sys.argv[3]) << 20, digest.hexdigest(), flush=True)
"""


def transfer(source, target, address, mebibytes=16, port=7007, seconds=60):
    """Sends so much by TCP from one namespace to `address` in another; fails unless every byte came as it was sent."""
    child = subprocess.Popen([*target.prefix, sys.executable, "-c", RECEIVER, address, str(port)], stdout=subprocess.PIPE,
                             stdin=subprocess.DEVNULL, text=True, env=dict(os.environ, **{MARK: target.test.directory}))
    try:
        if child.stdout.readline().strip() != "ready":
            raise Failed(f"no receiver on {address}:{port} in {target.short}")
        sent = source.run(sys.executable, "-c", SENDER, address, port, mebibytes, 1, seconds=seconds).split()
        received = child.communicate(timeout=seconds)[0].split()
    finally:
        child.kill()
        child.wait()
    if sent != received:
        raise Failed(f"TCP from {source.short} to {target.short}: sent {sent}, received {received}")
    return int(sent[0])
