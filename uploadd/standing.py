"""How the daemon stands, told to systemd as long as it lives."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final

import trio

from uploadd.errors import UploadError
from uploadd.listening import base_url
from uploadd.protocol.saying import plural, size
from uploadd.systemd import EXTENSION, Notifier
from uploadd.uploads import Uploads

INTERVAL: Final = 10.0
"""Seconds between two lines of status; less than `EXTENSION`."""
assert INTERVAL < EXTENSION
PATIENCE: Final = 5.0
"""Seconds after which a disk that does not answer is said to."""
LONGEST: Final = 300.0
"""Seconds for which systemd is asked for more time to stop: a disk that hangs is not waited for."""


class Standing:
    """Starting, serving, stopping: one after the other, each said in time."""

    def __init__(self, systemd: Notifier) -> None:
        self._systemd = systemd
        self._uploads: Uploads | None = None
        self._failure: Callable[[], str] = lambda: ""
        self._stops = False
        self._serves = trio.Event()
        self._until = 0.0  # trio's clock
        self._room = "the disk is asked"
        self._asked: float | None = None  # since when the disk is

    async def run(self) -> None:
        """Say that the loop turns and how things are; in the nursery around everything else."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._systemd.beat)
            nursery.start_soon(self._ask_room)
            while True:
                if self._uploads is None:
                    await self._systemd.extend("starting: looking after what the last one left")
                elif self._stops and trio.current_time() < self._until:
                    await self._systemd.extend(self._line())
                else:
                    await self._systemd.status(self._line())
                await trio.sleep(INTERVAL)

    async def _ask_room(self) -> None:
        """Ask again and again how much is free; nobody waits for a disk that fails, or hangs."""
        await self._serves.wait()
        assert self._uploads is not None
        while not self._stops:
            self._asked = trio.current_time()
            try:
                self._room = f"{size(await self._uploads.store.room())} free"
            except UploadError as error:
                self._room = error.message
            self._asked = None
            await trio.sleep(INTERVAL)

    async def serving(
        self,
        listeners: Sequence[trio.SocketListener],
        uploads: Uploads,
        failure: Callable[[], str],
        *,
        tls: bool,
    ) -> None:
        """Peers can come; *failure* says what is wrong with the configuration, if anything."""
        self._uploads, self._failure = uploads, failure
        self._serves.set()
        where = ", ".join(base_url(listener, tls=tls) for listener in listeners)
        await self._systemd.ready(f"listening on {where}")

    @asynccontextmanager
    async def reloading(self) -> AsyncIterator[None]:
        """The block reloads the configuration, well or not."""
        await self._systemd.reloading()
        try:
            yield
        finally:
            with trio.CancelScope(shield=True):  # or systemd waits for the end of it
                await self._systemd.ready(self._line())

    async def stopping(self) -> None:
        """From now on nobody new is served."""
        self._stops, self._until = True, trio.current_time() + LONGEST
        await self._systemd.stopping(self._line())
        await self._systemd.extend()

    @asynccontextmanager
    async def last_word(self) -> AsyncIterator[None]:
        """Tell why, when the block ends by an error."""
        try:
            yield
        except BaseException as error:
            if not isinstance(error, trio.Cancelled | KeyboardInterrupt):
                with trio.CancelScope(shield=True):
                    await self._systemd.failed(_number(error), _reason(error))
            raise

    def _line(self) -> str:
        """``12 uploads, 184.0 MiB/s, 3.1 TiB free``."""
        if self._uploads is None:
            return "starting"
        watch, now = self._uploads.watch, trio.current_time()
        moving = watch.moving()
        if self._stops:
            return f"draining {plural(len(moving), 'upload')}"
        rate = sum(watch.life(upload).rate.at(now) for upload in moving)
        failure = f"reload failed: {self._failure()}; " if self._failure() else ""
        hangs = self._asked is not None and now - self._asked > PATIENCE
        room = "the disk does not answer" if hangs else self._room
        return f"{failure}{plural(len(moving), 'upload')}, {size(rate)}/s, {room}"


def _leaf(error: BaseException) -> BaseException:
    """The first of a group, however deep."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _number(error: BaseException) -> int:
    """The errno behind *error*; 0: there is none."""
    leaf: BaseException | None = _leaf(error)
    while leaf is not None:
        if isinstance(leaf, OSError) and leaf.errno:
            return leaf.errno
        leaf = leaf.__cause__
    return 0


def _reason(error: BaseException) -> str:
    return f"ended by {type(_leaf(error)).__name__}: {_leaf(error)}"
