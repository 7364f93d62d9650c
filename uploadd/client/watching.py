"""``--watch``: put what appears or changes in a folder, once it stays as it is.

It looks again and again instead of being told: that works on every file system, also when another
computer writes to it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Final, NamedTuple

import trio

from uploadd.client import exits
from uploadd.client.errors import (
    LocalFileChanged,
    LocalReadError,
    NotAuthorised,
    ServerUnavailable,
    UploadFailed,
)
from uploadd.client.feed import Feed
from uploadd.client.memory import Memory, Signature
from uploadd.client.order import Order
from uploadd.client.output import Outcome, Output
from uploadd.client.reporter import Reporter
from uploadd.client.selection import Item, Kind
from uploadd.client.sending import Sender
from uploadd.client.session import Client
from uploadd.client.state import States, directory
from uploadd.client.totals import Totals
from uploadd.protocol.saying import duration

SHORTEST: Final = 0.2
LONGEST: Final = 2.0
SHARE: Final = 4  # times as long as a look took is between two of them, so that it is no burden
AGAIN_SECONDS: Final = 10.0  # until what failed for a while is tried again


class _Seen(NamedTuple):
    """How a file was, and since when it is so."""

    signature: Signature
    since: float


class Watcher:
    """Looks into the folder of *order*; *pause* waits between two looks, *clock* settles files."""

    def __init__(
        self,
        order: Order,
        reporter: Reporter,
        output: Output,
        memory: Memory,
        pause: Callable[[float], Awaitable[None]] = trio.sleep,
        clock: Callable[[], float] = trio.current_time,
    ) -> None:
        assert order.watch is not None
        self._order, self._reporter, self._output = order, reporter, output
        self._root = order.watch
        self._memory, self._pause, self._clock = memory, pause, clock
        self.totals = Totals()
        self._seen: dict[str, _Seen] = {}
        self._refused: dict[str, Signature] = {}  # it would only happen again
        self._later: dict[str, float] = {}  # not to be tried again before
        self._busy: set[str] = set()
        self._told: set[str] = set()  # what cannot be read, and was said
        self._waiting: set[str] = set()  # what was said since a file was stored
        self._looks = 0

    async def run(self, client: Client) -> int:
        """Until cancelled, or until the server wants another token; then the exit code."""
        states = States(directory())
        sender = Sender(client, self._order, self._reporter, self.totals, states)
        send, receive = trio.open_memory_channel[Item](0)
        try:
            async with trio.open_nursery() as nursery, aclosing(send), aclosing(receive):
                nursery.start_soon(self._reporter.follow, self.totals)
                for _ in range(self._order.jobs):
                    nursery.start_soon(self._work, sender, receive)
                while True:
                    began = time.monotonic()
                    await self._look(send)
                    interval = min(max(self._order.settle / 2, SHORTEST), LONGEST)
                    await self._pause(max(interval, SHARE * (time.monotonic() - began)))
        except* NotAuthorised as group:
            error = group.exceptions[0]
            while isinstance(error, BaseExceptionGroup):
                error = error.exceptions[0]
            self._reporter.fail(self._root, error)
            code = exits.of(error)
        return code

    async def _look(self, send: trio.MemorySendChannel[Item]) -> None:
        """One look at all of it; what is settled is handed over."""
        selection = self._order.selection()
        async for _, item in Feed(selection.walk()):
            if item.error is not None:
                self._unreadable(item.path, item.error)
            elif item.kind is Kind.FILE and self._settled(item):
                self._busy.add(self._key(item))
                await send.send(item)
        if not self._looks:
            for line in selection.skipped.lines():
                self._reporter.say(line)
        self._looks += 1

    def _settled(self, item: Item) -> bool:
        key, signature = self._key(item), _signature(item)
        if key in self._busy or self._refused.get(key) == signature:
            return False
        if self._memory.knows(key, signature):
            self._seen.pop(key, None)
            return False
        now = self._clock()
        seen = self._seen.get(key)
        if seen is None or seen.signature != signature:
            self._seen[key] = seen = _Seen(signature, now)
        return now - seen.since >= self._order.settle and now >= self._later.get(key, now)

    def _key(self, item: Item) -> str:
        return item.path[len(self._root) :].lstrip("/")

    def _unreadable(self, path: str, error: UploadFailed) -> None:
        if path not in self._told:
            self._told.add(path)
            self._reporter.fail(path, error)

    # --- one file ------------------------------------------------------------------------------

    async def _work(self, sender: Sender, receive: trio.MemoryReceiveChannel[Item]) -> None:
        async for item in receive:
            try:
                await self._store(sender, item)
            finally:
                self._busy.discard(self._key(item))

    async def _store(self, sender: Sender, item: Item) -> None:
        key = self._key(item)
        if not await trio.to_thread.run_sync(_is_still, item):
            return  # it waited for its turn and changed, so it has to settle again
        began = time.monotonic()
        self.totals.expected += 1
        try:
            stored = await sender.store(item)
        except NotAuthorised:
            raise
        except UploadFailed as error:
            self._failed(key, item, error, time.monotonic() - began)
            return
        self._memory.add(key, _signature(item))
        self._seen.pop(key, None)
        self._later.pop(key, None)
        self._waiting.clear()
        self._output.tell(Outcome(item, time.monotonic() - began, stored))

    def _failed(self, key: str, item: Item, error: UploadFailed, seconds: float) -> None:
        if isinstance(error, LocalFileChanged):
            self._seen.pop(key, None)
            self.totals.expected -= 1
            self._reporter.say(f"{item.path}: it changed while it was sent; again when it settles")
            return
        if isinstance(error, LocalReadError) and not os.path.lexists(item.path):
            self._seen.pop(key, None)
            self.totals.expected -= 1
            return
        if error.retryable:
            self._later[key] = self._clock() + AGAIN_SECONDS
        else:
            self._refused[key] = _signature(item)
        if isinstance(error, ServerUnavailable):
            self.totals.expected -= 1
            self.notice(f"{error.message}; waiting for it\n→ {error.hint}")
            return
        self.totals.failed += 1
        self._reporter.fail(item.path, error)
        self._output.tell(Outcome(item, seconds, None, error))

    # --- what is said --------------------------------------------------------------------------

    def begin(self) -> None:
        """Say what is going to happen."""
        self._reporter.say(
            f"watching {self._root} for files that stay unchanged for"
            f" {duration(self._order.settle)}; Ctrl-C stops"
        )

    def notice(self, line: str) -> None:
        """Of a server that is away this is said once, not at every attempt."""
        what = line.partition(";")[0]
        if what not in self._waiting:
            self._waiting.add(what)
            self._reporter.say(line)

    def interrupted(self, code: int) -> None:
        """Say what was done, and how to go on."""
        self._reporter.say(self.totals.line())
        line = self._order.line([])
        self._reporter.insist("stopped watching; what was stored is remembered")
        self._reporter.insist(f"→ {line}")
        members = {"interrupted": True, "exit_code": code, "resume": line}
        self._output.close(self.totals.members() | members)


def _signature(item: Item) -> Signature:
    return Signature(item.size or 0, item.mtime_ns)


def _is_still(item: Item) -> bool:
    """Whether it is as it was when it was found settled."""
    try:
        status = os.stat(item.path, follow_symlinks=False)
    except OSError:
        return True  # to fail, and say why, where it is read
    return Signature(status.st_size, status.st_mtime_ns) == _signature(item)
