"""A proxy that knows where the bodies of requests begin: it counts, holds back, and cuts.

In a thread with a loop of its own, since tests that drive other programs have none.
"""

from __future__ import annotations

import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Final

import trio

from tests.peers.bodies import END, Body, Cut, How, Seen, read

STEP: Final = 1 << 16
LINGER: Final = 5.0
"""Seconds for either end to notice that the connection has ended."""
PATIENCE: Final = 20.0
_LOST: Final = (trio.BrokenResourceError, trio.ClosedResourceError, OSError)
_HEAD: Final = re.compile(rb"\r\n\r\n")
_ANSWER: Final = re.compile(rb"HTTP/1\.1 ([2-5][0-9]{2}) ")


class Proxy:
    """Passes requests on to *target*, a port of this host, and the answers back."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.url = ""
        """What clients are told."""
        self.seen: list[Seen] = []
        self.answers: list[int] = []
        self.content = 0
        """Bytes that have passed in bodies."""
        self.held = threading.Event()
        """Set when a body is being held back."""
        self._cuts: list[Cut] = []
        self._hold: int | None = None
        self._spoil: int | None = None
        self._go_on = trio.Event()
        self._token: trio.lowlevel.TrioToken

    # --- for the test, in its own thread --------------------------------------------------------

    def cut(self, *cuts: Cut) -> None:
        """Cut the next requests that have bodies, one after the other."""
        self._cuts += cuts

    def spoil(self, at: int) -> None:
        """Change the next byte with this number in a body, and let the connection be."""
        self._spoil = at

    def hold(self, after: int) -> None:
        """Let *after* bytes of the next bodies pass, and then none, until `go_on`."""
        self._run(partial(self._set_hold, after))

    def go_on(self) -> None:
        """Hold nothing back any more; the connections that were held end here."""
        self._run(partial(self._set_hold, None))

    def until_held(self) -> None:
        """Wait until a body is held back."""
        assert self.held.wait(PATIENCE), f"no body came so far: {self.said}"

    def count(self, method: str) -> int:
        """How many requests with this method have passed."""
        return sum(seen.method == method for seen in self.seen)

    def appends(self) -> list[Seen]:
        """The requests that append."""
        return [seen for seen in self.seen if seen.method == "PATCH"]

    @property
    def said(self) -> str:
        """What has passed, for people."""
        told = [f"{seen.method} {seen.fields.get('upload-offset', '')}" for seen in self.seen]
        return f"{told} were answered {self.answers}"

    def _run(self, act: Callable[[], object]) -> None:
        trio.from_thread.run_sync(act, trio_token=self._token)

    # --- in the thread of the proxy ---------------------------------------------------------------

    def _set_hold(self, after: int | None) -> None:
        self._hold = after
        self.held.clear()
        self._go_on.set()
        self._go_on = trio.Event()

    async def stand(self, ready: threading.Event, closing: trio.Event) -> None:
        """Be there until *closing*."""
        self._token = trio.lowlevel.current_trio_token()
        async with trio.open_nursery() as nursery:
            serve = partial(trio.serve_tcp, self._serve, 0, host="127.0.0.1")
            [listener] = await nursery.start(serve)
            self.url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
            ready.set()
            await closing.wait()
            nursery.cancel_scope.cancel()

    async def _serve(self, client: trio.SocketStream) -> None:
        with suppress(*_LOST):
            server = await trio.open_tcp_stream("127.0.0.1", self.target)
            async with server:
                await _Connection(self, client, server).converse()
        await trio.aclose_forcefully(client)

    def next_cut(self) -> Cut | None:
        """What happens to the next body."""
        return self._cuts.pop(0) if self._cuts else None

    def spoiled(self, piece: bytes, at: int) -> bytes:
        """*piece* of a body, which begins *at*, as it passes."""
        if self._spoil is None or not at <= self._spoil < at + len(piece):
            return piece
        index, self._spoil = self._spoil - at, None
        return piece[:index] + bytes([piece[index] ^ 1]) + piece[index + 1 :]

    async def may(self, wanted: int) -> int:
        """Wait until some of *wanted* bytes of a body may pass; how many."""
        if self._hold == 0:
            self.held.set()
            await self._go_on.wait()
            raise trio.BrokenResourceError("what was held back is lost")
        if self._hold is None:
            return wanted
        count = min(wanted, self._hold)
        self._hold -= count
        return count


class _Connection:
    def __init__(self, proxy: Proxy, client: trio.SocketStream, server: trio.SocketStream) -> None:
        self._proxy, self._client, self._server = proxy, client, server
        self._data = b""
        self._swallows = False
        self._answered = trio.Event()
        self._server_ended = False

    async def converse(self) -> None:
        """Pass requests and answers until either end ends, or it is cut."""
        how: How | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._down, nursery.cancel_scope)
            try:
                how = await self._up()
            except _LOST:
                nursery.cancel_scope.cancel()
            else:
                nursery.cancel_scope.deadline = trio.current_time() + LINGER
                if how is None:
                    with suppress(*_LOST):
                        await self._server.send_eof()
                else:
                    nursery.cancel_scope.cancel()
        if how == "RST":
            for stream in (self._client, self._server):
                stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif how == "FIN":
            await self._end_gently(self._client, self._server)
        elif self._server_ended:  # maybe before the body did: its answer must be seen
            await self._end_gently(self._client)

    async def _end_gently(self, *streams: trio.SocketStream) -> None:
        """They are told, and what they still say is thrown away: else they saw a reset."""
        async with trio.open_nursery() as nursery:
            nursery.cancel_scope.deadline = trio.current_time() + LINGER
            for stream in streams:
                nursery.start_soon(self._throw_away, stream)

    async def _throw_away(self, stream: trio.SocketStream) -> None:
        with suppress(*_LOST):
            await stream.send_eof()
            while await stream.receive_some(STEP):
                pass

    async def _down(self, scope: trio.CancelScope) -> None:
        with suppress(*_LOST):
            while data := await self._server.receive_some(STEP):
                found = _ANSWER.search(data)  # behind what is said before the answer
                if found:
                    self._proxy.answers.append(int(found[1]))
                if not self._swallows:
                    await self._client.send_all(data)
                elif found:
                    self._answered.set()
            self._server_ended = True
        scope.cancel()

    async def _up(self) -> How | None:
        """Requests, until the client ends or is cut off: then how."""
        while (head := await self._head()) is not None:
            seen = read(head)
            self._proxy.seen.append(seen)
            cut = self._proxy.next_cut() if seen.has_body else None
            await self._server.send_all(head)
            await self._pass(Body(seen, head), cut)
            if cut is not None:
                return cut.how
        return None

    async def _head(self) -> bytes | None:
        while (found := _HEAD.search(self._data)) is None:
            more = await self._client.receive_some(STEP)
            if not more:
                return None
            self._data += more
        head, self._data = self._data[: found.end()], self._data[found.end() :]
        return head

    async def _pass(self, body: Body, cut: Cut | None) -> None:
        """The body goes up: all of it, or all up to *cut*."""
        passed = 0
        while body.goes_on:
            if cut is not None and passed == cut.after:
                return
            if not self._data:
                self._data = await self._client.receive_some(STEP)
                if not self._data:
                    raise trio.BrokenResourceError
            most = len(self._data)
            if cut is not None and cut.after != END:
                most = min(most, cut.after - passed)
            before = body.content
            count = body.take(self._data[: await self._proxy.may(most)])
            self._proxy.content += body.content - before
            piece, self._data = self._data[:count], self._data[count:]
            if cut is not None and not body.goes_on:
                self._swallows = True
            await self._server.send_all(self._proxy.spoiled(piece, passed))
            passed += count
        if cut is not None:
            await self._answered.wait()


@contextmanager
def proxied(target: int) -> Iterator[Proxy]:
    """A proxy in front of *target*."""
    proxy, ready, closing = Proxy(target), threading.Event(), trio.Event()
    thread = threading.Thread(target=trio.run, args=(proxy.stand, ready, closing))
    thread.start()
    ready.wait()
    try:
        yield proxy
    finally:
        proxy._run(closing.set)
        thread.join()
