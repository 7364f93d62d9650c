"""The sending side of a stream: bytes, and spans of files, to a peer that may stop taking them."""

from __future__ import annotations

import errno
import fcntl
import os
import select
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

import trio

from uploadd.errors import StoreError
from uploadd.threads import in_thread

STALL: Final = 60.0
"""Seconds in which a peer must take something; nginx's send_timeout."""

LINGER_SECONDS: Final = 5.0
"""How long a peer that is still sending may take to see our last words; nginx's too."""
LINGER_BYTES: Final = 16 * 1024 * 1024
"""How much of what it sends is read meanwhile; the rest of the time it is held back by TCP."""

AT_HAND: Final = 64 * 1024
"""Bytes of a file that are not worth a thread when they are in memory."""

_GULP: Final = 64 * 1024  # what a peer behind TLS must take within STALL: 1 KiB/s
_READ: Final = 256 * 1024  # of a file for a peer behind TLS; who does not read holds it in memory
_CHUNK: Final = 128 * 1024  # bytes of one write
# What a turn in a thread may take: seconds, and the milliseconds of them that it waits for room.
# A peer that reads as fast as it is sent to makes room in less time than it takes to come back
# to the loop and go out again; one that does not is waited for on the loop.
_TURN: Final = 0.03
_PATIENCE: Final = 2
# For a peer in a hurry: bytes of a system call, and bytes that the kernel may hold and has not
# sent.  With four times as much, or a pause now and then, they pile up and may have left the
# processor's cache when the peer reads them, and the download is half as fast.
_ALONE: Final = (32 * 1024, 16 * 1024)
# The same where others are served, too: they share the cache, and Python's lock, which is taken
# for each call, so fewer calls are worth more.
_AMONG: Final = (256 * 1024, 128 * 1024)
# The same for one that is waited for: as much as its connection holds, for it takes a while to
# come back.
_ALL: Final = 1 << 30

# What can befall a connection, beside ConnectionError and TimeoutError.
_PEER_ERRNOS: Final = frozenset(
    {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.ENOTCONN}
)


@dataclass(frozen=True, slots=True)
class FileSpan:
    """*count* bytes from *offset* of the open file *fd*."""

    fd: int
    offset: int
    count: int

    def __len__(self) -> int:
        return self.count


class Outlet(Protocol):
    """Sends to one peer, for one task at a time.

    Both methods raise trio.BrokenResourceError when the peer is gone or has taken nothing for
    STALL seconds.  After an error or a cancellation nobody knows what the peer has.
    """

    async def send(self, data: bytes) -> None:
        """Send all of *data*."""

    async def send_span(self, span: FileSpan) -> None:
        """Send all bytes of *span*.  Raises StoreError when the file ends before or cannot be read.

        The file must stay open until this returns; cancelled, it returns when no thread uses it.
        """


def outlet(stream: trio.abc.SendStream, threads: trio.CapacityLimiter | None) -> Outlet:
    """The best way to send over *stream*; files are read in *threads* (None: trio's)."""
    if isinstance(stream, trio.SocketStream):
        return SocketOutlet(stream.socket, threads)
    return StreamOutlet(stream, threads)


class SocketOutlet:
    """Over a bare socket: files go by sendfile(2) and never enter this process."""

    def __init__(
        self, socket: trio.socket.SocketType, threads: trio.CapacityLimiter | None
    ) -> None:
        self._socket = socket
        self._threads = threads

    async def send(self, data: bytes) -> None:
        """Send all of *data*; see `Outlet`."""
        sent = 0
        with memoryview(data) as view:
            while sent < len(view):
                try:
                    sent += os.write(self._socket.fileno(), view[sent : sent + _CHUNK])
                except BlockingIOError:
                    await self._room()
                except OSError as error:
                    raise _named(error) from error
                else:
                    await trio.lowlevel.cancel_shielded_checkpoint()

    async def send_span(self, span: FileSpan) -> None:
        """Send all bytes of *span*; see `Outlet`."""
        if (data := _at_hand(span)) is not None:
            await self.send(data)
            return
        sent = 0
        while True:
            # In a thread: the socket never blocks, but a file that is not in the page cache does.
            rest = FileSpan(span.fd, span.offset + sent, span.count - sent)
            turn = partial(_Turn(self._socket, *self._pace()).take, rest)
            sent += await in_thread(turn, self._threads)
            if sent == span.count:
                return
            await self._room()

    def _pace(self) -> tuple[int, int]:
        threads = self._threads or trio.to_thread.current_default_thread_limiter()
        return _AMONG if threads.borrowed_tokens else _ALONE

    async def _room(self) -> None:
        """Wait until the socket takes bytes again.

        A slow peer may need longer than STALL to make room that the kernel finds worth telling,
        so it is the unacknowledged bytes that show whether it takes any.
        """
        untaken = self._untaken()
        while True:
            with trio.move_on_after(STALL):
                await trio.lowlevel.wait_writable(self._socket)
                return
            before, untaken = untaken, self._untaken()
            if untaken >= before:
                raise _stalled()

    def _untaken(self) -> int:
        """Bytes that the kernel holds for the peer (tcp(7) SIOCOUTQ)."""
        answer = fcntl.ioctl(self._socket.fileno(), termios.TIOCOUTQ, bytes(4))
        return int.from_bytes(answer, sys.byteorder)


