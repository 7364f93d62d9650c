"""Bytes a second, shared fairly: whoever has had least goes first, and no thread waits.

What came is paid for afterwards, so a pace costs who keeps to it nothing but a number; who is
ahead of it is not read until it is paid.  Nobody has a timer but the one whose turn is next.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from itertools import count
from typing import Final

import trio

BURST: Final = 0.1
"""Seconds of the rate that may come at once."""
INSTANT: Final = 1e-6
"""Seconds that no clock tells from none."""
LEAST_STEP: Final = 64 << 10
MOST_STEP: Final = 1 << 20


class Pacer:
    """*rate* bytes a second for all flows together."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._tokens, self._at = rate * BURST, trio.current_time()
        self._virtual = 0.0
        self._numbers = count()
        self._queue: list[_Turn] = []

    def adopt(self, rate: float) -> None:
        """Go by another *rate* from now on, also who waits."""
        self._fill()
        self.rate = rate
        if self._queue:
            self._queue[0].next.set()

    @property
    def step(self) -> int:
        """Bytes that are best taken between two payments."""
        return int(min(MOST_STEP, max(LEAST_STEP, self.rate * BURST)))

    @property
    def idle(self) -> bool:
        """Whether nothing is owed: it need not be remembered."""
        self._fill()
        return not self._queue and self._tokens >= self.rate * BURST

    async def pay(self, tags: dict[Pacer, float], bytes: int) -> None:
        """Wait until *bytes* are paid; *tags* is where the flow stands with each pacer."""
        tag = tags[self] = max(self._virtual, tags.get(self, 0.0)) + bytes
        turn = _Turn(tag, next(self._numbers))
        heapq.heappush(self._queue, turn)
        try:
            while True:
                if self._queue[0] is not turn:
                    await turn.next.wait()
                    turn.next = trio.Event()  # somebody may go first even now
                elif (wait := self._wait()) > INSTANT:
                    with trio.move_on_after(wait):
                        await turn.next.wait()  # or the rate is another
                    turn.next = trio.Event()
                else:
                    self._tokens -= bytes
                    self._virtual = tag
                    await trio.lowlevel.checkpoint_if_cancelled()
                    return
        finally:
            self._queue.remove(turn)
            heapq.heapify(self._queue)
            if self._queue:
                self._queue[0].next.set()

    def _wait(self) -> float:
        """Seconds until all that was paid for is worked off."""
        self._fill()
        return -self._tokens / self.rate

    def _fill(self) -> None:
        now = trio.current_time()
        most = self.rate * BURST
        self._tokens = min(most, self._tokens + (now - self._at) * self.rate)
        self._at = now


class _Turn:
    """One payment that waits."""

    __slots__ = ("next", "number", "tag")

    def __init__(self, tag: float, number: int) -> None:
        self.tag, self.number, self.next = tag, number, trio.Event()

    def __lt__(self, other: _Turn) -> bool:
        return (self.tag, self.number) < (other.tag, other.number)


class Flow:
    """The bytes of one upload, before every pacer that they have to keep to."""

    def __init__(self, pacers: Sequence[Pacer]) -> None:
        self._pacers, self._tags = pacers, dict[Pacer, float]()

    @property
    def step(self) -> int:
        """Bytes that are best taken between two payments."""
        return min((pacer.step for pacer in self._pacers), default=MOST_STEP)

    @property
    def bounded(self) -> bool:
        """Whether there is anything to pay."""
        return bool(self._pacers)

    async def pay(self, bytes: int) -> None:
        """Wait until *bytes* that came are paid for."""
        for pacer in self._pacers:
            await pacer.pay(self._tags, bytes)


class Bucket:
    """*rate* events a second, in bursts of as many."""

    __slots__ = ("_at", "_left", "_rate")

    def __init__(self, rate: float) -> None:
        self._rate, self._left, self._at = rate, rate, trio.current_time()

    def take(self) -> bool:
        """Whether one more may happen now."""
        now = trio.current_time()
        self._left = min(self._rate, self._left + (now - self._at) * self._rate)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
