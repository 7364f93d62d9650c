"""The kernel path: from a socket into a file, and never through this process (splice(2)).

Bytes go socket → pipe → file in steps; between two steps the worker thread looks whether it is
to stop.  A pipe is empty whenever it is put back, and thrown away after an error: what it still
holds is of a connection that has ended with it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final, NamedTuple

from uploadd.store import disk
from uploadd.store.contract import Pulled
from uploadd.store.reserve import Moved, Reserve

STEP: Final = 1 << 20
"""Bytes of one step, and of a pipe: a takeover waits for one."""
PATIENCE_MS: Final = 2
"""How long a thread waits for more before it is given back."""
WAITS: Final = 0.02
"""Seconds that one turn in a thread may wait in all; others want it."""
DRIBBLE: Final = 1024
"""Fewer bytes, waited for, are not worth a thread; a segment of a sender in a hurry has more."""
_FLAGS: Final = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK | os.SPLICE_F_MORE
_UNSUPPORTED: Final = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})


class Pipe(NamedTuple):
    """Where bytes are on their way."""

    read: int
    write: int

    def close(self) -> None:
        """Throw away what is in it."""
        os.close(self.read)
        os.close(self.write)


class Pipes:
    """Up to *most* pipes that are empty; more are made when they are needed."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._empty: list[Pipe] = []

    def take(self) -> Pipe:
        """One for a thread alone."""
        with suppress(IndexError):
            return self._empty.pop()
        pipe = Pipe(*os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK))
        with suppress(OSError):  # an unprivileged user gets few large ones: smaller is slower
            fcntl.fcntl(pipe.write, fcntl.F_SETPIPE_SZ, STEP)
        return pipe

    def put_back(self, pipe: Pipe) -> None:
        """It is empty again."""
        if len(self._empty) < self._most:
            self._empty.append(pipe)
        else:
            pipe.close()

    def close(self) -> None:
        """Close those that nobody has."""
        while self._empty:
            self._empty.pop().close()


def pull(
    pipes: Pipes,
    reserve: Reserve,
    socket: int,
    file: int,
    at: int,
    count: int,
    stop: Callable[[], bool],
) -> Pulled:
    """Move what *socket* has, up to *count* bytes, to position *at* of *file*; in a thread.

    Ends early when the socket stays empty for a moment, or brings too little for too long, has
    ended, or *stop* says so.
    """
    pipe, moved, sound = pipes.take(), 0, False
    source = Source(socket)
    try:
        while moved < count and not source.slow and not stop():
            step = partial(
                _step, source, pipe, file, at + moved, wanted := min(count - moved, STEP)
            )
            put, error = reserve.within(wanted, step)
            moved += put
            if error is not None:
                return Pulled(moved, ended=True, error=error, seconds=source.writing)
        sound = True
        return Pulled(moved, ended=source.ended, seconds=source.writing)
    finally:
        if sound:
            pipes.put_back(pipe)
        else:
            pipe.close()


def _step(source: Source, pipe: Pipe, file: int, at: int, count: int) -> Moved:
    """Up to *count* bytes from *source* into the file."""
    if not (took := source.take(pipe, count)):
        return 0, None
    began = time.monotonic()
    put = _put(pipe, file, at, took)
    source.writing += time.monotonic() - began
    return put


class Source:
    """A socket during one turn in a thread."""

    def __init__(self, socket: int) -> None:
        self._socket, self._waited = socket, 0.0
        self.slow = False
        """Nothing is there, or so little that waiting for it is for the loop."""
        self.ended = False
        """Nothing will come any more."""
        self.writing = 0.0
        """Seconds in which what it gave was written."""

    def take(self, pipe: Pipe, count: int) -> int:
        """Up to *count* bytes into *pipe*, waited for if that is worth it; how many."""
        try:
            return self._splice(pipe, count)
        except BlockingIOError:
            if not self._readable():
                return 0
        try:
            took = self._splice(pipe, count)
        except BlockingIOError:
            took = 0
        self.slow = took < min(count, DRIBBLE)
        return took

    def _splice(self, pipe: Pipe, count: int) -> int:
        """Raises BlockingIOError."""
        try:
            took = os.splice(self._socket, pipe.write, count, flags=_FLAGS)
        except BlockingIOError:
            raise
        except OSError:  # of a socket only the peer's going is to be expected
            took = 0
        self.ended = not took
        self.slow |= self.ended
        return took

    def _readable(self) -> bool:
        """Wait for a moment, and not for longer than all moments may last."""
        began = time.monotonic()
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        found = bool(poll.poll(PATIENCE_MS))
        self._waited += time.monotonic() - began
        self.slow = not found or self._waited > WAITS
        return not self.slow


def _put(pipe: Pipe, file: int, at: int, count: int) -> Moved:
    """From the pipe into the file: how many, and what stopped it if not all."""
    done = 0
    while done < count:
        try:
            put = os.splice(pipe.read, file, count - done, offset_dst=at + done)
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                return done, error
            # A file system without splice: through this process, then.
            data = os.read(pipe.read, count - done)
            put, failed = disk.write_all(file, at + done, [data])
            if failed is not None:
                return done + put, failed
        if put == 0:
            return done, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        done += put
    return done, None
