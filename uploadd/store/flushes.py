"""Making growing files of FileStore durable; blocking, run in its worker threads."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Literal, TypeAlias

from uploadd.store import disk, settle
from uploadd.store.growing import GrowingFiles
from uploadd.store.writes import Growing

How: TypeAlias = Literal["files", "filesystem"]


class Flushes:
    """Flushes files in *folder*: each of them, or their file system; not *durable*, neither."""

    def __init__(self, folder: int, files: GrowingFiles, *, durable: bool, how: How) -> None:
        self._folder, self._files, self._durable, self._how = folder, files, durable, how

    def job(
        self, sound: Mapping[str, Growing], publishing: Collection[str]
    ) -> Callable[[], list[OSError | None]] | None:
        """What has to be done in a thread for *sound*, if anything; it says what went wrong."""
        nameless = [id for id, entry in sound.items() if entry.anonymous or entry.kept]
        named = {id for id in nameless if id not in publishing}
        if named or (self._durable and sound) or any(entry.kept for entry in sound.values()):
            return partial(self._now, sound, named)
        return None

    def _now(self, sound: Mapping[str, Growing], named: Collection[str]) -> list[OSError | None]:
        """Write what was kept, give those in *named* their growing names, and flush all.

        Says what went wrong with each.  Raises MediumFailed when the names cannot be made durable.
        """
        faults = {id: fault for id, e in sound.items() if (fault := self._put(id, e, id in named))}
        if self._durable:
            left = [(id, entry) for id, entry in sound.items() if id not in faults]
            outcome = self._flush([entry.fd for _, entry in left])
            faults |= {id: e for (id, _), e in zip(left, outcome, strict=True) if e is not None}
            if any(entry.fresh for _, entry in left):
                settle.sync_growing(self._folder)
                for _, entry in left:
                    entry.fresh = False
        return [faults.get(id) for id in sound]

    def _put(self, id: str, entry: Growing, named: bool) -> OSError | None:
        """Have its bytes in a file, which has a name if it must; what went wrong."""
        try:
            if entry.kept:
                fd = self._files.open(id, entry, whole=not named)
                return disk.write_all(fd, 0, entry.kept)[1]
            if named:  # it will not be published in one go
                disk.link_open_file(entry.fd, id, self._folder)
                entry.anonymous, entry.fresh = False, True
        except OSError as error:
            return error
        return None

    def _flush(self, fds: Sequence[int]) -> list[OSError | None]:
        if fds and self._how == "filesystem":
            return disk.sync_filesystem(self._folder, len(fds))
        return disk.sync_data(fds)
