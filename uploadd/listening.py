"""The sockets of the daemon: opening them, and accepting no more than there are descriptors for."""

from __future__ import annotations

import errno
import ipaddress
import logging
import os
import resource
import socket
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Final, Protocol

import trio

from uploadd import ports
from uploadd.protocol.addresses import counted
from uploadd.serve.senders import peer_of
from uploadd.store.descriptors import MANY
from uploadd.systemd import passed

log = logging.getLogger("uploadd")
WINDOW: Final = 2 << 20
"""Bytes of the TCP window of one connection: what the kernel may hold for us unread."""
SPARE: Final = 160
"""Descriptors for the ledger, the listeners, pipes, operators and their commands, and what threads
open for a moment.
"""
PER_CONNECTION: Final = 2
"""Descriptors of a connection: its socket, and a file that it downloads."""
TELL_INTERVAL: Final = 60.0
"""Seconds between two lines about connections that were closed."""
_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_TCP_WINDOW_CLAMP: Final = 10


class CannotStart(Exception):
    """Why the daemon does not start: what happened, and what to type.

    *setting*: the ``section.key`` that could be changed instead, whoever has given it.
    """

    def __init__(self, message: str, hint: str, exit_code: int, *, setting: str = "") -> None:
        super().__init__(message)
        self.message, self.hint, self.exit_code, self.setting = message, hint, exit_code, setting


async def listen(host: str, port: int) -> list[trio.SocketListener]:
    """New sockets; raises CannotStart."""
    try:
        listeners = await trio.open_tcp_listeners(port, host=host, backlog=1024)
    except OSError as error:
        raise await _refused(host, port, error) from error
    return _clamped(listeners)


def handed_over() -> dict[str, list[socket.socket]]:
    """The sockets that systemd has opened, by name; raises CannotStart."""
    try:
        return passed(os.environ)
    except OSError as error:
        raise _of_no_use(error) from error


def adopt(sockets: Sequence[socket.socket]) -> list[trio.SocketListener]:
    """Sockets that systemd listens on for us; raises CannotStart."""
    try:
        return _clamped(
            [trio.SocketListener(trio.socket.from_stdlib_socket(one)) for one in sockets]
        )
    except ValueError as error:
        raise _of_no_use(error) from error


def _of_no_use(error: Exception) -> CannotStart:
    return CannotStart(
        f"systemd has handed over what is of no use here: {error}",
        "ListenStream= in the socket unit, without Accept=",
        os.EX_CONFIG,
    )


def _clamped(listeners: list[trio.SocketListener]) -> list[trio.SocketListener]:
    for listener in listeners:
        with suppress(OSError):  # not every socket has a window
            listener.socket.setsockopt(socket.IPPROTO_TCP, _TCP_WINDOW_CLAMP, WINDOW)
    return listeners


async def _refused(host: str, port: int, error: OSError) -> CannotStart:
    """Why it is not possible to listen on *host* and *port*, which failed with *error*."""
    code, reason = os.EX_UNAVAILABLE, error.strerror or str(error)
    hint = "--host with an address of this machine (ip address), or 127.0.0.1"
    setting = "server.host"
    if error.errno == errno.EADDRINUSE:
        holder = await trio.to_thread.run_sync(ports.listener, port)
        by = f"pid {holder.pid} ({holder.name})" if holder else "a process of somebody else"
        reason, setting = f"already used by {by}", "server.port"
        hint = f"the same command with --port {port + 1 if port < 65535 else 8080}"
    elif error.errno == errno.EACCES:
        reason, setting, code = "ports below 1024 are for root", "server.port", os.EX_NOPERM
        hint = "the same command with --port 8080, and a proxy or uploadd.socket in front of it"
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return CannotStart(f"cannot listen on {where}: {reason}", hint, code, setting=setting)


def base_url(listener: trio.SocketListener, *, tls: bool = False) -> str:
    if listener.socket.family == socket.AF_UNIX:
        return f"unix:{listener.socket.getsockname()}"
    host, port = listener.socket.getsockname()[:2]
    scheme = "https" if tls else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def is_local(listeners: Iterable[trio.SocketListener]) -> bool:
    """Whether nobody but this computer can come: behind a unix socket stands a proxy."""
    return all(
        listener.socket.family != socket.AF_UNIX
        and ipaddress.ip_address(listener.socket.getsockname()[0].partition("%")[0]).is_loopback
        for listener in listeners
    )


def is_public(listeners: Iterable[trio.SocketListener]) -> bool:
    """Whether other computers can come by themselves: a unix socket is for who may open it."""
    return any(
        listener.socket.family != socket.AF_UNIX and not is_local([listener])
        for listener in listeners
    )


def is_beyond(host: str) -> bool:
    """Whether other computers could come to *host*; not where nobody knows it.  May block."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return False
    return not all(
        ipaddress.ip_address(str(one[4][0]).partition("%")[0]).is_loopback for one in found
    )


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


class Door(Protocol):
    """Where connections lead to."""

    async def serve(self, stream: trio.abc.Stream, /) -> None:
        """Converse on *stream* until it ends, and close it.  Raises nothing but Cancelled."""


class SocketDoor(Protocol):
    """Where connections lead to that are nothing but sockets yet."""

    async def serve(self, stream: trio.SocketStream, /) -> None:
        """As `Door.serve`."""


class Listening:
    """Accepts up to *limit* connections, *each* of one address; the excess is closed at once,
    without a task.
    """

    def __init__(self, door: SocketDoor, limit: int, each: int | None = None) -> None:
        self._door, self._limit, self.open = door, limit, 0
        self._each, self._of = each, Counter[str]()
        self._told, self._away = float("-inf"), 0

    def adopt(self, each: int | None) -> None:
        """Go by another limit of one address, for connections that come from now on."""
        self._each = each

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
                if self.open >= self._limit:
                    self._turned_away()
                    await trio.aclose_forcefully(stream)
                    continue
                address = "" if self._each is None else counted(peer_of(stream))
                if self._each is not None and self._of[address] >= self._each:
                    log.debug("%d connections of %s: one more was closed", self._each, address)
                    await trio.aclose_forcefully(stream)
                    continue
                self.open += 1
                self._of[address] += 1
                nursery.start_soon(self._serve, stream, address)

    def _turned_away(self) -> None:
        """Say so, once a minute: whoever floods us shall not fill the log, too."""
        self._away += 1
        if trio.current_time() >= self._told + TELL_INTERVAL:
            log.warning("%d connections are open: %d more were closed", self.open, self._away)
            self._told, self._away = trio.current_time(), 0

    async def _serve(self, stream: trio.SocketStream, address: str) -> None:
        try:
            await self._door.serve(stream)
        finally:
            self.open -= 1
            self._of[address] -= 1
            if not self._of[address]:
                del self._of[address]
