"""How fast an upload grows: durable bytes a second, the last seconds counting most."""

from __future__ import annotations

import math
from typing import Final

MEMORY: Final = 3.0
"""Seconds after which what was is worth a third."""
SILENCE: Final = 1.0
"""Seconds between two batches are normal; after this, silence counts."""
STILL: Final = 6.0
"""After so many seconds without a byte nothing moves any more."""


class Rate:
    """Of one upload.  Times in seconds by any clock, totals in bytes."""

    __slots__ = ("_sum", "_total", "_weight", "_when")

    def __init__(self, now: float, total: int) -> None:
        self._when, self._total = now, total
        self._sum = self._weight = 0.0

    def moved(self, now: float, total: int) -> None:
        """*total* bytes are durable at *now*."""
        seconds, count = now - self._when, total - self._total
        if seconds <= 0 or not count:  # silence is judged when somebody looks
            return
        kept = math.exp(-seconds / MEMORY)
        self._sum = self._sum * kept + count / seconds * (1 - kept)
        self._weight = self._weight * kept + (1 - kept)
        self._when, self._total = now, total

    def at(self, now: float) -> float:
        """Bytes a second."""
        silent = now - self._when
        if not self._weight or silent >= STILL:
            return 0.0
        kept = math.exp(-max(0.0, silent - SILENCE) / MEMORY)
        return self._sum * kept / (self._weight * kept + (1 - kept))
