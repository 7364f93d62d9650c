"""Making growing files of FileStore durable; blocking, run in its worker threads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

from uploadd.store import disk, settle
from uploadd.store.writes import Growing

How: TypeAlias = Literal["files", "filesystem"]


class Flushes:
    """Flushes files in *folder*: each of them, or their file system; not *durable*, neither."""

    def __init__(self, folder: int, *, durable: bool, how: How) -> None:
        self._folder, self._durable, self._how = folder, durable, how

    def now(self, sound: Mapping[str, Growing], named: Sequence[str]) -> list[OSError | None]:
        """Give those in *named* their growing names, and flush all; what went wrong with each.

        Raises MediumFailed when the names cannot be made durable.
        """
        unnamed = {id: self._name(id, sound[id]) for id in named}
        outcome: list[OSError | None] = [None] * len(sound)
        if self._durable and sound:
            outcome = self._flush([entry.fd for entry in sound.values()])
            if any(entry.fresh for entry in sound.values()):
                settle.sync_growing(self._folder)
                for entry in sound.values():
                    entry.fresh = False
        return [unnamed.get(id) or error for id, error in zip(sound, outcome, strict=True)]

    def _flush(self, fds: Sequence[int]) -> list[OSError | None]:
        if self._how == "filesystem":
            return disk.sync_filesystem(self._folder, len(fds))
        return disk.sync_data(fds)

    def _name(self, id: str, entry: Growing) -> OSError | None:
        """Give a nameless file its growing name: it will not be published in one go."""
        try:
            disk.link_open_file(entry.fd, id, self._folder)
        except OSError as error:
            return error
        entry.anonymous, entry.fresh = False, True
        return None
