"""What the benchmark commands have in common: options, progress, the report, exit statuses."""

import argparse
import json
import sys
import time
import traceback

from . import figure, machine
from harness import Failed, Skipped


def switch_options(parser, rounds=3):
    """What measurements have in common that put several switches side by side."""
    group = parser.add_argument_group("switches")
    group.add_argument("--rounds", type=int, default=rounds, help="visits to each switch (%(default)s)")
    group.add_argument("--windows", type=int, default=4, help="clean windows that are enough (%(default)s)")
    group.add_argument("--patience", type=float, default=5,
                       help="seconds to wait for clean windows in a visit (%(default)s)")
    group.add_argument("--nice", type=int, default=0, metavar="N",
                       help="nice value of clients and switches alike while they are measured; -20 gets clean "
                            "windows on a busy machine, at its other users' expense (root only)")
    group.add_argument("--clean", type=float, default=0.97, metavar="SHARE",
                       help="how much of its processor both polling threads must have had (%(default)s)")
    group.add_argument("--against", metavar="PROGRAM", help="another build of wirevale as one more peer")
    group.add_argument("--without-ovs", action="store_true", help="leave OVS-DPDK out")


def loop_options(parser, rings="split,packed", flows="NORMAL,static"):
    group = parser.add_argument_group("loop")
    group.add_argument("--rings", type=among("split", "packed"), default=rings, help="ring formats (%(default)s)")
    group.add_argument("--queues", type=numbers, default=[256, 1024], help="queue sizes (256,1024)")
    group.add_argument("--sizes", type=numbers, default=[64, 1500], help="frame sizes (64,1500)")
    group.add_argument("--flows", type=among("NORMAL", "static"), default=flows,
                       help="what OVS-DPDK forwards by (%(default)s)")
    group.add_argument("--no-latency", dest="latency", action="store_false", help="no run with one frame in flight")
    group.add_argument("--at-most", type=float, default=330, metavar="SECONDS",
                       help="begin no further round that would not end in this time (%(default)s)")


def port_options(parser):
    group = parser.add_argument_group("ports")
    group.add_argument("--ports", type=numbers, default=[2, 10, 50, 250], help="how many (2,10,50,250)")
    group.add_argument("--idle-seconds", type=float, default=5, metavar="SECONDS",
                       help="how long each is watched while it is idle (%(default)s)")


def idle_options(parser):
    group = parser.add_argument_group("idle")
    group.add_argument("--seconds", type=float, default=30, help="how long to watch (%(default)s)")


def netmap_options(parser):
    group = parser.add_argument_group("netmap")
    known = ("vale", "generators", "pipe", "latency", "sync")
    group.add_argument("--netmap", type=among(*known), default=list(known), metavar="PARTS",
                       help=f"some of {','.join(known)} (all)")


def guest_options(parser, name="--rounds"):
    group = parser.add_argument_group("guests")
    group.add_argument(name, dest="guest_rounds", type=int, default=3, metavar="N",
                       help="visits to each attachment (%(default)s)")
    group.add_argument("--guest-seconds", type=int, default=3, metavar="S",
                       help="length of each measurement (%(default)s)")
    group.add_argument("--attachments", type=lambda text: text.split(","), default=[],
                       help="only those whose name contains one of these words, e.g. wirevale,socket")


def host_options(parser, name="--rounds"):
    group = parser.add_argument_group("host")
    group.add_argument(name, dest="host_rounds", type=int, default=3, metavar="N", help="visits to each switch (%(default)s)")
    group.add_argument("--host-seconds", type=int, default=3, metavar="S", help="length of each measurement (%(default)s)")
    group.add_argument("--no-guests", dest="host_guests", action="store_false", help="only between namespaces")


def stream_options(parser, name="--rounds"):
    group = parser.add_argument_group("stream")
    group.add_argument(name, dest="stream_rounds", type=int, default=3, metavar="N", help="visits to each switch (%(default)s)")
    group.add_argument("--stream-seconds", type=float, default=1, metavar="S", help="length of each measurement (%(default)s)")


def nic_options(parser, name="--rounds"):
    group = parser.add_argument_group("nic")
    group.add_argument(name, dest="nic_rounds", type=int, default=5, metavar="N", help="visits to each variant (%(default)s)")
    group.add_argument("--nic-seconds", type=float, default=1, metavar="S", help="length of each measurement (%(default)s)")


def report_options(parser):
    group = parser.add_argument_group("report")
    group.add_argument("--json", metavar="FILE", help="write the figures to FILE as well")
    group.add_argument("--quiet", action="store_true", help="no progress on stderr")


def among(*known):
    """A type of option: some of `known`, comma-separated."""
    def words(text):
        for word in text.split(","):
            if word not in known:
                raise argparse.ArgumentTypeError(f"there is no '{word}'; write some of {','.join(known)}")
        return text.split(",")

    return words


def numbers(text):
    return [int(word) for word in text.split(",")]


def progress(options):
    began = time.monotonic()

    def say(line):
        if not options.quiet:
            print(f"  [{time.monotonic() - began:5.0f} s] {line}", file=sys.stderr, flush=True)

    return say


def attempt(name, measure, options):
    """(figures, reason for having none)"""
    try:
        return measure(options), None
    except Skipped as reason:
        return [], f"{name} SKIPPED: {reason}"
    except Failed as error:
        return [], f"{name} FAILED: {error}"
    except Exception as error:  # pylint: disable=broad-except
        traceback.print_exc()
        return [], f"{name} FAILED: {error!r}"


def run(parser, *parts, arguments=None):
    """A command with one or more parts; 1 if a part failed or an aim of this issue was missed."""
    options = parser.parse_args(arguments)
    options.progress = progress(options)
    facts = machine.description()
    figures, troubles = [], []
    try:
        for part in parts:
            made, trouble = attempt(part.__module__.rpartition(".")[2], part, options)
            figures += made
            troubles += [trouble] if trouble else []
    except KeyboardInterrupt as reason:
        print(f"interrupted {reason}", file=sys.stderr)
        return 130
    return finish(facts, figures, troubles, options)


def finish(facts, figures, troubles, options):
    print(f"{facts['cpu']}, {facts['processors']} processors, Linux {facts['kernel']}, "
          f"{facts['memory-gib']} GiB; load {facts['load']:.1f}; commit {facts['commit']}")
    figure.show(figures)
    for trouble in troubles:
        print("\n" + trouble)
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"machine": facts, "figures": [f.record() for f in figures], "troubles": troubles},
                      file, indent=2)
    return 1 if any(" FAILED: " in trouble for trouble in troubles) else 0
