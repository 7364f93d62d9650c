"""Where the bytes of an upload come from: a file, read again if need be, or a stream."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import BinaryIO, Final, Protocol, TypeAlias

import trio

from uploadd.client.errors import CannotRewind, LocalFileChanged, LocalReadError
from uploadd.client.nursery import open_plain_nursery

READ: Final = 1 << 20  # bytes asked from a stream at once

Uploadable: TypeAlias = str | os.PathLike[str] | int | BinaryIO | AsyncIterable[bytes]
"""A path, a descriptor, a binary file object, or pieces that come one after the other."""


class Source(Protocol):
    """Bytes by position; 0 is where the upload begins."""

    length: int | None
    """In bytes; None as long as it is not known."""

    async def read(self, at: int, count: int) -> bytes:
        """Some bytes from *at* on, at most *count*; empty only at the end.

        Raises LocalReadError, LocalFileChanged, CannotRewind.  Cancelled: nothing is lost.
        """

    def release(self, offset: int) -> None:
        """Nothing below *offset* is going to be read again."""


class FileSource:
    """A regular file, from *start* to its end.  Raises LocalFileChanged when it is written to."""

    def __init__(self, fd: int, start: int, name: str) -> None:
        status = os.fstat(fd)
        self.length: int | None = max(status.st_size - start, 0)
        self._fd, self._start, self._name = fd, start, name
        self._seen = (status.st_size, status.st_mtime_ns)

    async def read(self, at: int, count: int) -> bytes:
        """See Source; in a worker thread."""
        return await trio.to_thread.run_sync(self._read, at, count)

    def _read(self, at: int, count: int) -> bytes:
        try:
            data = os.pread(self._fd, count, self._start + at)
            status = os.fstat(self._fd)
        except OSError as error:
            raise _unreadable(self._name, error) from error
        if (status.st_size, status.st_mtime_ns) != self._seen:
            raise LocalFileChanged(f"{self._name} was written to while it was uploaded")
        return data

    def release(self, offset: int) -> None:
        """See Source; a file keeps its bytes."""


class SeekableSource:
    """A binary file object that can seek, from where it stands to its end; only we may use it."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file, self._name = file, name
        self._start = file.tell()
        self.length: int | None = max(file.seek(0, os.SEEK_END) - self._start, 0)

    async def read(self, at: int, count: int) -> bytes:
        """See Source; in a worker thread."""
        return await trio.to_thread.run_sync(self._read, at, count)

    def _read(self, at: int, count: int) -> bytes:
        try:
            self._file.seek(self._start + at)
            return self._file.read(count)
        except OSError as error:
            raise _unreadable(self._name, error) from error

    def release(self, offset: int) -> None:
        """See Source; a file keeps its bytes."""


class StreamSource:
    """Pieces that come once.  What is not durable yet is kept, the credit of the server bounds it.

    ``pull`` runs beside the reading, so that a slow producer is never cancelled in its work.
    """

    def __init__(self, pieces: AsyncIterable[bytes], length: int | None) -> None:
        self.length = length
        self._pieces = pieces
        self._base = 0  # position of the first byte that is kept
        self._kept = bytearray()
        self._floor = 0  # nothing below is read again
        self._read_to = 0
        self._ended = False
        self._arrived = trio.Event()
        self._wanted = trio.Event()

    @property
    def kept(self) -> int:
        """Bytes in memory."""
        return len(self._kept)

    async def pull(self) -> None:
        """Take pieces until there are no more, READ bytes at most ahead of what was read."""
        async for piece in self._pieces:
            self._kept += piece
            self._drop()
            self._arrived.set()
            while self._base + len(self._kept) - self._read_to >= READ:
                await self._wanted.wait()
                self._wanted = trio.Event()
        self._ended = True
        if self.length is None:
            self.length = self._base + len(self._kept)
        self._arrived.set()

    async def read(self, at: int, count: int) -> bytes:
        """See Source; may give less than *count* so that a slow producer delays nothing."""
        if at < self._base:
            raise CannotRewind(f"the bytes from {at} on are needed again, and come only once")
        while at >= self._base + len(self._kept) and not self._ended:
            self._advance(self._base + len(self._kept))  # to skip what is stored already
            await self._arrived.wait()
            self._arrived = trio.Event()
        start = at - self._base
        data = bytes(memoryview(self._kept)[start : start + count])
        self._advance(at + len(data))
        return data

    def _advance(self, position: int) -> None:
        self._read_to = max(self._read_to, position)
        self._wanted.set()

    def release(self, offset: int) -> None:
        """See Source; what lies below *offset* may still be to come, and is dropped then."""
        self._floor = max(self._floor, offset)
        self._drop()

    def _drop(self) -> None:
        count = min(self._floor - self._base, len(self._kept))
        if count > 0:
            del self._kept[:count]
            self._base += count


