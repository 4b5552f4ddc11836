"""Captures, and what tshark says of them."""

import struct
import subprocess

from .process import Failed, Skipped

CHECKED = ("tcp", "udp", "ip")


def write(path, frames):
    """A capture file of whole Ethernet frames."""
    with open(path, "wb") as file:
        file.write(struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 1 << 18, 1))
        for number, frame in enumerate(frames):
            file.write(struct.pack("<IIII", number // 1000000, number % 1000000, len(frame), len(frame)) + frame)


def verdict(path):
    """What tshark finds: checksums good and bad by protocol, {"tcp": (good, bad), ...}, and the numbers of bad frames."""
    options = [word for protocol in CHECKED for word in ("-o", f"{protocol}.check_checksum:TRUE")]
    fields = [word for protocol in CHECKED for word in ("-e", f"{protocol}.checksum.status")]
    try:
        done = subprocess.run(
            ["tshark", "-n", "-r", path, *options, "-T", "fields", "-E", "separator=;", "-E", "occurrence=f",
             "-e", "frame.number", *fields],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    except FileNotFoundError:
        raise Skipped("tshark is not installed: scripts/install-packages test") from None
    if done.returncode:
        raise Failed(f"tshark: {done.stderr.strip()}")
    rows = [line.split(";") for line in done.stdout.splitlines()]
    # Wireshark's words: 0 bad, 1 good.
    count = {protocol: tuple(sum(row[place] == word for row in rows) for word in "10")
             for place, protocol in enumerate(CHECKED, 1)}
    return count, [row[0] for row in rows if "0" in row[1:]]


def longest(path):
    """The length of the longest frame in a capture."""
    with open(path, "rb") as file:
        data = file.read()
    at, most = 24, 0
    while at < len(data):
        kept, length = struct.unpack_from("<II", data, at + 8)
        at, most = at + 16 + kept, max(most, length)
    return most
