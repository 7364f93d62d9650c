"""A receiver of hooks on loopback: it notes what it is told, and answers as it is told to."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import h11
import trio

from uploadd.hooks.posting import Target


@dataclass
class Told:
    """One POST."""

    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        """Of the event."""
        return self.headers["webhook-id"]

    @property
    def document(self) -> dict[str, Any]:
        """What it says."""
        found: dict[str, Any] = json.loads(self.body)
        return found


@dataclass
class Listener:
    """*answer* makes the bytes of an answer; None: there is none, and the peer waits."""

    target: Target
    told: list[Told] = field(default_factory=list)
    answer: Callable[[Told], bytes | None] = lambda told: ok()
    certificate: ssl.SSLContext | None = None
    _heard: trio.Event = field(default_factory=trio.Event)

    async def heard(self, count: int) -> list[Told]:
        """Wait until it was told *count* times; what it was told."""
        while len(self.told) < count:
            await self._heard.wait()
        return self.told

    async def serve(self, stream: trio.SocketStream) -> None:
        """One request, encrypted or not."""
        if self.certificate is None:
            await self._serve(stream)
            return
        with suppress(trio.BrokenResourceError):  # who does not trust us has gone
            await self._serve(trio.SSLStream(stream, self.certificate, server_side=True))

    async def _serve(self, stream: trio.abc.HalfCloseableStream | trio.SSLStream[Any]) -> None:
        connection, body, head = h11.Connection(h11.SERVER), bytearray(), None
        async with stream:
            while not isinstance(event := connection.next_event(), h11.EndOfMessage):
                if event is h11.NEED_DATA:
                    connection.receive_data(bytes(await stream.receive_some(65536)))
                elif isinstance(event, h11.Request):
                    head = event
                elif isinstance(event, h11.Data):
                    body += event.data
            assert head is not None
            assert (head.method, head.target) == (b"POST", b"/hooks?x=1")
            told = Told({k.decode(): v.decode() for k, v in head.headers}, bytes(body))
            self.told.append(told)
            self._heard.set()
            self._heard = trio.Event()
            if (answer := self.answer(told)) is None:
                await trio.sleep_forever()
            else:
                await stream.send_all(answer)


def ok(body: bytes = b"{}", status: str = "200 OK", *fields: str) -> bytes:
    """An answer."""
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *fields, "", ""]
    return "\r\n".join(head).encode() + body


@asynccontextmanager
async def listening(port: int = 0) -> AsyncIterator[Listener]:
    """One that takes connections as long as the block runs."""
    async with trio.open_nursery() as nursery:
        [socket] = await trio.open_tcp_listeners(port, host="127.0.0.1")
        port = socket.socket.getsockname()[1]
        listener = Listener(Target("127.0.0.1", port, False, "/hooks?x=1"))
        nursery.start_soon(trio.serve_listeners, listener.serve, [socket])
        yield listener
        nursery.cancel_scope.cancel()
