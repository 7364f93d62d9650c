"""How long the disk takes, by what was asked of it; on the loop only."""

from __future__ import annotations

import trio

from uploadd.tally import QUICK, Histogram


class Seconds(dict[str, Histogram]):
    """Histograms by operation, from when it was asked for until it was done."""

    def took(self, operation: str, seconds: float) -> None:
        """It is done."""
        found = self.get(operation)
        if found is None:
            found = self[operation] = Histogram(QUICK)
        found.observe(seconds)

    def of(self, operation: str) -> Doing:
        """The block does it, well or not."""
        return Doing(self, operation)


class Doing:
    """A block that does one *operation*; a class, since one is entered for every write."""

    __slots__ = ("_began", "_operation", "_seconds")

    def __init__(self, seconds: Seconds, operation: str) -> None:
        self._seconds, self._operation = seconds, operation

    def __enter__(self) -> None:
        self._began = trio.current_time()

    def __exit__(self, *error: object) -> None:
        self._seconds.took(self._operation, trio.current_time() - self._began)
