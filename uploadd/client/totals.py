"""How far a whole command is: the numbers behind its bars and its last line."""

from __future__ import annotations

import time
from collections.abc import Callable

from uploadd.protocol import saying


class Totals:
    """Counted over all files of a command; bytes, seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()
        self.expected = 0  # files that are known of
        self.bytes = 0  # in them
        self.counted = False  # whether there are no more
        self.stored = self.failed = 0
        self.resumed = 0  # of those stored: some of it was there when a conversation began
        self.length = 0  # bytes of the files that are stored
        self.durable = 0  # the same, and what is durable of the others
        self.moved = 0  # bytes that became durable now, not in an earlier command

    @property
    def seconds(self) -> float:
        """Since it began."""
        return self._clock() - self._began

    @property
    def active(self) -> bool:
        """Whether something is known of that is not through."""
        return self.expected > self.stored + self.failed

    @property
    def rate(self) -> float:
        """Bytes per second that moved, over the whole time."""
        return self.moved / max(self.seconds, 1e-3)

    def add(self, length: int, *, resumed: bool) -> None:
        """One more file is stored."""
        self.stored += 1
        self.length += length
        self.resumed += resumed

    def line(self) -> str:
        """The last line.  Its speed is of what moved now, which it names when it is less."""
        now = ""
        if self.moved < self.length:
            now = f", {saying.size(self.moved)} of it now,"
        return (
            f"{'✗' if self.failed else '✓'} {saying.plural(self.stored, 'file')},"
            f" {saying.size(self.length)}{now} in {saying.duration(self.seconds)}"
            f" ({saying.size(self.rate)}/s),"
            f" {self.resumed} resumed, {self.failed} failed"
        )

    def members(self) -> dict[str, object]:
        """The same for programs."""
        return {
            "files": self.stored,
            "failed": self.failed,
            "resumed": self.resumed,
            "bytes": self.length,
            "moved": self.moved,
            "seconds": round(self.seconds, 3),
        }
