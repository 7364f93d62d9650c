"""How the daemon is, for operators: what its checks find, and the numbers of this moment."""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Final, NamedTuple

import trio

from uploadd.budget import Budget
from uploadd.errors import UploadError
from uploadd.folder import STATE
from uploadd.listening import CannotStart, Listening
from uploadd.metrics import MEDIA_TYPE, Metrics, Now
from uploadd.reloading import Reloading
from uploadd.serve.admin import AdminDoor
from uploadd.serve.connection import FrontDoor
from uploadd.tls import Encryption
from uploadd.uploads import Uploads

PATIENCE: Final = 5.0
"""Seconds after which a check that has not ended has failed."""
MOST: Final = 64
"""Connections of operators at a time."""
_NO_TMPFILE: Final = frozenset({errno.EOPNOTSUPP, errno.EISDIR})
"""Not every file system has files without names."""


class Look(NamedTuple):
    """What the disk has said: empty, or what is wrong; free bytes and inodes; durable bytes."""

    store: str
    space: str
    ledger: str
    free: tuple[int, int] | None = None
    unfinished: int = 0


_SILENCE: Final = "the disk does not answer"
SILENT: Final = Look(_SILENCE, _SILENCE, _SILENCE)


class Patient:
    """A question to a disk that may hang: never twice at a time, and nobody waits for ever."""

    def __init__(self, ask: Callable[[], Awaitable[Look]]) -> None:
        self._ask = ask
        self._said: trio.Event | None = None
        self._look = SILENT

    async def look(self, nursery: trio.Nursery) -> Look:
        """What it says, asked in a task of *nursery*; SILENT when it says nothing in time."""
        if self._said is None:
            self._said = trio.Event()
            nursery.start_soon(self._run, self._said)
        with trio.move_on_after(PATIENCE):
            await self._said.wait()
            return self._look
        return SILENT

    async def _run(self, said: trio.Event) -> None:
        try:
            self._look = await self._ask()
        finally:
            self._said = None
            said.set()


