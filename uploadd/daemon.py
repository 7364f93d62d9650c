"""The root: opens the store, recovers, listens, drains, ends.

Lifetimes are nested as they depend on one another: store and ledger, then the group commit,
then the conversations, then the listeners.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import resource
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Final

import trio

from uploadd import __version__, errors, masking
from uploadd.allocator import keep_buffers
from uploadd.budget import Budget
from uploadd.commit import Commit
from uploadd.config import Config
from uploadd.ledger import Ledger
from uploadd.protocol.origins import parse_origin
from uploadd.recovery import Report, recover
from uploadd.serve.connection import FrontDoor
from uploadd.serve.rules import Rules
from uploadd.store.file import FileStore
from uploadd.uploads import Uploads

log = logging.getLogger("uploadd")
STATE: Final = ".uploadd"
WINDOW: Final = 2 << 20
"""Bytes of the TCP window of one connection: what the kernel may hold for us unread."""
SPARE_DESCRIPTORS: Final = 64
DESCRIPTORS_PER_CONNECTION: Final = 2
LOOK_INTERVAL: Final = 1.0
RECONNECT_AFTER: Final = 1.0
_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_TCP_WINDOW_CLAMP: Final = 10


class CannotStart(Exception):
    """Why the daemon does not start: what happened, and what to type."""

    def __init__(self, message: str, hint: str, exit_code: int) -> None:
        super().__init__(message)
        self.message, self.hint, self.exit_code = message, hint, exit_code


async def serve(config: Config, *, on_ready: Callable[[str], None]) -> None:
    """Serve ``config.storage.dir`` until SIGTERM or SIGINT; *on_ready* gets the base URL.

    Raises CannotStart; MediumFailed when the medium cannot be trusted any more.
    """
    masking.install()
    keep_buffers()
    rules = _rules(config)
    async with _opened(config) as uploads:
        budget = Budget(config.limits.memory, config.limits.max_chunk)
        door = FrontDoor(uploads, budget, rules, version=__version__)
        async with trio.open_nursery() as services:
            await services.start(uploads.commit.run)
            services.start_soon(_keep_alive, door)
            listeners = await _listen(config.server.host, config.server.port)
            with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
                on_ready(_base_url(listeners[0]))
                await _converse(door, listeners, signals, rules.stop)
            await uploads.commit.drain()
            services.cancel_scope.cancel(reason="stopped")


@asynccontextmanager
async def _opened(config: Config) -> AsyncIterator[Uploads]:
    """Store, ledger and desk of a folder that is ours alone, recovered."""
    with _storage(config) as (store, ledger):
        try:
            _tell(await recover(store, ledger))
            commit = Commit(
                store,
                ledger,
                flush_bytes=config.durability.flush_bytes,
                flush_interval=config.durability.flush_interval,
            )
            yield Uploads(
                store,
                ledger,
                commit,
                template=config.storage.path,
                max_length=config.limits.max_length,
            )
        finally:
            with trio.CancelScope(shield=True):
                await store.aclose()
                await ledger.aclose()


@contextmanager
def _storage(config: Config) -> Iterator[tuple[FileStore, Ledger]]:
    """Lock the folder and open what is in it; nothing else runs yet, so it may block."""
    root = os.path.abspath(config.storage.dir)
    durable = config.durability.ack == "durable"
    with _locked(root):
        try:
            store = FileStore(
                root,
                mode=config.storage.mode,
                durable=durable,
                flush=config.durability.flush,
                min_free=config.storage.min_free,
            )
            ledger = Ledger(os.path.join(root, STATE, "ledger.db"), durable=durable)
        except errors.StoreError as error:
            raise CannotStart(error.message, error.hint or "", os.EX_NOPERM) from error
        except OSError as error:
            raise _not_writable(root, error) from error
        yield store, ledger


def _tell(report: Report) -> None:
    unfinished, published = len(report.unfinished), len(report.published)
    log.info("recovered: %d uploads unfinished, %d published", unfinished, published)
    for id in report.lost:
        log.error("upload %s is lost: the disk no longer has what was acknowledged", id)


@contextmanager
def _locked(root: str) -> Iterator[None]:
    """Hold the folder *root*: a second daemon on it refuses to start."""
    try:
        os.makedirs(os.path.join(root, STATE), mode=0o700, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        fd = os.open(os.path.join(root, STATE, "lock"), flags, 0o600)
    except OSError as error:
        raise _not_writable(root, error) from error
    try:
        _lock(fd, root)
        yield
    finally:
        os.close(fd)


def _lock(fd: int, root: str) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(fd, 20, 0).decode("ascii", "replace").strip()
        raise CannotStart(
            f"{root} is served by another uploadd (pid {holder or 'unknown'})",
            "stop that one first, or serve another folder",
            os.EX_TEMPFAIL,
        ) from error
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)


def _not_writable(root: str, error: OSError) -> CannotStart:
    hint = f"name a folder, without a file called {STATE} in it"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        hint = f"sudo install -d -o $(id -un) -m 0750 {root}, or serve a folder of yours"
    return CannotStart(f"cannot write to {root}: {error.strerror}", hint, os.EX_NOPERM)


def _rules(config: Config) -> Rules:
    origins = [parse_origin(text) for text in config.server.origins]
    times, limits = config.timeouts, config.limits
    return Rules(
        names=config.server.names,
        origins=[origin for origin in origins if origin is not None],
        durability=config.durability.ack,
        max_length=limits.max_length,
        max_sessions=limits.max_sessions,
        max_refs=limits.max_refs,
        head=times.head,
        handshake=times.handshake,
        hello=times.hello,
        message=times.message,
        idle=times.idle,
        ping=times.ping,
        send=times.send,
        stop=times.stop,
    )


# --- listening ------------------------------------------------------------------------------------


async def _listen(host: str, port: int) -> list[trio.SocketListener]:
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


def _base_url(listener: trio.SocketListener) -> str:
    host, port = listener.socket.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def max_connections() -> int:
    """How many connections the limit on descriptors allows; it is raised as far as it goes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return max(16, (hard - SPARE_DESCRIPTORS) // DESCRIPTORS_PER_CONNECTION)


class _Listening:
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


async def _keep_alive(door: FrontDoor) -> None:
    """One task that looks after all sessions."""
    while True:
        await trio.sleep(LOOK_INTERVAL)
        now = trio.current_time()
        for session in list(door.sessions):
            session.check_alive(now)


# --- stopping -------------------------------------------------------------------------------------


async def _converse(
    door: FrontDoor,
    listeners: list[trio.SocketListener],
    signals: AsyncIterator[int],
    stop_seconds: float,
) -> None:
    """Take connections until a signal, then drain; a second signal ends it at once."""
    listening = _Listening(door, max_connections())
    async with trio.open_nursery() as stopping:
        async with trio.open_nursery() as conversations:
            async with trio.open_nursery() as accepting:
                for listener in listeners:
                    accepting.start_soon(listening.accept, listener, conversations)
                await anext(signals)
                accepting.cancel_scope.cancel(reason="draining")
            log.info("stopping; %d sessions are asked to come back", len(door.sessions))
            stopping.start_soon(_drain, door, stop_seconds / 2)
            stopping.start_soon(_hurry, signals, conversations.cancel_scope)
            conversations.cancel_scope.deadline = trio.current_time() + stop_seconds
        stopping.cancel_scope.cancel(reason="nobody is left")


async def _drain(door: FrontDoor, seconds: float) -> None:
    """Ask every session to end its message; after *seconds*, end those that did not answer."""
    door.drain(RECONNECT_AFTER, seconds)
    await trio.sleep(seconds)
    for session in list(door.sessions):
        session.part()


async def _hurry(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
    await anext(signals)
    log.warning("a second signal: not waiting any more")
    scope.cancel(reason="a second signal")
