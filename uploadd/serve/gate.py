"""The stream between a socket and the WebSocket library: what passes has been judged.

It replays the clean handshake, then reads frame headers (``protocol/frames.py``).  A refusal
ends the session's work; the gate goes on reading and discarding, so that the peer sees why.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Final

import trio

from uploadd.budget import Share
from uploadd.protocol.frames import NOT_UTF8, POLICY, Bytes, FrameGate, Refusal

READ: Final = 256 * 1024
"""Bytes of one read: what the library asks for."""
NOT_TEXT_SECONDS: Final = 1.0
_NOT_TEXT: Final = b"\x88\x02" + NOT_UTF8.to_bytes(2, "big")
_NOT_NOW: Final = (trio.BrokenResourceError, trio.BusyResourceError)


class GatedStream(trio.abc.Stream):
    """*message_seconds* is how long a message may take from its first byte to its last; the clock
    stands still while the memory budget keeps us from reading.
    """

    def __init__(
        self,
        stream: trio.abc.Stream,
        replay: bytes,
        gate: FrameGate,
        share: Share,
        *,
        message_seconds: float,
    ) -> None:
        self._stream, self._replay, self._gate, self._share = stream, replay, gate, share
        self._message_seconds = message_seconds
        self.heard = trio.current_time()
        """When the last byte came; now, while it is us who do not read."""
        self.holding_back = False
        self._held_back = 0.0  # seconds of the open message for which we did not read
        self._since: float | None = None  # when that message began
        self._refusal: Refusal | None = None
        self._closing = self._parted = False
        self._on_refusal: Callable[[Refusal], None] = lambda refusal: None
        self._asked = trio.Event()  # the reader has done with all that it was given

    @property
    def on_refusal(self) -> Callable[[Refusal], None]:
        """Called once, with the first refusal; must not block.

        At once when it is set too late: a peer that has our handshake may be refused before
        anybody listens here.
        """
        return self._on_refusal

    @on_refusal.setter
    def on_refusal(self, call: Callable[[Refusal], None]) -> None:
        self._on_refusal = call
        if self._refusal is not None:
            call(self._refusal)

    @property
    def peer_closed(self) -> bool:
        """Whether the peer's Close has passed."""
        return self._gate.peer_closed

    def closing(self) -> None:
        """We are about to send Close: from now on only the peer's passes."""
        self._closing = True
        self._gate.closing()

    async def all_heard(self) -> None:
        """Wait until whoever reads here asks for more than has passed so far."""
        await self._asked.wait()

    def set_max_binary(self, size: int) -> None:
        """Take binary messages of up to *size* bytes."""
        self._gate.max_binary = max(self._gate.max_binary, size)

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Frames that passed, at most 128 a turn, so that no read can hold the loop."""
        self._asked.set()
        try:
            return await self._next()
        finally:
            self._asked = trio.Event()

    async def _next(self) -> bytes:
        await trio.lowlevel.checkpoint()
        if self._replay:
            data, self._replay = self._replay, b""
            return data
        while True:
            passed = self._gate.take(trio.current_time())
            if self._gate.refusal is not None and self._refusal is None:
                self._refused(self._gate.refusal)
            if passed:
                self._share.hold(self._gate.open_bytes + len(passed))
                return passed  # type: ignore[return-value]  # wsproto takes any buffer
            if self._gate.pending:
                await trio.lowlevel.checkpoint()
                continue
            if not (more := await self._read()):
                self._closing = True  # the peer has ended: there is nobody to tell
                return b""
            self._gate.feed(more)

    async def _read(self) -> Bytes:
        """More bytes of the peer; empty at the end."""
        if self._since != self._gate.message_since:
            self._since, self._held_back = self._gate.message_since, 0.0
        self._share.hold(self._gate.open_bytes)
        await self._wait_for_room()
        with trio.move_on_at(self._deadline()) as patience:
            data = await self._stream.receive_some(READ)
        if patience.cancelled_caught:
            self._gate.closing()
            self._refused(Refusal(POLICY, f"a message must end within {self._message_seconds:g} s"))
            data = await self._stream.receive_some(READ)
        self.heard = trio.current_time()
        return data

    async def _wait_for_room(self) -> None:
        if self._share.may_read:
            return
        self.holding_back, began = True, trio.current_time()
        try:
            await self._share.room()
        finally:
            self.holding_back = False
            self.heard = trio.current_time()
            self._held_back += self.heard - began

    def _deadline(self) -> float:
        since = self._gate.message_since
        return float("inf") if since is None else since + self._message_seconds + self._held_back

    def _refused(self, refusal: Refusal) -> None:
        self._refusal = refusal
        self._on_refusal(refusal)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Pass *data* on.  Cancelled: half of it may be out, and only closing is right."""
        if self._parted:  # the library sends pongs on its own
            raise trio.ClosedResourceError("the last word is being said")
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """Close the connection.

        The library does so without a word over text that is not UTF-8, and over nothing else.
        """
        if not (self._closing or self._refusal or self._gate.peer_closed):
            self._closing = self._parted = True
            with trio.move_on_after(NOT_TEXT_SECONDS), suppress(*_NOT_NOW):
                await self._stream.send_all(_NOT_TEXT)
        await self._stream.aclose()