class Seeing:
    """Looks at everything that there is of one daemon."""

    def __init__(
        self,
        uploads: Uploads,
        door: FrontDoor,
        listening: Listening,
        reloading: Reloading,
        encryption: Encryption,
        budget: Budget,
        *,
        version: str,
    ) -> None:
        self._uploads, self._door, self._listening = uploads, door, listening
        self._reloading, self._encryption, self._budget = reloading, encryption, budget
        self._root = os.path.abspath(reloading.config.storage.dir)
        self._metrics = Metrics(uploads.tally, version)
        self._disk = Patient(self._ask_disk)
        self._nursery: trio.Nursery

    async def run(
        self,
        listeners: list[trio.SocketListener],
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Tell operators who come by *listeners*, until cancelled."""
        listening = Listening(self._answering(), MOST)
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            for listener in listeners:
                nursery.start_soon(listening.accept, listener, nursery)
            task_status.started()

    def _answering(self) -> AdminDoor:
        return AdminDoor(self.checks, self.metrics, MEDIA_TYPE, self._facts)

    def _facts(self) -> Mapping[str, str]:
        facts: dict[str, str] = {"durability": self._reloading.config.durability.ack}
        if self._encryption.on:
            facts["certificate"] = self._encryption.worry() or "ok"
        return facts

    # --- is it ready ----------------------------------------------------------------------------

    async def checks(self) -> Mapping[str, str]:
        """By name: empty when all is well, else what is wrong."""
        return self._found(await self._disk.look(self._nursery))

    def _found(self, disk: Look) -> Mapping[str, str]:
        return {
            "accepting": "it is about to stop" if self._door.draining else "",
            "sessions": self._sessions(),
            "store": disk.store,
            "space": disk.space,
            "ledger": disk.ledger,
        }

    def _sessions(self) -> str:
        open, most = len(self._door.sessions), self._door.rules.max_sessions
        return f"{open} are open, the limit is {most}" if open >= most else ""

    async def _ask_disk(self) -> Look:
        unfinished, ledger = 0, ""
        try:
            _, unfinished = await self._uploads.archive.unfinished()
        except UploadError as error:
            ledger = error.message
        space = ""
        try:
            if not await self._uploads.store.room():
                space = "there is no room beyond storage.min_free"
        except UploadError as error:
            space = error.message
        store, free = await trio.to_thread.run_sync(self._try_store)
        return Look(store, space, ledger, free, unfinished)

    def _try_store(self) -> tuple[str, tuple[int, int] | None]:  # in a thread
        """Whether a file can be made where uploads grow, none is left; and what is free."""
        place = os.path.join(self._root, STATE)
        try:
            found = os.statvfs(place)
            free = found.f_bavail * found.f_frsize, found.f_favail
            try:
                os.close(os.open(place, os.O_TMPFILE | os.O_WRONLY, 0o600))
            except OSError as error:
                if error.errno not in _NO_TMPFILE:
                    return f"{self._root} cannot be written to: {error.strerror}", free
        except OSError as error:
            return f"{self._root} cannot be looked at: {error.strerror}", None
        return "", free

    # --- numbers --------------------------------------------------------------------------------

    async def metrics(self) -> bytes:
        """What ``/metrics`` says."""
        disk = await self._disk.look(self._nursery)
        ready = not any(self._found(disk).values())
        now = self._now(ready=ready, unfinished=disk.unfinished)
        now.disk = {} if disk.free is None else {self._root: disk.free}
        with suppress(UploadError), trio.move_on_after(PATIENCE):
            now.outbox = await self._uploads.delivery.counts()
        return self._metrics.page(now)

    def _now(self, *, ready: bool, unfinished: int) -> Now:
        active: Counter[str] = Counter()
        moving: Counter[str] = Counter()
        for claim in self._uploads.moving():
            active[claim.way.wire] += 1
            moving[claim.way.wire] += claim.run.received - claim.run.start
        sessions = len(self._door.sessions)
        return Now(
            active=active,
            moving=moving,
            stored=self._uploads.commit.stored,
            connections={"ws": sessions, "http": self._listening.open - sessions},
            unfinished=unfinished,
            memory=self._budget.used,
            failures=self._door.failures,
            ready=ready,
            durable=self._reloading.config.durability.ack == "durable",
            reload_successful=self._reloading.successful,
            reload_succeeded=self._reloading.succeeded,
            quota=self._uploads.quota.fullest,
            certificate_ends=self._encryption.ends,
        )


@asynccontextmanager
async def admin_listeners(
    address: str | None, handed: list[socket.socket]
) -> AsyncIterator[list[trio.SocketListener]]:
    """The sockets of operators: those that systemd hands over, or the one at *address*.

    Raises CannotStart.
    """
    path = (address or "").removeprefix("unix:")
    try:
        if handed:
            made = [trio.SocketListener(trio.socket.from_stdlib_socket(one)) for one in handed]
        elif address is None:
            made = []
        elif address.startswith("unix:"):
            made = [_unix(path)]
        else:
            host, _, port = address.rpartition(":")
            made = await trio.open_tcp_listeners(int(port), host=host.strip("[]"))
    except OSError as error:
        raise CannotStart(
            f"cannot listen on {address} for operators: {error.strerror or error}",
            'admin.listen = "none", or another address',
            os.EX_UNAVAILABLE,
            setting="admin.listen",
        ) from error
    try:
        yield made
    finally:
        for listener in made:
            await trio.aclose_forcefully(listener)
        if made and not handed and address is not None and address.startswith("unix:"):
            with suppress(OSError):
                os.unlink(path)


def _unix(path: str) -> trio.SocketListener:
    """A socket at *path*; one that a daemon before has left makes way, nothing else does."""
    with suppress(FileNotFoundError):
        if stat.S_ISSOCK(os.stat(path, follow_symlinks=False).st_mode):
            os.unlink(path)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    made.bind(path)
    os.chmod(path, 0o660)
    made.listen(MOST)
    return trio.SocketListener(trio.socket.from_stdlib_socket(made))
