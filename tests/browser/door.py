"""A door in front of the daemon: the browser's address stays the same, and uploads can be held."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial

import trio

_STEP = 1 << 15
_LOST = (trio.BrokenResourceError, trio.ClosedResourceError, OSError)


class Door:
    """Passes bytes on to *port* of this host; those of WebSockets only as many as it is told."""

    def __init__(self, port: int) -> None:
        self._port, self.url = port, ""
        self._left: int | None = None
        self._nap = 0.0
        self._changed = trio.Event()
        self._token: trio.lowlevel.TrioToken

    # --- for the test, in its own thread --------------------------------------------------------

    def hold(self, after: int) -> None:
        """Let *after* more bytes of WebSockets pass to the daemon, then none."""
        self._run(partial(self._allow, after))

    def slow(self, rate: int) -> None:
        """Let only *rate* bytes a second of each WebSocket pass to the daemon."""
        self._run(partial(setattr, self, "_nap", _STEP / rate))

    def let_go(self) -> None:
        """Hold nothing back any more."""
        self._run(partial(setattr, self, "_nap", 0.0))
        self._run(partial(self._allow, None))

    def lead_to(self, port: int) -> None:
        """From now on the daemon is at *port*."""
        self._run(partial(setattr, self, "_port", port))

    def _run(self, act: Callable[[], object]) -> None:
        trio.from_thread.run_sync(act, trio_token=self._token)

    # --- in the thread of the door --------------------------------------------------------------

    def _allow(self, count: int | None) -> None:
        self._left = count
        self._changed.set()
        self._changed = trio.Event()

    async def stand(self, ready: threading.Event, closing: trio.Event) -> None:
        """Be there until *closing*."""
        self._token = trio.lowlevel.current_trio_token()
        async with trio.open_nursery() as nursery:
            [listener] = await nursery.start(
                partial(trio.serve_tcp, self._serve, 0, host="127.0.0.1")
            )
            self.url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
            ready.set()
            await closing.wait()
            nursery.cancel_scope.cancel()

    async def _serve(self, client: trio.SocketStream) -> None:
        with suppress(*_LOST):
            server = await trio.open_tcp_stream("127.0.0.1", self._port)
            async with server, trio.open_nursery() as nursery:
                nursery.start_soon(self._up, client, server, nursery.cancel_scope)
                nursery.start_soon(self._down, server, client, nursery.cancel_scope)
        await trio.aclose_forcefully(client)

    async def _up(
        self, client: trio.SocketStream, server: trio.SocketStream, scope: trio.CancelScope
    ) -> None:
        held = False
        with suppress(*_LOST):
            while data := await client.receive_some(_STEP):
                held = held or data.startswith(b"GET /-/ws")
                while data:
                    count = await self._may(len(data)) if held else len(data)
                    await server.send_all(data[:count])
                    data = data[count:]
        scope.cancel()

    async def _may(self, wanted: int) -> int:
        await trio.sleep(self._nap)
        while self._left == 0:
            await self._changed.wait()
        if self._left is None:
            return wanted
        count = min(wanted, self._left)
        self._left -= count
        return count

    async def _down(
        self, server: trio.SocketStream, client: trio.SocketStream, scope: trio.CancelScope
    ) -> None:
        with suppress(*_LOST):
            while data := await server.receive_some(1 << 16):
                await client.send_all(data)
        scope.cancel()


@contextmanager
def door(port: int) -> Iterator[Door]:
    """A door to the daemon at *port*."""
    it, ready, closing = Door(port), threading.Event(), trio.Event()
    thread = threading.Thread(target=trio.run, args=(it.stand, ready, closing))
    thread.start()
    ready.wait()
    try:
        yield it
    finally:
        it._run(closing.set)
        thread.join()
