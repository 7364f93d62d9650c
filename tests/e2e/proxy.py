"""A TCP proxy between two real processes: it counts, it listens for offsets, and it holds back.

The daemon behind it may be killed and come back on another port; in front nothing changes.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial

import trio

_OFFSET = re.compile(rb'"offset":([0-9]+)')
_LOST = (trio.BrokenResourceError, trio.ClosedResourceError, OSError)


class Proxy:
    """Passes bytes on to *target*, a port of this host."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = 0
        self.up = self.down = 0
        """Bytes from the client and to it."""
        self.offset = 0
        """The newest durable offset that the client was told."""
        self.hold_at: int | None = None
        """Bytes in one direction after which nothing passes in it any more."""
        self._changed = trio.Event()
        self._go_on = trio.Event()

    @property
    def url(self) -> str:
        """What clients are told."""
        return f"http://127.0.0.1:{self.port}"

    def go_on(self) -> None:
        """Hold nothing back any more, and count anew."""
        self.hold_at = None
        self.up = self.down = 0
        self._go_on.set()
        self._go_on = trio.Event()

    async def reached(self, *, up: int = 0, down: int = 0, offset: int = 0) -> None:
        """Wait until that much has passed, or has been told to be durable."""
        while self.up < up or self.down < down or self.offset < offset:
            await self._changed.wait()

    async def serve(self, client: trio.SocketStream) -> None:
        """One connection, until either end ends it."""
        try:
            server = await trio.open_tcp_stream("127.0.0.1", self.target)
        except OSError:
            await trio.aclose_forcefully(client)
            return
        async with trio.open_nursery() as nursery:
            for source, sink, name in ((client, server, "up"), (server, client, "down")):
                nursery.start_soon(self._pass, source, sink, name, nursery.cancel_scope)
        await trio.aclose_forcefully(server)
        await trio.aclose_forcefully(client)

    async def _pass(
        self,
        source: trio.SocketStream,
        sink: trio.SocketStream,
        name: str,
        scope: trio.CancelScope,
    ) -> None:
        with suppress(*_LOST):
            while data := await source.receive_some(1 << 18):
                while self.hold_at is not None and getattr(self, name) >= self.hold_at:
                    await self._go_on.wait()
                await sink.send_all(data)
                setattr(self, name, getattr(self, name) + len(data))
                if name == "down":
                    self.offset = max([self.offset, *map(int, _OFFSET.findall(data[:10_000]))])
                self._changed.set()
                self._changed = trio.Event()
        scope.cancel()


@asynccontextmanager
async def proxied(target: int) -> AsyncIterator[Proxy]:
    """A proxy in front of *target*."""
    proxy = Proxy(target)
    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, proxy.serve, 0, host="127.0.0.1"))
        proxy.port = listener.socket.getsockname()[1]
        yield proxy
        nursery.cancel_scope.cancel()
