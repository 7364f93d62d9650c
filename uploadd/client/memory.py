"""What ``--watch`` has stored: a line for each file, so that a new watcher does not send it again.

Nothing is dropped because its file is not to be seen: a folder that is not mounted looks empty.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Final, NamedTuple, Self

SUFFIX: Final = ".watch"


class Signature(NamedTuple):
    """By what a file is taken for unchanged."""

    size: int
    mtime_ns: int


class Watched(Exception):
    """Somebody else watches the same folder for the same server."""


class Memory:
    """Of *folder* (absolute) and *server*, in the state folder *home*.  Used within ``with``.

    Raises Watched and OSError on entering.
    """

    def __init__(self, home: Path, folder: str, server: str) -> None:
        self._path = home / f"{_id(folder, server)}{SUFFIX}"
        self._head = {"folder": folder, "server": server}
        self._known: dict[str, Signature] = {}
        self._file: IO[str] | None = None

    def __enter__(self) -> Self:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._file = open(fd, "a+", encoding="ascii")  # closed by __exit__
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.close()
            raise Watched from error
        self._load(self._file)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._file is not None
        self._file.close()

    def knows(self, relative: str, signature: Signature) -> bool:
        """Whether *relative* was stored as it is."""
        return self._known.get(relative) == signature

    def add(self, relative: str, signature: Signature) -> None:
        """It is stored; remembered even by whoever comes after a crash of ours."""
        assert self._file is not None
        self._known[relative] = signature
        self._file.write(_line([relative, *signature]))
        self._file.flush()

    def _load(self, file: IO[str]) -> None:
        file.seek(0)
        first = file.readline()
        if not first.endswith("\n"):
            file.truncate(0)
            file.write(_line(self._head))
            file.flush()
            return
        for line in file:
            with suppress(ValueError):  # half a line: of a full disk, or the last before a crash
                relative, size, mtime_ns = json.loads(line)
                self._known[relative] = Signature(size, mtime_ns)
            if not line.endswith("\n"):
                file.write("\n")


def forget_watched(home: Path, folder: str | None, server: str | None) -> int:
    """Forget what was stored from *folder* to *server*, or from and to any; how many folders."""
    count = 0
    with suppress(FileNotFoundError):
        for path in home.glob(f"*{SUFFIX}"):
            with suppress(OSError, ValueError):
                with path.open(encoding="ascii") as file:
                    head = json.loads(file.readline())
                if folder in (None, head["folder"]) and server in (None, head["server"]):
                    path.unlink()
                    count += 1
    return count


def _id(folder: str, server: str) -> str:
    text = f"{folder}\0{server}"
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:32]


def _line(value: object) -> str:
    return json.dumps(value) + "\n"  # ASCII, so that any name has one
