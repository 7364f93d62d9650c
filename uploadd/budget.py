"""The memory of the daemon for bytes on their way: one budget, a share for each session.

Charged are the bytes of messages that are not whole yet, and the chunks that wait to be written.
When the budget is full, sessions above their fair share are not read until there is room.

Uploads that are under way in sessions cost memory though nothing comes of them.  Those that would
fill half of the budget are taken, and of more those of sessions below their fair share.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

import trio

MIN_CHUNK: Final = 16 * 1024
RUN: Final = 10 * 1024
"""Bytes that an upload costs which is under way in a session: its task, its claim, its row."""


class Budget:
    """*total* bytes for everybody.  *max_chunk* is the most that one chunk may ever have."""

    def __init__(self, total: int, max_chunk: int = 1 << 20) -> None:
        self.total, self._max_chunk = total, max_chunk
        self.used = 0
        self.moving = 0
        """The part that leaves memory without anything more being read."""
        self.runs = 0
        """Uploads that are under way in sessions."""
        self._shares = 0
        self._waiting: OrderedDict[Share, trio.Event] = OrderedDict()
        """Who waits for room, longest first."""

    @property
    def max_chunk(self) -> int:
        """What a chunk may have now, in bytes: all sessions can hold four at a time."""
        fair = self.total // (4 * max(1, self._shares))
        return max(min(fair, self._max_chunk), min(MIN_CHUNK, self._max_chunk))

    def share(self, *, joined: bool = True) -> Share:
        """The share of a new session; `Share.close` gives it back.

        Not *joined*, it takes nothing from the others until it does: it may never send anything.
        """
        share = Share(self)
        if joined:
            share.join()
        return share

    @property
    def _crowded(self) -> bool:
        # Were nothing moving, waiting would last for ever: then a little more is let in.
        return self.used >= self.total and self.moving > 0

    def _move(self, used: int, moving: int) -> None:
        self.used += used
        self.moving += moving
        if used < 0 or moving < 0:
            self._wake_next()

    def _wake_next(self) -> None:
        """Let one of those who wait look, not all; when it goes on, it lets the next one look."""
        if self._waiting and not self._crowded:
            self._waiting.popitem(last=False)[1].set()


class Share:
    """What one session has in memory, in bytes."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self.held = 0
        """Of messages that are not whole yet."""
        self.moving = 0
        """Taken, and not written yet."""
        self.runs = 0
        """Its uploads that are under way: more than refs, when those are begun again."""
        self._closed = self._joined = False

    def join(self) -> None:
        """It means to send: from now on there is one more to share with.  Idempotent."""
        if not self._joined and not self._closed:
            self._joined = True
            self._budget._shares += 1

    @property
    def may_begin(self) -> bool:
        """Whether this session may have one more upload under way."""
        budget = self._budget
        most = budget.total // (2 * RUN)
        return budget.runs < most or self.runs < max(1, most // max(1, budget._shares))

    def begin(self) -> None:
        """An upload is under way."""
        self.runs += 1
        self._budget.runs += 1

    def end(self) -> None:
        """It is no more."""
        self.runs -= 1
        self._budget.runs -= 1

    def hold(self, count: int) -> None:
        """Messages that are not whole hold *count* bytes now."""
        if not self._closed:
            less, self.held = self.held - count, count
            self._budget._move(-less, 0)
            if less > 0:
                self._look()

    def take(self, count: int) -> None:
        """*count* bytes go on their way to the store."""
        self.moving += count
        self._budget._move(count, count)

    def give_back(self, count: int) -> None:
        """*count* of them have left memory."""
        self.moving -= count
        self._budget._move(-count, -count)
        self._look()

    def _look(self) -> None:
        """It has become less, and need not wait for the others' memory if it is little."""
        if self._budget._waiting and self in self._budget._waiting and self.may_read:
            self._budget._waiting.pop(self).set()

    @property
    def max_chunk(self) -> int:
        """What a chunk may have now, in bytes."""
        return self._budget.max_chunk

    @property
    def may_read(self) -> bool:
        """Whether this session may take more in."""
        budget = self._budget
        fair = budget.total // max(1, budget._shares)
        return not budget._crowded or self.held + self.moving < fair

    async def room(self) -> None:
        """Wait until this session may take more in.  One reader at a time."""
        waiting, again = self._budget._waiting, False
        while not self.may_read:
            event = waiting[self] = trio.Event()
            if again:  # somebody was faster
                waiting.move_to_end(self, last=False)
            try:
                await event.wait()
            except trio.Cancelled:
                waiting.pop(self, None)
                self._budget._wake_next()  # the look may have been ours
                raise
            again = True
        self._budget._wake_next()

    def close(self) -> None:
        """The session is over; what is still moving is given back as it is written."""
        if not self._closed:
            self.hold(0)
            self._closed = True
            self._budget._shares -= self._joined
            for share in [one for one in self._budget._waiting if one.may_read]:
                self._budget._waiting.pop(share).set()  # what is fair has grown
