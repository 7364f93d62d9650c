"""Which files: those of the command line, and what lies in its folders, one after the other.

Nothing is listed before it is needed: of a tree only the folders on the way to the newest file
are in memory.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from enum import Enum
from typing import Final, NamedTuple

from uploadd.client.errors import LocalReadError
from uploadd.client.patterns import Patterns

STDIN: Final = "-"


class Kind(Enum):
    """What is read."""

    FILE = "file"
    STREAM = "stream"  # a device or a named pipe, of which nobody knows the length
    STDIN = "standard input"


class Item(NamedTuple):
    """A file to be sent, or why it cannot be."""

    argument: int
    """The index of the word on the command line that it comes from."""
    path: str
    name: str
    """As the server is told."""
    relative: str = ""
    """The path that goes along, where there are folders in it; ``name`` is its end."""
    kind: Kind = Kind.FILE
    size: int | None = None
    mtime_ns: int = 0
    error: LocalReadError | None = None


class Skipped:
    """What was not followed or not read, and one of each to show."""

    def __init__(self) -> None:
        self.links = self.specials = self.filtered = 0
        self._link = self._special = ""

    def link(self, path: str) -> None:
        """A symbolic link inside a folder."""
        self._link = self._link or path
        self.links += 1

    def special(self, path: str) -> None:
        """Neither a file, a folder nor a link, inside a folder."""
        self._special = self._special or path
        self.specials += 1

    def lines(self) -> Iterator[str]:
        """What people are to know of it."""
        if self.links:
            noun = "symbolic link" if self.links == 1 else "symbolic links"
            yield f"{self.links} {noun} inside folders not followed ({self._link})"
        if self.specials:
            noun = "special file" if self.specials == 1 else "special files"
            yield f"{self.specials} {noun} skipped: pipes, sockets or devices ({self._special})"


class Selection:
    """*words* of the command line without what *exclude* and *newer* leave out.

    Symbolic links are followed on the command line and nowhere else, so there are no loops.  With
    ``/`` at the end of a folder its own name is not part of what is sent, as in rsync.
    """

    def __init__(
        self, words: Sequence[str], exclude: Patterns | None = None, newer: float | None = None
    ) -> None:
        self._words = words
        self._exclude = exclude or Patterns([])
        self._newer_ns = None if newer is None else int(newer * 1e9)
        self.skipped = Skipped()

    def walk(self) -> Iterator[Item | None]:
        """The items in order, sorted within each folder; None for anything that is none.

        It blocks, and can be left between any two.
        """
        for argument, word in enumerate(self._words):
            if word == STDIN:
                yield Item(argument, word, "stdin", kind=Kind.STDIN)
                continue
            try:
                status = os.stat(word)
            except (OSError, ValueError) as error:
                yield Item(argument, word, _text(word), error=_unreadable(error))
                continue
            if stat.S_ISDIR(status.st_mode):
                yield from self._tree(argument, word)
            else:
                name = os.path.basename(word)
                timely = self._changed(status) or not stat.S_ISREG(status.st_mode)
                wanted = timely and not self._exclude.match(name, folder=False)
                yield _item(argument, word, _text(name), status) if wanted else self._filter()

    def _tree(self, argument: int, root: str) -> Iterator[Item | None]:
        """The files below *root*, depth first; the stack has one open folder for each level."""
        own = os.path.basename(root)
        prefix = "" if own in ("", os.curdir, os.pardir) else f"{own}/"
        stack: list[Iterator[os.DirEntry[str]]] = []
        yield from self._open(argument, root, prefix, stack)
        below: list[str] = []  # the names of the folders on the stack, without that of the root
        while stack:
            entry = next(stack[-1], None)
            if entry is None:
                stack.pop()
                del below[-1:]
                continue
            relative = "/".join([*below, entry.name])
            try:
                folder = entry.is_dir(follow_symlinks=False)
                if self._exclude.match(relative, folder=folder):
                    yield self._filter()
                elif folder:
                    below.append(entry.name)
                    before = len(stack)
                    yield from self._open(argument, entry.path, f"{prefix}{relative}", stack)
                    if len(stack) == before:
                        below.pop()
                else:
                    yield self._leaf(argument, entry, prefix + relative)
            except OSError as error:
                yield Item(argument, entry.path, _text(entry.name), error=_unreadable(error))

    def _open(
        self, argument: int, path: str, name: str, stack: list[Iterator[os.DirEntry[str]]]
    ) -> Iterator[Item | None]:
        """Put what *path* contains onto *stack*, or say why it cannot be listed."""
        try:
            with os.scandir(path) as entries:
                stack.append(iter(sorted(entries, key=lambda entry: os.fsencode(entry.name))))
            yield None
        except OSError as error:
            yield Item(argument, path, _text(name), error=_unreadable(error, "list"))

    def _leaf(self, argument: int, entry: os.DirEntry[str], relative: str) -> Item | None:
        if entry.is_symlink():
            self.skipped.link(entry.path)
            return None
        status = entry.stat(follow_symlinks=False)
        if not stat.S_ISREG(status.st_mode):
            self.skipped.special(entry.path)
            return None
        if not self._changed(status):
            return self._filter()
        relative = _text(relative)
        folders, _, name = relative.rpartition("/")
        return _item(argument, entry.path, name, status, relative if folders else "")

    def _changed(self, status: os.stat_result) -> bool:
        return self._newer_ns is None or status.st_mtime_ns > self._newer_ns

    def _filter(self) -> Item | None:
        self.skipped.filtered += 1
        return None


def _item(argument: int, path: str, name: str, status: os.stat_result, relative: str = "") -> Item:
    if not stat.S_ISREG(status.st_mode):
        if stat.S_ISSOCK(status.st_mode):
            return Item(argument, path, name, error=LocalReadError("cannot read it: a socket"))
        return Item(argument, path, name, kind=Kind.STREAM)
    return Item(argument, path, name, relative, Kind.FILE, status.st_size, status.st_mtime_ns)


def _unreadable(error: OSError | ValueError, verb: str = "read") -> LocalReadError:
    why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return LocalReadError(f"cannot {verb} it: {why.lower()}")


def _text(name: str) -> str:
    """*name* as the server is told: names are UTF-8 there."""
    return os.fsencode(name).decode("utf-8", "replace")
