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

    Ends early when the socket stays empty for a moment, has ended, or *stop* says so.
    """
    pipe, moved, sound = pipes.take(), 0, False
    try:
        while moved < count and not stop():
            step = partial(
                _step, socket, pipe, file, at + moved, wanted := min(count - moved, STEP)
            )
            try:
                put, error = reserve.within(wanted, step)
            except BlockingIOError:
                break
            except EOFError:
                sound = True
                return Pulled(moved, ended=True)
            moved += put
            if error is not None:
                return Pulled(moved, ended=True, error=error)
        sound = True
        return Pulled(moved)
    finally:
        if sound:
            pipes.put_back(pipe)
        else:
            pipe.close()


def _step(socket: int, pipe: Pipe, file: int, at: int, count: int) -> Moved:
    """Up to *count* bytes from the socket into the file.

    Raises BlockingIOError when nothing is there, EOFError when nothing will come any more.
    """
    took = _take(socket, pipe, count)
    if took is None:
        raise BlockingIOError
    if took == 0:
        raise EOFError
    return _put(pipe, file, at, took)


def _take(socket: int, pipe: Pipe, count: int) -> int | None:
    """From the socket into the pipe: how many; 0 at the end, None when nothing is there."""
    for patience in (PATIENCE_MS, 0):
        try:
            return os.splice(socket, pipe.write, count, flags=_FLAGS)
        except BlockingIOError:
            if patience and _readable(socket, patience):
                continue
            return None
        except OSError:
            return 0  # of a socket only the peer's going is to be expected
    return None


def _readable(socket: int, patience_ms: int) -> bool:
    poll = select.poll()
    poll.register(socket, select.POLLIN)
    return bool(poll.poll(patience_ms))


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
