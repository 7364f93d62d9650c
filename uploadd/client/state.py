"""What ``uploadd put`` remembers, so that it can go on: one small file for each upload that runs.

A file is known by its path, size and time of change, by the server, and by the link that it is sent
with: when any of them is another, it is another upload.  What is stored, of a command that is not
through, is remembered in ``journal.py``.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

SUFFIX: Final = ".json"
KEEP_SECONDS: Final = 30 * 86400.0  # longer than a server keeps what is not finished


class Known(NamedTuple):
    """Which file, in which state of it, to which server."""

    path: str
    """Absolute."""
    size: int
    mtime_ns: int
    server: str
    name: str = ""
    """What it is to be called there, where that does not follow from its path."""
    link: str = ""
    """The ticket that it is sent with: what another was for belongs to somebody else."""

    @property
    def id(self) -> str:
        """A name for its file, the same for the same."""
        words = [self.path, str(self.size), str(self.mtime_ns), self.server]
        words += [self.name, self.link] if self.link else [self.name] if self.name else []
        text = "\0".join(words)
        return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:32]


class Entry(msgspec.Struct):
    """The content of a state file."""

    upload: str
    path: str
    server: str
    size: int = 0
    began: float = 0.0
    """Seconds since the epoch."""


def directory() -> Path:
    """``$XDG_STATE_HOME/uploadd``, by default ``~/.local/state/uploadd``."""
    home = os.environ.get("XDG_STATE_HOME", "")
    base = Path(home) if os.path.isabs(home) else Path.home() / ".local" / "state"
    return base / "uploadd"


class States:
    """The state files in *folder*, which is made when there is something to remember."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pruned = False

    def find(self, known: Known) -> str | None:
        """The upload that *known* was sent to before, if there is one."""
        entry = _read(self._path(known.id))
        return entry.upload if entry is not None else None

    def save(self, known: Known, upload: str) -> None:
        """Remember *upload*; whole or not at all, and for the eyes of this user only."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._prune()
        path = os.fsencode(known.path).decode("utf-8", "replace")
        entry = Entry(upload, path, known.server, known.size, time.time())
        fd, growing = tempfile.mkstemp(dir=self._folder, suffix=".new")  # has mode 0600
        try:
            with open(fd, "wb") as file:
                file.write(msgspec.json.encode(entry))
            os.replace(growing, self._path(known.id))
        except OSError:
            os.unlink(growing)
            raise

    def entries(self) -> Iterator[tuple[str, Entry]]:
        """All that is remembered, each with the id by which ``drop`` forgets it."""
        with suppress(FileNotFoundError), os.scandir(self._folder) as found:
            for file in found:
                if file.name.endswith(SUFFIX) and (entry := _read(file.path)) is not None:
                    yield file.name.removesuffix(SUFFIX), entry

    def forget(self, known: Known) -> None:
        """Remember nothing of *known*; if that fails, the next run finds it finished."""
        self.drop(known.id)

    def drop(self, id: str) -> None:
        """As forget, by the id of what was known."""
        with suppress(OSError):
            self._path(id).unlink()

    def _path(self, id: str) -> Path:
        return self._folder / f"{id}{SUFFIX}"

    def _prune(self) -> None:
        """Forget what nobody came back for, once in each command."""
        if self._pruned:
            return
        self._pruned = True
        before = time.time() - KEEP_SECONDS
        with os.scandir(self._folder) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    forgettable = entry.name.endswith((SUFFIX, ".new"))
                    if forgettable and entry.stat(follow_symlinks=False).st_mtime < before:
                        os.unlink(entry.path)


def _read(path: str | Path) -> Entry | None:
    try:
        with open(path, "rb") as file:
            return msgspec.json.decode(file.read(), type=Entry)
    except (OSError, msgspec.MsgspecError):
        return None
