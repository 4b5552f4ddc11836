"""A figure: our number beside the peer's and the raw limit, with its command, aim and verdict."""

import statistics
from dataclasses import asdict, dataclass, field


@dataclass
class Sample:
    """What several rounds gave."""

    median: float
    low: float
    high: float
    rounds: int

    @classmethod
    def of(cls, values):
        """None for no values."""
        values = [v for v in values if v is not None]
        return cls(statistics.median(values), min(values), max(values), len(values)) if values else None

    def text(self, digits=2):
        if self.rounds == 1:
            return f"{self.median:.{digits}f}"
        return f"{self.median:.{digits}f} [{self.low:.{digits}f}-{self.high:.{digits}f}]"


@dataclass
class Figure:
    """One line of the report."""

    part: str
    name: str
    unit: str
    command: str
    ours: Sample = None
    peers: dict = field(default_factory=dict)
    limits: dict = field(default_factory=dict)
    ratios: dict = field(default_factory=dict)
    aim: str = ""
    met: bool = None
    notes: list = field(default_factory=list)
    digits: int = 2

    def lines(self):
        """The figure as text, a line for each kind of thing that there is to say."""
        verdict = {True: "met", False: "NOT MET", None: "not judged"}[self.met]
        head = f"  {self.name}: " + (f"{self.ours.text(self.digits)} {self.unit}" if self.ours else "no value")
        yield head
        for kind, values in (("peer", self.peers), ("limit", self.limits)):
            for name, sample in values.items():
                yield f"      {kind} {name}: " + (f"{sample.text(self.digits)} {self.unit}" if sample else "no value")
        if self.ratios:
            yield "      ratio " + ", ".join(f"to {n}: {s.text(2)}" for n, s in self.ratios.items() if s)
        if self.aim:
            yield f"      aim {self.aim}: {verdict}"
        for note in self.notes:
            yield f"      {note}"

    def record(self):
        """The figure for --json."""
        record = asdict(self)
        record.pop("digits")
        return record


def paired(ours, theirs):
    """The ratios of rounds that both have: noise that lasts longer than a round cancels out."""
    return Sample.of([a / b for a, b in zip(ours, theirs) if a and b])


def show(figures, out=print):
    """Prints figures grouped by part and command."""
    part = command = None
    for figure in figures:
        if figure.part != part:
            part = figure.part
            out(f"\n{part}")
        if figure.command != command:
            command = figure.command
            out(f"  $ {command}")
        for line in figure.lines():
            out(line)
