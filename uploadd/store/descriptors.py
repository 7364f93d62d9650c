"""How many files of unfinished uploads are open: the one unused longest is closed for the next."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from itertools import islice
from typing import Final

import trio

from uploadd.store.writes import Growing

MANY: Final = 16 * 1024
"""More are of no use: one is opened again in microseconds."""


AT_ONCE: Final = 16
"""Files that are closed for one that is opened: fewer turns in a thread when all are in demand."""


class Descriptors:
    """At most *most* growing files are open.  *close* closes some that are not in use.

    A file with bytes that are not flushed stays open: closed, it could hide that they were lost.
    The group commit flushes it before long, so whoever waits here waits for that.
    """

    def __init__(
        self, most: int, close: Callable[[Mapping[str, Growing]], Awaitable[None]]
    ) -> None:
        self._most, self._close = most, close
        # The one that was used last is the last.  By entry: of one upload a file may still be
        # closing when its next one is opened, and both have a descriptor.
        self._open: dict[Growing, str] = {}
        self._turn = trio.StrictFIFOLock()
        self._changed = trio.Event()

    async def admit(self, id: str, entry: Growing) -> None:
        """Let *entry*, which its caller keeps busy, have a descriptor; wait while all are in use.

        First come, first served.  Cancelled: it has none.
        """
        if entry not in self._open:
            if len(self._open) < self._most and not self._turn.locked():
                self._open[entry] = id
                return
            async with self._turn:
                await self._make_room()
                self._open[entry] = id
        self._open[entry] = self._open.pop(entry)

    async def _make_room(self) -> None:
        while len(self._open) >= self._most:
            # Without a descriptor it is being closed already, or not opened yet.
            unused = ((id, e) for e, id in self._open.items() if e.closable and e.fd >= 0)
            victims = dict(islice(unused, AT_ONCE))
            if victims:
                await self._close(victims)
            else:
                self._changed = trio.Event()
                await self._changed.wait()

    def using(self, entries: Mapping[str, Growing]) -> Using:
        """Keep the descriptors of *entries* open while the block runs."""
        return Using(self, entries)

    def unused(self, entries: Mapping[str, Growing]) -> None:
        """One use of each of *entries* has ended."""
        for entry in entries.values():
            entry.busy -= 1
            if not entry.busy and entry.fd < 0 and not entry.kept and entry.closing is None:
                self.closed(entry)
        self._changed.set()  # some may have come out of use

    def closed(self, entry: Growing) -> None:
        """The file of *entry* is not open any more."""
        self._open.pop(entry, None)
        self._changed.set()


class Using:
    """While the block runs, the descriptors of *entries* stay open.

    A class and no generator: it stands on the way of every small upload, several times.
    """

    __slots__ = ("_descriptors", "_entries")

    def __init__(self, descriptors: Descriptors, entries: Mapping[str, Growing]) -> None:
        self._descriptors, self._entries = descriptors, entries

    def __enter__(self) -> None:
        for entry in self._entries.values():
            entry.busy += 1

    def __exit__(self, *error: object) -> None:
        self._descriptors.unused(self._entries)
