"""Writes of FileStore on their way into threads; small ones that wait share one hop."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, NamedTuple

import trio

from uploadd.protocol.extents import NOTHING, Extents
from uploadd.protocol.upload import Identity
from uploadd.store import disk
from uploadd.store.contract import Bytes
from uploadd.store.reserve import Reserve
from uploadd.store.seconds import Seconds
from uploadd.threads import in_thread

SMALL: Final = 64 * 1024
"""Bytes of a write that shares a thread hop with others that wait."""
KEPT: Final = 16 << 20
"""Bytes of small whole uploads that may wait in memory for their flush."""


class Opened(NamedTuple):
    """A growing file that is open."""

    fd: int
    identity: Identity
    nameless: bool
    """Whether nothing leads to it but *fd*."""


@dataclass(slots=True, eq=False)
class Growing:
    """One unfinished upload; touched on the loop only, but for ``fd`` while its write runs."""

    fd: int = -1
    identity: Identity | None = None
    anonymous: bool = False
    """Whether it has no name at all, anywhere."""
    unnamed: bool = False
    """Whether it never had a name in growing/."""
    dirty: Extents = NOTHING
    in_flush: Extents = NOTHING
    provisional: Extents = NOTHING
    kept: Sequence[Bytes] = ()
    """All that there is of it, while it waits in memory for its flush; there is no file yet."""
    failed: bool = False
    fresh: bool = False
    """Whether its name in growing/ may not be durable; set and cleared in the thread at work."""
    busy: int = 0
    """Uses under way: the descriptor must stay open."""
    closing: trio.Event | None = None
    """While it is being closed in a thread; set when it is, and whether it failed is known."""

    @property
    def opened(self) -> Opened | None:
        """Its file; None while that is closed."""
        if self.fd < 0 or self.identity is None:
            return None
        return Opened(self.fd, self.identity, self.anonymous)

    @property
    def empty(self) -> bool:
        """Whether nothing of it was written since it was last known to be durable."""
        return self.fd < 0 and not (self.dirty or self.in_flush or self.provisional or self.kept)

    @property
    def idle(self) -> bool:
        """Whether nothing is to be remembered of it."""
        return self.closable and not (self.failed or self.provisional)

    @property
    def closable(self) -> bool:
        """Whether the descriptor can be closed; what is provisional is flushed with it."""
        used = self.busy or self.in_flush or self.anonymous or self.kept
        return not used and (self.failed or not self.dirty)


@dataclass(slots=True, eq=False)
class Write:
    """A small write that waits for the next shared thread hop."""

    id: str
    entry: Growing
    at: int
    buffers: Sequence[Bytes]
    whole: bool
    provisional: bool = False
    turn: trio.Event = field(default_factory=trio.Event)
    """It is done, or it is first in line."""
    done: bool = False
    count: int = 0
    error: OSError | None = field(default_factory=lambda: OSError(errno.EIO, "not written"))

    def count_in(self) -> None:
        """Note what is in the page cache now."""
        entry, start, end = self.entry, self.at, self.at + self.count
        if self.provisional:
            entry.provisional = entry.provisional.add(start, end)
        else:
            entry.dirty = entry.dirty.add(start, end)


class Kept:
    """Small uploads that came whole: they are written in the thread that flushes them.

    So they cost no turn in a thread of their own.  They are nameless until they are published,
    and would not outlive the process in the page cache either.
    """

    def __init__(self, most: int = KEPT) -> None:
        self._left = most

    def keep(self, entry: Growing, buffers: Sequence[Bytes]) -> bool:
        """Keep *buffers*, all of a new upload, if there is room; they must not change any more."""
        size = sum(map(len, buffers))
        if not 0 < size <= min(SMALL, self._left) or not entry.empty:
            return False
        self._left -= size
        entry.kept, entry.dirty = buffers, NOTHING.add(0, size)
        return True

    def drop(self, entry: Growing) -> None:
        """It is written, or nobody wants it any more."""
        self._left += sum(map(len, entry.kept))
        entry.kept = ()


class Writes:
    """Carries writes into threads.  *open* gives the descriptor of an upload, in the thread."""

    def __init__(
        self,
        open: Callable[..., int],
        reserve: Reserve,
        limiter: trio.CapacityLimiter,
        seconds: Seconds,
    ) -> None:
        self._open, self._reserve, self._limiter, self._seconds = open, reserve, limiter, seconds
        self._waiting: list[Write] = []
        self._hopping = False

    async def submit(self, job: Write) -> None:
        """Do *job*, whose entry the caller keeps busy; its outcome is in it.

        Cancelled: it was not begun, or is done.
        """
        if sum(map(len, job.buffers)) <= SMALL:
            await self._together(job)
        else:
            await self._hop([job])

    async def _together(self, job: Write) -> None:
        """One thread hop for all the small writes that wait; the first in line does it.

        Cancelled: it is waited out, since the buffers are in use and others stand behind it.
        """
        self._waiting.append(job)
        with trio.CancelScope(shield=True):
            if self._hopping:
                await job.turn.wait()
                if job.done:
                    return
            self._hopping = True
            jobs, self._waiting = self._waiting, []
            try:
                await self._hop(jobs)
            finally:  # whoever comes first now does the next: nobody works for others for ever
                if self._waiting:
                    self._waiting[0].turn.set()
                else:
                    self._hopping = False

    async def _hop(self, jobs: Sequence[Write]) -> None:
        try:
            with self._seconds.of("write"):
                await in_thread(partial(self._now, jobs), self._limiter)
        finally:
            for job in jobs:
                job.count_in()
                job.done = True
                job.turn.set()

    def _now(self, jobs: Sequence[Write]) -> None:  # in a thread
        for job in jobs:
            try:
                fd = self._open(job.id, job.entry, whole=job.whole)
                write = partial(disk.write_all, fd, job.at, job.buffers)
                job.count, job.error = self._reserve.within(sum(map(len, job.buffers)), write)
            except OSError as error:
                job.error = error
