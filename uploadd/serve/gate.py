"""What one peer of a session says: read, judged, in whole messages.

The rules are those of ``protocol/framereader.py``; here are the socket, the clocks and the memory.
After a refusal, and once we have said Close, reading goes on and what comes is dropped, so that
the peer gets to see why.
"""

from __future__ import annotations

import math
import os
from collections import deque
from typing import Final

import trio

from uploadd.budget import Share
from uploadd.protocol.framereader import FrameReader, Heard
from uploadd.protocol.frames import POLICY, Refusal

READ: Final = 1 << 20
"""Bytes of one read, beside the rest of a frame that has begun; less where memory is scarce, since
frames of more than one turn are kept.  With a quarter of it a byte costs a fifth more.
"""
LEAST: Final = 64 * 1024
"""The same for a peer of large frames: what is read there and not in their room is copied."""
_scratch: Final = trio.lowlevel.RunVar[memoryview]("scratch")
"""Where all sessions read to: what is here when a task waits is nobody's."""


class Closed(Exception):
    """The WebSocket has ended: by the peer, by the network, or by a *refusal* of ours."""

    def __init__(self, refusal: Refusal | None = None) -> None:
        super().__init__(refusal)
        self.refusal = refusal


class Gate:
    """*message_seconds* is how long a message may take from its first byte to its last; the clock
    stands still while the memory budget keeps us from reading.
    """

    def __init__(
        self, stream: trio.abc.Stream, reader: FrameReader, share: Share, *, message_seconds: float
    ) -> None:
        self.stream = stream
        self._socket = stream.socket if isinstance(stream, trio.SocketStream) else None
        self._reader, self._share, self._message_seconds = reader, share, message_seconds
        self._heard: deque[Heard] = deque()
        self.heard = trio.current_time()
        """When the last byte came; now, while it is us who do not read."""
        self.holding_back = False
        self._held_back = 0.0  # seconds of the open message for which we did not read
        self._since: float | None = None  # when that message began
        self._waited = False  # for what was read last: others had their turn
        self._scratch = _scratch_of_this_run()

    @property
    def peer_closed(self) -> bool:
        """Whether the peer's Close has come."""
        return self._reader.peer_closed

    def closing(self) -> None:
        """We say Close: from now on only the peer's is heard."""
        self._reader.closing()
        self._heard.clear()

    def set_max_binary(self, size: int) -> None:
        """Take binary messages of up to *size* bytes."""
        judge = self._reader.judge
        judge.max_binary = max(judge.max_binary, size)

    def rest(self) -> None:
        """The peer is quiet: keep no memory for what it may say next."""
        self._reader.rest()

    async def next(self) -> Heard:
        """What the peer says next.  Raises Closed.  Cancelled: nothing is lost.

        A refusal is raised when all that came before it was taken.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        while not self._heard:
            if self._reader.refusal is not None or self._reader.peer_closed:
                raise Closed(self._reader.refusal)
            await self._turn()
        return self._heard.popleft()

    async def drop(self) -> None:
        """Read and drop until the peer has said Close.  Raises Closed when it just ends."""
        while not self._reader.peer_closed:
            await self._turn()
            self._heard.clear()

    async def _turn(self) -> None:
        """At most 128 frames, so that no peer can hold the loop.  Raises Closed."""
        if self._reader.pending or not self._waited:
            await trio.lowlevel.checkpoint()
        self._waited = False
        if not self._reader.pending:
            await self._read()
        self._heard += self._reader.take(trio.current_time())
        self._share.hold(self._reader.open_bytes)

    @property
    def _size(self) -> int:
        """Bytes of the next read: as fair as chunks are."""
        if self._reader.memory > READ // 2:
            return LEAST
        return min(max(self._share.max_chunk, LEAST), READ)

    # --- reading --------------------------------------------------------------------------------

    async def _read(self) -> None:
        """Have more bytes of the peer, or a refusal.  Raises Closed at its end."""
        if self._since != self._reader.message_since:
            self._since, self._held_back = self._reader.message_since, 0.0
        if not self._share.may_read:
            await self._wait_for_room()
        deadline = self._deadline()
        if trio.current_time() >= deadline or (count := await self._receive(deadline)) is None:
            told = f"a message must end within {self._message_seconds:g} s"
            self._reader.refuse(Refusal(POLICY, told))
            return
        self.heard = trio.current_time()
        if not count:
            raise Closed

    async def _receive(self, deadline: float) -> int | None:
        """How many bytes came, 0 at the end; None when nothing came until *deadline*."""
        try:
            if self._socket is None:
                self._waited = True
                return await self._receive_some(self.stream, deadline)
            while (count := self._receive_now(self._socket)) is None:
                self._waited = True
                if not await _readable(self._socket, deadline):
                    return None
        except (trio.BrokenResourceError, trio.ClosedResourceError, OSError) as error:
            raise Closed from error
        return count

    def _receive_now(self, socket: trio.socket.SocketType) -> int | None:
        """How many bytes are here, 0 at the end; None when nothing is."""
        room, scratch = self._reader.room, self._scratch[: self._size]
        try:
            count = os.readv(socket.fileno(), (room, scratch))
        except BlockingIOError:
            return None
        ahead = min(count, len(room))
        self._reader.feed(scratch[: count - ahead], ahead)
        return count

    async def _receive_some(self, stream: trio.abc.Stream, deadline: float) -> int | None:
        with trio.move_on_at(deadline):
            data = await stream.receive_some(self._size)
            self._reader.feed(data)
            return len(data)
        return None

    async def _wait_for_room(self) -> None:
        self.holding_back, began = True, trio.current_time()
        try:
            await self._share.room()
        finally:
            self.holding_back = False
            self.heard = trio.current_time()
            self._held_back += self.heard - began

    def _deadline(self) -> float:
        since = self._since
        return math.inf if since is None else since + self._message_seconds + self._held_back


async def _readable(socket: trio.socket.SocketType, deadline: float) -> bool:
    """Wait until there is something to read; False when nothing is at *deadline*."""
    if deadline == math.inf:  # a scope costs as much as the wait
        await trio.lowlevel.wait_readable(socket)
        return True
    with trio.move_on_at(deadline) as patience:
        await trio.lowlevel.wait_readable(socket)
    return not patience.cancelled_caught


def _scratch_of_this_run() -> memoryview:
    try:
        return _scratch.get()
    except LookupError:
        _scratch.set(memoryview(bytearray(READ)))
        return _scratch.get()
