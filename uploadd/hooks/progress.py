"""post-receive: how far uploads are, told while they move.

The newest is told, once a second at most; what could not be told is not told again, since the
next says more.  So it is no matter of the outbox.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from uploadd.errors import HookFailed, Refused
from uploadd.hooks.desk import Hooks
from uploadd.hooks.receiver import Receiver
from uploadd.latest import EVERYBODY
from uploadd.protocol.hooks import POST_RECEIVE
from uploadd.protocol.upload import State, Upload
from uploadd.watch import Watch

log = logging.getLogger("uploadd.hooks")
INTERVAL: Final = 1.0
"""Seconds between two tellings of one upload, as in tusd."""
AT_ONCE: Final = 8
Stop = Callable[[Upload, Refused], Awaitable[None]]


class Progress:
    """Tells *hooks* what *watch* sees; *stop* ends an upload that one of them wants no more of."""

    def __init__(self, hooks: Hooks, watch: Watch, stop: Stop) -> None:
        self._hooks, self._watch, self._stop = hooks, watch, stop
        self._telling: set[str] = set()
        self._limit = trio.CapacityLimiter(AT_ONCE)
        self._moved = trio.Event()

    async def run(self) -> None:
        """Tell, as long as somebody wants to know, until cancelled."""
        async with trio.open_nursery() as nursery:
            while True:
                changed = self._hooks.changed
                if self._hooks.wants(POST_RECEIVE):
                    await self._follow(nursery)
                else:
                    await changed.wait()

    async def _follow(self, nursery: trio.Nursery) -> None:
        """Until nobody wants to know any more."""
        watcher = self._watch.watcher(self._wake)
        try:
            watcher.add(EVERYBODY)
            while receivers := self._hooks.receiving():
                self._moved = trio.Event()
                for life in watcher.take(sys.maxsize):
                    upload = life.upload
                    if upload.state is State.RECEIVING and upload.offset:
                        self._begin(nursery, upload, receivers)
                await trio.sleep(INTERVAL)
                await self._moved.wait()
        finally:
            watcher.close()

    def _wake(self) -> None:
        self._moved.set()

    def _begin(self, nursery: trio.Nursery, upload: Upload, receivers: list[Receiver]) -> None:
        if upload.id not in self._telling:
            self._telling.add(upload.id)
            nursery.start_soon(self._tell, upload, receivers)

    async def _tell(self, upload: Upload, receivers: list[Receiver]) -> None:
        try:
            for receiver in receivers:
                async with self._limit:
                    answer = await self._hooks.receive(receiver, upload)
                if answer.refused is not None:
                    log.info("hook %s stops upload %s", receiver.name, upload.id)
                    await self._stop(upload, answer.refused)
                    return
        except HookFailed as error:
            log.warning("%s", error)
        finally:
            self._telling.discard(upload.id)
