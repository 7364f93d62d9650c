"""A WebSocket as four methods: receive, send, ping, close.

Everything behind the front door talks to `Messages`.  All that is said waits in one place and goes
out from there in order, whoever sends it: a cancelled `send` loses nothing and cuts nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

import trio

from uploadd.protocol import framewriter
from uploadd.protocol.frames import CONTROL_BURST, Ping
from uploadd.serve.gate import Closed, Gate

CLOSE_SECONDS: Final = 2.0
PONGS: Final = CONTROL_BURST
"""Answers that may wait for a peer that does not read."""


class Messages:
    """Whole messages in and out.

    *nursery* ends with the WebSocket.
    """

    def __init__(self, gate: Gate, nursery: trio.Nursery) -> None:
        self._gate, self._nursery, self._stream = gate, nursery, gate.stream
        self._lock = trio.StrictFIFOLock()  # of whoever sends
        self._out = b""  # what waits
        self._pongs = 0  # in it
        self._ended = False  # the last word is among it
        self._broken = False  # nothing more can be sent
        self._asked: float | None = None  # for a sign of life, and the last one was then

    async def receive(self) -> str | bytes:
        """The next message.  Raises Closed.  Cancelled: nothing is taken."""
        while True:
            heard = await self._gate.next()
            if isinstance(heard, bytes | str):
                return heard
            if isinstance(heard, Ping):
                self._pong(heard.payload)
            else:
                self._say_last(framewriter.close(heard.code))
                self._nursery.start_soon(self._flush)
                raise Closed

    async def send(self, *messages: str | bytes) -> None:
        """Send *messages* in one go.  Raises Closed.  Cancelled: they go out with what is next."""
        if self._ended:
            await trio.lowlevel.checkpoint()
            raise Closed
        self._out += framewriter.messages(messages)
        await self._drain()

    def ping(self) -> None:
        """Ask for a sign of life, once.  Nobody waits for it: any byte of the peer is one."""
        if self._asked != self._gate.heard and not self._ended:
            self._asked = self._gate.heard
            self._out += framewriter.ping()
            self._nursery.start_soon(self._flush)

    async def close(self, code: int, reason: str) -> None:
        """Say Close and wait for the peer's, two seconds at the most."""
        with trio.move_on_after(CLOSE_SECONDS, shield=True), suppress(Closed):
            self._gate.closing()
            self._say_last(framewriter.close(code, reason))
            await self._drain()
            await self._gate.drop()

    # --- what waits -----------------------------------------------------------------------------

    def _pong(self, payload: bytes) -> None:
        if self._pongs < PONGS and not self._ended:
            if not self._pongs:
                self._nursery.start_soon(self._flush)
            self._out += framewriter.pong(payload)
            self._pongs += 1

    def _say_last(self, close: bytes) -> None:
        if not self._ended:
            self._out += close
            self._ended = True

    async def _flush(self) -> None:
        with suppress(Closed):
            await self._drain()

    async def _drain(self) -> None:
        """Send what waits.  Raises Closed when there is nobody to take it."""
        async with self._lock:
            while self._out and not self._broken:
                count = await self._send_some(self._out)
                self._out = self._out[count:]  # more may have come meanwhile
            self._pongs = 0
        if self._broken:
            self._out = b""
            raise Closed

    async def _send_some(self, data: bytes) -> int:
        """Send some of *data*; how many bytes.  Cancelled: none of it is out, or no more goes."""
        try:
            if isinstance(self._stream, trio.SocketStream):
                return await self._stream.socket.send(data)
            await trio.lowlevel.checkpoint_if_cancelled()
            self._broken = True  # until it is out: how much of it went nobody tells
            await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError, OSError):
            self._broken = True
            return 0
        self._broken = False
        return len(data)


@asynccontextmanager
async def accepted(gate: Gate, answer: bytes, *, seconds: float) -> AsyncIterator[Messages]:
    """Say *answer* to the handshake; the WebSocket is open while the block runs.

    Raises BrokenResourceError when the peer does not take the answer in *seconds*.
    """
    async with trio.open_nursery() as nursery:
        try:
            with trio.fail_after(seconds):
                await gate.stream.send_all(answer)
        except trio.TooSlowError as error:
            raise trio.BrokenResourceError("the peer did not take our handshake") from error
        yield Messages(gate, nursery)
        nursery.cancel_scope.cancel()
