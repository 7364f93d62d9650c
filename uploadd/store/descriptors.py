"""How many files of unfinished uploads are open: the one unused longest is closed for the next."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

import trio

from uploadd.store.writes import Growing

MANY: Final = 16 * 1024
"""More are of no use: one is opened again in microseconds."""


class Descriptors:
    """At most *most* growing files are open.  *close* closes one that is not in use.

    A file with bytes that are not flushed stays open: closed, it could hide that they were lost.
    The group commit flushes it before long, so whoever waits here waits for that.
    """

    def __init__(self, most: int, close: Callable[[str, Growing], Awaitable[None]]) -> None:
        self._most, self._close = most, close
        self._open: dict[str, Growing] = {}  # the one that was used last is the last
        self._changed = trio.Event()
        self._waiting = 0

    async def admit(self, id: str, entry: Growing) -> None:
        """Let *entry*, which its caller keeps busy, have a descriptor; wait while all are in use.

        Cancelled: it has none.
        """
        while self._open.get(id) is not entry and len(self._open) >= self._most:
            # Without a descriptor it is being closed already, or not opened yet.
            unused = (one for one, e in self._open.items() if e.closable and e.fd >= 0)
            victim = next(unused, None)
            if victim is None:
                await self._wait()
            else:
                await self._close(victim, self._open[victim])
        self._open.pop(id, None)
        self._open[id] = entry

    async def _wait(self) -> None:
        self._waiting += 1
        try:
            await self._changed.wait()
        finally:
            self._waiting -= 1

    @contextmanager
    def using(self, entries: Mapping[str, Growing]) -> Iterator[None]:
        """Keep the descriptors of *entries* open while the block runs."""
        for entry in entries.values():
            entry.busy += 1
        try:
            yield
        finally:
            for id, entry in entries.items():
                entry.busy -= 1
                if entry.fd < 0 and not entry.busy:
                    self.closed(id, entry)
            self._look_again()

    def closed(self, id: str, entry: Growing) -> None:
        """The file of *entry* is not open any more."""
        if self._open.get(id) is entry:
            del self._open[id]
        self._look_again()

    def _look_again(self) -> None:
        """Some file may have come out of use."""
        if self._waiting:
            self._changed.set()
            self._changed = trio.Event()
