"""The front door with an echo behind it, for suites that know WebSocket and not uploadd.v1.

Heads, handshake and gate are those of the daemon, put together as its front door does;
what it refuses and how it closes is what is looked at.  By hand: python -m tests.e2e.echo_door
"""

from __future__ import annotations

import logging
import sys
from typing import Final

import trio

from uploadd.budget import Budget
from uploadd.protocol.framereader import FrameReader
from uploadd.protocol.frames import Judge
from uploadd.protocol.heads import Head, HeadGate
from uploadd.protocol.upgrade import websocket_upgrade
from uploadd.serve.gate import Closed, Gate
from uploadd.serve.messages import Messages, accepted
from uploadd.serve.ws import Farewell

PATH: Final = "/-/ws"
MOST: Final = 16 << 20
"""Bytes of a message, text or binary: suites send more than a session may."""
MEMORY: Final = 256 << 20
READ: Final = 64 * 1024
MESSAGE_SECONDS: Final = 30.0
HANDSHAKE_SECONDS: Final = 5.0

log = logging.getLogger("uploadd.echo")


class EchoDoor:
    """Echoes every message of whoever comes; `serve` one stream, in a task of its own."""

    def __init__(self) -> None:
        self.budget = Budget(MEMORY)
        self.connections = 0
        self.failures: list[ExceptionGroup] = []
        """What ended a conversation and was an error of ours."""

    async def serve(self, stream: trio.SocketStream) -> None:
        """Converse on *stream* until it ends, and close it.  Raises nothing but Cancelled."""
        self.connections += 1
        try:
            await self._converse(stream)
        except* (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the peer is gone: the weather
        except* Exception as group:
            log.exception("a connection ended by an error of ours")
            self.failures.append(group)
        finally:
            await trio.aclose_forcefully(stream)

    async def _converse(self, stream: trio.SocketStream) -> None:
        gate = HeadGate()
        head = await _head(stream, gate)
        upgrade = websocket_upgrade(head, gate.unread)
        assert upgrade is not None, "this door is for WebSocket"
        share = self.budget.share()
        gate = Gate(stream, FrameReader(Judge(MOST, MOST)), share, message_seconds=MESSAGE_SECONDS)
        try:
            async with accepted(gate, upgrade.answer, seconds=HANDSHAKE_SECONDS) as messages:
                farewell = await _echo(messages)
                await messages.close(farewell.code, farewell.reason)
        finally:
            share.close()


async def _head(stream: trio.SocketStream, gate: HeadGate) -> Head:
    """The first head.  Raises BrokenResourceError when none comes."""
    while (head := gate.next()) is None:
        if not (data := await stream.receive_some(READ)):
            raise trio.BrokenResourceError("gone before its head had ended")
        gate.feed(data)
    return head


async def _echo(messages: Messages) -> Farewell:
    """Echo until the peer or a refusal ends it; how to close, as a session would."""
    while True:
        try:
            await messages.send(await messages.receive())
        except Closed as closed:
            return Farewell(*closed.refusal) if closed.refusal else Farewell()


async def main(port: int) -> None:
    """Echo on *port* of this machine, 0 for any, until it is interrupted."""
    door = EchoDoor()
    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(port, host="127.0.0.1")
        print(f"ws://127.0.0.1:{listener.socket.getsockname()[1]}{PATH}", flush=True)
        await trio.serve_listeners(door.serve, [listener], handler_nursery=nursery)


if __name__ == "__main__":
    logging.basicConfig()
    trio.run(main, int(sys.argv[1]) if len(sys.argv) > 1 else 0)
