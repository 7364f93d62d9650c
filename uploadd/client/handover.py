"""What goes between the caller of a blocking client and its loop: the call, and what to send."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable, Iterator
from contextvars import Context, copy_context
from queue import SimpleQueue
from typing import BinaryIO, TypeAlias, cast

import trio

from uploadd.client.errors import UploadFailed
from uploadd.client.session import Stored
from uploadd.client.source import Uploadable
from uploadd.client.uploading import Progress

Sendable: TypeAlias = str | os.PathLike[str] | int | bytes | BinaryIO | Iterable[bytes]
"""A path, a descriptor, the bytes themselves, a binary file object, or pieces in their order."""

_Message: TypeAlias = Callable[[], None]


class Call:
    """One upload as both threads see it; the loop puts messages, the caller does what they say."""

    def __init__(self, progress: Callable[[Progress], None] | None) -> None:
        self.scope = trio.CancelScope()
        self.started = False
        self.messages: SimpleQueue[_Message | None] = SimpleQueue()
        self.result: Stored | BaseException | None = None
        self._progress = progress
        self._newest: Progress | None = None
        self._told = True

    # --- on the loop ---------------------------------------------------------------------------

    def progress(self, newest: Progress) -> None:
        """Let the caller have *newest*, in place of any that it did not look at yet."""
        self._newest = newest
        if self._told:
            self._told = False
            self.messages.put(self._tell)

    def end(self, result: Stored | BaseException) -> None:
        """The last word; only the first counts.  May come from any thread."""
        if self.result is None:
            self.result = result
            self.messages.put(None)

    # --- in the thread of the caller -----------------------------------------------------------

    def wait(self) -> Stored:
        """Do what the messages say until there is a result."""
        while (message := self.messages.get()) is not None:
            message()
        if isinstance(self.result, Stored):
            return self.result
        assert self.result is not None
        raise own(self.result)

    def _tell(self) -> None:
        self._told = True  # before it is read: what comes after it is told too
        if self._progress is not None and self._newest is not None:
            self._progress(self._newest)


class _Pieces:
    """Pieces of an iterable, each asked for in a worker thread, in the context of the caller.

    A thread that hangs is left behind when the upload ends.
    """

    def __init__(self, pieces: Iterator[bytes], context: Context) -> None:
        self._pieces, self._context = pieces, context
        self._limiter = trio.CapacityLimiter(1)  # slow ones take no thread from the others

    def __aiter__(self) -> _Pieces:
        return self

    async def __anext__(self) -> bytes:
        piece: object = await trio.to_thread.run_sync(
            self._context.run, self._next, abandon_on_cancel=True, limiter=self._limiter
        )
        if piece is None:
            raise StopAsyncIteration
        if not isinstance(piece, bytes | bytearray | memoryview):
            raise TypeError(f"the pieces must be bytes, not {type(piece).__name__}")
        return piece if isinstance(piece, bytes) else bytes(piece)

    def _next(self) -> object:
        return next(self._pieces, None)


def uploadable(source: Sendable) -> Uploadable:
    """What the trio client takes for *source*."""
    if isinstance(source, bytes | bytearray | memoryview):
        return io.BytesIO(source)
    if isinstance(source, str | os.PathLike | int):
        return source
    other: object = source  # whatever those pass who check no types
    if isinstance(other, io.TextIOBase):
        raise TypeError("a text file has no bytes to send: open it with mode 'rb'")
    if hasattr(other, "read"):
        return cast("BinaryIO", other)
    if not isinstance(other, Iterable):
        raise TypeError(f"a {type(other).__name__} is no path, binary file, bytes, or iterable")
    return _Pieces(iter(other), copy_context())


def own(error: BaseException) -> BaseException:
    """*error* for one caller; several may have the same, and each wants a traceback of its own."""
    if not isinstance(error, UploadFailed):
        return error
    mine = type(error).__new__(type(error), *error.args)
    mine.__dict__.update(error.__dict__)
    mine.__cause__ = error.__cause__
    return mine


def reason(error: BaseException) -> BaseException | None:
    """What *error* tells beside that its task was cancelled, if there is anything."""
    if isinstance(error, trio.Cancelled):
        return None
    if not isinstance(error, BaseExceptionGroup):
        return error
    rest = error.split(trio.Cancelled)[1]
    return rest.exceptions[0] if rest is not None and len(rest.exceptions) == 1 else rest
