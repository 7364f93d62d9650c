"""Making growing files of FileStore durable, in its worker threads."""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Literal, TypeAlias

import trio

from uploadd.errors import StoreError
from uploadd.protocol.extents import NOTHING, Extents
from uploadd.store import disk, settle
from uploadd.store.growing import GrowingFiles
from uploadd.store.reserve import Reserve
from uploadd.store.writes import Growing, Kept

How: TypeAlias = Literal["files", "filesystem"]
Outcome: TypeAlias = list[OSError | None]
InThread: TypeAlias = Callable[[Callable[[], Outcome]], Awaitable[Outcome]]


class Flushes:
    """Flushes files in *folder*: each of them, or their file system; not *durable*, neither.

    *in_thread* runs what blocks.
    """

    def __init__(
        self,
        folder: int,
        files: GrowingFiles,
        kept: Kept,
        reserve: Reserve,
        *,
        durable: bool,
        how: How,
        in_thread: InThread,
    ) -> None:
        self._folder, self._files, self._kept, self._reserve = folder, files, kept, reserve
        self._durable, self._how, self._in_thread = durable, how, in_thread

    async def flush(
        self, entries: Mapping[str, Growing], publishing: Collection[str]
    ) -> dict[str, Extents | StoreError]:
        """Flush *entries*, which the caller is using and none of which is being closed."""
        sound = {id: e for id, e in entries.items() if (e.dirty or e.anonymous) and not e.failed}
        # The watermark first, the flush second: bytes that come between are not promised.
        for entry in sound.values():
            entry.in_flush, entry.dirty = entry.dirty, NOTHING
        outcome: Outcome = [None] * len(sound)
        try:
            if (job := self._job(sound, publishing)) is not None:
                outcome = await self._in_thread(job)
        except trio.Cancelled:  # before it began
            for entry in sound.values():
                entry.dirty, entry.in_flush = entry.dirty.union(entry.in_flush), NOTHING
            raise
        failed = [id for id, entry in entries.items() if entry.failed]
        answer: dict[str, Extents | StoreError] = {
            id: disk.told(OSError(errno.EIO, disk.BEFORE), "flushing") for id in failed
        }
        for (id, entry), error in zip(sound.items(), outcome, strict=True):
            mark, entry.in_flush = entry.in_flush, NOTHING
            self._kept.drop(entry)
            entry.failed = error is not None
            answer[id] = disk.told(error, "flushing") if error is not None else mark
            if entry.anonymous:  # durable only once it is published
                entry.dirty = entry.dirty.union(mark)
        return answer

    def _job(
        self, sound: Mapping[str, Growing], publishing: Collection[str]
    ) -> Callable[[], Outcome] | None:
        """What has to be done in a thread for *sound*, if anything; it says what went wrong."""
        nameless = [id for id, entry in sound.items() if entry.anonymous or entry.kept]
        named = {id for id in nameless if id not in publishing}
        if named or (self._durable and sound) or any(entry.kept for entry in sound.values()):
            return partial(self._now, sound, named)
        return None

    def _now(self, sound: Mapping[str, Growing], named: Collection[str]) -> Outcome:
        """Write what was kept, give those in *named* their growing names, and flush all.

        Says what went wrong with each.  Raises MediumFailed when the names cannot be made durable.
        """
        faults = {id: fault for id, e in sound.items() if (fault := self._put(id, e, id in named))}
        if self._durable:
            left = {id: entry for id, entry in sound.items() if id not in faults}
            # What was closed before it was confirmed was flushed then, or is not sound.
            opened = {id: entry.fd for id, entry in left.items() if entry.fd >= 0}
            outcome = self._flush(list(opened.values()))
            faults |= {id: e for id, e in zip(opened, outcome, strict=True) if e is not None}
            if any(entry.fresh for entry in left.values()):
                settle.sync_growing(self._folder)
                for entry in left.values():
                    entry.fresh = False
        return [faults.get(id) for id in sound]

    def _put(self, id: str, entry: Growing, named: bool) -> OSError | None:
        """Have its bytes in a file, which has a name if it must; what went wrong."""
        try:
            if entry.kept:
                fd = self._files.open(id, entry, whole=not named)
                write = partial(disk.write_all, fd, 0, entry.kept)
                return self._reserve.within(sum(map(len, entry.kept)), write)[1]
            if named:  # it will not be published in one go
                disk.link_open_file(entry.fd, id, self._folder)
                entry.anonymous, entry.unnamed, entry.fresh = False, False, True
        except OSError as error:
            return error
        return None

    def _flush(self, fds: Sequence[int]) -> Outcome:
        if fds and self._how == "filesystem":
            return disk.sync_filesystem(self._folder, len(fds))
        return disk.sync_data(fds)
