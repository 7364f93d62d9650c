"""How old something is, in spite of a wall clock that steps.  Pure.

What is kept for a time is stamped by the wall clock, since that goes on while the machine is off.
A step of it is found by comparing it with the clock that only counts (``CLOCK_BOOTTIME``).
"""

from __future__ import annotations

from typing import Final, NamedTuple

MOST_OFF: Final = 86_400.0
"""Seconds that count for a time in which the machine may have been off: nobody can say how long
that was, and what would expire has that long to be looked for."""
TOLERANCE: Final = 5.0
"""Seconds by which two clocks may differ between two readings, beside `DRIFT` of the time."""
DRIFT: Final = 0.01


class Reading(NamedTuple):
    """Both clocks at one moment, in seconds."""

    wall: float
    """Since the epoch."""
    counted: float
    """Since the *boot*."""
    boot: str


def step(before: Reading, now: Reading) -> float:
    """Seconds by which the wall clock has stepped between two readings; 0 when it has not."""
    passed = now.wall - before.wall
    if before.boot != now.boot:
        return min(passed, 0.0) + max(passed - MOST_OFF, 0.0)
    counted = max(now.counted - before.counted, 0.0)
    wrong = passed - counted
    return wrong if abs(wrong) > TOLERANCE + DRIFT * counted else 0.0


def shifted(stamp: float, by: float, now: float) -> float:
    """The *stamp* of something, after the wall clock has stepped *by* seconds to *now*.

    Forward, all that was stamped before moves along.  Back, what is from the future is of now:
    it is kept for longer than it need be, and nothing for less.
    """
    if by > 0 and stamp <= now - by + TOLERANCE:
        stamp += by
    return min(stamp, now)
