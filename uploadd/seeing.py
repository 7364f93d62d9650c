"""How the daemon is, for operators: what its checks find, and the numbers of this moment."""

from __future__ import annotations

import os
import socket
import stat
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Final

import trio

from uploadd.budget import Budget
from uploadd.errors import UploadError
from uploadd.folder import STATE
from uploadd.listening import CannotStart, Listening
from uploadd.metrics import MEDIA_TYPE, Metrics, Now
from uploadd.reloading import Reloading
from uploadd.serve.admin import AdminDoor
from uploadd.serve.connection import FrontDoor
from uploadd.uploads import Uploads

PATIENCE: Final = 5.0
"""Seconds after which a check that has not ended has failed."""
MOST: Final = 64
"""Connections of operators at a time."""


class Seeing:
    """Looks at everything that there is of one daemon."""

    def __init__(
        self,
        uploads: Uploads,
        door: FrontDoor,
        listening: Listening,
        reloading: Reloading,
        budget: Budget,
        *,
        version: str,
    ) -> None:
        self._uploads, self._door, self._listening = uploads, door, listening
        self._reloading, self._budget = reloading, budget
        self._root = os.path.abspath(reloading.config.storage.dir)
        self._metrics = Metrics(uploads.tally, version)
        self._threads = trio.CapacityLimiter(2)

    async def run(
        self,
        listeners: list[trio.SocketListener],
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Tell operators who come by *listeners*, until cancelled."""
        listening = Listening(self._answering(), MOST)
        async with trio.open_nursery() as nursery:
            for listener in listeners:
                nursery.start_soon(listening.accept, listener, nursery)
            task_status.started()

    def _answering(self) -> AdminDoor:
        facts = {"durability": self._reloading.config.durability.ack}
        return AdminDoor(self.checks, self.metrics, MEDIA_TYPE, facts)

    # --- is it ready ----------------------------------------------------------------------------

    async def checks(self) -> Mapping[str, str]:
        """By name: empty when all is well, else what is wrong."""
        found = {
            "accepting": "it is about to stop" if self._door.draining else "",
            "sessions": self._sessions(),
            "store": "the disk does not answer",
            "space": "the disk does not answer",
            "ledger": "the disk does not answer",
        }
        with trio.move_on_after(PATIENCE):
            found["ledger"] = await self._ledger()
            found["space"] = await self._space()
            found["store"] = await trio.to_thread.run_sync(
                self._store, limiter=self._threads, abandon_on_cancel=True
            )
        return found

    def _sessions(self) -> str:
        open, most = len(self._door.sessions), self._door.rules.max_sessions
        return f"{open} are open, the limit is {most}" if open >= most else ""

    async def _ledger(self) -> str:
        try:
            await self._uploads.archive.unfinished()
        except UploadError as error:
            return error.message
        return ""

    async def _space(self) -> str:
        room = await self._uploads.store.room()
        return "" if room > 0 else "there is no room beyond storage.min_free"

    def _store(self) -> str:  # in a thread
        """Whether a file can be made where uploads grow; none is left."""
        try:
            os.close(os.open(os.path.join(self._root, STATE), os.O_TMPFILE | os.O_WRONLY, 0o600))
        except OSError as error:
            return f"{self._root} cannot be written to: {error.strerror}"
        return ""

    # --- numbers --------------------------------------------------------------------------------

    async def metrics(self) -> bytes:
        """What ``/metrics`` says."""
        checks = await self.checks()
        free: tuple[int, int] | None = None
        with trio.move_on_after(PATIENCE):
            free = await trio.to_thread.run_sync(
                self._free, limiter=self._threads, abandon_on_cancel=True
            )
        unfinished = 0
        with suppress(UploadError), trio.move_on_after(PATIENCE):
            _, unfinished = await self._uploads.archive.unfinished()
        now = self._now(ready=not any(checks.values()), unfinished=unfinished)
        now.disk = {} if free is None else {self._root: free}
        return self._metrics.page(now)

    def _free(self) -> tuple[int, int]:  # in a thread
        found = os.statvfs(self._root)
        return found.f_bavail * found.f_frsize, found.f_favail

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
