"""A virtual machine with our tiny guest, driven over its serial console (see scripts/guest/init)."""

import json
import os
import re
import subprocess
import threading
import time

from .process import Failed, Process
from .qmp import QMP


class Guest(Process):
    """QEMU, started through `wirevale qemu` on a switch port, or raw with a vhost-user socket.

    `port`     the VALE port, as in `-netdev netmap,ifname=PORT`
    `engine`   the engine whose runtime directory is used (with `port`)
    `socket`   instead of both: a vhost-user socket, and plain qemu-system-x86_64
    `backend`  or: the text of a -netdev of id net0, and plain qemu-system-x86_64
    `model`    the NIC, if it is not virtio-net-pci
    `chardev`  properties added to its chardev, e.g. "reconnect=1" or "server=on"
    `device`   properties added to virtio-net-pci, e.g. "mrg_rxbuf=off"
    `machine`  arguments that have to come before devices, e.g. an IOMMU
    `kernel`   words added to the kernel's command line
    `initrd`   another initramfs than that of the image (see `overlay`)
    """

    def __init__(self, test, name, number, port=None, engine=None, socket=None, backend=None, mtu=None,
                 serve=False, model="virtio-net-pci", device="", netdev="", chardev="", memory=192, reboots=False, machine=(),
                 kernel="", initrd=None,
                 extra=()):
        image = test.image()
        self.test = test
        self.number = number
        self.port = port
        self.address = f"10.77.0.{number}"
        self.mac = f"52:54:00:00:77:{number:02x}"
        self.transcript = ""
        self.calls = 0
        self.booted = 0
        self.changed = threading.Condition()
        # The network device comes first: it is what the reader of a log looks for.
        device = f"{model},netdev=net0,mac={self.mac}" + ("," + device if device else "")
        if backend:
            command = ["qemu-system-x86_64"]
            network = ["-netdev", backend, "-device", device]
        elif socket:
            command = ["qemu-system-x86_64"]
            network = [
                "-object", f"memory-backend-memfd,id=mem,size={memory}M,share=on",
                "-numa", "node,memdev=mem",
                "-chardev", f"socket,id=c0,path={socket}" + ("," + chardev if chardev else ""),
                "-netdev", "vhost-user,id=net0,chardev=c0" + netdev,
                "-device", device + (",vectors=0" if test.accelerator() == "tcg" else "")]
        else:
            command = [test.program, "qemu"]
            network = ["-netdev", f"netmap,id=net0,ifname={port}" + netdev, "-device", device]
        words = ["console=ttyS0 quiet panic=-1 no_timer_check mitigations=off", f"wv.name={name}",
                 f"wv.ip={self.address}/24", "wv.life=900"]
        words += [kernel] if kernel else []
        words += [f"wv.mtu={mtu}"] if mtu else []
        words += ["wv.serve=1"] if serve else []
        self.monitor_path = os.path.join(test.directory, name + ".qmp")
        self.started = time.monotonic()
        super().__init__(
            test, name,
            [*command, *machine, *network, "-m", memory, "-accel", test.accelerator(), "-cpu", "max",
             "-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio",
             *([] if reboots else ["-no-reboot"]),
             "-qmp", f"unix:{self.monitor_path},server=on,wait=off",
             "-kernel", f"{image}/vmlinuz", "-initrd", initrd or f"{image}/initramfs",
             "-append", " ".join(words), *extra],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env=engine.environment if engine else None)
        self.console = os.path.join(test.directory, name + ".console.log")
        test.add_log(self.console)
        self.reader = threading.Thread(target=self.listen, daemon=True)
        self.reader.start()

    def listen(self):
        with open(self.console, "ab") as console:
            while True:
                data = os.read(self.child.stdout.fileno(), 65536)
                console.write(data)
                console.flush()
                with self.changed:
                    self.transcript += data.decode(errors="replace").replace("\r", "")
                    if not data:
                        self.transcript += "@gone\n"
                    self.changed.notify_all()
                if not data:
                    return

    def expect(self, pattern, seconds, what):
        """Waits for a line in what has not yet been read, and drops everything up to it."""
        deadline = time.monotonic() + seconds
        with self.changed:
            while True:
                found = re.search(pattern, self.transcript, re.M)
                if found:
                    before = self.transcript[:found.start()]
                    self.transcript = self.transcript[found.end():]
                    return found, before
                if "@gone" in self.transcript or not self.running:
                    raise Failed(f"guest {self.name} ended (status {self.child.poll()}) while waiting "
                                 f"for {what}")
                if not self.changed.wait(max(0, deadline - time.monotonic())):
                    if time.monotonic() >= deadline:
                        raise Failed(f"guest {self.name}: {what} not seen within {seconds} s; "
                                     f"its console ends in {self.transcript[-300:]!r}")

    def ready(self, seconds=60):
        """Waits for the guest to have booted (again)."""
        self.expect(r"^@ready \S+\n", seconds, "the end of its boot")
        self.booted += 1
        return self

    def begin(self, command, seconds=30):
        """Sends a command without waiting for its end; `finish` takes its answer."""
        self.calls += 1
        self.child.stdin.write(f"run {self.calls} {int(seconds)} {command}\n".encode())
        self.child.stdin.flush()
        return self.calls, command, time.monotonic() + seconds + 10

    def finish(self, call):
        number, command, deadline = call
        wait = max(1, deadline - time.monotonic())
        found, before = self.expect(rf"^@end {number} (\d+)\n", wait, f"the end of '{command}'")
        output = before.split(f"@begin {number}\n", 1)[-1]
        return int(found.group(1)), output.strip("\n")

    def run(self, command, seconds=30):
        """Runs a shell command in the guest: (exit status, output)."""
        return self.finish(self.begin(command, seconds))

    def must(self, command, seconds=30):
        """Runs a command that has to succeed; returns its output."""
        status, output = self.run(command, seconds)
        if status != 0:
            raise Failed(f"in guest {self.name}, '{command}' ended with {status}: {output[-500:]}")
        return output

    # What tests do with guests

    def ping(self, other, count=3, seconds=20):
        """(sent, received, average milliseconds)"""
        _, output = self.run(f"ping -c {count} -i 0.2 -W 2 {other.address}", seconds)
        found = re.search(r"(\d+) packets transmitted, (\d+) packets received", output)
        average = re.search(r"= [\d.]+/([\d.]+)/", output)
        if not found:
            raise Failed(f"ping printed no result: {output[-300:]}")
        return int(found[1]), int(found[2]), float(average[1]) if average else None

    def statistics(self):
        """eth0's counters as the guest sees them."""
        output = self.must("cd /sys/class/net/eth0/statistics && for f in *; do echo $f $(cat $f); done")
        return {name: int(value) for name, value in (line.split() for line in output.splitlines())}

    def iperf(self, other, seconds=4, options=""):
        """iperf3 towards a guest with serve=True; its JSON report."""
        output = self.must(f"iperf3 --json -c {other.address} -t {seconds} {options}", seconds + 30)
        return json.loads(output[output.index("{"):])

    def send_file(self, other, megabytes, seconds=60, port=5001):
        """Moves a random file over TCP; returns (digest here, digest there, seconds)."""
        begin = self.begin_file(other, megabytes, seconds, port)
        return self.finish_file(begin)

    def begin_file(self, other, megabytes, seconds=60, port=5001):
        here = self.must(f"head -c {megabytes << 20} /dev/urandom >/tmp/out{port} && "
                         f"sha256sum </tmp/out{port}", seconds)
        # A fifo that both ends hold open: were the listener's input at its end, it would hang up.
        other.run("mkfifo /tmp/open")
        there = other.begin(f"nc -l -p {port} <>/tmp/open >/tmp/in{port}; sha256sum </tmp/in{port}", seconds)
        self.run("sleep 0.3")
        sending = self.begin(f"nc {other.address} {port} </tmp/out{port}", seconds)
        return other, here, there, sending, time.monotonic(), port

    def finish_file(self, begun):
        other, here, there, sending, began, port = begun
        status, said = self.finish(sending)
        if status != 0:
            raise Failed(f"guest {self.name} could not send to {other.name}: status {status} {said}")
        status, digest = other.finish(there)
        took = time.monotonic() - began
        if status != 0:
            raise Failed(f"guest {other.name} did not receive the file: status {status} {digest}")
        self.run(f"rm -f /tmp/out{port}")
        other.run(f"rm -f /tmp/in{port}")
        return here.split()[0], digest.split()[0], took

    def qmp(self):
        """QEMU's own monitor."""
        monitor = QMP(self.monitor_path)
        self.test.cleanup(f"close the monitor of {self.name}", monitor.close)
        return monitor

    def power_off(self, seconds=15):
        """Lets the guest end itself; returns QEMU's exit status."""
        self.child.stdin.write(b"run 0 5 poweroff -f\n")
        self.child.stdin.flush()
        return self.wait(seconds)

    def stop(self, *_, **__):
        """A guest holds nothing that is worth an orderly end."""
        self.kill()
        self.reader.join(5)
        self.child.stdin.close()
        self.child.stdout.close()
