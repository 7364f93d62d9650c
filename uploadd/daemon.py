"""The root: opens the store, recovers, listens, reloads, drains, ends.

Lifetimes are nested as they depend on one another: store and ledger, then the group commit,
then the conversations, then the listeners.  What systemd is told lives around all of them.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Final

import trio

from uploadd import __version__, control, errors
from uploadd.ages import Ages
from uploadd.allocator import collect_seldom, keep_buffers
from uploadd.assembling import Assembling
from uploadd.budget import Budget
from uploadd.chores import chores
from uploadd.config import Config, Loaded
from uploadd.expiring import Expiring
from uploadd.folder import check_free
from uploadd.hooks.progress import Progress
from uploadd.listening import (
    CannotStart,
    Listening,
    adopt,
    base_url,
    handed_over,
    is_local,
    is_public,
    listen,
    raise_limit,
    shares,
)
from uploadd.measures import Measures
from uploadd.opened import opened, state_of
from uploadd.parts import each_of, first_shown, parts, rules, terms, warn_of_lame
from uploadd.permissions import Permissions
from uploadd.reloading import Hangups, Reloading, hearing_hangups
from uploadd.seeing import Seeing, admin_listeners
from uploadd.serve.connection import FrontDoor
from uploadd.standing import Standing
from uploadd.systemd import Notifier
from uploadd.tls import Encryption
from uploadd.uploads import Uploads

log = logging.getLogger("uploadd")
LOOK_INTERVAL: Final = 1.0
LOOKED_AFTER: Final = 256
"""Sessions in one turn: ten thousand would hold up everybody for 60 ms."""
SWEEP_INTERVAL: Final = 60.0
RECONNECT_AFTER: Final = 1.0
ADMIN: Final = "admin"
"""Name of sockets for operators."""
HTTP: Final = frozenset({"http", "uploadd.socket", "unknown", ""})
"""Names of sockets for peers; systemd calls one that nobody named after its unit, or unknown."""


async def serve(
    config: Config,
    *,
    on_ready: Callable[[str], None],
    read: Callable[[], Loaded[Config]] | None = None,
) -> None:
    """Serve ``config.storage.dir`` until SIGTERM or SIGINT; *on_ready* gets the base URL.

    At SIGHUP the configuration is *read* again; without that it is the same.
    Raises CannotStart; MediumFailed when the medium cannot be trusted any more.
    """
    keep_buffers()
    collect_seldom()
    standing = Standing(Notifier(os.environ))
    again = read or (lambda: Loaded(config, {}))
    with hearing_hangups() as hangups:
        async with trio.open_nursery() as main:
            main.start_soon(standing.run)
            async with standing.last_word():
                await _serve(config, on_ready, again, hangups, standing)
            main.cancel_scope.cancel(reason="stopped")


async def _serve(
    config: Config,
    on_ready: Callable[[str], None],
    read: Callable[[], Loaded[Config]],
    hangups: Hangups,
    standing: Standing,
) -> None:
    most, growing = shares(raise_limit())
    # Listening first: who comes while the store recovers waits, and a port that is taken is told
    # before anything is touched.
    async with (
        _listening(config) as (listeners, admin),
        opened(config, growing) as uploads,
    ):
        await trio.to_thread.run_sync(warn_of_lame, config)
        local = is_local(listeners)
        budget = Budget(config.limits.memory, config.limits.max_chunk)
        assembling = Assembling(uploads)
        permissions = Permissions(config, local=local, public=is_public(listeners))
        measures = Measures(each_of(config))
        told = rules(config, permissions.access, measures)
        door = FrontDoor(uploads, assembling, budget, told, version=__version__)
        encryption = Encryption(door, first_shown(config), config.tls.handshake)
        listening = Listening(encryption, most, config.limits.connections_each)
        changing = parts(door, uploads, permissions, encryption, measures, listening)
        reloading = Reloading(config, read, changing)
        async with trio.open_nursery() as services:
            await services.start(uploads.commit.run)
            await services.start(assembling.run)
            await services.start(uploads.watch.run)
            services.start_soon(_keep_alive, door, uploads)
            services.start_soon(permissions.keep_fresh)
            services.start_soon(encryption.remind)
            expiring = Expiring(uploads, Ages(uploads.ledger))
            services.start_soon(_expire, expiring, reloading)
            verbs = chores(uploads, expiring, lambda: terms(reloading.config))
            await services.start(control.serve, state_of(config), verbs)
            services.start_soon(Progress(uploads.hooks, uploads.watch, uploads.stop).run)
            services.start_soon(uploads.delivery.run)
            services.start_soon(reloading.run, hangups, standing)
            seeing = Seeing(
                uploads, door, listening, reloading, encryption, budget, version=__version__
            )
            await services.start(seeing.run, admin)
            with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
                on_ready(base_url(listeners[0], tls=encryption.on))
                failure = lambda: reloading.failure  # noqa: E731
                await standing.serving(listeners, uploads, failure, tls=encryption.on)
                await _converse(door, encryption, listening, listeners, signals, standing)
            await assembling.stop()
            await uploads.commit.drain()
            services.cancel_scope.cancel(reason="stopped")


@asynccontextmanager
async def _listening(
    config: Config,
) -> AsyncIterator[tuple[list[trio.SocketListener], list[trio.SocketListener]]]:
    """The sockets for peers and for operators: of systemd, or else of the configuration."""
    handed = handed_over()
    for_operators = handed.pop(ADMIN, [])
    if handed:
        log.info("systemd has opened the sockets: server.host and server.port are not used")
        listeners = adopt(_for_peers(handed))
    else:
        listeners = await _listen(config)
    try:
        async with admin_listeners(config.admin.listen, for_operators) as admin:
            yield listeners, admin
    finally:
        for listener in listeners:
            await trio.aclose_forcefully(listener)


async def _listen(config: Config) -> list[trio.SocketListener]:
    try:
        return await listen(config.server.host, config.server.port)
    except CannotStart:
        check_free(config.storage.dir)  # on another port it would not start either
        raise


def _for_peers(handed: Mapping[str, list[socket.socket]]) -> list[socket.socket]:
    """Those of the sockets that have the right name; all others are a mistake in a unit."""
    for name in handed:
        if name not in HTTP:
            raise CannotStart(
                f'systemd hands over a socket named "{name}", and there is no use for it',
                "FileDescriptorName=http in the socket unit, or admin",
                os.EX_CONFIG,
            )
    return [one for sockets in handed.values() for one in sockets]


# --- running and stopping -----------------------------------------------------------------------


async def _expire(expiring: Expiring, reloading: Reloading) -> None:
    """Remove what nobody went on with, finished files whose time is over, and old notices."""
    while True:
        now = terms(reloading.config)
        try:
            if count := await expiring.sweep(now):
                log.info("%d uploads have expired", count)
        except errors.UploadError as error:
            log.warning("cannot expire uploads: %s", error)
        await trio.sleep(min(SWEEP_INTERVAL, now.shortest))


async def _keep_alive(door: FrontDoor, uploads: Uploads) -> None:
    """One task that looks after all sessions, and after what is written of refusals."""
    try:
        while True:
            due = trio.current_time() + LOOK_INTERVAL
            await trio.sleep_until(due)
            now = trio.current_time()
            uploads.tally.loop_lag = now - due
            uploads.refusals.look_after(now)
            for number, session in enumerate(list(door.sessions)):
                if number % LOOKED_AFTER == 0:
                    await trio.lowlevel.checkpoint()
                if session in door.sessions:
                    session.look_after(trio.current_time())
    finally:  # what was not written by the end of the daemon is at least counted
        uploads.refusals.sum_up()


async def _converse(
    door: FrontDoor,
    encryption: Encryption,
    listening: Listening,
    listeners: list[trio.SocketListener],
    signals: AsyncIterator[int],
    standing: Standing,
) -> None:
    """Take connections until a signal, then drain; a second signal ends it at once."""
    async with trio.open_nursery() as stopping:
        async with trio.open_nursery() as conversations:
            async with trio.open_nursery() as accepting:
                for listener in listeners:
                    accepting.start_soon(listening.accept, listener, conversations)
                await anext(signals)
                accepting.cancel_scope.cancel(reason="draining")
            stop_seconds = door.rules.stop
            log.info("stopping; %d sessions are asked to come back", len(door.sessions))
            await standing.stopping()
            encryption.drain()
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
