"""A WebSocket as four methods; the only place that sees the library.

Everything behind the front door talks to `Messages`, so the library can be changed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

import trio
import trio_websocket

from uploadd.serve.gate import READ, GatedStream

QUEUE: Final = 2
CLOSE_SECONDS: Final = 2.0


class Closed(Exception):
    """The peer, the network or the gate has ended the WebSocket; nothing more goes in or out."""


class Messages:
    """Whole messages in and out.  After a cancelled `send` only `close` is right.

    *nursery* is that of the library, and ends with the WebSocket.
    """

    def __init__(
        self,
        websocket: trio_websocket.WebSocketConnection,
        gated: GatedStream,
        nursery: trio.Nursery,
    ) -> None:
        self._websocket, self._gated, self._nursery = websocket, gated, nursery
        self._pinging = False

    async def receive(self) -> str | bytes:
        """The next message.  Raises Closed.  Cancelled: nothing is taken."""
        try:
            return await self._websocket.get_message()
        except trio_websocket.ConnectionClosed as error:
            raise Closed from error

    async def send(self, message: str | bytes) -> None:
        """Send one message.  Raises Closed.  Cancelled: half of it may be out."""
        try:
            await self._websocket.send_message(message)
        except trio_websocket.ConnectionClosed as error:
            raise Closed from error

    def ping(self) -> None:
        """Ask for a sign of life.  Nobody waits for it: any byte of the peer is one."""
        if not self._pinging:
            self._pinging = True
            self._nursery.start_soon(self._ping)

    async def _ping(self) -> None:
        # The library waits for the pong, for ever if none comes; the nursery ends that.
        with suppress(trio_websocket.ConnectionClosed):
            await self._websocket.ping()
        self._pinging = False

    async def close(self, code: int, reason: str) -> None:
        """Say Close and wait for the peer's, two seconds at the most."""
        with trio.move_on_after(CLOSE_SECONDS, shield=True):
            if self._websocket.closed is not None and not self._gated.peer_closed:
                await self._gated.aclose()
                return
            self._gated.closing()
            await self._take_in()
            await self._websocket.aclose(code, reason[:120])

    async def _take_in(self) -> None:
        """Wait until the library has heard all that has passed the gate.

        It would answer a Ping after our Close, and break.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._discard, nursery.cancel_scope)
            await self._gated.all_heard()
            nursery.cancel_scope.cancel()

    async def _discard(self, scope: trio.CancelScope) -> None:
        with suppress(trio_websocket.ConnectionClosed):
            while True:
                await self._websocket.get_message()
        scope.cancel()


@asynccontextmanager
async def accepted(
    gated: GatedStream, subprotocol: str, *, seconds: float
) -> AsyncIterator[Messages]:
    """Answer the handshake that *gated* replays, and run the library while the block runs.

    Raises BrokenResourceError when the peer does not take the answer in *seconds*.  What goes
    wrong inside the library ends this block alone, as ExceptionGroup.
    """
    async with trio.open_nursery() as nursery:
        try:
            with trio.fail_after(seconds):
                request = await trio_websocket.wrap_server_stream(
                    nursery,
                    gated,
                    message_queue_size=QUEUE,
                    max_message_size=1 << 31,  # the gate has judged the size already
                    receive_buffer_size=READ,
                )
                websocket = await request.accept(subprotocol=subprotocol)
        except (trio.TooSlowError, trio_websocket.ConnectionClosed) as error:
            raise trio.BrokenResourceError("the peer did not take our handshake") from error
        yield Messages(websocket, gated, nursery)
        nursery.cancel_scope.cancel()
