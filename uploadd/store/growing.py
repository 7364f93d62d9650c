"""The files of unfinished uploads: opening them, and letting go of them when nobody needs them."""

from __future__ import annotations

import os
import stat
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

import trio

from uploadd.store import disk, identity, settle
from uploadd.store.contract import MediumFailed
from uploadd.store.descriptors import Descriptors, Using
from uploadd.store.writes import Growing

_OPEN: Final = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
InThread = Callable[[Callable[[], None]], Awaitable[None]]


class GrowingFiles:
    """What is known of each file in *folder*, by upload id; at most *max_open* are open.

    *in_thread* runs what blocks.
    """

    def __init__(self, folder: int, *, mode: int, max_open: int, in_thread: InThread) -> None:
        self._folder, self._mode, self._in_thread = folder, mode, in_thread
        self._has_nameless = disk.has_nameless_files(folder)
        self._entries: dict[str, Growing] = {}
        self._descriptors = Descriptors(max_open, self._close_some)

    def get(self, id: str) -> Growing | None:
        """What is known of *id*; None when that is nothing beside the file itself."""
        return self._entries.get(id)

    def some(self, ids: Sequence[str]) -> dict[str, Growing]:
        """Those of *ids* of which anything is known."""
        return {id: entry for id in ids if (entry := self._entries.get(id))}

    def use(self, id: str) -> Growing:
        """What is known of *id*, for somebody who is going to change it."""
        return self._entries.setdefault(id, Growing())

    def drop(self, id: str, entry: Growing) -> None:
        """Its descriptor is closed and nothing is to be remembered of it."""
        if self._entries.get(id) is entry:
            del self._entries[id]
        self._descriptors.closed(entry)

    # --- descriptors ----------------------------------------------------------------------

    async def admit(self, id: str, entry: Growing) -> None:
        """Let *entry*, which the caller is using, have a descriptor; see `Descriptors.admit`."""
        await self.settled({id: entry})
        await self._descriptors.admit(id, entry)

    async def settled(self, entries: Mapping[str, Growing]) -> None:
        """Wait until none of *entries* is being closed: then it is known whether that failed."""
        for entry in entries.values():
            while entry.closing is not None:
                await entry.closing.wait()

    def using(self, entries: Mapping[str, Growing]) -> Using:
        """Keep the descriptors of *entries* open while the block runs."""
        return self._descriptors.using(entries)

    def open(self, id: str, entry: Growing, *, whole: bool = False) -> int:
        """The descriptor of *entry*, which is admitted; *whole*, a nameless file if that can be.

        Blocks.  Raises OSError.
        """
        if entry.fd >= 0:
            return entry.fd
        # What lies in growing/ is what recovery publishes: beside it nothing can be nameless.
        nameless = whole and self._has_nameless and disk.find_file(id, self._folder) is None
        if nameless:
            entry.fd = os.open(".", os.O_TMPFILE | _OPEN, self._mode, dir_fd=self._folder)
        else:
            entry.fd = os.open(id, _OPEN | os.O_CREAT, self._mode, dir_fd=self._folder)
        entry.anonymous, entry.unnamed, entry.fresh = nameless, nameless, not nameless
        found = os.fstat(entry.fd)
        entry.identity = identity.of_open_file(entry.fd, found)
        if stat.S_IMODE(found.st_mode) != self._mode:  # the umask; growing/ itself is private
            os.fchmod(entry.fd, self._mode)
        return entry.fd

    # --- letting go -----------------------------------------------------------------------

    async def release(self, ids: Sequence[str]) -> None:
        """Close what is flushed; an entry with bytes that are not stays, so they are not lost."""
        idle = {id: entry for id, entry in self.some(ids).items() if entry.idle}
        await self._close_some(idle)

    async def remove(self, ids: Sequence[str]) -> None:
        """Close them and remove their names."""
        entries = self.some(ids)
        for id in entries:
            del self._entries[id]
        unnamed = {id for id, entry in entries.items() if entry.unnamed}
        await self._close(entries, unlink=[id for id in ids if id not in unnamed])

    async def _close_some(self, entries: Mapping[str, Growing]) -> None:
        """Close the files of entries that are `closable`; what failed is still remembered."""
        for id, entry in entries.items():
            if entry.idle:
                del self._entries[id]
        await self._close(entries, sync=[e for e in entries.values() if e.provisional])

    async def _close(
        self,
        entries: Mapping[str, Growing],
        *,
        unlink: Sequence[str] = (),
        sync: Sequence[Growing] = (),
    ) -> None:
        """Close their files; of those in *sync* it must be known whether their bytes are safe."""
        closed, fds = trio.Event(), {e: e.fd for e in entries.values() if e.fd >= 0}
        for entry in fds:
            entry.fd, entry.closing = -1, closed
        doubtful = [(entry, fds[entry]) for entry in sync if entry in fds]

        def close() -> None:  # in a thread: the last close of a large file frees its blocks
            outcome = disk.sync_data([fd for _, fd in doubtful])
            for (entry, _), error in zip(doubtful, outcome, strict=True):
                entry.failed |= error is not None  # closed, it would hide that
            for fd in fds.values():
                os.close(fd)
            try:
                settle.unlink_all(self._folder, unlink)
            except OSError as error:
                raise MediumFailed("cannot remove what is not needed any more") from error

        try:
            if fds or unlink:
                with trio.CancelScope(shield=True):  # nobody else knows these descriptors any more
                    await self._in_thread(close)
        finally:
            for entry in fds:
                entry.closing = None
            closed.set()
            for entry in entries.values():
                if entry.closing is None:  # else whoever is closing it says so
                    self._descriptors.closed(entry)

    async def aclose(self) -> None:
        """Close them all; nothing is flushed."""
        entries, self._entries = self._entries, {}
        await self._close(entries)
