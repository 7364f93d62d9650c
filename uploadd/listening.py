"""The sockets of the daemon: opening them, and accepting no more than there are descriptors for."""

from __future__ import annotations

import errno
import logging
import os
import resource
import socket
from contextlib import suppress
from typing import Final

import trio

from uploadd.serve.connection import FrontDoor
from uploadd.store.descriptors import MANY

log = logging.getLogger("uploadd")
WINDOW: Final = 2 << 20
"""Bytes of the TCP window of one connection: what the kernel may hold for us unread."""
SPARE: Final = 64
"""Descriptors for the ledger, the listeners, and what threads open for a moment."""
PER_CONNECTION: Final = 2
"""Descriptors of a connection: its socket, and a file that it downloads."""
_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_TCP_WINDOW_CLAMP: Final = 10


class CannotStart(Exception):
    """Why the daemon does not start: what happened, and what to type."""

    def __init__(self, message: str, hint: str, exit_code: int) -> None:
        super().__init__(message)
        self.message, self.hint, self.exit_code = message, hint, exit_code


async def listen(host: str, port: int) -> list[trio.SocketListener]:
    try:
        listeners = await trio.open_tcp_listeners(port, host=host, backlog=1024)
    except OSError as error:
        if error.errno in (errno.EADDRINUSE, errno.EACCES):
            hint = f"another port: --port {max(8080, port + 1)}; ss -ltnp shows who listens"
        else:
            hint = "--host with an address of this machine (ip address), or 127.0.0.1"
        raise CannotStart(
            f"cannot listen on {host}:{port}: {error.strerror}", hint, os.EX_UNAVAILABLE
        ) from error
    for listener in listeners:
        with suppress(OSError):  # not every socket has a window
            listener.socket.setsockopt(socket.IPPROTO_TCP, _TCP_WINDOW_CLAMP, WINDOW)
    return listeners


def base_url(listener: trio.SocketListener) -> str:
    host, port = listener.socket.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def shares(limit: int) -> tuple[int, int]:
    """How many connections, and how many growing files, may be open with *limit* descriptors."""
    growing = min(MANY, max(16, limit // 4))
    return max(16, (limit - SPARE - growing) // PER_CONNECTION), growing


def raise_limit() -> int:
    """How many descriptors this process may have; raised as far as it goes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


class Listening:
    """Accepts up to *limit* connections; the excess is closed at once, without a task."""

    def __init__(self, door: FrontDoor, limit: int) -> None:
        self._door, self._limit, self._open = door, limit, 0

    async def accept(self, listener: trio.SocketListener, nursery: trio.Nursery) -> None:
        async with listener:
            while True:
                try:
                    stream = await listener.accept()
                except OSError as error:
                    if error.errno not in _EXHAUSTED:
                        raise
                    log.warning("cannot accept: %s", error.strerror)
                    await trio.sleep(0.1)
                    continue
                if self._open >= self._limit:
                    log.warning("%d connections are open: one more was closed", self._open)
                    await trio.aclose_forcefully(stream)
                    continue
                self._open += 1
                nursery.start_soon(self._serve, stream)

    async def _serve(self, stream: trio.SocketStream) -> None:
        try:
            await self._door.serve(stream)
        finally:
            self._open -= 1
