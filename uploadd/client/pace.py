"""How much at once, and how long to wait: the two rates of a client.  No clock of its own."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

GRAIN: Final = 16 * 1024  # bytes; the smallest chunk, and what larger ones are made of
FIRST: Final = 64 * 1024  # bytes of the first chunk, when the rate is not known
SECONDS: Final = 0.25  # what one chunk should take: short against any deadline
MEMORY: Final = 0.7  # weight of what was known before, at each chunk

BASE_SECONDS: Final = 0.2
CAP_SECONDS: Final = 10.0


class Pace:
    """The size of chunks, from how long the last ones took to send.

    Only the time spent in sending counts, so that an idle connection does not look slow.
    """

    def __init__(self) -> None:
        self._bytes = 0.0
        self._seconds = 0.0
        self._size = FIRST

    def sent(self, count: int, seconds: float) -> None:
        """*count* bytes took *seconds* to send."""
        self._bytes = self._bytes * MEMORY + count
        self._seconds = self._seconds * MEMORY + seconds
        wanted = self._bytes * SECONDS / self._seconds if self._seconds > 0 else self._size * 2
        wanted = min(wanted, self._size * 2)
        self._size = max(GRAIN, int(wanted) // GRAIN * GRAIN)

    def size(self, max_chunk: int) -> int:
        """Bytes of the next chunk; at most *max_chunk*, which a server may put below 16 KiB."""
        self._size = min(self._size, max(max_chunk, GRAIN))
        return min(self._size, max_chunk)


class Backoff:
    """Full jitter: anything up to 0.2 s, then up to the double each time, at most 10 s.

    *patience*: seconds for which it is tried again and again without progress.  They count from
    the first failure: that nothing moved before may be because nothing was to be moved.
    """

    def __init__(self, patience: float, chance: Callable[[], float] = random.random) -> None:
        self.patience = patience
        self._chance = chance
        self._attempts = 0
        self._since = 0.0

    def moved(self) -> None:
        """Bytes moved: start over."""
        self._attempts = 0

    def next(self, now: float) -> float | None:
        """Seconds to wait before the next attempt; None when patience is at its end."""
        if self.fresh:
            self._since = now
        if now - self._since >= self.patience:
            return None
        bound = min(CAP_SECONDS, BASE_SECONDS * (1 << min(self._attempts, 16)))
        self._attempts += 1
        return bound * self._chance()

    @property
    def fresh(self) -> bool:
        """Whether nothing was attempted since bytes last moved."""
        return self._attempts == 0
