"""What ``uploadd put`` remembers, so that it can go on: one small file for each upload that runs.

A file is known by its path, size and time of change, and by the server: when any of them is
another, it is another upload.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

KEEP_SECONDS: Final = 30 * 86400.0  # longer than a server keeps what is not finished


class Known(NamedTuple):
    """Which file, in which state of it, to which server."""

    path: str
    """Absolute."""
    size: int
    mtime_ns: int
    server: str

    @property
    def id(self) -> str:
        """A name for its file, the same for the same."""
        text = "\0".join((self.path, str(self.size), str(self.mtime_ns), self.server))
        return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:32]


class _Entry(msgspec.Struct):
    """The content of a state file; all but ``upload`` is for people who look into it."""

    upload: str
    path: str
    server: str


def directory() -> Path:
    """``$XDG_STATE_HOME/uploadd``, by default ``~/.local/state/uploadd``."""
    home = os.environ.get("XDG_STATE_HOME", "")
    base = Path(home) if os.path.isabs(home) else Path.home() / ".local" / "state"
    return base / "uploadd"


class States:
    """The state files in *folder*, which is made when there is something to remember."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, known: Known) -> str | None:
        """The upload that *known* was sent to before and is not finished, if there is one."""
        try:
            raw = self._path(known).read_bytes()
            return msgspec.json.decode(raw, type=_Entry).upload
        except (OSError, msgspec.MsgspecError):
            return None

    def save(self, known: Known, upload: str) -> None:
        """Remember *upload*; whole or not at all, and for the eyes of this user only."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._prune()
        path = os.fsencode(known.path).decode("utf-8", "replace")
        raw = msgspec.json.encode(_Entry(upload, path, known.server))
        fd, growing = tempfile.mkstemp(dir=self._folder, suffix=".new")  # has mode 0600
        try:
            with open(fd, "wb") as file:
                file.write(raw)
            os.replace(growing, self._path(known))
        except OSError:
            os.unlink(growing)
            raise

    def forget(self, known: Known) -> None:
        """Remember nothing of *known*; if that fails, the next run finds it finished."""
        with suppress(OSError):
            self._path(known).unlink()

    def _path(self, known: Known) -> Path:
        return self._folder / f"{known.id}.json"

    def _prune(self) -> None:
        """Forget what nobody came back for."""
        before = time.time() - KEEP_SECONDS
        with os.scandir(self._folder) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    if entry.stat(follow_symlinks=False).st_mtime < before:
                        os.unlink(entry.path)
