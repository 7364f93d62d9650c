"""The root: opens the store, recovers, listens, drains, ends.

Lifetimes are nested as they depend on one another: store and ledger, then the group commit,
then the conversations, then the listeners.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final

import trio

from uploadd import __version__, errors
from uploadd.allocator import collect_seldom, keep_buffers
from uploadd.assembling import Assembling
from uploadd.auth import Access, lists_everybody
from uploadd.budget import Budget
from uploadd.commit import Commit
from uploadd.config import Config
from uploadd.ledger import Ledger
from uploadd.listening import CannotStart, Listening, base_url, listen, raise_limit, shares
from uploadd.protocol.origins import parse_origin
from uploadd.recovery import Report, recover
from uploadd.serve.connection import FrontDoor
from uploadd.serve.rules import Rules
from uploadd.store.file import FileStore
from uploadd.uploads import Uploads

log = logging.getLogger("uploadd")
STATE: Final = ".uploadd"
LOOK_INTERVAL: Final = 1.0
SWEEP_INTERVAL: Final = 60.0
RECONNECT_AFTER: Final = 1.0


async def serve(config: Config, *, on_ready: Callable[[str], None]) -> None:
    """Serve ``config.storage.dir`` until SIGTERM or SIGINT; *on_ready* gets the base URL.

    Raises CannotStart; MediumFailed when the medium cannot be trusted any more.
    """
    keep_buffers()
    collect_seldom()
    rules = _rules(config)
    most, growing = shares(raise_limit())
    async with _opened(config, growing) as uploads:
        budget = Budget(config.limits.memory, config.limits.max_chunk)
        assembling = Assembling(uploads)
        door = FrontDoor(uploads, assembling, budget, rules, version=__version__)
        async with trio.open_nursery() as services:
            await services.start(uploads.commit.run)
            await services.start(assembling.run)
            await services.start(uploads.watch.run)
            services.start_soon(_keep_alive, door)
            services.start_soon(_expire, uploads, config)
            listeners = await listen(config.server.host, config.server.port)
            with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
                on_ready(base_url(listeners[0]))
                await _converse(door, listeners, signals, rules.stop, most)
            await assembling.stop()
            await uploads.commit.drain()
            services.cancel_scope.cancel(reason="stopped")


@asynccontextmanager
async def _opened(config: Config, max_open: int) -> AsyncIterator[Uploads]:
    """Store, ledger and desk of a folder that is ours alone, recovered."""
    with _storage(config, max_open) as (store, ledger):
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
def _storage(config: Config, max_open: int) -> Iterator[tuple[FileStore, Ledger]]:
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
                max_open=max_open,
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
        keep_unfinished=config.storage.keep_unfinished,
        max_sessions=limits.max_sessions,
        max_refs=limits.max_refs,
        max_watched=limits.max_watched,
        max_events=limits.max_events,
        access=Access(
            listing=lists_everybody(config.access.list, config.server.host, config.server.names)
        ),
        head=times.head,
        handshake=times.handshake,
        hello=times.hello,
        message=times.message,
        idle=times.idle,
        ping=times.ping,
        send=times.send,
        stop=times.stop,
    )


# --- stopping -------------------------------------------------------------------------------------


async def _expire(uploads: Uploads, config: Config) -> None:
    """Remove what nobody went on with, and old notices."""
    keep, notices = config.storage.keep_unfinished, config.storage.keep_notices
    while True:
        try:
            if count := await uploads.sweep(time.time() - keep):
                log.info("%d unfinished uploads have expired", count)
            await uploads.archive.forget(time.time() - notices)
        except errors.UploadError as error:
            log.warning("cannot expire uploads: %s", error)
        await trio.sleep(min(SWEEP_INTERVAL, keep, notices))


async def _keep_alive(door: FrontDoor) -> None:
    """One task that looks after all sessions."""
    while True:
        await trio.sleep(LOOK_INTERVAL)
        now = trio.current_time()
        for session in list(door.sessions):
            session.look_after(now)


async def _converse(
    door: FrontDoor,
    listeners: list[trio.SocketListener],
    signals: AsyncIterator[int],
    stop_seconds: float,
    most: int,
) -> None:
    """Take up to *most* connections until a signal, then drain; a second signal ends it at once."""
    listening = Listening(door, most)
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
