"""What a command has stored that is not through yet: one file for each command, a line for each
upload, so that whoever goes on with it stores nothing twice.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from uploadd.client.state import KEEP_SECONDS, Known

SUFFIX: Final = ".stored"


class Line(NamedTuple):
    """One file that is stored, by the id of what it is known by."""

    known: str
    upload: str
    path: str


class Journal:
    """Of this command, with what earlier ones left in the state folder *home*.  It blocks."""

    def __init__(self, home: Path, server: str) -> None:
        self._home, self._server = home, server
        self._path = home / f"{secrets.token_hex(16)}{SUFFIX}"
        self._done: set[str] = set()
        self._left: dict[str, tuple[str, Path]] = {}  # upload, and who says so
        self._open: Counter[Path] = Counter()  # how many lines of each have not come again
        for path in journals(home):
            with suppress(FileNotFoundError):  # its command is through by now
                self._look(path)
        self._open.update(path for _, path in self._left.values())

    def _look(self, path: Path) -> None:
        """Take over what is in *path*, if that is to this server; forget it when it is old."""
        if path.stat().st_mtime < time.time() - KEEP_SECONDS:
            path.unlink()
        elif _server(path) == self._server:
            for line in lines(path):
                self._left[line.known] = (line.upload, path)

    def find(self, known: Known) -> str | None:
        """The upload as which an earlier command stored *known*."""
        upload, _ = self._left.get(known.id, (None, None))
        return upload

    def has(self, known: Known) -> bool:
        """Whether this command stored it."""
        return known.id in self._done

    def add(self, known: Known, upload: str) -> None:
        """It is stored.  Raises OSError."""
        self._done.add(known.id)
        _, path = self._left.pop(known.id, (None, None))
        if path is not None:
            self._open[path] -= 1
        text = ""
        if len(self._done) == 1:
            self._home.mkdir(mode=0o700, parents=True, exist_ok=True)
            text = json.dumps({"server": self._server}) + "\n"
        text += json.dumps(Line(known.id, upload, known.path)) + "\n"
        fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)

    def forget(self) -> None:
        """The command is through: nobody needs its lines, nor those that came again in it."""
        through = [path for path, count in self._open.items() if count == 0]
        for path in [self._path, *through]:
            with suppress(OSError):
                path.unlink()


def journals(home: Path) -> list[Path]:
    """The files of all commands."""
    return list(home.glob(f"*{SUFFIX}"))


def lines(path: Path) -> Iterator[Line]:
    """What is in one of them; half a line, of a crash or a full disk, is none."""
    with suppress(OSError), path.open(encoding="ascii", errors="replace") as file:
        file.readline()
        for text in file:
            with suppress(ValueError, TypeError):
                yield Line(*json.loads(text))


def forget_lines(home: Path, wanted: Callable[[str], bool], server: str | None) -> int:
    """Forget the lines of the paths that are *wanted*; how many."""
    count = 0
    for path in journals(home):
        if server not in (None, _server(path)):
            continue
        kept = [line for line in lines(path) if not wanted(line.path)]
        count += sum(1 for _ in lines(path)) - len(kept)
        head = json.dumps({"server": _server(path)})
        growing = path.with_suffix(".new")
        growing.write_text("".join(f"{text}\n" for text in (head, *map(json.dumps, kept))))
        os.replace(growing, path) if kept else growing.unlink()
        if not kept:
            path.unlink()
    return count


def count_lines(home: Path, wanted: Callable[[str], bool], server: str | None) -> int:
    """How many lines there are of the paths that are *wanted*."""
    found = (path for path in journals(home) if server in (None, _server(path)))
    return sum(wanted(line.path) for path in found for line in lines(path))


def _server(path: Path) -> str | None:
    try:
        with path.open(encoding="ascii", errors="replace") as file:
            return str(json.loads(file.readline())["server"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
