"""Whether a body comes fast enough to hold what it holds."""

from __future__ import annotations

from typing import Final

import trio

from uploadd import errors
from uploadd.claim import Claim

PACE_SECONDS: Final = 60.0
"""Seconds over which a body must keep to its least rate."""


class Pace:
    """How fast a body comes: with less than *least* bytes a second over a minute, it holds its
    claim for nothing.

    The clock stands still while it is us who do not read, and so does that of *claim*.
    """

    def __init__(self, least: int, claim: Claim | None = None) -> None:
        self._least, self._claim = least, claim
        self._began, self._count = trio.current_time(), 0

    def came(self, count: int) -> None:
        """*count* bytes came.  Raises TooSlow."""
        self._count += count
        seconds = trio.current_time() - self._began
        if seconds >= PACE_SECONDS:
            if self._count < self._least * seconds:
                raise errors.TooSlow(
                    f"the body came with {self._count / seconds:.0f} bytes a second",
                    hint=f"at least {self._least} a second; what can be resumed keeps what came",
                )
            self._began, self._count = trio.current_time(), 0

    def held_back(self) -> HeldBack:
        """While the block runs nothing is read."""
        return HeldBack(self, self._claim)

    def stood_still(self, seconds: float) -> None:
        """Nothing was read for *seconds*."""
        self._began += seconds


class HeldBack:
    """A block while which nothing is read.

    A class and no generator: it stands on the way of every piece of a body.
    """

    __slots__ = ("_began", "_claim", "_pace")

    def __init__(self, pace: Pace, claim: Claim | None) -> None:
        self._pace, self._claim = pace, claim

    def __enter__(self) -> None:
        self._began = trio.current_time()
        if self._claim is not None:
            self._claim.begin_work()

    def __exit__(self, *error: object) -> None:
        if self._claim is not None:
            self._claim.end_work()
        self._pace.stood_still(trio.current_time() - self._began)
