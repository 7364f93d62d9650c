"""Whether a body comes fast enough to hold what it holds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
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

    @contextmanager
    def held_back(self) -> Iterator[None]:
        """While the block runs nothing is read."""
        began = trio.current_time()
        with self._claim.working() if self._claim is not None else nullcontext():
            yield
        self._began += trio.current_time() - began