class StreamOutlet:
    """Over any stream: TLS, or memory in tests.  Files are read in a thread and sent."""

    def __init__(self, stream: trio.abc.SendStream, threads: trio.CapacityLimiter | None) -> None:
        self._stream = stream
        self._threads = threads

    async def send(self, data: bytes) -> None:
        """Send all of *data*; see `Outlet`."""
        for at in range(0, len(data), _GULP):
            with trio.move_on_after(STALL) as patience:
                await self._stream.send_all(data[at : at + _GULP])
            if patience.cancelled_caught:
                raise _stalled()

    async def send_span(self, span: FileSpan) -> None:
        """Send all bytes of *span*; see `Outlet`."""
        at, end = span.offset, span.offset + span.count
        while at < end:
            read = partial(_pread, span.fd, min(end - at, _READ), at)
            data = await in_thread(read, self._threads)
            await self.send(data)
            at += len(data)


def _at_hand(span: FileSpan) -> bytes | None:
    """All bytes of a small *span*, if they are in the page cache (preadv2(2), RWF_NOWAIT).

    To copy so few is sooner done than to find a thread for them.
    """
    if span.count > AT_HAND:
        return None
    data = bytearray(span.count)
    try:
        count = os.preadv(span.fd, [data], span.offset, os.RWF_NOWAIT)
    except OSError:  # it is not there, or cannot be told: sendfile says more
        return None
    return bytes(data) if count == span.count else None


class _Turn:
    """One turn in a thread: bytes of a file into *socket*, which does not block."""

    def __init__(self, socket: trio.socket.SocketType, step: int, unsent: int) -> None:
        self._socket, self._fd = socket, socket.fileno()
        self._most, self._unsent = step, unsent
        self._room = select.poll()
        self._room.register(self._fd, select.POLLOUT)

    def take(self, span: FileSpan) -> int:
        """Send bytes of *span* until the turn is over, or the peer has no room; how many."""
        moved, end = 0, time.monotonic() + _TURN
        self._hold(self._unsent)
        with _errors_named():
            while moved < span.count and time.monotonic() < end:
                if (took := self._step(span, moved)) or self._room.poll(_PATIENCE):
                    moved += took
                else:
                    return moved + self._fill(span, moved)
        if moved == span.count:
            self._hold(_ALL)  # what comes next on this connection is no file
        return moved

    def _fill(self, span: FileSpan, at: int) -> int:
        """Send what the socket takes, for a peer that is waited for; how many bytes.

        Where the disk is slower than the peer there is room for ever: that is another turn.
        """
        moved, end = at, time.monotonic() + _TURN
        self._hold(_ALL)
        while moved < span.count and time.monotonic() < end:
            if not (took := self._step(span, moved)):
                break
            moved += took
        return moved - at

    def _step(self, span: FileSpan, at: int) -> int:
        """Send a few bytes of *span* from *at* on; how many, 0 when there is no room."""
        try:
            count = min(span.count - at, self._most)
            took = os.sendfile(self._fd, span.fd, span.offset + at, count)
        except BlockingIOError:
            return 0
        if took == 0:
            raise _short(span.offset + at)
        return took

    def _hold(self, most: int) -> None:
        """Let the kernel hold so many bytes that it has not sent (tcp(7))."""
        with suppress(OSError):  # not TCP
            self._socket.setsockopt(trio.socket.IPPROTO_TCP, trio.socket.TCP_NOTSENT_LOWAT, most)


def _pread(fd: int, count: int, offset: int) -> bytes:
    with _errors_named():
        data = os.pread(fd, count, offset)
    if not data:
        raise _short(offset)
    return data


@contextmanager
def _errors_named() -> Iterator[None]:
    """Tell the errors of a peer from those of a file."""
    try:
        yield
    except OSError as error:
        raise _named(error) from error


def _named(error: OSError) -> Exception:
    if isinstance(error, ConnectionError | TimeoutError) or error.errno in _PEER_ERRNOS:
        return trio.BrokenResourceError(f"the peer is gone: {error}")
    return StoreError(f"the file cannot be read: {error.strerror}")


def _short(at: int) -> StoreError:
    return StoreError(f"the file ends at {at}, before the bytes that were promised")


def _stalled() -> trio.BrokenResourceError:
    return trio.BrokenResourceError(f"the peer took no byte for {STALL:.0f} s")


async def linger(stream: trio.abc.Stream) -> None:
    """Say no more, and let a peer that is still sending see what was said.

    Closing at once would answer its next bytes with a reset, which throws away what it has not
    read yet.  Ends when the peer closes, LINGER_SECONDS at the latest; the caller closes.
    """
    with (
        trio.move_on_after(LINGER_SECONDS),
        suppress(trio.BrokenResourceError, trio.ClosedResourceError),
    ):
        if isinstance(stream, trio.abc.HalfCloseableStream):
            await stream.send_eof()
        discarded = 0
        while discarded < LINGER_BYTES:
            data = await stream.receive_some(_GULP)
            if not data:
                return
            discarded += len(data)
        await trio.sleep_forever()
