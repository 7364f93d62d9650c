"""What got slower since the run that was accepted; pure.

Absolute figures drift by tens of percent between runs.  Where others were measured beside ours in
both runs, what the machine did to them is taken out; where nobody was, the plain figure counts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median

from bench.figures import spread
from bench.rows import Group, Key, Result, Row

TOLERATED = 0.15
SPEEDS = frozenset({"MB/s", "/s", "ms", "s", "s/GB"})
"""Units in which a slower machine shows; what others hold in memory says nothing about ours."""


@dataclass(frozen=True, slots=True)
class Change:
    """A row of ours now and then; *speed* is 0.8 when it got slower by 20 %."""

    row: Row
    before: Row
    drift: float
    speed: float

    @property
    def slower(self) -> bool:
        """Whether it is more than noise that is tolerated."""
        return self.speed < 1 - TOLERATED

    @property
    def overlaps(self) -> bool:
        """Whether the ranges of both runs touch, drift taken out."""
        now, then = spread(self.row.values), spread(self.before.values)
        factor = self.drift if self.row.better == "more" else 1 / self.drift
        return now.low <= then.high * factor and then.low * factor <= now.high


def changes(now: Result, then: Result) -> list[Change]:
    """Every row of ours that both runs have."""
    before = {row.key: row for row in then.rows if row.values}
    drifts = _drifts(now.rows, before)
    return [
        Change(row, before[row.key], drift, _speed(row, before[row.key]) / drift)
        for row in now.rows
        if row.ours and row.values and row.key in before
        for drift in [drifts.get(row.group, 1.0)]
    ]


def missing(now: Result, then: Result, scenarios: Iterable[str]) -> list[Row]:
    """Rows of ours that the accepted run has and this one, which ran *scenarios*, has not."""
    ran, here = set(scenarios), {row.key for row in now.rows if row.values}
    return [
        row
        for row in then.rows
        if row.ours and row.values and row.scenario in ran and row.key not in here
    ]


def told(now: Result, then: Result, scenarios: Iterable[str]) -> list[str]:
    """The comparison in lines, for the end of a run."""
    found = changes(now, then)
    lines = []
    if not same_machine(now.machine, then.machine):
        lines.append("the accepted run is of another machine: only ratios say anything")
    for change in sorted(found, key=lambda change: change.speed):
        if change.slower:
            lines.append(_line(change))
    lines += [f"not measured now: {' | '.join(row.key)}" for row in missing(now, then, scenarios)]
    if not any(change.slower for change in found):
        lines.append(f"of {len(found)} rows none got slower by more than {TOLERATED:.0%}")
    return lines


def same_machine(now: Mapping[str, str], then: Mapping[str, str]) -> bool:
    """As far as it can be told from what is recorded of it."""
    return all(now.get(part) == then.get(part) for part in ("processor", "processors"))


def _line(change: Change) -> str:
    row, was, now = change.row, spread(change.before.values), spread(change.row.values)
    less = "slower" if row.better == "more" else "worse"
    doubt = "; the ranges overlap" if change.overlaps else ""
    drift = f"; beside it others are at {change.drift:.2f}" if change.drift != 1 else ""
    return (
        f"{less} by {1 - change.speed:.0%}: {' | '.join(row.group[:3])} | {row.contender}: "
        f"{now.median:.4g} {row.unit}, was {was.median:.4g}{drift}{doubt}"
    )


def _drifts(rows: Iterable[Row], before: Mapping[Key, Row]) -> dict[Group, float]:
    """What became of the others of each group: the median of their changes."""
    found: dict[Group, list[float]] = defaultdict(list)
    for row in rows:
        if not row.ours and row.unit in SPEEDS and row.values and row.key in before:
            found[row.group].append(_speed(row, before[row.key]))
    return {group: median(speeds) for group, speeds in found.items()}


def _speed(now: Row, then: Row) -> float:
    a, b = spread(now.values).median, spread(then.values).median
    if not a or not b:
        return 1.0
    return a / b if now.better == "more" else b / a
