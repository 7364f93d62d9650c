"""A file that is being downloaded: ``FILE.part``, and beside it of what it is a part.

``FILE.part.etag`` is written after an old FILE.part was emptied and before the first byte, so it
never speaks of bytes that came from something else.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from typing import Self

from uploadd.client.errors import LocalWriteError


class Part:
    """The bytes of *target* so far.  All its methods block, and raise LocalWriteError."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.size = 0
        self.etag: str | None = None
        self._path = f"{target}.part"
        self._etag_path = f"{target}.part.etag"
        self._fd: int | None = None
        with suppress(OSError, UnicodeDecodeError):
            with open(self._etag_path, encoding="ascii") as file:
                etag = file.read()
            self.size = os.stat(self._path).st_size
            self.etag = etag or None

    @property
    def resumable(self) -> bool:
        """Whether there is something to go on with."""
        return self.etag is not None and self.size > 0

    def conditions(self) -> list[tuple[str, str]]:
        """The request fields that ask for what is missing, if it is still of the same."""
        if not self.resumable:
            return []
        assert self.etag is not None
        return [("Range", f"bytes={self.size}-"), ("If-Range", self.etag)]

    def forget(self) -> None:
        """Begin anew with the next answer."""
        self.size, self.etag = 0, None

    def open(self, *, anew: bool, etag: str | None) -> Self:
        """Make ready for bytes: behind those that are there, or *anew* for what *etag* names."""
        try:
            if anew:
                self._begin(etag)
            else:
                self._fd = os.open(self._path, os.O_WRONLY | os.O_CLOEXEC)
        except OSError as error:
            raise _unwritable(self._path, error) from error
        return self

    def _begin(self, etag: str | None) -> None:
        with suppress(FileNotFoundError):
            os.unlink(self._etag_path)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        self._fd = os.open(self._path, flags, 0o666)
        self.size, self.etag = 0, etag
        if etag is not None:
            with open(self._etag_path, "w", encoding="ascii", errors="ignore") as file:
                file.write(etag)

    def append(self, data: bytes) -> None:
        """Write *data* behind what is there."""
        assert self._fd is not None
        try:
            view = memoryview(data)
            while view:
                count = os.pwrite(self._fd, view, self.size)
                self.size += count
                view = view[count:]
        except OSError as error:
            raise _unwritable(self._path, error) from error

    def close(self) -> None:
        """Keep what is there for another time."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def publish(self, *, force: bool) -> None:
        """Make it durable under its name; *force*: whatever has that name now."""
        assert self._fd is not None
        try:
            os.fsync(self._fd)
            self.close()
            if force:
                os.replace(self._path, self.target)
            else:
                self._link()
            with suppress(FileNotFoundError):
                os.unlink(self._etag_path)
        except FileExistsError as error:
            raise exists(self.target) from error
        except OSError as error:
            raise _unwritable(self.target, error) from error

    def _link(self) -> None:
        try:
            os.link(self._path, self.target)
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS):
                raise
            if os.path.lexists(self.target):  # no hard links here: nearly as good
                raise FileExistsError(errno.EEXIST, "it exists", self.target) from error
            os.rename(self._path, self.target)
        else:
            os.unlink(self._path)


def exists(target: str) -> LocalWriteError:
    """The refusal to overwrite."""
    return LocalWriteError(f"{target} is there already", "--force overwrites it, -o names another")


def _unwritable(path: str, error: OSError) -> LocalWriteError:
    return LocalWriteError(f"cannot write {path}: {(error.strerror or str(error)).lower()}")
