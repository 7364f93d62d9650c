"""A slow road: each connection brings only so many bytes a second, and all of them are counted.

In a thread with a loop of its own, since tests that drive other programs have none.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

import trio

STEP: Final = 1 << 14
ROOM: Final = 1 << 15
"""Bytes of one connection that wait in the kernel: what is sent is soon seen."""
_LOST: Final = (trio.BrokenResourceError, trio.ClosedResourceError, OSError)


class Road:
    """Leads to *port* of this host; *rate*: bytes a second of each connection, to there."""

    def __init__(self, port: int, rate: float) -> None:
        self._target, self._rate = port, rate
        self.up = 0
        """Bytes that clients have sent."""
        self.url = ""

    async def stand(self, ready: threading.Event, closing: trio.Event) -> None:
        """Be there until *closing*."""
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        listener.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, ROOM)
        self.url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        ready.set()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, self._serve, [listener])
            await closing.wait()
            nursery.cancel_scope.cancel()

    async def _serve(self, client: trio.SocketStream) -> None:
        with suppress(OSError):
            server = await trio.open_tcp_stream("127.0.0.1", self._target)
            async with client, server, trio.open_nursery() as nursery:
                nursery.start_soon(self._pass, client, server, self._rate)
                await self._pass(server, client, None)
                nursery.cancel_scope.cancel()

    async def _pass(
        self, source: trio.SocketStream, sink: trio.SocketStream, rate: float | None
    ) -> None:
        due = trio.current_time()
        with suppress(*_LOST):
            while data := await source.receive_some(STEP):
                if rate is not None:
                    self.up += len(data)
                    due = max(due, trio.current_time() - 0.1) + len(data) / rate
                    await trio.sleep_until(due)
                await sink.send_all(data)
            if rate is not None:
                await sink.send_eof()
                await trio.sleep_forever()


@contextmanager
def road_to(port: int, rate: float) -> Iterator[Road]:
    """A slow road to *port*."""
    road, ready, closing = Road(port, rate), threading.Event(), trio.Event()
    tokens: list[trio.lowlevel.TrioToken] = []

    async def stand() -> None:
        tokens.append(trio.lowlevel.current_trio_token())
        await road.stand(ready, closing)

    thread = threading.Thread(target=trio.run, args=(stand,))
    thread.start()
    assert ready.wait(10)
    try:
        yield road
    finally:
        trio.from_thread.run_sync(closing.set, trio_token=tokens[0])
        thread.join()
