"""A small QMP client: for QEMU's monitor socket and for the engine's, which speaks the same."""

import json
import socket
import time

from .process import Failed

# Members of QEMU's schema from before it took dashes.
UNDERSCORED = {"vnet_hdr"}


class QMPError(Exception):
    """An error reply."""

    def __init__(self, error):
        super().__init__(error.get("desc"))
        self.kind = error.get("class")
        self.desc = error.get("desc")


class QMP:
    """One connection. Replies in order; events are kept until somebody asks for them."""

    def __init__(self, path, negotiate=True, seconds=10):
        self.path = path
        self.events = []
        self.buffer = b""
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(seconds)
        self.socket.connect(path)
        self.greeting = self.receive()
        if negotiate:
            self.execute("qmp_capabilities")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def receive(self):
        while b"\n" not in self.buffer:
            try:
                data = self.socket.recv(65536)
            except socket.timeout:
                raise Failed(f"no answer on {self.path}") from None
            if not data:
                raise Failed(f"{self.path} was closed by its owner")
            self.buffer += data
        line, self.buffer = self.buffer.split(b"\n", 1)
        return json.loads(line)

    def send(self, text):
        self.socket.sendall(text.encode())

    def reply(self):
        """The next message that is no event."""
        while True:
            message = self.receive()
            if "event" not in message:
                return message
            self.events.append(message)

    def execute(self, command, /, **arguments):
        """Runs a command; `_` in argument names stands for `-` but in old ones of QEMU's. Raises QMPError."""
        request = {"execute": command}
        if arguments:
            request["arguments"] = {
                name if name in UNDERSCORED else name.replace("_", "-"): v for name, v in arguments.items()}
        self.send(json.dumps(request) + "\n")
        message = self.reply()
        if "error" in message:
            raise QMPError(message["error"])
        return message["return"]

    def wait_event(self, name, seconds=10):
        """The oldest event of that name that was not yet taken."""
        deadline = time.monotonic() + seconds
        while True:
            for event in self.events:
                if event["event"] == name:
                    self.events.remove(event)
                    return event
            if time.monotonic() > deadline:
                raise Failed(f"no event {name} within {seconds} s; seen: {self.events}")
            self.socket.settimeout(max(0.05, deadline - time.monotonic()))
            try:
                message = self.receive()
            finally:
                self.socket.settimeout(10)
            self.events.append(message)