class _Pipe:
    """The bytes of a descriptor that can be waited for: a pipe, a socket, a terminal."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        while True:
            try:
                await trio.lowlevel.wait_readable(self._fd)
                data = os.read(self._fd, READ)  # there is something, so it does not block
            except BlockingIOError:
                continue  # or somebody else took it
            except OSError as error:
                raise _unreadable("the pipe", error) from error
            if not data:
                raise StopAsyncIteration
            return data


class _Pieces:
    """The bytes of a file object that can do nothing but read.

    A thread that hangs in a read is left behind when the upload is cancelled.
    """

    def __init__(self, file: BinaryIO | io.RawIOBase) -> None:
        self._read = getattr(file, "read1", file.read)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            data: bytes = await trio.to_thread.run_sync(self._read, READ, abandon_on_cancel=True)
        except OSError as error:
            raise _unreadable("the stream", error) from error
        if not data:
            raise StopAsyncIteration
        return data


def open_source(what: Uploadable, length: int | None) -> AbstractAsyncContextManager[Source]:
    """The source for *what*; *length* in bytes is for streams, of files it is what they have.

    Raises LocalReadError on entering.
    """
    if isinstance(what, str | os.PathLike):
        return _path(os.fspath(what), length)
    if isinstance(what, int):
        return _descriptor(what, "standard input" if what == 0 else f"descriptor {what}", length)
    if isinstance(what, AsyncIterable):
        return _stream(what, length)
    return _file(what, length)


@asynccontextmanager
async def _path(path: str, length: int | None) -> AsyncIterator[Source]:
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK  # a named pipe has nobody at its end yet
    try:
        fd = await trio.to_thread.run_sync(os.open, path, flags)
    except OSError as error:
        raise _unreadable(path, error) from error
    try:
        async with _descriptor(fd, path, length) as source:
            yield source
    finally:
        os.close(fd)


@asynccontextmanager
async def _descriptor(fd: int, name: str, length: int | None) -> AsyncIterator[Source]:
    """*fd* as it is: a file from where it stands, or what comes through it."""
    mode = os.fstat(fd).st_mode
    if stat.S_ISDIR(mode):
        hint = "upload the files in it one by one, as uploadd put FOLDER does"
        raise LocalReadError(f"cannot read {name}: it is a directory", hint)
    if stat.S_ISREG(mode):
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_SEQUENTIAL)
        yield FileSource(fd, os.lseek(fd, 0, os.SEEK_CUR), name)
    elif stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(fd):
        async with _stream(_Pipe(fd), length) as source:
            yield source
    else:  # a device: epoll takes none, /dev/null least of all
        async with _stream(_Pieces(io.FileIO(fd, closefd=False)), length) as source:
            yield source


@asynccontextmanager
async def _stream(pieces: AsyncIterable[bytes], length: int | None) -> AsyncIterator[Source]:
    source = StreamSource(pieces, length)
    async with open_plain_nursery() as nursery:
        nursery.start_soon(source.pull)
        yield source


@asynccontextmanager
async def _file(file: BinaryIO, length: int | None) -> AsyncIterator[Source]:
    name = str(getattr(file, "name", "the file"))
    if not file.seekable():
        async with _stream(_Pieces(file), length) as source:
            yield source
    elif isinstance(getattr(file, "raw", file), io.FileIO):
        # not by fileno() alone: a GzipFile has the one of what it unpacks
        yield FileSource(file.fileno(), file.tell(), name)
    else:
        yield SeekableSource(file, name)


def _unreadable(name: str, error: OSError) -> LocalReadError:
    return LocalReadError(f"cannot read {name}: {(error.strerror or str(error)).lower()}")
