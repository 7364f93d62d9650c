"""What is computed from measured values; pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

Better = Literal["more", "less"]

BUSY = 0.9
"""Share of one processor from which on who uses it counts as what bounds a figure."""
IN_TURN = 0.6
"""Share of one processor from which on both sides count as waiting for each other."""
FULL = 0.9
"""Share of all processors from which on the machine does."""


@dataclass(frozen=True, slots=True)
class Shares:
    """What a server used: its busiest thread and all of it, of one processor; and what it and the
    generator used together, of all processors.
    """

    thread: float
    all: float
    machine: float


@dataclass(frozen=True, slots=True)
class Spread:
    """Median, least and most of some values."""

    median: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """Of at least one value."""
    return Spread(median(values), min(values), max(values))


def percentile(values: Sequence[float], share: float) -> float:
    """The least of *values* that at least *share* of them do not exceed."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(share * len(ranked)) - 1)]


def advantages(ours: Sequence[float], theirs: Sequence[float], better: Better) -> list[float]:
    """How many times better ours is, round by round; rounds that only one has do not count."""
    pairs = [pair for pair in zip(ours, theirs, strict=False) if all(pair)]
    return [a / b if better == "more" else b / a for a, b in pairs]


def bound(*, generator: float, server: Shares | None) -> str:
    """What kept a figure from being better; *generator*: its busiest process, of one processor."""
    if generator >= BUSY:
        return "generator"
    if server is None:
        return ""
    if server.machine >= FULL:
        return "machine"
    if max(server.thread, server.all) >= BUSY:
        return "server"
    return "each other" if min(generator, server.all) >= IN_TURN else "waiting"
